"""The ledger in the admin: its numbers, the deliveries behind them, and the alarm when it does not add up."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from apps.ingest import inbox
from apps.ingest.models import InboundEvent
from tests.calls import ENDED, TRANSFER, sample

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
PAGE = "/admin/ingest/inboundevent/ledger/"


@pytest.fixture
def open_page(client, arrive, drain, endpoint):
    now = timezone.now()
    arrive(sample(ENDED), now)
    arrive(sample(TRANSFER, call_id="never opened"), now)
    arrive(sample(ENDED, call_id="older"), now - timedelta(days=2))
    arrive(sample(ENDED, call_id="oldest"), now - timedelta(days=20))
    drain()
    inbox.refuse(endpoint, 401, "signature_mismatch", "", now)
    client.force_login(User.objects.create_superuser("admin"))

    def look(query=""):
        answer = client.get(PAGE + query)
        assert answer.status_code == 200
        return answer.content.decode()

    return look


def cells(page, part):
    table = page.split(f'id="{part}"')[1].split("</table>")[0].split("<tbody>")[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in table.split("</tr>")[:-1]]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in rows]


@pytest.mark.parametrize(("query", "accepted"), [("", 2), ("?span=7d", 3), ("?span=30d", 4), ("?span=odd", 2)])
def test_it_adds_up_what_came_in_the_time_chosen(open_page, query, accepted):
    page = open_page(query)
    [[endpoint, *numbers, difference, refused]] = cells(page, "sums")
    assert (endpoint, difference, refused) == ("retell/default", "0", "signature_mismatch 1")
    assert numbers == [str(accepted), "0", str(accepted - 1), "1", "0", "0"]
    assert sum(int(row[2]) for row in cells(page, "ledger")) == accepted
    assert 'id="differences"' not in page


@pytest.mark.parametrize("query", ["", "?span=30d"])
def test_a_number_leads_to_its_deliveries(open_page, client, query):
    addresses = re.findall(r'class="vl-link" href="([^"]*state__in[^"]*)"', open_page(query))
    shown = [client.get(unescape(address)) for address in addresses]
    assert all(answer.status_code == 200 for answer in shown)
    counts = [answer.context["cl"].result_count for answer in shown]
    assert counts[:2] == [1, 1]
    assert sum(counts) == (2 if query == "" else 4)


def test_what_is_lost_is_told_in_red(open_page):
    InboundEvent.objects.filter(state="waiting").delete()
    page = open_page()
    assert "retell/default: 2 accepted, 1 stored, 1 missing" in page.split('id="differences"')[1]
    assert cells(page, "sums")[0][-2] == "1"


def test_it_is_for_those_who_may_see_deliveries(open_page, client):
    assert PAGE in client.get("/admin/ingest/inboundevent/").content.decode()
    client.force_login(User.objects.create_user("somebody", is_staff=True))
    assert client.get(PAGE).status_code == 403


def test_what_waits_says_why_and_for_how_long(client, arrive, drain):
    arrive(sample(TRANSFER, call_id="never opened"), timezone.now() - timedelta(hours=3, minutes=10))
    drain()
    client.force_login(User.objects.create_superuser("admin"))
    why = "for 3\N{NO-BREAK SPACE}hours: nothing has opened its call yet"
    assert why in client.get("/admin/ingest/inboundevent/?state__exact=waiting").content.decode()
    row = InboundEvent.objects.get()
    assert why in client.get(f"/admin/ingest/inboundevent/{row.pk}/change/").content.decode()

"""Hostile bodies through the plain Django door: kept as received, worked off, and shown without harm to who looks."""

import hashlib

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from apps.ingest.models import InboundEvent, Message, RefusedDelivery
from apps.ingest.recheck import recheck
from apps.providers.models import AuthConfig, Secret
from tests.calls import ENDED, SECRET, as_body, sample, signed
from tests.hostile import compressed, encoded, json_bodies, naughty_events

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

JSON = {"accept": "application/json"}
# Of the naughty strings those that would do something in a page.
UNESCAPED = (b"<script>alert(1)", b"<img src=x", b"<svg/onload", b'href="javascript:', b"</textarea><b>")


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    return client


def work_off(deliver, drain, bodies):
    """Deliver them and, after them, a good one; work them off in batches. The row of each body by its name."""
    for name, body in bodies.items():
        answer = deliver(body)
        assert (answer.status_code, answer.json()["success"]) == (200, True), name
    assert deliver(sample(ENDED, call_id="good")).status_code == 200
    drain()
    assert Message.objects.get(call_id="good").status == "success"
    rows = {row.body_sha256: row for row in InboundEvent.objects.all()}
    return {name: rows[hashlib.sha256(body).hexdigest()] for name, body in bodies.items()}


def assert_kept_and_settled(rows, bodies):
    """Each is there, byte by byte, and came to an end, at the first attempt, that says why if it is no good one."""
    for name, row in rows.items():
        assert bytes(row.body) == bodies[name], name
        assert row.state in ("processed", "stored", "ignored", "failed"), (name, row.state)
        assert (row.state == "failed") == bool(row.error_code and row.error_detail), name
        assert "unexpected error" not in row.error_detail, name
        assert row.attempts == 1, name


def assert_shown(operator, addresses):
    for address in addresses:
        answer = operator.get(address, headers=JSON if address.startswith("/api/") else {})
        assert answer.status_code == 200, address
        if address.startswith("/admin/"):
            assert [text for text in UNESCAPED if text in answer.content] == [], address


def test_every_json_text_is_read_and_what_is_none_fails_visibly(deliver, drain, operator):
    bodies = dict(json_bodies())
    rows = work_off(deliver, drain, bodies)
    assert_kept_and_settled(rows, bodies)
    for name, row in rows.items():
        if name.startswith("n_"):
            assert (row.state, row.error_code) == ("failed", "VCP_E002"), name
        if name.startswith("y_") and name.endswith("in an event"):
            assert row.state == "processed", (name, row.error_detail)
    assert_shown(operator, [f"/api/deliveries/{row.delivery_id}" for row in [*rows.values()][::3]])
    assert_shown(operator, [f"/admin/ingest/inboundevent/{row.pk}/change/" for row in [*rows.values()][::25]])


def test_every_naughty_string_is_kept_and_shown_escaped_wherever_it_stands(deliver, drain, operator):
    bodies = dict(naughty_events(sample(ENDED)))
    rows = work_off(deliver, drain, bodies)
    assert_kept_and_settled(rows, bodies)
    messages = Message.objects.filter(call_id__startswith="naughty")
    assert len(messages) > 80
    assert_shown(operator, [f"/api/messages/{message.pk}" for message in messages])
    assert_shown(operator, [f"/admin/ingest/message/{message.pk}/change/" for message in [*messages][::2]])
    assert_shown(operator, [f"/api/deliveries/{row.delivery_id}" for row in [*rows.values()][::7]])
    assert_shown(operator, [f"/admin/ingest/inboundevent/{row.pk}/change/" for row in [*rows.values()][::7]])
    assert_shown(
        operator, ["/admin/ingest/inboundevent/", "/admin/ingest/message/", "/api/messages", "/api/deliveries"]
    )


def test_every_encoding_is_kept_as_received(deliver, drain, operator):
    bodies = dict(encoded('{"event":"call_ended","call":{"call_id":"encoded"}}'))
    rows = work_off(deliver, drain, bodies)
    assert_kept_and_settled(rows, bodies)
    assert_shown(operator, [f"/api/deliveries/{row.delivery_id}" for row in rows.values()])
    assert_shown(operator, [f"/admin/ingest/inboundevent/{row.pk}/change/" for row in rows.values()])


def test_a_compressed_body_is_kept_as_sent_and_never_inflated(deliver, drain):
    # The signature covers the bytes as sent; no provider compresses, so what is inside is for a person to look at.
    for name, coding, body in compressed(as_body(sample(ENDED))):
        answer = deliver(body, headers={**signed(body), "content-encoding": coding})
        assert answer.status_code == 200, name
        row = InboundEvent.objects.get(delivery_id=answer.json()["delivery_id"])
        assert (bytes(row.body), row.headers["content-encoding"]) == (body, coding), name
    drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) <= {"failed", "processed"}
    # What is said to be compressed and is not is read like any other.
    assert InboundEvent.objects.filter(state="processed").count() == 2


def test_half_of_a_chunked_body_is_not_taken_for_the_whole_where_nothing_covers_it(deliver, drain):
    AuthConfig.objects.filter(endpoint__slug="default", endpoint__provider__slug="retell").update(
        scheme={"kind": "token", "header": "X-Secret"}
    )
    body = as_body(sample(ENDED))
    chunked = {"X-Secret": SECRET, "Transfer-Encoding": "chunked"}
    told = deliver(body[:-5], headers=chunked)
    assert (told.status_code, told.json()["code"]) == (400, "HTTP_400")
    # Nor when it was refused for another reason first, which is mended.
    assert deliver(body[:-5], headers=chunked | {"X-Secret": "another"}).status_code == 401
    secret = Secret(auth_config=AuthConfig.objects.get(endpoint__slug="default", endpoint__provider__slug="retell"))
    secret.set_value("another")
    secret.save()
    assert recheck(RefusedDelivery.objects.all(), timezone.now()).refused == {"body_incomplete": 1}
    assert not InboundEvent.objects.exists()
    assert deliver(body, headers=chunked).status_code == 200
    assert deliver(body[:-5], headers={"X-Secret": SECRET}).status_code == 200  # its length says that it is all
    drain()
    assert sorted(InboundEvent.objects.values_list("state", flat=True)) == ["failed", "processed"]

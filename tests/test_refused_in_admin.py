"""Refused deliveries as an operator meets them: told on the first page, listed, checked again; never shown inside."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.history.models import Change
from apps.ingest.models import InboundEvent, RefusedDelivery
from apps.providers import registry
from apps.providers.models import Endpoint
from tests.browser import action, filled, page, said_after, text_of
from tests.calls import CALL_ID, ENDED, as_body, sample, signed

pytestmark = pytest.mark.django_db

NEW = "the secret that the provider signs with since Friday"


@pytest.fixture
def refused(deliver: Any) -> None:
    """Twelve deliveries signed with a secret that nobody entered yet."""
    for number in range(12):
        body = as_body(sample(ENDED, call_id=f"{CALL_ID}{number}"))
        assert deliver(body, headers=signed(body, secret=NEW)).status_code == 401


def endpoint() -> Endpoint:
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def enter_secret(browser: Client) -> Any:
    url = page(Endpoint, "change", endpoint().pk)
    return browser.post(url, filled(browser, url) | {"new_secret": NEW}, follow=True)


def test_a_rotation_from_the_notice_to_the_deliveries(operator: Client, refused: None) -> None:
    first = text_of(operator.get(reverse("admin:index")))
    assert "retell/default refuses what it is sent: signature_mismatch" in first
    assert "Refused in 24 hours: 12, usual: 0." in first
    assert "Kept for a recheck: 12." in first
    assert "If its key was rotated, enter the new secret at the endpoint, then recheck." in first
    assert f'href="{action(endpoint(), "recheck")}"' in first

    answer = enter_secret(operator)
    [offer] = [text for text in said_after(answer) if "wait" in text]
    assert "Refused deliveries that wait: 12." in offer
    assert f'href="{action(endpoint(), "recheck")}"' in offer

    assert "Refused deliveries that are kept: 12." in text_of(operator.get(action(endpoint(), "recheck")))
    assert not InboundEvent.objects.exists()
    answer = operator.post(action(endpoint(), "recheck"), follow=True)
    assert "Rechecked: 12 admitted." in said_after(answer)
    assert (InboundEvent.objects.count(), RefusedDelivery.objects.count()) == (12, 0)
    rechecked = Change.objects.get(verb="rechecked")
    assert rechecked.note == "12 admitted"
    assert operator.get(reverse("admin:index")).context["notices"] == []
    assert "Recheck what was refused" not in text_of(operator.get(page(Endpoint, "change", endpoint().pk)))


def test_without_anything_refused_a_new_secret_offers_nothing(operator: Client, catalogue: None) -> None:
    assert not [text for text in said_after(enter_secret(operator)) if "wait" in text]


def test_chosen_ones_are_checked_again(operator: Client, refused: None) -> None:
    enter_secret(operator)
    chosen = list(RefusedDelivery.objects.values_list("pk", flat=True)[:2])
    listed = page(RefusedDelivery, "changelist")
    operator.post(listed, {"action": "recheck_selected", "_selected_action": chosen}, follow=True)
    assert (InboundEvent.objects.count(), RefusedDelivery.objects.count()) == (2, 10)
    [one, *_] = RefusedDelivery.objects.all()
    assert operator.get(action(one, "recheck")).status_code == 200
    operator.post(action(one, "recheck"))
    assert (InboundEvent.objects.count(), RefusedDelivery.objects.count()) == (3, 9)


def test_what_still_fails_is_told_with_its_reason(operator: Client, refused: None) -> None:
    answer = operator.post(action(endpoint(), "recheck"), follow=True)
    assert "Rechecked: 0 admitted, 12 still refused: signature_mismatch." in said_after(answer)


def test_no_page_shows_what_is_inside(operator: Client, refused: None) -> None:
    row = RefusedDelivery.objects.first()
    assert row is not None
    listed = page(RefusedDelivery, "changelist")
    for url in (listed, f"{listed}?reason=signature_mismatch&endpoint__id__exact={endpoint().pk}"):
        with CaptureQueriesContext(connection) as queries:
            answer = operator.get(url)
        assert answer.context["cl"].result_count == 12
        assert not [query for query in queries.captured_queries if '"ciphertext"' in query["sql"]]
    one = text_of(operator.get(page(RefusedDelivery, "change", row.pk)))
    assert "<code>x-retell-signature</code>" in one
    for url in (listed, page(RefusedDelivery, "change", row.pk), page(Endpoint, "change", endpoint().pk)):
        shown = text_of(operator.get(url))
        assert CALL_ID not in shown
        assert "v=1" not in shown
    assert f"?endpoint__id__exact={endpoint().pk}" in shown


def test_a_row_whose_key_is_gone_has_a_page(operator: Client, refused: None) -> None:
    RefusedDelivery.objects.update(key_id="lost")
    row = RefusedDelivery.objects.first()
    assert row is not None
    assert "has no key &#x27;lost&#x27;" in text_of(operator.get(page(RefusedDelivery, "change", row.pk)))


def test_rubbish_can_be_deleted(operator: Client, refused: None) -> None:
    row = RefusedDelivery.objects.first()
    assert row is not None
    operator.post(page(RefusedDelivery, "delete", row.pk), {"post": "yes"})
    chosen = list(RefusedDelivery.objects.values_list("pk", flat=True)[:3])
    posted = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    operator.post(page(RefusedDelivery, "changelist"), posted)
    assert RefusedDelivery.objects.count() == 8


def test_looking_does_not_allow_checking_again_or_deleting(refused: None) -> None:
    viewer = User.objects.create_user("vera", is_staff=True)
    names = ("view_refuseddelivery", "view_endpoint")
    viewer.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(viewer)
    row = RefusedDelivery.objects.first()
    assert row is not None
    assert browser.get(page(RefusedDelivery, "changelist")).status_code == 200
    for url in (action(row, "recheck"), action(endpoint(), "recheck"), page(RefusedDelivery, "delete", row.pk)):
        assert browser.post(url, {"post": "yes"}).status_code == 403, url
    first = text_of(browser.get(reverse("admin:index")))
    assert "refuses what it is sent" in first
    assert action(endpoint(), "recheck") not in first
    assert RefusedDelivery.objects.count() == 12


def test_nobody_without_the_right_is_told_anything(refused: None) -> None:
    browser = Client()
    browser.force_login(User.objects.create_user("nina", is_staff=True))
    assert browser.get(reverse("admin:index")).context["notices"] == []


def test_an_endpoint_that_is_asked_for_decisions_is_named(operator: Client, deliver: Any) -> None:
    registry.forget()
    assert deliver(sample("call_inbound")).status_code == 200
    first = text_of(operator.get(reverse("admin:index")))
    assert "retell/default is asked for decisions" in first
    assert "Received in 24 hours: call_inbound;" in first
    assert "VoiceLens answered neutrally." in first
    assert "point them at your own server" in first

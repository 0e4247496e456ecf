"""When an operator is told: refusals that are many and unusual, and requests that wait for a decision."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.ingest import notices
from apps.ingest.models import DecisionRequest, InboundEvent, Refusal, RefusedDelivery
from apps.providers.models import Endpoint, Secret
from tests.calls import ENDED, sample

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 23, 9, 30, tzinfo=UTC)  # a Monday
FRIDAY_EVENING = datetime(2026, 3, 20, 18, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _secrets_of_long_ago(catalogue):
    Secret.objects.update(created_at=NOW - timedelta(days=300))


def endpoint(provider="retell"):
    return Endpoint.objects.get(provider__slug=provider, slug="default")


def refused(hour, count, reason="signature_mismatch", *, not_kept=0, provider="retell"):
    last_at = min(hour + timedelta(minutes=59), NOW)
    Refusal.objects.create(
        endpoint=endpoint(provider), hour=hour, reason=reason, count=count, not_kept=not_kept, last_at=last_at
    )


def every_hour(start, count, **more):
    while start <= NOW:
        refused(start, count, **more)
        start += timedelta(hours=1)


def jump():
    [found] = notices.jumps(NOW)
    return found


def test_a_key_rotated_on_friday_is_told_on_monday_with_its_beginning(catalogue):
    every_hour(FRIDAY_EVENING, 5, not_kept=1)
    refused(NOW.replace(minute=0), 3, "header_missing")
    found = jump()
    assert (found.endpoint, found.reason, found.since) == (endpoint(), "signature_mismatch", FRIDAY_EVENING)
    assert (found.count, found.usual, found.last_at) == (24 * 5 + 3, 0, NOW)
    assert (found.waiting, found.not_kept) == (0, 64)


@pytest.mark.parametrize(("count", "told"), [(9, False), (10, True)])
def test_a_few_refusals_are_no_jump(catalogue, count, told):
    refused(NOW.replace(minute=0), count)
    assert [found.count for found in notices.jumps(NOW)] == ([count] if told else [])


@pytest.mark.parametrize(("today", "told"), [(59, False), (60, True)])
def test_what_is_usual_is_no_jump(catalogue, today, told):
    for day in range(1, 15):
        refused(NOW.replace(minute=0) - timedelta(days=day), 20)
    refused(NOW.replace(minute=0), today)
    assert [found.usual for found in notices.jumps(NOW)] == ([20] if told else [])


def test_each_endpoint_has_its_own_usual_and_reason(catalogue):
    refused(NOW.replace(minute=0), 12, "token_mismatch", provider="vcp")
    refused(NOW.replace(minute=0), 11)
    found = {str(one.endpoint): one.reason for one in notices.jumps(NOW)}
    assert found == {"retell/default": "signature_mismatch", "vcp/default": "token_mismatch"}


def test_a_jump_is_over_when_it_is_quiet_and_nothing_waits(catalogue):
    refused(NOW.replace(minute=0) - timedelta(hours=2), 500)
    assert list(notices.jumps(NOW)) == []
    RefusedDelivery.objects.create(
        endpoint=endpoint(), received_at=NOW - timedelta(hours=2), body_sha256="0", size_bytes=1, ciphertext=b"x"
    )
    assert jump().waiting == 1
    refused(NOW.replace(minute=0), 1)
    RefusedDelivery.objects.all().delete()
    assert jump().waiting == 0


def test_a_jump_is_over_with_the_secret_that_proved_all_that_waited(catalogue):
    refused(NOW.replace(minute=0), 500)
    assert jump().waiting == 0
    Secret.objects.filter(auth_config__endpoint=endpoint()).update(created_at=NOW + timedelta(seconds=1))
    assert list(notices.jumps(NOW + timedelta(seconds=2))) == []


def test_what_was_long_ago_does_not_count(catalogue):
    refused(NOW - timedelta(days=2), 500)
    assert list(notices.jumps(NOW)) == []


def test_jumps_are_read_in_a_few_queries_and_not_from_deliveries(catalogue, django_assert_max_num_queries):
    for provider in ("retell", "vcp"):
        every_hour(FRIDAY_EVENING, 5, provider=provider)
    with django_assert_max_num_queries(7) as queries:
        assert len(list(notices.jumps(NOW))) == 2
    assert not [query for query in queries.captured_queries if InboundEvent._meta.db_table in query["sql"]]


# --- requests for decisions ----------------------------------------------------------------------------------------


def test_an_answered_request_for_a_decision_is_noted_under_the_table_s_name(deliver):
    for number in range(3):
        assert deliver(sample("call_inbound") | {"n": number}).status_code == 200
    deliver(sample(ENDED))
    noted = DecisionRequest.objects.get()
    assert (noted.endpoint, noted.event) == (endpoint(), "call_inbound")


def test_a_request_is_noted_at_most_once_a_minute(catalogue):
    pk = endpoint().pk
    seen = []
    for second in (0, 59, 60, 90, 180):
        notices.note_decision_request(pk, "tool-calls", NOW + timedelta(seconds=second))
        seen.append((DecisionRequest.objects.get().last_at - NOW).seconds)
    assert seen == [0, 0, 60, 60, 180]


def test_requests_of_the_last_day_are_told(catalogue):
    pk = endpoint().pk
    notices.note_decision_request(pk, "tool-calls", NOW - timedelta(hours=25))
    notices.note_decision_request(pk, "assistant-request", NOW - timedelta(hours=23))
    assert [row.event for row in notices.decision_requests(NOW)] == ["assistant-request"]

"""All events of a call make one message, the same in every order; what changes, changes in one transaction."""

import itertools
import json
import random
from datetime import timedelta

import pytest

from apps.analytics.models import DailyProviderStats
from apps.ingest import normalise as normalise_module
from apps.ingest import operations
from apps.ingest.inbox import accept
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message
from apps.ingest.retention import erase_call
from apps.ingest.signals import messages_written
from apps.providers import registry
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret
from tests.calls import (
    ANALYZED,
    ARRIVAL,
    CALL_ID,
    ENDED,
    EVENTS,
    GONE,
    SECRET,
    STARTED,
    TRANSFER,
    numbers,
    ready_made,
    said,
    sample,
    signed,
    states,
)

pytestmark = pytest.mark.django_db


# --- the fold --------------------------------------------------------------------------------------------------------


def test_the_four_events_of_a_call_make_one_message(deliver, drain):
    for name in EVENTS:
        assert deliver(sample(name)).status_code == 200
    assert drain() == 4
    message = Message.objects.get()
    assert (message.call_id, message.status, message.stage) == (CALL_ID, "success", "analysed")
    assert (message.duration_sec, message.environment, message.account) == (35, "live", "default")
    assert set(states().values()) == {"processed"}
    assert numbers() == {
        "total": 1,
        "success_count": 1,
        "duration_sum_sec": 35,
        "duration_count": 1,
        "cost_sum_nano_usd": int(message.cost_usd * 10**9),
        "cost_count": 1,
        "satisfaction_sum_e4": 8000,
        "satisfaction_count": 1,
    }


ARRIVALS = {name: ARRIVAL + timedelta(seconds=7 * number) for number, name in enumerate(EVENTS)}


@pytest.fixture
def forget_calls(catalogue):
    """Empties all that deliveries have made, so that the same ones can come again in another order."""

    def forget():
        for model in (DailyProviderStats, Message, InboundEvent, Artifact, CallKey):
            model.objects.all().delete()

    return forget


@pytest.mark.parametrize("batch", [1, 2, 200])
def test_every_order_of_a_call_s_events_gives_the_same_bytes(arrive, drain, forget_calls, settings, batch):
    settings.INGEST_BATCH_SIZE = batch
    found = set()
    for order in itertools.permutations(EVENTS):
        for name in order:
            arrive(sample(name), ARRIVALS[name])
        assert drain() == 4
        message = Message.objects.get()
        found.add((message.pk, said(message), message.content_digest, message.stage, str(numbers())))
        assert set(states().values()) == {"processed"}
        forget_calls()
    assert len(found) == 1


def test_repetitions_between_the_events_change_no_byte(arrive, drain, forget_calls):
    found = set()
    for seed in range(8):
        order = list(EVENTS) * 3
        random.Random(seed).shuffle(order)  # noqa: S311 - no secret
        for name in order:
            arrive(sample(name), ARRIVALS[name])
            drain()
        assert InboundEvent.objects.count() == 4
        message = Message.objects.get()
        found.add(said(message))
        forget_calls()
    assert len(found) == 1
    # The first delivery of each event counts; a repetition's time of arrival is nobody's.
    assert message.vcp["audit"]["received_at"].startswith("2026-03-17T09:00:00")
    assert message.vcp["vcp_payload"]["provenance"]["created_at"] == message.vcp["audit"]["received_at"]


def test_the_first_arrival_is_received_at_and_created_at_whichever_event_it_was(arrive, drain):
    arrive(sample(ANALYZED), ARRIVAL)
    arrive(sample(STARTED), ARRIVAL + timedelta(minutes=3))
    arrive(sample(ANALYZED), ARRIVAL + timedelta(minutes=4))
    drain()
    vcp = Message.objects.get().vcp
    assert vcp["audit"]["received_at"] == vcp["vcp_payload"]["provenance"]["created_at"] == "2026-03-17T09:00:00.000Z"


def test_of_two_events_of_one_rank_the_later_by_the_provider_s_clock_counts(arrive, drain, forget_calls):
    early, late = (sample(ENDED, end_timestamp=1773677136250 + ms, disconnection_reason=reason)
                   for ms, reason in [(0, "dial_busy"), (5, "agent_hangup")])  # fmt: skip
    for order in ([early, late], [late, early]):
        for payload in order:
            arrive(payload)
            drain()
        assert Message.objects.get().status == "success"
        forget_calls()


def test_of_two_events_with_the_same_clock_the_body_s_digest_decides(arrive, drain, forget_calls):
    pair = [sample(ENDED, disconnection_reason=reason) for reason in ("dial_busy", "agent_hangup")]
    found = set()
    for order in (pair, pair[::-1]):
        for payload in order:
            arrive(payload)
            drain()
        found.add(said(Message.objects.get()))
        forget_calls()
    assert len(found) == 1


def test_the_same_body_at_two_endpoints_of_an_account_is_one_call_with_the_same_bytes(arrive, drain, forget_calls):
    second = Endpoint.objects.create(provider=Provider.objects.get(slug="retell"), slug="second")
    secret = Secret(auth_config=AuthConfig.objects.create(endpoint=second, scheme=second.provider.auth))
    secret.set_value(SECRET)
    secret.save()
    registry.forget()
    body = json.dumps(sample(ENDED)).encode()
    headers = {name.lower(): value for name, value in signed(body, at=ARRIVAL).items()}
    found = set()
    for order in (["default", "second"], ["second", "default"]):
        for slug in order:
            accept(registry.endpoint("retell", slug), headers=headers, body=body, now=ARRIVAL, trace_id="1")
            drain()
        found.add(said(Message.objects.get()))
        assert (InboundEvent.objects.count(), numbers()["total"]) == (2, 1)
        forget_calls()
    assert len(found) == 1


def test_absent_null_and_empty_never_blank_what_was_told(arrive, drain):
    arrive(sample(ENDED))
    drain()
    before = Message.objects.get()
    poorer = sample(ANALYZED, duration_ms=None, call_cost={}, transcript="", transcript_object=[], from_number=GONE)
    poorer["call"] = {**poorer["call"], "transcript_with_tool_calls": None, "recording_url": "  "}
    arrive(poorer)
    drain()
    after = Message.objects.get()
    assert (after.duration_sec, after.cost_usd) == (before.duration_sec, before.cost_usd)
    for part, field in [("call", "from"), ("call", "capabilities_invoked"), ("artifacts", "transcript_ref"),
                        ("artifacts", "audio_recording_ref")]:  # fmt: skip
        assert after.vcp["vcp_payload"][part][field] == before.vcp["vcp_payload"][part][field]


def test_a_fold_that_changes_nothing_writes_nothing_and_signals_nothing(arrive, drain):
    for name in EVENTS:
        arrive(sample(name), ARRIVALS[name])
    drain()
    before = Message.objects.values().get()
    announced = []
    messages_written.connect(lambda **told: announced.append(told), weak=False, dispatch_uid="test")
    try:
        operations.replay(InboundEvent.objects.all())
        assert drain() == 4
    finally:
        messages_written.disconnect(dispatch_uid="test")
    assert Message.objects.values().get() == before
    assert announced == []


def test_while_a_replay_is_under_way_the_message_does_not_shrink(arrive, drain, settings):
    for name in EVENTS:
        arrive(sample(name), ARRIVALS[name])
    drain()
    before = Message.objects.values().get()
    settings.INGEST_BATCH_SIZE = 1
    operations.replay(InboundEvent.objects.all())
    announced = []
    messages_written.connect(lambda **told: announced.append(told), weak=False, dispatch_uid="test")
    try:
        drain()
    finally:
        messages_written.disconnect(dispatch_uid="test")
    assert announced == []
    assert Message.objects.values().get() == before


def test_an_event_that_may_not_open_a_call_waits_and_says_so(arrive, drain):
    arrive(sample(TRANSFER))
    drain()
    assert states() == {"transfer_started": "waiting"}
    assert CallKey.objects.get().call_id == CALL_ID
    assert not Message.objects.exists()
    arrive(sample(STARTED))
    drain()
    assert set(states().values()) == {"processed"}
    history = Message.objects.get().vcp["vcp_payload"]["provenance"]["transformation_history"]
    assert any(step.startswith("event:transfer_started ") for step in history)


def test_an_event_that_would_make_the_message_invalid_fails_alone(arrive, drain):
    """A mapped value that does not fit is left out; a ready-made message can say more than the columns hold."""
    arrive(sample(STARTED))
    arrive(ready_made(provider="retell", call_id=CALL_ID, duration_sec=2**31), provider="vcp")
    drain()
    assert states() == {"call_started": "processed", "message": "failed"}
    failed = InboundEvent.objects.get(event="message")
    assert (failed.error_code, failed.error_path) == ("VCP_E001", "$.vcp_payload.call.duration_sec")
    assert Message.objects.get().stage == "in_progress"


# --- one transaction -------------------------------------------------------------------------------------------------


@pytest.fixture
def failing_listener():
    def refuse(**kwargs):
        raise RuntimeError("a listener that fails")

    messages_written.connect(refuse, dispatch_uid="failing")
    yield refuse
    messages_written.disconnect(dispatch_uid="failing")


def test_a_failing_listener_takes_message_numbers_and_states_back_with_it(arrive, drain, failing_listener):
    arrive(sample(STARTED))
    arrive(sample(ENDED))
    assert drain() == 2
    assert not Message.objects.exists()
    assert not DailyProviderStats.objects.exists()
    assert not CallKey.objects.exists()
    assert not Artifact.objects.exists()
    failed = list(InboundEvent.objects.values_list("state", "error_code", "call_key", "fragment"))
    assert failed == [("failed", "VCP_E002", None, None)] * 2
    assert all("0" * 32 in text for text in InboundEvent.objects.values_list("error_detail", flat=True))
    messages_written.disconnect(dispatch_uid="failing")
    operations.replay(InboundEvent.objects.all())
    drain()
    assert Message.objects.get().status == "success"
    assert numbers()["total"] == 1


def test_a_delivery_that_fails_unexpectedly_fails_alone(arrive, drain, monkeypatch):
    good = [sample(ENDED, call_id=f"good{number}") for number in range(3)]
    bad = sample(ENDED, call_id="bad")
    for payload in (good[0], bad, *good[1:]):
        arrive(payload)
    read = normalise_module.read

    def failing(row, mapping):
        if b'"bad"' in bytes(row.body):
            raise ZeroDivisionError("a defect")
        return read(row, mapping)

    monkeypatch.setattr(normalise_module, "read", failing)
    assert drain() == 4
    assert sorted(Message.objects.values_list("call_id", flat=True)) == ["good0", "good1", "good2"]
    failed = InboundEvent.objects.get(state="failed")
    assert failed.error_code == "VCP_E002"
    assert failed.trace_id in failed.error_detail


def test_an_erased_call_in_a_batch_that_fails_stays_erased(arrive, drain, monkeypatch):
    """The second attempt reads the rows anew: what the first one wrote into them in memory does not count."""
    arrive(sample(ENDED))
    drain()
    erase_call(CallKey.objects.get(), ARRIVAL)
    arrive(sample(ANALYZED))
    arrive(sample(ENDED, call_id="bad"))
    keep = normalise_module._keep_artifacts

    def failing(works, keys):
        if any(key[3] == "bad" for key in keys):
            raise ZeroDivisionError("a defect")
        return keep(works, keys)

    monkeypatch.setattr(normalise_module, "_keep_artifacts", failing)
    drain()
    assert sorted(InboundEvent.objects.values_list("state", flat=True)) == ["erased", "erased", "failed"]
    assert not Message.objects.exists()

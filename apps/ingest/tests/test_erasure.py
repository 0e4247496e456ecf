"""Erasing a call: what goes, what is remembered, and that nothing of it comes back."""

import json

import pytest

from apps.analytics.models import DailyProviderStats
from apps.ingest import operations
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message, Tombstone
from apps.ingest.retention import erase_call
from tests.calls import ANALYZED, ARRIVAL, CALL_ID, ENDED, EVENTS, STARTED, TRANSFER, numbers, ready_made, sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def erased(arrive, drain):
    """A call with a message and an artifact, erased."""
    for name in (STARTED, TRANSFER, ENDED):
        arrive(sample(name))
    drain()
    assert Artifact.objects.exists()
    erase_call(CallKey.objects.get(), ARRIVAL)


def everything_stored():
    return json.dumps(
        [list(model.objects.values()) for model in (InboundEvent, CallKey, Message, Artifact, Tombstone)], default=str
    )


def test_nothing_that_tells_of_the_call_is_left(erased):
    assert not Message.objects.exists()
    assert not CallKey.objects.exists()
    assert not Artifact.objects.exists()
    for event in InboundEvent.objects.all():
        assert (event.state, event.call_id, event.call_key, bytes(event.body)) == ("erased", "", None, b"")
        assert (event.fragment, event.report, event.headers) == (None, None, {})
    for word in (CALL_ID, "+15550142201", "Dana", "Harbor"):
        assert word not in everything_stored()


def test_the_numbers_have_lost_it(erased):
    assert numbers() == {}
    assert DailyProviderStats.objects.get().total == 0


def test_the_call_is_remembered_by_a_keyed_hash_only(erased, settings):
    [tombstone] = Tombstone.objects.all()
    assert tombstone.key_hash.startswith("t1:")
    assert CALL_ID not in tombstone.key_hash


def test_a_late_event_is_acknowledged_and_dropped(erased, deliver, drain):
    response = deliver(sample(ANALYZED))
    assert (response.status_code, response.json()["duplicate"]) == (200, False)
    assert drain() == 1
    late = InboundEvent.objects.latest("id")
    assert (late.state, late.call_id, bytes(late.body), late.headers) == ("erased", "", b"", {})
    assert (late.fragment, late.report) == (None, None)
    assert late.body_emptied_at is not None
    assert not Message.objects.exists()
    assert not CallKey.objects.exists()
    assert not Artifact.objects.exists()
    assert CALL_ID not in everything_stored()


def test_a_repetition_is_acknowledged_and_changes_nothing(erased, deliver, drain):
    assert deliver(sample(ENDED)).json()["duplicate"] is True
    assert drain() == 0


def test_events_that_make_no_message_are_dropped_too(erased, arrive, drain):
    arrive({"name": "book_slot", "args": {"name": "Dana"}, "call": sample(ENDED)["call"]})  # a custom function's call
    arrive(sample(ENDED) | {"event": "unheard_of"})
    arrive(sample(ENDED) | {"event": "transcript_updated"})
    drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert "Dana" not in everything_stored()
    assert CALL_ID not in everything_stored()


def test_a_ready_made_message_of_an_erased_call_is_dropped(erased, arrive, drain):
    arrive(ready_made(provider="retell", call_id=CALL_ID), provider="vcp")
    drain()
    assert InboundEvent.objects.latest("id").state == "erased"
    assert not Message.objects.exists()


def test_a_replay_does_not_bring_it_back(erased, drain):
    assert operations.replay(InboundEvent.objects.all()) == 0
    assert drain() == 0


def test_deliveries_that_failed_or_still_wait_to_be_read_are_forgotten_with_it(arrive, drain):
    arrive(sample(ENDED))
    arrive(ready_made(provider="retell", call_id=CALL_ID, duration_sec="long"), provider="vcp")
    arrive({"name": "book_slot", "args": {}, "call": sample(ENDED)["call"]})
    drain()
    assert sorted(InboundEvent.objects.values_list("state", flat=True)) == ["failed", "processed", "stored"]
    arrive(sample(ANALYZED))  # not read yet
    erase_call(CallKey.objects.get(), ARRIVAL)
    drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert CALL_ID not in everything_stored()


def test_another_call_is_left_alone(arrive, drain):
    arrive(sample(ENDED))
    arrive(sample(ENDED, call_id="another"))
    arrive(ready_made(call_id=CALL_ID), provider="vcp")  # the same id at another provider
    drain()
    erase_call(CallKey.objects.get(provider="retell", call_id=CALL_ID), ARRIVAL)
    assert set(Message.objects.values_list("provider", "call_id")) == {
        ("retell", "another"),
        ("northwind_voice", CALL_ID),
    }


def test_a_call_that_only_waits_can_be_erased(arrive, drain):
    arrive(sample(TRANSFER))
    drain()
    erase_call(CallKey.objects.get(), ARRIVAL)
    for name in EVENTS:
        arrive(sample(name))
    drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}


def test_an_older_key_still_recognises_an_erased_call(erased, arrive, drain, settings):
    settings.PSEUDONYM_KEY = f"t2:another key of the tests,{settings.PSEUDONYM_KEY}"
    arrive(sample(ANALYZED))
    drain()
    assert not Message.objects.exists()
    arrive(sample(ENDED, call_id="another"))
    drain()
    erase_call(CallKey.objects.get(call_id="another"), ARRIVAL)
    assert sorted(key_hash[:3] for key_hash in Tombstone.objects.values_list("key_hash", flat=True)) == ["t1:", "t2:"]

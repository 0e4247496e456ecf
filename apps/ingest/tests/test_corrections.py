"""What people change holds against later events and replays, moves the numbers, and can be taken back."""

import pytest

from apps.ingest import operations
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.ingest.operations import InvalidCorrectionError
from tests.calls import ANALYZED, CALL_ID, ENDED, STARTED, numbers, ready_made, said, sample
from vcp import VCPMessage, checksum

pytestmark = pytest.mark.django_db
STATUS = "outcomes.objective.status"
COST = "outcomes.model_outcome_attribution.total_cost_usd"


@pytest.fixture
def call(arrive, drain):
    """A call that has ended, with its message."""
    arrive(sample(STARTED))
    arrive(sample(ENDED))
    drain()
    return Message.objects.get()


def test_a_correction_is_validated_noted_and_counted(call):
    operations.correct(call, {STATUS: "failure", "call.duration_sec": 30}, "ann")
    message = Message.objects.get()
    assert (message.status, message.duration_sec) == ("failure", 30)
    payload = message.vcp["vcp_payload"]
    assert payload["hcr"]["outcome_status"] == "failure"
    history = payload["provenance"]["transformation_history"]
    assert [step.split(" at ")[0] for step in history[-2:]] == [
        f"corrected:{STATUS} by ann",
        "corrected:call.duration_sec by ann",
    ]
    found = numbers()
    assert (found["failure_count"], found["duration_sum_sec"]) == (1, 30)
    assert "success_count" not in found


def test_a_value_can_be_taken_away_and_is_then_not_counted(call):
    operations.correct(call, {COST: None}, "ann")
    assert Message.objects.get().cost_usd is None
    assert "cost_count" not in numbers()


def test_a_corrected_start_moves_the_call_to_another_day(call):
    operations.correct(call, {"call.start_time": "2026-03-15T23:00:00-02:00", "call.end_time": None}, "ann")
    assert numbers(date="2026-03-16")["total"] == 1
    operations.correct(call, {"call.start_time": "2026-03-15T22:00:00Z"}, "bob")
    assert numbers(date="2026-03-15")["total"] == 1
    assert numbers(date="2026-03-16") == {}


def test_a_later_event_and_a_replay_do_not_undo_it(call, arrive, drain):
    operations.correct(call, {STATUS: "partial"}, "ann")
    arrive(sample(ANALYZED))
    drain()
    assert (Message.objects.get().status, Message.objects.get().stage) == ("partial", "analysed")
    before = said(Message.objects.get())
    operations.replay(InboundEvent.objects.all())
    drain()
    assert said(Message.objects.get()) == before
    assert numbers()["partial_count"] == 1


def test_a_second_correction_of_a_field_replaces_the_first(call):
    operations.correct(call, {STATUS: "partial", "hcr.summary": "Moved."}, "ann")
    operations.correct(call, {STATUS: "timeout"}, "bob")
    message = Message.objects.get()
    assert message.status == "timeout"
    assert [(item["path"], item["author"]) for item in message.corrections] == [("hcr.summary", "ann"), (STATUS, "bob")]


def test_withdrawn_corrections_leave_what_the_events_say(call):
    before = said(call)
    operations.correct(call, {STATUS: "partial"}, "ann")
    operations.withdraw_corrections(call)
    assert said(Message.objects.get()) == before
    assert Message.objects.get().corrections == []
    assert numbers()["success_count"] == 1


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({STATUS: "splendid"}, "outcomes.objective.status"),
        ({"call.duration_sec": -1}, "call.duration_sec"),
        ({"call.duration_sec": 2**31}, "call.duration_sec"),
        ({"call.start_time": "soon"}, "call.start_time"),
        ({"call.start_time": None}, "call.start_time"),
        ({"call.end_time": "2026-03-16T00:00:00Z"}, "call.end_time"),
        ({"outcomes.user_satisfaction_score": 1.5}, "outcomes.user_satisfaction_score"),
        ({COST: 10**6}, COST),
        ({"call.colour": "red"}, "call.colour"),
        ({"call.capabilities_invoked.0": "x"}, "call.capabilities_invoked.0"),
        ({"call.call_id": "another"}, "call.call_id"),
        ({"call.provider": "another"}, "call.provider"),
        ({"call": {"call_id": "another"}}, "call"),
        ({"provenance": {}}, "provenance"),
        ({"provenance.source_system": "x"}, "provenance.source_system"),
    ],
)  # fmt: skip
def test_what_would_not_be_valid_is_refused_and_changes_nothing(call, values, path):
    before = Message.objects.values().get()
    with pytest.raises(InvalidCorrectionError) as refusal:
        operations.correct(call, values, "ann")
    assert f"$.vcp_payload.{path}" in [error.field_path for error in refusal.value.errors]
    assert Message.objects.values().get() == before


def test_a_message_whose_events_all_failed_cannot_be_corrected_silently(call):
    InboundEvent.objects.update(state="failed")  # as parked deliveries are
    with pytest.raises(InvalidCorrectionError, match="replay its deliveries"):
        operations.correct(call, {STATUS: "failure"}, "ann")


def test_a_ready_made_message_can_be_corrected_too(arrive, drain):
    arrive(ready_made(), provider="vcp")
    drain()
    operations.correct(Message.objects.get(), {STATUS: "success"}, "ann")
    assert Message.objects.get().status == "success"
    assert numbers()["success_count"] == 1


def test_a_ready_made_message_with_a_checksum_can_be_corrected_too(arrive, drain):
    message = VCPMessage.from_dict(ready_made()).to_dict()
    message["audit"]["checksum"] = checksum(message)
    arrive(message, provider="vcp")
    drain()
    operations.correct(Message.objects.get(), {STATUS: "success"}, "ann")
    stored = Message.objects.get()
    assert stored.status == "success"
    assert stored.vcp["audit"]["checksum"] == checksum(stored.vcp)


# --- deleting -----------------------------------------------------------------------------------------------------


def test_a_deleted_message_stays_away_until_it_is_asked_for(call, arrive, drain):
    before = said(call)
    operations.withhold(call)
    assert not Message.objects.exists()
    assert numbers() == {}
    arrive(sample(ANALYZED))
    operations.replay(InboundEvent.objects.all())
    drain()
    assert not Message.objects.exists()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    operations.restore(CallKey.objects.get(call_id=CALL_ID))
    message = Message.objects.get()
    assert (message.pk, message.stage) == (call.pk, "analysed")
    assert said(message) != before
    assert numbers()["total"] == 1


def test_what_is_worked_out_follows_the_correction(arrive, drain):
    arrive(sample(ANALYZED))
    drain()
    operations.correct(Message.objects.get(), {STATUS: "failure", "call.duration_sec": 99}, "ann")
    payload = Message.objects.get().vcp["vcp_payload"]
    assert payload["outcomes"]["perception_gap"] == {"gap_score": 0.8, "gap_class": "contradictory"}
    assert payload["outcomes"]["objective"]["metrics"]["aht_sec"] == payload["hcr"]["impact_metrics"]["aht_sec"] == 99


def test_no_event_is_lost_to_a_correction_that_it_contradicts(arrive, drain):
    arrive(sample(STARTED))
    drain()
    operations.correct(Message.objects.get(), {"call.start_time": "2026-03-16T17:05:00Z"}, "ann")
    arrive(sample(ENDED))
    drain()
    message = Message.objects.get()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert (message.stage, message.duration_sec, len(message.corrections)) == ("ended", 35, 1)
    call = message.vcp["vcp_payload"]["call"]
    assert (call["start_time"], "end_time" in call) == ("2026-03-16T17:05:00.000Z", False)
    assert message.vcp["audit"]["validation_errors"] == ["X1: end_time is before start_time; end_time left out"]


def test_a_correction_that_would_make_the_message_invalid_steps_back(arrive, drain):
    arrive(sample(STARTED))
    drain()
    operations.correct(Message.objects.get(), {"call.end_time": "2026-03-16T16:06:00Z"}, "ann")
    arrive(sample(ENDED, start_timestamp=1773677200000, end_timestamp=1773677236250))
    drain()
    message = Message.objects.get()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert (message.stage, message.status, len(message.corrections)) == ("ended", "success", 1)


def test_corrections_outlive_the_message(call, drain):
    operations.correct(call, {STATUS: "failure"}, "ann")
    operations.withhold(call)
    assert operations.restore(CallKey.objects.get()) == []
    assert Message.objects.get().status == "failure"


@pytest.mark.parametrize("values", [{"outcomes": {}}, {"hcr": 5}, {"hcr": {"headline": 5}}])
def test_a_part_that_no_message_can_have_is_refused(call, values):
    before = said(call)
    with pytest.raises(InvalidCorrectionError):
        operations.correct(call, values, "ann")
    assert said(Message.objects.get()) == before

"""Replaying: from the command line, with another mapping, after retention; and what it must not bring back."""

import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.history.models import Change
from apps.ingest import normalise as normalise_module
from apps.ingest import operations, retention, tasks
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.ingest.normalise import NOT_REMAPPED
from apps.ingest.retention import empty_old_bodies, erase_call
from apps.providers import publishing, registry
from apps.providers.models import MappingVersion, Provider
from tests.calls import ANALYZED, ARRIVAL, CALL_ID, ENDED, EVENTS, STARTED, numbers, ready_made, said, sample, states

pytestmark = pytest.mark.django_db


@pytest.fixture
def replay(capsys):
    def run(*arguments):
        call_command("replay", *arguments)
        return capsys.readouterr().out.strip()

    return run


@pytest.fixture
def remap():
    """Publishes Retell's mapping with a change; the catalogue's own samples need not pass it."""

    def publish(change):
        provider = Provider.objects.get(slug="retell")
        version = publishing.create_version(
            provider, change(provider.published.to_spec()), origin=MappingVersion.Origin.ADMIN, reason="of the tests"
        )
        provider.versions.filter(state="published").update(state="retired")
        provider.versions.filter(pk=version.pk).update(state="published")
        registry.forget()

    return publish


# --- the command ------------------------------------------------------------------------------------------------


def test_one_delivery_is_replayed_by_its_id(arrive, drain, replay, rings, django_capture_on_commit_callbacks):
    first = arrive(sample(STARTED)).delivery_id
    arrive(sample(ENDED))
    drain()
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert replay(str(first)) == "1 delivery to be worked off again"
    assert states() == {"call_started": "received", "call_ended": "processed"}
    assert len(rings) == 1
    assert drain() == 1
    assert set(states().values()) == {"processed"}


@pytest.fixture
def some_of_each(arrive, drain):
    """A processed, an ignored and two failed deliveries, a day apart; one of them of another provider."""
    arrive(sample(ENDED), ARRIVAL)
    arrive(sample("chat_ended"), ARRIVAL + timedelta(days=1))
    arrive(b"not JSON", ARRIVAL + timedelta(days=2))
    arrive({}, ARRIVAL + timedelta(days=3), provider="vcp")
    drain()
    assert sorted(InboundEvent.objects.values_list("provider", "state", "error_code")) == [
        ("retell", "failed", "VCP_E002"), ("retell", "ignored", ""), ("retell", "processed", ""),
        ("vcp", "failed", "VCP_E005"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (["--state", "failed"], 2),
        (["--state", "failed", "--provider", "Retell"], 1),
        (["--provider", "vcp"], 1),
        (["--event", "CALL_ENDED"], 1),
        (["--event", "call_ended", "--state", "failed"], 0),
        (["--error-code", "vcp_e005"], 1),
        (["--since", "2026-03-18T09:00:00Z"], 3),
        (["--until", "2026-03-18T09:00:00Z"], 1),
        (["--since", "2026-03-18", "--until", "2026-03-20"], 2),
        (["--since", "2026-03-18T10:00:00+01:00", "--state", "ignored"], 1),
        (["--provider", "nobody"], 0),
    ],
)
def test_a_selection_is_replayed_and_its_number_told(some_of_each, drain, replay, selection, count):
    before = list(InboundEvent.objects.order_by("id").values_list("state", "error_code"))
    assert replay(*selection).startswith(f"{count} deliver")
    assert InboundEvent.objects.filter(state="received").count() == count
    assert drain() == count
    assert list(InboundEvent.objects.order_by("id").values_list("state", "error_code")) == before


def test_a_dry_run_only_counts(some_of_each, replay, rings):
    rings.clear()
    told = replay("--since", "2026-03-18", "--dry-run").splitlines()
    assert told[:3] == ["retell failed: 1", "retell ignored: 1", "vcp failed: 1"]
    assert told[3] == "3 would be worked off again; nothing was changed"
    assert not InboundEvent.objects.filter(state="received").exists()
    assert rings == []


def test_a_large_replay_goes_batch_by_batch_and_each_is_in_the_history(some_of_each, drain, replay, monkeypatch):
    monkeypatch.setattr(operations, "REPLAY_BATCH", 3)
    assert replay("--since", "2026-03-01") == "4 deliveries to be worked off again"
    notes = list(Change.objects.filter(verb="replayed").order_by("id").values_list("note", flat=True))
    assert [note.split(",")[0] for note in notes] == ["3 deliveries", ""]
    assert drain() == 4


def test_what_is_worked_off_or_arrives_during_a_replay_is_not_replayed_twice(some_of_each, arrive, drain, monkeypatch):
    batch = operations._replay_batch

    def worked_off_meanwhile(ids):
        count = batch(ids)
        drain()
        arrive(b"not JSON either, number %d" % ids[0])
        drain()
        return count

    monkeypatch.setattr(operations, "REPLAY_BATCH", 1)
    monkeypatch.setattr(operations, "_replay_batch", worked_off_meanwhile)
    assert operations.replay(InboundEvent.objects.filter(state="failed")) == 2


def test_an_erased_delivery_is_never_replayed(arrive, drain, replay):
    erased = arrive(sample(ENDED)).delivery_id
    drain()
    erase_call(CallKey.objects.get(), ARRIVAL)
    with pytest.raises(CommandError, match="was erased"):
        replay(str(erased))
    assert replay("--provider", "retell").startswith("0 deliveries")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give the id of one delivery, or at least one option"),
        ([str(uuid.UUID(int=1)), "--state", "failed"], "give the id of one delivery, or at least one option"),
        ([str(uuid.UUID(int=1))], "there is no delivery"),
        (["17"], "invalid _id value"),
        (["--state", "erased"], "invalid choice"),
        (["--since", "yesterday"], "invalid _time value"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(db, replay, arguments, words):
    with pytest.raises(CommandError, match=words):
        replay(*arguments)


# --- with another mapping ---------------------------------------------------------------------------------------


def test_a_replay_maps_with_the_mapping_of_today(arrive, drain, remap):
    arrive(sample(ENDED))
    drain()
    assert Message.objects.get().status == "success"

    def all_fail(spec):
        decisions = [one.model_copy(update={"rows": (), "default": "failure"}) if "status" in one.target else one
                     for one in spec.decisions]  # fmt: skip
        return spec.model_copy(update={"decisions": tuple(decisions)})

    remap(all_fail)
    operations.replay(InboundEvent.objects.all())
    drain()
    message = Message.objects.get()
    assert (message.status, message.mapping_version.origin) == ("failure", "admin")
    assert numbers()["failure_count"] == 1
    assert "success_count" not in numbers()


def test_an_event_that_a_replay_moves_to_another_call_is_counted_there_only(arrive, drain, remap):
    arrive(sample(ENDED))
    arrive(sample(ANALYZED, agent_id="another"))
    drain()
    first = Message.objects.get()
    remap(lambda spec: spec.model_copy(update={"read": spec.read.model_copy(update={"call_id": ("call.agent_id",)})}))
    operations.replay(InboundEvent.objects.filter(event="call_analyzed"))
    drain()
    assert set(Message.objects.values_list("call_id", "stage")) == {(CALL_ID, "ended"), ("another", "analysed")}
    assert numbers()["total"] == 2
    operations.replay(InboundEvent.objects.filter(event="call_ended"))
    drain()
    assert not Message.objects.filter(pk=first.pk).exists()
    assert Message.objects.count() == numbers()["total"] == 2


def test_an_event_that_moves_in_a_batch_that_fails_at_first_leaves_its_call_all_the_same(
    arrive, drain, remap, monkeypatch
):
    """The second attempt must still know the call that the event belonged to before."""
    arrive(sample(ENDED))
    drain()
    remap(lambda spec: spec.model_copy(update={"read": spec.read.model_copy(update={"call_id": ("call.agent_id",)})}))
    arrive(sample(ANALYZED, agent_id="another"))
    operations.replay(InboundEvent.objects.all())
    write = normalise_module.update_rows

    def refuse_batches(rows, names):
        if len(rows) > 1:
            raise ZeroDivisionError("a defect")
        write(rows, names)

    monkeypatch.setattr(normalise_module, "update_rows", refuse_batches)
    assert drain() == 2
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert CALL_ID not in Message.objects.values_list("call_id", flat=True)
    assert Message.objects.count() == numbers()["total"] == 2


def test_an_event_that_fails_in_a_replay_leaves_its_call(arrive, drain, remap):
    arrive(sample(ENDED))
    drain()
    before = Message.objects.get()

    def demanding(spec):
        events = (event.model_copy(update={"required": ("call.unheard_of",)}) for event in spec.events)
        return spec.model_copy(update={"events": tuple(events)})

    good = Provider.objects.get(slug="retell").published
    remap(demanding)
    operations.replay(InboundEvent.objects.all())
    drain()
    event = InboundEvent.objects.get()
    assert (event.state, event.error_code, event.error_path) == ("failed", "VCP_E005", "$.call.unheard_of")
    assert not Message.objects.exists()
    remap(lambda spec: good.to_spec())
    operations.replay(InboundEvent.objects.all())
    drain()
    assert said(Message.objects.get()) == said(before)
    assert numbers()["total"] == 1


def test_a_ready_made_message_that_fails_in_a_replay_is_taken_out_of_the_numbers(arrive, drain):
    arrive(ready_made(), provider="vcp")
    drain()
    assert numbers()["total"] == 1
    InboundEvent.objects.update(body=b"{}")  # as if the protocol had become stricter since
    operations.replay(InboundEvent.objects.all())
    drain()
    event = InboundEvent.objects.get()
    assert event.state == "failed"
    assert "unexpected error" not in event.error_detail
    assert not Message.objects.exists()
    assert numbers() == {}


# --- after retention --------------------------------------------------------------------------------------------

LATER = ARRIVAL + timedelta(days=31)
KEPT = ("delivery_id", "delivery_key", "fragment", "report", "state", "body_sha256")


def test_retention_empties_bodies_and_keeps_what_messages_are_made_of(arrive, drain):
    for name in EVENTS:
        arrive(sample(name))
    drain()
    message = Message.objects.values().get()
    kept = list(InboundEvent.objects.values(*KEPT))
    assert empty_old_bodies(LATER, days=30) == 4
    assert set(map(bytes, InboundEvent.objects.values_list("body", flat=True))) == {b""}
    assert [event.headers for event in InboundEvent.objects.all()] == [{}] * 4
    assert list(InboundEvent.objects.values(*KEPT)) == kept
    assert Message.objects.values().get() == message
    assert empty_old_bodies(LATER, days=30) == 0


def test_retention_works_in_batches_and_leaves_what_is_young_or_unread(arrive, drain, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(5):
        arrive(sample(ENDED, call_id=f"old{number}"))
    arrive(sample(ENDED, call_id="young"), ARRIVAL + timedelta(days=2))
    drain()
    unread = arrive(sample(ENDED, call_id="unread")).delivery_id
    assert empty_old_bodies(ARRIVAL + timedelta(days=31), days=30) == 5
    assert set(InboundEvent.objects.filter(body_emptied_at=None).values_list("call_id", "delivery_id")) == {
        ("young", InboundEvent.objects.get(call_id="young").delivery_id), ("", unread),
    }  # fmt: skip


def test_a_repetition_after_retention_is_still_known(arrive, drain):
    arrive(sample(ENDED))
    drain()
    empty_old_bodies(LATER, days=30)
    assert arrive(sample(ENDED), LATER).duplicate
    assert drain() == 0


def test_a_late_event_after_retention_does_not_shrink_the_message(arrive, drain):
    arrive(sample(STARTED))
    arrive(sample(ENDED))
    drain()
    before = Message.objects.get().vcp["vcp_payload"]
    empty_old_bodies(LATER, days=30)
    arrive(sample(ANALYZED, duration_ms=None, call_cost=None, transcript_object=None, recording_url=None), LATER)
    drain()
    message = Message.objects.get()
    after = message.vcp["vcp_payload"]
    assert (message.stage, message.duration_sec) == ("analysed", 35)
    assert after["artifacts"]["audio_recording_ref"] == before["artifacts"]["audio_recording_ref"]
    assert after["call"]["capabilities_invoked"] == before["call"]["capabilities_invoked"]
    assert message.vcp["audit"]["received_at"] == "2026-03-17T09:00:00.000Z"


def test_an_emptied_event_is_reported_as_not_mapped_anew_and_still_counts(arrive, drain):
    # A field that cannot be read: its trace in audit.validation_errors must outlive the body too.
    arrive(sample(ENDED, duration_ms="long"))
    drain()
    before = Message.objects.get()
    assert before.vcp["audit"]["validation_errors"]
    empty_old_bodies(LATER, days=30)
    for _ in range(2):
        operations.replay(InboundEvent.objects.all())
        drain()
    event = InboundEvent.objects.get()
    assert event.state == "processed"
    assert [text for text in event.report["warnings"] if "emptied" in text] == [NOT_REMAPPED]
    assert said(Message.objects.get()) == said(before)


def test_an_emptied_ready_made_message_stays_with_its_own_provider(arrive, drain):
    arrive(ready_made(), provider="vcp")
    drain()
    empty_old_bodies(LATER, days=30)
    operations.replay(InboundEvent.objects.all())
    drain()
    assert Message.objects.get().provider == "northwind_voice"
    assert CallKey.objects.count() == 1


def test_emptied_deliveries_that_make_no_message_keep_their_state_in_a_replay(arrive, drain):
    arrive(sample("chat_ended"))
    arrive(sample("call_inbound"))
    arrive(b"not JSON")
    drain()
    before = states()
    assert before == {"chat_ended": "ignored", "call_inbound": "stored", "": "failed"}
    empty_old_bodies(LATER, days=30)
    operations.replay(InboundEvent.objects.all())
    drain()
    assert states() == before
    assert "emptied by retention" in InboundEvent.objects.get(state="failed").error_detail


def test_prune_follows_the_setting(arrive, drain, settings):
    arrive(sample(ENDED), timezone.now() - timedelta(days=8))
    drain()
    settings.RAW_RETENTION_DAYS = 9
    assert tasks.prune() == 0
    settings.RAW_RETENTION_DAYS = 7
    assert tasks.prune() == 1


def test_an_error_does_not_take_the_fragment_of_an_emptied_delivery(arrive, drain, monkeypatch):
    arrive(sample(ENDED))
    drain()
    before = said(Message.objects.get())
    empty_old_bodies(ARRIVAL + timedelta(days=31), days=30)
    operations.replay(InboundEvent.objects.all())
    with monkeypatch.context() as patched:
        patched.setattr(normalise_module.calls, "fold_call", lambda *args: 1 / 0)
        drain()
    assert states() == {"call_ended": "failed"}
    operations.replay(InboundEvent.objects.all())
    drain()
    assert states() == {"call_ended": "processed"}
    assert said(Message.objects.get()) == before


def test_a_correction_survives_a_replay_that_fails(arrive, drain, remap):
    arrive(sample(ENDED))
    drain()
    operations.correct(Message.objects.get(), {"outcomes.objective.status": "failure"}, "ann")
    good = Provider.objects.get(slug="retell").published
    broken = {"source": "call.nowhere", "target": "call.correlation_id", "required": True}
    rule = type(good.to_spec().rules[0]).model_validate(broken)
    remap(lambda spec: spec.model_copy(update={"rules": (rule, *spec.rules)}))
    operations.replay(InboundEvent.objects.all())
    drain()
    assert not Message.objects.exists()
    Provider.objects.get(slug="retell").versions.filter(state="published").update(state="retired")
    MappingVersion.objects.filter(pk=good.pk).update(state="published")
    registry.forget()
    operations.replay(InboundEvent.objects.all())
    drain()
    assert Message.objects.get().status == "failure"

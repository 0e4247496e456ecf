"""A call known under two ids: events of either join one record, in any order, at once, replayed and erased."""

import copy
import itertools
import json
import random
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.analytics import rollups
from apps.analytics.models import DailyProviderStats
from apps.ingest import calls, inbox, operations, selectors
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message, Tombstone
from apps.ingest.normalise import normalise
from apps.ingest.retention import erase_call
from apps.providers import catalog, registry
from apps.providers.engine.signatures import sign
from tests.calls import ARRIVAL, ON_SQLITE, SECRET, in_threads, numbers, said
from tests.synced import synced

RELAY = "openai_realtime"
PROOF = "whsec_dm9pY2VsZW5zLW9mLXRoZS1hbGlhcy10ZXN0cw=="
# A call told by its webhook, by a batch that knows the session alone, and by two that know both.
PARTS = {
    name: copy.deepcopy(payload) for name, payload in catalog.samples(RELAY).items() if name.startswith("call_in_")
}
WEBHOOK, SESSION, BOTH, LAST = PARTS.values()
CALL, ALIAS = BOTH["data"]["call_id"], BOTH["data"]["session_id"]
ARRIVALS = {id(part): ARRIVAL + timedelta(days=80, seconds=7 * number) for number, part in enumerate(PARTS.values())}


@pytest.fixture
def catalogue(db):
    """With the provider whose calls have two ids, its deliveries signed as it signs them."""
    synced(retell=SECRET, vcp=SECRET, openai_realtime=PROOF)


@pytest.fixture
def bring(catalogue):
    def deliver(payload, at=None):
        at = at or ARRIVALS.get(id(payload), ARRIVAL + timedelta(days=81))
        body = json.dumps(payload).encode()
        headers = sign(catalog.load(RELAY).auth, PROOF, body, at, id=f"msg_{payload['id']}")
        lowered = {name.lower(): value for name, value in headers.items()}
        outcome = inbox.accept(registry.endpoint(RELAY), headers=lowered, body=body, now=at, trace_id="0" * 32)
        assert isinstance(outcome, inbox.Accepted), outcome
        return outcome

    return deliver


def forget_calls():
    for model in (DailyProviderStats, Message, InboundEvent, Artifact, Tombstone):
        model.objects.all().delete()
    CallKey.objects.update(alias_of=None)
    CallKey.objects.all().delete()


def changed(payload, **data):
    made = copy.deepcopy(payload)
    made["data"] |= data
    made["id"] += "".join(sorted(str(value) for value in data.values()))
    return made


def stored():
    """The one call, its message in bytes, its transcript, and what is counted."""
    message = Message.objects.get()
    [transcript] = Artifact.objects.all()
    assert transcript.call_key == message.call_key
    assert message.vcp["vcp_payload"]["artifacts"]["transcript_ref"] == transcript.ref
    assert set(InboundEvent.objects.values_list("state", "call_key")) == {("processed", message.call_key_id)}
    return message.pk, message.call_id, said(message), str(transcript.pk), str(transcript.content), str(numbers())


@pytest.mark.django_db
@pytest.mark.parametrize("batch", [1, 200])
def test_any_order_of_the_events_makes_one_message_with_the_same_bytes(bring, drain, settings, batch):
    settings.INGEST_BATCH_SIZE = batch
    found = set()
    for order in itertools.permutations(PARTS.values()):
        for part in order:
            bring(part)
        assert drain() == 4
        found.add(stored())
        assert rollups.audit() == []
        forget_calls()
    assert len(found) == 1
    [(_, call_id, _, _, transcript, counted)] = found
    assert call_id == CALL
    assert "I need a tune-up next Tuesday." in transcript
    assert "'total': 1" in counted


@pytest.mark.django_db
def test_repetitions_between_the_events_change_nothing(bring, drain):
    found = set()
    for seed in range(4):
        order = [*PARTS.values()] * 2
        random.Random(seed).shuffle(order)  # noqa: S311 - no secret
        for part in order:
            bring(part)
            drain()
        found.add(stored())
        forget_calls()
    assert len(found) == 1


@pytest.mark.django_db
def test_a_session_s_own_record_is_taken_over_by_its_call_and_counted_once(bring, drain):
    bring(SESSION)
    drain()
    assert Message.objects.get().call_id == ALIAS
    assert numbers()["total"] == 1
    bring(BOTH)
    drain()
    assert Message.objects.get().call_id == CALL
    assert numbers()["total"] == 1
    assert {row.call_id: row.alias_of_id for row in CallKey.objects.all()} == {
        CALL: None,
        ALIAS: CallKey.objects.get(call_id=CALL).pk,
    }


@pytest.mark.django_db
def test_what_people_did_to_the_session_s_record_holds_for_the_call(bring, drain):
    bring(SESSION)
    drain()
    operations.correct(Message.objects.get(), {"hcr.summary": "by hand"}, "ann")
    bring(LAST)
    drain()
    message = Message.objects.get()
    assert (message.call_id, message.vcp["vcp_payload"]["hcr"]["summary"]) == (CALL, "by hand")
    operations.withhold(message)
    bring(WEBHOOK)
    drain()
    assert not Message.objects.exists()


@pytest.mark.django_db
def test_a_deleted_message_of_the_session_does_not_come_back_as_the_call_s(bring, drain):
    bring(SESSION)
    drain()
    operations.withhold(Message.objects.get())
    bring(LAST)
    drain()
    assert not Message.objects.exists()
    assert operations.restore(CallKey.objects.get(call_id=CALL)) == []
    assert Message.objects.get().call_id == CALL


@pytest.mark.django_db
def test_a_replay_changes_nothing(bring, drain, settings):
    for part in PARTS.values():
        bring(part)
    drain()
    before = stored()
    settings.INGEST_BATCH_SIZE = 1
    operations.replay(InboundEvent.objects.all())
    assert drain() == 4
    assert stored() == before


@pytest.mark.django_db
def test_a_transcript_of_fewer_events_is_not_kept_beside_that_of_all(bring, drain):
    for part in (SESSION, BOTH, LAST):
        bring(part)
        drain()
        assert Artifact.objects.count() == 1
    assert len(Artifact.objects.get().content) == 3


@pytest.mark.django_db
def test_a_session_that_is_another_call_s_already_stays_there_and_the_claim_is_noted(bring, drain):
    bring(BOTH)
    bring(SESSION)
    drain()
    bring(changed(LAST, call_id="rtc_other"))
    drain()
    assert set(Message.objects.values_list("call_id", flat=True)) == {CALL, "rtc_other"}
    assert InboundEvent.objects.latest("id").report["warnings"] == [
        "another id that it tells of its call is another call's already"
    ]
    assert CallKey.objects.get(call_id=ALIAS).alias_of.call_id == CALL
    assert numbers()["total"] == 2


@pytest.mark.django_db
def test_the_same_session_id_in_another_account_or_environment_is_another_call(bring, drain):
    bring(BOTH)
    drain()
    CallKey.objects.update(account="elsewhere")
    Message.objects.update(account="elsewhere")
    bring(SESSION)
    drain()
    assert set(Message.objects.values_list("call_id", "account")) == {(CALL, "elsewhere"), (ALIAS, "default")}


# --- erasing --------------------------------------------------------------------------------------------------------


def everything_stored():
    return json.dumps(
        [list(model.objects.values()) for model in (InboundEvent, CallKey, Message, Artifact, Tombstone)], default=str
    )


@pytest.mark.django_db
@pytest.mark.parametrize("first", [[WEBHOOK], [SESSION], [BOTH], [SESSION, BOTH], [WEBHOOK, SESSION, BOTH, LAST]])
def test_an_erased_call_is_erased_under_every_name_also_those_told_later(bring, drain, first):
    for part in first:
        bring(part)
    drain()
    erase_call(CallKey.objects.get(alias_of=None) if len(first) < 4 else CallKey.objects.get(call_id=ALIAS), ARRIVAL)
    # LAST tells both names; after it either alone is known to be erased.
    for part in [LAST, *PARTS.values()]:
        bring(part)
        drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert not Message.objects.exists()
    assert not CallKey.objects.exists()
    for word in (CALL, ALIAS, "tune-up", "+15550142277"):
        assert word not in everything_stored()


@pytest.mark.django_db
def test_what_came_of_an_erased_call_under_its_other_name_goes_when_the_names_are_known_for_one(bring, drain):
    bring(WEBHOOK)
    bring(SESSION)
    drain()
    assert Message.objects.count() == 2
    erase_call(CallKey.objects.get(call_id=ALIAS), ARRIVAL)
    bring(BOTH)
    drain()
    assert not Message.objects.exists()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert rollups.audit() == []


# --- at once --------------------------------------------------------------------------------------------------------


def claimed(*rows):
    ids = [row.pk for row in rows]
    InboundEvent.objects.filter(pk__in=ids).update(attempts=1, next_attempt_at=timezone.now() + timedelta(minutes=1))
    return list(InboundEvent.objects.filter(pk__in=ids).order_by("id"))


def working_off(rows):
    return lambda: normalise(rows, ARRIVAL)


@pytest.mark.django_db(transaction=True)
def test_workers_with_an_event_each_make_one_record(bring, drain):
    found = set()
    for seed in range(8):
        parts = list(PARTS.values())
        random.Random(seed).shuffle(parts)  # noqa: S311 - no secret
        rows = [claimed(InboundEvent.objects.get(delivery_id=bring(part).delivery_id)) for part in parts]
        in_threads(*(working_off(row) for row in rows))
        found.add(stored())
        assert rollups.audit() == []
        forget_calls()
    assert len(found) == 1


@pytest.mark.django_db(transaction=True)
def test_crossing_calls_neither_deadlock_nor_miscount(bring, drain):
    """Each worker has an event of every call; sessions sort before some calls and behind others."""
    names = [("a_call", "b_session"), ("d_call", "c_session"), ("e_call", "f_session"), ("h_call", "g_session")]
    for seed in range(3):
        batches = []
        for part in (SESSION, BOTH, LAST):
            made = [
                changed(part, call_id=part["data"]["call_id"] and f"{call}{seed}", session_id=f"{session}{seed}")
                for call, session in names
            ]
            random.Random(f"{seed}{part['id']}").shuffle(made)  # noqa: S311 - no secret
            batches.append([claimed(InboundEvent.objects.get(delivery_id=bring(one).delivery_id))[0] for one in made])
        in_threads(*(working_off(batch) for batch in batches))
        assert rollups.audit() == []
    assert Message.objects.count() == len(names) * 3
    assert set(Message.objects.values_list("stage", flat=True)) == {"ended"}
    assert not Message.objects.filter(call_id__contains="session").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(ON_SQLITE, reason="SQLite has one writer at a time: this race cannot be staged there")
def test_a_name_that_became_another_call_s_while_its_lock_was_awaited_is_followed(bring, drain, monkeypatch):
    """The worker is about to lock the session's row when another one finds out whose session it is."""
    rows = claimed(InboundEvent.objects.get(delivery_id=bring(SESSION).delivery_id))
    bring(LAST)
    locked, seen = calls._locked, []

    def late(keys):
        if not seen:
            seen.append(keys)
            in_threads(drain)
        return locked(keys)

    monkeypatch.setattr(calls, "_locked", late)
    normalise(rows, ARRIVAL)
    message = Message.objects.get()
    assert message.call_id == CALL
    assert set(InboundEvent.objects.values_list("call_key", flat=True)) == {message.call_key_id}


@pytest.mark.django_db(transaction=True)
def test_erasing_while_the_names_are_joined_leaves_nothing(bring, drain):
    for seed in range(6):
        bring(SESSION)
        drain()
        key = CallKey.objects.get(call_id=ALIAS)
        rows = claimed(InboundEvent.objects.get(delivery_id=bring(BOTH).delivery_id))
        jobs = [working_off(rows), lambda key=key: erase_call(key, ARRIVAL)]
        in_threads(*jobs[:: 1 if seed % 2 else -1])
        bring(LAST)
        drain()
        assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
        assert not Message.objects.exists()
        assert not CallKey.objects.exists()
        forget_calls()


def test_what_the_whole_call_tells_names_its_rule_and_no_single_event(bring, drain):
    for part in PARTS.values():
        bring(part)
    drain()
    sources = {one.target: one for one in selectors.field_sources(selectors.folded(InboundEvent.objects.all()))}
    tokens = sources["outcomes.model_outcome_attribution.roles.V2V.tokens_processed"]
    assert tokens.row is None
    assert tokens.spec.source.startswith("collected.")
    assert sources["call.session_id"].row is not None
    assert sources["artifacts.transcript_ref"].spec.of_call

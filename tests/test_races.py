"""Races with real transactions: threads that start at a barrier, or are held at the very place where it matters.

Whatever the order, each delivery is stored once, each call has one message, and the numbers are exact.
"""

import itertools
import json
import random
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from apps.analytics import rollups
from apps.analytics.models import DailyProviderStats
from apps.ingest import claims, operations, tasks
from apps.ingest import normalise as normalise_module
from apps.ingest.claims import batch_size, claim
from apps.ingest.models import CallKey, InboundEvent, Message, Refusal
from apps.ingest.normalise import normalise
from apps.ingest.retention import erase_call
from tests.calls import (
    ANALYZED,
    ARRIVAL,
    CALL_ID,
    ENDED,
    EVENTS,
    ON_SQLITE,
    STARTED,
    TRANSFER,
    in_threads,
    numbers,
    said,
    sample,
    signed,
    states,
)

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.skipif(ON_SQLITE, reason="SQLite has one writer at a time: this race cannot be staged there")


def claimed(*rows):
    """These rows as a worker has them in hand."""
    ids = [row.pk for row in rows]
    InboundEvent.objects.filter(pk__in=ids).update(attempts=1, next_attempt_at=timezone.now() + timedelta(minutes=1))
    return list(InboundEvent.objects.filter(pk__in=ids).order_by("id"))


def working_off(rows):
    return lambda: normalise(rows, ARRIVAL)


# --- the same delivery at once ------------------------------------------------------------------------------------


def test_the_same_delivery_50_times_at_once_is_one_row_one_message_one_call(catalogue, drain):
    body = json.dumps(sample(ENDED)).encode()
    headers = signed(body)

    def post():
        response = Client().generic("POST", "/webhook/retell", body, "application/json", headers=headers)
        return response.status_code, response.json()["duplicate"], response.json()["delivery_id"]

    answers = in_threads(*[post] * 50)
    assert Counter(answer[:2] for answer in answers) == {(200, False): 1, (200, True): 49}
    assert len({answer[2] for answer in answers}) == 1
    assert InboundEvent.objects.count() == 1
    in_threads(drain, drain, drain)
    assert Message.objects.count() == 1
    assert numbers()["total"] == 1


def test_50_different_deliveries_at_once_are_all_taken(catalogue, drain):
    def post(number):
        body = json.dumps(sample(ENDED, call_id=f"call{number}")).encode()
        return Client().generic("POST", "/webhook/retell", body, "application/json", headers=signed(body)).status_code

    assert in_threads(*[lambda number=number: post(number) for number in range(50)]) == [200] * 50
    in_threads(drain, drain)
    assert Message.objects.count() == numbers()["total"] == 50


def test_refusals_at_once_are_all_counted(catalogue):
    def post():
        return Client().generic("POST", "/webhook/retell", b"{}", "application/json").status_code

    assert in_threads(*[post] * 16) == [401] * 16
    assert sum(Refusal.objects.values_list("count", flat=True)) == 16


# --- two workers on one call --------------------------------------------------------------------------------------


@pytest.fixture
def expected(arrive, drain):
    """What the four events of the call say, worked off in peace."""
    for name in EVENTS:
        arrive(sample(name))
    drain()
    text = said(Message.objects.get())
    for model in (DailyProviderStats, Message, InboundEvent, CallKey):
        model.objects.all().delete()
    return text


def test_two_workers_on_events_of_the_same_call_make_one_message(arrive, expected):
    for seed in range(12):
        ids = [arrive(sample(name)).delivery_id for name in EVENTS]
        random.Random(seed).shuffle(ids)  # noqa: S311 - no secret
        rows = [claimed(InboundEvent.objects.get(delivery_id=one))[0] for one in ids]
        cut = 1 + seed % 3
        in_threads(working_off(rows[:cut]), working_off(rows[cut:]))
        assert said(Message.objects.get()) == expected
        assert set(states().values()) == {"processed"}
        assert numbers()["total"] == 1
        assert rollups.audit() == []
        for model in (DailyProviderStats, Message, InboundEvent, CallKey):
            model.objects.all().delete()


def test_four_workers_on_crossing_calls_neither_deadlock_nor_miscount(arrive, catalogue):
    """Each worker has an event of every call, in an order of its own: calls and days are locked in one order."""
    names = [f"call{number}" for number in range(6)]
    day_ms = 86_400_000
    for seed in range(4):
        batches = []
        for event in EVENTS:
            ids = [
                arrive(
                    sample(event, call_id=f"{name}-{seed}", start_timestamp=1773677101250 + number % 3 * day_ms),
                    ARRIVAL + timedelta(days=3),
                ).delivery_id
                for number, name in enumerate(names)
            ]
            random.Random(f"{seed}{event}").shuffle(ids)  # noqa: S311 - no secret
            batches.append([claimed(InboundEvent.objects.get(delivery_id=one))[0] for one in ids])
        in_threads(*(working_off(batch) for batch in batches))
        assert rollups.audit() == []
    assert Message.objects.filter(stage="analysed").count() == len(names) * 4
    assert sum(row.total for row in DailyProviderStats.objects.all()) == len(names) * 4


def test_two_workers_on_the_same_rows_do_no_harm(arrive, expected):
    """A lease that ended too early, or a replay meanwhile: both work the same rows off."""
    for name in EVENTS:
        arrive(sample(name))
    rows = claimed(*InboundEvent.objects.all())
    again = claimed(*InboundEvent.objects.all())
    in_threads(working_off(rows), working_off(again))
    assert said(Message.objects.get()) == expected
    assert numbers()["total"] == 1


@pytest.mark.parametrize("opener", [STARTED, ENDED])
def test_an_event_that_may_not_open_a_call_never_stays_waiting_beside_its_opener(arrive, catalogue, opener):
    for seed in range(10):
        pair = [arrive(sample(name, call_id=f"call{seed}")).delivery_id for name in (TRANSFER, opener)]
        rows = [claimed(InboundEvent.objects.get(delivery_id=one)) for one in pair]
        in_threads(*(working_off(row) for row in rows[:: 1 if seed % 2 else -1]))
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert Message.objects.count() == 10


# --- held at the place where it matters ---------------------------------------------------------------------------


class Gate:
    """Holds the thread that comes through `wrap`ped code first, until the other side has done its work."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()
        self.first = True

    def wrap(self, function):
        def held(*args, **kwargs):
            result = function(*args, **kwargs)
            if self.first:
                self.first = False
                self.reached.set()
                assert self.open.wait(timeout=30)
            return result

        return held

    def meanwhile(self, work):
        """Run work while the other thread is held, then let it go."""

        def run():
            assert self.reached.wait(timeout=30)
            try:
                return work()
            finally:
                self.open.set()

        return run


@on_postgres
def test_a_call_erased_while_its_next_event_is_worked_off_stays_erased(arrive, drain, monkeypatch):
    """The worker has read the event and is about to lock its call when somebody erases that call."""
    arrive(sample(ENDED))
    drain()
    arrive(sample(ANALYZED))
    rows = claimed(InboundEvent.objects.get(state="received"))
    gate = Gate()
    monkeypatch.setattr(normalise_module, "_settle", gate.wrap(normalise_module._settle))
    in_threads(working_off(rows), gate.meanwhile(lambda: erase_call(CallKey.objects.get(), ARRIVAL)))
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert not Message.objects.exists()
    assert not CallKey.objects.exists()


@on_postgres
def test_a_call_erased_between_making_and_locking_its_key_row_stays_erased(arrive, drain, monkeypatch, caplog):
    arrive(sample(ENDED))
    drain()
    arrive(sample(ANALYZED))
    arrive(sample(ENDED, call_id="another"))
    rows = claimed(*InboundEvent.objects.filter(state="received"))
    gate = Gate()
    monkeypatch.setattr(CallKey.objects, "bulk_create", gate.wrap(CallKey.objects.bulk_create))
    in_threads(working_off(rows), gate.meanwhile(lambda: erase_call(CallKey.objects.get(call_id=CALL_ID), ARRIVAL)))
    assert dict(InboundEvent.objects.values_list("call_id", "state")) == {"": "erased", "another": "processed"}
    assert list(CallKey.objects.values_list("call_id", flat=True)) == ["another"]
    assert caplog.records == []  # no batch failed on the way


def test_erasing_and_working_off_at_once_never_leaves_the_call_behind(arrive, drain):
    for seed in range(8):
        name = f"call{seed}"
        arrive(sample(ENDED, call_id=name))
        drain()
        arrive(sample(ANALYZED, call_id=name))
        rows = claimed(InboundEvent.objects.get(state="received"))
        key = CallKey.objects.get(call_id=name)
        jobs = [working_off(rows), lambda key=key: erase_call(key, ARRIVAL)]
        in_threads(*jobs[:: 1 if seed % 2 else -1])
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"erased"}
    assert not Message.objects.exists()
    assert not CallKey.objects.exists()


@on_postgres
def test_the_audit_sees_one_moment(arrive, drain, monkeypatch):
    """A call that is committed between the audit's two looks is no difference."""
    arrive(sample(ENDED))
    drain()
    arrive(sample(ENDED, call_id="meanwhile"))
    gate = Gate()
    monkeypatch.setattr(rollups, "count_again", gate.wrap(rollups.count_again))
    found, done = in_threads(rollups.audit, gate.meanwhile(drain))
    assert (found, done) == ([], 1)


@on_postgres
def test_a_replay_asked_for_while_a_worker_holds_the_rows_is_not_lost_for_the_numbers(arrive, drain, monkeypatch):
    arrive(sample(ENDED))
    drain()
    arrive(sample(ANALYZED))
    rows = claimed(InboundEvent.objects.get(state="received"))
    gate = Gate()
    monkeypatch.setattr(normalise_module, "_settle", gate.wrap(normalise_module._settle))
    in_threads(
        working_off(rows),
        gate.meanwhile(lambda: operations.replay(InboundEvent.objects.filter(event="call_ended"))),
    )
    # The ended event counts with its old fragment until it is worked off again.
    assert Message.objects.get().duration_sec == 35
    drain()
    assert set(states().values()) == {"processed"}
    assert numbers()["total"] == 1


# --- people and events --------------------------------------------------------------------------------------------


def test_a_correction_and_a_late_event_at_once_both_count(arrive, drain):
    for seed in range(8):
        name = f"call{seed}"
        arrive(sample(ENDED, call_id=name))
        drain()
        message = Message.objects.get(call_id=name)
        arrive(sample(ANALYZED, call_id=name))
        rows = claimed(InboundEvent.objects.get(state="received"))
        jobs = [
            working_off(rows),
            lambda message=message: operations.correct(message, {"call.duration_sec": 7}, "ann"),
            lambda message=message: operations.correct(message, {"outcomes.objective.status": "failure"}, "bob"),
        ]
        in_threads(*jobs[seed % 3 :], *jobs[: seed % 3])
    assert set(Message.objects.values_list("status", "stage", "duration_sec")) == {("failure", "analysed", 7)}
    assert {len(message.corrections) for message in Message.objects.all()} == {2}
    assert numbers()["failure_count"] == 8


def test_deleting_a_message_and_a_late_event_at_once_leaves_none(arrive, drain):
    for seed in range(6):
        name = f"call{seed}"
        arrive(sample(ENDED, call_id=name))
        drain()
        message = Message.objects.get(call_id=name)
        arrive(sample(ANALYZED, call_id=name))
        rows = claimed(InboundEvent.objects.get(state="received"))
        jobs = [working_off(rows), lambda message=message: operations.withhold(message)]
        in_threads(*jobs[:: 1 if seed % 2 else -1])
    assert not Message.objects.exists()
    assert numbers() == {}


# --- who takes which rows -----------------------------------------------------------------------------------------


def test_no_row_is_taken_by_two_workers_while_its_lease_lasts(arrive, catalogue, settings):
    settings.INGEST_BATCH_SIZE = 3
    for number in range(40):
        arrive(sample(ENDED, call_id=f"call{number}"))
    now = timezone.now()

    def take():
        taken = []
        while rows := claim(now):
            taken += [row.pk for row in rows]
        return taken

    taken = list(itertools.chain(*in_threads(take, take, take, take)))
    assert len(taken) == len(set(taken)) == 40
    assert claim(now) == []
    assert set(InboundEvent.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.parametrize(
    ("most", "attempts", "sizes"),
    [(200, 5, [200, 25, 3, 1, 1]), (1000, 5, [1000, 125, 15, 1, 1]), (200, 2, [200, 1]), (4, 5, [4, 1, 1, 1, 1])],
)
def test_what_was_claimed_before_is_taken_in_ever_smaller_batches(settings, most, attempts, sizes):
    settings.INGEST_BATCH_SIZE, settings.INGEST_MAX_ATTEMPTS = most, attempts
    assert [batch_size(number) for number in range(attempts)] == sizes


def test_an_expired_lease_is_taken_over_in_smaller_batches(arrive, catalogue, settings):
    settings.INGEST_BATCH_SIZE = 16
    for number in range(3):
        arrive(sample(ENDED, call_id=f"call{number}"))
    now = timezone.now()
    assert len(claim(now)) == 3
    assert claim(now + timedelta(seconds=settings.INGEST_LEASE_SEC - 1)) == []
    later = now + timedelta(seconds=settings.INGEST_LEASE_SEC)
    assert [len(claim(later)) for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize("claimed_before", [False, True])
def test_a_clock_that_was_set_back_keeps_nothing_waiting(arrive, catalogue, claimed_before):
    now = timezone.now()
    row = arrive(sample(ENDED), now + timedelta(hours=2))
    if claimed_before:
        assert len(claim(now + timedelta(hours=2))) == 1
    assert [found.pk for found in claim(now)] == [InboundEvent.objects.get(delivery_id=row.delivery_id).pk]
    assert claim(now) == []


def test_a_row_that_kills_its_worker_is_parked_and_harms_no_other(arrive, catalogue, settings):
    poison = arrive(sample(ENDED, call_id="poison")).delivery_id
    for number in range(5):
        arrive(sample(ENDED, call_id=f"good{number}"))
    now = timezone.now()
    for _ in range(settings.INGEST_MAX_ATTEMPTS):
        while rows := claim(now):
            if any(row.delivery_id == poison for row in rows):
                continue  # the worker dies here with all it had in hand, and another one is started
            normalise(rows, now)
        now += timedelta(seconds=settings.INGEST_LEASE_SEC)
    assert sorted(Message.objects.values_list("call_id", flat=True)) == [f"good{number}" for number in range(5)]
    assert claim(now) == []
    parked = InboundEvent.objects.get(delivery_id=poison)
    assert (parked.state, parked.error_code, parked.attempts) == ("failed", "VCP_E002", settings.INGEST_MAX_ATTEMPTS)
    assert "given up after 5 attempts" in parked.error_detail
    operations.replay(InboundEvent.objects.filter(pk=parked.pk))
    assert tasks.drain() == 1
    assert Message.objects.filter(call_id="poison").exists()


def test_a_database_error_gives_the_rows_back_with_no_attempt_counted(arrive, catalogue, monkeypatch):
    arrive(sample(ENDED))

    def deadlocked(rows, now):
        raise OperationalError("deadlock detected")

    with monkeypatch.context() as patched:
        patched.setattr(tasks, "normalise", deadlocked)
        with pytest.raises(OperationalError):
            tasks.drain()
    row = InboundEvent.objects.get()
    assert (row.state, row.attempts) == ("received", 0)
    assert row.next_attempt_at <= timezone.now() + claims.AFTER_DATABASE_ERROR
    assert [one.pk for one in claim(timezone.now() + claims.AFTER_DATABASE_ERROR)] == [row.pk]


def test_what_a_lost_bell_left_is_found_by_one_of_two_sweeps(arrive, catalogue):
    for number in range(5):
        arrive(sample(ENDED, call_id=f"call{number}"))
    assert sum(in_threads(tasks.sweep, tasks.sweep)) == 5
    assert Message.objects.count() == 5


def test_a_drain_that_has_run_long_hands_over_by_ringing(arrive, catalogue, monkeypatch, settings, rings):
    settings.INGEST_BATCH_SIZE = 1
    for number in range(3):
        arrive(sample(ENDED, call_id=f"call{number}"))
    rings.clear()
    monkeypatch.setattr(tasks, "DRAIN_FOR_SEC", -1)
    assert [tasks.drain() for _ in range(3)] == [1, 1, 1]
    assert len(rings) == 3

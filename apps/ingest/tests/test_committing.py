"""Group commit: what is told to be stored is committed, whatever happens to the batch, the connection or the thread."""

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction

from apps.ingest import committing, tally
from apps.ingest.committing import Delivery, NotStoredError
from apps.ingest.ids import derived_id
from apps.ingest.models import InboundEvent, Refusal, Tally
from apps.providers.models import Endpoint, Provider
from tests.calls import ARRIVAL, ON_SQLITE

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.skipif(ON_SQLITE, reason="SQLite has no server that could end a connection")
NO_ENDPOINT = 2**31 - 1
Build = Callable[..., Delivery]


@pytest.fixture
def endpoint(db: None) -> Endpoint:
    """Nothing but the row that deliveries refer to: after each of these tests all tables are emptied."""
    return Endpoint.objects.create(provider=Provider.objects.create(slug="retell", name="Retell"))


@pytest.fixture
def delivery(endpoint: Endpoint) -> Build:
    """Builds the delivery with this number; equal numbers are the same delivery."""

    def build(number: int = 0, **changes: Any) -> Delivery:
        body = b'{"number": %d}' % number
        digest = hashlib.sha256(body).hexdigest()
        told: dict[str, Any] = {
            "delivery_id": derived_id("delivery", "retell", "default", f"sha256:{digest}"),
            "delivery_key": f"sha256:{digest}",
            "endpoint_id": endpoint.id,
            "provider": "retell",
            "account": "",
            "environment": "live",
            "received_at": ARRIVAL,
            "trace_id": "0" * 32,
            "content_type": "application/json",
            "headers": {"content-type": "application/json"},
            "body": body,
            "body_size": len(body),
            "body_sha256": digest,
        }
        return Delivery(**told | changes)

    return build


@pytest.fixture
def shared(db: None) -> Iterator[None]:
    """This process commits through its writer thread, as a web process does."""
    committing.start()
    yield
    committing.stop()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.001)


class Held:
    """The writer thread, held in its first batch; `batches` has the size of each batch that it wrote or tried."""

    def __init__(self, pool: ThreadPoolExecutor, first: Delivery) -> None:
        self.pool, self.batches = pool, list[int]()
        self.reached, self.open = threading.Event(), threading.Event()
        self._insert_all = committing._insert_all
        self._first = first

    def insert_all(self, deliveries: list[Delivery]) -> Any:
        self.batches.append(len(deliveries))
        self.reached.set()
        assert self.open.wait(timeout=30)
        return self._insert_all(deliveries)

    def hold(self) -> Future[bool]:
        """The future of the delivery that the writer has in hand."""
        answer = self.pool.submit(committing.insert, self._first)
        assert self.reached.wait(timeout=30)
        return answer

    def add(self, delivery: Delivery) -> Future[bool]:
        """One more delivery that waits, in the order of the calls."""
        writer = committing._writer
        assert writer is not None
        waiting = writer._queue.qsize()
        answer = self.pool.submit(committing.insert, delivery)
        until(lambda: writer._queue.qsize() == waiting + 1)
        return answer


@pytest.fixture
def held(shared: None, delivery: Build, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    with ThreadPoolExecutor(24) as pool:
        gate = Held(pool, delivery(0))
        monkeypatch.setattr(committing, "_insert_all", gate.insert_all)
        try:
            yield gate
        finally:
            gate.open.set()


def failing(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> None:
    """The next batches fail with these errors, one each; None is one that does not."""
    left, insert_all = list(errors), committing._insert_all

    def insert(deliveries: Any) -> Any:
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return insert_all(deliveries)

    monkeypatch.setattr(committing, "_insert_all", insert)


def stored() -> int:
    return InboundEvent.objects.count()


def assert_it_adds_up(repeated: int = 0) -> None:
    assert sum(line.accepted for line in Tally.objects.all()) == stored()
    assert sum(line.repeated for line in Tally.objects.all()) == repeated


# --- one at a time -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["by itself", "shared"])
def either_way(request: pytest.FixtureRequest) -> None:
    if request.param == "shared":
        request.getfixturevalue("shared")


def test_a_new_delivery_is_stored_and_a_repetition_is_not(either_way: None, delivery: Build) -> None:
    assert committing.insert(delivery()) is True
    assert committing.insert(delivery()) is False
    assert committing.insert(delivery(1)) is True
    assert stored() == 2
    assert_it_adds_up(repeated=1)


def test_what_is_stored_is_what_the_model_would_store(either_way: None, delivery: Build) -> None:
    told = delivery(headers={"user-agent": "Ünï/1", "x": '"\\'}, body=b"\x00\xff", trace_id="a" * 32)
    committing.insert(told)
    columns = [column.attname for column in InboundEvent._meta.concrete_fields]
    fields = {name: getattr(told, name) for name in columns if hasattr(told, name)}
    expected = InboundEvent(**fields, next_attempt_at=told.received_at)
    row = InboundEvent.objects.get()
    row.body = bytes(row.body)
    assert {name: getattr(row, name) for name in columns if name != "id"} == {
        name: getattr(expected, name) for name in columns if name != "id"
    }


def test_within_a_transaction_of_the_caller_s_it_is_part_of_that(either_way: None, delivery: Build) -> None:
    with transaction.atomic():
        assert committing.insert(delivery()) is True
        committing.count_refusal(delivery().endpoint_id, ARRIVAL, "reason", "")
        transaction.set_rollback(True)
    committing.stop()
    assert (stored(), Refusal.objects.count(), Tally.objects.count()) == (0, 0, 0)


def test_what_the_database_does_not_take_is_the_caller_s_error(either_way: None, delivery: Build) -> None:
    with pytest.raises(IntegrityError):
        committing.insert(delivery(endpoint_id=NO_ENDPOINT))
    assert committing.insert(delivery()) is True
    assert_it_adds_up()


# --- together ----------------------------------------------------------------------------------------------------


def test_those_who_wait_share_one_commit(held: Held, delivery: Build) -> None:
    answers = [held.hold(), *(held.add(delivery(number)) for number in range(1, 20))]
    held.open.set()
    assert [answer.result(timeout=30) for answer in answers] == [True] * 20
    assert held.batches == [1, 19]
    assert stored() == 20
    assert_it_adds_up()


def test_of_equal_ones_in_a_batch_the_first_is_new(held: Held, delivery: Build) -> None:
    first = held.hold()
    answers = [held.add(delivery(number)) for number in (1, 0, 2, 1, 1, 2)]
    held.open.set()
    assert first.result(timeout=30) is True
    assert [answer.result(timeout=30) for answer in answers] == [True, False, True, False, False, False]
    assert held.batches == [1, 6]
    assert stored() == 3
    assert_it_adds_up(repeated=4)


def test_what_the_database_does_not_take_fails_alone(held: Held, delivery: Build) -> None:
    first = held.hold()
    bad = [delivery(2, endpoint_id=NO_ENDPOINT), delivery(4, provider=None)]
    answers = [held.add(one) for one in (delivery(1), bad[0], delivery(3), bad[1], delivery(1))]
    held.open.set()
    assert first.result(timeout=30) is True
    assert [answer.result(timeout=30) for answer in (answers[0], answers[2], answers[4])] == [True, True, False]
    for answer in (answers[1], answers[3]):
        with pytest.raises(IntegrityError):
            answer.result(timeout=30)
    assert stored() == 3
    assert_it_adds_up(repeated=1)


@pytest.mark.parametrize(
    ("name", "limit", "batches"), [("MAX_TOGETHER", 3, [1, 3, 2]), ("MAX_TOGETHER_BYTES", 30, [1, 3, 2])]
)
def test_a_batch_has_its_limits(
    held: Held, delivery: Build, monkeypatch: pytest.MonkeyPatch, name: str, limit: int, batches: list[int]
) -> None:
    monkeypatch.setattr(committing, name, limit)
    assert len(delivery(1).body) == 13
    answers = [held.hold(), *(held.add(delivery(number)) for number in range(1, 6))]
    held.open.set()
    assert [answer.result(timeout=30) for answer in answers] == [True] * 6
    assert held.batches == batches


def test_the_largest_batch_is_one_statement(shared: None, delivery: Build) -> None:
    many = [delivery(number) for number in range(committing.MAX_TOGETHER)]
    with transaction.atomic():
        assert len(committing._insert_all(many)) == stored() == committing.MAX_TOGETHER


# --- a database that goes away ------------------------------------------------------------------------------------

BROKEN = [OperationalError("the connection was closed"), InterfaceError("connection already closed")]


@pytest.mark.parametrize("error", BROKEN)
def test_a_broken_connection_is_made_anew_and_nobody_notices(
    shared: None, delivery: Build, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error)
    assert committing.insert(delivery()) is True
    assert_it_adds_up()


@pytest.mark.parametrize("error", BROKEN)
def test_a_database_that_stays_away_is_told_and_its_return_is_noticed(
    shared: None, delivery: Build, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error, error)
    with pytest.raises(type(error)):
        committing.insert(delivery())
    assert stored() == 0
    assert committing.insert(delivery()) is True
    assert_it_adds_up()


def test_a_defect_is_told_to_who_waits_and_the_thread_lives_on(
    shared: None, delivery: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError(), ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        committing.insert(delivery())
    assert committing.insert(delivery()) is True


@on_postgres
def test_a_connection_that_the_server_ends_between_two_batches_is_made_anew(shared: None, delivery: Build) -> None:
    committing.insert(delivery(1))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        assert cursor.fetchone() == (1,)  # the writer's is the only other one
    assert committing.insert(delivery(2)) is True
    assert_it_adds_up()


@on_postgres
@pytest.mark.parametrize("times", [1, 2])
def test_a_connection_that_the_server_ends_within_a_batch_leaves_nothing_of_it(
    shared: None, delivery: Build, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    left, counting = [None] * times, tally.counting

    def counting_and_end(*args: Any) -> tuple[str, list[Any]]:
        sql, values = counting(*args)
        if left:
            left.pop()
            sql = sql.replace(" ON CONFLICT", " WHERE pg_terminate_backend(pg_backend_pid()) ON CONFLICT")
        return sql, values

    monkeypatch.setattr(tally, "counting", counting_and_end)
    if times == 2:
        with pytest.raises(OperationalError):
            committing.insert(delivery())
        assert stored() == 0
    assert committing.insert(delivery()) is True
    assert_it_adds_up()


def test_a_commit_whose_answer_is_lost_makes_the_delivery_a_known_one(
    shared: None, delivery: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke after the commit: the second try finds it there, and nothing is counted twice."""
    write = committing._Writer._write
    lost: list[Any] = [OperationalError("the answer to the commit was lost")]

    def write_and_lose(*args: Any) -> None:
        write(*args)
        if lost:
            raise lost.pop()

    monkeypatch.setattr(committing._Writer, "_write", write_and_lose)
    assert committing.insert(delivery()) is False
    assert stored() == 1
    assert_it_adds_up(repeated=1)


# --- a database that hangs ----------------------------------------------------------------------------------------


def test_who_has_waited_long_enough_is_told_and_not_stored_afterwards(
    held: Held, delivery: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "WAIT_SEC", 0.05)
    in_hand, waiting = held.hold(), held.add(delivery(1))
    for answer in (in_hand, waiting):
        with pytest.raises(NotStoredError, match="has not answered"):
            answer.result(timeout=30)
    monkeypatch.setattr(committing, "WAIT_SEC", 30)
    held.open.set()
    # What was in hand is stored all the same, and its repetition is known; of what had only waited nothing is left.
    assert committing.insert(delivery(0)) is False
    assert committing.insert(delivery(1)) is True
    assert_it_adds_up(repeated=1)


def test_who_comes_while_it_hangs_is_told_at_once(held: Held, delivery: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "WAIT_SEC", 0.01)
    held.hold()
    writer = committing._writer
    assert writer is not None
    until(writer._hangs)
    for ask in (committing.check, lambda: committing.insert(delivery(1))):
        with pytest.raises(NotStoredError, match="has not answered others"):
            ask()
    assert writer._queue.empty()
    monkeypatch.setattr(committing, "WAIT_SEC", 30)
    held.open.set()
    committing.check()
    assert committing.insert(delivery(1)) is True


def test_too_many_are_told_at_once(held: Held, delivery: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "MAX_WAITING", 3)
    answers = [held.hold(), *(held.add(delivery(number)) for number in range(1, 4))]
    with pytest.raises(NotStoredError, match="too many"):
        committing.insert(delivery(4))
    held.open.set()
    assert [answer.result(timeout=30) for answer in answers] == [True] * 4
    assert committing.insert(delivery(4)) is True


def test_a_look_tells_whether_commits_work(held: Held, delivery: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    committing.check()
    in_hand = held.hold()
    monkeypatch.setattr(committing, "WAIT_SEC", 0.05)
    with pytest.raises(NotStoredError):
        committing.check()
    monkeypatch.setattr(committing, "WAIT_SEC", 30)
    held.open.set()
    committing.check()
    assert not in_hand.cancelled()


def test_a_look_fails_when_the_database_is_away(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("down")

    monkeypatch.setattr(committing, "_look", away)
    with pytest.raises(OperationalError):
        committing.check()


def test_a_process_without_the_thread_has_nothing_to_look_at(db: None) -> None:
    committing.check()
    assert committing._writer is None


# --- refusals ----------------------------------------------------------------------------------------------------


def counts() -> dict[str, tuple[int, int]]:
    return {row.reason: (row.count, row.not_kept) for row in Refusal.objects.all()}


def test_a_refusal_is_counted_at_once_where_no_thread_does_it(endpoint: Endpoint) -> None:
    for second in range(3):
        committing.count_refusal(
            endpoint.id, ARRIVAL + timedelta(seconds=second), "reason", f"detail {second}", not_kept=second == 1
        )
        assert counts() == {"reason": (second + 1, int(second >= 1))}
    assert Refusal.objects.get().last_at == ARRIVAL + timedelta(seconds=2)
    assert Endpoint.objects.get(pk=endpoint.id).last_refused_reason == "reason: detail 2"


def test_nobody_waits_for_the_count_of_refusals_and_many_are_one_write(
    held: Held, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Counter[str]()
    count_refusals = committing._count_refusals

    def count(refusals: Any) -> None:
        written["times"] += 1
        count_refusals(refusals)

    monkeypatch.setattr(committing, "_count_refusals", count)
    held.hold()
    for number in range(500):  # the writer is held; this returns all the same
        committing.count_refusal(endpoint.id, ARRIVAL, f"reason {number % 2}", "", not_kept=number % 4 == 0)
    assert counts() == {}
    held.open.set()
    committing.check()
    assert counts() == {"reason 0": (250, 125), "reason 1": (250, 0)}
    assert written["times"] == 1


def test_refusals_of_an_outage_are_counted_when_it_is_over(
    shared: None, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    tried = Counter[str]()
    count_refusals = committing._count_refusals
    away.set()

    def count(refusals: Any) -> None:
        tried["times"] += 1
        if away.is_set():
            raise OperationalError("down")
        count_refusals(refusals)

    monkeypatch.setattr(committing, "_count_refusals", count)
    committing.count_refusal(endpoint.id, ARRIVAL, "reason", "")
    until(lambda: tried["times"] >= 2)
    committing_is_idle()
    away.clear()
    committing.count_refusal(endpoint.id, ARRIVAL, "reason", "")  # no delivery comes: this alone must wake the thread
    until(lambda: counts() == {"reason": (2, 0)})


def committing_is_idle() -> None:
    """The thread has come to the end of the batch that it had in hand."""
    with suppress(OperationalError):
        committing.check()


def test_a_refusal_that_cannot_be_written_harms_nobody(held: Held, delivery: Build, endpoint: Endpoint) -> None:
    """Its endpoint was deleted meanwhile."""
    first, second = held.hold(), held.add(delivery(1))
    committing.count_refusal(NO_ENDPOINT, ARRIVAL, "of nobody", "")
    committing.count_refusal(endpoint.id, ARRIVAL, "reason", "")
    held.open.set()
    assert [answer.result(timeout=30) for answer in (first, second)] == [True, True]
    committing.check()
    assert counts() == {"reason": (1, 0)}
    assert_it_adds_up()


# --- begin and end -----------------------------------------------------------------------------------------------


def test_stopping_commits_what_waits(held: Held, delivery: Build, endpoint: Endpoint) -> None:
    answers = [held.hold(), held.add(delivery(1))]
    committing.count_refusal(endpoint.id, ARRIVAL, "reason", "")
    end = held.pool.submit(committing.stop)
    held.open.set()
    end.result(timeout=30)
    assert [answer.result(timeout=30) for answer in answers] == [True, True]
    assert (stored(), counts()) == (2, {"reason": (1, 0)})
    assert "committing" not in [thread.name for thread in threading.enumerate()]
    assert committing.insert(delivery(2)) is True


def test_a_forked_process_gets_a_thread_of_its_own(shared: None, delivery: Build) -> None:
    committing.insert(delivery(0))
    first = committing._writer
    committing.insert(delivery(1))
    assert first is not None
    assert committing._writer is first
    first.pid = os.getppid()  # as a child finds it: made by the process it was forked from
    assert committing.insert(delivery(2)) is True
    assert committing._writer is not first
    first.finish()


def test_threads_at_once_get_one_writer(shared: None, delivery: Build) -> None:
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: committing.insert(delivery(number % 40)), range(200)))
    assert Counter(answers) == {True: 40, False: 160}
    assert [thread.name for thread in threading.enumerate()].count("committing") == 1
    assert_it_adds_up(repeated=160)

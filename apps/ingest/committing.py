"""Puts proved deliveries into the inbox, each committed when its caller is told so.

By itself each is an INSERT of its own. A web process calls `start`: then the requests that wait share one INSERT and
one commit, which a single thread with a connection of its own makes; the commit in hand is the window in which the
next ones gather. Counts of refusals ride along, and nobody waits for them.
"""

import asyncio
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache, partial
from queue import Empty, SimpleQueue
from typing import Any

import orjson
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F

from apps.ingest import tally
from apps.ingest.models import InboundEvent, Refusal
from apps.ingest.writing import writing
from apps.providers.models import Endpoint

log = logging.getLogger(__name__)

MAX_TOGETHER = 200
# Of bodies: a batch must not become one statement of hundreds of MB.
MAX_TOGETHER_BYTES = 8 * 1024 * 1024
# More than so many waiting cannot be stored in time: better told at once than after a time-out.
MAX_WAITING = 2_000
WAIT_SEC = 8.0


class NotStoredError(Exception):
    """Not known to be committed: too many wait, or the database does not answer. The sender is to send again."""


@dataclass(slots=True)
class Delivery:
    """A new delivery as the door tells it: columns of InboundEvent by name. The others start with their defaults."""

    delivery_id: uuid.UUID
    delivery_key: str
    endpoint_id: int
    provider: str
    account: str
    environment: str
    received_at: datetime
    trace_id: str
    content_type: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    body_size: int
    body_sha256: str
    file_id: str | None = None


Place = tuple[int, datetime, str]  # endpoint, hour, reason


@dataclass(slots=True)
class Refused:
    """How many were refused at one place, how many of them could not be kept, and the last of them."""

    count: int
    not_kept: int
    last_at: datetime
    detail: str

    def __add__(self, other: "Refused") -> "Refused":
        last = max(self, other, key=lambda refused: refused.last_at)
        return Refused(self.count + other.count, self.not_kept + other.not_kept, last.last_at, last.detail)


# --- what everybody calls ---------------------------------------------------------------------------------------


def insert(delivery: Delivery) -> bool:
    """Store it and count it, committed on return; False when it had been stored before.

    The constraint decides, not a look before. Raises NotStoredError or a database error: then it may be sent again.
    Within a transaction of the caller's it is part of that.
    """
    writer = _writer_here()
    if writer is not None and not connection.in_atomic_block:
        return writer.insert(delivery)
    with writing():
        return _insert_all([delivery])[0]


async def insert_in_loop(delivery: Delivery) -> bool:
    """The same from an event loop, which goes on meanwhile. Only in a process that has called `start`."""
    writer = _writer_here()
    assert writer is not None  # noqa: S101 - the caller's promise
    return await writer.insert_in_loop(delivery)


def is_shared() -> bool:
    """Whether this process has called `start`."""
    return _shared


def count_refusal(endpoint_id: int, now: datetime, reason: str, detail: str, *, not_kept: bool = False) -> None:
    """Count one refusal in its hour. In a process that has called `start` it is written soon, else at once."""
    place = (endpoint_id, tally.hour_of(now), reason[:40])
    counted = Refused(1, int(not_kept), now, detail)
    writer = _writer_here()
    if writer is not None and not connection.in_atomic_block:
        writer.note_refusal(place, counted)
        return
    with writing():
        _count_refusals({place: counted})


def start() -> None:
    """From now on the requests of this process share their commits. A forked process starts anew by itself."""
    global _shared, _writer
    _shared, _writer = True, None


def stop() -> None:
    """Commit what waits, and let each request commit for itself again."""
    global _shared, _writer
    writer, _shared, _writer = _writer, False, None
    if writer is not None and writer.pid == os.getpid():
        writer.finish()


def check(within_sec: float | None = None) -> None:
    """Whether this process can commit now, or within so long. Raises NotStoredError or a database error."""
    writer = _writer_here()
    if writer is not None:
        writer.wait_for(_ThreadTicket(), WAIT_SEC if within_sec is None else within_sec)


_shared = False
_writer: "_Writer | None" = None
_lock = threading.Lock()


def _writer_here() -> "_Writer | None":
    global _writer
    if not _shared:
        return None
    writer = _writer
    if writer is None or writer.pid != os.getpid():
        with _lock:
            if _writer is None or _writer.pid != os.getpid():
                _writer = _Writer()
            writer = _writer
    return writer


# --- the thread ---------------------------------------------------------------------------------------------------


class _Ticket:
    """A caller that waits: with a delivery, or with none to see whether commits work."""

    __slots__ = ("created", "delivery", "error", "given_up")

    def __init__(self, delivery: Delivery | None = None) -> None:
        self.delivery = delivery
        self.created = False
        self.given_up = False
        self.error: BaseException | None = None

    def settle(self) -> asyncio.AbstractEventLoop | None:
        """Called when created or error are known; the loop, if there is one, that is to tell the caller."""
        return None


class _ThreadTicket(_Ticket):
    """Its caller waits in a thread of its own."""

    __slots__ = ("done",)

    def __init__(self, delivery: Delivery | None = None) -> None:
        super().__init__(delivery)
        self.done = threading.Lock()
        self.done.acquire()

    def settle(self) -> None:
        self.done.release()


class _LoopTicket(_Ticket):
    """Its caller waits in an event loop."""

    __slots__ = ("future", "loop")

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def settle(self) -> asyncio.AbstractEventLoop:
        return self.loop


def _wake(tickets: Sequence[_Ticket]) -> None:
    """In the loop: tell those that still wait."""
    for ticket in tickets:
        if isinstance(ticket, _LoopTicket) and not ticket.future.done():
            ticket.future.set_result(None)


class _Writer:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self._queue: SimpleQueue[_Ticket | None] = SimpleQueue()
        self._in_hand_since: float | None = None
        self._refusals: dict[Place, Refused] = {}
        self._refusals_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="committing", daemon=True)
        self._thread.start()

    def insert(self, delivery: Delivery) -> bool:
        ticket = _ThreadTicket(delivery)
        self.wait_for(ticket, WAIT_SEC)
        return ticket.created

    def wait_for(self, ticket: _ThreadTicket, within_sec: float) -> None:
        self._put(ticket)
        if not ticket.done.acquire(timeout=within_sec):
            _give_up(ticket, within_sec)
        if ticket.error is not None:
            raise ticket.error

    async def insert_in_loop(self, delivery: Delivery) -> bool:
        ticket = _LoopTicket(delivery)
        self._put(ticket)
        alarm = ticket.loop.call_later(WAIT_SEC, _give_up, ticket, WAIT_SEC)
        await ticket.future
        alarm.cancel()
        if ticket.error is not None:
            raise ticket.error
        return ticket.created

    def _put(self, ticket: _Ticket) -> None:
        if self._hangs():
            raise NotStoredError(f"the database has not answered others for {WAIT_SEC:g} s")
        if self._queue.qsize() >= MAX_WAITING:
            raise NotStoredError("too many deliveries wait to be stored")
        self._queue.put(ticket)

    def _hangs(self) -> bool:
        """Whether the commit in hand takes so long that nobody who comes now needs to wait as well."""
        since = self._in_hand_since
        return since is not None and time.monotonic() - since > WAIT_SEC

    def note_refusal(self, place: Place, counted: Refused) -> None:
        with self._refusals_lock:
            _add(self._refusals, place, counted)
        if self._queue.empty():
            self._queue.put(_Ticket())  # nobody waits for it; it wakes the thread

    def finish(self) -> None:
        self._queue.put(None)
        self._thread.join(WAIT_SEC)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            tickets = [first, *self._those_who_wait(first)]
            self._in_hand_since = time.monotonic()
            try:
                self._commit([ticket for ticket in tickets if not ticket.given_up])
            except Exception as error:
                # Whatever it is, the thread lives on and nobody is told that his delivery was stored.
                log.exception("a batch of %d deliveries could not be stored", len(tickets))
                for ticket in tickets:
                    ticket.error = ticket.error or error
            self._in_hand_since = None
            # Each loop is woken once, however many wait in it.
            for loop in {loop for ticket in tickets if (loop := ticket.settle()) is not None}:
                with suppress(RuntimeError):  # it has been closed, with all who waited in it
                    loop.call_soon_threadsafe(_wake, tickets)
        connection.close()

    def _those_who_wait(self, first: _Ticket) -> Iterable[_Ticket]:
        size, number = _size(first), 1
        while number < MAX_TOGETHER and size < MAX_TOGETHER_BYTES:
            try:
                ticket = self._queue.get_nowait()
            except Empty:
                return
            if ticket is None:
                self._queue.put(None)
                return
            size, number = size + _size(ticket), number + 1
            yield ticket

    def _commit(self, tickets: Sequence[_Ticket]) -> None:
        with self._refusals_lock:
            refusals, self._refusals = self._refusals, {}
        try:
            _with_a_working_connection(partial(self._write, tickets, refusals))
        except (OperationalError, InterfaceError):
            self._keep_for_later(refusals)
            raise
        except Exception:
            log.exception("%d deliveries could not be stored together; trying them one by one", len(tickets))
            self._one_by_one(tickets)
            self._count_one_by_one(refusals)

    def _one_by_one(self, tickets: Sequence[_Ticket]) -> None:
        """What the database does not take fails alone."""
        for ticket in tickets:
            try:
                _with_a_working_connection(partial(self._write, [ticket], {}))
            except Exception as error:  # noqa: BLE001 - told to the one who waits for it
                ticket.error = error

    def _count_one_by_one(self, refusals: dict[Place, Refused]) -> None:
        """The same of refusals, for which nobody waits."""
        for place, counted in refusals.items():
            try:
                _with_a_working_connection(partial(self._write, [], {place: counted}))
            except (OperationalError, InterfaceError):
                self._keep_for_later({place: counted})
            except Exception:
                log.exception("refusals could not be counted; perhaps their endpoint has been deleted")

    def _write(self, tickets: Sequence[_Ticket], refusals: dict[Place, Refused]) -> None:
        waiting = [(ticket, ticket.delivery) for ticket in tickets if ticket.delivery is not None]
        created: list[bool] = []
        with writing():
            if waiting and not refusals:
                created = _insert_all([delivery for _, delivery in waiting])
            elif waiting or refusals:
                with transaction.atomic():
                    created = _insert_all([delivery for _, delivery in waiting]) if waiting else []
                    _count_refusals(refusals)
            else:
                _look()
        for (ticket, _), is_new in zip(waiting, created, strict=True):
            ticket.created = is_new

    def _keep_for_later(self, refusals: dict[Place, Refused]) -> None:
        with self._refusals_lock:
            for place, counted in refusals.items():
                _add(self._refusals, place, counted)


def _give_up(ticket: _Ticket, after_sec: float) -> None:
    # Perhaps it is stored later all the same; then the sender's repetition is a known delivery.
    ticket.given_up = True
    ticket.error = NotStoredError(f"the database has not answered for {after_sec:g} s")
    _wake([ticket])


def _add(refusals: dict[Place, Refused], place: Place, counted: Refused) -> None:
    refusals[place] = refusals[place] + counted if place in refusals else counted


def _size(ticket: _Ticket) -> int:
    return len(ticket.delivery.body) if ticket.delivery is not None else 0


def _with_a_working_connection(work: Callable[[], None]) -> None:
    """Run it; where the connection turns out to be broken, once more on a new one. Both times all or nothing."""
    try:
        work()
    except (OperationalError, InterfaceError):
        connection.close()
        try:
            work()
        except BaseException:
            connection.close()
            raise


# --- the statements -----------------------------------------------------------------------------------------------

_TOLD = tuple(field.name for field in fields(Delivery))


def _insert_all(deliveries: Sequence[Delivery]) -> list[bool]:
    """Which of them are new; of equal ones the first is. Stores and counts them, all or none."""
    # In one order, so that two processes with the same deliveries never wait crosswise.
    ordered = sorted(deliveries, key=lambda delivery: delivery.delivery_id.int)
    values = [value for delivery in ordered for value in _values(delivery)]
    insert = _insert_sql(connection.vendor, len(ordered))
    if connection.vendor == "postgresql":
        # One statement is a transaction by itself: of five round trips, one is left.
        counting, places = tally.counting("stored", deliveries)
        statement = f"WITH stored AS ({insert}), {counting} SELECT delivery_id FROM stored"  # noqa: S608 - of our own making
        with connection.cursor() as cursor:
            cursor.execute(statement, [*values, *places])
            return _are_new(deliveries, cursor.fetchall())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(insert, values)
        are_new = _are_new(deliveries, cursor.fetchall())
        tally.add(cursor, list(zip(deliveries, are_new, strict=True)))
    return are_new


def _are_new(deliveries: Sequence[Delivery], rows: Iterable[tuple[Any, ...]]) -> list[bool]:
    created = {_as_uuid(row[0]) for row in rows}
    are_new = []
    for delivery in deliveries:
        are_new.append(delivery.delivery_id in created)
        created.discard(delivery.delivery_id)
    return are_new


def _as_uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))


def _values(delivery: Delivery) -> list[Any]:
    return [prepare(getattr(delivery, name)) for name, prepare in _preparations(connection.vendor)]


@cache
def _preparations(vendor: str) -> list[tuple[str, Callable[[Any], Any]]]:
    """How the database's driver is given each column that a delivery tells, in the statement's order."""

    by_kind: dict[str, Callable[[Any], Any]] = {
        # Django's own ways, less its looks at what kind of value it was given.
        "BinaryField": connection.Database.Binary,  # type: ignore[attr-defined]
        "DateTimeField": connection.ops.adapt_datetimefield_value,
        "JSONField": lambda value: orjson.dumps(value).decode(),
        "UUIDField": (lambda value: value) if vendor == "postgresql" else (lambda value: value.hex),
    }
    return [
        (_name_in_delivery(column), by_kind.get(column.get_internal_type(), lambda value: value))
        for column in _columns()
        if _name_in_delivery(column)
    ]


def _columns() -> list[Any]:
    return [column for column in InboundEvent._meta.concrete_fields if not column.primary_key]


def _name_in_delivery(column: Any) -> str:
    """Of the attribute that gives this column; empty where it starts with its default."""
    if column.name == "next_attempt_at":
        return "received_at"
    return column.attname if column.attname in _TOLD else ""


@cache
def _insert_sql(vendor: str, rows: int) -> str:
    """One INSERT of so many rows. What is the same in every new row stands in the statement itself."""
    names = ", ".join(f'"{column.column}"' for column in _columns())
    places = ", ".join("%s" if _name_in_delivery(column) else _literal(column) for column in _columns())
    return (
        f'INSERT INTO "{InboundEvent._meta.db_table}" ({names}) '  # noqa: S608 - names and defaults of our own
        f"VALUES {', '.join([f'({places})'] * rows)} ON CONFLICT (delivery_id) DO NOTHING "
        "RETURNING delivery_id, endpoint_id, received_at"
    )


def _literal(column: Any) -> str:
    default = column.get_default()
    if default is None:
        return "NULL"
    if isinstance(default, bool):
        return "TRUE" if default else "FALSE"
    if isinstance(default, int):
        return str(default)
    if isinstance(default, str) and (not default or default.isidentifier()):
        return f"'{default}'"
    raise TypeError(f"{column.name}: its default cannot stand in a statement")


def _look() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _count_refusals(refusals: dict[Place, Refused]) -> None:
    for (endpoint_id, hour, reason), refused in sorted(refusals.items()):
        place = {"endpoint_id": endpoint_id, "hour": hour, "reason": reason}
        added = {
            "count": F("count") + refused.count,
            "not_kept": F("not_kept") + refused.not_kept,
            "last_at": refused.last_at,
        }
        if not Refusal.objects.filter(**place).update(**added):
            Refusal.objects.bulk_create([Refusal(**place, last_at=refused.last_at)], ignore_conflicts=True)
            Refusal.objects.filter(**place).update(**added)
        Endpoint.objects.filter(pk=endpoint_id).update(
            last_refused_at=refused.last_at, last_refused_reason=f"{reason}: {refused.detail}"[:200]
        )

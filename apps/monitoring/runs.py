"""Works off what is due: a thread for each host looks, this one records. A check that hangs delays no other.

Threads see pages only; the database is this thread's alone. What is not recorded when a worker dies is looked at
again once its lease ends.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import OperationalError, transaction

from apps.monitoring import claims, incidents, network, pages, watch
from apps.monitoring.fetch import Door
from apps.monitoring.models import Change, Incident, Monitor, Snapshot
from apps.monitoring.network import Gate, Look
from apps.monitoring.outcome import Outcome, Standing
from apps.monitoring.watch import Seen

log = logging.getLogger(__name__)

THREADS = 16
# Longer than a look may take: all its attempts, their waits, and the reading.
LOOK_LIMIT_TIMES, LOOK_LIMIT_MORE_SEC = 3, 60
RENEW_EVERY_SEC = 30
CLAIM_EVERY_SEC = 1
# Waits between tries to record where the database is locked.
LOCKED_WAITS_SEC = (0.2, 1.0, 3.0)


@dataclass
class _Slot:
    """A host that is being looked at, by a thread of its own."""

    waiting: deque[Monitor]
    since: float  # the look at the first of them


@dataclass
class Done:
    """What a run came to."""

    looks: list[Look] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class Runner:
    """Keeps what is in flight from one call of `work` to the next; one a process.

    `clock` tells the time that is stored, `timer` seconds for waiting.
    """

    def __init__(
        self,
        door: Door,
        clock: Callable[[], datetime],
        *,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        threads: int = THREADS,
    ) -> None:
        self._door, self._clock, self._timer, self._sleep, self._threads = door, clock, timer, sleep, threads
        self._backlog: deque[list[Monitor]] = deque()
        self._slots: dict[str, _Slot] = {}
        self._results: queue.SimpleQueue[tuple[_Slot, Monitor, Seen]] = queue.SimpleQueue()
        self._gate = Gate()
        self._renewed = self._claimed = float("-inf")

    def work(self, for_sec: float, *, only: Collection[int] | None = None) -> Done:
        """Look at all that is due (`only` of these ids), until nothing is left or the time is over; what is in flight
        then is taken up by the next call."""
        done, until = Done(), self._timer() + for_sec
        self._gate.is_out = Incident.objects.filter(source_key=network.SOURCE_KEY, resolved_at=None).exists()
        end_orphans(self._clock())
        while True:
            self._claim(only)
            self._start()
            if not self._slots and not self._backlog:
                self._close(done)
                return done
            self._collect(done)
            self._abandon(done)
            self._renew()
            if self._gate.is_over(self._clock()):
                self._close(done)
            if self._timer() > until:
                return done

    def _claim(self, only: Collection[int] | None) -> None:
        if self._backlog or self._timer() - self._claimed < CLAIM_EVERY_SEC:
            return
        self._claimed = self._timer()
        groups = claims.claim(self._clock(), hosts=2 * self._threads, only=only)
        self._backlog.extend(groups.values())
        if groups:
            self._claimed = float("-inf")  # there may be more

    def _start(self) -> None:
        while self._backlog and len(self._slots) < self._threads:
            group = self._backlog.popleft()
            befores = {row.pk: _before(row) for row in group}
            slot = self._slots[group[0].host] = _Slot(deque(group), self._timer())
            threading.Thread(target=self._look_at, args=(slot, group, befores), name="look", daemon=True).start()

    def _look_at(self, slot: _Slot, group: list[Monitor], befores: dict[int, Snapshot | None]) -> None:
        """A thread's whole work."""
        for monitor in group:
            try:
                seen = watch.see(monitor, befores[monitor.pk], self._door)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next page must be looked at
                seen = Seen(Outcome(Standing.FAULT, error_kind="unexpected", error=f"{type(error).__name__}: {error}"))
            self._results.put((slot, monitor, seen))

    def _collect(self, done: Done) -> None:
        """Record what came; waits for the first a little."""
        wait: float | None = 0.2
        while True:
            try:
                slot, monitor, seen = self._results.get(timeout=wait) if wait else self._results.get_nowait()
            except queue.Empty:
                return
            wait = None
            if self._slots.get(monitor.host) is slot:  # else it was given up
                self._one_less(monitor.host, slot)
                self._take(Look(monitor, seen, self._clock()), done)

    def _one_less(self, host: str, slot: _Slot) -> None:
        slot.waiting.popleft()
        slot.since = self._timer()
        if not slot.waiting:
            del self._slots[host]

    def _abandon(self, done: Done) -> None:
        """Give up looks that do not come to their end; the other checks of the host stay due."""
        for host, slot in list(self._slots.items()):
            monitor = slot.waiting[0]
            limit_sec = LOOK_LIMIT_TIMES * monitor.timeout_sec + LOOK_LIMIT_MORE_SEC
            if self._timer() - slot.since <= limit_sec:
                continue
            self._one_less(host, slot)
            self._slots.pop(host, None)
            log.error("the look at %s did not come to its end and was given up", monitor)
            error = f"The look did not come to its end within {limit_sec} s."
            hung = Seen(Outcome(Standing.FAULT, error_kind="hung", error=error))
            self._take(Look(monitor, hung, self._clock()), done)
            claims.give_back([row.pk for row in slot.waiting], self._clock())

    def _take(self, look: Look, done: Done) -> None:
        self._record_all(self._gate.take(look), done)

    def _close(self, done: Done) -> None:
        looks, ours = self._gate.close()
        self._record_all(looks, done)
        if not ours:
            return
        done.looks += ours
        now = self._clock()
        claims.give_back([look.monitor.pk for look in ours], now + watch.CONFIRM_AFTER)
        self._announce(network.begin_outage(now, len({look.monitor.host for look in ours})), done)

    def _record_all(self, looks: Iterable[Look], done: Done) -> None:
        for look in looks:
            done.looks.append(look)
            done.changes += self._record(look)
        if self._gate.is_out and self._gate.reached_somebody:
            self._gate.is_out = False
            self._announce(network.end_outage(self._clock()), done)

    def _announce(self, change: Change | None, done: Done) -> None:
        done.changes += [change] if change is not None else []

    def _record(self, look: Look) -> list[Change]:
        """Where the database stays locked, or a row cannot be written, its lease ends and it is looked at again."""
        try:
            return self._record_patiently(look)
        except Exception:  # one check's trouble must not stop the others
            log.exception("what was seen of %s could not be recorded", look.monitor)
            return []

    def _record_patiently(self, look: Look) -> list[Change]:
        for wait in LOCKED_WAITS_SEC:
            try:
                return watch.record(look.monitor, look.seen, look.at)
            except OperationalError:  # locked, or a deadlock
                self._sleep(wait)
        return watch.record(look.monitor, look.seen, look.at)

    def _renew(self) -> None:
        if self._timer() - self._renewed < RENEW_EVERY_SEC:
            return
        self._renewed = self._timer()
        held = [row.pk for slot in self._slots.values() for row in slot.waiting]
        held += [row.pk for group in self._backlog for row in group]
        held += [look.monitor.pk for look in self._gate.held]
        claims.keep(held, self._clock())


def _before(monitor: Monitor) -> Snapshot | None:
    return pages.newest_snapshot(monitor) if monitor.kind in watch.COMPARED else None


def check_now(monitor: Monitor, now: datetime) -> None:
    """Have the check looked at by the next sweep, some seconds from now."""
    claims.make_due([monitor.pk], now)


@transaction.atomic
def end_orphans(now: datetime) -> int:
    """Resolve incidents of checks that are switched off or gone: nobody would ever see them end."""
    over = Incident.objects.filter(source_key__startswith="check:", resolved_at=None).exclude(
        monitor__enabled=True, monitor__provider__monitored=True
    )
    keys = list(over.values_list("source_key", flat=True))
    for key in keys:
        incidents.resolve(key, now, "The check was switched off or deleted.")
    return len(keys)

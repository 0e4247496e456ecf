"""One drain at a time in a process, however many rings come.

Two would only wait for each other, for Python's lock, and each would have half of the rows for as many statements.
"""

import threading
import time
from collections.abc import Callable


class Turns:
    """Does a work in one thread at a time. Who comes meanwhile asks the one who has the turn to look once more, and
    need not wait. A turn that takes longer than `hanging_sec` holds nobody up. `work` is told until when it may go on
    (by the clock), and sees to what it leaves then."""

    def __init__(self, work: Callable[[float], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._work, self._clock = work, clock
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._taken_at: float | None = None

    def ask(self, for_sec: float, hanging_sec: float) -> int:
        """How much was done here, in so long altogether, or a little more; 0 where another does it."""
        done, until = 0, self._clock() + for_sec
        # Asked first and looked at last: so whoever finds the turn taken has been heard by the one who ends it.
        self._asked.set()
        while self._asked.is_set() and (turn := self._take(hanging_sec)) is not None:
            self._asked.clear()
            try:
                done += self._work(until)
            finally:
                self._give_back(turn)
            if self._clock() > until:
                break
        return done

    def _take(self, hanging_sec: float) -> float | None:
        with self._lock:
            now = self._clock()
            if self._taken_at is not None and now - self._taken_at < hanging_sec:
                return None
            self._taken_at = now
            return now

    def _give_back(self, turn: float) -> None:
        with self._lock:
            if self._taken_at == turn:  # else it took so long that another has it by now
                self._taken_at = None

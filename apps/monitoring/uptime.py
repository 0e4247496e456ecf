"""How much of a time a check was up, from the intervals that were really watched. Pure arithmetic on times.

Times that nobody looked at, times of unknown state and planned maintenance are left out of the sum altogether.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Interval = tuple[datetime, datetime]

WINDOWS: Mapping[str, timedelta] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
# Where spans overlap, the worst of them counts.
_WORST_FIRST = ("down", "degraded", "up")
_MAINTENANCE = "maintenance"


@dataclass(frozen=True)
class Uptime:
    """`percent` of the watched time in which the page answered, degraded or not; None if nothing was watched.

    It is not rounded: whoever shows it must not make 99.999 a 100.
    """

    percent: float | None
    watched_sec: float
    up_sec: float
    degraded_sec: float
    down_sec: float

    @property
    def fully_up_percent(self) -> float | None:
        """The same without the degraded times."""
        return 100 * self.up_sec / self.watched_sec if self.watched_sec else None


def uptime(
    spans: Iterable[tuple[str, datetime, datetime]],
    maintenance: Iterable[Interval],
    since: datetime,
    until: datetime,
) -> Uptime:
    """The uptime between two times. Spans may be unordered, overlap, reach over the ends or be empty or reversed."""
    wanted = [(str(state), start, end) for state, start, end in spans if str(state) in _WORST_FIRST]
    wanted += [(_MAINTENANCE, start, end) for start, end in maintenance]
    seconds = _seconds_by_state(_edges(wanted, since, until))
    up, degraded, down = seconds["up"], seconds["degraded"], seconds["down"]
    watched = up + degraded + down
    return Uptime(100 * (up + degraded) / watched if watched else None, watched, up, degraded, down)


def uptimes(
    spans: Iterable[tuple[str, datetime, datetime]], maintenance: Iterable[Interval], now: datetime
) -> dict[str, Uptime]:
    """The uptime of the last 24 h, 7, 30 and 90 days, by the names of WINDOWS."""
    spans, maintenance = list(spans), list(maintenance)
    return {name: uptime(spans, maintenance, now - length, now) for name, length in WINDOWS.items()}


def _edges(
    spans: Iterable[tuple[str, datetime, datetime]], since: datetime, until: datetime
) -> list[tuple[datetime, int, str]]:
    """(time, +1 begins or -1 ends, state), in order of time, cut to the window."""
    cut = [(state, max(start, since), min(end, until)) for state, start, end in spans]
    edges = [edge for state, start, end in cut if start < end for edge in ((start, 1, state), (end, -1, state))]
    return sorted(edges)


def _seconds_by_state(edges: list[tuple[datetime, int, str]]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    open_spans: Counter[str] = Counter()
    previous: datetime | None = None
    for at, step, state in edges:
        if previous is not None:
            seconds[_state_of(open_spans)] += (at - previous).total_seconds()
        open_spans[state] += step
        previous = at
    return seconds


def _state_of(open_spans: Counter[str]) -> str:
    if open_spans[_MAINTENANCE]:
        return _MAINTENANCE
    return next((state for state in _WORST_FIRST if open_spans[state]), "")

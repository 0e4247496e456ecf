"""When is a page up, degraded or down? Thresholds both ways, faults of the check itself, damping of flapping.

Pure: standings in, judgement out. Storing it, spans, incidents and what is told belong to `watch`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from apps.monitoring.outcome import Standing

UNKNOWN = "unknown"
_BADNESS = {UNKNOWN: 0, Standing.UP: 0, Standing.DEGRADED: 1, Standing.DOWN: 2}

# More changes of state than this within the window is flapping, until there was none for the calm time.
FLAP_LIMIT = 6
FLAP_WINDOW = timedelta(hours=1)
FLAP_CALM = timedelta(minutes=30)

Turn = Literal["", "began", "ended"]


@dataclass(frozen=True)
class Standings:
    """What is known of a check before a look, and after it.

    `pending_state` and `pending_count` are the run: so many looks in a row were worse (or better) than the state, and
    the one nearest to the state says where it is going. `recent` are the times of the changes of state that the damping
    still needs, oldest first; `fault_count` are faults in a row.
    """

    state: str = UNKNOWN
    state_since: datetime | None = None
    pending_state: str = ""
    pending_count: int = 0
    recent: tuple[datetime, ...] = ()
    is_flapping: bool = False
    fault_count: int = 0


@dataclass(frozen=True)
class Judgement:
    """What one look changed.

    `transition` is (old state, new state); from `unknown` to `up` is a first sight, of which nobody needs to hear.
    While `after.is_flapping` transitions are recorded but not told: `flapping` says "began" and "ended" once each.
    `fault` says "began" when the check itself does not work, "ended" when it does again, each once.
    `confirm_soon`: look again in a minute, for the next look may decide.
    """

    after: Standings
    transition: tuple[str, str] | None = None
    confirm_soon: bool = False
    flapping: Turn = ""
    fault: Turn = ""


def judge(before: Standings, standing: Standing, now: datetime, *, down_after: int, up_after: int) -> Judgement:
    """The state after one more look.

    It worsens after `down_after` worse looks in a row, to the mildest of them: degraded, down, down makes degraded. It
    betters after `up_after` better looks in a row, to the worst of them. A look as the state is ends the run. The first
    good look of all makes `up` at once. Thresholds below 1 count as 1.

    A fault neither moves the state nor ends a run: it says nothing of the provider. `down_after` faults in a row
    begin a fault of the check, the next look that is none ends it.

    Flapping begins with the seventh change of state within an hour and ends with the first look (no fault) 30 minutes
    or more after the newest change. A clock set back is survived: times ahead of `now` count as `now`.
    """
    before = _not_ahead(before, now)
    if standing == Standing.FAULT:
        return _with_fault(before, down_after)
    fault: Turn = "ended" if before.fault_count >= max(down_after, 1) else ""
    after = _with_run(replace(before, fault_count=0), standing)
    after, transition = _moved(after, standing, now, down_after=down_after, up_after=up_after)
    after, flapping = _damped(after, transition, now)
    return Judgement(after, transition, confirm_soon=after.pending_count > 0, flapping=flapping, fault=fault)


def _not_ahead(known: Standings, now: datetime) -> Standings:
    since = min(known.state_since, now) if known.state_since else None
    recent = tuple(min(at, now) for at in known.recent if now - at < FLAP_WINDOW)
    return replace(known, state_since=since, recent=recent)


def _with_fault(before: Standings, down_after: int) -> Judgement:
    count, enough = before.fault_count + 1, max(down_after, 1)
    after = replace(before, fault_count=count)
    return Judgement(after, confirm_soon=count < enough, fault="began" if count == enough else "")


def _with_run(known: Standings, standing: Standing) -> Standings:
    """The run with this look in it; a look on the other side of the state begins another."""
    side = _side(standing, known.state)
    if side == 0:
        return replace(known, pending_state="", pending_count=0)
    if not known.pending_count or _side(known.pending_state, known.state) != side:
        return replace(known, pending_state=str(standing), pending_count=1)
    nearest = min(known.pending_state, str(standing), key=lambda one: abs(_BADNESS[one] - _BADNESS[known.state]))
    return replace(known, pending_state=nearest, pending_count=known.pending_count + 1)


def _side(standing: str, state: str) -> int:
    """1: worse than the state, -1: better, 0: as the state is."""
    return (_BADNESS[standing] > _BADNESS[state]) - (_BADNESS[standing] < _BADNESS[state])


def _moved(
    known: Standings, standing: Standing, now: datetime, *, down_after: int, up_after: int
) -> tuple[Standings, tuple[str, str] | None]:
    first_good = known.state == UNKNOWN and standing == Standing.UP
    enough = down_after if _side(standing, known.state) > 0 else up_after
    if not first_good and (not known.pending_count or known.pending_count < enough):
        return known, None
    state = str(standing) if first_good else known.pending_state
    moved = replace(known, state=state, state_since=now, pending_state="", pending_count=0)
    # The newest look may speak for more than the mildest of the run.
    return _with_run(moved, standing), (known.state, state)


def _damped(known: Standings, transition: tuple[str, str] | None, now: datetime) -> tuple[Standings, Turn]:
    if transition and transition[0] != UNKNOWN:
        known = replace(known, recent=(*known.recent, now))
    if not known.is_flapping and transition and len(known.recent) > FLAP_LIMIT:
        return replace(known, is_flapping=True), "began"
    if known.is_flapping and all(now - at >= FLAP_CALM for at in known.recent):
        return replace(known, is_flapping=False), "ended"
    return known, ""

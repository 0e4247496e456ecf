"""Is it them, or our own network? Looks that reached nobody are held back until another look tells.

Where none of a wave of looks at several hosts reached anybody, the network is ours: no state moves, and one incident
says so until the next look that reaches somebody.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.monitoring import incidents, rules
from apps.monitoring.changes import Finding, record
from apps.monitoring.models import Change, ChangeType, Monitor
from apps.monitoring.watch import Seen

SOURCE_KEY = "self:network"
# What may be our own network as well as theirs.
REACHED_NOBODY = frozenset({"dns", "refused", "unreachable", "timeout"})
ENOUGH_HOSTS = 3
HELD_AT_MOST = timedelta(seconds=60)
TITLE = "The network of VoiceLens itself is down"


@dataclass(frozen=True)
class Look:
    """A look that came to its end."""

    monitor: Monitor
    seen: Seen
    at: datetime

    @property
    def reached_nobody(self) -> bool:
        outcome = self.seen.outcome
        return outcome.status_code is None and outcome.error_kind in REACHED_NOBODY


@dataclass
class Gate:
    """Holds back looks that reached nobody. `is_out` says that our network was down at the last wave."""

    is_out: bool = False
    reached_somebody: bool = False
    held: list[Look] = field(default_factory=list)

    def take(self, look: Look) -> list[Look]:
        """The looks that may be recorded now that this one came."""
        if look.reached_nobody:
            self.held.append(look)
            return []
        if look.seen.outcome.status_code is not None:
            self.reached_somebody = True
            return [*self._let_go(), look]
        return [look]

    def is_over(self, now: datetime) -> bool:
        """Whether the oldest look was held back long enough."""
        return bool(self.held) and not timedelta(0) <= now - self.held[0].at <= HELD_AT_MOST

    def close(self) -> tuple[list[Look], list[Look]]:
        """End the wave: the looks to be recorded, and those that only say that our own network is down."""
        held = self._let_go()
        hosts = {look.monitor.host for look in held}
        ours = bool(held) and not self.reached_somebody and (self.is_out or len(hosts) >= ENOUGH_HOSTS)
        self.is_out = ours or (self.is_out and not self.reached_somebody)
        self.reached_somebody = False
        return ([], held) if ours else (held, [])

    def _let_go(self) -> list[Look]:
        held, self.held = self.held, []
        return held


def begin_outage(now: datetime, hosts: int) -> Change | None:
    """Open the incident; None where it is open already."""
    if incidents.open_incident(SOURCE_KEY) is not None:
        return None
    text = f"None of {hosts} hosts can be reached. What is known of the providers stays as it was."
    finding = _finding(now, TITLE, text)
    incident, _ = incidents.open_or_worsen(
        SOURCE_KEY, provider="", title=TITLE, severity=rules.judge(finding).severity, now=now, text=text
    )
    return record(finding, now, incident=incident)


def end_outage(now: datetime) -> Change | None:
    """Resolve the incident; None where none is open."""
    incident = incidents.resolve(SOURCE_KEY, now, "Pages can be reached again.")
    if incident is None:
        return None
    return record(_finding(now, "The network of VoiceLens itself works again", ""), now, incident=incident)


def _finding(now: datetime, title: str, text: str) -> Finding:
    return Finding(
        key=f"{SOURCE_KEY}:{now.isoformat()}",
        provider="",
        source="self",
        change_type=ChangeType.SERVICE_STATUS,
        title=title,
        description=text,
        severity="high",
    )

"""Reading functions over checks, changes and incidents: what the API, the feeds, the admin and /health show.

Nothing here counts a table that grows; times come in as arguments.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, QuerySet

from apps.monitoring.models import Change, Incident, Monitor, Severity, Silence, Span, State
from apps.monitoring.uptime import WINDOWS, Interval, Uptime, uptimes

LONGEST = max(WINDOWS.values())
CHANGES_DAYS = 30
INCIDENTS_DAYS = 30


# --- changes ------------------------------------------------------------------------------------------------


def changes(
    since: datetime,
    *,
    provider: str = "",
    change_type: str = "",
    severity: str = "",
    needs_review: bool | None = None,
) -> QuerySet[Change]:
    """Changes detected since then, newest first. `severity` is the least one; what is empty asks for nothing."""
    rows = Change.objects.filter(detected_at__gte=since)
    if provider:
        rows = rows.filter(provider=provider)
    if change_type:
        rows = rows.filter(change_type=change_type)
    if severity:
        rows = rows.filter(severity__in=Severity.at_least(severity))
    if needs_review is not None:
        rows = rows.filter(waiting_for_review() if needs_review else ~waiting_for_review())
    return rows


def waiting_for_review() -> Q:
    """Changes that may need another mapping, at which nobody has looked."""
    return Q(needs_review=True, reviewed_at=None)


def unreviewed(lowest: Severity = Severity.HIGH) -> QuerySet[Change]:
    """Those that wait for a review, of this severity or a higher one."""
    return Change.objects.filter(waiting_for_review(), severity__in=Severity.at_least(lowest)).order_by()


# --- incidents ----------------------------------------------------------------------------------------------


def open_incidents() -> QuerySet[Incident]:
    """Newest first."""
    return Incident.objects.filter(resolved_at=None)


def incidents(since: datetime, *, provider: str = "", is_open: bool | None = None) -> QuerySet[Incident]:
    """Open ones, and those that ended since then; or only the former, or only the latter."""
    open_ones, ended = Q(resolved_at=None), Q(resolved_at__gte=since)
    rows = Incident.objects.filter(open_ones | ended if is_open is None else open_ones if is_open else ended)
    return (rows.filter(provider=provider) if provider else rows).prefetch_related("timeline")


# --- checks -------------------------------------------------------------------------------------------------


def watched() -> QuerySet[Monitor]:
    """The checks that are switched on, of providers that are watched."""
    return Monitor.objects.filter(enabled=True, provider__monitored=True)


def counts(now: datetime) -> dict[str, Any]:
    """How many checks there are and how they stand, for /health; in two queries."""
    found = watched().aggregate(
        checks=Count("id"),
        down=Count("id", filter=Q(state=State.DOWN)),
        degraded=Count("id", filter=Q(state=State.DEGRADED)),
        oldest=Min("last_checked_at"),
    )
    oldest = found.pop("oldest")
    return found | {
        "open_incidents": open_incidents().order_by().count(),
        "oldest_look_sec": round((now - oldest).total_seconds(), 1) if oldest else None,
    }


def uptimes_of(monitors: Sequence[Monitor], now: datetime) -> dict[int, dict[str, Uptime]]:
    """By the key of each check: its uptime of 24 h, 7, 30 and 90 days. Two queries, however many checks."""
    spans: Mapping[int, list[tuple[str, datetime, datetime]]] = defaultdict(list)
    known = Span.objects.filter(monitor__in=monitors, ended_at__gte=now - LONGEST).order_by()
    for pk, state, start, end in known.values_list("monitor", "state", "started_at", "ended_at"):
        spans[pk].append((state, start, end))
    planned = list(Silence.objects.filter(is_maintenance=True, ends_at__gt=now - LONGEST, starts_at__lt=now))
    return {row.pk: uptimes(spans[row.pk], _planned_for(row, planned), now) for row in monitors}


def _planned_for(monitor: Monitor, planned: Iterable[Silence]) -> list[Interval]:
    return [
        (one.starts_at, one.ends_at)
        for one in planned
        if one.monitor_id in (None, monitor.pk) and one.provider_id in (None, monitor.provider_id)
    ]


def days_before(now: datetime, days: int) -> datetime:
    return now - timedelta(days=days)

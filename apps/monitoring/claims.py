"""Which checks a worker takes: whole hosts, so two workers never ask one host at once.

A claim is a lease in the row. Whoever works keeps it fresh; a worker that dies gives its checks back when it ends.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.monitoring.models import Monitor

LEASE = timedelta(seconds=120)
# So many checks of one host at a time; the rest stays due.
MOST_OF_A_HOST = 20
# Nothing is due or leased so far ahead: the clock was wrong when that was written.
CLOCK_WAS_WRONG = timedelta(hours=1)


def due(now: datetime) -> QuerySet[Monitor]:
    """The checks to look at now: those whose time has come, and new ones."""
    come = Q(due_at__lte=now) | Q(due_at__gt=now + CLOCK_WAS_WRONG) | Q(due_at=None, last_checked_at=None)
    return Monitor.objects.filter(come, enabled=True, provider__monitored=True)


def claim(now: datetime, *, hosts: int, only: Collection[int] | None = None) -> dict[str, list[Monitor]]:
    """The due checks of at most so many hosts, leased and committed, by host; `only` of these ids, if any are given."""
    wanted = due(now) if only is None else due(now).filter(pk__in=only)
    if not wanted.exists():
        return {}  # the usual answer, without the lock of a transaction that writes
    with transaction.atomic():
        names = list(wanted.exclude(host__in=_leased(now)).order_by().values_list("host", flat=True).distinct()[:hosts])
        # All checks of these hosts are locked, so nobody claims another one of them meanwhile.
        locked = Monitor.objects.select_for_update().filter(host__in=names).order_by("pk")
        busy = {row.host for row in locked if is_leased(row, now)}
        rows = wanted.filter(host__in=set(names) - busy).select_related("provider", "schedule").order_by("due_at", "pk")
        groups: dict[str, list[Monitor]] = {}
        for row in rows:
            if len(groups.setdefault(row.host, [])) < MOST_OF_A_HOST:
                groups[row.host].append(row)
        keep((row.pk for group in groups.values() for row in group), now)
    return groups


def _leased(now: datetime) -> QuerySet[Monitor, str]:
    held = Monitor.objects.filter(leased_until__gt=now, leased_until__lte=now + CLOCK_WAS_WRONG)
    return held.order_by().values_list("host", flat=True)


def is_leased(row: Monitor, now: datetime) -> bool:
    return row.leased_until is not None and now < row.leased_until <= now + CLOCK_WAS_WRONG


def keep(ids: Iterable[int], now: datetime) -> None:
    """Lease these checks, or keep their lease fresh."""
    Monitor.objects.filter(pk__in=list(ids)).update(leased_until=now + LEASE)


def make_due(ids: Iterable[int], now: datetime) -> None:
    """Have these checks looked at by the next claim."""
    Monitor.objects.filter(pk__in=list(ids)).update(due_at=now)


def give_back(ids: Iterable[int], due_at: datetime) -> None:
    """End the lease of checks that were not looked at, or whose look says nothing; they are due then."""
    Monitor.objects.filter(pk__in=list(ids)).update(leased_until=None, due_at=due_at)

"""When checks are due: a row of celery-beat for each provider and kind, which belongs to ops once it exists.

Settings give first values only. A row that is missing is created at the next start: to stop it, switch it off. A row
is known by the task and what it is given, so ops may rename it.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from apps.monitoring.models import Kind, Monitor
from apps.providers.models import Provider

SCHEDULE_TASK = "monitoring.schedule"
BY_INTERVAL = (Kind.HEALTH, Kind.STATUS, Kind.FEED)
CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
# Checks that one row makes due start spread over so many seconds, each always at its own.
SPREAD_SEC = 60
LEAST_PAUSE = timedelta(minutes=10)


def ensure_schedules(provider: Provider | None = None) -> list[str]:
    """Create the missing rows for all checks, or those of one provider; returns their names.

    Raises ImproperlyConfigured, naming the setting, where CRON_SCHEDULE or MONITORING_INTERVAL_MINUTES is none.
    """
    rows = Monitor.objects.all() if provider is None else Monitor.objects.filter(provider=provider)
    wanted = sorted(set(rows.order_by().values_list("provider__slug", "kind")))
    there = {(told.get("provider"), told.get("kind")) for told in map(_told, _rows())}
    return [_create(slug, kind) for slug, kind in wanted if (slug, kind) not in there]


def _rows() -> list[PeriodicTask]:
    return list(PeriodicTask.objects.filter(task=SCHEDULE_TASK))


def _told(row: PeriodicTask) -> dict[str, Any]:
    try:
        told = json.loads(row.kwargs)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _create(slug: str, kind: str) -> str:
    name = f"Watch {slug}: {kind}"
    when = _interval() if kind in BY_INTERVAL else _crontab()
    PeriodicTask.objects.create(
        name=name,
        task=SCHEDULE_TASK,
        kwargs=json.dumps({"provider": slug, "kind": kind}),
        description=f"Makes the checks of this kind due. First value from {'MONITORING_INTERVAL_MINUTES' if kind in BY_INTERVAL else 'CRON_SCHEDULE'}.",
        **when,
    )
    return name


def _interval() -> dict[str, Any]:
    minutes = settings.MONITORING_INTERVAL_MINUTES
    if minutes < 1:
        raise ImproperlyConfigured(f"MONITORING_INTERVAL_MINUTES is {minutes}; a number of minutes from 1 is needed.")
    interval, _ = IntervalSchedule.objects.get_or_create(every=minutes, period=IntervalSchedule.MINUTES)
    return {"interval": interval}


def _crontab() -> dict[str, Any]:
    parts = settings.CRON_SCHEDULE.split()
    row = CrontabSchedule(timezone="UTC", **dict(zip(CRON_FIELDS, parts, strict=False)))
    try:
        if len(parts) != len(CRON_FIELDS):
            raise ValueError(f"{len(parts)} fields instead of 5")
        row.schedule  # noqa: B018 - reads the fields, and raises for what is none
    except ValueError as error:
        raise ImproperlyConfigured(
            f"CRON_SCHEDULE is {settings.CRON_SCHEDULE!r} ({error}); write minute, hour, day of month, month and "
            "day of week, such as 0 */6 * * *."
        ) from error
    columns = {name: getattr(row, name) for name in CRON_FIELDS}
    crontab, _ = CrontabSchedule.objects.get_or_create(timezone="UTC", **columns)
    return {"crontab": crontab}


def mark_due(now: datetime, *, provider: str = "", kind: str = "", monitor: int | None = None) -> int:
    """Make these checks due; gives their number. A check with a schedule of its own is due by that only."""
    rows = Monitor.objects.filter(enabled=True, provider__monitored=True)
    if monitor is not None:
        rows = rows.filter(pk=monitor)
    else:
        rows = rows.filter(provider__slug=provider, kind=kind, schedule=None)
    ids = list(rows.values_list("pk", flat=True))
    for pk in ids:
        Monitor.objects.filter(pk=pk).update(due_at=now + timedelta(seconds=pk * 7 % SPREAD_SEC))
    return len(ids)


def usual_pause(monitor: Monitor, since: datetime) -> timedelta:
    """How long after a look at `since` the schedule lets pass until the next; at least ten minutes."""
    row = monitor.schedule or next((row for row in _rows() if _told(row) == _about(monitor)), None)
    return max(_pause(row, since), LEAST_PAUSE)


def _about(monitor: Monitor) -> dict[str, str]:
    return {"provider": monitor.provider.slug, "kind": monitor.kind}


def _pause(row: PeriodicTask | None, since: datetime) -> timedelta:
    if row is not None and row.interval is not None:
        pause: timedelta = row.interval.schedule.run_every
        return pause
    if row is not None and row.crontab is not None:
        last, delta, _ = row.crontab.schedule.remaining_delta(since)
        return (last + delta) - last
    return timedelta(minutes=settings.MONITORING_INTERVAL_MINUTES)

"""A schedule of a check's own: a row of celery-beat that makes this check due, and no other."""

import json

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from apps.monitoring.models import Monitor
from apps.monitoring.schedules import SCHEDULE_TASK


def every_min(monitor: Monitor) -> int | None:
    """The minutes between two looks by its own schedule; None without one, or where that is no interval."""
    row = monitor.schedule
    if row is None or row.interval is None:
        return None
    seconds: float = row.interval.schedule.run_every.total_seconds()
    return max(1, round(seconds / 60))


@transaction.atomic
def look_every(monitor: Monitor, minutes: int | None) -> None:
    """Give the check a schedule of its own; None gives it back to that of its provider and kind."""
    row, former = monitor.schedule, monitor.schedule
    if minutes is None:
        row = None
    else:
        interval, _ = IntervalSchedule.objects.get_or_create(every=minutes, period=IntervalSchedule.MINUTES)
        row = row or PeriodicTask(name=f"Watch check {monitor.pk}", task=SCHEDULE_TASK)
        row.kwargs = json.dumps({"monitor": monitor.pk})
        row.interval, row.crontab, row.solar, row.clocked = interval, None, None, None
        row.save()
    monitor.schedule = row
    monitor.save()
    if row is None and former is not None:
        former.delete()

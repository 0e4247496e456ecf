"""Celery's side of monitoring: thin tasks that may run twice and lose nothing. Switched off, they do nothing."""

import threading
from functools import cache

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from apps.monitoring import alerts, retention, schedules
from apps.monitoring.fetch import default_door
from apps.monitoring.runs import Runner

# What is in flight then is taken up by the next sweep.
WORK_FOR_SEC = 20
# One thread of the worker each, however slow pages and mail servers are: the others take in calls.
_working = threading.Lock()
_telling = threading.Lock()


@cache
def _runner() -> Runner:
    return Runner(default_door(), timezone.now)


@shared_task(name=schedules.SCHEDULE_TASK)
def schedule(provider: str = "", kind: str = "", monitor: int | None = None) -> int:
    """Make the checks of this provider and kind due, or one check; returns their number."""
    if not settings.MONITORING_ENABLED:
        return 0
    return schedules.mark_due(timezone.now(), provider=provider, kind=kind, monitor=monitor)


@shared_task(name="monitoring.work")
def work() -> int:
    """Look at what is due; returns the number of looks that came to their end."""
    if not settings.MONITORING_ENABLED or not _working.acquire(blocking=False):
        return 0
    try:
        return len(_runner().work(WORK_FOR_SEC).looks)
    finally:
        _working.release()


@shared_task(name="monitoring.tell")
def tell() -> int:
    """Send the alerts that are due, reminders and escalations among them; returns the number sent."""
    if not settings.MONITORING_ENABLED or not _telling.acquire(blocking=False):
        return 0
    try:
        alerts.follow_up(timezone.now())
        return alerts.deliver_due(timezone.now)
    finally:
        _telling.release()


@shared_task(name="monitoring.prune")
def prune() -> int:
    """Delete what is older than MONITORING_RETENTION_DAYS; returns the number of rows."""
    return sum(retention.prune(timezone.now(), settings.MONITORING_RETENTION_DAYS).values())

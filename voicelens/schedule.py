"""The periodic jobs a fresh installation starts with. Rows that exist are left alone: intervals belong to ops."""

from dataclasses import dataclass

from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask


@dataclass(frozen=True)
class Job:
    """Every so many seconds, or daily at an hour and minute (UTC)."""

    name: str
    task: str
    description: str
    every_sec: int = 0
    daily_at: tuple[int, int] = (0, 0)


JOBS = (
    Job(
        "Work off what is left",
        "ingest.sweep",
        "Deliveries whose bell was lost: after the broker was down, or a worker died.",
        every_sec=5,
    ),
    Job(
        "Empty old bodies",
        "ingest.prune",
        "Raw webhook bodies older than RAW_RETENTION_DAYS, refused deliveries older than REFUSED_KEPT_HOURS.",
        every_sec=3600,
    ),
    Job(
        "Look at the providers' pages",
        "monitoring.work",
        "Checks that are due. When each is due is said by the rows named “Watch …”.",
        every_sec=10,
    ),
    Job(
        "Tell what changed",
        "monitoring.tell",
        "Alerts that are due, with reminders and escalations.",
        every_sec=10,
    ),
    Job(
        "Prune what checks saw",
        "monitoring.prune",
        "Observations, snapshots, changes and incidents older than MONITORING_RETENTION_DAYS.",
        daily_at=(3, 40),
    ),
    Job(
        "Audit the daily numbers",
        "analytics.audit",
        "Counts every day again from the messages, and the ledger's rows; a difference is logged as an error.",
        daily_at=(3, 10),
    ),
    Job(
        "Watch the traffic",
        "analytics.watch_traffic",
        "Compares failed calls, refusals, volume, lateness and mapping errors of each provider with the usual, and "
        "looks for calls whose end or analysis never came.",
        every_sec=300,
    ),
    Job(
        "Check VoiceLens itself",
        "analytics.self_check",
        "Runs the compatibility cases, adds up the ledger, compares how long processing takes with the week before.",
        daily_at=(3, 40),
    ),
)


def ensure_schedule() -> list[str]:
    """Create the jobs that are missing; returns their names."""
    return [job.name for job in JOBS if _ensure(job)]


def _ensure(job: Job) -> bool:
    if PeriodicTask.objects.filter(name=job.name).exists():
        return False
    when: dict[str, object]
    if job.every_sec:
        interval, _ = IntervalSchedule.objects.get_or_create(every=job.every_sec, period=IntervalSchedule.SECONDS)
        # A sweep that waited longer than its own interval is of no use any more.
        when = {"interval": interval, "expire_seconds": max(job.every_sec, 10)}
    else:
        hour, minute = job.daily_at
        crontab, _ = CrontabSchedule.objects.get_or_create(
            minute=str(minute),
            hour=str(hour),
            day_of_week="*",
            day_of_month="*",
            month_of_year="*",
            timezone="UTC",
        )
        when = {"crontab": crontab}
    PeriodicTask.objects.create(name=job.name, task=job.task, description=job.description, **when)
    return True

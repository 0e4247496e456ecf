"""Who is told of a change, and when: filters of channels, quiet hours, silences.

What is written into the outbox, and its sending, is for `alerts`.
"""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q

from apps.monitoring.models import AlertChannel, Change, Severity, Silence


def wants(channel: AlertChannel, change: Change) -> bool:
    """Whether the change passes the channel's own filters: least severity, providers, types."""
    return (
        Severity(change.severity).rank >= Severity(channel.min_severity).rank
        and (not channel.providers or change.provider in channel.providers)
        and (not channel.change_types or change.change_type in channel.change_types)
    )


def due_at(channel: AlertChannel, severity: str, now: datetime) -> datetime:
    """Now, or the end of the quiet hours for what is less severe than they let through."""
    if Severity(severity).rank >= Severity(channel.quiet_below).rank:
        return now
    return quiet_until(channel, now) or now


def quiet_until(channel: AlertChannel, now: datetime) -> datetime | None:
    """The end of the quiet hours that now lies in, None outside of them.

    They are told by the clocks of `quiet_timezone`, and may reach over midnight. An end that the clocks skip in spring
    comes an hour later by them, of one that they show twice in autumn it is the first.
    """
    start, end = channel.quiet_from, channel.quiet_until
    if start is None or end is None or start == end:
        return None
    zone = ZoneInfo(channel.quiet_timezone)
    local = now.astimezone(zone)
    if not _within(local.time(), start, end):
        return None
    day = local.date() + timedelta(days=1 if local.time() >= end else 0)
    until = datetime.combine(day, end, tzinfo=zone).astimezone(now.tzinfo)
    return max(until, now)


def _within(moment: time, start: time, end: time) -> bool:
    return start <= moment < end if start < end else moment >= start or moment < end


def is_silenced(change: Change, now: datetime) -> bool:
    """Whether a silence or planned maintenance covers the change's check, its provider, or everything."""
    about = Q(monitor=None, provider=None) | Q(monitor=None, provider__slug=change.provider)
    if change.monitor_id is not None:
        about |= Q(monitor=change.monitor_id)
    return Silence.objects.filter(about, starts_at__lte=now, ends_at__gt=now).exists()

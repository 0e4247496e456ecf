"""The outbox: each change told once by each channel and occasion, whoever dies in between.

An alert is written with its change, in one transaction, and sent later. A message that may or may not have gone out is
sent again under the same id, so what is promised is at least once; mail programs and receivers of the signed webhook
drop the repetition. Who is told, and when, is decided in `routing`; what it says in `messages`; how it gets there in
`channels`.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.monitoring import channels as doors
from apps.monitoring import incidents, routing
from apps.monitoring.messages import Notice, notice
from apps.monitoring.models import Alert, AlertChannel, Change, Incident
from apps.monitoring.storable import storable

log = logging.getLogger(__name__)

FIRST, ESCALATION, REMINDER = "first", "escalation", "reminder"
# Longer than any channel takes for one message.
LEASE = timedelta(minutes=5)
MAX_ATTEMPTS = 8
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
# How long alerts wait for a channel that was switched off.
OFF_AT_MOST = timedelta(hours=24)
# Of one channel in one go; more go with the next.
MAX_BATCH = 500

Send = Callable[[AlertChannel, Notice, datetime], None]
State = Alert.State


# --- writing -------------------------------------------------------------------------------------------------


def enqueue(change: Change, now: datetime, *, channels: Sequence[AlertChannel] | None = None) -> list[Alert]:
    """Write the alerts of a new change, in the caller's transaction.

    `channels` are those a severity rule names; without them each channel's own filters decide. That something is over
    is told to whoever was told that it began.
    """
    enabled = AlertChannel.objects.filter(enabled=True)
    if channels is None:
        chosen = [
            channel for channel in enabled if channel.escalate_after_min is None and routing.wants(channel, change)
        ]
    else:
        named = {channel.pk for channel in channels}
        chosen = [channel for channel in enabled if channel.pk in named and channel.escalate_after_min is None]
    chosen += [channel for channel in _told_of(change) if channel not in chosen]
    return _write(change, chosen, FIRST, now)


def _told_of(change: Change) -> list[AlertChannel]:
    """Who was told of the incident that this change ends."""
    if change.incident_id is None:
        return []
    over = Incident.objects.filter(pk=change.incident_id, resolved_at__isnull=False)
    told = Alert.objects.filter(change__incident__in=over).exclude(state=State.SILENCED)
    return list(AlertChannel.objects.filter(enabled=True, alerts__in=told).distinct())


def _write(change: Change, chosen: Iterable[AlertChannel], occasion: str, now: datetime) -> list[Alert]:
    state = State.SILENCED if routing.is_silenced(change, now) else State.PENDING
    rows = [
        Alert(
            change=change, channel=channel, occasion=occasion, state=state, created_at=now,
            due_at=routing.due_at(channel, change.severity, now),
        )
        for channel in chosen
    ]  # fmt: skip
    # A worker that was quicker has written the same.
    return Alert.objects.bulk_create(rows, ignore_conflicts=True)


def follow_up(now: datetime) -> int:
    """Write reminders and escalations of open incidents that nobody acknowledged; returns how many."""
    waiting = list(Incident.objects.filter(resolved_at=None, acknowledged_at=None).prefetch_related("changes"))
    speaking = list(AlertChannel.objects.filter(enabled=True).exclude(remind_every_min=None, escalate_after_min=None))
    return sum(_follow(incident, channel, now) for incident in waiting for channel in speaking)


@transaction.atomic
def _follow(incident: Incident, channel: AlertChannel, now: datetime) -> int:
    """Of an incident's changes the first one stands for it: whoever hears of it again hears how it began."""
    opening = min(incident.changes.all(), key=lambda change: (change.detected_at, change.pk), default=None)
    if opening is None or routing.is_silenced(opening, now):
        return 0
    sent = list(Alert.objects.filter(change=opening, channel=channel))
    if any(alert.state == State.PENDING for alert in sent):
        return 0
    occasion = _escalation(incident, channel, opening, sent, now) or _reminder(channel, sent, now)
    if not occasion:
        return 0
    _write(opening, [channel], occasion, now)
    incidents.note(incident, now, f"Told “{channel.name}” again: {occasion}.")
    return 1


def _escalation(
    incident: Incident, channel: AlertChannel, opening: Change, sent: Sequence[Alert], now: datetime
) -> str:
    if channel.escalate_after_min is None or any(alert.occasion == ESCALATION for alert in sent):
        return ""
    waited = now - incident.opened_at >= timedelta(minutes=channel.escalate_after_min)
    return ESCALATION if waited and routing.wants(channel, opening) else ""


def _reminder(channel: AlertChannel, sent: Sequence[Alert], now: datetime) -> str:
    """`reminder 3` where the third is due. Those that were missed meanwhile are not told one after the other."""
    told = [alert.sent_at for alert in sent if alert.state == State.SENT and alert.sent_at is not None]
    if not channel.remind_every_min or not told:
        return ""
    number = int((now - min(told)) / timedelta(minutes=channel.remind_every_min))
    known = max(
        (int(alert.occasion.rpartition(" ")[2]) for alert in sent if alert.occasion.startswith(REMINDER)), default=0
    )
    return f"{REMINDER} {number}" if number > known else ""


# --- sending -------------------------------------------------------------------------------------------------


def deliver_due(now: datetime, send: Send = doors.send) -> int:
    """Send what is due, channel by channel; returns the number of alerts that were sent."""
    _give_up_waiting(now)
    due = Alert.objects.filter(_due(now), channel__enabled=True)
    found = AlertChannel.objects.filter(pk__in=due.order_by().values("channel"))
    return sum(_deliver(channel, now, send) for channel in found)


def _due(now: datetime) -> Q:
    # A lease far ahead was written by a clock that was wrong.
    free = Q(leased_until=None) | Q(leased_until__lte=now) | Q(leased_until__gt=now + 2 * LEASE)
    return Q(state=State.PENDING, due_at__lte=now) & free


def _give_up_waiting(now: datetime) -> None:
    Alert.objects.filter(
        state=State.PENDING, channel__enabled=False, created_at__lt=now - OFF_AT_MOST
    ).update(state=State.DEAD, error="The channel is switched off.")  # fmt: skip


def _deliver(channel: AlertChannel, now: datetime, send: Send) -> int:
    claimed = _claim(channel, now)
    batches: dict[str, list[Alert]] = {}
    for alert in claimed:
        batches.setdefault(alert.batch, []).append(alert)
    return sum(_send(channel, batch, alerts, now, send) for batch, alerts in batches.items())


@transaction.atomic
def _claim(channel: AlertChannel, now: datetime) -> list[Alert]:
    """Lease what is due. Alerts that were tried together stay together, so that a repetition is one."""
    rows = Alert.objects.filter(_due(now), channel=channel).select_for_update(skip_locked=True, of=("self",))
    alerts = list(rows.select_related("change__incident").order_by("pk")[:MAX_BATCH])
    alerts = [alert for alert in alerts if _is_wanted(alert, now)]
    fresh = [alert for alert in alerts if not alert.batch]
    batch = hashlib.sha256(" ".join(str(alert.pk) for alert in fresh).encode()).hexdigest()[:32]
    for alert in fresh:
        alert.batch = batch
    for alert in alerts:
        alert.leased_until = now + LEASE
    Alert.objects.bulk_update(alerts, ["batch", "leased_until"])
    return alerts


def _is_wanted(alert: Alert, now: datetime) -> bool:
    """Not where it was silenced since, or where somebody took care before it was told again."""
    incident = alert.change.incident
    taken_care = incident is not None and not (incident.is_open and incident.acknowledged_at is None)
    if alert.occasion != FIRST and taken_care:
        reason = "Somebody took care before it was told."
    elif routing.is_silenced(alert.change, now):
        reason = "Silenced before it was told."
    else:
        return True
    Alert.objects.filter(pk=alert.pk).update(state=State.SILENCED, error=reason)
    return False


def _send(channel: AlertChannel, batch: str, alerts: Sequence[Alert], now: datetime, send: Send) -> int:
    rows = Alert.objects.filter(pk__in=[alert.pk for alert in alerts])
    try:
        send(channel, notice(batch, alerts), now)
    except doors.SendError as error:
        _failed(channel, rows, alerts, error, now)
        return 0
    except Exception as error:  # a mistake of ours in one channel must not stop the others
        log.exception("alerts of channel %s could not be sent", channel)
        _failed(channel, rows, alerts, doors.SendError(f"a mistake in VoiceLens: {type(error).__name__}"), now)
        return 0
    rows.update(state=State.SENT, sent_at=now, leased_until=None, error="", attempts=max(_tries(alerts)))
    AlertChannel.objects.filter(pk=channel.pk).update(last_sent_at=now)
    return len(alerts)


def _tries(alerts: Sequence[Alert]) -> list[int]:
    return [alert.attempts + 1 for alert in alerts]


def _failed(
    channel: AlertChannel, rows: QuerySet[Alert], alerts: Sequence[Alert], error: doors.SendError, now: datetime
) -> None:
    attempts = max(_tries(alerts))
    told = storable(error.message, 300)
    is_over = error.is_permanent or attempts >= MAX_ATTEMPTS
    rows.update(
        attempts=attempts,
        error=told,
        leased_until=None,
        state=State.DEAD if is_over else State.PENDING,
        due_at=now + _wait(attempts, error, alerts[0].batch),
    )
    AlertChannel.objects.filter(pk=channel.pk).update(last_error=told, last_failed_at=now)
    log.warning("alerts of channel %s were not sent%s: %s", channel, ", and are given up" if is_over else "", told)


def _wait(attempts: int, error: doors.SendError, batch: str) -> timedelta:
    """Twice as long after each attempt and up to a quarter more, each batch its own part; or as long as the receiver
    asks for."""
    if error.retry_after_sec is not None:
        return min(timedelta(seconds=max(error.retry_after_sec, 1)), LONGEST_WAIT)
    jitter = 1 + int(batch[:4], 16) / 0xFFFF / 4
    wait: timedelta = FIRST_WAIT * 2 ** (attempts - 1) * jitter
    return min(wait, LONGEST_WAIT)


# --- what people do --------------------------------------------------------------------------------------------


def send_again(rows: QuerySet[Alert], now: datetime) -> int:
    """Have what was given up tried once more from the start; returns how many."""
    return rows.filter(state=State.DEAD).update(
        state=State.PENDING, due_at=now, attempts=0, leased_until=None, error="", batch=""
    )


def give_up(rows: QuerySet[Alert]) -> int:
    """Have what is still to be sent not sent; returns how many."""
    return rows.filter(state=State.PENDING).update(state=State.DEAD, leased_until=None, error="Given up by hand.")

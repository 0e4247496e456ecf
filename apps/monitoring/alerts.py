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
from apps.monitoring.models import Alert, AlertChannel, Change, Incident, Severity
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
    """Who was told of the incident that this change ends, or will be once its quiet hours are over."""
    if change.incident_id is None:
        return []
    over = Incident.objects.filter(pk=change.incident_id, resolved_at__isnull=False)
    still = Q(state=State.PENDING, occasion=FIRST)  # what is pending else is dropped, now that it is over
    told = Alert.objects.filter(Q(state=State.SENT) | still, change__incident__in=over)
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
    """Write reminders and escalations of open incidents that nobody acknowledged, and let go what a silence held back
    that they outlasted; returns how many."""
    waiting = list(Incident.objects.filter(resolved_at=None, acknowledged_at=None).prefetch_related("changes"))
    speaking = list(AlertChannel.objects.filter(enabled=True)) if waiting else []
    return sum(_follow(incident, channel, now) for incident in waiting for channel in speaking)


@transaction.atomic
def _follow(incident: Incident, channel: AlertChannel, now: datetime) -> int:
    """Of an incident's changes the first one that the channel hears of stands for it, whatever came after."""
    inorder = sorted(incident.changes.all(), key=lambda change: (change.detected_at, change.pk))
    opening = next((change for change in inorder if _hears(channel, change)), None)
    written = list(Alert.objects.filter(change=opening, channel=channel)) if opening is not None else []
    if opening is None or any(alert.state == State.PENDING for alert in written) or routing.is_silenced(opening, now):
        return 0
    due_at = routing.due_at(channel, opening.severity, now)
    held = [alert.pk for alert in written if (alert.state, alert.occasion) == (State.SILENCED, FIRST)]
    if held:
        return Alert.objects.filter(pk__in=held).update(state=State.PENDING, due_at=due_at, error="")
    occasion = _escalation(incident, channel, written, now) or _reminder(channel, written, now)
    if not occasion:
        return 0
    columns = {"created_at": now, "due_at": due_at}
    _, is_new = Alert.objects.get_or_create(change=opening, channel=channel, occasion=occasion, defaults=columns)
    if is_new:
        incidents.note(incident, now, f"{occasion.capitalize()}: to “{channel.name}”.")
    return int(is_new)


def _escalation(incident: Incident, channel: AlertChannel, written: Sequence[Alert], now: datetime) -> str:
    if channel.escalate_after_min is None or any(alert.occasion == ESCALATION for alert in written):
        return ""
    return ESCALATION if now - incident.opened_at >= timedelta(minutes=channel.escalate_after_min) else ""


def _hears(channel: AlertChannel, change: Change) -> bool:
    """By the channels that the change's severity rule names, else by the channel's own filters."""
    named = list(AlertChannel.objects.filter(severityrule__name=change.rule).values_list("pk", flat=True))
    return channel.pk in named if named else routing.wants(channel, change)


def _reminder(channel: AlertChannel, written: Sequence[Alert], now: datetime) -> str:
    """`reminder 3` where the third is due. Those that were missed meanwhile are not told one after the other."""
    told = [alert.sent_at for alert in written if alert.state == State.SENT and alert.sent_at is not None]
    if not channel.remind_every_min or not told:
        return ""
    number = int((now - min(told)) / timedelta(minutes=channel.remind_every_min))
    known = max(
        (int(alert.occasion.rpartition(" ")[2]) for alert in written if alert.occasion.startswith(REMINDER)), default=0
    )
    return f"{REMINDER} {number}" if number > known else ""


# --- sending -------------------------------------------------------------------------------------------------


def deliver_due(clock: Callable[[], datetime], send: Send = doors.send) -> int:
    """Send what is due, one message after the other, each leased by the time at which its turn comes; returns the
    number of alerts that were sent."""
    _give_up_waiting(clock())
    sent = 0
    while claimed := _claim(clock()):
        sent += _send(claimed, clock, send)
    return sent


def _due(now: datetime) -> Q:
    # A lease far ahead was written by a clock that was wrong.
    free = Q(leased_until=None) | Q(leased_until__lte=now) | Q(leased_until__gt=now + 2 * LEASE)
    return Q(state=State.PENDING, due_at__lte=now, channel__enabled=True) & free


def _give_up_waiting(now: datetime) -> None:
    waited = Alert.objects.filter(state=State.PENDING, channel__enabled=False, created_at__lt=now - OFF_AT_MOST)
    waited.update(state=State.DEAD, error="The channel is switched off.")


def _claim(now: datetime) -> list[Alert]:
    """Lease what is due of one channel as one message; empty where nothing is due."""
    while Alert.objects.filter(_due(now)).exists():  # the usual answer, without the lock of a transaction that writes
        claimed = _claim_some(now)
        if claimed is None or claimed:
            return claimed or []
    return []


@transaction.atomic
def _claim_some(now: datetime) -> list[Alert] | None:
    """None where others hold all that is due; empty where none of it is wanted any more.

    Alerts that were tried together stay together, so that a repetition is one.
    """
    due = Alert.objects.filter(_due(now)).select_for_update(skip_locked=True, of=("self",))
    first = due.order_by("due_at", "pk").first()
    if first is None:
        return None
    together = due.filter(channel=first.channel_id, batch=first.batch)
    rows = list(together.select_related("change__incident", "channel").order_by("pk")[:MAX_BATCH])
    alerts = _wanted(rows, now)
    if any(
        alert.attempts >= MAX_ATTEMPTS for alert in alerts
    ):  # whoever tried it did not live to say what became of it
        ids = [alert.pk for alert in alerts]
        Alert.objects.filter(pk__in=ids).update(state=State.DEAD, error="Nobody lived through sending it.")
        return []
    batch = first.batch or hashlib.sha256(" ".join(str(alert.pk) for alert in alerts).encode()).hexdigest()[:32]
    for alert in alerts:
        alert.batch, alert.leased_until, alert.attempts = batch, now + LEASE, alert.attempts + 1
    Alert.objects.bulk_update(alerts, ["batch", "leased_until", "attempts"])
    return alerts


def _wanted(alerts: Sequence[Alert], now: datetime) -> list[Alert]:
    """Not where it was silenced since, or where somebody took care before it was told again."""
    silenced = {change.pk: routing.is_silenced(change, now) for change in {alert.change for alert in alerts}}
    over = [alert for alert in alerts if alert.occasion != FIRST and _is_taken_care_of(alert.change.incident)]
    quiet = [alert for alert in alerts if alert not in over and silenced[alert.change_id]]
    for rows, reason in ((over, "Somebody took care before it was told."), (quiet, "Silenced before it was told.")):
        Alert.objects.filter(pk__in=[alert.pk for alert in rows]).update(state=State.SILENCED, error=reason)
    return [alert for alert in alerts if alert not in over and alert not in quiet]


def _is_taken_care_of(incident: Incident | None) -> bool:
    return incident is not None and not (incident.is_open and incident.acknowledged_at is None)


def _send(alerts: Sequence[Alert], clock: Callable[[], datetime], send: Send) -> int:
    channel, now = alerts[0].channel, clock()
    # Whoever lost the lease meanwhile, or was told to give up, changes nothing any more.
    rows = Alert.objects.filter(
        pk__in=[alert.pk for alert in alerts], state=State.PENDING, leased_until=alerts[0].leased_until
    )
    try:
        send(channel, notice(alerts[0].batch, alerts), now)
    except doors.SendError as error:
        _failed(rows, alerts, error, clock())
        return 0
    except Exception as error:  # a mistake of ours in one channel must not stop the others
        log.exception("alerts of channel %s could not be sent", channel)
        mistake = doors.SendError(f"a mistake in VoiceLens: {type(error).__name__}")
        _failed(rows, alerts, mistake, clock())
        return 0
    AlertChannel.objects.filter(pk=channel.pk).update(last_sent_at=now)
    return rows.update(state=State.SENT, sent_at=now, leased_until=None, error="")


def _failed(rows: QuerySet[Alert], alerts: Sequence[Alert], error: doors.SendError, now: datetime) -> None:
    attempts = max(alert.attempts for alert in alerts)
    channel, told = alerts[0].channel, storable(error.message, 300)
    worst = max((alert.change.severity for alert in alerts), key=lambda word: Severity(word).rank)
    is_over = error.is_permanent or attempts >= MAX_ATTEMPTS
    rows.update(
        error=told,
        leased_until=None,
        state=State.DEAD if is_over else State.PENDING,
        due_at=routing.due_at(channel, worst, now + _wait(attempts, error, alerts[0].batch)),
    )
    AlertChannel.objects.filter(pk=channel.pk).update(last_error=told, last_failed_at=now)
    log.warning("alerts of channel %s were not sent%s: %s", channel, ", and are given up" if is_over else "", told)


def _wait(attempts: int, error: doors.SendError, batch: str) -> timedelta:
    """Twice as long after each attempt and up to a quarter more, each batch its own part; longer if the receiver asks
    for it."""
    jitter = 1 + int(batch[:4], 16) / 0xFFFF / 4
    wait: timedelta = FIRST_WAIT * 2 ** (attempts - 1) * jitter
    return min(max(wait, timedelta(seconds=error.retry_after_sec or 0)), LONGEST_WAIT)


# --- what people do --------------------------------------------------------------------------------------------


def send_again(rows: QuerySet[Alert], now: datetime) -> int:
    """Have what was given up tried once more, under the id it had; returns how many."""
    dead = rows.filter(state=State.DEAD)
    return dead.update(state=State.PENDING, due_at=now, attempts=0, leased_until=None, error="")


def give_up(rows: QuerySet[Alert]) -> int:
    """Have what is still to be sent not sent; returns how many."""
    return rows.filter(state=State.PENDING).update(state=State.DEAD, leased_until=None, error="Given up by hand.")

"""What lasts, from its first sign to its end. One incident of a source is open at a time; it joins its changes.

Each call is one transaction, or part of the caller's, who also tells the time.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from apps.monitoring.models import Incident, IncidentEntry, Monitor, Severity
from apps.monitoring.storable import storable


@transaction.atomic
def open_or_worsen(
    source_key: str,
    *,
    provider: str,
    title: str,
    severity: str,
    now: datetime,
    text: str,
    monitor: Monitor | None = None,
) -> tuple[Incident, bool]:
    """The open incident of the source, and whether it is new. One that is open already gets the new title, a line in
    its timeline, and the severity if that is higher."""
    incident = open_incident(source_key)
    if incident is None:
        incident, is_new = _opened(source_key, provider, storable(title, 300), severity, now, monitor)
        if is_new:
            note(incident, now, text)
            return incident, True
    incident.title = storable(title, 300)
    if Severity(severity).rank > Severity(incident.severity).rank:
        incident.severity = severity
    incident.save(update_fields=["title", "severity"])
    note(incident, now, text)
    return incident, False


def _opened(
    source_key: str, provider: str, title: str, severity: str, now: datetime, monitor: Monitor | None
) -> tuple[Incident, bool]:
    columns = {"provider": provider, "title": title, "severity": severity, "opened_at": now, "monitor": monitor}
    try:
        with transaction.atomic():
            return Incident.objects.create(source_key=source_key, **columns), True
    except IntegrityError:  # another worker was quicker
        return Incident.objects.select_for_update().get(source_key=source_key, resolved_at=None), False


def open_incident(source_key: str) -> Incident | None:
    """The open incident of the source, locked until the transaction ends."""
    return Incident.objects.select_for_update().filter(source_key=source_key, resolved_at=None).first()


@transaction.atomic
def resolve(source_key: str, now: datetime, text: str, author: str = "") -> Incident | None:
    """End the open incident of the source; None where there is none."""
    incident = open_incident(source_key)
    if incident is None:
        return None
    incident.resolved_at = max(now, incident.opened_at)  # a clock may have been set back in between
    incident.save(update_fields=["resolved_at"])
    note(incident, now, text, author)
    return incident


def note(incident: Incident, now: datetime, text: str, author: str = "") -> None:
    """Add a line to the timeline. An empty author is VoiceLens itself."""
    IncidentEntry.objects.create(incident=incident, at=now, text=storable(text), author=author[:150])


@transaction.atomic
def acknowledge(incident: Incident, now: datetime, by: str, reason: str) -> None:
    """Somebody takes care: no reminders, no escalation. Nothing happens where it is acknowledged or over."""
    columns = {"acknowledged_at": now, "acknowledged_by": by[:150], "acknowledge_reason": storable(reason, 300)}
    still_open = Incident.objects.filter(pk=incident.pk, acknowledged_at=None, resolved_at=None)
    if still_open.update(**columns):
        incident.refresh_from_db()
        note(incident, now, f"Acknowledged: {reason}" if reason else "Acknowledged.", by)

"""What the provider's own status page tells of its incidents, each told when it opens and when it is over.

Those known at the last look stand in the check's memory. First sight is a baseline. News of them stand in the timeline
of our own incident while that is open.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from apps.monitoring import incidents
from apps.monitoring.changes import Finding, record
from apps.monitoring.models import Change, ChangeType, Monitor, Severity
from apps.monitoring.outages import source_key
from apps.monitoring.outcome import VendorIncident
from apps.monitoring.storable import storable_json

# Where no severity rule fits.
SEVERITY_OF_IMPACT = {"critical": Severity.CRITICAL, "major": Severity.HIGH, "minor": Severity.MEDIUM}
MEMORY = "incidents"


def note_incidents(
    monitor: Monitor, told: Sequence[VendorIncident], now: datetime, *, is_baseline: bool
) -> list[Change]:
    """Compare with the check's memory, and write that anew (its row is the caller's to save)."""
    known: dict[str, Any] = monitor.memory.get(MEMORY, {})
    open_now = {_key(one): one for one in told if one.is_open}
    monitor.memory = {**monitor.memory, MEMORY: {key: _remembered(one) for key, one in open_now.items()}}
    if is_baseline:
        return []
    ended = {_key(one): one for one in told if not one.is_open}
    found = [_opened(monitor, one, now) for key, one in open_now.items() if key not in known]
    found += [_closed(monitor, key, known[key], ended.get(key), now) for key in known if key not in open_now]
    _note_news(monitor, {key: one for key, one in open_now.items() if key in known}, known, now)
    return [change for change in found if change is not None]


def _key(incident: VendorIncident) -> str:
    return hashlib.sha256(incident.id.encode("utf-8", "replace")).hexdigest()[:32]


def _remembered(incident: VendorIncident) -> dict[str, str]:
    names = ("title", "impact", "status", "url", "text")
    remembered: dict[str, str] = storable_json({name: getattr(incident, name)[:1000] for name in names})
    return remembered


def _opened(monitor: Monitor, incident: VendorIncident, now: datetime) -> Change | None:
    parts = f"Components: {', '.join(incident.components[:20])}." if incident.components else ""
    said = " ".join(filter(None, (f"{incident.status}: {incident.text}".strip(": "), parts)))
    title = f"{monitor.provider.name} reports: {incident.title}"
    return _record(monitor, f"opened:{_key(incident)}", title, said, vars(incident), now)


def _closed(
    monitor: Monitor, key: str, known: dict[str, str], incident: VendorIncident | None, now: datetime
) -> Change | None:
    title = f"{monitor.provider.name} reports as over: {known['title']}"
    said = incident.text if incident is not None else "It is no longer on the status page."
    return _record(monitor, f"closed:{key}", title, said, known, now)


def _record(
    monitor: Monitor, key: str, title: str, said: str, incident: dict[str, Any], now: datetime
) -> Change | None:
    impact = incident["impact"]
    finding = Finding(
        key=f"vendor:{monitor.pk}:{key}:{now.isoformat()}",
        provider=monitor.provider.slug,
        source=monitor.kind,
        change_type=ChangeType.SERVICE_STATUS,
        title=title,
        description=said,
        url=incident["url"] or monitor.url,
        words=f"{impact} incident: {incident['title']}",
        severity=SEVERITY_OF_IMPACT.get(impact, Severity.LOW),
        data={"vendor": {name: incident[name] for name in ("title", "impact", "status")}},
    )
    ours = incidents.open_incident(source_key(monitor))
    if ours is not None:
        incidents.note(ours, now, f"{title}. {said}")
    return record(finding, now, monitor=monitor, incident=ours)


def _note_news(
    monitor: Monitor, still_open: dict[str, VendorIncident], known: dict[str, Any], now: datetime
) -> None:
    news = [one for key, one in still_open.items() if _remembered(one) != known[key]]
    ours = incidents.open_incident(source_key(monitor)) if news else None
    for one in news if ours is not None else []:
        incidents.note(ours, now, f"{monitor.provider.name} reports: {one.title}: {one.status}. {one.text}")

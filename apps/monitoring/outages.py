"""From a check's new state to what people hear of it: one incident from its first sign to its end, and its changes.

Planned maintenance is not told; what still lasts when it ends is. While a state flaps, only that it does is told.
"""

from datetime import datetime, timedelta

from django.db.models import Q

from apps.monitoring import incidents, rules
from apps.monitoring.changes import Finding, record
from apps.monitoring.models import Change, ChangeType, Incident, Kind, Monitor, Silence, State
from apps.monitoring.outcome import Outcome
from apps.monitoring.verdict import Judgement

LABELS = {
    Kind.HEALTH: "API",
    Kind.STATUS: "status page",
    Kind.DOCS: "documentation",
    Kind.OPENAPI: "OpenAPI document",
    Kind.CHANGELOG: "changelog",
    Kind.FEED: "feed",
}
BAD = (State.DEGRADED, State.DOWN)


def source_key(monitor: Monitor) -> str:
    """The key of the check's incident."""
    return f"check:{monitor.pk}"


def subject(monitor: Monitor) -> str:
    """`Acme documentation`, as titles begin."""
    return f"{monitor.provider.name} {LABELS[Kind(monitor.kind)]}"


def tell(monitor: Monitor, judgement: Judgement, outcome: Outcome, now: datetime) -> list[Change]:
    """Incident and changes for a check whose new state is already in `monitor`; in the caller's transaction."""
    found = [_fault(monitor, judgement, outcome, now)]
    incident = incidents.open_incident(source_key(monitor)) if _may_have_one(monitor, judgement) else None
    if judgement.flapping == "began":
        found.append(_flapping(monitor, outcome, now))
    elif monitor.is_flapping or (monitor.state in BAD and in_maintenance(monitor, now)):
        pass
    elif monitor.state in BAD and (judgement.transition or judgement.flapping or incident is None):
        found.append(_bad(monitor, outcome, now))
    elif monitor.state == State.UP and incident is not None:
        found.append(_back(monitor, incident, outcome, now))
    return [change for change in found if change is not None]


def _may_have_one(monitor: Monitor, judgement: Judgement) -> bool:
    """A check that is up and was up has no incident: that saves the question at nearly every look."""
    return monitor.state in BAD or bool(judgement.transition or judgement.flapping)


def in_maintenance(monitor: Monitor, now: datetime) -> bool:
    """Whether now is planned maintenance of the check, its provider or everything."""
    about = Q(monitor=monitor) | Q(monitor=None, provider=monitor.provider_id) | Q(monitor=None, provider=None)
    return Silence.objects.filter(about, is_maintenance=True, starts_at__lte=now, ends_at__gt=now).exists()


def _bad(monitor: Monitor, outcome: Outcome, now: datetime) -> Change | None:
    return _open(monitor, _finding(monitor, outcome, now, f"is {monitor.state}", monitor.state), now)


def _flapping(monitor: Monitor, outcome: Outcome, now: datetime) -> Change | None:
    return _open(monitor, _finding(monitor, outcome, now, "is flapping", "", words="flapping"), now)


def _open(monitor: Monitor, finding: Finding, now: datetime) -> Change | None:
    incident, _ = incidents.open_or_worsen(
        source_key(monitor),
        provider=finding.provider,
        title=finding.title,
        severity=rules.judge(finding).severity,
        now=now,
        text=f"{finding.title}. {finding.description}",
        monitor=monitor,
    )
    return record(finding, now, monitor=monitor, incident=incident)


def _back(monitor: Monitor, incident: Incident, outcome: Outcome, now: datetime) -> Change | None:
    lasted = f"It took {_spoken(now - incident.opened_at)}."
    finding = _finding(monitor, outcome, now, "is up again", State.UP, lasted)
    incidents.resolve(incident.source_key, now, f"{finding.title}. {lasted}")
    return record(finding, now, monitor=monitor, incident=incident)


def _finding(
    monitor: Monitor, outcome: Outcome, now: datetime, verb: str, state: str, more: str = "", words: str = ""
) -> Finding:
    said = "status page says: it " if monitor.kind == Kind.STATUS else ""
    told = f"{monitor.provider.name} {said}{verb}" if said else f"{subject(monitor)} {verb}"
    return Finding(
        key=f"state:{monitor.pk}:{now.isoformat()}",
        provider=monitor.provider.slug,
        source=monitor.kind,
        change_type=ChangeType.SERVICE_STATUS,
        title=told,
        description=" ".join(filter(None, (_answer(outcome), more))),
        url=monitor.url,
        state=state,
        status_code=outcome.status_code,
        words=words,
        data={"state": monitor.state, "status_code": outcome.status_code, "latency_ms": outcome.latency_ms},
    )


def _answer(outcome: Outcome) -> str:
    """What the last look saw, in sentences."""
    code = f"HTTP {outcome.status_code}." if outcome.status_code is not None else ""
    parts = [f"{name}: {state}" for name, state in sorted(outcome.components.items()) if state != State.UP]
    components = f"Components: {'; '.join(parts[:20])}." if parts else ""
    return " ".join(filter(None, (_sentence(outcome.error) or code, components)))


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _spoken(time: timedelta) -> str:
    minutes = max(round(time.total_seconds() / 60), 1)
    hours, rest = divmod(minutes, 60)
    return " ".join(filter(None, (hours and f"{hours} h", (rest or not hours) and f"{rest} min")))


def _fault(monitor: Monitor, judgement: Judgement, outcome: Outcome, now: datetime) -> Change | None:
    """The check itself does not work, or does again: each is told once."""
    if not judgement.fault:
        return None
    began = judgement.fault == "began"
    return record(
        Finding(
            key=f"fault:{monitor.pk}:{judgement.fault}:{now.isoformat()}",
            provider=monitor.provider.slug,
            source=monitor.kind,
            change_type=ChangeType.SERVICE_STATUS,
            title=f"The check of {subject(monitor)} {'does not work' if began else 'works again'}",
            description=_sentence(outcome.error) if began else "",
            url=monitor.url,
            status_code=outcome.status_code,
            data={"fault": outcome.error_kind},
        ),
        now,
        monitor=monitor,
    )

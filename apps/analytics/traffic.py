"""Tells when our own traffic says that something is wrong with a provider, beside the provider's own word.

Incidents and changes are kept by monitoring; what is read and what is usual is known by `measures`. The caller tells
the time.
"""

import logging
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.analytics.measures import Metric, endpoints_of, read
from apps.analytics.models import TrafficCondition
from apps.analytics.usual import Reading, Verdict
from apps.monitoring import incidents
from apps.monitoring.changes import Finding, record
from apps.monitoring.models import Change, ChangeType, Incident, Kind, Monitor, Severity, State
from apps.providers.models import Provider

log = logging.getLogger(__name__)

SOURCE = "traffic"
DAY_MIN = 24 * 60


@dataclass(frozen=True)
class Words:
    """How a metric is told: the title while it lasts and after, the type of the change, how bad it is at least."""

    wrong: str
    right: str
    change_type: ChangeType
    severity: Severity


WORDS = {
    Metric.FAILURE_RATE: Words(
        "calls fail far more often than usual", "calls fail no more than usual",
        ChangeType.SERVICE_STATUS, Severity.HIGH,
    ),
    Metric.REFUSED: Words(
        "deliveries are refused", "deliveries are accepted again", ChangeType.WEBHOOK_FORMAT, Severity.HIGH
    ),
    Metric.SILENCE: Words(
        "nothing is delivered any more", "deliveries come again", ChangeType.SERVICE_STATUS, Severity.HIGH
    ),
    Metric.LAG: Words(
        "deliveries come later than usual", "deliveries come as soon as usual",
        ChangeType.SERVICE_STATUS, Severity.MEDIUM,
    ),
    Metric.PROCESSING: Words(
        "deliveries cannot be mapped", "deliveries can be mapped again", ChangeType.WEBHOOK_FORMAT, Severity.HIGH
    ),
    Metric.VOLUME: Words(
        "far fewer deliveries come than usual", "deliveries come as many as usual",
        ChangeType.SERVICE_STATUS, Severity.MEDIUM,
    ),
    Metric.NO_END: Words(
        "calls began whose end was never told", "no call misses its end any more",
        ChangeType.SERVICE_STATUS, Severity.MEDIUM,
    ),
    Metric.NO_ANALYSIS: Words(
        "calls ended whose analysis never came", "no call misses its analysis any more",
        ChangeType.SERVICE_STATUS, Severity.MEDIUM,
    ),
}  # fmt: skip
# What a fresh installation starts with, beside the model's own defaults.
DEFAULTS: tuple[tuple[Metric, dict[str, float]], ...] = (
    (Metric.FAILURE_RATE, {}),
    (Metric.REFUSED, {"min_sample": 10}),
    (Metric.SILENCE, {"min_sample": 5}),
    (Metric.LAG, {"factor": 4}),
    (Metric.PROCESSING, {}),
    (Metric.VOLUME, {"min_sample": 50, "factor": 4}),
    (Metric.NO_END, {"window_min": 120, "min_sample": 1}),
    (Metric.NO_ANALYSIS, {"min_sample": 1}),
)


def ensure_conditions() -> list[str]:
    """Create the conditions a fresh installation starts with, where there is none at all; returns their metrics."""
    if TrafficCondition.objects.exists():
        return []
    for metric, values in DEFAULTS:
        TrafficCondition.objects.get_or_create(metric=metric, provider=None, defaults=values)
    return [metric.value for metric, _ in DEFAULTS]


# --- watching -----------------------------------------------------------------------------------------------------


def watch(now: datetime) -> list[Change]:
    """Look at every condition of every provider; opens and resolves incidents, and gives the changes recorded."""
    ensure_conditions()
    still_open = set(Incident.objects.filter(source_key__startswith=f"{SOURCE}:", resolved_at=None)
                     .values_list("source_key", flat=True))  # fmt: skip
    told: list[Change | None] = []
    watched = set()
    for provider, condition in _watched():
        key = source_key(provider, condition.metric)
        watched.add(key)
        try:
            told.append(_look(provider, condition, now, key in still_open))
        except Exception:
            # One provider's trouble keeps nobody from hearing of another's.
            log.exception("the traffic could not be judged: %s", key)
    for key in sorted(still_open - watched):
        incidents.resolve(key, now, "Not watched any more: provider, endpoints or condition are switched off.")
    return [change for change in told if change is not None]


def source_key(provider: Provider, metric: str) -> str:
    """The key of the condition's incident."""
    return f"{SOURCE}:{provider.slug}:{metric}"


def _watched() -> Iterator[tuple[Provider, TrafficCondition]]:
    for provider in Provider.objects.filter(enabled=True).order_by("slug"):
        if endpoints_of(provider):
            for condition in conditions_of(provider):
                yield provider, condition


def conditions_of(provider: Provider) -> list[TrafficCondition]:
    """The enabled conditions of a provider: its own row of a metric, else the one of all."""
    found = {row.metric: row for row in TrafficCondition.objects.filter(provider=None)}
    found |= {row.metric: row for row in TrafficCondition.objects.filter(provider=provider)}
    return [found[metric] for metric in Metric.values if metric in found and found[metric].enabled]


def _look(provider: Provider, condition: TrafficCondition, now: datetime, is_open: bool) -> Change | None:
    reading = read(provider, condition, now)
    if is_open:
        return _ended(provider, condition, reading, now)
    return _begun(provider, condition, reading, now) if reading.verdict is Verdict.RAISED else None


@transaction.atomic
def _begun(provider: Provider, condition: TrafficCondition, reading: Reading, now: datetime) -> Change | None:
    words = WORDS[Metric(condition.metric)]
    text = f"{reading.text} {vendor_sentence(provider)}"
    incident, is_new = incidents.open_or_worsen(
        source_key(provider, condition.metric),
        provider=provider.slug,
        title=f"{provider.name}: {words.wrong}",
        severity=words.severity,
        now=now,
        text=text,
    )
    return _record(provider, condition, reading, incident, now, "raised", text) if is_new else None


def _ended(provider: Provider, condition: TrafficCondition, reading: Reading, now: datetime) -> Change | None:
    """None while it lasts. Where the window holds too few to tell, a whole day decides; too few of these end it too."""
    if reading.verdict is Verdict.UNSURE:
        longer = copy(condition)
        longer.window_min = max(condition.window_min, DAY_MIN)
        reading = read(provider, longer, now)
    if reading.verdict in (Verdict.RAISED, Verdict.BETWEEN):
        return None
    text = reading.text
    if reading.verdict is Verdict.UNSURE:
        text += " That is too little to tell, so this is not held up any longer."
    with transaction.atomic():
        incident = incidents.resolve(source_key(provider, condition.metric), now, text)
        if incident is None:  # another worker was quicker
            return None
        return _record(provider, condition, reading, incident, now, "over", text)


def _record(
    provider: Provider,
    condition: TrafficCondition,
    reading: Reading,
    incident: Incident,
    now: datetime,
    what: str,
    text: str,
) -> Change | None:
    words = WORDS[Metric(condition.metric)]
    finding = Finding(
        key=f"{incident.source_key}:{incident.pk}:{what}",
        provider=provider.slug,
        source=SOURCE,
        change_type=words.change_type,
        title=f"{provider.name}: {words.wrong if what == 'raised' else words.right}",
        description=text,
        url=reading.data.get("url", ""),
        data={"metric": condition.metric, **reading.data},
        state="" if what == "raised" else State.UP,
        severity=words.severity if what == "raised" else Severity.LOW,
    )
    return record(finding, now, incident=incident)


# --- both words beside each other -----------------------------------------------------------------------------------

_BADNESS = [State.UNKNOWN, State.UP, State.DEGRADED, State.DOWN]


@dataclass(frozen=True)
class OwnWord:
    """A condition as it stands now: what was read, and since when there is an open incident."""

    metric: str
    reading: Reading
    open_since: datetime | None


@dataclass(frozen=True)
class ProviderStanding:
    """`vendor`: the state of the provider's status page, None where none is watched; `checks`: the worst of the health
    checks; `ours`: what our own traffic says."""

    provider: str
    vendor: str | None
    vendor_checked_at: datetime | None
    checks: str | None
    ours: list[OwnWord] = field(default_factory=list)


def provider_standing(provider: Provider, now: datetime) -> ProviderStanding:
    """What the provider says of itself, what our checks see and what our traffic says, read at this moment."""
    status = _worst(provider, Kind.STATUS)
    health = _worst(provider, Kind.HEALTH)
    open_since: dict[str, datetime] = dict(
        Incident.objects.filter(source_key__startswith=f"{SOURCE}:{provider.slug}:", resolved_at=None)
        .values_list("source_key", "opened_at")
    )  # fmt: skip
    return ProviderStanding(
        provider=provider.slug,
        vendor=status.state if status else None,
        vendor_checked_at=status.last_checked_at if status else None,
        checks=health.state if health else None,
        ours=[
            OwnWord(row.metric, read(provider, row, now), open_since.get(source_key(provider, row.metric)))
            for row in (conditions_of(provider) if endpoints_of(provider) else [])
        ],
    )


def _worst(provider: Provider, kind: Kind) -> Monitor | None:
    """The check of that kind with the worst state; None where there is none. What is not known yet says least."""
    rows = Monitor.objects.filter(provider=provider, kind=kind, enabled=True).order_by("pk")
    return max(rows, key=lambda row: _BADNESS.index(State(row.state)), default=None)


def vendor_sentence(provider: Provider) -> str:
    """What the provider's own status page said when it was last looked at."""
    status = _worst(provider, Kind.STATUS)
    if status is None:
        return "No status page of theirs is watched."
    if status.last_checked_at is None or status.state == State.UNKNOWN:
        return "Nothing is known of their status page yet."
    return f"Their status page says: {_VENDOR[State(status.state)]} ({status.last_checked_at:%Y-%m-%d %H:%M} UTC)."


_VENDOR: dict[State, Any] = {State.UP: "operational", State.DEGRADED: "degraded", State.DOWN: "down"}

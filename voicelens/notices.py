"""What stands at the top of the admin's first page: what is wrong, since when, and what to do about it, in words."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.urls import reverse
from django.utils import timezone

from apps.ingest.admin.refused import MAY_RECHECK
from apps.ingest.models import DecisionRequest
from apps.ingest.notices import Jump, decision_requests, jumps
from apps.monitoring.admin.words import how_long
from apps.monitoring.models import Incident, Severity
from apps.monitoring.selectors import open_incidents
from apps.providers.admin.base import utc
from apps.providers.models import Endpoint

# What to do, by the beginning of a reason.
REMEDIES = (
    ("no_secret", "Enter the provider's secret at the endpoint, then recheck."),
    ("secret_unusable", "Enter the provider's secret at the endpoint again, then recheck."),
    ("signature_mismatch", "If its key was rotated, enter the new secret at the endpoint, then recheck."),
    ("token_mismatch", "If its token was changed, enter the new one at the endpoint, then recheck."),
    ("timestamp_", "Look at this machine's clock, and at the tolerance of the endpoint's auth config."),
    ("closed", "The endpoint is switched off: switch it on, or take its URL out at the provider."),
    ("address_not_allowed", "Look whether the provider sends from new addresses: the endpoint's allowed addresses."),
    ("", "They carry no proof of the form that the endpoint expects: look at its auth config, and at who posts there."),
)
INCIDENTS_SHOWN = 10


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class Notice:
    """`title` in one line, `lines` with numbers and the remedy, `links` to where it is applied.

    `refuses` is the key of the endpoint whose refusals it tells.
    """

    title: str
    lines: list[str]
    links: list[Link]
    refuses: int | None = None


def refusals(now: datetime, *, may_recheck: bool) -> Iterator[Notice]:
    """A notice for each endpoint whose refusals jumped."""
    for jump in jumps(now):
        links = [Link("To the endpoint", _page(jump.endpoint))]
        if jump.waiting and may_recheck:
            links.append(Link("Recheck", reverse("admin:providers_endpoint_recheck", args=[jump.endpoint.pk])))
        title = f"{jump.endpoint} refuses what it is sent: {jump.reason}"
        yield Notice(title, _told(jump), links, refuses=jump.endpoint.pk)


def _told(jump: Jump) -> list[str]:
    count = f"Refused in 24 hours: {jump.count:,}, usual: {jump.usual:g}."
    kept = f"Kept for a recheck: {jump.waiting:,}" + (f", not kept: {jump.not_kept:,}." if jump.not_kept else ".")
    since = f"Since {jump.since:%Y-%m-%d %H}:00 UTC, last {utc(jump.last_at)} UTC."
    remedy = next(text for beginning, text in REMEDIES if jump.reason.startswith(beginning))
    return [f"{count} {since} {kept}", remedy]


def decisions(now: datetime) -> Iterator[Notice]:
    """A notice for each endpoint that was asked for decisions."""
    asked: dict[int, list[DecisionRequest]] = defaultdict(list)
    for row in decision_requests(now):
        asked[row.endpoint_id].append(row)
    for rows in asked.values():
        endpoint, last_at = rows[0].endpoint, max(row.last_at for row in rows)
        events = ", ".join(row.event for row in rows)
        lines = [
            f"Received in 24 hours: {events}; last {utc(last_at)} UTC. VoiceLens answered neutrally.",
            "These events wait for a decision that VoiceLens does not make: point them at your own server.",
        ]
        yield Notice(f"{endpoint} is asked for decisions", lines, [Link("To the endpoint", _page(endpoint))])


def incidents(now: datetime) -> Iterator[Notice]:
    """A notice of all open incidents, the worst and then the oldest first."""
    rows = list(open_incidents().order_by("opened_at")[: INCIDENTS_SHOWN + 1])
    if not rows:
        return
    rows.sort(key=lambda row: -Severity(row.severity).rank)
    shown = rows[:INCIDENTS_SHOWN]
    lines = [f"{row.severity}, for {how_long(now - row.opened_at)}: {row.title}{_taken(row)}" for row in shown]
    page = reverse("admin:monitoring_incident_changelist")
    links = [Link("To the incidents", f"{page}?state=open")]
    count = f"more than {INCIDENTS_SHOWN}" if len(rows) > INCIDENTS_SHOWN else str(len(rows))
    yield Notice(f"Open incidents: {count}", lines, links)


def _taken(incident: Incident) -> str:
    return f" ({incident.acknowledged_by} takes care)" if incident.acknowledged_at else ""


def notices(user: AbstractBaseUser | AnonymousUser) -> list[Notice]:
    """All that this user may see."""
    may: Any = user
    now = timezone.now()
    told = list(incidents(now)) if may.has_perm("monitoring.view_incident") else []
    if may.has_perm("providers.view_endpoint"):
        told += [*refusals(now, may_recheck=may.has_perm(MAY_RECHECK)), *decisions(now)]
    return told


def _page(endpoint: Endpoint) -> str:
    return reverse("admin:providers_endpoint_change", args=[endpoint.pk])

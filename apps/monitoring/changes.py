"""Records what people should hear of, whatever found it: judged, linked to the mapping it touches, and told.

What counts as a finding is up to those who look; who is told, and when, is for `alerts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.monitoring import alerts, impact, rules
from apps.monitoring.models import Change, ChangeType, Incident, Monitor
from apps.monitoring.storable import storable, storable_json


@dataclass(frozen=True)
class Finding:
    """Something found. `key` says what, once and for all: the same key again is not recorded again.

    `source` is a kind of check, `traffic` or `self`; an empty `provider` means VoiceLens itself. `state` and
    `status_code` are what was found. `words` are the provider's own, such as the changed lines without what stands
    around them in the diff: where they are given, severity rules and the mapping's names are searched in nothing else.
    """

    key: str
    provider: str
    source: str
    change_type: str
    title: str
    description: str = ""
    url: str = ""
    diff: str = ""
    content_hash: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    changed_percent: float | None = None
    state: str = ""
    status_code: int | None = None
    words: str = ""
    severity: str = ""  # where no rule fits; low by default

    @property
    def text(self) -> str:
        """What the words of severity rules and the names of the mapping are searched in."""
        return self.words or "\n".join(filter(None, (self.title, self.description, self.diff)))


@transaction.atomic
def record(
    finding: Finding, now: datetime, *, monitor: Monitor | None = None, incident: Incident | None = None
) -> Change | None:
    """Write the change and its pending alerts, in the caller's transaction; None where the key is known already."""
    if Change.objects.filter(key=finding.key).exists():
        return None
    judged = rules.judge(finding)
    affected = _affected(finding)
    change, is_new = Change.objects.get_or_create(
        key=finding.key,
        defaults={
            **_columns(finding, affected),
            "monitor": monitor,
            "incident": incident,
            "severity": judged.severity,
            "change_type": judged.change_type,
            "rule": judged.rule,
            "needs_review": bool(affected) or judged.change_type == ChangeType.WEBHOOK_FORMAT,
            "detected_at": now,
        },
    )
    if not is_new:  # another worker was quicker
        return None
    alerts.enqueue(change, now, channels=judged.channels)
    return change


def _columns(finding: Finding, affected: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "provider": finding.provider,
        "source": finding.source,
        "title": storable(finding.title, 300),
        "description": storable(finding.description),
        "url": storable(finding.url, 1000),
        "content_hash": finding.content_hash,
        "diff": storable(finding.diff),
        "change_data": storable_json({**finding.data, **({"affected": affected} if affected else {})}),
    }


def _affected(finding: Finding) -> Mapping[str, Any]:
    """What of the mapping the finding names. An outage names parts of a service, no fields."""
    if not finding.provider or finding.change_type == ChangeType.SERVICE_STATUS:
        return {}
    return impact.affected(finding.provider, finding.text)

"""The operator's severity rules: rows in, a judgement of a finding out. How a rule fits is told in `severity`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.monitoring import severity
from apps.monitoring.models import AlertChannel, Severity, SeverityRule
from apps.providers.models import Provider

if TYPE_CHECKING:
    from apps.monitoring.changes import Finding


@dataclass(frozen=True)
class Judged:
    """How bad a finding is. `channels` are those of the rule, where it names any."""

    severity: str
    change_type: str
    rule: str = ""
    channels: Sequence[AlertChannel] | None = None


def judge(finding: "Finding") -> Judged:
    """By the first enabled rule that fits; where none does, the finding's own word counts, else low."""
    rows = {row.name: row for row in SeverityRule.objects.filter(enabled=True).select_related("provider")}
    decision = severity.first_fit([_as_rule(row) for row in rows.values()], _facts(finding))
    if decision is None:
        return Judged(finding.severity or Severity.LOW, finding.change_type)
    channels = list(rows[decision.rule].channels.all())
    return Judged(decision.severity, decision.change_type or finding.change_type, decision.rule, channels or None)


def _as_rule(row: SeverityRule) -> severity.Rule:
    columns = ("name", "priority", "sources", "change_types", "states", "statuses", "words", "url_pattern",
               "min_changed_percent", "severity", "change_type")  # fmt: skip
    provider = row.provider.slug if row.provider else ""
    return severity.Rule(provider=provider, **{name: getattr(row, name) for name in columns})


def _facts(finding: "Finding") -> severity.FindingFacts:
    priority = Provider.objects.filter(slug=finding.provider).values_list("priority", flat=True).first()
    return severity.FindingFacts(
        provider=finding.provider,
        priority=priority or Provider.Priority.NORMAL,
        source=finding.source,
        change_type=finding.change_type,
        state=finding.state,
        status_code=finding.status_code,
        words=finding.text,
        url=finding.url,
        changed_percent=finding.changed_percent,
        breaking=finding.data.get("breaking"),
    )


def ensure_rules() -> list[str]:
    """Create the rules a fresh installation starts with, where there is none at all; returns their names."""
    if SeverityRule.objects.exists():
        return []
    rows = [SeverityRule(**columns) for columns in severity.DEFAULT_RULES]
    SeverityRule.objects.bulk_create(rows)
    return [row.name for row in rows]

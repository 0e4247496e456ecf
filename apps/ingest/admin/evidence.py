"""The sources of a message's fields for people to read: which event told each, by which rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from apps.ingest.models import InboundEvent
from apps.ingest.selectors import FieldSource, field_sources
from apps.providers.admin.base import pretty_json

MAX_VALUE_SHOWN = 300


@dataclass(frozen=True)
class Told:
    """One field, its value, on what basis it is held, the event that told it (None: the whole call) and the rule that
    read it."""

    target: str
    value: str
    basis: str
    event: InboundEvent | None
    rule: str
    rule_url: str


def told_by(events: Sequence[InboundEvent]) -> list[Told]:
    """The fields that these events tell together, by name."""
    return [_told(source) for source in field_sources(events)]


def _told(source: FieldSource) -> Told:
    text, url = _rule(source)
    return Told(source.target, _short(source.value), source.basis, source.row, text, url)


def _rule(source: FieldSource) -> tuple[str, str]:
    rule = source.spec
    if rule is None:
        return "worked out", ""
    page = reverse("admin:providers_mappingversion_change", args=[source.version_id])
    return f"{source.rule}: {rule.source} ({rule.transform})", f"{page}#rule-{source.rule}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else pretty_json(value)
    return text if len(text) <= MAX_VALUE_SHOWN else f"{text[:MAX_VALUE_SHOWN]}…"

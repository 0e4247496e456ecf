"""Which event told each field of a message, by which rule: read off the stored fragments, in the order of the fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from apps.ingest.models import InboundEvent
from apps.ingest.reading import fold_event
from apps.providers import registry
from apps.providers.admin.base import pretty_json
from apps.providers.engine.fold import STRENGTH
from apps.providers.engine.mapping import Value

MAX_VALUE_SHOWN = 300


@dataclass(frozen=True)
class Told:
    """One field, its value, on what basis it is held, the event that told it and the rule that read it."""

    target: str
    value: str
    basis: str
    event: InboundEvent
    rule: str
    rule_url: str


def in_order(events: Sequence[InboundEvent]) -> list[InboundEvent]:
    """Events with a fragment, lowest first: those further on lie over those before."""
    return sorted((event for event in events if event.fragment), key=lambda event: fold_event(event).order)


def told_by(events: Sequence[InboundEvent]) -> list[Told]:
    """The fields that these events tell together, by name."""
    winners: dict[str, tuple[InboundEvent, Value]] = {}
    for event in in_order(events):
        for target, value in fold_event(event).fragment.values.items():
            there = winners.get(target)
            if there is None or STRENGTH[value.basis] >= STRENGTH[there[1].basis]:
                winners[target] = (event, value)
    return [_told(target, *winners[target]) for target in sorted(winners)]


def _told(target: str, event: InboundEvent, value: Value) -> Told:
    text, url = _rule(event, value.rule)
    return Told(target, _short(value.value), value.basis, event, text, url)


def _rule(event: InboundEvent, number: int | None) -> tuple[str, str]:
    if number is None or event.mapping_version_id is None:
        return "worked out", ""
    rule = registry.mapping_of_version(event.mapping_version_id).rule(number)
    page = reverse("admin:providers_mappingversion_change", args=[event.mapping_version_id])
    return f"{number}: {rule.source} ({rule.transform})", f"{page}#rule-{number}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else pretty_json(value)
    return text if len(text) <= MAX_VALUE_SHOWN else f"{text[:MAX_VALUE_SHOWN]}…"

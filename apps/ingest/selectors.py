"""Reading functions over calls and deliveries. Lists never load a message's document or a delivery's body."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Prefetch, QuerySet

from apps.ingest.models import Artifact, InboundEvent, Message
from apps.ingest.reading import fold_event
from apps.providers.engine.fold import STRENGTH
from apps.providers.models import MappingRule

MESSAGE_COLUMNS = (
    "id", "call_id", "provider", "account", "environment", "vcp_version", "stage", "created_at", "updated_at",
    "start_time", "end_time", "duration_sec", "channel", "direction", "status", "user_satisfaction_score", "cost_usd",
    "capabilities_count",
)  # fmt: skip
DELIVERY_COLUMNS = (
    "id", "delivery_id", "provider", "endpoint__slug", "account", "environment", "event", "kind", "state", "call_id",
    "received_at", "occurred_at", "processed_at", "attempts", "body_size", "mapping_version__number", "trace_id",
    "error_code", "error_path", "error_rule", "error_detail",
)  # fmt: skip
# What the fold's order and the sources of fields need as well.
EVENT_COLUMNS = (
    *DELIVERY_COLUMNS, "report", "fragment", "call_key", "rank", "opens_call", "proves", "body_sha256",
)  # fmt: skip
State = InboundEvent.State


def light_messages() -> QuerySet[Message]:
    """All messages, their hot columns only."""
    return Message.objects.only(*MESSAGE_COLUMNS)


def messages_with_events() -> QuerySet[Message]:
    """Messages with their mapping version and, in the order of arrival, the deliveries of their call."""
    events = InboundEvent.objects.select_related("endpoint", "mapping_version").only(*EVENT_COLUMNS).order_by("id")
    return Message.objects.select_related("mapping_version").prefetch_related(Prefetch("call_key__events", events))


def light_deliveries() -> QuerySet[InboundEvent]:
    """All deliveries without body, headers, fragment and report."""
    return deliveries().only(*DELIVERY_COLUMNS)


def deliveries() -> QuerySet[InboundEvent]:
    """All deliveries with their endpoint and mapping version."""
    return InboundEvent.objects.select_related("endpoint", "mapping_version")


def artifacts() -> QuerySet[Artifact]:
    return Artifact.objects.select_related("call_key", "file")


@dataclass(frozen=True)
class FieldSource:
    """Which delivery and which rule gave a target of the message. `rule` counts from 0 in the mapping version."""

    target: str
    event: str
    delivery_id: uuid.UUID
    basis: str
    rule: int | None
    source: str | None


def field_sources(events: Iterable[InboundEvent]) -> list[FieldSource]:
    """For each target that a rule gave, the delivery whose value stands in the message; by target.

    What is worked out from the whole call (gap, headline, …), decided by a table, or corrected by people has no
    rule and is not listed.
    """
    folded = [row for row in events if row.fragment and row.state in (State.PROCESSED, State.WAITING)]
    sources = _rule_sources({row.mapping_version_id for row in folded if row.mapping_version_id})
    winners: dict[str, FieldSource] = {}
    for row in sorted(folded, key=lambda row: fold_event(row).order):
        rules = sources.get(row.mapping_version_id, [])
        for target, (basis, rule, _) in (row.fragment or {}).get("values", {}).items():
            there = winners.get(target)
            if there is None or STRENGTH[basis] >= STRENGTH[there.basis]:
                source = rules[rule] if rule is not None and rule < len(rules) else None
                winners[target] = FieldSource(target, row.event, row.delivery_id, basis, rule, source)
    return [winners[target] for target in sorted(winners)]


def _rule_sources(version_ids: set[int]) -> dict[int | None, list[str]]:
    """The rules' source paths of each version, at the places that fragments name."""
    found: dict[int | None, list[str]] = {}
    rules = MappingRule.objects.filter(version_id__in=version_ids).order_by("version_id", "position", "id")
    for version_id, source in rules.values_list("version_id", "source"):
        found.setdefault(version_id, []).append(source)
    return found

"""Reading functions over calls and deliveries. Lists never load a message's document or a delivery's body."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch, QuerySet

from apps.ingest.models import Artifact, InboundEvent, Message
from apps.ingest.reading import fold_event
from apps.providers import registry
from apps.providers.engine.fold import STRENGTH
from apps.providers.engine.spec import ARTIFACT_TARGETS, RuleSpec

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
    """Which delivery and which rule gave a target of the message its value.

    `row` is None where the rule reads the whole call. `rule` counts from 0 in the mapping version; None: no rule, it
    was taken as it is.
    """

    target: str
    value: Any
    basis: str
    row: InboundEvent | None
    version_id: int | None
    rule: int | None

    @property
    def spec(self) -> RuleSpec | None:
        """The rule itself."""
        if self.rule is None or self.version_id is None:
            return None
        return registry.mapping_of_version(self.version_id).rule(self.rule)


def folded(events: Iterable[InboundEvent]) -> list[InboundEvent]:
    """Of a call's events those that its message is made of."""
    return [event for event in events if event.state in (State.PROCESSED, State.WAITING)]


def in_order(events: Iterable[InboundEvent]) -> list[InboundEvent]:
    """Events with a fragment, lowest first: those further on lie over those before."""
    return sorted((event for event in events if event.fragment), key=lambda event: fold_event(event).order)


def field_sources(events: Iterable[InboundEvent]) -> list[FieldSource]:
    """For each target that these events tell together, by name, whose value stands in the message.

    What is worked out from the whole call (gap, headline, …), decided by a table, or corrected by people has no
    rule and is not listed.
    """
    winners: dict[str, FieldSource] = {}
    rows = in_order(events)
    for row in rows:
        for target, value in fold_event(row).fragment.values.items():
            there = winners.get(target)
            if there is None or STRENGTH[value.basis] >= STRENGTH[there.basis]:
                winners[target] = FieldSource(target, value.value, value.basis, row, row.mapping_version_id, value.rule)
    for source in _of_call(rows):
        there = winners.get(source.target)
        if there is None or STRENGTH[source.basis] > STRENGTH[there.basis]:
            winners[source.target] = source
    return [winners[target] for target in sorted(winners)]


def _of_call(rows: list[InboundEvent]) -> list[FieldSource]:
    """What the rules over the whole call make of what these events have collected."""
    version_id = max((row.mapping_version_id for row in rows if row.mapping_version_id), default=None)
    if version_id is None:
        return []
    mapping = registry.mapping_of_version(version_id)
    document = mapping.call_document(fold_event(row).fragment.collected for row in rows)
    told, _ = mapping.apply_to_call(document)
    return [
        FieldSource(ARTIFACT_TARGETS.get(target, target), value.value, value.basis, None, version_id, value.rule)
        for target, value in told.items()
    ]

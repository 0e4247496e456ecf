"""A small made-up provider for the tests of mapping and fold, and ways to run it."""

from datetime import UTC, datetime
from typing import Any

from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping
from apps.providers.engine.spec import MappingSpec
from vcp import validate

RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
START_MS, END_MS = 1773677101250, 1773677136250
START, END = "2026-03-16T16:05:01.250Z", "2026-03-16T16:05:36.250Z"
EVENTS = [
    {"name": "begin", "kind": "call_started", "disposition": "map", "rank": 10, "opens_call": True,
     "proves": "in_progress"},
    {"name": "aside", "kind": "call_progress", "disposition": "map", "rank": 20},
    {"name": "end", "kind": "call_ended", "disposition": "map", "rank": 30, "opens_call": True, "proves": "ended"},
]  # fmt: skip
READ = {"event": "type", "call_id": ["call.id", "id"], "occurred_at": ["at", "call.ended"]}
TIMES = [
    {"source": "call.started", "target": "call.start_time", "transform": "epoch"},
    {"source": "call.ended", "target": "call.end_time", "transform": "epoch"},
    {"source": "call.sec", "target": "call.duration_sec"},
]


def mapping(*rules: dict[str, Any], times: bool = True, **parts: Any) -> Mapping:
    """A mapping with these rules (after those of the times) and these other parts of a MappingSpec."""
    spec = {"read": READ, "events": EVENTS, "rules": [*(TIMES if times else []), *rules], **parts}
    return Mapping(MappingSpec.model_validate(spec))


def event(made: Mapping, payload: Any, *, digest: str = "", received_at: datetime = RECEIVED_AT) -> Event:
    """A payload as the stored event that the fold takes."""
    identity, fragment, report = made.apply(payload)
    return Event(
        fragment=Fragment.from_json(fragment.to_json()),
        name=identity.event,
        rank=identity.spec.rank,
        opens_call=identity.spec.opens_call,
        proves=identity.spec.proves,
        occurred_at=identity.occurred_at,
        digest=digest,
        received_at=received_at,
        failures=tuple(f"{failure['path']}: {failure['error']}" for failure in report.failed),
    )


def context(provider: str = "acme") -> Context:
    return Context(provider, provider.title(), "c1", "standard_30_days", lambda number: f"psn_{number[-2:]}")


def folded(made: Mapping, *payloads: Any) -> Folded:
    """The fold of these payloads as events of one call; a message that is not valid fails the test."""
    found = fold([event(made, payload, digest=str(n)) for n, payload in enumerate(payloads)], made, context())
    assert found is not None
    report = validate(found.message, now=RECEIVED_AT)
    assert report.errors == []
    return found


def message(made: Mapping, *payloads: Any) -> dict[str, Any]:
    """The payload part of the folded message."""
    return dict(folded(made, *payloads).message["vcp_payload"])

"""Calls to try the service with: the catalogue's samples as if they had just happened, under new call ids.

Nothing here knows a provider: where the call id and the times are, the mapping says.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from apps.providers import catalog
from apps.providers.engine.errors import TransformError
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.paths import MISSING, compile_path
from apps.providers.engine.transforms import MS_FROM, Epoch, IsoTime, MailTime, to_iso

TIME_TRANSFORMS = ("epoch", "iso_time", "mail_time")
# Where a ready-made message of any version has its times.
MESSAGE_TIMES = (
    "vcp_payload.call.start_time",
    "vcp_payload.call.end_time",
    "vcp_payload.call.capabilities_invoked[*].invoked_at",
    "vcp_payload.model_selection.resolved_at",
    "vcp_payload.outcomes.perceived[*].at",
    "vcp_payload.provenance.created_at",
    "vcp_payload.provenance.captured_at",
    "vcp_payload.consent.consent_timestamp",
    "vcp_payload.audit.received_at",
    "vcp_payload.audit.normalized_at",
    "audit.received_at",
)


@dataclass(frozen=True)
class SampleCall:
    """One call: its id, and the bodies of its events in the order a provider would send them."""

    call_id: str
    bodies: tuple[bytes, ...]


def fresh_calls(slug: str, mapping: Mapping, now: datetime, token: str) -> list[SampleCall]:
    """The provider's samples that belong to calls, moved to end just before `now`; `token` makes their ids new."""
    told = [(mapping.identify(payload), payload) for payload in catalog.samples(slug).values()]
    of_calls = [(identity, payload) for identity, payload in told if identity.spec.disposition == "map"]
    # A session's own batch belongs to the call whose session it is.
    named = {alias: identity.call_id or "" for identity, _ in of_calls for alias in identity.aliases}
    calls: dict[str, list[tuple[int, Any]]] = {}
    for identity, payload in of_calls:
        if identity.call_id:
            call_id = named.get(identity.call_id, identity.call_id)
            calls.setdefault(call_id, []).append((identity.spec.rank, payload))
    aliases = {call_id: {alias for alias, owner in named.items() if owner == call_id} for call_id in calls}
    return [
        _fresh([call_id, *sorted(aliases[call_id])], events, mapping, now, f"{token}{n:02d}")
        for n, (call_id, events) in enumerate(calls.items())
    ]


def _fresh(ids: list[str], events: list[tuple[int, Any]], mapping: Mapping, now: datetime, token: str) -> SampleCall:
    """A call under new ids; the first of `ids` is its own, the others are other names of it."""
    payloads = [payload for _, payload in sorted(events, key=lambda event: event[0])]
    latest = max((moment for payload in payloads for moment in _moments(payload, mapping)), default=now)
    delta = timedelta(seconds=int((now - latest).total_seconds()) - 30)
    texts = [json.dumps(_moved(payload, mapping, delta), ensure_ascii=False) for payload in payloads]
    for known in ids:
        texts = [text.replace(known, _renewed(known, token)) for text in texts]
    return SampleCall(_renewed(ids[0], token), tuple(text.encode() for text in texts))


def _renewed(known: str, token: str) -> str:
    return f"{known[: -len(token)]}{token}" if len(known) > len(token) + 4 else f"{known}-{token}"


def _time_paths(mapping: Mapping) -> set[str]:
    if mapping.spec.format == "vcp":
        return set(MESSAGE_TIMES)
    rules = {rule.source for rule in mapping.spec.rules if rule.transform in TIME_TRANSFORMS}
    collected = {
        f"{collection.source}[*].{path}"
        for collection in mapping.spec.collections
        for field in collection.fields.values()
        if field.transform in TIME_TRANSFORMS
        for path in field.path
    }
    return {path for path in (*rules, *collected, *mapping.spec.read.occurred_at) if not path.startswith("$")}


def _moments(payload: Any, mapping: Mapping) -> list[datetime]:
    read = [compile_path(path)(payload) for path in _time_paths(mapping)]
    values = [value for found in read for value in (found if isinstance(found, list) else [found])]
    moments = [_moment(value) for value in values if value is not MISSING]
    return [moment for moment in moments if moment is not None]


def _moment(value: Any) -> datetime | None:
    for read in (Epoch(unit="auto"), IsoTime(), MailTime()):
        try:
            return datetime.fromisoformat(read(value))
        except TransformError:
            continue
    return None


def _moved(payload: Any, mapping: Mapping, delta: timedelta) -> Any:
    moved = json.loads(json.dumps(payload))
    for path in _time_paths(mapping):
        _move(moved, path.replace("[*]", ".*").split("."), delta)
    return moved


def _move(node: Any, keys: list[str], delta: timedelta) -> None:
    key, rest = keys[0], keys[1:]
    places = range(len(node)) if key == "*" and isinstance(node, list) else [key] if isinstance(node, dict) else []
    for place in places:
        inner = node[place] if key == "*" else node.get(place)
        if rest:
            _move(inner, rest, delta)
        elif inner is not None:
            node[place] = _later(inner, delta)


def _later(value: Any, delta: timedelta) -> Any:
    if isinstance(value, bool) or _moment(value) is None:
        return value
    if isinstance(value, int | float):
        return value + int(delta.total_seconds()) * (1000 if value >= MS_FROM else 1)
    moment = _moment(value)
    if moment is None:
        return value
    # In the form it came in: a weekday stands in front of a mail's time only.
    write = format_datetime if str(value)[:1].isalpha() else to_iso
    return write(moment.astimezone(UTC) + delta)

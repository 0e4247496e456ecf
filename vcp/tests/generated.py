"""Hypothesis strategies for messages of any form, read off the schema's tree: required, optional and unknown fields."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from vcp.models import CapabilityInvocation
from vcp.scalars import MAX_SAFE_INTEGER, Amount, AnyText, Count, JsonValue, Number, Score, Text
from vcp.shape import Shape
from vcp.versions.v03 import Scalar, UnixSeconds, ZuluTime
from vcp.versions.v04 import Days

Strategy = st.SearchStrategy[Any]

# Names that another version or another place knows.
_FOREIGN = [
    "agent_id", "audit", "call_id", "caller_id", "channel", "checksum", "data", "direction", "experimental", "factors",
    "from", "from_", "hcr", "integrations", "model_outcome_attribution", "model_selection", "processed_at",
    "purpose_contract", "recording_url", "score", "summary", "user_satisfaction_score", "validation_errors", "weight",
]  # fmt: skip
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = words.filter(lambda text: text.strip() != "" and not text.isspace()).filter(
    lambda text: any(not character.isspace() for character in text)
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
    | words
    | st.sampled_from(["inbound", "outbound", "phone", "success"])
)
free = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2), max_leaves=4
)
scores = st.sampled_from([0, 1, 0.0, 1.0, 0.5, 0.83]) | st.floats(0, 1)
_SECONDS = st.integers(0, 59).map("{:02d}".format)
zulu_times = st.builds(
    "2025-10-{:02d}T{:02d}:{}:{}{}Z".format,
    st.integers(1, 31),
    st.integers(0, 23),
    _SECONDS,
    _SECONDS,
    st.sampled_from(["", ".000", ".5", ".123456", ".120"]),
)
times = zulu_times | zulu_times.map(lambda text: text[:-1] + "+02:00") | st.integers(1_760_000_000, 1_770_000_000)

_VALUES: list[tuple[Any, Strategy]] = [
    (AnyText, words),
    (bool, st.booleans()),
    (Text, names),
    (Score, scores),
    (Amount, scores | st.floats(0, 1e6) | st.integers(0, 10**6)),
    (Number, st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6)),
    (Count, st.integers(0, 10**6) | st.integers(0, 10**4).map(float) | st.just(MAX_SAFE_INTEGER)),
    (UnixSeconds, st.integers(0, 2_000_000_000)),
    (Days, st.integers(1, 3650)),
    (Scalar, st.booleans() | words | st.integers(-9, 9) | st.floats(-9, 9)),
    (JsonValue, free),
]


def _leaf(hint: Any) -> Strategy:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    return next(strategy for known, strategy in _VALUES if known == hint)


def values(place: Shape) -> Strategy:
    """Values that this place of the schema takes."""
    if place.kind == "model":
        return _record(place) | names if place.tagged else _record(place)
    if place.kind == "timestamp":
        return zulu_times if place.hint == ZuluTime else times
    if place.kind == "free":
        return st.dictionaries(words, free, max_size=2) | st.just({"retell": {"channel": "inbound"}})
    if place.item is None:
        return _leaf(place.hint)
    if place.kind == "list":
        return st.lists(values(place.item), max_size=2)
    return st.dictionaries(st.sampled_from(sorted(place.keys)) if place.keys else words, values(place.item), max_size=2)


def _record(place: Shape) -> Strategy:
    model = CapabilityInvocation if place.tagged else place.hint
    required = {info.alias or name for name, info in model.model_fields.items() if info.is_required()}
    known = st.fixed_dictionaries(
        {name: values(field) for name, field in place.fields.items() if name in required},
        optional={name: values(field) | st.none() for name, field in place.fields.items() if name not in required},
    )
    foreign = st.sampled_from([name for name in _FOREIGN if place.wire_name(name) not in place.fields])
    unknown: Strategy = st.just({}) | st.dictionaries(foreign | names, free, max_size=1)
    return st.builds(lambda extra, fields: {**extra, **fields}, unknown, known)

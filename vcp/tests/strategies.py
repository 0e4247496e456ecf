"""Any message that the models can make, as parsed JSON: drawn field by field from the schema's own tree."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from vcp.models import MESSAGE_SHAPE
from vcp.scalars import MAX_SAFE_INTEGER, Amount, AnyText, Count, Number, Score, Text
from vcp.shape import Shape

Json = Any

texts = st.text(max_size=8)
words = texts.filter(lambda text: bool(text.strip()))
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | finite | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets)  # noqa: DTZ001 - zones are drawn

_SCALARS: list[tuple[Any, st.SearchStrategy[Json]]] = [
    (AnyText, texts),
    (Text, words),
    (bool, st.booleans()),
    (Number, finite),
    (Amount, st.floats(0, 1e300)),
    (Score, st.floats(0, 1)),
    (Count, st.integers(0, MAX_SAFE_INTEGER)),
]


def _values(place: Shape) -> st.SearchStrategy[Json]:
    if place.kind == "model":
        return st.deferred(lambda: texts | _models(place)) if place.tagged else _models(place)
    if place.kind == "timestamp":
        return moments.map(datetime.isoformat)
    if place.kind == "free":
        return st.dictionaries(texts, json_values, max_size=3)
    if place.item is not None:
        items = _values(place.item)
        keys = st.sampled_from(sorted(place.keys)) if place.keys else texts
        return st.lists(items, max_size=2) if place.kind == "list" else st.dictionaries(keys, items, max_size=2)
    if get_origin(place.hint) is Literal:
        return st.sampled_from(get_args(place.hint))
    return next(found for known, found in _SCALARS if known == place.hint)


def _models(place: Shape) -> st.SearchStrategy[Json]:
    fields_of = _class_in(place.hint).model_fields
    required = {info.alias or name for name, info in fields_of.items() if info.is_required()}
    fields = {name: _values(inner) for name, inner in place.fields.items()}
    return st.fixed_dictionaries(
        {name: values for name, values in fields.items() if name in required},
        optional={name: st.none() | values for name, values in fields.items() if name not in required},
    )


def _class_in(hint: Any) -> Any:
    """The model class in the type of a place, which may hold a bare word instead."""
    while not isinstance(hint, type):
        hint = get_args(hint)[0 if hasattr(hint, "__metadata__") else -1]
    return hint


messages = _values(MESSAGE_SHAPE)
# With fields that the schema does not know, beside those it knows.
extended_messages = st.tuples(messages, st.dictionaries(words.map("x_{}".format), json_values, max_size=2)).map(
    lambda parts: {**parts[0], **parts[1], "vcp_version": "0.5"}
)

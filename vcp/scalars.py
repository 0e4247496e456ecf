"""The value types of the schema's tables: text, timestamp, numbers with their ranges, free-form JSON.

Each type reads leniently where other programs rely on it, keeps one normal form, and refuses what
JSON or the protocol cannot carry. Which field has which type is known by `vcp.models`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from operator import is_
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

# Deeper free-form values are refused: many JSON readers stop at 128 or 200 levels.
MAX_DEPTH = 100
# The largest integer every JSON reader keeps exactly (RFC 8259, section 6).
MAX_SAFE_INTEGER = 2**53 - 1

Path = tuple[str | int, ...]


def to_utc(value: datetime) -> datetime:
    """The same instant in UTC; a value without offset counts as UTC.

    Raises PydanticCustomError when the instant lies outside the years 1 to 9999 once in UTC.
    """
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "timestamp outside the years 1 to 9999") from None


def wire_timestamp(value: datetime) -> str:
    """Aware datetime to wire text: `2025-10-14T12:00:00.000Z`, microseconds only when needed."""
    precision = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.astimezone(UTC).isoformat(timespec=precision)[:-6] + "Z"


def canonical_timestamp(value: datetime) -> str:
    """Aware datetime to the text of the canonical form: no trailing zeros, no fraction when zero."""
    text = value.astimezone(UTC).isoformat()[:-6]
    return (text.rstrip("0") if value.microsecond else text) + "Z"


def plain_number(value: Any) -> Any:
    # pydantic would read true as 1.
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "a boolean is not a number")
    return value


def json_problems(value: Any) -> list[tuple[Path, str, str]]:
    """Everything in a free-form value that JSON cannot carry: (path below the value, rule id, text)."""
    found: list[tuple[Path, str, str]] = []
    _collect(value, (), found)
    return found


def _collect(value: Any, path: Path, found: list[tuple[Path, str, str]]) -> None:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or _leaf_problem(key):
                found.append((path, "S2", "a key is not valid text"))
        children: Any = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    else:
        problem = _leaf_problem(value)
        if problem:
            found.append((path, *problem))
        return
    if len(path) >= MAX_DEPTH:
        found.append((path, "S2", "nested too deeply"))
        return
    for key, child in children:
        # A short cut for the commonest leaf: three quarters of a provider's data are plain words.
        if type(child) is not str or not child.isascii():
            _collect(child, (*path, key), found)


def _leaf_problem(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str):
        return None if _is_unicode(value) else ("S2", "text is not valid Unicode")
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return None if _is_finite(value) else ("S4", "number is not finite")
    return ("S2", "not a JSON value")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond any double
        return False


def is_plain_json(value: Any, depth: int = 0) -> bool:
    """True only where `json_problems` finds nothing: the common case, at a third of its cost."""
    kind = type(value)
    if kind is str:
        return value.isascii() or _is_unicode(value)
    if kind is dict:
        if depth >= MAX_DEPTH or not all(map(_is_text, value)):
            return False
        value = value.values()
    elif kind is list:
        if depth >= MAX_DEPTH:
            return False
    else:
        return value is None or kind is bool or (kind in _NUMBERS and -_LARGEST <= value <= _LARGEST)
    for inner in value:
        if not (type(inner) is str and inner.isascii()) and not is_plain_json(inner, depth + 1):
            return False
    return True


_NUMBERS = frozenset({int, float})
_LARGEST = 1.7976931348623157e308  # the largest double; beyond it an integer is none


def _is_text(value: Any) -> bool:
    return type(value) is str and (value.isascii() or _is_unicode(value))


def _require_json(value: Any) -> Any:
    problems = [] if is_plain_json(value) else json_problems(value)
    if problems:
        raise PydanticCustomError("not_json", "not a JSON value", {"problems": problems})
    return value


# In C, since it is asked of every optional field at every writing.
_is_none = partial(is_, None)

_T = TypeVar("_T")

# An optional field: null when absent, and left out when written.
Opt = Annotated[_T | None, Field(default=None, exclude_if=_is_none)]

Text = Annotated[str, Field(pattern=r"\S")]
Number = Annotated[float, BeforeValidator(plain_number), Field(allow_inf_nan=False)]
Amount = Annotated[float, BeforeValidator(plain_number), Field(allow_inf_nan=False), Field(ge=0)]
Score = Annotated[float, BeforeValidator(plain_number), Field(allow_inf_nan=False), Field(ge=0, le=1)]
Count = Annotated[int, BeforeValidator(plain_number), Field(ge=0, le=MAX_SAFE_INTEGER)]
JsonValue = Annotated[Any, AfterValidator(_require_json)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_require_json)]
# pydantic's own reader takes RFC 3339 text and numbers: seconds, or milliseconds beyond 2e10 in size.
Timestamp = Annotated[
    datetime,
    AfterValidator(to_utc),
    PlainSerializer(wire_timestamp, return_type=str, when_used="json"),
]

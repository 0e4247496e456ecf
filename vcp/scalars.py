"""The value types of the schema's tables: text, timestamp, numbers with their ranges, free-form JSON.

Each type reads leniently where other programs rely on it, keeps one normal form, and refuses what
JSON or the protocol cannot carry. Which field has which type is known by `vcp.models`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import is_
from typing import Annotated, Any, Final, TypeVar, cast

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, PlainSerializer, WrapValidator
from pydantic_core import CoreSchema, PydanticCustomError, PydanticUseDefault
from pydantic_core.core_schema import lax_or_strict_schema, no_info_before_validator_function, union_schema

# Deeper free-form values are refused: many JSON readers stop at 128 or 200 levels.
MAX_DEPTH = 100
# In one free-form value. Far above any record's; objects of a program that hold one another have values without end.
MAX_VALUES = 2**22
# Each problem costs a hundred times the bytes that caused it.
MAX_PROBLEMS = 10_000
# The largest integer every JSON reader keeps exactly (RFC 8259, section 6).
MAX_SAFE_INTEGER = 2**53 - 1

Path = tuple[str | int, ...]

_PLAIN_LENGTHS: Final = frozenset(
    map(len, ("2025-10-14T12:00:00Z", "2025-10-14T12:00:00.000Z", "2025-10-14T12:00:00.000000Z"))
)


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


def _read_timestamp(value: Any, read: Callable[[Any], datetime]) -> datetime:
    """The standard library reads what nearly all messages have, `2025-10-14T12:00:00.000Z`, several times as fast."""
    # It would also read week dates and texts without separators.
    if type(value) is str and len(value) in _PLAIN_LENGTHS and value[4:17:3] == "--T::" and value[-1] == "Z":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    return to_utc(read(value))


def wire_timestamp(value: datetime) -> str:
    """Aware datetime to wire text: `2025-10-14T12:00:00.000Z`, microseconds only when needed."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    precision = "microseconds" if value.microsecond % 1000 else "milliseconds"
    # In two parts, for the whole would ask the zone for its offset, which costs as much as the rest.
    return f"{value.date().isoformat()}T{value.time().isoformat(precision)}Z"


def canonical_timestamp(value: datetime) -> str:
    """Aware datetime to the text of the canonical form: no trailing zeros, no fraction when zero."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    text = f"{value.date().isoformat()}T{value.time().isoformat()}"
    return f"{text.rstrip('0') if value.microsecond else text}Z"


def plain_number(value: Any) -> Any:
    # pydantic would read true as 1.
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "a boolean is not a number")
    return value


def _absent_if_null(value: Any) -> Any:
    if value is None:
        raise PydanticUseDefault
    return value


def json_problems(value: Any) -> list[tuple[Path, str, str]]:
    """Everything in a free-form value that JSON cannot carry: (path below the value, rule id, text).

    One for the whole value when there is more than anyone can read.
    """
    if _has_too_many_values(value):
        return [((), "S2", f"more than {MAX_VALUES} values")]
    found: list[tuple[Path, str, str]] = []
    _collect(value, (), found)
    if len(found) > MAX_PROBLEMS:
        return [((), "S2", f"more than {MAX_PROBLEMS} values are broken")]
    return found


def _has_too_many_values(value: Any) -> bool:
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        holders = [inner for inner in level if isinstance(inner, (dict, list))]
        count += sum(map(len, holders))
        if count > MAX_VALUES:
            return True
        level = [one for inner in holders for one in (inner.values() if isinstance(inner, dict) else inner)]
    return False


def _collect(value: Any, path: Path, found: list[tuple[Path, str, str]]) -> None:
    if len(found) > MAX_PROBLEMS:
        return
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
    if value and len(path) >= MAX_DEPTH:
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


def is_plain_json(value: Any) -> bool:
    """True only where `json_problems` finds nothing: the common case, at a quarter of its cost.

    Level by level, since a call for every object costs more than all else.
    """
    keys: list[Any] = []
    level = [value]
    count = 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for inner in level:
            kind = type(inner)
            if kind is str:
                if not (inner.isascii() or _is_unicode(inner)):
                    return False
            elif kind is dict:
                keys += inner
                below += inner.values()
            elif kind is float or kind is int:
                if not _LEAST <= inner <= _LARGEST:
                    return False
            elif kind is list:
                below += inner
            elif inner is not None and kind is not bool:
                return False
        if not below:
            return _are_texts(keys)
        count += len(below)
        if count > MAX_VALUES:
            return False
        level = below
    return False


# The largest double, and its opposite; beyond them an integer is none.
_LARGEST: Final = 1.7976931348623157e308
_LEAST: Final = -_LARGEST


def _are_texts(keys: list[Any]) -> bool:
    try:
        text = "".join(keys)
    except TypeError:
        return False
    return text.isascii() or _is_unicode(text)


def _require_json(value: Any) -> Any:
    problems = [] if is_plain_json(value) else json_problems(value)
    if problems:
        raise PydanticCustomError("not_json", "not a JSON value", {"problems": problems})
    return value


# What a type says when it refuses a value, in pydantic's locations: as it should be, and as it is read leniently.
EXACTLY: Final = "[exactly]"
LENIENTLY: Final = "[leniently]"


@dataclass(frozen=True)
class Leniently:
    """A value that is not what the type wants goes through `prepare` first, and then has a second try.

    The first try runs in compiled code alone, and most values need no other. `strict` keeps it from guessing.
    """

    prepare: Callable[[Any], Any]
    strict: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        # A first try need not collect what is wrong: the second does.
        changes = {"strict": True} if self.strict else {"fail_fast": True} if schema["type"] == "list" else {}
        exact = cast("CoreSchema", {**schema, **changes})
        lenient = no_info_before_validator_function(self.prepare, schema)
        tries = union_schema([(exact, EXACTLY), (lenient, LENIENTLY)], mode="left_to_right")
        # The serialiser is made from the strict side, which has no choice to make.
        return lax_or_strict_schema(lax_schema=tries, strict_schema=exact)


# In C, since it is asked of every optional field at every writing.
_is_none = partial(is_, None)

_NO_BOOLEAN: Final = Leniently(plain_number, strict=True)
NULL_IS_ABSENT: Final = Leniently(_absent_if_null)

_T = TypeVar("_T")

# An optional field: null when absent, and left out when written.
Opt = Annotated[_T | None, Field(default=None, exclude_if=_is_none)]
# A field with another default: null stands for that.
Filled = Annotated[_T, NULL_IS_ABSENT]

# Without any constraint pydantic lets half a surrogate pair through, which no JSON in UTF-8 can carry.
AnyText = Annotated[str, Field(min_length=0)]
Text = Annotated[str, Field(pattern=r"\S")]
Number = Annotated[float, Field(allow_inf_nan=False), _NO_BOOLEAN]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0), _NO_BOOLEAN]
Score = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1), _NO_BOOLEAN]
Count = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER), _NO_BOOLEAN]
JsonValue = Annotated[Any, AfterValidator(_require_json)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_require_json)]
# pydantic's own reader takes RFC 3339 text and numbers: seconds, or milliseconds beyond 2e10 in size.
Timestamp = Annotated[
    datetime,
    WrapValidator(_read_timestamp),
    PlainSerializer(wire_timestamp, return_type=str, when_used="json"),
]

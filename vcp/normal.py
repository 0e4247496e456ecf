"""Values that are what their field wants already: valid, and written in its normal form.

Most values are, and to see it costs a fraction of what pydantic takes to say the same. A test never says yes where
pydantic would refuse or change the value; where it says no, pydantic decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, get_args, get_origin

from vcp.scalars import (
    MAX_SAFE_INTEGER,
    Amount,
    AnyText,
    Count,
    JsonObject,
    JsonValue,
    Number,
    Score,
    Text,
    is_plain_json,
)

Test = Callable[[Any], bool]
_INFINITY = float("inf")


def _never(_value: Any) -> bool:
    return False


def _is_text(value: Any) -> bool:
    # Half a surrogate pair is the only thing a text can have that JSON cannot.
    return type(value) is str and (value.isascii() or is_plain_json(value))


_TESTS: Final[list[tuple[Any, Test]]] = [
    (AnyText, _is_text),
    (Text, lambda value: _is_text(value) and bool(value) and not value.isspace()),
    (bool, lambda value: value is True or value is False),
    (Number, lambda value: type(value) is float and -_INFINITY < value < _INFINITY),
    (Amount, lambda value: type(value) is float and 0 <= value < _INFINITY),
    (Score, lambda value: type(value) is float and 0 <= value <= 1),
    (Count, lambda value: type(value) is int and 0 <= value <= MAX_SAFE_INTEGER),
    (list[AnyText], lambda value: type(value) is list and all(map(_is_text, value))),
    (JsonValue, is_plain_json),
    (JsonObject, lambda value: type(value) is dict and is_plain_json(value)),
]


def normal_test(hint: Any) -> Test:
    """The test for a field of this type; for a type that none is known for, one that always says no."""
    if get_origin(hint) is Literal:
        words = frozenset(get_args(hint))
        return lambda value: type(value) is str and value in words
    # The types are Annotated with constraints that cannot be hashed, so this is no dict.
    return next((test for known, test in _TESTS if known == hint), _never)

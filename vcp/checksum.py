"""Canonical JSON (RFC 8785) and the SHA-256 that names a message's content.

Two messages with the same content have the same sum, however they were written down. Knows how numbers
and keys are written; the message's fields are known by `vcp.models`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring as _quote
from typing import Any, Final

from vcp.models import VCPMessage, VCPModel
from vcp.scalars import canonical_timestamp

# Integers up to here are exact as ECMAScript numbers.
_EXACT = 2**53


def checksum(message: VCPMessage | dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON, 64 lower-case hex digits.

    `audit.checksum` itself is left out. Raises SchemaError for a dict that is no v0.5 message.
    """
    return hashlib.sha256(canonical_json(message)).hexdigest()


def canonical_json(message: VCPMessage | dict[str, Any]) -> bytes:
    """The bytes the checksum covers: defaults filled, null fields dropped, timestamps in shortest UTC form.

    Raises SchemaError for a dict that is no v0.5 message.
    """
    if not isinstance(message, VCPModel):
        message = VCPMessage.from_dict(message)
    content = message.model_dump()
    content["audit"].pop("checksum", None)
    return jcs(content)


def jcs(value: Any) -> bytes:
    """Any JSON value by RFC 8785; an aware datetime counts as a timestamp in shortest UTC form.

    Raises TypeError for what JSON does not have, ValueError for numbers that are not finite and for
    text that is not valid Unicode, OverflowError for integers beyond any double.
    """
    try:
        return _ENCODER.encode(_prepared(value)).encode()
    except _Rare:
        return _WRITERS[type(value)](value).encode()


# --- the common case: the standard library's encoder, which runs in C ------------------------------------------------


class _Rare(Exception):
    """The value holds something that the standard library writes otherwise than RFC 8785."""


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"), default=canonical_timestamp
)


def _prepared(value: Any) -> Any:
    """The value with whole floats as integers, the one common difference; raises _Rare for any other."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is dict:
        # Only ASCII keys sort alike by code points and by UTF-16 code units. Joining also finds keys that are no text.
        if not _join(value).isascii():
            raise _Rare
        return {key: inner if type(inner) in _AS_THEY_ARE else _prepared(inner) for key, inner in value.items()}
    if kind is list:
        return [inner if type(inner) in _AS_THEY_ARE else _prepared(inner) for inner in value]
    if kind is float or kind is int:
        return _number_as_python_writes(value)
    raise _Rare


_AS_THEY_ARE: Final = frozenset({str, bool, type(None), datetime})


def _join(keys: dict[str, Any]) -> str:
    try:
        return "".join(keys)
    except TypeError:
        raise _Rare from None


def _number_as_python_writes(value: float) -> float:
    if not -_EXACT <= value <= _EXACT:
        raise _Rare
    whole = int(value)
    if whole == value:
        return whole
    if -1e-4 < value < 1e-4:
        raise _Rare
    return value


# --- everything, slower ----------------------------------------------------------------------------------------------


def _object(value: dict[str, Any]) -> str:
    # Code points and UTF-16 code units sort ASCII alike. Joining also refuses keys that are not text.
    keys = sorted(value) if "".join(value).isascii() else sorted(value, key=_utf16)
    members = [f"{_quote(key)}:{_WRITERS[type(value[key])](value[key])}" for key in keys]
    return "{" + ",".join(members) + "}"


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _array(value: list[Any]) -> str:
    return "[" + ",".join([_WRITERS[type(item)](item) for item in value]) + "]"


def _number(value: float) -> str:
    """ECMAScript's Number::toString; the two ranges where Python writes the same come first, for speed."""
    if -_EXACT <= value <= _EXACT:
        if value == int(value):
            return str(int(value))
        if abs(value) >= 1e-4:
            return repr(value)
    return _rare_number(float(value))


def _rare_number(value: float) -> str:
    """The very small and the very large, by ECMA-262, section 6.1.6.1.20.

    Python's repr finds the same shortest digits; beyond 2**53 no number has a fraction.
    """
    if not math.isfinite(value):
        raise ValueError("number is not finite")
    sign, digits, point = _shortest(value)
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _shortest(value: float) -> tuple[str, str, int]:
    """Sign, digits without outer zeros, and where the decimal point stands from the first digit."""
    parts = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, parts.digits))
    point = len(digits) + int(parts.exponent)
    return "-" if parts.sign else "", digits.rstrip("0"), point


class _Writers(dict[type, Callable[[Any], str]]):
    """The writer of each type; a subclass is written like the type it extends."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        for base in kind.__mro__[1:-1]:
            if base in self:
                return self[base]
        raise TypeError(f"{kind.__name__} is not a JSON type")


_WRITERS = _Writers(
    {
        str: _quote,
        dict: _object,
        list: _array,
        bool: lambda value: "true" if value else "false",
        int: _number,
        float: _number,
        type(None): lambda _: "null",
        datetime: lambda value: _quote(canonical_timestamp(value)),
    }
)

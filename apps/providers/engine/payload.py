"""From the bytes of a delivery to a JSON value that every later step can store: parsed, bounded, free of U+0000."""

import base64
import json
import math
import re
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import orjson

from apps.providers.engine.errors import PayloadError

# Deeper payloads are no provider's; the limit stays below what PostgreSQL's jsonb and pydantic's serialiser take.
MAX_DEPTH = 64
# PostgreSQL's jsonb and text refuse U+0000, and no UTF-8 has half a surrogate pair; the raw bytes keep them.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parse(body: bytes, content_type: str = "") -> Any:
    """The payload of a body: JSON, or a form as an object of its fields (repeated names become lists).

    Raises PayloadError when the body is neither, is nested deeper than MAX_DEPTH, or is not UTF-8.
    """
    if _is_form(content_type):
        return _parse_form(body)
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        payload = _storable(_parse_leniently(body, error))
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(payload)
    # One character is looked for much faster than six, and often there is none.
    return _storable(payload) if b"\\" in body and rb"\u0000" in body else payload


@lru_cache(maxsize=64)
def _is_form(content_type: str) -> bool:
    return content_type.split(";", 1)[0].strip().lower() == "application/x-www-form-urlencoded"


def _parse_leniently(body: bytes, refused: orjson.JSONDecodeError) -> Any:
    """What JSON's grammar allows and orjson refuses: 1e400, half a surrogate pair, a byte order mark.

    A number beyond any double stays as its text, so that whoever reads it says what is wrong with it.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_float=_number, parse_int=_number, parse_constant=_no_json)
    except (ValueError, RecursionError):
        where = f"{refused.msg.split(':', 1)[0]} (line {refused.lineno}, column {refused.colno})"
        raise PayloadError(f"the body is not JSON: {where}") from refused


def _number(text: str) -> int | float | str:
    if len(text) < 19 and text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else text


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _parse_form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=False, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise PayloadError("the body is not a form in UTF-8") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(_storable(name), []).append(_storable(value))
    return {name: values if len(values) > 1 else values[0] for name, values in fields.items()}


def _check_depth(payload: Any) -> None:
    level = [payload]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise PayloadError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    return value


def as_text(body: bytes) -> dict[str, str]:
    """A body for people to read: as UTF-8 text, or as base64 where it is none."""
    try:
        return {"encoding": "utf-8", "text": body.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(body).decode()}

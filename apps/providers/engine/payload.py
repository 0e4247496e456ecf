"""From the bytes of a delivery to a JSON value that every later step can store: parsed, bounded, free of U+0000."""

import base64
from typing import Any
from urllib.parse import parse_qsl

import orjson

from apps.providers.engine.errors import PayloadError

# Deeper payloads are no provider's; the limit stays below what PostgreSQL's jsonb and pydantic's serialiser take.
MAX_DEPTH = 64


def parse(body: bytes, content_type: str = "") -> Any:
    """The payload of a body: JSON, or a form as an object of its fields (repeated names become lists).

    Raises PayloadError when the body is neither, is nested deeper than MAX_DEPTH, or is not UTF-8.
    """
    if content_type.split(";", 1)[0].strip().lower() == "application/x-www-form-urlencoded":
        return _parse_form(body)
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the body is not JSON: {_position(error)}") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(payload)
    # PostgreSQL's jsonb and text refuse U+0000; the raw bytes keep it.
    return _without_nul(payload) if rb"\u0000" in body else payload


def _position(error: orjson.JSONDecodeError) -> str:
    return f"{error.msg.split(':', 1)[0]} (line {error.lineno}, column {error.colno})"


def _parse_form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=False, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise PayloadError("the body is not a form in UTF-8") from error
    fields: dict[str, Any] = {}
    for name, value in pairs:
        value = value.replace("\x00", "\ufffd")
        name = name.replace("\x00", "\ufffd")
        if name in fields:
            there = fields[name]
            fields[name] = [*there, value] if isinstance(there, list) else [there, value]
        else:
            fields[name] = value
    return fields


def _check_depth(payload: Any) -> None:
    level = [payload]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise PayloadError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    return value


def as_text(body: bytes) -> dict[str, str]:
    """A body for people to read: as UTF-8 text, or as base64 where it is none."""
    try:
        return {"encoding": "utf-8", "text": body.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(body).decode()}

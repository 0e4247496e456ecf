"""Messages that the tests start from: the checksum vector, and one with every field filled."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOW = datetime(2025, 10, 15, tzinfo=UTC)

_DATA = Path(__file__).parent / "data"


def vector() -> dict[str, Any]:
    """The message whose canonical bytes and sum are published: only what is required, and two extras."""
    return _read("checksum_vector.json")


def full() -> dict[str, Any]:
    """A message with every field of the schema, as it is written; no rule finds anything."""
    return _read("full.json")


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((_DATA / name).read_text("utf-8")))


def changed(message: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value replaced or added; `path` is dotted from the root, digits are list indexes."""
    result = copy.deepcopy(message)
    place, last = _place(result, path)
    place[last] = value
    return result


def without(message: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy with one value taken out."""
    result = copy.deepcopy(message)
    place, last = _place(result, path)
    del place[last]
    return result


def _place(message: Any, path: str) -> tuple[Any, str | int]:
    *parents, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    for name in parents:
        message = message[name]
    return message, last

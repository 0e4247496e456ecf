"""Text from outside as every database takes it: no NUL, no half surrogate pair, no more than the column holds."""

from collections.abc import Mapping
from typing import Any


def storable(text: str, length: int | None = None) -> str:
    """The text without what cannot be stored, cut to `length` characters."""
    clean = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return clean if length is None or len(clean) <= length else f"{clean[: length - 1]}…"


def storable_json(value: Any) -> Any:
    """The same for all texts within a JSON value; keys are texts, tuples become lists."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): storable_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(inner) for inner in value]
    return value

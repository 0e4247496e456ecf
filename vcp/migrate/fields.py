"""What all migrations do with fields: unknown ones go along where there is room, names become wire names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from vcp.shape import Shape

# A checksum covers one form of the message; taken along it would be wrong.
_NEVER = frozenset({"checksum"})


def fits(value: Any, place: Shape) -> bool:
    """Whether a field of the schema takes this value; null is no value."""
    try:
        place.adapter.validate_python(value)
    except ValidationError:
        return False
    return value is not None


def unknown_fields(part: Mapping[str, Any], own: Shape, target: Shape) -> dict[str, Any]:
    """The fields of `part` that its own version does not know, without those the target version gives another type."""
    return {
        key: value
        for key, value in part.items()
        if own.wire_name(key) not in own.fields and key not in _NEVER and _has_room(target, key, value)
    }


def _has_room(target: Shape, key: str, value: Any) -> bool:
    place = target.fields.get(target.wire_name(key))
    return place is None or fits(value, place)


def at(root: Shape, *names: str) -> Shape:
    """The place of a path that is known to be in the schema; `*` stands for each key of a map or each list item."""
    for name in names:
        place = root.item if name == "*" else root.fields[name]
        assert place is not None, names  # noqa: S101 - names are constants of this package
        root = place
    return root


def wire_form(value: Any, place: Shape | None) -> Any:
    """A copy under wire names and without null schema fields; all other values as they are."""
    if isinstance(value, list):
        item = place.item if place is not None and place.kind == "list" else None
        return [wire_form(one, item) for one in value]
    if not isinstance(value, dict):
        return value
    if place is None or place.kind not in ("model", "map"):
        return {key: wire_form(one, None) for key, one in value.items()}
    named = sorted(value.items(), key=lambda member: member[0] in place.synonyms)
    result: dict[str, Any] = {}
    for key, one in named:
        name = place.wire_name(key)
        if not (one is None and name in place.fields):
            result.setdefault(name, wire_form(one, place.child(name)))
    return result

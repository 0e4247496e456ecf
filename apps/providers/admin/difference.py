"""How the difference between two mappings is shown: a panel for each part, its fields side by side."""

from collections.abc import Sequence
from typing import Any

from apps.providers.admin.base import one_line, pretty_json
from apps.providers.comparing import Change, Field, Part

COLOURS = {"added": "success", "removed": "danger", "changed": "warning", "moved": "info"}
# What a change is called by already.
NAMING = ("name", "source", "target", "path")
# A value this long is no reading matter in a column beside another.
MAX_SHOWN = 4000


def shown_parts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """For the template providers/difference.html."""
    return [
        {"title": part.title, "same": part.same, "changes": [_shown(change) for change in part.changes]}
        for part in parts
    ]


def shown_fields(fields: Sequence[Field]) -> list[tuple[str, str, str, bool]]:
    """(name, before, after, whether it changed)"""
    return [(field.name, _text(field.before), _text(field.after), field.changed) for field in fields]


def _shown(change: Change) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": change.kind, "colour": COLOURS[change.kind], "name": change.name}
    if change.kind == "changed":
        return shown | {"fields": shown_fields(change.fields)}
    if change.kind == "moved":
        return shown
    told = [(field.name, field.after if change.kind == "added" else field.before) for field in change.fields]
    return shown | {"pairs": [(name, _brief(value)) for name, value in told if name not in NAMING]}


def _brief(value: Any) -> str:
    return value if isinstance(value, str) else one_line(value)


def _text(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else pretty_json(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"

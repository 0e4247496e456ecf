"""A transcript as people read it: what was said turn by turn, which tools were called and what they gave.

Turns are what mappings make of a provider's; what has none of the fields below is shown as JSON.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.dateparse import parse_datetime

from apps.providers.admin.base import pretty_json

# What the name, the arguments and the result of a tool's use are called.
NAMES = ("tool", "tool_name", "name")
ARGUMENTS = ("arguments", "params_as_json")
RESULTS = ("result", "result_value")
# Shown beside a turn, or of no use to a reader.
ASIDE = {"speaker", "start_sec", "end_sec", "at", "text", "tool_call_id"}


@dataclass(frozen=True)
class ToolUse:
    """`word` is call or result where the speaker does not say it; `value` is JSON or text, empty where none is told."""

    tool: str
    word: str
    value: str
    failed: bool


@dataclass(frozen=True)
class Turn:
    who: str
    at: str
    said: str
    uses: list[ToolUse]


def turns(content: Any) -> list[Turn]:
    return [_turn(row) for row in (content if isinstance(content, list) else [content])]


def _turn(row: Any) -> Turn:
    if not isinstance(row, dict):
        return Turn("", "", _readable(row), [])
    said = _readable(row.get("text") or "")
    uses = list(_uses(row))
    if not said and not uses:
        rest = {name: value for name, value in row.items() if name not in ASIDE}
        said = pretty_json(rest) if rest else "(nothing)"
    return Turn(str(row.get("speaker") or "unknown").replace("_", " "), _at(row), said, uses)


def _at(row: dict[str, Any]) -> str:
    start = row.get("start_sec")
    if isinstance(start, int | float):
        return f"{start:.1f} s"
    try:
        moment = parse_datetime(row.get("at") or "")
    except (TypeError, ValueError):
        return ""
    return f"{moment:%H:%M:%S}" if moment else ""


def _uses(row: dict[str, Any]) -> Iterator[ToolUse]:
    if row.get("tool") or row.get("successful") is False or _values(row):
        yield _use(row, "")
    who = str(row.get("speaker"))
    for name, word in (("tool_calls", "call"), ("tool_results", "result")):
        uses = row.get(name)
        for item in uses if isinstance(uses, list) else [uses] if uses else []:
            yield _use(item, "" if who.endswith(word) else word)


def _use(item: Any, word: str) -> ToolUse:
    if not isinstance(item, dict):
        return ToolUse("", word, _readable(item), False)
    told = item["function"] if isinstance(item.get("function"), dict) else item
    tool = next((str(told[name]) for name in NAMES if told.get(name)), "")
    value = _values(told) or ("" if tool or "speaker" in item else pretty_json(item))
    return ToolUse(tool, word, value, item.get("successful") is False or item.get("is_error") is True)


def _values(row: dict[str, Any]) -> str:
    return "\n".join(_readable(row[name]) for name in (*ARGUMENTS, *RESULTS) if row.get(name))


def _readable(value: Any) -> str:
    """JSON laid out, also where it came as a text; any other text as it is."""
    if not isinstance(value, str):
        return pretty_json(value)
    if value[:1] not in ("{", "["):
        return value
    try:
        return pretty_json(json.loads(value))
    except (ValueError, RecursionError):
        return value

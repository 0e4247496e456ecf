"""Stage one of validation: reading JSON text, pydantic's complaints as findings, and what was read leniently.

Knows the S rules, and V4. The models and the rules across fields are known by `models.py` and `rules.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from vcp.errors import SchemaError
from vcp.findings import Finding
from vcp.scalars import EXACTLY, Path, Score
from vcp.shape import Shape

# The first word of pydantic's error types, in the words of the schema's tables.
_EXPECTED: Mapping[str, str] = {
    "string": "text",
    "int": "integer",
    "number": "number",
    "float": "number",
    "bool": "boolean",
    "list": "list",
    "dict": "object",
    "model": "object",
    "datetime": "RFC 3339 timestamp",
}
# Each costs a hundred times the bytes that caused it.
MAX_REFUSALS: Final = 10_000
# Of the parser's words only the place is passed on; the others may hold a part of the text.
_POSITION: Final = re.compile(r"at line (\d+) column (\d+)$")
_OFFSET = re.compile(r"(?:[Zz]|[+\-−]\d\d:?\d\d)$")


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text. NaN and infinities come through, to be reported where they stand.

    Raises SchemaError for anything that is not JSON in UTF-8, or is nested more than 200 levels deep.
    """
    # A lone surrogate becomes bytes that are not UTF-8, so one error covers both.
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    try:
        return from_json(data)
    except ValueError as error:
        at = _POSITION.search(str(error))
        where = f": line {at[1]}, column {at[2]}" if at else ""
        finding = Finding("S2", (), f"the text cannot be read as JSON{where}", "JSON in UTF-8")
        raise SchemaError([finding.to_error()]) from None


def in_order(findings: Iterable[Finding], root: Shape) -> list[Finding]:
    """Findings in document order; those of one place by rule."""
    return sorted(findings, key=lambda finding: (root.order(finding.path), finding.rule, finding.message))


def broken_fields(error: ValidationError, root: Shape) -> list[Finding]:
    """What pydantic refused, as findings of S1 to S7; one at the root when they are more than anyone can read."""
    if error.error_count() > MAX_REFUSALS:
        return [Finding("S2", (), f"more than {MAX_REFUSALS} values are broken", f"at most {MAX_REFUSALS}")]
    details = error.errors(include_url=False)
    return [finding for detail in details for finding in _findings(detail, root)]


def _findings(detail: ErrorDetails, root: Shape) -> Iterator[Finding]:
    where = _locate(detail["loc"], root)
    if where is None:
        return
    if detail["type"] == "not_json":
        for below, rule, text in detail["ctx"]["problems"]:
            yield Finding(rule, where.path + below, text)
    elif isinstance(detail["input"], float) and not math.isfinite(detail["input"]):
        yield Finding("S4", where.path, "number is not finite", "finite number")
    elif detail["type"] == "missing" or (detail["input"] is None and where.is_field):
        yield Finding("S1", where.path, "required field is missing")
    else:
        yield _refusal(detail, where.path, where.place)


def _refusal(detail: ErrorDetails, path: Path, place: Shape | None) -> Finding:
    kind = detail["type"]
    if kind == "literal_error":
        return Finding("S3", path, "value is not one of the allowed ones", detail["ctx"]["expected"])
    if kind == "zulu_time":
        return Finding("V4", path, "timestamp does not end in Z", "RFC 3339 text in UTC, with Z")
    if kind == "finite_number":
        return Finding("S4", path, "number is not finite", "finite number")
    if kind == "string_pattern_mismatch":
        return Finding("S5", path, "required text is empty", "text that is not blank")
    if place is not None and place.hint == Score and kind in ("greater_than_equal", "less_than_equal"):
        return Finding("S6", path, "value is outside 0 to 1", "0 to 1")
    if kind == "greater_than_equal":
        return Finding("S7", path, "value is negative", "0 or more")
    if kind == "greater_than":
        return Finding("S7", path, "value is not above 0", "more than 0")
    return Finding("S2", path, "value has the wrong type", _EXPECTED.get(kind.split("_")[0]))


class _Where(NamedTuple):
    """A location in the message; `place` is None where the schema ends, `is_field` tells members from elements."""

    path: Path
    place: Shape | None
    is_field: bool


def _locate(location: Path, root: Shape) -> _Where | None:
    """Pydantic's location without its marks; None for a refusal of a first try, as the second was refused too."""
    path: list[str | int] = []
    place: Shape | None = root
    is_field = False
    parts = iter(location)
    for part in parts:
        if part == "[key]":
            continue
        path.append(part)
        is_field = place is not None and place.kind == "model"
        place = place.child(part) if place is not None else None
        if place is not None and EXACTLY in islice(parts, place.tries):
            return None
    return _Where(tuple(path), place, is_field)


def lenient_readings(raw: Any, root: Shape) -> list[Finding]:
    """Unknown fields (S8) and timestamps without offset (S9) of a message as it was sent."""
    found: list[Finding] = []
    _look_below(raw, root, (), found)
    return found


def _look_below(raw: Any, place: Shape, path: Path, found: list[Finding]) -> None:
    """Only for places that are `layered`: all others were read as they are."""
    if place.kind == "timestamp":
        if _lacks_offset(raw):
            found.append(Finding("S9", path, "timestamp has no offset", "RFC 3339 text with offset"))
    elif place.kind == "model" and isinstance(raw, dict):
        _look_at_fields(raw, place, path, found)
    else:
        for key, value in _members(raw, place):
            child = place.child(key)
            if child is not None and child.layered:
                _look_below(value, child, (*path, key), found)


def _members(raw: Any, place: Shape) -> Iterable[tuple[str | int, Any]]:
    if place.kind == "map" and isinstance(raw, dict):
        return ((key, value) for key, value in raw.items() if isinstance(key, str))
    return enumerate(raw) if place.kind == "list" and isinstance(raw, list) else ()


def _look_at_fields(raw: dict[Any, Any], place: Shape, path: Path, found: list[Finding]) -> None:
    fields, synonyms = place.fields, place.synonyms
    for key in raw.keys() - place.plain_fields:
        if not isinstance(key, str):  # refused by pydantic
            continue
        name = synonyms.get(key, key)
        child = fields.get(name)
        if child is None or (name != key and raw.get(name) is not None):
            found.append(Finding("S8", (*path, key), "the schema has no such field; it is kept"))
        elif child.layered:
            _look_below(raw[key], child, (*path, name), found)


def _lacks_offset(raw: Any) -> bool:
    if isinstance(raw, datetime):
        return raw.tzinfo is None
    if isinstance(raw, str):
        return not raw.endswith("Z") and not _OFFSET.search(raw)
    return isinstance(raw, (int, float)) and not isinstance(raw, bool)

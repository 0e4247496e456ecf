"""What differs between two mappings, part by part: the one place that tells it, for publishing, comparing, importing.

Rules have no names. Two of them are taken for one rule that changed when they fill the same target.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from apps.providers.engine.spec import MappingSpec

Kind = Literal["added", "removed", "changed", "moved"]
Row = dict[str, Any]
Key = Callable[[Row], Hashable]


@dataclass(frozen=True)
class Field:
    """One field on both sides; None where it is not set."""

    name: str
    before: Any
    after: Any

    @property
    def changed(self) -> bool:
        return bool(self.before != self.after)


@dataclass(frozen=True)
class Change:
    """A row that is new, gone, different, or (`moved`) tried in another order."""

    kind: Kind
    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Part:
    """The changes of one part of a mapping, and how many of its rows are the same."""

    title: str
    same: int
    changes: tuple[Change, ...]


def differences(before: MappingSpec, after: MappingSpec) -> list[Part]:
    """Every part that differs, with what was before and what is after."""
    old, new = _parts(before), _parts(after)
    found = [_part(title, old[title], new[title], keys) for title, keys in KEYS.items()]
    return [part for part in found if part.changes]


def changed_fields(before: Row, after: Row) -> list[Field]:
    """The fields of two flat rows that differ, in the order in which they stand."""
    return [field for field in _fields(before, after) if field.changed]


# --- the parts as rows -----------------------------------------------------------------------------------------


def _parts(mapping: MappingSpec) -> dict[str, list[Row]]:
    plain = mapping.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    decisions = plain.pop("decisions", [])
    return {
        "events": plain.pop("events", []),
        "rules": plain.pop("rules", []),
        "decisions": [{name: value for name, value in one.items() if name != "rows"} for one in decisions],
        "rows of decisions": [{"target": one["target"], **row} for one in decisions for row in one["rows"]],
        "redactions": list(_redactions(plain.pop("redact", []))),
        "reading": [{"name": name, "value": value} for name, value in _settings(plain)],
    }


def _redactions(redact: list[Row]) -> Iterator[Row]:
    for one in redact:
        for path in one["paths"]:
            yield {"path": path, **{name: value for name, value in one.items() if name != "paths"}}


def _settings(plain: Row) -> Iterator[tuple[str, Any]]:
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", setting) for inner, setting in value.items())
        else:
            yield name, value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _of(*names: str) -> Key:
    return lambda row: tuple(_text(row.get(name)) for name in names)


# How rows of two versions find each other: by the first key that both share, then by the next.
KEYS: dict[str, tuple[Key, ...]] = {
    "events": (_of("name"),),
    "rules": (
        _text,
        _of("target", "source", "event", "when"),
        _of("target", "source"),
        _of("target", "event"),
        _of("target"),
    ),
    "decisions": (_of("target"),),
    "rows of decisions": (_text, _of("target", "when"), _of("target", "why", "value")),
    "redactions": (_text, _of("path")),
    "reading": (_of("name"),),
}
# Where the order counts, and among which rows.
ORDERED: dict[str, Key] = {"events": lambda row: "", "rules": _of("target"), "rows of decisions": _of("target")}


# --- finding the same row again ----------------------------------------------------------------------------------


def _part(title: str, before: list[Row], after: list[Row], keys: tuple[Key, ...]) -> Part:
    pairs = _paired(before, after, keys)
    moved = _moved(before, after, pairs, ORDERED[title]) if title in ORDERED else set()
    changes = [*_both(before, after, pairs, moved)]
    old, new = {one for one, _ in pairs}, {other for _, other in pairs}
    changes += [(n, _change("added", {}, row)) for n, row in enumerate(after) if n not in new]
    changes += [(n, _change("removed", row, {})) for n, row in enumerate(before) if n not in old]
    ordered = sorted(changes, key=lambda item: item[0])
    same = len(pairs) - sum(change.kind in ("changed", "moved") for _, change in changes)
    return Part(title, same, tuple(change for _, change in ordered))


def _paired(before: list[Row], after: list[Row], keys: Iterable[Key]) -> list[tuple[int, int]]:
    """(place before, place after) of the rows that are the same row."""
    pairs: list[tuple[int, int]] = []
    old, new = list(range(len(before))), list(range(len(after)))
    for key in keys:
        waiting: dict[Hashable, list[int]] = {}
        for place in new:
            waiting.setdefault(key(after[place]), []).append(place)
        found = [(one, waiting[key(before[one])].pop(0)) for one in old if waiting.get(key(before[one]))]
        pairs += found
        old = [one for one in old if one not in {pair[0] for pair in found}]
        new = [one for one in new if one not in {pair[1] for pair in found}]
    return sorted(pairs)


def _moved(before: Sequence[Row], after: Sequence[Row], pairs: list[tuple[int, int]], group: Key) -> set[int]:
    """The places after of rows whose order among those of their group is another."""
    groups: dict[Hashable, list[int]] = {}
    for one, other in pairs:
        if group(before[one]) == group(after[other]):
            groups.setdefault(group(after[other]), []).append(other)
    moved: set[int] = set()
    for places in groups.values():
        steady = SequenceMatcher(None, places, sorted(places), autojunk=False).get_matching_blocks()
        moved |= set(places) - {place for block in steady for place in places[block.a : block.a + block.size]}
    return moved


def _both(
    before: list[Row], after: list[Row], pairs: list[tuple[int, int]], moved: set[int]
) -> Iterator[tuple[int, Change]]:
    for one, other in pairs:
        if before[one] != after[other]:
            yield other, _change("changed", before[one], after[other])
        elif other in moved:
            yield other, _change("moved", before[one], after[other])


def _change(kind: Kind, before: Row, after: Row) -> Change:
    return Change(kind, _name(after or before), tuple(_fields(before, after)))


def _fields(before: Row, after: Row) -> Iterator[Field]:
    for name in dict.fromkeys((*before, *after)):
        yield Field(name, before.get(name), after.get(name))


def _name(row: Row) -> str:
    """A row in words: a rule by its ends, a row of a decision by its target, anything else by its name."""
    if "source" in row:
        return f"{row['source']} → {row['target']}"
    return str(row.get("name") or row.get("target") or row.get("path"))

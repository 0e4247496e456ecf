"""Functions written out for the keys that they look up; and `made`, by which all code comes that is made while the
program runs.

As a loop that calls `says_nothing` for every value the same takes twice the time, and nothing in a mapping runs as
often. Nothing from outside gets into the text but keys and names, as literals.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from apps.providers.engine.paths import MISSING, Getter, compile_path, first_key, plain_keys
from apps.providers.engine.redact import REDACTED

Json = Any
# Takes an object and puts what its members say, and theirs, into their slots.
SlotReader = Callable[[dict[str, Json], list[Json]], None]
RowReader = Callable[[dict[str, Json]], dict[str, Json]]


class Branch:
    """A key of a tree: where its value goes (0: nowhere), and the keys below it."""

    __slots__ = ("below", "slot")

    def __init__(self) -> None:
        self.slot = 0
        self.below: dict[str, Branch] = {}


def slot_reader(tree: Mapping[str, Branch]) -> SlotReader:
    """A function that looks up the keys of a tree one after the other."""
    names: dict[str, Any] = {}
    lines = ["def run(node, values):", " pass"]
    for number, (key, branch) in enumerate(tree.items()):
        lines.append(f" value = node.get({key!r})")
        if branch.slot:
            lines += _if_told(f"values[{branch.slot}] = value")
        if branch.below:
            names[f"below{number}"] = slot_reader(branch.below)
            lines.append(f" if type(value) is dict: below{number}(value, values)")
    reader: SlotReader = made(lines, names)
    return reader


def row_reader(fields: Mapping[str, Iterable[str]], words: Mapping[str, Mapping[str, Any]]) -> RowReader:
    """A function from a row to an object of `fields`: under each name the value at the first of its paths that has one;
    `words` translates, by name, texts and numbers."""
    names: dict[str, Any] = {"first": first_of}
    lines = ["def run(node):", " told = {}"]
    for number, (name, paths) in enumerate(fields.items()):
        lines += _row_field(f"told[{name!r}] = value", list(paths), number, names)
    for number, (name, table) in enumerate(words.items()):
        names[f"words{number}"] = table
        lines += [
            f" word = told.get({name!r})",
            f" if isinstance(word, (str, int)): told[{name!r}] = words{number}.get(str(word).lower(), word)",
        ]
    reader: RowReader = made([*lines, " return told"], names)
    return reader


def _row_field(store: str, paths: list[str], number: int, names: dict[str, Any]) -> list[str]:
    keys = plain_keys(paths[0]) if len(paths) == 1 else None
    if keys and len(keys) == 1:
        return [f" value = node.get({keys[0]!r})", *_if_told(store)]
    names[f"getters{number}"] = [compile_path(path) for path in paths]
    begins = [first_key(path)[:1] for path in paths]
    # Most rows have none of the members where these paths begin.
    there = " or ".join(f"{key[0]!r} in node" for key in dict.fromkeys(map(tuple, begins))) if all(begins) else "True"
    return [f" if {there}:", f"  value = first(getters{number}, node)", f"  if value is not MISSING: {store}"]


def first_of(getters: Iterable[Getter], row: Json) -> Json:
    """What the first of them finds, else MISSING."""
    for get in getters:
        value = get(row)
        if value is not MISSING:
            return value
    return MISSING


def _if_told(store: str) -> list[str]:
    """`says_nothing` of paths.py, turned round."""
    return [
        " if value:",
        f"  if type(value) is not str or not (value.isspace() or value == REDACTED): {store}",
        f" elif value == 0: {store}",
    ]


def made(lines: list[str], names: dict[str, Any]) -> Any:
    """The function `run` that these lines define, with these names in its reach."""
    scope = {**names, "MISSING": MISSING, "REDACTED": REDACTED}
    exec("\n".join(lines), scope)  # noqa: S102 - see the head of this file
    return scope["run"]

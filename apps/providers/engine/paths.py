"""Reading and writing JSON by path: dotted as providers' documents write it, or RFC 9535 JSONPath from `$`.

Dotted: `call.call_id`, `items[0].text`, `words[-1].end`, `items[*].name` (a list of what is there).
A value that says nothing (null, blank text, empty list or object, a redacted secret) is MISSING: it never
counts as told, so it can neither fill a field nor blank one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from apps.providers.engine.errors import PathError
from apps.providers.engine.jsonpath import Query, compile_query
from apps.providers.engine.redact import REDACTED

Json = Any
Getter = Callable[[Json], Json]
Step = str | int


class _Missing:
    """The value of a path that is not there; falsy, and one of its kind."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
EACH: Final = "[*]"
_PART = re.compile(r"([^.\[\]]+)|\[(-?\d+|\*)\]")


def says_nothing(value: Json) -> bool:
    """True for null, blank text, an empty list or object, and a redacted value; 0 and false do say something."""
    if value:
        return type(value) is str and (value.isspace() or value == REDACTED)
    return bool(value != 0)


def _steps(path: str) -> list[Step]:
    """`a.b[0][*]` as ["a", "b", 0, "[*]"]."""
    steps: list[Step] = []
    position = 0
    while position < len(path):
        if position and path[position] == "." and position + 1 < len(path):
            position += 1
        found = _PART.match(path, position)
        if not found:
            raise PathError(path, f"cannot be read from character {position + 1} on")
        key, index = found.groups()
        steps.append(key if key else EACH if index == "*" else int(index))
        position = found.end()
    if not steps:
        raise PathError(path, "is empty")
    return steps


def plain_keys(path: str) -> list[str] | None:
    """The keys of a dotted path that has nothing but keys, the commonest kind; None for any other path."""
    if path.startswith("$"):
        return None
    steps = _steps(path)
    return [str(step) for step in steps] if all(isinstance(step, str) and step is not EACH for step in steps) else None


def _compile_keys(keys: list[str]) -> Getter:
    def get(payload: Json) -> Json:
        value = payload
        for key in keys:
            if type(value) is not dict:
                return MISSING
            value = value.get(key)
        return MISSING if value is None or says_nothing(value) else value

    return get


def _compile_steps(steps: list[Step]) -> Getter:
    """A getter for any steps, as a chain: each hands on to the getter of those behind it."""
    if not steps:
        return lambda value: MISSING if says_nothing(value) else value
    step, behind = steps[0], _compile_steps(steps[1:])
    if step is EACH:
        return _each(behind)
    return _at_index(step, behind) if isinstance(step, int) else _at_key(step, behind)


def _at_key(key: str, behind: Getter) -> Getter:
    return lambda value: behind(value.get(key)) if isinstance(value, dict) else MISSING


def _at_index(index: int, behind: Getter) -> Getter:
    return lambda value: (
        behind(value[index]) if isinstance(value, list) and -len(value) <= index < len(value) else MISSING
    )


def _each(behind: Getter) -> Getter:
    def get(value: Json) -> Json:
        if not isinstance(value, list):
            return MISSING
        return [found for item in value if (found := behind(item)) is not MISSING] or MISSING

    return get


def _compile_jsonpath(path: str) -> Getter:
    query = compile_query(path)
    return lambda payload: _told(query.search(payload), query)


def _told(found: list[Json], query: Query) -> Json:
    told = [value for value in found if not says_nothing(value)]
    if not told:
        return MISSING
    return told[0] if query.singular else told


@dataclass(frozen=True)
class Route:
    """A path in parts, for reading many together: the keys it begins with, then searches, each in what the one before
    has found. Paths that have a search of the same name, and all before it, have the same finding there."""

    keys: list[str]
    searches: list[tuple[str, Getter]]


def route(path: str) -> Route:
    """Raises PathError."""
    if path.startswith("$"):
        query = compile_query(path)
        return Route(query.keys, _searches(path, query))
    steps = _steps(path)
    count = next((place for place, step in enumerate(steps) if isinstance(step, int) or step is EACH), len(steps))
    behind = [(path, _compile_steps(steps[count:]))] if count < len(steps) else []
    return Route([str(key) for key in steps[:count]], behind)


def _searches(path: str, query: Query) -> list[tuple[str, Getter]]:
    """The steps of a query; the first begins at one value, and the last leaves out what says nothing."""
    if not query.steps:
        return [] if query.keys else [(path, lambda payload: _told([payload], query))]
    (first_name, first), *rest = query.steps
    searches: list[tuple[str, Getter]] = [(first_name, lambda value: first([value]))]
    return [*searches, *rest, (f"told {path}", lambda found: _told(found, query))]


@lru_cache(maxsize=4096)
def compile_path(path: str) -> Getter:
    """A function from payload to the value at `path`, or MISSING. Raises PathError naming the place."""
    if path.startswith("$"):
        return _compile_jsonpath(path)
    keys = plain_keys(path)
    return _compile_steps(_steps(path)) if keys is None else _compile_keys(keys)


def first_key(path: str) -> list[str]:
    """The leading plain keys of a path: the part of a payload that a rule reading it has used."""
    if path.startswith("$"):
        path = path[1:].removeprefix(".")
    keys: list[str] = []
    position = 0
    while (part := _PART.match(path, position)) and part.group(1) not in (None, "*"):
        keys.append(part.group(1))
        position = part.end() + (path[part.end() : part.end() + 1] == ".")
    return keys


def to_jsonpath(path: str) -> str:
    """A dotted path as JSONPath, for error objects."""
    return path if path.startswith("$") else f"$.{path}"


def put(target: dict[str, Json], path: str, value: Json) -> None:
    """Set `value` at dotted `path`, making the objects on the way; what is already there stays (first wins).

    An object meets an object key by key, so a deeper target fills what a shallower one left open.
    """
    put_at(target, path.split("."), value)


def put_at(target: dict[str, Json], keys: Sequence[str], value: Json, *, shared: bool = False) -> None:
    """`put` at a path whose keys are known; `shared` without a copy, for a place that nobody writes into afterwards."""
    last = keys[-1]
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if type(target) is not dict:
            return
    if type(value) is dict:
        fill(target, last, value if shared else copied(value))
    elif target.get(last) is None:
        target[last] = value


def copied(value: Json) -> Json:
    """The objects of a value anew, so that filling them in one place changes no other."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return value


def fill(target: dict[str, Json], key: str, value: Json) -> None:
    """Put value under key unless something is there; two objects are filled key by key."""
    there = target.get(key)
    if isinstance(there, dict) and isinstance(value, dict):
        for name, inner in value.items():
            fill(there, name, inner)
    elif there is None:
        target[key] = value


def without(payload: Json, used: Iterable[tuple[str, ...]]) -> Json:
    """A copy of `payload` without the values at the `used` key paths; objects emptied by that are left out."""
    return pruned(payload, key_tree(used))


KeyTree = dict[str, Any]
_END: Final = ""


def key_tree(paths: Iterable[tuple[str, ...]]) -> KeyTree:
    """Key paths as one tree, for `pruned`."""
    tree: KeyTree = {}
    for keys in paths:
        node = tree
        for key in keys:
            node = node.setdefault(key, {})
        node[_END] = True
    return tree


def pruned(value: Json, tree: KeyTree) -> Json:
    """`without` for a tree made before. Only the objects on the way to a used value are copied."""
    if type(value) is not dict:
        return value
    kept: dict[str, Json] = {}
    for key, inner in value.items():
        branch = tree.get(key)
        if branch is None:
            kept[key] = inner
        elif _END not in branch:
            rest = pruned(inner, branch)
            if rest or type(inner) is not dict:
                kept[key] = rest
    return kept

"""Reading and writing JSON by path: dotted as providers' documents write it, or RFC 9535 JSONPath from `$`.

Dotted: `call.call_id`, `items[0].text`, `words[-1].end`, `items[*].name` (a list of what is there).
A value that says nothing (null, blank text, empty list or object, a redacted secret) is MISSING: it never
counts as told, so it can neither fill a field nor blank one.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import jsonpath_rfc9535

from apps.providers.engine.errors import PathError
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
    if value is None or value is MISSING:
        return True
    if isinstance(value, str):
        return not value.strip() or value == REDACTED
    return isinstance(value, list | dict) and not value


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


def _walk(value: Json, steps: list[Step]) -> Json:
    for number, step in enumerate(steps):
        if step is EACH:
            if not isinstance(value, list):
                return MISSING
            rest = steps[number + 1 :]
            found = (_walk(item, rest) for item in value)
            return [item for item in found if not says_nothing(item)] or MISSING
        if isinstance(step, str):
            if not isinstance(value, dict):
                return MISSING
            value = value.get(step, MISSING)
        elif isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return MISSING
    return value


def _compile_keys(keys: list[str]) -> Getter:
    """The commonest path, plain keys, without the general walk."""

    def get(payload: Json) -> Json:
        value = payload
        for key in keys:
            if not isinstance(value, dict):
                return MISSING
            value = value.get(key, MISSING)
        return MISSING if says_nothing(value) else value

    return get


def _compile_dotted(path: str) -> Getter:
    steps = _steps(path)
    if all(isinstance(step, str) and step is not EACH for step in steps):
        return _compile_keys([str(step) for step in steps])

    def get(payload: Json) -> Json:
        value = _walk(payload, steps)
        return MISSING if says_nothing(value) else value

    return get


def _compile_jsonpath(path: str) -> Getter:
    try:
        query = jsonpath_rfc9535.compile(path)
    except jsonpath_rfc9535.JSONPathError as error:
        raise PathError(path, str(error)) from error
    singular = query.singular_query()

    def get(payload: Json) -> Json:
        try:
            values = query.find(payload).values()
        except (jsonpath_rfc9535.JSONPathError, RecursionError):
            return MISSING
        found = [value for value in values if not says_nothing(value)]
        if not found:
            return MISSING
        return found[0] if singular else found

    return get


@lru_cache(maxsize=4096)
def compile_path(path: str) -> Getter:
    """A function from payload to the value at `path`, or MISSING. Raises PathError naming the place."""
    return _compile_jsonpath(path) if path.startswith("$") else _compile_dotted(path)


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
    keys = path.split(".")
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            return
    fill(target, keys[-1], copied(value))


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
    tree: dict[str, Any] = {}
    for keys in used:
        node = tree
        for key in keys:
            node = node.setdefault(key, {})
        node[""] = True
    return _prune(payload, tree)


def _prune(value: Json, tree: dict[str, Any]) -> Json:
    if not isinstance(value, dict):
        return value
    kept: dict[str, Json] = {}
    for key, inner in value.items():
        branch = tree.get(key)
        if branch is None:
            kept[key] = inner
        elif "" not in branch:
            rest = _prune(inner, branch)
            if rest or not isinstance(inner, dict):
                kept[key] = rest
    return kept

"""Two JSON documents compared place by place, and one turned into the other where it still is as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, Field

from vcp.scalars import Path

_ABSENT: Any = object()


class Difference(BaseModel):
    """One place: what the way back `made` of it, and what it `was`; a value that is not set was not there."""

    path: Annotated[list[str | int], Field(min_length=1)]
    made: Any = None
    was: Any = None


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def differences(made: Any, was: Any, path: Path = ()) -> Iterator[Difference]:
    """Where `made` must change to become `was`, as few and as small as objects and lists of one length allow."""
    if isinstance(made, dict) and isinstance(was, dict):
        for key in sorted(made.keys() | was.keys()):
            yield from differences(made.get(key, _ABSENT), was.get(key, _ABSENT), (*path, key))
    elif isinstance(made, list) and isinstance(was, list) and len(made) == len(was):
        for index, (one, other) in enumerate(zip(made, was, strict=True)):
            yield from differences(one, other, (*path, index))
    elif not same(made, was):
        values = {"made": made, "was": was}
        yield Difference(path=list(path), **{name: value for name, value in values.items() if value is not _ABSENT})


def restore(document: Any, found: list[Difference]) -> None:
    """Set every place that still is as it was made to what it was before; leave all others alone."""
    for difference in found:
        *parents, last = difference.path
        place = document
        for part in parents:
            place = _member(place, part)
        is_made = "made" in difference.model_fields_set
        if is_made and same(_member(place, last), difference.made):
            _put(place, last, difference)
        elif not is_made and isinstance(place, dict) and isinstance(last, str):
            place.setdefault(last, copy.deepcopy(difference.was))


def _member(place: Any, part: str | int) -> Any:
    if isinstance(place, dict):
        return place.get(part, _ABSENT)
    is_index = isinstance(place, list) and isinstance(part, int) and 0 <= part < len(place)
    return place[part] if is_index else _ABSENT


def _put(place: dict[Any, Any] | list[Any], last: Any, difference: Difference) -> None:
    if "was" not in difference.model_fields_set:
        del place[last]
    else:
        place[last] = copy.deepcopy(difference.was)

"""Objects whose members are not known beforehand: which of them count, and what they say in words or as a score."""

import json
from collections.abc import Callable
from decimal import Decimal
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, field_validator

from apps.providers.engine.conditions import Condition, compile_when
from apps.providers.engine.errors import PathError, TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, says_nothing
from apps.providers.engine.transforms.base import Json, Transform, register, takes_json, takes_lists_of_texts
from apps.providers.engine.transforms.numbers import to_decimal
from apps.providers.engine.words import Globs
from vcp.shape import Shape


@register
class Key(Transform):
    """Of an object the key: the one whose value has the largest number at `by`, else the first in order."""

    name = "key"
    by: str = ""

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        return max(sorted(value), key=lambda key: self._weight(value[key]), default=MISSING)

    def _weight(self, inner: Json) -> Decimal:
        found = self._by(inner) if self.by else MISSING
        return Decimal(0) if found is MISSING else to_decimal(found)

    @cached_property
    def _by(self) -> Getter:
        return compile_path(self.by)


@register
class Phrases(Transform):
    """An object as texts `name: value`, one a member, in order of the names; `value` is a member's path. `detail`: the
    path of what is put behind it in brackets, where there is anything."""

    name = "phrases"
    value: str = ""
    detail: str = ""

    def fits(self, place: Shape) -> bool:
        return takes_lists_of_texts(place)

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        phrases = []
        for name, member in sorted(value.items()):
            told = self._get(member) if self.value else member
            if not says_nothing(told):
                words = told if type(told) is str else _in_words(told)
                phrases.append(f"{name}: {words}{self._behind(member) if self.detail else ''}")
        return phrases or MISSING

    def _behind(self, member: Json) -> str:
        found = self._get_detail(member)
        return "" if says_nothing(found) else f" ({_in_words(found)})"

    @cached_property
    def _get(self) -> Getter:
        return compile_path(self.value)

    @cached_property
    def _get_detail(self) -> Getter:
        return compile_path(self.detail)


# json.dumps would make a new encoder at each call that asks for anything special.
_write = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


def _in_words(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if type(value) is int else _write(value)


_PHRASES = Phrases()


@register
class Members(Transform):
    """Of an object those members that say something and whose names match one of the globs in `names` (without case).
    `needs`: globs of which at least one must be met, too, or nothing is taken."""

    name = "members"
    names: tuple[str, ...] = Field(min_length=1)
    needs: tuple[str, ...] = ()

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        if self.needs and not _named_like(self._needs, value):
            return MISSING
        return _named_like(self._names, value) or MISSING

    def fits(self, place: Shape) -> bool:
        return takes_json(place)

    @cached_property
    def _names(self) -> Globs:
        return Globs(self.names)

    @cached_property
    def _needs(self) -> Globs:
        return Globs(self.needs)


def _named_like(globs: Globs, members: dict[str, Json]) -> dict[str, Json]:
    return {name: members[name] for name in globs.among(members) if not says_nothing(members[name])}


class Gain(BaseModel):
    """One row of a term of a score: `add` where all of `when` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    when: dict[str, Condition]
    add: Decimal

    @field_validator("when")
    @classmethod
    def _paths_compile(cls, when: dict[str, Condition]) -> dict[str, Condition]:
        try:
            for path in when:
                compile_path(path)
        except PathError as error:
            raise ValueError(str(error)) from error
        return when


@register
class Score(Transform):
    """A number for an object: `start`, plus a gain from each of the `terms`, at most `most`. A term is a list of rows
    {when, add}; the first whose conditions hold counts. Characters in `blanks` are compared as blanks."""

    name = "score"
    start: Decimal = Decimal(0)
    terms: tuple[tuple[Gain, ...], ...]
    most: Decimal | None = None
    blanks: str = ""

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        read = {name: self._with_blanks(inner) for name, inner in value.items()} if self.blanks else value
        gains = (next((add for holds, add in term if holds(read)), Decimal(0)) for term in self._rows)
        score = sum(gains, self.start)
        return float(score if self.most is None else min(score, self.most))

    @cached_property
    def _rows(self) -> list[list[tuple[Callable[[Json], bool], Decimal]]]:
        return [[(compile_when(row.when), row.add) for row in term] for term in self.terms]

    @cached_property
    def _blanks(self) -> dict[int, str]:
        return dict.fromkeys(map(ord, self.blanks), " ")

    def _with_blanks(self, inner: Json) -> Json:
        return inner.translate(self._blanks) if isinstance(inner, str) else inner


@register
class Points(Transform):
    """Short texts from all that a value holds: a text as it is, of a list what each item holds, an object as texts
    `name: value`; each text once."""

    name = "points"

    def fits(self, place: Shape) -> bool:
        return takes_lists_of_texts(place)

    def __call__(self, value: Json) -> Json:
        return list(dict.fromkeys(_points(value))) or MISSING


def _points(value: Json) -> list[str]:
    if says_nothing(value):
        return []
    if isinstance(value, list):
        return [point for item in value for point in _points(item)]
    if isinstance(value, dict):
        return _PHRASES(value) or []
    return [_in_words(value).strip()]

"""Lists, mostly of objects: their rows, what stands in each, groups of them; and a list made of one text."""

from collections.abc import Callable
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from apps.providers.engine.conditions import Condition, compile_when
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, fill
from apps.providers.engine.transforms.base import Json, Transform, register, rows_of, takes_json
from apps.providers.engine.transforms.numbers import Scale
from apps.providers.engine.words import WordTable
from apps.providers.engine.written import RowReader, first_of, row_reader
from vcp.shape import Shape


@register
class Pluck(Transform):
    """From a list of objects the values at `field`, only of those objects that meet `where`; `distinct` keeps the
    first of each."""

    name = "pluck"
    field: str
    where: dict[str, Condition] = Field(default_factory=dict)
    distinct: bool = False

    @cached_property
    def _get(self) -> Getter:
        return compile_path(self.field)

    @cached_property
    def _meets(self) -> Callable[[Json], bool]:
        return compile_when(self.where)

    def __call__(self, value: Json) -> Json:
        get, meets = self._get, self._meets
        found = [item for row in rows_of(value) if meets(row) and (item := get(row)) is not MISSING]
        return (list({str(item): item for item in found}.values()) if self.distinct else found) or MISSING


@register
class First(Transform):
    """The first item of a list; a value that is no list stays as it is."""

    name = "first"

    def __call__(self, value: Json) -> Json:
        return next(iter(value), MISSING) if isinstance(value, list) else value


@register
class Rows(Transform):
    """Each object of a list as an object of `fields` (our name = path in the row, or paths to try); `words` translates
    a field's words, or the numbers that stand for words.

    Rows without any of the fields in `needs` are left out.
    """

    name = "rows"
    fields: dict[str, str | tuple[str, ...]]
    words: dict[str, dict[str, Any]] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def fits(self, place: Shape) -> bool:
        return takes_json(place)

    def __call__(self, value: Json) -> Json:
        read = self._read
        built = [read(row) for row in rows_of(value)]
        if self.needs:
            return [row for row in built if not self._needs.isdisjoint(row)] or MISSING
        return [row for row in built if row] or MISSING

    @cached_property
    def _needs(self) -> frozenset[str]:
        return frozenset(self.needs)

    @cached_property
    def _read(self) -> RowReader:
        fields = {name: (paths,) if isinstance(paths, str) else paths for name, paths in self.fields.items()}
        return row_reader(fields, self.words)


def first_told(paths: str | tuple[str, ...], row: Json) -> Json:
    """The value at the first of the paths that has one in this row, else MISSING."""
    return compile_first(paths)(row)


@lru_cache(maxsize=1024)
def compile_first(paths: str | tuple[str, ...]) -> Getter:
    """A function from a row to the value at the first of the paths that has one there, else MISSING."""
    if isinstance(paths, str):
        return compile_path(paths)
    return partial(first_of, [compile_path(path) for path in paths])


@register
class Lines(Transform):
    """A transcript in one text, a line a turn (`Agent: Hello`), as turns {speaker, text}. A line without a known
    speaker goes on with the last turn."""

    name = "lines"
    speakers: dict[str, str]

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, str):
            raise TransformError("a text", value)
        turns: list[dict[str, str]] = []
        for line in value.splitlines():
            speaker, _, text = line.partition(":")
            ours = self.speakers.get(speaker.strip())
            if ours:
                turns.append({"speaker": ours, "text": text.strip()})
            elif turns and line.strip():
                turns[-1]["text"] = f"{turns[-1]['text']}\n{line.strip()}".strip()
        return turns or MISSING


class Sum(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    by: Decimal = Decimal(1)
    places: int = 9


@register
class Group(Transform):
    """A list of items as one object a group: the word at `key` names the group by the pairs [glob, group] of `groups`,
    the first that fits; items of no group are left out.

    Each group's object: `first` (name = path, or paths to try, of its first item that tells), `sums` (name = {path,
    by}), `fixed` (constants).
    """

    name = "group"
    key: str
    groups: tuple[tuple[str, str], ...]
    first: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    sums: dict[str, Sum] = Field(default_factory=dict)
    fixed: dict[str, Any] = Field(default_factory=dict)

    @cached_property
    def _table(self) -> WordTable:
        return WordTable(families=self.groups)

    @cached_property
    def _key(self) -> Getter:
        return compile_path(self.key)

    @cached_property
    def _first(self) -> list[tuple[str, Getter]]:
        return [(name, compile_first(paths)) for name, paths in self.first.items()]

    @cached_property
    def _sums(self) -> list[tuple[str, Getter, "Scale"]]:
        return [
            (name, compile_path(term.path), Scale(by=term.by, places=term.places)) for name, term in self.sums.items()
        ]

    def __call__(self, value: Json) -> Json:
        grouped: dict[str, list[Json]] = {}
        for row in rows_of(value):
            word = self._key(row)
            group, known = self._table.look_up(word) if isinstance(word, str) else (MISSING, False)
            if known:
                grouped.setdefault(str(group), []).append(row)
        return {group: self._object(rows) for group, rows in sorted(grouped.items())} or MISSING

    def _object(self, rows: list[Json]) -> dict[str, Json]:
        built: dict[str, Json] = {}
        for name, get in self._first:
            for row in rows:
                told = get(row)
                if told is not MISSING:
                    built[name] = told
                    break
        for name, get, scale in self._sums:
            numbers = [found for row in rows if (found := get(row)) is not MISSING]
            if not numbers:
                continue
            total = scale.of_sum(numbers)
            if total < 0:
                raise TransformError(f"a sum of at least 0 for {name}", total)
            built[name] = total
        for name, inner in self.fixed.items():
            fill(built, name, inner)
        return built


@register
class Listed(Transform):
    """The value as a list of one; a list stays as it is."""

    name = "listed"

    def __call__(self, value: Json) -> Json:
        return value if isinstance(value, list) else [value]

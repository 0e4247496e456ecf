"""Transforms for a conversation told in pieces: rows of events as turns in their order, as uses of tools, as counts.

Like those in `transforms` they know no provider: where things stand in a row is in the arguments.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from apps.providers.engine.conditions import Condition, holds
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, compile_path, says_nothing
from apps.providers.engine.transforms import Transform, first_told, register, rows_of

Json = Any
Paths = str | tuple[str, ...]
MAX_ERROR_TEXT = 500


@register
class Last(Transform):
    """The last item of a list; a value that is no list stays as it is."""

    name = "last"

    def __call__(self, value: Json) -> Json:
        return (value[-1] if value else MISSING) if isinstance(value, list) else value


@register
class Excerpt(Transform):
    """The part of a text after the first `after` and before the next `before`, without outer blanks."""

    name = "excerpt"
    after: str = ""
    before: str = ""

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, str):
            raise TransformError("a text", value)
        start, end = value.find(self.after), len(value)
        if start >= 0:
            start += len(self.after)
            end = value.find(self.before, start) if self.before else end
        return value[start:end].strip() or MISSING if min(start, end) >= 0 else MISSING


@register
class Spread(Transform):
    """Rows with a list at `path` as one row for each of its items, each with the row's own fields and the item under
    `into`; other rows stay as they are."""

    name = "spread"
    path: str
    into: str

    def __call__(self, value: Json) -> Json:
        return [spread for row in rows_of(value) for spread in self._spread(row)] or MISSING

    def _spread(self, row: Json) -> list[Json]:
        inner = compile_path(self.path)(row)
        return [{**row, self.into: item} for item in inner] if isinstance(inner, list) else [row]


@register
class Count(Transform):
    """How many rows of a list meet `where`; with `distinct`, how many values these have at that path."""

    name = "count"
    where: dict[str, Condition] = Field(default_factory=dict)
    distinct: str = ""

    def __call__(self, value: Json) -> Json:
        fitting = [row for row in rows_of(value) if holds(self.where, row)]
        if not self.distinct:
            return len(fitting)
        return len({str(found) for row in fitting if (found := compile_path(self.distinct)(row)) is not MISSING})


@register
class Tally(Transform):
    """How many rows of a list have which word at `path`, as {word: number}."""

    name = "tally"
    path: str

    def __call__(self, value: Json) -> Json:
        words = (compile_path(self.path)(row) for row in rows_of(value))
        return dict(sorted(Counter(word for word in words if isinstance(word, str)).items())) or MISSING


@register
class Turns(Transform):
    """Rows about the items of a conversation as turns {speaker, text, at}, in the conversation's order.

    `item` is the item's id in a row and `previous` that of the one before it; an item that names none, or an unknown
    one, stands where it first appeared. `speakers` turns a word at `speaker` into ours; others make no turn. The text
    is that of the last row with `parts` (a list; of each part the first of `texts`), else the texts at `spoken`, in the
    order of `place`. An item with a number at `heard_ms` was cut short: its turn has that number and `interrupted`
    instead of words, of which nobody knows how many were heard.
    """

    name = "turns"
    item: Paths
    previous: str
    speaker: Paths
    speakers: dict[str, str]
    parts: str
    texts: tuple[str, ...]
    spoken: str
    place: str
    at: str
    heard_ms: str

    def __call__(self, value: Json) -> Json:
        items: dict[str, list[Json]] = {}
        for row in rows_of(value):
            told = first_told(self.item, row)
            if isinstance(told, str):
                items.setdefault(told, []).append(row)
        order = in_sequence({item: self._previous(rows) for item, rows in items.items()})
        turns = (self._turn(items[item]) for item in order)
        return [turn for turn in turns if turn] or MISSING

    def _previous(self, rows: list[Json]) -> str | None:
        told = (compile_path(self.previous)(row) for row in rows)
        return next((found for found in told if isinstance(found, str)), None)

    def _turn(self, rows: list[Json]) -> dict[str, Json]:
        speaker = next((ours for row in rows if (ours := self._speaker(row))), None)
        text = self._text(rows)
        heard_ms = [ms for row in rows if isinstance(ms := compile_path(self.heard_ms)(row), int | float)]
        if speaker is None or not (text or heard_ms):
            return {}
        turn = {"speaker": speaker, "text": "" if heard_ms else text}
        times = [at for row in rows if not says_nothing(at := compile_path(self.at)(row))]
        turn |= {"at": times[0]} if times else {}
        return turn | ({"interrupted": True, "heard_ms": heard_ms[-1]} if heard_ms else {})

    def _speaker(self, row: Json) -> str | None:
        tried = (self.speaker,) if isinstance(self.speaker, str) else self.speaker
        words = (compile_path(path)(row) for path in tried)
        return next((self.speakers[word] for word in words if isinstance(word, str) and word in self.speakers), None)

    def _text(self, rows: list[Json]) -> str:
        written = [text for row in rows if (text := self._written(row))]
        if written:
            return written[-1]
        spoken: dict[float, str] = {}
        for row in rows:
            text, place = compile_path(self.spoken)(row), compile_path(self.place)(row)
            if isinstance(text, str):
                spoken[place if isinstance(place, int | float) else 0] = text.strip()
        return " ".join(spoken[place] for place in sorted(spoken))

    def _written(self, row: Json) -> str:
        parts = compile_path(self.parts)(row)
        told = [first_told(self.texts, part) for part in parts] if isinstance(parts, list) else []
        return " ".join(text.strip() for text in told if isinstance(text, str))


def in_sequence(previous: Mapping[str, str | None]) -> list[str]:
    """The items, given in the order in which they appeared, each behind the one it names as the one before it.

    Of two items that name the same one the later stands nearer to it, as in the list that they were put into. What
    names none or an unknown one stands at the end as it comes. A circle is cut where it is met first.
    """
    after: dict[str | None, str | None] = {None: None}
    last: str | None = None
    for start in previous:
        for item in reversed(_unplaced(start, previous, after)):
            named = previous[item]
            before = named if named is not None and named in after else last
            after[item], after[before] = after.get(before), item
            last = item if before == last else last
    placed: list[str] = []
    following = after[None]
    while following is not None:
        placed.append(following)
        following = after[following]
    return placed


def _unplaced(item: str | None, previous: Mapping[str, str | None], placed: Mapping[str | None, Any]) -> list[str]:
    """The item, the one before it, and so on to one that has its place or is unknown."""
    chain: dict[str, None] = {}
    while item is not None and item in previous and item not in placed and item not in chain:
        chain[item] = None
        item = previous[item]
    return list(chain)


class Sight(BaseModel):
    """Which rows tell of a use of a tool, and where they name it by an id."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    where: dict[str, Condition]
    id: Paths

    def ids(self, rows: Iterable[Json]) -> list[tuple[str, Json]]:
        """(id, row) of each row of this kind that has an id."""
        found = ((first_told(self.id, row), row) for row in rows if holds(self.where, row))
        return [(told, row) for told, row in found if isinstance(told, str)]


class Use(Sight):
    """A kind of use: `type` is our word for it. `answered`: it succeeded once there is an answer to it, not before."""

    type: str
    name: Paths
    error: Paths = ()
    answered: bool = False


@register
class Invocations(Transform):
    """Rows as the uses of tools that they tell of, each once by its id, in the order of the rows: {capability_id,
    capability_type, invoked_at, success, error_message}.

    `uses` are rows that tell of a use; `answers` and `failures` are rows that tell how it went. `at` is a row's time;
    a use without a name or a time is left out.
    """

    name = "invocations"
    uses: tuple[Use, ...]
    answers: tuple[Sight, ...] = ()
    failures: tuple[Sight, ...] = ()
    at: str

    def __call__(self, value: Json) -> Json:
        rows = rows_of(value)
        answered = {told for sight in self.answers for told, _ in sight.ids(rows)}
        failed = {told for sight in self.failures for told, _ in sight.ids(rows)}
        told_of: dict[str, tuple[Use, list[Json]]] = {}
        for row in rows:
            for use in self.uses:
                for told, _ in use.ids([row]):
                    told_of.setdefault(told, (use, []))[1].append(row)
        found = (
            self._invocation(use, about, used not in failed and (used in answered or not use.answered))
            for used, (use, about) in told_of.items()
        )
        return [invocation for invocation in found if invocation] or MISSING

    def _invocation(self, use: Use, rows: list[Json], went_well: bool) -> dict[str, Json]:
        names = [name for row in rows if isinstance(name := first_told(use.name, row), str)]
        times = [at for row in rows if (at := compile_path(self.at)(row)) is not MISSING]
        errors = [error for row in rows if not says_nothing(error := first_told(use.error, row))] if use.error else []
        if not names or not times:
            return {}
        invocation = {"capability_id": names[0], "capability_type": use.type, "invoked_at": times[0]}
        invocation["success"] = went_well and not errors
        words = [error for error in errors if isinstance(error, str)]
        return invocation | ({"error_message": words[-1][:MAX_ERROR_TEXT]} if words else {})

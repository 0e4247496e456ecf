"""Conditions over a JSON value, and ordered tables of them: the first row that holds gives the value.

One form serves outcome tables, the naming of events, filters in lists and conditional redaction.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from apps.providers.engine.paths import Getter, compile_path, says_nothing
from apps.providers.engine.words import Globs, fold_word

Json = Any
Scalar = str | bool | int | float
Test = Callable[[Json], bool]


class Condition(BaseModel):
    """What the value at a path must be. Texts are compared lower-case, whole; a bare value means `equals`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    equals: Scalar | None = None
    any_of: tuple[Scalar, ...] = Field(default=(), alias="in")
    # Told, and none of these words: for choices where an unknown word must be taken for the careful one.
    none_of: tuple[Scalar, ...] = Field(default=(), alias="not_in")
    glob: tuple[str, ...] = ()
    # Part of a text, or an element of a list; of several any one.
    contains: tuple[str, ...] = ()
    present: bool | None = None
    # For places that customers fill as they like.
    shape: Literal["object", "list", "text"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return {"equals": data}
        single = {name: (data[name],) for name in ("glob", "contains") if isinstance(data.get(name), str)}
        return {**data, **single}

    @model_validator(mode="after")
    def _asks_something(self) -> "Condition":
        asked = (self.names_words, self.none_of, self.contains, self.present is not None, self.shape)
        if not any(asked):
            raise ValueError("a condition needs one of equals, in, not_in, glob, contains, present, shape")
        return self

    def holds(self, value: Json) -> bool:
        """True when every part that is given holds; several parts of one condition must hold together."""
        return self.test(value)

    @cached_property
    def test(self) -> Test:
        """`holds` as a function, built once: conditions are asked many times for each payload."""
        parts: list[Test] = []
        if self.present is not None:
            parts.append(_is_told if self.present else says_nothing)
        if self.names_words:
            parts.append(_all_of([_is_told, self.knows]) if self.glob else self.knows)
        if self.none_of:
            parts.append(_none_of(self.none_of))
        if self.contains:
            parts.append(_contains_any(self.contains))
        if self.shape is not None:
            kind = _SHAPES[self.shape]
            parts.append(lambda value: type(value) is kind)
        return _all_of(parts)

    @property
    def names_words(self) -> bool:
        return self.equals is not None or bool(self.any_of) or bool(self.glob)

    @cached_property
    def knows(self) -> Test:
        """Whether a value is one of the words or families named here."""
        named = (*self.any_of, *(() if self.equals is None else (self.equals,)))
        # Blank texts and redacted values are no words, even if somebody names them.
        is_word = _one_of(tuple(word for word in named if not says_nothing(word)))
        if not self.glob:
            return is_word
        globs = Globs(self.glob)
        return lambda value: is_word(value) or (isinstance(value, str) and globs.match(value.strip()))


def _all_of(parts: list[Test]) -> Test:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda value: first(value) and second(value)
    return lambda value: all(part(value) for part in parts)


def _is_told(value: Json) -> bool:
    return not says_nothing(value)


def _one_of(named: tuple[Scalar, ...]) -> Test:
    """Texts without case and outer blanks, and true as the text of it: some providers quote it. It is no 1 here."""
    words = frozenset(_comparable(word) for word in named)

    def is_one(value: Json) -> bool:
        kind = type(value)
        if kind is str:
            return value.strip().lower() in words
        # Lists and objects are no words, and cannot be looked up in a set.
        return kind in _SCALARS and _comparable(value) in words

    return is_one


_SCALARS = frozenset({bool, int, float})
_SHAPES: Mapping[str, type] = {"object": dict, "list": list, "text": str}


def _comparable(value: Scalar) -> Scalar:
    return str(value).lower() if isinstance(value, bool) else cast("Scalar", fold_word(value))


def _none_of(named: tuple[Scalar, ...]) -> Test:
    is_one = _one_of(named)
    return lambda value: not says_nothing(value) and not is_one(value)


def _contains_any(parts: tuple[str, ...]) -> Test:
    lowered = [part.lower() for part in parts]

    def contains(value: Json) -> bool:
        if says_nothing(value):
            return False
        if isinstance(value, str):
            text = value.lower()
            return any(part in text for part in lowered)
        return isinstance(value, (list, dict)) and any(part in value for part in parts)

    return contains


When = Mapping[str, Condition]


def holds(when: When, payload: Json) -> bool:
    """Every condition holds for the value at its path."""
    return all(condition.test(compile_path(path)(payload)) for path, condition in when.items())


def compile_when(when: When) -> Test:
    """`holds` for these conditions as a function of the payload, for whoever asks often."""
    return _all_of([_at(compile_path(path), condition.test) for path, condition in when.items()])


def _at(get: Getter, test: Test) -> Test:
    return lambda payload: test(get(payload))


class Row(BaseModel):
    """One row of a decision table; `why` is for the reader."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    when: dict[str, Condition]
    value: Any
    why: str = ""


class Decision(BaseModel):
    """An ordered table over the merged call: the first row whose conditions all hold gives `target` its value.

    `default` is taken when none does; without a default the target stays empty. `vocabulary` is the path whose
    words the table is meant to know: a word there that no row names is recorded as unseen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str
    rows: tuple[Row, ...]
    default: Any = None
    vocabulary: str | None = None

    def paths(self) -> set[str]:
        return {path for row in self.rows for path in row.when}

    def decide(self, read: Callable[[str], Json]) -> tuple[Json, bool]:
        """(value or None, whether a row held); `read` gives the merged call's value at a path, None or
        MISSING where there is none."""
        for value, tests in self._tests:
            for path, test in tests:
                if not test(read(path)):
                    break
            else:
                return value, True
        return self.default, False

    @cached_property
    def _tests(self) -> list[tuple[Json, list[tuple[str, Test]]]]:
        return [(row.value, [(path, condition.test) for path, condition in row.when.items()]) for row in self.rows]

    def unseen_word(self, read: Callable[[str], Json]) -> str | None:
        """The word at the vocabulary's path that no row names, if there is one."""
        if self.vocabulary is None:
            return None
        word = read(self.vocabulary)
        conditions = [row.when[self.vocabulary] for row in self.rows if self.vocabulary in row.when]
        known = any(condition.knows(word) for condition in conditions)
        return word if isinstance(word, str) and word.strip() and not known else None

"""Conditions over a JSON value, and ordered tables of them: the first row that holds gives the value.

One form serves outcome tables, the naming of events, filters in lists and conditional redaction.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from apps.providers.engine.paths import compile_path, says_nothing
from apps.providers.engine.words import fold_word

Json = Any
Scalar = str | bool | int | float


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

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return {"equals": data}
        single = {name: (data[name],) for name in ("glob", "contains") if isinstance(data.get(name), str)}
        return {**data, **single}

    @model_validator(mode="after")
    def _asks_something(self) -> "Condition":
        if not (self.names_words or self.none_of) and not self.contains and self.present is None:
            raise ValueError("a condition needs one of equals, in, not_in, glob, contains, present")
        return self

    def holds(self, value: Json) -> bool:
        """True when every part that is given holds; several parts of one condition must hold together."""
        told = not says_nothing(value)
        if self.present is not None and told != self.present:
            return False
        if self.names_words and not (told and self.knows(value)):
            return False
        if self.none_of and (not told or any(_same(value, word) for word in self.none_of)):
            return False
        return not self.contains or (told and any(_contains(value, part) for part in self.contains))

    @property
    def names_words(self) -> bool:
        return self.equals is not None or bool(self.any_of) or bool(self.glob)

    def knows(self, value: Json) -> bool:
        """The value is one of the words or families named here."""
        if any(_same(value, word) for word in (*self.any_of, *(() if self.equals is None else (self.equals,)))):
            return True
        return isinstance(value, str) and any(fnmatchcase(fold_word(value), glob.lower()) for glob in self.glob)


def _same(value: Json, word: Scalar) -> bool:
    return bool(_comparable(value) == _comparable(word))


def _comparable(value: Json) -> Json:
    """Texts without case and outer blanks, and true as the text of it: some providers quote it. It is no 1 here."""
    return str(value).lower() if isinstance(value, bool) else fold_word(value)


def _contains(value: Json, part: str) -> bool:
    if isinstance(value, str):
        return part.lower() in value.lower()
    return isinstance(value, list | dict) and part in value


When = Mapping[str, Condition]


def holds(when: When, payload: Json) -> bool:
    """Every condition holds for the value at its path."""
    return all(condition.holds(compile_path(path)(payload)) for path, condition in when.items())


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
        """(value or None, whether a row held); `read` gives the merged call's value at a path."""
        for row in self.rows:
            if all(condition.holds(read(path)) for path, condition in row.when.items()):
                return row.value, True
        return self.default, False

    def unseen_word(self, read: Callable[[str], Json]) -> str | None:
        """The word at the vocabulary's path that no row names, if there is one."""
        if self.vocabulary is None:
            return None
        word = read(self.vocabulary)
        conditions = [row.when[self.vocabulary] for row in self.rows if self.vocabulary in row.when]
        known = any(condition.knows(word) for condition in conditions)
        return word if isinstance(word, str) and word.strip() and not known else None

"""Tables from a provider's words to ours: exact words, families by glob, a default. Case and outer blanks do not count.

Whole words only, never substrings: reading `unsuccessful` as `success` is a mistake others made before.
"""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from apps.providers.engine.paths import MISSING


def fold_word(value: Any) -> Any:
    """Words are compared lower-case and without outer blanks; anything else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


# Names and words come again with every payload, so answers about them are kept; not for texts that may be anything.
KEPT_ANSWERS = 1024
_LONGEST_KEPT = 100
# The objects of one kind have the same names each time.
KEPT_SETS = 128
_LONGEST_SET = 2000  # characters in all names together


class Globs:
    """Some globs as one pattern: a text matches when it matches one of them, whatever its case."""

    def __init__(self, globs: Iterable[str]) -> None:
        self._match = re.compile("|".join(translate(glob.lower()) for glob in globs) or r"(?!)").match
        self._kept = lru_cache(KEPT_ANSWERS)(self._look)
        self._kept_among: dict[tuple[str, ...], tuple[str, ...]] = {}

    def _look(self, text: str) -> bool:
        return self._match(text.lower()) is not None

    def match(self, text: str) -> bool:
        return self._kept(text) if len(text) <= _LONGEST_KEPT else self._look(text)

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the names that match, in their order."""
        asked = tuple(names)
        found = self._kept_among.get(asked)
        if found is None:
            found = tuple(filter(self._look, asked))
            self._keep(asked, found)
        return found

    def _keep(self, asked: tuple[str, ...], found: tuple[str, ...]) -> None:
        if sum(map(len, asked)) <= _LONGEST_SET:
            if len(self._kept_among) >= KEPT_SETS:
                self._kept_among.clear()
            self._kept_among[asked] = found


class WordTable(BaseModel):
    """`exact` is tried first, then `families` in their order; words in `nothing` mean that nothing was told.

    Families are pairs in a list: a database may hand out the keys of an object in another order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    exact: dict[str, Any] = Field(default_factory=dict)
    families: tuple[tuple[str, Any], ...] = ()
    nothing: tuple[str, ...] = ()
    default: Any = None

    @cached_property
    def _by_word(self) -> dict[Any, tuple[Any, bool]]:
        """Each word that stands here, folded, with its answer; what says nothing comes first."""
        exact = {fold_word(word): (ours, True) for word, ours in self.exact.items()}
        return exact | {fold_word(word): (MISSING, True) for word in self.nothing}

    def told_words(self) -> dict[str, Any]:
        """The words that are told as they stand here, or folded, and what they say."""
        known = {word: self.look_up(word) for written in self.exact for word in (written, fold_word(written))}
        return {word: ours for word, (ours, _) in known.items() if isinstance(word, str) and ours is not MISSING}

    @cached_property
    def _families(self) -> list[tuple[Callable[[str], re.Match[str] | None], Any]]:
        return [(re.compile(translate(pattern.lower())).match, ours) for pattern, ours in self.families]

    def look_up(self, word: Any) -> tuple[Any, bool]:
        """(our value or MISSING, whether the word is known)."""
        folded = str(word).lower() if isinstance(word, (bool, int, float)) else fold_word(word)
        found = self._by_word.get(folded)
        if found is not None:
            return found
        text = str(folded)
        return self._kept_family(text) if len(text) <= _LONGEST_KEPT else self._family(text)

    @cached_property
    def _kept_family(self) -> Callable[[str], tuple[Any, bool]]:
        return lru_cache(KEPT_ANSWERS)(self._family)

    def _family(self, folded: str) -> tuple[Any, bool]:
        for match, ours in self._families:
            if match(folded):
                return ours, True
        return (MISSING if self.default is None else self.default), False

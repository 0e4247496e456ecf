"""Tables from a provider's words to ours: exact words, families by glob, a default. Case and outer blanks do not count.

Whole words only, never substrings: reading `unsuccessful` as `success` is a mistake others made before.
"""

from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from apps.providers.engine.paths import MISSING


def fold_word(value: Any) -> Any:
    """Words are compared lower-case and without outer blanks; anything else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


class WordTable(BaseModel):
    """`exact` is tried first, then `families` in their order; words in `nothing` mean that nothing was told.

    Families are pairs in a list: a database may hand out the keys of an object in another order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    exact: dict[str, Any] = Field(default_factory=dict)
    families: tuple[tuple[str, Any], ...] = ()
    nothing: tuple[str, ...] = ()
    default: Any = None

    def model_post_init(self, context: Any, /) -> None:
        # The folded table is computed once; a frozen model is otherwise not touched.
        object.__setattr__(self, "_exact", {fold_word(word): ours for word, ours in self.exact.items()})
        object.__setattr__(self, "_nothing", frozenset(fold_word(word) for word in self.nothing))

    def look_up(self, word: Any) -> tuple[Any, bool]:
        """(our value or MISSING, whether the word is known)."""
        folded = str(fold_word(word)).lower() if isinstance(word, bool | int | float) else fold_word(word)
        if folded in self._nothing:  # type: ignore[attr-defined]
            return MISSING, True
        if folded in self._exact:  # type: ignore[attr-defined]
            return self._exact[folded], True  # type: ignore[attr-defined]
        for pattern, ours in self.families:
            if fnmatchcase(str(folded), pattern.lower()):
                return ours, True
        return (MISSING if self.default is None else self.default), False

"""Texts, words and flags: what a value is called, and telephone numbers."""

import re
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from pydantic import Field

from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING
from apps.providers.engine.transforms.base import (
    AS_IT_IS,
    Json,
    Quick,
    Transform,
    UnseenWord,
    register,
    takes_json,
    takes_texts,
)
from apps.providers.engine.words import WordTable
from vcp.shape import Shape


@register
class Same(Transform):
    """The value as it is."""

    name = "same"

    def fits(self, place: Shape) -> bool:
        return takes_json(place)

    def quick(self) -> Quick:
        return AS_IT_IS

    def __call__(self, value: Json) -> Json:
        return value


@register
class Text(Transform):
    """A text without outer blanks; numbers are written out. At most `max_length` characters are accepted. Texts in
    `nothing` are fillers that say nothing (compared whole, without case)."""

    name = "text"
    max_length: int = 100_000
    nothing: tuple[str, ...] = ()

    def fits(self, place: Shape) -> bool:
        return takes_texts(place)

    def quick(self) -> Quick | None:
        short = f"type(value) is str and len(value) <= {self.max_length}"
        return None if self.nothing else Quick(short, "value.strip()")

    def __call__(self, value: Json) -> Json:
        if type(value) is str:
            text = value.strip()
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise TransformError("a text", value)
        else:
            text = str(value).strip()
        if len(text) > self.max_length:
            raise TransformError(f"a text of at most {self.max_length} characters", value)
        filler = self.nothing and text.lower() in self._fillers
        return MISSING if filler else text or MISSING

    @cached_property
    def _fillers(self) -> frozenset[str]:
        return frozenset(word.lower() for word in self.nothing)


_TEXT = Text()


@register
class Flag(Transform):
    """true or false; also the words of `true_words` and `false_words`. `lenient`: any other word says nothing."""

    name = "flag"
    true_words: tuple[str, ...] = ("true",)
    false_words: tuple[str, ...] = ("false",)
    lenient: bool = False

    def quick(self) -> Quick:
        return Quick("type(value) is bool", "value")

    def __call__(self, value: Json) -> Json:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str) else None
        if word in self.true_words:
            return True
        if word in self.false_words:
            return False
        if self.lenient and word is not None:
            return MISSING
        raise TransformError("true or false", value)


@register
class Words(Transform):
    """A provider's word as ours: `exact` words, `families` as pairs [glob, ours], `nothing` (says nothing), else
    `default`.

    A word in none of them takes the default and is recorded as unseen.
    """

    name = "words"
    exact: dict[str, Any] = Field(default_factory=dict)
    families: tuple[tuple[str, Any], ...] = ()
    nothing: tuple[str, ...] = ()
    default: Any = None

    def fits(self, place: Shape) -> bool:
        ours = [*self.exact.values(), *(ours for _, ours in self.families)]
        return all(map(place.is_normal, [*ours, *([] if self.default is None else [self.default])]))

    @cached_property
    def _table(self) -> WordTable:
        return WordTable(exact=self.exact, families=self.families, nothing=self.nothing, default=self.default)

    def quick(self) -> Quick:
        return Quick("type(value) is str and value in GIVEN", "GIVEN[value]", self._table.told_words())

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, (str, bool, int, float)):
            raise TransformError("a word", value)
        ours, known = self._table.look_up(value)
        if not known:
            raise UnseenWord(value, ours)
        return ours


@register
class Constant(Transform):
    """`value`, wherever the source says anything at all."""

    name = "constant"
    value: Any

    def fits(self, place: Shape) -> bool:
        return place.is_normal(self.value)

    def quick(self) -> Quick:
        return Quick("True", "GIVEN", self.value)

    def __call__(self, value: Json) -> Json:
        return self.value


_NUMBER_MARKS = re.compile(r"[\s().\-/\u00a0]")
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


@register
class Phone(Transform):
    """A telephone number in E.164 where it can be read as one; anything else (short codes, SIP users) stays as it
    is. `restore_plus`: digits alone are an international number whose + was lost."""

    name = "phone"
    restore_plus: bool = False

    def fits(self, place: Shape) -> bool:
        return takes_texts(place)

    def quick(self) -> Quick:
        return Quick("type(value) is str and GIVEN(value)", "value", is_e164)

    def __call__(self, value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise TransformError("a telephone number", value)
        if type(value) is str and is_e164(value):
            return value
        text = str(value).strip()
        number = _NUMBER_MARKS.sub("", text.removeprefix("tel:"))
        number = "+" + number[2:] if number.startswith("00") else number
        number = f"+{number}" if self.restore_plus and number.isdigit() else number
        return number if is_e164(number) else text


def is_e164(text: str) -> bool:
    return _E164.fullmatch(text) is not None


@register
class Template(Transform):
    """A text with `{value}` where the source's text goes: `consent_{value}`."""

    name = "template"
    text: str

    def __call__(self, value: Json) -> Json:
        told = _TEXT(value)
        return MISSING if told is MISSING else self.text.replace("{value}", told)


_QUOTED_NAME = re.compile(r'"(?:[^"\\]|\\.)*"')
_ADDRESS = re.compile(r"<([^>]*)>")
_SIP_USER = re.compile(r"\s*(?:sips?|tel):([^@;>]+)", re.IGNORECASE)
_DIGITS = re.compile(r"\+?\d+", re.ASCII)


@register
class SipUser(Transform):
    """The telephone number in a SIP or tel address (`"Name" <sip:+15550142233@host>`); another user says nothing."""

    name = "sip_user"

    def __call__(self, value: Json) -> Json:
        # The name before the address is the caller's own text, and may look like an address.
        bare = _QUOTED_NAME.sub("", value) if isinstance(value, str) else ""
        address = _ADDRESS.search(bare)
        found = _SIP_USER.match(address.group(1) if address else bare)
        user = unquote(found.group(1)).strip() if found else ""
        return user if _DIGITS.fullmatch(user) else MISSING

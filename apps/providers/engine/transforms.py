"""Generic transforms from JSON to JSON, named in mapping rules. None knows a provider; oddities are arguments.

Each transform is a pydantic model of its arguments that can be called with a value. Its docstring is the help text
shown in the admin. A value that it does not understand raises TransformError; a value that says nothing in
the provider's words becomes MISSING. What follows from the arguments alone is worked out once, as a cached property.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, DecimalException, InvalidOperation
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, field_validator

from apps.providers.engine.conditions import Condition, compile_when
from apps.providers.engine.errors import PathError, TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, fill, plain_keys, says_nothing
from apps.providers.engine.sources import Sources
from apps.providers.engine.words import Globs, WordTable
from vcp.scalars import JsonValue
from vcp.scalars import Text as VcpText
from vcp.shape import Shape

Json = Any
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - only ever written out as UTC
EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_FIRST_US, _END_US = ((moment - EPOCH) // timedelta(microseconds=1) for moment in (EARLIEST, LATEST))
_FIRST_MS, _END_MS = _FIRST_US // 1000, _END_US // 1000
MS_FROM = 10**11  # a number of this size or more is milliseconds: seconds would be the year 5138


class UnseenWord(Exception):
    def __init__(self, word: Json, default: Json) -> None:
        super().__init__(word)
        self.word = word
        self.default = default


class Transform(BaseModel):
    """Base: `name` is what rules write, the fields are the arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = ""

    def fits(self, place: Shape) -> bool:
        """Whether whatever it gives is in the normal form of this place, so that nobody need look."""
        return False

    def __call__(self, value: Json) -> Json:
        raise NotImplementedError


REGISTRY: dict[str, type[Transform]] = {}


def register(cls: type[Transform]) -> type[Transform]:
    REGISTRY[cls.name] = cls
    return cls


def build(name: str, args: dict[str, Any]) -> Transform:
    """The transform of that name with these arguments. Raises KeyError or pydantic.ValidationError."""
    return REGISTRY[name].model_validate(args)


_TOO_LARGE = Decimal("1e15")


def to_decimal(value: Json) -> Decimal:
    """A finite number, or the text of one, exactly. Raises TransformError."""
    if type(value) is float and -1e15 < value < 1e15:
        return Decimal(repr(value))  # the commonest kind; what makes a float is always a number's text
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TransformError("a number", value)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise TransformError("a number", value) from None
    if not number.is_finite() or abs(number) >= _TOO_LARGE:
        raise TransformError("a number below 1e15", value)
    return number


def to_iso(moment: datetime) -> str:
    """UTC with `Z` and milliseconds, microseconds only where they are not zero."""
    spec = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec=spec)[:-6] + "Z"


def takes_texts(place: Shape) -> bool:
    """Whether the place takes every text that is not blank, as it is."""
    return place.hint in (str, VcpText, JsonValue)


def takes_json(place: Shape) -> bool:
    """Whether the place takes whatever a payload can hold; payload.py has let nothing else in."""
    return bool(place.hint == JsonValue)


def takes_lists_of_texts(place: Shape) -> bool:
    return place.hint == list[str] or takes_json(place)


@register
class Same(Transform):
    """The value as it is."""

    name = "same"

    def fits(self, place: Shape) -> bool:
        return takes_json(place)

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
class Epoch(Transform):
    """A Unix time as UTC time. `unit`: ms, s, or auto (by size: from 1e11 on milliseconds). Digits in a text count
    too."""

    name = "epoch"
    unit: Literal["ms", "s", "auto"] = "ms"

    def fits(self, place: Shape) -> bool:
        return place.kind == "timestamp"

    def __call__(self, value: Json) -> Json:
        if type(value) is int:
            # Whole numbers are the commonest by far, and exact without decimals. As seconds those of 2001 to 2100 are
            # below MS_FROM, as milliseconds above it: `auto` may try one after the other.
            if self.unit != "s" and _FIRST_MS <= value < _END_MS:
                return _written_ms(value)
            if self.unit != "ms" and _FIRST_MS <= value * 1000 < _END_MS:
                return _written_ms(value * 1000)
        number = to_decimal(value)
        in_ms = self.unit == "ms" or (self.unit == "auto" and number >= MS_FROM)
        microseconds = int((number * (1000 if in_ms else 1_000_000)).to_integral_value(ROUND_HALF_UP))
        # Before 2001 in its unit: almost always seconds read as milliseconds, or a zero that means "none".
        if not _FIRST_US <= microseconds < _END_US:
            raise TransformError(f"a Unix time between 2001 and 2100 in {'ms' if in_ms else 's'}", value)
        return to_iso(EPOCH + timedelta(microseconds=microseconds))


# Writing a time part by part from what is known of its day and minute takes a third of what datetime takes for it.
_MINUTES = tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60))


@lru_cache(maxsize=64)
def _written_day(days: int) -> str:
    return (_NAIVE_EPOCH + timedelta(days=days)).date().isoformat()


def _written_ms(milliseconds: int) -> str:
    minutes, milliseconds = divmod(milliseconds, 60_000)
    days, minute = divmod(minutes, 24 * 60)
    return f"{_written_day(days)}T{_MINUTES[minute]}:{milliseconds // 1000:02}.{milliseconds % 1000:03}Z"


# What `to_iso` would write just so: most providers do.
_OUR_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


@register
class IsoTime(Transform):
    """An ISO 8601 text as UTC time; without an offset it counts as UTC."""

    name = "iso_time"

    def fits(self, place: Shape) -> bool:
        return place.kind == "timestamp"

    def __call__(self, value: Json) -> Json:
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise TransformError("an ISO 8601 time", value) from None
        if "2001" <= value < "2100" and _OUR_FORM.fullmatch(value):
            return value
        return _in_our_days(moment, "an ISO 8601 time", value)


def _in_our_days(moment: datetime, form: str, value: Json) -> str:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    # 0001-01-01 and 1970-01-01 stand for "none" where a program writes a time that was never set.
    if not EARLIEST <= moment < LATEST:
        raise TransformError(f"{form} between 2001 and 2100", value)
    return to_iso(moment)


@register
class MailTime(Transform):
    """A time as mail and HTTP write it (`Wed, 18 Mar 2026 17:00:11 +0000`, RFC 2822) as UTC time."""

    name = "mail_time"

    def __call__(self, value: Json) -> Json:
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError):
            raise TransformError("a time in the form of RFC 2822", value) from None
        return _in_our_days(moment, "a time in the form of RFC 2822", value)


@register
class Scale(Transform):
    """A number less `minus`, times `by` (exact, in decimals), not below `least`. `whole`: rounded half up to an
    integer; `places`: to so many places."""

    name = "scale"
    minus: Decimal = Decimal(0)
    by: Decimal = Decimal(1)
    least: Decimal | None = None
    whole: bool = False
    places: int = Field(default=9, ge=0, le=12)

    def __call__(self, value: Json) -> Json:
        if type(value) is float and self._only_rounds and self._is_round(value):
            return value
        if type(value) is int and self._divisor and 0 <= value < 10**15:
            return (2 * value + self._divisor) // (2 * self._divisor)
        if type(value) is int and self._only_rounds and 0 <= value < 10**15:
            return float(value)
        return self.of(to_decimal(value))

    @cached_property
    def _only_rounds(self) -> bool:
        return self.minus == 0 and self.by == 1 and self.least in (None, 0) and not self.whole

    def _is_round(self, value: float) -> bool:
        """A number that is written with no more places than are kept is what rounding would make of it."""
        text = repr(value)
        return 0 <= value < 10**15 and "e" not in text and len(text.partition(".")[2]) <= self.places

    @cached_property
    def _divisor(self) -> int:
        """For whole seconds from milliseconds and the like: what an integer is divided by; 0 where that is not all."""
        numerator, denominator = self.by.as_integer_ratio()
        plain = self.whole and numerator == 1 and self.minus == 0 and self.least in (None, 0)
        return denominator if plain else 0

    @cached_property
    def _last_place(self) -> Decimal:
        return Decimal(1).scaleb(-self.places)

    def of(self, exact: Decimal) -> Json:
        """The same for a number that is one already."""
        try:
            number = (exact - self.minus) * self.by
            if self.least is not None and number < self.least:
                raise TransformError(f"a number of at least {self.least}", exact)
            if self.whole:
                return int(number.to_integral_value(ROUND_HALF_UP))
            return float(number.quantize(self._last_place, ROUND_HALF_UP))
        except DecimalException:
            raise TransformError("a number that stays within 28 digits", exact) from None


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


def rows_of(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TransformError("a list", value)
    return [row for row in value if isinstance(row, dict)]


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
        built = [self._row(row) for row in rows_of(value)]
        if self.needs:
            return [row for row in built if not self._needs.isdisjoint(row)] or MISSING
        return [row for row in built if row] or MISSING

    @cached_property
    def _needs(self) -> frozenset[str]:
        return frozenset(self.needs)

    def _row(self, row: Json) -> dict[str, Json]:
        told: dict[str, Json] = {}
        sources, fields = self._compiled
        values = sources.read(row) if sources is not None and sources.tells(row) else None
        for name, key, slots in fields:
            if key is None:
                if values is not None and sources is not None:
                    value = sources.first(slots, values)
                    if value is not MISSING:
                        told[name] = value
            else:
                # Most fields are keys, and a row has few of them: the absent ones must cost next to nothing.
                value = row.get(key)
                if value is not None and not says_nothing(value):
                    told[name] = value
        for name, table in self.words.items():
            word = told.get(name)
            if isinstance(word, (str, int)):
                told[name] = table.get(str(word).lower(), word)
        return told

    @cached_property
    def _compiled(self) -> tuple[Sources | None, list[tuple[str, str | None, list[int]]]]:
        """All fields as (our name, its key, []), or where they are no single key as (our name, None, slots to try) and
        the sources of these, if there are any."""
        sources = Sources()
        fields = [(name, *_place(paths, sources)) for name, paths in self.fields.items()]
        return (sources if any(key is None for _, key, _ in fields) else None), fields


def _place(paths: str | tuple[str, ...], sources: Sources) -> tuple[str | None, list[int]]:
    keys = plain_keys(paths) if isinstance(paths, str) else None
    if keys and len(keys) == 1:
        return keys[0], []
    return None, [sources.slot(path) for path in ([paths] if isinstance(paths, str) else paths)]


def first_told(paths: str | tuple[str, ...], row: Json) -> Json:
    """The value at the first of the paths that has one in this row, else MISSING."""
    return compile_first(paths)(row)


@lru_cache(maxsize=1024)
def compile_first(paths: str | tuple[str, ...]) -> Getter:
    """A function from a row to the value at the first of the paths that has one there, else MISSING."""
    if isinstance(paths, str):
        return compile_path(paths)
    getters = [compile_path(path) for path in paths]

    def first_told(row: Json) -> Json:
        for get in getters:
            value = get(row)
            if value is not MISSING:
                return value
        return MISSING

    return first_told


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
            numbers = [to_decimal(found) for row in rows if (found := get(row)) is not MISSING]
            if not numbers:
                continue
            total = sum(numbers[1:], numbers[0])
            if total < 0:
                raise TransformError(f"a sum of at least 0 for {name}", total)
            built[name] = scale.of(total)
        for name, inner in self.fixed.items():
            fill(built, name, inner)
        return built


@register
class Total(Transform):
    """The sum of a list of numbers, or of the numbers at `path` in a list of objects, times `by`; only of rows that
    meet `where`."""

    name = "total"
    path: str = ""
    by: Decimal = Decimal(1)
    places: int = Field(default=9, ge=0, le=12)
    where: dict[str, Condition] = Field(default_factory=dict)

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, list):
            raise TransformError("a list", value)
        rows = [row for row in value if self._meets(row)] if self.where else value
        numbers = [self._get(row) for row in rows] if self.path else rows
        told = [to_decimal(number) for number in numbers if not says_nothing(number)]
        return self._scale.of(sum(told, Decimal(0))) if told else MISSING

    @cached_property
    def _get(self) -> Getter:
        return compile_path(self.path)

    @cached_property
    def _meets(self) -> Callable[[Json], bool]:
        return compile_when(self.where)

    @cached_property
    def _scale(self) -> Scale:
        return Scale(by=self.by, places=self.places)


@register
class Template(Transform):
    """A text with `{value}` where the source's text goes: `consent_{value}`."""

    name = "template"
    text: str

    def __call__(self, value: Json) -> Json:
        told = _TEXT(value)
        return MISSING if told is MISSING else self.text.replace("{value}", told)


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
        for name in sorted(value):
            told = self._get(value[name]) if self.value else value[name]
            if not says_nothing(told):
                phrases.append(f"{name}: {_in_words(told)}{self._behind(value[name]) if self.detail else ''}")
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


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    transform: str
    args: dict[str, Any] = Field(default_factory=dict)


@register
class Chain(Transform):
    """Several transforms, one after the other: `steps` = [{transform, args}, …]. It ends where one says nothing."""

    name = "chain"
    steps: tuple[Step, ...] = Field(min_length=1)

    def model_post_init(self, context: Any, /) -> None:
        unknown = [step.transform for step in self.steps if step.transform not in REGISTRY]
        if unknown:
            raise ValueError(f"transform {unknown[0]!r} does not exist")
        _ = self._built  # wrong arguments show now

    @cached_property
    def _built(self) -> tuple[Transform, ...]:
        return tuple(build(step.transform, step.args) for step in self.steps)

    def fits(self, place: Shape) -> bool:
        return self._built[-1].fits(place)

    def __call__(self, value: Json) -> Json:
        for step in self._built:
            value = step(value)
            if value is MISSING:
                break
        return value


@register
class Listed(Transform):
    """The value as a list of one; a list stays as it is."""

    name = "listed"

    def __call__(self, value: Json) -> Json:
        return value if isinstance(value, list) else [value]


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
        read = {name: self._with_blanks(inner) for name, inner in value.items()}
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
        return inner.translate(self._blanks) if self.blanks and isinstance(inner, str) else inner


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


class Part(BaseModel):
    """A place in an object and how the value there is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    transform: str = "same"
    args: dict[str, Any] = Field(default_factory=dict)


@register
class Gather(Transform):
    """One list of what several places of an object hold: `parts` = [{path, transform, args}, …], in their order. What a
    place gives is added, a list item by item."""

    name = "gather"
    parts: tuple[Part, ...] = Field(min_length=1)

    def model_post_init(self, context: Any, /) -> None:
        _ = self._chains  # steps that cannot be built are refused here, not at the first payload

    @cached_property
    def _chains(self) -> list[tuple[Getter, Chain]]:
        steps = [(part.path, {"transform": part.transform, "args": part.args}) for part in self.parts]
        return [(compile_path(path), Chain.model_validate({"steps": [step]})) for path, step in steps]

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        found = [(chain, inner) for get, chain in self._chains if not says_nothing(inner := get(value))]
        told = [read for chain, inner in found if not says_nothing(read := chain(inner))]
        return [item for read in told for item in (read if isinstance(read, list) else [read])] or MISSING

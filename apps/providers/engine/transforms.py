"""Generic transforms from JSON to JSON, named in mapping rules. None knows a provider; oddities are arguments.

Each transform is a pydantic model of its arguments that can be called with a value. Its docstring is the help text
shown in the admin. A value that it does not understand raises TransformError; a value that says nothing in
the provider's words becomes MISSING.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, DecimalException, InvalidOperation
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from apps.providers.engine.conditions import Condition, holds
from apps.providers.engine.errors import PathError, TransformError
from apps.providers.engine.paths import MISSING, compile_path, fill, says_nothing
from apps.providers.engine.words import WordTable

Json = Any
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_FIRST_US, _END_US = ((moment - EPOCH) // timedelta(microseconds=1) for moment in (EARLIEST, LATEST))
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

    def __call__(self, value: Json) -> Json:
        raise NotImplementedError


REGISTRY: dict[str, type[Transform]] = {}


def register(cls: type[Transform]) -> type[Transform]:
    REGISTRY[cls.name] = cls
    return cls


def build(name: str, args: dict[str, Any]) -> Callable[[Json], Json]:
    """The transform of that name with these arguments. Raises KeyError or pydantic.ValidationError."""
    return REGISTRY[name].model_validate(args)


def to_decimal(value: Json) -> Decimal:
    """A finite number, or the text of one, exactly. Raises TransformError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TransformError("a number", value)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise TransformError("a number", value) from None
    if not number.is_finite() or abs(number) >= Decimal("1e15"):
        raise TransformError("a number below 1e15", value)
    return number


def to_iso(moment: datetime) -> str:
    """UTC with `Z` and milliseconds, microseconds only where they are not zero."""
    spec = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


@register
class Same(Transform):
    """The value as it is."""

    name = "same"

    def __call__(self, value: Json) -> Json:
        return value


@register
class Text(Transform):
    """A text without outer blanks; numbers are written out. At most `max_length` characters are accepted. Texts in
    `nothing` are fillers that say nothing (compared whole, without case)."""

    name = "text"
    max_length: int = 100_000
    nothing: tuple[str, ...] = ()

    def __call__(self, value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TransformError("a text", value)
        text = str(value).strip()
        if len(text) > self.max_length:
            raise TransformError(f"a text of at most {self.max_length} characters", value)
        filler = text.lower() in (word.lower() for word in self.nothing)
        return MISSING if filler else text or MISSING


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

    def __call__(self, value: Json) -> Json:
        number = to_decimal(value)
        in_ms = self.unit == "ms" or (self.unit == "auto" and number >= MS_FROM)
        microseconds = int((number * (1000 if in_ms else 1_000_000)).to_integral_value(ROUND_HALF_UP))
        # Before 2001 in its unit: almost always seconds read as milliseconds, or a zero that means "none".
        if not _FIRST_US <= microseconds < _END_US:
            raise TransformError(f"a Unix time between 2001 and 2100 in {'ms' if in_ms else 's'}", value)
        return to_iso(EPOCH + timedelta(microseconds=microseconds))


@register
class IsoTime(Transform):
    """An ISO 8601 text as UTC time; without an offset it counts as UTC."""

    name = "iso_time"

    def __call__(self, value: Json) -> Json:
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise TransformError("an ISO 8601 time", value) from None
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
        try:
            number = (to_decimal(value) - self.minus) * self.by
            if self.least is not None and number < self.least:
                raise TransformError(f"a number of at least {self.least}", value)
            if self.whole:
                return int(number.to_integral_value(ROUND_HALF_UP))
            return float(number.quantize(Decimal(1).scaleb(-self.places), ROUND_HALF_UP))
        except DecimalException:
            raise TransformError("a number that stays within 28 digits", value) from None


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
    _table: WordTable = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        self._table = WordTable(exact=self.exact, families=self.families, nothing=self.nothing, default=self.default)

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, str | bool | int | float):
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

    def __call__(self, value: Json) -> Json:
        return self.value


_NUMBER_MARKS = re.compile(r"[\s().\-/\u00a0]")


@register
class Phone(Transform):
    """A telephone number in E.164 where it can be read as one; anything else (short codes, SIP users) stays as it
    is. `restore_plus`: digits alone are an international number whose + was lost."""

    name = "phone"
    restore_plus: bool = False

    def __call__(self, value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise TransformError("a telephone number", value)
        text = str(value).strip()
        number = _NUMBER_MARKS.sub("", text.removeprefix("tel:"))
        number = "+" + number[2:] if number.startswith("00") else number
        number = f"+{number}" if self.restore_plus and number.isdigit() else number
        return number if is_e164(number) else text


def is_e164(text: str) -> bool:
    return re.fullmatch(r"\+[1-9]\d{6,14}", text, re.ASCII) is not None


@register
class Pluck(Transform):
    """From a list of objects the values at `field`, only of those objects that meet `where`; `distinct` keeps the
    first of each."""

    name = "pluck"
    field: str
    where: dict[str, Condition] = Field(default_factory=dict)
    distinct: bool = False

    def __call__(self, value: Json) -> Json:
        found = [compile_path(self.field)(row) for row in rows_of(value) if holds(self.where, row)]
        found = [item for item in found if not says_nothing(item)]
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

    def __call__(self, value: Json) -> Json:
        built = [self._row(row) for row in rows_of(value)]
        return [row for row in built if row and (not self.needs or any(name in row for name in self.needs))] or MISSING

    def _row(self, row: Json) -> dict[str, Json]:
        found = {name: first_told(paths, row) for name, paths in self.fields.items()}
        told = {name: inner for name, inner in found.items() if not says_nothing(inner)}
        for name, table in self.words.items():
            if isinstance(told.get(name), str | int):
                told[name] = table.get(str(told[name]).lower(), told[name])
        return told


def first_told(paths: str | tuple[str, ...], row: Json) -> Json:
    """The value at the first of the paths that has one in this row, else MISSING."""
    tried = (paths,) if isinstance(paths, str) else paths
    return next((found for path in tried if not says_nothing(found := compile_path(path)(row))), MISSING)


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

    def __call__(self, value: Json) -> Json:
        table = WordTable(families=self.groups)
        grouped: dict[str, list[Json]] = {}
        for row in rows_of(value):
            word = compile_path(self.key)(row)
            group, known = table.look_up(word) if isinstance(word, str) else (MISSING, False)
            if known:
                grouped.setdefault(str(group), []).append(row)
        return {group: self._object(rows) for group, rows in sorted(grouped.items())} or MISSING

    def _object(self, rows: list[Json]) -> dict[str, Json]:
        built: dict[str, Json] = {}
        for name, paths in self.first.items():
            tried = (paths,) if isinstance(paths, str) else paths
            told = [found for row in rows for path in tried if not says_nothing(found := compile_path(path)(row))]
            if told:
                built[name] = told[0]
        for name, term in self.sums.items():
            numbers = [to_decimal(found) for row in rows if not says_nothing(found := compile_path(term.path)(row))]
            total = sum(numbers, Decimal(0))
            if total < 0:
                raise TransformError(f"a sum of at least 0 for {name}", total)
            if numbers:
                built[name] = Scale(by=term.by, places=term.places)(str(total))
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
        rows = [row for row in value if holds(self.where, row)]
        numbers = [compile_path(self.path)(row) for row in rows] if self.path else rows
        told = [to_decimal(number) for number in numbers if not says_nothing(number)]
        return Scale(by=self.by, places=self.places)(str(sum(told, Decimal(0)))) if told else MISSING


@register
class Template(Transform):
    """A text with `{value}` where the source's text goes: `consent_{value}`."""

    name = "template"
    text: str

    def __call__(self, value: Json) -> Json:
        told = Text()(value)
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
        found = compile_path(self.by)(inner) if self.by else MISSING
        return Decimal(0) if says_nothing(found) else to_decimal(found)


@register
class Phrases(Transform):
    """An object as texts `name: value`, one a member, in order of the names; `value` is a member's path. `detail`: the
    path of what is put behind it in brackets, where there is anything."""

    name = "phrases"
    value: str = ""
    detail: str = ""

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        told = {name: compile_path(self.value)(inner) if self.value else inner for name, inner in sorted(value.items())}
        told = {name: inner for name, inner in told.items() if not says_nothing(inner)}
        return [f"{name}: {_in_words(inner)}{self._behind(value[name])}" for name, inner in told.items()] or MISSING

    def _behind(self, member: Json) -> str:
        found = compile_path(self.detail)(member) if self.detail else MISSING
        return "" if says_nothing(found) else f" ({_in_words(found)})"


def _in_words(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


@register
class SipUser(Transform):
    """The telephone number in a SIP or tel address (`"Name" <sip:+15550142233@host>`); another user says nothing."""

    name = "sip_user"

    def __call__(self, value: Json) -> Json:
        # The name before the address is the caller's own text, and may look like an address.
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", value) if isinstance(value, str) else ""
        address = re.search(r"<([^>]*)>", bare)
        found = re.match(r"\s*(?:sips?|tel):([^@;>]+)", address.group(1) if address else bare, re.IGNORECASE)
        user = unquote(found.group(1)).strip() if found else ""
        return user if re.fullmatch(r"\+?\d+", user, re.ASCII) else MISSING


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    transform: str
    args: dict[str, Any] = Field(default_factory=dict)


@register
class Chain(Transform):
    """Several transforms, one after the other: `steps` = [{transform, args}, …]. It ends where one says nothing."""

    name = "chain"
    steps: tuple[Step, ...] = Field(min_length=1)
    _built: tuple[Callable[[Json], Json], ...] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        unknown = [step.transform for step in self.steps if step.transform not in REGISTRY]
        if unknown:
            raise ValueError(f"transform {unknown[0]!r} does not exist")
        self._built = tuple(build(step.transform, step.args) for step in self.steps)

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
        told = {name: inner for name, inner in value.items() if not says_nothing(inner)}
        if self.needs and not _named_like(self.needs, told):
            return MISSING
        return _named_like(self.names, told) or MISSING


def _named_like(globs: tuple[str, ...], members: dict[str, Json]) -> dict[str, Json]:
    lowered = [glob.lower() for glob in globs]
    return {name: inner for name, inner in members.items() if any(fnmatchcase(name.lower(), glob) for glob in lowered)}


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
        gains = (next((row.add for row in term if holds(row.when, read)), Decimal(0)) for term in self.terms)
        score = sum(gains, self.start)
        return float(score if self.most is None else min(score, self.most))

    def _with_blanks(self, inner: Json) -> Json:
        return inner.translate(dict.fromkeys(map(ord, self.blanks), " ")) if isinstance(inner, str) else inner


@register
class Points(Transform):
    """Short texts from all that a value holds: a text as it is, of a list what each item holds, an object as texts
    `name: value`; each text once."""

    name = "points"

    def __call__(self, value: Json) -> Json:
        return list(dict.fromkeys(_points(value))) or MISSING


def _points(value: Json) -> list[str]:
    if says_nothing(value):
        return []
    if isinstance(value, list):
        return [point for item in value for point in _points(item)]
    if isinstance(value, dict):
        return Phrases()(value) or []
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
    _chains: tuple[tuple[str, Chain], ...] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        steps = ((part.path, {"transform": part.transform, "args": part.args}) for part in self.parts)
        self._chains = tuple((path, Chain.model_validate({"steps": [step]})) for path, step in steps)

    def __call__(self, value: Json) -> Json:
        if not isinstance(value, dict):
            raise TransformError("an object", value)
        found = [(chain, inner) for path, chain in self._chains if not says_nothing(inner := compile_path(path)(value))]
        told = [read for chain, inner in found if not says_nothing(read := chain(inner))]
        return [item for read in told for item in (read if isinstance(read, list) else [read])] or MISSING

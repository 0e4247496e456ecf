"""Times in every form that providers write, as UTC texts."""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Literal

from apps.providers.engine.errors import TransformError
from apps.providers.engine.transforms.base import Json, Quick, Transform, register
from apps.providers.engine.transforms.numbers import to_decimal
from vcp.shape import Shape

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - only ever written out as UTC
EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_FIRST_US, _END_US = ((moment - EPOCH) // timedelta(microseconds=1) for moment in (EARLIEST, LATEST))
_FIRST_MS, _END_MS = _FIRST_US // 1000, _END_US // 1000
MS_FROM = 10**11  # a number of this size or more is milliseconds: seconds would be the year 5138


def to_iso(moment: datetime) -> str:
    """UTC with `Z` and milliseconds, microseconds only where they are not zero."""
    spec = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec=spec)[:-6] + "Z"


@register
class Epoch(Transform):
    """A Unix time as UTC time. `unit`: ms, s, or auto (by size: from 1e11 on milliseconds). Digits in a text count
    too."""

    name = "epoch"
    unit: Literal["ms", "s", "auto"] = "ms"

    def fits(self, place: Shape) -> bool:
        return place.kind == "timestamp"

    def quick(self) -> Quick | None:
        in_our_days = f"type(value) is int and {_FIRST_MS} <= value < {_END_MS}"
        return None if self.unit == "s" else Quick(in_our_days, "GIVEN(value)", _written_ms)

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


# What `to_iso` would write with the same digits: most providers send it.
_IN_UTC = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{3})?(?:Z|\+00:00)", re.ASCII)


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
        if "2001" <= value < "2100" and (told := _IN_UTC.fullmatch(value)):
            return f"{told[1]}{told[2] or '.000'}Z"
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

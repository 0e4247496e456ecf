"""Numbers in other units, exactly: as decimals, since 0.1 has no binary form."""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, DecimalException, InvalidOperation
from functools import cached_property

from pydantic import Field

from apps.providers.engine.conditions import Condition, compile_when
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, says_nothing
from apps.providers.engine.transforms.base import Json, Transform, register

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

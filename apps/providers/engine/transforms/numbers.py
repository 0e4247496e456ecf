"""Numbers in other units, exactly: as decimals, since 0.1 has no binary form."""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, DecimalException, InvalidOperation
from functools import cached_property
from math import fsum, nan

from pydantic import Field

from apps.providers.engine.conditions import Condition, compile_when
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, says_nothing
from apps.providers.engine.transforms.base import Json, Transform, register

LIMIT = 10**15
SURE = 2.0**40
_NUMBERS = frozenset({int, float})  # and no bool


def to_decimal(value: Json) -> Decimal:
    """A finite number, or the text of one, exactly. Raises TransformError."""
    if type(value) is float and -LIMIT < value < LIMIT:
        return Decimal(repr(value))  # the commonest kind; what makes a float is always a number's text
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TransformError("a number", value)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise TransformError("a number", value) from None
    if not number.is_finite() or number.copy_abs() >= LIMIT:  # abs() would round, and raise for 1e999999999
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
        if type(value) in _NUMBERS and 0 <= value < LIMIT and (number := self._near(value)) is not None:
            return number
        return self.of(to_decimal(value))

    def of_sum(self, numbers: list[Json]) -> Json:
        """The same for the sum of some numbers or texts of them."""
        for number in numbers:
            if type(number) not in _NUMBERS or not 0 <= number < LIMIT:
                break
        else:
            if (found := self._near(fsum(numbers))) is not None:
                return found
        return self.of(sum(map(to_decimal, numbers), Decimal(0)))

    def _near(self, number: float) -> Json:
        """Worked out in binary, which takes a tenth of the time; None where only decimals can tell.

        Below SURE all roundings on the way (of each number, of the factor, of the product) come to less than 0.01: only
        a result so close to the middle of two whole numbers could be rounded to the wrong one.
        """
        counted = number * self._factor
        if not counted < SURE:
            return None
        nearest = int(counted + 0.5)
        if not -0.49 < counted - nearest < 0.49:
            return None
        # The quotient of two whole numbers is the double nearest to it, as is the one that a decimal's text stands for.
        return nearest if self.whole else nearest / self._unit

    @cached_property
    def _unit(self) -> int:
        return 1 if self.whole else 10**self.places

    @cached_property
    def _factor(self) -> float:
        """What a number counts in units of the last place; not a number where more is asked than to multiply."""
        multiplies = self.minus == 0 and self.by > 0 and (self.least is None or self.least <= 0)
        return float(self.by) * self._unit if multiplies else nan

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
        told = [number for number in numbers if not says_nothing(number)]
        return self._scale.of_sum(told) if told else MISSING

    @cached_property
    def _get(self) -> Getter:
        return compile_path(self.path)

    @cached_property
    def _meets(self) -> Callable[[Json], bool]:
        return compile_when(self.where)

    @cached_property
    def _scale(self) -> Scale:
        return Scale(by=self.by, places=self.places)

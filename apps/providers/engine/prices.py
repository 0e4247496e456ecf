"""What a call's usage costs by a dated price list: the estimate for providers that tell tokens but no money.

It knows prices and their days, the places of the usage in a call document, and the sum. Where the price list is kept
is the registry's to say; that the result is marked as an estimate is the fold's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from apps.providers.engine.errors import PathError, TransformError
from apps.providers.engine.paths import MISSING, compile_path, says_nothing
from apps.providers.engine.transforms import to_decimal
from vcp.models import field_type

Json = Any
Per = Literal["million", "minute"]
# How many of its units a price buys. What is priced by the minute is counted in seconds.
UNITS: dict[Per, int] = {"million": 1_000_000, "minute": 60}
PLACES = 6


@dataclass(frozen=True)
class Rate:
    """A price in US dollars, per 1,000,000 units (tokens) or per minute."""

    usd: Decimal
    per: Per = "million"

    def cost(self, units: Decimal) -> Fraction:
        """US dollars for that many units, exactly; of a price per minute the units are seconds."""
        return Fraction(units) * Fraction(self.usd) / UNITS[self.per]


# The prices of one model that are in force together, by rate name: {"text_in": Rate(…), …}.
Rates = Mapping[str, Rate]
RatesOf = Callable[[str], Rates | None]


def _valid_path(path: str) -> str:
    try:
        compile_path(path)
    except PathError as error:
        raise ValueError(str(error)) from error
    return path


def _valid_field(path: str) -> str:
    if field_type(path) is None:
        raise ValueError(f"{path!r} is no field of a VCP message, written as below vcp_payload")
    return path


def _valid_cost(target: str) -> str:
    if not target.endswith("cost_usd"):
        raise ValueError(f"target {target!r} is no cost in US dollars; an estimate may fill only a field …cost_usd")
    return target


Path = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_valid_path)]
Target = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_valid_field)]
RATE_NAME = r"^[a-z][a-z0-9_]{0,39}$"
RateName = Annotated[str, Field(pattern=RATE_NAME)]
# As many digits as the database keeps.
Usd = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=8)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Units(_Strict):
    """Where a row tells how many units it used at one rate: the number at `path` less that at `minus` (0 if untold)."""

    path: Path
    minus: Path | None = None


class EstimateSpec(_Strict):
    """How the cost at `target` is estimated: over all `rows` of the call document the sum of units times price.

    `model` is the field of the message that names the model whose prices count. `units` says for each rate how many
    units a row used. `totals` are sums that a row tells itself, each with the rates whose units make it up.
    """

    target: Annotated[Target, AfterValidator(_valid_cost)]
    rows: Path
    model: Target
    units: dict[RateName, Units] = Field(min_length=1)
    totals: dict[Path, tuple[RateName, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _totals_name_units(self) -> "EstimateSpec":
        for path, names in self.totals.items():
            strange = sorted(set(names) - set(self.units))
            if strange:
                raise ValueError(f"totals of {path!r}: {strange[0]!r} is not among the units")
        return self


class PriceSpec(_Strict):
    """Prices of one model from a day on, as a catalogue file writes them: `usd` by rate name, each `per` so many units.

    Days are UTC; `valid_until` is the first day on which they are no longer in force.
    """

    model: str = Field(min_length=1, max_length=100)
    usd: dict[RateName, Usd] = Field(min_length=1)
    per: Per = "million"
    valid_from: date
    valid_until: date | None = None
    source: str = Field(default="", max_length=500)
    note: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> "PriceSpec":
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("valid_until must be after valid_from: it is the first day without these prices")
        return self

    def rows(self) -> list["DatedRate"]:
        return [
            DatedRate(self.model, name, Rate(usd, self.per), self.valid_from, self.valid_until)
            for name, usd in self.usd.items()
        ]


@dataclass(frozen=True)
class DatedRate:
    """One rate of one model, and the days on which it is in force."""

    model: str
    name: str
    rate: Rate
    valid_from: date
    valid_until: date | None = None

    def covers(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_until is None or day < self.valid_until)

    def overlaps(self, other: "DatedRate") -> bool:
        """Both are prices of the same thing and have a day in common."""
        later = max(self.valid_from, other.valid_from)
        return (self.model, self.name) == (other.model, other.name) and self.covers(later) and other.covers(later)


class PriceList:
    """All that is known of one provider's prices, in whatever order it is given."""

    def __init__(self, rows: Iterable[DatedRate] = ()) -> None:
        self._by_model: dict[str, list[DatedRate]] = {}
        for row in rows:
            self._by_model.setdefault(row.model, []).append(row)

    def at(self, model: str, moment: datetime) -> Rates | None:
        """The model's prices on the UTC day of that moment; None for a model without any on that day."""
        day = moment.astimezone(UTC).date()
        return {row.name: row.rate for row in self._by_model.get(model, ()) if row.covers(day)} or None


def first_overlap(prices: Iterable[PriceSpec]) -> str:
    """What of the prices is told twice for a day, in words; empty when nothing is."""
    seen: list[DatedRate] = []
    for row in (row for price in prices for row in price.rows()):
        if any(row.overlaps(other) for other in seen):
            return f"{row.model} {row.name} has two prices on {row.valid_from}; end the older one with valid_until"
        seen.append(row)
    return ""


class _NotPriceable(Exception):
    """A row that tells usage of which the cost cannot be said."""


def estimate(spec: EstimateSpec, document: Json, model: str | None, rates: RatesOf) -> Decimal | None:
    """The cost in US dollars, rounded half up to 6 places, or None where it cannot be said.

    `document` is the call document, `model` the value at `spec.model`, `rates` the price list of the call's time.

    None: no row tells any usage, the model has no prices, a rate is missing of which units were used, or a row
    contradicts itself: a number that is none or below 0, or a total that is not the sum of its parts. So a row that
    tells how many tokens were cached, but not of which kind, has no price: it would be too dear or charged twice.
    """
    prices = rates(model) if model else None
    rows = compile_path(spec.rows)(document)
    if prices is None or not isinstance(rows, list):
        return None
    try:
        costs = [_cost(spec, row, prices) for row in rows if _tells_usage(spec, row)]
    except _NotPriceable:
        return None
    return _rounded(sum(costs, Fraction(0))) if costs else None


def _tells_usage(spec: EstimateSpec, row: Json) -> bool:
    paths = {*spec.totals, *(units.path for units in spec.units.values())}
    return any(compile_path(path)(row) is not MISSING for path in paths)


def _cost(spec: EstimateSpec, row: Json, prices: Rates) -> Fraction:
    used = {name: _used(units, row) for name, units in spec.units.items()}
    for path, names in spec.totals.items():
        total = compile_path(path)(row)
        if not says_nothing(total) and _number(total) != sum(used[name] for name in names):
            raise _NotPriceable
    charged = {name: units for name, units in used.items() if units}
    if not charged.keys() <= prices.keys():
        raise _NotPriceable
    return sum((prices[name].cost(units) for name, units in charged.items()), Fraction(0))


def _used(units: Units, row: Json) -> Decimal:
    less = _told(units.minus, row) if units.minus is not None else Decimal(0)
    used = _told(units.path, row) - less
    if used < 0:
        raise _NotPriceable
    return used


def _told(path: str, row: Json) -> Decimal:
    value = compile_path(path)(row)
    return Decimal(0) if says_nothing(value) else _number(value)


def _number(value: Json) -> Decimal:
    try:
        number = to_decimal(value)
    except TransformError as error:
        raise _NotPriceable from error
    if number < 0:
        raise _NotPriceable
    return number


def _rounded(usd: Fraction) -> Decimal:
    millionths = (usd * 2 * 10**PLACES + 1) // 2
    return Decimal(millionths).scaleb(-PLACES)

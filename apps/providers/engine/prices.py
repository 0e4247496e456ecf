"""What a call's usage costs by a dated price list: the estimate for providers that tell tokens but no money.

It knows prices, the places of the usage in a call document, and the sum. Which prices are in force at a call's
start is the registry's to say; that the result is marked as an estimate is the fold's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
RateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


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


class _NotPriceable(Exception):
    """A row that tells usage of which the cost cannot be said."""


def estimate(spec: EstimateSpec, document: Json, model: str | None, rates: RatesOf) -> Decimal | None:
    """The cost in US dollars, rounded half up to 6 places, or None where it cannot be said.

    `document` is the call document, `model` the value at `spec.model`, `rates` the price list of the call's time.

    None: no row tells any usage, the model has no prices, a rate is missing of which units were used, or a row
    contradicts itself: a number that is none or below 0, or a total that is not the sum of its parts. So a row that
    tells how many of its tokens were cached, but not of which kind, has no price: it would be too dear or charged twice.
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

"""How prices change: a new price begins on a day, and on that day the one before it ends.

Messages that are folded already keep their figures until they are folded again.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from apps.providers.engine.prices import PriceSpec
from apps.providers.models import Price, Provider


def newest(provider: Provider, model: str) -> dict[str, Price]:
    """Of each rate of the model the price that began last, by rate."""
    rows = provider.prices.filter(model=model).order_by("rate", "valid_from")
    return {row.rate: row for row in rows}


@transaction.atomic
def change(
    provider: Provider, model: str, usd: Mapping[str, Decimal], valid_from: date, *, source: str = "", note: str = ""
) -> list[Price]:
    """New prices (USD by rate) of the model from that day on; those before them end. Returns the new rows.

    Raises ValidationError where the model has no such rate, or its newest price does not begin before that day.
    """
    # The provider's row is the lock under which prices end and begin.
    Provider.objects.select_for_update().get(pk=provider.pk)
    former = newest(provider, model)
    for rate in usd:
        if rate not in former:
            raise ValidationError(f"{model} has no price of {rate} that could change; add one.")
        if former[rate].valid_from >= valid_from:
            raise ValidationError(f"The price of {rate} begins on {former[rate].valid_from}: choose a later day.")
    return [_follow(former[rate], price, valid_from, source, note) for rate, price in usd.items()]


def _follow(former: Price, usd: Decimal, valid_from: date, source: str, note: str) -> Price:
    # An end that was known stays the end; a price that ended before leaves a gap, in which there is none.
    end = former.valid_until
    ended_before = end is not None and end <= valid_from
    new = Price(
        provider_id=former.provider_id,
        model=former.model,
        rate=former.rate,
        usd=usd,
        per=former.per,
        valid_from=valid_from,
        valid_until=None if ended_before else end,
        source=source,
        note=note,
    )
    if not ended_before:
        former.valid_until, former.origin = valid_from, Price.Origin.ADMIN
        former.save()
    new.full_clean()
    new.save()
    return new


def specs_of(provider: Provider) -> list[PriceSpec]:
    """The provider's prices as a catalogue file writes them: rates of a model that hold for the same days together."""
    together: dict[tuple[Any, ...], dict[str, Decimal]] = {}
    for row in provider.prices.order_by("model", "valid_from", "per", "rate"):
        key = (row.model, row.valid_from, row.valid_until, row.per, row.source, row.note)
        together.setdefault(key, {})[row.rate] = Decimal(f"{row.usd.normalize():f}")
    return [
        PriceSpec(model=model, usd=usd, per=per, valid_from=start, valid_until=end, source=source, note=note)
        for (model, start, end, per, source, note), usd in together.items()
    ]


def replace_all(provider: Provider, prices: Iterable[PriceSpec]) -> None:
    """Put these in the place of the provider's prices, as a person's own: no sync writes over them."""
    for row in provider.prices.all():
        row.delete()
    for row in rows_of(provider, prices, Price.Origin.ADMIN):
        row.save()


def rows_of(provider: Provider, prices: Iterable[PriceSpec], origin: str) -> list[Price]:
    """The unsaved rows of these prices, one for each rate."""
    return [
        Price(
            provider=provider,
            model=price.model,
            rate=rate,
            usd=usd,
            per=price.per,
            valid_from=price.valid_from,
            valid_until=price.valid_until,
            source=price.source,
            note=price.note,
            origin=origin,
        )
        for price in prices
        for rate, usd in price.usd.items()
    ]

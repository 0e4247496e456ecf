"""How prices change: a new price begins on a day, and on that day the one before it ends.

Messages that are folded already keep their figures until they are folded again.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction

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

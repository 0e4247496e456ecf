"""A provider out of the database as its catalogue file: facts, prices, one of its mapping versions, and no secret."""

from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from apps.providers.catalog import CatalogError
from apps.providers.catalog.writing import write
from apps.providers.engine.prices import PriceSpec
from apps.providers.engine.spec import MappingSpec, ProviderSpec, first_problem
from apps.providers.models import MappingVersion, Provider
from apps.providers.pricing import specs_of

# What a file says of a provider and a column of the same name keeps.
FACTS = tuple(name for name in ProviderSpec.model_fields if name in {field.name for field in Provider._meta.fields})


def facts(provider: Provider) -> dict[str, Any]:
    """The provider's facts in the form of a file that says all of them, defaults too."""
    stored = {name: getattr(provider, name) for name in FACTS}
    try:
        spec = ProviderSpec(**stored, prices=specs_of(provider), mapping=MappingSpec())
    except ValidationError:
        return stored  # a row that could not be exported is compared as it is
    return facts_of(spec)


def facts_of(spec: ProviderSpec) -> dict[str, Any]:
    told = spec.model_dump(mode="json", by_alias=True, include=set(FACTS))
    rows = [(price, rate, usd) for price in spec.prices for rate, usd in price.usd.items()]
    return told | {"prices": sorted(_in_words(price, rate, usd) for price, rate, usd in rows)}


def _in_words(price: PriceSpec, rate: str, usd: Decimal) -> str:
    until = f" until {price.valid_until}" if price.valid_until else ""
    about = "".join(f", {text}" for text in (price.source, price.note) if text)
    return f"{price.model} {rate}: {usd.normalize():f} USD per {price.per} from {price.valid_from}{until}{about}"


def export(version: MappingVersion) -> str:
    """The catalogue file of the version's provider, with this version. Raises CatalogError naming the field."""
    provider = version.provider
    try:
        stored = {name: getattr(provider, name) for name in FACTS}
        spec = ProviderSpec(**stored, prices=specs_of(provider), mapping=version.to_spec())
    except ValidationError as error:
        raise CatalogError(f"{version}: {first_problem(error)}") from error
    return write(spec)

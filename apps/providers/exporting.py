"""A provider out of the database as its catalogue file: its facts and one of its mapping versions, and no secret."""

from typing import Any

from pydantic import ValidationError

from apps.providers.catalog import CatalogError
from apps.providers.catalog.writing import write
from apps.providers.engine.spec import MappingSpec, ProviderSpec, first_problem
from apps.providers.models import MappingVersion, Provider

# What a file says of a provider and a column of the same name keeps.
FACTS = tuple(name for name in ProviderSpec.model_fields if name in {field.name for field in Provider._meta.fields})


def facts(provider: Provider) -> dict[str, Any]:
    """The provider's facts in the form of a file that says all of them, defaults too."""
    stored = {name: getattr(provider, name) for name in FACTS}
    try:
        spec = ProviderSpec(**stored, mapping=MappingSpec())
    except ValidationError:
        return stored  # a row that could not be exported is compared as it is
    return facts_of(spec)


def facts_of(spec: ProviderSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, include=set(FACTS))


def export(version: MappingVersion) -> str:
    """The catalogue file of the version's provider, with this version. Raises CatalogError naming the field."""
    provider = version.provider
    try:
        spec = ProviderSpec(**{name: getattr(provider, name) for name in FACTS}, mapping=version.to_spec())
    except ValidationError as error:
        raise CatalogError(f"{version}: {first_problem(error)}") from error
    return write(spec)

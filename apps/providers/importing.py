"""A provider into the database from its catalogue file: a new provider, or a draft over what is there.

Other than a sync of the catalogue this is a person's own act: the facts count as edited here, and nothing is put in
force unless that is asked for.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic import ValidationError

from apps.providers import publishing
from apps.providers.catalog import read
from apps.providers.comparing import Field, Part, changed_fields, differences
from apps.providers.engine.spec import MappingSpec, ProviderSpec
from apps.providers.exporting import facts, facts_of
from apps.providers.models import DEFAULT_ENDPOINT, Environment, MappingVersion, Provider
from apps.providers.pricing import replace_all
from apps.providers.sync import copy_facts, ensure_endpoint


@dataclass(frozen=True)
class Plan:
    """What a file would change: facts, and the mapping against the version in force."""

    spec: ProviderSpec
    provider: Provider | None
    facts: tuple[Field, ...]
    parts: tuple[Part, ...]

    @property
    def changes_nothing(self) -> bool:
        return self.provider is not None and not self.facts and not self.parts

    def lines(self) -> list[str]:
        """In words, a line for each thing that changes."""
        if self.provider is None:
            return [f"{self.spec.slug} is new"]
        told = [f"{field.name} changes" for field in self.facts]
        return told + [f"{part.title}: {change.kind} {change.name}" for part in self.parts for change in part.changes]


def plan(text: str, name: str = "the file") -> Plan:
    """What importing this text would do. Raises CatalogError, naming the line or the field."""
    spec = read(text, name)
    provider = Provider.objects.filter(slug=spec.slug).first()
    if provider is None:
        return Plan(spec, None, (), tuple(differences(MappingSpec(), spec.mapping)))
    changed = changed_fields(facts(provider), facts_of(spec))
    return Plan(spec, provider, tuple(changed), tuple(differences(_in_force(provider), spec.mapping)))


def _in_force(provider: Provider) -> MappingSpec:
    """The published mapping. One that no longer holds together counts as empty: the import is to mend it."""
    current = provider.published
    try:
        return current.to_spec() if current else MappingSpec()
    except ValidationError:
        return MappingSpec()


@transaction.atomic
def carry_out(plan: Plan, *, author: Any = None, publish: bool = False) -> tuple[Provider, MappingVersion | None]:
    """The provider, and the draft (published, if asked) that holds the file's mapping; None where that is in force.

    Raises publishing.SamplesFail, and then nothing was changed.
    """
    provider = plan.provider or Provider(slug=plan.spec.slug)
    if plan.provider is None or plan.facts:
        provider.edited_at = timezone.now()  # so that no sync writes over it
        copy_facts(provider, plan.spec)
    if plan.provider is None or any(field.name == "prices" for field in plan.facts):
        replace_all(provider, plan.spec.prices)
    if plan.provider is None:
        ensure_endpoint(provider, DEFAULT_ENDPOINT, Environment.LIVE)
    if not plan.parts and provider.published is not None:
        return provider, None
    version = publishing.create_version(
        provider, plan.spec.mapping, origin=MappingVersion.Origin.ADMIN, author=author, reason="imported from a file"
    )
    if publish:
        publishing.publish(version)
    return provider, version

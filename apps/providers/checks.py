"""Speaks at start-up: what would go wrong later is said by `manage.py check --database default`."""

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError
from pydantic import ValidationError

from apps.providers import registry, vault
from apps.providers.engine.spec import first_problem
from apps.providers.models import MappingVersion


@register(Tags.database)
def check_registry(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    if not databases:
        return []
    try:
        return [*_secrets(), *_versions(), *_endpoints()]
    except DatabaseError:
        return []  # not migrated yet: there is nothing to check


def _secrets() -> list[CheckMessage]:
    try:
        registry.verify_stored_secrets()
    except vault.MissingKey as error:
        return [Error(str(error), id="providers.E001")]
    return []


def _versions() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for version in MappingVersion.objects.filter(state=MappingVersion.State.PUBLISHED):
        try:
            version.to_spec()
        except ValidationError as error:
            found.append(Error(f"{version}: {first_problem(error)}", id="providers.E002"))
    return found


def _endpoints() -> list[CheckMessage]:
    return [
        checks.Warning(
            f"endpoint {endpoint.name} accepts deliveries without any proof",
            hint="Someone chose the scheme `none` for it. Add a signature or token scheme in the admin.",
            id="providers.W001",
        )
        for provider in registry.providers()
        for endpoint in registry.endpoints_of(provider.slug)
        if any(auth.scheme.kind == "none" for auth in endpoint.auths)
    ]

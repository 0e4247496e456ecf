"""Brings the catalogue into the database, without ever writing over what somebody edited.

A provider's facts are updated until an admin edits them; so is each of its prices. A mapping is handled as a whole:
over an unedited catalogue version the new one is published; otherwise it is left as a draft, and the report says so.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from django.db import transaction

from apps.providers import catalog, publishing
from apps.providers.engine.spec import ProviderSpec
from apps.providers.models import (
    DEFAULT_ENDPOINT,
    AuthConfig,
    Endpoint,
    Environment,
    MappingVersion,
    Price,
    Provider,
    Secret,
)

DEMO_ENDPOINT = "demo"


@dataclass
class SyncReport:
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    drafts: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [
            *(f"created {name}" for name in self.created),
            *(f"updated {name}" for name in self.updated),
            *(f"published {name}" for name in self.published),
            *(
                f"left as a draft: {name} (the published version was edited here; compare and publish)"
                for name in self.drafts
            ),
            *(f"kept as edited here: {name}" for name in self.edited),
        ]


def sync_catalog(slugs: Sequence[str] | None = None) -> SyncReport:
    """These catalogue files (all, if none are named) into the database. Raises catalog.CatalogError before writing."""
    specs = [catalog.load(slug) for slug in (catalog.slugs() if slugs is None else slugs)]
    report = SyncReport()
    for spec in specs:
        with transaction.atomic():
            _sync_provider(spec, report)
    return report


def _sync_provider(spec: ProviderSpec, report: SyncReport) -> None:
    provider = Provider.objects.filter(slug=spec.slug).first()
    if provider is None:
        provider = Provider(slug=spec.slug)
        _copy_facts(provider, spec)
        report.created.append(spec.slug)
    elif provider.edited_at is None:
        if _copy_facts(provider, spec):
            report.updated.append(spec.slug)
    else:
        report.edited.append(spec.slug)
    _sync_mapping(provider, spec, report)
    _sync_prices(provider, spec, report)
    _ensure_endpoint(provider, DEFAULT_ENDPOINT, Environment.LIVE)
    demo = _ensure_endpoint(provider, DEMO_ENDPOINT, Environment.DEMO)
    if demo is not None and demo.scheme["kind"] != "none":
        _generate_secret(demo)


def _copy_facts(provider: Provider, spec: ProviderSpec) -> bool:
    """Write the file's facts into the row; True when anything changed."""
    data = spec.model_dump(mode="json", by_alias=True)
    names = (
        "name", "company", "website", "docs_url", "api_base_url", "pages", "source_addresses",
        "body_limit_bytes", "auth", "setup", "notes", "sources",
    )  # fmt: skip
    changed = [name for name in names if getattr(provider, name) != data[name]]
    for name in changed:
        setattr(provider, name, data[name])
    if changed or provider.pk is None:
        provider.save()
    return bool(changed)


def _sync_mapping(provider: Provider, spec: ProviderSpec, report: SyncReport) -> None:
    wanted = publishing.digest(spec.mapping)
    if provider.catalog_digest == wanted:
        return  # offered before; a draft of it that somebody deleted stays deleted
    current = provider.published
    version = publishing.create_version(
        provider, spec.mapping, origin=MappingVersion.Origin.CATALOGUE, reason="from the catalogue"
    )
    if current is None or current.origin == MappingVersion.Origin.CATALOGUE:
        publishing.publish(version)
        report.published.append(str(version))
    else:
        report.drafts.append(str(version))
    Provider.objects.filter(pk=provider.pk).update(catalog_digest=wanted)


def _sync_prices(provider: Provider, spec: ProviderSpec, report: SyncReport) -> None:
    """The file's prices, but for those edited here and those of the same days; what the file has no more goes."""
    stored = {_price_key(row): row for row in provider.prices.all()}
    edited = [row for row in stored.values() if row.origin == Price.Origin.ADMIN]
    wanted = {_price_key(row): row for row in _prices(provider, spec)}
    differing = [row for key, row in wanted.items() if key not in stored or not _says_the_same(row, stored[key])]
    kept = [row for row in differing if any(row.dated().overlaps(mine.dated()) for mine in edited)]
    gone = [row for key, row in stored.items() if key not in wanted and row not in edited]
    new = [row for row in differing if row not in kept]
    for row in gone:
        row.delete()
    for row in new:
        there = stored.get(_price_key(row))
        row.pk = there.pk if there is not None else None
        row.save()
    report.edited += [f"{provider.slug}, price of {row}" for row in kept]
    if (gone or new) and provider.slug not in report.created:
        report.updated.append(f"{provider.slug}, prices")


def _prices(provider: Provider, spec: ProviderSpec) -> list[Price]:
    return [
        Price(
            provider=provider,
            model=prices.model,
            rate=rate,
            usd=usd,
            per=prices.per,
            valid_from=prices.valid_from,
            valid_until=prices.valid_until,
            source=prices.source,
            note=prices.note,
            origin=Price.Origin.CATALOGUE,
        )
        for prices in spec.prices
        for rate, usd in prices.usd.items()
    ]


def _price_key(row: Price) -> tuple[str, str, date]:
    return row.model, row.rate, row.valid_from


def _says_the_same(one: Price, other: Price) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("usd", "per", "valid_until", "source", "note"))


def _ensure_endpoint(provider: Provider, slug: str, environment: Environment) -> AuthConfig | None:
    """Create the endpoint with the provider's scheme; None when it is there already."""
    endpoint, created = Endpoint.objects.get_or_create(
        provider=provider, slug=slug, defaults={"environment": environment}
    )
    if not created:
        return None
    return AuthConfig.objects.create(endpoint=endpoint, scheme=provider.auth)


def _generate_secret(auth_config: AuthConfig) -> None:
    """Only demo endpoints get a generated secret: a live one must be the provider's own."""
    secret = Secret(auth_config=auth_config, label="generated for the demo")
    value = secrets.token_urlsafe(32)
    if auth_config.scheme.get("secret_encoding") in ("base64", "whsec"):
        value = base64.b64encode(secrets.token_bytes(32)).decode()
    secret.set_value(value)
    secret.save()

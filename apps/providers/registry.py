"""The only reading door to the registry: a snapshot of all that a process needs, reloaded when the stamp changes.

Within half a second of a commit every process runs on the new rows. The snapshot holds decrypted secrets, so
it is never logged, cached outside the process or serialised.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings

from apps.providers import vault
from apps.providers.engine import signatures
from apps.providers.engine.addresses import Network, contains, parse_networks
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.prices import PriceList, Rates
from apps.providers.models import (
    DEFAULT_ENDPOINT,
    AuthConfig,
    Endpoint,
    MappingVersion,
    Price,
    Provider,
    RegistryStamp,
    Secret,
)

log = logging.getLogger(__name__)

LOOK_EVERY_SEC = 0.5
NOTE_USE_EVERY = timedelta(minutes=1)
ENV_SECRET = "env"  # noqa: S105 - the id under which secrets of the environment are known


@dataclass(frozen=True)
class HeldSecret:
    secret: signatures.Secret
    valid_until: datetime | None


@dataclass(frozen=True)
class Auth:
    """A way to prove a delivery: the scheme and the secrets that may serve it."""

    id: int
    scheme: Any
    secrets: tuple[HeldSecret, ...]

    def valid_secrets(self, now: datetime) -> list[signatures.Secret]:
        return [held.secret for held in self.secrets if held.valid_until is None or now < held.valid_until]


@dataclass(frozen=True)
class EndpointRuntime:
    """An endpoint as the ingest door needs it."""

    id: int
    provider: "ProviderRuntime"
    slug: str
    account: str
    environment: str
    enabled: bool
    networks: list[Network]
    auths: tuple[Auth, ...]

    @property
    def name(self) -> str:
        return f"{self.provider.slug}/{self.slug}"

    @property
    def has_credentials(self) -> bool:
        """A secret was entered, or someone chose that none is needed."""
        return any(auth.secrets or auth.scheme.kind == "none" for auth in self.auths)

    @property
    def switched_on(self) -> bool:
        return self.enabled and self.provider.enabled

    @property
    def by_url_token_only(self) -> bool:
        return bool(self.auths) and all(auth.scheme.kind == "url_token" for auth in self.auths)

    @property
    def open(self) -> bool:
        """Something can be proved here; switched on but not open, all that comes is refused and kept."""
        return self.switched_on and self.has_credentials

    def allows(self, address: str) -> bool:
        """Whether the address is on the provider's list and on the endpoint's, where there are any."""
        return all(contains(networks, address) for networks in (self.provider.networks, self.networks) if networks)


@dataclass(frozen=True)
class ProviderRuntime:
    """A provider as ingest needs it. `mapping` is that of the published version; `limit` is deliveries a minute and the
    burst, None where there is no limit."""

    id: int
    slug: str
    name: str
    enabled: bool
    body_limit_bytes: int
    networks: list[Network]
    limit: tuple[int, int] | None
    version_id: int | None
    mapping: Mapping


@dataclass
class _Snapshot:
    stamp: int
    providers: dict[str, ProviderRuntime] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], EndpointRuntime] = field(default_factory=dict)
    prices: dict[str, PriceList] = field(default_factory=dict)


class _Holder:
    """The process's snapshot and when the stamp was last looked at."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.snapshot: _Snapshot | None = None
        self.looked_at = 0.0
        self.noted: dict[int, datetime] = {}

    def current(self, clock: Callable[[], float] = time.monotonic) -> _Snapshot:
        snapshot = self.snapshot
        if snapshot is not None and (clock() - self.looked_at < LOOK_EVERY_SEC or self.lock.locked()):
            # One looks; meanwhile the others go on, so that a database that hangs does not hold all of them.
            return snapshot
        with self.lock:
            stamp = RegistryStamp.objects.filter(pk=1).values_list("value", flat=True).first() or 0
            if self.snapshot is None or self.snapshot.stamp != stamp:
                self.snapshot = _load(stamp)
            self.looked_at = clock()
            return self.snapshot


_holder = _Holder()


def forget() -> None:
    """Drop the snapshot; the next look reads the database."""
    _holder.snapshot = None


def provider(slug: str) -> ProviderRuntime | None:
    """The provider of that slug, in whatever case it is written."""
    return _holder.current().providers.get(slug.lower())


def providers() -> list[ProviderRuntime]:
    return list(_holder.current().providers.values())


def endpoint(provider_slug: str, endpoint_slug: str = DEFAULT_ENDPOINT) -> EndpointRuntime | None:
    return _holder.current().endpoints.get((provider_slug.lower(), endpoint_slug.lower()))


def endpoints_of(provider_slug: str) -> list[EndpointRuntime]:
    return [found for (slug, _), found in _holder.current().endpoints.items() if slug == provider_slug.lower()]


def rates(provider_slug: str, model: str, at: datetime) -> Rates | None:
    """What the model costs at that provider on the UTC day of `at`; None where no price is known. Names count whole."""
    known = _holder.current().prices.get(provider_slug.lower())
    return None if known is None else known.at(model, at)


def body_limit_bytes(provider_slug: str) -> int:
    """The largest body that this provider may send; the general limit for one there is not."""
    found = provider(provider_slug)
    return found.body_limit_bytes if found is not None else int(settings.WEBHOOK_BODY_LIMIT_BYTES)


def note_secret_used(secret_id: str, now: datetime) -> None:
    """Remember, at most once a minute for each secret, that it proved a delivery."""
    if not secret_id.isdigit():
        return
    noted = _holder.noted.get(int(secret_id))
    if noted is None or now - noted >= NOTE_USE_EVERY:
        _holder.noted[int(secret_id)] = now
        try:
            # update() sends no signal: last use is no change of the registry.
            Secret.objects.filter(pk=int(secret_id)).update(last_used_at=now)
        except Exception:
            _holder.noted.pop(int(secret_id), None)  # whoever comes next tries again
            raise


@lru_cache(maxsize=64)
def mapping_of_version(version_id: int) -> Mapping:
    """The compiled mapping of a version; versions in use never change, so it is kept for ever."""
    version = MappingVersion.objects.prefetch_related("rules", "webhook_schemas").get(pk=version_id)
    mapping = Mapping(version.to_spec())
    if version.is_draft:
        raise LookupError(f"{version} is a draft: publish it, or compile it yourself")
    return mapping


def _load(stamp: int) -> _Snapshot:
    snapshot = _Snapshot(stamp)
    published = MappingVersion.objects.filter(state=MappingVersion.State.PUBLISHED).select_related("provider")
    for version in published:
        snapshot.providers[version.provider.slug] = _provider(version.provider, version)
    ways: dict[int, list[AuthConfig]] = {}
    for way in AuthConfig.objects.filter(enabled=True).prefetch_related("secrets"):
        ways.setdefault(way.endpoint_id, []).append(way)
    for row in Endpoint.objects.select_related("provider"):
        runtime = snapshot.providers.get(row.provider.slug)
        if runtime is not None:
            snapshot.endpoints[runtime.slug, row.slug] = _endpoint(row, runtime, ways.get(row.pk, []))
    snapshot.prices = _prices()
    return snapshot


def _prices() -> dict[str, PriceList]:
    rows: dict[str, list[Price]] = {}
    for row in Price.objects.select_related("provider"):
        rows.setdefault(row.provider.slug, []).append(row)
    return {slug: PriceList(row.dated() for row in of_one) for slug, of_one in rows.items()}


def _provider(row: Provider, version: MappingVersion) -> ProviderRuntime:
    return ProviderRuntime(
        id=row.pk,
        slug=row.slug,
        name=row.name,
        enabled=row.enabled,
        body_limit_bytes=row.body_limit_bytes or settings.WEBHOOK_BODY_LIMIT_BYTES,
        networks=parse_networks(row.allowed_addresses),
        limit=_limit(row),
        version_id=version.pk,
        mapping=mapping_of_version(version.pk),
    )


def _limit(row: Provider) -> tuple[int, int] | None:
    per_min = settings.WEBHOOKS_PER_MIN if row.rate_per_min is None else row.rate_per_min
    return (per_min, row.rate_burst or settings.WEBHOOKS_BURST) if per_min else None


def _endpoint(row: Endpoint, runtime: ProviderRuntime, ways: list[AuthConfig]) -> EndpointRuntime:
    from_environment = settings.WEBHOOK_SECRETS.get(runtime.slug, []) if row.slug == DEFAULT_ENDPOINT else []
    return EndpointRuntime(
        id=row.pk,
        provider=runtime,
        slug=row.slug,
        account=row.account,
        environment=row.environment,
        enabled=row.enabled,
        networks=parse_networks(row.allowed_addresses),
        auths=tuple(_auth(way, from_environment) for way in ways),
    )


def _auth(row: AuthConfig, from_environment: list[str]) -> Auth:
    held = [found for secret in row.secrets.all() if (found := _held(secret)) is not None]
    scheme = signatures.parse_scheme(row.scheme)
    if not isinstance(scheme, signatures.UrlTokenScheme):  # those are made here, so none is in the environment
        held += [HeldSecret(signatures.Secret(ENV_SECRET, value), None) for value in from_environment]
    return Auth(row.pk, scheme, tuple(held))


def _held(row: Secret) -> HeldSecret | None:
    try:
        return HeldSecret(signatures.Secret(str(row.pk), row.value()), row.valid_until)
    except vault.MissingKey as error:
        # A start would have stopped. In a running process only what needs this secret fails, and fails closed.
        log.error("secret %s of endpoint %s cannot be decrypted: %s", row.pk, row.auth_config, error)
        return None


def verify_stored_secrets() -> int:
    """Decrypt every stored secret; returns their number. Raises vault.MissingKey naming the key id."""
    count = 0
    for key_id, ciphertext in Secret.objects.values_list("key_id", "ciphertext").iterator():
        vault.decrypt(key_id, ciphertext)
        count += 1
    return count

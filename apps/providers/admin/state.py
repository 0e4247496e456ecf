"""Whether an endpoint takes deliveries, and if not why, in words for the admin. The answer is the registry's own."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from apps.providers import registry, vault
from apps.providers.models import DEFAULT_ENDPOINT, Endpoint, Secret
from apps.providers.registry import EndpointRuntime

COLOURS = {"open": "success", "open, but look": "warning", "open to everyone": "danger", "closed": "danger"}


@dataclass(frozen=True)
class EndpointState:
    """`warning` tells of an open endpoint that will refuse what comes, or takes it `unproven`."""

    open: bool
    why: str
    warning: str = ""
    unproven: bool = False

    @property
    def word(self) -> str:
        if self.unproven:
            return "open to everyone"
        return ("open, but look" if self.warning else "open") if self.open else "closed"

    @property
    def colour(self) -> str:
        return COLOURS[self.word]


def endpoint_state(row: Endpoint, now: datetime) -> EndpointState:
    """What the next delivery meets. Call registry.forget() before, to see what was saved a moment ago."""
    runtime = registry.endpoint(row.provider.slug, row.slug)
    if runtime is None:
        return EndpointState(False, "The provider has no published mapping: publish one.")
    if not runtime.provider.enabled:
        return EndpointState(False, "The provider is switched off.")
    if not runtime.enabled:
        return EndpointState(False, "The endpoint is switched off.")
    if not runtime.has_credentials:
        return EndpointState(False, _unreadable(row) or _what_to_enter(runtime))
    if any(auth.scheme.kind == "none" for auth in runtime.auths):
        warning = "Nobody has to prove anything: the scheme is `none`. Whoever finds the address can post calls."
        return EndpointState(True, "All deliveries are taken.", warning, unproven=True)
    if not any(auth.valid_secrets(now) for auth in runtime.auths):
        return EndpointState(True, "Deliveries are looked at.", "Every secret has ended: all of them are refused.")
    return EndpointState(True, "Deliveries with a valid proof are taken.")


def _what_to_enter(runtime: EndpointRuntime) -> str:
    if runtime.by_url_token_only:
        return "It has no URL token yet: make one with “New URL”, and it opens by itself."
    if any(auth.scheme.kind == "url_token" for auth in runtime.auths):
        return "It has no secret yet: enter one, or make its URL with “New URL”, and it opens by itself."
    return "It has no secret yet: enter one, and it opens by itself."


def _unreadable(row: Endpoint) -> str:
    """What the first stored secret lacks to be read; empty when none is stored."""
    stored = Secret.objects.filter(auth_config__endpoint=row)
    return next((problem for secret in stored if (problem := unreadable(secret))), "")


def unreadable(secret: Secret) -> str:
    """Why a stored secret cannot be decrypted; empty when it can."""
    try:
        secret.value()
    except vault.MissingKey as error:
        return str(error)
    return ""


def secrets_in_environment(row: Endpoint) -> int:
    """How many secrets the environment adds to this endpoint."""
    return len(settings.WEBHOOK_SECRETS.get(row.provider.slug, [])) if row.slug == DEFAULT_ENDPOINT else 0

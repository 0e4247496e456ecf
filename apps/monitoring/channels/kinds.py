"""All kinds of channels by their names: what each needs, what is wrong with a configuration, and one `send` for all.

Channels that the environment names are made at the start, once: what an operator does to them afterwards stays.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from pydantic import ValidationError

from apps.monitoring.channels import by_apprise, mail, slack, webhook
from apps.monitoring.channels.base import Config, SendError
from apps.monitoring.fetch import Door, default_door
from apps.monitoring.messages import Notice
from apps.monitoring.models import AlertChannel, Severity
from apps.providers.vault import MissingKey

Kind = AlertChannel.Kind


@dataclass(frozen=True)
class ChannelKind:
    """`secret_is` names the secret for people; `check` raises ValueError for a secret that cannot be one."""

    config: type[Config]
    send: Callable[[Any, str, Notice, datetime, Door], None]
    secret_is: str
    needs_secret: bool
    check: Callable[[str], None]
    help: str


def _web_address(secret: str) -> None:
    parts = urlsplit(secret)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the webhook's address must begin with https://")


def _signing_key(secret: str) -> None:
    webhook.key_of(secret)


def _anything(secret: str) -> None:
    """A password may be any text."""


KINDS: Mapping[str, ChannelKind] = {
    Kind.SLACK.value: ChannelKind(
        slack.SlackConfig, slack.send, "the address of the incoming webhook", True, _web_address,
        'Config may be empty, or {"channel": "#voice-ops"}.',
    ),
    Kind.EMAIL.value: ChannelKind(
        mail.EmailConfig, mail.send, "the password of the mail server", False, _anything,
        '{"to": ["ops@example.com"]}; with a server of its own: "host", "port", "user", "sender", '
        '"security" (starttls, tls, none). What is left out comes from EMAIL_SMTP_HOST and its neighbours.',
    ),
    Kind.WEBHOOK.value: ChannelKind(
        webhook.WebhookConfig, webhook.send, "the signing key, whsec_…", True, _signing_key,
        '{"url": "https://ops.example.com/hook"}. Signed as standardwebhooks.com says.',
    ),
    Kind.APPRISE.value: ChannelKind(
        by_apprise.AppriseConfig, by_apprise.send, "the Apprise URL", True, by_apprise.check,
        "Config stays empty. Needs the package apprise; it opens its own connections.",
    ),
}  # fmt: skip


def config_of(kind: str, config: Any) -> Config:
    """The configuration of a channel. Raises ValueError with the field and what it needs."""
    try:
        return KINDS[kind].config.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "config"
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def check_secret(kind: str, secret: str) -> None:
    """Raises ValueError where the secret cannot be what this kind needs."""
    known = KINDS[kind]
    if secret:
        known.check(secret)
    elif known.needs_secret:
        raise ValueError(f"this kind needs a secret: {known.secret_is}")


def send(channel: AlertChannel, notice: Notice, now: datetime, *, door: Door | None = None) -> None:
    """Send one message. Raises SendError."""
    try:
        config = config_of(channel.kind, channel.config)
        secret = channel.secret()
        check_secret(channel.kind, secret)
    except (ValueError, MissingKey) as error:
        raise SendError(f"The channel is not set up: {error}", is_permanent=True) from error
    KINDS[channel.kind].send(config, secret, notice, now, door or default_door())


# --- from the environment ----------------------------------------------------------------------------------------


def ensure_channels() -> list[str]:
    """Make the channels that the environment names, as far as none of that name is there; returns their names.

    Raises ImproperlyConfigured where a setting cannot be what it is for.
    """
    wanted = [
        ("Slack", Kind.SLACK, Severity.MEDIUM, {}, settings.SLACK_WEBHOOK_URL, "SLACK_WEBHOOK_URL"),
        ("E-mail", Kind.EMAIL, Severity.HIGH, {"to": settings.ALERT_EMAIL_TO}, "", "ALERT_EMAIL_TO"),
        ("Webhook", Kind.WEBHOOK, Severity.MEDIUM, {"url": settings.ALERT_WEBHOOK_URL},
         settings.ALERT_WEBHOOK_SECRET or new_signing_key(),
         "ALERT_WEBHOOK_URL"),
    ]  # fmt: skip
    return [name for name, *rest in wanted if getattr(settings, rest[-1]) and _make(name, *rest)]


def _make(name: str, kind: Kind, lowest: Severity, config: dict[str, Any], secret: str, setting: str) -> bool:
    if AlertChannel.objects.filter(name=name).exists():
        return False
    try:
        config_of(kind, config)
        check_secret(kind, secret)
    except ValueError as error:
        raise ImproperlyConfigured(f"{setting}: {error}") from error
    channel = AlertChannel(name=name, kind=kind, min_severity=lowest, config=config)
    channel.set_secret(secret)
    channel.save()
    return True


def new_signing_key() -> str:
    return webhook.PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()

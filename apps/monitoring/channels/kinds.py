"""All kinds of channels by their names: what each needs, what is wrong with a configuration, and one `send` for all.

Channels that the environment names are made at the start, once: what an operator does to them afterwards stays.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from pydantic import ValidationError

from apps.monitoring.channels import by_apprise, mail, slack, webhook
from apps.monitoring.channels.base import Config, SendError, web_address
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
    check: Callable[[str], object]
    help: str


def _anything(secret: str) -> None:
    """A password may be any text."""


KINDS: Mapping[str, ChannelKind] = {
    Kind.SLACK.value: ChannelKind(
        slack.SlackConfig, slack.send, "the address of the incoming webhook", True, web_address,
        'Config may be empty, or {"channel": "#voice-ops"}.',
    ),
    Kind.EMAIL.value: ChannelKind(
        mail.EmailConfig, mail.send, "the password of the mail server", False, _anything,
        '{"to": ["ops@example.com"]}; with a server of its own: "host", "port", "user", "sender", '
        '"security" (starttls, tls, none). What is left out comes from EMAIL_SMTP_HOST and its neighbours.',
    ),
    Kind.WEBHOOK.value: ChannelKind(
        webhook.WebhookConfig, webhook.send, "the signing key, whsec_…", True, webhook.key_of,
        '{"url": "https://ops.example.com/hook"}. Signed as standardwebhooks.com says.',
    ),
    Kind.APPRISE.value: ChannelKind(
        by_apprise.AppriseConfig, by_apprise.send, "the Apprise URL", True, by_apprise.check,
        "Config stays empty. Needs the package apprise; it opens its own connections.",
    ),
}  # fmt: skip


def config_of(kind: str, config: Any) -> Config:
    """The configuration of a channel. Raises ValueError with the field and what it needs."""
    if not isinstance(config, dict):
        raise ValueError('config: a JSON object is needed, such as {"name": "value"}')
    try:
        return KINDS[kind].config.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        said = "this kind has no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{place}: {said.removeprefix('Value error, ')}") from None


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
    made: list[str] = []
    if settings.SLACK_WEBHOOK_URL:
        made += _make("Slack", Kind.SLACK, Severity.MEDIUM, "", {}, "SLACK_WEBHOOK_URL", settings.SLACK_WEBHOOK_URL)
    if settings.ALERT_EMAIL_TO:
        made += _make("E-mail", Kind.EMAIL, Severity.HIGH, "ALERT_EMAIL_TO", {"to": settings.ALERT_EMAIL_TO}, "", "")
    if settings.ALERT_WEBHOOK_URL:
        config = {"url": settings.ALERT_WEBHOOK_URL}
        secret = settings.ALERT_WEBHOOK_SECRET or new_signing_key()
        made += _make("Webhook", Kind.WEBHOOK, Severity.MEDIUM, "ALERT_WEBHOOK_URL", config, "ALERT_WEBHOOK_SECRET",
                      secret)  # fmt: skip
    return made


def _make(
    name: str, kind: Kind, lowest: Severity, setting: str, config: dict[str, Any], secret_setting: str, secret: str
) -> list[str]:
    if AlertChannel.objects.filter(name=name).exists():
        return []
    _checked(setting, lambda: config_of(kind, config))
    _checked(secret_setting, lambda: check_secret(kind, secret))
    channel = AlertChannel(name=name, kind=kind, min_severity=lowest, config=config)
    channel.set_secret(secret)
    channel.save()
    return [name]


def _checked(setting: str, check: Callable[[], object]) -> None:
    try:
        check()
    except ValueError as error:
        raise ImproperlyConfigured(f"{setting}: {error}") from error


def new_signing_key() -> str:
    return webhook.PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()

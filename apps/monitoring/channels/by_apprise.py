"""All else by Apprise, an optional package: Teams, Telegram, PagerDuty and a hundred more. Its URL is the secret.

Apprise opens its own connections, so our door does not watch where they go: such a channel is for operators only.
Its log shows URLs, so the settings keep it out of ours.
"""

from datetime import datetime
from importlib.util import find_spec
from typing import Any

from apps.monitoring.channels.base import Config, SendError
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Notice, as_text

MISSING = "Apprise is not installed here: pip install apprise==2.2.0"
TYPES = {"low": "info", "medium": "info", "high": "warning", "critical": "failure"}


class AppriseConfig(Config):
    """Nothing but the URL, which is the secret."""


def is_installed() -> bool:
    return find_spec("apprise") is not None


def send(config: AppriseConfig, secret: str, notice: Notice, now: datetime, door: Door) -> None:
    target = _target(secret)
    if not target.notify(body=as_text(notice), title=notice.subject, notify_type=TYPES[notice.severity]):
        raise SendError("Apprise could not deliver it. Its command `apprise -v` with the same URL says why.")


def check(secret: str) -> None:
    """Raises ValueError for what Apprise does not know as a URL."""
    try:
        _target(secret)
    except SendError as error:
        raise ValueError(error.message) from error


def _target(secret: str) -> Any:
    if not is_installed():
        raise SendError(MISSING, is_permanent=True)
    from apprise import Apprise

    target = Apprise()
    if not target.add(secret):
        raise SendError("Apprise does not know this URL; see its list of services.", is_permanent=True)
    return target

"""A webhook of our own: the changes as JSON, signed as standardwebhooks.com says; any of its libraries proves it.

The id is the same for each repetition of a message: who has seen it drops it.
"""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from apps.monitoring.channels.base import Config, post, web_address
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Item, Notice

PREFIX = "whsec_"


class WebhookConfig(Config):
    """`url` is posted to."""

    url: Annotated[str, AfterValidator(web_address), Field(max_length=1000)]


def send(config: WebhookConfig, secret: str, notice: Notice, now: datetime, door: Door) -> None:
    data = json.dumps(body(notice, now)).encode()
    post(door, config.url, data, signed(secret, notice.id, now, data))


def body(notice: Notice, now: datetime) -> dict[str, Any]:
    """The changes by the names that `/api/monitoring/changes` has, with what a message adds."""
    return {
        "type": "test" if notice.is_test else "monitoring.changes",
        "id": notice.id,
        "sent_at": now.isoformat(),
        "changes": [_change(item) for item in notice.items],
        "more": notice.more,
        "link": notice.link,
    }


def _change(item: Item) -> dict[str, Any]:
    names = ("id", "provider", "change_type", "severity", "title", "description", "url", "diff", "occasion", "link")
    told = {name: getattr(item, name) for name in names}
    since = item.since.isoformat() if item.since else None
    return {**told, "detected_at": item.detected_at.isoformat(), "since": since, "affected": list(item.affected)}


def signed(secret: str, message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    at = str(int(now.timestamp()))
    digest = hmac.digest(key_of(secret), b".".join([message_id.encode(), at.encode(), body]), hashlib.sha256)
    signature = base64.b64encode(digest).decode()
    return {"webhook-id": message_id, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}


def key_of(secret: str) -> bytes:
    """The key of `whsec_<base64>`. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) < 16:
        raise ValueError(f"the signing key must be {PREFIX} and at least 16 bytes in base64")
    return key

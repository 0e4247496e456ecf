"""What all channels share: how a failure is told, and one POST through the door."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from apps.monitoring.fetch import Door, FetchError, Request

# Answers that a later attempt may better; all other 4xx say that the message will never be taken.
PASSING = (408, 425, 429)
TIMEOUT_SEC = 20


class SendError(Exception):
    """A message that did not get through. `is_permanent`: trying it again as it is would not help."""

    def __init__(self, message: str, *, is_permanent: bool = False, retry_after_sec: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.is_permanent = is_permanent
        self.retry_after_sec = retry_after_sec


class Config(BaseModel):
    """The configuration of a channel of some kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def post(door: Door, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post and be done if the answer is 2xx. Raises SendError, which never names the address: it may be a secret."""
    request = Request(url, "POST", {"Content-Type": "application/json", **headers}, body, timeout_sec=TIMEOUT_SEC)
    try:
        answer = door.fetch(request)
    except FetchError as error:
        raise SendError(error.message, is_permanent=error.kind in ("blocked", "redirect")) from error
    if 200 <= answer.status < 300:
        return
    said = _without(url, " ".join(answer.body[:1000].decode("utf-8", "replace").split()))[:100]
    raise SendError(
        f"The receiver answers {answer.status}{f': {said}' if said else ''}.",
        is_permanent=400 <= answer.status < 500 and answer.status not in PASSING,
        retry_after_sec=_seconds(answer.headers.get("retry-after", "")),
    )


def _without(url: str, text: str) -> str:
    """The text without the parts of the address: error pages like to repeat what was asked for."""
    for part in re.split(r"[/?&=]", url.partition("://")[2].partition("/")[2]):
        if len(part) >= 5:
            text = text.replace(part, "…")
    return text


def web_address(text: str) -> str:
    """The text, if something can be posted there. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or " " in text:
        raise ValueError("an address that begins with https:// is needed")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address holds a login, which is never sent; leave it out")
    return text


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None

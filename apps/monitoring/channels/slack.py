"""Slack, and what takes Slack's messages (Mattermost, Rocket.Chat): an incoming webhook, whose address is the secret.

The form: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and its Block Kit.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import Field

from apps.monitoring.channels.base import Config, post
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Item, Notice

COLOURS = {"low": "#64748b", "medium": "#2563eb", "high": "#d97706", "critical": "#dc2626"}
# Slack refuses a block with more than 3,000 characters, and counts those of escapes.
MAX_TEXT = 2800
MAX_URL = 2000


class SlackConfig(Config):
    """`channel` overrides the webhook's own, where the workspace allows that."""

    channel: str = Field(default="", max_length=80)


def send(config: SlackConfig, secret: str, notice: Notice, now: datetime, door: Door) -> None:
    post(door, secret, json.dumps(body(config, notice)).encode(), {})


def body(config: SlackConfig, notice: Notice) -> dict[str, Any]:
    """One attachment a change, with the colour of its severity; `text` is what a notification shows."""
    told: dict[str, Any] = {
        "text": escaped(notice.subject),
        "attachments": [{"color": COLOURS[item.severity], "blocks": list(_blocks(item))} for item in notice.items],
    }
    if notice.more:
        told["attachments"].append({"blocks": [_context(f"<{notice.link}|{notice.more_text}>")]})
    return told | ({"channel": config.channel} if config.channel else {})


def escaped(text: str) -> str:
    """Slack reads <, >, & and ``` as marks; a mention or a link in somebody's page must stay text."""
    return text.replace("```", "ˋˋˋ").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(item: Item) -> Iterator[dict[str, Any]]:
    title = _cut(escaped(" ".join(item.heading.split())), 500).replace("*", "∗")
    yield _section(f"*<{item.link}|{title.replace('|', '¦')}>*\n{_cut(escaped(item.description), 1500)}".strip())
    if item.diff:
        yield _section(f"```{_cut(escaped(item.diff), MAX_TEXT)}```")
    if item.affected:
        lines = "\n".join(f"• `{escaped(line).replace('`', 'ˋ')}`" for line in item.affected)
        yield _section(f"Mapping that may have to follow:\n{_cut(lines, MAX_TEXT)}")
    yield _context(f"{escaped(item.facts)}{_page(item)}")


def _page(item: Item) -> str:
    """The link to the provider's page, as far as Slack takes it."""
    url = escaped(item.url).replace("|", "%7C").replace(" ", "%20")
    return f" · <{url}|page>" if item.is_web_page and len(url) <= MAX_URL else ""


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _marked(text)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_marked(text)]}


def _marked(text: str) -> dict[str, Any]:
    """`verbatim`: an @here or #channel in somebody's page is no mention."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _cut(text: str, length: int) -> str:
    """No escape is left in half."""
    return text if len(text) <= length else f"{re.sub(r'&[a-z]*$', '', text[: length - 1])}…"

"""What people are told, in plain data: what changed, where, since when, how bad, the heart of the diff, and the links.

How it looks in a mail or in Slack is for the channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from apps.monitoring.models import Alert, Change, Severity
from apps.providers.models import Provider

MAX_ITEMS = 5
MAX_DIFF_LINES = 15
MAX_DIFF_LINE = 200
MAX_DESCRIPTION = 1000
MAX_AFFECTED = 8


@dataclass(frozen=True)
class Item:
    """One change. `occasion` is `first`, `reminder 2` or `escalation`; `since` the start of its incident, if any;
    `link` the page where it is looked at here, `url` the provider's page."""

    id: int
    title: str
    severity: str
    provider: str
    provider_name: str
    change_type: str
    occasion: str
    description: str
    url: str
    diff: str
    detected_at: datetime
    since: datetime | None
    affected: tuple[str, ...]
    link: str

    @property
    def heading(self) -> str:
        """The title, with the occasion where it is told again."""
        if self.occasion == "first":
            return self.title
        return f"{'Nobody acknowledged' if self.occasion == 'escalation' else 'Still'}: {self.title}"

    @property
    def is_web_page(self) -> bool:
        """Whether `url` may stand in a link."""
        return self.url.startswith(("http://", "https://"))

    @property
    def facts(self) -> str:
        """Provider, severity, type and time on one line."""
        words = [self.provider_name, self.severity, self.change_type.replace("_", " ")]
        return " · ".join([*words, _clock(self.detected_at), *([f"since {_clock(self.since)}"] if self.since else [])])


@dataclass(frozen=True)
class Notice:
    """One message: at most MAX_ITEMS changes, the worst first, and how many more there are."""

    id: str
    subject: str
    severity: str
    items: tuple[Item, ...]
    more: int
    link: str
    is_test: bool = False

    @property
    def more_text(self) -> str:
        return f"and {self.more} more" if self.more else ""


def notice(batch: str, alerts: Sequence[Alert]) -> Notice:
    """The message of these alerts, which belong to one channel; their changes and incidents are loaded."""
    ordered = sorted(alerts, key=lambda one: (-Severity(one.change.severity).rank, one.change.detected_at, one.pk))
    shown = ordered[:MAX_ITEMS]
    names = dict(Provider.objects.filter(slug__in={one.change.provider for one in shown}).values_list("slug", "name"))
    items = tuple(_item(alert, names) for alert in shown)
    return Notice(
        id=batch,
        subject=_subject(items, len(ordered)),
        severity=items[0].severity,
        items=items,
        more=len(ordered) - len(items),
        link=_page("admin:monitoring_change_changelist"),
    )


def test_notice(now: datetime) -> Notice:
    """What the test button of a channel sends; it says that nothing happened."""
    item = Item(
        id=0, title="This is a test", severity=Severity.LOW, provider="", provider_name="VoiceLens",
        change_type="service_status", occasion="first", url=settings.PUBLIC_BASE_URL, detected_at=now, since=None,
        description="Nothing happened. Real messages of this channel look like this one.",
        diff="-how it was\n+how it is", affected=(), link=_page("admin:monitoring_alertchannel_changelist"),
    )  # fmt: skip
    return Notice(f"test-{now:%Y%m%d%H%M%S%f}", "[VoiceLens] Test", item.severity, (item,), 0, item.link, is_test=True)


def _item(alert: Alert, names: Mapping[str, str]) -> Item:
    change = alert.change
    return Item(
        id=change.pk,
        title=_one_line(change.title),
        severity=change.severity,
        provider=change.provider,
        provider_name=names.get(change.provider, change.provider or "VoiceLens"),
        change_type=change.change_type,
        occasion=alert.occasion,
        description=_cut(change.description.strip(), MAX_DESCRIPTION),
        url=change.url,
        diff=heart_of(change.diff),
        detected_at=change.detected_at,
        since=change.incident.opened_at if change.incident else None,
        affected=tuple(_affected(change)),
        link=_page("admin:monitoring_change_change", change.pk),
    )


def heart_of(diff: str) -> str:
    """The changed lines of a diff, as far as a message takes them."""
    changed = [line for line in diff.splitlines() if line[:1] in ("+", "-") and not line.startswith(("+++", "---"))]
    shown = [_cut(line, MAX_DIFF_LINE) for line in changed[:MAX_DIFF_LINES]]
    if len(changed) > MAX_DIFF_LINES:
        shown.append(f"… {len(changed) - MAX_DIFF_LINES} more changed lines")
    return "\n".join(shown)


def _affected(change: Change) -> Iterator[str]:
    """Which events and rules of the mapping the change names; see `impact`."""
    named: Mapping[str, Any] = change.change_data.get("affected") or {}
    rules, events = named.get("rules", []), named.get("events", [])
    if events:
        yield f"events: {', '.join(map(str, events[:MAX_AFFECTED]))}"
    for rule in rules[:MAX_AFFECTED]:
        yield f"{rule.get('source')} → {rule.get('target')}"
    if len(rules) > MAX_AFFECTED:
        yield f"… {len(rules) - MAX_AFFECTED} more rules"


def _subject(items: Sequence[Item], count: int) -> str:
    first = items[0]
    others = f" (and {count - 1} more)" if count > 1 else ""
    return _cut(_one_line(f"[VoiceLens] {first.severity}: {first.heading}"), 180) + others


def as_text(told: Notice) -> str:
    """The message as plain text."""
    parts = [_item_text(item) for item in told.items]
    if told.more:
        parts.append(f"{told.more_text}: {told.link}")
    return "\n\n".join(parts) + "\n"


def _item_text(item: Item) -> str:
    lines = [item.heading, item.facts]
    lines += [item.description] if item.description else []
    lines += [f"    {line}" for line in item.diff.splitlines()]
    lines += ["Mapping that may have to follow:", *(f"  {line}" for line in item.affected)] if item.affected else []
    lines += [f"Page: {item.url}"] if item.url else []
    return "\n".join([*lines, f"More: {item.link}"])


def _page(name: str, *args: object) -> str:
    return f"{settings.PUBLIC_BASE_URL}{reverse(name, args=args)}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

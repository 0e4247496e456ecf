"""From what a page says to changes: snapshots of its text, and the entries of feeds. First sight is a baseline."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from apps.monitoring import severity
from apps.monitoring.changes import Finding, record
from apps.monitoring.content import Difference
from apps.monitoring.models import Change, Monitor, SeenEntry, Snapshot
from apps.monitoring.outages import subject
from apps.monitoring.outcome import Content, FeedEntry
from apps.monitoring.storable import storable

# A page may change in thousands of places: so many are kept as data, the diff has its own bound.
MOST_SCHEMA_CHANGES = 200
MOST_WORDS = 100_000


def digest(content: Content) -> str:
    """The same for the same text in the same format."""
    return hashlib.sha256(f"{content.format}\n{content.text}".encode("utf-8", "replace")).hexdigest()


def newest_snapshot(monitor: Monitor) -> Snapshot | None:
    return monitor.snapshots.order_by("-id").first()


def take_snapshot(monitor: Monitor, content: Content, now: datetime) -> Snapshot:
    return Snapshot.objects.create(
        monitor=monitor,
        taken_at=now,
        format=content.format,
        content_hash=digest(content),
        text=storable(content.text),
    )


def tell_difference(monitor: Monitor, content: Content, difference: Difference, now: datetime) -> Change | None:
    """Keep the new text and record what changed."""
    snapshot = take_snapshot(monitor, content, now)
    words = "\n".join((*difference.added, *difference.removed))[:MOST_WORDS]
    return record(
        Finding(
            key=f"content:{snapshot.pk}",
            provider=monitor.provider.slug,
            source=monitor.kind,
            change_type=severity.what_type(monitor.kind, words),
            title=f"{subject(monitor)} changed",
            description=difference.summary,
            url=monitor.url,
            diff=difference.diff,
            content_hash=snapshot.content_hash,
            changed_percent=difference.changed_percent,
            words=words,
            data=_data(difference),
        ),
        now,
        monitor=monitor,
    )


def _data(difference: Difference) -> dict[str, Any]:
    data: dict[str, Any] = {"changed_percent": round(difference.changed_percent, 1)}
    if difference.schema:
        data["breaking"] = any(one.breaking for one in difference.schema)
        data["schema"] = [vars(one) for one in difference.schema[:MOST_SCHEMA_CHANGES]]
    return data


def note_entries(
    monitor: Monitor, entries: Sequence[FeedEntry], now: datetime, *, is_baseline: bool
) -> list[Change]:
    """Remember the entries that are new, and record each; a baseline is remembered only.

    An unknown entry that is older than all known ones is no news: it came into sight since a newer one was taken back.
    """
    known = dict(monitor.entries.values_list("guid", "published_at"))
    new = {_guid(entry): entry for entry in entries if _guid(entry) not in known}
    dates = [date for date in known.values() if date is not None]
    oldest = min(dates, default=None)
    SeenEntry.objects.bulk_create(_seen(monitor, guid, entry, now) for guid, entry in new.items())
    news = [
        (guid, entry)
        for guid, entry in new.items()
        if not is_baseline and not (oldest and entry.published_at and entry.published_at < oldest)
    ]
    # Feeds tell the newest first; people read them in order.
    found = [_tell_entry(monitor, guid, entry, now) for guid, entry in reversed(news)]
    return [change for change in found if change is not None]


def _guid(entry: FeedEntry) -> str:
    guid = storable(entry.guid)
    return guid if len(guid) <= 500 else f"sha256:{_sha256(guid)}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _seen(monitor: Monitor, guid: str, entry: FeedEntry, now: datetime) -> SeenEntry:
    return SeenEntry(
        monitor=monitor,
        guid=guid,
        title=storable(entry.title, 500),
        link=storable(entry.link, 1000),
        published_at=entry.published_at,
        first_seen_at=now,
    )


def _tell_entry(monitor: Monitor, guid: str, entry: FeedEntry, now: datetime) -> Change | None:
    words = f"{entry.title}\n{entry.summary}"[:MOST_WORDS]
    finding = Finding(
        key=f"feed:{monitor.pk}:{_sha256(guid)}",
        provider=monitor.provider.slug,
        source=monitor.kind,
        change_type=severity.what_type(monitor.kind, words),
        title=f"{monitor.provider.name}: {entry.title or 'a new entry without a title'}",
        description=entry.summary,
        url=entry.link or monitor.url,
        words=words,
        data={"guid": guid, "published_at": entry.published_at.isoformat() if entry.published_at else None},
    )
    return record(finding, now, monitor=monitor)

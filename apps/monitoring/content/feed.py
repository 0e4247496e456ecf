"""The newest entries of an RSS, Atom, RDF or CDF feed, as well as a damaged one can be read.

The newest ten by their time if all have one, else the first ten. An entry is known by its guid, else its link, else
the hash of what it says.
"""

import calendar
import hashlib
import io
from datetime import UTC, datetime
from urllib.parse import urljoin

import feedparser

from apps.monitoring.content import html, text
from apps.monitoring.content.errors import ContentError
from apps.monitoring.outcome import FeedEntry

NEWEST = 10
_LONGEST_GUID = 500
_LONGEST_LINK = 1000
_LONGEST_TEXT = 20_000
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins


def read_feed(body: bytes, content_type: str, url: str) -> tuple[FeedEntry, ...]:
    """At most ten entries, newest first where all tell their time; none for a sound feed without entries.

    Raises ContentError: `empty` for an empty body, `format` for what is no feed. A damaged feed counts as long as
    entries can be read.
    """
    if not body.strip(b" \t\r\n\x00"):
        raise ContentError("empty", "The feed is empty: the answer has no body.")
    if body.lstrip()[:1] in (b"{", b"["):
        raise ContentError(
            "format", "This is JSON, not RSS or Atom; JSON feeds are not read. Give the XML feed's address."
        )
    parsed = _parsed(body, content_type)
    entries = [_entry(each, url) for each in parsed.get("entries", ())]
    if not entries and (parsed.get("bozo") or not parsed.get("version")):
        raise ContentError("format", _why_not(body, parsed))
    return _newest([each for each in entries if each is not None])


def _parsed(body: bytes, content_type: str) -> feedparser.FeedParserDict:
    media = content_type.partition(";")[0] if body.startswith(_WIDE) else content_type
    if body.startswith(_WIDE):
        body, media = body.decode("utf-16", "replace").encode(), f"{media or 'text/xml'}; charset=utf-8"
    try:
        # As a stream: plain bytes would be taken for a file's name or an address to fetch. Without the address of the
        # feed: guids would be joined to it, and be others after a redirect.
        headers = {"content-type": media or "application/xml"}
        return feedparser.parse(io.BytesIO(body), response_headers=headers, sanitize_html=False)
    except Exception as error:  # on hostile input the parser raises whatever it comes upon
        raise ContentError("format", f"The feed cannot be read ({type(error).__name__}).") from error


def _why_not(body: bytes, parsed: feedparser.FeedParserDict) -> str:
    start = body[:2000].lower()
    if b"<html" in start or b"<!doctype html" in start:
        return "This is a web page, not a feed; look for the feed's own address."
    if parsed.get("version"):
        return "The feed is damaged, and no entry of it can be read."
    return "This is neither RSS nor Atom."


def _entry(given: feedparser.FeedParserDict, url: str) -> FeedEntry | None:
    """None for an entry that says nothing at all."""
    link = _joined(url, text.clean(_words(given, "link")))[:_LONGEST_LINK]
    summary = html.plain(_words(given, "summary")[:_LONGEST_TEXT])
    title = html.plain(_words(given, "title")[:_LONGEST_TEXT]) or summary[:200]
    guid = text.clean(_words(given, "id")) or link
    if not (guid or title):
        return None
    if not guid or len(guid) > _LONGEST_GUID:
        guid = "sha256:" + hashlib.sha256((guid or title).encode("utf-8", "replace")).hexdigest()
    return FeedEntry(guid, title[:500], link, summary, _time(given))


def _joined(url: str, link: str) -> str:
    try:
        return urljoin(url, link) if link else ""
    except ValueError:
        return link


def _words(given: feedparser.FeedParserDict, key: str) -> str:
    value = given.get(key)
    return value if isinstance(value, str) else ""


def _time(given: feedparser.FeedParserDict) -> datetime | None:
    # Read by their own names only: the parser warns where it would take one for the other.
    told = dict.get(given, "published_parsed") or dict.get(given, "updated_parsed")
    try:
        return datetime.fromtimestamp(calendar.timegm(told), UTC) if told else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _newest(entries: list[FeedEntry]) -> tuple[FeedEntry, ...]:
    once = list({each.guid: each for each in reversed(entries)}.values())[::-1]
    if all(each.published_at for each in once):
        once.sort(key=lambda each: each.published_at.timestamp() if each.published_at else 0, reverse=True)
    return tuple(once[:NEWEST])

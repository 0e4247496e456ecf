"""What the vCon core draft and the lawful-basis draft ask of an unsigned vCon, in our own words.

The working group's JSON Schema is not part of the project; `vcon_schema_check.py` judges by it where it is at hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# Section 2.2 (JMAP's Date): no fraction when it is zero, capital letters.
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z")
_URI = re.compile(r"[a-z]+:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_HASH = re.compile(r"sha512-[A-Za-z0-9_-]{86}")
_FILE = {"mediatype", "filename", "body", "encoding", "url", "content_hash"}
_KEYS = {
    "vcon": {
        *("uuid", "extensions", "critical", "created_at", "updated_at", "subject"),
        *("parties", "dialog", "analysis", "attachments"),
    },
    "parties": {"tel", "sip", "mailto", "name", "validation", "uuid", "type", "org"},
    "dialog": _FILE | {"type", "start", "duration", "parties", "originator", "disposition", "application"},
    "analysis": _FILE | {"type", "dialog", "vendor", "product", "schema"},
    "attachments": _FILE | {"purpose", "start", "party", "dialog"},
}
_DISPOSITIONS = {"no-answer", "congestion", "failed", "busy", "hung-up", "voicemail-no-message"}


def problems(vcon: dict[str, Any]) -> list[str]:
    """Every broken rule in words; empty for a good vCon."""
    return [*_of_object("vcon", vcon), *_of_top(vcon), *_of_parts(vcon)]


def _of_top(vcon: dict[str, Any]) -> Iterator[str]:
    if not _UUID.fullmatch(vcon["uuid"]):
        yield "uuid is no UUID of version 8"
    yield from _of_date(vcon["created_at"])
    yield from _of_date(vcon.get("updated_at", vcon["created_at"]))
    if not isinstance(vcon["subject"], str):
        yield "subject is no text"
    declared = "lawful_basis" in vcon.get("extensions", [])
    if declared != any(one["purpose"] == "lawful_basis" for one in vcon["attachments"]):
        yield "extensions and attachments disagree"


def _of_parts(vcon: dict[str, Any]) -> Iterator[str]:
    for kind in ("parties", "dialog", "analysis", "attachments"):
        for part in vcon[kind]:
            yield from _of_object(kind, part)
    for part in vcon["dialog"] + vcon["analysis"] + vcon["attachments"]:
        yield from _of_file(part)
    for party in vcon["parties"]:
        yield from _of_party(party)
    for dialog in vcon["dialog"]:
        yield from _of_dialog(dialog, len(vcon["parties"]))
    for analysis in vcon["analysis"]:
        yield from _of_analysis(analysis, len(vcon["dialog"]))
    for attachment in vcon["attachments"]:
        yield from _of_attachment(attachment, vcon)


def _of_object(kind: str, value: dict[str, Any]) -> Iterator[str]:
    for key in value.keys() - _KEYS[kind]:
        yield f"{kind} has no {key}"
    for key, one in value.items():
        if one is None:
            yield f"{kind}.{key} is null"


def _of_date(value: Any) -> Iterator[str]:
    if not (isinstance(value, str) and _DATE.fullmatch(value)):
        yield f"{value} is no Date"
    else:
        datetime.fromisoformat(value)


def _of_party(party: dict[str, Any]) -> Iterator[str]:
    if party.get("type", "bot") not in ("person", "bot", "organization"):
        yield "the type of a party is none of the three"
    if ("name" in party) != ("validation" in party):
        yield "a name comes with its validation"
    if not all(isinstance(value, str) for value in party.values()):
        yield "a party holds more than texts"


def _of_file(part: dict[str, Any]) -> Iterator[str]:
    if "body" in part and not {"encoding", "mediatype"} <= part.keys():
        yield "a body without encoding or mediatype"
    if part.get("encoding") == "none" and not isinstance(part["body"], str):
        yield "a body without encoding is no text"
    if part.get("encoding", "json") not in ("json", "none", "base64url"):
        yield "unknown encoding"
    if "url" in part:
        yield from _of_url(part["url"])
        if "body" in part:
            yield "a file both here and elsewhere"
    if "content_hash" in part and not ("url" in part and _HASH.fullmatch(part["content_hash"])):
        yield "content_hash is none, or belongs to no url"


def _of_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or not _URI.fullmatch(url):
        yield f"{url} is no https URL"


def _of_dialog(dialog: dict[str, Any], parties: int) -> Iterator[str]:
    yield from _of_date(dialog["start"])
    if dialog["type"] not in ("recording", "incomplete"):
        yield "a call is a recording or incomplete"
    if (dialog["type"] == "incomplete") != ("disposition" in dialog):
        yield "an incomplete dialog, and no other, has a disposition"
    if dialog["type"] == "incomplete" and (_FILE & dialog.keys() or dialog["disposition"] not in _DISPOSITIONS):
        yield "an incomplete dialog has content, or an unknown disposition"
    if not all(0 <= index < parties for index in dialog["parties"]) or dialog["duration"] < 0:
        yield "a party is not there, or the duration negative"


def _of_analysis(analysis: dict[str, Any], dialogs: int) -> Iterator[str]:
    for key in ("type", "vendor", "schema"):
        if not (isinstance(analysis[key], str) and analysis[key]):
            yield f"an analysis without {key}"
    if not 0 <= analysis["dialog"] < dialogs or not {"body", "url"} & analysis.keys():
        yield "an analysis of no dialog, or without content"


def _of_attachment(attachment: dict[str, Any], vcon: dict[str, Any]) -> Iterator[str]:
    yield from _of_date(attachment["start"])
    if not (0 <= attachment["party"] < len(vcon["parties"]) and 0 <= attachment["dialog"] < len(vcon["dialog"])):
        yield "the party or dialog of an attachment is not there"
    body = attachment["body"]
    if body["lawful_basis"] != "consent" or body.keys() != {"lawful_basis", "expiration", "purpose_grants", "metadata"}:
        yield "the lawful basis lacks a part"
    if body["expiration"] is not None:
        yield from _of_date(body["expiration"])
    for grant in body["purpose_grants"]:
        yield from _of_date(grant["granted_at"])
        if not (isinstance(grant["purpose"], str) and isinstance(grant["granted"], bool)):
            yield "a grant without purpose or decision"

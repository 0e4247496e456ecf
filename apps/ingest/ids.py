"""Ids derived from what they name: the same thing has the same id on every machine and after every replay."""

import hashlib
import uuid
from typing import Any

import orjson


def derived_id(kind: str, *parts: str) -> uuid.UUID:
    """A UUID (version 8, RFC 9562) of kind and parts. SHA-256, for a collision would swallow somebody's call."""
    text = "\x1f".join(("voicelens", kind, *parts)).encode("utf-8", "surrogatepass")
    digest = bytearray(hashlib.sha256(text).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


def artifact_id(call_key: str, kind: str, content: Any) -> uuid.UUID:
    """Of a large part of a call: equal content is one artifact, however often it comes."""
    return derived_id("artifact", call_key, kind, orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode())


def call_text(provider: str, account: str, environment: str, call_id: str) -> str:
    """A call's key as one text."""
    return "\x1f".join((provider, account, environment, call_id))


_ARTIFACT = "internal://artifacts/"


def artifact_ref(artifact: uuid.UUID) -> str:
    """How a message refers to it."""
    return f"{_ARTIFACT}{artifact}"


def artifact_of(ref: Any) -> uuid.UUID | None:
    """The artifact that this reference is of; None for any other text."""
    try:
        return uuid.UUID(ref.removeprefix(_ARTIFACT)) if ref.startswith(_ARTIFACT) else None
    except (AttributeError, ValueError):
        return None

"""Ids derived from what they name: the same thing has the same id on every machine and after every replay."""

import hashlib
import uuid


def derived_id(kind: str, *parts: str) -> uuid.UUID:
    """A UUID (version 8, RFC 9562) of kind and parts. SHA-256, for a collision would swallow somebody's call."""
    text = "\x1f".join(("voicelens", kind, *parts)).encode("utf-8", "surrogatepass")
    digest = bytearray(hashlib.sha256(text).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))

"""Keyed pseudonyms of callers, and the keyed hash under which an erased call is remembered.

PSEUDONYM_KEY is `version:text,version:text`: the first makes pseudonyms and says so in each; all of them
recognise erased calls.
"""

import hashlib
import hmac
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@cache
def _parse(text: str) -> tuple[tuple[str, bytes], ...]:
    keys = []
    for part in text.split(","):
        version, colon, key = part.strip().partition(":")
        if not (version and colon and len(key) >= 16):
            raise ImproperlyConfigured("PSEUDONYM_KEY must be version:text with at least 16 characters of text")
        keys.append((version, key.encode()))
    return tuple(keys)


def _digest(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\x1f".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def pseudonym(provider: str, number: str) -> str:
    """The same caller at the same provider has the same pseudonym while the key lasts; the number cannot be read
    from it."""
    version, key = _parse(settings.PSEUDONYM_KEY)[0]
    return f"psn_{version}_{_digest(key, 'caller', provider, number)[:32]}"


def tombstone_hash(provider: str, account: str, environment: str, call_id: str) -> str:
    """Under the current key."""
    return tombstone_hashes(provider, account, environment, call_id)[0]


def tombstone_hashes(provider: str, account: str, environment: str, call_id: str) -> list[str]:
    """Under every key, the current one first."""
    parts = ("call", provider, account, environment, call_id)
    return [f"{version}:{_digest(key, *parts)}" for version, key in _parse(settings.PSEUDONYM_KEY)]

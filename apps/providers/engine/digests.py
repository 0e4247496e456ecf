"""Feeds bodies to hash functions without giving Python's lock away for each.

hashlib lets other threads run while it hashes 2 KB or more, and then waits until it gets the lock back. That takes many
times as long as the hash of a webhook's body, so small bodies are fed in smaller pieces. Large ones are worth it.
"""

import hashlib
from typing import Protocol

PIECE_BYTES = 2047
LARGE_BYTES = 256 * 1024


class Digest(Protocol):
    """A hash or HMAC object."""

    def update(self, data: bytes, /) -> None: ...


def feed(digest: Digest, data: bytes) -> None:
    """As `digest.update(data)`."""
    if len(data) <= PIECE_BYTES or len(data) > LARGE_BYTES:
        digest.update(data)
        return
    for start in range(0, len(data), PIECE_BYTES):
        digest.update(data[start : start + PIECE_BYTES])


def sha256_hex(data: bytes) -> str:
    """The SHA-256 in hex digits."""
    digest = hashlib.sha256()
    feed(digest, data)
    return digest.hexdigest()

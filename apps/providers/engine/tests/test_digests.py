"""Hashes fed in pieces are those of the whole."""

import hashlib
import hmac

import pytest

from apps.providers.engine.digests import LARGE_BYTES, PIECE_BYTES, feed, sha256_hex


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, LARGE_BYTES, LARGE_BYTES + 1])
def test_fed_in_pieces_it_is_the_digest_of_the_whole(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    assert sha256_hex(data) == hashlib.sha256(data).hexdigest()
    mac = hmac.new(b"key", digestmod="sha512")
    feed(mac, data)
    assert mac.hexdigest() == hmac.new(b"key", data, "sha512").hexdigest()


def test_small_bodies_come_in_pieces_that_keep_the_lock() -> None:
    class Seen:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def update(self, data: bytes, /) -> None:
            self.sizes.append(len(data))

    small, large = Seen(), Seen()
    feed(small, bytes(5000))
    feed(large, bytes(LARGE_BYTES + 1))
    assert small.sizes == [2047, 2047, 906]
    assert large.sizes == [LARGE_BYTES + 1]

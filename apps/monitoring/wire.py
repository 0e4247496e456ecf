"""Bytes of one exchange, bounded in time and in number however they come: the socket below HTTP, and the body unpacked.

Whom to ask, and what for, is for `fetch`.
"""

import http.client
import io
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from typing import Any

# Unpacked at a time.
PIECE = 64 * 1024
# (family, kind, protocol, canonical name, socket address), as socket.getaddrinfo gives them.
Address = tuple[Any, ...]


class FetchError(Exception):
    """No answer that can be used, in a sentence for people.

    `kind` is one of dns, refused, unreachable, timeout, tls, redirect, too_large, blocked, protocol, encoding.
    """

    def __init__(self, kind: str, message: str, latency_ms: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.latency_ms = latency_ms


class Limit:
    """The time that a request has left."""

    def __init__(self, timeout_sec: float, clock: Callable[[], float]) -> None:
        self._clock, self._ends_at = clock, clock() + timeout_sec

    def left_sec(self) -> float:
        """Zero or less: it is over."""
        return self._ends_at - self._clock()

    def extend(self, sec: float) -> None:
        self._ends_at += sec


class Wire:
    """A socket as http.client uses one, that ends at a deadline and at a number of bytes, however they come."""

    def __init__(self, sock: socket.socket, limit: Limit, max_bytes: int) -> None:
        self._sock, self._limit, self._left = sock, limit, max_bytes

    def _limited(self) -> socket.socket:
        remaining = self._limit.left_sec()
        if remaining <= 0:
            raise TimeoutError
        self._sock.settimeout(remaining)
        return self._sock

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        try:
            self._sock = context.wrap_socket(self._limited(), server_hostname=host)
        except BaseException:
            self.end()
            raise

    def sendall(self, data: bytes) -> None:
        self._limited().sendall(data)

    def receive_into(self, buffer: Any) -> int:
        count = self._limited().recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise FetchError("too_large", "The answer is larger than is taken.")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self))

    def close(self) -> None:
        """http.client closes its socket before the body is read, as that is kept by its file; ours ends by `end`."""

    def end(self) -> None:
        self._sock.close()


class _Raw(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)


def connected_socket(address: Address, timeout_sec: float) -> socket.socket:
    """A socket to exactly this entry of a look-up. Raises OSError, also where the machine lacks its family."""
    if timeout_sec <= 0:
        raise TimeoutError
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(timeout_sec)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read(PIECE):
        yield piece
    if response.length:
        raise FetchError("protocol", "The answer ended before its announced length.")


def decoded(packed_pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces unpacked, never more than PIECE bytes at a time: a bomb is cut where the cap is reached."""
    if encoding in ("", "identity"):
        yield from packed_pieces
        return
    if encoding not in ("gzip", "x-gzip"):
        raise FetchError("encoding", f"The answer comes as {encoding[:50]}, although only gzip was offered.")
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for packed in packed_pieces:
        while packed:
            if unpack.eof:  # padding or another member follows
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                yield unpack.decompress(packed, PIECE)
            except zlib.error as error:
                raise FetchError("encoding", "The answer calls itself gzip and cannot be unpacked.") from error
            packed = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
    if not unpack.eof:
        raise FetchError("encoding", "The packed answer ends in its middle.")

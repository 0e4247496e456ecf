"""Closes connections that hold the web server up: bodies that do not come to their end, and crowds that say nothing.

A WSGI server reads a body in the thread that serves the request, and granian sets no time to it: as many half bodies
as it has threads would stop a process for as long as their senders like. Nor does it close connections that were
opened and never used, of which it takes only so many. A look once a second at what waits is enough against both.
"""

import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# The part of its time that a body has when half of the threads wait for bodies, and a silent connection in a crowd.
HURRIED_PART = 6
CROWD = 200
LOOK_SEC = 1.0
# Linux's struct tcp_info: how long ago something was sent and received (ms), and how many bytes of each arrived.
_TCP_INFO = struct.Struct("=44xI4xI64xQQ")


@dataclass(frozen=True, slots=True)
class _Wait:
    """A thread waits for a body from this address."""

    since_sec: float
    address: str


class Watch:
    """Knows which threads wait for bodies, and closes what they wait for when it has had its time."""

    def __init__(self, timeout_sec: float, threads: int) -> None:
        self.timeout_sec = timeout_sec
        self.threads = threads
        self.waits: dict[int, _Wait] = {}
        self.port = 0

    def look(self, now_sec: float) -> int:
        """Close the connections that have had their time; returns their number."""
        hurried_sec = self.timeout_sec / HURRIED_PART
        waits = list(self.waits.values())
        patience_sec = hurried_sec if 2 * len(waits) >= self.threads else self.timeout_sec
        late = {wait.address for wait in waits if now_sec - wait.since_sec >= patience_sec}
        open_files = [int(path.name) for path in Path("/dev/fd").iterdir()]
        crowded = len(open_files) > CROWD
        closed = 0
        for connection in _connections_to(self.port, open_files if late or crowded else []):
            with connection, suppress(OSError):
                talk = _Talk.on(connection)
                owes = _address(connection) in late and talk.owes_for(patience_sec)
                if owes or (crowded and talk.is_idle_for(hurried_sec)):
                    # Nothing more is heard; what there is to say can still be sent.
                    connection.shutdown(socket.SHUT_RD)
                    closed += 1
        return closed

    def run(self) -> None:
        """Look for ever."""
        while True:
            time.sleep(LOOK_SEC)
            try:
                if closed := self.look(time.monotonic()):
                    log.warning("%d connections closed: bodies that did not come, or a crowd without a word", closed)
            except Exception as error:  # noqa: BLE001 - the watch goes on, whatever it met
                log.error("connections could not be looked at: %s", type(error).__name__)


def _connections_to(port: int, open_files: Iterable[int]) -> Iterator[socket.socket]:
    """The connections that came in at this port, as duplicates that the caller closes."""
    for number in open_files:
        with suppress(OSError):  # gone meanwhile
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                found = socket.socket(fileno=os.dup(number))
                if _came_in_at(port, found):
                    yield found
                else:
                    found.close()


def _came_in_at(port: int, found: socket.socket) -> bool:
    try:
        return found.family in (socket.AF_INET, socket.AF_INET6) and bool(
            found.getsockname()[1] == port and found.getpeername()
        )
    except OSError:  # the listening socket itself, or one whose peer is gone
        return False


def _address(connection: socket.socket) -> str:
    """The peer's address as the server tells it to the application."""
    address = ip_address(connection.getpeername()[0].partition("%")[0])
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else str(address)


@dataclass(frozen=True, slots=True)
class _Talk:
    """What was said on a connection: how long ago the last of it, and how much in all."""

    sent_sec: float
    received_sec: float
    sent_bytes: int
    received_bytes: int

    @classmethod
    def on(cls, connection: socket.socket) -> "_Talk":
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        sent_ms, received_ms, sent_bytes, received_bytes = _TCP_INFO.unpack(told)
        return cls(sent_ms / 1000, received_ms / 1000, sent_bytes, received_bytes)

    def owes_for(self, sec: float) -> bool:
        """Whether nothing was sent for so long: not to someone who is being answered, or was a moment ago."""
        return self.sent_sec >= sec

    def is_idle_for(self, sec: float) -> bool:
        """Whether nothing came for so long, at all or since the last answer."""
        answered = self.sent_bytes > 1 and self.received_sec >= self.sent_sec
        return self.received_sec >= sec and (self.received_bytes == 0 or answered)


class _Body:
    """wsgi.input, with a note of who is waited for while it is read."""

    def __init__(self, stream: Any, address: str, waits: dict[int, _Wait]) -> None:
        self._stream = stream
        self._address = address
        self._waits = waits
        self._since_sec = time.monotonic()

    def read(self, *size: int) -> bytes:
        return self._noted(self._stream.read, size)

    def readline(self, *size: int) -> bytes:
        return self._noted(self._stream.readline, size)

    def _noted(self, read: Callable[..., bytes], size: tuple[int, ...]) -> bytes:
        # The time of all reads counts together: a byte a second is no progress.
        self._waits[threading.get_ident()] = _Wait(self._since_sec, self._address)
        try:
            return read(*size)
        finally:
            del self._waits[threading.get_ident()]


def cutting_off(app: WSGIApp, timeout_sec: float, threads: int) -> WSGIApp:
    """The application, each of whose bodies has so many seconds. One whose time is up ends early, as if cut off."""
    if not hasattr(socket, "TCP_INFO"):
        return app  # not Linux: a machine to develop on
    watch = Watch(timeout_sec, threads)
    threading.Thread(target=watch.run, name="cut-off", daemon=True).start()

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        watch.port = int(environ["SERVER_PORT"])
        environ["wsgi.input"] = _Body(environ["wsgi.input"], environ.get("REMOTE_ADDR", ""), watch.waits)
        return app(environ, start_response)

    return wrapped

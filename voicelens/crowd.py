"""Closes connections that were opened and say nothing, when there is a crowd of them.

A web process takes only so many connections, and granian closes none that were never used. A look once a second at what
is open is enough against that. Bodies that do not come are the bridge's business.
"""

import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

CROWD = 200
LOOK_SEC = 1.0
# Linux's struct tcp_info: how long ago something was sent and received (ms), and how many bytes of each arrived.
_TCP_INFO = struct.Struct("=44xI4xI64xQQ")


class Watch:
    """Closes connections to `server` that have been silent for so long, when there is a crowd."""

    def __init__(self, patience_sec: float) -> None:
        self.patience_sec = patience_sec
        self.server = ""  # address and port that connections come in at, as the server tells them

    def start(self) -> None:
        """Look for ever, in a thread."""
        if hasattr(socket, "TCP_INFO"):  # not so where it is a Mac to develop on
            threading.Thread(target=self._run, name="crowd", daemon=True).start()

    def look(self) -> int:
        """Close the connections that have had their time; returns their number."""
        open_files = [int(path.name) for path in Path("/dev/fd").iterdir()]
        port = int(self.server.rpartition(":")[2] or 0)
        closed = 0
        for connection in _connections_to(port, open_files) if len(open_files) > CROWD else ():
            with connection, suppress(OSError):
                if _Talk.on(connection).is_idle_for(self.patience_sec):
                    connection.shutdown(socket.SHUT_RD)
                    closed += 1
        return closed

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SEC)
            try:
                if closed := self.look():
                    log.warning("%d connections of a crowd closed: they said nothing", closed)
            except Exception as error:  # noqa: BLE001 - the watch goes on, whatever it met
                log.error("connections could not be looked at: %s", type(error).__name__)


def _connections_to(port: int, open_files: list[int]) -> Iterator[socket.socket]:
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

    def is_idle_for(self, sec: float) -> bool:
        """Whether nothing came for so long, at all or since the last answer."""
        answered = self.sent_bytes > 1 and self.received_sec >= self.sent_sec
        return self.received_sec >= sec and (self.received_bytes == 0 or answered)

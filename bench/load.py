"""Sends prepared HTTP requests over many connections from one process, and says what came back and when.

Closed loop: each connection sends its next request when it has its answer. Open loop: requests are due at a steady rate
whatever comes back, and each is timed from the moment it was due, so that a server that stalls cannot hide it.
"""

import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

RECEIVE_BYTES = 1 << 16
# An answer that has not come by then never will; it counts as an error.
GIVE_UP_SEC = 30.0

Told = Callable[[int, int, bytes], None]


@dataclass
class Load:
    """What came of a load: answers by status, errors by kind, and the time of each answer in ms."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list, repr=False)

    def per_sec(self, status: int = 200) -> float:
        return self.statuses[status] / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float) -> float:
        """The time that so many percent of the answers took at most."""
        times = sorted(self.times_ms)
        return times[min(len(times) - 1, int(len(times) * percent / 100))] if times else 0.0


def post(path: str, body: bytes, headers: dict[str, str], host: str = "bench") -> bytes:
    """The bytes of a POST that keeps its connection."""
    told = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def closed_loop(
    address: tuple[str, int], requests: Iterator[bytes], connections: int, seconds: float, told: Told | None = None
) -> Load:
    """As fast as the answers come, for so many seconds or until the requests end. `told` gets each answer: number of
    the request, status, head and body."""
    return _Sender(address, connections, told).run(((0.0, request) for request in requests), seconds, paced=False)


def open_loop(
    address: tuple[str, int],
    requests: Iterator[bytes],
    rate: float,
    seconds: float,
    connections: int,
    told: Told | None = None,
) -> Load:
    """`rate` requests a second for so many seconds, each on whichever connection is free."""
    due = ((number / rate, next(requests)) for number in range(int(rate * seconds)))
    return _Sender(address, connections, told).run(due, seconds, paced=True)


@dataclass
class _Line:
    """A connection, and the request that it waits for an answer to."""

    sock: socket.socket
    number: int = -1
    since: float = 0.0
    received: bytes = b""

    @property
    def busy(self) -> bool:
        return self.number >= 0


class _Sender:
    def __init__(self, address: tuple[str, int], connections: int, told: Told | None) -> None:
        self.address, self.told, self.load = address, told, Load()
        self.poll = select.epoll()
        self.lines: dict[int, _Line] = {}
        self.free: deque[_Line] = deque()
        for _ in range(connections):
            self._connect()

    def run(self, due: Iterator[tuple[float, bytes]], seconds: float, *, paced: bool) -> Load:
        started = time.perf_counter()
        numbers = count()
        waiting = next(due, None)
        while True:
            now = time.perf_counter()
            while (
                waiting is not None
                and self.free
                and (now - started >= waiting[0] if paced else now - started < seconds)
            ):
                since = started + waiting[0] if paced else now
                self._send(self.free.popleft(), next(numbers), waiting[1], since)
                waiting = next(due, None)
                now = time.perf_counter()
            over = waiting is None if paced else waiting is None or now - started >= seconds
            if over and len(self.free) == len(self.lines):
                break
            self._receive(self._pause(waiting, started, now, paced), now)
        self.load.seconds = time.perf_counter() - started
        self._close()
        return self.load

    def _pause(self, waiting: tuple[float, bytes] | None, started: float, now: float, paced: bool) -> float:
        if paced and waiting is not None and self.free:
            return max(0.0, waiting[0] - (now - started))
        return 0.2

    def _connect(self) -> None:
        sock = socket.create_connection(self.address, timeout=GIVE_UP_SEC)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = _Line(sock)
        self.lines[sock.fileno()] = line
        self.poll.register(sock.fileno(), select.EPOLLIN)
        self.free.append(line)

    def _send(self, line: _Line, number: int, request: bytes, since: float) -> None:
        line.number, line.since, line.received = number, since, b""
        try:
            line.sock.sendall(request)
        except OSError as error:
            self._lost(line, type(error).__name__)

    def _receive(self, pause_sec: float, now: float) -> None:
        for descriptor, _ in self.poll.poll(pause_sec):
            line = self.lines[descriptor]
            try:
                part = line.sock.recv(RECEIVE_BYTES)
            except OSError as error:
                self._lost(line, type(error).__name__)
                continue
            if not part:
                self._lost(line, "closed")
                continue
            line.received += part
            self._take_answer(line)
        for line in [line for line in self.lines.values() if line.busy and now - line.since > GIVE_UP_SEC]:
            self._lost(line, "no answer")

    def _take_answer(self, line: _Line) -> None:
        head, end, body = line.received.partition(b"\r\n\r\n")
        if not end or not _is_whole(head.lower(), body):
            return
        status = int(head[9:12])
        self.load.statuses[status] += 1
        self.load.times_ms.append((time.perf_counter() - line.since) * 1000)
        if self.told is not None:
            self.told(line.number, status, line.received)
        line.number = -1
        if b"\r\nconnection: close" in head.lower():
            self._renew(line)
        else:
            self.free.append(line)

    def _lost(self, line: _Line, kind: str) -> None:
        if line.busy:
            self.load.errors[kind] += 1
        else:
            self.free.remove(line)
        self._renew(line)

    def _renew(self, line: _Line) -> None:
        self._drop(line)
        try:
            self._connect()
        except OSError as error:
            self.load.errors[f"connect: {type(error).__name__}"] += 1

    def _drop(self, line: _Line) -> None:
        self.poll.unregister(line.sock.fileno())
        del self.lines[line.sock.fileno()]
        line.sock.close()

    def _close(self) -> None:
        for line in list(self.lines.values()):
            self._drop(line)
        self.poll.close()


def _is_whole(head: bytes, body: bytes) -> bool:
    """Of a head in lower case."""
    _, told, rest = head.partition(b"\r\ncontent-length:")
    if told:
        return len(body) >= int(rest.split(b"\r\n", 1)[0])
    return b"\r\ntransfer-encoding: chunked" not in head or body.endswith(b"0\r\n\r\n")

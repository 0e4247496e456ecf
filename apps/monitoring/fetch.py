"""The one door to the outside, for checks and alerts: whom it may ask, for how long, and how much it takes.

A name is resolved once, each address is judged, and the socket goes to a judged address: no second look-up can point
somewhere else. What an answer means is for `probes` and `channels`.
"""

import http.client
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from django.conf import settings

from apps.monitoring.targets import is_public
from apps.monitoring.wire import Address, FetchError, Limit, Wire, connected_socket, decoded, pieces

__all__ = ["Answer", "Door", "FetchError", "Request", "default_door"]

MAX_BYTES = 10 * 1024 * 1024
# Status line and header lines together; http.client itself stops at 100 of them.
MAX_HEAD_BYTES = 256 * 1024
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
# They have no body, whatever their headers say of one.
BODILESS = (204, 304)
# A later attempt may be answered better.
PASSING_STATUSES = (429, 502, 503, 504)
PASSING_KINDS = ("refused", "unreachable", "timeout", "protocol")
FIRST_BACKOFF_SEC = 0.5
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")
PORTS = {"http": 80, "https": 443}

# (host, port) → what socket.getaddrinfo gives. Raises OSError.
Resolve = Callable[[str, int], Sequence[Address]]


@dataclass(frozen=True)
class Request:
    """What to ask for. `timeout_sec` is for all of it: look-up, redirects, attempts, and the body to its last byte.

    Only waiting for one's turn at a host is not counted. What may hold a secret is not shown by `repr`.
    """

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    etag: str = ""
    last_modified: str = ""
    timeout_sec: float = 30
    accept: str = "*/*"
    retries: int = 2  # of GET and HEAD only


@dataclass(frozen=True)
class Answer:
    """What came. `url` is where it came from after redirects, header names are in lower case, `body` is decoded.

    `latency_ms` is the last attempt's, until its headers were there.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: int
    attempts: int

    @property
    def not_modified(self) -> bool:
        return self.status == http.client.NOT_MODIFIED


def look_up(host: str, port: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Door:
    """Asks hosts politely: one request at a time to a host, with a pause between two. One door serves many threads."""

    def __init__(
        self,
        *,
        user_agent: str,
        open_hosts: Sequence[str] = (),
        max_bytes: int = MAX_BYTES,
        host_pause_sec: float = 1.0,
        resolve: Resolve = look_up,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._user_agent = user_agent
        self._open_hosts = {name.strip().lower() for name in open_hosts}
        self._max_bytes = max_bytes
        self._resolve, self._clock, self._sleep, self._chance = resolve, clock, sleep, chance
        self._tls = tls or ssl.create_default_context()
        self._turns = _Turns(host_pause_sec, clock, sleep)

    def fetch(self, request: Request) -> Answer:
        """The answer, whatever its status. Raises FetchError."""
        limit = Limit(request.timeout_sec, self._clock)
        attempts = 1 + (request.retries if request.method in ("GET", "HEAD") else 0)
        for attempt in range(1, attempts + 1):
            answer, error = self._attempt(request, limit)
            wait = self._pause(attempt, answer, error)
            over = attempt == attempts or wait is None or wait >= limit.left_sec()
            if answer is not None and over:
                return replace(answer, attempts=attempt)
            if error is not None and over:
                raise error
            self._sleep(wait or 0)
        raise AssertionError("at least one attempt is made")

    def _attempt(self, request: Request, limit: Limit) -> tuple[Answer | None, FetchError | None]:
        try:
            return self._followed(request, limit), None
        except FetchError as error:
            return None, error

    def _pause(self, attempt: int, answer: Answer | None, error: FetchError | None) -> float | None:
        """Seconds until the next attempt, with jitter; None where another would go the same way."""
        if error is not None and error.kind not in PASSING_KINDS:
            return None
        if answer is not None and answer.status not in PASSING_STATUSES:
            return None
        asked = answer.headers.get("retry-after", "") if answer is not None else ""
        if asked.isascii() and asked.isdigit() and len(asked) < 9:
            return float(asked)
        return FIRST_BACKOFF_SEC * 2.0 ** (attempt - 1) * (0.5 + self._chance())

    def _followed(self, request: Request, limit: Limit) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(request, limit)
            if answer.status not in REDIRECTS or "location" not in answer.headers:
                return answer
            onwards = _redirected(request, answer)
            if self._is_open(onwards.url) and not self._is_open(request.url):
                raise FetchError("blocked", "The answer is a redirect from the public internet to a host of ours.")
            request = onwards
        raise FetchError("redirect", f"More than {MAX_REDIRECTS} redirects.")

    def _once(self, request: Request, limit: Limit) -> Answer:
        """One request to one host, without a redirect followed."""
        parts = _target(request.url)
        host, port = str(parts.hostname).lower(), parts.port or PORTS[parts.scheme]
        asked = self._clock()
        with self._turns.of(host):
            started = self._clock()
            # Waiting for one's turn is no fault of the page.
            limit.extend(started - asked)
            try:
                return self._exchange(request, parts, self._connected(parts, host, port, limit), started)
            except FetchError as error:
                error.latency_ms = self._elapsed_ms(started)
                raise
            except Exception as error:
                raise _named(error, host, self._elapsed_ms(started)) from error

    def _elapsed_ms(self, started: float) -> int:
        return max(0, round((self._clock() - started) * 1000))

    def _connected(self, parts: SplitResult, host: str, port: int, limit: Limit) -> Wire:
        failure: OSError | None = None
        addresses = self._vetted(host, port, limit)
        for tried, address in enumerate(addresses):
            # One that swallows packets leaves the others their share of the time.
            share_sec = limit.left_sec() / (len(addresses) - tried)
            try:
                wire = Wire(connected_socket(address, share_sec), limit, self._max_bytes + MAX_HEAD_BYTES)
            except OSError as error:
                failure = error
                continue
            if parts.scheme == "https":
                wire.secure(self._tls, host)
            return wire
        raise failure or FetchError("dns", f"{host} has no address.")

    def _vetted(self, host: str, port: int, limit: Limit) -> list[Address]:
        """The addresses of the name that may be asked, looked up once and in time."""
        found: list[Any] = []

        def resolve() -> None:
            try:
                found.append(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                found.append(error)

        # A look-up cannot be told to end; one that hangs is left to itself.
        thread = threading.Thread(target=resolve, daemon=True)
        thread.start()
        thread.join(max(0.0, limit.left_sec()))
        if not found:
            raise FetchError("timeout", f"The name {host} was not looked up in time.")
        if isinstance(found[0], Exception):
            raise FetchError("dns", f"The name {host} cannot be looked up: {found[0]}")
        if self._is_open_at(host, port):
            return list(found[0])
        public = [one for one in found[0] if is_public(one[4][0])]
        if not public:
            raise FetchError(
                "blocked",
                f"{host} has no public address. If checks and alerts shall reach it, name it in MONITORING_OPEN_HOSTS.",
            )
        return public

    def _is_open(self, url: str) -> bool:
        parts = _target(url)
        return self._is_open_at(str(parts.hostname).lower(), parts.port or PORTS[parts.scheme])

    def _is_open_at(self, host: str, port: int) -> bool:
        return bool({host, f"{host}:{port}", f"[{host}]", f"[{host}]:{port}"} & self._open_hosts)

    def _exchange(self, request: Request, parts: SplitResult, wire: Wire, started: float) -> Answer:
        connection = http.client.HTTPConnection(str(parts.hostname))
        connection.sock = wire
        try:
            connection.putrequest(request.method, _path(parts), skip_host=True, skip_accept_encoding=True)
            for name, value in self._headers(request, parts).items():
                connection.putheader(name, value)
            connection.endheaders(request.body)
            response = connection.getresponse()
            latency_ms = self._elapsed_ms(started)
            headers = {name.lower(): value for name, value in response.getheaders()}
            bodiless = request.method == "HEAD" or response.status in (*REDIRECTS, *BODILESS)
            body = b"" if bodiless else self._body(response, headers)
            return Answer(request.url, response.status, headers, body, latency_ms, 1)
        finally:
            wire.end()

    def _headers(self, request: Request, parts: SplitResult) -> dict[str, str]:
        told = {"Host": parts.netloc.encode("idna").decode(), "User-Agent": self._user_agent, "Accept": request.accept}
        told |= {"Accept-Encoding": "gzip", "Connection": "close"}
        told |= {"If-None-Match": request.etag} if request.etag else {}
        told |= {"If-Modified-Since": request.last_modified} if request.last_modified else {}
        told |= {"Content-Length": str(len(request.body))} if request.body is not None else {}
        return told | dict(request.headers)

    def _body(self, response: http.client.HTTPResponse, headers: Mapping[str, str]) -> bytes:
        body = bytearray()
        for piece in decoded(pieces(response), headers.get("content-encoding", "").strip().lower()):
            body += piece
            if len(body) > self._max_bytes:
                raise FetchError("too_large", f"The answer is larger than {self._max_bytes} bytes.")
        return bytes(body)


def _target(url: str) -> SplitResult:
    """The parts of an address that may be asked. Raises FetchError: blocked."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        raise FetchError("blocked", "The address cannot be read.") from None
    if parts.scheme not in PORTS or not parts.hostname or not port_is_right:
        raise FetchError("blocked", "Only http:// and https:// addresses with a host are asked.")
    if parts.username is not None or parts.password is not None:
        raise FetchError("blocked", "The address holds a login; leave it out.")
    if any(ord(character) <= ord(" ") or ord(character) == 127 for character in url):
        raise FetchError("blocked", "The address holds spaces or control characters.")
    return parts


def _path(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return quote(f"{parts.path or '/'}{query}", safe="/%:=&?~+!$,;'@()*[]|")


def _redirected(request: Request, answer: Answer) -> Request:
    if request.method not in ("GET", "HEAD"):
        raise FetchError(
            "redirect", f"The answer is a redirect ({answer.status}), and what is sent is never redirected."
        )
    try:
        url = urljoin(request.url, _location(answer))
        old, new = _target(request.url), _target(url)
    except ValueError:
        raise FetchError("redirect", "The answer is a redirect to something that is no address.") from None
    if old.scheme == "https" and new.scheme == "http":
        raise FetchError("redirect", "The answer is a redirect from https to http.")
    if (old.scheme, old.netloc) == (new.scheme, new.netloc):
        return replace(request, url=url)
    kept = {name: value for name, value in request.headers.items() if name.lower() not in SECRET_HEADERS}
    return replace(request, url=url, headers=kept)


def _location(answer: Answer) -> str:
    """Where a redirect goes. http.client reads headers as Latin-1, and servers that escape nothing write UTF-8."""
    told = answer.headers["location"].strip()
    try:
        return told.encode("latin-1").decode()
    except UnicodeDecodeError:
        return told


def _named(error: Exception, host: str, latency_ms: int) -> FetchError:
    """What went wrong below us, by the kinds that are counted."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FetchError("tls", f"The certificate of {host} is not good: {error.verify_message}.", latency_ms)
    if isinstance(error, TimeoutError):
        return FetchError("timeout", f"{host} did not answer in time.", latency_ms)
    if isinstance(error, ssl.SSLError):
        return FetchError("tls", f"No secure connection to {host}: {error.reason or error}.", latency_ms)
    if isinstance(error, ConnectionRefusedError):
        return FetchError("refused", f"{host} refuses the connection.", latency_ms)
    if isinstance(error, (ConnectionError, http.client.HTTPException, EOFError)):
        words = type(error).__name__
        return FetchError("protocol", f"{host} broke the exchange off or does not speak HTTP ({words}).", latency_ms)
    if isinstance(error, (OSError, UnicodeError)):
        return FetchError("unreachable", f"{host} cannot be reached: {error}", latency_ms)
    return FetchError("protocol", f"The answer of {host} cannot be read ({type(error).__name__}).", latency_ms)


class _Turns:
    """One request at a time to a host, and a pause after each."""

    def __init__(self, pause_sec: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._pause_sec, self._clock, self._sleep = pause_sec, clock, sleep
        self._guard = threading.Lock()
        self._hosts: dict[str, threading.Lock] = {}
        self._free_at: dict[str, float] = {}

    @contextmanager
    def of(self, host: str) -> Iterator[None]:
        with self._guard:
            turn = self._hosts.setdefault(host, threading.Lock())
        with turn:
            wait = self._free_at.get(host, 0.0) - self._clock()
            if wait > 0 and self._pause_sec:
                self._sleep(wait)
            try:
                yield
            finally:
                self._free_at[host] = self._clock() + self._pause_sec


@cache
def default_door() -> Door:
    """The door of this process, from the settings."""
    return Door(
        user_agent=f"VoiceLens/{settings.VERSION} (+{settings.MONITORING_CONTACT or settings.PUBLIC_BASE_URL})",
        open_hosts=settings.MONITORING_OPEN_HOSTS,
    )

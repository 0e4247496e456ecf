"""WSGI applications under a server that speaks RSGI (granian's own interface): requests and answers in each other's
words.

The event loop reads a request's body, within a limit and a time, before a thread is taken for it: whoever sends slowly
holds nothing but his connection.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from io import BytesIO
from typing import Any

from apps.providers.engine.hidden import HiddenItems

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

# Bodies of all requests together: more would be the sender's use of our memory, not ours.
MAX_HELD_BYTES = 256 * 1024 * 1024


class BodyError(Exception):
    """The body did not come as it was announced, or not in time."""


class TooManyBodiesError(Exception):
    """So much is being received that more must wait."""


def headers_of(scope: Any) -> dict[str, str]:
    """The request's headers by lower-case name; one that came more than once as one, as RFC 9110 joins them."""
    items = scope.headers.items()
    headers = HiddenItems(items)
    if len(headers) < len(items):
        headers = HiddenItems()
        for name, value in items:
            between = "; " if name == "cookie" else ","
            headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
    return headers


def peer_of(scope: Any) -> str:
    """The address of the connection, without its port."""
    peer: str = scope.client
    return peer.rpartition(":")[0].strip("[]")


class Bodies:
    """Reads bodies in the event loop; `timeout_sec` is for a whole one."""

    def __init__(self, timeout_sec: float) -> None:
        self.timeout_sec = timeout_sec
        self.held_bytes = 0

    async def read(self, headers: Mapping[str, str], proto: Any, limit_bytes: int) -> bytes:
        """The body; of one that is larger than the limit, no more than a byte above it.

        Raises BodyError, or TooManyBodiesError.
        """
        length = announced_bytes(headers)
        expected = limit_bytes if length is None else min(length, limit_bytes)
        if self.held_bytes + expected > MAX_HELD_BYTES:
            raise TooManyBodiesError
        self.held_bytes += expected
        try:
            async with asyncio.timeout(self.timeout_sec):
                if expected == length:
                    body: bytes = await proto()
                    return body
                return await _beginning(proto, limit_bytes)
        except TimeoutError:
            raise BodyError("the body did not come in time") from None
        except RuntimeError as error:  # what the server raises when the connection is gone
            raise BodyError("the body ended early") from error
        finally:
            self.held_bytes -= expected


def announced_bytes(headers: Mapping[str, str]) -> int | None:
    """The length that the body has; None where it comes in chunks."""
    length = headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20:
        return int(length)
    return None if "transfer-encoding" in headers else 0


async def _beginning(proto: Any, limit_bytes: int) -> bytes:
    """What comes, up to a byte above the limit. Some of what is too large is read and dropped: a client that is still
    sending would never see the answer."""
    parts, size = [], 0
    async for part in proto:
        if size <= limit_bytes:
            parts.append(part)
        size += len(part)
        if size > 2 * limit_bytes:
            break
    return b"".join(parts)[: limit_bytes + 1]


async def serve(
    app: WSGIApp, scope: Any, headers: Mapping[str, str], body: bytes, proto: Any, threads: Executor
) -> None:
    """Let the application answer, in one thread from beginning to end; an answer that streams is sent as it comes."""
    environ = environ_of(scope, headers, body)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(threads, _call, app, environ, proto, loop)


def environ_of(scope: Any, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The request as WSGI tells it (PEP 3333)."""
    host, _, port = scope.server.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # The server hands on the path decoded; WSGI wants its bytes as Latin-1.
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": peer_of(scope),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        if "_" not in name:  # `x_a` would stand where `x-a` does, which a proxy may have taken out
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if (value := environ.pop(f"HTTP_{name}", None)) is not None:
            environ[name] = value
    # A body in chunks has no length until it is here.
    environ.setdefault("CONTENT_LENGTH", str(len(body)))
    return environ


def _call(app: WSGIApp, environ: dict[str, Any], proto: Any, loop: asyncio.AbstractEventLoop) -> None:
    begun: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> None:
        begun.append((status, headers))

    parts = app(environ, start_response)
    try:
        status, headers = int(begun[-1][0][:3]), begun[-1][1]
        if not getattr(parts, "streaming", False):
            proto.response_bytes(status, headers, b"".join(parts))
            return
        transport = proto.response_stream(status, headers)
        for part in parts:
            # One part at a time: a slow reader must not fill our memory.
            asyncio.run_coroutine_threadsafe(_send(transport, part), loop).result()
    finally:
        getattr(parts, "close", lambda: None)()


async def _send(transport: Any, part: bytes) -> None:
    await transport.send_bytes(part)

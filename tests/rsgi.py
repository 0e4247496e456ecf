"""Calls the application that the web server runs, as the server does, with requests told in WSGI's words."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from apps.ingest.lane import Lane
from voicelens.tracing import HEADER, current_trace_id

Told = tuple[str, list[tuple[str, str]], bytes]
CHUNK_BYTES = 4096


class Protocol:
    """The server's side of a request: hands out the body, keeps the answer."""

    def __init__(self, stream: Any, length: int | None) -> None:
        self.stream, self.length = stream, length
        self.answer: tuple[int, list[tuple[str, str]], bytes] | None = None

    async def __call__(self) -> bytes:
        return self._read(-1 if self.length is None else self.length)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        while part := self._read(CHUNK_BYTES):
            yield part

    def _read(self, size: int) -> bytes:
        try:
            return bytes(self.stream.read(size))
        except OSError as error:
            raise RuntimeError("connection closed") from error  # as the server says it

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        assert self.answer is None, "answered twice"
        self.answer = status, headers, body

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> "Protocol":
        self.response_bytes(status, headers, b"")
        return self

    async def send_bytes(self, part: bytes) -> None:
        assert self.answer is not None
        self.answer = (*self.answer[:2], self.answer[2] + part)


def scope_of(environ: dict[str, Any]) -> Any:
    names = {name: name[5:] for name in environ if name.startswith("HTTP_")}
    names |= {name: name for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in environ}
    headers = [(short.replace("_", "-").lower(), environ[name]) for name, short in names.items()]
    return SimpleNamespace(
        proto="http",
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"].encode("latin-1").decode(),
        query_string=environ["QUERY_STRING"],
        client=f"{environ['REMOTE_ADDR']}:50000",
        server=f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
        http_version="1.1",
        headers=SimpleNamespace(items=lambda: headers),
    )


class Here(Executor):
    """Runs what threads would in the caller's own thread, where a test's transaction is."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        self.jobs.put((done, lambda: fn(*args, **named)))
        return done

    def work(self) -> None:
        """Until somebody puts None."""
        while (job := self.jobs.get()) is not None:
            done, work = job
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - the one who waits for it is told
                done.set_exception(error)


def through(app: Any, environ: dict[str, Any]) -> Told:
    """Status line, headers and body of the answer to this request; `app` is the WSGI application behind the lane."""
    from voicelens.rsgi import Application  # looks at the stored secrets when it is imported

    here = Here()
    application = Application(app, Lane(HEADER, current_trace_id, here), here)
    length = environ.get("CONTENT_LENGTH") or ""
    known = length.isascii() and length.isdecimal() and len(length) < 20
    proto = Protocol(environ["wsgi.input"], int(length) if known else None)
    failed: list[BaseException] = []

    def loop() -> None:
        try:
            asyncio.run(application.__rsgi__(scope_of(environ), proto))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            failed.append(error)
        finally:
            here.jobs.put(None)

    thread = threading.Thread(target=loop)
    thread.start()
    here.work()
    thread.join()
    for error in failed:
        raise error
    assert proto.answer is not None
    status, headers, body = proto.answer
    titled = [(name.title(), value) for name, value in headers]
    return f"{status} {HTTPStatus(status).phrase}", titled, body

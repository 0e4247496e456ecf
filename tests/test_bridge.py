"""Django's side of the web server: requests in WSGI's words, bodies within their bounds, answers whole and streamed."""

import asyncio
import io
from types import SimpleNamespace
from typing import Any

import pytest

from tests.rsgi import Protocol
from voicelens import bridge
from voicelens.bridge import Bodies, BodyError, TooManyBodiesError


def scope(*headers: tuple[str, str], path: str = "/", client: str = "203.0.113.7:5000") -> Any:
    return SimpleNamespace(
        method="POST",
        path=path,
        query_string="a=%20b",
        client=client,
        server="127.0.0.1:8080",
        http_version="1.1",
        headers=SimpleNamespace(items=lambda: list(headers)),
    )


def test_a_header_that_comes_twice_is_one_as_its_kind_is_joined() -> None:
    told = scope(("x-a", "1"), ("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2"), ("x-b", "3"))
    assert bridge.headers_of(told) == {"x-a": "1,2", "cookie": "a=1; b=2", "x-b": "3"}


def test_a_request_is_told_as_wsgi_tells_it() -> None:
    told = scope(("content-type", "text/plain"), ("x-a", "1"), ("x_a", "forged"), path="/ü/a b")
    environ = bridge.environ_of(told, bridge.headers_of(told), b"abc")
    expected = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/ü/a b".encode().decode("latin-1"),
        "QUERY_STRING": "a=%20b",
        "REMOTE_ADDR": "203.0.113.7",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_X_A": "1",
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert "HTTP_CONTENT_TYPE" not in environ


def test_an_ipv6_peer_is_told_without_its_brackets() -> None:
    assert bridge.peer_of(scope(client="[2001:db8::1]:5000")) == "2001:db8::1"


class Slow(Protocol):
    """A sender of whom nothing comes."""

    async def __call__(self) -> bytes:
        await asyncio.Event().wait()
        return b""


def read(bodies: Bodies, headers: dict[str, str], proto: Any, limit_bytes: int = 10) -> bytes:
    return asyncio.run(bodies.read(headers, proto, limit_bytes))


@pytest.mark.parametrize(
    ("headers", "sent", "body"),
    [
        ({"content-length": "3"}, b"abc", b"abc"),
        ({"content-length": "10"}, b"0123456789", b"0123456789"),
        ({"content-length": "30"}, b"0" * 30, b"0" * 11),
        ({"transfer-encoding": "chunked"}, b"abc", b"abc"),
        ({"transfer-encoding": "chunked"}, b"0" * 30, b"0" * 11),
        ({}, b"", b""),
    ],
)
def test_of_a_body_no_more_is_held_than_a_byte_above_its_limit(
    headers: dict[str, str], sent: bytes, body: bytes
) -> None:
    bodies = Bodies(timeout_sec=30)
    assert read(bodies, headers, Protocol(io.BytesIO(sent), len(sent))) == body
    assert bodies.held_bytes == 0


def test_a_body_that_does_not_come_in_time_is_an_error_and_gives_its_room_back() -> None:
    bodies = Bodies(timeout_sec=0.01)
    with pytest.raises(BodyError, match="in time"):
        read(bodies, {"content-length": "3"}, Slow(None, None))
    assert bodies.held_bytes == 0


def test_more_than_there_is_room_for_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "MAX_HELD_BYTES", 15)
    bodies = Bodies(timeout_sec=0.05)

    async def both() -> list[Any]:
        slow = Slow(None, None)
        reads = (bodies.read({"content-length": "9"}, slow, 10) for _ in range(2))
        return await asyncio.gather(*reads, return_exceptions=True)

    assert [type(told) for told in asyncio.run(both())] == [BodyError, TooManyBodiesError]
    assert read(bodies, {"content-length": "9"}, Protocol(io.BytesIO(b"123456789"), 9)) == b"123456789"


class Answer(list[bytes]):
    """What an application answers; as Django's, it says whether it streams, and is closed in the end."""

    streaming = False
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_is_sent_whole_or_as_it_comes_and_closed(streaming: bool) -> None:
    answer = Answer([b"a", b"b"])
    answer.streaming = streaming
    proto = Protocol(io.BytesIO(), 0)

    def app(environ: dict[str, Any], start_response: Any) -> Answer:
        start_response("201 Created", [("X-A", "1")])
        return answer

    asyncio.run(bridge.serve(app, scope(), {}, b"", proto, None))  # type: ignore[arg-type] - the loop's own threads
    assert proto.answer == (201, [("X-A", "1")], b"ab")
    assert answer.closed


def test_a_client_that_is_gone_ends_a_stream_and_the_answer_is_closed() -> None:
    class Gone(Protocol):
        async def send_bytes(self, part: bytes) -> None:
            raise RuntimeError("connection closed")

    answer = Answer([b"a", b"b"])
    answer.streaming = True

    def app(environ: dict[str, Any], start_response: Any) -> Answer:
        start_response("200 OK", [])
        return answer

    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(bridge.serve(app, scope(), {}, b"", Gone(io.BytesIO(), 0), None))  # type: ignore[arg-type]
    assert answer.closed

"""Sending spans to a stand-in on this machine: what goes out, and what each answer means."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from vcp.exports.otel import to_spans
from vcp.exports.otlp_http import SendError, send
from vcp.models import VCPMessage
from vcp.tests.samples import full

SPANS = to_spans(VCPMessage.from_dict(full()))
SECRET = "Bearer top-secret"


class Receiver(HTTPServer):
    """Keeps what it gets, and answers what it is told to."""

    status: int = 200
    answer: bytes = b"{}"
    extra: dict[str, str]
    got: list[tuple[str, dict[str, str], bytes]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers.items()), body))
        self.send_response(self.server.status)
        for name, value in self.server.extra.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.answer)

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing on the test's screen."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Receiver(("127.0.0.1", 0), Handler) as server:
        server.got, server.extra = [], {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_posts_the_spans_as_json_with_the_headers_given(receiver):
    send(SPANS, receiver.url, {"Authorization": SECRET, "Content-Type": "text/plain"})
    [(path, headers, body)] = receiver.got
    assert path == "/v1/traces"
    assert json.loads(body) == SPANS
    assert (headers["Content-Type"], headers["Authorization"]) == ("application/json", SECRET)


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}", b"null", b"no json", b"\xff", b'{"partialSuccess":{}}',
     b'{"partialSuccess":{"rejectedSpans":"0","errorMessage":"a warning"}}'],
)  # fmt: skip
def test_an_answer_that_refuses_nothing_is_success(receiver, answer):
    receiver.answer = answer
    send(SPANS, receiver.url)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("rejected", ["2", 2])
def test_spans_refused_in_a_good_answer_are_an_error(receiver, rejected):
    receiver.answer = json.dumps({"partialSuccess": {"rejectedSpans": rejected, "errorMessage": "x"}}).encode()
    with pytest.raises(SendError, match="2 of the spans were refused") as caught:
        send(SPANS, receiver.url)
    assert (caught.value.status, caught.value.retryable) == (200, False)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (413, False), (429, True), (500, False), (502, True), (503, True),
     (504, True)],
)  # fmt: skip
def test_a_refusal_says_whether_trying_again_can_help(receiver, status, retryable):
    receiver.status, receiver.extra = status, {"Retry-After": "30"}
    with pytest.raises(SendError, match=f"HTTP status {status}") as caught:
        send(SPANS, receiver.url, {"Authorization": SECRET})
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after) == (status, retryable, "30")
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver, status):
    receiver.status, receiver.extra = status, {"Location": receiver.url}
    with pytest.raises(SendError, match=f"HTTP status {status}"):
        send(SPANS, receiver.url)
    assert len(receiver.got) == 1


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A port that takes connections and never answers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"


def test_no_answer_in_time_may_be_tried_again(silent):
    with pytest.raises(SendError, match="no answer from") as caught:
        send(SPANS, silent, timeout_sec=0.05)
    assert (caught.value.status, caught.value.retryable) == (None, True)


def test_nobody_there_may_be_tried_again(receiver):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SendError, match=f"no answer from 127.0.0.1:{port}"):
        send(SPANS, f"http://127.0.0.1:{port}/v1/traces")


@pytest.mark.parametrize("endpoint", ["", "localhost:4318", "ftp://a/v1/traces", "file:///etc/passwd", "http:///v1"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint):
    with pytest.raises(ValueError, match="endpoint must be a whole http or https URL"):
        send(SPANS, endpoint)


def test_a_password_in_the_endpoint_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="Authorization header") as caught:
        send(SPANS, "https://user:top-secret@localhost/v1/traces")
    assert "top-secret" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"Authorization": f"{SECRET}\nX: y"}, {"bad\nname": "x"}, {"X": "\u4e2d"}])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(receiver, headers):
    with pytest.raises(ValueError, match="a header's name or value") as caught:
        send(SPANS, receiver.url, headers)
    assert SECRET not in str(caught.value)
    assert receiver.got == []

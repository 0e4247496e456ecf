"""Hostile requests over a real socket, to the web server as the supervisor starts it: every answer is one of ours or a
plain refusal of the server's, nothing is taken for what it is not, and a good webhook is answered right after."""

import contextlib
import json
import re
import socket
import time

import pytest
import redis

from apps.ingest.models import InboundEvent
from apps.providers.models import AuthConfig, Endpoint
from tests.calls import ARRIVAL, ENDED, SECRET, as_body, sample, signed
from tests.hostile import BAD_PATHS, BAD_VALUES, METHODS, compressed, encoded, json_bodies
from tests.test_real_processes import HOST, Stack, stack, until  # noqa: F401 - pytest finds the fixture by its name
from vcp.errors import IMPLEMENTATION
from voicelens.supervisor import health_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

BODY_TIMEOUT_SEC = 3
GOOD = as_body(sample(ENDED))
CHUNKED = {"Transfer-Encoding": "chunked"}


def started(stack):  # noqa: F811
    stack.environment["BODY_TIMEOUT_SEC"] = str(BODY_TIMEOUT_SEC)
    stack.environment["WEBHOOK_BODY_LIMIT_BYTES"] = "10000000"
    stack.start("redis", "web")
    return stack


@pytest.fixture
def own_server(stack):  # noqa: F811
    """For a test that changes what a server reads of the registry once and keeps."""
    return started(stack)


@pytest.fixture(scope="module")
def shared(django_db_setup, tmp_path_factory):
    made = Stack(tmp_path_factory.mktemp("stack"))
    yield started(made)
    made.stop()


@pytest.fixture
def server(shared, catalogue):
    """One for all the others: what a test did to it must not keep a good webhook out in the next either."""
    until(lambda: health_at(HOST, shared.port) == "")
    with redis.Redis.from_url(shared.redis.url) as client:
        client.flushdb()  # the limits of strangers, who all come from one address here
    return shared


def head_of(headers=(), path="/webhook/retell", method="POST"):
    """The head of a request; names and values are text, or bytes as they are to be sent."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    lines = [[part if isinstance(part, bytes) else str(part).encode() for part in pair] for pair in pairs]
    start = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n".encode()
    return start + b"".join(name + b": " + value + b"\r\n" for name, value in lines) + b"\r\n"


def spoken(server, text, *, ends=False):
    """(status, body) of the answer to these very bytes; (0, b"") where the server closes without a word."""
    with contextlib.suppress(OSError):
        line, body = server.speak(text, ends=ends)
        return (int(line.split(" ")[1]) if line else 0), body
    return 0, b""


def post(server, body, headers=None):
    head = {"Content-Type": "application/json", "Content-Length": len(body), **signed(body), **(headers or {})}
    return spoken(server, head_of(head) + body)


def assert_answers(server):
    """A good webhook is answered, and at once."""
    started = time.monotonic()
    status, answer = server.post(sample(ENDED, call_id="good"))
    assert status == 200, answer
    assert time.monotonic() - started < 2


def assert_refused(status, body, where):
    """No error of ours, and where it is our answer, one clear error object."""
    assert status in (0, *range(400, 500)), (where, status, body)
    if body.startswith(b"{"):
        told = json.loads(body)
        assert told["code"] == f"HTTP_{status}" or (status, told["code"]) == (404, "VCP_E002"), where
        assert told["message"], where
        assert "Traceback" not in body.decode(), where


def test_every_body_is_stored_as_it_was_sent(server):
    bodies = {**dict(json_bodies()), **dict(encoded('{"event":"call_ended","call":{"call_id":"encoded"}}'))}
    for name, body in [*bodies.items()][::2]:
        status, answer = post(server, body)
        assert status == 200, (name, answer)
        row = InboundEvent.objects.get(delivery_id=json.loads(answer)["delivery_id"])
        assert bytes(row.body) == body, name
    for name, coding, body in compressed(GOOD):
        assert post(server, body, {"Content-Encoding": coding})[0] == 200, name
    assert_answers(server)


FRAMES = {
    "too long a length": ({"Content-Length": len(GOOD) + 100}, GOOD),
    "too short a length": ({"Content-Length": len(GOOD) - 5}, GOOD),
    "a negative length": ({"Content-Length": -5}, GOOD),
    "a length with a sign": ({"Content-Length": f"+{len(GOOD)}"}, GOOD),
    "a length that is no number": ({"Content-Length": "five"}, GOOD),
    "a length in hex": ({"Content-Length": hex(len(GOOD))}, GOOD),
    "a length beyond all numbers": ({"Content-Length": "9" * 30}, GOOD),
    "a length of exabytes": ({"Content-Length": 2**63 - 1}, GOOD),
    "two lengths": ([("Content-Length", len(GOOD)), ("Content-Length", 2)], GOOD),
    "a list of lengths": ({"Content-Length": f"{len(GOOD)}, 2"}, GOOD),
    "an encoding that is none": ({"Transfer-Encoding": "xchunked"}, GOOD),
    "gzip as transfer encoding": ({"Transfer-Encoding": "gzip"}, GOOD),
    "chunks that are none": (CHUNKED, GOOD),
    "a chunk of no size": (CHUNKED, b"\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "a chunk of negative size": (CHUNKED, b"-1\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "a chunk beyond all numbers": (CHUNKED, b"f" * 17 + b"\r\n" + GOOD),
    "a chunk that ends early": (CHUNKED, b"%x\r\n" % (len(GOOD) + 50) + GOOD),
    "chunks without an end": (CHUNKED, b"%x\r\n" % len(GOOD) + GOOD + b"\r\n"),
    "chunks and then none": (CHUNKED, b"%x\r\n" % len(GOOD) + GOOD + b"\r\nzz\r\n0\r\n\r\n"),
    "half of it in a chunk": (CHUNKED, b"%x\r\n" % len(GOOD) + GOOD[: len(GOOD) // 2]),
    "no length at all": ({}, GOOD),
    "nothing": ({"Content-Length": 50}, b""),
}  # fmt: skip


# The whole body is there, only its end is not said as it should be: it may be taken, or refused.
WHOLE = ("a chunk that ends early", "chunks without an end", "chunks and then none")


@pytest.mark.parametrize("scheme", ["signature", "token"])
def test_a_body_that_is_not_framed_as_it_should_be_is_never_taken_for_the_whole(own_server, scheme):
    frames, proof = dict(FRAMES), signed(GOOD)
    if scheme == "token":
        AuthConfig.objects.filter(endpoint__slug="default", endpoint__provider__slug="retell").update(
            scheme={"kind": "token", "header": "X-Secret"}
        )
        proof = {"X-Secret": SECRET}
        # By length and token these are deliveries like any other, and fail visibly when they are read.
        del frames["too short a length"], frames["no length at all"]
    for name, (headers, body) in frames.items():
        pairs = [*(headers.items() if isinstance(headers, dict) else headers), *proof.items()]
        status, answer = spoken(own_server, head_of(pairs) + body, ends=True)
        if not (status == 200 and name in WHOLE):
            assert_refused(status, answer, name)
    assert {bytes(body) for body in InboundEvent.objects.values_list("body", flat=True)} <= {GOOD}
    assert spoken(own_server, head_of({"Content-Length": len(GOOD), **proof}) + GOOD)[0] == 200


def test_a_request_hidden_in_the_body_of_another_is_not_let_in_by_its_signature(server):
    hidden = head_of({"Content-Length": 2}, path="/webhook/retell") + b"{}"
    body = GOOD + hidden
    status, _ = spoken(server, head_of({"Content-Length": len(GOOD), **signed(GOOD)}) + body)
    assert status == 200
    # Both length and chunks: by RFC 9112 the chunks count, or the request is refused.
    both = head_of([("Content-Length", 4), *CHUNKED.items(), *signed(GOOD).items()])
    status, _ = spoken(server, both + b"%x\r\n" % len(GOOD) + GOOD + b"\r\n0\r\n\r\n")
    assert status in (200, 400)
    assert InboundEvent.objects.count() == 1


@pytest.fixture
def opened(server):
    """Opens so many connections, sends each the text and leaves them open until the test ends."""
    with contextlib.ExitStack() as lines:

        def some(text, count):
            made = [
                lines.enter_context(socket.create_connection((HOST, server.port), timeout=30)) for _ in range(count)
            ]
            for line in made:
                line.sendall(text)
            return made

        yield some


HALF = head_of({"Content-Length": len(GOOD)}).replace(b"Connection: close\r\n", b"") + GOOD[:50]


@pytest.mark.parametrize("path", ["/webhook/retell", "/webhook//retell", "/admin/login/"])
def test_half_bodies_hold_nothing_but_their_connections_and_have_their_time(server, opened, path):
    held = opened(HALF.replace(b"/webhook/retell", path.encode()), 60)  # more than there are threads
    assert_answers(server)
    for line in held:
        with contextlib.suppress(ConnectionError):
            assert line.recv(65536)[:12] in (b"", b"HTTP/1.1 400")
    assert_answers(server)
    assert InboundEvent.objects.count() == 1


def test_a_byte_a_moment_is_no_progress(server, opened):
    [line] = opened(HALF, 1)
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - started < 4 * BODY_TIMEOUT_SEC:
            line.sendall(b" ")
            time.sleep(0.2)
    assert time.monotonic() - started < 3 * BODY_TIMEOUT_SEC
    assert_answers(server)


def test_a_silent_crowd_keeps_nobody_out(server, opened):
    opened(b"", 1100)  # more than the server takes
    opened(b"POST /webhook/retell HTTP/1.1\r\nHost:", 20)
    until(lambda: post(server, GOOD)[0] == 200, within_sec=10)
    assert_answers(server)


def test_headers_of_every_kind_are_refused_or_borne(server):
    length = {"Content-Length": len(GOOD)}
    floods = {
        "100 headers": [(f"X-{number}", "a") for number in range(80)],
        "10000 headers": [(f"X-{number}", "a") for number in range(10_000)],
        "a header of 1 MB": [("X-Long", "a" * 1_000_000)],
        "a name of 100 KB": [("X" * 100_000, "a")],
        "a nul": [("X-Nul", b"a\x00b")],
        "no ascii": [("X-Word", "ü\U0001f600".encode())],
        "latin-1": [("X-Word", b"\xfc")],
        "a name with blanks": [("X Word", "a")],
        "a name in unicode": [("Ü".encode(), "a")],
        "an empty name": [("", "a")],
        "a folded line": [("X-Word", b"a\r\n b")],
        "a lone carriage return": [("X-Word", b"a\rb")],
        "a host with a path": [("Host", "a/b?c")],
        "an upgrade": [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")],
        "a web socket": [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "AAAA")],
        "what only we may set": [("Wsgi.Input", "x"), ("X-Forwarded-For", "a, b\tc, 1.2.3.4, ::")],
        "another's path": [("Script-Name", "/x"), ("X-Original-URL", "/admin/"), ("X-HTTP-Method-Override", "PUT")],
        "an expectation": [("Expect", "100-continue")],
        "an expectation nobody meets": [("Expect", "a miracle")],
        "a type of 5000 characters": [("Content-Type", "a" * 5000)],
        "a type with rubbish": [("Content-Type", b"application/json; charset=\xff; boundary=\"")],
    }  # fmt: skip
    for name, more in floods.items():
        status, answer = spoken(server, head_of([*length.items(), *signed(GOOD).items(), *more]) + GOOD)
        if status not in (100, 200):
            assert_refused(status, answer, name)
    assert InboundEvent.objects.count() == 1
    assert_answers(server)


def test_signatures_of_every_malformed_kind_are_refused(server):
    length = ("Content-Length", len(GOOD))
    [(header, right)] = signed(GOOD).items()
    for value in BAD_VALUES:
        status, answer = spoken(server, head_of([length, (header, value.encode("latin-1"))]) + GOOD)
        assert status in (400, 401, 431), value
        assert_refused(status, answer, value)
    # Twice, a server makes one value of them: a right one beside a wrong one proves nothing that was not signed.
    for values in ([right, "x"], ["x", right], [right, right]):
        status, answer = spoken(server, head_of([length, *((header, value) for value in values)]) + GOOD)
        assert status in (200, 400, 401)
    assert InboundEvent.objects.count() <= 1
    assert_answers(server)


STARTS = [
    b"POST /webhook/retell\r\n\r\n",
    b"POST  HTTP/1.1\r\n\r\n",
    b"POST http://elsewhere/webhook/retell HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\n\r\n\r\n",
    b"\x00" * 500,
]


def test_absurd_addresses_and_methods_are_refused(server):
    head = {"Content-Length": len(GOOD), "Content-Type": "application/json", **signed(GOOD)}
    for path in BAD_PATHS:
        status, answer = spoken(server, head_of(head, path=path) + GOOD)
        if status not in (200, 302):  # some lead to the endpoint or to the login after all
            assert_refused(status, answer, path)
    for method in METHODS:
        status, answer = spoken(server, head_of(head, method=method) + GOOD)
        assert_refused(status, answer, method)
    for start in STARTS:
        status, _ = spoken(server, start, ends=True)
        assert status < 500, start
    assert InboundEvent.objects.count() <= 1
    assert_answers(server)


SAID = {"code", "message", "implementation", "context"}
TOLD_IN_HEADERS = {
    "content-type", "content-length", "date", "server", "connection", "allow", "retry-after", "x-trace-id",
    "x-content-type-options", "x-frame-options", "referrer-policy", "cross-origin-opener-policy", "vary",
    "www-authenticate",
}  # fmt: skip
# Places, software and its versions; of a webhook also why it is refused. That is for the log and the admin.
INSIDE = re.compile(
    r"traceback|django|python|granian/|sqlite|postgres|redis|celery|/root|\.py\b|line \d|\d+\.\d+\.\d+",
    re.IGNORECASE,
)
REASON = re.compile(r"signature|secret|header|token|switched|allow-list", re.IGNORECASE)


def heard(server, text, *, ends):
    """All of the answer to these bytes, as text; the sender `ends`, or waits for it."""
    answer = b""
    with socket.create_connection((HOST, server.port), timeout=30) as line, contextlib.suppress(OSError):
        line.sendall(text)
        if ends:
            line.shutdown(socket.SHUT_WR)
        while part := line.recv(65536):
            answer += part
    return answer.decode()


def test_strangers_are_told_nothing_of_the_inside(own_server):
    Endpoint.objects.filter(provider__slug="vcp").update(enabled=False)
    large = b"x" * 10_000_001
    length = {"Content-Length": 2}
    asked = {
        "no signature": (401, head_of(length) + b"{}"),
        "a wrong one": (401, head_of({**length, **signed(b"[]")}) + b"{}"),
        "an old one": (401, head_of({**length, **signed(b"{}", at=ARRIVAL)}) + b"{}"),
        "nobody": (404, head_of(length, path="/webhook/nobody") + b"{}"),
        "no endpoint": (404, head_of(length, path="/webhook/retell/none") + b"{}"),
        "switched off": (404, head_of(length, path="/webhook/vcp") + b"{}"),
        "a token": (401, head_of(length, path="/webhook/retell/default/secret-token") + b"{}"),
        "nowhere": (404, head_of(length, path="/webhook/a/b/c/d") + b"{}"),
        "a method": (405, head_of(path="/webhook/retell", method="GET")),
        "too large": (413, head_of({"Content-Length": len(large)}) + large),
        "no body": (400, head_of({"Content-Length": 5}) + b"{}"),
        "no host": (400, b"POST /webhook/a%20b HTTP/1.0\r\nHost: \x20<b>\r\nContent-Length: 0\r\n\r\n"),
        "no request": (400, b"NONSENSE\r\n\r\n"),
        "headers": (431, head_of([(f"X-{number}", "a") for number in range(10_000)])),
        "no login": (401, head_of(path="/api/messages", method="GET")),
        "a wrong token": (401, head_of({"Authorization": "Token x"}, path="/api/messages", method="GET")),
        "no page": (404, head_of(path="/api/none", method="GET")),
    }
    for name, (status, text) in asked.items():
        answer = heard(own_server, text, ends=name == "no body")
        head, _, body = answer.partition("\r\n\r\n")
        start, *headers = head.split("\r\n")
        assert start.split(" ")[1:2] == [str(status)], (name, start)
        assert {header.partition(":")[0].lower() for header in headers} <= TOLD_IN_HEADERS, (name, headers)
        assert not INSIDE.search(answer.replace(IMPLEMENTATION, "")), (name, answer)
        assert b"/webhook/" not in text[:60] or not REASON.search(answer.partition("\r\n")[2]), (name, answer)
        if body:
            assert set(json.loads(body)) == SAID, name
            assert set(json.loads(body)["context"]) == {"trace_id"}, name

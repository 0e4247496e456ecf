"""Every door gives the same answers, byte by byte: Django's view, the lane beside it, the lane with shared commits.

Each request is told as a WSGI server tells it, and each answer is written out here: no door is measured by another.
"""

import hashlib
import importlib
import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.utils import timezone

from apps.ingest import committing, inbox
from apps.ingest.committing import NotStoredError
from apps.ingest.ids import derived_id
from apps.ingest.models import InboundEvent, Refusal, Tally
from apps.providers import registry
from apps.providers.engine.addresses import parse_networks
from apps.providers.engine.signatures import SignedRequest
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret
from tests import rsgi
from tests.calls import ENDED, SECRET, in_threads, sample, signed
from vcp.errors import IMPLEMENTATION
from voicelens.tracing import TraceFilter

pytestmark = pytest.mark.django_db
transactional = pytest.mark.django_db(transaction=True)
BODY = json.dumps(sample(ENDED)).encode()
TOKEN = "a-token.of_the~tests"
LIMIT = 20_000
Environ = dict[str, Any]


@dataclass
class Answer:
    """What the server is given to send; the trace id is told once, and stands as TRACE everywhere else."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    trace_id: str


Door = Callable[[Environ], Answer]


@pytest.fixture
def wsgi(db: None) -> ModuleType:
    """The module, which looks at the stored secrets when it is imported, and starts to share commits."""
    module = importlib.import_module("voicelens.wsgi")
    committing.stop()
    return module


@pytest.fixture
def in_the_test_s_transaction(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a request drops a connection that is left within a transaction; here the test's is."""
    if connection.in_atomic_block:
        monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)


@pytest.fixture(params=["view", "lane", pytest.param("shared commits", marks=transactional)])
def door(
    request: pytest.FixtureRequest, wsgi: ModuleType, catalogue: None, in_the_test_s_transaction: None
) -> Iterator[Door]:
    if request.param == "shared commits":
        committing.start()
    yield (
        (lambda environ: through(wsgi, environ))
        if request.param == "view"
        else (lambda environ: by_lane(wsgi, environ))
    )
    committing.stop()


def by_lane(wsgi: ModuleType, environ: Environ, app: Any = None) -> "Answer":
    """As the web server that is shipped calls it."""
    return answer_from(*rsgi.through(app or wsgi.django_application, environ))


def through(wsgi: ModuleType, environ: Environ) -> "Answer":
    """As a WSGI server calls it."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    parts = wsgi.application(environ, lambda status, headers, exc_info=None: begun.append((status, headers)))
    try:
        body = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    return answer_from(*begun[0], body)


def answer_from(status: str, headers: list[tuple[str, str]], body: bytes) -> "Answer":
    trace_id = dict(headers)["X-Trace-Id"]
    told = sorted((name, value.replace(trace_id, "TRACE")) for name, value in headers)
    return Answer(status, told, body.replace(trace_id.encode(), b"TRACE"), trace_id)


def post(
    path: str = "/webhook/retell", body: bytes = BODY, headers: dict[str, str] | None = None, **environ: Any
) -> Environ:
    """The POST as a server tells it; None takes an entry out. Signed unless headers are given."""
    told = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in (signed(body) if headers is None else headers).items():
        told["HTTP_" + name.upper().replace("-", "_")] = value
    return {name: value for name, value in (told | environ).items() if value is not None}


# --- the answers, written out -------------------------------------------------------------------------------------


def answer_of(status: str, body: bytes, **more: str) -> tuple[str, list[tuple[str, str]], bytes]:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body) - len(b"TRACE") * body.count(b"TRACE") + 32 * body.count(b"TRACE")),
        "X-Trace-Id": "TRACE",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    return status, sorted(headers.items()), body


def stored(body: bytes = BODY, *, duplicate: str = "false") -> tuple[str, list[tuple[str, str]], bytes]:
    delivery_id = id_of(body)
    told = f'{{"success":true,"delivery_id":"{delivery_id}","duplicate":{duplicate},"trace_id":"TRACE"}}'
    return answer_of("200 OK", told.encode(), X_Delivery_Id=str(delivery_id))


def id_of(body: bytes) -> uuid.UUID:
    return derived_id("delivery", "retell", "default", f"sha256:{hashlib.sha256(body).hexdigest()}")


def refused(status: str, code: str, message: str, **more: str) -> tuple[str, list[tuple[str, str]], bytes]:
    told = f'"code":"{code}","message":"{message}","implementation":"{IMPLEMENTATION}","context":{{"trace_id":"TRACE"}}'
    return answer_of(status, b"{%s}" % told.encode(), **more)


STORED, DUPLICATE = stored(), stored(duplicate="true")
UNREADABLE = refused("400 Bad Request", "HTTP_400", "the body could not be read to its end")
NOT_AUTHENTIC = refused("401 Unauthorized", "HTTP_401", "the request could not be authenticated")
UNKNOWN = refused("404 Not Found", "VCP_E002", "no such provider or endpoint")
NOT_POST = refused("405 Method Not Allowed", "HTTP_405", "webhooks are sent by POST", Allow="POST")
TOO_LARGE = refused("413 Request Entity Too Large", "HTTP_413", "the body is larger than this endpoint accepts")
NOT_STORED = refused(
    "503 Service Unavailable", "HTTP_503", "the delivery could not be stored; send it again", Retry_After="5"
)


def check(answer: Answer, expected: tuple[str, list[tuple[str, str]], bytes]) -> None:
    assert (answer.status, answer.headers, answer.body) == expected
    assert re.fullmatch("[0-9a-f]{32}", answer.trace_id)


class Gone(io.BytesIO):
    """The body of a sender that hangs up half-way."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError("connection reset by peer")


def padded(size: int) -> bytes:
    return b'{"event": "chat_ended", "padding": "' + b"x" * (size - 38) + b'"}'


CHUNKED = {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}
REQUESTS: dict[str, tuple[Callable[[], Environ], tuple[str, list[tuple[str, str]], bytes]]] = {
    # What is taken.
    "good": (post, STORED),
    "with a slash": (lambda: post("/webhook/retell/"), STORED),
    "with its endpoint": (lambda: post("/webhook/retell/default"), STORED),
    "with its endpoint and a slash": (lambda: post("/webhook/retell/default/"), STORED),
    "in another case": (lambda: post("/webhook/RETELL/default"), STORED),
    "with a token that nobody asks for": (lambda: post(f"/webhook/retell/default/{TOKEN}"), STORED),
    "with more behind the token": (lambda: post(f"/webhook/retell/default/{TOKEN}/more"), STORED),
    "with a query": (lambda: post(QUERY_STRING="a=1&b=%20"), STORED),
    "chunked": (lambda: post(**CHUNKED), STORED),
    "to a host of another name": (lambda: post(HTTP_HOST="voice.example.com"), STORED),
    "an empty body": (lambda: post(body=b""), stored(b"")),
    "no JSON": (lambda: post(body=b"\xff\x00{"), stored(b"\xff\x00{")),
    "another content type": (lambda: post(CONTENT_TYPE="text/plain; charset=latin-1"), STORED),
    "no content type": (lambda: post(CONTENT_TYPE=None), STORED),
    "a form": (lambda: post(CONTENT_TYPE="application/x-www-form-urlencoded"), STORED),
    "at the limit": (lambda: post(body=padded(LIMIT)), stored(padded(LIMIT))),
    "at the limit, chunked": (lambda: post(body=padded(LIMIT), **CHUNKED), stored(padded(LIMIT))),
    # What cannot be proved.
    "bad signature": (lambda: post(headers=signed(BODY, secret="another")), NOT_AUTHENTIC),
    "no signature": (lambda: post(headers={}), NOT_AUTHENTIC),
    "a signature that is none": (lambda: post(headers={"X-Retell-Signature": "v=ü,d=\x00"}), NOT_AUTHENTIC),
    "too old": (lambda: post(headers=signed(BODY, at=timezone.now() - timedelta(minutes=6))), NOT_AUTHENTIC),
    "of another body": (lambda: post(headers=signed(BODY + b" ")), NOT_AUTHENTIC),
    "no length": (lambda: post(CONTENT_LENGTH=None), NOT_AUTHENTIC),
    "an empty length": (lambda: post(CONTENT_LENGTH=""), NOT_AUTHENTIC),
    "a length that is too short": (lambda: post(CONTENT_LENGTH="5"), NOT_AUTHENTIC),
    # What is at no address.
    "unknown provider": (lambda: post("/webhook/nobody"), UNKNOWN),
    "unknown endpoint": (lambda: post("/webhook/retell/nowhere"), UNKNOWN),
    "unknown, with a token": (lambda: post(f"/webhook/nobody/default/{TOKEN}"), UNKNOWN),
    "no provider": (lambda: post("/webhook/"), UNKNOWN),
    "switched off": (lambda: post("/webhook/retell/off"), UNKNOWN),
    "NUL in the address": (lambda: post("/webhook/\x00"), UNKNOWN),
    "two slashes": (lambda: post("/webhook//retell"), UNKNOWN),
    "a line break": (lambda: post("/webhook/retell\n"), UNKNOWN),
    # What is no POST.
    **{
        method: (lambda method=method: post(REQUEST_METHOD=method), NOT_POST)
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "FROB")
    },
    "OPTIONS, with a token": (
        lambda: post(f"/webhook/retell/default/{TOKEN}", REQUEST_METHOD="OPTIONS"),
        NOT_POST,
    ),
    # What is too large, or comes in part.
    "over the limit": (lambda: post(body=padded(LIMIT + 1)), TOO_LARGE),
    "over the limit, chunked": (lambda: post(body=padded(LIMIT + 1), **CHUNKED), TOO_LARGE),
    "far over the limit": (lambda: post(body=b"x", CONTENT_LENGTH="9" * 19), TOO_LARGE),
    "half a body": (lambda: post(CONTENT_LENGTH=str(len(BODY) + 1)), UNREADABLE),
    "a sender that hangs up": (lambda: post(**{"wsgi.input": Gone()}), UNREADABLE),
    "a sender that hangs up on a refusal": (
        lambda: post(CONTENT_LENGTH=str(LIMIT + 1), **{"wsgi.input": Gone()}),
        UNREADABLE,
    ),
    "a length below zero": (lambda: post(CONTENT_LENGTH="-1"), UNREADABLE),
    "a length that is no number": (lambda: post(CONTENT_LENGTH="many"), UNREADABLE),
    "a length of a strange digit": (lambda: post(CONTENT_LENGTH="²"), UNREADABLE),
    "a length of 5000 digits": (lambda: post(CONTENT_LENGTH="9" * 5000), UNREADABLE),
}


@pytest.fixture
def limited(catalogue: None, settings: Any) -> None:
    """A small limit, and an endpoint that is switched off."""
    settings.WEBHOOK_BODY_LIMIT_BYTES = LIMIT
    Endpoint.objects.create(provider=Provider.objects.get(slug="retell"), slug="off", enabled=False)
    registry.forget()


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("door", ["view", "lane"], indirect=True)
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_alike_at_every_door(door: Door, name: str) -> None:
    build, expected = REQUESTS[name]
    check(door(build()), expected)
    assert InboundEvent.objects.count() == (expected[0] == "200 OK")


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("door", [pytest.param("shared commits", marks=transactional)], indirect=True)
def test_a_request_is_answered_alike_where_commits_are_shared(door: Door) -> None:
    """One test, since a real commit costs each test an emptying of all tables."""
    for build, expected in REQUESTS.values():
        InboundEvent.objects.all().delete()
        check(door(build()), expected)
        assert InboundEvent.objects.count() == (expected[0] == "200 OK")


def test_the_table_has_every_answer_but_503() -> None:
    assert {expected[0][:3] for _, expected in REQUESTS.values()} == {"200", "400", "401", "404", "405", "413"}


# --- what is behind the answer ------------------------------------------------------------------------------------


def test_a_repetition_is_known_at_every_door(door: Door, rings: list[int]) -> None:
    check(door(post()), STORED)
    for _ in range(2):
        check(door(post()), DUPLICATE)
    assert (InboundEvent.objects.count(), len(rings)) == (1, 1)
    [line] = Tally.objects.all()
    assert (line.accepted, line.repeated) == (1, 2)


def test_what_came_through_one_door_is_known_at_another(
    catalogue: None, wsgi: ModuleType, client: Client, in_the_test_s_transaction: None
) -> None:
    assert client.generic("POST", "/webhook/retell", BODY, "application/json", headers=signed(BODY)).status_code == 200
    check(by_lane(wsgi, post()), DUPLICATE)


def test_the_row_is_the_same_at_every_door(door: Door) -> None:
    told = {"User-Agent": "Retell\x00/1", "Date": "x" * 501, "Cookie": "session=1", "Authorization": "Bearer x"}
    answer = door(post(headers=signed(BODY) | told, QUERY_STRING="a=1", HTTP_TRACEPARENT="00-1-2-03"))
    row = InboundEvent.objects.get()
    assert (row.delivery_id, bytes(row.body), row.trace_id) == (id_of(BODY), BODY, answer.trace_id)
    assert (row.provider, row.environment, row.content_type, row.state) == (
        "retell",
        row.endpoint.environment,
        "application/json",
        "received",
    )
    assert row.headers == {
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "user-agent": "Retell/1",
        "date": "x" * 500,
        "traceparent": "00-1-2-03",
    }


def test_an_event_that_waits_for_a_decision_is_answered_with_it(door: Door) -> None:
    body = json.dumps(sample("call_inbound")).encode()
    for _ in range(2):
        check(
            door(post(body=body)),
            answer_of("200 OK", b'{"call_inbound":{}}', X_Delivery_Id=str(id_of(body))),
        )


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (f"/{TOKEN}", STORED),
        (f"/{TOKEN}/", STORED),
        (f"//{TOKEN}", STORED),
        (f"/{TOKEN}x", NOT_AUTHENTIC),
        (f"/{TOKEN}/x", NOT_AUTHENTIC),
        ("/\u00f0\u009f\u0093\u009e", NOT_AUTHENTIC),
        ("/%00", NOT_AUTHENTIC),
        ("", NOT_AUTHENTIC),
        ("/", NOT_AUTHENTIC),
    ],
)
def test_a_token_in_the_url_proves_at_every_door(
    door: Door, tail: str, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint.objects.get(provider__slug="retell", slug="default")
    endpoint.auth_configs.all().delete()
    way = AuthConfig.objects.create(endpoint=endpoint, name="url_token", scheme={"kind": "url_token"})
    secret = Secret(auth_config=way)
    secret.set_value(TOKEN)
    secret.save()
    registry.forget()
    with caplog.at_level(logging.DEBUG):
        check(door(post(f"/webhook/retell/default{tail}", headers={})), expected)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("path", "query", "tail"),
    [
        ("/webhook/retell", "", ""),
        ("/webhook/retell/", "a=%20b&c=d", "?a=%20b&c=d"),
        (f"/webhook/retell/default/{TOKEN}/", "a=1", "?a=1"),
        ("/webhook/retell", "a=b|c", "?a=b%7Cc"),
    ],
)
def test_a_scheme_that_signs_the_url_sees_the_same_at_every_door(
    door: Door, settings: Any, monkeypatch: pytest.MonkeyPatch, path: str, query: str, tail: str
) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    seen: list[SignedRequest] = []
    authenticate = inbox.authenticate
    monkeypatch.setattr(inbox, "authenticate", lambda *args: seen.append(args[1]) or authenticate(*args))
    door(post(path, QUERY_STRING=query))
    assert seen[0].url == f"https://voice.example.com{path}{tail}"
    assert seen[0].method == "POST"


@pytest.mark.parametrize(
    ("remote", "forwarded", "status"),
    [("203.0.113.7", None, "200 OK"), ("10.0.0.1", "203.0.113.7", "200 OK"), ("203.0.113.8", None, "401 Unauthorized")],
)
def test_the_sender_s_address_is_judged_alike_at_every_door(
    door: Door, settings: Any, remote: str, forwarded: str | None, status: str
) -> None:
    settings.TRUSTED_PROXIES = parse_networks(["10.0.0.0/8"])
    Endpoint.objects.filter(provider__slug="retell").update(allowed_addresses=["203.0.113.7"])
    registry.forget()
    assert door(post(REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)).status == status


def test_a_refusal_is_counted_at_every_door(door: Door) -> None:
    for _ in range(3):
        check(door(post(headers={})), NOT_AUTHENTIC)
    committing.stop()  # nobody waits for these counts
    assert list(Refusal.objects.values_list("reason", "count")) == [("header_missing", 3)]


# --- what cannot be stored ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [OperationalError("down"), InterfaceError("connection already closed"), NotStoredError("full"), KeyError("defect")],
)
def test_what_cannot_be_stored_is_to_be_sent_again(
    door: Door, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(committing, "_insert_all", fail)
        check(door(post()), NOT_STORED)
    assert not InboundEvent.objects.exists()
    check(door(post()), STORED)


def test_a_registry_that_cannot_be_read_is_503(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*args: Any) -> None:
        raise OperationalError("down")

    with monkeypatch.context() as broken:
        broken.setattr(registry._holder, "current", down)
        check(door(post()), NOT_STORED)
        check(door(post(**CHUNKED)), NOT_STORED)
    check(door(post()), STORED)


def test_what_is_stored_is_acknowledged_although_its_use_cannot_be_noted(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(registry, "note_secret_used", down)
    check(door(post()), STORED)


# --- what the log tells -------------------------------------------------------------------------------------------


class Kept(logging.Handler):
    """What a handler of ours writes: the message with its trace id."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(TraceFilter())
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.trace_id, record.getMessage()))  # type: ignore[attr-defined]


@pytest.fixture
def logged() -> Iterator[list[tuple[str, str]]]:
    kept, logger = Kept(), logging.getLogger("apps.ingest")
    logger.addHandler(kept)
    yield kept.lines
    logger.removeHandler(kept)


def test_a_refusal_is_in_the_log_under_the_trace_id_that_the_sender_was_told(
    door: Door, logged: list[tuple[str, str]]
) -> None:
    answer = door(post(headers={}))
    [(trace_id, line)] = logged
    assert line.startswith("webhook for retell")
    assert (trace_id, SECRET in line) == (answer.trace_id, False)


def test_a_delivery_that_could_not_be_stored_is_in_the_log_under_its_trace_id(
    door: Door, logged: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(committing, "insert", down)
    monkeypatch.setattr(committing, "insert_in_loop", down)
    answer = door(post())
    assert logged == [(answer.trace_id, "a delivery could not be stored")]


# --- the lane itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ",
    [
        lambda: post("/webhook/retell", REQUEST_METHOD="GET"),
        lambda: post("/"),
        lambda: post("/admin/"),
        lambda: post("/api/webhook/retell"),
        lambda: post("/webhook"),
        lambda: post("/webhook/retell/default/a b"),
        lambda: post("/webhook/retell/default/token/more"),
        lambda: post("/x/webhook/retell"),
        lambda: post("/webhook/r\u00c3\u00a9tell"),
    ],
)
def test_what_the_lane_does_not_know_is_django_s(wsgi: ModuleType, environ: Callable[[], Environ]) -> None:
    asked: list[Environ] = []

    def django(environ: Environ, start_response: Any) -> list[bytes]:
        asked.append(environ)
        start_response("418 I'm a Teapot", [("X-Trace-Id", "0")])
        return [b"of ", b"Django"]

    told = environ()
    assert by_lane(wsgi, told, django).body == b"of Django"
    same = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "CONTENT_TYPE", "REMOTE_ADDR", "HTTP_HOST")
    assert [{name: asked[0][name] for name in same}] == [{name: told[name] for name in same}]
    assert asked[0]["wsgi.input"].read() == BODY


def test_the_lane_does_not_mind_the_host(
    catalogue: None, wsgi: ModuleType, in_the_test_s_transaction: None, settings: Any
) -> None:
    """No proof relies on it; the admin's pages do."""
    settings.ALLOWED_HOSTS = ["voice.example.com"]
    check(by_lane(wsgi, post(HTTP_HOST="another.example.com")), STORED)


def test_no_webhook_of_the_lane_asks_django(catalogue: None, wsgi: ModuleType, in_the_test_s_transaction: None) -> None:
    def django(environ: Environ, start_response: Any) -> list[bytes]:
        raise AssertionError("the lane was to answer")

    check(by_lane(wsgi, post(), django), STORED)
    check(by_lane(wsgi, post(f"/webhook/retell/default/{TOKEN}/"), django), DUPLICATE)
    check(by_lane(wsgi, post(headers={}), django), NOT_AUTHENTIC)


@transactional
def test_fifty_at_once_through_the_lane_are_stored_once(catalogue: None, wsgi: ModuleType) -> None:
    committing.start()
    try:
        bodies = [json.dumps(sample(ENDED, call_id=f"call{number}")).encode() for number in range(10)]
        jobs = [lambda body=body: (body, by_lane(wsgi, post(body=body))) for body in bodies * 5]
        answers = in_threads(*jobs)
    finally:
        committing.stop()
    for body in bodies:
        mine = [answer for sent, answer in answers if sent == body]
        assert sorted(b'"duplicate":true' in answer.body for answer in mine) == [False, True, True, True, True]
        assert {answer.status for answer in mine} == {"200 OK"}
    assert InboundEvent.objects.count() == 10
    assert sum(line.accepted for line in Tally.objects.all()) == 10
    assert sum(line.repeated for line in Tally.objects.all()) == 40

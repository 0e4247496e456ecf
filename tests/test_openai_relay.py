"""The relay for customers (docs/openai-relay) against a stand-in of the provider's socket and against our own door."""

import base64
import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.server import serve

from apps.ingest.models import InboundEvent
from apps.providers import registry
from apps.providers.engine import signatures
from apps.providers.models import AuthConfig, Secret

FILE = Path(__file__).parent.parent / "docs" / "openai-relay" / "voicelens_relay.py"
spec = importlib.util.spec_from_file_location("voicelens_relay", FILE)
relay = importlib.util.module_from_spec(spec)
spec.loader.exec_module(relay)

SECRET = "whsec_dm9pY2VsZW5zLW9wZW5haS12ZWN0b3Itc2VjcmV0LTE="
STANDARD_WEBHOOKS = {
    "kind": "hmac", "header": "webhook-signature", "items": ["v1,{signature}"], "separator": " ",
    "timestamp_header": "webhook-timestamp", "id_header": "webhook-id", "signed": "{id}.{timestamp}.{body}",
    "encoding": "base64", "timestamp_unit": "s", "secret_encoding": "whsec",
}  # fmt: skip
CALL, SESSION = "rtc_1", "sess_1"
CREATED = {"type": "session.created", "event_id": "e1", "session": {"id": SESSION, "model": "gpt-realtime-2"}}
DONE = {"type": "response.done", "event_id": "e2", "response": {"id": "resp_1", "note": "Zoë ☎"}}
AUDIO = {"type": "response.output_audio.delta", "event_id": "e3", "delta": "AAAA"}


class Door:
    """Stands in for VoiceLens: keeps what is posted and answers with the next of `statuses`, then with 200."""

    def __init__(self) -> None:
        self.requests, self.statuses = [], []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                door.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = door.statuses.pop(0) if door.statuses else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{door.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhook/x"

    def batches(self):
        return [json.loads(body)["data"] for _, body in self.requests]

    def events(self):
        return [event["event"] for batch in self.batches() for event in batch["events"]]


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def spool(door, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "FIRST_WAIT_SEC", 0.001)
    return relay.Spool(tmp_path / "spool", door.url, SECRET)


@contextmanager
def session(*messages, code=1000, reason="", status=None) -> Iterator[tuple[str, list]]:
    """A stand-in for the provider's socket that says these messages and closes; gives its URL and what it was asked."""
    asked = []

    def refuse(connection, request):
        asked.append((request.path, request.headers.get("Authorization")))
        return connection.respond(status, "no") if status else None

    def talk(connection):
        for message in messages:
            connection.send(json.dumps(message))
        if code == relay.BROKEN:
            connection.socket.close()
        else:
            connection.close(code, reason)

    with serve(talk, "127.0.0.1", 0, process_request=refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/realtime", asked
        server.shutdown()
        thread.join()


def batch(number=1, **data):
    return {"id": f"relay_{number}", "created_at": 1780409204, "data": {"sequence": number, **data}}


# --- a whole call -------------------------------------------------------------------------------------------


def test_a_session_is_heard_to_its_end_and_told_without_the_noise(door, spool):
    facts = {"transport": "sip", "direction": "inbound", "from": "+15550142233"}
    noise = [AUDIO, {"type": "rate_limits.updated"}, {"type": "input_audio_buffer.speech_started"}]
    dtmf = {"type": "input_audio_buffer.dtmf_event_received", "event": "5"}
    with session(CREATED, *noise, DONE, dtmf, code=1001, reason="caller hung up") as (url, asked):
        with relay.Relay(spool, call_id=CALL, facts=facts, batch_sec=60) as one:
            one.end(*relay.listen(one, "sk-key", url))
        assert one.stop()
    assert asked == [(f"/v1/realtime?call_id={CALL}", "Bearer sk-key")]
    assert door.events() == [CREATED, DONE, dtmf]
    last = door.batches()[-1]
    assert (last["call_id"], last["session_id"], last["final"]) == (CALL, SESSION, True)
    assert last["close"] == {"code": 1001, "reason": "caller hung up"}
    assert {**facts, "to": None, "recording_url": None, "started_at": None}.items() <= last.items()
    assert datetime.fromisoformat(last["ended_at"]) >= datetime.fromisoformat(last["events"][-1]["received_at"])
    assert spool.waiting() == []


def test_a_connection_that_breaks_is_told_as_such(door, spool):
    with session(CREATED, code=relay.BROKEN) as (url, _), relay.Relay(spool, call_id=CALL) as one:
        assert relay.listen(one, "sk-key", url) == (1006, "")


def test_a_session_that_is_refused_is_an_error_and_no_end(door, spool):
    with (
        session(status=404) as (url, _),
        pytest.raises(InvalidStatus),
        relay.Relay(spool, call_id=CALL) as one,
    ):
        relay.listen(one, "sk-key", url)
    assert door.requests == []


def test_batches_of_one_session_are_numbered_and_only_the_last_is_final(door, spool, monkeypatch):
    monkeypatch.setattr(relay, "BATCH_EVENTS", 1)
    arrived = threading.Event()
    send = spool.send
    monkeypatch.setattr(spool, "send", lambda: (send(), arrived.set() if door.requests else None)[0])
    with relay.Relay(spool, call_id=CALL, batch_sec=60) as one:
        one.add(CREATED)
        assert arrived.wait(10)
        one.add(DONE)
        one.end()
    told = door.batches()
    assert [item["sequence"] for item in told] == list(range(1, len(told) + 1))
    assert [item["final"] for item in told] == [False] * (len(told) - 1) + [True]
    assert all(item["close"] is None and item["ended_at"] is None for item in told[:-1])
    assert len({headers["webhook-id"] for headers, _ in door.requests}) == len(told) >= 2
    assert door.events() == [CREATED, DONE]


def test_a_session_of_ones_own_is_known_by_the_id_it_tells(door, spool):
    with relay.Relay(spool, facts={"transport": "websocket"}) as one:
        one.add(DONE, datetime(2026, 6, 2, 14, 5, 13, 120000, tzinfo=UTC))
        one.add(CREATED)
    (told,) = door.batches()
    assert (told["call_id"], told["session_id"], told["final"]) == (None, SESSION, False)
    assert told["events"][0] == {"received_at": "2026-06-02T14:05:13.120Z", "event": DONE}


def test_events_of_nobody_are_not_sent_and_it_is_said(door, spool, caplog):
    one = relay.Relay(spool)
    one.add(DONE)
    one.end()
    assert not one.stop()
    assert door.requests == []
    assert "1 events were not kept" in caplog.text


# --- failures -----------------------------------------------------------------------------------------------


def test_an_outage_delays_and_does_not_lose(door, spool):
    door.statuses = [503, 500, 429, 401]
    with relay.Relay(spool, call_id=CALL, batch_sec=60) as one:
        one.add(DONE)
        one.end()
    assert len(door.requests) == 5
    assert len({body for _, body in door.requests}) == 1
    assert len({headers["webhook-id"] for headers, _ in door.requests}) == 1
    assert spool.waiting() == []


def test_what_an_earlier_run_left_is_sent_by_the_next(door, spool):
    spool.put(batch(1, events=[]))
    with relay.Relay(spool, call_id=CALL):
        pass
    assert [headers["webhook-id"] for headers, _ in door.requests] == ["relay_1"]


def test_a_stop_that_runs_out_of_time_says_so_and_the_rest_goes_on(door, spool):
    spool.url, url = "http://127.0.0.1:1/nobody", spool.url
    one = relay.Relay(spool, call_id=CALL)
    one.add(DONE)
    assert not one.stop(timeout_sec=0)
    spool.url = url
    assert one.stop(timeout_sec=60)
    assert door.events() == [DONE]


def test_the_oldest_is_sent_first_and_a_failure_ends_the_attempt(door, spool):
    for number in (2, 1, 3):
        spool.put(batch(number))
    door.statuses = [200, 503]
    assert not spool.send()
    assert [headers["webhook-id"] for headers, _ in door.requests] == ["relay_1", "relay_2"]
    assert spool.send()
    assert [headers["webhook-id"] for headers, _ in door.requests[2:]] == ["relay_2", "relay_3"]


@pytest.mark.parametrize("status", [400, 413])
def test_a_batch_that_is_refused_for_ever_does_not_hold_up_the_others(door, spool, status):
    spool.put(batch(1))
    spool.put(batch(2))
    door.statuses = [status]
    assert spool.send()
    assert len(door.requests) == 2
    assert [file.suffix for file in spool.folder.iterdir()] == [".refused"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_confirmation(door, spool, status):
    spool.put(batch())
    door.statuses = [status]
    assert not spool.send()
    assert len(door.requests) == 1


def test_a_spool_that_cannot_be_written_holds_the_events(door, spool, monkeypatch, caplog):
    put, failures, failed = spool.put, [OSError("disk full"), OSError("disk full")], threading.Event()

    def failing(batch):
        if failures:
            error = failures.pop()
            failed.set()
            raise error
        put(batch)

    monkeypatch.setattr(spool, "put", failing)
    with relay.Relay(spool, call_id=CALL, batch_sec=0.001) as one:
        one.add(DONE)
        assert failed.wait(10)
        one.add(CREATED)
        one.end()
    assert door.events() == [DONE, CREATED]
    assert "the spool cannot be written" in caplog.text


def test_the_spool_is_its_owner_s_alone(spool):
    spool.put(batch())
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in spool.folder.iterdir()] == [0o600]


@pytest.mark.parametrize(
    ("url", "secret", "said"),
    [
        ("file:///etc/passwd", SECRET, "must begin with https"),
        ("https://x", "no prefix", "must begin with whsec_"),
        ("https://x", "whsec_!", "base64|digit"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(tmp_path, url, secret, said):
    with pytest.raises(ValueError, match=said):
        relay.Spool(tmp_path, url, secret)


@pytest.mark.parametrize("argv", [["relay"], ["relay", CALL]])
def test_the_command_says_what_is_missing(monkeypatch, argv):
    monkeypatch.setattr("sys.argv", argv)
    for name in ("OPENAI_API_KEY", "VOICELENS_URL", "VOICELENS_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match="OPENAI_API_KEY, VOICELENS_URL, VOICELENS_SECRET"):
        relay.main()


def test_the_command_relays_a_call(monkeypatch, door, tmp_path):
    with session(CREATED, DONE) as (url, asked):
        for name, value in {
            "OPENAI_API_KEY": "sk-key", "VOICELENS_URL": door.url, "VOICELENS_SECRET": SECRET,
            "VOICELENS_SPOOL": str(tmp_path / "s"), "OPENAI_REALTIME_URL": url,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["relay", CALL])
        assert relay.main() == 0
    assert asked == [(f"/v1/realtime?call_id={CALL}", "Bearer sk-key")]
    assert door.events() == [CREATED, DONE]
    assert door.batches()[-1]["close"] == {"code": 1000, "reason": None}


# --- against ourselves --------------------------------------------------------------------------------------


def test_a_published_vector_is_signed_alike():
    body = '{"type":"realtime.session.relay","note":"Zoë ☎"}'.encode()
    headers = relay.sign(SECRET, "wh_relay_0001", 1780409204, body)
    assert headers["webhook-signature"] == "v1,c0wGexO1mrfVjGUyFHY3ESWAu424CaQz8Gcq9p7zuhI="


@pytest.mark.parametrize(("secret", "ok"), [(SECRET, True), ("whsec_" + base64.b64encode(b"other").decode(), False)])
def test_the_engine_accepts_the_signature(secret, ok):
    body = b'{"a": 1}'
    request = signatures.SignedRequest(relay.sign(SECRET, "relay_1", 1780409204, body), body)
    scheme = signatures.parse_scheme(STANDARD_WEBHOOKS)
    verdict = signatures.verify(
        scheme, [signatures.Secret("1", secret)], request, datetime.fromtimestamp(1780409210, UTC)
    )
    assert (verdict.reason == signatures.Reason.OK) is ok


@pytest.mark.django_db
def test_our_door_takes_a_batch_and_takes_its_repetition_once(door, spool, catalogue, client):
    way = AuthConfig.objects.get(endpoint__slug="default", endpoint__provider__slug="retell")
    way.secrets.all().delete()
    way.scheme = STANDARD_WEBHOOKS
    way.save()
    secret = Secret(auth_config=way)
    secret.set_value(SECRET)
    secret.save()
    registry.forget()
    door.statuses = [503]
    with relay.Relay(spool, call_id=CALL) as one:
        one.add(DONE)
        one.end()
    assert len(door.requests) == 2
    answers = [
        client.post("/webhook/retell", body, content_type="application/json", headers=headers).status_code
        for headers, body in door.requests
    ]
    assert answers == [200, 200]
    row = InboundEvent.objects.get()
    assert bytes(row.body) == door.requests[0][1]
    assert row.received_at <= timezone.now()

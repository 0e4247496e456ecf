"""The service as it runs: granian, Celery and Redis in processes of their own, on the run's database.

The command lines are the supervisor's. Here things are killed as machines kill them; only processes that a test
started itself.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import InboundEvent, Message
from apps.providers.models import AuthConfig, Secret
from apps.providers.sync import sync_catalog
from tests.calls import ENDED, ON_SQLITE, SECRET, in_threads, numbers, sample, signed
from tests.plugin import _test_database_url
from voicelens.leash import leashed
from voicelens.schedule import ensure_schedule
from voicelens.services import HOST, free_port, usable_redis
from voicelens.supervisor import Options, health_at, service_specs

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 100_000
LEASE_SEC = 2


def until(condition, within_sec=60):
    """Wait for another process; what it did is the condition's business."""
    deadline = time.monotonic() + within_sec
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.02)


class Stack:
    """Redis, web server, worker and scheduler on the test database; each can be started and killed by its name."""

    def __init__(self, folder):
        self.redis = usable_redis(folder / "redis")
        self.port = free_port()
        options = Options(HOST, self.port, folder, self.redis.url, not ON_SQLITE, "WARNING")
        self.commands = {spec.name: list(spec.argv) for spec in service_specs(options)}
        self.commands["redis"] = list(self.redis.argv)
        self.commands["supervisor"] = [sys.executable, "-m", "voicelens.supervisor"]
        self.environment = {
            **os.environ,
            "DATABASE_URL": _test_database_url(),
            "REDIS_URL": self.redis.url,
            "WEBHOOK_BODY_LIMIT_BYTES": str(LIMIT_BYTES),
            "INGEST_LEASE_SEC": str(LEASE_SEC),
            "INGEST_BATCH_SIZE": "1",
            "PYTHONUNBUFFERED": "1",
            # For the supervisor, which finds out the rest by itself.
            "DATA_DIR": str(folder / "data"),
            "SERVICE_HOST": HOST,
            "PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
        }
        self.running = {}

    def start(self, *names):
        for name in names:
            self.running[name] = subprocess.Popen(
                leashed(self.commands[name]),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            if name == "redis":
                until(self.redis.is_ready)
            if name in ("web", "supervisor"):
                until(lambda: health_at(HOST, self.port) == "")

    def kill(self, name):
        """As a machine without memory does it; the process is ours until it has been waited for."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)

    def stop(self):
        # The broker last: without it a worker would not end in peace.
        for name in ("supervisor", "web", "beat", "worker", "redis"):
            if name in self.running:
                self.running[name].terminate()
                try:
                    self.running[name].wait(timeout=30 if name == "supervisor" else 5)
                except subprocess.TimeoutExpired:
                    self.kill(name)

    def request(self, method, path, body=None, headers=None):
        line = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            line.request(method, path, body, headers or {})
            answer = line.getresponse()
            return answer, answer.read()
        finally:
            line.close()

    def post(self, payload):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        answer, text = self.request(
            "POST", "/webhook/retell", body, {"Content-Type": "application/json", **signed(body)}
        )
        return answer.status, json.loads(text)

    def speak(self, text, ends=False):
        """Send these very bytes, and no more if it `ends` there; gives the answer's status line and body."""
        with socket.create_connection((HOST, self.port), timeout=30) as line:
            line.sendall(text)
            if ends:
                line.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: line.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.split(b"\r\n", 1)[0].decode(), body


@pytest.fixture
def stack(catalogue, tmp_path):
    ensure_schedule()
    made = Stack(tmp_path)
    yield made
    made.stop()


def padded(size):
    """A body of exactly that many bytes."""
    payload = {**sample("chat_ended"), "padding": ""}
    payload["padding"] = "x" * (size - len(json.dumps(payload)))
    return json.dumps(payload).encode()


def chunked(body, size=16_384, provider="retell", path=None):
    """A POST of this body in chunks, without Content-Length."""
    head = {"Host": HOST, "Content-Type": "application/json", "Transfer-Encoding": "chunked", "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**head, **signed(body, provider=provider)}.items())
    pieces = [body[start : start + size] for start in range(0, len(body), size)] + [b""]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"POST {path or f'/webhook/{provider}'} HTTP/1.1\r\n{lines}\r\n".encode() + chunks


def test_50_posts_of_the_same_delivery_at_once_become_one_call(stack):
    stack.start("redis", "web", "worker")
    body = json.dumps(sample(ENDED)).encode()
    answers = in_threads(*[lambda: stack.post(body)] * 50)
    assert Counter((status, answer["duplicate"]) for status, answer in answers) == {(200, False): 1, (200, True): 49}
    assert len({answer["delivery_id"] for _, answer in answers}) == 1
    # Rung, not swept: no scheduler runs here.
    until(Message.objects.exists)
    assert InboundEvent.objects.get().state == "processed"
    assert numbers()["total"] == 1


@pytest.mark.any_database
def test_the_door_takes_whole_bodies_up_to_the_limit_however_they_are_sent(stack):
    stack.start("redis", "web")
    long = padded(LIMIT_BYTES - 1)
    status, answer = stack.speak(chunked(long))
    assert status == "HTTP/1.1 200 OK", answer
    assert bytes(InboundEvent.objects.get().body) == long
    assert stack.post(padded(LIMIT_BYTES))[0] == 200
    refusals = [
        stack.post(padded(LIMIT_BYTES + 1)),
        (413, json.loads(_body_of(stack.speak(chunked(padded(LIMIT_BYTES + 1))), "413"))),
        (413, json.loads(_body_of(stack.speak(chunked(padded(LIMIT_BYTES * 5))), "413"))),
    ]
    assert [(status, error["code"]) for status, error in refusals] == [(413, "HTTP_413")] * 3
    # One that says it has more to come and ends is not taken for the whole.
    cut = b"POST /webhook/retell HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + b"{}"
    with contextlib.suppress(OSError):
        assert "200" not in stack.speak(cut, ends=True)[0]
    assert InboundEvent.objects.count() == 2


def _body_of(answer, status):
    line, body = answer
    assert status in line, line
    # granian answers without a length here and there: take the JSON, whatever frames it.
    return body[body.index(b"{") : body.rindex(b"}") + 1]


def test_a_recording_of_5_mb_in_chunks_is_answered_200_and_lies_in_the_storage(stack, tmp_path):
    sync_catalog(("elevenlabs",))
    secret = Secret(auth_config=AuthConfig.objects.get(endpoint__provider__slug="elevenlabs", name="signature",
                                                       endpoint__slug="default"))  # fmt: skip
    secret.set_value(SECRET)
    secret.save()
    content = os.urandom(4_000_000)
    payload = sample("post_call_audio", "elevenlabs")
    payload["data"]["full_audio"] = base64.b64encode(content).decode()
    body = json.dumps(payload).encode()
    stack.start("redis", "web", "worker")
    for _ in range(2):
        status, answer = stack.speak(chunked(body, provider="elevenlabs"))
        assert status == "HTTP/1.1 200 OK", answer
    until(lambda: InboundEvent.objects.get().state == "waiting")
    row = InboundEvent.objects.get()
    assert (row.body_size, row.body_sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert len(row.body) < 500
    [path] = [path for path in (tmp_path / "data" / "artifacts").rglob("*") if path.is_file()]
    assert path.name == row.file_id == hashlib.sha256(content).hexdigest()
    assert path.read_bytes() == content


@pytest.mark.any_database
def test_other_methods_and_strangers_are_refused_in_json(stack):
    stack.start("redis", "web")
    for method in ("GET", "OPTIONS", "PUT"):
        answer, text = stack.request(method, "/webhook/retell")
        assert (answer.status, answer.headers["Allow"], json.loads(text)["code"]) == (405, "POST", "HTTP_405")
    answer, text = stack.request("HEAD", "/webhook/retell")
    assert (answer.status, answer.headers["Allow"], text) == (405, "POST", b"")
    for path, headers, status in [("/webhook/nobody", {}, 404), ("/webhook/retell", {}, 401)]:
        answer, text = stack.request("POST", path, b"{}", {"Content-Type": "application/json", **headers})
        assert answer.status == status
        assert json.loads(text)["context"]["trace_id"] == answer.headers["X-Trace-Id"]
    assert not InboundEvent.objects.exists()


@pytest.mark.any_database
def test_no_process_writes_the_token_of_a_url(stack, capfd):
    token = secrets.token_urlsafe(32)
    way = AuthConfig.objects.get(endpoint__slug="default", endpoint__provider__slug="retell")
    way.scheme = {"kind": "url_token"}
    way.save()
    secret = Secret(auth_config=way)
    secret.set_value(token)
    secret.save()
    stack.environment["LOG_LEVEL"] = "DEBUG"
    stack.start("redis", "web")
    body = json.dumps(sample(ENDED)).encode()
    statuses = {}
    for method, tail in [("POST", ""), ("POST", "/"), ("POST", "x"), ("POST", "/x"), ("GET", "")]:
        path = f"/webhook/retell/default/{token}{tail}"
        answer, text = stack.request(method, path, body, {"Content-Type": "application/json"})
        statuses[method, tail] = answer.status
        assert token not in str(answer.headers) + text.decode()
    assert list(statuses.values()) == [200, 200, 401, 401, 405]
    path = f"/webhook/retell/default/{token}"
    assert stack.speak(chunked(body, path=path))[0] == "HTTP/1.1 200 OK"
    broken = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n: \r\n\r\n"
    assert "400" in stack.speak(broken.encode())[0]
    stack.stop()
    written = "".join(capfd.readouterr())
    assert "token_mismatch" in written  # it was listened to
    assert token not in written


def test_while_the_broker_is_dead_all_webhooks_are_taken_and_are_worked_off_when_it_is_back(stack):
    """The supervisor runs the rest: a Celery worker may end when its broker does, and has to be started again."""
    stack.start("redis", "supervisor")
    assert stack.post(sample(ENDED, call_id="before"))[0] == 200
    until(lambda: InboundEvent.objects.filter(state="processed").count() == 1)
    stack.kill("redis")
    slowest_sec = 0.0
    for number in range(20):
        began = time.monotonic()
        assert stack.post(sample(ENDED, call_id=f"call{number}"))[0] == 200
        slowest_sec = max(slowest_sec, time.monotonic() - began)
    assert slowest_sec < 5  # no answer waits for the broker
    assert health_at(HOST, stack.port) == ""  # a balancer must not take this instance away
    assert Counter(InboundEvent.objects.values_list("state", flat=True)) == {"processed": 1, "received": 20}
    stack.start("redis")  # on the same port
    until(lambda: InboundEvent.objects.filter(state="processed").count() == 21)
    assert Message.objects.count() == numbers()["total"] == 21
    assert stack.post(sample(ENDED, call_id="after"))[0] == 200
    until(lambda: InboundEvent.objects.filter(state="processed").count() == 22)


def test_what_a_killed_worker_leaves_is_finished_by_another(stack, arrive):
    count = 150
    for number in range(count):
        arrive(sample(ENDED, call_id=f"call{number}"))
    stack.start("redis", "web", "worker")
    assert stack.post(sample(ENDED, call_id="bell"))[0] == 200
    until(lambda: Message.objects.count() >= 3)
    stack.running["worker"].send_signal(signal.SIGSTOP)  # in the middle of its work, whatever that is
    left = InboundEvent.objects.filter(state="received").count()
    stack.kill("worker")
    assert 0 < left < count
    stack.start("worker", "beat")
    until(lambda: not InboundEvent.objects.exclude(state="processed").exists())
    assert Message.objects.count() == numbers()["total"] == count + 1
    assert DailyProviderStats.objects.get().success_count == count + 1
    # Only what the dead one had in hand was taken a second time.
    assert InboundEvent.objects.filter(attempts__gt=1).count() <= 2

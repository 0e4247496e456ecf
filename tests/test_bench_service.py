"""Benches of the whole service: the proof finds what is missing, the generator counts, figures reach the document."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import repeat

import pytest
from django.db import transaction

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import InboundEvent, Message, Tally
from apps.providers import catalog
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.payload import parse
from bench import figures, two_phase
from bench.load import Load, closed_loop, open_loop, post
from bench.stack import SECRET, Deliveries
from bench.two_phase import Sent

MACHINE = {"cores": 2, "memory_gb": 8.0, "python": "3.11.0", "date": "2026-11-01"}
PHASE = {
    "rate": 1000.0, "seconds": 60.0, "acknowledged": 60_000, "statuses": {"200": 60_000}, "errors": {},
    "answer_ms": {"p50": 3.0, "p95": 8.0, "p99": 15.0, "p100": 40.0}, "problems": [], "calls": 60_000,
    "lag_ms": {"p50": 300.0, "p95": 1200.0, "p99": 1500.0, "p100": 1900.0}, "drained_sec": 1.0,
}  # fmt: skip
TWO_PHASE = {
    "PostgreSQL": {"idle_core": 0.004, "ordinary": {**PHASE, "rate": 100.0}, "full": PHASE, "machine": MACHINE}
}
INGEST = {
    "PostgreSQL": {
        "rates": {"VoiceLens, 32 connections": [3000.0, 2900.0, 3100.0]},
        "ratios": {"x bare view, 32 connections": [2.0, 1.9, 2.1], "x pgbench, 32 connections": [0.7, 0.6, 0.8]},
        "half": {"p99_ms": 12.34},
        "overload": {"of capacity": 0.9, "statuses": {"200": 12_000, "503": 7}, "errors": {}},
        "machine": MACHINE,
    }
}
DRAIN = {
    "rates": {"2 processes": [3500.0]},
    "cost of numbers": [0.05],
    "backlog": {"done": 100_000, "parts": [{"per_sec": 3400.0, "rss_mb": 180.0}]},
    "machine": MACHINE,
}


# --- the load ------------------------------------------------------------------------------------------------------


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[tuple[str, int], list[int]]]:
    """Gives these answers in turn, the last for ever, and closes after one that is empty; and how often one came."""
    listening = socket.create_server(("127.0.0.1", 0))
    left, connected = list(answers), []

    def serve(line: socket.socket) -> None:
        with line:
            while line.recv(65536):
                answer = left.pop(0) if len(left) > 1 else left[0]
                if not answer:
                    return
                line.sendall(answer)

    def take() -> None:
        while True:
            try:
                line, _ = listening.accept()
            except OSError:
                return
            connected.append(1)
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    threading.Thread(target=take, daemon=True).start()
    try:
        yield listening.getsockname(), connected
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def answer(status: int, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} Said\r\n{extra}content-length: 2\r\n\r\n{{}}".encode()


REQUEST = post("/webhook/retell", b"{}", {})


def test_the_generator_counts_answers_by_status_and_times_each():
    with server(answer(503), answer(429), answer(200)) as (address, connected):
        load = closed_loop(address, repeat(REQUEST, 10), 1, 20)
    assert (dict(load.statuses), dict(load.errors), len(connected)) == ({503: 1, 429: 1, 200: 8}, {}, 1)
    assert len(load.times_ms) == 10
    assert 0 < load.percentile_ms(50) <= load.percentile_ms(100)


@pytest.mark.parametrize(
    ("first", "statuses", "errors"),
    [(b"", {200: 4}, {"closed": 1}), (answer(200, "connection: close\r\n"), {200: 5}, {})],
    ids=["without an answer", "after its answer"],
)
def test_a_connection_that_the_server_closes_is_opened_again(first, statuses, errors):
    with server(first, answer(200)) as (address, connected):
        load = closed_loop(address, repeat(REQUEST, 5), 1, 20)
    assert (dict(load.statuses), dict(load.errors), len(connected)) == (statuses, errors, 2)


def test_an_open_loop_sends_all_that_is_due_and_tells_each_answer():
    told = []
    with server(answer(200)) as (address, _):
        load = open_loop(address, repeat(REQUEST), 1000, 0.02, 4, lambda *one: told.append(one))
    assert load.statuses[200] == 20
    assert sorted(told) == [(number, 200, answer(200)) for number in range(20)]


def test_a_load_without_answers_has_no_percentile_and_no_rate():
    assert (Load().percentile_ms(99), Load().per_sec()) == (0.0, 0.0)


# --- the proof -----------------------------------------------------------------------------------------------------


@pytest.fixture
def told(catalogue, arrive, drain):
    """Two calls that were acknowledged and worked off, as the first phase tells the second."""
    kind = Deliveries("retell", 4096)
    sent = Sent("test", 1000.0)
    for number in range(2):
        arrive(kind.body_of(number, "test"))
    drain()
    calls = {event.call_id: str(event.delivery_id) for event in InboundEvent.objects.all()}
    sent.started = Message.objects.earliest("created_at").created_at.timestamp()
    sent.acknowledged = {number: calls[kind.call_id(number, "test")] for number in range(2)}
    return json.loads(json.dumps(sent.to_json()))


def lose_the_row(told):
    told["acknowledged"]["2"] = "00000000-0000-0000-0000-000000000000"


def fail_one(told):
    InboundEvent.objects.filter(delivery_id=told["acknowledged"]["0"]).update(state="failed")


def lose_a_message(told):
    Message.objects.filter(call_id="bench_test_000000001").delete()


def miscount_a_day(told):
    DailyProviderStats.objects.update(total=3)


def miscount_at_the_door(told):
    Tally.objects.update(accepted=3)


def acknowledge_nothing(told):
    told["acknowledged"] = {}


@pytest.mark.django_db
def test_the_proof_finds_nothing_missing_where_nothing_is(told):
    found = two_phase.verify(told)
    assert (found["problems"], found["calls"]) == ([], 2)
    assert list(found["lag_ms"]) == ["p50", "p95", "p99", "p100"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_the_row, "1 acknowledged and not in the inbox"),
        (fail_one, "1 acknowledged and not processed"),
        (lose_a_message, "1 acknowledged and without a message"),
        (miscount_a_day, "the daily numbers count 3 calls, there are 2 messages"),
        (miscount_at_the_door, "the door counted 3 deliveries, the inbox has 2"),
        (acknowledge_nothing, "nothing was acknowledged"),
    ],
)
def test_the_proof_names_what_is_missing(told, damage, words):
    with transaction.atomic():
        damage(told)
        problems = two_phase.verify(told)["problems"]
        transaction.set_rollback(True)  # every test leaves exact numbers
    assert words in "\n".join(problems)


def test_only_what_was_answered_with_200_counts_as_acknowledged():
    sent, body = Sent("test", 1.0), b'{"success":true,"delivery_id":"3f1c1e1a-0000-4000-8000-000000000001"}'
    sent.take(4, 503, body)
    sent.take(5, 200, body)
    assert sent.acknowledged == {5: "3f1c1e1a-0000-4000-8000-000000000001"}


def test_each_request_of_a_batch_is_another_call_signed_with_the_secret_of_the_bench():
    kind = Deliveries("retell", 4096)
    first, second = list(Sent("test", 1.0).requests([kind], 2))
    assert kind.call_id(0, "test").encode() in first
    assert kind.call_id(1, "test").encode() in second
    assert kind.request(0, "test", datetime(2026, 11, 1, tzinfo=UTC)).startswith(b"POST /webhook/retell ")
    assert SECRET.encode() not in first


def test_calls_of_a_batch_share_none_of_their_names_or_workers_would_wait_for_each_other():
    for slug in catalog.slugs():
        kind, mapping = Deliveries(slug, 4096), Mapping(catalog.load(slug).mapping)
        one, other = (mapping.identify(parse(kind.body_of(number, "test"))) for number in range(2))
        assert one.call_id == kind.call_id(0, "test")
        assert not {one.call_id, *one.aliases} & {other.call_id, *other.aliases}


# --- the document --------------------------------------------------------------------------------------------------


def test_the_figures_of_all_benches_stand_in_the_document(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n")
    for name, found in (("ingest", INGEST), ("drain", DRAIN), ("two_phase", TWO_PHASE)):
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    for _ in range(2):
        figures.main(["--results", str(tmp_path), "--document", str(document), "--write"])
    text = document.read_text()
    assert text.startswith(f"before\n{figures.BEGIN}\n### The door on PostgreSQL")
    assert text.endswith(f"|\n{figures.END}\nafter\n")
    assert "old" not in text
    assert text.count("Measured 2026-11-01, 2 cores, 8 GB, Python 3.11.0.") == 3
    for row in (
        "| x bare view, 32 connections | 2.00 [1.90 to 2.10] | 1.7 |",
        "| x pgbench, 32 connections | 0.70 [0.60 to 0.80] | 0.6 |",
        "| p99 of the answer at half of the capacity | 12.3 ms | 20 ms |",
        "| answers in overload by status | 200: 12,000, 503: 7 | 200, 429, 503 |",
        "| 2 processes, deliveries a second | 3,500 [3,500 to 3,500] | 3,000 |",
        "| cost of the daily numbers | 5% [5% to 5%] | under 10% |",
        "| at rest, of a core | 0.40% | under 1% |",
        "| at 1,000/s for 60 s: acknowledged | 60,000 | 60,000 |",
        "| at 1,000/s for 60 s: missing or wrong | none | none |",
        "| at 1,000/s for 60 s: send to message, ms, p50 / p95 / p99 | 300 / 1,200 / 1,500 | p95 under 2,000 |",
    ):
        assert row in text


def test_what_was_not_measured_here_stays_as_it_stands(tmp_path):
    document, told = tmp_path / "performance.md", io.StringIO()
    old = "### The door on PostgreSQL\n\n| old door |\n\n### Two phases on SQLite\n\n| old phases |"
    document.write_text(before := f"{figures.BEGIN}\n{old}\n{figures.END}\n")
    asked = ["--results", str(tmp_path), "--document", str(document), "--write"]
    figures.main(asked, told)
    assert document.read_text() == before
    assert "has no results" in told.getvalue()
    (tmp_path / "ingest.json").write_text(json.dumps(INGEST))
    figures.main(asked, told)
    text = document.read_text()
    assert "old door" not in text
    assert text.count(figures.TITLE) == 2
    assert text.endswith(f"|\n\n### Two phases on SQLite\n\n| old phases |\n{figures.END}\n")


def test_a_document_without_figures_says_so():
    empty = f"{figures.BEGIN}\n{figures.END}"
    assert figures.replaced(empty, "") == f"{figures.BEGIN}\n{figures.NONE_YET}\n{figures.END}"


def test_the_document_has_a_place_for_the_figures():
    assert figures.replaced(figures.DOCUMENT.read_text("utf-8"), "### New\n\n| new |").count("| new |") == 1


def test_figures_are_not_written_into_a_document_without_their_place():
    with pytest.raises(ValueError, match="needs"):
        figures.replaced("nothing", "| new |")

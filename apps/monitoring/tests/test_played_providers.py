"""From a provider's server to what people hear of it, with the real door, the real readers and the real runner."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from apps.monitoring import claims, rules
from apps.monitoring.fetch import Door
from apps.monitoring.management.commands import monitor as command
from apps.monitoring.models import Change, Incident, Kind, Monitor, Observation, Snapshot
from apps.monitoring.runs import Runner
from apps.monitoring.tests import pages
from apps.monitoring.tests.play import Clock, check
from apps.monitoring.tests.servers import (
    PlayedServer,
    certificate,
    endless,
    gzipped,
    hang,
    in_turn,
    page,
    raw,
    redirect,
    with_etag,
)

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

SUMMARY: dict[str, Any] = {
    "page": {"name": "Acme", "url": "https://status.acme.test"},
    "status": {"indicator": "none", "description": "All Systems Operational"},
    "components": [{"id": "c1", "name": "Calls", "status": "operational", "group": False, "group_id": None}],
    "incidents": [],
    "scheduled_maintenances": [],
}
ATOM = (
    '<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><id>f</id><title>Acme</title>{}</feed>'
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    with PlayedServer({}).running() as played:
        yield played


@pytest.fixture
def door() -> Door:
    return Door(user_agent="VoiceLens/test", open_hosts=["127.0.0.1"], host_pause_sec=0, sleep=lambda sec: None)


@pytest.fixture
def run(door: Door, clock: Clock) -> Callable[..., list[Change]]:
    """Look at all checks, so many minutes later."""
    rules.ensure_rules()
    runner = Runner(door, clock, host_pause_sec=0)

    def work(minutes: float = 60) -> list[Change]:
        clock.forward(minutes)
        claims.make_due(Monitor.objects.values_list("pk", flat=True), clock())
        return runner.work(30).changes

    return work


Run = Callable[..., list[Change]]


def told(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [(change.change_type, change.severity, change.title) for change in changes]


def entry(number: int, title: str) -> str:
    return f"<entry><id>e{number}</id><title>{title}</title><updated>2026-11-0{number}T00:00:00Z</updated></entry>"


# --- health ---------------------------------------------------------------------------------------------------


def test_an_outage_is_told_after_three_failures_and_its_end_after_two_good_answers(server: PlayedServer, run: Run):
    monitor = check(Kind.HEALTH, server.url("/v1"))
    server.routes["/v1"] = page(status=401)
    assert run() == []
    server.routes["/v1"] = page(status=503)
    assert [told(run(1)) for _ in range(4)] == [[], [], [("service_status", "critical", "Acme API is down")], []]
    assert Incident.objects.get().is_open
    server.routes["/v1"] = page(status=401)
    assert [told(run(1)) for _ in range(2)] == [[], [("service_status", "medium", "Acme API is up again")]]
    assert not Incident.objects.get().is_open
    monitor.refresh_from_db()
    assert (monitor.state, monitor.last_status_code) == ("up", 401)


def test_slow_answers_are_degraded(server: PlayedServer, run: Run):
    check(Kind.HEALTH, server.url("/v1"), latency_budget_ms=5, down_after=1)

    def slowly(asked: Any, sock: Any) -> None:
        threading.Event().wait(0.03)
        page()(asked, sock)

    server.routes["/v1"] = slowly
    assert told(run()) == [("service_status", "high", "Acme API is degraded")]
    assert "the budget is 5 ms" in Change.objects.get().description


def broken_tls() -> PlayedServer:
    return PlayedServer({"/": page()}, tls=certificate("127.0.0.1", is_expired=True)[1])


def test_a_certificate_that_ran_out_is_an_outage(run: Run):
    with broken_tls().running() as server:
        check(Kind.HEALTH, server.url(), down_after=1)
        assert told(run()) == [("service_status", "critical", "Acme API is down")]
        assert "certificate" in Change.objects.get().description


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (redirect("http://10.0.0.1/"), "blocked"),
        (redirect("http://169.254.169.254/latest/meta-data"), "blocked"),
        (redirect("http://localhost:1/"), "blocked"),
        (gzipped(b"0" * 20_000_000), "too_large"),
        (endless, "too_large"),
        (page(b"x", content_encoding="br"), "encoding"),
    ],
)
def test_what_we_will_not_take_is_a_fault_of_the_check_and_no_outage(
    server: PlayedServer, run: Run, answer: Any, kind: str
):
    monitor = check(Kind.DOCS, server.url("/"), down_after=1)
    server.routes["/"] = answer
    (change,) = run()
    assert (change.title, change.severity) == ("The check of Acme documentation does not work", "low")
    monitor.refresh_from_db()
    assert (monitor.state, Observation.objects.get().error_kind) == ("unknown", kind)
    assert not Incident.objects.exists()


def test_a_page_that_hangs_keeps_no_other_waiting(server: PlayedServer, run: Run):
    over = threading.Event()
    with PlayedServer({"/": hang(over)}).running() as hanging:
        check(Kind.HEALTH, hanging.url(host="127.0.0.1"), timeout_sec=1, down_after=1)
        server.routes["/"] = page()
        well = check(Kind.HEALTH, server.url("/"))
        run()
        over.set()
    well.refresh_from_db()
    assert well.state == "up"
    assert set(Observation.objects.values_list("error_kind", flat=True)) == {"", "timeout"}


# --- status pages -----------------------------------------------------------------------------------------------


def test_a_status_page_tells_of_its_incident_and_its_end(server: PlayedServer, run: Run):
    check(Kind.STATUS, server.url("/api/v2/summary.json"), down_after=1, up_after=1)
    server.routes["/api/v2/summary.json"] = played = _Json(SUMMARY)
    assert run() == []
    incident = {
        "id": "i1", "name": "Calls fail", "status": "investigating", "impact": "major",
        "shortlink": "https://stspg.test/i1", "incident_updates": [{"body": "We look.", "status": "investigating"}],
        "components": [{"name": "Calls"}],
    }  # fmt: skip
    broken = [{**SUMMARY["components"][0], "status": "major_outage"}]
    played.value = {**SUMMARY, "status": {"indicator": "major"}, "incidents": [incident], "components": broken}
    assert told(run()) == [
        ("service_status", "critical", "Acme status page says: it is down"),
        ("service_status", "high", "Acme reports: Calls fail"),
    ]
    assert "Calls: major_outage" in Change.objects.get(title__contains="says").description
    played.value = SUMMARY
    assert told(run()) == [
        ("service_status", "medium", "Acme status page says: it is up again"),
        ("service_status", "medium", "Acme reports as over: Calls fail"),
    ]


class _Json:
    """A page whose JSON the test changes; like Better Stack it calls itself HTML."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, asked: Any, sock: Any) -> None:
        page(json.dumps(self.value).encode(), content_type="text/html")(asked, sock)


def test_a_page_of_better_stack_is_read_too(server: PlayedServer, run: Run):
    check(Kind.STATUS, server.url("/index.json"), down_after=1)
    told_by = {"data": {"type": "status_page", "attributes": {"aggregate_state": "operational"}}, "included": []}
    server.routes["/index.json"] = played = _Json(told_by)
    assert run() == []
    played.value = {**told_by, "data": {"type": "status_page", "attributes": {"aggregate_state": "downtime"}}}
    assert told(run()) == [("service_status", "critical", "Acme status page says: it is down")]


@pytest.mark.parametrize("answer", [page(status=500), page(b"<html>"), page(b"{}"), page(b"[1]"), raw(b"")])
def test_a_status_page_that_does_not_answer_says_nothing_of_the_provider(server: PlayedServer, run: Run, answer: Any):
    monitor = check(Kind.STATUS, server.url("/"), down_after=1)
    server.routes["/"] = answer
    assert told(run()) == [("service_status", "low", "The check of Acme status page does not work")]
    monitor.refresh_from_db()
    assert monitor.state == "unknown"


# --- pages ------------------------------------------------------------------------------------------------------


def shown(told: pages.Page) -> Any:
    return page(told.body, content_type=told.content_type)


def test_pages_that_look_different_say_the_same(server: PlayedServer, run: Run):
    """Every form of page of the generator, once; the content's own tests draw some 270 of them."""
    variants = list(pages.cosmetic(2))
    for number, (_, before, _) in enumerate(variants):
        server.routes[f"/{number}"] = shown(before)
        check(before.kind, server.url(f"/{number}"))
    assert run() == []
    for number, (_, _, after) in enumerate(variants):
        server.routes[f"/{number}"] = shown(after)
    assert run() == []
    assert Observation.objects.filter(standing="up").count() == 2 * len(variants) > 30


def test_every_planted_change_is_told_with_the_diff_that_names_it(server: PlayedServer, run: Run):
    planted = [one for one in pages.planted() if one.before.kind != Kind.FEED]
    for number, one in enumerate(planted):
        server.routes[f"/{number}"] = shown(one.before)
        check(one.before.kind, server.url(f"/{number}"))
    assert run() == []
    for number, one in enumerate(planted):
        server.routes[f"/{number}"] = shown(one.after)
    changes = {change.url.rpartition("/")[2]: change for change in run()}
    assert len(changes) == len(planted) > 100
    for number, one in enumerate(planted):
        change = changes[str(number)]
        said = f"{change.diff}\n{change.title}\n{change.description}"
        assert [word for word in one.expected_words if word not in said] == [], one.name
        if one.breaking:
            assert change.severity == "critical", one.name


def test_what_was_told_is_the_diff_of_what_is_stored_and_a_flapping_text_gives_two_changes(
    server: PlayedServer, run: Run
):
    one = next(one for one in pages.planted() if one.before.kind == Kind.DOCS)
    check(Kind.DOCS, server.url("/"))
    server.routes["/"] = in_turn(*(shown(told) for told in (one.before, one.after, one.before, one.before)))
    assert [len(run()) for _ in range(4)] == [0, 1, 1, 0]
    first, second, third = Snapshot.objects.order_by("id")
    assert (first.content_hash, second.content_hash) == (
        third.content_hash,
        Change.objects.order_by("id")[0].content_hash,
    )
    for change in Change.objects.all():
        out = [line[1:] for line in change.diff.splitlines() if line.startswith("-") and "[-" not in line]
        assert all(line in first.text + second.text for line in out)


def test_an_unchanged_page_is_not_sent_again(server: PlayedServer, run: Run):
    server.routes["/"] = with_etag(b"<main><p>Calls have a start and an end.</p></main>", '"v1"')
    check(Kind.DOCS, server.url("/"))
    assert [len(run()) for _ in range(3)] == [0, 0, 0]
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, '"v1"', '"v1"']
    assert set(Observation.objects.values_list("status_code", flat=True)) == {200, 304}


def test_a_selector_that_finds_nothing_any_more_is_a_fault_and_no_change(server: PlayedServer, run: Run):
    before = b"<body><main><div id=facts><p>The answer is 42.</p></div></main></body>"
    server.routes["/"] = page(before, content_type="text/html")
    monitor = check(Kind.DOCS, server.url("/"), selector="#facts", down_after=1)
    assert run() == []
    server.routes["/"] = page(before.replace(b"facts", b"other"), content_type="text/html")
    assert told(run()) == [("service_status", "low", "The check of Acme documentation does not work")]
    server.routes["/"] = page(before, content_type="text/html")
    assert told(run()) == [("service_status", "low", "The check of Acme documentation works again")]
    monitor.refresh_from_db()
    assert (monitor.state, Snapshot.objects.count()) == ("up", 1)


# --- feeds ------------------------------------------------------------------------------------------------------


def test_a_feed_tells_each_new_entry_once(server: PlayedServer, run: Run):
    check(Kind.FEED, server.url("/"))
    first, second = entry(1, "Old"), entry(2, "Webhook v2 is out") + entry(3, "Major outage of calls")
    server.routes["/"] = in_turn(
        *(page(ATOM.format(told).encode()) for told in (first, second + first, second + first))
    )
    assert [sorted(told(run())) for _ in range(3)] == [
        [],
        [
            ("service_status", "critical", "Acme: Major outage of calls"),
            ("webhook_format", "high", "Acme: Webhook v2 is out"),
        ],
        [],
    ]


FEED = b'<rss version="2.0"><channel><title>t</title><item><guid>1</guid><title>Hello</title></item></channel></rss>'


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        (FEED, True),
        (b"\xef\xbb\xbf\n  " + FEED, True),
        (FEED.replace(b"</rss>", b""), True),
        (FEED.replace(b"Hello", b"A & B"), True),
        (FEED.replace(b"Hello", b"caf\xe9"), True),
        (b'<?xml version="1.0" encoding="nonsense"?>' + FEED, True),
        (b'<?xml version="1.0" encoding="utf-16"?>' + FEED, None),
        (FEED.replace(b"Hello", b"\x00\x0b"), None),
        (b"", False),
        (b"<html><body>Not found</body></html>", False),
        (b"{}", False),
        (b"\x00" * 100, False),
        (gzip.compress(FEED, mtime=0), None),
        (b"<!DOCTYPE rss [<!ENTITY a 'x'>]><rss><channel>" + b"&a;" * 1000 + b"</channel></rss>", None),
    ],
)
def test_feeds_of_every_malformed_kind_are_read_or_are_a_fault(
    server: PlayedServer, run: Run, body: bytes, is_read: bool | None
):
    check(Kind.FEED, server.url("/"), down_after=1)
    server.routes["/"] = page(body, content_type="application/rss+xml")
    changes = run()
    standing = Observation.objects.get().standing
    assert standing in ("up", "fault")
    assert is_read is None or standing == ("up" if is_read else "fault")
    assert told(changes) == (
        [] if standing == "up" else [("service_status", "low", "The check of Acme feed does not work")]
    )


# --- by hand ------------------------------------------------------------------------------------------------------


def test_people_look_by_a_command(server: PlayedServer, door: Door, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(command, "default_door", lambda: door)
    server.routes |= {"/v1": page(status=405), "/docs": page(b"<main><p>Calls have a start.</p></main>")}
    check(Kind.HEALTH, server.url("/v1")), check(Kind.DOCS, server.url("/docs"))
    call_command("monitor", once=True)
    out = capsys.readouterr().out
    assert ("405" in out, server.url("/docs") in out) == (True, True)
    server.routes["/docs"] = page(b"<main><p>Calls have an end.</p></main>")
    call_command("monitor", once=True)
    assert "Acme documentation changed" in capsys.readouterr().out
    assert Change.objects.get().detected_at - Observation.objects.order_by("at")[0].at < timedelta(minutes=5)

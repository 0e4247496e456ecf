"""Played pages: a check's outcome is said by the test, so nothing is fetched; and a clock the test moves."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.monitoring import content, pages, probes, watch
from apps.monitoring.content import Difference
from apps.monitoring.models import Change, Kind, Monitor
from apps.monitoring.outcome import Content, FeedEntry, Outcome, Standing
from apps.monitoring.runs import Done, Runner
from apps.providers.models import Provider

START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def up(**more: Any) -> Outcome:
    return Outcome(Standing.UP, **{"status_code": 200, "latency_ms": 40, **more})


def degraded(**more: Any) -> Outcome:
    return Outcome(Standing.DEGRADED, **{"status_code": 200, "latency_ms": 9000, "error": "Slow", **more})


def down(**more: Any) -> Outcome:
    return Outcome(Standing.DOWN, **{"status_code": 503, "error": "HTTP 503", "error_kind": "status", **more})


def nobody(kind: str = "dns") -> Outcome:
    return down(status_code=None, error_kind=kind, error="No answer")


def fault(**more: Any) -> Outcome:
    told = {"error_kind": "selector", "error": "The selector finds nothing"}
    return Outcome(Standing.FAULT, **{"status_code": 200, **told, **more})


def says(text: str, **more: Any) -> Outcome:
    return up(content=Content(text), **more)


def feeds(*guids: str) -> Outcome:
    return up(entries=tuple(FeedEntry(guid, f"Entry {guid}", f"https://acme.test/{guid}") for guid in guids))


def provider(slug: str = "acme", **columns: Any) -> Provider:
    return Provider.objects.get_or_create(slug=slug, defaults={"name": slug.capitalize(), **columns})[0]


def check(kind: str = Kind.HEALTH, url: str = "", **columns: Any) -> Monitor:
    """A check of Acme's; the address is made of its kind."""
    return Monitor.objects.create(
        provider=columns.pop("provider", None) or provider(),
        kind=kind,
        url=url or f"https://acme.test/{kind}",
        **columns,
    )


def look(monitor: Monitor, outcome: Outcome, now: datetime) -> list[Change]:
    """One look with this outcome, recorded as a run does."""
    monitor.refresh_from_db()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "look", lambda view, door: outcome)
        seen = watch.see(monitor, pages.newest_snapshot(monitor), None)  # type: ignore[arg-type]
    return watch.record(monitor, seen, now)


class Clock:
    """The time that is stored; it stands still until it is set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


class Timer:
    """Seconds for waiting: a tenth with every question, and as many as the test wants."""

    def __init__(self) -> None:
        self.sec = 0.0

    def __call__(self) -> float:
        self.sec += 0.1
        return self.sec


class Played:
    """Pages by URL: an outcome, or a function that gives one and may wait or raise. What is not named is up."""

    def __init__(self) -> None:
        self.pages: dict[str, Outcome | Callable[[], Outcome]] = {}
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def answer(self, view: probes.Look) -> Outcome:
        with self.lock:
            self.asked.append(view.url)
        page = self.pages.get(view.url, up())
        return page if isinstance(page, Outcome) else page()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    pages = Played()
    monkeypatch.setattr(probes, "look", lambda view, door: door.answer(view))
    return pages


@pytest.fixture
def plain_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of the same words say the same; else the diff is one line out and one in."""

    def compare(before: Content, after: Content) -> Difference | None:
        if before.text.split() == after.text.split():
            return None
        out, into = (before.text,), (after.text,)
        return Difference(f"-{out[0]}\n+{into[0]}", 10.0, into, out, summary="1 line changed.")

    monkeypatch.setattr(content, "compare", compare)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(played: Played, clock: Clock) -> Callable[..., Done]:
    """Looks at all that is due, as the worker would; nobody waits."""
    runner = Runner(played, clock, sleep=lambda sec: None, host_pause_sec=0)  # type: ignore[arg-type]
    return lambda **more: runner.work(**{"for_sec": 30, **more})

"""What one look makes of an answer, of none, and of what goes wrong on our side."""

import json

import pytest

from apps.monitoring import content, probes
from apps.monitoring.fetch import Answer, FetchError, Request
from apps.monitoring.outcome import Content, FeedEntry, Outcome, Standing
from apps.monitoring.probes import Look

URL = "https://acme.example/page"
HTML = b"<html><body><main><h1>Calls</h1><p>A call has an id.</p></main></body></html>"
FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>Acme</title>
<item><guid>1</guid><title>Hold music</title></item></channel></rss>"""
READ = ["docs", "changelog", "openapi", "feed"]


class PlayedDoor:
    """Answers each request with the same answer, or raises; keeps what was asked."""

    def __init__(self, played: Answer | Exception) -> None:
        self.played = played
        self.asked: list[Request] = []

    def fetch(self, request: Request) -> Answer:
        self.asked.append(request)
        if isinstance(self.played, Exception):
            raise self.played
        return self.played


def answer(status=200, body=b"", content_type="text/html", latency_ms=120, **headers) -> Answer:
    named = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Answer(url=URL, status=status, headers=named, body=body, latency_ms=latency_ms, attempts=1)


def looked(kind: str, played: Answer | Exception, **view) -> Outcome:
    return probes.look(Look(kind=kind, url=URL, **view), PlayedDoor(played))


def refused(kind: str) -> FetchError:
    return FetchError(kind, f"It is {kind}.", 70)


# --- Health


@pytest.mark.parametrize(
    ("status", "standing"),
    [(200, "up"), (204, "up"), (401, "up"), (422, "up"), (301, "degraded"), (404, "degraded"), (410, "degraded"),
     (500, "down"), (503, "down"), (403, "fault"), (429, "fault")],
)  # fmt: skip
def test_a_health_check_judges_by_the_status(status, standing):
    outcome = looked("health", answer(status), ok_statuses="200-299, 401, 422")

    assert (outcome.standing, outcome.status_code, outcome.latency_ms) == (standing, status, 120)
    assert outcome.error_kind == ("" if standing == "up" else "status")
    assert (str(status) in outcome.error) == (standing != "up")


@pytest.mark.parametrize(("latency_ms", "standing"), [(2000, Standing.UP), (2001, Standing.DEGRADED)])
@pytest.mark.parametrize(("kind", "body"), [("health", b""), ("docs", HTML), ("feed", FEED)])
def test_an_answer_slower_than_the_budget_is_degraded(kind, body, latency_ms, standing):
    outcome = looked(kind, answer(body=body, latency_ms=latency_ms), latency_budget_ms=2000)

    assert outcome.standing == standing
    assert (outcome.error_kind, outcome.error) == (
        ("", "") if standing == Standing.UP else ("slow", "It answered after 2001 ms; the budget is 2000 ms.")
    )


def test_a_slow_outage_is_an_outage():
    assert looked("health", answer(500, latency_ms=9000), latency_budget_ms=2000).standing == Standing.DOWN


def test_a_list_of_statuses_that_cannot_be_read_is_a_fault():
    outcome = looked("health", answer(), ok_statuses="2xx")

    assert (outcome.standing, outcome.error_kind) == (Standing.FAULT, "unexpected")


# --- No answer


@pytest.mark.parametrize("kind", ["health", *READ])
@pytest.mark.parametrize("failure", ["dns", "refused", "unreachable", "timeout", "tls", "redirect", "protocol"])
def test_a_page_that_does_not_answer_is_down(kind, failure):
    assert looked(kind, refused(failure)) == Outcome(
        Standing.DOWN, latency_ms=70, error_kind=failure, error=str(refused(failure))
    )


@pytest.mark.parametrize("kind", ["health", "status", *READ])
@pytest.mark.parametrize("failure", ["blocked", "too_large", "encoding"])
def test_what_we_may_not_or_cannot_take_is_a_fault_of_ours(kind, failure):
    outcome = looked(kind, refused(failure))

    assert (outcome.standing, outcome.error_kind) == (Standing.FAULT, failure)


@pytest.mark.parametrize("failure", ["dns", "refused", "timeout", "tls"])
def test_a_status_page_that_does_not_answer_says_nothing_of_the_service(failure):
    outcome = looked("status", refused(failure))

    assert (outcome.standing, outcome.error_kind) == (Standing.FAULT, failure)
    assert outcome.error.startswith("The status page does not answer: ")


# --- Status pages


@pytest.mark.parametrize("status", [301, 403, 404, 500, 503])
def test_a_status_page_with_another_answer_is_a_fault(status):
    outcome = looked("status", answer(status, b'{"status": {"indicator": "none"}}'))

    assert (outcome.standing, outcome.status_code) == (Standing.FAULT, status)
    assert outcome.incidents is None


def test_a_status_page_tells_standing_components_and_incidents_whatever_its_content_type():
    document = {
        "status": {"indicator": "minor"},
        "components": [{"id": "1", "name": "API", "status": "partial_outage"}],
        "incidents": [{"id": "i", "name": "Slow calls", "status": "identified", "impact": "minor"}],
        "scheduled_maintenances": [{"id": "m", "name": "Move", "status": "in_progress"}],
    }

    outcome = looked("status", answer(body=json.dumps(document).encode(), latency_ms=9000), latency_budget_ms=1)

    assert (outcome.standing, outcome.error, outcome.in_maintenance) == (Standing.DEGRADED, "", True)
    assert outcome.components == {"API": "partial_outage"}
    assert [one.title for one in outcome.incidents] == ["Slow calls", "Move"]


def test_a_status_page_that_cannot_be_read_tells_no_incidents():
    outcome = looked("status", answer(body=HTML))

    assert (outcome.standing, outcome.error_kind, outcome.incidents) == (Standing.FAULT, "format", None)


def test_a_status_page_is_never_asked_for_conditionally():
    door = PlayedDoor(answer(body=b'{"status": {"indicator": "none"}}', etag='"1"'))

    outcome = probes.look(Look("status", URL, etag='"0"', last_modified="yesterday"), door)

    assert (door.asked[0].etag, door.asked[0].last_modified) == ("", "")
    assert outcome.standing == Standing.UP


# --- Pages that are read


def test_a_page_is_read_with_its_selectors(monkeypatch):
    calls = []
    monkeypatch.setattr(content, "read", lambda *args, **more: calls.append((args, more)) or Content("text"))

    outcome = looked("docs", answer(body=HTML, etag='"1"', last_modified="today"), selector="main", ignored=["#x"])

    assert calls == [(("docs", HTML, "text/html", URL), {"selector": "main", "ignored": ["#x"]})]
    assert outcome == Outcome(Standing.UP, 200, 120, content=Content("text"), etag='"1"', last_modified="today")


def test_the_entries_of_a_feed_are_read(monkeypatch):
    entries = (FeedEntry("1", "Hold music"),)
    monkeypatch.setattr(content, "read_feed", lambda body, content_type, url: entries)

    assert looked("feed", answer(body=FEED, content_type="application/rss+xml")).entries == entries


@pytest.mark.parametrize("kind", READ)
def test_an_unchanged_page_is_up_and_keeps_what_the_next_request_asks_with(kind):
    door = PlayedDoor(answer(304))

    outcome = probes.look(Look(kind, URL, etag='"1"', last_modified="today"), door)

    assert (door.asked[0].etag, door.asked[0].last_modified) == ('"1"', "today")
    assert outcome == Outcome(Standing.UP, 304, 120, not_modified=True, etag='"1"', last_modified="today")


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize(
    ("status", "standing"),
    [(404, "down"), (500, "down"), (301, "down"), (401, "fault"), (403, "fault"), (429, "fault")],
)
def test_a_page_with_another_answer_is_not_read(kind, status, standing):
    outcome = looked(kind, answer(status, HTML, etag='"1"'))

    assert (outcome.standing, outcome.status_code, outcome.error_kind) == (standing, status, "status")
    assert (outcome.content, outcome.entries, outcome.etag) == (None, None, "")


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("failure", ["selector", "empty", "format"])
def test_text_that_cannot_be_read_is_a_fault_that_is_read_again_next_time(kind, failure, monkeypatch):
    def unreadable(*args, **more):
        raise content.ContentError(failure, f"There is a {failure}.")

    monkeypatch.setattr(content, "read", unreadable)
    monkeypatch.setattr(content, "read_feed", unreadable)

    outcome = looked(kind, answer(body=HTML, etag='"1"', last_modified="today"))

    assert (outcome.standing, outcome.error_kind, outcome.status_code) == (Standing.FAULT, failure, 200)
    assert failure in outcome.error
    assert (outcome.etag, outcome.last_modified) == ("", "")


def test_validators_too_long_to_keep_are_dropped_not_cut():
    outcome = looked("docs", answer(body=HTML, etag="x" * 301, last_modified="y" * 101))

    assert (outcome.standing, outcome.etag, outcome.last_modified) == (Standing.UP, "", "")


# --- Whatever happens


@pytest.mark.parametrize("kind", ["health", "status", *READ, "no such kind"])
def test_a_mistake_of_ours_is_a_fault_that_names_its_type_and_place_but_not_the_page(kind):
    outcome = looked(kind, RuntimeError("secret of the page"))

    assert (outcome.standing, outcome.error_kind) == (Standing.FAULT, "unexpected")
    assert "RuntimeError at monitoring/" in outcome.error or "KeyError at monitoring/" in outcome.error
    assert "secret" not in outcome.error


def test_a_long_error_fits_its_column():
    assert len(looked("docs", FetchError("protocol", "x" * 1000, 5)).error) == 300


@pytest.mark.parametrize(
    ("kind", "accept"),
    [
        ("docs", "text/markdown, text/plain;q=0.9, text/html;q=0.8"),
        ("changelog", "text/markdown, text/plain;q=0.9, text/html;q=0.8"),
        ("status", "application/json"),
        ("openapi", "application/vnd.oai.openapi+json, application/json"),
        ("feed", "application/atom+xml, application/rss+xml"),
        ("health", "*/*"),
    ],
)
def test_each_kind_asks_for_the_form_it_reads_best(kind, accept):
    door = PlayedDoor(answer(body=HTML))

    probes.look(Look(kind, URL, timeout_sec=7), door)

    assert door.asked[0].accept.startswith(accept)
    assert door.asked[0].timeout_sec == 7

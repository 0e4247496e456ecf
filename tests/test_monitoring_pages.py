"""What people see of monitoring: the API, our feeds, /health, and the pages of the admin with their buttons."""

from datetime import UTC, datetime, timedelta
from typing import Any

import feedparser
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from apps.history.record import history_of
from apps.monitoring import feed_tokens, incidents, rules
from apps.monitoring.admin.words import diff_lines, how_long, percent
from apps.monitoring.models import Change, Incident, Monitor, SeverityRule, Silence, Span
from apps.providers.models import MappingVersion, Provider
from tests.browser import filled

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

TOKEN = "a-feed-token-of-the-tests"
JSON = {"accept": "application/json"}


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def root(catalogue: None) -> Client:
    client = Client(headers=JSON)
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    return client


@pytest.fixture
def monitor(catalogue: None) -> Monitor:
    """The only check there is."""
    Monitor.objects.all().delete()
    return Monitor.objects.create(
        provider=Provider.objects.get(slug="retell"), kind="health", url="https://api.provider.test/health"
    )


def change(key: str, at: datetime, **columns: Any) -> Change:
    told = {"provider": "retell", "source": "docs", "change_type": "documentation", "title": f"change {key}"}
    return Change.objects.create(key=key, detected_at=at, **{**told, **columns})


def titles(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/api/monitoring/changes?{query}")
    assert answer.status_code == 200, answer.content
    return [row["title"].removeprefix("change ") for row in answer.json()["results"]]


# --- the API ------------------------------------------------------------------------------------------------


def test_changes_are_the_last_thirty_days_newest_first_and_fifty_a_page(root: Client, now: datetime) -> None:
    for n in range(52):
        change(str(n), now - timedelta(hours=n))
    change("old", now - timedelta(days=31))
    first = root.get("/api/monitoring/changes").json()
    second = root.get(first["next"]).json()
    told = [row["title"] for page in (first, second) for row in page["results"]]
    assert (len(first["results"]), second["next"]) == (50, None)
    assert told == [f"change {n}" for n in range(52)]
    assert "old" in titles(root, "hours=800&page_size=500")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("provider=Retell", ["a", "c"]),
        ("severity=high", ["b", "c"]),
        ("severity=critical", ["b"]),
        ("change_type=pricing", ["a"]),
        ("hours=2", ["a"]),
        ("needs_review=true", ["c"]),
        ("needs_review=false", ["a", "b"]),
        ("provider=&severity=", ["a", "b", "c"]),
        ("provider=nobody", []),
    ],
)
def test_changes_are_filtered(root: Client, now: datetime, query: str, found: list[str]) -> None:
    change("a", now - timedelta(hours=1), change_type="pricing")
    change("b", now - timedelta(hours=3), provider="vapi", severity="critical", needs_review=True, reviewed_at=now)
    change("c", now - timedelta(hours=4), severity="high", needs_review=True)
    assert titles(root, query) == found


@pytest.mark.parametrize(
    ("query", "place"),
    [("hours=0", "$.hours"), ("hours=x", "$.hours"), ("severity=awful", "$.severity"), ("since=now", "$.since"),
     ("hours=3&since=2026-01-01T00:00:00Z", "$.hours"), ("change_type=x", "$.change_type")],
)  # fmt: skip
def test_a_wrong_filter_is_named(root: Client, query: str, place: str) -> None:
    answer = root.get(f"/api/monitoring/changes?{query}")
    assert (answer.status_code, answer.json()["field_path"]) == (400, place)


def test_one_change_tells_its_diff_and_what_of_the_mapping_it_names(root: Client, now: datetime) -> None:
    named = {"version": 1, "events": ["call_ended"], "rules": [], "headers": []}
    row = change("a", now, diff="-old\n+new", url="https://docs.test", change_data={"affected": named})
    told = root.get(f"/api/monitoring/changes/{row.pk}").json()
    assert told["diff"] == "-old\n+new"
    assert told["affected"] == named
    assert {"provider", "change_type", "severity", "title", "description", "url", "detected_at"} < set(told)
    assert root.get("/api/monitoring/changes/999999").status_code == 404


def test_health_tells_the_last_look_of_each_check_and_its_uptime(root: Client, monitor: Monitor, now: datetime) -> None:
    Monitor.objects.filter(pk=monitor.pk).update(
        state="down", last_status_code=503, last_latency_ms=210, last_error="503", last_checked_at=now
    )
    Span.objects.create(
        monitor=monitor, state="up", started_at=now - timedelta(hours=8), ended_at=now - timedelta(hours=2)
    )
    Span.objects.create(monitor=monitor, state="down", started_at=now - timedelta(hours=2), ended_at=now)
    [row] = root.get("/api/monitoring/health?kind=health").json()["results"]
    assert (row["provider"], row["endpoint"]) == ("retell", monitor.url)
    assert (row["status_code"], row["response_time_ms"], row["error_message"]) == (503, 210, "503")
    assert (row["state"], row["is_healthy"]) == ("down", False)
    assert row["uptime_24h"] == row["uptime_90d"] == pytest.approx(75, abs=0.1)
    assert root.get("/api/monitoring/health?kind=health&provider=vcp").json()["results"] == []


def test_planned_maintenance_is_no_downtime(root: Client, monitor: Monitor, now: datetime) -> None:
    Span.objects.create(
        monitor=monitor, state="up", started_at=now - timedelta(hours=8), ended_at=now - timedelta(hours=2)
    )
    Span.objects.create(monitor=monitor, state="down", started_at=now - timedelta(hours=2), ended_at=now)
    Silence.objects.create(
        provider=monitor.provider, starts_at=now - timedelta(hours=2), ends_at=now + timedelta(hours=1),
        is_maintenance=True, reason="planned",
    )  # fmt: skip
    [row] = root.get("/api/monitoring/health?kind=health").json()["results"]
    assert row["uptime_24h"] == 100


def test_a_check_that_was_not_looked_at_yet_is_neither_healthy_nor_not(root: Client, monitor: Monitor) -> None:
    [row] = root.get("/api/monitoring/health?kind=health").json()["results"]
    assert [row[name] for name in ("is_healthy", "checked_at", "uptime_24h", "status_code")] == [None] * 4
    Provider.objects.filter(slug="retell").update(monitored=False)
    assert root.get("/api/monitoring/health?kind=health").json()["results"] == []


def test_health_asks_the_database_as_often_for_many_checks_as_for_one(
    root: Client, monitor: Monitor, django_assert_max_num_queries: Any
) -> None:
    for n in range(30):
        Monitor.objects.create(provider=monitor.provider, kind="docs", url=f"https://docs.test/{n}")
    with django_assert_max_num_queries(10):
        root.get("/api/monitoring/health")


def incident(now: datetime, key: str = "check:1", monitor: Monitor | None = None) -> Incident:
    row, _ = incidents.open_or_worsen(
        key, provider="retell", title="health is down", severity="critical", now=now, text="3 failures", monitor=monitor
    )
    return row


def test_incidents_are_the_open_ones_and_those_that_ended_lately(root: Client, now: datetime) -> None:
    incident(now - timedelta(days=90), "long open")
    for days in (40, 2):
        incident(now - timedelta(days=days + 1), f"{days}")
        incidents.resolve(f"{days}", now - timedelta(days=days), "up again")
    rows = root.get("/api/monitoring/incidents").json()["results"]
    assert [row["is_open"] for row in rows] == [False, True]
    assert [entry["text"] for entry in rows[0]["timeline"]] == ["3 failures", "up again"]
    assert len(root.get("/api/monitoring/incidents?is_open=true").json()["results"]) == 1
    assert len(root.get("/api/monitoring/incidents?is_open=false&hours=1200").json()["results"]) == 2


def test_health_of_the_service_counts_checks_and_open_incidents(
    client: Client, monitor: Monitor, now: datetime
) -> None:
    before = client.get("/health").json()["monitoring"]
    Monitor.objects.filter(pk=monitor.pk).update(state="down", last_checked_at=now - timedelta(seconds=90))
    incident(now)
    after = client.get("/health").json()["monitoring"]
    assert (after["down"] - before["down"], after["open_incidents"]) == (1, 1)
    assert after["checks"] == before["checks"] > 0
    assert before["oldest_look_sec"] is None
    assert 90 <= after["oldest_look_sec"] < 600


# --- feeds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rss", "atom"])
def test_a_feed_reader_understands_our_changes(root: Client, now: datetime, kind: str) -> None:
    change(
        "a", now, severity="high", title="A <b> & \x0b \x1b title", diff="-a\n+<script>b</script>", url="javascript:x"
    )
    change("b", now - timedelta(hours=1), provider="vapi")
    answer = root.get(f"/api/monitoring/changes.{kind}", headers={"accept": f"application/{kind}+xml"})
    read = feedparser.parse(answer.content)
    assert not read.bozo, read.get("bozo_exception")
    assert [entry.title for entry in read.entries] == ["[high] Retell AI: A <b> &   title", "[low] vapi: change b"]
    assert len({entry.id for entry in read.entries}) == 2
    assert b"javascript" not in answer.content
    assert b"&amp;lt;script&amp;gt;" in answer.content
    assert len(feedparser.parse(root.get(f"/api/monitoring/changes.{kind}?severity=high").content).entries) == 1
    assert Client(headers=JSON).get(f"/api/monitoring/changes.{kind}").status_code == 401


def test_the_token_opens_the_feeds_and_nothing_else_does(client: Client, now: datetime, monkeypatch: Any) -> None:
    change("a", now)
    assert client.get(f"/feeds/monitoring/{TOKEN}/changes.atom").status_code == 404  # none is set
    monkeypatch.setattr(settings, "MONITORING_FEED_TOKEN", TOKEN)
    for kind in ("atom", "rss"):
        answer = client.get(f"/feeds/monitoring/{TOKEN}/changes.{kind}")
        assert [entry.title for entry in feedparser.parse(answer.content).entries] == ["[low] retell: change a"]
    for address in ("changes.atom", "/changes.atom", "wrong/changes.atom", f"{TOKEN}x/changes.rss", f"{TOKEN}/x",
                    TOKEN, "é/changes.rss"):  # fmt: skip
        assert client.get(f"/feeds/monitoring/{address}").status_code == 404


@pytest.mark.parametrize(
    ("path", "left", "token"),
    [
        ("/feeds/monitoring/abc/changes.atom", "/feeds/monitoring/changes.atom", "abc"),
        ("//Feeds/monitoring//abc//changes.RSS/", "/feeds/monitoring/changes.rss", "abc"),
        ("/feeds/monitoring/abc", "/feeds/monitoring/", "abc"),
        ("/feeds/monitoring/a/b/c", "/feeds/monitoring/", "a/b/c"),
        ("/feeds/other", "/feeds/other", ""),
        ("/api/monitoring/changes.atom", "/api/monitoring/changes.atom", ""),
    ],
)
def test_the_token_is_taken_out_of_the_path(path: str, left: str, token: str) -> None:
    assert feed_tokens.split(path) == (left, token)
    assert token == "" or token not in repr(feed_tokens.split(path)[1])


# --- the admin ----------------------------------------------------------------------------------------------


def address(row: Any, name: str = "change") -> str:
    return reverse(f"admin:monitoring_{row._meta.model_name}_{name}", args=[row.pk])


def check_form(**more: Any) -> dict[str, Any]:
    return {"url": "https://docs.test/a", "enabled": "on", "ignored_selectors": "[]", "ok_statuses": "200",
            "timeout_sec": "30", "down_after": "3", "up_after": "2", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("selector", "main[", "is no CSS selector"),
        ("ignored_selectors", '[".."]', "is no CSS selector"),
        ("ignored_selectors", '{"a": 1}', "A list of CSS selectors is needed"),
        ("ok_statuses", "200-99999", "is no HTTP status"),
        ("url", "ftp://docs.test/", "Only http:// and https://"),
        ("url", "https://me:pass@docs.test/", "Leave user and password out"),
        ("every_min", "0", "greater than or equal to 1"),
    ],
)
def test_a_check_that_could_not_work_is_refused(
    root: Client, monitor: Monitor, field: str, value: str, said: str
) -> None:
    answer = root.post(address(monitor), check_form(**{field: value}))
    assert answer.status_code == 200
    assert said in " ".join(answer.context["adminform"].form.errors[field])


def test_a_check_gets_a_schedule_of_its_own_and_gives_it_back(root: Client, monitor: Monitor) -> None:
    assert root.post(address(monitor), check_form(every_min="5")).status_code == 302
    own = Monitor.objects.get(pk=monitor.pk).schedule
    assert own is not None
    assert (own.task, own.kwargs, own.interval.every) == ("monitoring.schedule", f'{{"monitor": {monitor.pk}}}', 5)
    assert root.get(address(monitor)).context["adminform"].form["every_min"].value() == 5
    root.post(address(monitor), check_form(every_min="15"))
    own.refresh_from_db()
    assert own.interval.every == 15
    root.post(address(monitor), check_form(every_min=""))
    assert Monitor.objects.get(pk=monitor.pk).schedule is None
    assert not PeriodicTask.objects.filter(pk=own.pk).exists()


def test_check_now_makes_it_due_and_says_why_it_cannot(root: Client, monitor: Monitor) -> None:
    url = address(monitor, "check_now")
    assert root.get(url).status_code == 200
    assert Monitor.objects.get(pk=monitor.pk).due_at is None  # nothing is done by looking
    root.post(url)
    assert Monitor.objects.get(pk=monitor.pk).due_at is not None
    Provider.objects.filter(slug="retell").update(monitored=False)
    assert "is not watched" in root.post(url, follow=True).content.decode()


def test_a_diff_is_shown_as_text_and_the_rules_it_names_as_links(root: Client, now: datetime) -> None:
    rule = {"rule": 7, "event": "*", "source": "call.x", "target": "call.y"}
    row = change(
        "a",
        now,
        diff="@@ -1 +1 @@\n-<script>old</script>\n+new",
        change_data={"affected": {"version": 1, "rules": [rule]}},
    )
    text = root.get(address(row)).content.decode()
    assert '<span class="vl-diff-removed">-&lt;script&gt;old&lt;/script&gt;</span>' in text
    version = MappingVersion.objects.get(provider__slug="retell", number=1)
    assert f"{reverse('admin:providers_mappingversion_change', args=[version.pk])}#rule-7" in text


def test_a_review_is_noted_with_its_author(root: Client, now: datetime) -> None:
    row = change("a", now, severity="high", needs_review=True)
    assert b"waits for a review" in root.get(address(row)).content
    root.post(address(row, "review"), {"note": "version 4 follows"})
    row.refresh_from_db()
    assert (row.reviewed_by, row.review_note) == ("olga", "version 4 follows")
    assert [entry.verb for entry in history_of(row)] == ["reviewed"]
    assert address(row, "review") not in root.get(address(row)).content.decode()


def test_a_corrected_change_stays_what_it_was_otherwise(root: Client, now: datetime) -> None:
    row = change("a", now, diff="-a\n+b", severity="low")
    form = {"title": "change a", "severity": "critical", "change_type": "pricing", "description": "mine"}
    assert root.post(address(row), form).status_code == 302
    row.refresh_from_db()
    assert (row.severity, row.change_type, row.diff, row.detected_at) == ("critical", "pricing", "-a\n+b", now)
    [entry] = history_of(row)
    assert {item["field"] for item in entry.changes} == {"severity", "change_type", "description"}


def test_an_incident_is_acknowledged_noted_silenced_and_resolved(root: Client, monitor: Monitor, now: datetime) -> None:
    row = incident(now - timedelta(hours=1), monitor=monitor)
    assert root.post(address(row, "acknowledge"), {"reason": ""}).status_code == 200  # asks for the reason
    root.post(address(row, "acknowledge"), {"reason": "on it"})
    root.post(address(row, "note"), {"text": "told the team"})
    root.post(address(row, "silence"), {"hours": "4", "reason": "known"})
    root.post(address(row, "resolve"), {"text": "done"})
    row.refresh_from_db()
    assert (row.acknowledged_by, row.is_open) == ("olga", False)
    told = [(entry.author, entry.text) for entry in row.timeline.all()][1:]
    assert told[:2] == [("olga", "Acknowledged: on it"), ("olga", "told the team")]
    assert told[3] == ("olga", "done")
    silence = Silence.objects.get()
    assert (silence.monitor, silence.author, silence.reason) == (monitor, "olga", "known")
    assert silence.ends_at - silence.starts_at == timedelta(hours=4)
    text = root.get(address(row)).content.decode()
    assert address(row, "resolve") not in text
    assert "told the team" in text


def test_open_incidents_stand_first_in_their_list_and_on_the_first_page(root: Client, now: datetime) -> None:
    incident(now - timedelta(days=9), "old")
    incident(now - timedelta(days=1), "new")
    incidents.resolve("new", now, "up")
    rows = root.get(reverse("admin:monitoring_incident_changelist")).context["cl"].result_list
    assert [row.source_key for row in rows] == ["old", "new"]
    [notice] = root.get(reverse("admin:index")).context["notices"]
    assert notice.title == "Open incidents: 1"
    assert notice.lines == ["critical, for 9 d: health is down"]


def test_a_silence_ends_after_it_starts_and_is_of_one_provider(root: Client, monitor: Monitor) -> None:
    add = reverse("admin:monitoring_silence_add")
    times = {"starts_at_0": "2026-01-02", "starts_at_1": "10:00", "ends_at_0": "2026-01-02", "ends_at_1": "09:00"}
    form = {**times, "reason": "why", "monitor": monitor.pk, "provider": Provider.objects.get(slug="vcp").pk}
    errors = root.post(add, form).context["adminform"].form.errors
    assert set(errors) == {"ends_at", "monitor"}
    assert root.post(add, {**times, "ends_at_1": "11:00", "reason": "why", "monitor": monitor.pk}).status_code == 302
    assert Silence.objects.get().author == "olga"


def test_which_rule_decides_a_text_can_be_tried(root: Client) -> None:
    rules.ensure_rules()
    form = {"text": "the webhook payload has a new field", "source": "docs", "change_type": "documentation"}
    text = root.post(reverse("admin:monitoring_severityrule_try_it"), form).content.decode()
    assert "The rule “Webhook changed” decides." in text
    assert not Change.objects.exists()


def test_a_severity_rule_keeps_its_conditions_and_refuses_broken_ones(root: Client) -> None:
    rules.ensure_rules()
    row = SeverityRule.objects.get(name="Service is down")
    row.sources = [*row.sources, "drift"]  # of a later version
    row.save()
    form = {"name": row.name, "enabled": "on", "severity": "high", "position": "10", "words": '["a"]',
            "sources": ["drift", "health"], "states": ["down"], "statuses": "500-599"}  # fmt: skip
    assert root.post(address(row), form).status_code == 302
    row.refresh_from_db()
    assert (set(row.sources), row.states, row.words, row.severity) == ({"health", "drift"}, ["down"], ["a"], "high")
    for field, value in (("statuses", "5xx"), ("words", '[""]'), ("words", '"a"')):
        assert field in root.post(address(row), {**form, field: value}).context["adminform"].form.errors


def test_rules_are_put_into_another_order_in_their_list(root: Client) -> None:
    rules.ensure_rules()
    rows = list(SeverityRule.objects.all())
    form: dict[str, Any] = {"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": len(rows), "_save": "Save"}
    for n, row in enumerate(rows):
        form |= {f"form-{n}-id": row.pk, f"form-{n}-position": len(rows) - n}
    assert root.post(reverse("admin:monitoring_severityrule_changelist"), form).status_code == 302
    assert list(SeverityRule.objects.all()) == rows[::-1]


def test_lines_of_a_diff_are_told_apart() -> None:
    kinds = [kind for kind, _ in diff_lines("--- a\n+++ b\n@@ -1 +1 @@\n same\n-x\n+y")]
    assert kinds == ["note", "note", "place", "", "removed", "added"]


def test_times_and_percents_are_cut_and_not_rounded() -> None:
    assert how_long(timedelta(days=3, hours=4, minutes=5)) == "3 d 4 h"
    assert how_long(timedelta(seconds=59)) == "under a minute"
    assert [percent(value) for value in (None, 100, 99.9999, 0)] == ["not watched", "100 %", "99.99 %", "0.00 %"]


def test_saving_a_check_leaves_what_a_look_wrote_meanwhile(root: Client, monitor: Monitor) -> None:
    url = reverse("admin:monitoring_monitor_change", args=[monitor.pk])
    form = filled(root, url)
    Monitor.objects.filter(pk=monitor.pk).update(state="down", last_error="meanwhile", memory={"known": 1})
    # As if the page had been loaded, and its row read, before that look.
    with pytest.MonkeyPatch.context() as patch:
        before = Monitor(**{name: value for name, value in vars(monitor).items() if not name.startswith("_")})
        before._state.adding, before._state.db = False, "default"
        patch.setattr("apps.monitoring.admin.monitors.MonitorAdmin.get_object", lambda *args, **kwargs: before)
        assert root.post(url, form | {"down_after": "5"}).status_code == 302
    monitor.refresh_from_db()
    assert (monitor.down_after, monitor.origin) == (5, "admin")
    assert (monitor.state, monitor.last_error, monitor.memory) == ("down", "meanwhile", {"known": 1})

"""Every page of the admin, the first one, foreign text on them, and what belongs to no provider and no call."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from rest_framework.authtoken.models import Token

from apps.analytics.models import DailyProviderStats, ProcessingTimes
from apps.analytics.traffic import ensure_conditions
from apps.history.models import Change
from apps.ingest import operations
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.monitoring import incidents
from apps.monitoring.models import Alert, AlertChannel, Monitor, Observation, Silence
from apps.monitoring.models import Change as Found
from apps.monitoring.rules import ensure_rules
from apps.providers import publishing, registry
from apps.providers.admin.versions import EventInline, RuleInline
from apps.providers.models import AuthConfig, Endpoint, MappingVersion, Price, Provider, Secret
from apps.providers.templatetags.wording import code_words
from tests.admin.rows import MODELS, message, new_price, numbers, version
from tests.browser import action, filled, page, problems, said_after, text_of
from tests.calls import ANALYZED, CALL_ID, ENDED, sample
from voicelens.schedule import ensure_schedule

pytestmark = pytest.mark.django_db


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
# The same number of queries however many rows a list has; a page that needs more has a loop in it.
MAX_QUERIES = 30


# --- every page ----------------------------------------------------------------------------------------------


@pytest.fixture
def rows(operator: Client, calls: None, deliver: Any) -> dict[Any, Any]:
    """One row of every model the admin shows."""
    deliver({"event": "nobody signed this"}, headers={"X-Retell-Signature": "v=1,d=00"})
    Token.objects.create(user=User.objects.get())
    ensure_schedule()
    SolarSchedule.objects.create(event="sunrise", latitude=52, longitude=13)
    ClockedSchedule.objects.create(clocked_time=timezone.now())
    from django.contrib.auth.models import Group

    Group.objects.create(name="Operators")
    publishing.draft_of(version())
    new_price()
    ensure_conditions()
    ProcessingTimes.objects.create(date=date(2026, 3, 16), messages=1, sampled=1, p50_ms=1, p95_ms=1, p99_ms=1)
    _monitored()
    return {model: model._default_manager.first() for model in MODELS}


def _monitored() -> None:
    """A look that failed, what became of it, and who is told."""
    now, check = timezone.now(), Monitor.objects.all()[0]
    ensure_rules()
    Observation.objects.create(monitor=check, at=now, standing="down", error="no answer")
    Silence.objects.create(monitor=check, starts_at=now, ends_at=now + timedelta(hours=1), reason="planned")
    incident, _ = incidents.open_or_worsen(
        "check:1", provider="retell", title="down", severity="high", now=now, text="…"
    )
    channel = AlertChannel.objects.create(name="ops", kind="slack")
    change = Found.objects.create(
        key="1", provider="retell", source="docs", change_type="documentation", title="new", detected_at=now,
        incident=incident, monitor=check, diff="-old\n+new",
    )  # fmt: skip
    Alert.objects.create(change=change, channel=channel, created_at=now, due_at=now)


def test_there_is_a_row_of_every_model_that_the_admin_shows(rows: dict[Any, Any]) -> None:
    assert [model for model, row in rows.items() if row is None] == []
    assert {InboundEvent, Message, CallKey, DailyProviderStats, Endpoint, PeriodicTask, User} <= set(rows)


def test_every_page_answers_within_its_queries(operator: Client, rows: dict[Any, Any]) -> None:
    request = _as_superuser(operator)
    pages = [page(model, kind, rows[model].pk) for model in MODELS for kind in ("change", "history")]
    pages += [f"{page(model, 'changelist')}{query}" for model in MODELS for query in ("", "?q=x")]
    pages += [page(model, "add") for model in MODELS if admin.site._registry[model].has_add_permission(request)]
    for url in pages:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = operator.get(url)
        assert response.status_code == 200, url
        assert len(queries) <= MAX_QUERIES, (url, len(queries))


def _as_superuser(client: Client) -> Any:
    request = client.get(reverse("admin:index")).wsgi_request
    assert request.user.is_superuser
    return request


@pytest.mark.any_database
def test_no_page_is_shown_to_strangers(rows: dict[Any, Any]) -> None:
    stranger = Client()
    pages = [page(model, "changelist") for model in MODELS] + [
        page(model, "change", rows[model].pk) for model in MODELS
    ]
    for url in pages:
        answer = stranger.get(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("admin:login"))


@pytest.mark.any_database
def test_staff_without_a_permission_sees_and_does_nothing(rows: dict[Any, Any]) -> None:
    staff = Client()
    staff.force_login(User.objects.create_user("nina", is_staff=True))
    assert "Needs attention" in text_of(staff.get(reverse("admin:index")))
    assert staff.get(reverse("admin:index")).context["concerns"] == []
    assert all(staff.get(page(model, "changelist")).status_code == 403 for model in MODELS)
    for url in (
        action(message(), "correct"), action(message(), "withdraw"), action(message(), "erase"),
        action(InboundEvent.objects.first(), "replay"), action(version(), "edit_as_draft"),
        action(version(2), "publish"), action(version(), "undo"), action(CallKey.objects.first(), "restore"),
        action(CallKey.objects.first(), "erase"), action(Provider.objects.first(), "new_draft"),
        action(Provider.objects.first(), "follow_catalogue"), action(Price.objects.first(), "new_prices"),
    ):  # fmt: skip
        assert staff.post(url).status_code == 403, url


@pytest.mark.any_database
def test_actions_that_change_something_do_nothing_on_get(operator: Client, calls: None) -> None:
    before = [MappingVersion.objects.count(), list(InboundEvent.objects.values_list("state", flat=True))]
    for url in (
        action(message(), "erase"), action(message(), "withdraw"), action(version(), "edit_as_draft"),
        action(Provider.objects.get(slug="retell"), "new_draft"), action(InboundEvent.objects.first(), "replay"),
    ):  # fmt: skip
        assert operator.get(url).status_code == 200
    assert before == [MappingVersion.objects.count(), list(InboundEvent.objects.values_list("state", flat=True))]
    assert Message.objects.filter(call_id=CALL_ID).exists()


def test_filters_and_links_of_the_lists_answer(operator: Client, calls: None) -> None:
    today = timezone.now().date().isoformat()
    event = InboundEvent.objects.get(event="call_analyzed")
    stats = DailyProviderStats.objects.get(provider="retell")
    deliveries, messages = page(InboundEvent, "changelist"), page(Message, "changelist")
    expected = {
        f"{deliveries}?state__exact=failed": 1,
        f"{deliveries}?provider=vcp": 1,
        f"{deliveries}?event=transfer_*": 2,
        f"{deliveries}?event=call_ended": 2,
        f"{deliveries}?received_at_from={today}&received_at_to={today}": 7,
        f"{deliveries}?received_at_to=2020-01-01": 0,
        f"{deliveries}?received_at_to=9999-12-31": 7,
        f"{deliveries}?endpoint__id__exact={event.endpoint_id}": 6,
        f"{deliveries}?q={CALL_ID}": 4,
        f"{deliveries}?q={event.delivery_id}": 1,
        f"{deliveries}?q={event.trace_id}": 1,
        f"{messages}?provider=retell": 1,
        f"{messages}?provider=northwind_voice": 1,
        f"{messages}?status__exact=success&stage__exact=analysed": 1,
        f"{messages}?direction=inbound": 2,
        f"{messages}?environment__exact=demo": 0,
        f"{messages}?q={CALL_ID[:10]}": 1,
        f"{messages}?q={CALL_ID}": 1,
        f"{messages}?provider=retell&start_time_from={stats.date}&start_time_to={stats.date}": 1,
        f"{page(CallKey, 'changelist')}?deleted=yes": 0,
        f"{page(CallKey, 'changelist')}?deleted=no": 3,
        f"{page(DailyProviderStats, 'changelist')}?date_from={stats.date}&date_to={stats.date}&provider=retell": 1,
        f"{page(Endpoint, 'changelist')}?provider__id__exact={Provider.objects.get(slug='retell').pk}": 2,
    }
    assert {url: operator.get(url).context["cl"].result_count for url in expected} == expected


def test_a_list_counts_no_further_than_its_cap(operator: Client, calls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.providers.admin.base import CappedPaginator

    monkeypatch.setattr(CappedPaginator, "CAP", 2)
    answer = operator.get(page(InboundEvent, "changelist"))
    assert answer.context["cl"].result_count == 2
    assert "and more: filter to reach them" in text_of(answer)


def test_lists_leave_the_large_columns_where_they_are(operator: Client, calls: None) -> None:
    for model, column in ((InboundEvent, "body"), (Message, "vcp")):
        with CaptureQueriesContext(connection) as queries:
            operator.get(page(model, "changelist"))
        large = f'"{model._meta.db_table}"."{column}"'
        assert not [query for query in queries.captured_queries if large in query["sql"]]


def test_pages_have_an_icon(operator: Client) -> None:
    icon = operator.get("/favicon.ico")
    assert icon.status_code == 302
    assert finders.find(icon.headers["Location"].removeprefix("/static/")) is not None
    first = operator.get(reverse("admin:index")).content.decode()
    assert f'<link rel="icon" href="{icon.headers["Location"]}"' in first


@pytest.mark.any_database
def test_the_path_above_a_page_calls_things_by_their_names(operator: Client, catalogue: None) -> None:
    row = Endpoint.objects.get(provider__slug="retell", slug="default")
    for kind in ("change", "history", "delete"):
        shown = operator.get(page(Endpoint, kind, row.pk)).content.decode()
        assert re.findall(r'tracking-tight">\s*(.*?)\s*</(?:a|span)>', shown)[:3] == [
            "Providers", "Endpoints", "retell/default",
        ], kind  # fmt: skip


@pytest.mark.any_database
def test_what_stands_between_backticks_is_shown_as_code(operator: Client, catalogue: None) -> None:
    assert code_words("a `b.c` and <b>`d`</b> `") == "a <code>b.c</code> and &lt;b&gt;<code>d</code>&lt;/b&gt; `"
    assert code_words(mark_safe("<a>`b`</a>")) == "<a><code>b</code></a>"
    endpoint = Endpoint.objects.get(provider__slug="retell", slug="default")
    endpoint.provider.setup = {"secret": "`a` <i>", "steps": ["Set `b`."], "events": []}
    endpoint.provider.save()
    AuthConfig.objects.filter(endpoint=endpoint).update(scheme={"kind": "none", "reason": "tried"})
    card = operator.get(page(Endpoint, "change", endpoint.pk)).content.decode()
    for shown in ("<code>a</code> &lt;i&gt;", "Set <code>b</code>.", "the scheme is <code>none</code>"):
        assert shown in card
    assert "the scheme is <code>none</code>" in operator.get(reverse("admin:index")).content.decode()
    assert "<code>default</code> answers at" in operator.get(page(Endpoint, "add")).content.decode()
    draft = operator.get(page(MappingVersion, "change", publishing.draft_of(version()).pk)).content.decode()
    assert "Dotted (call.items[0].id) or JSONPath" in draft


# --- the first page ------------------------------------------------------------------------------------------


def test_the_first_page_names_what_needs_attention(operator: Client, calls: None, deliver: Any) -> None:
    deliver({"event": "x"}, headers={"X-Retell-Signature": "v=1,d=" + "0" * 64})
    draft = publishing.draft_of(version())
    Secret.objects.filter(auth_config__endpoint__slug="default", auth_config__endpoint__provider__slug="vcp").delete()
    shown = text_of(operator.get(reverse("admin:index")))
    assert "Deliveries that could not be mapped: 1" in shown
    assert "retell/default refused 1 deliveries in 24 hours, last: signature_mismatch" in shown
    assert "vcp/default: It has no secret yet" in shown
    assert f"{draft} is not published" in shown


@pytest.mark.any_database
def test_an_endpoint_stands_once_on_the_first_page(operator: Client, catalogue: None, deliver: Any) -> None:
    endpoint = Endpoint.objects.get(provider__slug="retell", slug="default")
    Secret.objects.filter(auth_config__endpoint=endpoint).delete()
    registry.forget()

    def lines() -> list[tuple[str, str]]:
        told = operator.get(reverse("admin:index")).context
        return [("notice", one.title) for one in told["notices"]] + [(one.word, one.text) for one in told["concerns"]]

    assert deliver(sample(ENDED)).status_code == 401
    [(word, text)] = lines()
    assert word == "closed"
    assert text.startswith("retell/default: It has no secret yet: enter one, and it opens by itself. It refused 1 ")
    for _ in range(9):
        deliver(sample(ENDED))
    assert lines() == [("notice", "retell/default refuses what it is sent: no_secret")]
    shown = text_of(operator.get(reverse("admin:index")))
    assert "Nothing else." in shown
    assert "all well" not in shown
    AuthConfig.objects.filter(endpoint=endpoint).update(scheme={"kind": "none", "reason": "tried"})
    assert [word for word, _ in lines()] == ["notice", "open to everyone"]


@pytest.mark.any_database
def test_a_draft_needs_no_attention_once_a_later_version_is_published(operator: Client, catalogue: None) -> None:
    def drafts() -> list[str]:
        told = operator.get(reverse("admin:index")).context["concerns"]
        return [one.url for one in told if one.word == "draft"]

    old, new = publishing.draft_of(version()), publishing.draft_of(version())
    assert drafts() == [page(MappingVersion, "change", draft.pk) for draft in (new, old)]
    publishing.publish(new)
    assert drafts() == []
    newest = publishing.draft_of(new)
    assert drafts() == [page(MappingVersion, "change", newest.pk)]


def test_the_first_page_says_when_all_is_well(operator: Client, catalogue: None) -> None:
    shown = text_of(operator.get(reverse("admin:index")))
    assert "Nothing failed, nothing was refused, every live endpoint is open." in shown


# --- foreign text --------------------------------------------------------------------------------------------


@pytest.mark.any_database
def test_hostile_text_of_a_payload_is_escaped_on_every_page(operator: Client, deliver: Any, drain: Any) -> None:
    analysed = sample(ANALYZED, call_id=f"call_{HOSTILE}", disconnection_reason=HOSTILE)
    analysed["call"]["call_analysis"]["call_summary"] = HOSTILE
    for turn in analysed["call"]["transcript_with_tool_calls"]:
        turn["content"] = HOSTILE
    for payload in (analysed, {"event": HOSTILE, "call": {"call_id": HOSTILE}}, f"{{no json {HOSTILE}".encode()):
        assert deliver(payload, content_type="application/json").status_code == 200
    drain()
    hostile = Message.objects.get()
    operations.correct(hostile, {"hcr.summary": HOSTILE}, HOSTILE)
    urls = [page(model, "changelist") for model in MODELS]
    urls += [page(InboundEvent, "change", row.pk) for row in InboundEvent.objects.all()]
    urls += [page(CallKey, "change", row.pk) for row in CallKey.objects.all()]
    urls += [page(Message, kind, hostile.pk) for kind in ("change", "delete", "history")]
    urls += [action(hostile, name) for name in ("correct", "withdraw", "erase")]
    shown = {url: operator.get(url).content.decode() for url in urls}
    assert sum("&lt;script&gt;alert(1)" in text for text in shown.values()) >= 10
    assert [url for url, text in shown.items() if "<script>alert(1)" in text or "<img src=x" in text] == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"event": "call_ended", "call": {"call_id": "\\ud800"}}', "\\ud800"),
        (b"\xff\xfe\x00 no text", "\\xff\\xfe\\x00 no text"),
        (b"[" * 5000 + b"]" * 5000, "[[[["),
        (b'{"n": NaN, "big": ' + b"9" * 6000 + b"}", "9" * 100),
        (b"", 'id="body"'),
    ],
    ids=["half a surrogate", "binary", "deep", "huge number", "empty"],
)
def test_a_delivery_of_any_bytes_can_be_looked_at(
    body: bytes, shown: str, operator: Client, deliver: Any, drain: Any
) -> None:
    assert deliver(body).status_code == 200
    drain()
    answer = operator.get(page(InboundEvent, "change", InboundEvent.objects.get().pk))
    assert answer.status_code == 200
    assert shown in answer.content.decode()


@pytest.mark.any_database
def test_a_large_body_is_cut_on_its_page(operator: Client, deliver: Any) -> None:
    deliver(b'{"event": "call_ended", "filler": "' + b"x" * 600_000 + b'"}')
    answer = operator.get(page(InboundEvent, "change", InboundEvent.objects.get().pk))
    assert len(answer.content) < 400_000


# --- numbers, access, periodic tasks -------------------------------------------------------------------------


def test_daily_numbers_are_shown_and_not_edited(operator: Client, calls: None) -> None:
    row = numbers()
    shown = text_of(operator.get(page(DailyProviderStats, "changelist")))
    assert f"{row.total_cost_usd:.4f}" in shown
    assert f"{row.avg_duration_sec:.1f}" in shown
    url = page(DailyProviderStats, "change", row.pk)
    assert operator.post(url, {"total": "99"}).status_code == 403
    assert operator.post(page(DailyProviderStats, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert operator.get(reverse("admin:analytics_dailyproviderstats_add")).status_code == 403


def test_a_token_is_shown_once_and_named_after_its_user(operator: Client) -> None:
    url = reverse("admin:authtoken_tokenproxy_add")
    answer = operator.post(url, {"user": User.objects.get().pk}, follow=True)
    token = Token.objects.get()
    assert any(token.key in text for text in said_after(answer))
    assert token.key not in operator.get(reverse("admin:authtoken_tokenproxy_changelist")).content.decode()
    change = reverse("admin:authtoken_tokenproxy_change", args=[token.user_id])
    assert token.key not in operator.get(change).content.decode()
    assert list(Change.objects.filter(part="API token").values_list("object_name", "verb")) == [("olga", "created")]
    assert not [change for change in Change.objects.all() if token.key[:8] in f"{change.object_id} {change.changes}"]
    delete = reverse("admin:authtoken_tokenproxy_delete", args=[token.user_id])
    assert token.key not in operator.get(delete).content.decode()
    operator.post(delete, {"post": "yes"})
    assert not Token.objects.exists()


def test_an_interval_of_a_periodic_task_is_changed(operator: Client, db: None) -> None:
    ensure_schedule()
    task = PeriodicTask.objects.get(task="ingest.sweep")
    slower = IntervalSchedule.objects.create(every=30, period=IntervalSchedule.SECONDS)
    url = page(PeriodicTask, "change", task.pk)
    data = filled(operator, url)
    assert data["task"] == "ingest.sweep"
    answer = operator.post(url, data | {"interval": slower.pk})
    assert answer.status_code == 302, problems(answer)
    task.refresh_from_db()
    assert task.interval == slower


def test_a_user_is_added_and_a_password_changed(operator: Client, db: None) -> None:
    words = {"username": "petra", "password1": "correct horse battery", "password2": "correct horse battery",
             "usable_password": "true"}  # fmt: skip
    assert operator.post(reverse("admin:auth_user_add"), words).status_code == 302
    petra = User.objects.get(username="petra")
    assert petra.check_password("correct horse battery")
    assert operator.get(reverse("admin:auth_user_password_change", args=[petra.pk])).status_code == 200


def test_crontabs_are_listed_in_words(operator: Client, db: None) -> None:
    ensure_schedule()
    assert CrontabSchedule.objects.exists()
    assert "03:10" in text_of(operator.get(page(CrontabSchedule, "changelist")))


def test_the_badge_counts_failures_and_stops_at_a_hundred(
    operator: Client, calls: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicelens import admin as roof

    request = _as_superuser(operator)
    assert roof.failed_deliveries(request) == "1"
    monkeypatch.setattr(roof, "SHOWN", 0)
    assert roof.failed_deliveries(request) == "0+"


# --- what only an eye would see ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("inline", "group"), [(EventInline, "webhook_schemas"), (RuleInline, "rules")])
def test_each_column_of_a_draft_has_its_share_of_the_width(inline: Any, group: str) -> None:
    # In a fixed layout a column without a width shares what is left, and that is nothing.
    css = Path(finders.find("voicelens/admin.css") or "").read_text()
    shares: dict[str, float] = {}
    for selector, width in re.findall(rf"#{group}-group ([^{{}}]+) {{ width: ([0-9.]+)%; }}", css):
        shares |= dict.fromkeys(re.findall(r"\.column-(\w+)", selector), float(width))
    assert set(shares) == set(inline.fields) - {inline.ordering_field}
    assert 95 < sum(shares.values()) <= 96.5

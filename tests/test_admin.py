"""The admin as an operator uses it: pages are fetched and forms are posted, then rows are looked at."""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
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
from apps.providers.models import (
    AuthConfig,
    Endpoint,
    MappingRule,
    MappingVersion,
    Price,
    Provider,
    RegistryStamp,
    Secret,
    WebhookSchema,
)
from apps.providers.sync import sync_catalog
from apps.providers.templatetags.wording import code_words
from tests.browser import action, added, filled, page, problems, said_after, text_of
from tests.calls import ANALYZED, CALL_ID, ENDED, EVENTS, SECRET, STARTED, TRANSFER, sample
from voicelens.schedule import ensure_schedule

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
# The same number of queries however many rows a list has; a page that needs more has a loop in it.
MAX_QUERIES = 30
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label_lower)


@pytest.fixture
def operator(client: Client) -> Client:
    """A browser in which a superuser is logged in."""
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    return client


@pytest.fixture
def calls(deliver: Any, drain: Any) -> None:
    """One whole call, one delivery that failed, one that waits, one ready-made message."""
    for name in EVENTS:
        assert deliver(sample(name)).status_code == 200
    deliver({"event": "call_ended"})
    deliver(sample(TRANSFER, call_id="call_waiting"))
    deliver(sample("message", provider="vcp"), provider="vcp")
    drain()


def message() -> Message:
    return Message.objects.get(call_id=CALL_ID)


def version(number: int = 1) -> MappingVersion:
    return MappingVersion.objects.get(provider__slug="retell", number=number)


def new_price(**fields: Any) -> Price:
    row = Price(
        **{"provider": Provider.objects.get(slug="retell"), "model": "m-1", "rate": "text_in", "usd": Decimal(4),
           "valid_from": date(2026, 1, 1), **fields}
    )  # fmt: skip
    row.save()
    return row


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


# --- providers -----------------------------------------------------------------------------------------------


def retell() -> Provider:
    return Provider.objects.get(slug="retell")


def test_saving_a_provider_keeps_the_edit_from_the_next_sync(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    answer = operator.post(url, filled(operator, url) | {"name": "Retell of ours"})
    assert answer.status_code == 302
    assert retell().edited_at is not None
    sync_catalog()
    assert retell().name == "Retell of ours"


@pytest.mark.parametrize("gone", [[], ["enabled"]], ids=["nothing changed", "switched off"])
def test_a_provider_whose_facts_were_left_alone_keeps_following_the_catalogue(
    gone: list[str], operator: Client, catalogue: None
) -> None:
    url = page(Provider, "change", retell().pk)
    data = filled(operator, url)
    for name in gone:
        del data[name]
    assert operator.post(url, data).status_code == 302
    assert retell().edited_at is None
    assert retell().enabled is not bool(gone)


def test_limits_are_ours_and_outlive_a_sync(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    limits = {"rate_per_min": "300", "rate_burst": "50", "allowed_addresses": '["203.0.113.0/24", "2001:db8::/32"]'}
    assert operator.post(url, filled(operator, url) | limits).status_code == 302
    assert retell().edited_at is None
    sync_catalog(("retell",))
    assert (retell().rate_per_min, retell().rate_burst) == (300, 50)
    assert retell().allowed_addresses == ["203.0.113.0/24", "2001:db8::/32"]


def test_an_edited_provider_can_follow_the_catalogue_again(operator: Client, catalogue: None) -> None:
    Provider.objects.filter(slug="retell").update(edited_at=timezone.now(), name="Edited")
    assert operator.post(action(retell(), "follow_catalogue")).status_code == 302
    sync_catalog()
    assert retell().name == "Retell AI"


def test_the_slug_of_a_provider_cannot_be_changed(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    operator.post(url, filled(operator, url) | {"slug": "other"})
    assert Provider.objects.filter(slug="retell").exists()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("auth", '{"kind": "hmac"}', "header"),
        ("auth", "", "required"),
        ("auth", "{", "valid JSON"),
        ("pages", '[{"kind": "blog", "url": "https://example.com"}]', "kind"),
        ("pages", "NaN", "cannot be stored"),
        ("pages", '["\\u0000"]', "NUL"),
        ("pages", '["\\ud800"]', "cannot be stored"),
        ("pages", "[1e999]", "cannot be stored"),
        ("pages", "9" * 5000, "cannot be stored"),
        ("pages", "[" * 100_000, "cannot be stored"),
        ("setup", '{"secrets": "x"}', "secrets"),
        ("source_addresses", '["nowhere"]', "nowhere"),
        ("docs_url", "no url", "valid URL"),
        ("body_limit_bytes", "-1", "greater than or equal"),
        ("allowed_addresses", '["203.0.113.7/24"]', "host bits"),
        ("allowed_addresses", '["fe80::1%eth0"]', "zone"),
        ("rate_per_min", "-1", "greater than or equal"),
        ("rate_burst", "0", "greater than or equal"),
    ],
)
@pytest.mark.any_database
def test_a_provider_that_could_not_run_is_refused_at_the_field(
    field: str, value: str, problem: str, operator: Client, catalogue: None
) -> None:
    url = page(Provider, "change", retell().pk)
    answer = operator.post(url, filled(operator, url) | {field: value})
    assert answer.status_code == 200
    assert problem in str(answer.context["adminform"].form.errors[field])
    assert retell().edited_at is None


def test_an_emptied_json_field_is_stored_as_nothing_of_its_kind(operator: Client, catalogue: None) -> None:
    url = page(Provider, "change", retell().pk)
    assert operator.post(url, filled(operator, url) | {"pages": "", "setup": ""}).status_code == 302
    assert (retell().pages, retell().setup) == ([], {})


def test_a_provider_in_use_is_not_deleted(operator: Client, catalogue: None) -> None:
    url = page(Provider, "delete", retell().pk)
    refusal = operator.get(url)
    assert refusal.context["protected"]
    assert "retell/default" in text_of(refusal)
    operator.post(url, {"post": "yes"})
    assert Provider.objects.filter(slug="retell").exists()


def test_a_provider_is_added_with_mapping_and_endpoint_and_takes_calls(
    operator: Client, deliver: Any, drain: Any
) -> None:
    """All of it by configuration: what no catalogue file knows works too."""
    facts = {"slug": "newvoice", "name": "New Voice", "enabled": "on", "priority": "normal", "pages": "[]",
             "source_addresses": "[]", "setup": "{}", "sources": "[]",
             "auth": '{"kind": "token", "header": "X-Token"}'}  # fmt: skip
    assert operator.post(page(Provider, "add"), facts).status_code == 302
    provider = Provider.objects.get(slug="newvoice")
    assert provider.edited_at is not None

    operator.post(action(provider, "new_draft"))
    draft = provider.versions.get()
    assert draft.is_draft
    url = page(MappingVersion, "change", draft.pk)
    events = {"event": "done", "kind": "call_ended", "disposition": "map", "rank": "10", "opens_call": "on",
              "proves": "ended", "required": "[]", "optional": "[]", "answer": "", "example": "",
              "position": "0"}  # fmt: skip
    rule = {"source": "began", "target": "call.start_time", "transform": "epoch", "args": '{"unit": "s"}', "event": "*",
            "default": "", "position": "0"}  # fmt: skip
    data = filled(operator, url) | {"read": '{"event": "type", "call_id": "id"}'}
    answer = operator.post(url, data | added("webhook_schemas", events) | added("rules", rule))
    assert answer.status_code == 302, problems(answer)
    assert operator.post(action(draft, "publish")).status_code == 302

    new = {"provider": provider.pk, "slug": "default", "account": "default", "environment": "live", "enabled": "on",
           "allowed_addresses": "", "new_secret": "a token of the tests"}  # fmt: skip
    assert operator.post(page(Endpoint, "add"), new).status_code == 302
    assert AuthConfig.objects.get(endpoint__provider=provider).scheme == provider.auth
    registry.forget()
    payload = {"type": "done", "id": "n1", "began": 1772000000}
    assert deliver(payload, path="/webhook/newvoice", headers={"X-Token": "a token of the tests"}).status_code == 200
    drain()
    assert Message.objects.get().call_id == "n1"


# --- endpoints and secrets -----------------------------------------------------------------------------------


def default_endpoint() -> Endpoint:
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def endpoint_url() -> str:
    return page(Endpoint, "change", default_endpoint().pk)


@pytest.mark.any_database
def test_an_endpoint_tells_how_to_set_it_up(operator: Client, db: None, settings: Any) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    sync_catalog()
    shown = text_of(operator.get(endpoint_url()))
    assert 'value="https://voice.example.com/webhook/retell"' in shown
    assert "the key with the “webhook” badge" in shown
    assert "<code>call_analyzed</code>" in shown
    assert "It has no secret yet" in shown
    assert "Last accepted</dt> <dd>nothing yet" in shown


def test_an_endpoint_shows_its_last_accepted_and_refused_delivery(operator: Client, calls: None, deliver: Any) -> None:
    for _ in range(3):
        deliver({"event": "x"}, headers={"X-Retell-Signature": "v=1,d=" + "0" * 64})
    deliver({"event": "x"}, headers={})
    shown = text_of(operator.get(endpoint_url()))
    assert "Deliveries with a valid proof are taken." in shown
    assert "header_missing: header X-Retell-Signature is missing or empty" in shown
    assert "3 × signature_mismatch, 1 × header_missing" in shown
    assert "transfer_started" in shown


@pytest.mark.parametrize(
    ("arrange", "why"),
    [
        (lambda: Provider.objects.update(enabled=False), "The provider is switched off."),
        (lambda: Endpoint.objects.update(enabled=False), "The endpoint is switched off."),
        (lambda: Secret.objects.all().delete(), "It has no secret yet"),
        (lambda: Secret.objects.update(valid_until=timezone.now() - timedelta(days=1)), "Every secret has ended"),
        (
            lambda: AuthConfig.objects.update(scheme={"kind": "none", "reason": "a trial"}),
            "Nobody has to prove anything",
        ),
        (lambda: MappingVersion.objects.update(state="retired"), "no published mapping"),
        (lambda: Secret.objects.update(key_id="lost"), "FIELD_ENCRYPTION_KEYS has no key"),
    ],
    ids=["provider off", "endpoint off", "no secret", "all ended", "scheme none", "no mapping", "key lost"],
)
@pytest.mark.any_database
def test_an_endpoint_says_why_it_takes_nothing(
    arrange: Callable[[], Any], why: str, operator: Client, catalogue: None
) -> None:
    arrange()
    assert why in text_of(operator.get(endpoint_url()))
    assert operator.get(page(Endpoint, "changelist")).status_code == 200
    assert operator.get(reverse("admin:index")).status_code == 200


def test_an_entered_secret_opens_the_endpoint_and_is_never_shown(operator: Client, db: None, deliver: Any) -> None:
    Secret.objects.all().delete()
    registry.forget()
    assert deliver(sample(ENDED)).status_code == 401
    stamp = RegistryStamp.objects.get().value
    data = filled(operator, endpoint_url()) | {"new_secret": SECRET, "secret_label": "since March"}
    answer = operator.post(endpoint_url(), data, follow=True)
    assert "The secret was stored. It is not shown again." in said_after(answer)
    assert RegistryStamp.objects.get().value > stamp
    stored = Secret.objects.get()
    assert stored.value() == SECRET
    registry.forget()
    assert deliver(sample(ENDED)).status_code == 200
    for url in every_page():
        shown = operator.get(url).content.decode()
        assert SECRET not in shown, url
        assert stored.ciphertext not in shown, url
    assert not [change for change in Change.objects.all() if SECRET in str(change.changes)]


def every_page() -> Iterator[str]:
    yield reverse("admin:index")
    for model in MODELS:
        yield page(model, "changelist")
        for row in model._default_manager.all():
            yield from (page(model, kind, row.pk) for kind in ("change", "history"))


@pytest.mark.any_database
def test_a_refused_form_does_not_bring_the_secret_back(operator: Client, catalogue: None) -> None:
    data = filled(operator, endpoint_url()) | {"new_secret": "mistyped-secret-1", "allowed_addresses": "nonsense"}
    answer = operator.post(endpoint_url(), data)
    assert answer.status_code == 200
    assert "mistyped-secret-1" not in answer.content.decode()
    assert Secret.objects.filter(auth_config__endpoint=default_endpoint()).count() == 1


@pytest.mark.any_database
def test_a_secret_that_its_scheme_cannot_use_is_refused(operator: Client, catalogue: None) -> None:
    way = AuthConfig.objects.get(endpoint=default_endpoint())
    way.scheme = way.scheme | {"secret_encoding": "base64"}
    way.save()
    answer = operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"new_secret": "no base64!"})
    assert "it is to be base64" in str(answer.context["adminform"].form.errors["new_secret"])
    way.scheme = {"kind": "none", "reason": "a trial"}
    way.save()
    answer = operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"new_secret": "anything"})
    assert "needs no secret" in str(answer.context["adminform"].form.errors["new_secret"])


@pytest.mark.parametrize(
    ("choice", "ends_within"),
    [("", None), ("0", timedelta(0)), ("3600", timedelta(hours=1)), ("604800", timedelta(days=7))],
)
@pytest.mark.any_database
def test_a_rotation_says_when_the_older_secrets_end(
    choice: str, ends_within: timedelta | None, operator: Client, catalogue: None
) -> None:
    before = timezone.now()
    data = filled(operator, endpoint_url()) | {"new_secret": "the next secret", "older_end": choice}
    operator.post(endpoint_url(), data)
    old, new = Secret.objects.filter(auth_config__endpoint=default_endpoint()).order_by("created_at")
    assert new.valid_until is None
    if ends_within is None:
        assert old.valid_until is None
    else:
        assert old.valid_until is not None
        assert before + ends_within <= old.valid_until <= timezone.now() + ends_within


def test_a_secret_goes_to_the_chosen_auth_config(operator: Client, catalogue: None) -> None:
    second = AuthConfig.objects.create(
        endpoint=default_endpoint(), name="token", scheme={"kind": "token", "header": "X-Token"}
    )
    data = filled(operator, endpoint_url()) | {"new_secret": "for the token", "secret_for": str(second.pk)}
    operator.post(endpoint_url(), data)
    assert second.secrets.get().value() == "for the token"


def test_a_secret_is_not_stored_for_an_auth_config_deleted_with_it(operator: Client, catalogue: None) -> None:
    data = filled(operator, endpoint_url()) | {"new_secret": "too late", "auth_configs-0-DELETE": "on"}
    answer = operator.post(endpoint_url(), data, follow=True)
    assert any("was not stored" in text for text in said_after(answer))
    assert not Secret.objects.filter(auth_config__endpoint=default_endpoint()).exists()


def test_a_secret_can_be_deleted_and_leads_back_to_its_endpoint(operator: Client, catalogue: None) -> None:
    secret = Secret.objects.get(auth_config__endpoint=default_endpoint())
    assert f'href="{page(Secret, "delete", secret.pk)}"' in operator.get(endpoint_url()).content.decode()
    answer = operator.post(page(Secret, "delete", secret.pk), {"post": "yes"})
    assert answer["Location"] == endpoint_url()
    assert not Secret.objects.filter(pk=secret.pk).exists()


def test_changing_endpoints_does_not_allow_entering_secrets(catalogue: None) -> None:
    helper = User.objects.create_user("hans", is_staff=True)
    names = ("view_endpoint", "change_endpoint", "view_authconfig")
    helper.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(helper)
    data = filled(browser, endpoint_url())
    assert "new_secret" not in data
    browser.post(endpoint_url(), data | {"new_secret": "slipped in"})
    assert Secret.objects.filter(auth_config__endpoint=default_endpoint()).count() == 1


@pytest.mark.parametrize(
    ("scheme", "problem"), [('{"kind": "hmac"}', "header"), ("[]", "required"), ('{"kind": "magic"}', "magic")]
)
@pytest.mark.any_database
def test_an_auth_scheme_that_cannot_work_is_refused(
    scheme: str, problem: str, operator: Client, catalogue: None
) -> None:
    answer = operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"auth_configs-0-scheme": scheme})
    assert problem in " ".join(problems(answer))


def test_provider_and_slug_of_an_endpoint_cannot_be_changed(operator: Client, catalogue: None) -> None:
    vcp = Provider.objects.get(slug="vcp")
    operator.post(endpoint_url(), filled(operator, endpoint_url()) | {"slug": "other", "provider": vcp.pk})
    assert default_endpoint().provider.slug == "retell"


def test_an_endpoint_with_deliveries_cannot_be_deleted_and_an_unused_one_can(operator: Client, calls: None) -> None:
    assert operator.post(page(Endpoint, "delete", default_endpoint().pk), {"post": "yes"}).status_code == 403
    unused = Endpoint.objects.get(provider__slug="retell", slug="demo")
    assert operator.post(page(Endpoint, "delete", unused.pk), {"post": "yes"}).status_code == 302
    assert not Endpoint.objects.filter(pk=unused.pk).exists()


# --- mapping versions ----------------------------------------------------------------------------------------


@pytest.fixture
def draft(operator: Client, catalogue: None) -> MappingVersion:
    operator.post(action(version(), "edit_as_draft"))
    return version(2)


def draft_url(draft: MappingVersion) -> str:
    return page(MappingVersion, "change", draft.pk)


@pytest.mark.any_database
def test_a_published_version_is_shown_and_not_changed(operator: Client, catalogue: None) -> None:
    url = page(MappingVersion, "change", version().pk)
    shown = text_of(operator.get(url))
    assert "It is never changed" in shown
    assert 'id="rule-0"' in shown
    assert "call.start_timestamp" in shown
    answer = operator.post(url, {"reason": "sneaked in"}, follow=True)
    assert any("never changed" in text for text in said_after(answer))
    assert operator.post(page(MappingVersion, "delete", version().pk), {"post": "yes"}).status_code == 403
    assert version().reason == "from the catalogue"


def test_saving_an_unchanged_draft_changes_nothing(operator: Client, draft: MappingVersion) -> None:
    before = publishing.digest(draft.to_spec())
    answer = operator.post(draft_url(draft), filled(operator, draft_url(draft)))
    assert answer.status_code == 302, problems(answer)
    assert publishing.digest(version(2).to_spec()) == before == publishing.digest(version().to_spec())


def test_a_draft_is_edited_published_and_undone(
    operator: Client, draft: MappingVersion, deliver: Any, drain: Any
) -> None:
    rules = list(draft.rules.all())
    summary = next(number for number, rule in enumerate(rules) if rule.target == "hcr.summary")
    data = filled(operator, draft_url(draft)) | {
        f"rules-{summary}-source": "call.call_id",
        "reason": "the id is the summary",
    }
    assert operator.post(draft_url(draft), data).status_code == 302
    assert version(2).author == User.objects.get()
    assert registry.provider("retell").version_id == version(1).pk  # type: ignore[union-attr]

    preview = text_of(operator.get(action(draft, "publish")))
    assert "passes" in preview
    assert "Rules <span" in preview
    assert "call.call_id → hcr.summary" in preview
    assert '<pre class="vl-small vl-old">call.call_analysis.call_summary</pre>' in preview
    answer = operator.post(action(draft, "publish"), follow=True)
    assert any("is in force" in text for text in said_after(answer))
    assert [version(1).state, version(2).state] == ["retired", "published"]
    registry.forget()
    deliver(sample(ANALYZED))
    drain()
    assert message().vcp["vcp_payload"]["hcr"]["summary"] == CALL_ID

    answer = operator.post(action(version(2), "undo"), follow=True)
    assert "retell v1 is in force again." in said_after(answer)
    assert [version(1).state, version(2).state] == ["published", "retired"]


@pytest.mark.any_database
def test_a_draft_that_the_samples_refute_is_not_published(operator: Client, draft: MappingVersion) -> None:
    data = filled(operator, draft_url(draft)) | {"read": '{"event": "event", "call_id": "call.no_such_field"}'}
    assert operator.post(draft_url(draft), data).status_code == 302
    preview = text_of(operator.get(action(draft, "publish")))
    assert "It cannot be published before that is mended." in preview
    answer = operator.post(action(draft, "publish"))
    told = " ".join(said_after(answer))
    assert "Nothing was published" in told
    assert "call_analyzed.inbound_success_tools: no call id found" in told
    assert [version(1).state, version(2).state] == ["published", "draft"]


def test_what_was_published_meanwhile_is_not_published_again(operator: Client, draft: MappingVersion) -> None:
    publishing.publish(draft)
    answer = operator.post(action(draft, "publish"), follow=True)
    assert any("only a draft can be published" in text for text in said_after(answer))
    assert version(2).state == "published"


def test_a_draft_published_while_its_form_is_sent_is_left_alone(
    operator: Client, draft: MappingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = filled(operator, draft_url(draft)) | {"rules-0-source": "call.other"}
    publishing.publish(draft)
    # As if it had been published after the page looked and before it saved.
    monkeypatch.setattr(MappingVersion, "is_draft", True)
    answer = operator.post(draft_url(draft), data)
    assert answer.status_code == 302
    assert version(2).rules.all()[0].source == "call.start_timestamp"


def test_there_is_nothing_to_undo_in_a_first_version(operator: Client, catalogue: None) -> None:
    answer = operator.post(action(version(), "undo"), follow=True)
    assert any("there is nothing to undo" in text for text in said_after(answer))
    assert version().state == "published"


@pytest.mark.any_database
def test_the_actions_of_a_version_fit_its_state(operator: Client, draft: MappingVersion) -> None:
    def offered(number: int) -> list[str]:
        answer = operator.get(page(MappingVersion, "change", version(number).pk))
        return [item["title"] for item in answer.context["actions_detail"]]

    assert offered(1) == ["Try", "Edit as draft", "Compare", "Export"]
    assert offered(2) == ["Try", "Publish", "Compare", "Export"]
    publishing.publish(draft)
    assert offered(1) == ["Try", "Edit as draft", "Compare", "Export"]
    assert offered(2) == ["Try", "Edit as draft", "Undo", "Compare", "Export"]


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("rules-0-source", "call..x", "path"),
        ("rules-0-target", "call.no_such_field", "is no field of a VCP message"),
        ("rules-0-transform", "magic", "magic"),
        ("rules-0-args", '{"unit": "weeks"}', "args of transform"),
        ("rules-0-args", "{", "valid JSON"),
        ("webhook_schemas-0-required", '["a..b"]', "path"),
        ("webhook_schemas-0-rank", "2000", "1000"),
        ("webhook_schemas-0-disposition", "store", "opens a call"),
        ("webhook_schemas-0-optional", "7", "optional"),
        ("webhook_schemas-0-kind", "no_kind", "no_kind"),
        ("decisions", '[{"target": "call.no_such_field", "rows": []}]', "is no field of a VCP message"),
        ("decisions", '[{"rows": []}]', "target"),
        ("read", '{"event": "event"}', "read.call_id"),
        ("redact", '[{"paths": []}]', "paths"),
        ("leftovers", '{"lift": 1}', "lift"),
        ("format", "xml", "xml"),
    ],
)
def test_a_draft_that_cannot_run_is_not_saved(
    field: str, value: str, problem: str, operator: Client, draft: MappingVersion
) -> None:
    # A few rows are enough, and their form is quickly read.
    draft.rules.filter(position__gt=3).delete()
    data = filled(operator, draft_url(draft)) | {field: value, "reason": "changed"}
    answer = operator.post(draft_url(draft), data)
    assert answer.status_code == 200
    assert problem in " ".join(problems(answer))
    assert version(2).reason == "edited from v1"


def test_two_rows_for_one_event_are_refused_as_a_whole(operator: Client, draft: MappingVersion) -> None:
    data = filled(operator, draft_url(draft))
    answer = operator.post(draft_url(draft), data | {"webhook_schemas-0-event": data["webhook_schemas-2-event"]})
    assert "stands in the table twice" in " ".join(problems(answer))


def test_rules_are_reordered_added_and_deleted(operator: Client, draft: MappingVersion) -> None:
    """Also rules of one target may change places, which the database holds apart by their position."""
    data = filled(operator, draft_url(draft))
    rules = list(draft.rules.all())
    pair = [number for number, rule in enumerate(rules) if rule.target == "artifacts.audio_recording_ref"]
    first, second = pair
    data |= {f"rules-{first}-position": str(second), f"rules-{second}-position": str(first), "rules-0-DELETE": "on"}
    new = {"source": "call.agent_id", "target": "hcr.headline", "transform": "text", "args": "{}", "event": "*",
           "default": "", "position": ""}  # fmt: skip
    answer = operator.post(draft_url(draft), data | added("rules", new, at=len(rules)))
    assert answer.status_code == 302, problems(answer)
    now = list(draft.rules.all())
    assert [rule.position for rule in now] == list(range(len(rules)))
    assert (now[-1].source, now[-1].target) == ("call.agent_id", "hcr.headline")
    assert now[0].source == rules[1].source
    recordings = [rule.source for rule in now if rule.target == "artifacts.audio_recording_ref"]
    assert recordings == [rules[second].source, rules[first].source]


def test_two_events_may_swap_their_names(operator: Client, draft: MappingVersion) -> None:
    data = filled(operator, draft_url(draft))
    one, two = data["webhook_schemas-0-event"], data["webhook_schemas-2-event"]
    answer = operator.post(draft_url(draft), data | {"webhook_schemas-0-event": two, "webhook_schemas-2-event": one})
    assert answer.status_code == 302, problems(answer)
    assert [row.event for row in draft.webhook_schemas.all()][:3:2] == [two, one]


def test_a_draft_can_be_deleted_with_its_rows(operator: Client, draft: MappingVersion) -> None:
    assert operator.post(page(MappingVersion, "delete", draft.pk), {"post": "yes"}).status_code == 302
    assert MappingVersion.objects.filter(provider__slug="retell").count() == 1
    assert not MappingRule.objects.filter(version_id=draft.pk).exists()
    assert not WebhookSchema.objects.filter(version_id=draft.pk).exists()


def test_editing_a_draft_is_one_form_however_many_rules_it_has(operator: Client, draft: MappingVersion) -> None:
    rules = [
        MappingRule(version=draft, position=100 + n, source=f"call.f{n}", target="hcr.headline", transform="text")
        for n in range(45)
    ]
    MappingRule.objects.bulk_create(rules)
    answer = operator.post(draft_url(draft), filled(operator, draft_url(draft)) | {"reason": "many"})
    assert answer.status_code == 302, problems(answer)
    assert version(2).reason == "many"


# --- deliveries ----------------------------------------------------------------------------------------------


def test_a_failed_delivery_tells_code_path_rule_and_trace(operator: Client, calls: None) -> None:
    failed = InboundEvent.objects.get(state="failed")
    shown = text_of(operator.get(page(InboundEvent, "change", failed.pk)))
    assert failed.error_code in shown
    assert failed.error_detail.split(":")[0] in shown
    assert failed.error_path in shown
    assert failed.trace_id in shown


def test_deliveries_are_replayed_from_the_list(operator: Client, calls: None, drain: Any, rings: list[int]) -> None:
    failed = InboundEvent.objects.get(state="failed")
    # What was wrong is mended: the body is that of a whole call.
    import json

    InboundEvent.objects.filter(pk=failed.pk).update(body=json.dumps(sample(ENDED, call_id="call_mended")).encode())
    chosen = {"action": "replay_selected", "_selected_action": [failed.pk]}
    answer = operator.post(page(InboundEvent, "changelist"), chosen, follow=True)
    assert any("1 deliveries are worked off again" in text for text in said_after(answer))
    drain()
    failed.refresh_from_db()
    assert failed.state == "processed"
    assert Message.objects.filter(call_id="call_mended").exists()


def test_all_that_match_a_filter_are_replayed_after_a_question(operator: Client, calls: None) -> None:
    matching = InboundEvent.objects.filter(state="processed")
    numbers, first = matching.count(), matching.first()
    assert first is not None
    assert numbers > 1
    address = page(InboundEvent, "changelist") + "?state__exact=processed"
    chosen = {"action": "replay_selected", "_selected_action": [first.pk], "select_across": "1", "index": "0"}
    asked = operator.post(address, chosen)
    shown = asked.content.decode()
    assert f"{numbers} deliveries match" in shown
    assert matching.count() == numbers  # nothing is done before it is confirmed
    posted = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w*)">', shown))
    answer = operator.post(address, posted, follow=True)
    assert any(f"{numbers} deliveries are worked off again" in text for text in said_after(answer))
    assert InboundEvent.objects.filter(state="received").count() == numbers
    assert InboundEvent.objects.filter(state="failed").exists()


def test_a_delivery_is_replayed_from_its_page(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.filter(event="call_analyzed").get()
    assert operator.post(action(event, "replay")).status_code == 302
    event.refresh_from_db()
    assert event.state == "received"


def test_an_erased_delivery_is_not_replayed(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.filter(event="call_analyzed").get()
    operations.erase_call(message().call_key, timezone.now())
    answer = operator.post(action(event, "replay"), follow=True)
    assert any("nothing to replay" in text for text in said_after(answer))
    chosen = {"action": "replay_selected", "_selected_action": [event.pk]}
    answer = operator.post(page(InboundEvent, "changelist"), chosen, follow=True)
    assert any("0 deliveries" in text and "1 are erased" in text for text in said_after(answer))


def test_a_delivery_cannot_be_added_changed_or_deleted(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.first()
    assert event is not None
    assert operator.get(reverse("admin:ingest_inboundevent_add")).status_code == 403
    assert operator.post(page(InboundEvent, "change", event.pk), {"state": "ignored"}).status_code == 403
    assert operator.post(page(InboundEvent, "delete", event.pk), {"post": "yes"}).status_code == 403


def test_a_delivery_shows_which_rule_read_each_value(operator: Client, calls: None) -> None:
    event = InboundEvent.objects.filter(event="call_analyzed").get()
    shown = operator.get(page(InboundEvent, "change", event.pk)).content.decode()
    number, rule = next((n, rule) for n, rule in enumerate(version().rules.all()) if rule.target == "call.start_time")
    assert f'{page(MappingVersion, "change", version().pk)}#rule-{number}">{number}: {rule.source}' in shown


def test_a_delivery_whose_body_was_emptied_says_so(operator: Client, calls: None) -> None:
    InboundEvent.objects.filter(event="call_analyzed").update(body=b"", body_emptied_at=timezone.now())
    event = InboundEvent.objects.get(event="call_analyzed")
    assert "Emptied" in text_of(operator.get(page(InboundEvent, "change", event.pk)))


# --- messages ------------------------------------------------------------------------------------------------


def message_url(kind: str = "change") -> str:
    return page(Message, kind, message().pk)


def numbers() -> DailyProviderStats:
    return DailyProviderStats.objects.get(provider="retell", date=message().start_time.date())


def correct(operator: Client, **values: str) -> Any:
    url = action(message(), "correct")
    return operator.post(url, filled(operator, url) | values)


def test_a_message_is_shown_with_transcript_events_and_rules(operator: Client, calls: None) -> None:
    shown = text_of(operator.get(message_url()))
    turns = operator.get(message_url()).context["turns"]
    assert turns[0].said in shown.replace("&#x27;", "'")
    assert {"agent", "caller", "tool call"} <= {turn.who for turn in turns}
    assert shown.count(page(InboundEvent, "change", InboundEvent.objects.get(event="call_analyzed").pk)) > 1
    assert "#rule-" in shown
    assert "The whole message, VCP 0.5" in shown


def test_the_evidence_names_the_event_that_won(operator: Client, calls: None) -> None:
    told = {row.target: row for row, _ in operator.get(message_url()).context["told"]}
    assert told["hcr.summary"].event.event == "call_analyzed"
    assert told["hcr.summary"].value == message().vcp["vcp_payload"]["hcr"]["summary"]


@pytest.mark.any_database
def test_a_ready_made_message_is_shown_too(operator: Client, calls: None) -> None:
    made = Message.objects.get(provider="northwind_voice")
    assert operator.get(page(Message, "change", made.pk)).status_code == 200


def test_a_correction_moves_the_numbers_and_survives_events_and_replays(
    operator: Client, deliver: Any, drain: Any
) -> None:
    for name in (STARTED, ENDED):
        deliver(sample(name))
    drain()
    before = numbers()
    answer = correct(operator, status="failure", duration_sec="600", total_cost_usd="1.5", summary="Put right.",
                     further='{"call.direction": "outbound"}')  # fmt: skip
    assert answer.status_code == 302, answer.context["form"].errors
    assert numbers().failure_count == before.failure_count + 1
    assert numbers().duration_sum_sec == 600
    assert numbers().total_cost_usd == Decimal("1.5")
    deliver(sample(ANALYZED))
    operations.replay(InboundEvent.objects.all())
    drain()
    now = message()
    assert (now.status, now.duration_sec, now.direction, now.stage) == ("failure", 600, "outbound", "analysed")
    history = now.vcp["vcp_payload"]["provenance"]["transformation_history"]
    assert sum(line.startswith("corrected:") and " by olga at " in line for line in history) == 5
    shown = text_of(operator.get(message_url()))
    assert "laid over whatever the events say" in shown
    assert "corrected by olga" in shown


def test_a_form_sent_back_unchanged_corrects_nothing(operator: Client, calls: None) -> None:
    answer = operator.post(action(message(), "correct"), filled(operator, action(message(), "correct")), follow=True)
    assert "Nothing was changed." in said_after(answer)
    assert message().corrections == []


def test_an_emptied_field_takes_the_value_away(operator: Client, calls: None) -> None:
    assert correct(operator, user_satisfaction_score="", end_time="").status_code == 302
    assert message().user_satisfaction_score is None
    assert message().end_time is None
    assert numbers().satisfaction_count == 0


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("status", "splendid", "valid choice"),
        ("start_time", "yesterday", "Write a time"),
        ("start_time", "", "required"),
        ("end_time", "2001-01-01T00:00:00Z", "before"),
        ("duration_sec", "-5", "greater than or equal to 0"),
        ("duration_sec", "99999999999", "below"),
        ("total_cost_usd", "nan", "number"),
        ("user_satisfaction_score", "7", "less than or equal to 1"),
        ("further", "[1]", "Write an object"),
        ("further", "{", "valid JSON"),
        ("further", '{"call.call_id": "other"}', "fixed"),
        ("further", '{"call.no_such_field": 1}', "no such field"),
        ("further", '{"model_selection.roles.*.chosen": "x"}', "no *"),
        ("further", '{"call.direction": 7}', "call.direction"),
    ],
)
@pytest.mark.any_database
def test_a_correction_that_would_not_be_valid_is_refused_at_its_field(
    field: str, value: str, problem: str, operator: Client, calls: None
) -> None:
    before = message().content_digest
    answer = correct(operator, **{field: value})
    assert answer.status_code == 200
    assert problem in str(answer.context["form"].errors[field])
    assert message().content_digest == before


def test_corrections_are_withdrawn(operator: Client, calls: None) -> None:
    was = message().status
    correct(operator, status="error")
    assert message().status == "error"
    assert operator.post(action(message(), "withdraw")).status_code == 302
    assert (message().status, message().corrections) == (was, [])


@pytest.mark.parametrize("bulk", [False, True], ids=["its page", "the list"])
def test_a_deleted_message_stays_away_until_it_is_restored(
    bulk: bool, operator: Client, calls: None, drain: Any
) -> None:
    total = numbers().total
    key, day = message().call_key, numbers()
    if bulk:
        chosen = {"action": "delete_selected", "_selected_action": [message().pk], "post": "yes"}
        assert operator.post(page(Message, "changelist"), chosen).status_code == 302
    else:
        assert "Later events and replays do not bring it back." in text_of(operator.get(message_url("delete")))
        assert operator.post(message_url("delete"), {"post": "yes"}).status_code == 302
    operations.replay(InboundEvent.objects.all())
    drain()
    assert not Message.objects.filter(call_id=CALL_ID).exists()
    day.refresh_from_db()
    assert day.total == total - 1
    assert operator.get(f"{page(CallKey, 'changelist')}?deleted=yes").context["cl"].result_count == 1
    answer = operator.post(action(key, "restore"), follow=True)
    assert any("is back" in text for text in said_after(answer))
    assert numbers().total == total


def test_deleted_calls_are_restored_from_their_list(operator: Client, calls: None) -> None:
    key = message().call_key
    operations.withhold(message())
    chosen = {"action": "restore_selected", "_selected_action": [key.pk]}
    operator.post(page(CallKey, "changelist"), chosen)
    assert Message.objects.filter(call_id=CALL_ID).exists()


def test_an_erased_call_leaves_no_name_behind(operator: Client, calls: None) -> None:
    correct(operator, status="error")
    operator.post(action(InboundEvent.objects.get(event="call_analyzed"), "replay"))
    assert "cannot be undone" in text_of(operator.get(action(message(), "erase")))
    assert operator.post(action(message(), "erase")).status_code == 302
    assert not Message.objects.filter(call_id=CALL_ID).exists()
    assert not CallKey.objects.filter(call_id=CALL_ID).exists()
    assert not Change.objects.filter(object_name__contains=CALL_ID).exists()
    shown = [operator.get(page(model, "changelist")).content.decode() for model in (InboundEvent, Message, CallKey)]
    assert not any(CALL_ID in text for text in shown)


def test_a_deleted_call_can_be_erased(operator: Client, calls: None) -> None:
    key = message().call_key
    correct(operator, status="error")
    operator.post(message_url("delete"), {"post": "yes"})
    operator.post(action(key, "restore"))
    operator.post(message_url("delete"), {"post": "yes"})
    assert Change.objects.filter(object_name__contains=CALL_ID).count() == 4
    assert operator.post(action(key, "erase")).status_code == 302
    assert not CallKey.objects.filter(pk=key.pk).exists()
    assert not Change.objects.filter(object_name__contains=CALL_ID).exists()


def test_a_message_cannot_be_added_or_changed_past_the_checks(operator: Client, calls: None) -> None:
    assert operator.get(reverse("admin:ingest_message_add")).status_code == 403
    assert operator.post(message_url(), {"status": "error"}).status_code == 403


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

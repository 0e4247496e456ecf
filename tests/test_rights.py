"""Who may do what: each group against each page and button of the admin, and against each address of the API."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, reverse
from django_celery_beat.models import PeriodicTask
from rest_framework.authtoken.models import Token

from apps.analytics.models import DailyProviderStats, ProcessingTimes, TrafficCondition
from apps.history.models import Change
from apps.ingest import operations
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message, RefusedDelivery
from apps.monitoring.models import Alert, AlertChannel, Incident, Monitor, SeverityRule, Silence
from apps.monitoring.models import Change as Seen
from apps.providers import publishing
from apps.providers.access import HoldsRight, right_of
from apps.providers.models import Endpoint, MappingVersion, Price, Provider, Secret
from tests.calls import CALL_ID, ENDED, EVENTS, TRANSFER, ready_made, sample
from voicelens import api as front
from voicelens.groups import GROUPS, ensure_groups, rights_of
from voicelens.schedule import ensure_schedule

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

WHO = ("nobody", "analyst", "ops", "admin")
Who = dict[str, Client]


def page(model: Any, kind: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=args)


def action(row: Any, name: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


@pytest.fixture
def who() -> Who:
    """A browser for a member of each group, and for a user of none; all may enter the admin."""
    ensure_groups()
    browsers = {}
    for name in WHO:
        user = User.objects.create_user(f"{name}_user", is_staff=True)
        user.groups.set(Group.objects.filter(name=name))
        browsers[name] = Client(headers={"accept": "text/html, application/json"})
        browsers[name].force_login(user)
    return browsers


@pytest.fixture
def calls(deliver: Any, drain: Any) -> None:
    for name in EVENTS:
        assert deliver(sample(name)).status_code == 200
    deliver(sample(TRANSFER, call_id="call_waiting"))
    drain()
    ensure_schedule()


def message() -> Message:
    return Message.objects.get(call_id=CALL_ID)


def key() -> CallKey:
    return CallKey.objects.get(call_id=CALL_ID)


def version(number: int = 1) -> MappingVersion:
    return MappingVersion.objects.get(provider__slug="retell", number=number)


def retell() -> Provider:
    return Provider.objects.get(slug="retell")


def endpoint() -> Endpoint:
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def secret() -> Secret:
    return Secret.objects.get(auth_config__endpoint=endpoint())


def delivery() -> InboundEvent:
    return InboundEvent.objects.get(event="call_analyzed")


def check() -> Monitor:
    return Monitor.objects.get(url="https://api.provider.test/")


def seen() -> Seen:
    return Seen.objects.get(key="of the tests")


def incident() -> Incident:
    return Incident.objects.get(source_key="of the tests")


def channel() -> AlertChannel:
    return AlertChannel.objects.get(name="of the tests")


def alert() -> Alert:
    return Alert.objects.get(channel=channel())


@pytest.fixture
def watched(catalogue: None) -> None:
    now = datetime.now(UTC)
    row = Monitor.objects.create(provider=retell(), kind="health", url="https://api.provider.test/")
    told = {"provider": "retell", "title": "of the tests", "severity": "high"}
    joined = Incident.objects.create(source_key="of the tests", monitor=row, opened_at=now, **told)
    change = Seen.objects.create(
        key="of the tests", source="docs", change_type="documentation", detected_at=now, monitor=row, incident=joined,
        change_data={"affected": {"version": 1, "rules": [{"rule": 1, "event": "*", "source": "a", "target": "b"}]}},
        **told,
    )  # fmt: skip
    # Without its address, so that a test of it fails before anything is sent.
    told_by = AlertChannel.objects.create(name="of the tests", kind="slack")
    Alert.objects.create(change=change, channel=told_by, state="dead", created_at=now, due_at=now)


# Each page of the admin and who may open it.
PAGES: list[tuple[str, Callable[[], str], tuple[str, ...]]] = [
    ("first page", lambda: reverse("admin:index"), WHO),
    ("messages", lambda: page(Message, "changelist"), ("analyst", "admin")),
    ("message", lambda: page(Message, "change", message().pk), ("analyst", "admin")),
    ("message's history", lambda: page(Message, "history", message().pk), ("analyst", "admin")),
    ("deleting a message", lambda: page(Message, "delete", message().pk), ("admin",)),
    ("correcting", lambda: action(message(), "correct"), ("admin",)),
    ("withdrawing", lambda: action(message(), "withdraw"), ("admin",)),
    ("erasing", lambda: action(message(), "erase"), ("admin",)),
    ("calls", lambda: page(CallKey, "changelist"), ("admin",)),
    ("restoring", lambda: action(key(), "restore"), ("admin",)),
    ("erasing a call", lambda: action(key(), "erase"), ("admin",)),
    ("deliveries", lambda: page(InboundEvent, "changelist"), ("ops", "admin")),
    ("delivery", lambda: page(InboundEvent, "change", delivery().pk), ("ops", "admin")),
    ("replaying", lambda: action(delivery(), "replay"), ("ops", "admin")),
    ("refused deliveries", lambda: page(RefusedDelivery, "changelist"), ("ops", "admin")),
    ("prices", lambda: page(Price, "changelist"), ("analyst", "ops", "admin")),
    ("adding a price", lambda: page(Price, "add"), ("admin",)),
    ("numbers", lambda: page(DailyProviderStats, "changelist"), ("analyst", "ops", "admin")),
    ("traffic conditions", lambda: page(TrafficCondition, "changelist"), ("analyst", "ops", "admin")),
    ("adding a traffic condition", lambda: page(TrafficCondition, "add"), ("ops", "admin")),
    ("processing times", lambda: page(ProcessingTimes, "changelist"), ("analyst", "ops", "admin")),
    ("providers", lambda: page(Provider, "changelist"), ("analyst", "ops", "admin")),
    ("provider", lambda: page(Provider, "change", retell().pk), ("analyst", "ops", "admin")),
    ("adding a provider", lambda: page(Provider, "add"), ("admin",)),
    ("new draft", lambda: action(retell(), "new_draft"), ("admin",)),
    ("following the catalogue", lambda: action(retell(), "follow_catalogue"), ("admin",)),
    ("endpoint", lambda: page(Endpoint, "change", endpoint().pk), ("analyst", "ops", "admin")),
    ("adding an endpoint", lambda: page(Endpoint, "add"), ("admin",)),
    ("switching off", lambda: action(endpoint(), "switch_off"), ("ops", "admin")),
    ("switching on", lambda: action(endpoint(), "switch_on"), ("ops", "admin")),
    ("secret", lambda: page(Secret, "change", secret().pk), ("admin",)),
    ("deleting a secret", lambda: page(Secret, "delete", secret().pk), ("admin",)),
    ("version", lambda: page(MappingVersion, "change", version().pk), ("analyst", "ops", "admin")),
    ("edit as draft", lambda: action(version(), "edit_as_draft"), ("admin",)),
    ("publishing", lambda: action(version(2), "publish"), ("admin",)),
    ("undoing", lambda: action(version(2), "undo"), ("admin",)),
    ("checks", lambda: page(Monitor, "changelist"), ("analyst", "ops", "admin")),
    ("check", lambda: page(Monitor, "change", check().pk), ("analyst", "ops", "admin")),
    ("adding a check", lambda: page(Monitor, "add"), ("ops", "admin")),
    ("checking now", lambda: action(check(), "check_now"), ("ops", "admin")),
    ("changes", lambda: page(Seen, "changelist"), ("analyst", "ops", "admin")),
    ("change", lambda: page(Seen, "change", seen().pk), ("analyst", "ops", "admin")),
    ("reviewing", lambda: action(seen(), "review"), ("ops", "admin")),
    ("adding a change", lambda: page(Seen, "add"), ()),
    ("incidents", lambda: page(Incident, "changelist"), ("analyst", "ops", "admin")),
    ("incident", lambda: page(Incident, "change", incident().pk), ("analyst", "ops", "admin")),
    ("acknowledging", lambda: action(incident(), "acknowledge"), ("ops", "admin")),
    ("noting", lambda: action(incident(), "note"), ("ops", "admin")),
    ("resolving", lambda: action(incident(), "resolve"), ("ops", "admin")),
    ("silencing", lambda: action(incident(), "silence"), ("ops", "admin")),
    ("silences", lambda: page(Silence, "changelist"), ("ops", "admin")),
    ("adding a silence", lambda: page(Silence, "add"), ("ops", "admin")),
    ("alert channels", lambda: page(AlertChannel, "changelist"), ("ops", "admin")),
    ("alert channel", lambda: page(AlertChannel, "change", channel().pk), ("ops", "admin")),
    ("adding an alert channel", lambda: page(AlertChannel, "add"), ("ops", "admin")),
    ("deleting an alert channel", lambda: page(AlertChannel, "delete", channel().pk), ("ops", "admin")),
    ("testing an alert channel", lambda: action(channel(), "test"), ("ops", "admin")),
    ("alerts", lambda: page(Alert, "changelist"), ("ops", "admin")),
    ("alert", lambda: page(Alert, "change", alert().pk), ("ops", "admin")),
    ("adding an alert", lambda: page(Alert, "add"), ()),
    ("severity rules", lambda: page(SeverityRule, "changelist"), ("ops", "admin")),
    ("trying a text", lambda: reverse("admin:monitoring_severityrule_try_it"), ("ops", "admin")),
    ("schedules", lambda: page(PeriodicTask, "changelist"), ("ops", "admin")),
    ("adding a schedule", lambda: page(PeriodicTask, "add"), ("ops", "admin")),
    ("users", lambda: page(User, "changelist"), ("admin",)),
    ("adding a user", lambda: page(User, "add"), ("admin",)),
    ("groups", lambda: page(Group, "changelist"), ("admin",)),
    ("tokens", lambda: reverse("admin:authtoken_tokenproxy_changelist"), ("admin",)),
    ("history", lambda: page(Change, "changelist"), ("admin",)),
]


def test_each_group_opens_its_pages_and_no_other(who: Who, calls: None, watched: None) -> None:
    publishing.draft_of(version())
    opened = {name: {group for group in WHO if who[group].get(url()).status_code < 400} for name, url, _ in PAGES}
    assert opened == {name: set(groups) for name, _, groups in PAGES}


# What is posted, who may, and whether it has happened.
DOING: list[tuple[str, Callable[[Client], Any], tuple[str, ...], Callable[[], bool]]] = [
    ("replay", lambda client: client.post(action(delivery(), "replay")), ("ops", "admin"),
     lambda: delivery().state == "received"),
    ("replay selected", lambda client: client.post(
        page(InboundEvent, "changelist"), {"action": "replay_selected", "_selected_action": [delivery().pk]}
    ), ("ops", "admin"), lambda: delivery().state == "received"),
    ("switch off", lambda client: client.post(action(endpoint(), "switch_off")), ("ops", "admin"),
     lambda: not endpoint().enabled),
    ("disable a task", lambda client: client.post(
        page(PeriodicTask, "changelist"),
        {"action": "disable_tasks", "_selected_action": [PeriodicTask.objects.get(task="ingest.sweep").pk]},
    ), ("ops", "admin"), lambda: not PeriodicTask.objects.get(task="ingest.sweep").enabled),
    ("correct", lambda client: client.post(
        action(message(), "correct"), {"status": "error", "start_time": "2026-03-16T16:05:00Z"}
    ), ("admin",), lambda: message().status == "error"),
    ("delete", lambda client: client.post(page(Message, "delete", message().pk), {"post": "yes"}), ("admin",),
     lambda: not Message.objects.filter(call_id=CALL_ID).exists()),
    ("delete selected", lambda client: client.post(
        page(Message, "changelist"),
        {"action": "delete_selected", "_selected_action": [message().pk], "post": "yes"},
    ), ("admin",), lambda: not Message.objects.filter(call_id=CALL_ID).exists()),
    ("erase", lambda client: client.post(action(key(), "erase")), ("admin",),
     lambda: not CallKey.objects.filter(call_id=CALL_ID).exists()),
    ("new draft", lambda client: client.post(action(retell(), "new_draft")), ("admin",),
     lambda: MappingVersion.objects.filter(provider__slug="retell", number=3).exists()),
    ("publish", lambda client: client.post(action(version(2), "publish")), ("admin",),
     lambda: version(2).state == "published"),
    ("delete a secret", lambda client: client.post(page(Secret, "delete", secret().pk), {"post": "yes"}), ("admin",),
     lambda: not Secret.objects.filter(auth_config__endpoint=endpoint()).exists()),
    ("check now", lambda client: client.post(action(check(), "check_now")), ("ops", "admin"),
     lambda: check().due_at is not None),
    ("review", lambda client: client.post(action(seen(), "review"), {"note": ""}), ("ops", "admin"),
     lambda: seen().reviewed_at is not None),
    ("acknowledge", lambda client: client.post(action(incident(), "acknowledge"), {"reason": "mine"}),
     ("ops", "admin"), lambda: incident().acknowledged_at is not None),
    ("resolve", lambda client: client.post(action(incident(), "resolve"), {"text": "done"}), ("ops", "admin"),
     lambda: incident().resolved_at is not None),
    ("silence", lambda client: client.post(action(incident(), "silence"), {"hours": "1", "reason": "x"}),
     ("ops", "admin"), lambda: Silence.objects.exists()),
    ("test a channel", lambda client: client.post(action(channel(), "test")), ("ops", "admin"),
     lambda: channel().last_failed_at is not None),
    ("send again", lambda client: client.post(
        page(Alert, "changelist"), {"action": "send_again", "_selected_action": [alert().pk]}
    ), ("ops", "admin"), lambda: alert().state == "pending"),
    ("delete a channel", lambda client: client.post(page(AlertChannel, "delete", channel().pk), {"post": "yes"}),
     ("ops", "admin"), lambda: not AlertChannel.objects.filter(name="of the tests").exists()),
    ("change an endpoint", lambda client: client.post(
        page(Endpoint, "change", endpoint().pk), {"account": "mine", "environment": "live", "allowed_addresses": "[]",
        "auth_configs-TOTAL_FORMS": "0", "auth_configs-INITIAL_FORMS": "0"},
    ), ("admin",), lambda: endpoint().account == "mine"),
]  # fmt: skip


@pytest.mark.parametrize("group", WHO)
@pytest.mark.parametrize(("what", "do", "groups", "happened"), DOING, ids=[row[0] for row in DOING])
def test_each_group_does_what_it_may_and_nothing_else(
    what: str, do: Any, groups: tuple[str, ...], happened: Any, group: str, who: Who, calls: None, watched: None
) -> None:
    publishing.draft_of(version())
    assert not happened()
    do(who[group])
    assert happened() is (group in groups)


BUTTONS = ("correct", "withdraw", "erase", "restore", "replay", "switch_off", "new_draft", "edit_as_draft")


def test_buttons_that_one_may_not_use_are_not_shown(who: Who, calls: None) -> None:
    operations.correct(message(), {"hcr.summary": "mended"}, "olga")
    rows = (message(), delivery(), endpoint(), retell(), version())
    shown: dict[str, set[str]] = {}
    for group in WHO:
        texts = [who[group].get(page(type(row), "change", row.pk)).content.decode() for row in rows]
        urls = [(name, action(row, name)) for row in rows for name in BUTTONS if _has(row, name)]
        shown[group] = {name for name, url in urls if any(url in text for text in texts)}
    everything = {"correct", "withdraw", "erase", "replay", "switch_off", "new_draft", "edit_as_draft"}
    assert shown == {"nobody": set(), "analyst": set(), "ops": {"replay", "switch_off"}, "admin": everything}


def _has(row: Any, name: str) -> bool:
    try:
        return bool(action(row, name))
    except NoReverseMatch:
        return False


def test_what_one_may_open_links_to_nothing_that_one_may_not(
    who: Who, calls: None, watched: None, deliver: Any
) -> None:
    deliver({"event": "x"}, headers={"X-Retell-Signature": "v=1,d=" + "0" * 64})
    assert RefusedDelivery.objects.exists()
    day = DailyProviderStats.objects.earliest("date")
    rows = (message(), delivery(), endpoint(), retell(), version(), day, check(), seen(), incident())
    for group in ("analyst", "ops"):
        for row in rows:
            text = who[group].get(page(type(row), "change", row.pk)).content.decode()
            for model in (Message, InboundEvent, RefusedDelivery, CallKey, Secret, User, PeriodicTask, Silence):
                if who[group].get(page(model, "changelist")).status_code == 403:
                    assert f'href="{page(model, "changelist")}' not in text, (group, row, model)


def test_secrets_are_named_to_those_only_who_may_see_them(who: Who, catalogue: None) -> None:
    shown = {group: "of the tests" in who[group].get(page(Endpoint, "change", endpoint().pk)).content.decode()
             for group in WHO}  # fmt: skip
    assert shown == {"nobody": False, "analyst": False, "ops": False, "admin": True}


# --- users and groups ----------------------------------------------------------------------------------------


def test_an_admin_of_the_group_makes_nobody_a_superuser(who: Who) -> None:
    root = User.objects.create_superuser("root", "", "a password of the tests")
    petra = User.objects.create_user("petra")
    assert "is_superuser" not in who["admin"].get(page(User, "change", petra.pk)).context["adminform"].form.fields
    form = {"username": "petra", "is_superuser": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert who["admin"].post(page(User, "change", petra.pk), form).status_code == 302
    assert not User.objects.get(username="petra").is_superuser
    password = reverse("admin:auth_user_password_change", args=[root.pk])
    assert who["admin"].get(password).status_code == 403
    assert who["admin"].post(page(User, "change", root.pk), form | {"username": "root"}).status_code == 403
    assert who["admin"].post(page(User, "delete", root.pk), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    assert who["admin"].post(page(User, "changelist"), chosen).status_code == 403
    assert User.objects.get(username="root").check_password("a password of the tests")


def user_form(user: User, **more: Any) -> dict[str, Any]:
    return {"username": user.username, "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", **more}


def right(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def test_an_admin_of_the_group_gives_what_the_group_holds_and_no_more(who: Who) -> None:
    own = Group.objects.create(name="night shift")
    own.permissions.set([right("delete_logentry"), right("view_message")])
    self_page = page(User, "change", User.objects.get(username="admin_user").pk)
    petra = User.objects.create_user("petra")
    petras = page(User, "change", petra.pk)
    for url, form, refused in [
        (petras, user_form(petra, groups=[own.pk]), "night shift"),
        (petras, user_form(petra, user_permissions=[right("add_message").pk]), "Can add message"),
        (self_page, {**user_form(petra, groups=[own.pk]), "username": "admin_user"}, "night shift"),
        (page(Group, "add"), {"name": "higher", "permissions": [right("delete_logentry").pk]}, "Can delete log entry"),
        (page(Group, "change", own.pk), {"name": "x", "permissions": [right("delete_message").pk,
                                                                     right("add_message").pk]}, "Can add message"),
    ]:  # fmt: skip
        answer = who["admin"].post(url, form)
        assert answer.status_code == 200
        [[said]] = answer.context["adminform"].form.errors.values()
        assert said.startswith("You cannot give what you do not hold yourself: ")
        assert refused in said
        assert "delete message" not in said
    groups = Group.objects.filter(name__in=("analyst", "ops", "admin"))
    form = user_form(petra, groups=[group.pk for group in groups], user_permissions=[right("view_message").pk])
    assert who["admin"].post(petras, form).status_code == 302
    assert set(petra.groups.all()) == set(groups)
    # What somebody higher gave stays, and may be taken.
    form = {"name": "night", "permissions": [row.pk for row in own.permissions.all()]}
    assert who["admin"].post(page(Group, "change", own.pk), form).status_code == 302
    assert [row.codename for row in own.permissions.order_by("codename")] == ["delete_logentry", "view_message"]


def test_an_admin_of_the_group_touches_nobody_who_may_do_more(who: Who) -> None:
    add_token = reverse("admin:authtoken_tokenproxy_add")
    group = Group.objects.create(name="night shift")
    group.permissions.add(right("delete_logentry"))
    by_group, by_right, away = (User.objects.create_user(name) for name in ("gina", "rita", "aline"))
    by_group.groups.add(group)
    by_right.user_permissions.add(right("delete_logentry"))
    User.objects.filter(pk=away.pk).update(is_active=False)
    away.groups.add(group)
    for user in (by_group, by_right, away):
        assert who["admin"].post(page(User, "change", user.pk), user_form(user)).status_code == 403
        assert who["admin"].get(reverse("admin:auth_user_password_change", args=[user.pk])).status_code == 403
        assert who["admin"].post(page(User, "delete", user.pk), {"post": "yes"}).status_code == 403
        assert "Select a valid choice" in who["admin"].post(add_token, {"user": user.pk}).content.decode()
    root = Client()
    root.force_login(User.objects.create_superuser("root", "", "a password of the tests"))
    form = user_form(by_group, groups=[group.pk], user_permissions=[right("add_message").pk])
    assert root.post(page(User, "change", by_group.pk), form).status_code == 302
    assert by_group.user_permissions.get() == right("add_message")


def test_an_admin_of_the_group_makes_and_ends_no_token_of_a_superuser(who: Who) -> None:
    root = User.objects.create_superuser("root", "", "a password of the tests")
    petra = User.objects.create_user("petra")
    add = reverse("admin:authtoken_tokenproxy_add")
    assert "Select a valid choice" in who["admin"].post(add, {"user": root.pk}).content.decode()
    assert who["admin"].post(add, {"user": petra.pk}).status_code == 302
    assert [token.user for token in Token.objects.all()] == [petra]
    Token.objects.create(user=root)
    delete = reverse("admin:authtoken_tokenproxy_delete", args=[root.pk])
    assert who["admin"].post(delete, {"post": "yes"}).status_code == 403
    assert Token.objects.filter(user=root).exists()
    delete = reverse("admin:authtoken_tokenproxy_delete", args=[petra.pk])
    assert who["admin"].post(delete, {"post": "yes"}).status_code == 302
    assert not Token.objects.filter(user=petra).exists()


def test_the_groups_are_made_once_and_kept_as_they_are_to_be() -> None:
    own = Group.objects.create(name="night shift")
    own.permissions.set(Permission.objects.filter(codename="view_message"))
    assert ensure_groups() == list(GROUPS)
    assert ensure_groups() == []
    Group.objects.get(name="analyst").permissions.set(Permission.objects.filter(codename="view_secret"))
    Group.objects.get(name="ops").delete()
    assert ensure_groups() == ["analyst", "ops"]
    for name in GROUPS:
        held = {f"{right.content_type.app_label}.{right.codename}" for right in
                Group.objects.get(name=name).permissions.select_related("content_type")}  # fmt: skip
        assert held == set(rights_of(name))
    assert [right.codename for right in own.permissions.all()] == ["view_message"]


def test_the_groups_that_come_with_voicelens_are_not_edited_by_hand(client: Client) -> None:
    ensure_groups()
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    ours, own = Group.objects.get(name="ops"), Group.objects.create(name="night shift")
    for group, changed in ((ours, False), (own, True)):
        answer = client.post(page(Group, "change", group.pk), {"name": "renamed", "permissions": []})
        assert answer.status_code == (302 if changed else 403)
    chosen = {"action": "delete_selected", "_selected_action": [ours.pk, own.pk], "post": "yes"}
    client.post(page(Group, "changelist"), chosen)
    assert Group.objects.filter(name="ops").exists()


def test_a_start_makes_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicelens.management.commands.prepare._collect_static", lambda: None)
    monkeypatch.setattr("voicelens.management.commands.prepare.sync_catalog", lambda: _Nothing)
    call_command("prepare")
    assert set(Group.objects.values_list("name", flat=True)) == set(GROUPS)


class _Nothing:
    @staticmethod
    def lines() -> list[str]:
        return []


# --- the API -------------------------------------------------------------------------------------------------

ADDRESSES: list[tuple[str, str, tuple[str, ...]]] = [
    ("/api/messages", "ingest.view_message", ("analyst", "admin")),
    ("/api/messages/{message}", "ingest.view_message", ("analyst", "admin")),
    ("/api/messages/{message}/vcp", "ingest.view_message", ("analyst", "admin")),
    ("/api/artifacts/{artifact}", "ingest.view_artifact", ("analyst", "admin")),
    ("/api/deliveries", "ingest.view_inboundevent", ("ops", "admin")),
    ("/api/deliveries/{delivery}", "ingest.view_inboundevent", ("ops", "admin")),
    ("/api/metrics", "ingest.view_inboundevent", ("ops", "admin")),
    ("/api/providers", "providers.view_provider", ("analyst", "ops", "admin")),
    ("/api/providers/retell", "providers.view_provider", ("analyst", "ops", "admin")),
    ("/api/comparison-matrix", "providers.view_provider", ("analyst", "ops", "admin")),
    ("/api/analytics/daily", "analytics.view_dailyproviderstats", ("analyst", "ops", "admin")),
    ("/api/monitoring/standing", "analytics.view_dailyproviderstats", ("analyst", "ops", "admin")),
    ("/api/monitoring/changes", "monitoring.view_change", ("analyst", "ops", "admin")),
    ("/api/monitoring/changes/{seen}", "monitoring.view_change", ("analyst", "ops", "admin")),
    ("/api/monitoring/changes.rss", "monitoring.view_change", ("analyst", "ops", "admin")),
    ("/api/monitoring/changes.atom", "monitoring.view_change", ("analyst", "ops", "admin")),
    ("/api/monitoring/incidents", "monitoring.view_incident", ("analyst", "ops", "admin")),
    ("/api/monitoring/health", "monitoring.view_monitor", ("analyst", "ops", "admin")),
    ("/api/vcp-example/retell", "providers.view_mappingversion", ("analyst", "ops", "admin")),
]
TRIALS: list[tuple[str, str, dict[str, Any]]] = [
    ("/api/webhook-test", "providers.view_mappingversion", {"provider": "retell", "payload": sample(ENDED)}),
    ("/api/webhook-signature-test", "providers.view_endpoint",
     {"provider": "retell", "payload": "{}", "signature": "v=1,d=00"}),
    ("/api/vcp/validate", "providers.view_provider", {}),
    ("/api/vcp/migrate", "providers.view_provider", ready_made()),
    ("/api/vcp/checksum", "providers.view_provider", ready_made()),
    ("/api/vcp/export?to=vcon", "providers.view_provider", ready_made()),
]  # fmt: skip


def test_each_group_reads_its_part_of_the_api_and_is_told_what_it_lacks(who: Who, calls: None, watched: None) -> None:
    names = {"message": message().pk, "artifact": Artifact.objects.all()[0].pk, "delivery": delivery().delivery_id,
             "seen": seen().pk}  # fmt: skip
    for address, right, groups in ADDRESSES:
        for group in WHO:
            answer = who[group].get(address.format(**names), headers={"accept": "application/json"})
            assert answer.status_code == (200 if group in groups else 403), (address, group)
            if group not in groups:
                assert answer.json()["code"] == "HTTP_403"
                assert answer.json()["message"] == f"this needs the right {right}, which {group}_user does not have"
                assert answer.json()["context"]["trace_id"] == answer.headers["X-Trace-Id"]


@pytest.mark.parametrize(("address", "right", "body"), TRIALS)
def test_the_trials_are_for_those_who_read_the_registry(
    address: str, right: str, body: Any, who: Who, catalogue: None
) -> None:
    answers = {group: who[group].post(address, json.dumps(body), "application/json") for group in WHO}
    assert {group: answer.status_code for group, answer in answers.items()} == {
        "nobody": 403, "analyst": 200, "ops": 200, "admin": 200,
    }  # fmt: skip
    assert right in answers["nobody"].json()["message"]


def test_every_address_of_the_api_asks_for_a_right_or_says_why_not() -> None:
    without = {"", "token", "schema", "docs", "webhook/<str:provider_slug>",
               "webhook/<str:provider_slug>/<str:endpoint_slug>"}  # fmt: skip
    for entry in front.urlpatterns:
        view = getattr(getattr(entry, "callback", None), "view_class", None)
        if isinstance(entry, URLPattern) and view is not None and str(entry.pattern) not in without:
            assert view.permission_classes == [HoldsRight], entry
            app, _, codename = right_of(view()).partition(".")
            assert Permission.objects.filter(content_type__app_label=app, codename=codename).exists(), entry


def test_a_view_that_names_no_right_is_open_to_nobody() -> None:
    with pytest.raises(ImproperlyConfigured, match="object names neither"):
        right_of(object())


def test_a_token_may_what_its_user_may(who: Who, catalogue: None) -> None:
    user = User.objects.get(username="analyst_user")
    stranger = Client(headers={"authorization": f"Token {Token.objects.create(user=user).key}"})
    assert stranger.get("/api/messages").status_code == 200
    assert stranger.get("/api/deliveries").status_code == 403
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert stranger.get("/api/messages").status_code == 401


def test_bodies_are_read_by_no_analyst(who: Who, calls: None) -> None:
    told = who["analyst"].get(f"/api/messages/{message().pk}").json()
    assert not {"body", "headers"} & {name for event in told["events"] for name in event}

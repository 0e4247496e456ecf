"""Who changed what, from what to what: recorded by whichever way it was changed, and never with a secret."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from rest_framework.authtoken.models import Token

from apps.history import author
from apps.history.models import Change
from apps.history.record import MAX_TEXT, difference, history_of, text
from apps.ingest import operations
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.providers import catalog, publishing
from apps.providers.models import AuthConfig, Endpoint, MappingRule, MappingVersion, Provider, Secret
from apps.providers.sync import sync_catalog
from tests.browser import action, filled, page
from tests.calls import CALL_ID, EVENTS, sample
from voicelens.groups import ensure_groups
from voicelens.schedule import ensure_schedule

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    return client


@pytest.fixture
def calls(deliver: Any, drain: Any) -> None:
    for name in EVENTS:
        assert deliver(sample(name)).status_code == 200
    drain()


def told(row: Any) -> list[tuple[str, str, str]]:
    """(author, part, verb) of everything recorded of a row, oldest first."""
    return list(history_of(row).order_by("id").values_list("author", "part", "verb"))


def last(row: Any) -> Change:
    change = history_of(row).first()
    assert change is not None
    return change


def endpoint() -> Endpoint:
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def retell(number: int = 1) -> MappingVersion:
    return MappingVersion.objects.get(provider__slug="retell", number=number)


# --- the registry --------------------------------------------------------------------------------------------


def test_a_change_in_the_admin_tells_who_and_from_what_to_what(olga: Client, catalogue: None) -> None:
    provider = Provider.objects.get(slug="retell")
    url = page(Provider, "change", provider.pk)
    assert olga.post(url, filled(olga, url) | {"name": "Retell", "enabled": ""}).status_code == 302
    change = last(provider)
    assert (change.author, change.verb, change.object_name) == ("olga", "changed", "Retell")
    assert change.changes == [
        {"field": "name", "from": "Retell AI", "to": "Retell"},
        {"field": "enabled", "from": "yes", "to": "no"},
    ]


def test_saving_what_is_unchanged_records_nothing(olga: Client, catalogue: None) -> None:
    before = Change.objects.count()
    for url in (page(Provider, "change", endpoint().provider_id), page(Endpoint, "change", endpoint().pk)):
        assert olga.post(url, filled(olga, url)).status_code == 302
    assert Change.objects.count() == before


def test_a_secret_s_life_stands_with_its_endpoint_without_its_value(olga: Client, catalogue: None) -> None:
    url = page(Endpoint, "change", endpoint().pk)
    data = {"new_secret": "the next secret of all", "secret_label": "since June", "older_end": "0"}
    olga.post(url, filled(olga, url) | data)
    new = Secret.objects.get(label="since June")
    olga.post(page(Secret, "delete", new.pk), {"post": "yes"})
    assert told(endpoint())[-3:] == [
        ("olga", "secret “of the tests”", "changed"),
        ("olga", "secret “since June”", "created"),
        ("olga", "secret “since June”", "deleted"),
    ]
    ended = history_of(endpoint()).get(part="secret “of the tests”", verb="changed").changes
    assert [item["field"] for item in ended] == ["valid_until"]
    everything = json.dumps(list(Change.objects.values_list("changes", "note", "object_name", "part")))
    assert "the next secret" not in everything
    assert new.ciphertext not in everything


def test_an_auth_config_s_scheme_is_recorded_with_its_endpoint(catalogue: None) -> None:
    way = AuthConfig.objects.get(endpoint=endpoint())
    way.scheme = way.scheme | {"tolerance_past_sec": 60}
    way.save()
    assert last(endpoint()).part == "auth config “signature”"
    assert last(endpoint()).changes == [{"field": "scheme.tolerance_past_sec", "from": "300", "to": "60"}]


def test_what_goes_with_its_owner_is_recorded_before_it_goes(catalogue: None) -> None:
    unused = Endpoint.objects.get(provider__slug="retell", slug="demo")
    entries = history_of(unused).filter(verb="deleted")
    Endpoint.objects.get(pk=unused.pk).delete()
    assert set(entries.values_list("part", flat=True)) == {
        "", "auth config “signature”", "secret “generated for the demo”",
    }  # fmt: skip


def test_publishing_and_undoing_have_words_of_their_own(olga: Client, catalogue: None) -> None:
    olga.post(action(retell(), "edit_as_draft"))
    olga.post(action(retell(2), "publish"))
    olga.post(action(retell(2), "undo"))
    assert told(retell(2)) == [("olga", "", "created"), ("olga", "", "published"), ("olga", "", "undone")]
    assert told(retell(1))[-2:] == [("olga", "", "retired"), ("olga", "", "put back in force")]
    assert last(retell(1)).note == "v2 was undone"


def test_rules_of_a_draft_are_told_one_by_one(olga: Client, catalogue: None) -> None:
    draft = publishing.draft_of(retell())
    url = page(MappingVersion, "change", draft.pk)
    data = filled(olga, url)
    rule: MappingRule = draft.rules.all()[0]
    olga.post(url, data | {"rules-0-source": "call.elsewhere", "rules-1-DELETE": "on", "reason": "a trial"})
    gone = f"rule {draft.rules.all()[0]}"
    parts, rows = history_of(draft).order_by("-id")[1], last(draft)
    assert parts.changes == [{"field": "reason", "from": "edited from v1", "to": "a trial"}]
    assert [(item["field"], item["from"] is None, item["to"] is None) for item in rows.changes][:3] == [
        (f"rule {rule}", False, True),
        (f"rule {retell().rules.all()[1]}", False, True),
        (f"rule call.elsewhere → {rule.target}", True, False),
    ]
    assert gone == f"rule call.elsewhere → {rule.target}"


def test_only_the_order_of_rules_is_told_when_only_that_changed(olga: Client, catalogue: None) -> None:
    draft = publishing.draft_of(retell())
    url = page(MappingVersion, "change", draft.pk)
    olga.post(url, filled(olga, url) | {"rules-0-position": "1", "rules-1-position": "0"})
    assert [item["field"] for item in last(draft).changes] == ["order"]


# --- calls ---------------------------------------------------------------------------------------------------


def test_a_call_s_history_tells_of_its_message_too(olga: Client, calls: None) -> None:
    message = Message.objects.get(call_id=CALL_ID)
    operations.correct(message, {"outcomes.objective.status": "error"}, "petra")
    [change] = last(message).changes
    assert change == {"field": "outcomes.objective.status", "from": "success", "to": "error"}
    olga.post(action(message, "withdraw"))
    assert last(message).changes == [change | {"from": "error", "to": "success"}]
    olga.post(page(Message, "delete", message.pk), {"post": "yes"})
    key = CallKey.objects.get(call_id=CALL_ID)
    olga.post(action(key, "restore"))
    assert told(key) == [
        ("petra", "", "corrected"),
        ("olga", "", "withdrew the corrections"),
        ("olga", "", "deleted its message"),
        ("olga", "", "restored its message"),
    ]
    shown = olga.get(page(Message, "history", message.pk)).content.decode()
    assert all(word in shown for word in ("petra", "outcomes.objective.status", "restored its message"))


def test_a_refused_correction_is_not_recorded(calls: None) -> None:
    message = Message.objects.get(call_id=CALL_ID)
    with pytest.raises(operations.InvalidCorrectionError):
        operations.correct(message, {"call.start_time": "yesterday"}, "petra")
    assert told(message) == []


def test_of_an_erased_call_only_that_it_was_erased_and_by_whom_stays(olga: Client, calls: None) -> None:
    message = Message.objects.get(call_id=CALL_ID)
    operations.correct(message, {"hcr.summary": "a private matter"}, "petra")
    pk = message.call_key_id
    olga.post(action(message, "erase"))
    [change] = Change.objects.filter(content_type__model="callkey")
    assert (change.author, change.verb, change.object_name, change.object_id) == (
        "olga", "erased", "an erased call", str(pk),
    )  # fmt: skip
    everything = json.dumps(list(Change.objects.values_list("changes", "note", "object_name")))
    assert CALL_ID not in everything
    assert "private" not in everything


def test_a_replay_of_many_is_one_entry(olga: Client, calls: None) -> None:
    operations.replay(InboundEvent.objects.all())
    many = Change.objects.get(verb="replayed")
    assert (many.object_id, many.author) == ("", "system")
    assert many.note.startswith("4 deliveries, among them ")
    event = InboundEvent.objects.all()[0]
    olga.post(action(event, "replay"))
    assert told(event) == [("olga", "", "replayed")]


def test_the_traffic_writes_no_history(calls: None, deliver: Any, drain: Any) -> None:
    before = Change.objects.count()
    with CaptureQueriesContext(connection) as queries:
        assert deliver(sample(EVENTS[0], call_id="call_next")).status_code == 200
        deliver({"event": "x"}, headers={"X-Retell-Signature": "v=1,d=00"})
        drain()
    assert Change.objects.count() == before
    assert not [query for query in queries.captured_queries if "history_change" in query["sql"]]


# --- users, groups, schedules --------------------------------------------------------------------------------


def test_users_and_groups_are_recorded_and_a_password_is_hidden(olga: Client) -> None:
    petra = User.objects.create_user("petra")
    night = Group.objects.create(name="night shift")
    petra.groups.add(night)
    night.permissions.set(Permission.objects.filter(codename="view_message"))
    petra.set_password("correct horse battery")
    petra.save()
    assert last(petra).changes == [{"field": "password", "from": "(hidden)", "to": "(hidden)"}]
    petra.groups.clear()
    assert last(petra).changes == [{"field": "groups", "from": "night shift", "to": None}]
    [right] = last(night).changes
    assert right["field"] == "permissions"
    assert "Can view message" in str(right["to"])
    assert "horse" not in json.dumps(list(Change.objects.values_list("changes", flat=True)))
    assert petra.password not in json.dumps(list(Change.objects.values_list("changes", flat=True)))


def test_a_login_is_no_change(client: Client) -> None:
    user = User.objects.create_user("petra", password="correct horse battery")
    before = Change.objects.count()
    client.force_login(user)
    assert User.objects.get().last_login is not None
    assert Change.objects.count() == before


def test_a_token_s_life_stands_with_its_user_without_the_token() -> None:
    user = User.objects.create_user("petra")
    token = Token.objects.create(user=user)
    key = token.key
    token.delete()
    assert told(user)[1:] == [("system", "API token", "created"), ("system", "API token", "deleted")]
    rows = Change.objects.values_list("changes", "note", "object_name", "object_id", "part")
    assert key not in json.dumps(list(rows))


def test_a_schedule_is_recorded_and_its_runs_are_not(olga: Client) -> None:
    ensure_schedule()
    task = PeriodicTask.objects.get(task="ingest.sweep")
    task.last_run_at, task.total_run_count = timezone.now(), 7
    task.save()
    assert told(task) == [("system", "", "created")]
    task.interval = IntervalSchedule.objects.create(every=30, period="seconds")
    task.save()
    assert last(task).changes == [{"field": "interval", "from": "every 5 seconds", "to": "every 30 seconds"}]
    olga.post(page(PeriodicTask, "changelist"), {"action": "disable_tasks", "_selected_action": [task.pk]})
    assert (last(task).author, last(task).changes) == ("olga", [{"field": "enabled", "from": "yes", "to": "no"}])


# --- authors -------------------------------------------------------------------------------------------------


@pytest.fixture
def named_process() -> Any:
    before = author.author()
    author.name_process("manage.py sync_catalog")
    yield
    author.name_process(before)


def test_a_command_is_an_author(named_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_catalog(("vcp",))
    spec = catalog.load("vcp").model_copy(update={"name": "VCP"})
    monkeypatch.setattr(catalog, "load", lambda slug: spec)
    sync_catalog(("vcp",))
    provider = Provider.objects.get(slug="vcp")
    assert told(provider)[-1] == ("manage.py sync_catalog", "", "changed")
    assert last(provider).changes == [{"field": "name", "from": "Voice Context Protocol", "to": "VCP"}]


def test_manage_py_names_the_command() -> None:
    code = """
import sys; sys.argv = ['manage.py', 'help']
import manage; manage.main()
from apps.history.author import author; print('author is', author())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "author is manage.py help"


def test_without_a_user_it_is_the_system_and_after_a_request_again() -> None:
    seen = []

    def view(request: Any) -> Any:
        seen.append(author.author())
        request.user = User(username="olga")  # as the API does, once it knows the token
        seen.append(author.author())

    author.AuthorMiddleware(view)(RequestFactory().get("/"))
    assert [*seen, author.author()] == ["system", "olga", "system"]


def test_the_history_outlives_its_author(olga: Client, catalogue: None) -> None:
    olga.post(action(endpoint(), "switch_off"))
    User.objects.get(username="olga").delete()
    assert last(endpoint()).author == "olga"
    assert last(endpoint()).changes == [{"field": "enabled", "from": "yes", "to": "no"}]


# --- pages ---------------------------------------------------------------------------------------------------


def test_the_history_page_of_a_secret_is_that_of_its_endpoint(olga: Client, catalogue: None) -> None:
    secret = Secret.objects.get(auth_config__endpoint=endpoint())
    shown = olga.get(page(Secret, "history", secret.pk)).content.decode()
    assert "secret “of the tests”" in shown
    assert olga.get(page(Secret, "history", 0)).status_code == 302


def test_a_long_history_has_pages(olga: Client, catalogue: None) -> None:
    target = endpoint()
    for number in range(60):
        target.account = f"account {number}"
        target.save()
    url = page(Endpoint, "history", target.pk)
    assert "account 59" in olga.get(url).content.decode()
    assert "account 59" not in olga.get(f"{url}?p=2").content.decode()
    assert "account 3" in olga.get(f"{url}?p=2").content.decode()


def test_the_first_page_tells_the_latest_to_those_who_may_see_the_history(olga: Client, catalogue: None) -> None:
    ensure_groups()
    olga.post(action(endpoint(), "switch_off"))
    assert "Recent changes" in olga.get(reverse("admin:index")).content.decode()
    nina = User.objects.create_user("nina", is_staff=True)
    nina.groups.add(Group.objects.get(name="ops"))
    browser = Client()
    browser.force_login(nina)
    assert "Recent changes" not in browser.get(reverse("admin:index")).content.decode()


def test_hostile_text_is_escaped(olga: Client, catalogue: None) -> None:
    target = endpoint()
    target.account = "<script>alert(1)</script>"
    target.save()
    for url in (page(Endpoint, "history", target.pk), page(Change, "change", last(target).pk)):
        shown = olga.get(url).content.decode()
        assert "&lt;script&gt;alert(1)" in shown, url
        assert "<script>alert(1)" not in shown, url


def test_the_history_itself_is_never_changed(olga: Client, catalogue: None) -> None:
    url = page(Change, "change", last(endpoint()).pk)
    assert olga.post(url, {"author": "nobody"}).status_code == 403
    assert olga.post(page(Change, "delete", last(endpoint()).pk), {"post": "yes"}).status_code == 403


# --- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None), ("", None), (" \n", None), ([], None), (0, "0"), (False, "no"), (True, "yes"),
        (" a\n", "a"), ({"b": 1, "a": "ü"}, '{"a": "ü", "b": 1}'),
    ],
)  # fmt: skip
def test_values_are_told_as_text(value: Any, shown: str | None) -> None:
    assert text(value) == shown


def test_long_and_hostile_values_are_stored_all_the_same() -> None:
    group = Group.objects.create(name="x")
    assert difference({"a": "x"}, {"a": "x" * 5000})[0]["to"] == "x" * MAX_TEXT + "…"
    assert difference({}, {"a": "\x00\ud800"}) == [{"field": "a", "from": None, "to": "\\x00\\ud800"}]
    assert told(group) == [("system", "", "created")]


def test_a_fixture_is_loaded_without_history(tmp_path: Path) -> None:
    file = tmp_path / "groups.json"
    file.write_text('[{"model": "auth.group", "pk": 900, "fields": {"name": "loaded"}}]')
    call_command("loaddata", str(file), verbosity=0)
    assert told(Group.objects.get(name="loaded")) == []

"""What people do with alert channels and the outbox in the admin: forms, the test button, sending again, giving up."""

import html
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from apps.history.record import history_of
from apps.monitoring import channels
from apps.monitoring.messages import Notice
from apps.monitoring.models import Alert, AlertChannel, Change

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.any_database,
    # Apprise, when it is first used, loads a plugin that imports what a later Python no longer has.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ADD = "admin:monitoring_alertchannel_add"
SLACK_URL = "https://hooks.slack.test/services/aSecretOfTheTests"
KEY = "whsec_YSBrZXkgb2YgdGhlIHRlc3RzLCBsb25nIGVub3VnaA=="


@pytest.fixture
def root(catalogue: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    return client


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Notice]]:
    """What would have been sent."""
    told: list[tuple[str, Notice]] = []
    monkeypatch.setattr(channels, "send", lambda row, notice, now: told.append((row.name, notice)))
    return told


def form(**fields: Any) -> dict[str, Any]:
    usual = {
        "name": "Night shift", "kind": "slack", "enabled": "on", "config": "{}", "min_severity": "medium",
        "providers": "[]", "change_types": "[]", "quiet_timezone": "UTC", "quiet_below": "high",
    }  # fmt: skip
    return {**usual, **fields}


def slack() -> AlertChannel:
    row = AlertChannel(name="Night shift", kind="slack")
    row.set_secret(SLACK_URL)
    row.save()
    return row


def page(row: Any, kind: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{kind}", args=[row.pk])


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return dict(answer.context["adminform"].form.errors)


# --- channels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        ({"kind": "slack", "new_secret": SLACK_URL}, {}),
        ({"kind": "slack", "new_secret": SLACK_URL, "config": ""}, {}),
        ({"kind": "email", "new_secret": "aSecretOfTheTests", "config": '{"to": ["ops@example.com"]}'},
         {"to": ["ops@example.com"]}),
        ({"kind": "webhook", "new_secret": KEY, "config": '{"url": "https://ops.example.com/"}'},
         {"url": "https://ops.example.com/"}),
        ({"kind": "apprise", "new_secret": "json://ops.example.com/aSecretOfTheTests"}, {}),
    ],
)  # fmt: skip
def test_a_channel_of_each_kind_is_made_and_its_secret_never_shown(
    fields: dict[str, Any], config: dict[str, Any], root: Client
) -> None:
    made = root.post(reverse(ADD), form(**fields), follow=True)
    row = AlertChannel.objects.get(name="Night shift")
    assert (row.kind, row.config, row.secret()) == (fields["kind"], config, fields["new_secret"])
    assert fields["new_secret"] not in row.ciphertext
    pages = [made, *(root.get(url) for url in (page(row), page(row, "history"), reverse(LIST)))]
    for answer in pages:
        assert answer.status_code == 200
        assert fields["new_secret"] not in answer.content.decode()
    assert "there is one" in root.get(page(row)).content.decode()


LIST = "admin:monitoring_alertchannel_changelist"


def test_an_empty_secret_keeps_the_one_that_is_there(root: Client) -> None:
    row = slack()
    assert root.post(page(row), form(min_severity="high", new_secret="")).status_code == 302
    row.refresh_from_db()
    assert (row.min_severity, row.secret()) == ("high", SLACK_URL)


def test_another_secret_replaces_it_and_stands_in_the_history_without_its_value(root: Client) -> None:
    row = slack()
    assert root.post(page(row), form(new_secret=f"{SLACK_URL}2")).status_code == 302
    row.refresh_from_db()
    assert row.secret() == f"{SLACK_URL}2"
    told = [(entry.author, entry.verb, str(entry.changes)) for entry in history_of(row)]
    assert ("olga", "given another secret", "[]") in told
    assert not any("aSecret" in changes or row.ciphertext in changes for _, _, changes in told)


def test_a_signing_key_that_is_made_is_shown_once(root: Client) -> None:
    answer = root.post(reverse(ADD), form(kind="webhook", config='{"url": "https://ops.example.com/"}'), follow=True)
    row = AlertChannel.objects.get()
    assert f"A signing key was made, and is shown only now: {row.secret()}" in answer.content.decode()
    assert row.secret() not in root.get(page(row)).content.decode()
    answer = root.post(page(row), form(kind="webhook", config='{"url": "https://other.example.com/"}'), follow=True)
    assert "A signing key was made" not in answer.content.decode()
    kept = row.secret()
    row.refresh_from_db()
    assert (row.secret(), row.config) == (kept, {"url": "https://other.example.com/"})


def test_another_kind_needs_a_secret_of_its_own(root: Client) -> None:
    row = slack()
    assert list(errors(root.post(page(row), form(kind="apprise")))) == ["new_secret"]
    assert root.post(page(row), form(kind="email", config='{"to": ["ops@example.com"]}')).status_code == 302
    row.refresh_from_db()
    assert (row.kind, row.secret()) == ("email", "")


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({}, "new_secret", "this kind needs a secret: the address of the incoming webhook"),
        ({"new_secret": "hooks.slack.test/x"}, "new_secret", "an address that begins with https:// is needed"),
        ({"new_secret": SLACK_URL, "config": '{"to": 1}'}, "config", "to: this kind has no such field"),
        ({"new_secret": SLACK_URL, "config": "[]"}, "config", "config: a JSON object is needed"),
        ({"new_secret": SLACK_URL, "config": "{"}, "config", "Enter valid JSON"),
        ({"kind": "email"}, "config", "to: Field required"),
        ({"kind": "webhook", "config": '{"url": "x"}'}, "config", "url: an address that begins with https://"),
        ({"kind": "webhook", "config": '{"url": "https://x.test/"}', "new_secret": "short"}, "new_secret",
         "the signing key must be whsec_ and at least 16 bytes in base64"),
        ({"kind": "apprise", "new_secret": "nosuch://x"}, "new_secret", "Apprise does not know this URL"),
        ({"new_secret": SLACK_URL, "providers": '["acme"]'}, "providers", "No provider of that name: acme. Known:"),
        ({"new_secret": SLACK_URL, "providers": '"retell"'}, "providers", "A list of texts is needed"),
        ({"new_secret": SLACK_URL, "change_types": '["price"]'}, "change_types", "No type of change of that name"),
        ({"new_secret": SLACK_URL, "quiet_timezone": "Berlin"}, "quiet_timezone", "Names are like Europe/Berlin"),
        ({"new_secret": SLACK_URL, "quiet_from": "22:00"}, "quiet_until", "Quiet hours need a start and an end."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(fields: dict[str, Any], field: str, said: str, root: Client) -> None:
    answer = root.post(reverse(ADD), form(**fields))
    found = errors(answer)
    assert list(found) == [field]
    assert said in " ".join(found[field])
    assert "aSecretOfTheTests" not in answer.content.decode()
    assert not AlertChannel.objects.exists()


def test_the_form_says_what_each_kind_needs(root: Client) -> None:
    shown = html.unescape(root.get(reverse(ADD)).content.decode())
    assert all(kind.help in shown for kind in channels.KINDS.values())


def test_quiet_hours_from_midnight_are_quiet_hours(root: Client) -> None:
    midnight = form(new_secret=SLACK_URL, quiet_from="00:00", quiet_until="06:00", quiet_timezone="Europe/Berlin")
    assert root.post(reverse(ADD), midnight).status_code == 302


# --- the test button ------------------------------------------------------------------------------------------


def test_the_test_button_asks_first_and_says_what_became_of_it(root: Client, sent: list[tuple[str, Notice]]) -> None:
    row = slack()
    asked = root.get(page(row, "test"))
    assert "goes out by “Night shift”" in asked.content.decode()
    assert sent == []
    done = root.post(page(row, "test"), follow=True)
    assert "It was taken. Look whether it arrived." in done.content.decode()
    [(name, notice)] = sent
    assert (name, notice.is_test, notice.subject) == ("Night shift", True, "[VoiceLens] Test")
    row.refresh_from_db()
    assert row.last_sent_at is not None
    assert next(entry.verb for entry in history_of(row)) == "tested"


def test_a_test_that_fails_says_why(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise channels.SendError("The receiver answers 404: no_service.")

    monkeypatch.setattr(channels, "send", fails)
    row = slack()
    done = root.post(page(row, "test"), follow=True)
    assert "It did not get through. The receiver answers 404: no_service." in done.content.decode()
    row.refresh_from_db()
    assert row.last_error == "The receiver answers 404: no_service."
    assert row.last_sent_at is None
    assert "no_service" in root.get(reverse(LIST)).content.decode()


# --- the outbox -----------------------------------------------------------------------------------------------


def alert(state: str, **columns: Any) -> Alert:
    told = {"provider": "retell", "source": "docs", "change_type": "documentation", "severity": "high"}
    change = Change.objects.create(key=state, title=f"{state} change", detected_at=NOW, **told)
    channel = AlertChannel.objects.first() or slack()
    return Alert.objects.create(
        change=change, channel=channel, state=state, created_at=NOW, due_at=NOW, **{"batch": "b", **columns}
    )


@pytest.fixture
def outbox(db: None) -> dict[str, Alert]:
    return {
        "dead": alert("dead", attempts=8, error="The receiver answers 503."),
        "pending": alert("pending"),
        "sent": alert("sent", sent_at=NOW),
    }


def act(root: Client, name: str, rows: Any) -> str:
    chosen = {"action": name, "_selected_action": [row.pk for row in rows]}
    return root.post(reverse("admin:monitoring_alert_changelist"), chosen, follow=True).content.decode()


def states(outbox: dict[str, Alert]) -> dict[str, str]:
    return {name: Alert.objects.get(pk=row.pk).state for name, row in outbox.items()}


def test_the_outbox_shows_what_was_told_and_what_was_not(root: Client, outbox: dict[str, Alert]) -> None:
    listed = root.get(reverse("admin:monitoring_alert_changelist")).content.decode()
    assert all(f"{name} change" in listed for name in outbox)
    shown = root.get(page(outbox["dead"])).content.decode()
    assert "The receiver answers 503." in shown
    assert page(outbox["sent"]) in shown  # of the same message


def test_nobody_writes_or_edits_an_alert_by_hand(root: Client, outbox: dict[str, Alert]) -> None:
    assert root.get(reverse("admin:monitoring_alert_add")).status_code == 403
    assert root.post(page(outbox["dead"]), {"state": "sent"}).status_code == 403
    assert root.post(page(outbox["dead"], "delete"), {"post": "yes"}).status_code == 403
    assert states(outbox) == {name: name for name in outbox}


def test_what_was_given_up_is_sent_again_and_nothing_else(root: Client, outbox: dict[str, Alert]) -> None:
    assert "1 will be sent again within seconds." in act(root, "send_again", outbox.values())
    assert states(outbox) == {"dead": "pending", "pending": "pending", "sent": "sent"}
    again = Alert.objects.get(pk=outbox["dead"].pk)
    assert (again.attempts, again.error) == (0, "")
    assert "None of them was given up." in act(root, "send_again", [outbox["sent"]])


def test_what_waits_is_given_up_and_nothing_else(root: Client, outbox: dict[str, Alert]) -> None:
    assert "1 will be not sent." not in (told := act(root, "give_up", outbox.values()))
    assert "1 will not be sent." in told
    assert states(outbox) == {"dead": "dead", "pending": "dead", "sent": "sent"}
    assert Alert.objects.get(pk=outbox["pending"].pk).error == "Given up by hand."
    assert "None of them still waits." in act(root, "give_up", [outbox["sent"]])

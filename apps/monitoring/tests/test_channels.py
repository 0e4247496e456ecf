"""What is really sent: a mail server, a server of Slack's shape, signed webhooks and Apprise on this machine."""

import base64
import email
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from django.core.exceptions import ImproperlyConfigured
from standardwebhooks import Webhook, WebhookVerificationError

from apps.monitoring import alerts, channels
from apps.monitoring.changes import Finding, record
from apps.monitoring.channels import SendError, by_apprise, slack, webhook
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Item, Notice
from apps.monitoring.models import Alert, AlertChannel
from apps.monitoring.tests.play import at
from apps.monitoring.tests.servers import PlayedServer, certificate, in_turn, page
from voicelens.services import free_port

KEY = webhook.PREFIX + base64.b64encode(b"k" * 24).decode()


def item(**columns: Any) -> Item:
    told = {
        "id": 1, "title": "Acme API is down", "severity": "critical", "provider": "acme", "provider_name": "acme",
        "change_type": "service_status", "occasion": "first", "description": "HTTP 503.", "diff": "-old\n+new",
        "url": "https://api.acme.test/", "detected_at": at(0), "since": at(0), "affected": ("call.price → cost_usd",),
        "link": "https://lens.test/admin/1",
    }  # fmt: skip
    return Item(**{**told, **columns})


def notice(*items: Item, **columns: Any) -> Notice:
    items = items or (item(),)
    told = {"id": "batch1", "subject": "[VoiceLens] critical: Acme API is down", "severity": "critical",
            "items": items, "more": 0, "link": "https://lens.test/admin/"}  # fmt: skip
    return Notice(**{**told, **columns})


def channel(kind: str, secret: str = "", **config: Any) -> AlertChannel:
    row = AlertChannel(name="ops", kind=kind, config=config, min_severity="low")
    row.set_secret(secret)
    return row


def door() -> Door:
    return Door(user_agent="test", open_hosts=["127.0.0.1"], host_pause_sec=0)


def send(row: AlertChannel, told: Notice | None = None) -> None:
    channels.send(row, told or notice(), at(0), door=door())


def failure(row: AlertChannel, told: Notice | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        send(row, told)
    return caught.value


# --- e-mail ---------------------------------------------------------------------------------------------------


class Mailbox:
    """Keeps what it is sent; the answers it is given are for the next mails."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.mails: list[email.message.Message] = []
        self.recipients: list[list[str]] = []
        self.refused: dict[str, str] = {}

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.original_content or b""))
            self.recipients.append(list(envelope.rcpt_tos))
        return answer


@contextmanager
def mail_server(box: Mailbox, **options: Any) -> Iterator[int]:
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def mail(port: int, secret: str = "", **config: Any) -> AlertChannel:
    told = {"to": ["ops@example.com"], "host": "127.0.0.1", "port": port, "sender": "Lens <lens@example.com>",
            "security": "none"}  # fmt: skip
    return channel("email", secret, **{**told, **config})


def parts(mail: email.message.Message) -> dict[str, str]:
    return {
        part.get_content_type(): part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        for part in mail.walk()
        if not part.is_multipart()
    }


def test_a_mail_says_it_in_text_and_in_html():
    box = Mailbox()
    with mail_server(box) as port:
        send(mail(port, to=["a@example.com", "Ops <b@example.com>"]))
    (sent,) = box.mails
    assert (sent["Subject"], sent["From"]) == ("[VoiceLens] critical: Acme API is down", "Lens <lens@example.com>")
    assert (sent["Message-ID"], sent["Auto-Submitted"]) == ("<batch1@example.com>", "auto-generated")
    assert box.recipients == [["a@example.com", "b@example.com"]]
    said = parts(sent)
    assert set(said) == {"text/plain", "text/html"}
    for text in said.values():
        for told in ("Acme API is down", "HTTP 503.", "-old", "call.price → cost_usd", "https://lens.test/admin/1"):
            assert told in text


def test_hostile_texts_stay_texts():
    box = Mailbox()
    hostile = "<script>alert(1)</script>\r\nBcc: x@evil.test \x07 é 日本"
    told = notice(item(title=hostile, description=hostile, diff=f"+{hostile}", url="javascript:alert(1)"))
    with mail_server(box) as port:
        send(mail(port), told)
    (sent,) = box.mails
    html = parts(sent)["text/html"]
    assert "<script>" not in html
    assert 'href="javascript:' not in html
    assert "Bcc" not in sent
    assert box.recipients == [["ops@example.com"]]


def test_a_subject_with_a_line_break_is_never_sent():
    """`messages.notice` makes one line of it; whoever forgets that sends nothing."""
    box = Mailbox()
    with mail_server(box) as port, pytest.raises(ValueError, match="newlines"):
        send(mail(port), notice(subject="a\r\nBcc: x@evil.test"))
    assert box.mails == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mail_server_may_want_a_login():
    def login(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (b"lens", b"secret word"), handled=False)

    box = Mailbox()
    with mail_server(box, authenticator=login, auth_required=True, auth_require_tls=False) as port:
        send(mail(port, "secret word", user="lens"))
        wrong = failure(mail(port, "wrong word", user="lens"))
    assert len(box.mails) == 1
    assert wrong.is_permanent
    assert "535" in wrong.message
    assert "wrong word" not in wrong.message


def test_a_mail_goes_over_tls_if_the_certificate_is_good(monkeypatch: pytest.MonkeyPatch):
    file, context = certificate("127.0.0.1")
    box = Mailbox()
    with mail_server(box, tls_context=context, require_starttls=True) as port:
        refused = failure(mail(port, security="starttls"))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        send(mail(port, security="starttls"))
        plain = failure(mail(port, security="none"))
    assert len(box.mails) == 1
    assert "secure connection" in refused.message
    assert "530" in plain.message


@pytest.mark.parametrize(
    ("answer", "is_permanent"), [("451 later", False), ("421 busy", False), ("550 no", True), ("554 spam", True)]
)
def test_what_the_mail_server_refuses_is_told_and_tried_again_if_it_may_pass(answer: str, is_permanent: bool):
    box = Mailbox(answer)
    with mail_server(box) as port:
        error = failure(mail(port))
        assert error.is_permanent is is_permanent
        assert answer[:3] in error.message
        send(mail(port))
    assert len(box.mails) == 1


def test_recipients_that_are_not_taken_do_not_keep_it_from_the_others():
    box = Mailbox()
    box.refused = {"gone@example.com": "550 nobody", "full@example.com": "452 full"}
    with mail_server(box) as port:
        send(mail(port, to=["ops@example.com", "gone@example.com"]))
        assert box.recipients == [["ops@example.com"]]
        assert failure(mail(port, to=["gone@example.com"])).is_permanent
        assert not failure(mail(port, to=["gone@example.com", "full@example.com"])).is_permanent


def test_a_mail_server_that_is_not_there_is_tried_again():
    with mail_server(Mailbox()) as port:
        pass
    error = failure(mail(port))
    assert (error.is_permanent, "127.0.0.1" in error.message) == (False, True)


def test_the_settings_hold_where_the_channel_says_nothing(settings: Any):
    box = Mailbox()
    with mail_server(box) as port:
        settings.EMAIL_SMTP_HOST, settings.EMAIL_SMTP_PORT, settings.EMAIL_SECURITY = "127.0.0.1", port, "none"
        settings.EMAIL_FROM = "from@example.com"
        send(channel("email", to=["ops@example.com"]))
        settings.EMAIL_FROM = ""
        assert "EMAIL_FROM" in failure(channel("email", to=["ops@example.com"])).message
        settings.EMAIL_SMTP_HOST = ""
        assert "EMAIL_SMTP_HOST" in failure(channel("email", to=["ops@example.com"])).message
    assert box.mails[0]["From"] == "from@example.com"


# --- Slack ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    with PlayedServer({"/services/T/B/x": page(b"ok")}).running() as played:
        yield played


def slack_channel(server: PlayedServer, **config: Any) -> AlertChannel:
    return channel("slack", server.url("/services/T/B/x"), **config)


def texts(told: dict[str, Any]) -> list[str]:
    blocks = [block for attachment in told["attachments"] for block in attachment["blocks"]]
    return [
        part["text"] for block in blocks for part in [block.get("text"), *block.get("elements", [])] if part is not None
    ]


def test_slack_gets_blocks_with_the_colour_of_the_severity(server: PlayedServer):
    send(slack_channel(server, channel="#ops"), notice(item(), item(severity="low"), more=3))
    told = json.loads(server.asked[0].body)
    assert server.asked[0].headers["content-type"] == "application/json"
    assert (told["channel"], told["text"]) == ("#ops", "[VoiceLens] critical: Acme API is down")
    assert [attachment.get("color") for attachment in told["attachments"]] == ["#dc2626", "#64748b", None]
    said = texts(told)
    assert said[0] == "*<https://lens.test/admin/1|Acme API is down>*\nHTTP 503."
    assert said[1] == "```-old\n+new```"
    assert said[2] == "Mapping that may have to follow:\n• `call.price → cost_usd`"
    assert said[3].startswith("acme · critical · service status · 2026-11-02 00:00 UTC")
    assert said[3].endswith(" · <https://api.acme.test/|page>")
    assert said[-1] == "<https://lens.test/admin/|and 3 more>"


@pytest.mark.parametrize(
    "text", ["<!channel> <@U1> &amp;", "a|b>c", "```\n*bold* _it_\n```", "x" * 100_000, "&" * 5000]
)
def test_what_a_page_says_is_text_in_slack_and_bounded(text: str):
    told = slack.body(
        slack.SlackConfig(), notice(item(title=text, description=text, diff=f"+{text}", affected=(text,)))
    )
    for said in texts(told):
        assert len(said) <= 3000
        assert "<!channel>" not in said
        assert "<@U1>" not in said
    assert sum(len(attachment["blocks"]) for attachment in told["attachments"]) <= 50
    diff = texts(told)[1]
    assert diff.count("```") == 2
    assert diff.removesuffix("…```").rpartition("&")[2] not in ("a", "am", "amp")


@pytest.mark.parametrize(
    ("answer", "is_permanent", "wait"),
    [
        (page(b"internal", status=500), False, None),
        (page(status=429, retry_after="30"), False, 30.0),
        (page(b"no_service", status=404), True, None),
        (page(b"invalid_payload", status=400), True, None),
        (page(status=302, location="http://127.0.0.1/"), True, None),
        (page(status=503), False, None),
    ],
)
def test_what_slack_answers_says_whether_it_is_tried_again(
    server: PlayedServer, answer: Any, is_permanent: bool, wait: float | None
):
    server.routes["/services/T/B/x"] = answer
    error = failure(slack_channel(server))
    assert (error.is_permanent, error.retry_after_sec) == (is_permanent, wait)
    assert "/services/T/B/x" not in error.message


def test_nobody_is_posted_to_who_is_not_of_the_public_internet(server: PlayedServer):
    with pytest.raises(SendError, match="MONITORING_OPEN_HOSTS") as caught:
        channels.send(slack_channel(server), notice(), at(0), door=Door(user_agent="test"))
    assert caught.value.is_permanent
    assert server.asked == []


# --- the signed webhook -------------------------------------------------------------------------------------------


def test_the_signature_is_what_standard_webhooks_wants(server: PlayedServer, monkeypatch: pytest.MonkeyPatch):
    server.routes["/hook"] = page(status=204)
    send(channel("webhook", KEY, url=server.url("/hook")), notice(more=2))
    (asked,) = server.asked
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda self, header: at(0), raising=False)
    told = Webhook(KEY).verify(asked.body, asked.headers)
    assert (told["type"], told["id"], told["more"]) == ("monitoring.changes", "batch1", 2)
    (change,) = told["changes"]
    assert {"provider", "change_type", "severity", "title", "description", "url", "detected_at", "diff"} <= set(change)
    assert change["affected"] == ["call.price → cost_usd"]
    for spoilt in (asked.body + b" ", asked.body.replace(b"critical", b"low")):
        with pytest.raises(WebhookVerificationError):
            Webhook(KEY).verify(spoilt, asked.headers)


# --- Apprise --------------------------------------------------------------------------------------------------------


def test_apprise_delivers_to_what_it_knows(server: PlayedServer):
    server.routes["/told"] = page()
    send(channel("apprise", f"json://127.0.0.1:{server.port}/told"))
    told = json.loads(server.asked[0].body)
    assert (told["title"], told["type"]) == ("[VoiceLens] critical: Acme API is down", "failure")
    assert "HTTP 503." in told["message"]
    server.routes["/told"] = page(status=500)
    assert not failure(channel("apprise", f"json://127.0.0.1:{server.port}/told")).is_permanent


def test_what_apprise_does_not_know_or_that_it_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    assert "does not know" in failure(channel("apprise", "nonsense://x")).message
    monkeypatch.setattr(by_apprise, "find_spec", lambda name: None)
    error = failure(channel("apprise", "json://127.0.0.1/"))
    assert (error.is_permanent, "pip install apprise" in error.message) == (True, True)


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config", "problem"),
    [
        ("slack", {"chanel": "#x"}, "chanel: Extra inputs"),
        ("slack", [], "config: "),
        ("email", {}, "to: Field required"),
        ("email", {"to": []}, "to: "),
        ("email", {"to": ["nobody"]}, "to.0: 'nobody' is no e-mail address"),
        ("email", {"to": ["a@b.de"], "port": 99999}, "port: "),
        ("email", {"to": ["a@b.de"], "security": "ssl"}, "security: "),
        ("webhook", {"url": "ftp://x"}, "url: "),
        ("webhook", {}, "url: Field required"),
        ("apprise", {"url": "x"}, "url: Extra inputs"),
    ],
)
def test_a_wrong_configuration_names_the_field(kind: str, config: Any, problem: str):
    with pytest.raises(ValueError, match=problem):
        channels.config_of(kind, config)


@pytest.mark.parametrize(
    ("kind", "secret", "problem"),
    [
        ("slack", "", "the address of the incoming webhook"),
        ("slack", "hooks.slack.com/x", "must begin with https://"),
        ("webhook", "short", "whsec_"),
        ("webhook", "whsec_c2hvcnQ=", "16 bytes"),
        ("webhook", "", "the signing key"),
        ("apprise", "nonsense://x", "does not know"),
        ("email", "", None),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_without_being_repeated(kind: str, secret: str, problem: str | None):
    if problem is None:
        channels.check_secret(kind, secret)
        return
    with pytest.raises(ValueError, match=problem) as caught:
        channels.check_secret(kind, secret)
    assert not secret or secret not in str(caught.value)


def test_a_channel_whose_key_is_gone_is_given_up_with_a_reason(settings: Any):
    row = channel("slack", "https://hooks.slack.test/x")
    row.key_id = "gone"
    error = failure(row)
    assert (error.is_permanent, "gone" in error.message) == (True, True)


@pytest.mark.django_db
def test_the_environment_makes_channels_once(settings: Any):
    settings.SLACK_WEBHOOK_URL = "https://hooks.slack.test/x"
    settings.ALERT_EMAIL_TO = ["ops@example.com"]
    settings.ALERT_WEBHOOK_URL = "https://ops.example.com/hook"
    assert channels.ensure_channels() == ["Slack", "E-mail", "Webhook"]
    rows = {row.name: row for row in AlertChannel.objects.all()}
    assert [rows[name].min_severity for name in ("Slack", "E-mail", "Webhook")] == ["medium", "high", "medium"]
    assert rows["Slack"].secret() == settings.SLACK_WEBHOOK_URL
    assert rows["Webhook"].secret().startswith("whsec_")
    AlertChannel.objects.filter(name="Slack").update(enabled=False, min_severity="critical")
    assert channels.ensure_channels() == []
    assert AlertChannel.objects.filter(name="Slack", enabled=False, min_severity="critical").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value"),
    [("SLACK_WEBHOOK_URL", "not a url"), ("ALERT_EMAIL_TO", ["nobody"]), ("ALERT_WEBHOOK_URL", "x")],
)
def test_a_setting_that_cannot_be_one_is_named(settings: Any, name: str, value: Any):
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match=name):
        channels.ensure_channels()


# --- from the outbox to the wire --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_outage_goes_by_mail_and_slack_with_retries_and_a_dead_letter(server: PlayedServer):
    box = Mailbox("451 later")
    server.routes |= {
        "/services/T/B/x": in_turn(page(status=500), page(b"ok")),
        "/gone": page(b"no_service", status=404),
    }
    with mail_server(box) as port:
        for name, row in {
            "mail": mail(port), "slack": slack_channel(server), "gone": channel("slack", server.url("/gone")),
        }.items():  # fmt: skip
            row.name = name
            row.save()
        record(Finding("k", "acme", "health", "service_status", "Acme API is down", severity="critical"), at(0))
        deliver = partial(alerts.deliver_due, send=partial(channels.send, door=door()))
        assert deliver(lambda: at(0)) == 0
        assert states() == {"gone": "dead", "mail": "pending", "slack": "pending"}
        assert deliver(lambda: at(2)) == 2
        assert deliver(lambda: at(60)) == 0
    assert states() == {"gone": "dead", "mail": "sent", "slack": "sent"}
    assert [mail["Subject"] for mail in box.mails] == ["[VoiceLens] critical: Acme API is down"]
    assert [asked.path for asked in server.asked].count("/services/T/B/x") == 2
    assert Alert.objects.get(channel__name="gone").error == "The receiver answers 404: no_service."


def states() -> dict[str, str]:
    return dict(Alert.objects.order_by("channel__name").values_list("channel__name", "state"))


def test_the_played_certificate_is_one():
    assert isinstance(certificate("127.0.0.1")[1], ssl.SSLContext)

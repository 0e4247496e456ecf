"""Each kind of channel against a server that plays its receiver, and what is said of a configuration that is wrong."""

import asyncio
import base64
import functools
import json
import logging
import re
import smtplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from django.core.exceptions import ImproperlyConfigured
from standardwebhooks.webhooks import Webhook

from apps.monitoring import alerts, channels
from apps.monitoring.channels import SendError, by_apprise, slack, webhook
from apps.monitoring.fetch import Door
from apps.monitoring.messages import Item, Notice, as_text
from apps.monitoring.messages import test_notice as notice_of_a_test
from apps.monitoring.models import Alert, AlertChannel, Change
from apps.monitoring.tests.servers import Behaviour, PlayedServer, certificate, in_turn, page, redirect

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
KEY = "whsec_" + base64.b64encode(b"a key of the tests, long enough").decode()
PASSWORD = "the password of the tests"


def item(**more: Any) -> Item:
    told: dict[str, Any] = {
        "id": 7, "title": "Acme is down", "severity": "critical", "provider": "acme", "provider_name": "acme",
        "change_type": "service_status", "occasion": "first", "description": "HTTP 503", "detected_at": NOW,
        "url": "https://acme.test/", "diff": "-old\n+new", "since": NOW, "affected": ("call.id → call_id",),
        "link": "https://voicelens.test/admin/change/7/",
    }  # fmt: skip
    return Item(**{**told, **more})


def told(*items: Item, **more: Any) -> Notice:
    items = items or (item(),)
    values: dict[str, Any] = {
        "id": "0123456789abcdef", "subject": f"[VoiceLens] {items[0].title}", "severity": items[0].severity,
        "items": items, "more": 0, "link": "https://voicelens.test/admin/changes/",
    }  # fmt: skip
    return Notice(**{**values, **more})


def channel(kind: str, secret: str = "", **config: Any) -> AlertChannel:
    row = AlertChannel(name=f"{kind} of the tests", kind=kind, config=config)
    row.set_secret(secret)
    return row


def door() -> Door:
    return Door(user_agent="VoiceLens/test", open_hosts=["127.0.0.1"], host_pause_sec=0)


def failure(row: AlertChannel, notice: Notice | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        channels.send(row, notice or told(), NOW, door=door())
    return caught.value


# --- e-mail --------------------------------------------------------------------------------------------------


@dataclass
class Mailbox:
    """What a mail server was given. `refuses` maps a step (RCPT, DATA) to its answers, one after the other."""

    refuses: dict[str, list[str]] = field(default_factory=dict)
    hangs_up: bool = False
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        answers = self.refuses.get("RCPT", [])
        if answers and not address.startswith("kept"):
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if self.hangs_up:
            _abort(server)
            return "250 never heard"
        if self.refuses.get("DATA"):
            return self.refuses["DATA"].pop(0)
        self.taken.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"

    def log_in(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


def _abort(speaker: SMTP) -> None:
    if isinstance(speaker.transport, asyncio.WriteTransport):
        speaker.transport.abort()


@contextmanager
def mail_server(box: Mailbox, *, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[Mailbox]:
    """A mail server on a free port; `tls` from the first byte."""
    loop = asyncio.new_event_loop()

    speakers: list[SMTP] = []

    def speaker() -> SMTP:
        told = {"hostname": "mail.test", "authenticator": box.log_in, "auth_require_tls": False, **options}
        speakers.append(SMTP(box, loop=loop, **told))
        return speakers[-1]

    server = loop.run_until_complete(loop.create_server(speaker, "127.0.0.1", 0, ssl=tls))
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_ended(loop, server, speakers))
        loop.close()


async def _ended(loop: asyncio.AbstractEventLoop, server: asyncio.Server, speakers: list[SMTP]) -> None:
    server.close()
    for speaker in speakers:
        _abort(speaker)
    talks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for talk in talks:
        talk.cancel()
    await asyncio.gather(*talks, return_exceptions=True)


def mail(box: Mailbox, secret: str = "", **config: Any) -> AlertChannel:
    usual = {"to": ["ops@example.com"], "host": "127.0.0.1", "port": box.port, "sender": "VoiceLens <v@example.com>",
             "security": "none"}  # fmt: skip
    return channel("email", secret, **{**usual, **config})


def test_a_mail_says_it_in_text_and_in_html_under_an_id_that_stays() -> None:
    with mail_server(Mailbox()) as box:
        for later in (0, 60):
            channels.send(mail(box), told(), NOW + timedelta(minutes=later))
    (recipients, first), (_, second) = box.taken
    assert recipients == ["ops@example.com"]
    assert first["Message-ID"] == second["Message-ID"] == "<0123456789abcdef@example.com>"
    assert (first["Subject"], first["From"]) == ("[VoiceLens] Acme is down", "VoiceLens <v@example.com>")
    assert first["Auto-Submitted"] == "auto-generated"
    text, html = first.get_body(("plain",)), first.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == as_text(told())
    for said in ("Acme is down", "-old\n+new", "call.id → call_id", "https://voicelens.test/admin/change/7/"):
        assert said in html.get_content().replace("\r\n", "\n")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mail_server_that_asks_for_a_login_gets_that_of_the_channel() -> None:
    with mail_server(Mailbox(), auth_required=True) as box:
        channels.send(mail(box, PASSWORD, user="ops"), told(), NOW)
        channels.send(mail(box, PASSWORD), told(), NOW)
        wrong = failure(mail(box, "not the password", user="ops"))
        without = failure(mail(box))
    assert box.logins[:2] == [(b"ops", PASSWORD.encode()), (b"v@example.com", PASSWORD.encode())]
    assert len(box.taken) == 2
    assert wrong.is_permanent
    assert wrong.message.startswith("The mail server answers 535: ")
    assert "not the password" not in wrong.message
    assert without.is_permanent
    assert "530" in without.message


def test_the_login_of_the_settings_goes_to_the_server_of_the_settings_only(settings: Any) -> None:
    with mail_server(Mailbox()) as box:
        settings.EMAIL_SMTP_HOST, settings.EMAIL_SMTP_PORT = "127.0.0.1", box.port
        settings.EMAIL_FROM = settings.EMAIL_USER = "v@example.com"
        settings.EMAIL_PASSWORD, settings.EMAIL_SECURITY = PASSWORD, "none"
        channels.send(channel("email", to=["ops@example.com"]), told(), NOW)
        assert box.logins == [(b"v@example.com", PASSWORD.encode())]
        channels.send(mail(box), told(), NOW)
        assert len(box.logins) == 1
    assert len(box.taken) == 2


@pytest.mark.parametrize(("host", "sender", "missing"), [("", "v@example.com", "EMAIL_SMTP_HOST"),
                                                         ("127.0.0.1", "", "EMAIL_FROM")])  # fmt: skip
def test_without_a_server_or_a_sender_the_setting_is_named(host: str, sender: str, missing: str, settings: Any) -> None:
    settings.EMAIL_SMTP_HOST, settings.EMAIL_FROM = host, sender
    error = failure(channel("email", to=["ops@example.com"]))
    assert error.is_permanent
    assert missing in error.message


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_counts_where_its_authority_is_known(security: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted, context = certificate()
    options = {"tls_context": context, "require_starttls": True} if security == "starttls" else {"tls": context}
    with mail_server(Mailbox(), **options) as box:
        error = failure(mail(box, security=security))
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        channels.send(mail(box, security=security), told(), NOW)
    assert not error.is_permanent
    assert "certificate of the mail server 127.0.0.1 is not good: self-signed certificate" in error.message
    assert "SSL_CERT_FILE" in error.message
    assert len(box.taken) == 1


def test_a_certificate_of_another_name_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    trusted, context = certificate("mail.example.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with mail_server(Mailbox(), tls_context=context) as box:
        error = failure(mail(box, security="starttls"))
    assert "IP address mismatch" in error.message


def test_nothing_is_sent_in_the_clear_where_a_secure_connection_is_asked_for() -> None:
    with mail_server(Mailbox()) as box:
        without = failure(mail(box, PASSWORD, security="starttls"))
        plain = failure(mail(box, PASSWORD, security="tls"))
    assert (box.logins, box.taken) == ([], [])
    assert "STARTTLS extension not supported" in without.message
    assert "See `security`" in without.message
    assert plain.message.startswith("No secure connection to the mail server 127.0.0.1")


@pytest.mark.parametrize(
    ("refuses", "is_permanent", "said"),
    [
        ({"RCPT": ["550 nobody here"]}, True, "ops@example.com: 550"),
        ({"RCPT": ["451 later"]}, False, "ops@example.com: 451"),
        ({"DATA": ["451 try again later"]}, False, "451: try again later"),
        ({"DATA": ["554 no\r\n"]}, True, "554: no"),
    ],
)
def test_what_the_mail_server_answers_says_whether_to_try_again(refuses: Any, is_permanent: bool, said: str) -> None:
    with mail_server(Mailbox(refuses)) as box:
        error = failure(mail(box))
        assert (error.is_permanent, said in error.message) == (is_permanent, True), error.message
        channels.send(mail(box), told(), NOW)
    assert len(box.taken) == 1


def test_a_mail_that_some_take_is_sent_and_the_others_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server(Mailbox({"RCPT": ["550 nobody"]})) as box:
        channels.send(mail(box, to=["gone@example.com", "kept@example.com"]), told(), NOW)
    assert [recipients for recipients, _ in box.taken] == [["kept@example.com"]]
    assert "gone@example.com: 550" in caplog.text


def test_a_mail_server_that_hangs_up_or_is_not_there_is_tried_again() -> None:
    with mail_server(Mailbox(hangs_up=True)) as box:
        broken = failure(mail(box))
    gone = failure(mail(box))
    for error, word in ((broken, "SMTPServerDisconnected"), (gone, "ConnectionRefusedError")):
        assert not error.is_permanent
        assert error.message == f"The mail server 127.0.0.1 cannot be reached or broke off ({word})."


def test_a_farewell_that_fails_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(server: smtplib.SMTP) -> None:
        raise smtplib.SMTPResponseException(451, b"not so fast")

    monkeypatch.setattr(smtplib.SMTP, "quit", fails)
    with mail_server(Mailbox()) as box:
        channels.send(mail(box), told(), NOW)
    assert len(box.taken) == 1


@pytest.mark.parametrize(
    "title", ["Grüße aus Zürich – 電話", "x" * 1000, "<script>alert(1)</script> & co", "\x1b[31mred"]
)
def test_any_title_is_a_subject(title: str) -> None:
    with mail_server(Mailbox()) as box:
        channels.send(mail(box), told(item(title=title), subject=title[:180]), NOW)
    [(_, message)] = box.taken
    assert message["Subject"].strip() == title[:180]
    html = message.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()


def test_a_line_break_never_makes_a_header() -> None:
    with mail_server(Mailbox()) as box, pytest.raises(ValueError, match="newlines"):
        channels.send(mail(box), told(subject="x\r\nBcc: all@example.com"), NOW)
    assert box.taken == []


def test_addresses_beyond_ascii_are_written_as_mail_servers_read_them() -> None:
    with mail_server(Mailbox()) as box:
        channels.send(mail(box, to=["Jörg <ops@bücher.example>"], sender="v@bücher.example"), told(), NOW)
    [(recipients, message)] = box.taken
    assert recipients == ["ops@xn--bcher-kva.example"]
    assert message["Message-ID"] == "<0123456789abcdef@xn--bcher-kva.example>"


def test_letters_that_no_login_carries_are_named_and_not_shown() -> None:
    with mail_server(Mailbox()) as box:
        error = failure(mail(box, "geheim-ä", user="ops"))
    assert "password holds letters" in error.message
    assert "geheim" not in error.message


# --- Slack ----------------------------------------------------------------------------------------------------

PATH = "/services/T0TESTS/B0TESTS/aSecretOfTheTests"


@contextmanager
def slack_server(behaviour: Behaviour) -> Iterator[tuple[PlayedServer, AlertChannel]]:
    with PlayedServer({PATH: behaviour}).running() as server:
        yield server, channel("slack", server.url(PATH))


def test_slack_is_posted_what_changed() -> None:
    with slack_server(page(b"ok")) as (server, row):
        channels.send(row, told(more=2), NOW, door=door())
    [asked] = server.asked
    assert (asked.method, asked.headers["content-type"]) == ("POST", "application/json")
    body = json.loads(asked.body)
    assert body["text"] == "[VoiceLens] Acme is down"
    assert [part.get("color") for part in body["attachments"]] == [slack.COLOURS["critical"], None]
    texts = list(_texts(body))
    for said in ("HTTP 503", "```-old\n+new```", "• `call.id → call_id`", "|and 2 more>", "since 2026-11-02 09:30 UTC"):
        assert any(said in text for text in texts), said


@pytest.mark.parametrize(
    ("answer", "is_permanent", "retry_after_sec", "said"),
    [
        (page(b"no_service", 404), True, None, "The receiver answers 404: no_service."),
        (page(b"invalid_payload", 400), True, None, "The receiver answers 400: invalid_payload."),
        (page(b"", 429, retry_after="30"), False, 30.0, "The receiver answers 429."),
        (page(b"", 429, retry_after="Mon, 02 Nov 2026 10:00:00 GMT"), False, None, "The receiver answers 429."),
        (page(b"oops", 500), False, None, "The receiver answers 500: oops."),
        (page(b"", 408), False, None, "The receiver answers 408."),
        (redirect("https://elsewhere.test/"), True, None,
         "The answer is a redirect (302), and what is sent is never redirected."),
    ],
)  # fmt: skip
def test_what_the_receiver_answers_says_whether_to_try_again(
    answer: Behaviour, is_permanent: bool, retry_after_sec: float | None, said: str
) -> None:
    with slack_server(in_turn(answer, page(b"ok"))) as (server, row):
        error = failure(row)
        assert (error.message, error.is_permanent, error.retry_after_sec) == (said, is_permanent, retry_after_sec)
        channels.send(row, told(), NOW, door=door())
    assert len(server.asked) == 2


def test_a_private_address_is_not_posted_to() -> None:
    with slack_server(page(b"ok")) as (server, row), pytest.raises(SendError, match="MONITORING_OPEN_HOSTS") as caught:
        channels.send(row, told(), NOW, door=Door(user_agent="x"))
    assert caught.value.is_permanent
    assert server.asked == []


def test_an_error_page_that_repeats_the_address_does_not_show_the_secret() -> None:
    repeated = f"The requested URL {PATH} was not found on this server.".encode()
    with slack_server(page(repeated, 404)) as (_, row):
        error = failure(row)
    assert "aSecretOfTheTests" not in error.message
    assert "was not found on this server" in error.message


HOSTILE = [
    "<!channel> <@U123> @here", "&" * 5000, "<" * 5000, "a & b " * 900, "```" * 400, "*_~`" * 300, "|" * 2000,
    "é" * 5000, "‮\u2028\x0b", "",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_slack_takes_every_text_and_shows_it_as_text(text: str) -> None:
    hostile = item(title=text, description=text, diff=text, affected=(text,) * 9, url=f"https://x/{text}")
    body = slack.body(slack.SlackConfig(), told(*[hostile] * 5, subject=text, more=9))
    blocks = [block for part in body["attachments"] for block in part["blocks"]]
    assert len(blocks) <= 50
    for block_text in _texts({"attachments": body["attachments"]}):
        assert 1 <= len(block_text) <= 3000
        without_links = re.sub(r"<https?://[^<>|]*\|[^<>]*>", "", block_text)
        assert not set("<>") & set(without_links)
        assert not re.search(r"&(?!amp;|lt;|gt;)", block_text)
        assert block_text.count("```") in (0, 2)
    assert not set("<>") & set(body["text"])


def test_a_text_with_one_escape_is_cut_at_its_end_and_not_at_the_escape() -> None:
    body = slack.body(slack.SlackConfig(), told(item(description="a & b" + "x" * 5000)))
    assert any("x" * 1400 in text for text in _texts(body))


def test_no_text_of_a_page_is_read_as_a_mention() -> None:
    body = slack.body(slack.SlackConfig(), told(item(description="<!channel> @here")))
    assert all(text.get("verbatim") is True for text in _objects(body))
    assert any("&lt;!channel&gt; @here" in text for text in _texts(body))


def test_the_channel_of_a_config_overrides_the_webhooks_own() -> None:
    assert slack.body(slack.SlackConfig(channel="#ops"), told())["channel"] == "#ops"
    assert "channel" not in slack.body(slack.SlackConfig(), told())


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _texts(value: Any) -> Iterator[str]:
    return (one["text"] for one in _objects(value))


# --- the signed webhook -----------------------------------------------------------------------------------------


def test_the_webhook_is_proved_by_the_library_of_its_standard() -> None:
    now = datetime.now(UTC)  # the library compares with its own clock
    with PlayedServer({"/hook": page(status=204)}).running() as server:
        row = channel("webhook", KEY, url=server.url("/hook"))
        for _ in range(2):
            channels.send(row, told(item(title="Grüße"), more=3), now, door=door())
    first, second = server.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "0123456789abcdef"
    body = Webhook(KEY).verify(first.body, first.headers)
    assert body == json.loads(first.body)
    assert (body["type"], body["id"], body["more"]) == ("monitoring.changes", "0123456789abcdef", 3)
    assert body["sent_at"] == now.isoformat()
    assert body["changes"] == [
        {
            "id": 7, "provider": "acme", "change_type": "service_status", "severity": "critical", "title": "Grüße",
            "description": "HTTP 503", "url": "https://acme.test/", "diff": "-old\n+new", "occasion": "first",
            "link": "https://voicelens.test/admin/change/7/", "detected_at": NOW.isoformat(),
            "since": NOW.isoformat(), "affected": ["call.id → call_id"],
        }
    ]  # fmt: skip
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(KEY).verify(first.body + b" ", first.headers)


def test_the_handbooks_lines_prove_a_webhook(settings: Any) -> None:
    handbook = (settings.BASE_DIR / "docs" / "monitoring.md").read_text()
    [lines] = re.findall(r"```python\n(.*?)```", handbook, re.DOTALL)
    for body, is_genuine in ((b'{"id": 1}', True), (b'{"id": 2}', False)):
        names: dict[str, Any] = {
            "secret": KEY,
            "body": body,
            "headers": webhook.signed(KEY, "an-id", NOW, b'{"id": 1}'),
        }
        exec(lines, names)  # noqa: S102
        assert names["genuine"] is is_genuine


def test_a_test_says_that_it_is_one() -> None:
    with PlayedServer({"/hook": page()}).running() as server:
        channels.send(channel("webhook", KEY, url=server.url("/hook")), notice_of_a_test(NOW), NOW, door=door())
    assert json.loads(server.asked[0].body)["type"] == "test"


def test_a_signing_key_that_is_made_can_be_used() -> None:
    made = {channels.new_signing_key() for _ in range(3)}
    assert len(made) == 3
    for key in made:
        channels.check_secret("webhook", key)
        Webhook(key)


# --- Apprise --------------------------------------------------------------------------------------------------


# One of its plugins imports what a later Python no longer has.
LOADING = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@LOADING
def test_apprise_delivers_what_it_knows() -> None:
    with PlayedServer({"/path": in_turn(page(), page(status=500))}).running() as server:
        row = channel("apprise", f"json://127.0.0.1:{server.port}/path")
        channels.send(row, told(), NOW)
        error = failure(row)
    body = json.loads(server.asked[0].body)
    assert (body["title"], body["type"]) == ("[VoiceLens] Acme is down", "failure")
    assert body["message"].strip() == as_text(told()).strip()
    assert not error.is_permanent
    assert error.message.startswith("Apprise could not deliver it.")


@LOADING
def test_an_apprise_url_never_comes_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match="Apprise does not know this URL"):
        channels.check_secret("apprise", "nosuch://aSecretOfTheTests")
    with PlayedServer({"/aSecretOfTheTests": page(status=500)}).running() as server:
        failure(channel("apprise", f"json://127.0.0.1:{server.port}/aSecretOfTheTests"))
    assert "aSecretOfTheTests" not in caplog.text


def test_without_the_package_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_apprise, "find_spec", lambda name: None)
    error = failure(channel("apprise", "json://127.0.0.1/"))
    assert error.is_permanent
    assert "Apprise is not installed here: pip install apprise" in error.message


# --- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("slack", {"chanel": "#x"}, "chanel: this kind has no such field"),
        ("slack", [], "config: a JSON object is needed"),
        ("slack", None, "config: a JSON object is needed"),
        ("slack", {"channel": 5}, "channel: Input should be a valid string"),
        ("email", {}, "to: Field required"),
        ("email", {"to": []}, "to: List should have at least 1 item"),
        ("email", {"to": "ops@example.com"}, "to: Input should be a valid list"),
        ("email", {"to": ["ops"]}, "to.0: 'ops' is no e-mail address"),
        ("email", {"to": ["a@example.com\r\nBcc: b@example.com"]}, "is no e-mail address"),
        ("email", {"to": ["a@example.com"], "sender": "nobody"}, "sender: 'nobody' is no e-mail address"),
        ("email", {"to": ["a@example.com"], "host": "mail server"}, "host: the name of a mail server is needed"),
        ("email", {"to": ["a@example.com"], "port": 70000}, "port: Input should be less than or equal to 65535"),
        ("email", {"to": ["a@example.com"], "security": "ssl"}, "security: Input should be '', 'starttls', 'tls' or"),
        ("webhook", {}, "url: Field required"),
        ("webhook", {"url": "ftp://x"}, "url: an address that begins with https:// is needed"),
        ("webhook", {"url": "https://"}, "url: an address that begins with https:// is needed"),
        ("webhook", {"url": "https://a:b@x/"}, "url: the address holds a login"),
        ("apprise", {"url": "json://x"}, "url: this kind has no such field"),
    ],
)
def test_a_wrong_configuration_names_the_field(kind: str, config: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        channels.config_of(kind, config)


@pytest.mark.parametrize(
    ("kind", "secret", "said"),
    [
        ("slack", "", "this kind needs a secret: the address of the incoming webhook"),
        ("slack", "hooks.slack.com/aSecret", "an address that begins with https:// is needed"),
        ("webhook", "", "this kind needs a secret: the signing key, whsec_…"),
        ("webhook", "aSecret", "the signing key must be whsec_ and at least 16 bytes in base64"),
        ("webhook", "whsec_aSecret!", "the signing key must be whsec_ and at least 16 bytes in base64"),
        ("webhook", "whsec_c2hvcnQ=", "the signing key must be whsec_ and at least 16 bytes in base64"),
        ("apprise", "", "this kind needs a secret: the Apprise URL"),
    ],
)
def test_a_wrong_secret_is_explained_and_not_shown(kind: str, secret: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        channels.check_secret(kind, secret)
    assert "aSecret" not in str(caught.value)
    assert (
        failure(channel(kind, secret, **CONFIGS.get(kind, {}))).message == f"The channel is not set up: {caught.value}"
    )


CONFIGS: dict[str, dict[str, Any]] = {"webhook": {"url": "https://x.test/"}}


def test_every_kind_has_what_the_admin_needs() -> None:
    assert set(channels.KINDS) == set(AlertChannel.Kind.values)
    assert all(kind.help.endswith(".") for kind in channels.KINDS.values())


@pytest.mark.django_db
def test_the_environment_makes_each_channel_once(settings: Any) -> None:
    settings.SLACK_WEBHOOK_URL = "https://hooks.slack.test/aSecret"
    settings.ALERT_EMAIL_TO = ["ops@example.com", "boss@example.com"]
    settings.ALERT_WEBHOOK_URL = "https://ops.example.com/hook"
    settings.ALERT_WEBHOOK_SECRET = KEY
    assert channels.ensure_channels() == ["Slack", "E-mail", "Webhook"]
    made = {row.name: (row.kind, row.min_severity, row.config, row.secret()) for row in AlertChannel.objects.all()}
    assert made == {
        "Slack": ("slack", "medium", {}, "https://hooks.slack.test/aSecret"),
        "E-mail": ("email", "high", {"to": ["ops@example.com", "boss@example.com"]}, ""),
        "Webhook": ("webhook", "medium", {"url": "https://ops.example.com/hook"}, KEY),
    }
    AlertChannel.objects.filter(name="Slack").update(enabled=False, min_severity="critical")
    settings.SLACK_WEBHOOK_URL = "https://hooks.slack.test/another"
    assert channels.ensure_channels() == []
    kept = AlertChannel.objects.get(name="Slack")
    assert (kept.enabled, kept.min_severity, kept.secret()) == (False, "critical", "https://hooks.slack.test/aSecret")


@pytest.mark.django_db
def test_without_settings_no_channel_is_made() -> None:
    assert channels.ensure_channels() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"SLACK_WEBHOOK_URL": "aSecret"}, "SLACK_WEBHOOK_URL: an address that begins"),
        ({"ALERT_EMAIL_TO": ["ops"]}, "ALERT_EMAIL_TO: to.0: 'ops' is no e-mail address"),
        ({"ALERT_WEBHOOK_URL": "ops.example.com"}, "ALERT_WEBHOOK_URL: url: an address that begins"),
        ({"ALERT_WEBHOOK_URL": "https://x.test/", "ALERT_WEBHOOK_SECRET": "aSecret"}, "ALERT_WEBHOOK_SECRET: the sign"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, Any], said: str, settings: Any) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match=re.escape(said)) as caught:
        channels.ensure_channels()
    assert "aSecret" not in str(caught.value)
    assert not AlertChannel.objects.exists()


# --- from the outbox to the receivers -----------------------------------------------------------------------------


@pytest.fixture
def change(db: None) -> Change:
    return Change.objects.create(
        key="of the tests", provider="acme", source="health", change_type="service_status", severity="critical",
        title="Acme is down", diff="-old\n+new", detected_at=NOW,
    )  # fmt: skip


def saved(row: AlertChannel) -> AlertChannel:
    row.save()
    return row


def deliver_at(now: datetime, send: Any) -> int:
    return alerts.deliver_due(lambda: now, send)


def states() -> list[tuple[str, int, str]]:
    return list(Alert.objects.order_by("channel__kind").values_list("state", "attempts", "error"))


@pytest.mark.any_database
def test_the_outbox_is_tried_again_until_mail_and_slack_have_it_once(change: Change) -> None:
    send = functools.partial(channels.send, door=door())
    with (
        mail_server(Mailbox({"DATA": ["451 later"]})) as box,
        slack_server(in_turn(page(b"", 500), page(b"", 429, retry_after="600"), page(b"ok"))) as (server, row),
    ):
        saved(mail(box))
        saved(row)
        assert len(alerts.enqueue(change, NOW)) == 2
        sent = [deliver_at(NOW + timedelta(minutes=minutes), send) for minutes in (0, 0.5, 2, 2.5, 11, 13, 60)]
    assert sent == [0, 0, 1, 0, 0, 1, 0]
    assert states() == [("sent", 2, ""), ("sent", 3, "")]
    assert len(box.taken) == 1
    assert len(server.asked) == 3
    assert len({asked.body for asked in server.asked}) == 1
    batch = Alert.objects.get(channel__kind="email").batch
    assert box.taken[0][1]["Message-ID"] == f"<{batch}@example.com>"


@pytest.mark.any_database
def test_what_is_never_taken_is_given_up_and_can_be_sent_again(
    change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    send = functools.partial(channels.send, door=door())
    with (
        mail_server(Mailbox({"RCPT": ["550 nobody"]})) as box,
        slack_server(in_turn(page(b"no_service", 404), page(b"ok"))) as (server, row),
    ):
        saved(mail(box))
        saved(row)
        alerts.enqueue(change, NOW)
        assert deliver_at(NOW, send) == deliver_at(NOW + timedelta(days=1), send) == 0
        assert states() == [
            ("dead", 1, "The mail server takes none of the recipients (ops@example.com: 550)."),
            ("dead", 1, "The receiver answers 404: no_service."),
        ]
        assert alerts.send_again(Alert.objects.all(), NOW) == 2
        assert deliver_at(NOW, send) == 2
    assert (len(box.taken), len(server.asked)) == (1, 2)
    assert "aSecretOfTheTests" not in caplog.text


@pytest.mark.any_database
def test_a_receiver_that_never_answers_well_is_given_up_after_eight_attempts(change: Change) -> None:
    send = functools.partial(channels.send, door=door())
    with slack_server(page(b"", 503)) as (server, row):
        saved(row)
        alerts.enqueue(change, NOW)
        for hours in range(0, 60, 7):
            deliver_at(NOW + timedelta(hours=hours), send)
    assert len(server.asked) == alerts.MAX_ATTEMPTS == 8
    assert states() == [("dead", 8, "The receiver answers 503.")]

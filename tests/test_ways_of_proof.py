"""Ways of proof through the front door and in the admin: tokens in URLs, several ways at once, none, addresses."""

import importlib
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from apps.history.models import Change
from apps.ingest import committing, inbox, trial, url_tokens
from apps.ingest.management.commands import demo
from apps.ingest.models import InboundEvent, Refusal
from apps.providers import registry
from apps.providers.checks import check_registry
from apps.providers.engine.addresses import parse_networks
from apps.providers.engine.signatures import Reason, SignedRequest, parse_scheme
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret
from apps.providers.sync import sync_catalog
from tests import rsgi
from tests.browser import filled, problems, text_of
from tests.calls import ENDED, SECRET, sample, signed
from voicelens.settings import _networks

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
TOKEN, OLDER = "oY3Zr5mF9kq-the_token_in_the_url_of_the_tests", "an-older-token-of-the-tests"
ADDRESS = "/webhook/retell/default"
BODY = json.dumps(sample(ENDED)).encode()
BEARER = {"kind": "token", "header": "X-Token"}
NONE = {"kind": "none", "reason": "a trial"}


def endpoint_row() -> Endpoint:
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def add_way(scheme: dict[str, Any], *values: str, valid_until: Any = None) -> AuthConfig:
    way = AuthConfig.objects.create(endpoint=endpoint_row(), name=scheme["kind"], scheme=scheme)
    for value in values:
        secret = Secret(auth_config=way, valid_until=valid_until)
        secret.set_value(value)
        secret.save()
    registry.forget()
    return way


def post(client: Client, path: str, body: bytes = BODY, **headers: str) -> Any:
    return client.generic("POST", path, body, "application/json", headers=headers)


@pytest.fixture
def by_url(catalogue: None) -> AuthConfig:
    """Retell's default endpoint, proved by a token in the URL and by nothing else."""
    endpoint_row().auth_configs.all().delete()
    return add_way({"kind": "url_token"}, TOKEN, OLDER)


# --- a token in the URL --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [f"/{TOKEN}", f"/{TOKEN}/", f"/{OLDER}", f"/{TOKEN}?a=1"])
def test_a_delivery_with_the_token_in_its_url_is_stored(by_url: AuthConfig, client: Client, tail: str) -> None:
    assert post(client, ADDRESS + tail).status_code == 200
    assert InboundEvent.objects.count() == 1
    used = OLDER if OLDER in tail else TOKEN
    assert [secret.value() for secret in by_url.secrets.all() if secret.last_used_at] == [used]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ("", "url_token_missing"),
        ("/", "url_token_missing"),
        (f"/{TOKEN[:-1]}", "token_mismatch"),
        (f"/{TOKEN}x", "token_mismatch"),
        (f"/{TOKEN.upper()}", "token_mismatch"),
        (f"/{TOKEN}/more", "token_mismatch"),
        (f"/{SECRET}", "token_mismatch"),
        ("/%00", "token_mismatch"),
        ("/%F0%9F%93%9E", "token_mismatch"),
        (f"/?token={TOKEN}", "url_token_missing"),
    ],
)
def test_without_the_token_it_is_a_401_like_any_other(
    by_url: AuthConfig, client: Client, settings: Any, tail: str, reason: str
) -> None:
    settings.WEBHOOK_SECRETS = {"retell": [SECRET]}  # of the environment: signatures and headers only
    refused = post(client, ADDRESS + tail)
    unsigned = post(client, "/webhook/vcp")
    assert refused.status_code == unsigned.status_code == 401
    assert refused.json() | {"context": None} == unsigned.json() | {"context": None}
    assert set(refused.headers) == set(unsigned.headers)
    assert Refusal.objects.get(endpoint__provider__slug="retell").reason == reason
    assert not InboundEvent.objects.exists()


def test_a_token_that_has_ended_opens_nothing(by_url: AuthConfig, client: Client) -> None:
    by_url.secrets.filter(valid_until=None).update(valid_until=timezone.now() - timedelta(seconds=1))
    registry.forget()
    assert post(client, f"{ADDRESS}/{TOKEN}").status_code == 401


def test_without_any_token_the_endpoint_is_closed(by_url: AuthConfig, client: Client) -> None:
    by_url.secrets.all().delete()
    registry.forget()
    assert post(client, f"{ADDRESS}/{TOKEN}").status_code == 401
    assert "has no URL token yet" in endpoint_row().last_refused_reason


def test_what_follows_the_address_matters_to_no_other_way(deliver: Any) -> None:
    assert deliver(BODY, path=f"{ADDRESS}/whatever").status_code == 200
    assert deliver(BODY, path=f"{ADDRESS}/whatever", headers={}).status_code == 401
    assert deliver(BODY, path="/webhook/nobody/default/whatever").status_code == 404


def test_a_scheme_that_signs_the_url_is_given_it_with_the_token(
    by_url: AuthConfig, client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    seen: list[SignedRequest] = []
    authenticate = inbox.authenticate

    def listen(endpoint: Any, request: SignedRequest, now: Any) -> Any:
        seen.append(request)
        return authenticate(endpoint, request, now)

    monkeypatch.setattr(inbox, "authenticate", listen)
    post(client, f"{ADDRESS}/{TOKEN}/?a=1")
    assert seen[0].url == f"https://voice.example.com{ADDRESS}/{TOKEN}/?a=1"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/webhook/a/b/tok", ("/webhook/a/b", "tok")),
        ("/webhook/a/b/tok/", ("/webhook/a/b", "tok")),
        ("/webhook/a/b/tok/more/", ("/webhook/a/b", "tok/more")),
        ("//webhook//a/b//tok", ("//webhook//a/b", "tok")),
        ("/Webhook/a/b/tok", ("/Webhook/a/b", "tok")),
        ("/webhook/a/b/t\nok", ("/webhook/a/b", "t\nok")),
        ("/webhook/a/b/", ("/webhook/a/b/", "")),
        ("/webhook/a/b", ("/webhook/a/b", "")),
        ("/webhook/a", ("/webhook/a", "")),
        ("/admin/a/b/tok", ("/admin/a/b/tok", "")),
    ],
)
def test_the_token_is_what_follows_the_endpoint(path: str, parts: tuple[str, str]) -> None:
    assert url_tokens.split(path) == parts


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("https://v.example/webhook/a/b/tok?x=/webhook/c/d/no", "tok"),
        ("/webhook/a/b/tok#x", "tok"),
        ("https://v.example/hooks/webhook/a/b/tok", "tok"),
        ("https://v.example/webhook/a/b", ""),
        ("https://[bad", ""),
        ("", ""),
    ],
)
def test_a_captured_url_tells_its_token(url: str, token: str) -> None:
    assert url_tokens.token_in(url) == token


def test_a_captured_delivery_is_proved_by_its_url(by_url: AuthConfig) -> None:
    runtime = registry.endpoint("retell")
    assert runtime is not None
    now = timezone.now()
    ways = tuple(trial.Candidate(auth.scheme, tuple(auth.valid_secrets(now))) for auth in runtime.auths)
    subject = trial.Subject("retell", "Retell", runtime.provider.mapping, ways)
    for url, reason in ((f"https://v.example{ADDRESS}/{TOKEN}", Reason.OK), ("", Reason.URL_TOKEN_MISSING)):
        assert trial.prove(trial.Case(BODY, now, {}, url), subject).reason is reason


def test_the_demo_posts_to_the_url_with_its_token(catalogue: None, monkeypatch: pytest.MonkeyPatch) -> None:
    AuthConfig.objects.filter(endpoint__slug="demo").update(scheme={"kind": "url_token"})
    registry.forget()
    runtime = registry.endpoint("retell", "demo")
    assert runtime is not None
    browser = Client()

    def to_us(url: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        return browser.generic("POST", path, body, "application/json").status_code, "no words"

    monkeypatch.setattr(demo, "_post", to_us)
    demo._send(runtime, BODY, "http://127.0.0.1:1")
    assert InboundEvent.objects.get().environment == "demo"


# --- where the token must not show ---------------------------------------------------------------------------


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every logger speaks, Django's own included."""
    named = [logging.getLogger(name) for name in ("django", "django.request", "django.security.csrf")]
    levels = [logger.level for logger in named]
    for logger in named:
        logger.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    yield caplog
    for logger, level in zip(named, levels, strict=True):
        logger.setLevel(level)


class Frames(logging.Handler):
    """Keeps reports of errors as trackers write them: with the values of every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            error = traceback.TracebackException.from_exception(record.exc_info[1], capture_locals=True)
            self.texts.append("".join(error.format()))


@pytest.mark.parametrize(
    ("tail", "status"), [(f"/{TOKEN}", 200), (f"/{TOKEN}/", 200), (f"/{TOKEN}x", 401), (f"/{TOKEN}/x", 401)]
)
def test_no_log_and_no_row_tells_the_token(
    by_url: AuthConfig, client: Client, everything_logged: Any, tail: str, status: int
) -> None:
    response = post(client, ADDRESS + tail, Referer=f"https://v.example{ADDRESS}/{TOKEN}")
    assert response.status_code == status
    response_get = client.get(ADDRESS + tail)
    assert response_get.status_code == 405
    post(client, "/webhook/nobody/default" + tail)
    post(client, "/webhook//retell//default/" + tail)
    stored = [list(model.objects.values()) for model in (InboundEvent, Refusal, Endpoint, Secret)]
    told = [response.headers, response.content, response_get.headers, response_get.content, stored]
    assert "Method Not Allowed: /webhook/retell/default" in everything_logged.text  # the log was listened to
    assert TOKEN not in everything_logged.text + repr(told)


@pytest.fixture
def web_server(db: None) -> None:
    """Its modules, which set up the log anew and share commits when they are imported first."""
    importlib.import_module("voicelens.wsgi")
    committing.stop()


@pytest.mark.usefixtures("web_server")
@pytest.mark.parametrize("error", [OperationalError("down"), RuntimeError("a defect")])
@pytest.mark.parametrize("place", [(committing, "insert"), (inbox, "storable"), (inbox, "authenticate")])
@pytest.mark.parametrize("door", ["view", "lane"])
def test_no_report_of_an_error_tells_the_token(
    by_url: AuthConfig,
    everything_logged: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    place: Any,
    door: str,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(*place, fail)
    frames = Frames()
    logging.getLogger().addHandler(frames)
    try:
        if door == "view":
            response = post(Client(raise_request_exception=False), f"{ADDRESS}/{TOKEN}")
            status, answered = response.status_code, response.content.decode()
        else:
            status, answered = by_lane(f"{ADDRESS}/{TOKEN}", monkeypatch)
    finally:
        logging.getLogger().removeHandler(frames)
    assert status == 503
    # The frames that were looked at are those that hold it.
    assert re.search(r"(request = Request|call = Call|proven = Proven)\(", "".join(frames.texts))
    assert TOKEN not in "".join(frames.texts)
    assert TOKEN not in everything_logged.text
    assert TOKEN not in answered


def by_lane(path: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Status and body of a POST as the web server that is shipped answers it."""
    if connection.in_atomic_block:
        monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)
    environ = RequestFactory().post(path, b"{}", "application/json").META
    status, _, body = rsgi.through(None, environ)
    return int(status[:3]), body.decode()


def test_a_request_does_not_tell_its_proof_by_its_repr() -> None:
    request = SignedRequest({"authorization": "Bearer hush"}, b"hush", "POST", "https://v.example/hush", "hush")
    assert "hush" not in repr(request)


# --- several ways at once ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "tail", "status"),
    [
        (lambda: signed(BODY), "", 200),
        (lambda: {"X-Token": "of the header"}, "", 200),
        (dict, f"/{TOKEN}", 200),
        (lambda: {"X-Token": "wrong"} | signed(BODY), "/wrong", 200),
        (lambda: signed(BODY, secret="wrong") | {"X-Token": "of the header"}, "", 200),
        (lambda: signed(BODY, secret="wrong") | {"X-Token": "wrong"}, "/wrong", 401),
        (lambda: {"X-Token": TOKEN}, "", 401),  # a secret serves the way it was entered for
        (dict, "/of the header", 401),
        (dict, "", 401),
    ],
)
def test_any_of_the_ways_that_are_on_is_enough(
    catalogue: None, client: Client, headers: Callable[[], dict[str, str]], tail: str, status: int
) -> None:
    add_way(BEARER, "of the header")
    add_way({"kind": "url_token"}, TOKEN)
    assert post(client, ADDRESS + tail, **headers()).status_code == status


def test_a_way_that_is_switched_off_proves_nothing(catalogue: None, client: Client) -> None:
    way = add_way(BEARER, "of the header")
    assert post(client, ADDRESS, **{"X-Token": "of the header"}).status_code == 200
    way.enabled = False
    way.save()
    registry.forget()
    assert post(client, ADDRESS, **{"X-Token": "of the header"}).status_code == 401


def test_a_refusal_names_the_way_that_was_tried(catalogue: None, client: Client) -> None:
    add_way(BEARER, "of the header")
    add_way({"kind": "url_token"}, TOKEN)
    post(client, f"{ADDRESS}/wrong")
    assert endpoint_row().last_refused_reason == "token_mismatch: the token in the URL is none of the stored secrets"


# --- no proof at all -----------------------------------------------------------------------------------------


@pytest.fixture
def url(catalogue: None) -> str:
    return reverse("admin:providers_endpoint_change", args=[endpoint_row().pk])


def test_an_endpoint_open_to_everyone_is_a_warning_wherever_it_shows(operator: Client, url: str) -> None:
    shown = [reverse("admin:providers_endpoint_changelist"), url, reverse("admin:index")]
    assert not [page for page in shown if "open to everyone" in text_of(operator.get(page))]
    add_way(NONE)
    assert not [page for page in shown if "open to everyone" not in text_of(operator.get(page))]
    page = text_of(operator.get(url))
    assert "Nobody has to prove anything: the scheme is <code>none</code>." in page
    assert "The other ways have no effect beside it." in page


def test_an_endpoint_open_to_everyone_is_a_warning_of_the_check(
    catalogue: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_registry(databases=["default"]) == []
    way = add_way(NONE)
    (warning,) = check_registry(databases=["default"])
    assert (warning.id, warning.level) == ("providers.W001", 30)
    assert "endpoint retell/default accepts deliveries without any proof" in warning.msg
    call_command("check", databases=["default"])
    assert "providers.W001" in capsys.readouterr().err
    way.enabled = False
    way.save()
    registry.forget()
    assert check_registry(databases=["default"]) == []


def test_a_proof_counts_beside_the_scheme_none(catalogue: None, client: Client) -> None:
    AuthConfig.objects.filter(endpoint=endpoint_row()).delete()
    add_way(NONE)
    way = add_way(BEARER, "of the header")
    assert post(client, ADDRESS).status_code == 200
    assert post(client, ADDRESS, b"{}", **{"X-Token": "of the header"}).status_code == 200
    assert way.secrets.get().last_used_at is not None


# --- in the admin --------------------------------------------------------------------------------------------


@pytest.fixture
def options(catalogue: None) -> None:
    Provider.objects.filter(slug="retell").update(
        auth_options=[
            {"name": "Header", "when": "Where a relay sets a header.", "scheme": BEARER},
            {"name": "URL", "when": "Where nothing can be set.", "scheme": {"kind": "url_token"}},
        ]
    )


def test_an_offered_way_is_added_by_one_choice_with_its_scheme(
    operator: Client, options: None, url: str, client: Client
) -> None:
    assert "Where a relay sets a header." in text_of(operator.get(url))
    data = filled(operator, url) | {"new_way": "Header", "new_secret": "of the header"}
    answer = operator.post(url, data)
    assert answer.status_code == 302, problems(answer)
    way = endpoint_row().auth_configs.get(name="Header")
    assert (way.scheme, way.secrets.get().value()) == (BEARER, "of the header")
    assert endpoint_row().auth_configs.count() == 2
    registry.forget()
    assert post(client, ADDRESS, **{"X-Token": "of the header"}).status_code == 200
    assert "X-Token" in text_of(operator.get(url))
    # What was added is offered no more; saved again as it is, nothing is added.
    assert "Where a relay sets a header." not in text_of(operator.get(url))
    assert "Where nothing can be set." in text_of(operator.get(url))
    operator.post(url, filled(operator, url))
    assert endpoint_row().auth_configs.count() == 2


def test_the_usual_way_can_be_added_again_after_it_was_deleted(operator: Client, options: None, url: str) -> None:
    endpoint_row().auth_configs.all().delete()
    operator.post(url, filled(operator, url) | {"new_way": "signature", "new_secret": SECRET})
    way = endpoint_row().auth_configs.get()
    assert (way.name, way.scheme) == ("signature", endpoint_row().provider.auth)
    assert way.secrets.get().value() == SECRET


def test_every_offered_way_of_the_catalogue_can_be_added(operator: Client) -> None:
    sync_catalog(("vapi", "assistable"))
    for row in Endpoint.objects.filter(slug="default"):
        page = reverse("admin:providers_endpoint_change", args=[row.pk])
        for option in row.provider.auth_options:
            answer = operator.post(page, filled(operator, page) | {"new_way": option["name"]})
            assert answer.status_code == 302, problems(answer)
            assert parse_scheme(row.auth_configs.get(name=option["name"]).scheme)
    assert AuthConfig.objects.filter(endpoint__slug="default").count() == 2 + 3 + 1


def test_a_url_is_made_and_shown_once(operator: Client, url: str, settings: Any, everything_logged: Any) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    way = add_way({"kind": "url_token"})
    new_url = reverse("admin:providers_endpoint_new_url", args=[endpoint_row().pk, way.pk])
    assert f'href="{new_url}"' in text_of(operator.get(url))
    assert operator.get(new_url).status_code == 200
    assert not way.secrets.exists()  # looking makes none

    answer = operator.post(new_url, {"label": "in March", "older_end": ""})
    secret = way.secrets.get()
    token = secret.value()
    assert f'value="https://voice.example.com{ADDRESS}/{token}"' in text_of(answer)
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert token not in repr(answer.cookies)
    assert len(token) >= 43  # 256 bits
    assert token not in secret.ciphertext
    assert post(Client(), f"{ADDRESS}/{token}").status_code == 200

    pages = [url, new_url, reverse("admin:index"), reverse("admin:providers_endpoint_changelist")]
    pages += [reverse("admin:providers_endpoint_history", args=[endpoint_row().pk])]
    pages += [reverse("admin:providers_secret_change", args=[secret.pk])]
    assert [page for page in pages if token in operator.get(page).content.decode()] == []
    made = Change.objects.filter(part__startswith="secret", verb="created")[0]
    assert made.object_id == str(endpoint_row().pk)
    assert token not in repr(list(Change.objects.values()))
    assert token not in everything_logged.text
    assert token not in repr(dict(operator.session))


@pytest.mark.parametrize(("choice", "old_status"), [("", 200), ("3600", 200), ("0", 401)])
def test_rotating_a_url_the_old_one_stays_as_long_as_chosen(
    operator: Client, by_url: AuthConfig, choice: str, old_status: int
) -> None:
    new_url = reverse("admin:providers_endpoint_new_url", args=[endpoint_row().pk, by_url.pk])
    operator.post(new_url, {"label": "", "older_end": choice})
    registry.forget()
    assert post(Client(), f"{ADDRESS}/{TOKEN}").status_code == old_status
    newest = by_url.secrets.order_by("-pk")[0]
    assert newest.valid_until is None
    assert post(Client(), f"{ADDRESS}/{newest.value()}").status_code == 200


def test_tokens_of_urls_are_never_typed(operator: Client, by_url: AuthConfig, url: str) -> None:
    answer = operator.post(url, filled(operator, url) | {"new_secret": "password1"})
    assert any("VoiceLens makes the tokens of URLs itself" in text for text in problems(answer))
    assert by_url.secrets.count() == 2


def test_an_endpoint_proved_by_its_url_alone_does_not_offer_the_bare_url(
    operator: Client, by_url: AuthConfig, url: str
) -> None:
    shown = text_of(operator.get(url))
    assert 'id="webhook-url"' not in shown
    assert "/webhook/retell/default/…" in shown
    by_url.secrets.all().delete()
    assert "make one with “New URL”" in text_of(operator.get(url))
    add_way(BEARER)
    shown = text_of(operator.get(url))
    assert 'id="webhook-url"' in shown
    assert "enter one, or make its URL with “New URL”" in shown


def test_a_url_is_made_for_its_own_endpoint_and_scheme_only(operator: Client, by_url: AuthConfig, url: str) -> None:
    other = Endpoint.objects.get(provider__slug="vcp", slug="default")
    answer = operator.post(reverse("admin:providers_endpoint_new_url", args=[other.pk, by_url.pk]))
    assert answer.status_code == 404
    way = add_way(BEARER)
    answer = operator.post(reverse("admin:providers_endpoint_new_url", args=[endpoint_row().pk, way.pk]))
    assert (answer.status_code, answer["Location"]) == (302, url)
    assert not way.secrets.exists()
    assert by_url.secrets.count() == 2


def test_ways_and_urls_are_for_those_who_may(by_url: AuthConfig, options: None, url: str) -> None:
    helper = User.objects.create_user("hans", is_staff=True)
    names = ("view_endpoint", "change_endpoint", "view_authconfig")
    helper.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(helper)
    new_url = reverse("admin:providers_endpoint_new_url", args=[endpoint_row().pk, by_url.pk])
    data = filled(browser, url)
    assert "new_way" not in data
    browser.post(url, data | {"new_way": "Header"})
    assert browser.post(new_url).status_code == 403
    assert Client().post(new_url).status_code == 302
    assert endpoint_row().auth_configs.count() == 1
    assert by_url.secrets.count() == 2


# --- addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("everywhere", "endpoint", "peer", "status"),
    [
        ([], [], "198.51.100.1", 200),
        (["198.51.100.0/24"], [], "198.51.100.1", 200),
        (["198.51.100.0/24"], [], "203.0.113.1", 401),
        (["198.51.100.0/24", "2001:db8::/32"], [], "2001:db8::7", 200),
        (["198.51.100.0/24", "2001:db8::/32"], [], "2001:db9::7", 401),
        ([], ["2001:db8::7"], "2001:db8:0:0::7", 200),
        ([], ["2001:db8::7"], "2001:db8::8", 401),
        ([], ["198.51.100.1"], "::ffff:198.51.100.1", 200),
        # Both lists must allow it.
        (["198.51.100.0/24"], ["198.51.100.1"], "198.51.100.1", 200),
        (["198.51.100.0/24"], ["198.51.100.1"], "198.51.100.2", 401),
        (["198.51.100.0/24"], ["203.0.113.1"], "203.0.113.1", 401),
        (["0.0.0.0/0"], [], "", 401),  # a socket without addresses
    ],
)
def test_only_listed_addresses_may_post(
    deliver: Any, client: Client, settings: Any, everywhere: list[str], endpoint: list[str], peer: str, status: int
) -> None:
    settings.ALLOWED_WEBHOOK_IPS = parse_networks(everywhere)
    Endpoint.objects.update(allowed_addresses=endpoint)
    registry.forget()
    client.defaults["REMOTE_ADDR"] = peer
    assert deliver(sample(ENDED)).status_code == status
    assert [row.reason for row in Refusal.objects.all()] == (["address_not_allowed"] if status == 401 else [])


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        (["10.0.0.0/8"], "198.51.100.1", 200),
        (["10.0.0.0/8"], "203.0.113.1, 198.51.100.1", 200),
        (["10.0.0.0/8"], "198.51.100.1, 203.0.113.1", 401),  # the sender wrote the first himself
        (["10.0.0.0/8"], "198.51.100.1, 10.0.0.2", 200),
        (["10.0.0.1"], "198.51.100.1, 10.0.0.2", 401),
        ([], "198.51.100.1", 401),
    ],
)
def test_behind_a_trusted_proxy_the_sender_s_own_address_counts(
    deliver: Any, client: Client, settings: Any, trusted: list[str], forwarded: str, status: int
) -> None:
    settings.TRUSTED_PROXIES = parse_networks(trusted)
    Endpoint.objects.update(allowed_addresses=["198.51.100.1"])
    registry.forget()
    client.defaults |= {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": forwarded}
    assert deliver(sample(ENDED)).status_code == status


def test_a_listed_address_alone_proves_nothing(deliver: Any, client: Client) -> None:
    Endpoint.objects.update(allowed_addresses=["198.51.100.1"])
    registry.forget()
    client.defaults["REMOTE_ADDR"] = "198.51.100.1"
    assert deliver(sample(ENDED), headers={}).status_code == 401


@pytest.mark.parametrize("entry", ["example.com", "10.0.0.1/8", "10.0.0"])
def test_a_list_in_the_environment_that_holds_no_address_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", f"192.0.2.7, 2001:db8::/32,{entry}")
    with pytest.raises(ImproperlyConfigured, match=f"TRUSTED_PROXIES: '{entry}' is neither"):
        _networks("TRUSTED_PROXIES")
    monkeypatch.setenv("TRUSTED_PROXIES", "192.0.2.7, 2001:db8::/32")
    assert [str(network) for network in _networks("TRUSTED_PROXIES")] == ["192.0.2.7/32", "2001:db8::/32"]
    monkeypatch.delenv("TRUSTED_PROXIES")
    assert _networks("TRUSTED_PROXIES") == []


def test_an_endpoint_s_list_is_checked_when_it_is_entered(operator: Client, url: str) -> None:
    for entered, problem in (('["198.51.100.1/24"]', "host bits"), ('"198.51.100.1"', "list"), ("[7]", "string")):
        answer = operator.post(url, filled(operator, url) | {"allowed_addresses": entered})
        assert problem in " ".join(problems(answer))
    operator.post(url, filled(operator, url) | {"allowed_addresses": '["198.51.100.1", "2001:db8::/32"]'})
    assert endpoint_row().allowed_addresses == ["198.51.100.1", "2001:db8::/32"]

"""How often the API answers a user or an address, and how many wrong passwords are looked at."""

import json
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from apps.ingest import limits as door
from apps.providers.engine.addresses import parse_networks
from voicelens import limits

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
JSON = "application/json"
RIGHT = {"username": "reader", "password": PASSWORD}
WRONG = {"username": "reader", "password": "wrong"}


@pytest.fixture
def go_on(settings, monkeypatch):
    """Turns the clock: call it with the seconds to go on. One process, whose clock it is."""
    settings.REDIS_URL = ""
    clock = [1_770_000_000.0]
    monkeypatch.setattr(limits, "time", SimpleNamespace(time=lambda: clock[0]))

    def turn(seconds):
        clock[0] += seconds

    return turn


@pytest.fixture(autouse=True)
def _nobody_guessed_yet():
    yield
    limits._guessers.clear()


def reader(name="reader"):
    made = get_user_model().objects.create_user(name, password=PASSWORD, is_staff=True)
    made.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return made


@pytest.fixture
def user():
    return reader()


def logged_in(user, **extra):
    client = Client(headers={"accept": JSON}, **extra)
    client.force_login(user)
    return client


def stranger(address="203.0.113.5"):
    return Client(REMOTE_ADDR=address, headers={"accept": JSON})


def asked(client, times=1, path="/api/messages"):
    return [client.get(path).status_code for _ in range(times)]


def token(client, body, **headers):
    return client.post("/api/token", json.dumps(body), JSON, headers=headers)


def assert_too_many(answer, wait_sec):
    assert answer.status_code == 429
    assert answer.json()["code"] == "HTTP_429"
    assert answer.headers["Retry-After"] == str(wait_sec)


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_user_asks_so_often_and_then_waits(settings, go_on, user):
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 30, 3
    client = logged_in(user)
    assert asked(client, 5) == [200, 200, 200, 429, 429]
    assert_too_many(client.get("/api/messages"), 2)
    go_on(2)
    assert asked(client, 2) == [200, 429]


def test_users_do_not_use_up_each_other_s_requests_wherever_they_are(settings, go_on, user):
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 1, 2
    assert asked(logged_in(user), 3) == [200, 200, 429]
    assert asked(logged_in(user, REMOTE_ADDR="198.51.100.9")) == [429]
    assert asked(logged_in(reader("another")), 3) == [200, 200, 429]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Token guessed"}])
def test_who_is_not_logged_in_is_counted_by_address(settings, go_on, user, headers):
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 1, 2
    statuses = [stranger().get("/api/messages", headers=headers).status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]
    assert asked(stranger(), path="/api/schema") == [429]
    assert asked(stranger("203.0.113.6"), path="/api/schema") == [200]
    assert asked(logged_in(user, REMOTE_ADDR="203.0.113.5")) == [200]


def test_webhooks_and_health_are_not_limited_with_it(settings, go_on, deliver, client):
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 1, 1
    assert [deliver({"n": n}, path="/api/webhook/retell").status_code for n in range(4)] == [200] * 4
    assert asked(client, 4, "/api/health") == [200] * 4


def test_zero_limits_nobody(settings, go_on, user):
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 0, 1
    assert asked(logged_in(user), 4) == [200] * 4


def test_the_api_answers_while_redis_is_away(settings, user, caplog):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 1, 3
    assert asked(logged_in(user), 4) == [200] * 3 + [429]
    assert token(stranger(), RIGHT).status_code == 200
    assert caplog.text.count("Redis cannot be reached") == 1


def test_processes_share_the_count(settings, user):
    settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST = 1, 4
    assert asked(logged_in(user), 2) == [200] * 2
    door.forget()  # another process
    assert asked(logged_in(user), 3) == [200, 200, 429]


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_are_not_asked_for_without_end(settings, go_on, user):
    settings.TOKEN_REQUESTS_PER_MIN = 3
    assert [token(stranger(), WRONG).status_code for _ in range(3)] == [400] * 3
    assert_too_many(token(stranger(), RIGHT), 20)
    go_on(20)
    assert token(stranger(), RIGHT).status_code == 200


def test_each_address_has_its_own_tries_and_invents_none(settings, go_on):
    settings.TOKEN_REQUESTS_PER_MIN = 3

    def tried(forwarded):
        return token(stranger("127.0.0.1"), {}, **{"x-forwarded-for": forwarded}).status_code

    assert [tried(f"192.0.2.{number}") for number in range(4)] == [400, 400, 400, 429]
    settings.TRUSTED_PROXIES = parse_networks(["127.0.0.1"])
    assert [tried("192.0.2.77") for _ in range(4)] == [400, 400, 400, 429]
    assert tried("192.0.2.78") == 400


def test_zero_gives_no_token(settings, user):
    settings.TOKEN_REQUESTS_PER_MIN = 0
    assert token(stranger(), RIGHT).status_code == 429


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.fixture
def three_wrong(settings, go_on, user):
    settings.LOGIN_FAILURES_PER_MIN, settings.LOGIN_FAILURES_BURST = 1, 2
    return go_on


def admin_login(client, body):
    return client.post("/admin/login/?next=/admin/", body)


def test_the_admin_s_login_looks_at_so_many_wrong_passwords(three_wrong):
    client = Client(REMOTE_ADDR="203.0.113.5")
    for _ in range(3):
        assert "correct username and password" in admin_login(client, WRONG).content.decode()
    told = admin_login(client, RIGHT).content.decode()
    assert "Too many wrong passwords for this user from your address. Try again in 60 seconds." in told
    assert "_auth_user_id" not in client.session
    three_wrong(60)
    assert admin_login(client, RIGHT).status_code == 302


def test_the_api_s_logins_count_with_it(three_wrong):
    client = stranger()
    for _ in range(2):
        admin_login(client, WRONG)
    assert token(client, WRONG).status_code == 400
    assert_too_many(token(client, RIGHT), 60)
    assert "Too many wrong passwords" in client.post("/api/session/login/", RIGHT).content.decode()


def test_another_user_and_another_address_may_still_log_in(three_wrong):
    reader("another")
    client = stranger()
    for spelling in ("reader", "Reader", "READER"):
        assert token(client, {"username": spelling, "password": "wrong"}).status_code == 400
    assert token(client, RIGHT).status_code == 429
    assert token(client, {"username": "another", "password": PASSWORD}).status_code == 200
    assert token(stranger("203.0.113.6"), RIGHT).status_code == 200


def test_right_passwords_are_not_counted(three_wrong):
    assert [token(stranger(), RIGHT).status_code for _ in range(8)] == [200] * 8


def test_a_user_that_is_not_there_is_told_the_same(three_wrong):
    nobody = {"username": "nobody", "password": "wrong"}
    assert [token(stranger(), nobody).status_code for _ in range(4)] == [400] * 3 + [429]


def test_zero_looks_at_every_password(settings, three_wrong):
    settings.LOGIN_FAILURES_PER_MIN = 0
    assert [token(stranger(), WRONG).status_code for _ in range(6)] == [400] * 6


def test_what_was_typed_is_not_logged(three_wrong, caplog):
    typed = {"username": "s3cret-typed-as-a-name", "password": "wrong"}
    for _ in range(4):
        token(stranger(), typed)
    assert "too many wrong passwords for one user from 203.0.113.5" in caplog.text
    assert "s3cret" not in caplog.text

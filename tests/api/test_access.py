"""Who may read the API, with what login, and what no sender of anything can do to it."""

import json

import pytest
from django.db import DatabaseError
from django.test import Client
from rest_framework.authtoken.models import Token

from apps.ingest.api import MessageList
from tests.api.asking import JSON, PASSWORD, READING, assert_error, post

pytestmark = pytest.mark.django_db


# --- login ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", READING)
def test_reading_needs_a_login(stranger, address):
    answer = stranger.get(address)
    assert_error(answer, 401, "HTTP_401")
    assert answer.headers["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("address", ["/api/webhook-test", "/api/webhook-signature-test"])
def test_trials_need_a_login(stranger, address):
    assert_error(post(stranger, address, {}), 401, "HTTP_401")


def test_the_description_needs_no_login(stranger):
    # The description is no secret; what it describes needs a login.
    assert stranger.get("/api/schema", headers={"accept": "*/*"}).status_code == 200
    assert stranger.get("/api/docs", headers={"accept": "text/html"}).status_code == 200


def test_health_needs_no_login(stranger):
    assert stranger.get("/api/health").status_code == 200


def test_a_token_is_given_for_a_password_and_opens_the_api(stranger, user_with_password):
    answer = post(stranger, "/api/token", {"username": "reader", "password": PASSWORD})
    token = answer.json()["token"]
    assert Token.objects.get(user=user_with_password).key == token
    assert stranger.get("/api/messages", headers={"authorization": f"Token {token}"}).status_code == 200


def test_an_old_token_keeps_nobody_from_a_new_one(stranger, user_with_password):
    body = json.dumps({"username": "reader", "password": PASSWORD})
    answer = stranger.post("/api/token", body, JSON, headers={"authorization": "Token gone"})
    assert answer.status_code == 200
    assert_error(stranger.get("/api/messages", headers={"authorization": "Token gone"}), 401, "HTTP_401")


@pytest.mark.parametrize(
    ("body", "code", "field_path"),
    [
        ({"username": "reader", "password": "wrong"}, "HTTP_400", "$"),
        ({"username": "reader"}, "VCP_E005", "$.password"),
        ({"username": "reader", "password": None}, "VCP_E005", "$.password"),
        ({"username": ["reader"], "password": PASSWORD}, "VCP_E004", "$.username"),
    ],
)
def test_a_token_is_refused_with_the_reason(stranger, user_with_password, body, code, field_path):
    told = assert_error(post(stranger, "/api/token", body), 400, code, field_path)
    assert "wrong" not in json.dumps(told)


def test_a_session_posts_only_with_its_csrf_token(user):
    client = Client(enforce_csrf_checks=True, headers={"accept": JSON})
    client.force_login(user)
    assert_error(post(client, "/api/webhook-test", {}), 403, "HTTP_403")


# --- hostile input --------------------------------------------------------------------------------------------

HOSTILE = [
    b"", b"{", b"null", b"[]", b'"text"', b"7", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"1e400",
    b'{"provider": "\\u0000"}', b"9" * 5000, b'{"provider": ' + b"9" * 5000,
    b'{"username": "\\u0000", "password": "\\u0000"}', b'{"payload": "' + b"x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("address", ["/api/webhook-test", "/api/webhook-signature-test", "/api/token"])
def test_no_body_makes_the_api_stumble(api, providers, address, body):
    answer = post(api, address, body)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("HTTP_400", "VCP_E004", "VCP_E005")


@pytest.mark.parametrize("address", ["/api/webhook-test", "/api/token"])
def test_a_body_above_the_limit_is_refused(api, settings, address):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert post(api, address, b'"' + b"x" * 98 + b'"').status_code == 400
    assert_error(post(api, address, b'"' + b"x" * 99 + b'"'), 413, "HTTP_413")


def test_another_content_type_is_refused(api):
    assert_error(api.post("/api/webhook-test", b"a=b", "application/x-www-form-urlencoded"), 415, "HTTP_415")


@pytest.mark.parametrize("payload", [{"call": {"call_cost": {"combined_cost": 1e308}}}, {"call": {"duration_ms": -1}}])
def test_numbers_at_the_edge_are_told_and_not_stumbled_over(api, providers, payload):
    payload = {"event": "call_ended", **payload}
    assert post(api, "/api/webhook-test", {"provider": "retell", "payload": payload}).status_code == 200


def test_a_fault_of_ours_is_told_dully(user, monkeypatch):
    def fail(self):
        raise DatabaseError("secret table is gone")

    monkeypatch.setattr(MessageList, "get_queryset", fail)
    client = Client(raise_request_exception=False, headers={"accept": JSON})
    client.force_login(user)
    told = assert_error(client.get("/api/messages"), 500, "HTTP_500")
    assert "table" not in json.dumps(told)


def test_what_django_refuses_itself_is_told_in_the_form_of_errors(settings):
    settings.ALLOWED_HOSTS = ["voicelens.test"]
    assert_error(Client().get("/api/messages", headers={"host": "elsewhere.test"}), 400, "HTTP_400")
    assert Client().get("/health", headers={"host": "elsewhere.test"}).headers["Content-Type"].startswith("text/html")

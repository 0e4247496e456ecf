"""The API through its front door: login, reading, trials, the webhook's second door, errors, the description."""

import base64
import json
import re
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework.authtoken.models import Token

from apps.analytics import rollups
from apps.analytics.models import DailyProviderStats
from apps.ingest import committing
from apps.ingest.api import MessageList
from apps.ingest.models import Artifact, InboundEvent, Message
from apps.ingest.operations import correct
from apps.ingest.tasks import drain
from apps.providers import catalog, publishing, registry
from apps.providers.engine.signatures import sign
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret
from apps.providers.sync import sync_catalog
from tests.synced import synced
from vcp import IMPLEMENTATION, validate
from voicelens import api as front

pytestmark = pytest.mark.django_db

CALL = "call_b1e4c07a95d24f6f8e2a77d0c31"  # its samples tell everything a call can tell
NOBODY = "00000000-0000-4000-8000-000000000000"
PASSWORD = "correct horse battery"
JSON = "application/json"


@pytest.fixture
def providers():
    """The catalogue in the database; only the demo endpoints have a secret, as on a new machine."""
    cache.clear()  # the registry's stamp was rolled back after other tests and comes again
    synced(retell=None, vcp=None)


@pytest.fixture
def user():
    reader = get_user_model().objects.create_user("reader")
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return reader


@pytest.fixture
def user_with_password(user):
    user.set_password(PASSWORD)  # hashing one takes its time, so only where it is needed
    user.save()
    return user


@pytest.fixture
def api(user):
    client = Client(headers={"accept": JSON})
    client.force_login(user)
    return client


@pytest.fixture
def stranger():
    return Client(headers={"accept": JSON})


@pytest.fixture
def calls(providers, stranger):
    """The calls of Retell's samples, delivered and worked off."""
    for payload in catalog.samples("retell").values():
        assert deliver(stranger, json.dumps(payload).encode()).status_code == 200
    drain()


def demo_secret():
    return registry.endpoint("retell", "demo").auths[0].secrets[0].secret.value


def signed(body, now=None):
    return sign(registry.endpoint("retell", "demo").auths[0].scheme, demo_secret(), body, now or timezone.now())


def deliver(client, body, door="/api/webhook/retell/demo", **extra):
    return client.post(door, data=body, content_type=JSON, headers={**signed(body), **extra})


def post(client, address, body):
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(address, data=data, content_type=JSON)


def assert_error(answer, status, code, field_path=None):
    """The answer is the error object with this status, code and place; returns it."""
    told = answer.json()
    assert (answer.status_code, told["code"], told.get("field_path")) == (status, code, field_path)
    assert told["implementation"] == IMPLEMENTATION
    assert told["message"]
    assert told["context"]["trace_id"] == answer.headers["X-Trace-Id"]
    return told


def walk(client, address):
    """All rows of a list, page by page."""
    rows = []
    while address:
        page = client.get(address).json()
        rows += page["results"]
        address = page["next"]
    return rows


# --- login ----------------------------------------------------------------------------------------------------

READING = [
    "/api/", "/api/messages", f"/api/messages/{NOBODY}", f"/api/messages/{NOBODY}/vcp", "/api/deliveries",
    f"/api/deliveries/{NOBODY}", f"/api/artifacts/{NOBODY}", "/api/providers", "/api/providers/retell",
    "/api/analytics/daily", "/api/comparison-matrix", "/api/vcp-example/retell",
]  # fmt: skip


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


# --- calls ----------------------------------------------------------------------------------------------------


def test_calls_are_listed_newest_first_without_their_documents(api, calls):
    page = api.get("/api/messages").json()
    rows = page["results"]
    assert page["next"] is None
    assert [row["id"] for row in rows] == [str(pk) for pk in Message.objects.values_list("id", flat=True)]
    assert not {"vcp", "corrections"} & set(rows[0])
    row = next(row for row in rows if row["call_id"] == CALL)
    assert (row["provider"], row["environment"], row["stage"], row["status"]) == (
        "retell",
        "demo",
        "analysed",
        "success",
    )
    assert (row["duration_sec"], row["cost_usd"], row["user_satisfaction_score"]) == (35, 0.07875, 0.8)


@pytest.mark.parametrize("at_once", [False, True])
def test_pages_hold_every_call_once_in_order(api, calls, at_once):
    if at_once:
        Message.objects.update(start_time=datetime(2026, 3, 1, tzinfo=UTC))
        rollups.rebuild()
    expected = [str(pk) for pk in Message.objects.order_by("-start_time", "-id").values_list("id", flat=True)]
    assert len(expected) > 2
    assert [row["id"] for row in walk(api, "/api/messages?page_size=1")] == expected


def test_a_call_that_comes_between_two_pages_moves_nothing(api, calls):
    expected = [str(pk) for pk in Message.objects.values_list("id", flat=True)]
    first = api.get("/api/messages?page_size=2").json()
    body = json.dumps({"event": "call_ended", "call": {"call_id": "later", "start_timestamp": 1893456000000}}).encode()
    deliver(api, body)
    drain()
    assert [row["id"] for row in first["results"] + walk(api, first["next"])] == expected


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("provider=retell", {"provider": "retell"}),
        ("provider=RETELL", {"provider": "retell"}),
        ("provider=nobody", {"provider": "nobody"}),
        ("account=default", {"account": "default"}),
        ("account=other", {"account": "other"}),
        ("environment=demo", {"environment": "demo"}),
        ("environment=live", {"environment": "live"}),
        ("status=success", {"status": "success"}),
        ("direction=inbound", {"direction": "inbound"}),
        ("stage=analysed", {"stage": "analysed"}),
        (f"call_id={CALL}", {"call_id": CALL}),
        ("status=success&stage=analysed", {"status": "success", "stage": "analysed"}),
        ("provider=&start_from=&environment=", {}),
    ],
)
def test_calls_are_filtered(api, calls, query, condition):
    expected = {str(pk) for pk in Message.objects.filter(**condition).values_list("id", flat=True)}
    assert {row["id"] for row in api.get(f"/api/messages?{query}").json()["results"]} == expected


def test_ranges_of_time_include_their_start_and_not_their_end(api, calls):
    message = Message.objects.get(call_id=CALL)
    at = message.start_time.isoformat().replace("+00:00", "Z")
    after = (message.start_time + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    ids = lambda query: [row["call_id"] for row in api.get(f"/api/messages?{query}").json()["results"]]  # noqa: E731
    assert ids(f"start_from={at}&start_to={after}") == [CALL]
    assert CALL not in ids(f"start_to={at}")
    assert CALL not in ids(f"start_from={after}")


@pytest.mark.parametrize(
    ("query", "code", "field_path"),
    [
        ("start_from=yesterday", "VCP_E004", "$.start_from"),
        ("start_to=2026-13-01", "VCP_E004", "$.start_to"),
        ("start_from=0001-01-01T00:00:00%2B14:00", "VCP_E004", "$.start_from"),
        ("start_to=9999-12-31T23:59:59-14:00", "VCP_E004", "$.start_to"),
        ("environment=prod", "HTTP_400", "$.environment"),
        ("status=great", "HTTP_400", "$.status"),
        ("direction=up", "HTTP_400", "$.direction"),
        ("call_id=%00", "HTTP_400", "$.call_id"),
        ("provider=%00", "HTTP_400", "$.provider"),
        ("page_size=0", "VCP_E004", "$.page_size"),
        ("page_size=501", "VCP_E004", "$.page_size"),
        ("page_size=%D9%A3", "VCP_E004", "$.page_size"),
        ("page_size=many", "VCP_E004", "$.page_size"),
        ("cursor=nonsense", "VCP_E004", "$.cursor"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused_naming_the_field(api, query, code, field_path):
    told = assert_error(api.get(f"/api/messages?{query}"), 400, code, field_path)
    assert "great" not in told["message"]


def test_several_findings_are_all_told(api):
    told = assert_error(api.get("/api/messages?start_from=x&start_to=y"), 400, "VCP_E004", "$.start_from")
    assert [error["field_path"] for error in told["context"]["errors"]] == ["$.start_from", "$.start_to"]


CURSORS = [
    [], ["x"], ["2026-01-01T00:00:00+00:00"], ["2026-01-01T00:00:00", NOBODY], ["0001-01-01T00:00:00+14:00", NOBODY],
    ["2026-01-01T00:00:00+00:00", "no id"], ["2026-01-01T00:00:00+00:00", "\x00"], [1, 2], {"a": 1}, None, "ab",
]  # fmt: skip


@pytest.mark.parametrize("values", CURSORS)
def test_a_forged_cursor_is_refused(api, values):
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    assert_error(api.get(f"/api/messages?cursor={cursor}"), 400, "VCP_E004", "$.cursor")


@pytest.mark.parametrize("value", ["1" * 30, "-" + "1" * 30, "1" * 5000, "one", "1.5"])
def test_a_cursor_beyond_the_column_is_refused(api, value):
    cursor = base64.urlsafe_b64encode(json.dumps([value]).encode()).decode()
    assert_error(api.get(f"/api/deliveries?cursor={cursor}"), 400, "VCP_E004", "$.cursor")


def test_lists_take_as_many_queries_for_many_rows_as_for_one(api, calls, django_assert_max_num_queries):
    for address in ("/api/messages", "/api/deliveries", "/api/providers"):
        for size in (1, 500):
            with django_assert_max_num_queries(8):  # two of them ask for rights
                assert api.get(f"{address}?page_size={size}").status_code == 200


def test_one_call_takes_few_queries_and_does_not_read_bodies(api, calls, django_assert_max_num_queries):
    message = Message.objects.get(call_id=CALL)
    assert message.call_key.events.count() > 1
    with django_assert_max_num_queries(8) as seen:
        assert api.get(f"/api/messages/{message.pk}").status_code == 200
    assert not [query for query in seen.captured_queries if '"inbound_events"."body",' in query["sql"]]


def test_one_call_tells_its_message_its_deliveries_and_where_each_field_is_from(api, calls):
    message = Message.objects.get(call_id=CALL)
    told = api.get(f"/api/messages/{message.pk}").json()
    assert told["vcp"] == message.vcp
    assert told["corrections"] == []
    assert told["mapping_version"] == 1
    assert [event["delivery_id"] for event in told["events"]] == [
        str(pk) for pk in message.call_key.events.order_by("id").values_list("delivery_id", flat=True)
    ]
    analysed = next(event for event in told["events"] if event["event"] == "call_analyzed")
    summary = next(field for field in told["fields"] if field["target"] == "hcr.summary")
    rule = message.mapping_version.rules.all()[summary["rule"]]
    assert summary["source"] == rule.source == "call.call_analysis.call_summary"
    assert rule.target == "hcr.summary"
    assert (summary["delivery_id"], summary["event"], summary["basis"]) == (
        analysed["delivery_id"],
        "call_analyzed",
        "observed",
    )
    # Both ended and analysed tell the times; the higher rank lies on top.
    assert next(field for field in told["fields"] if field["target"] == "call.end_time")["event"] == "call_analyzed"


def test_a_correction_shows(api, calls):
    message = Message.objects.get(call_id=CALL)
    correct(message, {"hcr.summary": "Told by a person."}, "ann")
    told = api.get(f"/api/messages/{message.pk}").json()
    assert told["vcp"]["vcp_payload"]["hcr"]["summary"] == "Told by a person."
    assert [(item["path"], item["author"]) for item in told["corrections"]] == [("hcr.summary", "ann")]


def test_the_message_alone_is_exactly_what_is_stored(api, calls):
    message = Message.objects.get(call_id=CALL)
    answer = api.get(f"/api/messages/{message.pk}/vcp")
    assert answer.json() == message.vcp
    assert validate(answer.content, now=timezone.now()).ok


def test_the_references_of_a_message_lead_to_deliveries_and_artifacts(api, calls):
    message = Message.objects.get(call_id=CALL)
    references = message.vcp["vcp_payload"]["artifacts"]
    delivery = api.get(references["provider_raw_payload_ref"].replace("internal://", "/api/")).json()
    assert delivery["ref"] == references["provider_raw_payload_ref"]
    assert json.loads(delivery["body"]["text"])["call"]["call_id"] == CALL
    artifact = api.get(references["transcript_ref"].replace("internal://", "/api/")).json()
    assert (artifact["ref"], artifact["kind"], artifact["call_id"]) == (
        references["transcript_ref"],
        "transcript",
        CALL,
    )
    assert artifact["content"] == Artifact.objects.get(pk=artifact["id"]).content
    assert artifact["content"][0]["speaker"] == "agent"


@pytest.mark.parametrize(
    "address",
    [
        f"/api/messages/{NOBODY}",
        f"/api/messages/{NOBODY}/vcp",
        f"/api/deliveries/{NOBODY}",
        f"/api/artifacts/{NOBODY}",
        "/api/messages/7",
        "/api/messages/%00",
        "/api/providers/%00",
        "/api/nothing/here",
        "/api/nothing/here/",
        "/api/webhook",
    ],
)
def test_what_is_not_there_is_404_in_the_form_of_errors(api, providers, address):
    assert_error(api.get(address), 404, "HTTP_404")


def test_a_slash_at_the_end_does_no_harm(api, calls):
    assert api.get("/api/messages/").json() == api.get("/api/messages").json()
    assert api.get("/api/docs/", headers={"accept": "text/html"}).status_code == 200
    assert post(api, "/api/webhook-test/", {}).status_code == 400


# --- deliveries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ("state=processed", {"state": "processed"}),
        ("state=failed", {"state": "failed"}),
        ("provider=Retell", {"provider": "retell"}),
        ("event=call_analyzed", {"event": "call_analyzed"}),
        (f"call_id={CALL}", {"call_id": CALL}),
        ("received_to=2026-01-01", {"received_at__year": 1999}),
        ("received_from=2026-01-01", {}),
    ],
)
def test_deliveries_are_filtered_newest_first(api, calls, query, condition):
    expected = InboundEvent.objects.filter(**condition).order_by("-id").values_list("delivery_id", flat=True)
    rows = walk(api, f"/api/deliveries?page_size=2&{query}")
    assert [row["delivery_id"] for row in rows] == [str(pk) for pk in expected]
    assert not [row for row in rows if "body" in row]


def test_a_delivery_tells_its_headers_without_the_signature_and_its_report(api, calls):
    row = InboundEvent.objects.filter(event="call_analyzed", call_id=CALL).get()
    answer = api.get(f"/api/deliveries/{row.delivery_id}")
    told = answer.json()
    assert told["headers"]["content-type"] == JSON
    assert "signature" not in answer.content.decode().lower()
    assert (told["endpoint"], told["state"], told["error"], told["mapping_version"]) == ("demo", "processed", None, 1)
    assert told["report"] == row.report
    assert (told["body_size"], told["body_sha256"]) == (row.body_size, row.body_sha256)


def test_a_failed_delivery_tells_why_as_an_error_object(api, providers):
    body = json.dumps({"event": "call_ended"}).encode()
    delivery_id = deliver(api, body).json()["delivery_id"]
    drain()
    told = api.get(f"/api/deliveries/{delivery_id}").json()
    assert told["state"] == "failed"
    error = told["error"]
    assert (error["code"], error["field_path"], error["provider"]) == ("VCP_E005", "$.call", "retell")
    assert error["context"]["trace_id"] == told["trace_id"]
    assert api.get("/api/deliveries?state=failed").json()["results"][0]["error"] == error


def test_a_body_that_is_no_text_is_told_in_base64(api, providers):
    body = b"\xff\x00 not text"
    delivery_id = deliver(api, body).json()["delivery_id"]
    drain()
    told = api.get(f"/api/deliveries/{delivery_id}").json()["body"]
    assert told["encoding"] == "base64"
    assert base64.b64decode(told["text"]) == body


# --- the webhook's second door --------------------------------------------------------------------------------

BODY = json.dumps({"event": "call_started", "call": {"call_id": "c1", "start_timestamp": 1773684000123}}).encode()


@pytest.mark.parametrize("door", ["/api/webhook/retell/demo", "/api/webhook/retell/demo/", "/api/webhook/Retell/demo"])
def test_the_second_door_stores_a_delivery_once(stranger, providers, door):
    answer = deliver(stranger, BODY, door)
    told = answer.json()
    assert (answer.status_code, told["success"], told["duplicate"]) == (200, True, False)
    assert answer.headers["X-Delivery-Id"] == told["delivery_id"]
    assert deliver(stranger, BODY, "/webhook/retell/demo").json()["duplicate"] is True
    assert bytes(InboundEvent.objects.get().body) == BODY


@pytest.mark.parametrize("accept", ["*/*", "text/html", "image/png", "", "nonsense"])
def test_no_wish_for_a_content_type_makes_the_second_door_refuse(stranger, providers, accept):
    answer = deliver(stranger, BODY, accept=accept)
    assert answer.status_code == 200
    assert answer.json()["success"] is True


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_the_second_door_reads_the_bytes_whatever_they_are_called(stranger, providers, content_type):
    answer = stranger.post("/api/webhook/retell/demo", BODY, content_type, headers=signed(BODY))
    assert answer.status_code == 200
    assert bytes(InboundEvent.objects.get().body) == BODY


def test_a_logged_in_browser_needs_no_csrf_token_at_the_second_door(user, providers):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert deliver(client, BODY).status_code == 200


def same_at_both_doors(client, path, **request):
    """The status and the error object that both doors give."""
    answers = [client.post(f"{prefix}{path}", **request) for prefix in ("/webhook", "/api/webhook")]
    told = [{**answer.json(), "context": None} for answer in answers]
    assert answers[0].status_code == answers[1].status_code
    assert told[0] == told[1]
    return answers[1]


def test_both_doors_refuse_alike(stranger, providers):
    send = {"data": BODY, "content_type": JSON}
    assert_error(same_at_both_doors(stranger, "/retell/demo", **send), 401, "HTTP_401")
    assert_error(same_at_both_doors(stranger, "/retell", **send), 401, "HTTP_401")
    assert_error(same_at_both_doors(stranger, "/nobody", **send), 404, "VCP_E002")
    assert_error(same_at_both_doors(stranger, "/retell/demo", **send, headers=signed(BODY + b" ")), 401, "HTTP_401")
    Provider.objects.update(body_limit_bytes=1024)
    for provider in Provider.objects.all():
        provider.save()  # the registry hears of saves
    registry.forget()
    large = b" " * 1025
    answer = same_at_both_doors(stranger, "/retell/demo", data=large, content_type=JSON, headers=signed(large))
    assert_error(answer, 413, "HTTP_413")
    assert not InboundEvent.objects.exists()


def test_both_doors_say_503_when_nothing_can_be_stored(stranger, providers, monkeypatch):
    def fail(row):
        raise OperationalError("the disk is full")

    monkeypatch.setattr(committing, "insert", fail)
    answer = same_at_both_doors(stranger, "/retell/demo", data=BODY, content_type=JSON, headers=signed(BODY))
    assert_error(answer, 503, "HTTP_503")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_the_second_door_takes_posts_only(stranger, providers, method):
    answer = getattr(stranger, method)("/api/webhook/retell/demo")
    told = assert_error(answer, 405, "HTTP_405")
    assert told["message"] == stranger.get("/webhook/retell/demo").json()["message"]
    assert "POST" in answer.headers["Allow"]


# --- providers ------------------------------------------------------------------------------------------------


def test_providers_are_listed_with_the_published_names(api, providers):
    rows = {row["slug"]: row for row in api.get("/api/providers").json()["results"]}
    assert sorted(rows) == ["retell", "vcp"]
    assert rows["retell"] | {"last_updated": ""} == {
        "slug": "retell",
        "name": "Retell AI",
        "company": "Retell AI",
        "website": "https://www.retellai.com",
        "docs_url": "https://docs.retellai.com",
        "api_base_url": "https://api.retellai.com",
        "status_page": "https://status.retellai.com",
        "changelog_url": "https://www.retellai.com/changelog",
        "rss_feed": "https://github.com/RetellAI/retell-python-sdk/releases.atom",
        "webhook_auth": {
            "method": "hmac_sha256",
            "header_name": "X-Retell-Signature",
            "secret_key_required": True,
            "ip_addresses": ["100.20.5.228"],
            "example": "v=<timestamp>,d=<signature>",
        },
        "supported_events": ["call_started", "call_progress", "call_ended", "call_analyzed"],
        "mapping_rules_count": len(catalog.load("retell").mapping.rules),
        "enabled": True,
        "last_updated": "",
    }


@pytest.mark.parametrize(
    ("scheme", "addresses", "method", "header", "required"),
    [
        ({"kind": "token"}, [], "bearer_token", "Authorization", True),
        ({"kind": "token", "header": "X-Key"}, [], "api_key_header", "X-Key", True),
        ({"kind": "hmac", "header": "X-S", "algorithm": "sha512"}, [], "signature_header", "X-S", True),
        ({"kind": "url_token"}, [], "url_token", None, True),
        ({"kind": "none", "reason": "unsigned"}, [], "none", None, False),
        ({"kind": "none", "reason": "unsigned"}, ["192.0.2.1"], "ip_whitelist", None, False),
    ],
)
def test_the_way_of_proof_is_told_in_the_published_words(api, providers, scheme, addresses, method, header, required):
    provider = Provider.objects.get(slug="retell")
    provider.auth, provider.source_addresses = scheme, addresses
    provider.save()
    told = api.get("/api/providers/retell").json()["webhook_auth"]
    assert (told["method"], told["header_name"], told["secret_key_required"]) == (method, header, required)
    assert told["ip_addresses"] == addresses


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("call_analyzed", True),
        ("transfer_started", True),  # a glob of the event table
        ("call_progress", True),  # the word of VoiceLens
        ("chat_started", False),  # in the table, but ignored
        ("ignored", False),
        ("nothing", False),
        ("%00", False),
    ],
)
def test_providers_are_found_by_event(api, providers, event, expected):
    slugs = [row["slug"] for row in api.get(f"/api/providers?event={event}").json()["results"]]
    assert ("retell" in slugs) is expected


def test_providers_come_in_pages(api, providers):
    assert [row["slug"] for row in walk(api, "/api/providers?page_size=1")] == ["retell", "vcp"]


@pytest.mark.parametrize("name", ["retell", "Retell", "RETELL"])
def test_a_provider_tells_its_events_its_mapping_and_its_endpoints(api, providers, name):
    told = api.get(f"/api/providers/{name}").json()
    mapping = catalog.load("retell").mapping
    assert [row["event"] for row in told["webhook_schemas"]] == [event.name for event in mapping.events]
    analysed = next(row for row in told["webhook_schemas"] if row["event"] == "call_analyzed")
    assert (analysed["kind"], analysed["disposition"], analysed["rank"]) == ("call_analyzed", "map", 40)
    order = {row["event"]: row["order"] for row in told["webhook_schemas"]}
    assert (order["call_started"], order["call_ended"], order["call_analyzed"], order["chat_*"]) == (
        "1_pre_call",
        "2_post_call",
        "3_post_call_analysis",
        None,
    )
    assert analysed["required"] == ["call"]
    assert analysed["example"]["event"] == "call_analyzed"
    assert [rule["source"] for rule in told["vcp_mapping_rules"]["rules"]] == [rule.source for rule in mapping.rules]
    assert len(told["vcp_mapping_rules"]["decisions"]) == len(mapping.decisions)
    assert (told["mapping_version"]["number"], told["mapping_version"]["origin"]) == (1, "catalogue")
    by_url = {row["url"]: row for row in told["endpoints"]}
    default, demo = by_url[Endpoint(provider=Provider(slug="retell")).url], by_url[_demo().url]
    assert (default["environment"], default["account"], default["has_secret"]) == ("live", "default", False)
    assert (demo["environment"], demo["enabled"], demo["has_secret"]) == ("demo", True, True)


def _demo():
    return Endpoint.objects.get(provider__slug="retell", slug="demo")


def test_a_secret_of_the_environment_counts_as_entered(api, providers, settings):
    settings.WEBHOOK_SECRETS = {"retell": ["from the environment"]}
    answer = api.get("/api/providers/retell")
    assert [row["has_secret"] for row in answer.json()["endpoints"]] == [True, True]
    assert "from the environment" not in answer.content.decode()


def test_an_unknown_provider_is_404_in_the_form_of_errors(api, providers):
    for address in ("/api/providers/nobody", "/api/vcp-example/nobody"):
        assert_error(api.get(address), 404, "VCP_E002")


def test_no_answer_of_the_api_holds_a_secret(api, calls):
    secrets = [secret.value() for secret in Secret.objects.all()]
    message = Message.objects.get(call_id=CALL)
    delivery = message.call_key.events.first()
    addresses = [address for address in READING if NOBODY not in address]
    addresses += [f"/api/messages/{message.pk}", f"/api/deliveries/{delivery.delivery_id}", "/api/deliveries"]
    for address in addresses:
        text = api.get(address).content.decode()
        assert not [secret for secret in secrets if secret in text]


def test_a_provider_without_a_published_mapping_has_none_to_show(api, providers):
    Provider.objects.create(slug="newcomer", name="Newcomer", auth={"kind": "token"})
    told = api.get("/api/providers/newcomer").json()
    assert (told["mapping_version"], told["webhook_schemas"], told["mapping_rules_count"]) == (None, [], 0)
    assert "newcomer" in [row["slug"] for row in api.get("/api/providers").json()["results"]]


def test_a_provider_is_kept_in_the_cache_and_a_change_shows_at_once(api, providers, django_assert_max_num_queries):
    first = api.get("/api/providers/retell").json()
    assert cache.get("provider:retell")["document"]["name"] == "Retell AI"
    with django_assert_max_num_queries(6):  # session, user, rights of user and groups, stamp, endpoints
        assert api.get("/api/providers/retell").json() == first
    provider = Provider.objects.get(slug="retell")
    provider.name = "Renamed"
    provider.save()
    assert api.get("/api/providers/retell").json()["name"] == "Renamed"
    draft = publishing.draft_of(provider.published)
    draft.rules.last().delete()
    event = draft.webhook_schemas.get(event="call_ended")
    event.example = catalog.samples("retell")["call_ended.web_call_minimal"] | {"note": "an example of our own"}
    event.save()
    publishing.publish(draft)
    told = api.get("/api/providers/retell").json()
    assert told["mapping_version"]["number"] == 2
    assert told["mapping_rules_count"] == first["mapping_rules_count"] - 1
    examples = {row["event"]: row["example"] for row in told["webhook_schemas"]}
    assert examples["call_ended"]["note"] == "an example of our own"


@pytest.mark.parametrize("broken", ["get", "set"])
def test_a_provider_is_served_without_the_cache_when_that_is_down(api, providers, monkeypatch, broken):
    def down(*args, **kwargs):
        raise RedisConnectionError("down")

    monkeypatch.setattr(type(cache._connections["default"]), broken, down)
    assert api.get("/api/providers/retell").json()["name"] == "Retell AI"


# --- daily numbers --------------------------------------------------------------------------------------------

DAY = date(2026, 3, 16)


@pytest.fixture
def numbers():
    """Writes a day's numbers; they go before it is audited that numbers are what messages say."""

    def write(day=DAY, provider="retell", environment="live", **sums):
        DailyProviderStats.objects.create(provider=provider, date=day, environment=environment, **sums)

    yield write
    DailyProviderStats.objects.all().delete()


@pytest.fixture
def three_days(numbers):
    numbers(
        total=10, success_count=4, failure_count=2, error_count=1, partial_count=1, timeout_count=1, unknown_count=1,
        duration_sum_sec=100, duration_count=4, cost_sum_nano_usd=300_000_000, cost_count=2,
        satisfaction_sum_e4=15_000, satisfaction_count=2,
    )  # fmt: skip
    numbers(DAY - timedelta(days=1), total=1, success_count=1, duration_sum_sec=1, duration_count=1,
            cost_sum_nano_usd=1, cost_count=1)  # fmt: skip
    numbers(DAY - timedelta(days=2), total=1, unknown_count=1)


def daily(client, query=""):
    return client.get(f"/api/analytics/daily?date_from=2026-03-01&date_to=2026-03-31&{query}").json()


def test_daily_numbers_have_the_published_names(api, three_days):
    newest, _, oldest = daily(api)["results"]
    assert newest | {"updated_at": ""} == {
        "provider": "retell",
        "date": "2026-03-16",
        "environment": "live",
        "total": 10,
        "successful": 4,
        "failed": 3,
        "partial": 1,
        "timeout": 1,
        "unknown": 1,
        "success_rate": 0.4,
        "avg_duration_sec": 25.0,
        "duration_count": 4,
        "total_cost_usd": 0.3,
        "avg_cost_usd": 0.15,
        "cost_count": 2,
        "avg_satisfaction_score": 0.75,
        "satisfaction_count": 2,
        "updated_at": "",
    }
    assert (oldest["success_rate"], oldest["unknown"]) == (0.0, 1)
    unknown = ("avg_duration_sec", "total_cost_usd", "avg_cost_usd", "avg_satisfaction_score")
    assert [oldest[name] for name in unknown] == [None] * 4


def test_totals_are_of_all_calls_and_not_of_the_page_or_of_averages(api, three_days):
    told = daily(api, "page_size=1")
    assert len(told["results"]) == 1
    totals = told["totals"]
    assert (totals["total"], totals["successful"], totals["avg_duration_sec"]) == (12, 5, 101 / 5)
    assert (totals["total_cost_usd"], totals["avg_cost_usd"]) == (0.300000001, 0.100000000333333333)
    assert [row["date"] for row in walk(api, "/api/analytics/daily?date_to=2026-03-31&page_size=1")] == [
        "2026-03-16",
        "2026-03-15",
        "2026-03-14",
    ]


def test_totals_of_nothing_are_zeros_and_nulls(api):
    totals = daily(api)["totals"]
    assert totals["total"] == 0
    assert [totals[name] for name in ("success_rate", "avg_duration_sec", "total_cost_usd")] == [None] * 3


def test_daily_numbers_count_live_calls_unless_asked_otherwise(api, numbers):
    numbers(total=1)
    numbers(environment="demo", total=2)
    numbers(provider="other", total=4)
    assert daily(api)["totals"]["total"] == 5
    assert daily(api, "environment=demo")["totals"]["total"] == 2
    assert daily(api, "provider=Retell")["totals"]["total"] == 1
    assert daily(api, "provider=&environment=")["totals"]["total"] == 5
    assert [row["provider"] for row in daily(api)["results"]] == ["other", "retell"]


def test_daily_numbers_are_those_of_the_last_thirty_days(api, numbers, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(2026, 3, 30, 12, tzinfo=UTC))
    for day, total in ((date(2026, 2, 28), 1), (date(2026, 3, 1), 2), (date(2026, 3, 30), 4), (date(2026, 3, 31), 8)):
        numbers(day, total=total)
    assert api.get("/api/analytics/daily").json()["totals"]["total"] == 6


@pytest.mark.parametrize(
    ("query", "code", "field_path"),
    [
        ("date_from=today", "VCP_E004", "$.date_from"),
        ("date_to=2026-02-30", "VCP_E004", "$.date_to"),
        ("date_from=2026-02-02&date_to=2026-02-01", "VCP_E004", "$.date_from"),
        ("date_from=2025-01-01&date_to=2026-01-02", "VCP_E004", "$.date_from"),
        ("environment=prod", "HTTP_400", "$.environment"),
        ("provider=%00", "HTTP_400", "$.provider"),
        ("cursor=x", "VCP_E004", "$.cursor"),
    ],
)
def test_a_range_of_days_that_cannot_be_meant_is_refused(api, query, code, field_path):
    assert_error(api.get(f"/api/analytics/daily?{query}"), 400, code, field_path)


def test_the_first_day_of_the_calendar_is_a_day(api):
    assert api.get("/api/analytics/daily?date_to=0001-01-01").status_code == 200


def test_the_numbers_of_delivered_calls_are_those_of_their_messages(api, calls):
    told = daily(api, "environment=demo")["totals"]
    assert told["total"] == Message.objects.count()
    assert told["successful"] == Message.objects.filter(status="success").count()
    assert told["total_cost_usd"] == float(
        sum(cost for cost in Message.objects.values_list("cost_usd", flat=True) if cost)
    )


# --- trials ---------------------------------------------------------------------------------------------------


def test_a_payload_is_tried_and_nothing_is_stored(api, providers):
    sample = catalog.samples("retell")["call_analyzed.inbound_success_tools"]
    told = post(api, "/api/webhook-test", {"provider": "Retell", "payload": sample}).json()
    assert (told["success"], told["provider"], told["event"], told["disposition"]) == (
        True,
        "retell",
        "call_analyzed",
        "map",
    )
    assert told["message"]["vcp_payload"]["call"]["call_id"] == CALL
    assert validate(told["message"], now=timezone.now()).ok
    assert told["validation"]["errors"] == []
    assert told["transformation_time_ms"] > 0
    assert "call.start_timestamp -> call.start_time" in told["report"]["used"]
    assert not InboundEvent.objects.exists()
    assert not Message.objects.exists()
    assert not Artifact.objects.exists()
    assert not DailyProviderStats.objects.exists()


def test_a_trial_of_an_older_message_tells_its_upgrade(api, providers):
    told = post(api, "/api/webhook-test", {"provider": "vcp", "payload": catalog.samples("vcp")["message_v03"]}).json()
    assert (told["success"], told["message"]["vcp_version"]) == (True, "0.5")
    assert told["report"]["migrations"][0]["source"] == {"version": "0.3", "shape": "published"}


def test_a_payload_may_be_given_as_text_and_as_of_a_time(api, providers):
    sample = json.dumps(catalog.samples("retell")["call_ended.outbound_no_answer"])
    asked = {"provider": "retell", "payload": sample, "event_time": "2026-03-16T20:00:00+02:00"}
    told = post(api, "/api/webhook-test", asked).json()
    assert told["message"]["audit"]["received_at"] == "2026-03-16T18:00:00.000Z"


@pytest.mark.parametrize(
    ("payload", "event", "disposition", "code"),
    [
        ({"event": "call_ended"}, "call_ended", "map", "VCP_E005"),
        ({"event": "transfer_started", "call": {"call_id": "x"}}, "transfer_started", "map", "VCP_E002"),
        ("no JSON", "", "store", "VCP_E002"),
        ("[" * 5000, "", "store", "VCP_E002"),
        ({"event": "chat_started"}, "chat_started", "ignore", None),
        ({"event": "never heard of"}, "never heard of", "store", None),
        ({}, "unknown", "store", None),
        ([], "unknown", "store", None),
        (7, "unknown", "store", None),
    ],
)
def test_a_payload_that_makes_no_message_says_why(api, providers, payload, event, disposition, code):
    told = post(api, "/api/webhook-test", {"provider": "retell", "payload": payload}).json()
    assert (told["event"], told["disposition"], told["message"]) == (event, disposition, None)
    assert told["success"] is (code is None)
    assert [error["code"] for error in told["validation"]["errors"]] == ([code] if code else [])


@pytest.mark.parametrize(
    ("body", "status", "code", "field_path"),
    [
        ({"payload": {}}, 400, "VCP_E005", "$.provider"),
        ({"provider": "retell"}, 400, "VCP_E005", "$.payload"),
        ({"provider": "retell", "payload": None}, 400, "VCP_E005", "$.payload"),
        ({"provider": {}, "payload": {}}, 400, "VCP_E004", "$.provider"),
        ({"provider": "retell", "payload": {}, "event_time": "soon"}, 400, "VCP_E004", "$.event_time"),
        ({"provider": "nobody", "payload": {}}, 404, "VCP_E002", None),
    ],
)
def test_a_trial_that_lacks_something_is_refused(api, providers, body, status, code, field_path):
    assert_error(post(api, "/api/webhook-test", body), status, code, field_path)


AT = datetime(2026, 3, 16, 12, tzinfo=UTC)
RAW = '{"event": "call_ended",  "note": "größe"}'


def judged(client, **given):
    answer = post(client, "/api/webhook-signature-test", {"provider": "retell", "endpoint": "demo", **given})
    assert demo_secret() not in answer.content.decode()
    assert "another secret" not in answer.content.decode()
    return answer.json()


@pytest.mark.parametrize(
    ("given", "valid", "reason"),
    [
        ({}, True, "ok"),
        ({"provider": "RETELL"}, True, "ok"),
        ({"payload": RAW + " "}, False, "signature_mismatch"),
        ({"secret": "another secret"}, False, "signature_mismatch"),
        ({"signature": "v=1,d=2"}, False, "header_malformed"),
        ({"signature": {"Other": "x"}}, False, "header_missing"),
        ({"now": "2026-03-16T13:00:00Z"}, False, "timestamp_too_old"),
        ({"now": "2026-03-16T11:00:00Z"}, False, "timestamp_in_future"),
    ],
)
def test_a_signature_is_judged_as_at_the_door(api, providers, given, valid, reason):
    signature = signed(RAW.encode(), AT)["X-Retell-Signature"]
    told = judged(api, **{"payload": RAW, "signature": signature, "now": AT.isoformat(), **given})
    assert (told["signature_valid"], told["reason"]) == (valid, reason)
    assert told["detail"]


def test_a_signature_may_come_with_its_own_secret_and_all_headers(api, providers):
    scheme = registry.endpoint("retell", "default").auths[0].scheme
    headers = sign(scheme, "another secret", RAW.encode(), AT)
    given = {"payload": RAW, "signature": headers, "now": AT.isoformat(), "endpoint": "default"}
    assert judged(api, **given)["reason"] == "no_secret"
    assert judged(api, **given, secret="another secret")["signature_valid"] is True


def test_an_object_is_judged_as_compact_json(api, providers):
    payload = {"event": "call_ended", "note": "größe", "list": [1, 2.5]}
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    told = judged(api, payload=payload, signature=signed(body, AT)["X-Retell-Signature"], now=AT.isoformat())
    assert told["signature_valid"] is True


def test_what_is_not_checked_is_not_valid(api, providers):
    config = AuthConfig.objects.get(endpoint=_demo())
    config.scheme = {"kind": "none", "reason": "in the private network"}
    secret = demo_secret()
    config.save()
    registry.forget()
    answer = post(
        api,
        "/api/webhook-signature-test",
        {"provider": "retell", "endpoint": "demo", "payload": RAW, "signature": "forged"},
    )
    assert secret not in answer.content.decode()
    assert (answer.json()["signature_valid"], answer.json()["reason"]) == (False, "not_checked")


@pytest.mark.parametrize(("given", "reason"), [(None, "ok"), ("guessed", "token_mismatch")])
def test_a_lone_value_is_the_token_where_the_url_holds_it(api, providers, given, reason):
    AuthConfig.objects.filter(endpoint=_demo()).update(scheme={"kind": "url_token"})
    registry.forget()
    asked = {"provider": "retell", "endpoint": "demo", "payload": RAW, "signature": given or demo_secret()}
    answer = post(api, "/api/webhook-signature-test", asked).json()
    assert (answer["signature_valid"], answer["reason"]) == (given is None, reason)


def test_a_signature_test_is_not_counted_as_a_refusal(api, providers):
    judged(api, payload=RAW, signature="forged")
    assert _demo().last_refused_at is None


@pytest.mark.parametrize(
    ("changed", "status", "code", "field_path"),
    [
        ({"signature": None}, 400, "VCP_E005", "$.signature"),
        ({"signature": 7}, 400, "VCP_E004", "$.signature"),
        ({"signature": {"X": 7}}, 400, "VCP_E004", "$.signature"),
        ({"now": "0001-01-01T00:00:00+14:00"}, 400, "HTTP_400", "$.now"),
        ({"provider": "nobody"}, 404, "VCP_E002", None),
        ({"endpoint": "nowhere"}, 404, "VCP_E002", None),
    ],
)
def test_a_signature_test_that_cannot_be_made_is_refused(api, providers, changed, status, code, field_path):
    body = {"provider": "retell", "payload": RAW, "signature": "v=1,d=2", **changed}
    assert_error(post(api, "/api/webhook-signature-test", body), status, code, field_path)


@pytest.mark.parametrize("slug", [slug for slug in catalog.slugs() if catalog.samples(slug)])
def test_each_provider_has_an_example_that_is_valid_and_always_the_same(api, providers, slug, monkeypatch):
    sync_catalog((slug,))
    registry.forget()
    first = api.get(f"/api/vcp-example/{slug.upper()}")
    assert first.status_code == 200
    assert validate(first.content, now=timezone.now()).ok
    later = timezone.now() + timedelta(days=3)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    assert api.get(f"/api/vcp-example/{slug}").content == first.content


def test_an_example_is_of_the_call_that_goes_furthest(api, providers):
    told = api.get("/api/vcp-example/retell").json()
    events = [
        step.split()[0] for step in told["vcp_payload"]["provenance"]["transformation_history"] if "event:" in step
    ]
    assert "event:call_analyzed" in events
    assert len(events) > 1


def test_a_provider_without_samples_has_no_example(api, providers, monkeypatch):
    monkeypatch.setattr(catalog, "samples", lambda slug: {})
    assert_error(api.get("/api/vcp-example/retell"), 404, "VCP_E002")


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


# --- the description and the pages ----------------------------------------------------------------------------


@pytest.fixture
def description(tmp_path):
    """What `manage.py spectacular` writes; it fails on the first warning."""
    file = tmp_path / "schema.yaml"
    options = {"validate": True, "fail_on_warn": True}
    call_command("spectacular", file=str(file), **options)
    return yaml.safe_load(file.read_text())


def test_the_description_is_clean_and_the_same_as_the_served_one(api, description):
    served = api.get("/api/schema", headers={"accept": "application/vnd.oai.openapi+json"}).json()
    assert served == description
    assert served["openapi"] == "3.1.1"


def test_every_address_is_described(description):
    undescribed = {"", "session/", "schema", "docs"}
    routes = {str(entry.pattern) for entry in front.urlpatterns if isinstance(entry, URLPattern)}
    described = {path.removeprefix("/api/") for path in description["paths"]}
    plain = {re.sub(r"<\w+:(\w+)>", "{}", route) for route in routes if not route.startswith("^")}
    assert plain - undescribed == {re.sub(r"\{\w+\}", "{}", path) for path in described}


def test_every_operation_describes_its_errors_and_its_login(description):
    without_login = ("/api/token", "/api/webhook/")
    for path, operations in description["paths"].items():
        for operation in operations.values():
            errors = [status for status in operation["responses"] if status >= "400"]
            for status in errors:
                content = operation["responses"][status]["content"][JSON]
                assert content["schema"] == {"$ref": "#/components/schemas/Error"}
            assert errors
            assert operation["summary"]
            needs_login = not path.startswith(without_login)
            assert ("401" in errors) or not needs_login
            assert ({} in operation.get("security", [{}])) is not needs_login


@pytest.mark.parametrize(
    "address",
    ["/api/", "/api/messages", "/api/deliveries", "/api/providers", "/api/providers/retell", "/api/analytics/daily"],
)
def test_a_browser_gets_a_page(api, calls, address):
    answer = api.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("address", ["/api/webhook-test", "/api/webhook-signature-test", "/api/webhook/retell"])
def test_a_browser_gets_a_form_for_what_is_posted(api, providers, address):
    answer = api.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 405
    assert "<form" in answer.content.decode()


def test_foreign_text_is_escaped_on_pages(api, providers):
    body = json.dumps({"event": "<script>alert(1)</script>"}).encode()
    deliver(api, body)
    drain()
    page = api.get("/api/deliveries", headers={"accept": "text/html"}).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_to_try_the_api_loads_nothing_from_elsewhere(api):
    page = api.get("/api/docs", headers={"accept": "text/html"}).content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert not [source for source in sources if source.startswith(("http:", "https:", "//"))]


def test_the_root_leads_everywhere(api):
    for name, address in api.get("/api/").json().items():
        status = api.get(address, headers={"accept": "*/*"}).status_code
        posted = name.startswith("vcp-") or name in ("token", "webhook-test", "webhook-signature-test")
        assert status == (405 if posted else 200)

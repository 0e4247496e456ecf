"""Providers as the API tells them, and trials of what would become of a payload."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import Artifact, InboundEvent, Message
from apps.providers import catalog, publishing, registry
from apps.providers.engine.signatures import sign
from apps.providers.models import AuthConfig, Endpoint, Provider, Secret
from apps.providers.sync import sync_catalog
from tests.api.asking import CALL, NOBODY, READING, assert_error, demo_secret, post, signed, walk
from vcp import validate

pytestmark = pytest.mark.django_db


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

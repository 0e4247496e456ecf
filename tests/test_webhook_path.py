"""The webhook's path through the front door: what is answered, what is stored, and what becomes of it."""

import hashlib
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.test import Client
from django.utils import timezone

from apps.ingest import door, tasks
from apps.ingest.models import InboundEvent, Message, Refusal
from apps.ingest.normalise import normalise
from apps.providers import registry
from apps.providers.models import Endpoint, Provider
from tests.calls import (
    ARRIVAL,
    CALL_ID,
    ENDED,
    GONE,
    SECRET,
    numbers,
    ready_made,
    sample,
    signed,
    states,
)
from vcp import VCPMessage

pytestmark = pytest.mark.django_db


# --- what is answered ------------------------------------------------------------------------------------------------


def test_a_signed_delivery_is_stored_and_answered_with_its_id(deliver, rings):
    response = deliver(sample(ENDED))
    event = InboundEvent.objects.get()
    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "delivery_id": str(event.delivery_id),
        "duplicate": False,
        "trace_id": event.trace_id,
    }
    assert response.headers["X-Delivery-Id"] == str(event.delivery_id)
    assert response.headers["X-Trace-Id"] == event.trace_id
    assert (event.state, event.attempts, event.processed_at) == ("received", 0, None)
    assert len(rings) == 1


def test_the_same_delivery_again_changes_nothing_and_rings_nobody(deliver, drain, rings):
    first = deliver(sample(ENDED)).json()
    drain()
    again = deliver(sample(ENDED)).json()
    assert (again["duplicate"], again["delivery_id"]) == (True, first["delivery_id"])
    assert drain() == 0
    assert (InboundEvent.objects.count(), Message.objects.count(), len(rings)) == (1, 1, 1)
    assert numbers()["total"] == 1


@pytest.mark.parametrize(
    "path", ["/webhook/retell", "/webhook/retell/", "/webhook/Retell/default", "/webhook/retell/default/"]
)
def test_every_spelling_of_the_address_is_the_same_door(deliver, path):
    assert deliver(sample(ENDED)).json()["duplicate"] is False
    response = deliver(sample(ENDED), path=path)
    assert (response.status_code, response.json()["duplicate"]) == (200, True)


def test_a_client_that_enforces_csrf_gets_through(catalogue):
    body = json.dumps(sample(ENDED)).encode()
    client = Client(enforce_csrf_checks=True)
    assert client.generic("POST", "/webhook/retell", body, "application/json", headers=signed(body)).status_code == 200


def test_a_request_that_expects_a_decision_gets_the_neutral_answer(deliver, drain):
    for _ in range(2):  # a repetition waits for the same answer
        response = deliver(sample("call_inbound"))
        assert (response.status_code, response.json()) == (200, {"call_inbound": {}})
        assert response.headers["X-Delivery-Id"]
    drain()
    assert states() == {"call_inbound": "stored"}
    assert not Message.objects.exists()


def assert_refused(response, status, code):
    """The error form of the protocol: code, message, implementation, context; dull, and with the trace id."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    error = response.json()
    assert set(error) == {"code", "message", "implementation", "context"}
    assert error["code"] == code
    assert error["context"] == {"trace_id": response.headers["X-Trace-Id"]}
    assert InboundEvent.objects.count() == 0


@pytest.mark.parametrize(
    "path", ["/webhook/nobody", "/webhook/retell/nowhere", "/webhook/%00", "/webhook/%F0%9F%93%9E/x"]
)
def test_an_unknown_address_is_404(deliver, path):
    assert_refused(deliver(sample(ENDED), path=path), 404, "VCP_E002")


def test_disabled_looks_to_strangers_like_unknown(deliver):
    Endpoint.objects.filter(provider__slug="retell", slug="default").update(enabled=False)
    registry.forget()
    disabled = deliver(sample(ENDED))
    assert_refused(disabled, 404, "VCP_E002")
    Endpoint.objects.update(enabled=True)
    Provider.objects.filter(slug="retell").update(enabled=False)
    registry.forget()
    assert_refused(deliver(sample(ENDED)), 404, "VCP_E002")
    assert disabled.json()["message"] == deliver(sample(ENDED), path="/webhook/nobody").json()["message"]


def test_an_endpoint_without_a_secret_takes_nothing(deliver):
    Endpoint.objects.create(provider=Provider.objects.get(slug="retell"), slug="second")
    registry.forget()
    assert_refused(deliver(sample(ENDED), path="/webhook/retell/second"), 401, "HTTP_401")


BODY = json.dumps(sample(ENDED)).encode()


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "header_missing"),
        ({"X-Retell-Signature": "v=1,d=nothing"}, "header_malformed"),
        (lambda: signed(BODY, secret="another secret"), "signature_mismatch"),
        (lambda: signed(BODY + b" "), "signature_mismatch"),
        (lambda: signed(BODY, at=timezone.now() - timedelta(minutes=6)), "timestamp_too_old"),
        (lambda: signed(BODY, at=timezone.now() + timedelta(minutes=6)), "timestamp_in_future"),
    ],
)
def test_what_is_not_authentic_is_401_counted_and_not_stored(deliver, headers, reason):
    headers = headers() if callable(headers) else headers
    for _ in range(2):
        assert_refused(deliver(BODY, headers=headers), 401, "HTTP_401")
    assert list(Refusal.objects.values_list("endpoint__provider__slug", "reason", "count")) == [("retell", reason, 2)]
    refused = Endpoint.objects.get(provider__slug="retell", slug="default")
    assert refused.last_refused_reason.startswith(f"{reason}: ")
    assert SECRET not in refused.last_refused_reason


def test_an_address_that_is_not_on_the_endpoint_s_list_is_refused(deliver):
    Endpoint.objects.filter(provider__slug="retell").update(allowed_addresses=["100.20.5.228"])
    registry.forget()
    assert_refused(deliver(sample(ENDED)), 401, "HTTP_401")
    assert Refusal.objects.get().reason == "address_not_allowed"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_405_and_named(client, catalogue, method):
    response = client.generic(method, "/webhook/retell")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    if method != "HEAD":
        assert_refused(response, 405, "HTTP_405")


def padded(size):
    """A signed-for body of exactly that many bytes."""
    payload = sample("chat_ended")
    payload["padding"] = ""
    payload["padding"] = "x" * (size - len(json.dumps(payload)))
    body = json.dumps(payload).encode()
    assert len(body) == size
    return body


def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_413(deliver, settings):
    settings.WEBHOOK_BODY_LIMIT_BYTES = 20_000
    registry.forget()
    assert_refused(deliver(padded(20_001)), 413, "HTTP_413")
    assert deliver(padded(20_000)).status_code == 200


def test_the_limit_is_ten_megabytes_unless_set():
    assert settings.WEBHOOK_BODY_LIMIT_BYTES == 10 * 1024 * 1024


@pytest.mark.parametrize("limit", [5_000, 50_000])
def test_a_provider_may_have_a_limit_of_its_own(deliver, settings, limit):
    settings.WEBHOOK_BODY_LIMIT_BYTES = 20_000
    Provider.objects.filter(slug="retell").update(body_limit_bytes=limit)
    registry.forget()
    assert deliver(padded(limit + 1)).status_code == 413
    assert deliver(padded(limit)).status_code == 200


@pytest.mark.parametrize("length", ["", "-1", "many", "²", "9" * 5000])
def test_a_content_length_that_is_no_number_is_no_server_error(client, catalogue, length):
    body = BODY
    response = client.generic(
        "POST", "/webhook/retell", body, "application/json", headers=signed(body), CONTENT_LENGTH=length
    )
    assert response.status_code in (400, 401, 413)


def test_a_database_that_cannot_be_reached_is_503_with_a_time_to_come_again(deliver, monkeypatch):
    for error in (OperationalError("down"), InterfaceError("connection already closed")):

        def down(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr(door, "insert", down)
        response = deliver(sample(ENDED))
        assert_refused(response, 503, "HTTP_503")
        assert response.headers["Retry-After"] == "5"


# --- what is stored --------------------------------------------------------------------------------------------------


def test_the_body_is_stored_byte_by_byte(deliver):
    body = b'{ "event":"chat_ended",\n\t"chat": {"b": 1.50, "a":"\\u00e9\\/", "b": 2e0} }\r\n'
    deliver(body)
    event = InboundEvent.objects.get()
    assert bytes(event.body) == body
    assert (event.body_size, event.body_sha256) == (len(body), hashlib.sha256(body).hexdigest())


def test_secrets_are_cut_out_of_the_bytes_and_the_hash_is_of_the_original(deliver):
    body = b'{"event":"call_started", "call":{"call_id":"c1" ,"access_token" : "eyJhb" , "a":1.0}}'
    deliver(body)
    event = InboundEvent.objects.get()
    assert bytes(event.body) == body.replace(b'"eyJhb"', b'"[redacted]"')
    assert event.body_sha256 == hashlib.sha256(body).hexdigest()
    assert event.delivery_key == f"sha256:{event.body_sha256}"


def test_two_bodies_that_differ_only_in_a_secret_are_two_deliveries(deliver):
    for token in ("one", "two"):
        deliver({"event": "chat_started", "access_token": token})
    assert InboundEvent.objects.count() == 2
    assert len(set(map(bytes, InboundEvent.objects.values_list("body", flat=True)))) == 1


def test_headers_that_prove_or_identify_are_not_kept(deliver):
    body = json.dumps(sample(ENDED)).encode()
    deliver(
        body, headers={**signed(body), "User-Agent": "Retell\x00/1", "Cookie": "session=1", "Authorization": "Bearer x"}
    )
    kept = InboundEvent.objects.get().headers
    assert kept == {"content-type": "application/json", "content-length": str(len(body)), "user-agent": "Retell/1"}


def test_an_unsigned_id_in_a_header_does_not_tell_deliveries_apart(deliver):
    body = json.dumps(sample(ENDED)).encode()
    for number in range(2):
        deliver(body, headers={**signed(body), "Webhook-Id": f"msg_{number}"})
    assert InboundEvent.objects.count() == 1


# --- ready-made messages ---------------------------------------------------------------------------------------------


def test_a_ready_made_message_is_stored_as_it_came(deliver, drain):
    response = deliver(ready_made(), provider="vcp")
    assert response.status_code == 200
    drain()
    message = Message.objects.get()
    assert (message.provider, message.status, message.cost_usd) == ("northwind_voice", "partial", Decimal("0.044"))
    assert message.vcp == VCPMessage.from_dict(ready_made()).to_dict()
    assert "processed_at" not in message.vcp["audit"]
    assert numbers(provider="northwind_voice")["total"] == 1


def test_without_its_token_a_ready_made_message_is_401(deliver):
    assert deliver(ready_made(), provider="vcp", headers={"Authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize("order", [1, -1])
def test_a_ready_made_message_stands_for_the_whole_call_whenever_it_comes(arrive, drain, order):
    steps = [(sample(ENDED), "retell"), (ready_made(provider="Retell", call_id=CALL_ID), "vcp")]
    for payload, provider in steps[::order]:
        arrive(payload, provider=provider)
        drain()
    message = Message.objects.get()
    assert (message.provider, message.status, message.duration_sec) == ("retell", "partial", 125)
    assert numbers()["total"] == 1


@pytest.mark.parametrize(
    ("spoil", "code", "path"),
    [
        (lambda m: m["vcp_payload"]["call"].pop("call_id"), "VCP_E005", "$.vcp_payload.call.call_id"),
        (lambda m: m["vcp_payload"]["call"].update(start_time="soon"), "VCP_E004", "$.vcp_payload.call.start_time"),
        (lambda m: m["vcp_payload"]["call"].update(provider="x" * 51), "VCP_E001", "$.vcp_payload.call.provider"),
        (lambda m: m["vcp_payload"]["call"].update(call_id="x" * 256), "VCP_E001", "$.vcp_payload.call.call_id"),
        (lambda m: m["vcp_payload"]["call"].update(duration_sec=2**31), "VCP_E001", "$.vcp_payload.call.duration_sec"),
        (lambda m: m.update(vcp_version="0.6"), "VCP_E001", "$.vcp_version"),
    ],
)
def test_a_ready_made_message_that_is_not_valid_fails_with_the_finding(deliver, drain, spoil, code, path):
    message = ready_made()
    spoil(message)
    assert deliver(message, provider="vcp").status_code == 200
    drain()
    event = InboundEvent.objects.get()
    assert (event.state, event.error_code, event.error_path) == ("failed", code, path)
    assert not Message.objects.exists()


# --- the queue is a bell ---------------------------------------------------------------------------------------------


def test_what_nobody_rang_for_is_picked_up_by_the_sweep(arrive):
    arrive(sample(ENDED), timezone.now())
    assert tasks.sweep() == 1
    assert tasks.sweep() == 0
    assert Message.objects.count() == 1


def test_a_batch_of_200_different_calls_is_worked_off_together(arrive, drain, django_assert_max_num_queries):
    for number in range(200):
        arrive(sample(ENDED, call_id=f"call{number}", transcript_object=GONE, transcript_with_tool_calls=GONE))
    assert settings.INGEST_BATCH_SIZE == 200
    rows = list(InboundEvent.objects.all())
    registry.endpoint("retell")
    with django_assert_max_num_queries(40):
        normalise(rows, ARRIVAL)
    assert numbers()["total"] == 200

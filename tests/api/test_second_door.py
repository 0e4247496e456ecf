"""The webhook's second door, the API's: the same as the first, byte for byte."""

import json

import pytest
from django.db import OperationalError
from django.test import Client

from apps.ingest import committing
from apps.ingest.models import InboundEvent
from apps.providers import registry
from apps.providers.models import Provider
from tests.api.asking import JSON, assert_error, deliver, signed

pytestmark = pytest.mark.django_db

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

"""POST /api/deliveries/replay: what is chosen is worked off again, and nothing else."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from apps.ingest.models import InboundEvent
from tests.calls import ARRIVAL, ENDED, sample

pytestmark = pytest.mark.django_db
ADDRESS = "/api/deliveries/replay"


@pytest.fixture
def ids(arrive, drain):
    """A processed and an ignored delivery, and two that failed, a day apart."""
    bodies = [sample(ENDED), sample("chat_ended"), b"not JSON", b"nor this"]
    found = [arrive(body, ARRIVAL + timedelta(days=day)).delivery_id for day, body in enumerate(bodies)]
    drain()
    return found


@pytest.fixture
def ask():
    user = User.objects.create_user("operator")
    user.user_permissions.add(Permission.objects.get(codename="change_inboundevent"))
    client = Client(headers={"accept": "application/json"})
    client.force_login(user)
    return lambda asked: client.post(ADDRESS, asked, content_type="application/json")


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"state": "failed"}, 2),
        ({"provider": "Retell"}, 4),
        ({"event": "chat_ended"}, 1),
        ({"error_code": "vcp_e002", "received_from": "2026-03-20T09:00:00Z"}, 1),
        ({"received_from": "2026-03-18T09:00:00Z", "received_to": "2026-03-20T09:00:00Z"}, 2),
        ({"provider": "nobody"}, 0),
    ],
)
def test_all_that_match_everything_given_are_replayed(ids, ask, drain, asked, count):
    counted = ask({**asked, "dry_run": True})
    assert (counted.status_code, counted.json()) == (200, {"count": count, "dry_run": True})
    assert drain() == 0
    answer = ask(asked)
    assert (answer.status_code, answer.json()) == (200, {"count": count, "dry_run": False})
    assert drain() == count


def test_deliveries_are_chosen_by_their_ids(ids, ask, drain):
    assert ask({"delivery_ids": [str(ids[0]), str(ids[2])]}).json()["count"] == 2
    assert drain() == 2


@pytest.mark.parametrize(
    ("asked", "field_path", "words"),
    [
        ({}, "$", "by at least one of"),
        ({"dry_run": True}, "$", "by at least one of"),
        ({"state": "erased"}, "$.state", "none of the values"),
        ({"delivery_ids": []}, "$.delivery_ids", "empty"),
        ({"delivery_ids": ["17"]}, "$.delivery_ids[0]", "UUID"),
        ({"received_from": "yesterday"}, "$.received_from", "format"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(ids, ask, drain, asked, field_path, words):
    answer = ask(asked)
    assert answer.status_code == 400
    assert answer.json()["field_path"] == field_path
    assert words in answer.json()["message"]
    assert drain() == 0


def test_looking_does_not_allow_replaying(ids, drain):
    user = User.objects.create_user("reader")
    user.user_permissions.add(Permission.objects.get(codename="view_inboundevent"))
    client = Client()
    client.force_login(user)
    assert client.post(ADDRESS, {"state": "failed"}, content_type="application/json").status_code == 403
    assert not InboundEvent.objects.filter(state="received").exists()

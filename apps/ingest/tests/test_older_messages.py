"""Ready-made messages of 0.3 and 0.4: stored as what they become in 0.5, the original kept, and told how."""

import copy
import json

import pytest

from apps.analytics.models import DailyProviderStats
from apps.ingest import operations
from apps.ingest.models import InboundEvent, Message
from apps.providers import catalog
from tests.calls import numbers, ready_made, said
from vcp import examples, migrate, validate

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

PUBLISHED = "message_v03"


def older(name=PUBLISHED):
    return copy.deepcopy(catalog.samples("vcp")[name])


def current(call_id, processed_at="2026-04-01T00:00:00Z"):
    """A 0.5 message of a call of the samples."""
    message = ready_made(call_id=call_id)
    message["audit"]["processed_at"] = processed_at
    return message


def call_id(name=PUBLISHED):
    return older(name)["vcp_payload"]["call"]["call_id"]


@pytest.mark.parametrize("name", [name for name in examples.names() if not name.startswith("v05")])
def test_a_message_of_an_older_version_is_stored_upgraded(deliver, drain, name):
    assert deliver(examples.load(name), provider="vcp").status_code == 200
    drain()
    stored, event, done = Message.objects.get(), InboundEvent.objects.get(), migrate(examples.load(name))
    assert event.state == "processed", event.error_detail
    assert stored.vcp == done.message
    assert stored.vcp_version == "0.5"
    assert (stored.provider, stored.call_id) == tuple(
        done.message["vcp_payload"]["call"][key] for key in ("provider", "call_id")
    )
    assert validate(stored.vcp, now=event.received_at).ok


def test_the_original_and_the_report_of_the_upgrade_stay_with_the_delivery(arrive, drain):
    arrive(older(), provider="vcp")
    drain()
    event = InboundEvent.objects.get()
    assert json.loads(bytes(event.body)) == older()
    [migration] = event.report["migrations"]
    assert migration["source"] == {"version": "0.3", "shape": "published"}
    assert migration["target"] == {"version": "0.5", "shape": "current"}
    made_up = {note["path"] for note in migration["report"]["synthesized"]}
    assert {"$.vcp_payload.provenance", "$.vcp_payload.hcr"} <= made_up
    assert "upgraded_from_v0.3" in Message.objects.get().vcp["vcp_payload"]["provenance"]["transformation_history"]


def test_a_stored_published_message_goes_back_to_what_was_sent(arrive, drain):
    arrive(older(), provider="vcp")
    drain()
    assert migrate(Message.objects.get().vcp, "0.3").message == older()


def test_a_current_message_has_no_migration_to_report(arrive, drain):
    arrive(ready_made(), provider="vcp")
    drain()
    assert "migrations" not in InboundEvent.objects.get().report


def test_the_same_older_message_twice_is_one_call_counted_once(arrive, drain):
    assert arrive(older(), provider="vcp").duplicate is False
    assert arrive(older(), provider="vcp").duplicate is True
    respaced = json.dumps(older(), indent=7).encode()
    assert arrive(respaced, provider="vcp").duplicate is False  # other bytes, the same message
    drain()
    assert Message.objects.count() == 1
    assert numbers()["success_count"] == 1


@pytest.mark.parametrize("first", ["older", "current"])
@pytest.mark.parametrize(
    ("processed_at", "stands"), [("2026-04-01T00:00:00Z", "current"), ("2026-03-01T00:00:00Z", "older")]
)
def test_of_several_versions_of_a_call_the_one_processed_last_stands(arrive, drain, first, processed_at, stands):
    """In whichever order they come, and whatever their versions are."""
    bodies = {"older": older(), "current": current(call_id(), processed_at)}
    for name in (first, *({"older", "current"} - {first})):
        arrive(bodies[name], provider="vcp")
        drain()
    message = Message.objects.get()
    upgraded = "upgraded_from_v0.3" in message.vcp["vcp_payload"]["provenance"].get("transformation_history", [])
    assert upgraded is (stands == "older")
    days = DailyProviderStats.objects.all()  # they say different days; the one that no longer holds counts nothing
    assert sum(day.success_count + day.partial_count for day in days) == 1


def without_intent(message):
    del message["vcp_payload"]["call"]["purpose_contract"]


def with_a_wrong_type(message):
    message["vcp_payload"]["call"]["duration_sec"] = "long"


def with_two_ids(message):
    message["call_id"] = "6f1d0c52-7b3a-4e0e-9c41-2a8d5e907b14"


def of_the_future(message):
    message["vcp_version"] = "0.9"


def without_a_payload(message):
    message["vcp_payload"] = None


@pytest.mark.parametrize(
    ("change", "code", "path", "words"),
    [
        (without_intent, "VCP_E003", "$.vcp_payload.call.purpose_contract", "not valid: required field is missing"),
        (with_a_wrong_type, "VCP_E003", "$.vcp_payload.call.duration_sec", "not valid: value has the wrong type"),
        (with_two_ids, "VCP_E003", "$.call_id", "not valid: "),
        (of_the_future, "VCP_E001", "$.vcp_version", "unknown version; supported: 0.3, 0.4, 0.5"),
        (without_a_payload, "VCP_E001", "$.vcp_payload", "neither the published nor the lineage shape"),
    ],
)
def test_an_older_message_that_cannot_be_upgraded_fails_with_the_finding(arrive, drain, change, code, path, words):
    message = older()
    change(message)
    arrive(message, provider="vcp")
    drain()
    event = InboundEvent.objects.get()
    assert (event.state, event.error_code, event.error_path) == ("failed", code, path)
    assert words in event.error_detail
    assert not Message.objects.exists()


def test_a_replay_upgrades_the_original_again(arrive, drain):
    arrive(older("message_v04"), provider="vcp")
    drain()
    before = said(Message.objects.get())
    operations.replay(InboundEvent.objects.all())
    drain()
    assert said(Message.objects.get()) == before
    assert InboundEvent.objects.get().report["migrations"][0]["source"]["version"] == "0.4"

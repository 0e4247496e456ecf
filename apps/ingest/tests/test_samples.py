"""Sample calls to try the service with: every time in them is moved to now, in the form that its provider writes."""

import json
from datetime import UTC, datetime, timedelta

from apps.ingest.samples import fresh_calls
from apps.providers import catalog
from apps.providers.engine.mapping import Mapping
from vcp import validate

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NO_ANSWER = "call_initiation_failure.outbound_no_answer_twilio"


def test_times_move_to_now_and_keep_their_form():
    mapping = Mapping(catalog.load("elevenlabs").mapping)
    old = catalog.samples("elevenlabs")[NO_ANSWER]
    calls = fresh_calls("elevenlabs", mapping, NOW, "abcd1234")
    bodies = [json.loads(body) for call in calls for body in call.bodies]
    [new] = [
        body for body in bodies if body["data"].get("metadata", {}).get("body", {}).get("CallStatus") == "no-answer"
    ]
    # The event was told 1 s after the call began; it is the last of its call and 30 s ago.
    assert new["event_timestamp"] == int((NOW - timedelta(seconds=30)).timestamp())
    assert old["data"]["metadata"]["body"]["Timestamp"] == "Wed, 18 Mar 2026 17:00:11 +0000"
    assert new["data"]["metadata"]["body"]["Timestamp"] == "Sun, 22 Nov 2026 11:59:29 +0000"


def test_every_fresh_call_is_mapped_and_ends_before_now():
    mapping = Mapping(catalog.load("elevenlabs").mapping)
    for call in fresh_calls("elevenlabs", mapping, NOW, "abcd1234"):
        for body in call.bodies:
            identity, _, report = mapping.apply(json.loads(body))
            assert report.failed == []
            assert identity.call_id == call.call_id
            assert NOW - timedelta(hours=1) < datetime.fromisoformat(identity.occurred_at) < NOW


def test_no_time_of_a_fresh_call_lies_ahead_not_even_within_its_batches():
    mapping = Mapping(catalog.load("openai_realtime").mapping)
    bodies = [body for call in fresh_calls("openai_realtime", mapping, NOW, "abcd1234") for body in call.bodies]
    batches = [json.loads(body)["data"].get("events") for body in bodies]
    told = [event["received_at"] for events in batches for event in events or () if "received_at" in event]
    assert len(told) > 50
    assert max(datetime.fromisoformat(moment) for moment in told) < NOW


def test_fresh_ready_made_messages_of_every_version_stay_valid_and_are_of_now():
    mapping = Mapping(catalog.load("vcp").mapping)
    bodies = [body for call in fresh_calls("vcp", mapping, NOW, "abcd1234") for body in call.bodies]
    reports = [validate(body, now=NOW) for body in bodies]
    assert {report.form.version for report in reports} == {"0.3", "0.4", "0.5"}
    assert [report.errors for report in reports] == [[]] * len(bodies)
    assert not [body for body in bodies if b"2026-03" in body]

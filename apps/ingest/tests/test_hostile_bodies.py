"""Whatever a signed body holds: it is answered 200, comes to an end, and harms no other delivery."""

import hashlib
import json
from typing import Any

import pytest

from apps.ingest.models import InboundEvent, Message
from apps.providers.engine.errors import MappingError
from apps.providers.engine.mapping import Mapping
from tests.calls import (
    ANALYZED,
    CALL_ID,
    ENDED,
    sample,
    states,
)

pytestmark = pytest.mark.django_db


CALL = (
    b'{"event":"call_ended","call":{"call_id":"hostile","disconnection_reason":"user_hangup",'
    b'"start_timestamp":1773677101250'
)
FIELDS = list(sample(ANALYZED)["call"])


def everywhere(value: Any) -> str:
    """A call whose every field is that value."""
    return json.dumps({"event": "call_analyzed", "call": {**dict.fromkeys(FIELDS, value), "call_id": "hostile"}})


HOSTILE = {
    "empty": b"",
    "blank": b"  \r\n",
    "nul byte": b"\x00",
    "nul in json": b'{"event":"call_ended","call":{"call_id":"a\\u0000b","agent_name":"\\u0000","x\\u0000":[0]}}',
    "raw nul in a string": b'{"event":"call_\x00ended"}',
    "lone surrogate": b'{"event":"call_ended","call":{"call_id":"\\ud800"}}',
    "encoded surrogate": b'{"event":"call_ended","call":{"call_id":"\xed\xa0\x80"}}',
    "not utf-8": b'{"event":"call_ended","call":{"call_id":"\xff\xfe"}}',
    "utf-16": '{"event":"call_ended"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + CALL + b"}}",
    "half of it": CALL,
    "lists 100000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects 100000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lists 900 deep": CALL + b',"metadata":' + b"[" * 900 + b"]" * 900 + b"}}",
    "lists 70 deep": CALL + b',"metadata":' + b"[" * 70 + b"]" * 70 + b"}}",
    "lists 60 deep": CALL + b',"metadata":' + b"[" * 60 + b"1" + b"]" * 60 + b"}}",
    "a number of 10000 digits": CALL + b',"duration_ms":' + b"9" * 10_000 + b"}}",
    "a number of 30 digits": CALL + b',"metadata":{"n":' + b"9" * 30 + b'},"duration_ms":' + b"9" * 30 + b"}}",
    "numbers at the edges": CALL + b',"metadata":[1e22,1e-320,-0.0,18446744073709551615,1.7976931348623157e308]}}',
    "infinity": CALL + b',"duration_ms":1e400}}',
    "nan": CALL + b',"duration_ms":NaN}}',
    "negative duration": CALL + b',"duration_ms":-5,"end_timestamp":-1}}',
    "cost beyond all columns": CALL + b',"call_cost":{"combined_cost":1e30}}}',
    "cost of nearly a billion": CALL + b',"call_cost":{"combined_cost":99999999912.3456789}}}',
    "duration beyond all columns": CALL + b',"duration_ms":1e18}}',
    "year 9999 and year 1": CALL + b',"end_timestamp":253402300799999,"event_timestamp":"0001-01-01T00:00:00+14:00"}}',
    "duplicate keys": b'{"event":"call_ended","event":"call_started","call":{"call_id":"a","call_id":"hostile"}}',
    "5 MB string": CALL + b',"call_analysis":{"call_summary":"' + b"x" * 5_000_000 + b'"}}}',
    "a key of 1 MB": CALL + b',"' + b"k" * 1_000_000 + b'":1}}',
    "many keys": CALL + b"," + b",".join(b'"k%d":%d' % (n, n) for n in range(20_000)) + b"}}",
    "list": b"[]",
    "list of events": b'[{"event":"call_ended","call":{"call_id":"hostile"}}]',
    "number": b"5",
    "string": b'"call_ended"',
    "null": b"null",
    "true": b"true",
    "html": b"<html><script>alert(1)</script></html>",
    "event is an object": b'{"event":{"$ne":null},"call":{"call_id":"hostile"}}',
    "event name of 5000 characters": b'{"event":"' + b"e" * 5000 + b'","call":{"call_id":"hostile"}}',
    "call is a list": b'{"event":"call_ended","call":[1]}',
    "call is null": b'{"event":"call_ended","call":null}',
    "no call id": b'{"event":"call_ended","call":{"agent_id":"a"}}',
    "call id of 300 characters": b'{"event":"call_ended","call":{"call_id":"' + b"c" * 300 + b'"}}',
    "call id of 255 characters": b'{"event":"call_ended","call":{"call_id":"' + b"c" * 255 + b'"}}',
    "emoji call id": '{"event":"call_ended","call":{"call_id":"📞🏳️‍🌈"}}'.encode(),
    "numeric call id": b'{"event":"call_ended","call":{"call_id":9223372036854775808}}',
    "fractional call id": b'{"event":"call_ended","call":{"call_id":1.5}}',
    "blank call id": b'{"event":"call_ended","call":{"call_id":"  "}}',
    "true as call id": b'{"event":"call_ended","call":{"call_id":true}}',
    "sql in the call id": b'{"event":"call_ended","call":{"call_id":"\'; DROP TABLE vcp_messages; --%s%(x)s"}}',
    "lists everywhere": everywhere([{"a": [1]}]).encode(),
    "objects everywhere": everywhere({"a": {"b": None}}).encode(),
    "texts everywhere": everywhere("\U0010ffff%s{}").encode(),
    "numbers everywhere": everywhere(-1.5).encode(),
    "true everywhere": everywhere(True).encode(),
}  # fmt: skip


def assert_settled_and_path_open(deliver, drain):
    """Each delivery has come to an end; a failed one says why; the next good one is worked off as ever."""
    for event in InboundEvent.objects.all():
        assert event.state in ("processed", "stored", "ignored", "failed"), event.state
        assert (event.state == "failed") == bool(event.error_code)
        assert "unexpected error" not in event.error_detail
        assert event.attempts == 1
    assert deliver(sample(ENDED, call_id="good")).status_code == 200
    assert drain() == 1
    assert Message.objects.get(call_id="good").status == "success"


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_signed_body_holds_it_is_answered_200_and_settled(deliver, drain, name):
    response = deliver(HOSTILE[name])
    assert response.status_code == 200
    assert drain() == 1
    assert InboundEvent.objects.get().body_sha256 == hashlib.sha256(HOSTILE[name]).hexdigest()
    assert_settled_and_path_open(deliver, drain)


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_ready_made_body_holds_it_is_answered_200_and_settled(deliver, drain, name):
    assert deliver(HOSTILE[name], provider="vcp").status_code == 200
    assert drain() == 1
    assert_settled_and_path_open(deliver, drain)


def test_all_hostile_bodies_in_one_batch_leave_a_good_one_unharmed(deliver, drain):
    for body in HOSTILE.values():
        assert deliver(body).status_code == 200
    assert deliver(sample(ENDED, call_id="good0")).status_code == 200
    assert drain() == len(HOSTILE) + 1
    assert Message.objects.filter(call_id="good0").exists()
    assert_settled_and_path_open(deliver, drain)


@pytest.mark.parametrize("name", ["numbers at the edges", "a number of 30 digits", "nul in json", "many keys"])
def test_a_later_event_meets_a_hostile_one_read_back_from_the_database(deliver, drain, name):
    deliver(HOSTILE[name])
    drain()
    first = InboundEvent.objects.get()
    deliver(sample(ANALYZED, call_id=first.call_id))
    drain()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert Message.objects.get().stage == "analysed"


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"event=call_ended&call=1&call=2&&=&%00=%00&a%5B%5D=1&%ff=%fe", "failed"),
        (b"event=chat_ended&text=hello+world&text=", "ignored"),
        (b"event=unheard_of", "stored"),
        (b"&" * 10_000, "stored"),
        (b"a" * 1_000_000, "stored"),
        ("event=chat_ended&é=ü".encode(), "ignored"),
    ],
)
def test_a_form_is_taken_like_any_body(deliver, drain, body, state):
    assert deliver(body, content_type="application/x-www-form-urlencoded; charset=utf-8").status_code == 200
    drain()
    event = InboundEvent.objects.get()
    assert event.state == state
    assert bytes(event.body) == body
    assert_settled_and_path_open(deliver, drain)


def test_a_form_with_a_field_repeated_a_million_times_does_not_hold_the_door(deliver, drain):
    assert deliver(b"a&" * 1_000_000, content_type="application/x-www-form-urlencoded").status_code == 200
    assert drain() == 1


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/form-data; boundary=x", "application/json\x00", "x" * 5000]
)
def test_an_odd_content_type_is_no_obstacle(deliver, drain, content_type):
    assert deliver(sample(ENDED), content_type=content_type).status_code == 200
    drain()
    assert Message.objects.get().status == "success"


def test_a_body_that_is_not_json_is_kept_and_shows_as_failed(deliver, drain):
    deliver(b"call ended, have a nice day")
    drain()
    event = InboundEvent.objects.get()
    assert (event.state, event.error_code, event.error_path) == ("failed", "VCP_E002", "$")
    assert "not JSON" in event.error_detail
    assert bytes(event.body) == b"call ended, have a nice day"
    assert len(event.trace_id) == 32


def test_a_failure_names_code_path_rule_and_trace(deliver, drain, monkeypatch):
    def refuse(self, payload, identity=None):
        raise MappingError("VCP_E004", "call.start_timestamp: not a time", path="$.call.start_timestamp", rule="a rule")

    response = deliver(sample(ENDED))
    monkeypatch.setattr(Mapping, "apply", refuse)
    drain()
    event = InboundEvent.objects.get()
    assert (event.state, event.error_code, event.error_path) == ("failed", "VCP_E004", "$.call.start_timestamp")
    assert (event.error_rule, event.error_detail) == ("a rule", "call.start_timestamp: not a time")
    assert (event.event, event.call_id) == ("call_ended", CALL_ID)
    assert event.trace_id == response.json()["trace_id"]


def test_an_event_nobody_knows_is_stored(deliver, drain):
    deliver({"event": "call_teleported", "call": {"call_id": "c"}})
    drain()
    assert states() == {"call_teleported": "stored"}

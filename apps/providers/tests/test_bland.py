"""Bland AI's facts, one by one, against the catalogue file: what its documents say must come out of the mapping.

Each payload is a sample of the catalogue with the fields changed that the test is about. It is redacted, parsed,
mapped and folded by the engine alone.
"""

import copy
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from apps.providers import catalog
from apps.providers.engine.errors import MappingError
from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping, Report
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Reason, Secret, SignedRequest, verify
from vcp import validate

SPEC = catalog.load("bland")
MAPPING = Mapping(SPEC.mapping)
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
DONE, DELAYED, BUSY = "post_call_completed", "post_call_delayed_with_citations", "post_call_busy"
LATER, HANDED_OVER = "post_processing_multiple", "post_transfer_transcript"
START, END = "2026-03-04T15:30:02.417Z", "2026-03-04T15:31:41.000Z"
GONE = object()


def sample(name: str = DONE, /, **fields: Any) -> dict[str, Any]:
    """A copy of a sample; keywords replace its fields (`from_` is `from`), those that are GONE are taken out."""
    payload: dict[str, Any] = copy.deepcopy(catalog.samples("bland")[name])
    payload |= {field.rstrip("_"): value for field, value in fields.items()}
    return {field: value for field, value in payload.items() if value is not GONE}


@dataclass
class Stored:
    """What is kept of one delivery."""

    body: bytes
    fragment: Fragment
    report: Report
    event: Event


def store(payload: Any, digest: str = "") -> Stored:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = MAPPING.redact(raw, parse(raw))
    identity, fragment, report = MAPPING.apply(parse(body))
    spec = identity.spec
    assert spec.disposition == "map"
    event = Event(
        fragment=Fragment.from_json(json.loads(json.dumps(fragment.to_json()))),
        name=identity.event,
        rank=spec.rank,
        opens_call=spec.opens_call,
        proves=spec.proves,
        occurred_at=identity.occurred_at,
        digest=digest,
        received_at=RECEIVED_AT,
        failures=tuple(f"{failure['path']}: {failure['error']}" for failure in report.failed),
    )
    return Stored(body, fragment, report, event)


def folded(*payloads: Any) -> Folded | None:
    """The valid message of these deliveries in any order, or None while they wait."""
    events = [store(payload, str(number)).event for number, payload in enumerate(payloads)]
    context = Context("bland", "Bland AI", "call_x", "standard_30_days", lambda number: f"psn_{number[-4:]}")
    found = fold(events, MAPPING, context)
    assert all(fold(order, MAPPING, context) == found for order in permutations(events))
    if found is not None:
        assert validate(found.message, now=RECEIVED_AT).errors == []
    return found


def message(*payloads: Any) -> dict[str, Any]:
    found = folded(*payloads)
    assert found is not None
    return dict(found.message["vcp_payload"])


def call_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["call"])


def status_of(*payloads: Any) -> str:
    return str(message(*payloads)["outcomes"]["objective"]["status"])


def metrics_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["objective"]["metrics"])


def attribution_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["model_outcome_attribution"])


def data_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["custom"]["provider_specific"]["bland"]["data"])


def transcript(payload: Any) -> Any:
    value = store(payload).fragment.values.get("transcript")
    return value.value if value else None


# --- the provider, and its signature -----------------------------------------------------------------------


def test_the_provider_is_known_by_its_addresses_and_pages():
    assert (SPEC.api_base_url, SPEC.docs_url) == ("https://api.bland.ai", "https://docs.bland.ai")
    assert set(SPEC.source_addresses) == {
        "44.246.155.79", "54.190.223.101", "3.98.29.197", "52.60.150.249",
        "13.210.163.103", "3.105.64.237", "34.248.58.192", "54.73.237.185",
    }  # fmt: skip
    urls = {page.url for page in SPEC.pages}
    assert {"https://status.bland.ai", "https://status.bland.ai/api/v2/summary.json"} <= urls
    assert {"https://docs.bland.ai/llms.txt", "https://status.bland.ai/history.atom"} <= urls


SECRET = "bland_whk_5f1c0b7e2d"
VECTORS = [
    (b'{"call_id":"c-1","status":"completed","call_length":0.75,"corrected_duration":"45","price":0.068}',
     "50f9ca9b4a4c4e9bdf5f9fbdbe5e75105e6828ecc6e8b356ac0740c0f54fd371"),
    ('{"call_id":"c-2","summary":"Zoë paid 12 € — fini","status":"no-answer","call_length":0}'.encode(),
     "d63b0888ca960413723001d0b07e7ab1f19515959e90651987dbf80b2bd54c6d"),
]  # fmt: skip


def proved(body: bytes, header: str, secret: str = SECRET, year: int = 2026) -> Reason:
    request = SignedRequest({"x-webhook-signature": header}, body)
    secrets = [Secret("old", "another secret"), Secret("new", secret)]
    return verify(SPEC.auth, secrets, request, datetime(year, 1, 1, tzinfo=UTC)).reason


@pytest.mark.parametrize(("body", "digest"), VECTORS)
def test_the_documented_signatures_are_accepted_at_any_time(body, digest):
    assert proved(body, digest) is proved(body, digest, year=2036) is Reason.OK


@pytest.mark.parametrize(
    ("body", "header", "secret", "reason"),
    [
        (VECTORS[0][0] + b"\n", VECTORS[0][1], SECRET, Reason.SIGNATURE_MISMATCH),
        (json.dumps(json.loads(VECTORS[0][0])).encode(), VECTORS[0][1], SECRET, Reason.SIGNATURE_MISMATCH),
        (VECTORS[0][0], VECTORS[1][1], SECRET, Reason.SIGNATURE_MISMATCH),
        (VECTORS[0][0], VECTORS[0][1], "5f1c0b7e2d", Reason.SIGNATURE_MISMATCH),
        (VECTORS[0][0], VECTORS[0][1].upper(), SECRET, Reason.HEADER_MALFORMED),
        (VECTORS[0][0], "sha256=" + VECTORS[0][1], SECRET, Reason.HEADER_MALFORMED),
        (VECTORS[0][0], "", SECRET, Reason.HEADER_MISSING),
    ],
)
def test_what_blands_scheme_refuses(body, header, secret, reason):
    assert proved(body, header, secret) is reason


def test_without_a_secret_nothing_is_proved():
    request = SignedRequest({"x-webhook-signature": VECTORS[0][1]}, VECTORS[0][0])
    assert verify(SPEC.auth, [], request, RECEIVED_AT).reason is Reason.NO_SECRET


# --- what arrives -------------------------------------------------------------------------------------------

LINE = {"message": "Call connected", "call_id": "c", "category": "call", "log_level": "info"}
TOOL_LINE = LINE | {"message": 'Executing custom tool: CheckSlots with input: {"day": "2026-03-11"}'}
SMS = {"conversation_id": "x", "channel": "sms"}


@pytest.mark.parametrize(
    ("payload", "event", "kind", "disposition"),
    [
        (SMS, "text_message", "ignored", "ignore"),
        (SMS | {"channel": "rcs"}, "text_message", "ignored", "ignore"),
        (SMS | {"channel": "whatsapp", "status": "read"}, "text_message", "ignored", "ignore"),
        (SMS | LINE, "text_message", "ignored", "ignore"),
        (SMS | {"call_id": "c", "status": "completed"}, "text_message", "ignored", "ignore"),
        (SMS | {"channel": "fax"}, "unknown", "unknown", "store"),
        ({"channel": "sms", "call_id": "c", "status": "completed"}, "post_call", "call_ended", "map"),
        (LINE, "in_call_event", "call_progress", "store"),
        *[({key: text for key, text in LINE.items() if key != part} | {"completed": True}, "post_call", "call_ended",
           "map") for part in ("category", "message", "log_level")],
        (LINE | {"category": "performance", "log_level": "performance"}, "in_call_event", "call_progress", "store"),
        (TOOL_LINE, "in_call_tool", "call_progress", "map"),
        (TOOL_LINE | {"category": "webhook"}, "in_call_tool", "call_progress", "map"),
        (TOOL_LINE | {"status": "completed"}, "post_call", "call_ended", "map"),
        (TOOL_LINE | {"message": "Executing custom tool: x"}, "in_call_event", "call_progress", "store"),
        (LINE | {"message": "Storing dynamic data: {}"}, "in_call_event", "call_progress", "store"),
        (LINE | {"completed": True}, "in_call_event", "call_progress", "store"),
        (LINE | {"status": "completed"}, "post_call", "call_ended", "map"),
        ({"event_type": "citations", "call_id": "c"}, "citations", "call_analyzed", "map"),
        ({"event_type": "evals", "call_id": "c"}, "evals", "call_analyzed", "map"),
        ({"event_type": "multiple", "call_id": "c", "status": "completed"}, "multiple", "call_analyzed", "map"),
        ({"event_type": "post_transfer_transcript", "call_id": "c"}, "post_transfer_transcript", "call_analyzed",
         "map"),
        *[({"event_type": word, "call_id": "c", "status": "completed"}, word, "call_analyzed", "map")
          for word in ("citations", "evals", "post_transfer_transcript")],
        ({"event_type": "of_tomorrow", "call_id": "c"}, "of_tomorrow", "unknown", "store"),
        ({"event_type": "of_tomorrow", "call_id": "c", "status": "completed"}, "post_call", "call_ended", "map"),
        ({"call_id": "c", "status": "completed"}, "post_call", "call_ended", "map"),
        ({"call_id": "c", "completed": False}, "post_call", "call_ended", "map"),
        ({"call_id": "c", "corrected_duration": "0"}, "post_call", "call_ended", "map"),
        ({"call_id": "c", "queue_status": "call_error"}, "post_call", "call_ended", "map"),
        ({"c_id": "c", "status": "completed"}, "post_call", "call_ended", "map"),
        ({"call_id": "c", "status": "completed", "is_proxy_agent_call": False}, "post_call", "call_ended", "map"),
        ({"call_id": "c", "status": "completed", "is_proxy_agent_call": True}, "proxy_agent_call", "ignored", "store"),
        ({"call_id": "c", "status": None, "summary": "x"}, "unknown", "unknown", "store"),
        ({"status": "completed"}, "unknown", "unknown", "store"),
        ({"event": "call_ended"}, "unknown", "unknown", "store"),
        ({}, "unknown", "unknown", "store"),
        ([], "unknown", "unknown", "store"),
    ],
)  # fmt: skip
def test_each_payload_is_told_by_its_looks(payload, event, kind, disposition):
    identity = MAPPING.identify(payload)
    assert (identity.event, identity.spec.kind, identity.spec.disposition) == (event, kind, disposition)


def test_only_the_finished_call_opens_one_and_no_event_waits_for_an_answer():
    assert [row.name for row in SPEC.mapping.events if row.opens_call] == ["post_call"]
    assert [row for row in SPEC.mapping.events if row.answer is not None] == []


def test_what_is_worked_out_later_lies_over_the_finished_call():
    rows = {row.name: (row.rank, row.proves) for row in SPEC.mapping.events if row.disposition == "map"}
    assert rows.pop("in_call_tool") == (10, None)
    later = dict.fromkeys(("citations", "evals", "multiple", "post_transfer_transcript"), (40, "analysed"))
    assert rows == {"post_call": (30, "ended"), **later}


@pytest.mark.parametrize(
    ("fields", "call_id"),
    [({}, sample()["call_id"]), ({"c_id": GONE}, sample()["call_id"]), ({"call_id": GONE, "c_id": "old"}, "old"),
     ({"call_id": None, "c_id": "old"}, "old"), ({"c_id": "other"}, sample()["call_id"])],
)  # fmt: skip
def test_older_payloads_have_only_c_id(fields, call_id):
    assert MAPPING.identify(sample(**fields)).call_id == call_id


@pytest.mark.parametrize("event_type", ["citations", "post_transfer_transcript", "evals", "multiple"])
def test_post_processing_without_a_call_fails_and_says_so(event_type):
    with pytest.raises(MappingError) as raised:
        store({"event_type": event_type, "citations": []})
    assert (raised.value.code, raised.value.path) == ("VCP_E005", "$['call_id','c_id']")


def test_post_processing_may_name_its_call_as_older_payloads_do():
    later = {"event_type": "citations", "c_id": sample()["call_id"], "citations": [{"variable_name": "n"}]}
    assert data_of(sample(), later)["citations"] == later["citations"]


@pytest.mark.parametrize("told", [{"status": "completed"}, {"completed": True}, {"corrected_duration": "3"}])
def test_every_field_but_the_id_may_be_absent(told):
    found = message({"call_id": "c", **told})
    assert found["call"]["start_time"] == "2026-11-01T00:00:00.000Z"
    assert "start_time_unknown" in found["provenance"]["transformation_history"]
    assert not {"from", "to", "direction", "end_time", "caller_id"} & set(found["call"])
    assert not any(found["artifacts"].values())
    assert "consent" not in found


# --- one call, several webhooks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [LATER, HANDED_OVER])
def test_post_processing_waits_for_its_call(name):
    assert folded(sample(name)) is None
    assert folded(sample(name), sample()).stage == "analysed"


def test_post_processing_adds_and_blanks_nothing():
    alone, both = message(sample()), message(sample(), sample(LATER))
    for part in ("call", "outcomes", "hcr", "artifacts"):
        assert both[part] == alone[part]
    added = {key: value for key, value in data_of(sample(), sample(LATER)).items() if key not in data_of(sample())}
    assert set(added) == {"citations", "contents"}
    assert added["citations"][0]["value"] == "March 11"


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("event_type", ["citations", "evals", "multiple", "post_transfer_transcript"])
def test_empty_call_fields_of_post_processing_overwrite_nothing(event_type, nothing):
    poor = dict.fromkeys(sample(), nothing) | {"call_id": sample()["call_id"], "event_type": event_type}
    alone, both = message(sample()), message(sample(), poor)
    for part in ("call", "outcomes", "hcr", "artifacts", "custom"):
        assert both[part] == alone[part]


def test_the_corrected_transcript_of_post_processing_lies_over_the_first_one():
    events = [store(sample(LATER)).event, store(sample()).event]
    last = max(events, key=lambda event: event.order).fragment.values["transcript"]
    assert last.value[0] == {
        "speaker": "agent", "text": "Hi, this is Mara from Northside Heating. Am I speaking with Dana?",
        "start_sec": 0.41, "end_sec": 3.2, "confidence": 0.94,
    }  # fmt: skip
    assert last.value[1]["speaker"] == "caller"


def test_a_disposition_told_on_its_own_takes_no_key_point_away():
    later = {"event_type": "multiple", "call_id": "c", "disposition_tag": "LATE", "pathway_tags": ["x"]}
    assert message(sample(), later)["hcr"]["key_points"] == message(sample())["hcr"]["key_points"]
    assert data_of(sample(), later)["disposition_tag"] == "LATE"


def test_what_was_said_after_the_hand_over_and_the_evaluations_are_kept():
    evals = {"event_type": "evals", "call_id": "c", "post_call_evals": [{"name": "polite", "score": 1}]}
    data = data_of(sample(DELAYED), sample(HANDED_OVER), evals)
    assert data["post_transfer_transcript"][0]["text"] == "Billing, this is Joan."
    assert data["transfer_offset_seconds"] == 95.541
    assert data["post_call_evals"] == [{"name": "polite", "score": 1}]


def test_a_webhook_sent_again_changes_nothing():
    once, twice = message(sample()), message(sample(), sample())
    for part in ("call", "outcomes", "hcr", "artifacts", "custom"):
        assert once[part] == twice[part]


@pytest.mark.parametrize(("name", "stage"), [(DONE, "ended"), (BUSY, "ended"), (DELAYED, "ended")])
def test_the_finished_call_is_ended(name, stage):
    assert folded(sample(name)).stage == stage


# --- times and length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({}, START),
        ({"started_at": "2026-03-04T16:30:05+01:00"}, "2026-03-04T15:30:05.000Z"),
        ({"created_at": "2026-03-04T15:29:00.123456+00:00"}, START),
        ({"started_at": None, "created_at": "2026-03-04T15:29:00.123456+00:00"}, "2026-03-04T15:29:00.123456Z"),
        ({"started_at": GONE, "created_at": "2026-03-04T15:29:00.5+00:00"}, "2026-03-04T15:29:00.500Z"),
        ({"started_at": "soon", "created_at": "2026-03-04T15:29:00Z"}, "2026-03-04T15:29:00.000Z"),
        ({"started_at": GONE, "created_at": GONE}, "2026-03-04T15:30:10.000Z"),
        ({"started_at": GONE, "created_at": GONE, "corrected_duration": GONE, "call_length": GONE}, END),
    ],
)
def test_the_start_is_the_connection_else_the_request(fields, start):
    found = message(sample(**fields))
    assert found["call"]["start_time"] == start
    inferred = "inferred:call.start_time" in found["provenance"]["transformation_history"]
    assert inferred is (fields.get("started_at", START) in (None, GONE, "soon"))


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, END),
        ({"completed": True, "status": "unknown"}, END),
        ({"completed": True, "status": GONE}, END),
        ({"completed": False, "status": "completed"}, END),
        ({"completed": GONE, "status": "failed"}, END),
        ({"completed": GONE, "status": "busy"}, END),
        ({"completed": GONE, "status": "no-answer"}, END),
        ({"completed": GONE, "status": "canceled"}, END),
        ({"completed": False, "status": "unknown"}, None),
        ({"completed": False, "status": GONE}, None),
        ({"completed": GONE, "status": "ringing"}, None),
        ({"end_at": None}, None),
        ({"end_at": "2026-03-04T15:30:00Z"}, None),
    ],
)
def test_the_end_is_only_the_end_once_the_call_is_over(fields, end):
    assert call_of(sample(**fields)).get("end_time") == end


@pytest.mark.parametrize(
    ("fields", "sec"),
    [
        ({}, 91),
        ({"corrected_duration": "11", "call_length": 5}, 11),
        ({"corrected_duration": 11}, 11),
        ({"corrected_duration": "10.5"}, 11),
        ({"corrected_duration": "10.49"}, 10),
        ({"corrected_duration": "0"}, 0),
        ({"corrected_duration": GONE, "call_length": 0.183333333333333}, 11),
        ({"corrected_duration": None, "call_length": 1.51666666666667}, 91),
        ({"corrected_duration": "", "call_length": 0.175}, 11),
        ({"corrected_duration": "long", "call_length": "0.75"}, 45),
        ({"corrected_duration": "-3", "call_length": 0}, 0),
        ({"corrected_duration": GONE, "call_length": GONE}, 99),
        ({"corrected_duration": GONE, "call_length": GONE, "started_at": None}, None),
        ({"corrected_duration": GONE, "call_length": GONE, "end_at": None}, None),
    ],
)
def test_the_length_is_in_seconds_whatever_the_unit_was(fields, sec):
    assert call_of(sample(**fields)).get("duration_sec") == sec


@pytest.mark.parametrize(
    ("fields", "sec"),
    [
        ({"status": "busy"}, 0),
        ({"status": "no-answer"}, 0),
        ({"status": "completed", "answered_by": "no-answer"}, 0),
        ({"status": "failed"}, 0),
        ({"status": "failed", "error_message": "The number you dialed is temporarily unavailable."}, 0),
        ({"status": "failed", "error_message": "A database error occurred. Please contact support."}, 6),
        ({"status": "canceled"}, 6),
        ({"status": "busy", "corrected_duration": "2"}, 2),
    ],
)
def test_the_ringing_is_no_length_of_a_call_that_reached_nobody(fields, sec):
    payload = sample(BUSY, **{"corrected_duration": GONE, "call_length": GONE, **fields})
    assert call_of(payload)["duration_sec"] == sec


def test_the_parts_around_a_transfer_are_minutes_too():
    metrics = metrics_of(sample(DELAYED))
    assert (metrics["pre_transfer_duration_sec"], metrics["post_transfer_duration_sec"]) == (92.525, 22.475)
    assert not {"pre_transfer_duration_sec", "post_transfer_duration_sec"} & set(metrics_of(sample()))


@pytest.mark.parametrize(
    ("fields", "told"),
    [({}, END), ({"end_at": None}, START), ({"end_at": None, "started_at": GONE}, "2026-03-04T15:30:02.417Z"),
     ({"end_at": None, "started_at": None, "created_at": None}, None)],
)  # fmt: skip
def test_the_events_own_time_is_the_latest_that_is_told(fields, told):
    assert MAPPING.identify(sample(**fields)).occurred_at == told


# --- who and over what --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inbound", "direction", "caller"),
    [(True, "inbound", "psn_9001"), (False, "outbound", "psn_4477"), ("true", "inbound", "psn_9001"),
     (None, None, None), (GONE, None, None)],
)  # fmt: skip
def test_inbound_says_the_direction_and_its_absence_nothing(inbound, direction, caller):
    found = call_of(sample(inbound=inbound))
    assert (found.get("direction"), found.get("caller_id")) == (direction, caller)
    assert (found["from"], found["to"], found["channel"]) == ("+15550199001", "+15550104477", "phone")


@pytest.mark.parametrize(
    ("fields", "channel"),
    [
        ({}, "phone"),
        ({"from_": None}, "phone"),
        ({"to": ""}, "phone"),
        ({"from_": None, "to": None}, "web"),
        ({"from_": GONE, "to": GONE, "inbound": GONE}, "web"),
        ({"from_": GONE, "to": " ", "call_id": GONE}, "web"),
    ],
)
def test_numbers_make_a_phone_call_and_none_a_web_call(fields, channel):
    found = message(sample(**fields))
    assert found["call"]["channel"] == channel
    assert ("inferred:call.channel" in found["provenance"]["transformation_history"]) is (channel == "web")
    assert found["call"].get("from") == ("+15550199001" if fields.get("from_", "told") == "told" else None)


def test_post_processing_tells_no_channel():
    assert "call.channel" not in store(sample(LATER)).fragment.values


@pytest.mark.parametrize(
    ("metadata", "session_id"),
    [({"session_id": "s-1", "a": 1}, "s-1"), ({"session_id": 77}, "77"), ({"session_id": ""}, "call_x"),
     ({}, "call_x"), (None, "call_x"), ([], "call_x"), ({"session_id": "s" * 256}, "call_x")],
)  # fmt: skip
def test_the_customers_session_joins_calls_and_stays_in_the_metadata(metadata, session_id):
    found = message(sample(metadata=metadata, batch_id="b-7"))
    assert found["call"]["session_id"] == session_id
    data = found["custom"]["provider_specific"]["bland"]["data"]
    assert data.get("metadata") == (metadata or None)
    assert data["batch_id"] == "b-7"


# --- tools and transcript -----------------------------------------------------------------------------------

ENDED = {"id": 1, "user": "agent-action", "text": "Ended call"}


@pytest.mark.parametrize(
    ("fields", "capabilities"),
    [
        ({}, ["Ended call"]),
        ({"transcripts": [{"user": "user", "text": "Ended call"}]}, None),
        ({"transcripts": [{"user": "agent-action", "text": "Pressed 4711"}]}, None),
        ({"transcripts": GONE}, None),
        ({"transcripts": []}, None),
        ({"transcripts": "x"}, None),
        ({"transferred_to": "+15550177000"}, ["Transferred call", "Ended call"]),
        ({"transferred_to": "+15550177000", "transcripts": []}, ["Transferred call"]),
        ({"transferred_to": 15550177000, "transcripts": []}, ["Transferred call"]),
        ({"transferred_to": None, "transcripts": [ENDED, ENDED]}, ["Ended call"]),
    ],
)
def test_capabilities_are_names_that_are_known_and_no_guesses(fields, capabilities):
    assert call_of(sample(**fields)).get("capabilities_invoked") == capabilities


def tool_line(name: str, given: str = "{}", **fields: Any) -> dict[str, Any]:
    return TOOL_LINE | {"message": f"Executing custom tool: {name} with input: {given}"} | fields


@pytest.mark.parametrize(
    ("lines", "capabilities"),
    [
        ([], ["Ended call"]),
        ([tool_line("CheckSlots")], ["CheckSlots", "Ended call"]),
        ([tool_line("CheckSlots"), tool_line("BookSlot"), tool_line("CheckSlots", '{"day": "another"}')],
         ["BookSlot", "CheckSlots", "Ended call"]),
        ([tool_line("Look up with care")], ["Look up with care", "Ended call"]),
        ([tool_line(" ")], ["Ended call"]),
        ([LINE, LINE | {"message": "Storing dynamic data: {}"}], ["Ended call"]),
    ],
)  # fmt: skip
def test_tools_told_in_the_running_call_are_named_in_the_finished_one(lines, capabilities):
    tools = [line for line in lines if MAPPING.identify(line).spec.disposition == "map"]
    ended = sample(transcripts=[{"user": "agent-action", "text": "Ended call"}])
    assert call_of(*tools, ended).get("capabilities_invoked") == capabilities


def test_a_tool_s_line_waits_for_its_call_and_leaves_nothing_but_a_name():
    line = tool_line("BookSlot", '{"phone": "+15550142233"}')
    assert folded(line) is None
    stored = store(line)
    assert "+15550142233" not in json.dumps(stored.fragment.to_json())
    assert stored.fragment.collected == {"tools": {"BookSlot": {"name": "BookSlot"}}}
    assert data_of(line, sample()) == data_of(sample())


CORRECTED = [
    {"start": 0.384, "end": 2.1, "speaker": 2, "text": "Hello.", "confidence": 0.9},
    {"start": 3, "end": 4.5, "speaker": 1, "speaker_label": "", "text": "Hi."},
    {"start": 5, "end": 6, "speaker": 1, "speaker_label": "representative", "text": "Desk."},
    {"start": 7, "end": 8, "speaker": 2, "text": ""},
    {"start_time": 9, "end_time": 10, "speaker_name": "User", "transcript": "Bye."},
]


def test_the_corrected_transcript_comes_first_with_seconds():
    assert transcript(sample(corrected_transcript=CORRECTED)) == [
        {"speaker": "agent", "text": "Hello.", "start_sec": 0.384, "end_sec": 2.1, "confidence": 0.9},
        {"speaker": "caller", "text": "Hi.", "start_sec": 3, "end_sec": 4.5},
        {"speaker": "representative", "text": "Desk.", "start_sec": 5, "end_sec": 6},
        {"speaker": "caller", "text": "Bye.", "start_sec": 9, "end_sec": 10},
    ]


def test_then_the_transcript_as_it_was_heard():
    rows = [{"user": word, "text": "x", "created_at": "t"} for word in ("user", "assistant", "robot", "agent-action")]
    for nothing in (GONE, None, [], [{"speaker": 1}]):
        found = transcript(sample(transcripts=rows, corrected_transcript=nothing))
        assert [row["speaker"] for row in found] == ["caller", "agent", "agent", "agent_action"]
        assert found[0] == {"speaker": "caller", "text": "x", "at": "t"}


def test_then_the_one_in_a_text():
    found = transcript(sample(transcripts=[], concatenated_transcript="robot: Press 1. \n user: One. \n "))
    assert found == [{"speaker": "agent", "text": "Press 1."}, {"speaker": "caller", "text": "One."}]
    kept = transcript(sample(transcripts=GONE))
    assert [row["speaker"] for row in kept] == ["agent", "caller", "agent", "caller", "agent_action"]
    assert kept[-1]["text"] == "Ended call"
    assert transcript(sample(transcripts=GONE, concatenated_transcript="")) is None


def test_no_transcript_text_stands_in_the_message():
    text = json.dumps(message(sample(corrected_transcript=CORRECTED)))
    assert "Great, I can offer" not in text
    assert "Hello." not in text


def test_the_way_through_the_pathway_is_kept_without_the_words():
    logs = data_of(sample())["pathway_logs"]
    assert logs[0] == {
        "tag": {"name": "Intro", "color": "#862727"},
        "role": "user",
        "decision": '{"Current Node Name":"Intro"}',
        "pathway_info": '{"Request Data":{"phone_number":"+15550104477"}}',
        "chosen_node_id": "1",
        "created_at": "2026-03-04T15:30:10.117Z",
    }
    assert "pathway_logs" not in data_of(sample(pathway_logs=None))


def test_the_recording_is_referred_to_and_its_end_kept():
    found = message(sample())
    assert found["artifacts"]["audio_recording_ref"].startswith("https://api.bland.ai/v1/recordings/6f2f1c8e")
    assert found["custom"]["provider_specific"]["bland"]["data"]["recording_expiration"] == "2026-04-03T15:31:10.000Z"
    assert not any(message(sample(recording_url=None))["artifacts"].values())


# --- money and models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "usd"), [(0.136, 0.136), ("0.136", 0.136), (0, 0.0), (0.015, 0.015), (1e-9, 1e-9), (120, 120.0)]
)
def test_the_price_is_dollars_for_everything_together(price, usd):
    found = attribution_of(sample(price=price))
    assert found["total_cost_usd"] == usd
    assert found["roles"] == {}
    assert found["kpis"] == {"cost_per_call_usd": usd, "cost_native": usd, "cost_native_unit": "usd"}


@pytest.mark.parametrize("price", [None, GONE, ""])
def test_a_price_that_is_not_told_is_null_and_never_0(price):
    found = attribution_of(sample(price=price))
    assert "total_cost_usd" not in found
    assert found["kpis"] == {}


def test_neither_models_nor_satisfaction_nor_consent_are_invented():
    found = message(sample())
    assert found["model_selection"]["roles"] == {}
    assert "user_satisfaction_score" not in found["outcomes"]
    assert found["outcomes"]["perception_gap"]["factors"] == ["not_assessed"]
    assert "consent" not in found
    assert found["custom"]["provider_specific"]["bland"]["data"]["voice_id"] == sample()["voice_id"]


# --- words for people ---------------------------------------------------------------------------------------


def test_the_summary_and_its_first_sentence():
    found = message(sample(summary=" Booked a visit. All well. "))["hcr"]
    assert (found["summary"], found["headline"]) == ("Booked a visit. All well.", "Booked a visit")
    assert message(sample(summary=None))["hcr"]["headline"] == "Bland AI outbound call: success"


@pytest.mark.parametrize(
    ("fields", "points"),
    [
        ({}, ["BOOKED_SERVICE", "Intro", "Slot Offered", "Booked", "appointment_time: 2026-03-11T14:00:00-06:00",
              "wants_reminder: yes"]),
        ({"disposition_tag": None, "analysis": None}, ["Intro", "Slot Offered", "Booked"]),
        ({"disposition_tag": "Booked", "analysis": GONE, "pathway_tags": ["Booked", None]}, ["Booked"]),
        ({"disposition_tag": GONE, "analysis": {"left": 3, "none": None}, "pathway_tags": GONE}, ["left: 3"]),
        ({"disposition_tag": GONE, "analysis": "in words", "pathway_tags": []}, ["in words"]),
        ({"disposition_tag": None, "analysis": {}, "pathway_tags": []}, None),
    ],
)  # fmt: skip
def test_disposition_tags_and_analysis_are_the_key_points(fields, points):
    assert message(sample(**fields))["hcr"].get("key_points") == points


def test_who_answered_and_who_hung_up_are_measured():
    assert metrics_of(sample()) == {"answered_by": "human", "call_ended_by": "ASSISTANT", "aht_sec": 91}
    assert metrics_of(sample(answered_by=None, call_ended_by=None)) == {"aht_sec": 91}
    assert metrics_of(sample(DELAYED))["warm_transfer_state"] == "MERGED"


def test_the_rest_is_kept_as_blands_own_data():
    data = data_of(sample(DELAYED, isRetry=True, post_call_evals=[1]))
    for field in ("disposition_tag", "created_at", "max_duration", "variables", "queue_status", "status", "completed",
                  "transferred_to", "transferred_at", "citations", "citation_schema_ids", "voice_id",
                  "recording_expiration", "record", "local_dialing", "is_canary", "metadata"):  # fmt: skip
        assert data[field] == sample(DELAYED)[field]
    assert data["warm_transfer_call"]["proxy_agent_calls"][0]["phone_number"] == "+15550177000"
    assert (data["isRetry"], data["post_call_evals"]) == (True, [1])
    assert "error_message" in data_of(sample(BUSY))


# --- the outcome --------------------------------------------------------------------------------------------

FAILED = "Call failed. The number you dialed is "
ERRORS = [
    "Call failed.", f"{FAILED}not found.", "A database error occurred. Please contact support.", "unknown", None, GONE,
    "Call failed. Service Provider Blocked Call due to Spam or Number Reputation. Try a different number.",
    "Unable to start call. Check the call details error_message for more details.", "Account not allowed to call +1",
]  # fmt: skip
BAD_QUEUE = ["pre_queue_error", "queue_error", "call_error"]
OLD = {"status": GONE, "completed": True}
UNSUCCESSFUL = ["CANCELLED", "NO_ANSWER", "TIMED_OUT"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        # nobody was reached
        ({"status": "busy"}, "timeout"),
        ({"status": "no-answer"}, "timeout"),
        ({"status": "No-Answer "}, "timeout"),
        ({"status": "busy", "transferred_to": "+1555"}, "timeout"),
        ({"answered_by": "no-answer"}, "timeout"),
        ({"status": "canceled", "answered_by": "no-answer"}, "timeout"),
        ({"status": "failed", "answered_by": "no-answer"}, "timeout"),
        # stopped
        ({"status": "canceled"}, "unknown"),
        ({"status": "canceled", "queue_status": "call_error"}, "unknown"),
        # failed
        ({"status": "failed", "error_message": f"{FAILED}busy. Please try again later."}, "timeout"),
        ({"status": "failed", "error_message": f"{FAILED}temporarily unavailable."}, "timeout"),
        *[({"status": "failed", "error_message": text}, "error") for text in ERRORS],
        *[({"status": "failed", "queue_status": word}, "error") for word in ["complete", *BAD_QUEUE]],
        # the queue, where no final status says more
        *[({"status": GONE, "queue_status": word}, "error") for word in BAD_QUEUE],
        *[({**OLD, "queue_status": word}, "error") for word in BAD_QUEUE],
        *[({"status": "unknown", "queue_status": word}, "error") for word in BAD_QUEUE],
        *[({"status": "completed", "queue_status": word}, "success") for word in BAD_QUEUE],
        # unknown
        ({"status": "unknown"}, "unknown"),
        ({"status": "flew_away"}, "unknown"),
        ({"status": "not_completed"}, "unknown"),
        ({"status": "flew_away", "transferred_to": "+1555"}, "unknown"),
        ({"status": 5}, "unknown"),
        ({"status": GONE, "completed": False}, "unknown"),
        ({"status": GONE, "completed": GONE}, "unknown"),
        ({"status": None, "completed": False, "answered_by": "human"}, "unknown"),
        ({"status": GONE, "completed": GONE, "answered_by": "voicemail"}, "unknown"),
        ({"status": GONE, "completed": False, "answered_by": "voicemail"}, "unknown"),
        # completed
        ({}, "success"),
        ({"completed": False}, "success"),
        ({"completed": GONE}, "success"),
        ({"answered_by": "unknown"}, "success"),
        ({"answered_by": None}, "success"),
        ({"answered_by": GONE, "transcripts": []}, "success"),
        ({"answered_by": "Human", "transcripts": []}, "success"),
        ({"answered_by": "voicemail"}, "timeout"),
        ({"answered_by": "voicemail", "transferred_to": "+1555"}, "timeout"),
        ({"answered_by": "voicemail", "warm_transfer_call": {"state": "NO_ANSWER"}}, "timeout"),
        *[({"warm_transfer_call": {"state": state}}, "failure") for state in UNSUCCESSFUL],
        *[({"warm_transfer_call": {"state": state}, "transferred_to": "+1555"}, "failure") for state in UNSUCCESSFUL],
        ({"transferred_to": "+15550177000"}, "partial"),
        ({"transferred_to": 15550177000}, "partial"),
        ({"warm_transfer_call": {"state": "MERGED"}}, "partial"),
        ({"warm_transfer_call": {"state": "STARTED"}}, "partial"),
        ({"warm_transfer_call": {"state": "MERGED"}, "answered_by": None}, "partial"),
        ({"warm_transfer_call": {"state": "OF_TOMORROW"}}, "partial"),
        ({"warm_transfer_call": {"state": None}}, "success"),
        ({"warm_transfer_call": {}}, "success"),
        ({"disposition_tag": "TRANSFERRED"}, "success"),
        ({"error_message": f"{FAILED}busy. Please try again later."}, "success"),
        ({"queue_status": "complete_error"}, "success"),
        ({"answered_by": "robot"}, "success"),
        ({"answered_by": "robot", "transcripts": [{"user": "assistant", "text": "Hi"}]}, "unknown"),
        ({"answered_by": "robot", "transcripts": []}, "unknown"),
        ({"answered_by": "robot", "transcripts": GONE}, "unknown"),
        # older payloads without a status
        (OLD, "success"),
        ({**OLD, "completed": "true"}, "success"),
        ({**OLD, "answered_by": None}, "success"),
        ({**OLD, "answered_by": "voicemail"}, "timeout"),
        ({**OLD, "answered_by": "no-answer"}, "timeout"),
        ({**OLD, "transferred_to": "+1555"}, "partial"),
        ({**OLD, "warm_transfer_call": {"state": "NO_ANSWER"}}, "failure"),
        ({**OLD, "answered_by": "robot"}, "success"),
        ({**OLD, "answered_by": "robot", "transcripts": []}, "unknown"),
        ({**OLD, "queue_status": "complete_error"}, "success"),
    ],
)
def test_the_outcome_is_the_first_row_that_fits(fields, status):
    payload = sample(**fields)
    assert status_of(payload) == status
    assert message(payload)["hcr"]["outcome_status"] == status


@pytest.mark.parametrize("word", ["completed", "failed", "busy", "no-answer", "canceled", "unknown", "", None, GONE])
def test_the_documented_statuses_are_known(word):
    assert folded(sample(status=word)).unseen == []


def test_a_status_nobody_knows_is_reported_and_kept():
    assert folded(sample(status="flew_away")).unseen == [{"source": "status", "word": "flew_away"}]
    assert data_of(sample(status="flew_away"))["status"] == "flew_away"


# --- what must not be stored --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["api_key", "crm_api_key", "apiKey", "Authorization", "access_token", "password",
                                  "secret", "crm_token", "client_secret", "db_password_2"])  # fmt: skip
@pytest.mark.parametrize("place", ["variables", "metadata", "analysis", "post_call_evals", "citations"])
def test_credentials_among_the_customers_own_values_are_kept_nowhere(place, name):
    stored = store(sample(**{place: [{"deep": {name: "PRIVATE-1"}, "kept": "open"}]}))
    found = json.dumps(message(stored.body))
    assert "open" in found
    assert "PRIVATE-1" not in stored.body.decode() + json.dumps(stored.fragment.to_json()) + found


# --- hostile values -----------------------------------------------------------------------------------------

HUGE = "@1e400@"  # written as a bare number
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**18, 1e300, HUGE, "", " ", "x", "…" * 150_000, "\u0000", "\ud800", "NaN",
    [], {}, [None], [[]], [{}], {"a": 1}, ["x"], [1, "x"], [[["x"]]],
]  # fmt: skip
RICH = sample(DELAYED, metadata={"session_id": "s"}, analysis={"a": 1}, error_message="x") | {
    "pathway_logs": sample()["pathway_logs"]
}
STATUSES = {"success", "failure", "timeout", "error", "unknown", "partial"}


def with_value(path: tuple[Any, ...], value: Any) -> bytes:
    payload = copy.deepcopy(RICH)
    node = payload
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(payload).replace(f'"{HUGE}"', "1e400").encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a JSON value, of lists the first element only."""
    members = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    return [found for key, inner in members for found in ((*path, key), *places(inner, (*path, key)))]


# Not the id, which may be too long, and not the mark of a call that is none of the customer's.
FIELDS = [path for path in places(RICH) if path not in (("call_id",), ("is_proxy_agent_call",))]


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_no_value_in_any_field_loses_the_call(path):
    for value in HOSTILE:
        found = message(with_value(path, value))
        assert found["outcomes"]["objective"]["status"] in STATUSES
        assert path == ("summary",) or found["hcr"]["summary"] == RICH["summary"]


@pytest.mark.parametrize(
    ("field", "value", "target"),
    [
        ("started_at", 1773677101, "call.start_time"),
        ("started_at", "1970-01-01T00:00:00Z", "call.start_time"),
        ("end_at", {"at": 1}, "call.end_time"),
        ("corrected_duration", "1:31", "call.duration_sec"),
        ("corrected_duration", -1, "call.duration_sec"),
        ("call_length", "long", "call.duration_sec"),
        ("inbound", ["x"], "call.direction"),
        ("from", {"number": "+1"}, "call.from"),
        ("to", ["+1"], "call.to"),
        ("price", "a lot", "outcomes.model_outcome_attribution.total_cost_usd"),
        ("price", -1, "outcomes.model_outcome_attribution.total_cost_usd"),
        ("price", 1e9, "outcomes.model_outcome_attribution.total_cost_usd"),
        ("summary", "…" * 100_001, "hcr.summary"),
        ("answered_by", {"x": 1}, "outcomes.objective.metrics.answered_by"),
        ("call_ended_by", True, "outcomes.objective.metrics.call_ended_by"),
        ("pre_transfer_duration", "x", "outcomes.objective.metrics.pre_transfer_duration_sec"),
        ("recording_url", ["x"], "artifacts.audio_recording_ref"),
        ("transcripts", "x", "transcript"),
        ("pathway_logs", {"a": 1}, "custom.provider_specific.bland.data.pathway_logs"),
    ],
)
def test_a_field_that_cannot_be_read_is_left_out_and_recorded(field, value, target):
    payload = sample(**{field: value, **({"corrected_duration": GONE} if field == "call_length" else {})})
    stored = store(payload)
    assert (f"$.{field}", target) in [(failure["path"], failure["target"]) for failure in stored.report.failed]
    recorded = folded(payload).message["audit"]["validation_errors"]
    assert any(text.startswith(f"$.{field}: ") for text in recorded)
    assert "…" not in json.dumps(recorded, ensure_ascii=False)


@pytest.mark.parametrize("call_id", [True, 1.5, ["x"], {"a": 1}])
def test_a_call_id_that_is_none_is_left_to_be_derived(call_id):
    assert MAPPING.identify(sample(call_id=call_id, c_id=GONE)).call_id is None

"""Vapi's facts, one by one, against the catalogue file: what its documents say must come out of the mapping.

Each payload is a sample of the catalogue with the fields changed that the test is about. It is redacted, parsed,
mapped and folded by the engine alone.
"""

import copy
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.providers import catalog
from apps.providers.engine.errors import MappingError
from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping, Report
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Reason, Secret, SignedRequest, parse_scheme, verify
from vcp import validate

SPEC = catalog.load("vapi")
MAPPING = Mapping(SPEC.mapping)
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
REPORT, NO_ANSWER, FORWARDED, WEB, NEVER, SQUAD, SPEECH, OLD, CHAT = (
    f"end-of-call-report.{name}"
    for name in (
        "inbound_success_tools", "outbound_no_answer", "outbound_forwarded", "web_minimal", "outbound_never_connected",
        "inbound_sip_squad", "web_speech_to_speech", "inbound_2024", "chat",
    )
)  # fmt: skip
PROGRESS, ENDED = "status-update.in_progress", "status-update.ended"
START, END = "2026-03-17T16:00:05.000Z", "2026-03-17T16:00:25.000Z"
GONE = object()


def changed(node: Any, path: str, value: Any) -> None:
    *parents, last = path.split("__")
    for key in parents:
        node = node.setdefault(key, {})
    if value is GONE:
        node.pop(last, None)
    else:
        node[last] = value


def sample(name: str = REPORT, /, **fields: Any) -> dict[str, Any]:
    """A copy of a sample; keywords replace fields of its message (`a__b` is b in a), those that are GONE are out."""
    payload: dict[str, Any] = copy.deepcopy(catalog.samples("vapi")[name])
    for path, value in fields.items():
        changed(payload["message"], path, value)
    return payload


def bare(**fields: Any) -> dict[str, Any]:
    """A report with nothing in it but what the test names."""
    told = {"type": "end-of-call-report", "call": {"id": "c1"}}
    for path, value in fields.items():
        changed(told, path, value)
    return {"message": told}


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


def folded(*payloads: Any) -> Folded:
    """The valid message of these deliveries, the same in any order."""
    events = [store(payload, str(number)).event for number, payload in enumerate(payloads)]
    context = Context("vapi", "Vapi", "call_x", "standard_30_days", lambda number: f"psn_{number[-4:]}")
    found = fold(events, MAPPING, context)
    assert found is not None
    assert validate(found.message, now=RECEIVED_AT).errors == []
    assert len(events) == 1 or fold(events[::-1], MAPPING, context) == found
    return found


def message(*payloads: Any) -> dict[str, Any]:
    return dict(folded(*payloads).message["vcp_payload"])


def call_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["call"])


def status_of(*payloads: Any) -> str:
    return str(message(*payloads)["outcomes"]["objective"]["status"])


def attribution_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["model_outcome_attribution"])


def chosen_in(*payloads: Any) -> dict[str, str]:
    return {role: info["chosen"] for role, info in message(*payloads)["model_selection"]["roles"].items()}


def data_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["custom"]["provider_specific"]["vapi"]["data"])


def history_of(*payloads: Any) -> list[str]:
    return list(message(*payloads)["provenance"]["transformation_history"])


def transcript(payload: Any) -> Any:
    value = store(payload).fragment.values.get("transcript")
    return value.value if value else None


# --- the proof ----------------------------------------------------------------------------------------------

BODY = (
    b'{"message":{"type":"end-of-call-report","endedReason":"customer-ended-call",'
    b'"call":{"id":"0f8b7c1e-0000-4000-8000-000000000001"}}}'
)
AT = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = {option.name: option.scheme for option in SPEC.auth_options}
HMAC_SECRET = "vapi-hmac-secret-0001"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-vapi-secret": "s3cret"}, Reason.OK),
        ({"x-vapi-secret": "older"}, Reason.OK),
        ({"x-vapi-secret": "Bearer s3cret"}, Reason.TOKEN_MISMATCH),
        ({"x-vapi-secret": "s3cre"}, Reason.TOKEN_MISMATCH),
        ({"x-vapi-secret": ""}, Reason.HEADER_MISSING),
        ({"authorization": "Bearer s3cret"}, Reason.HEADER_MISSING),
        ({}, Reason.HEADER_MISSING),
    ],
)
def test_the_secret_comes_bare_in_its_own_header(headers, reason):
    secrets = [Secret("old", "older"), Secret("new", "s3cret")]
    assert verify(SPEC.auth, secrets, SignedRequest(headers, BODY), AT).reason is reason


def adapted(name, **changes):
    """An offered scheme with what the customer set otherwise."""
    return parse_scheme(OPTIONS[name].model_dump() | changes)


# Computed from the documented rules; the SDK has nothing to check them against.
VECTORS = {
    "defaults": (
        adapted("HMAC"),
        HMAC_SECRET,
        {
            "x-timestamp": "1767225600000",
            "x-signature": "deedc1d2ea41950120f67fc90c8606fe408df8f6ad4a22caf61991cac9993a8a",
        },
    ),
    "without a timestamp": (
        adapted("HMAC", signed="{body}", timestamp_header=None, items=["sha256={signature}"]),
        HMAC_SECRET,
        {"x-signature": "sha256=ba3a3d22eae28a82a6d528942f0dc6f1fe33898c10ca6fa0de9df5b8db540990"},
    ),
    "with a message id": (
        adapted("HMAC with message id"),
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
        {
            "svix-id": "msg_2test",
            "x-timestamp": "1767225600",
            "x-signature": "v1,oGrVyhBY3zD1STPsL8rM46RfBtxIBDe7+tSiWxWI4Is=",
        },
    ),
    "sha512 and base64": (
        adapted("HMAC", algorithm="sha512", encoding="base64"),
        HMAC_SECRET,
        {
            "x-timestamp": "1767225600000",
            "x-signature": "nrr/T7/IPF5JiOEf5QPI6pRyglRESQG4FHNESYVRxBZy+0S3aPClpxicafbohnW7RXh9h0uZAdwDSbqElxjA7Q==",
        },
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_offered_signatures_adapt_to_what_a_customer_sets(name):
    scheme, secret, headers = VECTORS[name]
    secrets = [Secret("s", secret)]
    assert verify(scheme, secrets, SignedRequest(headers, BODY), AT).authentic
    assert not verify(scheme, secrets, SignedRequest(headers, BODY + b" "), AT).authentic
    if scheme.timestamp_header:
        assert not verify(scheme, secrets, SignedRequest(headers, BODY), AT + timedelta(seconds=301)).authentic


def test_the_offered_bearer_token_is_accepted_with_and_without_its_word():
    for value in ("Bearer s3cret", "s3cret"):
        request = SignedRequest({"authorization": value}, BODY)
        assert verify(OPTIONS["Bearer token"], [Secret("s", "s3cret")], request, AT).authentic


# --- events -------------------------------------------------------------------------------------------------

IN_CALL = [
    "hang", "conversation-update", "speech-update", "transcript", 'transcript[transcriptType="final"]', "model-output",
    "user-interrupted", "language-change-detected", "voice-input", "phone-call-control", "transfer-update",
    "assistant.started", "assistant.speechStarted", "session.created", "session.updated", "session.deleted",
    "chat.created", "chat.deleted", "call.deleted", "call.delete.failed", "call.artifact.upload",
]  # fmt: skip
DECIDING = [
    "assistant-request", "tool-calls", "function-call", "transfer-destination-request", "handoff-destination-request",
    "knowledge-base-request", "voice-request", "call.endpointing.request", "campaign.predial",
]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "event", "kind", "disposition"),
    [
        ({"type": "end-of-call-report", "call": {"id": "c"}}, "end-of-call-report", "call_ended", "map"),
        ({"type": "end-of-call-report", "chat": {"id": "c"}}, "end-of-call-report.chat", "call_ended", "map"),
        ({"type": "end-of-call-report"}, "end-of-call-report", "call_ended", "map"),
        *(({"type": "status-update", "status": status}, "status-update", "call_progress", "map")
          for status in ("ringing", "in-progress", "forwarding", "some-day", None)),
        ({"type": "status-update", "status": "ended"}, "status-update.ended", "call_progress", "map"),
        *(({"type": "status-update", "status": status}, "status-update.waiting", "call_progress", "store")
          for status in ("scheduled", "queued")),
        *(({"type": name}, name, "ignored", "ignore") for name in IN_CALL),
        *(({"type": name}, name, "ignored", "store") for name in DECIDING),
        ({"type": "flew-away"}, "flew-away", "unknown", "store"),
        ({"type": 5}, "unknown", "unknown", "store"),
        ({}, "unknown", "unknown", "store"),
    ],
)  # fmt: skip
def test_each_event_has_its_place(told, event, kind, disposition):
    identity = MAPPING.identify({"message": told})
    assert (identity.event, identity.spec.kind, identity.spec.disposition) == (event, kind, disposition)


@pytest.mark.parametrize("payload", [{}, {"type": "end-of-call-report"}, {"message": "text"}, {"message": None}, []])
def test_what_is_not_under_message_has_no_name(payload):
    assert MAPPING.identify(payload).event == "unknown"


def test_requests_that_wait_for_a_decision_get_the_empty_answer_and_nothing_else_does():
    answers = {row.name: row.answer for row in SPEC.mapping.events if row.answer is not None}
    assert answers == {name: {} for name in DECIDING}


@pytest.mark.parametrize("kind", ["end-of-call-report", "status-update"])
@pytest.mark.parametrize("call", [None, GONE, {}])
def test_a_call_event_without_a_call_fails_and_says_so(kind, call):
    with pytest.raises(MappingError) as raised:
        store(bare(type=kind, call=call))
    assert (raised.value.code, raised.value.path) == ("VCP_E005", "$.message.call")


@pytest.mark.parametrize(
    ("fields", "call_id"),
    [
        ({}, "c1"),
        ({"chat": {"id": "t1"}}, "c1"),
        ({"call": GONE, "chat": {"id": "t1"}}, "t1"),
        *(({"call": {"id": nothing, "type": "webCall"}}, None) for nothing in (None, "", True, 1.5, ["x"], {"a": 1})),
    ],
)
def test_the_calls_id_is_the_calls_else_the_chats(fields, call_id):
    assert MAPPING.identify(bare(**fields)).call_id == call_id


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        (1773763229500, "2026-03-17T16:00:29.500Z"),
        (1773763229500.25, "2026-03-17T16:00:29.500250Z"),
        ("1773763229500", "2026-03-17T16:00:29.500Z"),
        (GONE, END),
    ],
)
def test_an_events_own_time_is_milliseconds_and_may_be_a_fraction(timestamp, at):
    assert MAPPING.identify(sample(timestamp=timestamp)).occurred_at == at
    assert MAPPING.identify(bare(startedAt=START)).occurred_at == START


# --- one call, several events -------------------------------------------------------------------------------


def without_history(found: Folded) -> dict[str, Any]:
    found.message["vcp_payload"]["provenance"]["transformation_history"] = []
    return found.message


@pytest.mark.parametrize(
    ("names", "stage", "status"),
    [
        ([PROGRESS], "in_progress", "unknown"),
        ([ENDED], "ended", "unknown"),
        ([PROGRESS, ENDED], "ended", "unknown"),
        ([REPORT], "analysed", "success"),
        ([PROGRESS, REPORT], "analysed", "success"),
    ],
)
def test_a_message_says_how_far_its_call_is_and_the_outcome_waits_for_the_report(names, stage, status):
    found = folded(*map(sample, names))
    assert (found.stage, found.message["vcp_payload"]["outcomes"]["objective"]["status"]) == (stage, status)


def test_updates_add_nothing_to_the_report_even_when_they_come_late():
    late = sample(ENDED, timestamp=1773763999000, endedReason="pipeline-error-openai-llm-failed")
    assert without_history(folded(sample(PROGRESS), sample(REPORT), late)) == without_history(folded(sample(REPORT)))
    assert status_of(sample(REPORT), late) == "success"


def test_the_same_report_with_other_presigned_addresses_is_the_same_message():
    other = sample(artifact__presignedMonoUrl="https://s.example.com/x?sig=2", timestamp=1773763299999)
    assert without_history(folded(sample(), other)) == without_history(folded(sample()))


def test_an_update_alone_tells_who_calls_and_since_when():
    found = call_of(sample(PROGRESS))
    assert (found["direction"], found["from"], found["to"]) == ("inbound", "+15550163301", "+15550163300")
    assert found["start_time"] == "2026-03-17T16:00:00.800Z"
    assert "inferred:call.start_time" in history_of(sample(PROGRESS))
    assert call_of(sample(PROGRESS), sample())["start_time"] == START
    assert "duration_sec" not in found


def test_models_an_update_could_only_guess_do_not_stay():
    speech = sample(SPEECH, call__id=sample(ENDED)["message"]["call"]["id"])
    assert chosen_in(sample(ENDED)) == chosen_in(sample(ENDED, assistant__model__model="gpt-realtime")) == {}
    assert chosen_in(sample(ENDED), speech) == {"V2V": "gpt-4o-realtime-preview"}


# --- times and lengths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sec"),
    [
        ({}, 20),
        ({"durationSeconds": 72.5}, 73),
        ({"durationSeconds": "72.4"}, 72),
        ({"durationSeconds": 0}, 0),
        ({"durationSeconds": GONE, "durationMs": 31_499}, 31),
        ({"durationSeconds": None, "durationMs": 31_500}, 32),
        ({"durationSeconds": GONE, "durationMs": GONE}, 20),
        ({"durationSeconds": GONE, "durationMs": GONE, "endedAt": "2026-03-17T16:00:35.500Z"}, 31),
        ({"durationSeconds": GONE, "durationMs": GONE, "endedAt": GONE}, None),
        ({"durationSeconds": GONE, "durationMs": GONE, "startedAt": GONE}, 0),
        ({"durationSeconds": GONE, "durationMs": GONE, "startedAt": None, "endedAt": None}, 0),
        ({"durationSeconds": 7, "startedAt": GONE, "endedAt": GONE}, 7),
    ],
)
def test_the_length_is_told_or_worked_out_and_0_where_the_call_never_connected(fields, sec):
    assert call_of(sample(durationMinutes=999, **fields)).get("duration_sec") == sec


def test_a_call_that_never_connected_began_when_it_was_created():
    found = message(sample(NEVER))
    assert (found["call"]["start_time"], found["call"]["duration_sec"]) == ("2026-03-17T16:00:00.800Z", 0)
    assert "end_time" not in found["call"]
    assert "inferred:call.start_time" in found["provenance"]["transformation_history"]
    assert found["outcomes"]["objective"]["status"] == "error"


def test_a_chat_began_when_it_was_created():
    payload = sample(CHAT, chat__createdAt="2026-03-17T18:00:00.000Z")
    assert call_of(payload)["start_time"] == "2026-03-17T18:00:00.000Z"
    assert "inferred:call.start_time" in history_of(payload)


def test_what_was_written_in_a_chat_is_no_data_of_it():
    words = {f"chat__{name}": [{"role": "user", "content": "Hello."}] for name in ("messages", "input", "output")}
    assert "Hello." not in json.dumps(data_of(sample(CHAT, **words)))


def test_a_chat_has_no_length():
    found = message(sample(CHAT))
    assert not {"duration_sec", "channel", "direction"} & set(found["call"])
    assert found["hcr"]["summary"] == "Opening hours asked."


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-17T16:00:05.649Z", "2026-03-17T16:00:05.649Z"),
        ("2026-03-17T17:00:05.25+01:00", "2026-03-17T16:00:05.250Z"),
        ("2026-03-17T10:00:05-06:00", START),
    ],
)
def test_times_are_iso_texts_with_any_offset(text, utc):
    assert call_of(sample(startedAt=text))["start_time"] == utc
    assert call_of(sample(endedAt=text.replace(":05", ":35")))["end_time"] == utc.replace(":05", ":35")


# --- who and over what --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "channel", "direction", "sender", "receiver", "caller"),
    [
        ("inboundPhoneCall", "phone", "inbound", "+15550163301", "+15550163300", "psn_3301"),
        ("outboundPhoneCall", "phone", "outbound", "+15550163300", "+15550163301", "psn_3301"),
        ("webCall", "web", None, None, None, None),
        ("vapi.websocketCall", "web", None, None, None, None),
        (GONE, None, None, None, None, None),
    ],
)
def test_the_calls_type_says_who_called_whom(kind, channel, direction, sender, receiver, caller):
    found = call_of(sample(call__type=kind))
    assert [found.get(name) for name in ("channel", "direction", "from", "to", "caller_id")] == [
        channel, direction, sender, receiver, caller,
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "side"), [("inboundPhoneCall", "from"), ("outboundPhoneCall", "to")])
@pytest.mark.parametrize(
    ("customer", "told"),
    [
        ({"sipUri": "sip:alice@example.com"}, "sip:alice@example.com"),
        ({"number": "1 (555) 016-3301", "sipUri": "sip:alice@example.com"}, "1 (555) 016-3301"),
        ({"number": "+1 (555) 016-3301"}, "+15550163301"),
        ({"number": None, "sipUri": None}, None),
    ],
)
def test_a_customer_without_a_number_has_a_sip_address(kind, side, customer, told):
    assert call_of(sample(call__type=kind, customer=customer)).get(side) == told


@pytest.mark.parametrize(
    ("kind", "told"), [("inboundPhoneCall", {"from"}), ("outboundPhoneCall", {"to"}), ("webCall", set())]
)
def test_a_sip_address_stands_on_the_customers_side_only(kind, told):
    found = call_of(bare(call__type=kind, customer__sipUri="sip:alice@example.com"))
    assert {"from", "to"} & set(found) == told


def test_a_type_nobody_knows_is_noted_and_invents_nothing():
    stored = store(sample(call__type="hologramCall"))
    assert {"source": "message.call.type", "word": "hologramCall"} in stored.report.unseen
    assert not {"call.direction", "call.channel", "call.from", "call.to"} & set(stored.fragment.values)
    assert store(sample(call__type="webCall")).report.unseen == []


def test_the_snapshot_of_the_calls_creation_is_not_believed():
    stale = {"status": "queued", "cost": 99, "endedReason": "voicemail", "startedAt": "2020-01-01T00:00:00Z"}
    fields = {f"call__{name}": value for name, value in stale.items()}
    assert without_history(folded(sample(**fields))) == without_history(folded(sample()))


# --- tools and transcript -----------------------------------------------------------------------------------


def calls(*names: str, arguments: Any = "{}") -> dict[str, Any]:
    return {
        "role": "tool_calls",
        "message": "",
        "toolCalls": [
            {"id": f"id_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for name in names
        ],
    }


ROWS = [
    {"role": "system", "message": "You are a secret recipe.", "secondsFromStart": 0},
    {"role": "bot", "message": "Hello.", "time": 1773763206200, "secondsFromStart": 1.25, "duration": 2900},
    calls("b", "a", arguments={"deep": {"name": "not a tool"}}),
    {"role": "tool_call_result", "name": "b", "toolCallId": "id_b", "result": "ok", "secondsFromStart": 3},
    calls("b"),
    {"role": "user", "message": "Bye."},
    {"role": "assistant", "message": "Bye too."},
    {"role": "system", "message": "You are the next recipe."},
]  # fmt: skip


@pytest.mark.parametrize("place", ["artifact__messages", "messages"])
def test_capabilities_are_the_tools_called_distinct_and_in_order(place):
    assert call_of(bare(**{place: ROWS}))["capabilities_invoked"] == ["b", "a"]
    old = [{"role": "function_call", "name": name, "args": "{}"} for name in ("x", "y", "x")]
    assert call_of(bare(**{place: [*old, {"role": "bot", "name": "z"}]}))["capabilities_invoked"] == ["x", "y"]


@pytest.mark.parametrize("rows", [GONE, None, [], "x", [5, None], [{"role": "bot", "message": "x"}], [calls()]])
def test_without_tool_calls_there_are_no_capabilities(rows):
    assert "capabilities_invoked" not in call_of(bare(artifact={"messages": rows} if rows is not GONE else {}))


@pytest.mark.parametrize("place", ["artifact__messages", "messages"])
def test_the_transcript_holds_what_was_said_and_called_but_no_prompt(place):
    assert transcript(bare(**{place: ROWS})) == [
        {"speaker": "agent", "text": "Hello.", "start_sec": 1.25, "duration_ms": 2900},
        {"speaker": "tool_call", "tool_calls": ROWS[2]["toolCalls"]},
        {"speaker": "tool_result", "tool": "b", "tool_call_id": "id_b", "result": "ok", "start_sec": 3},
        {"speaker": "tool_call", "tool_calls": ROWS[4]["toolCalls"]},
        {"speaker": "caller", "text": "Bye."},
        {"speaker": "agent", "text": "Bye too."},
    ]


@pytest.mark.parametrize("place", ["artifact__transcript", "transcript"])
def test_the_plain_transcript_is_used_where_there_are_no_rows(place):
    fields = {"artifact__messages": [ROWS[0]], place: "AI: Hello.\nUser: Bye.\nBye.\n"}
    assert transcript(bare(**fields)) == [
        {"speaker": "agent", "text": "Hello."},
        {"speaker": "caller", "text": "Bye.\nBye."},
    ]


def test_an_old_function_call_is_a_tool_call():
    assert transcript(bare(messages=[{"role": "function_call", "name": "x", "args": '{"a": 1}'}])) == [
        {"speaker": "tool_call", "tool": "x", "arguments": '{"a": 1}'}
    ]


@pytest.mark.parametrize("name", [REPORT, NO_ANSWER, SQUAD, OLD, ENDED])
def test_neither_prompt_nor_words_stand_in_the_message(name):
    kept = json.dumps(message(sample(name)))
    assert not any(text in kept for text in ("You are", "gearbox", "What are tyres", "oil change on Friday"))
    assert "You are" not in json.dumps(store(sample(name)).fragment.to_json())


# --- artifacts ----------------------------------------------------------------------------------------------

RECORDINGS = [
    ("artifact__recording__mono__combinedUrl", "audio"),
    ("artifact__recording__stereoUrl", "audio recording_multi_channel"),
    ("artifact__recordingUrl", "audio"),
    ("recordingUrl", "audio"),
    ("artifact__stereoRecordingUrl", "audio recording_multi_channel"),
    ("stereoRecordingUrl", "audio recording_multi_channel"),
    ("artifact__recording__mono__assistantUrl", "recording_assistant"),
    ("artifact__recording__mono__customerUrl", "recording_customer"),
    ("artifact__recording__videoUrl", "recording_video"),
    ("artifact__videoRecordingUrl", "recording_video"),
    ("videoRecordingUrl", "recording_video"),
    ("artifact__pcapUrl", "packet_capture"),
    ("artifact__logUrl", "logs"),
]


@pytest.mark.parametrize(("path", "names"), RECORDINGS)
def test_recordings_and_logs_are_referred_to_from_wherever_they_stand(path, names):
    found = message(bare(**{path: "https://r.example.com/x"}))["artifacts"]
    told = {"audio": found.get("audio_recording_ref"), "logs": found.get("system_logs_ref")}
    told |= found.get("debug_artifacts") or {}
    assert {name: url for name, url in told.items() if url} == dict.fromkeys(names.split(), "https://r.example.com/x")


def test_of_several_recordings_the_first_of_the_table_counts():
    every = {path: f"https://r.example.com/{number}" for number, (path, _) in enumerate(RECORDINGS)}
    for number, (path, names) in enumerate(RECORDINGS):
        if "audio" in names:
            assert message(bare(**every))["artifacts"]["audio_recording_ref"] == f"https://r.example.com/{number}"
            del every[path]


# --- money and models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({"cost": 0.0374, "costBreakdown": {"total": 9}, "costs": [{"cost": 8}]}, 0.0374),
        ({"cost": "0.0374"}, 0.0374),
        ({"cost": 0, "costBreakdown": {"total": 9}}, 0.0),
        ({"cost": 12, "costs": []}, 12.0),
        ({"costBreakdown": {"total": 0.3}, "costs": [{"cost": 8}]}, 0.3),
        ({"costBreakdown": {"total": 0.3}}, 0.3),
        ({"cost": None, "costBreakdown": {}, "costs": [{"cost": 0.1}, {"cost": 0.2}, {"type": "x"}]}, 0.3),
        ({"costs": [{"type": "analysis", "cost": 0.5}, {"type": "transport", "cost": 0}]}, 0.5),
    ],
)
def test_costs_are_dollars(fields, usd):
    found = attribution_of(bare(**fields))
    assert found["total_cost_usd"] == usd
    assert found["kpis"] == {"cost_per_call_usd": usd, "cost_native": usd, "cost_native_unit": "usd"}


@pytest.mark.parametrize(
    "fields", [{}, {"cost": None}, {"costs": []}, {"costBreakdown": {"stt": 0}}, {"call__cost": 0}]
)
def test_a_cost_that_is_not_told_is_null_and_never_0(fields):
    found = attribution_of(bare(**fields))
    assert "total_cost_usd" not in found
    assert found["kpis"] == {}


def item(kind: str, cost: Any = 0.1, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "cost": cost, **fields}


STT = item("transcriber", 0.1, transcriber={"provider": "deepgram", "model": "nova-3"}, minutes=0.5)
LLM = item("model", 0.2, model={"provider": "openai", "model": "gpt-4o"})
TTS = item("voice", 0.3, voice={"provider": "11labs", "voiceId": "v1", "model": "turbo"})
V2V = item("model", 0.4, model={"provider": "openai", "model": "gpt-4o-Realtime-preview"}, seconds=90)
REST = [
    item("transport", 1, provider="twilio", minutes=9),
    item("vapi", 1, subType="normal", minutes=9),
    item("analysis", 1, analysisType="summary", model={"model": "gemini"}),
    item("knowledge-base", 1, model={"model": "gemini"}),
    item("voicemail-detection", 1, model={"model": "gemini"}),
]


@pytest.mark.parametrize(
    ("costs", "roles"),
    [
        ([STT], {"STT": ("nova-3", 0.1, 0.5)}),
        ([LLM], {"LLM": ("gpt-4o", 0.2, 2.0)}),
        ([{**LLM, "seconds": 30}], {"LLM": ("gpt-4o", 0.2, 0.5)}),
        ([TTS], {"TTS": ("turbo", 0.3, 2.0)}),
        ([{**TTS, "voice": {"provider": "azure", "voiceId": "andrew"}}], {"TTS": ("andrew", 0.3, 2.0)}),
        ([V2V], {"V2V": ("gpt-4o-Realtime-preview", 0.4, 1.5)}),
        (
            [STT, STT, LLM, {**LLM, "model": {"model": "claude"}, "cost": 0.05}, V2V],
            {
                "STT": ("nova-3", 0.2, 1.0),
                "LLM": ("gpt-4o", 0.25, 2.0),
                "V2V": ("gpt-4o-Realtime-preview", 0.4, 1.5),
            },
        ),
        ([{**STT, "transcriber": {"model": "scribe_v2_realtime"}}], {"STT": ("scribe_v2_realtime", 0.1, 0.5)}),
        ([{**STT, "cost": 0}], {"STT": ("nova-3", 0.0, 0.5)}),
        (REST, {}),
    ],
)
def test_costs_show_what_ran(costs, roles):
    payload = bare(costs=[*costs, *REST], durationMs=120_000, costBreakdown={"stt": 0, "llm": 0, "tts": 0})
    assert chosen_in(payload) == {role: name for role, (name, _, _) in roles.items()}
    assert attribution_of(payload)["roles"] == {
        role: {"model_id": name, "minutes": minutes, "cost_usd": cost} for role, (name, cost, minutes) in roles.items()
    }


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ([STT, LLM, TTS], {"STT": 1.0, "LLM": 2.0, "TTS": 3.0}),
        ([STT, V2V, TTS], {"STT": 1.0, "V2V": 2.0, "TTS": 3.0}),
        ([STT, LLM, V2V, TTS], {"STT": 1.0, "LLM": 0.2, "V2V": 0.4, "TTS": 3.0}),
        ([], {"STT": 1.0, "LLM": 2.0, "TTS": 3.0}),
    ],
)
def test_the_breakdown_tells_a_roles_cost_before_the_list_does(costs, told):
    found = attribution_of(bare(costs=costs, costBreakdown={"stt": 1, "llm": 2, "tts": 3}))
    assert {role: info["cost_usd"] for role, info in found["roles"].items()} == told


ASSISTANT = {
    "transcriber": {"model": "nova-2"},
    "model": {"model": "gpt-4"},
    "voice": {"voiceId": "jennifer", "model": "eleven"},
}


@pytest.mark.parametrize(
    ("assistant", "chosen"),
    [
        (ASSISTANT, {"STT": "nova-2", "LLM": "gpt-4", "TTS": "eleven"}),
        ({**ASSISTANT, "voice": {"voiceId": "jennifer"}}, {"STT": "nova-2", "LLM": "gpt-4", "TTS": "jennifer"}),
        ({"model": {"model": "gpt-realtime"}}, {"V2V": "gpt-realtime"}),
        ({"transcriber": {"model": "scribe_v2_realtime"}}, {"STT": "scribe_v2_realtime"}),
        ({}, {}),
    ],
)
def test_without_costs_the_assistants_settings_count_as_our_reading(assistant, chosen):
    payload = bare(assistant=assistant)
    assert chosen_in(payload) == chosen
    assert attribution_of(payload)["roles"] == {}
    assert {f"inferred:model_selection.roles.{role}.chosen" for role in chosen} <= set(history_of(payload))
    assert chosen_in(bare(assistant=assistant, costs=[LLM])) == {"LLM": "gpt-4o"}
    assert chosen_in(bare(assistant=assistant, costs=[STT])) == {"STT": "nova-3"}


def test_an_old_report_names_what_its_breakdown_counts():
    breakdown = {"stt": 0.01, "llm": 0, "tts": 0.02}
    assert attribution_of(bare(assistant=ASSISTANT, costBreakdown=breakdown, durationSeconds=30))["roles"] == {
        "STT": {"model_id": "nova-2", "minutes": 0.5, "cost_usd": 0.01},
        "TTS": {"model_id": "eleven", "minutes": 0.5, "cost_usd": 0.02},
    }
    assert set(attribution_of(sample(OLD))["roles"]) == {"STT", "LLM", "TTS"}
    speech = bare(assistant={"model": {"model": "gpt-realtime"}}, costBreakdown={"llm": 0.1}, durationSeconds=30)
    assert attribution_of(speech)["roles"] == {"V2V": {"model_id": "gpt-realtime", "minutes": 0.5, "cost_usd": 0.1}}
    assert attribution_of(bare(assistant={"model": {"model": "gpt-realtime"}}, costBreakdown={"llm": 0}))["roles"] == {}
    new = bare(assistant=ASSISTANT, costBreakdown=breakdown)
    for payload, roles in ((sample(OLD), ("STT", "LLM", "TTS")), (new, ("STT", "TTS")), (speech, ("V2V",))):
        marks = {f"inferred:outcomes.model_outcome_attribution.roles.{role}.model_id" for role in roles}
        assert marks <= set(history_of(payload))


def test_where_costs_are_listed_the_assistants_settings_name_nothing():
    breakdown = {"stt": 0.01, "llm": 0.02, "tts": 0.03}
    for assistant in (ASSISTANT, {**ASSISTANT, "model": {"model": "gpt-realtime"}, "voice": {"voiceId": "v"}}):
        found = attribution_of(bare(assistant=assistant, costs=REST, costBreakdown=breakdown))["roles"]
        assert {role: info["model_id"] for role, info in found.items()} == dict.fromkeys(
            ("STT", "LLM", "TTS"), "unknown"
        )


@pytest.mark.parametrize(
    ("cost", "role", "minutes"),
    [
        ({**STT, "minutes": 0.12345}, "STT", 0.1235),
        ({**LLM, "seconds": 10}, "LLM", 0.1667),
        ({**V2V, "seconds": 10}, "V2V", 0.1667),
        (TTS, "TTS", 0.1833),
    ],
)
def test_minutes_have_four_places(cost, role, minutes):
    assert attribution_of(bare(costs=[cost], durationMs=11_000))["roles"][role]["minutes"] == minutes
    assert attribution_of(bare(costs=[cost], durationSeconds=11))["roles"][role]["minutes"] == minutes


def test_minutes_of_the_call_are_marked_as_our_reading():
    mark = "inferred:outcomes.model_outcome_attribution.roles.*.minutes"
    assert mark in history_of(bare(costs=[TTS], durationSeconds=30))
    assert mark in history_of(bare(costs=[TTS], durationMs=30_000))
    assert mark not in history_of(bare(costs=[TTS]))


# --- people and words ---------------------------------------------------------------------------------------


def test_the_summary_is_the_analysis_own_else_the_messages():
    assert message(bare(analysis__summary="A. B.", summary="C."))["hcr"]["summary"] == "A. B."
    assert message(bare(analysis__summary="", summary="C."))["hcr"]["summary"] == "C."


@pytest.mark.parametrize(
    ("grade", "success"),
    [("true", True), ("false", False), ("7", None), ("Excellent", None), ("80%", None), ("Strongly Agree", None),
     ("- [x] true to the facts", None), (None, None), ("", None)],
)  # fmt: skip
def test_only_a_pass_or_fail_is_a_verdict(grade, success):
    payload = sample(analysis__successEvaluation=grade)
    found = message(payload)
    assert found["outcomes"]["objective"]["metrics"].get("assistant_success") is success
    assert data_of(payload).get("successEvaluation") == (grade or None)
    assert "user_satisfaction_score" not in found["outcomes"]
    assert found["outcomes"].get("perceived", []) == []
    assert store(payload).report.failed == []


@pytest.mark.parametrize("consent", [GONE, None, {}, {"type": "verbal"}, {"type": "verbal", "grantedAt": None},
                                     {"grantedAt": "soon"}, {"grantedAt": 5}, "granted"])  # fmt: skip
def test_consent_without_a_time_is_none(consent):
    assert "consent" not in message(sample(compliance={"recordingConsent": consent} if consent is not GONE else {}))


@pytest.mark.parametrize("kind", ["verbal", "stay-on-line"])
def test_consent_with_its_time_is_granted_for_the_recording_only(kind):
    payload = sample(compliance__recordingConsent={"type": kind, "grantedAt": "2026-03-17T18:00:06+02:00"})
    found = message(payload)["consent"]
    assert (found["status"], found["granted_at"], found["scope"]) == (
        "granted",
        "2026-03-17T16:00:06.000Z",
        ["recording"],
    )
    assert data_of(payload)["compliance"]["recordingConsent"]["type"] == kind


def test_what_the_customer_measured_is_kept_as_vapis_own_data():
    transfer = {"destination": {"number": "+15550163399"}, "mode": "warm", "status": "busy", "transcript": "AI: psst"}
    payload = sample(
        analysis__structuredDataMulti=[{"a": 1}],
        artifact__scorecards={"s": {"score": 0}},
        artifact__transfers=[transfer],
        artifact__nodes=[{"messages": ROWS}],
        call__squadId="squad-1",
        call__metadata={"clinic": 7},
    )
    data = data_of(payload)
    assert data["endedReason"] == "assistant-ended-call"
    assert data["successEvaluation"] == "true"
    assert data["structuredData"] == {"service": "oil_change", "slot": "2026-03-20T09:30"}
    assert data["structuredDataMulti"] == [{"a": 1}]
    assert data["structuredOutputs"] == {"so-0001": {"name": "Booked", "result": True}}
    assert data["scorecards"] == {"s": {"score": 0}}
    assert data["performanceMetrics"]["turnLatencyAverage"] == 1280
    assert data["transfers"] == [{name: transfer[name] for name in ("destination", "mode", "status")}]
    assert (data["squadId"], data["metadata"]) == ("squad-1", {"clinic": 7})
    assert (data["assistantId"], data["assistantName"]) == ("a7e1c2d3-0000-4000-8000-000000000010", "Otto")
    assert (data["phoneCallProvider"], data["phoneCallTransport"]) == ("vapi", "pstn")
    assert (data["phoneCallProviderId"], data["orgId"][:8]) == ("sip-0000-0001", "5b1d0c7e")
    assert (data["costBreakdown"]["llmPromptTokens"], data["costs"][1]["transcriber"]["provider"]) == (2140, "deepgram")
    assert not {"call", "assistant", "timestamp", "status", "messages", "transcript"} & set(data)


# --- 5b: endedReason to status ------------------------------------------------------------------------------

NORMAL = """customer-ended-call assistant-ended-call assistant-ended-call-after-message-spoken
assistant-ended-call-with-hangup-task assistant-said-end-call-phrase vonage-completed
call.in-progress.{twilio,sip}-completed-call"""
CHAT_MODELS = """anthropic,anthropic-bedrock,anthropic-vertex,anyscale,azure-openai,baseten,cerebras,custom-llm,
deep-seek,deepinfra,google,groq,inflection-ai,minimax,mistral,openai,openrouter,perplexity-ai,runpod,together-ai,vapi,xai"""
EARS = """assembly-ai,azure-speech,cartesia,custom,deepgram,eleven-labs,gladia,google,openai,soniox,speechmatics,
talkscriber,vapi,xai"""
VOICES = """azure,cartesia,deepgram,eleven-labs,hume,inworld,lmnt,microsoft,minimax,neuphonic,openai,playht,rime-ai,
sesame,smallest-ai,vapi,wellsaid,xai"""
# What a pipeline reports under its old prefix and, split by whose fault it is, under the new one.
BOTH_FAULTS = f"""{{{CHAT_MODELS}}}-{{400-bad-request-validation-failed,403-model-access-denied}}
{{{CHAT_MODELS},playht}}-{{401-unauthorized,429-exceeded-quota}}
{{{EARS}}}-transcriber-failed {{{VOICES}}}-voice-failed
{{soniox,xai}}-transcriber-{{auth-failed,invalid-config,rate-limited,server-error}}
assembly-ai-returning-{{400-insufficent-funds,400-paid-only-feature,500-invalid-schema,500-word-boost-parsing-failed}}
{{assembly-ai,deepgram}}-returning-401-invalid-credentials cartesia-{{requested-payment,socket-hang-up}}
deepgram-returning-{{400-no-such-model-language-tier-combination,403-model-access-denied,404-not-found}}
eleven-labs-blocked-{{account-in-probation,content-against-their-policy,voice-potentially-against-terms-of-service-and-awaiting-verification}}
eleven-labs-blocked-{{concurrent-requests,free-plan,using-instant-voice-clone}}-and-requested-upgrade
eleven-labs-{{invalid-api-key,invalid-voice-samples,max-character-limit-exceeded,missing-samples-for-voice-clone}}
eleven-labs-{{professional-voices-only-for-creator-plus,quota-exceeded,system-busy-and-requested-upgrade}}
eleven-labs-{{unauthorized-access,unauthorized-to-access-model,voice-disabled-by-owner,voice-not-allowed-for-free-users}}
eleven-labs-voice-not-{{fine-tuned,fine-tuned-and-cannot-be-used,found}}
openai-{{401-account-not-in-organization,401-incorrect-api-key,429-rate-limit-reached}} tavus-video-failed
playht-{{403-forbidden-api-access-not-available,403-forbidden-out-of-characters,invalid-emotion,invalid-voice}}
playht-{{out-of-credits,request-timed-out,unexpected-error,voice-must-be-a-valid-voice-manifest-uri}}"""
SERVERS_DOWN = f"""{{{CHAT_MODELS},cartesia,eleven-labs}}-500-server-error
{{{CHAT_MODELS}}}-{{503-server-overloaded-error,llm-failed}} {{cartesia,eleven-labs}}-503-server-error
cartesia-522-server-error playht-{{502,504}}-gateway-error eleven-labs-vapi-voice-disabled-by-owner
deepgram-returning-{{500-invalid-json,502-bad-gateway-ehostunreach,502-network-error}}"""
# (status, how many, what stands before each, the words; braces as in a shell)
REASONS = [
    ("success", 8, "", NORMAL),
    ("partial", 9, "", """assistant-forwarded-call assistant-request-returned-forwarding-phone-number
        call.{ending,ringing}.hook-executed-transfer call.forwarding.{no-answer,operator-busy}
        customer-ended-call-{after-warm-transfer-attempt,before-warm-transfer,during-transfer}"""),
    ("timeout", 9, "", """assistant-join-timed-out call.ringing.sip-inbound-caller-hungup-before-call-connect
        call.in-progress.error-providerfault-outbound-sip-{408-request-timeout,480-temporarily-unavailable}
        customer-busy voicemail customer-did-not-answer exceeded-max-duration silence-timed-out"""),
    ("failure", 2, "", "customer-did-not-give-microphone-permission vonage-rejected"),
    ("unknown", 5, "", "call-deleted call.{ending,ringing}.hook-executed-say manually-canceled scheduled-call-deleted"),
    ("error", 10, "call.in-progress.error-", """assistant-did-not-receive-customer-audio transfer-failed
        pipeline-{no-available-llm-model,ws-model-connection-failed} sip-{inbound,outbound}-call-failed-to-connect
        warm-transfer-{assistant-cancelled,max-duration,microphone-timeout,silence-timeout}"""),
    ("error", 2, "call.in-progress.error-configfault-", "model-unsupported-in-squad transport-unsupported-for-model"),
    ("error", 86, "call.in-progress.error-providerfault-", SERVERS_DOWN + """
        eleven-labs-{blocked-concurrent-requests-and-requested-upgrade,system-busy-and-requested-upgrade}
        eleven-labs-voice-disabled-by-owner vapi-{transcriber,voice}-failed transport-never-connected
        outbound-sip-{403-forbidden,407-proxy-authentication-required,503-service-unavailable}"""),
    ("error", 180, "call.in-progress.error-vapifault-", BOTH_FAULTS + """
        vapi-llm-failed call-started-but-connection-to-transport-missing chat-pipeline-failed-to-start
        transport-{connected-but-call-not-active,never-connected} worker-{died,not-available}"""),
    ("error", 20, "call.start.", """{assistant,squad}-version-error-validation error-fraud-check-failed
        error-enterprise-feature-not-available-recording-consent
        error-get-{assistant,customer,phone-number,resources-validation,transport}
        error-subscription-{concurrency-limit-reached,frozen,insufficient-credits,upgrade-failed,wallet-does-not-exist}
        error-vapi-number-{international,outbound-daily-limit}
        error-vapifault-{database-error,get-org,get-subscription,worker-not-available}"""),
    ("error", 255, "pipeline-error-", BOTH_FAULTS + " " + SERVERS_DOWN + """
        custom-voice-failed cartesia-502-server-error deepgram-returning-econnreset
        deepgram-transcriber-api-key-missing microsoft-voice-request-canceled"""),
    ("error", 18, "", """assistant-not-{found,valid} call-start-error-neither-assistant-nor-server-set worker-shutdown
        assistant-request-{failed,returned-error,returned-invalid-assistant,returned-no-assistant}
        assistant-request-returned-unspeakable-error call.ringing.error-sip-inbound-call-failed-to-connect
        phone-call-provider-{bypass-enabled-but-no-call-received,closed-websocket} vonage-disconnected
        sip-outbound-{carrier-released-call,unallocated-number} {twilio,vonage}-failed-to-connect-call
        twilio-reported-customer-misdialed"""),
]  # fmt: skip


def expanded(words: str) -> list[str]:
    """Every word of a text with `{a,b}` for alternatives."""
    return [found for word in re.sub(r",\s+", ",", words).split() for found in alternatives(word)]


def alternatives(word: str) -> list[str]:
    before, brace, rest = word.partition("{")
    if not brace:
        return [word]
    inner, _, after = rest.partition("}")
    return [before + choice + end for choice in inner.split(",") for end in alternatives(after)]


def statuses(words: list[str], **fields: Any) -> dict[str, str]:
    """What a report with each of these reasons comes to; a word that the table does not know stands as unseen."""
    found = {}
    for word in words:
        result = folded(bare(endedReason=word, **fields))
        told = result.message["vcp_payload"]["outcomes"]["objective"]
        assert told["metrics"]["disconnect_reason"] == word
        found[word] = "unseen" if result.unseen else told["status"]
    return found


@pytest.mark.parametrize(("status", "count", "prefix", "words"), REASONS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("grade", [None, "true"])
def test_every_reason_of_the_enum_has_its_status(status, count, prefix, words, grade):
    reasons = [prefix + word for word in expanded(words)]
    assert len(set(reasons)) == len(reasons) == count
    assert statuses(reasons, analysis__successEvaluation=grade) == dict.fromkeys(reasons, status)


def test_the_table_holds_all_604_reasons_once():
    every = [prefix + word for _, _, prefix, words in REASONS for word in expanded(words)]
    assert len(every) == len(set(every)) == 604


@pytest.mark.parametrize(("status", "count", "prefix", "words"), REASONS, ids=lambda value: str(value)[:40])
def test_a_failed_evaluation_refines_only_the_normal_end(status, count, prefix, words):
    reasons = [prefix + word for word in expanded(words)]
    refined = "failure" if words is NORMAL else status
    assert statuses(reasons, analysis__successEvaluation="false") == dict.fromkeys(reasons, refined)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("unknown-error assistant-error db-error pipeline-no-available-model", "error"),
        (
            "pipeline-error-of-next-year call.start.of-next-year call-start-error-x assistant-request-x a.error-x",
            "error",
        ),
        ("completed success assistant_ended hangup user_hangup customer_hangup", "success"),
        ("timeout no_answer busy Voicemail", "timeout"),
        ("error failed connection_error technical_error", "error"),
        ("transferred forwarded", "partial"),
        ("flew-away not-completed customer-ended-call-of-next-year an-error-x unsuccessful", "unseen"),
    ],
)
def test_old_words_and_families_that_grow(words, status):
    assert statuses(words.split(), analysis__successEvaluation="true") == dict.fromkeys(words.split(), status)


@pytest.mark.parametrize("grade", ["false", "False", False])
def test_old_words_are_not_refined(grade):
    assert status_of(bare(endedReason="completed", analysis__successEvaluation=grade)) == "success"
    assert status_of(bare(endedReason="customer-ended-call", analysis__successEvaluation=grade)) == "failure"


@pytest.mark.parametrize("reason", [None, "", " ", 5, True, ["x"], {"a": 1}, "flew-away"])
def test_anything_else_is_unknown(reason):
    assert status_of(bare(endedReason=reason)) == "unknown"


def test_a_reason_nobody_knows_is_reported():
    assert folded(bare(endedReason="flew-away")).unseen == [{"source": "message.endedReason", "word": "flew-away"}]


# --- what must not be stored --------------------------------------------------------------------------------

MARK = "PRIVATE"
SECRET_PLACES = [
    "phoneNumber__twilioAuthToken", "phoneNumber__twilioApiSecret", "phoneNumber__serverUrlSecret",
    "phoneNumber__server__secret", "phoneNumber__server__headers", "call__monitor__controlUrl",
    "call__monitor__listenUrl", "assistant__server__headers", "assistant__server__secret", "assistant__serverUrlSecret",
    "assistant__credentials", "assistant__model__messages", "assistant__model__systemPrompt",
    "artifact__messagesOpenAIFormatted", "call__assistant__model__messages", "call__assistant__model__systemPrompt",
    "call__assistantOverrides__model__messages", "assistant__analysisPlan__summaryPlan__messages",
    "chat__assistant__model__messages", "phoneNumber__twilioApiKey", "call__messages",
    "artifact__presignedMonoUrl", "artifact__presignedLogUrl", "call__phoneNumber__twilioAuthToken",
    "call__assistant__server__headers", "squad__server__secret",
]  # fmt: skip
SECRET_FORMS = [f"{MARK}-text", {"X-Key": f"{MARK}-inside"}, [{"value": f"{MARK}-item"}]]


def everything_kept(payload: dict[str, Any]) -> str:
    stored = store(payload)
    return stored.body.decode() + json.dumps(stored.fragment.to_json()) + json.dumps(message(payload))


@pytest.mark.parametrize("secret", SECRET_FORMS)
@pytest.mark.parametrize("place", SECRET_PLACES)
@pytest.mark.parametrize("name", [REPORT, ENDED])
def test_no_secret_is_kept_in_body_fragment_or_message(name, place, secret):
    payload = sample(name, **{place: secret})
    assert MARK in json.dumps(payload)
    kept = everything_kept(payload)
    assert MARK not in kept
    assert "Main line" in kept


def test_what_is_taken_out_leaves_no_trace_in_the_message():
    links = ("Mono", "Stereo", "Video", "Assistant", "Customer", "Pcap", "Log")
    payload = sample(
        phoneNumber__twilioAuthToken=MARK, phoneNumber__twilioApiSecret=MARK, phoneNumber__server__secret=MARK
    )
    payload["message"]["phoneNumber"]["serverUrlSecret"] = MARK
    payload["message"]["artifact"] |= {f"presigned{name}Url": MARK for name in links}
    assert "[redacted]" not in json.dumps(message(payload))
    assert set(data_of(payload)["artifact"]) == {"variableValues"}


def test_the_secrets_of_tools_are_not_kept_either():
    tools = [{"server": {"secret": MARK, "headers": {"x": MARK}}, "headers": {"x": MARK}, "apiKey": MARK}]
    assert MARK not in everything_kept(sample(assistant__model__tools=tools))
    payload = json.dumps({"message": {"type": "tool-calls", "assistant": {"model": {"tools": tools}}}}).encode()
    assert MARK not in MAPPING.redact(payload, parse(payload)).decode()


def test_prompts_of_squads_and_nodes_are_not_kept_either():
    prompt = [{"role": "system", "content": MARK}]
    squad = {"members": [{"assistant": {"model": {"messages": prompt}}}]}
    payload = sample(squad=squad, call__squad=squad, artifact__nodes=[{"nodeName": "n", "messages": prompt}])
    assert MARK not in everything_kept(payload)


def test_the_prompt_goes_no_further_than_the_body():
    payload = sample(
        artifact__messages=[{"role": "system", "message": MARK}], messages=[{"role": "system", "message": MARK}]
    )
    assert MARK not in json.dumps(store(payload).fragment.to_json()) + json.dumps(message(payload))


# --- hostile values -----------------------------------------------------------------------------------------

RICH = sample(
    messages=GONE,
    transcript=GONE,
    artifact__messages=[ROWS[1], {**ROWS[2], "name": "x"}, ROWS[3]],
    artifact__messagesOpenAIFormatted=GONE,
    artifact__transfers=[{"destination": {"number": "+15550163399"}, "mode": "warm", "status": "busy"}],
    artifact__scorecards={"s": 1},
    call__metadata={"a": 1},
    costs=[V2V],
    customer__sipUri="sip:a@b",
    analysis__structuredDataMulti=[{"a": 1}],
)
HUGE = "@1e400@"  # written as a bare number
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**18, -(10**18), 9e14, 1e300, HUGE, "", " ", "x", "…" * 150_000, "\u0000",
    "\ud800", "1e400", "NaN", [], {}, [None], [[]], [{}], {"a": 1}, ["x"], [1, "x"], [[["x"]]],
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a JSON value, of lists the first element only."""
    members = (
        list(value.items()) if isinstance(value, dict) else [(0, value[0])] if isinstance(value, list) and value else []
    )
    return [found for key, inner in members for found in ((*path, key), *places(inner, (*path, key)))]


def with_value(path: tuple[Any, ...], value: Any) -> bytes:
    payload = copy.deepcopy(RICH)
    node = payload
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(payload).replace(f'"{HUGE}"', "1e400").encode()


# Not the event's own name; not all of the call, of which nothing would be left; not the id, which may be too long.
FIELDS = [
    path
    for path in places(RICH)
    if path not in (("message",), ("message", "type"), ("message", "call"), ("message", "call", "id"))
]


STATUS_OF = {("message", "endedReason"): "unknown"}


# Each value in a third of the fields: all of them in all would take long.
@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_no_value_in_any_field_loses_the_call(path):
    for value in HOSTILE[FIELDS.index(path) % 3 :: 3]:
        found = message(with_value(path, value))
        told = found["outcomes"]["objective"]["status"]
        verdict = value is False and path == ("message", "analysis", "successEvaluation")
        assert told == ("failure" if verdict else STATUS_OF.get(path, "success"))
        if path[1:2] not in (("analysis",), ("summary",)):
            assert found["hcr"]["summary"] == "Caller booked an oil change for Friday March 20 at 9:30."


@pytest.mark.parametrize(
    ("path", "value", "target"),
    [
        ("startedAt", 1773763200800, None),
        ("startedAt", "yesterday", None),
        ("endedAt", {"at": 1}, "call.end_time"),
        ("durationSeconds", "long", None),
        ("call.type", ["webCall"], "call.channel"),
        ("customer.number", {"number": "+1"}, None),
        ("artifact.logUrl", ["x"], "artifacts.system_logs_ref"),
        ("cost", "a lot", None),
        ("cost", -1, None),
        ("cost", 1e12, None),
        ("costBreakdown.stt", "x", "outcomes.model_outcome_attribution.roles.STT.cost_usd"),
        ("artifact.messages", 5, "call.capabilities_invoked"),
        ("analysis.summary", "…" * 100_001, None),
        ("analysis.successEvaluation", {"x": 1}, "outcomes.objective.metrics.assistant_success"),
        ("endedReason", ["x"], "outcomes.objective.metrics.disconnect_reason"),
        ("artifact.transfers", "x", "custom.provider_specific.vapi.data.transfers"),
    ],
)
def test_a_field_that_cannot_be_read_is_left_out_and_recorded(path, value, target):
    payload = parse(with_value(("message", *path.split(".")), value))
    stored = store(payload)
    assert f"$.message.{path}" in [failure["path"] for failure in stored.report.failed]
    assert target is None or target not in stored.fragment.values or stored.fragment.values[target].rule is None
    recorded = folded(payload).message["audit"]["validation_errors"]
    assert any(text.startswith(f"$.message.{path}: ") for text in recorded)
    assert "…" not in json.dumps(recorded, ensure_ascii=False)


def test_a_cost_that_cannot_be_read_gives_way_to_the_breakdown():
    assert attribution_of(sample(cost="a lot", costBreakdown__total=0.5))["total_cost_usd"] == 0.5


def test_numbers_as_texts_are_numbers():
    quoted = sample(cost="0.0374", durationSeconds="20", durationMs="20000", timestamp="1773763229500")
    assert without_history(folded(quoted)) == without_history(folded(sample()))
    assert store(quoted).report.failed == []


@pytest.mark.parametrize("place", ["artifact.messages", "messages", "conversation", "chat.messages"])
@pytest.mark.parametrize("name", ["message", "content"])
def test_a_system_prompt_among_the_messages_is_not_stored(place, name):
    rows = [{"role": "user", name: "Hello"}, {"role": "System", name: MARK}, {"role": "bot", name: "Hi"}]
    payload = {"message": {"type": "end-of-call-report", "call": {"id": "c-1"}}}
    *above, last = place.split(".")
    node = payload["message"]
    for key in above:
        node = node.setdefault(key, {})
    node[last] = rows
    body = json.dumps(payload).encode()
    stored = MAPPING.redact(body, payload).decode()
    assert MARK not in stored
    assert "Hello" in stored
    assert "Hi" in stored
    broken = body[:-3]
    assert MARK not in MAPPING.redact(broken, None).decode()

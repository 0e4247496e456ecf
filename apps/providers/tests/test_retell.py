"""Retell's facts, one by one, against the catalogue file: what its documents say must come out of the mapping.

Each payload is a sample of the catalogue with the fields changed that the test is about. It is redacted, parsed,
mapped and folded by the engine alone.
"""

import copy
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.providers import catalog
from apps.providers.engine.errors import MappingError
from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping, Report
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Reason, Secret, SignedRequest, verify
from vcp import validate

SPEC = catalog.load("retell")
MAPPING = Mapping(SPEC.mapping)
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
STARTED, ENDED, ANALYZED = (
    "call_started.inbound",
    "call_ended.inbound_success_tools",
    "call_analyzed.inbound_success_tools",
)
NO_ANSWER, WEB, TRANSFER = "call_ended.outbound_no_answer", "call_ended.web_call_minimal", "transfer_started"
START_MS, END_MS = 1773677101250, 1773677136250
START, END = "2026-03-16T16:05:01.250Z", "2026-03-16T16:05:36.250Z"
GONE = object()


def sample(name: str = ANALYZED, /, **call: Any) -> dict[str, Any]:
    """A copy of a sample; keywords replace fields of its call, those that are GONE are taken out."""
    payload: dict[str, Any] = copy.deepcopy(catalog.samples("retell")[name])
    payload["call"] |= call
    payload["call"] = {field: value for field, value in payload["call"].items() if value is not GONE}
    return payload


def analyzed(**analysis: Any) -> dict[str, Any]:
    payload = sample()
    payload["call"]["call_analysis"] |= analysis
    return payload


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


def folded(*payloads: Any) -> Folded | None:
    """The valid message of these deliveries in any order, or None while they wait."""
    events = [store(payload, str(number)).event for number, payload in enumerate(payloads)]
    context = Context("retell", "Retell AI", "call_x", "standard_30_days", lambda number: f"psn_{number[-4:]}")
    found = fold(events, MAPPING, context)
    if found is not None:
        assert validate(found.message, now=RECEIVED_AT).errors == []
        assert len(events) == 1 or fold(events[::-1], MAPPING, context) == found
    return found


def message(*payloads: Any) -> dict[str, Any]:
    found = folded(*payloads)
    assert found is not None
    return dict(found.message["vcp_payload"])


def call_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["call"])


def status_of(*payloads: Any) -> str:
    return str(message(*payloads)["outcomes"]["objective"]["status"])


def attribution_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["model_outcome_attribution"])


def data_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["custom"]["provider_specific"]["retell"]["data"])


# --- the signature ------------------------------------------------------------------------------------------

VECTORS = [
    ("test-api-key", 1700000000000, b'{"event":"call_ended"}',
     "07024cabe7dd8f6d1c6e4a8324ca92c812e6ad4a7ee506c04f7e462e3321823e"),
    ("key_test_5f2c9a7be01d4c3f", 1767225600000, b'{"event":"call_ended","call":{"call_id":"call_a1b2c3"}}',
     "f3ab203e79284989e861d73448d076b2c96e8b45594b7ba8b03fb0d6e3564026"),
    ("key_test_5f2c9a7be01d4c3f", 1767225661234,
     '{"event": "call_analyzed", "call": {"call_id": "call_0002", "note": "¿Qué tal? 👍"}}\n'.encode(),
     "57dbb261fd3654a5bf15abf0ff7f1233df7cadaf4f4b1b546bfd647766d7fef7"),
]  # fmt: skip


def proved(key: str, at_ms: float, body: bytes, header: str) -> Reason:
    now = datetime.fromtimestamp(at_ms / 1000, UTC)
    request = SignedRequest({"x-retell-signature": header}, body)
    return verify(SPEC.auth, [Secret("old", "another key"), Secret("new", key)], request, now).reason


@pytest.mark.parametrize(("key", "at_ms", "body", "digest"), VECTORS)
def test_the_sdks_own_signatures_are_accepted(key, at_ms, body, digest):
    assert proved(key, at_ms, body, f"v={at_ms},d={digest}") is Reason.OK


@pytest.mark.parametrize(
    ("header", "shift_ms", "changed", "reason"),
    [
        ("v={t},d={d}", 300_000, False, Reason.OK),
        ("v={t},d={d}", -300_000, False, Reason.OK),
        ("v={t},d={d}", 300_001, False, Reason.TIMESTAMP_TOO_OLD),
        ("v={t},d={d}", -300_001, False, Reason.TIMESTAMP_IN_FUTURE),
        ("v={t},d={d}", 0, True, Reason.SIGNATURE_MISMATCH),
        ("v={t1},d={d}", 0, False, Reason.SIGNATURE_MISMATCH),
        ("sha256={d}", 0, False, Reason.HEADER_MALFORMED),
        ("{d}", 0, False, Reason.HEADER_MALFORMED),
        ("v={t}, d={d}", 0, False, Reason.HEADER_MALFORMED),
        ("v={t},d={d},x=1", 0, False, Reason.HEADER_MALFORMED),
        ("v={t},d={D}", 0, False, Reason.HEADER_MALFORMED),
        ("", 0, False, Reason.HEADER_MISSING),
    ],
)
def test_what_retells_scheme_refuses(header, shift_ms, changed, reason):
    key, at_ms, body, digest = VECTORS[1]
    text = header.format(t=at_ms, t1=at_ms + 1, d=digest, D=digest.upper())
    assert proved(key, at_ms + shift_ms, body.replace(b"a1", b"a2") if changed else body, text) is reason


# --- events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "event", "kind", "disposition"),
    [
        ({"event": "call_started", "call": {}}, "call_started", "call_started", "map"),
        ({"event": "call_ended", "call": {}}, "call_ended", "call_ended", "map"),
        ({"event": "call_analyzed", "call": {}}, "call_analyzed", "call_analyzed", "map"),
        ({"event": "transfer_started"}, "transfer_started", "call_progress", "map"),
        ({"event": "transfer_bridged"}, "transfer_bridged", "call_progress", "map"),
        ({"event": "transfer_cancelled"}, "transfer_cancelled", "call_progress", "map"),
        ({"event": "transfer_ended"}, "transfer_ended", "call_progress", "map"),
        ({"event": "transcript_updated", "call": {}}, "transcript_updated", "ignored", "ignore"),
        ({"event": "transcript_updated", "chat": {}}, "transcript_updated", "ignored", "ignore"),
        ({"event": "chat_started"}, "chat_started", "ignored", "ignore"),
        ({"event": "chat_ended"}, "chat_ended", "ignored", "ignore"),
        ({"event": "chat_analyzed"}, "chat_analyzed", "ignored", "ignore"),
        ({"event": "call_inbound", "call_inbound": {}}, "call_inbound", "ignored", "store"),
        ({"name": "look_up", "call": {"call_id": "c"}, "args": {}}, "custom_function", "ignored", "store"),
        ({"event": "call_flew_away", "call": {}}, "call_flew_away", "unknown", "store"),
        ({"alert": {"metric": "x"}}, "unknown", "unknown", "store"),
        ({}, "unknown", "unknown", "store"),
    ],
)
def test_each_event_has_its_place(payload, event, kind, disposition):
    identity = MAPPING.identify(payload)
    assert (identity.event, identity.spec.kind, identity.spec.disposition) == (event, kind, disposition)


def test_call_inbound_gets_the_neutral_answer_and_nothing_else_does():
    answers = {row.name: row.answer for row in SPEC.mapping.events if row.answer is not None}
    assert answers == {"call_inbound": {"call_inbound": {}}}


@pytest.mark.parametrize("body", [{"event": "call_ended"}, {"event": "call_ended", "call": None},
                                  {"event": "call_ended", "call": {}}])  # fmt: skip
def test_a_call_event_without_a_call_fails_and_says_so(body):
    with pytest.raises(MappingError) as raised:
        store(body)
    assert (raised.value.code, raised.value.path) == ("VCP_E005", "$.call")


def test_old_deliveries_call_the_call_data():
    payload = sample()
    assert message({"event": payload["event"], "data": payload["call"]}) == message(payload)
    assert message({**payload, "data": {"call_id": "other", "to_number": "x"}}) == message(payload)


def test_event_timestamp_is_the_events_own_time():
    payload = sample(ENDED, start_timestamp=GONE, end_timestamp=GONE, duration_ms=GONE) | {"event_timestamp": START_MS}
    assert MAPPING.identify(payload).occurred_at == START
    found = message(payload)
    assert found["call"]["start_time"] == START
    assert "inferred:call.start_time" in found["provenance"]["transformation_history"]


def test_without_any_time_the_arrival_counts_and_is_flagged():
    found = message(sample(ENDED, start_timestamp=GONE, end_timestamp=GONE, duration_ms=GONE))
    assert found["call"]["start_time"] == "2026-11-01T00:00:00.000Z"
    assert "start_time_unknown" in found["provenance"]["transformation_history"]


# --- one call, several events -------------------------------------------------------------------------------


def test_the_three_events_of_a_call_make_the_message_of_the_last():
    all_three = folded(sample(STARTED), sample(ENDED), sample(ANALYZED))
    last = folded(sample(ANALYZED))
    for found in (all_three, last):
        found.message["vcp_payload"]["provenance"]["transformation_history"] = []
    assert all_three.message == last.message
    assert all_three.stage == "analysed"


@pytest.mark.parametrize(
    ("names", "stage", "status"),
    [
        ([STARTED], "in_progress", "unknown"),
        ([ENDED], "ended", "success"),
        ([ANALYZED], "analysed", "success"),
        ([ANALYZED, STARTED], "analysed", "success"),
    ],
)
def test_a_message_says_how_far_its_call_is(names, stage, status):
    found = folded(*map(sample, names))
    assert (found.stage, found.message["vcp_payload"]["outcomes"]["objective"]["status"]) == (stage, status)


def test_a_poorer_call_analyzed_blanks_nothing():
    poor = {"event": "call_analyzed", "call": {"call_id": "c", "call_analysis": {"call_successful": False}}}
    for nothing in (None, "", [], {}):
        poor["call"] |= {field: nothing for field in sample(ENDED)["call"] if field != "call_id"}
        found, alone = message(sample(ENDED), poor), message(sample(ENDED))
        assert found["outcomes"]["objective"]["status"] == "failure"
        for part in ("call", "artifacts", "model_selection"):
            assert found[part] == alone[part]
        assert data_of(sample(ENDED), poor) == data_of(sample(ENDED))


def test_a_recording_that_comes_with_the_analysis_is_taken():
    late = message(sample(ENDED, recording_url=GONE), sample(ANALYZED, recording_url="https://r.example.com/late.wav"))
    assert late["artifacts"]["audio_recording_ref"] == "https://r.example.com/late.wav"


@pytest.mark.parametrize("name", ["transfer_started", "transfer_bridged", "transfer_cancelled", "transfer_ended"])
def test_a_transfer_waits_for_its_call_and_is_then_part_of_it(name):
    transfer = sample(TRANSFER) | {"event": name}
    assert folded(transfer) is None
    found = folded(transfer, sample(ENDED))
    assert found.stage == "ended"
    data = found.message["vcp_payload"]["custom"]["provider_specific"]["retell"]["data"]
    assert data["transfer_destination"] == {"number": "+15550142280", "extension": "204"}
    assert data["transfer_option"]["type"] == "warm_transfer"
    steps = found.message["vcp_payload"]["provenance"]["transformation_history"]
    assert [step.split()[0] for step in steps[1:3]] == [f"event:{name}", "event:call_ended"]


def test_the_destination_told_by_the_ended_call_lies_over_that_of_the_transfer():
    assert data_of(sample(TRANSFER), sample(ENDED, transfer_destination="sip:desk@example.com"))[
        "transfer_destination"
    ] == "sip:desk@example.com"  # fmt: skip


# --- times and length ---------------------------------------------------------------------------------------


def test_milliseconds_become_utc_times_and_whole_seconds():
    found = call_of(sample())
    assert (found["start_time"], found["end_time"], found["duration_sec"]) == (START, END, 35)


@pytest.mark.parametrize(
    ("fields", "sec"),
    [
        ({"duration_ms": 35_000}, 35),
        ({"duration_ms": 34_500}, 35),
        ({"duration_ms": 34_499}, 34),
        ({"duration_ms": "34499"}, 34),
        ({"duration_ms": 0}, 0),
        ({"duration_ms": GONE}, 35),
        ({"duration_ms": None}, 35),
        ({"duration_ms": GONE, "end_timestamp": END_MS + 500}, 36),
        ({"duration_ms": GONE, "end_timestamp": GONE}, None),
        ({"duration_ms": GONE, "start_timestamp": GONE}, None),
        ({"duration_ms": GONE, "end_timestamp": GONE, "start_timestamp": GONE}, None),
    ],
)
def test_the_length_is_the_agents_part_and_never_the_billed_one(fields, sec):
    cost = {**sample()["call"]["call_cost"], "total_duration_seconds": 999}
    assert call_of(sample(**fields, call_cost=cost)).get("duration_sec") == sec


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({"start_timestamp": str(START_MS), "end_timestamp": str(END_MS)}, START, END),
        ({"end_timestamp": GONE}, START, None),
        ({"start_timestamp": GONE}, START, END),
        ({"start_timestamp": GONE, "duration_ms": GONE}, END, END),
    ],
)
def test_a_missing_time_is_worked_out_only_where_it_can_be(fields, start, end):
    found = call_of(sample(**fields))
    assert (found["start_time"], found.get("end_time")) == (start, end)


@pytest.mark.parametrize("reason", ["dial_no_answer", "dial_busy", "dial_failed", "invalid_destination", "odd"])
@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"duration_ms": 0}, "2026-03-16T17:00:31.000Z"),
        ({}, "2026-03-16T17:00:31.000Z"),
        ({"end_timestamp": GONE}, None),
        ({"end_timestamp": GONE, "start_timestamp": GONE}, None),
    ],
)
def test_a_call_that_never_connected_lasted_0_s_whatever_the_dialling_took(reason, fields, end):
    found = call_of(sample(NO_ANSWER, **{"duration_ms": GONE, "disconnection_reason": reason, **fields}))
    assert found["duration_sec"] == 0
    assert found.get("end_time") == end


def test_before_2025_calls_that_never_connected_were_errors():
    found = call_of(sample(NO_ANSWER, call_status="error", duration_ms=GONE))
    assert found["duration_sec"] == 0


def test_a_call_that_connected_is_never_0_s_by_rule():
    assert call_of(sample(NO_ANSWER, call_status="ended", disconnection_reason="inactivity", duration_ms=GONE))[
        "duration_sec"
    ] == 31  # fmt: skip


# --- who and over what --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "caller"), [("inbound", "psn_2201"), ("outbound", "psn_2200")])
def test_a_phone_call_has_numbers_direction_and_the_customers_pseudonym(direction, caller):
    found = call_of(sample(direction=direction))
    assert (found["channel"], found["direction"]) == ("phone", direction)
    assert (found["from"], found["to"]) == ("+15550142201", "+15550142200")
    assert found["caller_id"] == caller


def test_a_web_call_has_none_of_them():
    found = call_of(sample(WEB))
    assert found["channel"] == "web"
    assert not {"direction", "from", "to", "caller_id"} & set(found)
    assert found["duration_sec"] == 42


@pytest.mark.parametrize("number", ["911", "72345", "sip:alice@example.com", "alice", "1 (555) 014-2201"])
def test_a_number_that_is_not_e164_stays_as_it_is(number):
    assert call_of(sample(from_number=number))["from"] == number


@pytest.mark.parametrize("number", ["anonymous", "Anonymous", "Restricted", "unavailable"])
def test_a_hidden_number_gets_no_pseudonym(number):
    found = call_of(sample(from_number=number))
    assert found["from"] == number
    assert "caller_id" not in found


@pytest.mark.parametrize(("field", "value"), [("call_type", "hologram_call"), ("direction", "sideways")])
def test_a_word_nobody_knows_is_noted_and_invents_nothing(field, value):
    stored = store(sample(**{field: value, "from_number": GONE}))
    assert stored.report.unseen == [{"source": f"call.{field}", "word": value}]
    assert {"call_type": "call.channel", "direction": "call.direction"}[field] not in stored.fragment.values


# --- tools and transcript -----------------------------------------------------------------------------------

INVOKED = {"role": "tool_call_invocation", "tool_call_id": "t1", "name": "Termin buchen", "type": "custom"}
ROWS = [
    {"role": "agent", "content": "Hello.", "words": [{"word": "Hello.", "start": 0.4, "end": 0.9}]},
    {**INVOKED, "arguments": '{"a": 1'},
    {"role": "tool_call_result", "tool_call_id": "t1", "content": "ok", "successful": False},
    {**INVOKED, "name": "予約", "arguments": "", "type": "mcp"},
    {**INVOKED, "arguments": None},
    {"role": "node_transition", "former_node_id": "a", "new_node_name": "name of a node", "name": "node"},
    {"role": "dtmf", "digit": "5"},
    {"role": "sms", "name": "sms", "content": "Your code"},
    {"role": "injected", "content": "Remember the rule."},
    {"role": "transfer_target", "content": "Desk here."},
    {"role": "user", "content": "Bye.", "words": []},
]


def test_capabilities_are_the_names_of_tool_invocations_distinct_and_in_order():
    assert call_of(sample())["capabilities_invoked"] == ["lookup_patient", "book_appointment"]
    assert call_of(sample(transcript_with_tool_calls=ROWS))["capabilities_invoked"] == ["Termin buchen", "予約"]


@pytest.mark.parametrize("rows", [GONE, None, [], [{"role": "dtmf", "digit": "1"}], ["text", None, 5]])
def test_without_tool_invocations_there_are_no_capabilities(rows):
    assert "capabilities_invoked" not in call_of(sample(transcript_with_tool_calls=rows))


def transcript(**call):
    return store(sample(**call)).fragment.values["transcript"].value


def test_the_transcript_holds_what_was_said_called_and_pressed():
    assert transcript(transcript_with_tool_calls=ROWS) == [
        {"speaker": "agent", "text": "Hello.", "start_sec": 0.4, "end_sec": 0.9},
        {"speaker": "tool_call", "tool_call_id": "t1", "tool": "Termin buchen", "arguments": '{"a": 1'},
        {"speaker": "tool_result", "tool_call_id": "t1", "text": "ok", "successful": False},
        {"speaker": "tool_call", "tool_call_id": "t1", "tool": "予約"},
        {"speaker": "tool_call", "tool_call_id": "t1", "tool": "Termin buchen"},
        {"speaker": "node_transition", "tool": "node"},
        {"speaker": "dtmf", "digit": "5"},
        {"speaker": "sms", "text": "Your code", "tool": "sms"},
        {"speaker": "injected", "text": "Remember the rule."},
        {"speaker": "transfer_target", "text": "Desk here."},
        {"speaker": "caller", "text": "Bye."},
    ]


def test_poorer_forms_of_the_transcript_are_used_where_the_richer_is_missing():
    turns = transcript(transcript_with_tool_calls=GONE)
    assert turns[0]["start_sec"] == 0.4
    assert len(turns) == 7
    plain = transcript(transcript_with_tool_calls=GONE, transcript_object=None)
    assert [turn["speaker"] for turn in plain] == ["agent", "caller", "agent", "agent", "caller", "agent", "caller"]
    assert plain[1] == {"speaker": "caller", "text": "Hi, I need to move my cleaning to next week."}


def test_no_transcript_text_stands_in_the_message():
    assert "Anything else?" not in json.dumps(message(sample()))


def test_the_scrubbed_variants_are_preferred():
    scrubbed = [{"role": "user", "content": "My name is [NAME]."}, {**INVOKED, "name": "scrubbed_tool"}]
    fields = {
        "scrubbed_transcript_with_tool_calls": scrubbed,
        "scrubbed_recording_url": "https://r.example.com/scrubbed.wav",
        "scrubbed_recording_multi_channel_url": "https://r.example.com/scrubbed_multi.wav",
    }
    assert [turn.get("text") for turn in transcript(**fields)] == ["My name is [NAME].", None]
    found = message(sample(**fields))
    assert found["call"]["capabilities_invoked"] == ["scrubbed_tool"]
    assert found["artifacts"]["audio_recording_ref"] == "https://r.example.com/scrubbed.wav"
    assert found["artifacts"]["debug_artifacts"]["recording_multi_channel"].endswith("/scrubbed_multi.wav")
    assert "harbor" not in json.dumps(found["artifacts"])


def test_recordings_and_logs_are_referred_to():
    found = message(sample(knowledge_base_retrieved_contents_url="https://r.example.com/kb.json"))["artifacts"]
    folder = "https://recordings.example.com/retell/call_b1e4c07a95d24f6f8e2a77d0c31"
    assert found["audio_recording_ref"] == f"{folder}/recording.wav"
    assert found["system_logs_ref"] == f"{folder}/public.log"
    assert found["debug_artifacts"] == {
        "recording_multi_channel": f"{folder}/recording_multichannel.wav",
        "knowledge_base": "https://r.example.com/kb.json",
    }


# --- money and models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cents", "usd"),
    [
        (12.3456, 0.123456),
        ("12.3456", 0.123456),
        (7.875, 0.07875),
        (0, 0.0),
        (0.1, 0.001),
        (1e-7, 1e-9),
        (1234567, 12345.67),
    ],
)
def test_cents_become_dollars_exactly(cents, usd):
    found = attribution_of(sample(call_cost={"combined_cost": cents}))
    assert found["total_cost_usd"] == usd
    assert found["kpis"] == {
        "cost_per_call_usd": usd,
        "cost_native": float(cents),
        "cost_native_unit": "usd_cents",
    }


@pytest.mark.parametrize("cost", [GONE, None, {}, {"combined_cost": None}, {"total_duration_seconds": 35}])
def test_a_cost_that_is_not_told_is_null_and_never_0(cost):
    found = attribution_of(sample(call_cost=cost))
    assert "total_cost_usd" not in found
    assert found["kpis"] == {}


@pytest.mark.parametrize(
    ("product", "role"),
    [
        ("elevenlabs_tts", "TTS"),
        ("openai_tts", "TTS"),
        ("voice_engine", "TTS"),
        ("gpt-4o-mini-tts", "TTS"),
        ("gpt-4o-mini", "LLM"),
        ("gpt_4o", "LLM"),
        ("claude-3.5-haiku", "LLM"),
        ("gemini-2.0-flash", "LLM"),
        ("llm_token_usage", "LLM"),
        ("deepgram_asr", "STT"),
        ("gpt-4o-transcribe", "STT"),
        ("transcription", "STT"),
        ("gpt-4o-realtime", "V2V"),
        ("gpt_realtime_mini", "V2V"),
        ("openai_s2s", "V2V"),
        ("us_telephony", None),
        ("knowledge_base", None),
        ("batch_call", None),
        ("", None),
    ],
)
def test_each_product_counts_for_its_role_or_only_in_the_total(product, role):
    cost = {"combined_cost": 5, "product_costs": [{"product": product, "cost": 2.5, "unit_price": 0.1}]}
    found = message(sample(call_cost=cost, duration_ms=90_000))
    attributed = found["outcomes"]["model_outcome_attribution"]
    assert attributed["total_cost_usd"] == 0.05
    assert attributed["roles"] == ({role: {"model_id": product, "minutes": 1.5, "cost_usd": 0.025}} if role else {})
    chosen = {"chosen": product, "reason": ["inferred_from_cost_item"]}
    assert found["model_selection"]["roles"] == ({role: chosen} if role else {})


def test_products_of_one_role_are_added_up_and_transfer_legs_stay_in_the_total():
    items = [
        {"product": "gpt-4o", "cost": 1.1},
        {"product": "llm_token_usage", "cost": "2.2"},
        {"product": "us_telephony", "cost": 3, "is_transfer_leg_cost": True},
        {"product": "us_telephony", "cost": 0.7},
    ]
    found = attribution_of(sample(call_cost={"combined_cost": 7, "product_costs": items}))
    assert found["roles"] == {"LLM": {"model_id": "gpt-4o", "minutes": 0.5833, "cost_usd": 0.033}}
    assert found["total_cost_usd"] == 0.07


def test_models_and_minutes_are_marked_as_inferred():
    history = message(sample())["provenance"]["transformation_history"]
    assert "inferred:model_selection.roles" in history
    assert "inferred:outcomes.model_outcome_attribution.roles.*.minutes" in history
    assert "inferred:outcomes.user_satisfaction_score" in history


def test_the_latency_of_a_voice_to_voice_model_tells_that_there_was_one():
    roles = message(sample(latency={"s2s": {"p50": 800, "num": 3}}, call_cost=GONE))["model_selection"]["roles"]
    assert roles == {"V2V": {"chosen": "unknown", "reason": ["inferred_from_s2s_latency"]}}
    cost = {"product_costs": [{"product": "gpt-realtime", "cost": 1}]}
    roles = message(sample(latency={"s2s": {"p50": 800}}, call_cost=cost))["model_selection"]["roles"]
    assert roles["V2V"]["chosen"] == "gpt-realtime"
    for nothing in ({}, {"s2s": None}, {"e2e": {"p50": 1}}):
        assert message(sample(latency=nothing, call_cost=GONE))["model_selection"]["roles"] == {}


@pytest.mark.parametrize("field", ["transcript_with_tool_calls", "scrubbed_transcript_with_tool_calls"])
def test_a_fallback_model_is_seen_and_named(field):
    rows = [*ROWS, {"role": "agent", "content": "x", "metadata": {"backup_model_used": {"model": "gpt-4o-mini"}}}]
    roles = message(sample(**{field: rows}, call_cost=GONE))["model_selection"]["roles"]
    assert roles == {"LLM": {"chosen": "gpt-4o-mini", "fallback_used": True}}
    found = message(sample(**{field: rows}))
    assert found["model_selection"]["roles"]["LLM"]["fallback_used"] is True
    assert found["model_selection"]["roles"]["LLM"]["chosen"] == "gpt_4o"
    assert found["custom"]["provider_specific"]["retell"]["data"]["backup_models_used"] == ["gpt-4o-mini"]


@pytest.mark.parametrize("backup", [None, {}, {"model": None}, {"model": ""}, "x"])
def test_a_fallback_without_a_name_is_none(backup):
    rows = [{"role": "agent", "content": "x", "metadata": {"backup_model_used": backup}}]
    assert message(sample(transcript_with_tool_calls=rows, call_cost=GONE))["model_selection"]["roles"] == {}


@pytest.mark.parametrize("model", [5, {"name": "x"}, ["y"], True])
def test_a_fallback_with_an_odd_name_does_not_lose_the_call(model):
    rows = [{"role": "agent", "content": "x", "metadata": {"backup_model_used": {"model": model}}}]
    roles = message(sample(transcript_with_tool_calls=rows, call_cost=GONE))["model_selection"]["roles"]
    assert roles == {"LLM": {"chosen": "unknown", "fallback_used": True}}


# --- people and words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "score"),
    [("Positive", 0.8), ("Neutral", 0.5), ("Negative", 0.2), ("positive ", 0.8), ("Unknown", None), (None, None),
     ("", None), ("Ecstatic", None), (5, None)],
)  # fmt: skip
def test_sentiment_is_the_callers_satisfaction_on_one_scale(word, score):
    outcomes = message(analyzed(user_sentiment=word))["outcomes"]
    assert outcomes.get("user_satisfaction_score") == score
    assert outcomes.get("perceived", []) == ([f"caller: {word.strip().lower()} ({score})"] if score else [])
    if score is None:
        assert outcomes["perception_gap"]["factors"] == ["not_assessed"]


@pytest.mark.parametrize(("word", "unseen"), [("Unknown", False), ("Ecstatic", True)])
def test_unknown_is_a_word_and_an_odd_one_is_reported(word, unseen):
    found = store(analyzed(user_sentiment=word)).report.unseen
    assert ({"source": "call.call_analysis.user_sentiment", "word": word} in found) is unseen


def test_the_summary_and_the_analysis_have_their_places():
    found = message(analyzed(call_summary="Moved a visit. All well.", in_voicemail=False))
    assert (found["hcr"]["summary"], found["hcr"]["headline"]) == ("Moved a visit. All well.", "Moved a visit")
    assert "key_points" not in found["hcr"]
    metrics = found["outcomes"]["objective"]["metrics"]
    assert (metrics["assistant_success"], metrics["in_voicemail"]) == (True, False)
    assert metrics["disconnect_reason"] == "user_hangup"
    assert metrics["aht_sec"] == 35


def test_the_rest_is_kept_as_retells_own_data():
    data = data_of(sample(agent_version=0, transfer_destination="+15550142299"))
    assert data["agent_version"] == 0
    assert data["agent_id"] == "agent_5d0f9a8c7b6e4d21"
    assert data["disconnection_reason"] == "user_hangup"
    assert data["call_status"] == "ended"
    assert data["latency"]["e2e"]["p50"] == 1104
    assert data["llm_token_usage"]["average"] == 1635
    assert data["custom_analysis_data"] == {"reason_for_call": "reschedule", "new_patient": False}
    assert data["metadata"] == {"clinic_id": "harbor-03"}
    assert data["transfer_destination"] == "+15550142299"


def test_no_consent_is_invented():
    assert "consent" not in message(sample(data_storage_setting="everything", opt_in_signed_url=True))


# --- 5b: disconnection_reason to status ---------------------------------------------------------------------

NORMAL = ["user_hangup", "agent_hangup"]
CLASSES = {
    "partial": ["call_transfer", "transfer_bridged", "call_take_over", "user_requested_callback",
                "no_concurrency_fallback"],
    "failure": ["user_requested_dnc", "user_declined", "transfer_cancelled"],
    "timeout": ["voicemail_reached", "ivr_reached", "machine_detected", "dial_no_answer", "dial_busy", "inactivity",
                "max_duration_reached", "registered_call_timeout"],
    "error": ["dial_failed", "invalid_destination", "sip_routing_error", "network_blocked", "marked_as_spam",
              "telephony_provider_permission_denied", "telephony_provider_unavailable", "error_twilio",
              "concurrency_limit_reached", "no_valid_payment", "credit_exhausted", "budget_reached", "scam_detected",
              "error_llm_websocket_open", "error_llm_websocket_lost_connection", "error_llm_websocket_runtime",
              "error_llm_websocket_corrupt_payload", "error_no_audio_received", "error_asr", "error_retell",
              "error_unknown", "error_user_not_joined", "error_inbound_webhook", "error_of_next_year"],
    "unknown": ["manual_stopped"],
}  # fmt: skip
VERDICTS = [
    {},
    {"in_voicemail": True},
    {"in_voicemail": True, "call_successful": True},
    {"call_successful": False},
    {"call_successful": True, "in_voicemail": False},
]


@pytest.mark.parametrize(
    ("analysis", "status"),
    [
        ({}, "success"),
        ({"call_successful": True}, "success"),
        ({"call_successful": None, "in_voicemail": None}, "success"),
        ({"call_successful": True, "in_voicemail": False}, "success"),
        ({"call_successful": False}, "failure"),
        ({"call_successful": False, "in_voicemail": False}, "failure"),
        ({"call_successful": False, "in_voicemail": True}, "timeout"),
        ({"call_successful": True, "in_voicemail": True}, "timeout"),
        ({"in_voicemail": True}, "timeout"),
        ({"call_successful": "false"}, "failure"),
        ({"in_voicemail": "true"}, "timeout"),
    ],
)
@pytest.mark.parametrize("reason", [*NORMAL, "User_Hangup "])
def test_a_normal_end_is_refined_by_the_analysis(reason, analysis, status):
    assert status_of(sample(disconnection_reason=reason, call_analysis=analysis)) == status


@pytest.mark.parametrize("analysis", VERDICTS)
@pytest.mark.parametrize(
    ("reason", "status"), [(reason, status) for status, reasons in CLASSES.items() for reason in reasons]
)
def test_every_other_reason_is_its_class_whatever_the_analysis_says(reason, status, analysis):
    payload = sample(disconnection_reason=reason, call_analysis=analysis)
    assert status_of(payload) == status
    metrics = message(payload)["outcomes"]["objective"]["metrics"]
    assert metrics.get("assistant_success") == analysis.get("call_successful")
    assert folded(payload).unseen == []


@pytest.mark.parametrize("call_status", ["ended", "not_connected", "registered", "ongoing", "", None, "error"])
@pytest.mark.parametrize("reason", ["flew_away", "an error_occurred", "unsuccessful_user_hangup", "", None, GONE, 5])
def test_any_other_reason_is_unknown_unless_retell_calls_it_an_error(reason, call_status):
    payload = sample(disconnection_reason=reason, call_status=call_status)
    assert status_of(payload) == ("error" if call_status == "error" else "unknown")


def test_a_reason_nobody_knows_is_reported():
    assert folded(sample(disconnection_reason="flew_away")).unseen == [
        {"source": "call.disconnection_reason", "word": "flew_away"}
    ]


def test_the_status_alone_never_decides_a_known_reason():
    assert status_of(sample(call_status="registered")) == "success"
    assert status_of(sample(call_status="error")) == "success"


# --- what must not be stored --------------------------------------------------------------------------------

MARK = "PRIVATE"


def marked(setting: dict[str, Any], under: str = "call") -> dict[str, Any]:
    """A payload whose every sensitive field holds a marked text of its own."""
    rows = [{"role": "user", "content": f"{MARK}-row", "name": f"{MARK}-tool"}]
    call = sample()["call"] | setting
    for field in (
        "transcript", "recording_url", "recording_multi_channel_url", "public_log_url",
        "knowledge_base_retrieved_contents_url", "from_number", "to_number", "transfer_destination",
    ):  # fmt: skip
        call[field] = f"{MARK}-{field}"
    call["transcript_object"] = call["transcript_with_tool_calls"] = rows
    for field in ("retell_llm_dynamic_variables", "collected_dynamic_variables", "custom_sip_headers"):
        call[field] = {"k": f"{MARK}-{field}"}
    call["call_analysis"] |= {"call_summary": f"{MARK}-sum", "custom_analysis_data": {"k": [f"{MARK}-custom"]}}
    call["scrubbed_transcript_with_tool_calls"] = [{"role": "user", "content": "SCRUBBED-row"}]
    call["scrubbed_recording_url"] = "https://r.example.com/SCRUBBED"
    call["scrubbed_recording_multi_channel_url"] = "https://r.example.com/SCRUBBED-multi"
    payload = {"event": "call_analyzed", under: call, "transfer_destination": {"number": f"{MARK}-top"}}
    return payload | {"transcript": f"{MARK}-top-transcript", "args": {"k": f"{MARK}-args"}}


def everything_kept(payload: dict[str, Any]) -> str:
    stored = store(payload)
    return stored.body.decode() + json.dumps(stored.fragment.to_json()) + json.dumps(message(payload))


@pytest.mark.parametrize("under", ["call", "data"])
@pytest.mark.parametrize(
    ("setting", "private", "scrubbed", "metadata"),
    [
        ({}, True, True, True),
        ({"data_storage_setting": "everything"}, True, True, True),
        ({"data_storage_setting": "everything_except_pii"}, False, True, False),
        ({"data_storage_setting": "basic_attributes_only"}, False, False, False),
        ({"data_storage_setting": "a_choice_of_tomorrow"}, False, False, False),
        ({"data_storage_setting": None, "opt_out_sensitive_data_storage": True}, False, False, False),
        ({"data_storage_setting": None, "opt_out_sensitive_data_storage": "true"}, False, False, False),
        ({"data_storage_setting": None, "opt_out_sensitive_data_storage": False}, True, True, True),
    ],
)
def test_the_storage_choice_binds_body_fragment_and_message(setting, private, scrubbed, metadata, under):
    kept = everything_kept(marked(setting, under))
    assert (MARK in kept) is private
    assert ("SCRUBBED" in kept) is scrubbed
    assert ("harbor-03" in kept) is metadata
    assert "Harbor Dental Front Desk" in kept


def test_a_call_with_basic_attributes_only_still_counts():
    found = message(marked({"data_storage_setting": "basic_attributes_only"}))
    assert (found["call"]["duration_sec"], found["outcomes"]["objective"]["status"]) == (35, "success")
    assert found["outcomes"]["user_satisfaction_score"] == 0.8
    assert found["outcomes"]["model_outcome_attribution"]["total_cost_usd"] == 0.07875
    assert not {"from", "to", "caller_id", "capabilities_invoked"} & set(found["call"])
    assert [ref for ref in found["artifacts"].values() if ref] == []


@pytest.mark.parametrize("place", ["call", "data", "top", "deep"])
def test_the_credential_of_a_web_call_is_kept_nowhere(place):
    payload = sample(WEB, access_token=GONE)
    secret = {"access_token": "example-web-call-access-token"}
    where = {"call": payload["call"], "top": payload, "deep": payload["call"].setdefault("metadata", {"a": 1})}
    payload |= {"data": dict(secret)} if place == "data" else {}
    where.get(place, {}).update(secret)
    assert "example-web-call" in json.dumps(payload)
    assert "example-web-call" not in everything_kept(payload)


# --- hostile values -----------------------------------------------------------------------------------------

RICH = marked({"data_storage_setting": "everything"})
RICH["event_timestamp"] = END_MS
RICH["call"]["latency"]["s2s"] = {"p50": 1}
RICH["call"]["transcript_with_tool_calls"] = [
    {**INVOKED, "metadata": {"backup_model_used": {"model": "gpt-4o-mini"}}, "words": [{"start": 1, "end": 2}]}
]
RICH["call"]["agent_version"] = 0
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
FIELDS = [path for path in places(RICH) if path not in (("event",), ("call",), ("call", "call_id"))]


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_no_value_in_any_field_loses_the_call(path):
    for value in HOSTILE:
        found = message(with_value(path, value))
        assert found["outcomes"]["objective"]["status"] in (
            "success",
            "failure",
            "timeout",
            "error",
            "unknown",
            "partial",
        )
        # A storage choice that nobody knows is taken for the careful one, and the summary is not stored.
        if path[1:2] not in (("call_analysis",), ("data_storage_setting",)):
            assert found["hcr"]["summary"] == f"{MARK}-sum"


@pytest.mark.parametrize(
    ("path", "value", "target"),
    [
        ("call.start_timestamp", HUGE, "call.start_time"),
        ("call.start_timestamp", 0, "call.start_time"),
        ("call.start_timestamp", START_MS // 1000, "call.start_time"),
        ("call.end_timestamp", {"ms": 1}, "call.end_time"),
        ("call.duration_ms", "long", "call.duration_sec"),
        ("call.duration_ms", -1000, "call.duration_sec"),
        ("call.duration_ms", 9e14, "call.duration_sec"),
        ("call.call_type", ["phone_call"], "call.channel"),
        ("call.from_number", {"number": "+1"}, "call.from"),
        ("call.recording_url", ["x"], "artifacts.audio_recording_ref"),
        ("call.call_cost.combined_cost", "a lot", "outcomes.model_outcome_attribution.total_cost_usd"),
        ("call.call_cost.combined_cost", -1, "outcomes.model_outcome_attribution.total_cost_usd"),
        ("call.call_cost.combined_cost", 1e12, "outcomes.model_outcome_attribution.total_cost_usd"),
        ("call.call_cost.product_costs", "x", "model_selection.roles"),
        ("call.call_cost.product_costs.0.cost", "x", "outcomes.model_outcome_attribution.roles"),
        ("call.transcript_with_tool_calls", 5, "call.capabilities_invoked"),
        ("call.call_analysis.user_sentiment", {"x": 1}, "outcomes.user_satisfaction_score"),
        ("call.call_analysis.call_summary", "…" * 100_001, "hcr.summary"),
        ("call.call_analysis.call_successful", "perhaps", "outcomes.objective.metrics.assistant_success"),
        ("call.disconnection_reason", ["x"], "outcomes.objective.metrics.disconnect_reason"),
    ],
)
def test_a_field_that_cannot_be_read_is_left_out_and_recorded(path, value, target):
    keys = tuple(int(key) if key.isdigit() else key for key in path.split("."))
    payload = parse(with_value(keys, value))
    for scrubbed in [field for field in payload["call"] if field.startswith("scrubbed_")]:
        del payload["call"][scrubbed]
    stored = store(payload)
    assert target not in stored.fragment.values
    source = path.removesuffix(".0.cost")
    assert (f"$.{source}", target) in [(failure["path"], failure["target"]) for failure in stored.report.failed]
    recorded = folded(payload).message["audit"]["validation_errors"]
    assert any(text.startswith(f"$.{source}: ") for text in recorded)
    assert "…" not in json.dumps(recorded, ensure_ascii=False)


def test_numbers_as_texts_are_numbers():
    plain = sample()
    quoted = sample(
        start_timestamp=str(START_MS),
        end_timestamp=str(END_MS),
        duration_ms="35000",
        call_cost={
            "combined_cost": "7.875",
            "product_costs": [
                {**item, "cost": str(item["cost"])} for item in plain["call"]["call_cost"]["product_costs"]
            ],
        },
    )
    first, second = message(plain), message(quoted)
    assert first["call"] == second["call"]
    assert first["outcomes"] == second["outcomes"]
    assert store(quoted).report.failed == []


@pytest.mark.parametrize("call_id", [None, "", True, 1.5, ["x"], {"a": 1}])
def test_a_call_id_that_is_none_is_left_to_be_derived(call_id):
    assert MAPPING.identify(sample(call_id=call_id)).call_id is None

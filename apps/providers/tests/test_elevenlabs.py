"""ElevenLabs' facts, one by one, against the catalogue file: what its documents say must come out of the mapping.

Each payload is a sample of the catalogue with the fields changed that the test is about. It is redacted, parsed,
mapped and folded by the engine alone; `__` in a keyword goes one level down below `data`.
"""

import base64
import copy
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from apps.providers import catalog, golden
from apps.providers.engine.embedded import reference_to, take_out
from apps.providers.engine.errors import MappingError
from apps.providers.engine.fold import Context, Event, Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping, Report
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Reason, Secret, SignedRequest, verify
from vcp import validate

SPEC = catalog.load("elevenlabs")
MAPPING = Mapping(SPEC.mapping)
RECEIVED_AT = datetime(2026, 11, 1, tzinfo=UTC)
DONE = "post_call_transcription.inbound_success_tools"
WIDGET = "post_call_transcription.widget_minimal"
VOICEMAIL = "post_call_transcription.outbound_voicemail"
TRANSFERRED = "post_call_transcription.inbound_transferred"
PROCESSING = "post_call_transcription.processing"
AUDIO = "post_call_audio"
SIP, TWILIO = "call_initiation_failure.outbound_busy_sip", "call_initiation_failure.outbound_no_answer_twilio"
GONE = object()


def sample(name: str = DONE, /, **fields: Any) -> dict[str, Any]:
    """A copy of a sample; keywords replace fields below `data`, those that are GONE are taken out."""
    payload: dict[str, Any] = copy.deepcopy(catalog.samples("elevenlabs")[name])
    for field, value in fields.items():
        *above, last = field.split("__")
        node = payload["data"]
        for key in above:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[last] = value
        if value is GONE:
            del node[last]
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
    parsed = parse(raw)
    artifact = MAPPING.identify(parsed).spec.artifact
    shorter = take_out(artifact, raw, parsed)[0] if artifact else raw
    body = MAPPING.redact(shorter, parsed)
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
    context = Context("elevenlabs", "ElevenLabs", "conv_x", "standard_30_days", lambda number: f"psn_{number[-4:]}")
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


def attribution_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["outcomes"]["model_outcome_attribution"])


def models_of(*payloads: Any) -> dict[str, str]:
    return {role: info["chosen"] for role, info in message(*payloads)["model_selection"]["roles"].items()}


def data_of(*payloads: Any) -> dict[str, Any]:
    return dict(message(*payloads)["custom"]["provider_specific"]["elevenlabs"]["data"])


def transcript(payload: Any) -> Any:
    value = store(payload).fragment.values.get("transcript")
    return value.value if value else None


# --- the provider, and its signature -----------------------------------------------------------------------


def test_the_provider_is_known_by_its_addresses_and_pages():
    assert (SPEC.api_base_url, SPEC.docs_url) == ("https://api.elevenlabs.io", "https://elevenlabs.io/docs")
    assert set(SPEC.source_addresses) == {
        "34.67.146.145", "34.59.11.47", "35.204.38.71", "34.147.113.54", "35.185.187.110", "35.247.157.189",
        "34.77.234.246", "34.140.184.144", "34.93.26.174", "34.93.252.69", "34.87.23.17", "34.126.179.103",
    }  # fmt: skip
    urls = {page.url for page in SPEC.pages}
    assert {"https://status.elevenlabs.io/api/v2/summary.json", "https://elevenlabs.io/docs/changelog"} <= urls
    assert SPEC.body_limit_bytes == 64 * 1024 * 1024


SECRET = "wsec_0123456789abcdef0123456789abcdef"
VECTORS = [
    (1767225605,
     b'{"type":"post_call_transcription","event_timestamp":1767225600,"data":{"conversation_id":"conv_a1b2c3"}}',
     "3147113f214ccd538c2a5e2f3c8017d1274e89e487e773c52bc535e2914c3dad"),
    (1767225700,
     '{"type": "post_call_transcription", "event_timestamp": 1767225661, "data": {"conversation_id": "conv_0002", '
     '"note": "Grüße 👋"}}\n'.encode(),
     "43350ffcd31cc4cf8d3170d6ec8008110a129f315a38a0f3dcc74c10a6ad24b8"),
]  # fmt: skip


def proved(body: bytes, header: str, at: int, secret: str = SECRET) -> Reason:
    request = SignedRequest({"elevenlabs-signature": header}, body)
    secrets = [Secret("old", "wsec_another"), Secret("new", secret)]
    return verify(SPEC.auth, secrets, request, datetime.fromtimestamp(at, UTC)).reason


@pytest.mark.parametrize(("at", "body", "digest"), VECTORS)
def test_the_documented_signatures_are_accepted(at, body, digest):
    assert len(body) in (104, 133)
    assert proved(body, f"t={at},v0={digest}", at) is Reason.OK
    # The SDK does not skip blanks either.
    assert proved(body, f"t={at}, v0={digest}", at) is Reason.HEADER_MALFORMED


@pytest.mark.parametrize(
    ("late_sec", "accepted"), [(0, True), (1800, True), (1801, False), (-300, True), (-301, False)]
)
def test_a_signature_is_good_for_thirty_minutes_and_five_minutes_ahead(late_sec, accepted):
    at, body, digest = VECTORS[0]
    assert (proved(body, f"t={at},v0={digest}", at + late_sec) is Reason.OK) is accepted


@pytest.mark.parametrize(
    ("body", "header", "secret"),
    [
        (VECTORS[0][1] + b"\n", f"t={VECTORS[0][0]},v0={VECTORS[0][2]}", SECRET),
        (VECTORS[0][1], f"t={VECTORS[0][0] + 1},v0={VECTORS[0][2]}", SECRET),
        (VECTORS[0][1], f"t={VECTORS[0][0]},v0={VECTORS[0][2]}", SECRET.removeprefix("wsec_")),
        (VECTORS[0][1], f"t={VECTORS[0][0]},v0={VECTORS[0][2].upper()}", SECRET),
        (VECTORS[0][1], f"t={VECTORS[0][0]}000,v0={VECTORS[0][2]}", SECRET),
        (VECTORS[0][1], f"t={VECTORS[0][0]},v1={VECTORS[0][2]}", SECRET),
        (VECTORS[0][1], f"v0={VECTORS[0][2]}", SECRET),
        (VECTORS[0][1], f"t={VECTORS[0][0]}", SECRET),
        (VECTORS[0][1], VECTORS[0][2], SECRET),
        (VECTORS[0][1], "", SECRET),
    ],
)
def test_anything_else_is_refused(body, header, secret):
    assert proved(body, header, VECTORS[0][0], secret) is not Reason.OK


# --- events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "event", "kind", "disposition"),
    [
        (sample(DONE), "post_call_transcription", "call_ended", "map"),
        (sample(status="initiated"), "post_call_transcription.unfinished", "call_progress", "map"),
        (sample(status="in-progress"), "post_call_transcription.unfinished", "call_progress", "map"),
        (sample(status="processing"), "post_call_transcription.unfinished", "call_progress", "map"),
        (sample(status="failed"), "post_call_transcription", "call_ended", "map"),
        (sample(status=GONE), "post_call_transcription", "call_ended", "map"),
        (sample(SIP), "call_initiation_failure", "call_ended", "map"),
        (sample(AUDIO), "post_call_audio", "call_analyzed", "map"),
        (sample("answering_machine_detection"), "answering_machine_detection", "ignored", "store"),
        ({"type": "voice_removal_notice"}, "voice_removal_notice", "ignored", "ignore"),
        ({"type": "voice_removal_notice_withdrawn"}, "voice_removal_notice_withdrawn", "ignored", "ignore"),
        ({"type": "voice_removed"}, "voice_removed", "ignored", "ignore"),
        ({"type": "agent_qa_alert"}, "agent_qa_alert", "unknown", "store"),
        ({}, "unknown", "unknown", "store"),
    ],
)
def test_an_event_is_told_by_its_type(payload, event, kind, disposition):
    identity = MAPPING.identify(payload)
    assert (identity.event, identity.spec.kind, identity.spec.disposition) == (event, kind, disposition)


@pytest.mark.parametrize("name", [DONE, SIP, AUDIO, "answering_machine_detection"])
def test_an_event_names_its_call_and_its_time_in_seconds(name):
    payload = sample(name, conversation_id="conv_1") | {"event_timestamp": 1773849641}
    for stamp in (1773849641, "1773849641"):
        identity = MAPPING.identify(payload | {"event_timestamp": stamp})
        assert (identity.call_id, identity.occurred_at) == ("conv_1", "2026-03-18T16:00:41.000Z")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (sample(conversation_id=GONE), "$.data.conversation_id"),
        (sample(AUDIO, full_audio=GONE), "$.data.full_audio"),
        ({"type": "call_initiation_failure"}, "$.data"),
    ],
)
def test_what_an_event_needs_must_be_there(payload, path):
    with pytest.raises(MappingError) as caught:
        store(payload)
    assert caught.value.path == path


def test_stages_follow_the_events():
    assert folded(sample(PROCESSING)).stage == "in_progress"
    assert folded(sample(SIP)).stage == "ended"
    assert folded(sample(DONE)).stage == "analysed"
    assert folded(sample(PROCESSING), sample(DONE)).stage == "analysed"


def test_a_repetition_in_other_bytes_is_the_same_message():
    once, twice = store(sample(), "a"), store(json.dumps(sample(), indent=1).encode(), "b")
    context = Context("elevenlabs", "ElevenLabs", "conv_x", "", lambda number: "psn")
    one, both = fold([once.event], MAPPING, context), fold([once.event, twice.event], MAPPING, context)
    for part in ("call", "outcomes", "hcr", "artifacts", "custom", "model_selection"):
        assert one.message["vcp_payload"][part] == both.message["vcp_payload"][part]


# --- outcome, the rows of the table in their order ----------------------------------------------------------


def results(*types: str) -> list[dict[str, Any]]:
    """A transcript whose tools came to these result types."""
    rows = [{"tool_name": "t", "is_error": False, "result": {"result_type": word}} for word in types]
    return [{"role": "user", "message": "Hi", "tool_results": None}, {"role": "agent", "tool_results": rows}]


def outcome(**fields: Any) -> dict[str, Any]:
    """A finished call without any sign of its outcome but these."""
    plain: dict[str, Any] = {
        "analysis": None, "transcript": [], "metadata__termination_reason": "",
        "metadata__phone_call__call_result": "answered",
    }  # fmt: skip
    return sample(DONE, **{**plain, **fields})


END_CALL = "end_call tool was called."


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (sample(SIP, failure_reason="busy"), "timeout"),
        (sample(SIP, failure_reason="no-answer"), "timeout"),
        (sample(SIP, failure_reason="unknown", metadata__body={}), "error"),
        (sample(SIP, failure_reason="never heard of", metadata__body={}), "error"),
        (sample(SIP, failure_reason=None, metadata=None), "error"),
        *((sample(SIP, failure_reason="unknown", metadata__body__sip_status_code=code), status)
          for code, status in [(408, "timeout"), (480, "timeout"), (486, "timeout"), (487, "timeout"), (600, "timeout"),
                               ("480", "timeout"), (404, "error"), ("503", "error"), (4800, "error")]),
        (sample(TWILIO, failure_reason="unknown", metadata__body={"CallStatus": "busy"}), "timeout"),
        (sample(TWILIO, failure_reason="unknown", metadata__body={"CallStatus": "no-answer"}), "timeout"),
        (sample(TWILIO, failure_reason="unknown", metadata__body={"CallStatus": "failed"}), "error"),
        (sample(TWILIO, failure_reason="unknown", metadata__body={"SipResponseCode": "487"}), "timeout"),
        (sample(TWILIO, failure_reason="unknown", metadata__body={"SipResponseCode": "404"}), "error"),
        (outcome(status="failed", analysis__call_successful="success"), "error"),
        (outcome(metadata__error={"code": 1008, "reason": "quota"}, analysis__call_successful="success"), "error"),
        (outcome(metadata__phone_call__call_result="voicemail", analysis__call_successful="success"), "timeout"),
        (outcome(metadata__phone_call__call_result="busy"), "timeout"),
        (outcome(metadata__phone_call__call_result="no_answer"), "timeout"),
        (outcome(transcript=results("voicemail_detection_success"), analysis__call_successful="success"), "timeout"),
        (outcome(metadata__phone_call__call_result="failed", analysis__call_successful="success"), "error"),
        *((outcome(transcript=results(f"transfer_to_number_{way}_success"), analysis__call_successful="failure"),
           "partial") for way in ("twilio", "sip", "exotel", "amazon_connect", "some_new_carrier")),
        (outcome(transcript=results("transfer_to_number_error"), analysis__call_successful="failure"), "failure"),
        (outcome(transcript=results("transfer_to_agent_success"), analysis__call_successful="success"), "success"),
        (outcome(transcript=results("end_call_success", "skip_turn_success")), "unknown"),
        (outcome(analysis__call_successful="failure", metadata__termination_reason="silence"), "failure"),
        (outcome(analysis__call_successful="success", metadata__termination_reason="fatal error"), "success"),
        (outcome(analysis__call_successful="SUCCESS"), "success"),
        (outcome(metadata__termination_reason="Call ended because of silence"), "timeout"),
        (outcome(metadata__termination_reason="Inactivity of the user"), "timeout"),
        (outcome(metadata__termination_reason="Maximum duration of 600 s exceeded"), "timeout"),
        (outcome(metadata__termination_reason="max duration reached, error"), "timeout"),
        (outcome(metadata__termination_reason="text-to-speech error"), "error"),
        (outcome(metadata__termination_reason="This request exceeds your quota"), "error"),
        (outcome(metadata__termination_reason="A non retryable problem"), "error"),
        (outcome(metadata__termination_reason=END_CALL), "unknown"),
        (outcome(metadata__termination_reason="Client disconnected: 1000"), "unknown"),
        (outcome(metadata__termination_reason=END_CALL, analysis__call_successful="unknown"), "unknown"),
        (outcome(analysis__call_successful="unknown", metadata__termination_reason="silence"), "timeout"),
        (outcome(analysis__call_successful="unsuccessful"), "unknown"),
        *((outcome(status=word, analysis__call_successful="success"), "unknown")
          for word in ("initiated", "in-progress", "processing")),
    ],
)  # fmt: skip
def test_the_outcome_is_the_first_row_that_fits(payload, status):
    assert status_of(payload) == status


def test_a_new_verdict_is_noticed_and_the_known_ones_are_not():
    assert [item["word"] for item in folded(outcome(analysis__call_successful="so so")).unseen] == ["so so"]
    for word in ("success", "failure", "unknown"):
        assert folded(outcome(analysis__call_successful=word)).unseen == []


def test_what_was_processing_is_replaced_by_what_is_done():
    unfinished = sample(status="processing", analysis=None, metadata__call_duration_secs=3)
    found = message(unfinished, sample())
    assert (found["outcomes"]["objective"]["status"], found["call"]["duration_sec"]) == ("success", 23)


def test_a_finished_call_outweighs_a_failure_to_start_it():
    assert status_of(sample(SIP), sample()) == "success"


# --- times, direction, numbers ------------------------------------------------------------------------------


def test_times_are_seconds_and_the_end_is_start_plus_duration():
    found = call_of(sample(metadata__queue_wait_secs=7))
    assert (found["start_time"], found["end_time"], found["duration_sec"]) == (
        "2026-03-18T16:00:00.000Z", "2026-03-18T16:00:23.000Z", 23,
    )  # fmt: skip


def test_a_call_of_no_length_is_one_and_an_untold_length_is_null():
    nothing = call_of(sample(metadata__call_duration_secs=0))
    assert (nothing["duration_sec"], nothing["end_time"]) == (0, nothing["start_time"])
    untold = call_of(sample(metadata__call_duration_secs=None))
    assert "duration_sec" not in untold
    assert "end_time" not in untold


@pytest.mark.parametrize(
    ("payload", "start"),
    [
        (sample(SIP), "2026-03-18T17:01:39.000Z"),
        (sample(TWILIO), "2026-03-18T17:00:11.000Z"),
        (sample(TWILIO, metadata__body__Timestamp="Wed, 18 Mar 2026 18:00:11 +0100"), "2026-03-18T17:00:11.000Z"),
        (sample(TWILIO, metadata__body__Timestamp=GONE), "2026-03-18T17:00:12.000Z"),
        (sample(TWILIO, metadata__body__Timestamp="soon"), "2026-03-18T17:00:12.000Z"),
    ],
)
def test_a_call_that_never_connected_is_outbound_and_lasted_0_s(payload, start):
    found = call_of(payload)
    assert (found["start_time"], found["end_time"], found["duration_sec"]) == (start, start, 0)
    assert (found["direction"], found["channel"]) == ("outbound", "phone")


NUMBER, AGENT = "+15550174412", "+15550174400"


@pytest.mark.parametrize(
    ("payload", "sides"),
    [
        (sample(), (NUMBER, AGENT, "psn_4412")),
        (sample(metadata__phone_call__direction="outbound"), (AGENT, NUMBER, "psn_4412")),
        (sample(metadata__phone_call__direction=None), (None, None, "psn_4412")),
        (sample(metadata__phone_call__direction="sideways"), (None, None, None)),
        (sample(metadata__phone_call__external_number=None), (None, AGENT, "psn_4412")),
        (sample(metadata__phone_call__external_number="anonymous"), ("anonymous", AGENT, None)),
        (sample(metadata__phone_call={"direction": "outbound", "agent_number": AGENT}), (AGENT, None, None)),
        (sample(metadata__phone_call=None), (None, None, "psn_4412")),
        (sample(metadata__phone_call=None, conversation_initiation_client_data=None), (None, None, None)),
        (sample(SIP), (AGENT, "+15550174466", "psn_4466")),
        (sample(SIP, metadata__body__from_number=15550174400, metadata__body__to_number="15550174466"),
         (AGENT, "+15550174466", "psn_4466")),
        (sample(TWILIO), (AGENT, "+15550174455", "psn_4455")),
    ],
)  # fmt: skip
def test_numbers_stand_where_the_direction_puts_them_and_the_caller_under_a_pseudonym(payload, sides):
    found = call_of(payload)
    assert (found.get("from"), found.get("to"), found.get("caller_id")) == sides


def origin(source: Any = GONE, **more: Any) -> dict[str, Any]:
    return sample(DONE, metadata__phone_call=None, metadata__conversation_initiation_source=source, **more)


@pytest.mark.parametrize(
    ("payload", "channel"),
    [
        (sample(), "phone"),
        (sample(metadata__phone_call__direction=None), "phone"),
        (sample(SIP), "phone"),
        (sample(WIDGET), "web"),
        (origin(), "web"),
        (origin("react_sdk"), "web"),
        (origin("something_new"), "web"),
        (origin("js_sdk", metadata__text_only=True), "web"),
        (origin("whatsapp"), None),
        (origin("twilio_sms"), None),
        (origin(metadata__whatsapp={"whatsapp_user_id": "1"}), None),
        (origin("unknown_name", metadata__sms={"from": "1"}), None),
    ],
)
def test_the_channel_is_phone_or_web_and_a_messenger_is_neither(payload, channel):
    assert call_of(payload).get("channel") == channel
    assert "direction" not in call_of(payload) or channel == "phone"


def test_what_has_no_field_stays_in_the_providers_own_data():
    metadata = data_of(origin("whatsapp", metadata__text_only=True, metadata__whatsapp={"id": "w"}))["metadata"]
    assert (metadata["conversation_initiation_source"], metadata["text_only"], metadata["whatsapp"]) == (
        "whatsapp", True, {"id": "w"},
    )  # fmt: skip
    data = data_of(sample())
    assert data["metadata"]["deletion_settings"]["delete_audio"] is False
    assert data["metadata"]["termination_reason"] == END_CALL
    assert set(data["metadata"]["charging"]["llm_usage"]) == {"irreversible_generation", "initiated_generation"}
    assert data["agent_id"] == "agent_01example0harbor"
    assert "transcript" not in data


# --- money --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({}, 0.0412),
        ({"metadata__cost_fiat": 0}, 0.0),
        ({"metadata__cost_fiat": None}, 0.0412),
        ({"metadata__cost_fiat": None, "metadata__charging__platform_price": 0.5}, 0.50159),
        ({"metadata__cost_fiat": GONE, "metadata__charging": {"llm_price": 0, "platform_price": 0}}, 0.0),
        ({"metadata__cost_fiat": None, "metadata__charging__llm_price": None}, None),
        ({"metadata__cost_fiat": None, "metadata__charging__platform_price": None}, None),
        ({"metadata__cost_fiat": None, "metadata__charging": None}, None),
        ({"metadata__cost_fiat": 0.25, "metadata__charging": None, "metadata__cost": None}, 0.25),
    ],
)  # fmt: skip
def test_the_cost_is_dollars_told_or_both_prices_and_never_credits(fields, usd):
    found = attribution_of(sample(**fields))
    assert found.get("total_cost_usd") == usd
    assert found["kpis"].get("cost_per_call_usd") == usd
    credits_ = fields.get("metadata__cost", 742)
    assert found["kpis"].get("cost_native") == credits_
    assert found["kpis"].get("cost_native_unit") == ("credits" if credits_ else None)


def test_a_surcharge_in_credits_adds_nothing():
    found = attribution_of(sample(metadata__cost_fiat=None, metadata__charging__voice_surcharge_charge=9999))
    assert found["total_cost_usd"] == 0.0412


def test_only_the_language_model_has_a_price_and_minutes_are_those_of_its_own_role():
    roles = attribution_of(sample())["roles"]
    assert {role: part.get("cost_usd") for role, part in roles.items()} == {"LLM": 0.00159, "STT": None, "TTS": None}
    assert {role: part["minutes"] for role, part in roles.items()} == {"LLM": 0.3833, "STT": 0.1017, "TTS": 0.19}
    assert {role: part["model_id"] for role, part in roles.items()} == models_of(sample())


def test_roles_of_which_nothing_is_known_are_not_made_up():
    assert attribution_of(sample(WIDGET))["roles"] == {}
    untold = sample(metadata__charging__tts_usage__total_audio_output_seconds=None, metadata__charging__asr_usage=None)
    assert set(attribution_of(untold)["roles"]) == {"LLM"}


# --- models -------------------------------------------------------------------------------------------------


def usage(**output: int) -> dict[str, Any]:
    return {"model_usage": {name: {"output_total": {"tokens": tokens}} for name, tokens in output.items()}}


def test_the_model_that_wrote_most_counts_by_what_was_initiated():
    both = {"irreversible_generation": usage(a=500, b=1), "initiated_generation": usage(a=510, b=600, c=9)}
    found = sample(metadata__charging__llm_usage=both)
    assert models_of(found)["LLM"] == attribution_of(found)["roles"]["LLM"]["model_id"] == "b"
    only = sample(metadata__charging__llm_usage={"irreversible_generation": usage(z=5)})
    assert models_of(only)["LLM"] == "gemini-2.5-flash"  # from the turns


def test_models_are_taken_from_the_turns_where_the_bill_names_none():
    assert models_of(sample(metadata__charging=None)) == {
        "LLM": "gemini-2.5-flash", "TTS": "eleven_flash_v2_5", "STT": "scribe_realtime",
    }  # fmt: skip
    assert models_of(sample(WIDGET)) == {}


# --- people -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feedback", "score"),
    [
        ({"rating": 1}, 0.0),
        ({"rating": 2}, 0.25),
        ({"rating": 5}, 1.0),
        ({"rating": 4, "overall_score": "dislike"}, 0.75),
        ({"overall_score": "like"}, 1.0),
        ({"overall_score": "dislike"}, 0.0),
        ({"rating": None, "overall_score": None, "likes": 3}, None),
        (None, None),
        ({"rating": 0}, None),
        ({"rating": 6}, None),
    ],
)
def test_satisfaction_is_what_the_caller_said(feedback, score):
    assert message(sample(metadata__feedback=feedback))["outcomes"].get("user_satisfaction_score") == score


def test_what_the_provider_thinks_of_the_call_is_perception():
    found = message(sample(TRANSFERRED))["outcomes"]["perceived"]
    assert found == ["evaluation: failure", "polite: unknown", "resolved: failure (The agent could not help.)"]
    assert message(sample(WIDGET))["outcomes"].get("perceived", []) == []


def test_the_words_for_people_are_the_analysis():
    found = message(sample())["hcr"]
    assert found["headline"] == "Late checkout for room 412"
    assert found["summary"].startswith("The guest in room 412")
    assert found["key_points"] == ["room: 412"]
    values = {"n": {"value": 2}, "b": {"value": False}, "none": {"value": None}, "l": {"value": ["x"]}}
    assert message(sample(analysis__data_collection_results=values))["hcr"]["key_points"] == [
        "b: no",
        'l: ["x"]',
        "n: 2",
    ]


def test_nothing_is_said_of_consent():
    payload = sample(metadata__deletion_settings={"delete_audio": True, "delete_transcript_and_pii": True})
    assert "consent" not in message(payload)


# --- the transcript -----------------------------------------------------------------------------------------


def test_tools_are_listed_once_in_their_order_system_tools_too():
    assert call_of(sample())["capabilities_invoked"] == ["get_reservation", "set_late_checkout", "end_call"]
    assert call_of(sample(TRANSFERRED))["capabilities_invoked"] == ["transfer_to_agent", "transfer_to_number"]


def test_turns_without_a_message_are_there_for_their_tools():
    rows = transcript(sample())
    assert [row["speaker"] for row in rows] == [
        "agent",
        "caller",
        "agent",
        "agent",
        "agent",
        "caller",
        "agent",
        "agent",
        "agent",
    ]
    assert "text" not in rows[2]
    assert rows[2]["tool_calls"][0]["tool_name"] == "get_reservation"
    assert rows[3]["tool_results"][0]["tool_latency_secs"] == 0.62
    assert rows[1] == {
        "speaker": "caller", "text": "I would like a late checkout tomorrow, room 412.", "start_sec": 4,
        "interrupted": False, "asr_trailing_sec": 0.142,
    }  # fmt: skip


@pytest.mark.parametrize(
    "metrics",
    [
        {
            "metrics": {
                "convai_llm_service_ttfb": {"elapsed_time": 0.37},
                "convai_tts_service_ttfb": {"elapsed_time": 0.1},
            }
        },
        {"convai_llm_service_ttfb": {"elapsed_time": 0.37}, "convai_tts_service_ttfb": {"elapsed_time": 0.1}},
    ],
)
def test_latencies_of_a_turn_are_read_in_both_forms(metrics):
    turn = {"role": "agent", "message": "Hi", "conversation_turn_metrics": metrics}
    [row] = transcript(sample(transcript=[turn]))
    assert (row["llm_first_token_sec"], row["tts_first_byte_sec"]) == (0.37, 0.1)


def test_a_transcript_of_another_shape_costs_the_transcript_and_not_the_call():
    payload = sample(transcript={"resourceSpans": []}, analysis__call_successful="success")
    assert {failure["target"] for failure in store(payload).report.failed} == {"transcript"}
    assert status_of(payload) == "success"
    assert transcript(sample(transcript=GONE)) is None


# --- the recording ------------------------------------------------------------------------------------------


def sha256_of(payload: dict[str, Any]) -> str:
    return hashlib.sha256(base64.b64decode(payload["data"]["full_audio"])).hexdigest()


def test_a_recording_leaves_a_reference_in_its_place_and_waits_for_its_call():
    kept = store(sample(AUDIO))
    reference = reference_to(sha256_of(sample(AUDIO)))
    assert json.loads(kept.body) == sample(AUDIO, full_audio=reference)
    assert kept.fragment.values["recording"].value == reference
    assert "full_audio" not in json.dumps(kept.fragment.to_json())
    assert folded(sample(AUDIO)) is None


def test_a_recording_adds_nothing_else_to_its_call_whenever_it_comes():
    alone, together = message(sample()), message(sample(), sample(AUDIO))
    for part in ("call", "outcomes", "hcr", "model_selection", "custom"):
        assert alone[part] == together[part]


def test_where_no_recording_was_sent_it_can_be_fetched_with_the_api_key():
    found = message(sample())
    address = f"https://api.elevenlabs.io/v1/convai/conversations/{sample()['data']['conversation_id']}/audio"
    assert found["artifacts"]["audio_recording_ref"] == address
    assert "inferred:artifacts.audio_recording_ref" in found["provenance"]["transformation_history"]
    for has_audio in (False, None):
        assert "audio_recording_ref" not in message(sample(has_audio=has_audio))["artifacts"]


# --- what is not kept ---------------------------------------------------------------------------------------

MARK = "EXAMPLE-SECRET"


@pytest.mark.parametrize(
    "fields",
    [
        {
            "transcript": [
                {"role": "agent", "tool_calls": [{"tool_name": "t", "tool_details": {"headers": {"X-Key": MARK}}}]}
            ]
        },
        {"transcript": [{"role": "agent", "message": "x", "tool_results": [{"request_headers": {"a": MARK}}]}]},
        {"conversation_initiation_client_data": {"dynamic_variables": {"secret__crm": MARK, "n": 1}}},
        {"metadata__headers": [MARK]},
    ],
)
def test_headers_of_tools_and_secret_variables_are_never_stored(fields):
    payload = sample(**fields)
    assert MARK in json.dumps(payload)
    kept = store(payload)
    assert MARK.encode() not in kept.body
    assert MARK not in json.dumps([kept.fragment.to_json(), message(payload), transcript(payload)])


# --- broken payloads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", [], {}, 5, "x", ["x"], {"x": 1}, True, -1, "9" * 400])
@pytest.mark.parametrize(
    "field",
    [
        "metadata", "analysis", "transcript", "status", "metadata__start_time_unix_secs",
        "metadata__call_duration_secs",
        "metadata__cost", "metadata__cost_fiat", "metadata__charging", "metadata__charging__llm_usage",
        "metadata__charging__llm_price", "metadata__phone_call", "metadata__error", "metadata__feedback",
        "metadata__termination_reason", "analysis__evaluation_criteria_results", "analysis__data_collection_results",
        "analysis__call_successful", "conversation_initiation_client_data", "has_audio",
    ],
)  # fmt: skip
def test_a_field_of_any_form_costs_at_most_itself(field, value):
    assert folded(sample(**{field: value})) is not None


# --- a wrong rule is noticed --------------------------------------------------------------------------------


def mutants() -> list[tuple[str, int, dict[str, Any]]]:
    """Each rule with its path wrong, and each unit, factor and constant changed."""
    found: list[tuple[str, int, dict[str, Any]]] = []
    for number, rule in enumerate(SPEC.mapping.rules):
        found.append((f"{rule.describe()}: path", number, {"source": "data.no_such_field"}))
        args = rule.args
        if "by" in args and rule.transform == "scale":
            found.append((f"{rule.describe()}: factor", number, {"args": {**args, "by": "0.02"}}))
        if rule.transform == "epoch":
            found.append((f"{rule.describe()}: unit", number, {"args": {"unit": "ms"}}))
    return found


@pytest.mark.parametrize(("what", "number", "change"), mutants(), ids=[what for what, _, _ in mutants()])
def test_a_wrong_path_or_unit_changes_a_golden_file(what, number, change):
    rules = list(SPEC.mapping.rules)
    rules[number] = rules[number].model_copy(update=change)
    broken = Mapping(SPEC.mapping.model_validate({**SPEC.mapping.model_dump(by_alias=True), "rules": [
        rule.model_dump(by_alias=True) for rule in rules
    ]}))  # fmt: skip
    folder = catalog.FOLDER / "samples" / "elevenlabs"
    assert any(
        golden.outcome(SPEC, broken, body) != json.loads((folder / f"{name}.expected.json").read_bytes())
        for name, body in golden.sample_bodies("elevenlabs").items()
    )

"""Spans: what each tells, the forms OTLP asks for, and what of a person stays out."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcp.errors import VCPError
from vcp.exports.call_end import FAILED
from vcp.exports.otel import to_spans
from vcp.models import ModelRole, OutcomeStatus, VCPMessage
from vcp.tests.message_strategies import MOMENTS, RECENT, messages
from vcp.tests.samples import changed, full, vector, without
from vcp.tests.tries import tries

PAYLOAD = "vcp_payload"
CALL = f"{PAYLOAD}.call"
HEX = frozenset("0123456789abcdef")
# The same examples on every run.
fixed = tries(40)


def ended() -> dict[str, Any]:
    """The shortest message of a finished call."""
    return changed(vector(), f"{CALL}.end_time", "2025-10-14T12:01:00.500Z")


def spans_of(content: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """All spans, checked for the form OTLP asks for."""
    return checked(to_spans(VCPMessage.from_dict(content), **options))


def checked(made: dict[str, Any]) -> list[dict[str, Any]]:
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    [resource] = made["resourceSpans"]
    [scope] = resource["scopeSpans"]
    spans: list[dict[str, Any]] = scope["spans"]
    for span in spans:
        assert is_id(span["traceId"], 32)
        assert is_id(span["spanId"], 16)
        assert span.get("parentSpanId") == (None if span is spans[0] else spans[0]["spanId"])
        assert 0 <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) < 2**64
        assert isinstance(span["startTimeUnixNano"], str)
        assert told(span)["vcp.schema.version"] == "1.0"
    assert len({span["spanId"] for span in spans}) == len(spans)
    assert {span["traceId"] for span in spans} == {spans[0]["traceId"]}
    return spans


def is_id(text: str, digits: int) -> bool:
    return len(text) == digits and set(text) <= HEX and set(text) != {"0"}


def told(span: dict[str, Any]) -> dict[str, Any]:
    """A span's attributes as Python values; no name twice."""
    keys = [one["key"] for one in span["attributes"]]
    assert len(set(keys)) == len(keys)
    return {one["key"]: plain(one["value"]) for one in span["attributes"]}


def plain(value: dict[str, Any]) -> Any:
    [(kind, content)] = value.items()
    if kind == "arrayValue":
        return [plain(one) for one in content["values"]]
    if kind == "intValue":
        assert isinstance(content, str)  # 64 bits do not fit a JSON number
        return int(content)
    assert type(content) is {"stringValue": str, "boolValue": bool, "doubleValue": float}[kind]
    return content


# --- the call --------------------------------------------------------------------------------------------------------


def test_the_call_is_one_span_in_the_words_of_the_genai_conventions():
    span = spans_of(full())[0]
    about = told(span)
    assert (span["name"], span["kind"], span["status"]) == ("invoke_agent", 3, {"code": 1})
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("1760443200000000000", "1760443395250000000")
    assert {key: value for key, value in about.items() if key.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "retell",
        "gen_ai.conversation.id": "call_9c2f41ab",
        "gen_ai.request.model": "gpt-4.1",
    }


def test_what_the_conventions_have_no_word_for_stands_in_our_namespace():
    about = told(spans_of(full())[0])
    assert {key: value for key, value in about.items() if key.startswith("vcp.")} == {
        "vcp.version": "0.5",
        "vcp.schema.version": "1.0",
        "vcp.session.id": "sess_77",
        "vcp.session.parent_id": "sess_70",
        "vcp.correlation.id": "crm-4711",
        "vcp.call.channel": "phone",
        "vcp.call.direction": "inbound",
        "vcp.call.duration_sec": 195,
        "vcp.call.capabilities": ["lookup_customer", "book_slot"],
        "vcp.outcome.status": "success",
        "vcp.outcome.confidence": 0.93,
        "vcp.outcome.gap_score": 0.15,
        "vcp.outcome.gap_class": "aligned",
        "vcp.outcome.user_satisfaction_score": 0.85,
        "vcp.cost.total_usd": 0.19,
        "vcp.model.policy_id": "retell_default",
        "vcp.metrics.aht_sec": 195,
        "vcp.metrics.first_contact_resolution": True,
        "vcp.metrics.interruptions": 0,
    }


def test_a_short_message_makes_one_span_of_what_it_knows():
    [span] = spans_of(ended())
    assert told(span) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "retell",
        "gen_ai.conversation.id": "c1",
        "vcp.version": "0.5",
        "vcp.session.id": "s1",
        "vcp.outcome.status": "unknown",
        "vcp.outcome.gap_score": 0.0,
        "vcp.outcome.gap_class": "aligned",
        "vcp.model.policy_id": "retell_default",
        "vcp.schema.version": "1.0",
    }


def test_the_resource_is_the_service_that_reports():
    made = to_spans(VCPMessage.from_dict(full()), service_name="my-desk")["resourceSpans"][0]
    assert made["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "my-desk"}}]}
    assert made["scopeSpans"][0]["scope"] == {"name": "vcp", "version": "1.0"}


@pytest.mark.parametrize("status", get_args(OutcomeStatus))
def test_the_status_comes_from_the_outcome(status):
    span = spans_of(changed(full(), f"{PAYLOAD}.outcomes.objective.status", status))[0]
    code = {"success": 1, "partial": 0, "unknown": 0}.get(status, 2)
    assert span["status"] == {"code": code}
    assert told(span).get("error.type") == (status if code == 2 else None)


@pytest.mark.parametrize(("role", "model"), [("LLM", "m"), ("V2V", "m"), ("TTS", None)])
def test_the_model_of_the_call_is_the_one_that_thinks(role, model):
    content = changed(ended(), f"{PAYLOAD}.model_selection.roles", {role: {"chosen": "m"}})
    assert told(spans_of(content)[0]).get("gen_ai.request.model") == model


@pytest.mark.parametrize(
    ("metrics", "attributes"),
    [
        ({"aht_sec": 2**63, "interruptions": -(2**63)}, {"aht_sec": float(2**63), "interruptions": -(2**63)}),
        ({"aht_sec": "ask +12137771234", "interruptions": [1], "handoff_performed": None}, {}),
        ({"estimate": 5, "user_effort_score": 1.5}, {"user_effort_score": 1.5}),
    ],
)
def test_of_the_metrics_only_known_numbers_and_flags_are_told(metrics, attributes):
    about = told(spans_of(changed(ended(), f"{PAYLOAD}.outcomes.objective.metrics", metrics))[0])
    assert {key[12:]: value for key, value in about.items() if key.startswith("vcp.metrics.")} == attributes


@pytest.mark.parametrize(("reason", "shown"), [("user_hangup", "user_hangup"), (["x"], None)])
def test_the_reason_of_the_disconnection_is_told(reason, shown):
    content = changed(ended(), f"{PAYLOAD}.outcomes.objective.metrics", {"disconnect_reason": reason})
    assert told(spans_of(content)[0]).get("vcp.call.disconnect_reason") == shown


# --- tools and models ------------------------------------------------------------------------------------------------


def test_each_tool_with_a_time_of_its_own_is_a_span():
    [span] = [one for one in spans_of(full()) if one["name"].startswith("execute_tool")]
    assert (span["name"], span["kind"], span["status"]) == ("execute_tool book_slot", 1, {"code": 2})
    assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) == 420_000_000
    assert told(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "book_slot",
        "gen_ai.tool.type": "function",
        "vcp.tool.type": "tool_call",
        "vcp.schema.version": "1.0",
        "error.type": "_OTHER",
    }


def test_a_tool_that_worked_has_no_error_and_may_have_no_duration():
    used = {"capability_id": "t", "capability_type": "webhook", "invoked_at": "2025-10-14T12:00:30Z", "success": True}
    _, span = spans_of(changed(ended(), f"{CALL}.capabilities_invoked", [used]))
    assert span["startTimeUnixNano"] == span["endTimeUnixNano"]
    assert span["status"] == {"code": 0}
    assert told(span)["gen_ai.tool.type"] == "extension"
    assert "error.type" not in told(span)


def test_each_model_whose_time_is_known_is_a_span_within_the_call():
    call, *_, model, speech = spans_of(full())
    assert [model["name"], speech["name"]] == ["chat gpt-4.1", "text_to_speech eleven_turbo_v2"]
    assert model["startTimeUnixNano"] == call["startTimeUnixNano"]
    assert int(model["endTimeUnixNano"]) - int(model["startTimeUnixNano"]) == 195_000_000_000
    assert told(model) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "retell",
        "gen_ai.conversation.id": "call_9c2f41ab",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.response.model": "gpt-4.1",
        "vcp.model.role": "LLM",
        "vcp.model.minutes": 3.25,
        "vcp.model.errors": 0,
        "vcp.model.tokens_processed": 1830,
        "vcp.model.cost_usd": 0.08,
        "vcp.model.fallback_used": False,
        "vcp.model.timing": "total",
        "vcp.schema.version": "1.0",
    }


@pytest.mark.parametrize("role", get_args(ModelRole))
@pytest.mark.parametrize("minutes", [0, 1e300], ids=["none", "endless"])
def test_every_role_has_an_operation_and_ends_with_the_call(role, minutes):
    roles = {role: {"model_id": "m", "minutes": minutes}}
    call, span = spans_of(changed(ended(), f"{PAYLOAD}.outcomes.model_outcome_attribution.roles", roles))
    assert span["name"] == f"{told(span)['gen_ai.operation.name']} m"
    assert span["endTimeUnixNano"] == call["endTimeUnixNano" if minutes else "startTimeUnixNano"]
    assert "vcp.model.fallback_used" not in told(span)


# --- people ----------------------------------------------------------------------------------------------------------

PERSONAL = {
    f"{CALL}.from": "vcp.call.from",
    f"{CALL}.to": "vcp.call.to",
    f"{CALL}.caller_id": "vcp.call.caller_id",
    f"{CALL}.geographic_region": "vcp.call.geographic_region",
    f"{PAYLOAD}.hcr.headline": "vcp.context.headline",
    f"{PAYLOAD}.hcr.summary": "vcp.context.summary",
    f"{CALL}.capabilities_invoked.1.error_message": "vcp.tool.error_message",
}
MARK = "Ann Miller, +12137771234"


@pytest.mark.parametrize("path", PERSONAL)
def test_what_tells_about_people_is_told_only_when_asked(path):
    message = VCPMessage.from_dict(changed(full(), path, MARK))
    assert MARK not in json.dumps(to_spans(message))
    spans = checked(to_spans(message, personal=True))
    assert MARK in [told(span).get(PERSONAL[path]) for span in spans]


@pytest.mark.parametrize(
    ("path", "value", "key", "shown"),
    [
        (f"{PAYLOAD}.hcr.key_points", [MARK], "vcp.context.key_points", [MARK]),
        (
            f"{CALL}.capabilities_invoked.1.metadata",
            {"b": MARK, "a": 1},
            "vcp.tool.metadata",
            f'{{"a":1,"b":"{MARK}"}}',
        ),
    ],
)
def test_lists_and_objects_that_tell_about_people_too(path, value, key, shown):
    message = VCPMessage.from_dict(changed(full(), path, value))
    assert MARK not in json.dumps(to_spans(message))
    assert shown in [told(span).get(key) for span in checked(to_spans(message, personal=True))]


@pytest.mark.parametrize(
    "path",
    [
        f"{PAYLOAD}.custom.experimental.note",
        f"{PAYLOAD}.outcomes.objective.metrics.note",
        f"{PAYLOAD}.outcomes.perception_gap.analysis",
        f"{PAYLOAD}.artifacts.transcript_ref",
        f"{PAYLOAD}.consent.user_agent",
    ],
)
def test_the_rest_of_the_message_is_never_told(path):
    assert MARK not in json.dumps(to_spans(VCPMessage.from_dict(changed(full(), path, MARK)), personal=True))


# --- ids and times ---------------------------------------------------------------------------------------------------


def test_ids_are_made_of_provider_and_call_id_alone():
    span = spans_of(full())[0]
    other = spans_of(changed(full(), f"{CALL}.session_id", "other"))[0]
    assert (other["traceId"], other["spanId"]) == (span["traceId"], span["spanId"])
    # Kept as they are: a trace sent twice must land on itself.
    assert (span["traceId"], span["spanId"]) == ("3cf6b57aea5820a62542cac4215eaee3", "4fc45c25aadf8a33")


@pytest.mark.parametrize("field", ["call_id", "provider"])
def test_other_calls_have_other_ids(field):
    span, other = spans_of(full())[0], spans_of(changed(full(), f"{CALL}.{field}", "other"))[0]
    assert other["traceId"] != span["traceId"]
    assert other["spanId"] != span["spanId"]


def test_a_call_that_has_not_ended_is_refused():
    with pytest.raises(VCPError, match="has not ended") as caught:
        to_spans(VCPMessage.from_dict(without(full(), f"{CALL}.end_time")))
    assert (caught.value.code, caught.value.field_path) == ("VCP_E005", "$.vcp_payload.call.end_time")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("call.start_time", "1969-12-31T23:59:59Z"),
        ("call.end_time", "2600-01-01T00:00:00Z"),
        ("call.capabilities_invoked.1.invoked_at", "0001-01-01T00:00:00Z"),
        ("call.capabilities_invoked.1.duration_ms", 2**53 - 1),
    ],
)
def test_a_time_that_no_span_can_hold_is_named(path, value):
    with pytest.raises(VCPError, match="1970 to 2554") as caught:
        to_spans(VCPMessage.from_dict(changed(full(), f"{PAYLOAD}.{path}", value)))
    assert caught.value.field_path.startswith(f"$.{PAYLOAD}.call.")
    assert caught.value.code == "VCP_E001"


@fixed
@given(messages(RECENT) | messages(MOMENTS), st.booleans())
def test_any_message_makes_good_spans_or_is_refused_by_name(message, personal):
    try:
        made = to_spans(message, personal=personal)
    except VCPError as refusal:
        outside = "1970 to 2554" in refusal.message
        running = message.vcp_payload.call.end_time is None
        running = running and message.vcp_payload.outcomes.objective.status not in FAILED
        if not (outside or running):
            raise
        return
    checked(made)
    assert to_spans(message, personal=personal) == made

"""A finished call as OpenTelemetry spans, in the JSON form of OTLP 1.x: plain dicts, no dependency.

One span for the call; below it one for each tool used and one for each model whose time is known. Names are those of
the GenAI conventions where they have any; the rest stands under `vcp.`, whose version is in `vcp.schema.version`.
How the dicts are sent is known by `otlp_http`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vcp.checksum import jcs
from vcp.errors import SCHEMA_VALIDATION_FAILED, VCPError
from vcp.exports.call_end import FAILED, ended_at
from vcp.models import CapabilityInvocation, ModelAttributionRole, ModelRole, OutcomeStatus, VCPMessage

# Of our own attribute names: raised when one changes its name or meaning.
NAMESPACE_VERSION: Final = "1.0"

_INTERNAL, _CLIENT = 1, 3
_UNSET, _OK, _ERROR = 0, 1, 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NANOS = 2**64 - 1
# The conventions have no word for what turns speech into text and back.
_OPERATIONS: Mapping[ModelRole, str] = {
    "LLM": "chat",
    "V2V": "generate_content",
    "STT": "speech_to_text",
    "ASR": "speech_to_text",
    "TTS": "text_to_speech",
    "VAD": "voice_activity_detection",
}
# Known keys of `objective.metrics` that are numbers or flags: free text may tell about people.
_METRICS: Final = (
    "aht_sec",
    "first_contact_resolution",
    "first_response_sec",
    "interruptions",
    "handoff_performed",
    "assistant_success",
    "task_completion_rate",
    "user_effort_score",
)

Attributes = dict[str, Any]


def to_spans(message: VCPMessage, *, personal: bool = False, service_name: str = "voicelens") -> dict[str, Any]:
    """`{"resourceSpans": [...]}` of one finished call, times in nanoseconds as text; equal messages give equal spans.

    Numbers, names, summary and what tools were told or answered come in only with `personal`. The transcript never
    does, for a message has none. Raises VCPError for a call that has not ended (VCP_E005) and for times outside 1970
    to 2554 (VCP_E001), which a span cannot hold.
    """
    spans = [_call_span(message, personal), *_tool_spans(message, personal), *_model_spans(message)]
    scope = {"name": "vcp", "version": NAMESPACE_VERSION}
    resource = {"attributes": _attributes({"service.name": service_name})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


# --- the spans -------------------------------------------------------------------------------------------------------


def _call_span(message: VCPMessage, personal: bool) -> dict[str, Any]:
    call, outcome = message.vcp_payload.call, message.vcp_payload.outcomes.objective
    attributes = _about_call(message) | (_about_people(message) if personal else {})
    if outcome.status in FAILED:
        attributes["error.type"] = outcome.status
    span = _span(message, (), "invoke_agent", _CLIENT, attributes)
    span["startTimeUnixNano"] = _nanos(call.start_time, "call.start_time")
    span["endTimeUnixNano"] = _nanos(ended_at(message), "call.end_time")
    span["status"] = {"code": _status_code(outcome.status)}
    return span


def _tool_spans(message: VCPMessage, personal: bool) -> Iterator[dict[str, Any]]:
    """Of the invocations with a time of their own; the bare names stand in the span of the call."""
    for index, used in enumerate(message.vcp_payload.call.capabilities_invoked):
        if isinstance(used, CapabilityInvocation):
            yield _tool_span(message, index, used, personal)


def _tool_span(message: VCPMessage, index: int, used: CapabilityInvocation, personal: bool) -> dict[str, Any]:
    attributes = _about_tool(used, personal)
    span = _span(message, ("tool", index), f"execute_tool {used.capability_id}", _INTERNAL, attributes)
    field = f"call.capabilities_invoked[{index}].invoked_at"
    span["startTimeUnixNano"] = _nanos(used.invoked_at, field)
    span["endTimeUnixNano"] = _nanos(_later(used.invoked_at, (used.duration_ms or 0) / 1000), field)
    span["status"] = {"code": _UNSET if used.success else _ERROR}
    return span


def _model_spans(message: VCPMessage) -> Iterator[dict[str, Any]]:
    """How long each model worked is known, when it did is not: the span begins with the call and ends within it."""
    call = message.vcp_payload.call
    end = ended_at(message)
    for role, work in sorted(message.vcp_payload.outcomes.model_outcome_attribution.roles.items()):
        name = f"{_OPERATIONS[role]} {work.model_id}"
        span = _span(message, ("model", role), name, _CLIENT, _about_model(message, role, work))
        span["startTimeUnixNano"] = _nanos(call.start_time, "call.start_time")
        span["endTimeUnixNano"] = _nanos(min(end, _later(call.start_time, work.minutes * 60)), "call.end_time")
        span["status"] = {"code": _UNSET}
        yield span


def _span(message: VCPMessage, part: tuple[str | int, ...], name: str, kind: int, about: Attributes) -> dict[str, Any]:
    """The span of a part of the call, of the call itself when `part` is empty; times and status are to be added."""
    span = {"traceId": _id(message, ("trace",), 16), "spanId": _id(message, ("span", *part), 8)}
    if part:
        span["parentSpanId"] = _id(message, ("span",), 8)
    attributes = _attributes({**about, "vcp.schema.version": NAMESPACE_VERSION})
    return {**span, "name": name, "kind": kind, "attributes": attributes}


# --- what they tell --------------------------------------------------------------------------------------------------


def _about_call(message: VCPMessage) -> Attributes:
    call, outcomes = message.vcp_payload.call, message.vcp_payload.outcomes
    metrics = outcomes.objective.metrics
    reason = metrics.get("disconnect_reason")
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": call.provider,
        "gen_ai.conversation.id": call.call_id,
        "gen_ai.request.model": _main_model(message),
        "vcp.version": message.vcp_version,
        "vcp.session.id": call.session_id,
        "vcp.session.parent_id": call.parent_session_id,
        "vcp.correlation.id": call.correlation_id,
        "vcp.call.channel": call.channel,
        "vcp.call.direction": call.direction,
        "vcp.call.duration_sec": call.duration_sec,
        "vcp.call.disconnect_reason": reason if isinstance(reason, str) else None,
        "vcp.call.capabilities": [
            used if isinstance(used, str) else used.capability_id for used in call.capabilities_invoked
        ],
        "vcp.outcome.status": outcomes.objective.status,
        "vcp.outcome.confidence": outcomes.objective.confidence,
        "vcp.outcome.gap_score": outcomes.perception_gap.gap_score,
        "vcp.outcome.gap_class": outcomes.perception_gap.gap_class,
        "vcp.outcome.user_satisfaction_score": outcomes.user_satisfaction_score,
        "vcp.cost.total_usd": outcomes.model_outcome_attribution.total_cost_usd,
        "vcp.model.policy_id": message.vcp_payload.model_selection.policy_id,
        **{f"vcp.metrics.{key}": metrics[key] for key in _METRICS if isinstance(metrics.get(key), (int, float))},
    }


def _about_people(message: VCPMessage) -> Attributes:
    call, context = message.vcp_payload.call, message.vcp_payload.hcr
    return {
        "vcp.call.from": call.from_,
        "vcp.call.to": call.to,
        "vcp.call.caller_id": call.caller_id,
        "vcp.call.geographic_region": call.geographic_region,
        "vcp.context.headline": context.headline,
        "vcp.context.summary": context.summary,
        "vcp.context.key_points": context.key_points,
    }


def _about_tool(used: CapabilityInvocation, personal: bool) -> Attributes:
    function = used.capability_type in ("tool_call", "function_call")
    told = {"vcp.tool.error_message": used.error_message, "vcp.tool.metadata": jcs(used.metadata).decode()}
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": used.capability_id,
        "gen_ai.tool.type": "function" if function else "extension",
        "vcp.tool.type": used.capability_type,
        **({} if used.success else {"error.type": "_OTHER"}),
        **(told if personal else {}),
    }


def _about_model(message: VCPMessage, role: ModelRole, work: ModelAttributionRole) -> Attributes:
    selected = message.vcp_payload.model_selection.roles.get(role)
    return {
        "gen_ai.operation.name": _OPERATIONS[role],
        "gen_ai.provider.name": message.vcp_payload.call.provider,
        "gen_ai.conversation.id": message.vcp_payload.call.call_id,
        "gen_ai.request.model": work.model_id if selected is None else selected.chosen,
        "gen_ai.response.model": work.model_id,
        "vcp.model.role": role,
        "vcp.model.minutes": work.minutes,
        "vcp.model.errors": work.errors,
        # One sum: which tokens went in and which came out, as gen_ai.usage wants it, a message does not say.
        "vcp.model.tokens_processed": work.tokens_processed,
        "vcp.model.cost_usd": work.cost_usd,
        "vcp.model.fallback_used": None if selected is None else selected.fallback_used,
        "vcp.model.timing": "total",
    }


def _main_model(message: VCPMessage) -> str | None:
    roles = message.vcp_payload.model_selection.roles
    main = roles.get("LLM") or roles.get("V2V")
    return None if main is None else main.chosen


def _status_code(status: OutcomeStatus) -> int:
    if status in FAILED:
        return _ERROR
    return _OK if status == "success" else _UNSET


# --- OTLP's own forms ------------------------------------------------------------------------------------------------


def _id(message: VCPMessage, part: tuple[str | int, ...], size: int) -> str:
    """Hex of `size` bytes, made of provider, call and part alone; never all zero, which OTLP forbids."""
    call = message.vcp_payload.call
    digest = bytearray(hashlib.sha256(b"vcp/otel:" + jcs([call.provider, call.call_id, *part])).digest()[:size])
    digest[-1] |= 1
    return digest.hex()


def _nanos(value: datetime, field: str) -> str:
    nanos = (value - _EPOCH) // timedelta(microseconds=1) * 1000
    if 0 <= nanos <= _MAX_NANOS:
        return str(nanos)
    text = "a span holds times from 1970 to 2554 only"
    raise VCPError(SCHEMA_VALIDATION_FAILED, text, f"$.vcp_payload.{field}")


def _later(value: datetime, seconds: float) -> datetime:
    try:
        return value + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _attributes(values: Attributes) -> list[dict[str, Any]]:
    """In the order given, without those that are not known."""
    known = ((key, value) for key, value in values.items() if value is not None and value != [])
    return [{"key": key, "value": _value(value)} for key, value in known]


def _value(value: bool | str | int | float | list[str]) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [{"stringValue": text} for text in value]}}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    return {"doubleValue": float(value)}

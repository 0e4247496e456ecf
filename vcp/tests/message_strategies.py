"""Messages of any kind that the models can make, for tests that must hold for all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from hypothesis import strategies as st

from vcp.models import (
    AlertLevel,
    CallDirection,
    CapabilityType,
    ChannelType,
    ConsentStatus,
    GapClass,
    ModelRole,
    OutcomeStatus,
    VCPMessage,
    VCPVersion,
)

# Lone surrogates are no text in any message.
LETTERS = st.characters(exclude_categories=["Cs"])
WORDS = st.text(LETTERS, max_size=8)
NAMES = st.text(LETTERS, max_size=8).map(lambda text: f"n{text}")
MOMENTS = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)).map(  # noqa: DTZ001
    lambda value: value.replace(tzinfo=UTC).isoformat()
)
RECENT = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2500, 1, 1)).map(  # noqa: DTZ001
    lambda value: value.replace(tzinfo=UTC).isoformat()
)
SCORES = st.floats(0, 1)
AMOUNTS = st.floats(0, 1e12)
COUNTS = st.integers(0, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=2)
REASONS = st.sampled_from(
    ["user_hangup", "dial_busy", "no_answer", "customer-did-not-answer", "voicemail", "error_llm", "dial_failed", ""]
)
ADDRESSES = st.sampled_from(["+12137771234", "sip:ann@example.test", "anonymous", ""]) | WORDS
REFERENCES = WORDS | st.sampled_from(
    ["https://example.test/a%20b.wav?x=1#t", "https://example.test/a b", "s3://bucket/key", "https://", "http://a/b"]
)


def _enum(hint: Any) -> st.SearchStrategy[str]:
    return st.sampled_from(get_args(hint))


def _record(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with all that is required, any of the rest, and now and then a field that the schema does not know."""
    return st.fixed_dictionaries(required, optional={**optional, "not_in_schema": JSON})


def _call(moments: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    tool = _record(
        {
            "capability_id": NAMES,
            "capability_type": _enum(CapabilityType),
            "invoked_at": moments,
            "success": st.booleans(),
        },
        {"duration_ms": COUNTS, "error_message": WORDS, "metadata": OBJECTS},
    )
    return _record(
        {"call_id": NAMES, "session_id": NAMES, "provider": NAMES, "start_time": moments},
        {
            "end_time": moments,
            "duration_sec": COUNTS,
            "parent_session_id": WORDS,
            "correlation_id": WORDS,
            "channel": _enum(ChannelType),
            "direction": _enum(CallDirection),
            "from": ADDRESSES,
            "to": ADDRESSES,
            "capabilities_invoked": st.lists(WORDS | tool, max_size=2),
        },
    )


def _outcomes() -> st.SearchStrategy[dict[str, Any]]:
    metrics = st.fixed_dictionaries(
        {}, optional={"disconnect_reason": REASONS | JSON, "user_talked": st.booleans(), "aht_sec": JSON}
    )
    work = _record({"model_id": NAMES, "minutes": AMOUNTS}, {"tokens_processed": COUNTS, "cost_usd": AMOUNTS})
    return _record(
        {
            "objective": _record({"status": _enum(OutcomeStatus)}, {"metrics": metrics, "confidence": SCORES}),
            "perception_gap": _record({"gap_score": SCORES, "gap_class": _enum(GapClass)}, {"analysis": WORDS}),
            "model_outcome_attribution": _record(
                {"roles": st.dictionaries(_enum(ModelRole), work, max_size=2), "kpis": OBJECTS},
                {"total_cost_usd": AMOUNTS},
            ),
        },
        {"perceived": st.lists(WORDS, max_size=2), "user_satisfaction_score": SCORES},
    )


def contents(moments: st.SearchStrategy[str] = MOMENTS) -> st.SearchStrategy[dict[str, Any]]:
    """Parsed JSON that `VCPMessage.from_dict` takes; `moments` makes its timestamps."""
    info = _record({"chosen": NAMES}, {"reason": st.lists(WORDS, max_size=1), "fallback_used": st.booleans()})
    payload = _record(
        {
            "call": _call(moments),
            "model_selection": _record(
                {
                    "policy_id": NAMES,
                    "resolved_at": moments,
                    "roles": st.dictionaries(_enum(ModelRole), info, max_size=2),
                },
                {"total_selection_time_ms": AMOUNTS},
            ),
            "outcomes": _outcomes(),
            "hcr": _record(
                {"audience": NAMES, "headline": NAMES, "outcome_status": _enum(OutcomeStatus)},
                {"summary": WORDS, "alert_level": _enum(AlertLevel), "impact_metrics": OBJECTS},
            ),
            "artifacts": _record({}, {"audio_recording_ref": REFERENCES, "transcript_ref": REFERENCES}),
            "custom": _record({}, {"integrations": st.dictionaries(WORDS, OBJECTS, max_size=1)}),
            "provenance": _record({"source_system": NAMES}, {"created_at": moments}),
        },
        {
            "consent": _record(
                {
                    "consent_id": NAMES,
                    "status": _enum(ConsentStatus),
                    "scope": st.lists(WORDS, max_size=2),
                    "version": NAMES,
                },
                {"granted_at": moments, "expires_at": moments},
            )
        },
    )
    audit = _record({"received_at": moments, "schema_version": NAMES}, {"processed_at": moments})
    return _record({"vcp_payload": payload, "audit": audit}, {"vcp_version": _enum(VCPVersion)})


def messages(moments: st.SearchStrategy[str] = MOMENTS) -> st.SearchStrategy[VCPMessage]:
    """The same, read."""
    return contents(moments).map(VCPMessage.from_dict)

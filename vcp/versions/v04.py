"""VCP v0.4, an unfinished and deprecated version, as pydantic models; unknown fields are kept and written back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vcp.models import CallDirection, VCPModel
from vcp.scalars import AnyText, Count, Filled, JsonObject, Number, Opt, Score, Text, Timestamp

ConsentMethod = Literal["explicit", "implicit", "inferred"]
DisconnectReason = Literal["customer_hangup", "agent_hangup", "timeout", "technical_error", "completed", "transferred"]
PerceptionGapClass = Literal["aligned", "minor", "moderate", "major"]
Days = Annotated[Count, Field(gt=0)]


class CallData(VCPModel):
    """Who spoke with whom and when; `channel` is the direction, in spite of its name."""

    call_id: Text
    session_id: Opt[AnyText] = None
    provider: Text
    start_time: Timestamp
    end_time: Timestamp
    duration_sec: Count
    channel: Opt[CallDirection] = None
    to: Opt[AnyText] = None
    from_: Opt[AnyText] = Field(default=None, alias="from")
    capabilities_invoked: Filled[list[AnyText]] = Field(default_factory=list)
    purpose_contract: Opt[JsonObject] = None


class BusinessMetrics(VCPModel):
    """What was counted during the call."""

    aht_sec: Opt[Count] = None
    interruptions: Opt[Count] = None
    first_response_sec: Opt[Number] = None
    estimated_value_usd: Opt[Number] = None
    first_contact_resolution: Opt[bool] = None
    handoff_performed: Opt[bool] = None


class ObjectiveOutcome04(VCPModel):
    """What was measured; `status` is free text."""

    status: Text
    confidence: Opt[Score] = None
    disconnect_reason: Opt[DisconnectReason] = None
    scored_criteria: Filled[list[JsonObject]] = Field(default_factory=list)
    metrics: Filled[BusinessMetrics] = Field(default_factory=BusinessMetrics)


class PerceptionGap04(VCPModel):
    """Distance between what was measured and how people saw it."""

    gap_score: Score
    gap_class: PerceptionGapClass
    drivers: Filled[list[AnyText]] = Field(default_factory=list)
    components: Opt[dict[AnyText, Number]] = None


class OutcomesData(VCPModel):
    """How the call went, as measured and as seen."""

    perceived: Filled[list[JsonObject]] = Field(default_factory=list)
    objective: ObjectiveOutcome04
    extractions: Opt[JsonObject] = None
    perception_gap: Opt[PerceptionGap04] = None


class ArtifactsData(VCPModel):
    """Where recording and transcript lie."""

    recording_url: Opt[AnyText] = None
    transcript_url: Opt[AnyText] = None
    summary: Opt[AnyText] = None
    provider_raw_payload_ref: Opt[AnyText] = None


class ProvenanceData(VCPModel):
    """Where the record comes from."""

    captured_at: Timestamp
    captured_by: Text
    source_system: Text
    processing_chain: Filled[list[AnyText]] = Field(default_factory=list)
    data_quality_score: Score


class ConsentData(VCPModel):
    """What the caller allowed, and for how long."""

    recording_consent: bool
    sharing_allowed: bool
    anonymization_required: bool
    consent_timestamp: Timestamp
    consent_method: ConsentMethod
    data_retention_days: Days


class CustomData(VCPModel):
    """Everything outside the shared schema."""

    provider_specific: Filled[JsonObject] = Field(default_factory=dict)
    outcome_hint: Opt[AnyText] = None
    synthetic_recipe: Opt[AnyText] = None
    synthetic: Filled[bool] = False


class AuditData(VCPModel):
    """How the record was processed."""

    received_at: Timestamp
    normalized_at: Timestamp
    schema_version: Literal["0.3", "0.4"]


class PayloadV04(VCPModel):
    """The content. Provenance and consent are only said to be optional: rule V2 asks for them."""

    call: CallData
    outcomes: OutcomesData
    artifacts: Filled[ArtifactsData] = Field(default_factory=ArtifactsData)
    provenance: Opt[ProvenanceData] = None
    consent: Opt[ConsentData] = None
    custom: Filled[CustomData] = Field(default_factory=CustomData)
    audit: AuditData


class MessageV04(VCPModel):
    """One call. The reference invents a `call_id` where there is none; here it stays absent."""

    call_id: Opt[Text] = None
    vcp_version: Filled[Literal["0.4"]] = "0.4"
    vcp_payload: PayloadV04

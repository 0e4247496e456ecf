"""VCP v0.3 as pydantic models, in both shapes that are in use; unknown fields are kept and written back.

The published shape is what the public example files hold, the lineage shape what the v0.5 classes mean by v0.3.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from vcp.models import (
    Artifacts,
    Audit,
    Call,
    Custom,
    HumanReadableContext,
    ModelSelection,
    Outcomes,
    VCPModel,
)
from vcp.scalars import (
    MAX_SAFE_INTEGER,
    Amount,
    AnyText,
    Count,
    Filled,
    JsonObject,
    Number,
    Opt,
    Score,
    Text,
    Timestamp,
    json_problems,
    plain_number,
)

CallStatus = Literal["success", "partial", "filtered", "failed"]
GapClass03 = Literal["aligned", "mild_misalignment", "significant_gap"]
Judge = Literal["caller", "agent", "supervisor"]
ModelRole03 = Literal["V2V", "LLM", "STT", "TTS"]


def _require_z(value: Any) -> Any:
    if isinstance(value, datetime):  # from a model of this shape
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "a timestamp of v0.3 is text")
    if not value.endswith("Z"):
        raise PydanticCustomError("zulu_time", "a timestamp of v0.3 ends in Z")
    return value


def _require_scalar(value: Any) -> Any:
    if not isinstance(value, (bool, str, int, float)):
        raise PydanticCustomError("scalar_type", "neither boolean, text nor number")
    problems = json_problems(value)
    if problems:
        raise PydanticCustomError("not_json", "not a JSON value", {"problems": problems})
    return value


_ZULU_SCHEMA = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?Z$",
}
# Published v0.3 knows timestamps as text in UTC only.
ZuluTime = Annotated[Timestamp, BeforeValidator(_require_z), WithJsonSchema(_ZULU_SCHEMA)]
Scalar = Annotated[Any, AfterValidator(_require_scalar), WithJsonSchema({"type": ["boolean", "string", "number"]})]
UnixSeconds = Annotated[int, BeforeValidator(plain_number), Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]


class SuccessCriteria(VCPModel):
    """What would make the call a success: a metric compared with a value."""

    id: Text
    metric: Text
    operator: Text
    value: Scalar


class PurposeContract(VCPModel):
    """What the caller wanted."""

    declared_intent: Text
    success_criteria: list[SuccessCriteria]


class PublishedCall(VCPModel):
    """Who spoke, when, and what for."""

    call_id: Text
    session_id: Text
    provider: Text
    start_time: ZuluTime
    end_time: ZuluTime
    duration_sec: Count
    capabilities_invoked: Filled[list[AnyText]] = Field(default_factory=list)
    purpose_contract: PurposeContract


class Sentiment(VCPModel):
    """A feeling as a number, and the model that read it."""

    model: Text
    score: Score


class PerceivedOutcome(VCPModel):
    """How one side saw the call; `at` in Unix seconds."""

    by: Judge
    at: Opt[UnixSeconds] = None
    sentiment: Sentiment
    confidence: Score


class ScoredCriteria03(VCPModel):
    """One criterion of success, whether it was met, and the proof."""

    id: Text
    met: bool
    evidence_ref: Text


class ObjectiveMetrics(VCPModel):
    """What was counted during the call."""

    aht_sec: Count
    first_contact_resolution: bool
    interruptions: Filled[Count] = 0
    handoff_performed: Filled[bool] = False
    first_response_sec: Opt[Amount] = None
    estimated_value_usd: Opt[Number] = None


class ObjectiveOutcome03(VCPModel):
    """What was measured."""

    status: CallStatus
    scored_criteria: list[ScoredCriteria03]
    metrics: ObjectiveMetrics
    confidence: Score


class GapDriver(VCPModel):
    """One cause of the gap."""

    type: Text
    weight: Score
    note: Opt[AnyText] = None


class PerceptionGap03(VCPModel):
    """Distance between what was measured and how people saw it; the score has no upper bound."""

    gap_score: Amount
    gap_class: GapClass03
    drivers: Filled[list[GapDriver]] = Field(default_factory=list)


class PublishedOutcomes(VCPModel):
    """How the call went, as measured and as seen."""

    perceived: list[PerceivedOutcome]
    objective: ObjectiveOutcome03
    perception_gap: PerceptionGap03


class PublishedArtifacts(VCPModel):
    """Where recording and transcript lie."""

    recording_url: Opt[AnyText] = None
    transcript_url: Opt[AnyText] = None
    provider_raw_payload_ref: Opt[AnyText] = None


class PublishedCustom(VCPModel):
    """Everything outside the shared schema."""

    provider_specific: Filled[JsonObject] = Field(default_factory=dict)
    outcome_hint: Opt[AnyText] = None
    synthetic: Opt[bool] = None
    synthetic_recipe: Opt[AnyText] = None


class PublishedAudit(VCPModel):
    """How the record was processed."""

    received_at: ZuluTime
    normalized_at: ZuluTime
    schema_version: Filled[Text] = "0.3"


class RoleChoice(VCPModel):
    """The model taken for one role, and why."""

    chosen: Text
    alternatives: Filled[list[AnyText]] = Field(default_factory=list)
    reason: Filled[list[AnyText]] = Field(default_factory=list)


class Roles03(VCPModel):
    """One choice a role."""

    V2V: Opt[RoleChoice] = None
    LLM: Opt[RoleChoice] = None
    STT: Opt[RoleChoice] = None
    TTS: Opt[RoleChoice] = None


class ModelSelection03(VCPModel):
    """Which policy chose the models, and what it chose."""

    policy_id: Text
    resolved_at: ZuluTime
    roles: Roles03


class ImpactMetrics(VCPModel):
    """The metrics a reader of the report is shown."""

    aht_sec: Count
    first_contact_resolution: bool
    estimated_value_usd: Opt[Number] = None


class HumanReadableReport(VCPModel):
    """The call in words for one audience."""

    audience: Text
    headline: Text
    outcome_status: CallStatus
    key_points: Filled[list[AnyText]] = Field(default_factory=list)
    impact_metrics: Opt[ImpactMetrics] = None


class PublishedPayload(VCPModel):
    """The content; `gtm` messages are those without the last two."""

    call: PublishedCall
    outcomes: PublishedOutcomes
    artifacts: PublishedArtifacts
    custom: PublishedCustom
    audit: PublishedAudit
    model_selection: Opt[ModelSelection03] = None
    hcr: Opt[HumanReadableReport] = None


class PublishedMessage(VCPModel):
    """One call in the published shape; `call_id` is that of the payload."""

    call_id: Text
    vcp_version: Filled[Literal["0.3"]] = "0.3"
    vcp_payload: PublishedPayload


class LineagePayload(VCPModel):
    """The content of v0.5 without consent and provenance."""

    call: Call
    model_selection: ModelSelection
    outcomes: Outcomes
    hcr: HumanReadableContext
    artifacts: Artifacts
    custom: Custom


class LineageMessage(VCPModel):
    """One call in the lineage shape."""

    vcp_version: Filled[Literal["0.3"]] = "0.3"
    vcp_payload: LineagePayload
    audit: Audit

"""VCP v0.5 as pydantic models: exactly the fields of the schema, unknown ones kept and written back.

`field_type` tells which type a dotted path has. Rules across fields are in `rules.py`, the
value types in `scalars.py`; versions 0.3 and 0.4 have shapes of their own in `vcp.versions`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from vcp.errors import SchemaError
from vcp.findings import Finding
from vcp.scalars import (
    EXACTLY,
    LENIENTLY,
    Amount,
    AnyText,
    Count,
    Filled,
    JsonObject,
    JsonValue,
    Number,
    Opt,
    Score,
    Text,
    Timestamp,
)
from vcp.shape import Shape, find, paths, shape_of
from vcp.structure import broken_fields, in_order, read_json

VCPVersion = Literal["0.3", "0.4", "0.5"]
# The last two are directions; v0.4 wrote them here.
ChannelType = Literal["phone", "web", "mobile", "embed", "api", "websocket", "inbound", "outbound"]
CallDirection = Literal["inbound", "outbound"]
CapabilityType = Literal["tool_call", "function_call", "api_call", "webhook", "integration"]
ModelRole = Literal["V2V", "STT", "LLM", "TTS", "VAD", "ASR"]
OutcomeStatus = Literal["success", "failure", "partial", "timeout", "error", "unknown"]
OUTCOME_STATUSES: Final[tuple[OutcomeStatus, ...]] = get_args(OutcomeStatus)
GapClass = Literal["aligned", "minor_deviation", "major_deviation", "contradictory"]
ConsentStatus = Literal["granted", "denied", "pending", "expired", "revoked"]
AlertLevel = Literal["info", "warning", "critical"]


class VCPModel(BaseModel):
    """What all parts share: unknown fields stay, wire names are written."""

    model_config = ConfigDict(
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )
    __pydantic_extra__: dict[str, JsonValue]


class CapabilityInvocation(VCPModel):
    """One use of a tool during the call."""

    capability_id: Text
    capability_type: CapabilityType
    invoked_at: Timestamp
    duration_ms: Opt[Count] = None
    success: bool
    error_message: Opt[AnyText] = None
    metadata: Filled[JsonObject] = Field(default_factory=dict)


# A bare name is the v0.3 form and stays legal.
Capability = Annotated[
    Annotated[AnyText, Strict(), Tag(EXACTLY)] | Annotated[CapabilityInvocation, Tag(LENIENTLY)],
    Field(union_mode="left_to_right"),
]


class Call(VCPModel):
    """Who spoke with whom, when and over what."""

    call_id: Text
    session_id: Text
    provider: Text
    start_time: Timestamp
    end_time: Opt[Timestamp] = None
    duration_sec: Opt[Count] = None
    parent_session_id: Opt[AnyText] = None
    correlation_id: Opt[AnyText] = None
    channel: Opt[ChannelType] = None
    direction: Opt[CallDirection] = None
    from_: Opt[AnyText] = Field(default=None, alias="from")
    to: Opt[AnyText] = None
    caller_id: Opt[AnyText] = None
    geographic_region: Opt[AnyText] = None
    capabilities_invoked: Filled[list[Capability]] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _null_hides_no_synonym(cls, data: Any) -> Any:
        if isinstance(data, dict) and "from_" in data and data.get("from", data) is None:
            return {key: value for key, value in data.items() if key != "from"}
        return data


class TelemetryPrior(VCPModel):
    """What was known of a model before it was chosen; latency in ms, cost in USD."""

    latency_p95: Opt[Number] = None
    success_rate: Opt[Score] = None
    cost_per_token: Opt[Number] = None
    availability: Opt[Score] = None


class ModelRoleInfo(VCPModel):
    """The model taken for one role, and why."""

    chosen: Text
    alternatives: Filled[list[AnyText]] = Field(default_factory=list)
    reason: Filled[list[AnyText]] = Field(default_factory=list)
    telemetry_prior: Opt[TelemetryPrior] = None
    fallback_used: Filled[bool] = False
    selection_time_ms: Opt[Amount] = None


class ModelSelection(VCPModel):
    """Which policy chose the models, and what it chose."""

    policy_id: Text
    resolved_at: Timestamp
    roles: dict[ModelRole, ModelRoleInfo]
    selection_strategy: Opt[AnyText] = None
    total_selection_time_ms: Opt[Amount] = None


class ScoredCriteria(VCPModel):
    """One criterion of success and whether it was met."""

    id: Text
    met: bool
    evidence_ref: Opt[AnyText] = None
    score: Opt[Number] = None
    weight: Opt[Amount] = None


class ObjectiveOutcome(VCPModel):
    """What was measured."""

    status: OutcomeStatus
    scored_criteria: Filled[list[ScoredCriteria]] = Field(default_factory=list)
    metrics: Filled[JsonObject] = Field(default_factory=dict)
    confidence: Opt[Score] = None
    assessment_time_ms: Opt[Amount] = None


class PerceptionGap(VCPModel):
    """Distance between what was measured and how people saw it."""

    gap_score: Score
    gap_class: GapClass
    factors: Opt[list[AnyText]] = None
    analysis: Opt[AnyText] = None


class ModelAttributionRole(VCPModel):
    """What one model did and cost."""

    model_id: Text
    minutes: Amount
    errors: Filled[Count] = 0
    tokens_processed: Opt[Count] = None
    cost_usd: Opt[Amount] = None


class ModelOutcomeAttribution(VCPModel):
    """Which model did and cost what."""

    roles: dict[ModelRole, ModelAttributionRole]
    kpis: JsonObject
    total_cost_usd: Opt[Amount] = None
    efficiency_score: Opt[Score] = None


class BusinessImpact(VCPModel):
    """What the call was worth; the lifetime value may change downwards."""

    revenue_attributed_usd: Opt[Number] = None
    customer_lifetime_value_impact: Opt[Number] = None
    conversion_probability: Opt[Score] = None


class Outcomes(VCPModel):
    """How the call went, as measured and as seen."""

    perceived: Filled[list[AnyText]] = Field(default_factory=list)
    objective: ObjectiveOutcome
    perception_gap: PerceptionGap
    model_outcome_attribution: ModelOutcomeAttribution
    user_satisfaction_score: Opt[Score] = None
    business_impact: Opt[BusinessImpact] = None


class HumanReadableContext(VCPModel):
    """The call in words for one audience."""

    audience: Text
    headline: Text
    outcome_status: OutcomeStatus
    key_points: Filled[list[AnyText]] = Field(default_factory=list)
    impact_metrics: Filled[JsonObject] = Field(default_factory=dict)
    summary: Opt[AnyText] = None
    recommendations: Opt[list[AnyText]] = None
    alert_level: Opt[AlertLevel] = None


class Artifacts(VCPModel):
    """Where recording, transcript and logs lie; never their content."""

    provider_raw_payload_ref: Opt[AnyText] = None
    audio_recording_ref: Opt[AnyText] = None
    transcript_ref: Opt[AnyText] = None
    system_logs_ref: Opt[AnyText] = None
    debug_artifacts: Opt[dict[AnyText, AnyText]] = None
    compliance_records: Opt[dict[AnyText, AnyText]] = None


class CustomProviderData(VCPModel):
    """What a provider sent that the schema has no field for."""

    data: JsonObject


class Custom(VCPModel):
    """Everything outside the shared schema."""

    provider_specific: Filled[dict[AnyText, CustomProviderData]] = Field(default_factory=dict)
    integrations: Opt[dict[AnyText, JsonObject]] = None
    experimental: Opt[JsonObject] = None


class ConsentRecord(VCPModel):
    """What the caller allowed, and until when."""

    consent_id: Text
    status: ConsentStatus
    granted_at: Opt[Timestamp] = None
    expires_at: Opt[Timestamp] = None
    scope: list[AnyText]
    version: Text
    user_agent: Opt[AnyText] = None
    ip_address_hash: Opt[AnyText] = None


class Provenance(VCPModel):
    """Where the record comes from."""

    source_system: Text
    # The reference fills in the present time, so two readings of one text differ: here it stays absent.
    created_at: Opt[Timestamp] = None
    created_by: Opt[AnyText] = None
    transformation_history: Filled[list[AnyText]] = Field(default_factory=list)
    data_retention_policy: Opt[AnyText] = None
    compliance_flags: Opt[list[AnyText]] = None


class VCPPayload(VCPModel):
    """The content of a message."""

    call: Call
    model_selection: ModelSelection
    outcomes: Outcomes
    hcr: HumanReadableContext
    artifacts: Artifacts
    custom: Custom
    consent: Opt[ConsentRecord] = None
    provenance: Provenance


class Audit(VCPModel):
    """How the record was processed."""

    received_at: Timestamp
    schema_version: Text
    processed_at: Opt[Timestamp] = None
    processing_duration_ms: Opt[Amount] = None
    validation_errors: Opt[list[AnyText]] = None
    checksum: Opt[AnyText] = None


class VCPMessage(VCPModel):
    """One call, complete."""

    vcp_version: Filled[VCPVersion] = "0.5"
    vcp_payload: VCPPayload
    audit: Audit

    @staticmethod
    def from_json(text: str | bytes) -> VCPMessage:
        """Read JSON text. Raises SchemaError with all findings when it is no v0.5 message."""
        return VCPMessage.from_dict(read_json(text))

    @staticmethod
    def from_dict(content: Any) -> VCPMessage:
        """Read parsed JSON. Raises SchemaError with all findings when it is no v0.5 message."""
        message = read(content)
        if isinstance(message, VCPMessage):
            return message
        raise SchemaError([finding.to_error() for finding in in_order(message, MESSAGE_SHAPE)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types under wire names, in schema order; schema fields that are null are left out."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """The same as text."""
        # Past pydantic's method, whose dozen arguments cost a tenth of the writing.
        return self.__pydantic_serializer__.to_json(self).decode()


MESSAGE_SHAPE: Shape = shape_of(VCPMessage)
# Past pydantic's method, for the same reason as in `to_json`.
_READER = VCPMessage.__pydantic_validator__
_PAYLOAD_SHAPE: Shape = MESSAGE_SHAPE.fields["vcp_payload"]


def read(content: Any) -> VCPMessage | list[Finding]:
    """The message in parsed JSON, or what is broken in its structure."""
    try:
        return _READER.validate_python(content)  # type: ignore[no-any-return]
    except ValidationError as error:
        return broken_fields(error, MESSAGE_SHAPE)


def field_type(path: str) -> TypeAdapter[Any] | None:
    """The type of a dotted path below `vcp_payload`, None when the schema has no such field.

    `call.start_time`, `model_selection.roles.LLM.chosen`, `custom.provider_specific.retell.data.agent_id`;
    `*` stands for each key of a map. The adapter checks the field's constraints and normalises; an optional
    field's adapter does not take null. Below a free-form object any JSON value is taken. Elements of
    lists have no path of their own.
    """
    place = field_shape(path)
    return place.adapter if place is not None else None


def field_paths() -> list[str]:
    """Every field below `vcp_payload` as `field_type` takes it; `*` stands for each key of a map."""
    return list(paths(_PAYLOAD_SHAPE))


def field_shape(path: str) -> Shape | None:
    """The place of such a path in the schema: its type, its adapter, and a quick test of values; else None."""
    return find(_PAYLOAD_SHAPE, path)

"""Stage two of validation: the rules across fields (X), of consent (C), of artifacts and audit (A).

Each rule is a function from a readable message and the present time to its findings; `CROSS_FIELD_RULES`
lists them. Levels and codes are in `findings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from ipaddress import ip_interface
from typing import Final

from vcp.checksum import checksum
from vcp.findings import Finding
from vcp.models import CapabilityInvocation, ConsentRecord, VCPMessage
from vcp.scalars import Path

Rule = Callable[[VCPMessage, datetime], Iterator[Finding]]

_PAYLOAD: Path = ("vcp_payload",)
_CALL: Path = (*_PAYLOAD, "call")
_CONSENT: Path = (*_PAYLOAD, "consent")
_ARTIFACTS: Path = (*_PAYLOAD, "artifacts")
_ATTRIBUTION: Path = (*_PAYLOAD, "outcomes", "model_outcome_attribution")

_REFERENCES: Final = (
    "provider_raw_payload_ref",
    "audio_recording_ref",
    "transcript_ref",
    "system_logs_ref",
)
_SCHEMES: Final = ("s3", "gs", "azure", "http", "https", "internal", "local")
_HASHED: Final = "sha256:"
_MAX_START_AHEAD: Final = timedelta(hours=24)


def _ends_after_start(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    call = message.vcp_payload.call
    if call.end_time and call.end_time < call.start_time:
        yield Finding("X1", (*_CALL, "end_time"), "end_time is before start_time")


def _duration_fits_times(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    call = message.vcp_payload.call
    if call.end_time is None or call.duration_sec is None:
        return
    span_sec = (call.end_time - call.start_time).total_seconds()
    if abs(call.duration_sec - span_sec) > max(2, 0.02 * abs(span_sec)):
        yield Finding("X2", (*_CALL, "duration_sec"), "duration_sec differs from end_time minus start_time")


def _capabilities_fit_call(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    call = message.vcp_payload.call
    for index, capability in enumerate(call.capabilities_invoked):
        if isinstance(capability, str):
            continue
        path = (*_CALL, "capabilities_invoked", index)
        if capability.invoked_at < call.start_time:
            yield Finding("X3", (*path, "invoked_at"), "capability invoked before the call began")
        if call.end_time and capability.invoked_at > call.end_time:
            yield Finding("X4", (*path, "invoked_at"), "capability invoked after the call ended")
        yield from _failure_is_explained(capability, path)


def _failure_is_explained(capability: CapabilityInvocation, path: Path) -> Iterator[Finding]:
    if not capability.success and not capability.error_message:
        yield Finding("X5", (*path, "error_message"), "capability failed without an error_message")


def _status_is_told_alike(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    payload = message.vcp_payload
    if payload.hcr.outcome_status != payload.outcomes.objective.status:
        path = (*_PAYLOAD, "hcr", "outcome_status")
        yield Finding("X6", path, "outcome_status differs from outcomes.objective.status")


def _schema_version_is_the_claimed(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    if message.audit.schema_version != message.vcp_version:
        yield Finding("X7", ("audit", "schema_version"), "schema_version differs from vcp_version")


def _role_costs_fit_total(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    # The total may be higher: telephony and platform fees stand only there.
    attribution = message.vcp_payload.outcomes.model_outcome_attribution
    total_usd = attribution.total_cost_usd
    if total_usd is None:
        return
    sum_usd = sum(role.cost_usd or 0 for role in attribution.roles.values())
    excess_usd = round(sum_usd - total_usd, 9)
    if excess_usd > max(0.01, 0.01 * total_usd):
        yield Finding("X8", (*_ATTRIBUTION, "total_cost_usd"), "the roles cost more than total_cost_usd")


def _attributed_roles_were_selected(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    selected = message.vcp_payload.model_selection.roles
    for role in message.vcp_payload.outcomes.model_outcome_attribution.roles:
        if role not in selected:
            yield Finding("X9", (*_ATTRIBUTION, "roles", role), "model_selection has no such role")


def _start_is_not_ahead(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    if message.vcp_payload.call.start_time - message.audit.received_at > _MAX_START_AHEAD:
        yield Finding("X10", (*_CALL, "start_time"), "start_time is more than 24 h after received_at")


def _checksum_is_right(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    claimed = message.audit.checksum
    if claimed is not None and claimed != checksum(message):
        yield Finding("X11", ("audit", "checksum"), "checksum does not match the content")


def _references_have_a_known_scheme(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    artifacts = message.vcp_payload.artifacts
    references: list[tuple[Path, str | None]] = [((name,), getattr(artifacts, name)) for name in _REFERENCES]
    for name in ("debug_artifacts", "compliance_records"):
        references += [((name, key), value) for key, value in (getattr(artifacts, name) or {}).items()]
    for path, reference in references:
        if reference is not None and not has_known_scheme(reference):
            yield Finding("A1", (*_ARTIFACTS, *path), "reference has no known scheme", ", ".join(_SCHEMES))


def has_known_scheme(reference: str) -> bool:
    """Whether a reference to an artifact has one of the schemes that the protocol names."""
    return reference.partition(":")[0].lower() in _SCHEMES


def _processing_follows_arrival(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    audit = message.audit
    if audit.processed_at and audit.processed_at < audit.received_at:
        yield Finding("A2", ("audit", "processed_at"), "processed_at is before received_at")


def _consent_allows_keeping(message: VCPMessage, now: datetime) -> Iterator[Finding]:
    consent = message.vcp_payload.consent
    if consent is None:
        yield Finding("C4", _CONSENT, "no consent is recorded")
        return
    path = (*_CONSENT, "status")
    if consent.status == "revoked":
        yield Finding("C1", path, "consent is revoked: processing is not allowed")
    if consent.status == "pending":
        yield Finding("C4", path, "consent is pending")
    if consent.status == "denied" and (held := _denied_content(message)):
        yield Finding("C3", path, f"consent is denied, yet the record holds {', '.join(held)}")
    yield from _consent_has_not_expired(consent, now)


def _denied_content(message: VCPMessage) -> list[str]:
    """The fields that a record without consent must not have: audio, transcript, telephone numbers."""
    call, artifacts = message.vcp_payload.call, message.vcp_payload.artifacts
    content = {
        "call.from": call.from_,
        "call.to": call.to,
        "artifacts.audio_recording_ref": artifacts.audio_recording_ref,
        "artifacts.transcript_ref": artifacts.transcript_ref,
    }
    return [name for name, value in content.items() if value is not None]


def _consent_has_not_expired(consent: ConsentRecord, now: datetime) -> Iterator[Finding]:
    if consent.status == "expired":
        yield Finding("C2", (*_CONSENT, "status"), "consent has expired")
    elif consent.expires_at and consent.expires_at <= now:
        yield Finding("C2", (*_CONSENT, "expires_at"), "consent has expired")


def _granted_consent_covers_use(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    consent = message.vcp_payload.consent
    if consent is None or consent.status != "granted":
        return
    if message.vcp_payload.artifacts.audio_recording_ref is not None and "recording" not in consent.scope:
        yield Finding("C5", (*_CONSENT, "scope"), "a recording is kept outside the scope", "recording")
    if consent.granted_at is None:
        yield Finding("C6", (*_CONSENT, "granted_at"), "consent is granted without a date")


def _consent_is_well_formed(message: VCPMessage, _now: datetime) -> Iterator[Finding]:
    consent = message.vcp_payload.consent
    if consent is None:
        return
    if consent.granted_at and consent.expires_at and consent.expires_at < consent.granted_at:
        yield Finding("C7", (*_CONSENT, "expires_at"), "expires_at is before granted_at")
    if consent.ip_address_hash and _is_address(consent.ip_address_hash):
        path = (*_CONSENT, "ip_address_hash")
        yield Finding("C7", path, "a bare address instead of its hash", f"{_HASHED}<hex>")


def _is_address(text: str) -> bool:
    if text.startswith(_HASHED):
        return False
    try:
        ip_interface(text.strip().strip("[]"))
    except ValueError:
        return False
    return True


# What only reads the times of the call, which all versions have under the same names.
TIME_RULES: Final[tuple[Rule, ...]] = (_ends_after_start, _duration_fits_times)
# What reads neither consent nor provenance.
COMMON_RULES: Final[tuple[Rule, ...]] = (
    *TIME_RULES,
    _capabilities_fit_call,
    _status_is_told_alike,
    _schema_version_is_the_claimed,
    _role_costs_fit_total,
    _attributed_roles_were_selected,
    _start_is_not_ahead,
    _checksum_is_right,
    _references_have_a_known_scheme,
    _processing_follows_arrival,
)
CROSS_FIELD_RULES: Final[tuple[Rule, ...]] = (
    *COMMON_RULES,
    _consent_allows_keeping,
    _granted_consent_covers_use,
    _consent_is_well_formed,
)

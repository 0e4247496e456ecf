"""The rules across fields of the older versions: those of v0.5 in the fields of each, and V1 to V4.

V4 is told by the type of published v0.3's timestamps. Levels and codes are in `vcp.findings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, cast

from vcp.findings import Finding
from vcp.models import VCPMessage
from vcp.rules import COMMON_RULES, TIME_RULES, has_known_scheme
from vcp.scalars import Path
from vcp.versions.v03 import LineageMessage, PublishedMessage
from vcp.versions.v04 import MessageV04

WrappedMessage = PublishedMessage | MessageV04

_PAYLOAD: Path = ("vcp_payload",)
_AUDIT: Path = (*_PAYLOAD, "audit")
_ARTIFACTS: Path = (*_PAYLOAD, "artifacts")
_CONSENT: Path = (*_PAYLOAD, "consent")
_REFERENCES: Final = ("recording_url", "transcript_url", "provider_raw_payload_ref")
_UUID: Final = re.compile(r"(?i)[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
_MAX_START_AHEAD: Final = timedelta(hours=24)


def published_findings(message: PublishedMessage, now: datetime) -> Iterator[Finding]:
    """X, A and V findings of a readable published v0.3 message."""
    yield from _foreign_sections(message.vcp_payload.model_extra or {})
    yield from _wrapper_id_is_the_calls(message)
    yield from _wrapped_findings(message, now)
    hcr = message.vcp_payload.hcr
    if hcr is not None and hcr.outcome_status != message.vcp_payload.outcomes.objective.status:
        path = (*_PAYLOAD, "hcr", "outcome_status")
        yield Finding("X6", path, "outcome_status differs from outcomes.objective.status")


def lineage_findings(message: LineageMessage, now: datetime) -> Iterator[Finding]:
    """X, A and V findings of a readable lineage v0.3 message."""
    yield from _foreign_sections(message.vcp_payload.model_extra or {})
    # The fields of v0.5 except consent and provenance, which these rules do not read.
    same_fields = cast("VCPMessage", message)
    for rule in COMMON_RULES:
        yield from rule(same_fields, now)


def v04_findings(message: MessageV04, now: datetime) -> Iterator[Finding]:
    """X, A, C and V findings of a readable v0.4 message."""
    for name in ("provenance", "consent"):
        if getattr(message.vcp_payload, name) is None:
            yield Finding("V2", (*_PAYLOAD, name), f"v0.4 asks for {name}")
    yield from _wrapped_findings(message, now)
    yield from _consent_allows_keeping(message)


def _foreign_sections(extra: dict[str, Any]) -> Iterator[Finding]:
    for name in ("consent", "provenance"):
        if extra.get(name) is not None:
            yield Finding("V1", (*_PAYLOAD, name), f"v0.3 has no {name}")


def _wrapper_id_is_the_calls(message: PublishedMessage) -> Iterator[Finding]:
    if message.call_id != message.vcp_payload.call.call_id:
        yield Finding("V3", ("call_id",), "call_id differs from vcp_payload.call.call_id")
    elif not is_uuid(message.call_id):
        yield Finding("V3", ("call_id",), "call_id is no UUID", "UUID")


def is_uuid(text: str) -> bool:
    """Whether published v0.3 would take this call id."""
    return _UUID.fullmatch(text) is not None


def _wrapped_findings(message: WrappedMessage, now: datetime) -> Iterator[Finding]:
    # The call's times have the names and the place that they have in v0.5.
    for rule in TIME_RULES:
        yield from rule(cast("VCPMessage", message), now)
    audit = message.vcp_payload.audit
    if audit.schema_version != message.vcp_version:
        yield Finding("X7", (*_AUDIT, "schema_version"), "schema_version differs from vcp_version")
    if message.vcp_payload.call.start_time - audit.received_at > _MAX_START_AHEAD:
        path = (*_PAYLOAD, "call", "start_time")
        yield Finding("X10", path, "start_time is more than 24 h after received_at")
    if audit.normalized_at < audit.received_at:
        yield Finding("A2", (*_AUDIT, "normalized_at"), "normalized_at is before received_at")
    yield from _references_have_a_known_scheme(message)


def _references_have_a_known_scheme(message: WrappedMessage) -> Iterator[Finding]:
    for name in _REFERENCES:
        reference = getattr(message.vcp_payload.artifacts, name)
        if reference is not None and not has_known_scheme(reference):
            yield Finding("A1", (*_ARTIFACTS, name), "reference has no known scheme")


def _consent_allows_keeping(message: MessageV04) -> Iterator[Finding]:
    consent, call, artifacts = message.vcp_payload.consent, message.vcp_payload.call, message.vcp_payload.artifacts
    if consent is None:
        return
    if consent.consent_method == "inferred":
        yield Finding("C4", (*_CONSENT, "consent_method"), "consent is only inferred")
    elif not consent.recording_consent:
        content = {
            "call.from": call.from_,
            "call.to": call.to,
            "artifacts.recording_url": artifacts.recording_url,
            "artifacts.transcript_url": artifacts.transcript_url,
        }
        held = [name for name, value in content.items() if value is not None]
        if held:
            text = f"consent is denied, yet the record holds {', '.join(held)}"
            yield Finding("C3", (*_CONSENT, "recording_consent"), text)


Findings = Callable[[Any, datetime], Iterator[Finding]]

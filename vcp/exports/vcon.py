"""A finished call as an IETF vCon (draft-ietf-vcon-vcon-core, unsigned form), and the message back out of one.

The whole message travels as one analysis, so nothing is lost; parties, dialog, transcript and lawful basis say
the same in the words of vCon for readers that know no VCP. Why a call came to nothing is known by `disposition`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from typing import Any, Final

from vcp.checksum import jcs
from vcp.errors import IMPLEMENTATION, REQUIRED_FIELD_MISSING, SCHEMA_VALIDATION_FAILED, VCPError
from vcp.exports.call_end import ended_at
from vcp.exports.disposition import disposition
from vcp.models import Call, ConsentRecord, VCPMessage
from vcp.scalars import canonical_timestamp, is_plain_json

MESSAGE_SCHEMA: Final = "vcp/0.5"
# The extension of draft-howe-vcon-lawful-basis: its name in `extensions`, and the purpose of its attachment.
LAWFUL_BASIS: Final = "lawful_basis"

_CONTENT_HASH = re.compile(r"[a-z0-9]+-[A-Za-z0-9_-]+")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
# RFC 3986 with a host name; credentials, which have no business in an export, are not taken.
_HTTPS_URL = re.compile(
    r"https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
    r"(/(%[0-9A-Fa-f]{2}|[A-Za-z0-9._~!$&'()*+,;=:@/-])*)?"
    r"(\?(%[0-9A-Fa-f]{2}|[A-Za-z0-9._~!$&'()*+,;=:@/?-])*)?"
    r"(#(%[0-9A-Fa-f]{2}|[A-Za-z0-9._~!$&'()*+,;=:@/?-])*)?"
)


def to_vcon(message: VCPMessage, *, recording_hash: str | None = None, transcript: Any = None) -> dict[str, Any]:
    """The vCon of one finished call, as plain JSON types; equal messages give equal vCons.

    `recording_hash` is the `content_hash` of the bytes behind `artifacts.audio_recording_ref`, and `transcript` the
    text or JSON behind `artifacts.transcript_ref`; the message itself holds neither. A recording or transcript is
    linked only by https URL, as the draft demands. Raises VCPError (VCP_E005) for a call that has not ended,
    ValueError for a hash or transcript that is none.
    """
    _check_arguments(recording_hash, transcript)
    call = message.vcp_payload.call
    consent = message.vcp_payload.consent
    return {
        "uuid": vcon_uuid(call.provider, call.call_id),
        **({"extensions": [LAWFUL_BASIS]} if consent is not None else {}),
        **_times(message),
        "subject": message.vcp_payload.hcr.headline,
        "parties": _parties(call),
        "dialog": [_dialog(message, recording_hash, transcribed=transcript is not None)],
        "analysis": [*_transcripts(message, transcript), _whole_message(message)],
        "attachments": [_lawful_basis(message, consent)] if consent is not None else [],
    }


def from_vcon(vcon: Any) -> VCPMessage:
    """The message that `to_vcon` put into a vCon (parsed JSON, unsigned form); the newest when there are several.

    Raises VCPError that names what a vCon of another origin lacks, SchemaError (also a VCPError) when the
    message inside is broken; its paths begin at the message.
    """
    index, analysis = _message_analysis(_analyses(vcon))
    body = analysis.get("body")
    if isinstance(body, str):  # some tools keep every body as text
        return VCPMessage.from_json(body)
    if body is None:
        raise VCPError(REQUIRED_FIELD_MISSING, "the VCP analysis has no body", f"$.analysis[{index}].body")
    return VCPMessage.from_dict(body)


def content_hash(content: bytes) -> str:
    """The ContentHash of a file: `sha512-` and 86 characters of base64url."""
    digest = base64.urlsafe_b64encode(hashlib.sha512(content).digest())
    return "sha512-" + digest.decode().rstrip("=")


def vcon_uuid(provider: str, call_id: str) -> str:
    """The UUID (version 8, RFC 9562) of a call's vCon; made of the two names alone, so it never changes."""
    digest = bytearray(hashlib.sha256(b"vcp/vcon:" + jcs([provider, call_id])).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _check_arguments(recording_hash: str | None, transcript: Any) -> None:
    if recording_hash is not None and not _CONTENT_HASH.fullmatch(recording_hash):
        raise ValueError("recording_hash is no ContentHash; content_hash(bytes) makes one")
    if not is_plain_json(transcript):
        raise ValueError("transcript is not text or JSON")


def _times(message: VCPMessage) -> dict[str, str]:
    # No clock here: the vCon is as old as the record it is made of.
    audit = message.audit
    times = {"created_at": canonical_timestamp(audit.received_at)}
    if audit.processed_at is not None:
        times["updated_at"] = canonical_timestamp(audit.processed_at)
    return times


# --- parties and dialog ----------------------------------------------------------------------------------------------


def _parties(call: Call) -> list[dict[str, Any]]:
    """Who called, then who was called: the first party of a dialog counts as its originator."""
    origin, target = _party(call.from_), _party(call.to)
    if call.direction == "inbound" or not (call.direction or origin or target):
        return [{"type": "person", **origin}, {"type": "bot", **target}]
    if call.direction == "outbound":
        return [{"type": "bot", **origin}, {"type": "person", **target}]
    return [origin, target]


def _person(call: Call) -> int:
    return 1 if call.direction == "outbound" else 0


def _party(address: str | None) -> dict[str, str]:
    if not address:
        return {}
    if _E164.fullmatch(address):
        return {"tel": address}
    if address.startswith(("sip:", "sips:")):
        return {"sip": address}
    return {"name": address, "validation": "none"}


def _dialog(message: VCPMessage, recording_hash: str | None, *, transcribed: bool) -> dict[str, Any]:
    call = message.vcp_payload.call
    reason = disposition(message, transcribed=transcribed)
    dialog: dict[str, Any] = {
        "type": "recording" if reason is None else "incomplete",
        "start": canonical_timestamp(call.start_time),
        "duration": _duration_sec(call, ended_at(message)),
        "parties": [0, 1],
        "application": call.provider,
    }
    if reason is not None:
        return {**dialog, "disposition": reason}
    return {**dialog, **_link(message.vcp_payload.artifacts.audio_recording_ref, recording_hash)}


def _duration_sec(call: Call, end: datetime) -> float:
    return call.duration_sec if call.duration_sec is not None else (end - call.start_time).total_seconds()


def _link(reference: str | None, known_hash: str | None = None) -> dict[str, str]:
    """A file outside the vCon; nothing for references that only their owner can follow."""
    if reference is None or not _HTTPS_URL.fullmatch(reference):
        return {}
    return {"url": reference} if known_hash is None else {"url": reference, "content_hash": known_hash}


# --- analyses --------------------------------------------------------------------------------------------------------


def _whole_message(message: VCPMessage) -> dict[str, Any]:
    analysis = {"type": "report", "dialog": 0, "vendor": IMPLEMENTATION, "schema": MESSAGE_SCHEMA}
    return {**analysis, **_json_file(message.to_dict())}


def _transcripts(message: VCPMessage, transcript: Any) -> list[dict[str, Any]]:
    reference = message.vcp_payload.artifacts.transcript_ref
    if transcript is None and reference is None:
        return []
    vendor = message.vcp_payload.call.provider
    analysis = {"type": "transcript", "dialog": 0, "vendor": vendor, "schema": f"{vendor}/transcript"}
    if isinstance(transcript, str):
        return [{**analysis, "mediatype": "text/plain", "encoding": "none", "body": transcript}]
    if transcript is not None:
        return [{**analysis, **_json_file(transcript)}]
    # Where the transcript lies is all that is known; an internal place means something to its owner only.
    return [{**analysis, **(_link(reference) or _json_file({"transcript_ref": reference}))}]


def _json_file(body: Any) -> dict[str, Any]:
    return {"mediatype": "application/json", "encoding": "json", "body": body}


def _analyses(vcon: Any) -> list[Any]:
    if not isinstance(vcon, dict):
        raise VCPError(SCHEMA_VALIDATION_FAILED, "a vCon is a JSON object", "$")
    if "ciphertext" in vcon or {"payload", "signatures"} <= vcon.keys():
        raise VCPError(SCHEMA_VALIDATION_FAILED, "the vCon is signed or encrypted; only the unsigned form is read", "$")
    analyses = vcon.get("analysis")
    if not isinstance(analyses, list):
        raise _no_message()
    return analyses


def _message_analysis(analyses: list[Any]) -> tuple[int, dict[str, Any]]:
    for index, analysis in reversed(list(enumerate(analyses))):
        if isinstance(analysis, dict) and analysis.get("schema") == MESSAGE_SCHEMA:
            return index, analysis
    raise _no_message()


def _no_message() -> VCPError:
    text = f"the vCon holds no VCP message: no analysis has the schema {MESSAGE_SCHEMA} and the message as its body"
    return VCPError(REQUIRED_FIELD_MISSING, text, "$.analysis")


# --- consent ---------------------------------------------------------------------------------------------------------


def _lawful_basis(message: VCPMessage, consent: ConsentRecord) -> dict[str, Any]:
    """Each purpose in scope, granted or not; any status but granted is a refusal to whoever reads it."""
    # Without its own time a decision is known since the record came in.
    decided = canonical_timestamp(consent.granted_at or message.audit.received_at)
    granted = consent.status == "granted"
    body = {
        "lawful_basis": "consent",
        "expiration": None if consent.expires_at is None else canonical_timestamp(consent.expires_at),
        "purpose_grants": [{"purpose": name, "granted": granted, "granted_at": decided} for name in consent.scope],
        "metadata": {"consent_id": consent.consent_id, "status": consent.status, "policy_version": consent.version},
    }
    place = {"purpose": LAWFUL_BASIS, "start": decided, "party": _person(message.vcp_payload.call), "dialog": 0}
    return {**place, **_json_file(body)}

"""Which version and shape a message has: `detect`, which looks at a few places only and checks nothing else."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from vcp.errors import SchemaError
from vcp.findings import Finding

Version = Literal["0.3", "0.4", "0.5"]
Shape = Literal["published", "lineage", "complete", "incomplete", "current"]

SUPPORTED_VERSIONS: Final = ("0.3", "0.4", "0.5")


class Form(NamedTuple):
    """Version and shape of a message.

    v0.3 is `published` or `lineage`, v0.4 `complete` or `incomplete` (without provenance or consent), v0.5 `current`.
    Version 0.4 with shape `current` is a message in the fields of v0.5 that calls itself 0.4.
    """

    version: Version
    shape: Shape

    def __str__(self) -> str:
        return f"{self.version} {self.shape}"


CURRENT: Final = Form("0.5", "current")
PUBLISHED: Final = Form("0.3", "published")
LINEAGE: Final = Form("0.3", "lineage")
COMPLETE: Final = Form("0.4", "complete")
INCOMPLETE: Final = Form("0.4", "incomplete")
RELABELLED: Final = Form("0.4", "current")


def detect(content: Any) -> Form:
    """The form of a parsed message; what does not look like any older form is taken for v0.5.

    Raises SchemaError (VCP_E001) for a version this program does not know, and for v0.3 without a payload.
    """
    if not isinstance(content, dict):
        return CURRENT
    payload = content.get("vcp_payload")
    version = content.get("vcp_version")
    if version is None:
        version = _version_by_content(content, payload)
    if version == "0.5":
        return CURRENT
    if version == "0.3":
        return _shape_of_v03(content, payload)
    if version == "0.4":
        return _shape_of_v04(content, payload)
    supported = ", ".join(SUPPORTED_VERSIONS)
    raise SchemaError(
        [Finding("S3", ("vcp_version",), f"unknown version; supported: {supported}", supported).to_error()]
    )


def _version_by_content(content: dict[str, Any], payload: Any) -> str:
    """Only v0.4 and published v0.3 may leave their version out: both have the audit inside the payload."""
    audit = payload.get("audit") if isinstance(payload, dict) else None
    if not isinstance(audit, dict) or "audit" in content:
        return "0.5"
    if audit.get("schema_version") in ("0.3", "0.4"):
        return str(audit["schema_version"])
    return "0.4" if payload.get("provenance") or payload.get("consent") else "0.3"


def _shape_of_v03(content: dict[str, Any], payload: Any) -> Form:
    if not isinstance(payload, dict):
        text = "neither the published nor the lineage shape of v0.3: there is no payload object"
        raise SchemaError([Finding("S3", ("vcp_payload",), text, "object").to_error()])
    outcomes = payload.get("outcomes")
    perceived = outcomes.get("perceived") if isinstance(outcomes, dict) else None
    has_objects = isinstance(perceived, list) and any(isinstance(entry, dict) for entry in perceived)
    published = isinstance(payload.get("audit"), dict) or "call_id" in content or has_objects
    return PUBLISHED if published else LINEAGE


def _shape_of_v04(content: dict[str, Any], payload: Any) -> Form:
    parts = payload if isinstance(payload, dict) else {}
    provenance, consent = parts.get("provenance"), parts.get("consent")
    dated_like_v05 = isinstance(provenance, dict) and "created_at" in provenance
    if isinstance(content.get("audit"), dict) or dated_like_v05:
        return RELABELLED
    return COMPLETE if provenance is not None and consent is not None else INCOMPLETE

"""What an upgrade makes where the older version tells nothing, and the words it uses; the ways back know them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vcp.checksum import jcs
from vcp.versions.v03 import GapDriver, PerceivedOutcome

SATISFACTION_STEP: Final = "satisfaction_from_caller_sentiment"
INFERRED: Final = ("capability_type", "invoked_at", "success")

STATUS_FROM_V03: Final[Mapping[str, str]] = {
    "success": "success",
    "partial": "partial",
    "failed": "failure",
    # Screened spam is neither a success nor a failure in any rate.
    "filtered": "unknown",
}
GAP_CLASS_FROM_V03: Final[Mapping[str, str]] = {
    "aligned": "aligned",
    "mild_misalignment": "minor_deviation",
    "significant_gap": "major_deviation",
}


def invocation(name: str, start_time: Any) -> str | dict[str, Any]:
    """A capability of which only the name is known. A blank name stays bare: no record may have one."""
    if not name.strip():
        return name
    return {
        "capability_id": name,
        "capability_type": "tool_call",
        "invoked_at": start_time,
        "success": True,
        "metadata": {"inferred": list(INFERRED)},
    }


def model_selection(provider: str, start_time: Any) -> dict[str, Any]:
    """The selection of a message that names no models."""
    return {"policy_id": f"{provider}_default", "resolved_at": start_time, "roles": {}}


def hcr(provider: str, topic: str | None, status: str) -> dict[str, Any]:
    """The words of a message that has none of its own; `topic` is what the call was about."""
    headline = f"{provider} call: {topic}" if topic else f"{provider} call processed"
    return {"audience": "system", "headline": headline, "outcome_status": status}


def provenance(source_system: str, created_at: Any, *steps: str) -> dict[str, Any]:
    """The origin of a message that does not tell it."""
    return {"source_system": source_system, "created_at": created_at, "transformation_history": list(steps)}


def perceived_words(entry: PerceivedOutcome) -> str:
    """One side's view as v0.5 has it: `caller: sentiment 0.75 by retell-internal, confidence 0.83`."""
    score, confidence = jcs(entry.sentiment.score).decode(), jcs(entry.confidence).decode()
    return f"{entry.by}: sentiment {score} by {entry.sentiment.model}, confidence {confidence}"


def satisfaction(perceived: Sequence[PerceivedOutcome]) -> float | None:
    """The caller's sentiment, when exactly one entry is the caller's."""
    scores = [entry.sentiment.score for entry in perceived if entry.by == "caller"]
    return scores[0] if len(scores) == 1 else None


def gap_words(drivers: Sequence[GapDriver]) -> dict[str, Any]:
    """The causes of a gap as v0.5 has them: their types, and their notes as one text."""
    notes = [driver.note for driver in drivers if driver.note]
    return {"factors": [driver.type for driver in drivers], "analysis": "; ".join(notes) or None}


def provider_data(value: Any) -> dict[str, Any] | None:
    """A provider's part as v0.5 has it, None for what is no object."""
    if not isinstance(value, dict):
        return None
    wrapped = value.keys() == {"data"} and isinstance(value["data"], dict)
    return value if wrapped else {"data": value}


def direction(provider_specific: Mapping[str, Any], provider: str) -> str | None:
    """The way of the call, which v0.3 data tell as a provider's `channel`; the call's own provider is asked first."""
    parts = [provider_specific.get(provider), *provider_specific.values()]
    words = [part.get("channel") for part in parts if isinstance(part, dict)]
    return next((word for word in words if word in ("inbound", "outbound")), None)

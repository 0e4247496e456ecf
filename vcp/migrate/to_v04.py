"""Published v0.3 filled up to v0.4, as the reference does: for tests only, since v0.4 is deprecated.

What the reference takes from the clock is the time of arrival here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vcp.migrate import made
from vcp.migrate.report import MigrationReport
from vcp.scalars import Path

_PAYLOAD: Path = ("vcp_payload",)
_GAP: Path = (*_PAYLOAD, "outcomes", "perception_gap")
_GAP_CLASS: Final[Mapping[str, str]] = {
    "aligned": "aligned",
    "mild_misalignment": "minor",
    "significant_gap": "major",
}


def to_v04(message: dict[str, Any], report: MigrationReport) -> None:
    """Make a valid published v0.3 message one of v0.4, in place."""
    payload = message["vcp_payload"]
    call, audit, gap = payload["call"], payload["audit"], payload["outcomes"]["perception_gap"]
    message["vcp_version"] = audit["schema_version"] = "0.4"
    way = made.direction(payload["custom"].get("provider_specific") or {}, call["provider"])
    if way is not None:
        call["channel"] = way
    gap["gap_class"] = _GAP_CLASS[gap["gap_class"]]
    _lose_what_v04_cannot_hold(gap, report)
    payload["provenance"] = {
        "captured_at": audit["received_at"],
        "captured_by": "vcp_upgrade_utility",
        "source_system": call["provider"],
        "processing_chain": ["vcp_v03_to_v04_upgrade"],
        "data_quality_score": 0.8,
    }
    payload["consent"] = {
        "recording_consent": False,
        "sharing_allowed": False,
        "anonymization_required": True,
        "consent_timestamp": audit["received_at"],
        "consent_method": "inferred",
        "data_retention_days": 30,
    }
    for name in ("provenance", "consent"):
        report.made_up((*_PAYLOAD, name), f"v0.3 has no {name}")


def _lose_what_v04_cannot_hold(gap: dict[str, Any], report: MigrationReport) -> None:
    if gap.get("drivers"):
        gap["drivers"] = [driver["type"] for driver in gap["drivers"]]
        report.lose((*_GAP, "drivers"), "v0.4 holds only a driver's type")
    if gap["gap_score"] > 1:
        gap["gap_score"] = 1.0
        report.lose((*_GAP, "gap_score"), "gap_score was above 1 and became 1")

"""When a call was over, for formats that know finished calls only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from vcp.errors import REQUIRED_FIELD_MISSING, VCPError
from vcp.models import Call, OutcomeStatus, VCPMessage

# A running call has no outcome yet, and its status is unknown. These calls are over, whoever left out the end.
FAILED: Final[frozenset[OutcomeStatus]] = frozenset({"failure", "timeout", "error"})


def ended_at(message: VCPMessage) -> datetime:
    """The end of the call in UTC, never before its start.

    Raises VCPError (VCP_E005) for a call that has not ended: no end_time, and no outcome that says it failed.
    """
    call = message.vcp_payload.call
    if call.end_time is not None:
        return max(call.start_time, call.end_time)
    if message.vcp_payload.outcomes.objective.status in FAILED:
        return _after(call)
    raise VCPError(
        REQUIRED_FIELD_MISSING,
        "the call has not ended: only finished calls can be exported; end_time says when it was over",
        "$.vcp_payload.call.end_time",
        call.provider,
    )


def _after(call: Call) -> datetime:
    try:
        return call.start_time + timedelta(seconds=call.duration_sec or 0)
    except OverflowError:  # beyond the year 9999, or any span of time
        return datetime.max.replace(tzinfo=UTC)

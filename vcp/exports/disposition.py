"""Why a call came to no conversation, in the six words of the vCon core draft.

A failed outcome alone does not say so: a call can miss its goal after minutes of talk. The reason of the
disconnection is read by whole words, since every provider spells it in its own way.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from vcp.exports.call_end import FAILED
from vcp.models import OutcomeStatus, VCPMessage, VCPPayload

Disposition = Literal["no-answer", "congestion", "failed", "busy", "hung-up", "voicemail-no-message"]

# The first that fits.
_NOT_REACHED: Final[tuple[tuple[Disposition, tuple[str, ...]], ...]] = (
    ("busy", ("busy",)),
    ("no-answer", ("no answer", "not answer", "unanswered")),
    ("congestion", ("congestion", "concurrency limit", "rate limit")),
    ("hung-up", ("hungup before", "hung up before", "hangup before")),
    ("failed", ("dial failed", "failed to connect", "invalid destination", "sip routing error", "network blocked")),
)
_MACHINE: Final = ("voicemail", "machine detected", "answering machine")
_HANG_UP: Final = ("hangup", "hung up", "hungup", "ended call")
# The call was set up, and something else was busy or did not answer.
_LATER: Final = ("error", "in progress")


def disposition(message: VCPMessage, *, transcribed: bool = False) -> Disposition | None:
    """Why no conversation took place; None when one did or nothing speaks against it.

    `transcribed` says that a transcript is known besides the message.
    """
    payload = message.vcp_payload
    status = payload.outcomes.objective.status
    if status in ("success", "partial"):
        return None
    words = _words(payload)
    if not _has(words, _LATER):
        for name, phrases in _NOT_REACHED:
            if _has(words, phrases):
                return name
    if transcribed or _left_traces(payload):
        return None
    if _has(words, _MACHINE):
        return "voicemail-no-message"
    return _by_status(status, words, payload.call.duration_sec)


def _by_status(status: OutcomeStatus, words: str, duration_sec: int | None) -> Disposition | None:
    # A reason that names no failed attempt, some seconds later: the call was set up.
    if status not in FAILED or (words and duration_sec):
        return None
    if _has(words, _HANG_UP):
        return "hung-up"
    return "no-answer" if status == "timeout" else "failed"


def _left_traces(payload: VCPPayload) -> bool:
    artifacts = payload.artifacts
    if artifacts.audio_recording_ref or artifacts.transcript_ref or payload.call.capabilities_invoked:
        return True
    return payload.outcomes.objective.metrics.get("user_talked") is True


def _words(payload: VCPPayload) -> str:
    """The reason as lower-case words between single blanks; empty when none is known."""
    reason = payload.outcomes.objective.metrics.get("disconnect_reason")
    words = re.findall(r"[a-z0-9]+", reason.lower()) if isinstance(reason, str) else []
    return f" {' '.join(words)} " if words else ""


def _has(words: str, phrases: tuple[str, ...]) -> bool:
    return any(f" {phrase} " in words for phrase in phrases)

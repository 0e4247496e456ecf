"""The perception gap: how far what people felt lies from what was measured.

One algorithm for everybody. A class that came with a message is kept; nobody recomputes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypedDict

from vcp.models import GapClass, OutcomeStatus

_OBJECTIVE_SCORES: Mapping[OutcomeStatus, float] = {
    "success": 1.0,
    "partial": 0.5,
    "failure": 0.0,
    "timeout": 0.0,
    "error": 0.0,
}


class Gap(TypedDict):
    """`gap_score` 0-1 with four decimals, and its class."""

    gap_score: float
    gap_class: GapClass


def perception_gap(perceived_scores: Sequence[float], status: OutcomeStatus) -> Gap | None:
    """Gap between the mean of perceived scores (each 0-1) and the outcome's own score.

    None when there is nothing to compare: no scores, or an outcome that is not known.
    """
    objective = _OBJECTIVE_SCORES.get(status)
    if objective is None or not perceived_scores:
        return None
    perceived = fmean(perceived_scores)
    # 1 - 0.8 is a little less than 0.2 in floating point, which would change the class.
    score = round(abs(perceived - objective), 4)
    return {"gap_score": score, "gap_class": _gap_class(score, perceived, objective)}


def _gap_class(score: float, perceived: float, objective: float) -> GapClass:
    if score < 0.2:
        return "aligned"
    if score < 0.4:
        return "minor_deviation"
    opposite = (perceived - 0.5) * (objective - 0.5) < 0
    return "contradictory" if score >= 0.6 and opposite else "major_deviation"

"""The perception gap: score, class, and when there is none."""

from __future__ import annotations

import pytest

from vcp.gap import perception_gap


@pytest.mark.parametrize(
    ("scores", "status", "score", "gap_class"),
    [
        ([1.0], "success", 0.0, "aligned"),
        ([0.81], "success", 0.19, "aligned"),
        ([0.8], "success", 0.2, "minor_deviation"),
        ([0.6, 0.62], "success", 0.39, "minor_deviation"),
        ([0.6], "success", 0.4, "major_deviation"),
        ([0.41], "success", 0.59, "major_deviation"),
        ([0.4], "success", 0.4 + 0.2, "contradictory"),
        ([0.0, 0.0, 0.1], "success", 0.9667, "contradictory"),
        ([0.5], "failure", 0.5, "major_deviation"),
        ([0.6], "timeout", 0.6, "contradictory"),
        ([1.0], "error", 1.0, "contradictory"),
        ([1.0], "partial", 0.5, "major_deviation"),
        ([0.4, 0.6], "partial", 0.0, "aligned"),
    ],
)
def test_the_gap_is_classed_by_its_rounded_score(scores, status, score, gap_class):
    assert perception_gap(scores, status) == {
        "gap_score": pytest.approx(score, abs=1e-9),
        "gap_class": gap_class,
    }


def test_the_score_has_four_decimals():
    gap = perception_gap([0.8], "success")
    assert gap is not None
    assert gap["gap_score"] == 0.2


@pytest.mark.parametrize(("scores", "status"), [([], "success"), ([0.5], "unknown")])
def test_there_is_no_gap_when_one_side_is_missing(scores, status):
    assert perception_gap(scores, status) is None

"""When a share is clearly above its usual, or a count below it, by counts alone. Pure: no clock, no database.

Both shares are estimates, so what is compared is the least the one may be in truth with the most the other may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, sqrt
from typing import Any

# Bounds at four standard deviations: at three, 4 failures of 20 calls where 3 % are usual would be raised, which chance
# alone brings about once in 400 windows, and there are 24 of them a day.
DEVIATIONS = 4.0
# Twice nearly nothing is still nearly nothing: a share rises by so much before anybody is told.
LEAST_RISE = 0.1


class Verdict(StrEnum):
    """`between`: too much to call it over, too little to raise it. `unsure`: too few to tell."""

    RAISED = "raised"
    BETWEEN = "between"
    CALM = "calm"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Reading:
    """One metric at one moment: the verdict, the sentence with its numbers, and the numbers themselves."""

    verdict: Verdict
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """0 to 1; 0 of none."""
        return self.count / self.total if self.total else 0.0

    @property
    def lower(self) -> float:
        """The least it may be in truth (Wilson's bound)."""
        return max(0.0, self._centre - self._margin)

    @property
    def upper(self) -> float:
        """The most it may be in truth: 1 where nothing was counted, so nothing is above an unknown usual."""
        return min(1.0, self._centre + self._margin) if self.total else 1.0

    @property
    def _centre(self) -> float:
        return (self.count + DEVIATIONS**2 / 2) / (self.total + DEVIATIONS**2)

    @property
    def _margin(self) -> float:
        spread = self.value * (1 - self.value) * self.total + DEVIATIONS**2 / 4
        return DEVIATIONS * sqrt(spread) / (self.total + DEVIATIONS**2)


def raised_at(usual: float, factor: float) -> float:
    """The share from which on it is raised: `factor` times the usual, or the rest shrunk to its `factor`th part where
    that comes first, and at least LEAST_RISE above the usual."""
    return max(min(factor * usual, 1 - (1 - usual) / factor), usual + LEAST_RISE)


def judge(window: Share, usual: Share, *, min_sample: int, factor: float) -> Verdict:
    """Raised where the window's share is clearly above the usual; calm below half the way from there to the usual."""
    if window.total < max(min_sample, 1):
        return Verdict.UNSURE
    limit = raised_at(usual.value, factor)
    if window.value >= limit and window.lower > usual.upper:
        return Verdict.RAISED
    return Verdict.CALM if window.value < (usual.value + limit) / 2 else Verdict.BETWEEN


def judge_low(count: float, usual: float, *, min_sample: int, factor: float) -> Verdict:
    """Raised where a count is below the usual by `factor`, and by more than chance; calm above half of the usual."""
    if usual < max(min_sample, 1):
        return Verdict.UNSURE
    if count * factor <= usual and count < usual - DEVIATIONS * sqrt(usual):
        return Verdict.RAISED
    return Verdict.CALM if count > usual / 2 else Verdict.BETWEEN


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that is not below `part` of them. Raises ValueError where there are none."""
    if not values:
        raise ValueError("no values, no quantile")
    return sorted(values)[max(0, ceil(part * len(values)) - 1)]

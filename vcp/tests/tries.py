"""How many examples the property tests draw: always the same ones, few in the suite, more with PROOF=20 for a proof."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_TIMES = int(os.environ.get("PROOF", "1"))


def tries(count: int) -> settings:
    """Settings for so many examples; no deadline, for machines are of any speed."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=count * _TIMES,
        suppress_health_check=list(HealthCheck),
    )

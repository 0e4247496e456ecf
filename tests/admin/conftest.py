"""Fixtures of the tests of the admin."""

from typing import Any

import pytest

from tests.calls import EVENTS, TRANSFER, sample


@pytest.fixture
def calls(deliver: Any, drain: Any) -> None:
    """One whole call, one delivery that failed, one that waits, one ready-made message."""
    for name in EVENTS:
        assert deliver(sample(name)).status_code == 200
    deliver({"event": "call_ended"})
    deliver(sample(TRANSFER, call_id="call_waiting"))
    deliver(sample("message", provider="vcp"), provider="vcp")
    drain()

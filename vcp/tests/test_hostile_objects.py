"""Values that only a program can hand in, never a JSON text: they give findings and documented errors too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import vcp
from vcp import scalars
from vcp.tests.samples import NOW, changed, full, vector

_EXTRA = "vcp_payload.custom.experimental"


def _rules(message: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(error.field_path, error.context["rule"]) for error in vcp.validate(message, now=NOW).errors]


@pytest.mark.parametrize(
    ("place", "value", "at"),
    [
        ("vcp_payload.call.parent_session_id", "\ud800", "call.parent_session_id"),
        ("vcp_payload.outcomes.perceived", ["\ud800"], "outcomes.perceived[0]"),
        ("vcp_payload.call.capabilities_invoked", ["\ud800"], "call.capabilities_invoked[0]"),
        ("vcp_payload.artifacts.debug_artifacts", {"log": "\ud800"}, "artifacts.debug_artifacts.log"),
        (
            "vcp_payload.artifacts.debug_artifacts",
            {"\ud800": "log"},
            "artifacts.debug_artifacts['\\ufffd\\ufffd\\ufffd']",
        ),
    ],
)
def test_half_a_surrogate_pair_is_found_in_every_text(place, value, at):
    assert (f"$.vcp_payload.{at}", "S2") in _rules(changed(full(), place, value))


@pytest.mark.parametrize("key", [10**5000, None, (1, 2)], ids=["huge", "null", "tuple"])
@pytest.mark.parametrize("place", ["vcp_payload.call", "vcp_payload.model_selection.roles", _EXTRA])
def test_a_key_that_is_no_text_is_an_error(place, key):
    assert _rules(changed(vector(), place, {key: 1}))


def _twice_in_itself() -> dict[str, Any]:
    holder: dict[str, Any] = {}
    holder["one"] = holder["other"] = holder
    return holder


def _shared(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"one": value, "other": value}
    return value


@pytest.mark.parametrize("value", [_twice_in_itself(), _shared(60)], ids=["in itself", "shared"])
def test_objects_with_values_without_end_are_one_error(monkeypatch, value):
    monkeypatch.setattr(scalars, "MAX_VALUES", 2**10)
    assert _rules(changed(vector(), _EXTRA, value)) == [("$.vcp_payload.custom.experimental", "S2")]


def test_values_are_counted_over_all_levels(monkeypatch):
    monkeypatch.setattr(scalars, "MAX_VALUES", 9)
    assert not _rules(changed(vector(), _EXTRA, {"list": [1, 2, 3, {"four": 4}]}))
    assert _rules(changed(vector(), _EXTRA, {"list": [1, 2, 3, [4, 5, 6, 7, 8, 9]]}))


def test_more_problems_than_anyone_can_read_are_one_finding():
    nan = float("nan")
    assert len(_rules(changed(vector(), _EXTRA, {"list": [nan] * 10_000}))) == 10_000
    assert _rules(changed(vector(), _EXTRA, {"list": [nan] * 10_001})) == [("$.vcp_payload.custom.experimental", "S2")]


@pytest.mark.parametrize("value", [None, 1, [], "text"])
def test_the_checksum_of_what_is_no_object_is_refused(value):
    with pytest.raises(vcp.SchemaError):
        vcp.checksum(value)


@pytest.mark.parametrize(
    ("place", "value"),
    [("vcp_payload.call.call_id", b"c1"), ("vcp_payload.call.start_time", datetime(2025, 10, 14, 12, tzinfo=UTC))],
)
def test_a_migrated_message_holds_json_alone(place, value):
    with pytest.raises(vcp.MigrationError, match="none of JSON"):
        vcp.migrate(changed(vector(), place, value))

"""The canonical form and its sum: the published vector, and equality of equal content."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcp.checksum import canonical_json, checksum, jcs
from vcp.errors import SchemaError
from vcp.models import VCPMessage
from vcp.tests.samples import changed, full, vector, without
from vcp.tests.tries import tries

# The same examples on every run.
fixed = tries(40)
VECTOR_SUM = "02634fc224ea0a1c1d468bd0137280f4370774e8a5234aee2e6b56059ac5ca02"
VECTOR_TEXT = (
    '{"audit":{"received_at":"2025-10-14T12:00:00Z","schema_version":"0.5"},"vcp_payload":{"artifacts":{},'
    '"call":{"call_id":"c1","capabilities_invoked":[],"from":"+12137771234","provider":"retell","session_id":'
    '"s1","start_time":"2025-10-14T12:00:00Z"},"custom":{"provider_specific":{}},"hcr":{"audience":"system",'
    '"headline":"h","impact_metrics":{},"key_points":[],"outcome_status":"unknown"},"model_selection":'
    '{"policy_id":"retell_default","resolved_at":"2025-10-14T12:00:00Z","roles":{}},"outcomes":'
    '{"model_outcome_attribution":{"kpis":{"note":"café","ratio":195},"roles":{}},"objective":{"metrics":{},'
    '"scored_criteria":[],"status":"unknown"},"perceived":[],"perception_gap":{"gap_class":"aligned",'
    '"gap_score":0}},"provenance":{"created_at":"2025-10-14T12:00:00.5Z","source_system":"t",'
    '"transformation_history":[]}},"vcp_version":"0.5"}'
)


def test_it_meets_the_published_vector():
    assert canonical_json(vector()).decode() == VECTOR_TEXT
    assert len(canonical_json(vector())) == 833
    assert checksum(vector()) == VECTOR_SUM


def test_a_message_and_its_dict_have_one_sum():
    assert checksum(VCPMessage.from_dict(full())) == checksum(full())


def _reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed_keys(value[key]) for key in reversed(value)}
    return [_reversed_keys(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "same",
    [
        VCPMessage.from_dict(full()).to_dict(),
        json.loads(VCPMessage.from_dict(full()).to_json()),
        _reversed_keys(full()),
        changed(full(), "vcp_payload.call.start_time", "2025-10-14T14:00:00+02:00"),
        changed(full(), "vcp_payload.call.start_time", 1760443200),
        changed(full(), "vcp_payload.call.duration_sec", 195.0),
        changed(full(), "vcp_payload.outcomes.objective.metrics.aht_sec", 195.0),
        changed(full(), "audit.checksum", "anything"),
        changed(full(), "audit.checksum", None),
        changed(without(full(), "vcp_payload.call.from"), "vcp_payload.call.from_", "+12137771234"),
    ],
)
def test_equal_content_has_an_equal_sum(same):
    assert checksum(same) == checksum(full())


@pytest.mark.parametrize(
    "path",
    ["not_known", "vcp_payload.call.agent_id", "vcp_payload.custom.experimental.x", "vcp_payload.call.to"],
)
def test_any_change_shows_in_unknown_fields_too(path):
    assert checksum(changed(full(), path, "changed")) != checksum(full())


def test_a_null_in_an_unknown_field_counts():
    assert checksum(changed(full(), "not_known", None)) != checksum(full())


def test_it_refuses_a_dict_that_is_no_message():
    with pytest.raises(SchemaError):
        checksum({})


@pytest.mark.parametrize(
    ("number", "text"),
    [
        # RFC 8785, appendix B, and the edges of ECMAScript's ranges.
        (0, "0"),
        (-0.0, "0"),
        (195.0, "195"),
        (-195.5, "-195.5"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-9007199254740992, "-9007199254740992"),
        (9007199254740993, "9007199254740992"),
        (295147905179352830000, "295147905179352830000"),
        (1e21, "1e+21"),
        (10**21, "1e+21"),
        (999999999999999900000.0, "999999999999999900000"),
        (1.2e23, "1.2e+23"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e16, "10000000000000000"),
        (2251799813685248.5, "2251799813685248.5"),
        (0.0001, "0.0001"),
        (0.00002, "0.00002"),
        (0.000001, "0.000001"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (333333333.33333329, "333333333.3333333"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(number, text):
    assert jcs(number).decode() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, [2.0], {}], "[1,[2],{}]"),
        ({"b": 1, "a": 2, "A": 3}, '{"A":3,"a":2,"b":1}'),
        # By UTF-16 code unit the emoji (D83D) sorts before U+FB33, by code point after it.
        ({"\ufb33": 1, "😀": 2, "é": 3, "\r": 4}, '{"\\r":4,"é":3,"😀":2,"\ufb33":1}'),
        ('"\\\b\f\n\r\t\u0001\u007f\u2028€', '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\u007f\u2028€"'),
        (datetime(2025, 10, 14, 12, 0, 0, 500000, tzinfo=UTC), '"2025-10-14T12:00:00.5Z"'),
        (datetime(2025, 10, 14, 12, 0, 10, tzinfo=UTC), '"2025-10-14T12:00:10Z"'),
    ],
)
def test_values_are_written_by_rfc_8785(value, text):
    assert jcs(value).decode() == text


def test_a_subclass_is_written_like_the_type_it_extends():
    class Marked(str):
        __slots__ = ()

    class MarkedTwice(Marked):
        __slots__ = ()

    assert jcs([Marked("a"), MarkedTwice("b")]) == b'["a","b"]'


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (math.nan, ValueError),
        (-math.inf, ValueError),
        ("\ud800", ValueError),
        ({"\ud800": 1}, ValueError),
        (10**400, OverflowError),
        ({1: 2}, TypeError),
        ({"a": {1, 2}}, TypeError),
        (b"bytes", TypeError),
    ],
    ids=ascii,
)
def test_it_refuses_what_json_does_not_have(value, error):
    with pytest.raises(error):
        jcs(value)


@fixed
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_reads_back_as_itself(number):
    assert float(json.loads(jcs(number))) == number


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@fixed
@given(json_values)
def test_canonical_text_says_what_the_value_says(value):
    assert json.loads(jcs(value)) == value

"""The quick ways say what the slow ones say: values already normal, values that are JSON, canonical text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcp.checksum import _WRITERS, jcs
from vcp.models import ModelRole, field_shape
from vcp.normal import normal_test
from vcp.scalars import MAX_DEPTH, AnyText, Count, Score, Text, Timestamp, is_plain_json, json_problems
from vcp.tests.tries import tries

# The same examples on every run.
fixed = tries(100)
ODD = st.sampled_from(
    [
        *(True, 1, 1.0, -0.0, 0.5, 2**53, 2**53 + 1, -(2**70), 10**400, 1e300, 1e-5, 1e-4, 123456.5),
        *(float("nan"), float("inf"), "", " ", "\x1f", "\u2028", "é", "\U0001f600", "\ud800", "LLM", "success"),
        *(b"x", (1,), {1: 2}, {"\ud800": 1}, {"\uffff": 1, "\U0001f600": 2, "b": 3}, None),
        datetime(2026, 1, 2, 3, tzinfo=UTC),
    ]
)
VALUES = st.recursive(
    ODD | st.text(max_size=3) | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=3),
    max_leaves=8,
)
PATHS = [
    "call.call_id", "call.from", "call.direction", "call.duration_sec", "call.start_time", "call.capabilities_invoked",
    "model_selection.roles", "model_selection.roles.LLM", "model_selection.roles.LLM.fallback_used",
    "outcomes.perceived", "outcomes.objective.metrics", "outcomes.objective.metrics.any",
    "outcomes.user_satisfaction_score",
    "outcomes.model_outcome_attribution.total_cost_usd", "outcomes.business_impact.revenue_attributed_usd",
    "custom.provider_specific.some.data", "custom.provider_specific.some.data.any",
]  # fmt: skip


@fixed
@given(VALUES, st.sampled_from(PATHS))
def test_a_value_found_normal_is_what_pydantic_makes_of_it(value, path):
    place = field_shape(path)
    if place.is_normal(value):
        made = place.adapter.dump_python(place.adapter.validate_python(value), mode="json")
        assert json.dumps(made, sort_keys=True) == json.dumps(value, sort_keys=True)
        assert type(made) is type(value)


@pytest.mark.parametrize(
    ("hint", "value", "normal"),
    [
        (AnyText, "", True),
        (AnyText, "\ud800", False),
        (Text, "é", True),
        (Text, " \n", False),
        (Text, 5, False),
        (bool, False, True),
        (bool, 0, False),
        (Score, 1.0, True),
        (Score, 1, False),  # pydantic makes a float of it
        (Score, 1.1, False),
        (Score, float("nan"), False),
        (Count, 0, True),
        (Count, True, False),
        (Count, -1, False),
        (list[AnyText], ["a", "b"], True),
        (list[AnyText], ["a", 1], False),
        (ModelRole, get_args(ModelRole)[0], True),
        (ModelRole, "llm", False),
        (Timestamp, "2026-01-01T00:00:00.000Z", False),  # no quick test: pydantic decides
    ],
)
def test_what_is_found_normal(hint, value, normal):
    assert normal_test(hint)(value) is normal


@fixed
@given(VALUES)
def test_a_value_found_plain_has_no_problem(value):
    # Never the other way round: what is not plain may be JSON all the same, and is looked at closely.
    assert not (is_plain_json(value) and json_problems(value))


def nested(depth, inmost=1):
    return [nested(depth - 1, inmost)] if depth else inmost


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": [1, 0.5, True, None, "é"]}, True),
        (nested(MAX_DEPTH), True),
        (nested(MAX_DEPTH + 1), False),
        (nested(MAX_DEPTH, []), True),
        (nested(MAX_DEPTH, {"a": 1}), False),
        (10**400, False),
        ({1: 2}, False),
        (datetime(2026, 1, 1, tzinfo=UTC), False),
    ],
)
def test_what_is_found_plain(value, plain):
    assert is_plain_json(value) is plain
    assert (json_problems(value) == []) is plain


def canonical(write, value):
    try:
        return write(value)
    except (TypeError, ValueError, OverflowError) as error:
        return type(error)


@fixed
@given(VALUES)
def test_canonical_text_is_the_same_by_either_way(value):
    assert canonical(jcs, value) == canonical(lambda value: _WRITERS[type(value)](value).encode(), value)


def test_a_value_is_as_it_was_after_it_was_written():
    value = {"a": [1.0, {"b": 2.0}]}
    assert jcs(value) == b'{"a":[1,{"b":2}]}'
    assert json.dumps(value) == '{"a": [1.0, {"b": 2.0}]}'

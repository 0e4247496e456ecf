"""Conditions and ordered tables of them."""

import pytest
from pydantic import ValidationError

from apps.providers.engine.conditions import Condition, Decision, holds
from apps.providers.engine.paths import MISSING

REASONS = Decision.model_validate(
    {
        "target": "outcomes.objective.status",
        "vocabulary": "reason",
        "default": "unknown",
        "rows": [
            {"when": {"reason": {"in": ["hangup"]}, "won": False}, "value": "failure"},
            {"when": {"reason": {"in": ["hangup"]}}, "value": "success"},
            {"when": {"reason": {"glob": "error_*"}}, "value": "error"},
            {"when": {"state": "broken"}, "value": "error"},
        ],
    }
)


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("yes", "yes", True),
        ("yes", " YES ", True),
        ("yes", "yes!", False),
        ("yes", None, False),
        ({"equals": "yes"}, "yes", True),
        (True, True, True),
        (True, "True", True),
        (True, 1, False),
        (False, 0, False),
        (False, "false", True),
        (False, None, False),
        (False, MISSING, False),
        (1, 1, True),
        (1, True, False),
        (0, 0, True),
        (1.5, 1.5, True),
        ({"in": ["a", "b"]}, "B", True),
        ({"in": ["a", "b"]}, "c", False),
        ({"in": [1, "b"]}, 1, True),
        ({"in": ["a"]}, ["a"], False),
        ({"glob": "error_*"}, "ERROR_x", True),
        ({"glob": "error_*"}, "an error_x", False),
        ({"glob": ["a*", "b?"]}, "bc", True),
        ({"glob": "1*"}, 12, False),
        ({"in": ["x"], "glob": "error_*"}, "x", True),
        ({"not_in": ["a", "b"]}, "c", True),
        ({"not_in": ["a", "b"]}, " B ", False),
        ({"not_in": ["a", "b"]}, 5, True),
        ({"not_in": ["a", "b"]}, None, False),
        ({"contains": "mail"}, "VoiceMail box", True),
        ({"contains": "a"}, ["a", "b"], True),
        ({"contains": "a"}, {"a": 1}, True),
        ({"contains": "a"}, 5, False),
        ({"contains": "a"}, None, False),
        ({"shape": "object"}, {"a": 1}, True),
        ({"shape": "object"}, ["a"], False),
        ({"shape": "list"}, ["a"], True),
        ({"shape": "text"}, "a", True),
        ({"shape": "text"}, 1, False),
        ({"shape": "object"}, MISSING, False),
        ({"present": True}, 0, True),
        ({"present": True}, "", False),
        ({"present": False}, {}, True),
        ({"present": False}, "x", False),
        ({"present": True, "glob": "a*"}, "b", False),
        ({"equals": "ab", "contains": "c"}, "ab", False),
    ],
)
def test_a_condition_holds_or_not(condition, value, expected):
    assert Condition.model_validate(condition).holds(value) is expected


@pytest.mark.parametrize("condition", [{}, {"in": []}, {"like": "x"}, None, {"equals": None}])
def test_a_condition_that_asks_nothing_is_refused(condition):
    with pytest.raises(ValidationError):
        Condition.model_validate(condition)


def test_all_conditions_must_hold_together():
    when = {"a": Condition.model_validate("x"), "b.c": Condition.model_validate({"present": True})}
    assert holds(when, {"a": "x", "b": {"c": 1}})
    assert not holds(when, {"a": "x", "b": {}})
    assert not holds(when, None)
    assert holds({}, None)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"reason": "hangup", "won": False}, ("failure", True)),
        ({"reason": "hangup", "won": True}, ("success", True)),
        ({"reason": "hangup"}, ("success", True)),
        ({"reason": "error_new"}, ("error", True)),
        ({"reason": "odd", "state": "broken"}, ("error", True)),
        ({"reason": "odd"}, ("unknown", False)),
        ({}, ("unknown", False)),
    ],
)
def test_the_first_row_that_holds_decides(call, expected):
    assert REASONS.decide(lambda path: call.get(path, MISSING)) == expected


@pytest.mark.parametrize(
    ("call", "word"),
    [({"reason": "odd"}, "odd"), ({"reason": "odd", "state": "broken"}, "odd"), ({"reason": "Hangup"}, None),
     ({"reason": "error_new"}, None), ({"reason": " "}, None), ({"reason": 5}, None), ({}, None)],
)  # fmt: skip
def test_a_word_that_no_row_names_is_reported(call, word):
    assert REASONS.unseen_word(lambda path: call.get(path, MISSING)) == word


def test_a_table_without_a_vocabulary_reports_no_words():
    table = REASONS.model_copy(update={"vocabulary": None})
    assert table.unseen_word(lambda path: "odd") is None


def test_a_table_names_the_paths_it_reads():
    assert REASONS.paths() == {"reason", "won", "state"}

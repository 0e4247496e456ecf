"""What differs between two mappings: rows that are new, gone, different or in another order, each found again."""

import pytest

from apps.providers import catalog
from apps.providers.comparing import changed_fields, differences
from apps.providers.engine.spec import MappingSpec


def rule(source, target, **more):
    return {"source": source, "target": target, **more}


def event(name, **more):
    return {"name": name, "kind": "call_ended", "disposition": "map", **more}


def decision(rows, **more):
    return {"target": "outcomes.objective.status", "rows": rows, **more}


def told(before, after):
    """(part, kind, name, the fields that changed) of every change."""
    parts = differences(MappingSpec.model_validate(before), MappingSpec.model_validate(after))
    return [
        (part.title, change.kind, change.name, [field.name for field in change.fields if field.changed])
        for part in parts
        for change in part.changes
    ]


A, B = rule("a", "call.to"), rule("b", "call.from")
WON = {"when": {"end": "won"}, "value": "success"}
LOST = {"when": {"end": "lost"}, "value": "failure"}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"rules": [A, B]}, {"rules": [A, B]}, []),
        ({"rules": [A]}, {"rules": [A, B]}, [("rules", "added", "b → call.from", ["source", "target"])]),
        ({"rules": [A, B]}, {"rules": [B]}, [("rules", "removed", "a → call.to", ["source", "target"])]),
        # Of different targets, the order means nothing.
        ({"rules": [A, B]}, {"rules": [B, A]}, []),
        (
            {"rules": [A]},
            {"rules": [A | {"transform": "phone"}]},
            [("rules", "changed", "a → call.to", ["transform"])],
        ),
        ({"rules": [A]}, {"rules": [A | {"source": "c"}]}, [("rules", "changed", "c → call.to", ["source"])]),
        (
            {"rules": [A, rule("z", "call.to")]},
            {"rules": [rule("z", "call.to"), A]},
            [("rules", "moved", "z → call.to", [])],
        ),
        # The rule that stayed the same is not taken for the one that was put before it.
        (
            {"rules": [A]},
            {"rules": [rule("z", "call.to"), A]},
            [("rules", "added", "z → call.to", ["source", "target"])],
        ),
        (
            {"events": [event("end")]},
            {"events": [event("end", rank=3), event("new")]},
            [("events", "changed", "end", ["rank"]), ("events", "added", "new", ["name", "kind", "disposition"])],
        ),
        (
            {"events": [event("a*"), event("*b")]},
            {"events": [event("*b"), event("a*")]},
            [("events", "moved", "*b", [])],
        ),
        (
            {"decisions": [decision([WON, LOST])]},
            {"decisions": [decision([LOST, WON], default="unknown")]},
            [
                ("decisions", "changed", "outcomes.objective.status", ["default"]),
                ("rows of decisions", "moved", "outcomes.objective.status", []),
            ],
        ),
        (
            {"decisions": [decision([WON])]},
            {"decisions": [decision([WON | {"value": "failure"}])]},
            [("rows of decisions", "changed", "outcomes.objective.status", ["value"])],
        ),
        (
            {"redact": [{"paths": ["a", "b"]}]},
            {"redact": [{"paths": ["b"]}, {"paths": ["c"], "why": "secret"}]},
            [("redactions", "added", "c", ["path", "why"]), ("redactions", "removed", "a", ["path"])],
        ),
        (
            {"read": {"event": "type"}},
            {"read": {"event": "kind"}, "end_from_duration": True, "leftovers": {"drop": ["x"]}},
            [
                ("reading", "changed", "read.event", ["value"]),
                ("reading", "added", "leftovers.drop", ["name", "value"]),
                ("reading", "added", "end_from_duration", ["name", "value"]),
            ],
        ),
    ],
)  # fmt: skip
def test_a_difference_is_told_once_and_by_its_kind(before, after, changes):
    assert sorted(told(before, after)) == sorted(changes)


@pytest.mark.parametrize("slug", catalog.slugs())
def test_a_mapping_does_not_differ_from_itself_and_wholly_from_none(slug):
    mapping = catalog.load(slug).mapping
    assert differences(mapping, mapping) == []
    parts = differences(MappingSpec(), mapping)
    assert {change.kind for part in parts for change in part.changes} == {"added"}
    count = {part.title: len(part.changes) for part in parts}
    assert (count["events"], count.get("rules", 0)) == (len(mapping.events), len(mapping.rules))
    back = differences(mapping, MappingSpec())
    assert {change.kind for part in back for change in part.changes} == {"removed"}


def test_rows_that_are_the_same_are_counted():
    before = MappingSpec.model_validate({"rules": [A, B]})
    after = MappingSpec.model_validate({"rules": [A, B | {"keep": True}]})
    assert [(part.title, part.same) for part in differences(before, after)] == [("rules", 1)]


def test_of_two_flat_rows_only_what_differs_is_told():
    fields = changed_fields({"a": 1, "b": 2}, {"b": 3, "c": None})
    assert [(field.name, field.before, field.after) for field in fields] == [("a", 1, None), ("b", 2, 3)]

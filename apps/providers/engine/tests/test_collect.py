"""Collections: what a payload adds, and that the union of all events is the same in any order and repetition."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from apps.providers.engine.collect import MAX_KEY, Collection, call_document
from apps.providers.engine.spec import CollectionSpec, MappingSpec
from apps.providers.engine.tests import specs


def collection(**parts):
    return Collection(CollectionSpec.model_validate({"name": "lines", "source": "lines", **parts}))


def collected(payload, **parts):
    return list(items_of(collection(**parts), payload).values())


def items_of(made, payload):
    return made.collect(made.read_items(payload), [])


def united(*parts, **spec):
    made = collection(**spec)
    return made.unite([items_of(made, payload) for payload in parts])


SECONDS = {"path": "at", "transform": "epoch", "args": {"unit": "s"}}
WORD = {"path": "w", "transform": "words", "args": {"exact": {"old": 1}, "default": 9}}


@pytest.mark.parametrize(
    ("payload", "parts", "items"),
    [
        ({"lines": [{"a": 1}, {"a": 2}]}, {}, [{"a": 1}, {"a": 2}]),
        ({"lines": {"a": 1}}, {}, [{"a": 1}]),
        ({"lines": ["x", "x", "y"]}, {}, ["x", "y"]),
        ({"lines": [None, "", {}, []]}, {}, []),
        ({"lines": None}, {}, []),
        ({}, {}, []),
        ([], {}, []),
        ({"lines": [{"a": 1}, {"a": 2}]}, {"where": {"a": 2}}, [{"a": 2}]),
        ({"lines": ["x"]}, {"where": {"a": 2}}, []),
        ({"kind": "x"}, {"source": "$", "where": {"kind": "x"}}, [{"kind": "x"}]),
        ({"lines": [{"a": 1, "b": {"c": 2}}]}, {"fields": {"d": "b.c"}}, [{"d": 2}]),
        ({"lines": [{"b": 2}, {"a": None, "b": 3}]}, {"fields": {"d": ["a", "b"]}}, [{"d": 2}, {"d": 3}]),
        ({"lines": [{"c": 2}]}, {"fields": {"d": "a"}}, []),
        ({"lines": [{"at": 1773677101}]}, {"fields": {"at": SECONDS}}, [{"at": "2026-03-16T16:05:01.000Z"}]),
        ({"lines": [{"w": "new"}]}, {"fields": {"w": WORD}}, [{"w": 9}]),
    ],
)  # fmt: skip
def test_what_a_payload_adds(payload, parts, items):
    assert collected(payload, **parts) == items


def test_a_field_that_cannot_be_read_is_left_out_with_a_warning():
    warnings = []
    made = collection(fields={"at": {"path": "at", "transform": "iso_time"}, "b": "b"})
    items = made.read_items({"lines": [{"at": "soon", "b": 1}]})
    assert list(made.collect(items, warnings).values()) == [{"b": 1}]
    assert warnings == ["collection lines, at: expected an ISO 8601 time, got str"]


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ({"id": "x"}, "x"),
        ({"id": 7}, "7"),
        ({"id": None, "other": "y"}, "y"),
        ({"id": "x" * MAX_KEY}, "x" * MAX_KEY),
    ],
)
def test_the_first_path_that_tells_is_the_key(item, key):
    assert list(items_of(collection(key=["id", "other"]), {"lines": [item]})) == [key]


@pytest.mark.parametrize("item", [{"a": 1}, {"id": {"a": 1}}, {"id": "x" * (MAX_KEY + 1)}])
def test_without_a_usable_id_the_key_is_a_hash(item):
    [key] = items_of(collection(key="id"), {"lines": [item]})
    assert len(key) == 64
    assert [*items_of(collection(key="id"), {"lines": [item]})] == [key]


@pytest.mark.parametrize(
    ("values", "ordered"),
    [
        ([10, 9, 2.5], [2.5, 9, 10]),
        (["2026-01-01T10:00:00Z", "2026-01-01T09:00:00.5Z", "2026-01-01T10:30:00+02:00"],
         ["2026-01-01T10:30:00+02:00", "2026-01-01T09:00:00.5Z", "2026-01-01T10:00:00Z"]),
        (["2026-01-01T10:00:00", "2026-01-01T09:59:59Z"], ["2026-01-01T09:59:59Z", "2026-01-01T10:00:00"]),
        (["later", "2026-01-01T10:00:00Z", 5], [5, "2026-01-01T10:00:00Z", "later"]),
        (["b", {"x": 1}, "a"], ["a", "b", {"x": 1}]),
    ],
)  # fmt: skip
def test_items_stand_in_their_order_whichever_came_first(values, ordered):
    lines = [{"at": value, "n": number} for number, value in enumerate(values)]
    for seed in range(5):
        random.Random(seed).shuffle(lines)  # noqa: S311 - no secret
        assert [item["at"] for item in united(*({"lines": [line]} for line in lines), order_by="at")] == ordered


def test_of_one_key_the_first_in_order_counts_and_of_equal_places_the_lesser_text():
    early, late = {"id": "x", "at": 1, "said": "b"}, {"id": "x", "at": 2, "said": "a"}
    twin = {"id": "x", "at": 1, "said": "a"}
    for order in ([early, late], [late, early]):
        assert united(*({"lines": [line]} for line in order), key="id", order_by="at") == [early]
        assert united({"lines": order}, key="id", order_by="at") == [early]
    for order in ([early, late, twin], [twin, late, early]):
        assert united(*({"lines": [line]} for line in order), key="id", order_by="at") == [twin]


LINES = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 5), "at": st.integers(0, 3), "said": st.sampled_from("ab")})
)


@given(LINES, st.randoms(use_true_random=False))
def test_any_split_order_and_repetition_of_the_lines_is_the_same_list(lines, chance):
    whole = united({"lines": lines}, key="id", order_by="at")
    batches = []
    for line in [*lines, *(chance.choices(lines, k=3) if lines else [])]:
        if not batches or chance.random() < 0.4:
            batches.append([])
        batches[chance.randrange(len(batches))].append(line)
    chance.shuffle(batches)
    assert united(*({"lines": batch} for batch in batches), key="id", order_by="at") == whole


def test_the_call_document_has_every_collection_also_those_without_items():
    made = [collection(), collection(name="others", source="others")]
    parts = [{"lines": {"k": 1}}, {}, {"lines": {"l": 2}}]
    assert call_document(made, parts) == {"collected": {"lines": [1, 2], "others": []}}


# --- in a mapping and its fold --------------------------------------------------------------------------------

GROWING = [{"name": "lines", "source": "lines", "key": "id", "order_by": "at"}]
FIRST = {"source": "collected.lines[*].word", "target": "hcr.summary", "transform": "first"}


def begin(*lines, **fields):
    return {"type": "begin", "id": "c1", "at": specs.START_MS, "lines": list(lines), **fields}


def line(number, **fields):
    return {"id": str(number), "at": number, **fields}


def test_a_rule_below_collected_reads_the_lines_of_all_events():
    made = specs.mapping(FIRST, collections=GROWING)
    events = [begin(line(2, word="b")), begin(line(1, word="a"))]
    for order in (events, events[::-1]):
        assert specs.message(made, *order)["hcr"]["summary"] == "a"


def test_a_fragment_keeps_what_was_collected_and_nothing_where_nothing_was():
    made = specs.mapping(FIRST, collections=GROWING)
    assert specs.event(made, begin(line(1))).fragment.collected == {"lines": {"1": line(1)}}
    assert "collected" not in made.apply(begin())[1].to_json()


@pytest.mark.parametrize(
    ("rule", "told", "summary"),
    [
        ({}, "of the event", "of the event"),
        ({}, None, "a"),
        ({"inferred": True}, None, "a"),
    ],
)
def test_what_an_event_told_itself_goes_before_what_was_collected(rule, told, summary):
    made = specs.mapping({"source": "said", "target": "hcr.summary"}, FIRST | rule, collections=GROWING)
    assert specs.message(made, begin(line(1, word="a"), said=told))["hcr"]["summary"] == summary


def test_what_was_collected_goes_before_what_was_only_inferred():
    rules = [{"source": "said", "target": "hcr.summary", "inferred": True}, FIRST]
    found = specs.message(specs.mapping(*rules, collections=GROWING), begin(line(1, word="a"), said="perhaps"))
    assert found["hcr"]["summary"] == "a"
    assert "inferred:hcr.summary" not in found["provenance"]["transformation_history"]


def test_conditions_of_such_a_rule_look_at_the_call():
    rule = FIRST | {"when": {"collected.lines[-1].last": True}}
    made = specs.mapping(rule, collections=GROWING)
    assert "summary" not in specs.message(made, begin(line(1, word="a")))["hcr"]
    assert specs.message(made, begin(line(1, word="a")), begin(line(2, last=True)))["hcr"]["summary"] == "a"


def test_a_decision_may_read_what_was_collected():
    decision = {"target": "outcomes.objective.status", "vocabulary": "collected.lines[-1].word",
                "rows": [{"when": {"collected.lines[-1].word": "bye"}, "value": "success"}]}  # fmt: skip
    made = specs.mapping(collections=GROWING, decisions=[decision])
    ended = specs.folded(made, begin(line(9, word="bye")), begin(line(1, word="hello")))
    assert ended.message["vcp_payload"]["outcomes"]["objective"]["status"] == "success"
    assert ended.unseen == []
    other = specs.folded(made, begin(line(1, word="hum")))
    assert other.unseen == [{"source": "collected.lines[-1].word", "word": "hum"}]


def test_what_cannot_be_read_of_the_call_is_told_and_words_not_known_are_noted():
    rules = [
        {"source": "collected.lines[*].word", "target": "call.duration_sec", "transform": "scale"},
        {"source": "collected.lines[0].word", "target": "call.direction", "transform": "words"},
    ]
    found = specs.folded(specs.mapping(*rules, collections=GROWING, times=False), begin(line(1, word="x")))
    assert [(failure["path"], failure["target"]) for failure in found.report.failed] == [
        ("$.collected.lines[*].word", "call.duration_sec")
    ]
    assert found.message["audit"]["validation_errors"] == ["$.collected.lines[*].word: expected a number, got list"]
    assert found.unseen == [{"source": "collected.lines[0].word", "word": "x"}]


def test_a_transcript_of_the_whole_call_is_handed_out_to_be_kept():
    made = specs.mapping({"source": "collected.lines", "target": "transcript"}, collections=GROWING)
    assert specs.folded(made, begin(line(2)), begin(line(1))).artifacts == {"transcript": [line(1), line(2)]}


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"rules": [FIRST]}, "names no collection; there are: none"),
        ({"rules": [FIRST | {"source": "collected.line"}], "collections": GROWING}, "there are: lines"),
        ({"rules": [FIRST | {"when": {"call.id": "x"}}], "collections": GROWING}, "'call.id' names no collection"),
        ({"rules": [FIRST | {"event": "end"}], "collections": GROWING}, "is read from the whole call"),
        ({"rules": [FIRST | {"required": True}], "collections": GROWING}, "is read from the whole call"),
        ({"rules": [FIRST | {"keep": True}], "collections": GROWING}, "is read from the whole call"),
        ({"collections": GROWING * 2}, "collections: 'lines' stands there twice"),
        ({"collections": [GROWING[0] | {"fields": {"a": {"path": "a", "transform": "no"}}}]}, "'no' does not exist"),
        ({"collections": [GROWING[0] | {"fields": {"a": {"path": "a", "transform": "scale", "args": {"x": 1}}}}]},
         "args of transform 'scale'"),
        ({"collections": [GROWING[0] | {"key": "a["}]}, "cannot be read"),
        ({"decisions": [{"target": "hcr.summary", "rows": [{"when": {"collected.x": "y"}, "value": "z"}]}]},
         "names no collection"),
    ],
)  # fmt: skip
def test_a_collection_that_cannot_be_meant_is_refused(parts, problem):
    with pytest.raises(ValidationError, match=problem.replace("[", r"\[")):
        MappingSpec.model_validate({"read": specs.READ, "events": specs.EVENTS, **parts})


def test_other_ids_of_a_call_are_those_that_are_not_its_own():
    made = specs.mapping(read=specs.READ | {"call_id": ["a", "b"], "also_known_as": ["b", "c"]})
    for payload, call_id, aliases in [
        ({"a": "1", "b": "2", "c": "3"}, "1", ("2", "3")),
        ({"b": "2"}, "2", ()),
        ({"a": "1", "b": "1", "c": 7}, "1", ("7",)),
        ({"c": "3"}, None, ()),
        ({"a": "1", "b": True, "c": {"x": 1}}, "1", ()),
    ]:
        identity = made.identify({"type": "begin", **payload})
        assert (identity.call_id, identity.aliases) == (call_id, aliases)

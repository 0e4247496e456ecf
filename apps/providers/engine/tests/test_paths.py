"""Paths: dotted and JSONPath reading, writing without overwriting, and what counts as saying nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine.errors import PathError
from apps.providers.engine.paths import (
    MISSING,
    compile_path,
    fill,
    first_key,
    put,
    says_nothing,
    to_jsonpath,
    without,
)
from apps.providers.engine.redact import REDACTED

PAYLOAD = {
    "call": {"id": "c1", "zero": 0, "no": False, "none": None, "blank": " \n", "void": [], "hidden": REDACTED},
    "words": [{"text": "a", "end": 1}, {"text": ""}, {"text": "c", "end": 3}, "no object"],
    "two words": {"a-b": 1},
    "grid": [[1, 2], [3]],
}
KEYS = st.sampled_from(["a", "b", "c"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
PATHS = ["a", "a.b", "a.b.c", "a[0]", "a[-1].b", "a[*]", "a[*].b[*].c", "[0]", "[*].a"]
JSONPATHS = [
    "$",
    "$.a",
    "$.a[*].b",
    "$..b",
    "$.a[?@.b == 'x'].c",
    "$.a[?@.b].c",
    "$['a']['b']",
    "$.a[0:2]",
    "$[?@.a > 1]",
]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("call.id", "c1"),
        ("call.zero", 0),
        ("call.no", False),
        ("call.none", MISSING),
        ("call.blank", MISSING),
        ("call.void", MISSING),
        ("call.hidden", MISSING),
        ("call.id.deeper", MISSING),
        ("call.absent.deeper", MISSING),
        ("words[0].text", "a"),
        ("words[1].text", MISSING),
        ("words[-2].end", 3),
        ("words[4]", MISSING),
        ("words[-5]", MISSING),
        ("words.text", MISSING),
        ("call[0]", MISSING),
        ("words[*].text", ["a", "c"]),
        ("words[*].absent", MISSING),
        ("call[*]", MISSING),
        ("grid[*][0]", [1, 3]),
        ("grid[*][*]", [[1, 2], [3]]),
        ("two words.a-b", 1),
        ("$.call.id", "c1"),
        ("$.call.zero", 0),
        ("$.call.none", MISSING),
        ("$.absent", MISSING),
        ("$.words[?@.end > 1].text", ["c"]),
        ("$.words[?@.text].end", [1, 3]),
        ("$['two words']['a-b']", 1),
        ("$..end", [1, 3]),
    ],
)
def test_a_path_reads_what_is_there_and_nothing_else(path, expected):
    found = compile_path(path)(PAYLOAD)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "path", ["", ".", ".a", "a..b", "a.", "a[", "a[]", "a[x]", "a]", "a[0", "$.", "$[", "$.a[?", "$.a[?@.b ==]"]
)
def test_a_path_that_cannot_be_read_is_refused_and_named(path):
    with pytest.raises(PathError) as raised:
        compile_path(path)
    assert raised.value.path == path


@given(JSON, st.sampled_from([*PATHS, *JSONPATHS]))
def test_no_payload_makes_a_path_raise(payload, path):
    found = compile_path(path)(payload)
    assert found is MISSING or not says_nothing(found)


@given(JSON, st.text(alphabet="ab.[]*-01$@? '", max_size=12))
def test_any_text_is_a_path_or_a_path_error(payload, path):
    try:
        get = compile_path(path)
    except PathError:
        return
    get(payload)


@pytest.mark.parametrize("value", [None, MISSING, "", " \t\n", [], {}, REDACTED])
def test_what_says_nothing(value):
    assert says_nothing(value)


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "null", [None], {"a": None}, -1])
def test_what_says_something(value):
    assert not says_nothing(value)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("a", ["a"]),
        ("a.b.c", ["a", "b", "c"]),
        ("a.b[0].c", ["a", "b"]),
        ("a[*].b", ["a"]),
        ("[0].a", []),
        ("$.a.b", ["a", "b"]),
        ("$.a[?@.x.y == 1].b", ["a"]),
        ("$.a[1:3].b", ["a"]),
        ("$.a.*.b", ["a"]),
        ("$..a", []),
        ("$['a'].b", []),
    ],
)
def test_the_leading_keys_of_a_path(path, keys):
    assert first_key(path) == keys


def test_a_dotted_path_is_written_as_jsonpath_in_errors():
    assert to_jsonpath("call.items[0]") == "$.call.items[0]"
    assert to_jsonpath("$.call") == "$.call"


def test_put_makes_the_objects_on_the_way():
    target = {}
    put(target, "a.b.c", 1)
    assert target == {"a": {"b": {"c": 1}}}


def test_the_first_value_at_a_place_stays():
    target = {"a": 1}
    put(target, "a", 2)
    put(target, "a.b", 3)
    assert target == {"a": 1}


def test_an_object_fills_what_another_left_open():
    target = {"a": {"x": 1}}
    put(target, "a", {"x": 2, "y": {"z": 3}})
    fill(target["a"], "y", {"z": 4, "w": 5})
    assert target == {"a": {"x": 1, "y": {"z": 3, "w": 5}}}


def test_filling_a_message_changes_no_fragment():
    told = {"x": {"y": 1}}
    target = {}
    put(target, "a", told)
    put(target, "a.x.z", 2)
    assert told == {"x": {"y": 1}}


def test_what_rules_used_is_left_out_and_so_are_objects_emptied_by_that():
    payload = {"a": {"b": 1, "c": {"d": 2}}, "e": 3, "empty": {}, "list": [1]}
    assert without(payload, [("a", "c", "d"), ("e",), ("list", "x"), ("absent",)]) == {
        "a": {"b": 1},
        "empty": {},
        "list": [1],
    }
    assert payload["a"]["c"] == {"d": 2}

"""Transforms for a conversation told in pieces."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine.conversation import in_sequence
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING
from apps.providers.engine.transforms import build

TURNS = {
    "item": ["item.id", "item_id"], "previous": "previous", "speaker": ["item.role", "type"],
    "speakers": {"user": "caller", "assistant": "agent", "spoke": "agent"}, "parts": "item.content",
    "texts": ["transcript", "text"], "spoken": "transcript", "place": "place", "at": "at", "heard_ms": "heard_ms",
}  # fmt: skip
TOOLS = {
    "at": "at",
    "uses": [
        {"type": "function_call", "where": {"kind": "call"}, "id": ["call_id", "id"], "name": "name", "answered": True},
        {"type": "tool_call", "where": {"kind": "remote"}, "id": "id", "name": "name", "error": "error"},
    ],
    "answers": [{"where": {"kind": "answer"}, "id": "call_id"}],
    "failures": [{"where": {"kind": "broken"}, "id": "id"}],
}


def run(name, value, **args):
    return build(name, args)(value)


@pytest.mark.parametrize(
    ("name", "args", "value", "made"),
    [
        ("last", {}, [1, 2], 2),
        ("last", {}, [], MISSING),
        ("last", {}, "x", "x"),
        ("excerpt", {"after": "tool: ", "before": " with"}, "a tool: Look up with with {}", "Look up"),
        ("excerpt", {"after": "tool: "}, "tool: x ", "x"),
        ("excerpt", {"before": ";"}, " x;y", "x"),
        ("excerpt", {"after": "tool: "}, "no such thing", MISSING),
        ("excerpt", {"after": "tool: ", "before": ";"}, "tool: without end", MISSING),
        ("excerpt", {"after": "a", "before": "b"}, "a  b", MISSING),
        ("excerpt", {"after": "b", "before": "a"}, "a b", MISSING),
        ("spread", {"path": "items", "into": "item"}, [{"n": 1, "items": ["a", "b"]}, {"n": 2}, {"n": 3, "items": []}],
         [{"n": 1, "items": ["a", "b"], "item": "a"}, {"n": 1, "items": ["a", "b"], "item": "b"}, {"n": 2},
          {"n": 3, "items": []}]),
        ("spread", {"path": "items", "into": "item"}, [], MISSING),
        ("count", {}, [{}, {}, "no row"], 2),
        ("count", {"where": {"a": 1}}, [{"a": 1}, {"a": 2}], 1),
        ("count", {"where": {"a": 1}}, [{"a": 2}], 0),
        ("count", {"distinct": "a"}, [{"a": 1}, {"a": 1}, {"a": 2}, {"b": 1}], 2),
        ("tally", {"path": "s"}, [{"s": "b"}, {"s": "a"}, {"s": "b"}, {}, {"s": 1}], {"a": 1, "b": 2}),
        ("tally", {"path": "s"}, [{}], MISSING),
    ],
)  # fmt: skip
def test_what_a_transform_makes(name, args, value, made):
    assert run(name, value, **args) == made


@pytest.mark.parametrize(
    ("name", "args", "value"),
    [("excerpt", {}, 1), ("spread", {"path": "a", "into": "b"}, {}), ("count", {}, "x"), ("tally", {"path": "a"}, 1),
     ("turns", TURNS, {}), ("invocations", TOOLS, None)],
)  # fmt: skip
def test_what_it_does_not_understand_it_refuses(name, args, value):
    with pytest.raises(TransformError):
        run(name, value, **args)


# --- the order of a conversation -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("previous", "order"),
    [
        ({}, ""),
        ({"a": None, "b": None}, "ab"),
        ({"a": None, "b": "a", "c": "b"}, "abc"),
        ({"c": "b", "b": "a", "a": None}, "abc"),
        ({"b": "a", "a": None, "c": None}, "abc"),
        ({"a": None, "b": None, "c": "a"}, "acb"),
        ({"a": "gone", "b": "a"}, "ab"),
        ({"x": None, "b": "a", "a": None, "y": None}, "xaby"),
        ({"a": "a"}, "a"),
        ({"a": "b", "b": "a"}, "ba"),
        ({"x": None, "a": "c", "b": "a", "c": "b"}, "xbca"),
    ],
)
def test_each_item_stands_behind_the_one_it_names(previous, order):
    assert "".join(in_sequence(previous)) == order


@given(st.dictionaries(st.sampled_from("abcdef"), st.none() | st.sampled_from("abcdefg")))
def test_every_item_has_one_place_whatever_it_names(previous):
    assert sorted(in_sequence(previous)) == sorted(previous)


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_chain_is_the_same_in_whatever_order_its_items_appeared(length, chance):
    chain = [str(number) for number in range(length)]
    previous = dict(zip(chain, [None, *chain], strict=False))
    appeared = chance.sample(chain, length)
    assert in_sequence({item: previous[item] for item in appeared}) == chain


def test_a_chain_of_many_thousands_is_no_trouble():
    chain = [str(number) for number in range(20_000)]
    backwards = dict(reversed(list(zip(chain, [None, *chain], strict=False))))
    assert in_sequence(backwards) == chain


# --- turns ----------------------------------------------------------------------------------------------------


def item(number, role, *texts, at=None, **fields):
    content = [{"transcript": text} for text in texts]
    return {"at": at or f"t{number}", "item": {"id": f"i{number}", "role": role, "content": content}, **fields}


@pytest.mark.parametrize(
    ("rows", "turns"),
    [
        ([item(1, "user", "Hello"), item(2, "assistant", "Good", " day ")],
         [{"speaker": "caller", "text": "Hello", "at": "t1"}, {"speaker": "agent", "text": "Good day", "at": "t2"}]),
        ([item(2, "user", "b", previous="i1"), item(1, "assistant", "a")],
         [{"speaker": "agent", "text": "a", "at": "t1"}, {"speaker": "caller", "text": "b", "at": "t2"}]),
        # words that come apart from the item, before or after it
        ([item(1, "user"), {"at": "t5", "item_id": "i1", "transcript": "late"}],
         [{"speaker": "caller", "text": "late", "at": "t1"}]),
        ([{"at": "t0", "item_id": "i1", "transcript": "early"}, item(1, "user")],
         [{"speaker": "caller", "text": "early", "at": "t0"}]),
        # in several places of one item, and told twice
        ([{"at": "t1", "type": "spoke", "item_id": "i1", "place": 1, "transcript": "two"},
          {"at": "t2", "type": "spoke", "item_id": "i1", "place": 0, "transcript": "one"},
          {"at": "t3", "type": "spoke", "item_id": "i1", "place": 0, "transcript": "one"}],
         [{"speaker": "agent", "text": "one two", "at": "t1"}]),
        # what the item holds goes before what was told apart, the last of it before the first
        ([item(1, "assistant", "so far"), item(1, "assistant", "so far so good"),
          {"at": "t3", "item_id": "i1", "transcript": "other"}],
         [{"speaker": "agent", "text": "so far so good", "at": "t1"}]),
        ([item(1, "assistant", "so far"), item(1, "assistant")], [{"speaker": "agent", "text": "so far", "at": "t1"}]),
        ([{"at": "t1", "item": {"id": "i1", "role": "assistant", "content": [{"text": "written"}]}}],
         [{"speaker": "agent", "text": "written", "at": "t1"}]),
        # cut short
        ([item(1, "assistant", "all of it"), {"at": "t2", "item_id": "i1", "heard_ms": 800}],
         [{"speaker": "agent", "text": "", "at": "t1", "interrupted": True, "heard_ms": 800}]),
        # no turn
        ([item(1, "system", "be kind"), item(2, "user"), item(3, None, "x")], MISSING),
        ([{"type": "spoke", "item_id": 7, "transcript": "x"}], MISSING),
        ([{"item": {"id": "i1", "role": "user", "content": "no list"}}], MISSING),
        ([], MISSING),
    ],
)  # fmt: skip
def test_rows_become_turns(rows, turns):
    assert run("turns", rows, **TURNS) == turns


# --- tools ------------------------------------------------------------------------------------------------------


def use(name, ok, at="t1", kind="function_call", **more):
    return {"capability_id": name, "capability_type": kind, "invoked_at": at, "success": ok, **more}


def told(kind, key, name="", at="", **more):
    return {"kind": kind, key: "1", **({"name": name} if name else {}), **({"at": at} if at else {}), **more}


CALL, ANSWER = told("call", "call_id", "f", "t1"), told("answer", "call_id")
REMOTE = told("remote", "id", "g", "t1")


@pytest.mark.parametrize(
    ("rows", "uses"),
    [
        ([CALL], [use("f", False)]),
        ([CALL, ANSWER], [use("f", True)]),
        ([ANSWER, CALL], [use("f", True)]),
        ([CALL, ANSWER | {"call_id": "2"}], [use("f", False)]),
        ([told("call", "call_id", at="t0"), CALL], [use("f", False, "t0")]),
        ([told("call", "id", "f", "t1"), ANSWER], [use("f", True)]),
        ([REMOTE], [use("g", True, kind="tool_call")]),
        ([REMOTE, REMOTE | {"error": "away"}], [use("g", False, kind="tool_call", error_message="away")]),
        ([REMOTE | {"error": {"code": 5}}], [use("g", False, kind="tool_call")]),
        ([REMOTE, told("broken", "id")], [use("g", False, kind="tool_call")]),
        ([CALL | {"call_id": "2"}, CALL | {"at": "t2"}], [use("f", False), use("f", False, "t2")]),
        ([told("call", "call_id", at="t1"), told("call", "id", "f")], [use("f", False)]),
        ([told("call", "call_id", at="t1"), told("call", "call_id", at="t2")], MISSING),
        ([{"kind": "call", "name": "f", "at": "t1"}, told("other", "id", "f", "t1")], MISSING),
    ],
)
def test_rows_become_uses_of_tools_each_once(rows, uses):
    assert run("invocations", rows, **TOOLS) == uses


def test_a_long_error_is_cut():
    rows = [{"kind": "remote", "id": "m", "name": "g", "at": "t1", "error": "x" * 2000}]
    assert len(run("invocations", rows, **TOOLS)[0]["error_message"]) == 500


def test_turns_are_the_same_whatever_the_order_of_rows_of_other_items():
    rows = [item(1, "user", "a"), item(2, "assistant", "b", previous="i1"), item(3, "user", "c", previous="i2")]
    made = run("turns", rows, **TURNS)
    for seed in range(6):
        random.Random(seed).shuffle(rows)  # noqa: S311 - no secret
        assert run("turns", rows, **TURNS) == made

"""Transforms: tables of input and output, and the promise that nothing but their own errors comes out."""

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, says_nothing
from apps.providers.engine.transforms import REGISTRY, UnseenWord, build

BAD = "TransformError"
MS = 1773677101250  # 2026-03-16T16:05:01.250Z
TURN = {"role": "tool", "name": "look up", "n": 1}


@pytest.mark.parametrize(
    ("name", "args", "value", "expected"),
    [
        ("same", {}, {"a": [1]}, {"a": [1]}),
        ("text", {}, "  x ", "x"),
        ("text", {}, 12, "12"),
        ("text", {}, " \u00a0", MISSING),
        ("text", {}, True, BAD),
        ("text", {}, ["x"], BAD),
        ("text", {"max_length": 3}, " abc ", "abc"),
        ("text", {"max_length": 3}, "abcd", BAD),
        ("flag", {}, True, True),
        ("flag", {}, False, False),
        ("flag", {}, " FALSE", False),
        ("flag", {}, "maybe", BAD),
        ("flag", {}, 1, BAD),
        ("flag", {"true_words": ["y"], "false_words": ["n"]}, "Y", True),
        ("epoch", {}, MS, "2026-03-16T16:05:01.250Z"),
        ("epoch", {}, str(MS), "2026-03-16T16:05:01.250Z"),
        ("epoch", {}, f" {MS} ", "2026-03-16T16:05:01.250Z"),
        ("epoch", {}, float(MS), "2026-03-16T16:05:01.250Z"),
        ("epoch", {}, MS + 0.5, "2026-03-16T16:05:01.250500Z"),
        ("epoch", {}, MS // 1000, BAD),
        ("epoch", {}, MS * 1000, BAD),
        ("epoch", {}, 0, BAD),
        ("epoch", {}, -MS, BAD),
        ("epoch", {}, True, BAD),
        ("epoch", {}, "NaN", BAD),
        ("epoch", {}, "soon", BAD),
        ("epoch", {}, 978307200000, "2001-01-01T00:00:00.000Z"),
        ("epoch", {}, 978307199999, BAD),
        ("epoch", {}, 4102444799999, "2099-12-31T23:59:59.999Z"),
        ("epoch", {}, 4102444800000, BAD),
        ("epoch", {"unit": "s"}, 1773677101, "2026-03-16T16:05:01.000Z"),
        ("epoch", {"unit": "s"}, "1773677101.25", "2026-03-16T16:05:01.250Z"),
        ("epoch", {"unit": "s"}, MS, BAD),
        ("epoch", {"unit": "auto"}, 1773677101, "2026-03-16T16:05:01.000Z"),
        ("epoch", {"unit": "auto"}, MS, "2026-03-16T16:05:01.250Z"),
        ("mail_time", {}, "Wed, 18 Mar 2026 17:00:11 +0000", "2026-03-18T17:00:11.000Z"),
        ("mail_time", {}, "Wed, 18 Mar 2026 18:00:11 +0100", "2026-03-18T17:00:11.000Z"),
        ("mail_time", {}, "18 Mar 2026 17:00:11 GMT", "2026-03-18T17:00:11.000Z"),
        ("mail_time", {}, "18 Mar 2026 17:00:11 -0000", "2026-03-18T17:00:11.000Z"),
        ("mail_time", {}, "Fri, 30 Feb 2026 17:00:11 +0000", BAD),
        ("mail_time", {}, "Thu, 01 Jan 1970 00:00:00 +0000", BAD),
        ("mail_time", {}, "Wed, 18 Mar 2026 17:00:11 +9999", BAD),
        ("mail_time", {}, "2026-03-16T16:05:01Z", BAD),
        ("mail_time", {}, 1773677101, BAD),
        ("mail_time", {}, ["x"], BAD),
        ("iso_time", {}, "2026-03-16T16:05:01Z", "2026-03-16T16:05:01.000Z"),
        ("iso_time", {}, "2026-03-16T18:05:01.25+02:00", "2026-03-16T16:05:01.250Z"),
        ("iso_time", {}, "2026-03-16 16:05:01.123456", "2026-03-16T16:05:01.123456Z"),
        ("iso_time", {}, "0001-01-01T00:00:00Z", BAD),
        ("iso_time", {}, "0001-01-01T00:00:00+23:59", BAD),
        ("iso_time", {}, "9999-12-31T23:59:59-23:59", BAD),
        ("iso_time", {}, "yesterday", BAD),
        ("iso_time", {}, MS, BAD),
        ("scale", {"by": "0.01"}, 12.3456, 0.123456),
        ("scale", {"by": "0.01"}, "12.3456", 0.123456),
        ("scale", {"by": "0.01"}, 0, 0.0),
        ("scale", {"by": "0.001", "whole": True}, 35499, 35),
        ("scale", {"by": "0.001", "whole": True}, 35500, 36),
        ("scale", {"by": "0.001", "whole": True}, 499, 0),
        ("scale", {"by": "0.001", "whole": True}, -1500, -2),
        ("scale", {"places": 2}, 1.005, 1.01),
        ("scale", {}, None, BAD),
        ("scale", {}, False, BAD),
        ("scale", {}, float("inf"), BAD),
        ("scale", {}, float("nan"), BAD),
        ("scale", {}, "1e400", BAD),
        ("scale", {}, "1e999999999999", BAD),
        ("scale", {}, "-1e999999999999", BAD),
        ("scale", {}, 1e15, BAD),
        ("scale", {}, "1e-999999", 0.0),
        ("scale", {}, "1." + "1" * 5000, 1.111111111),
        ("scale", {"by": "1000000", "places": 12}, 1e14, BAD),
        ("scale", {"by": "1e999999"}, 1e14, BAD),
        ("words", {"exact": {"Yes": 1}}, " YES ", 1),
        ("words", {"exact": {"true": "on"}}, True, "on"),
        ("words", {"exact": {"5": "five"}}, 5, "five"),
        ("words", {"exact": {"success": 1}, "nothing": ["unknown"]}, "Unknown", MISSING),
        ("words", {"families": [["error_a*", 1], ["error_*", 2]]}, "ERROR_abc", 1),
        ("words", {"families": [["error_*", 2], ["error_a*", 1]]}, "error_abc", 2),
        ("words", {"exact": {"error_x": 0}, "families": [["error_*", 2]]}, "error_x", 0),
        ("words", {"exact": {"a": 1}}, ["a"], BAD),
        ("words", {"exact": {"a": 1}}, None, BAD),
        ("constant", {"value": 7}, "anything", 7),
        ("phone", {}, "+1 (555) 014-2201", "+15550142201"),
        ("phone", {}, "tel:+15550142201", "+15550142201"),
        ("phone", {}, "0049 30 1234567", "+49301234567"),
        ("phone", {}, 15550142201, "15550142201"),
        ("phone", {}, "anonymous", "anonymous"),
        ("phone", {}, "sip:bob@example.com", "sip:bob@example.com"),
        ("sip_user", {}, '"Dana" <sip:+15550142233@sip.example.com>;tag=x', "+15550142233"),
        ("sip_user", {}, "<SIPS:%2B15550142233;user=phone>", "+15550142233"),
        ("sip_user", {}, "sip:4711@sip.example.com", "4711"),
        ("sip_user", {}, '"sip:+19990001111@x" <sip:+15550142233@sip.example.com>', "+15550142233"),
        ("sip_user", {}, r'"a \" <sip:+19990001111@x>" <sip:anonymous@anonymous.invalid>', MISSING),
        ("sip_user", {}, "sip:+19990001111 <sip:+15550142233@sip.example.com>", "+15550142233"),
        ("phone", {}, "911", "911"),
        ("phone", {}, "(555) 014-2201", "(555) 014-2201"),
        ("phone", {}, "+1５550142201", "+1５550142201"),
        ("phone", {"restore_plus": True}, 15550142201, "+15550142201"),
        ("phone", {"restore_plus": True}, "15550142201", "+15550142201"),
        ("phone", {"restore_plus": True}, "+15550142201", "+15550142201"),
        ("phone", {"restore_plus": True}, "0049 30 1234567", "+49301234567"),
        ("phone", {"restore_plus": True}, "911", "911"),
        ("phone", {"restore_plus": True}, "anonymous", "anonymous"),
        ("phone", {}, {"number": "+1"}, BAD),
        ("phone", {}, True, BAD),
        ("pluck", {"field": "name"}, [TURN, {"name": None}, "row", TURN], ["look up", "look up"]),
        ("pluck", {"field": "name", "distinct": True}, [TURN, TURN, {"name": "b"}], ["look up", "b"]),
        ("pluck", {"field": "name", "where": {"role": "user"}}, [TURN], MISSING),
        ("pluck", {"field": "name"}, {"name": "x"}, BAD),
        ("first", {}, ["a", "b"], "a"),
        ("first", {}, "a", "a"),
        ("rows", {"fields": {"w": "role", "k": "n"}, "words": {"w": {"tool": "T"}}}, [TURN], [{"w": "T", "k": 1}]),
        ("rows", {"fields": {"who": "role"}, "needs": ["text"]}, [TURN], MISSING),
        ("rows", {"fields": {"who": "role"}}, ["x", {}], MISSING),
        ("rows", {"fields": {"who": "role"}}, "x", BAD),
        ("rows", {"fields": {"w": ["said_by", "role", "n"]}}, [TURN, {"role": " ", "n": 2}], [{"w": "tool"}, {"w": 2}]),
        ("rows", {"fields": {"w": "n"}, "words": {"w": {"1": "one"}}}, [TURN, {"n": 2}], [{"w": "one"}, {"w": 2}]),
        ("points", {}, " x ", ["x"]),
        ("points", {}, ["x", ["y", {"b": True, "a": 1, "c": None}], None, " ", "x"], ["x", "y", "a: 1", "b: yes"]),
        ("points", {}, 0, ["0"]),
        ("points", {}, {"a": None}, MISSING),
        ("points", {}, [[], {}, ""], MISSING),
        ("lines", {"speakers": {"A": "agent"}}, "lost\nA: one\nmore: two\n\nA:\nB", [
            {"speaker": "agent", "text": "one\nmore: two"}, {"speaker": "agent", "text": "B"}]),
        ("lines", {"speakers": {"A": "agent"}}, "B: x", MISSING),
        ("lines", {"speakers": {}}, ["x"], BAD),
    ],
)  # fmt: skip
def test_a_transform_turns_one_value_into_another(name, args, value, expected):
    transform = build(name, args)
    if expected == BAD:
        with pytest.raises(TransformError):
            transform(value)
    else:
        found = transform(value)
        assert found == expected
        assert type(found) is type(expected)


GROUP = {
    "key": "product",
    "groups": [["*realtime*", "V2V"], ["*tts*", "TTS"], ["*gpt*", "LLM"]],
    "first": {"model": "product"},
    "sums": {"usd": {"path": "cost", "by": "0.01"}},
    "fixed": {"why": ["guess"]},
}


def test_group_adds_up_each_group_and_leaves_strangers_out():
    items = [
        {"product": "gpt-4o", "cost": 1},
        {"product": "gpt-mini", "cost": "2.5"},
        {"product": "gpt-4o-mini-tts"},
        {"product": "us_telephony", "cost": 9},
        {"product": 5, "cost": 9},
        "no object",
    ]
    assert build("group", GROUP)(items) == {
        "LLM": {"model": "gpt-4o", "usd": 0.035, "why": ["guess"]},
        "TTS": {"model": "gpt-4o-mini-tts", "why": ["guess"]},
    }


def test_group_takes_the_first_family_that_fits():
    assert list(build("group", GROUP)([{"product": "gpt-4o-realtime"}])) == ["V2V"]


@pytest.mark.parametrize("cost", [-1, "much", [1], True, "1e400"])
def test_group_refuses_amounts_that_are_none(cost):
    with pytest.raises(TransformError):
        build("group", GROUP)([{"product": "gpt", "cost": cost}])


def test_group_of_strangers_says_nothing():
    assert build("group", GROUP)([{"product": "x"}]) is MISSING


def test_two_results_of_a_group_share_nothing():
    group = build("group", GROUP)
    first = group([{"product": "gpt"}])
    first["LLM"]["model"] = "changed"
    assert group([{"product": "gpt"}])["LLM"]["model"] == "gpt"


def test_families_must_stand_in_a_list_for_objects_lose_their_order_in_a_database():
    with pytest.raises(ValidationError):
        build("words", {"families": {"error_*": 1}})
    with pytest.raises(ValidationError):
        build("group", {**GROUP, "groups": {"*gpt*": "LLM"}})


@pytest.mark.parametrize(("args", "default"), [({}, MISSING), ({"default": "other"}, "other")])
def test_a_word_nobody_knows_is_told_apart_from_one_that_is_no_word(args, default):
    with pytest.raises(UnseenWord) as raised:
        build("words", {"exact": {"success": 1}, **args})("unsuccessful")
    assert (raised.value.word, raised.value.default) == ("unsuccessful", default)


def test_an_error_says_the_type_and_never_the_value():
    with pytest.raises(TransformError) as raised:
        build("scale", {})("s3cret")
    assert str(raised.value) == "expected a number, got str"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("epoch", {"unit": "min"}),
        ("text", {"length": 3}),
        ("scale", {"by": "x"}),
        ("scale", {"places": 13}),
        ("pluck", {}),
    ],
)
def test_wrong_arguments_are_refused(name, args):
    with pytest.raises(ValidationError):
        build(name, args)


ARGS = {
    "words": {"exact": {"a": 1}, "families": [["b*", {"x": 1}]], "nothing": ["none"]},
    "constant": {"value": {"a": 1}},
    "pluck": {"field": "a.b", "where": {"c": "x"}, "distinct": True},
    "rows": {"fields": {"x": "a", "y": "b[0].c"}, "words": {"x": {"a": "b"}}, "needs": ["x", "y"]},
    "lines": {"speakers": {"a": "b"}},
    "group": {"key": "a", "groups": [["*", "G"]], "first": {"f": "b"}, "sums": {"s": {"path": "c"}}},
    "scale": {"by": "1000000", "places": 12},
    "total": {"path": "a", "where": {"b": "x"}},
    "template": {"text": "to {value}"},
    "key": {"by": "a.b"},
    "phrases": {"value": "a", "detail": "b"},
    "gather": {"parts": [{"path": "a"}, {"path": "b", "transform": "phrases"}, {"path": "c", "transform": "text"}]},
    "members": {"names": ["a", "B*"], "needs": ["b"]},
    "spread": {"path": "a", "into": "b"},
    "tally": {"path": "a"},
    "count": {"where": {"b": "x"}, "distinct": "a"},
    "excerpt": {"after": "a", "before": "b"},
    "turns": {
        "item": "a", "previous": "b", "speaker": "c", "speakers": {"x": "y"}, "parts": "d", "texts": ["a"],
        "spoken": "e", "place": "f", "at": "g", "heard_ms": "h",
    },
    "invocations": {
        "uses": [{"type": "tool_call", "where": {"a": "x"}, "id": "b", "name": "c", "error": "d"}],
        "at": "e",
    },
    "score": {
        "terms": [[{"when": {"a": "x"}, "add": 1}], [{"when": {"b.c": {"contains": "y"}}, "add": 1}]],
        "most": 2,
        "blanks": "_",
    },
    "chain": {"steps": [{"transform": "pluck", "args": {"field": "a"}}, {"transform": "first"}, {"transform": "text"}]},
}  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1e400", MS])
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("name", sorted(REGISTRY))
@given(value=JSON | st.lists(st.dictionaries(st.sampled_from("abc"), LEAVES)))
def test_any_json_gives_json_or_the_transforms_own_errors(name, value):
    try:
        found = build(name, ARGS.get(name, {}))(value)
    except (TransformError, UnseenWord):
        return
    if name not in ("same", "first", "last", "pluck", "rows", "listed", "members", "spread") and found is not MISSING:
        orjson.dumps(found, option=orjson.OPT_STRICT_INTEGER if name == "scale" else None)


# --- short ways -----------------------------------------------------------------------------------------------------

QUICK = [
    ("same", {}),
    ("text", {"max_length": 3}),
    ("flag", {"true_words": ["a"]}),
    ("words", {"exact": {"a": 1, "Bc ": "x"}, "families": [["d*", 2]], "nothing": ["none"]}),
    ("constant", {"value": 7}),
    ("phone", {"restore_plus": True}),
    ("epoch", {}),
    ("epoch", {"unit": "auto"}),
]
USUAL = [" x ", "abcd", "A", "a", " a ", "Bc ", "bc", "dd", "none", "+12137771234", "0012137771234", True, False, MS, 1]


def by_short_way(name, args, value):
    """(whether there is one for this value, what it gives)."""
    quick = build(name, args).quick()
    scope = {"value": value, "GIVEN": quick.given}
    taken = eval(quick.test, scope)  # noqa: S307 - our own text
    return taken, eval(quick.result, scope) if taken else None  # noqa: S307


@pytest.mark.parametrize(("name", "args"), QUICK)
@given(value=JSON | st.sampled_from(USUAL))
def test_a_short_way_gives_what_the_transform_gives(name, args, value):
    assume(not says_nothing(value))
    taken, found = by_short_way(name, args, value)
    if taken:
        assert repr(found) == repr(build(name, args)(value))


def test_every_short_way_is_tried_and_taken_by_some_usual_value():
    assert {name for name in REGISTRY if build(name, ARGS.get(name, {})).quick()} == {name for name, _ in QUICK}
    for name, args in QUICK:
        assert any(by_short_way(name, args, value)[0] for value in USUAL), name


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_transform_has_help_for_the_admin(name):
    assert (REGISTRY[name].__doc__ or "").strip().endswith(".")


EXTRACTED = {"Lead_Score": 95, "lead_note": " ", "budget_range": "$500", "contact_zip": None, "contacted": False}


@pytest.mark.parametrize(
    ("names", "needs", "value", "expected"),
    [
        (["lead_*"], [], EXTRACTED, {"Lead_Score": 95}),
        (["LEAD_*", "*range"], [], EXTRACTED, {"Lead_Score": 95, "budget_range": "$500"}),
        (["contact*"], [], EXTRACTED, {"contacted": False}),
        (["*"], ["lead_score"], EXTRACTED, {"Lead_Score": 95, "budget_range": "$500", "contacted": False}),
        (["*"], ["contact_*", "absent"], EXTRACTED, MISSING),
        (["zip"], [], EXTRACTED, MISSING),
        (["*"], [], {}, MISSING),
        (["*"], [], [EXTRACTED], BAD),
        (["*"], [], "x", BAD),
    ],
)
def test_members_are_chosen_by_their_names(names, needs, value, expected):
    members = build("members", {"names": names, "needs": needs})
    if expected == BAD:
        with pytest.raises(TransformError):
            members(value)
    else:
        assert members(value) == expected


@pytest.mark.parametrize(("value", "expected"), [("x", ["x"]), (0, [0]), (["x", 1], ["x", 1]), ({"a": 1}, [{"a": 1}])])
def test_a_value_is_listed(value, expected):
    assert build("listed", {})(value) == expected


SCORE = {
    "start": 0.5,
    "terms": [
        [{"when": {"boss": True}, "add": 0.2}],
        [
            {"when": {"when": {"contains": ["30 days", "now"]}}, "add": 0.15},
            {"when": {"when": {"present": True}}, "add": 0.1},
        ],
    ],
}


@pytest.mark.parametrize(
    ("args", "value", "expected"),
    [
        ({}, {}, 0.5),
        ({}, {"boss": True}, 0.7),
        ({}, {"boss": "yes"}, 0.5),
        ({}, {"when": "In 30 Days"}, 0.65),
        ({}, {"when": "in_30_days"}, 0.6),
        ({"blanks": "_-"}, {"when": "in_30-days"}, 0.65),
        ({}, {"boss": True, "when": "now, in 30 days"}, 0.85),
        ({"most": 0.8}, {"boss": True, "when": "now"}, 0.8),
        ({"start": 0}, {"when": 5}, 0.1),
        ({}, ["boss"], BAD),
        ({}, None, BAD),
    ],
)
def test_a_score_adds_the_first_row_of_each_term(args, value, expected):
    score = build("score", {**SCORE, **args})
    if expected == BAD:
        with pytest.raises(TransformError):
            score(value)
    else:
        assert score(value) == expected


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("members", {}),
        ("members", {"names": []}),
        ("score", {}),
        ("score", {"terms": [[{"when": {"a[": "x"}, "add": 1}]]}),
        ("score", {"terms": [[{"when": {"a": {}}, "add": 1}]]}),
        ("score", {"terms": [[{"when": {"a": "x"}, "add": "much"}]]}),
        ("score", {"terms": [[{"when": {"a": "x"}}]]}),
    ],
)
def test_a_choice_or_a_score_that_cannot_work_is_refused(name, args):
    with pytest.raises(ValidationError):
        build(name, args)


def test_phrases_put_a_detail_behind_where_there_is_one():
    told = {"b": {"v": "no", "why": "late"}, "a": {"v": True, "why": None}, "c": {"why": "lost"}}
    assert build("phrases", {"value": "v", "detail": "why"})(told) == ["a: yes", "b: no (late)"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"one": " x ", "more": {"b": 1, "a": 2}}, ["got x", "a: 2", "b: 1"]),
        ({"one": "none", "more": {"a": 2}}, ["a: 2"]),
        ({"more": {}, "one": None}, MISSING),
        ({}, MISSING),
        (["one"], BAD),
        ({"one": {"a": 1}}, BAD),
    ],
)
def test_gather_makes_one_list_of_several_places(value, expected):
    text = {"steps": [
        {"transform": "text", "args": {"nothing": ["none"]}},
        {"transform": "template", "args": {"text": "got {value}"}},
    ]}  # fmt: skip
    parts = [{"path": "one", "transform": "chain", "args": text}, {"path": "more", "transform": "phrases"}]
    gather = build("gather", {"parts": parts})
    if expected == BAD:
        with pytest.raises(TransformError):
            gather(value)
    else:
        assert gather(value) == expected


@pytest.mark.parametrize("parts", [[], [{"path": "a", "transform": "nothing known"}], [{"transform": "text"}]])
def test_a_gathering_that_cannot_work_is_refused(parts):
    with pytest.raises(ValidationError):
        build("gather", {"parts": parts})

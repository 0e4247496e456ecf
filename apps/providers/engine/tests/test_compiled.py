"""What runs is compiled: it must say what the plain reading of the same rules says, for any payload."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase

import jsonpath_rfc9535
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.engine import transforms
from apps.providers.engine.conditions import Condition
from apps.providers.engine.errors import TransformError
from apps.providers.engine.jsonpath import compile_query
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.paths import MISSING, compile_path, says_nothing
from apps.providers.engine.redact import REDACTED
from apps.providers.engine.rules import EventPlan, _normal, _normal_test
from apps.providers.engine.sources import LATER, Sources
from apps.providers.engine.spec import MappingSpec
from apps.providers.engine.transforms import first_told, to_decimal
from apps.providers.engine.transforms.lists import Listed
from apps.providers.engine.transforms.numbers import Scale
from apps.providers.engine.words import KEPT_SETS, Globs
from apps.providers.engine.written import row_reader
from vcp.models import field_shape
from vcp.tests.tries import tries

WORDS = st.sampled_from(["x", "X ", "true", "gpt-Realtime", "", " ", REDACTED, "é"])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 1e-7]) | WORDS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)
PATHS = [
    *("a", "b", "a.b", "a.c", "a.b.c", "b.a", "a[0].b", "a[-1]", "a[*].b", "a[*].b[*]"),
    *("$.a[?@.b=='x'].c", "$['a','c']", "$", "$.a", "$.a[0]", "$.a[?@.b=='x']", "$.a[?@.b=='x'].b", "$..b"),
]


NUMBERS = st.one_of(
    st.integers(0, 10**15 - 1),
    st.floats(0, 1e15, exclude_max=True),
    # As providers write amounts: few places, and many halves.
    st.decimals(0, 10**6, places=4).map(float),
    st.integers(0, 10**6).map(lambda number: number / 2),
    st.decimals(-10, 10, places=2).map(str),
)


# --- a slow, plain reading of rules, to compare with ---------------------------------------------------------------


def plain_read(payload, path):
    """The value at a dotted path or JSONPath, step by step."""
    if path.startswith("$"):
        query = jsonpath_rfc9535.compile(path)
        found = [value for value in query.find(payload).values() if not says_nothing(value)]
        return MISSING if not found else found[0] if query.singular_query() else found
    steps = path.replace("[", ".[").split(".")
    found = plain_walk(payload, steps)
    return MISSING if says_nothing(found) else found


def plain_walk(value, steps):
    if not steps:
        return value
    step, *rest = steps
    if step == "[*]":
        items = [plain_walk(item, rest) for item in value] if isinstance(value, list) else []
        return [item for item in items if not says_nothing(item)]
    if step.startswith("["):
        index = int(step[1:-1])
        there = isinstance(value, list) and -len(value) <= index < len(value)
        return plain_walk(value[index], rest) if there else MISSING
    return plain_walk(value.get(step, MISSING), rest) if isinstance(value, dict) else MISSING


def plain_word(value):
    return str(value).lower() if isinstance(value, bool) else value.strip().lower() if isinstance(value, str) else value


def plain_holds(value, condition):
    told = not says_nothing(value)
    kind, asked = next(iter(condition.items()))
    if kind == "present":
        return told is asked
    if kind == "equals":
        return told and plain_word(value) == plain_word(asked)
    if kind == "not_in":
        return told and all(plain_word(value) != plain_word(word) for word in asked)
    if kind == "glob":
        return told and isinstance(value, str) and fnmatchcase(plain_word(value), asked)
    return told and (
        asked.lower() in value.lower() if isinstance(value, str) else isinstance(value, (list, dict)) and asked in value
    )


def plain_map(payload, rules):
    values = {}
    for target in dict.fromkeys(rule["target"] for rule in rules):
        for number, rule in enumerate(rules):
            met = all(plain_holds(plain_read(payload, path), asked) for path, asked in rule["when"].items())
            value = plain_read(payload, rule["source"]) if rule["target"] == target and met else MISSING
            if value is not MISSING:
                values[target] = [number, value]
                break
    return values


CONDITIONS = st.sampled_from(
    [
        *({"present": True}, {"present": False}, {"equals": "x"}, {"equals": True}, {"equals": 1}),
        *({"not_in": ["x", 0]}, {"glob": "*real*"}, {"contains": "x"}),
    ]
)
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "source": st.sampled_from(PATHS),
            "target": st.sampled_from([f"custom.provider_specific.some.data.{name}" for name in "xyz"]),
            "when": st.dictionaries(st.sampled_from(PATHS), CONDITIONS, max_size=2),
        }
    ),
    max_size=6,
)


@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), RULES)
def test_a_compiled_mapping_says_what_its_rules_say(payload, rules):
    mapping = Mapping(MappingSpec.model_validate({"rules": rules}))
    _, fragment, report = mapping.apply(payload)
    assert {target: [value.rule, value.value] for target, value in fragment.values.items()} == plain_map(payload, rules)
    assert report.failed == []


@given(JSON, st.lists(st.sampled_from(PATHS), min_size=1, unique=True))
def test_paths_read_together_have_the_values_that_each_has_alone(payload, paths):
    sources = Sources()
    slots = [sources.slot(path) for path in paths]
    values = sources.read(payload)
    assert [sources.at(slot, values) for slot in slots] == [plain_read(payload, path) for path in paths]


QUERIES = [
    "$", "$.a", "$.a.b", "$['a','b','c']", "$.a[0]", "$.a[-1].b", "$.a[*]", "$.*", "$.a[*].b", "$[0,'a']",
    "$.a[?@.b=='x']", "$.a[?@.b!='x'].c", "$.a[?@.b==@.c]", "$.a[?'x'==@.b]", "$.a[?@.b==true]", "$.a[?@.b==1]",
    "$.a[?@.b==null]", "$.a[?@.b]", "$.a[?!@.b.c]", "$.a[?@.b && @.c || !@.a]",
    "$.a[?@.b].c", "$.a[?@.b].c[?@.b].b", "$.a[?@.b][0].c", "$.a[?search(@.b, 'e+')]",
    "$.a[?match(@.b, 'g.*_?[Rr]eal.*')]",
    "$.a[?@.b.c=='x']", "$.a[?@[0]=='x']",
    "$.a[?@.b==0.5]", "$[?search(@.b, '[Rr]ealtime')]", "$.a[?match(@.b, 'x')]", "$.a[?search(@, 'x')]",
    "$..b", "$.a[0:2]", "$.a[?@.b > 0]", "$.a[?length(@.b) == 1]", "$.a[?@ == 'x']", "$.a[?search(@.b, 'x.')]",
    "$.a[?$.b == @.b]", "$.a[?@]",
]  # fmt: skip


@given(JSON, st.sampled_from(QUERIES))
def test_a_compiled_query_finds_what_the_library_finds_in_the_same_order(payload, path):
    compiled = compile_query(path)
    query = jsonpath_rfc9535.compile(path)
    # As text: 1 and true are equal to Python.
    assert json.dumps(compiled.search(payload)) == json.dumps(list(query.find(payload).values()))
    assert compiled.singular == query.singular_query()


# --- what is kept between payloads --------------------------------------------------------------------------------


def test_a_search_runs_when_it_is_asked_for_and_then_once(monkeypatch):
    sources = Sources()
    slot = sources.slot("a[*].b")
    runs = []
    within = sources.slot("a")
    monkeypatch.setitem(sources._searches, slot, (within, lambda found: runs.append(found) or ["found"]))
    values = sources.read({"a": [1]})
    assert values[slot] is LATER
    assert [sources.at(slot, values), sources.at(slot, values)] == [["found"], ["found"]]
    assert runs == [[1]]


def test_one_path_has_one_slot_however_often_it_is_named():
    sources = Sources()
    assert sources.slot("a.b") == sources.slot("a.b")
    assert sources.slot("a.b") != sources.slot("a")


def test_a_payload_leaves_nothing_behind_for_the_next():
    mapping = Mapping(MappingSpec.model_validate({"rules": [{"source": "a[*]", "target": "hcr.key_points"}]}))
    assert mapping.apply({"a": ["x"]})[1].values["hcr.key_points"].value == ["x"]
    assert mapping.apply({})[1].values == {}


@pytest.mark.parametrize(("event", "number_of_rules"), [("end", 2), ("start", 1), ("other", 1)])
def test_an_event_has_the_rules_that_apply_to_it(event, number_of_rules):
    rules = [{"source": "a", "target": "hcr.summary"}, {"source": "b", "target": "hcr.summary", "event": "e*"}]
    spec = MappingSpec.model_validate({"rules": rules})
    plan = EventPlan(spec.event_spec(event), event, spec)
    assert [len(target.rules) for target in plan.targets] == [number_of_rules]


GLOBS = st.lists(st.text(alphabet="aB*?[]!", max_size=4), max_size=3)


@given(GLOBS, st.lists(st.text(alphabet="abB", max_size=4) | st.just("a" * 200), max_size=4))
def test_globs_match_what_one_of_them_matches(globs, names):
    expected = [name for name in names if any(fnmatchcase(name.lower(), glob.lower()) for glob in globs)]
    asked = Globs(globs)
    assert list(asked.among(names)) == expected
    assert list(asked.among(names)) == expected  # as it was kept
    assert [name for name in names if Globs(globs).match(name)] == expected


def test_of_sets_of_names_only_so_many_are_kept():
    asked = Globs(["n*"])
    for number in range(3 * KEPT_SETS):
        assert asked.among([f"n{number}", "x"]) == (f"n{number}",)
    assert asked.among(["n" * 5000]) == ("n" * 5000,)
    assert len(asked._kept_among) <= KEPT_SETS


def test_what_two_queries_have_in_common_is_searched_once(monkeypatch):
    sources = Sources()
    slots = [sources.slot(f"$.a[?@.b=='x']{rest}") for rest in ("", ".c", ".d")]
    within = sources.slot("a")
    [(filtered, search)] = [(slot, found) for slot, (into, found) in sources._searches.items() if into == within]
    runs = []
    monkeypatch.setitem(sources._searches, filtered, (within, lambda value: runs.append(value) or search(value)))
    values = sources.read({"a": [{"b": "x", "c": 1}, {"b": "y", "c": 2}]})
    assert [sources.at(slot, values) for slot in slots] == [[{"b": "x", "c": 1}], [1], MISSING]
    assert len(runs) == 1


def test_one_condition_is_asked_once_and_that_for_true_is_not_that_for_1():
    sources = Sources()
    first, same, other = ({"a": Condition(equals=word)} for word in (True, True, 1))
    assert sources.tests(first) == sources.tests(same) != sources.tests(other)
    values = sources.read({"a": True})
    assert [sources.hold(sources.tests(when), values) for when in (first, same, other)] == [True, True, False]


def test_a_conversion_that_several_rules_share_is_made_once(monkeypatch):
    made = []
    listed = Listed.__call__
    monkeypatch.setattr(Listed, "__call__", lambda self, value: made.append(value) or listed(self, value))
    rules = [
        {"source": "a", "target": f"custom.provider_specific.some.data.{name}", "transform": "listed"} for name in "xy"
    ]
    mapping = Mapping(MappingSpec.model_validate({"rules": rules}))
    for word in ("one", "two"):
        values = mapping.apply({"a": word})[1].values
        assert [value.value for value in values.values()] == [[word]] * 2
    assert made == ["one", "two"]


def test_a_word_that_several_rules_do_not_know_is_told_for_each():
    words = {"transform": "words", "args": {"exact": {"b": "c"}}}
    rules = [{"source": "a", "target": f"custom.provider_specific.some.data.{name}", **words} for name in "xy"]
    _, fragment, report = Mapping(MappingSpec.model_validate({"rules": rules})).apply({"a": "new"})
    assert fragment.values == {}
    assert report.unseen == [{"source": "a", "word": "new"}] * 2


@given(st.lists(JSON, max_size=4), st.lists(st.sampled_from(PATHS), min_size=1, max_size=3))
def test_a_field_of_a_row_has_the_first_of_its_paths_that_tells(rows, paths):
    built = transforms.Rows(fields={"x": tuple(paths), "y": "a"})(rows)
    plain = []
    for row in rows:
        if isinstance(row, dict):
            tried = [plain_read(row, path) for path in paths]
            told = {"x": next((found for found in tried if found is not MISSING), MISSING), "y": plain_read(row, "a")}
            plain.append({name: value for name, value in told.items() if value is not MISSING})
    assert built == ([row for row in plain if row] or MISSING)


ROLES = "outcomes.model_outcome_attribution.roles"
ROLE = st.dictionaries(
    st.sampled_from(["model_id", "minutes", "errors", "cost_usd", "more"]),
    st.sampled_from(["x", "", 1.0, -1.0, 1, None]),
)


@given(st.dictionaries(st.sampled_from(["LLM", "STT", "llm"]), ROLE, max_size=2) | JSON)
def test_an_object_found_normal_is_one_that_pydantic_takes(value):
    place = field_shape(ROLES)
    if _normal_test(place)(value):
        assert _normal(value, place) is value


def test_an_object_that_lacks_a_field_is_normal_so_far():
    assert _normal_test(field_shape(ROLES))({"LLM": {"model_id": "x"}})
    assert not _normal_test(field_shape(ROLES))({"LLM": {"model_id": ""}})


PLAIN_JSON = JSON.filter(lambda value: not says_nothing(value))


@pytest.mark.parametrize(
    "transform",
    [
        *(transforms.Same(), transforms.Rows(fields={"x": "a"}), transforms.Members(names=("*",))),
        *(transforms.Phrases(), transforms.Points()),
    ],
    ids=lambda transform: transform.name,
)
@given(value=PLAIN_JSON)
def test_what_a_transform_gives_fits_where_it_says_so(transform, value):
    for path in ("custom.provider_specific", "hcr.key_points", "custom.provider_specific.some.data.x", "hcr.summary"):
        place = field_shape(path)
        try:
            given_back = transform(value) if place is not None and transform.fits(place) else MISSING
        except TransformError:
            continue
        assert given_back is MISSING or place.is_normal(given_back)


@given(st.integers(978307200000, 4102444799999))
def test_a_time_in_milliseconds_is_written_as_datetime_writes_it(milliseconds):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert transforms.Epoch()(milliseconds) == moment.isoformat(timespec="milliseconds")[:-6] + "Z"
    assert transforms.IsoTime()(transforms.Epoch()(milliseconds)) == transforms.Epoch()(milliseconds)


@pytest.mark.parametrize("path", PATHS)
def test_the_plain_reading_of_this_file_reads_as_a_single_path_does(path):
    payload = {"a": [{"b": "x", "c": [1]}, {"b": ["y"]}], "b": {"a": 1}, "c": 2}
    assert plain_read(payload, path) == compile_path(path)(payload)


# --- numbers ----------------------------------------------------------------------------------------------------------


def outcome_of(work):
    """(type, value) of what it gives, or that it refuses."""
    try:
        found = work()
    except TransformError:
        return TransformError
    return type(found), found


@tries(150)
@given(
    numbers=st.lists(NUMBERS, min_size=1, max_size=4),
    by=st.sampled_from(["1", "0.01", "0.001", "60", "0.016666666666666666", "3.7", "1e-9", "1e12"]),
    places=st.integers(0, 12),
    whole=st.booleans(),
)
def test_numbers_worked_out_in_binary_are_those_that_decimals_give(numbers, by, places, whole):
    scale = Scale(by=Decimal(by), places=places, whole=whole)
    exact = [to_decimal(number) for number in numbers]
    assert outcome_of(lambda: scale(numbers[0])) == outcome_of(lambda: scale.of(exact[0]))
    assert outcome_of(lambda: scale.of_sum(numbers)) == outcome_of(lambda: scale.of(sum(exact, Decimal(0))))


@pytest.mark.parametrize(("value", "by", "expected"), [(0.285, "100", 29), (1.005, "100", 101), (2.675, "100", 268)])
def test_a_half_goes_up_as_it_is_written_and_not_as_binary_has_it(value, by, expected):
    assert Scale(by=Decimal(by), whole=True)(value) == expected


# --- rows -----------------------------------------------------------------------------------------------------------

ODD_KEYS = ["a", "b", "'", '"', "\\", "\n", "a' = 1 #", "{x}", "é", "\u2028"]


@given(
    row=st.dictionaries(st.sampled_from(ODD_KEYS), JSON, max_size=6),
    fields=st.dictionaries(
        st.sampled_from(ODD_KEYS),
        st.lists(st.sampled_from([*ODD_KEYS, "a.b", "b.a", "$.a[?@.b=='x']", "$"]), min_size=1, max_size=3),
        max_size=4,
    ),
)
def test_rows_are_read_as_their_paths_say_whatever_the_names(row, fields):
    words = {"a": {"x": "ours", "true": "yes"}}
    told = {name: found for name, paths in fields.items() if (found := first_told(tuple(paths), row)) is not MISSING}
    if isinstance(told.get("a"), (str, int)):
        told["a"] = words["a"].get(str(told["a"]).lower(), told["a"])
    assert json.dumps(row_reader(fields, words)(row)) == json.dumps(told)


@pytest.mark.parametrize("transform", ["text", "listed"])
@pytest.mark.parametrize("name", ["share_%", "%s", "{value}", "it's", 'a"b', "back\\slash", "GIVEN", "line\nbreak"])
def test_a_target_is_filled_whatever_its_name(transform, name):
    target = f"custom.provider_specific.some.data.{name}"
    rule = {"source": "a", "target": target, "transform": transform}
    _, fragment, report = Mapping(MappingSpec.model_validate({"rules": [rule]})).apply({"a": "x"})
    assert {target: value.value for target, value in fragment.values.items()} == {
        target: "x" if transform == "text" else ["x"]
    }
    assert report.used == [0]

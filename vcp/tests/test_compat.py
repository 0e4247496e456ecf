"""The compatibility suite: this implementation passes it, and a broken one is told exactly what it misses."""

from __future__ import annotations

import base64
import io
import json
import runpy
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vcp.compat.__main__ as command
from vcp.compat.answers import answer
from vcp.compat.cases import Case, all_cases, chosen, manifest, patched
from vcp.compat.cases import given as input_of
from vcp.compat.judge import Verdict, by_id, judge
from vcp.compat.report import summary, text
from vcp.findings import WARNING_RULES
from vcp.migrate import made
from vcp.rules import CROSS_FIELD_RULES
from vcp.tests.tries import tries

# By name, since the package gives its functions the names of their modules.
checksum_module = import_module("vcp.checksum")
validate_module = import_module("vcp.validate")
gap_module = import_module("vcp.gap")

FOLDER = Path(command.__file__).parent
CASES = all_cases()
RULES = sorted({*WARNING_RULES, "C1", "C3", "C7", "V1", "V2", "V3", "V4", "X1", "X11", *(f"S{n}" for n in range(1, 8))})

Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def right() -> Results:
    return {case.id: answer(case) for case in CASES}


def verdict_of_now(*suites: str) -> Verdict:
    """What the implementation as it is at this moment is told."""
    cases = [case for case in CASES if not suites or case.suite in suites]
    return judge(cases, {case.id: answer(case) for case in cases})


def one(rule: str, operation: str) -> Case:
    return next(case for case in CASES if case.rule == rule and case.operation == operation)


def told(case: Case, result: Any) -> list[tuple[str, ...]]:
    """(rule, words) of what the judge finds in one result."""
    return [tuple(miss) for failure in judge([case], {case.id: result}).failures for miss in failure.misses]


# --- the suite -------------------------------------------------------------------------------------------------------


def test_this_implementation_passes_every_case(right):
    verdict = judge(CASES, right)
    assert list(verdict.failures) == []
    assert (len(verdict.passed), verdict.skipped) == (len(CASES), [])


def test_every_rule_of_validation_has_cases_that_break_it_and_cases_that_do_not():
    cases = [case for case in CASES if case.operation == "validate"]
    found = {case.id: _rules_found(case) for case in cases}
    for rule in RULES:
        assert any(rule in rules for rules in found.values()), rule
        assert any(case.rule == rule and rule not in found[case.id] for case in cases) or rule in ("C1", "V2"), rule


def _rules_found(case: Case) -> set[str]:
    """Where a case names only a code, the finding counts for the rule of the case."""
    return {one.get("rule", case.rule) for level in ("errors", "warnings") for one in case.expect.get(level, ())}


def test_the_manifest_names_every_file_rule_and_row():
    names = [name for suite in manifest()["suites"] for name in suite["files"]]
    files = [path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json")]
    apart = ("fixtures/", "manifest.json", *manifest()["measured"])
    assert sorted(names) == sorted(name for name in files if not name.startswith(apart))
    rows = {(part["pair"], row) for part in manifest()["matrix"] for row in part["rows"]}
    assert {(case.pair, case.row) for case in CASES if case.pair} == rows
    assert {case.rule for case in CASES} | {rule for case in CASES for rule in case.needs} <= manifest()["rules"].keys()
    assert Counter(case.id for case in CASES).most_common(1)[0][1] == 1


def test_every_fixture_is_used_and_what_is_measured_can_be_read():
    used = {path for case in CASES for path in _files(case.input, case.expect.get("output_of", {}))}
    for name in manifest()["measured"]:
        for workload in json.loads((FOLDER / name).read_text("utf-8"))["workloads"]:
            assert input_of(workload["input"])
            used.update(_files(workload["input"]))
    assert used == {path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("fixtures/**/*") if path.is_file()}


def _files(*inputs: dict[str, Any]) -> set[str]:
    return {one[key] for one in inputs for key in ("fixture", "file") if key in one}


# --- broken implementations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_port_that_lacks_one_rule_is_told_exactly_this_one(right, rule):
    levels = ("errors", "warnings")
    port = {
        name: {
            key: [one for one in value if one["context"].get("rule") != rule] if key in levels else value
            for key, value in result.items()
        }
        for name, result in right.items()
    }
    assert list(judge(CASES, port).missed()) == [rule]


@pytest.mark.parametrize("rule", CROSS_FIELD_RULES)
def test_an_implementation_without_one_rule_across_fields_is_told_which(monkeypatch, rule):
    monkeypatch.setattr(validate_module, "CROSS_FIELD_RULES", [one for one in CROSS_FIELD_RULES if one is not rule])
    missed = set(verdict_of_now("validation").missed())
    assert missed == set(_BY_FUNCTION[rule.__name__])


_BY_FUNCTION = {
    "_ends_after_start": ["X1"],
    "_duration_fits_times": ["X2"],
    "_capabilities_fit_call": ["X3", "X4", "X5"],
    "_status_is_told_alike": ["X6"],
    "_schema_version_is_the_claimed": ["X7"],
    "_role_costs_fit_total": ["X8"],
    "_attributed_roles_were_selected": ["X9"],
    "_start_is_not_ahead": ["X10"],
    "_checksum_is_right": ["X11"],
    "_references_have_a_known_scheme": ["A1"],
    "_processing_follows_arrival": ["A2"],
    "_consent_allows_keeping": ["C1", "C2", "C3", "C4"],
    "_granted_consent_covers_use": ["C5", "C6"],
    "_consent_is_well_formed": ["C7"],
}


def test_a_checksum_without_sorting_is_told_as_that_and_nothing_else(monkeypatch):
    encoder = checksum_module._ENCODER
    unsorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=encoder.default)
    monkeypatch.setattr(checksum_module, "_ENCODER", unsorted)
    monkeypatch.setattr(checksum_module, "sorted", lambda keys, key=None: list(keys), raising=False)
    verdict = verdict_of_now()
    assert list(verdict.missed()) == ["jcs.keys"]
    assert {failure.case.rule for failure in verdict.failures} >= {"X11", "sum.vector", "provider.sum"}
    assert "fails because of jcs.keys" in text(summary(verdict))


def test_a_wrong_status_word_is_told_as_that_and_nothing_else(monkeypatch):
    monkeypatch.setitem(made.STATUS_FROM_V03, "failed", "error")
    assert list(verdict_of_now("migration").missed()) == ["7.2.status"]


def test_a_wrong_limit_of_the_gap_is_told(monkeypatch):
    monkeypatch.setattr(gap_module, "round", lambda value, _places: value, raising=False)
    assert set(verdict_of_now("gap").missed()) == {"gap.score", "gap.class"}


def test_findings_in_another_order_are_told_as_that(right):
    port = {name: result | {"errors": result.get("errors", [])[::-1]} for name, result in right.items()}
    assert "output" not in port["validation.order.1"]
    assert list(judge([case for case in CASES if case.operation == "validate"], port).missed()) == ["order"]


def test_a_crash_a_changed_input_and_a_different_second_answer_are_told(monkeypatch):
    case = one("7.2.status", "migrate")

    words = iter("ab")

    def spoil(value, _options):
        value["spoilt"] = next(words)
        return value["spoilt"]

    monkeypatch.setitem(answer.__globals__["_OPERATIONS"], "migrate", spoil)
    assert answer(case)["unstable"] == ["determinism", "input"]
    rules = judge([case], {case.id: answer(case)}).missed()
    assert set(rules) == {"7.2.status"}
    assert told(case, {"unstable": ["input", "determinism", "weather"], "output": answer(case)})[:2] == [
        ("stable.determinism", "another answer on the second run"),
        ("stable.input", "the input was changed"),
    ]


def test_a_crash_is_an_answer_and_names_only_its_kind(monkeypatch):
    case = one("7.2.status", "migrate")
    monkeypatch.setitem(answer.__globals__["_OPERATIONS"], "migrate", lambda *_: 1 / 0)
    assert answer(case) == {"id": case.id, "unstable": ["crash"], "output": "ZeroDivisionError"}
    assert told(case, answer(case)) == [("7.2.status", "no answer but a failure: ZeroDivisionError")]


# --- single answers --------------------------------------------------------------------------------------------------


def fitting(expect: dict[str, Any], operation: str = "serialize", **more: Any) -> Case:
    return Case("t.1", "write.same", "a trial", operation, {"json": {}}, expect, "trial", **more)


ERROR = {"code": "VCP_E001", "message": "m", "implementation": "i", "context": {"rule": "X1"}, "field_path": "$"}


@pytest.mark.parametrize(
    ("expect", "result", "words"),
    [
        ({"output": 1}, {"output": 1.0}, []),
        ({"output": 1}, {"output": True}, ["the output is true, expected 1"]),
        ({"output": [1]}, {"output": [1, 2]}, ["the output is [1, 2], expected [1]"]),
        ({"output": {"a": [1, {"b": None}]}}, {"output": {"a": [1, {}]}}, ["/a/1/b is absent, expected null"]),
        ({"output": {}}, {"output": {"a/b~c": 1}}, ["/a~1b~0c is 1, expected absent"]),
        ({"output": "2025-10-14T12:00:00Z"}, {"output": "2025-10-14T12:00:00.000Z"}, []),
        ({"output": "2025-10-14T12:00:00.5Z"}, {"output": "2025-10-14T12:00:00.50Z"}, []),
        (
            {"output": "2025-10-14T12:00:00Z", "exact": True},
            {"output": "2025-10-14T12:00:00.000Z"},
            ['the output is "2025-10-14T12:00:00.000Z", expected "2025-10-14T12:00:00Z"'],
        ),
        ({"output": "x" * 200}, {"output": ""}, [f'the output is "", expected "{"x" * 116}...']),
        ({"output": 1}, {"errors": [ERROR]}, ["refused: ['m']"]),
        ({"at": {"/a/0": 1}}, {"output": {"a": [1, 2]}}, []),
        ({"at": {"/a/x": 1}}, {"output": {"a": [1, 2]}}, ["/a/x is absent, expected 1"]),
        ({"at": {"/a": 1}}, {"output": 7}, ["/a is absent, expected 1"]),
        ({"at": {}, "absent": ["/a"]}, {"output": {"a": None}}, ["/a should not be there"]),
        ({"at": {}, "named": {"/n": ["$.a.b"]}}, {"output": {"n": [{"path": "$.a"}]}}, []),
        ({"at": {}, "named": {"/n": ["$.a"]}}, {"output": {"n": [7, {"path": "$.a[0]"}]}}, []),
        ({"at": {}, "named": {"/n": ["$.a"]}}, {"output": {"n": [{"path": "$.ab"}]}}, ["/n does not name $.a"]),
        ({"at": {}, "named": {"/n": ["$.a"]}}, {"output": {}}, ["/n does not name $.a"]),
        ({"errors": [{"code": "VCP_E001"}]}, {"errors": [ERROR]}, []),
        ({"errors": [{"code": "VCP_E001"}]}, {"output": 1}, ["an output where the input is to be refused"]),
        ({"errors": [{"code": "VCP_E001"}]}, {"errors": []}, ["errors: VCP_E001 is missing"]),
        ({"errors": []}, {"errors": [ERROR]}, ["errors: VCP_E001 X1 $ is too much"]),
        (
            {"errors": [{"code": "VCP_E001", "says": ["0.5"]}]},
            {"errors": [ERROR]},
            ["errors: the message does not say 0.5"],
        ),
        ({"errors": []}, {"errors": [7]}, ["an entry is no error object", "errors:  is too much"]),
        ({"errors": [{"code": "VCP_E001"}]}, {"errors": [ERROR | {"message": ""}]}, ["an entry is no error object"]),
        ({"errors": [{"code": "VCP_E001"}]}, {"errors": [ERROR | {"context": []}]}, ["an entry is no error object"]),
        ({"output": 1}, None, ["no result"]),
    ],
)
def test_an_answer_is_compared(expect, result, words):
    results = {} if result is None else {"t.1": result}
    failures = judge([fitting(expect)], results).failures
    assert [miss.text for failure in failures for miss in failure.misses] == words


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["determinism", "VCP_E001"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ERROR, "path", "rule"]), inner),
    max_leaves=8,
)
_LINES = st.fixed_dictionaries(
    {"id": st.just("")}, optional={"output": _JSON} | dict.fromkeys(("errors", "warnings", "unstable"), st.lists(_JSON))
)


@tries(30)
@given(st.sampled_from(CASES), _LINES)
def test_whatever_a_result_holds_there_is_a_verdict(case, line):
    try:
        results = by_id([json.dumps(line | {"id": case.id})])
    except ValueError:
        return
    assert text(summary(judge([case], results)))


def test_a_value_of_the_payload_in_an_error_is_told():
    case = fitting({"errors": [{"code": "VCP_E001"}]}, hidden=("sesame",))
    leak = ERROR | {"context": {"rule": "X1", "got": "open sesame"}}
    assert told(case, {"errors": [leak]}) == [("error.hidden", "an error object holds a value of the payload")]


def test_an_optional_suite_may_be_left_out_as_a_whole_but_not_in_parts():
    cases = [case for case in CASES if case.suite == "vcon"][:2]
    assert judge(cases, {}).skipped == cases
    verdict = judge(cases, {cases[0].id: answer(cases[0])})
    assert (verdict.passed, [failure.case for failure in verdict.failures]) == (cases[:1], cases[1:])


# --- the command -----------------------------------------------------------------------------------------------------


def run(capsys, *arguments: str) -> tuple[int, str]:
    status = command.main(arguments)
    return status, capsys.readouterr().out


def test_the_suites_run_by_name_provider_and_pair(capsys):
    assert run(capsys, "--suite", "gap") == (0, _GAP.format(count=len(chosen("gap"))))
    status, out = run(capsys, "--provider", "retell", "--json")
    told = json.loads(out)
    assert (status, told["ok"], told["suites"]) == (
        0, True, [{"suite": "providers", "passed": 4, "failed": 0, "skipped": 0}],
    )  # fmt: skip
    status, out = run(capsys, "--pair", "0.4:0.5")
    assert "0.4:0.5   incomplete data" in out
    assert "0.3:0.5" not in out


_GAP = """\
suite            passed failed skipped
gap                  {count}      0       0

{count} passed, 0 failed, 0 skipped
"""


def test_results_of_a_port_are_judged_from_a_file(capsys, tmp_path):
    status, out = run(capsys, "results", "--suite", "validation")
    lines = [json.loads(line) for line in out.splitlines()]
    for line in lines:
        line["warnings"] = [one for one in line["warnings"] if one["context"]["rule"] != "X7"]
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    status, out = run(capsys, "judge", str(path), "--suite", "validation")
    assert status == 1
    assert (
        "misses rule X7 in 1 case: audit.schema_version differs from vcp_version: a warning\n  validation.X7.1" in out
    )


def test_the_order_of_words_on_the_command_line_does_not_matter(capsys, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(run(capsys, "results", "--suite", "gap")[1])
    assert run(capsys, "judge", "--suite", "gap", str(path)) == (0, _GAP.format(count=len(chosen("gap"))))


def test_results_of_other_suites_may_stand_in_the_file_but_not_of_cases_that_are_none(capsys, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(run(capsys, "results")[1])
    assert run(capsys, "judge", str(path), "--suite", "gap")[0] == 0
    path.write_text('{"id": "gap.gap.score.1000", "output": null}')
    with pytest.raises(SystemExit):
        command.main(["judge", str(path)])
    assert "no such case: gap.gap.score.1000; `cases` prints those there are" in capsys.readouterr().err


class Unread(io.StringIO):
    """An output whose reader has gone; what lies behind it is a file of the test."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def write(self, text):
        raise BrokenPipeError

    def fileno(self):
        return self.file.fileno()


def test_cases_that_nobody_reads_to_the_end_end_the_run(monkeypatch, capsys, tmp_path):
    with (tmp_path / "out").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", Unread(file))
        assert command.main(["cases", "--suite", "gap"]) == 141
    monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_a_case_without_an_answer_shows_no_steadiness():
    told = summary(judge(chosen(pair="0.3:0.5"), {}))
    rows = next(part["rows"] for part in manifest()["matrix"] if part["pair"] == "0.3:0.5")
    assert {row["row"]: row["passed"] for row in told["matrix"]} == dict.fromkeys(
        [*rows, "determinism", "input unchanged"], 0
    )


def test_cases_are_printed_without_references_to_files(capsys):
    _status, out = run(capsys, "cases")
    cases = {case["id"]: case for case in map(json.loads, out.splitlines())}
    assert cases.keys() == {case.id for case in CASES}
    assert {key for case in cases.values() for key in case["input"]} == {"json", "base64"}
    whole = cases["serialization.write.same.1"]
    assert whole["expect"] == {"output": whole["input"]["json"]}
    text_case = next(case for case in CASES if "text" in case.input)
    assert base64.b64decode(cases[text_case.id]["input"]["base64"]).decode() == text_case.input["text"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "none"], "no such suite; there are: checksum, detection"),
        (["--provider", "none"], "no such provider; there are: assistable"),
        (["--pair", "0.1:0.2"], "no such pair; there are: 0.3:0.5, 0.4:0.5, 0.5:0.3"),
        (["judge"], "judge needs a FILE"),
        (["run", "-"], "only judge takes one"),
        (["judge", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (["dance"], "invalid choice"),
    ],
)
def test_a_wrong_call_is_refused_with_status_2(capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 cannot be read as JSON"),
        ("[" * 100_000, "line 2 cannot be read as JSON"),
        ("[]", "line 2 has no id"),
        ('{"id": 7, "output": 1}', "line 2 has no id"),
        ('{"id": "a", "output": 1}', "line 2 repeats the case a"),
        ('{"id": "b"}', "line 2 has neither output nor errors"),
        ('{"id": "b", "errors": 7}', "line 2 has no list in one of: errors"),
    ],
)
def test_a_line_that_is_no_result_is_named(line, words):
    with pytest.raises(ValueError, match=words):
        by_id(['{"id": "a", "output": 1}', line])


def test_the_module_can_be_called(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vcp.compat", "--suite", "detection"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(command.__file__, run_name="__main__")
    assert stopped.value.code == 0
    assert "0 failed" in capsys.readouterr().out


# --- inputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"op": "replace", "path": "/a/0", "value": 7}, {"a": [7, 2], "b/c": {"~": 3}}),
        ({"op": "add", "path": "/a/1", "value": 7}, {"a": [1, 7, 2], "b/c": {"~": 3}}),
        ({"op": "add", "path": "/a/-", "value": 7}, {"a": [1, 2, 7], "b/c": {"~": 3}}),
        ({"op": "add", "path": "/d", "value": None}, {"a": [1, 2], "b/c": {"~": 3}, "d": None}),
        ({"op": "remove", "path": "/b~1c/~0"}, {"a": [1, 2], "b/c": {}}),
        ({"op": "remove", "path": "/a/0"}, {"a": [2], "b/c": {"~": 3}}),
    ],
)
def test_a_fixture_is_changed_by_json_patch(change, result):
    assert patched({"a": [1, 2], "b/c": {"~": 3}}, [change]) == result


def test_a_json_input_is_given_as_a_copy():
    told = {"json": {"a": []}}
    input_of(told)["a"].append(1)
    assert told == {"json": {"a": []}}

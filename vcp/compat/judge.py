"""Whether answers are right, and which rule an implementation misses when they are not.

Compares by the rules of README.md. A case that fails only because it stands on another rule that is missed is counted
under that rule, so one mistake is told once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from vcp.compat.cases import Case, at, expected_output, manifest
from vcp.errors import ERROR_NAMES

_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")
_MISSING: Final = object()
_UNSTABLE: Final = {"determinism": "another answer on the second run", "input": "the input was changed"}
_FINDING: Final = ("code", "rule", "field_path")


class Miss(NamedTuple):
    """What is wrong with one answer: the rule it breaks, and the difference in words."""

    rule: str
    text: str


@dataclass(frozen=True)
class Failure:
    """A case that failed, with every difference; `follows` names the missed rules it stands on, else it is empty.

    `answered`: there was a result at all.
    """

    case: Case
    misses: tuple[Miss, ...]
    follows: tuple[str, ...] = ()
    answered: bool = True

    def breaks(self, rule: str) -> bool:
        """Whether one of the differences is of this rule."""
        return any(miss.rule == rule for miss in self.misses)


@dataclass(frozen=True)
class Verdict:
    """What became of each case. `skipped` are optional suites of which no result was handed in."""

    passed: list[Case] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[Case] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.failures

    def missed(self) -> dict[str, list[str]]:
        """Each missed rule with the ids of the cases that show it; consequences of other rules are left out."""
        found: dict[str, list[str]] = {}
        for failure in self.failures:
            if not failure.follows:
                for rule in dict.fromkeys(miss.rule for miss in failure.misses):
                    found.setdefault(rule, []).append(failure.case.id)
        return found


def judge(cases: Sequence[Case], results: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """The verdict on results by case id; a case without result has failed, unless its whole suite is optional."""
    handed_in = {case.suite for case in cases if case.id in results}
    verdict = Verdict(skipped=[case for case in cases if case.optional and case.suite not in handed_in])
    failed: list[Failure] = []
    for case in cases:
        if case.optional and case.suite not in handed_in:
            continue
        misses = tuple(dict.fromkeys(misses_of(case, results.get(case.id))))
        if misses:
            failed.append(Failure(case, misses, answered=case.id in results))
        else:
            verdict.passed.append(case)
    verdict.failures.extend(_with_causes(failed))
    return verdict


def _with_causes(failed: Sequence[Failure]) -> Iterator[Failure]:
    """Rules that fail by themselves are causes; what needs one of them follows from it."""
    causes: set[str] = set()
    rest = sorted(failed, key=lambda failure: len(failure.case.needs))
    for failure in rest:
        if not causes.intersection(failure.case.needs):
            causes.update(miss.rule for miss in failure.misses)
    for failure in failed:
        own = {miss.rule for miss in failure.misses}
        follows = tuple(rule for rule in failure.case.needs if rule in causes and rule not in own)
        yield replace(failure, follows=follows)


# --- one answer ------------------------------------------------------------------------------------------------------


def misses_of(case: Case, result: Mapping[str, Any] | None) -> Iterator[Miss]:
    """Everything wrong with one result line."""
    if result is None:
        yield Miss(case.rule, "no result")
        return
    told = result.get("unstable", [])
    if "crash" in told:
        yield Miss(case.rule, f"no answer but a failure: {result.get('output')}")
        return
    yield from (Miss(f"stable.{name}", words) for name, words in _UNSTABLE.items() if name in told)
    yield from _error_objects(case, result)
    if "errors" in case.expect:
        yield from _findings(case, result)
    else:
        yield from _output(case, result)


def _findings(case: Case, result: Mapping[str, Any]) -> Iterator[Miss]:
    if "output" in result:
        yield Miss(case.rule, "an output where the input is to be refused")
        return
    for level in ("errors", "warnings"):
        wanted, found = case.expect.get(level, []), result.get(level, [])
        names = wanted[0].keys() if wanted else _FINDING
        keys, found_keys = ([_key(one, names) for one in many] for many in (wanted, map(_flat, found)))
        yield from (_miss(case, level, key, "is missing") for key in (Counter(keys) - Counter(found_keys)).elements())
        yield from (_miss(case, level, key, "is too much") for key in (Counter(found_keys) - Counter(keys)).elements())
        if Counter(keys) == Counter(found_keys) and keys != found_keys:
            yield Miss("order", f"the {level} are not in document order")
        yield from _named_words(case, level, wanted, found)


def _flat(finding: Any) -> dict[str, Any]:
    """A finding as the cases write it, with the rule beside the code."""
    told = finding if isinstance(finding, dict) else {}
    context = told.get("context")
    return {**told, "rule": context.get("rule") if isinstance(context, dict) else None}


def _key(finding: Mapping[str, Any], names: Collection[str]) -> tuple[str | None, ...]:
    """Code, rule and place, as far as the expected findings name them."""
    told = (finding.get(name) if name in names else None for name in _FINDING)
    return tuple(None if value is None else str(value) for value in told)


def _miss(case: Case, level: str, key: tuple[str | None, ...], what: str) -> Miss:
    rule = key[1] if key[1] in manifest()["rules"] else None
    return Miss(rule or case.rule, f"{level}: {' '.join(part for part in key if part)} {what}")


def _named_words(case: Case, level: str, wanted: Sequence[Any], found: Sequence[Any]) -> Iterator[Miss]:
    """Words that the message for people must hold, for instance the supported versions."""
    for want, have in zip(wanted, found, strict=False):
        for word in want.get("says", ()):
            if word not in str(_flat(have).get("message")):
                yield Miss(case.rule, f"{level}: the message does not say {word}")


def _output(case: Case, result: Mapping[str, Any]) -> Iterator[Miss]:
    if "output" not in result:
        yield Miss(case.rule, f"refused: {[_flat(one).get('message') for one in result['errors']]}")
        return
    output, expect, exact = result["output"], case.expect, case.expect.get("exact", False)
    if "output" in expect or "output_of" in expect:
        yield from (Miss(case.rule, text) for text in _differences(expected_output(expect), output, "", exact))
    for path, wanted in expect.get("at", {}).items():
        yield from (Miss(case.rule, text) for text in _differences(wanted, _value(output, path), path, exact))
    for path in expect.get("absent", ()):
        if _value(output, path) is not _MISSING:
            yield Miss(case.rule, f"{path} should not be there")
    for path, places in expect.get("named", {}).items():
        yield from (Miss(case.rule, f"{path} does not name {place}") for place in _unnamed(output, path, places))


def _value(output: Any, path: str) -> Any:
    try:
        return at(output, path)
    except (LookupError, TypeError, ValueError):
        return _MISSING


def _unnamed(output: Any, path: str, places: Sequence[str]) -> Iterator[str]:
    """Places that no entry of a report names, neither itself nor by a place around or inside it."""
    notes = _value(output, path)
    told = [str(note.get("path")) for note in notes if isinstance(note, dict)] if isinstance(notes, list) else []
    for place in places:
        if not any(_is_within(place, one) or _is_within(one, place) for one in told):
            yield place


def _is_within(place: str, around: str) -> bool:
    return place == around or place.startswith((f"{around}.", f"{around}["))


def _differences(wanted: Any, found: Any, path: str, exact: bool) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys()):
            step = key.replace("~", "~0").replace("/", "~1")
            one, other = wanted.get(key, _MISSING), found.get(key, _MISSING)
            yield from _differences(one, other, f"{path}/{step}", exact)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(one, other, f"{path}/{index}", exact)
    elif not _same(wanted, found, exact):
        yield f"{path or 'the output'} is {_shown(found)}, expected {_shown(wanted)}"


def _same(one: Any, other: Any, exact: bool) -> bool:
    """1 and 1.0 are equal, 1 and true are not; timestamps in UTC are equal as instants unless `exact`."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, str) and isinstance(other, str) and not exact:
        return _instant(one) == _instant(other)
    return bool(one == other)


def _instant(text: str) -> str:
    match = _INSTANT.fullmatch(text)
    return text if match is None else f"{match[1]}.{(match[2] or '').rstrip('0')}Z"


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "absent"
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _error_objects(case: Case, result: Mapping[str, Any]) -> Iterator[Miss]:
    for error in [*result.get("errors", []), *result.get("warnings", [])]:
        if not _is_error_object(error):
            yield Miss("error.object", "an entry is no error object")
        elif any(word in json.dumps(error, ensure_ascii=False) for word in case.hidden):
            yield Miss("error.hidden", "an error object holds a value of the payload")


def _is_error_object(error: Any) -> bool:
    if not isinstance(error, dict) or error.get("code") not in tuple(ERROR_NAMES):
        return False
    texts = [error.get("message"), error.get("implementation"), error.get("field_path", "$")]
    return all(isinstance(text, str) and text for text in texts) and isinstance(error.get("context"), dict)


def by_id(lines: Iterable[str | bytes]) -> dict[str, dict[str, Any]]:
    """Results of a JSON Lines file by case id. Raises ValueError that names the first line that is none."""
    results: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
            problem = _problem_of_line(result, results)
        except (ValueError, RecursionError):
            problem = "cannot be read as JSON"
        if problem:
            raise ValueError(f"line {number} {problem}")
        results[result["id"]] = result
    return results


def _problem_of_line(result: Any, seen: Mapping[str, Any]) -> str | None:
    if not isinstance(result, dict) or not isinstance(result.get("id"), str):
        return "has no id: each line is an object with the id of its case"
    if result["id"] in seen:
        return f"repeats the case {result['id']}"
    lists = ("errors", "warnings", "unstable")
    if not all(isinstance(result.get(name, []), list) for name in lists):
        return f"has no list in one of: {', '.join(lists)}"
    return None if result.keys() & {"output", "errors"} else "has neither output nor errors"

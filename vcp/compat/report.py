"""A verdict as a summary for machines and as text for people: suites, migration matrix, the rules that are missed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vcp.compat.cases import manifest
from vcp.compat.judge import Failure, Verdict

Summary = dict[str, Any]

# Rows that every case of a pair counts for: what happened when it was asked twice. Who gave no answer showed neither.
_ALWAYS: Final = {"determinism": "stable.determinism", "input unchanged": "stable.input"}


def summary(verdict: Verdict) -> Summary:
    """The verdict as plain JSON: `ok`, `counts`, `suites`, `matrix`, `missed`, `failures`."""
    failed = [failure.case for failure in verdict.failures]
    return {
        "ok": verdict.ok,
        "counts": {"passed": len(verdict.passed), "failed": len(failed), "skipped": len(verdict.skipped)},
        "suites": [row for suite in manifest()["suites"] for row in _suite(suite["name"], verdict)],
        "matrix": list(_matrix(verdict)),
        "missed": [_missed(rule, cases) for rule, cases in verdict.missed().items()],
        "failures": [_failure(failure) for failure in verdict.failures],
    }


def _suite(name: str, verdict: Verdict) -> Iterator[Summary]:
    groups = {
        "passed": verdict.passed,
        "failed": [failure.case for failure in verdict.failures],
        "skipped": verdict.skipped,
    }
    counts = {key: sum(case.suite == name for case in cases) for key, cases in groups.items()}
    if any(counts.values()):
        yield {"suite": name, **counts}


def _matrix(verdict: Verdict) -> Iterator[Summary]:
    """Section 7.6: version pairs and rows, with what passed of how many."""
    for part in manifest()["matrix"]:
        failures = [failure for failure in verdict.failures if failure.case.pair == part["pair"]]
        cases = [case for case in verdict.passed if case.pair == part["pair"]]
        cases += [failure.case for failure in failures]
        for row in part["rows"]:
            failed = sum(failure.case.row == row for failure in failures)
            yield from _row(part["pair"], row, sum(case.row == row for case in cases), failed)
        for row, rule in _ALWAYS.items():
            failed = sum(failure.breaks(rule) or not failure.answered for failure in failures)
            yield from _row(part["pair"], row, len(cases), failed)


def _row(pair: str, row: str, cases: int, failed: int) -> Iterator[Summary]:
    if cases:
        yield {"pair": pair, "row": row, "passed": cases - failed, "cases": cases}


def _missed(rule: str, cases: list[str]) -> Summary:
    return {"rule": rule, "title": manifest()["rules"][rule], "cases": cases}


def _failure(failure: Failure) -> Summary:
    case = failure.case
    told = {"id": case.id, "rule": case.rule, "title": case.title}
    differences = [miss._asdict() for miss in failure.misses]
    return {**told, "differences": differences, "follows": list(failure.follows)}


def text(told: Summary) -> str:
    """The summary for people, without a line break at the end."""
    return "\n".join([*_tables(told), *_misses(told)])


def _tables(told: Summary) -> Iterator[str]:
    yield f"{'suite':<16}{'passed':>7}{'failed':>7}{'skipped':>8}"
    for row in told["suites"]:
        yield f"{row['suite']:<16}{row['passed']:>7}{row['failed']:>7}{row['skipped']:>8}"
    if told["matrix"]:
        yield f"\n{'pair':<10}{'migration':<24}{'passed':>9}"
    for row in told["matrix"]:
        yield f"{row['pair']:<10}{row['row']:<24}{row['passed']:>5}/{row['cases']}"
    yield ""


def _misses(told: Summary) -> Iterator[str]:
    texts = {failure["id"]: failure["differences"][0]["text"] for failure in told["failures"]}
    for missed in told["missed"]:
        count = len(missed["cases"])
        yield f"misses rule {missed['rule']} in {count} case{'s' * (count > 1)}: {missed['title']}"
        yield from (f"  {name}: {texts[name]}" for name in missed["cases"])
    for failure in told["failures"]:
        if failure["follows"]:
            yield f"  {failure['id']} fails because of {', '.join(failure['follows'])}"
    counts = told["counts"]
    yield f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"

"""`python -m vcp.compat`: runs the suite for this implementation, or judges the results of another one.

Exit status 0: everything passed; 1: something failed; 2: it was called wrongly.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from vcp.cli.main import BROKEN_PIPE, give_up_output
from vcp.compat.answers import answer
from vcp.compat.cases import Case, all_cases, chosen
from vcp.compat.judge import by_id, judge
from vcp.compat.report import summary, text

_ACTIONS = """\
run      ask this implementation, and judge its answers (the default)
judge    judge the results of any implementation: FILE holds JSON Lines, - is standard input
results  print this implementation's results as JSON Lines
cases    print the cases as JSON Lines, fixtures and changes resolved
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and give the exit status."""
    parser = _parser()
    asked = parser.parse_intermixed_args(arguments)
    if (asked.action == "judge") != (asked.file is not None):
        parser.error("judge needs a FILE of results (- for standard input), and only judge takes one")
    try:
        cases = chosen(asked.suite, asked.provider, asked.pair)
        lines = _lines(asked.action, cases)
        if lines is None:
            return _verdict(cases, _results(cases, asked.file), as_json=asked.json)
    except ValueError as error:
        parser.error(str(error))
    return _printed(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vcp.compat",
        description="The compatibility suite of the Voice Context Protocol.",
        epilog=_ACTIONS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", default="run", choices=["run", "judge", "results", "cases"])
    parser.add_argument("file", nargs="?", type=argparse.FileType("rb"), metavar="FILE", help="results to judge")
    parser.add_argument("--suite", help="only this suite, for example migration")
    parser.add_argument("--provider", help="only the cases of this provider")
    parser.add_argument("--pair", help="only migrations of this version pair, for example 0.3:0.5")
    parser.add_argument("--json", action="store_true", help="the verdict for machines")
    return parser


def _lines(action: str, cases: Sequence[Case]) -> Iterator[str] | None:
    if action == "results":
        return (json.dumps(answer(case)) for case in cases)
    if action == "cases":
        return (json.dumps(case.resolved()) for case in cases)
    return None


def _printed(lines: Iterator[str]) -> int:
    """Where nobody reads to the end, such as `head`, the rest is left out without a word."""
    try:
        for line in lines:
            print(line)
        print(end="", flush=True)
    except BrokenPipeError:
        give_up_output()
        return BROKEN_PIPE
    return 0


def _results(cases: Sequence[Case], file: IO[bytes] | None) -> Mapping[str, Mapping[str, Any]]:
    if file is None:
        return {case.id: answer(case) for case in cases}
    with file:
        results = by_id(file)
    unknown = sorted(results.keys() - {case.id for case in all_cases()})
    if unknown:
        raise ValueError(f"no such case: {', '.join(unknown[:3])}; `cases` prints those there are")
    return results


def _verdict(cases: Sequence[Case], results: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> int:
    told = summary(judge(cases, results))
    print(json.dumps(told, indent=2) if as_json else text(told))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())

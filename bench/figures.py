"""`make bench-figures`: writes what the benches of the whole service last measured into docs/performance.md.

Knows the files of results and the two markers in the document; measures nothing. A table of the document whose bench
has no results on this machine stays as it is.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TextIO

RESULTS = Path(__file__).with_name("results")
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NONE_YET = "Nothing has been measured yet."
TITLE = "### "

Json = Any


def rendered(ingest: Json, drain: Json, two_phase: Json) -> str:
    """Markdown of the results of the three benches; a bench without results is left out."""
    parts = [
        *(_ingest(database, found) for database, found in ingest.items()),
        *([_drain(drain)] if "rates" in drain or "backlog" in drain else []),
        *(_two_phase(database, found) for database, found in two_phase.items()),
    ]
    return "\n\n".join(parts)


def _ingest(database: str, found: Json) -> str:
    half, overload = found["half"], found["overload"]
    rows = [(f"{name}, acknowledged a second", _spread(rates, ",.0f"), "") for name, rates in found["rates"].items()]
    for name, ratios in found["ratios"].items():
        rows.append((name, _spread(ratios, ".2f"), "1.7" if name.startswith("x bare") else "0.6"))
    rows += [
        ("p99 of the answer at half of the capacity", f"{half['p99_ms']:.1f} ms", "20 ms"),
        ("acknowledged in overload, of the capacity", f"{overload['of capacity']:.2f}", "0.6"),
        ("answers in overload by status", _counts(overload["statuses"]), "200, 429, 503"),
        ("connections that broke in overload", _counts(overload["errors"]), "none"),
    ]
    return _table(f"The door on {database}", found["machine"], rows)


def _drain(found: Json) -> str:
    rows = [
        (f"{name}, deliveries a second", _spread(rates, ",.0f"), "3,000" if name == "2 processes" else "")
        for name, rates in found.get("rates", {}).items()
    ]
    if costs := found.get("cost of numbers"):
        rows.append(("cost of the daily numbers", _spread(costs, ".0%"), "under 10%"))
    if backlog := found.get("backlog"):
        rates = [part["per_sec"] for part in backlog["parts"]]
        memory = [part["rss_mb"] for part in backlog["parts"]]
        rows.append((f"a backlog of {backlog['done']:,}, a second by tenths", _spread(rates, ",.0f"), "steady"))
        rows.append(("memory of a worker meanwhile, MB", _spread(memory, ".0f"), "flat"))
    return _table("From the inbox to the numbers on PostgreSQL", found.get("machine"), rows)


def _two_phase(database: str, found: Json) -> str:
    rows = [("at rest, of a core", f"{found['idle_core']:.2%}", "under 1%")]
    for one, wanted in ((found["ordinary"], "1,000"), (found["full"], "2,000")):
        at = f"at {one['rate']:,.0f}/s for {one['seconds']:.0f} s"
        lag = one["lag_ms"]
        missing = "; ".join(one["problems"]) or "none"
        rows += [
            (f"{at}: acknowledged", f"{one['acknowledged']:,}", f"{int(one['rate'] * one['seconds']):,}"),
            (f"{at}: missing or wrong", missing, "none"),
            (f"{at}: send to message, ms, p50 / p95 / p99", _percentiles(lag), f"p95 under {wanted}"),
            (f"{at}: answer, ms, p50 / p95 / p99", _percentiles(one["answer_ms"]), ""),
        ]
    return _table(f"Two phases on {database}", found["machine"], rows)


def _percentiles(found: Json) -> str:
    return " / ".join(f"{found[name]:,.0f}" for name in ("p50", "p95", "p99")) if found else "-"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in counts.items()) or "none"


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}} to {max(values):{form}}]"


def _table(title: str, machine: Json, rows: Sequence[tuple[str, str, str]]) -> str:
    where = (
        f"{machine['date']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB, Python {machine['python']}"
        if machine
        else "date and machine were not stored"
    )
    lines = [f"| {what} | {value} | {wanted} |" for what, value, wanted in rows]
    return "\n".join([f"### {title}", "", f"Measured {where}.", "", "| | measured | wanted |", "|---|---|---|", *lines])


def replaced(document: str, figures: str) -> str:
    """The document with these tables between its markers: each in the place of the one with its title, a new one
    after them. Raises ValueError where the document has not both markers, once."""
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise ValueError(f"the document needs {BEGIN} and {END}, once each and in this order")
    before, rest = document.split(BEGIN)
    standing, after = rest.split(END)
    tables = _by_title(standing) | _by_title(figures)
    shown = "\n\n".join(tables.values()) or NONE_YET
    return f"{before}{BEGIN}\n{shown}\n{END}{after}"


def _by_title(figures: str) -> dict[str, str]:
    _, *tables = f"\n{figures}".split(f"\n{TITLE}")
    return {table.partition("\n")[0]: f"{TITLE}{table.strip()}" for table in tables}


def _stored(folder: Path) -> Iterator[Json]:
    for name in ("ingest", "drain", "two_phase"):
        path = folder / f"{name}.json"
        yield json.loads(path.read_text("utf-8")) if path.exists() else {}


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.figures", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results (default: %(default)s)")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="(default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="into the document; else they are only shown")
    asked = parser.parse_args(arguments)
    figures = rendered(*_stored(asked.results))
    if not figures:
        print(f"{asked.results} has no results: measure first, for example with `make bench-ingest`", file=out)
    elif asked.write:
        asked.document.write_text(replaced(asked.document.read_text("utf-8"), figures), "utf-8")
    else:
        print(figures, file=out)


if __name__ == "__main__":
    main()

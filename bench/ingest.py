"""How many webhooks a second are acknowledged durably, beside a bare view that stores them and the database's limit.

`make bench-ingest`: in interleaved rounds on one machine (a) one Django view with one INSERT of the same body under the
same server, (b) VoiceLens as shipped, with signature, repetitions found and headers kept, (c) pgbench with single-row
commits of the same size. Then the time of an answer at half of the capacity, and what an overload of ten times meets.
The generator of the load runs on the same cores.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Any, TextIO
from urllib.parse import urlsplit

from bench.load import Load, closed_loop, open_loop
from bench.stack import Deliveries, Stack, machine, requests
from voicelens.services import postgres_programs

STORE = Path(__file__).with_name("results") / "ingest.json"
BODY_BYTES = 4096
CONNECTIONS = (32, 128)
OVERLOAD = 1000
TARGETS = {"x bare view": 1.7, "x pgbench": 0.6}
PGBENCH_CLIENTS = 8
# The yardstick's server: two processes with four threads each were its best.
BARE = ["--workers", "2", "--blocking-threads", "4"]

Json = Any


class Bench:
    def __init__(self, stack: Stack, seconds: float) -> None:
        self.stack, self.seconds = stack, seconds
        self.kind = Deliveries("retell", BODY_BYTES)
        self.runs = count()

    def prepare(self) -> None:
        self.stack.manage("prepare")
        self.stack.module("bench.bare")

    def fresh(self, many: int) -> Iterator[bytes]:
        """So many requests that were not sent before."""
        return iter(requests([self.kind], many, f"{os.getpid()}_{next(self.runs)}"))

    def bare(self, connections: int) -> Load:
        same = cycle(requests([self.kind], 500, "bare"))
        argv = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", self.stack.address[0], "--port"]
        argv += [
            str(self.stack.port),
            *(BARE if self.stack.on_postgres else ["--workers", "1", "--blocking-threads", "4"]),
        ]
        argv += ["--blocking-threads-idle-timeout", "600", "--no-ws", "--log-level", "error", "bench.bare:application"]
        self.stack.start("web", argv)
        try:
            closed_loop(self.stack.address, same, connections, self.seconds / 4)
            return closed_loop(self.stack.address, same, connections, self.seconds)
        finally:
            self.stack.stop("web")

    def ours(self, connections: int) -> Load:
        many = int(self.seconds * 15_000)
        self.stack.start("web")
        try:
            closed_loop(self.stack.address, self.fresh(many // 4), connections, self.seconds / 4)
            return closed_loop(self.stack.address, self.fresh(many), connections, self.seconds)
        finally:
            self.stack.stop("web")

    def half(self, capacity: float) -> Load:
        """At half of the capacity."""
        rate = capacity / 2
        self.stack.start("web")
        try:
            closed_loop(self.stack.address, self.fresh(2000), 32, 1)
            seconds = max(self.seconds, 5)
            return open_loop(self.stack.address, self.fresh(int(rate * seconds) + 1), rate, seconds, 128)
        finally:
            self.stack.stop("web")

    def overload(self) -> Load:
        self.stack.start("web")
        try:
            seconds = max(self.seconds, 5)
            return closed_loop(self.stack.address, self.fresh(int(seconds * 15_000)), OVERLOAD, seconds)
        finally:
            self.stack.stop("web")

    def pgbench(self) -> float | None:
        """Single-row commits a second; None where the machine has no pgbench."""
        program = _pgbench()
        if program is None:
            return None
        text = self.kind.body.decode(errors="replace").replace("\\", "").replace("'", "")[:BODY_BYTES]
        url = urlsplit(self.stack.database_url)
        environment = {**os.environ, "PGPASSWORD": url.password or "", "LC_ALL": "C"}
        place = ["-h", url.hostname or "", "-p", str(url.port), "-U", url.username or "", url.path.lstrip("/")]
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            # A body of the same length for each row, without pgbench's own variables (`:name`).
            script.write("INSERT INTO bench_bare (body) VALUES ('" + text.replace(":", ";") + "');\n")  # noqa: S608
            script.flush()
            argv = [program, "-n", "-f", script.name, "-c", str(PGBENCH_CLIENTS), "-j", "2"]
            argv += ["-T", str(max(1, round(self.seconds))), *place]
            told = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout
        return float(re.search(r"tps = ([0-9.]+)", told)[1])  # type: ignore[index]


def _pgbench() -> str | None:
    beside = (program.path.with_name("pgbench") for program in postgres_programs())
    return next((str(path) for path in beside if path.exists()), shutil.which("pgbench"))


# --- the report ----------------------------------------------------------------------------------------------------


def run(bench: Bench, rounds: int, out: TextIO) -> Json:
    bench.prepare()
    rates: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for number in range(rounds):
        for connections in CONNECTIONS:
            for name, lane in (("bare view", bench.bare), ("VoiceLens", bench.ours)):
                load = lane(connections)
                _require_only(load, {200})
                rates.setdefault(f"{name}, {connections} connections", []).append(load.per_sec())
                times.setdefault(f"{name}, {connections} connections", []).append(load.percentile_ms(99))
        if bench.stack.on_postgres and (limit := bench.pgbench()) is not None:
            rates.setdefault(f"pgbench, {PGBENCH_CLIENTS} clients", []).append(limit)
        print(
            f"round {number + 1} of {rounds}: " + ", ".join(f"{k} {v[-1]:,.0f}/s" for k, v in rates.items()), file=out
        )
    capacity = median(rates[f"VoiceLens, {CONNECTIONS[1]} connections"])
    return {
        "rates": rates,
        "p99_ms": {name: median(found) for name, found in times.items()},
        "ratios": dict(_ratios(rates)),
        "half": _told(bench.half(capacity)),
        "overload": {**_told(load := bench.overload()), "of capacity": load.per_sec() / capacity},
        "database": "PostgreSQL" if bench.stack.on_postgres else "SQLite",
        "machine": machine(),
    }


def _ratios(rates: dict[str, list[float]]) -> Iterator[tuple[str, list[float]]]:
    """Ours to each limit, a ratio for each round."""
    limits = {"x bare view": "bare view, {} connections", "x pgbench": f"pgbench, {PGBENCH_CLIENTS} clients"}
    for connections in CONNECTIONS:
        ours = rates[f"VoiceLens, {connections} connections"]
        for name, limit in limits.items():
            if found := rates.get(limit.format(connections)):
                yield f"{name}, {connections} connections", [mine / of for mine, of in zip(ours, found, strict=True)]


def _told(load: Load) -> Json:
    return {
        "per_sec": load.per_sec(),
        "statuses": {str(status): number for status, number in sorted(load.statuses.items())},
        "errors": dict(load.errors),
        **{f"p{percent}_ms": round(load.percentile_ms(percent), 2) for percent in (50, 95, 99, 100)},
    }


def _require_only(load: Load, statuses: set[int]) -> None:
    if set(load.statuses) - statuses or load.errors:
        raise RuntimeError(f"answers {dict(load.statuses)}, errors {dict(load.errors)}: nothing was measured")


def show(found: Json, out: TextIO) -> None:
    print(f"\n{found['database']}; acknowledged a second, median [least-most] of the rounds", file=out)
    for name, rates in found["rates"].items():
        p99 = found["p99_ms"].get(name)
        print(f"  {name:<32}{_spread(rates, ',.0f'):>26}{f'  p99 {p99:.1f} ms' if p99 else ''}", file=out)
    for name, ratios in found["ratios"].items():
        target = next(value for words, value in TARGETS.items() if name.startswith(words))
        print(f"  {name:<32}{_spread(ratios, '.2f'):>26}  wanted {target}", file=out)
    half, overload = found["half"], found["overload"]
    print(
        f"at half of the capacity: p50 {half['p50_ms']} ms, p99 {half['p99_ms']} ms (wanted 20), {half['statuses']}",
        file=out,
    )
    print(
        f"{OVERLOAD} connections: {overload['of capacity']:.2f} of the capacity (wanted 0.6), "
        f"{overload['statuses']}, errors {overload['errors']}",
        file=out,
    )


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}-{max(values):{form}}]"


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each lane in each round")
    parser.add_argument("--sqlite", action="store_true", help="the embedded database instead of PostgreSQL")
    parser.add_argument("--store", type=Path, default=STORE, help="the JSON file of results (default: %(default)s)")
    asked = parser.parse_args(arguments)
    with Stack(on_postgres=not asked.sqlite) as stack:
        found = run(Bench(stack, asked.seconds), asked.rounds, out)
    show(found, out)
    last = json.loads(asked.store.read_text("utf-8")) if asked.store.exists() else {}
    asked.store.parent.mkdir(parents=True, exist_ok=True)
    asked.store.write_text(json.dumps({**last, found["database"]: found}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""How many deliveries a second worker processes turn into messages and daily numbers, from the inbox on.

`make bench-drain`: fills the inbox of a durable PostgreSQL, then lets one and two processes work it off as a worker
does, in interleaved rounds with and without the daily numbers. `--backlog` shows rate and memory along a long drain.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from apps.providers import catalog
from bench.payloads import payloads_of
from bench.stack import Deliveries, Stack, machine

STORE = Path(__file__).with_name("results") / "drain.json"
BODY_BYTES = 4096
TARGET_PER_SEC = 3000
MAX_COST_OF_NUMBERS = 0.10
STEP_SEC = 1  # rate and memory are looked at so often
# One call told by three events, beside the calls of one event of every provider.
EVENTS_OF_A_CALL = ("call_started.inbound", "call_ended.inbound_success_tools", "call_analyzed.inbound_success_tools")
CALL_ID = b"call_b1e4c07a95d24f6f8e2a77d0c31"

Json = Any


# --- in processes of their own ------------------------------------------------------------------------------------


def bodies(many: int, run: str) -> Iterator[tuple[str, bytes]]:
    """(provider, body) of so many deliveries, all of different calls but for those of EVENTS_OF_A_CALL."""
    kinds = [Deliveries(slug, BODY_BYTES) for slug in catalog.slugs()]
    events = [payloads_of("retell", BODY_BYTES)[name] for name in EVENTS_OF_A_CALL]
    numbers = count()
    made = 0
    while True:
        for kind in kinds:
            yield kind.slug, kind.body_of(next(numbers), run)
        call_id = f"call_{run}_{next(numbers):09d}".encode()
        for event in events:
            yield "retell", event.replace(CALL_ID, call_id)
        made += len(kinds) + len(events)
        if made >= many:
            return


def fill(many: int, run: str) -> None:
    """Put so many deliveries into the inbox, as the door stores them."""
    from django.db import transaction

    from apps.ingest import committing, inbox
    from apps.providers import registry
    from apps.providers.engine.signatures import Reason, SignedRequest, Verdict

    now, proven = datetime.now(UTC), Verdict(True, Reason.OK, "")
    headers = {"content-type": "application/json"}
    with transaction.atomic():
        for slug, body in bodies(many, run):
            endpoint = registry.endpoint(slug)
            assert endpoint is not None  # noqa: S101 - the catalogue has been synced
            kept = inbox.storable(endpoint.provider.mapping, body, headers["content-type"])
            request = SignedRequest(headers, body)
            committing.insert(inbox._delivery(endpoint, request, kept, now, "0" * 32, proven))


def work(without_numbers: bool) -> Json:
    """Drain until nothing is due, as a worker does."""
    import psutil

    from apps.analytics import receivers
    from apps.ingest import tasks
    from apps.ingest.signals import messages_written
    from voicelens.collector import calm_collector

    calm_collector()
    tasks.DRAIN_FOR_SEC = STEP_SEC
    if without_numbers:
        messages_written.disconnect(receivers.move_numbers, dispatch_uid="daily_numbers")
    process = psutil.Process()
    steps = []
    sys.stdin.readline()  # all start together
    started = time.time()
    cpu_before = sum(process.cpu_times()[:2])
    while done := tasks.drain():
        steps.append((time.time(), done, process.memory_info().rss))
    return {"started": started, "steps": steps, "cpu_sec": sum(process.cpu_times()[:2]) - cpu_before}


def _in_process(arguments: argparse.Namespace) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")
    django.setup()
    if arguments.fill:
        fill(arguments.fill, arguments.run)
    else:
        sys.stdout.write(json.dumps(work(arguments.without_numbers)))


# --- the bench ----------------------------------------------------------------------------------------------------


def drain(stack: Stack, processes: int, *, without_numbers: bool = False) -> Json:
    argv = [sys.executable, "-m", "bench.drain", "--work", *(["--without-numbers"] if without_numbers else [])]
    workers = [
        subprocess.Popen(
            argv, env=stack.environment, cwd=STORE.parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    time.sleep(3)  # they import what they need
    for worker in workers:
        assert worker.stdin is not None  # noqa: S101
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told = [json.loads(worker.communicate()[0]) for worker in workers]
    steps = sorted(step for one in told for step in one["steps"])
    done = sum(number for _, number, _ in steps)
    seconds = steps[-1][0] - min(one["started"] for one in told)
    return {
        "per_sec": done / seconds,
        "done": done,
        "cpu_us": sum(one["cpu_sec"] for one in told) / done * 1e6,
        "steps": steps,
    }


def run(stack: Stack, rounds: int, many: int, out: TextIO) -> Json:
    stack.manage("prepare")
    rates: dict[str, list[float]] = {}
    lanes = {
        "1 process": {"processes": 1},
        "2 processes": {"processes": 2},
        "2 processes, no numbers": {"processes": 2, "without_numbers": True},
    }
    for number in range(rounds):
        for name, options in lanes.items():
            stack.module("bench.drain", "--fill", str(many), "--run", f"r{number}{len(rates)}{name[0]}{len(name)}")
            found = drain(stack, **options)  # type: ignore[arg-type]
            rates.setdefault(name, []).append(found["per_sec"])
            print(f"  {name}: {found['done']} at {found['per_sec']:,.0f}/s, {found['cpu_us']:.0f} us each", file=out)
            if "no numbers" in name:
                stack.manage("audit_rollups", "--rebuild")
    stack.manage("audit_rollups")
    with_numbers, without = rates["2 processes"], rates["2 processes, no numbers"]
    cost = [1 - mine / plain for mine, plain in zip(with_numbers, without, strict=True)]
    return {"rates": rates, "cost of numbers": cost, "machine": machine()}


def backlog(stack: Stack, many: int, out: TextIO) -> Json:
    """Rate and memory for each tenth of a long drain by two processes."""
    stack.manage("prepare")
    stack.module("bench.drain", "--fill", str(many), "--run", "backlog")
    found = drain(stack, 2)
    parts, part, since, done = [], found["done"] / 10, found["steps"][0][0], 0
    for at, number, rss in found["steps"]:
        done += number
        if done >= part and at > since:
            parts.append({"per_sec": done / (at - since), "rss_mb": rss / 1e6})
            print(f"  {parts[-1]['per_sec']:,.0f}/s, {parts[-1]['rss_mb']:.0f} MB", file=out)
            done, since = 0, at
    return {"done": found["done"], "per_sec": found["per_sec"], "parts": parts}


def show(found: Json, out: TextIO) -> None:
    for name, rates in found["rates"].items():
        print(f"{name:<26}{median(rates):>8,.0f}/s [{min(rates):,.0f}-{max(rates):,.0f}]", file=out)
    print(f"wanted of two processes: {TARGET_PER_SEC:,}/s", file=out)
    cost = found["cost of numbers"]
    print(f"cost of the numbers: {median(cost):.0%} [{min(cost):.0%}-{max(cost):.0%}], wanted under 10%", file=out)


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.drain", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=20_000, help="deliveries in each round of each lane")
    parser.add_argument("--backlog", type=int, default=0, help="show a drain of so many instead")
    parser.add_argument("--store", type=Path, default=STORE, help="the JSON file of results (default: %(default)s)")
    for hidden in ("--fill", "--run"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    for hidden in ("--work", "--without-numbers"):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    asked.fill = int(asked.fill or 0)
    if asked.fill or asked.work:
        _in_process(asked)
        return
    last = json.loads(asked.store.read_text("utf-8")) if asked.store.exists() else {}
    with Stack(on_postgres=True) as stack:
        if asked.backlog:
            found = {"backlog": backlog(stack, asked.backlog, out)}
        else:
            found = run(stack, asked.rounds, asked.many, out)
            show(found, out)
    asked.store.parent.mkdir(parents=True, exist_ok=True)
    asked.store.write_text(json.dumps({**last, **found}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Sends webhooks at a steady rate to the whole service, then looks for each that was acknowledged.

`make bench-two-phase`: web server, workers, scheduler, Redis and the database as the supervisor starts them, with the
generator on the same cores. Every acknowledged delivery has to be found processed, in its call's message and in the
daily numbers; the exit code is 1 if one is not. Beside it: processor time at rest, and the lag at an ordinary rate.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import psutil

from apps.providers import catalog
from bench.load import Load, open_loop
from bench.stack import START_WITHIN_SEC, Deliveries, Stack, machine

STORE = Path(__file__).with_name("results") / "two_phase.json"
BODY_BYTES = 4096
CONNECTIONS = 64
RATES = {"PostgreSQL": 1000.0, "SQLite": 300.0}
ORDINARY_RATE, ORDINARY_SEC = 100.0, 20.0
IDLE_SETTLE_SEC = 10.0
# What is wanted.
MAX_P95_SEC, MAX_ORDINARY_P95_SEC, MAX_IDLE_CORE = 2.0, 1.0, 0.01
DRAINED_WITHIN_SEC = 300.0
SHOWN = 5
DELIVERY_ID = re.compile(rb'"delivery_id":\s*"([0-9a-f-]{36})"')

Json = Any


@dataclass
class Sent:
    """A batch of calls, each told by one delivery: when each was due, and the ids that were acknowledged."""

    run: str
    rate: float
    started: float = 0.0
    acknowledged: dict[int, str] = field(default_factory=dict)

    def requests(self, kinds: Sequence[Deliveries], many: int) -> Iterator[bytes]:
        """Signed when they are asked for: a signature is good for some minutes only."""
        self.started = time.time()
        for number in range(many):
            yield kinds[number % len(kinds)].request(number, self.run, datetime.now(UTC))

    def take(self, number: int, status: int, received: bytes) -> None:
        """An answer, as `open_loop` tells it."""
        if status == 200 and (found := DELIVERY_ID.search(received)):
            self.acknowledged[number] = found[1].decode()

    def to_json(self) -> Json:
        return {"run": self.run, "rate": self.rate, "started": self.started, "acknowledged": self.acknowledged}


def send(stack: Stack, kinds: Sequence[Deliveries], sent: Sent, seconds: float) -> Load:
    many = int(sent.rate * seconds)
    # One more than is due: the generator looks no further, but an iterator that ends early would break it off.
    return open_loop(stack.address, sent.requests(kinds, many + 1), sent.rate, seconds, CONNECTIONS, sent.take)


# --- the second phase, in a process of the service's own settings -------------------------------------------------


def verify(told: Json) -> Json:
    """{problems, calls, drained_sec, lag_ms} of a batch: what was acknowledged and is not where it belongs."""
    drained_sec = _wait_until_drained()
    acknowledged = {identifier: int(number) for number, identifier in told["acknowledged"].items()}
    calls = _calls(told["run"])
    problems = [*_lost(acknowledged, calls), *_differing()]
    lags = sorted(
        1000 * (calls[number] - told["started"] - number / told["rate"])
        for number in acknowledged.values()
        if number in calls
    )
    return {"problems": problems, "calls": len(calls), "drained_sec": drained_sec, "lag_ms": _percentiles(lags)}


def _wait_until_drained() -> float:
    from apps.ingest.models import InboundEvent

    started = time.monotonic()
    while InboundEvent.objects.filter(state=InboundEvent.State.RECEIVED).exists():
        if time.monotonic() - started > DRAINED_WITHIN_SEC:
            break  # what is left is found to be missing
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)


def _calls(run: str) -> dict[int, float]:
    """When the message of each call of a batch was first written, by the call's number."""
    from apps.ingest.models import Message

    prefix = f"bench_{run}_"
    rows = Message.objects.filter(call_id__startswith=prefix).order_by().values_list("call_id", "created_at")
    return {int(call_id.removeprefix(prefix)): at.timestamp() for call_id, at in rows.iterator()}


def _lost(acknowledged: dict[str, int], calls: dict[int, float]) -> Iterator[str]:
    """`acknowledged`: number of the call by delivery id."""
    from apps.ingest.models import InboundEvent

    if not acknowledged:
        yield "nothing was acknowledged, so nothing is proved"
    rows = InboundEvent.objects.order_by().values_list("delivery_id", "state")
    states = {str(identifier): state for identifier, state in rows.iterator()}
    yield from _some("acknowledged and not in the inbox", [one for one in acknowledged if one not in states])
    unprocessed = [
        f"{one} ({states[one]})" for one in acknowledged if states.get(one, "processed") != InboundEvent.State.PROCESSED
    ]
    yield from _some("acknowledged and not processed", unprocessed)
    without = [one for one, number in acknowledged.items() if number not in calls]
    yield from _some("acknowledged and without a message", without)


def _differing() -> Iterator[str]:
    """Numbers that do not add up."""
    from django.db.models import Sum

    from apps.analytics import rollups
    from apps.analytics.models import DailyProviderStats
    from apps.ingest.models import InboundEvent, Message, Tally

    yield from _some("daily numbers that the messages deny", [str(difference) for difference in rollups.audit()])
    counted = DailyProviderStats.objects.aggregate(sum=Sum("total"))["sum"] or 0
    if counted != (messages := Message.objects.count()):
        yield f"the daily numbers count {counted} calls, there are {messages} messages"
    tallied = Tally.objects.aggregate(sum=Sum("accepted"))["sum"] or 0
    if tallied != (stored := InboundEvent.objects.count()):
        yield f"the door counted {tallied} deliveries, the inbox has {stored}"


def _some(what: str, found: Sequence[str]) -> Iterator[str]:
    if found:
        yield f"{len(found)} {what}, among them {', '.join(found[:SHOWN])}"


def _percentiles(ordered: Sequence[float]) -> dict[str, float]:
    last = len(ordered) - 1
    return {
        f"p{part}": round(ordered[min(last, len(ordered) * part // 100)], 1) for part in (50, 95, 99, 100) if ordered
    }


# --- the bench ----------------------------------------------------------------------------------------------------


def start_all(stack: Stack) -> None:
    """Raises RuntimeError if the service is not healthy soon."""
    stack.manage("prepare")
    for name in stack.specs:
        stack.start(name)
    deadline = time.monotonic() + START_WITHIN_SEC
    while not stack.is_healthy():
        if time.monotonic() > deadline:
            raise RuntimeError("the service did not become healthy")
        time.sleep(0.2)


def idle_core(stack: Stack, seconds: float) -> float:
    """Processor time of all processes of the service in so many seconds at rest, as a part of one core."""
    before, started = _cpu_sec(stack), time.monotonic()
    time.sleep(seconds)
    after = _cpu_sec(stack)
    used = sum(spent - before.get(process, 0.0) for process, spent in after.items())
    return used / (time.monotonic() - started)


def _cpu_sec(stack: Stack) -> dict[psutil.Process, float]:
    spent = {}
    for process in stack.processes():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent[process] = times.user + times.system
    return spent


def proved(stack: Stack, kinds: Sequence[Deliveries], rate: float, seconds: float) -> Json:
    """Both phases at one rate."""
    sent = Sent(f"{os.getpid()}at{rate:.0f}", rate)
    load = send(stack, kinds, sent, seconds)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(sent.to_json(), file)
        file.flush()
        found = json.loads(stack.module("bench.two_phase", "--verify", file.name))
    return {
        "rate": rate,
        "seconds": seconds,
        "acknowledged": len(sent.acknowledged),
        "held_per_sec": load.per_sec(),
        "statuses": {str(status): number for status, number in sorted(load.statuses.items())},
        "errors": dict(load.errors),
        "answer_ms": _percentiles(sorted(load.times_ms)),
        **found,
    }


def run(stack: Stack, rate: float, seconds: float, idle_seconds: float, ordinary_seconds: float) -> Json:
    kinds = [Deliveries(slug, BODY_BYTES) for slug in catalog.slugs()]
    start_all(stack)
    time.sleep(min(IDLE_SETTLE_SEC, idle_seconds))
    return {
        "idle_core": idle_core(stack, idle_seconds),
        "ordinary": proved(stack, kinds, ORDINARY_RATE, ordinary_seconds),
        "full": proved(stack, kinds, rate, seconds),
        "machine": machine(),
    }


def show(database: str, found: Json, out: TextIO) -> None:
    print(f"{database}; the whole service at rest: {found['idle_core']:.2%} of a core (wanted 1%)", file=out)
    for name, wanted_sec in (("ordinary", MAX_ORDINARY_P95_SEC), ("full", MAX_P95_SEC)):
        one = found[name]
        print(f"{one['rate']:,.0f}/s for {one['seconds']:.0f} s: {one['acknowledged']:,} acknowledged", file=out)
        print(f"  answers {one['statuses']}, errors {one['errors']}, in ms {one['answer_ms']}", file=out)
        print(f"  from send to message in ms {one['lag_ms']} (wanted p95 {1000 * wanted_sec:.0f})", file=out)
        print(f"  empty {one['drained_sec']} s after the last; {one['calls']:,} calls", file=out)
        for problem in one["problems"] or ["every acknowledged delivery is in its message and in the numbers"]:
            print(f"  {problem}", file=out)


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """Exit code: 1 if an acknowledged delivery is missing or a number is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.two_phase", description=__doc__)
    parser.add_argument("--sqlite", action="store_true", help="the embedded database instead of PostgreSQL")
    parser.add_argument("--rate", type=float, help=f"webhooks a second (default: {RATES})")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="how long the service is watched at rest")
    parser.add_argument("--ordinary-seconds", type=float, default=ORDINARY_SEC, help=f"at {ORDINARY_RATE:.0f}/s")
    parser.add_argument("--store", type=Path, default=STORE, help="the JSON file of results (default: %(default)s)")
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.verify:
        print(json.dumps(_verify_here(asked.verify)), file=out)
        return 0
    database = "SQLite" if asked.sqlite else "PostgreSQL"
    with Stack(on_postgres=not asked.sqlite) as stack:
        rate = asked.rate or RATES[database]
        found = run(stack, rate, asked.seconds, asked.idle_seconds, asked.ordinary_seconds)
    show(database, found, out)
    last = json.loads(asked.store.read_text("utf-8")) if asked.store.exists() else {}
    asked.store.parent.mkdir(parents=True, exist_ok=True)
    asked.store.write_text(json.dumps({**last, database: found}, indent=2) + "\n", "utf-8")
    return int(bool(found["ordinary"]["problems"] or found["full"]["problems"]))


def _verify_here(path: Path) -> Json:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")
    django.setup()
    return verify(json.loads(path.read_text("utf-8")))


if __name__ == "__main__":
    # Ended from outside it takes its servers and folders with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())

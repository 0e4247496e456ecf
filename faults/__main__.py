"""`python -m faults`: a run of so many faults, then the proof that nothing was lost, doubled, halved or miscounted.

Exit status 1 with the ids where something was. The same seed gives the same plan and the same deliveries; what the
machine makes of them is its own.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import psutil

from bench.stack import Stack
from faults.judge import Found, Stored, breaches
from faults.plan import Fault, plan
from faults.traffic import Mix, Senders

HOOKS = Path(__file__).with_name("hooks")
DRAINED_WITHIN_SEC = 180
SERVERS = ("postgres", "redis")
SENDERS = 4
PAUSE_SEC = 0.02

Json = Any


class FaultyStack(Stack):
    """The parts, with a clock and a storage that can be made to fail."""

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(part for part in (str(HOOKS), os.environ.get("PYTHONPATH", "")) if part)
        return {
            **super().environment,
            "PYTHONPATH": path,
            "FAULTS_FOLDER": str(self.folder),
            "ARTIFACTS_DIR": str(self.folder / "artifacts"),
            "INGEST_LEASE_SEC": "5",
            "REFUSED_PER_MIN": "0",
        }

    def set_clock(self, shift_sec: int) -> None:
        (self.folder / "clock").write_text(str(shift_sec))

    def fill_disk(self, *, full: bool) -> None:
        switch = self.folder / "disk_full"
        switch.touch() if full else switch.unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        if name in SERVERS:
            self.services.kill(name)
            return
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def revive(self, name: str) -> None:
        if name in SERVERS:
            self.services.start_again(name)
        else:
            self.start(name)

    def start_fallen(self) -> list[str]:
        """The supervisor's part: a worker of Celery may end by itself where its broker dies. Gives their names."""
        fallen = [name for name, process in self.running.items() if process.poll() is not None]
        for name in fallen:
            self.start(name)
        return fallen

    @contextmanager
    def watched(self, fallen: Counter[str]) -> Iterator[None]:
        """Meanwhile whatever falls is started again: a worker may take its time to end."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.5):
                fallen.update(self.start_fallen())

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()

    def send_signal(self, name: str, number: signal.Signals) -> None:
        first = psutil.Process(self.services.pid_of(name) if name in SERVERS else self.running[name].pid)
        for process in (first, *first.children(recursive=True)):
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue


def strike(stack: FaultyStack, senders: Senders, fault: Fault) -> None:
    """One fault, from its beginning to its end."""
    time.sleep(fault.pause_sec)
    match fault.kind:
        case "kill" | "kill two":
            for name in fault.parts:
                stack.kill(name)
            time.sleep(fault.for_sec)
            # What needs the servers would not come up without them.
            for name in sorted(fault.parts, key=lambda part: part not in SERVERS):
                stack.revive(name)
        case "freeze":
            stack.send_signal(fault.parts[0], signal.SIGSTOP)
            time.sleep(fault.for_sec)
            stack.send_signal(fault.parts[0], signal.SIGCONT)
        case "disk full":
            stack.fill_disk(full=True)
            time.sleep(fault.for_sec)
            stack.fill_disk(full=False)
        case "cut bodies":
            senders.cutting.set()
            time.sleep(fault.for_sec)
            senders.cutting.clear()
        case "move clock":
            stack.set_clock(fault.shift_sec)
            senders.clock_shift_sec = fault.shift_sec
            time.sleep(fault.for_sec)
            stack.set_clock(0)
            senders.clock_shift_sec = 0.0


def run(profile: str, rounds: int, seed: int, minutes: float, out: TextIO) -> tuple[Json, list[str]]:
    """The report and the breaches of one run. No fault begins after `minutes`."""
    struck: Counter[str] = Counter()
    fallen: Counter[str] = Counter()
    with FaultyStack(on_postgres=profile == "postgres") as stack:
        stack.manage("prepare")
        for name in stack.specs:
            stack.start(name)
        senders = Senders(stack.address, Mix(seed), SENDERS, PAUSE_SEC)
        senders.start()
        started = time.monotonic()
        for fault in plan(seed, rounds, profile):
            if time.monotonic() - started > minutes * 60:
                break
            print(f"  {time.monotonic() - started:6.1f} s  {fault}", file=out, flush=True)
            strike(stack, senders, fault)
            struck[fault.kind] += 1
            fallen.update(stack.start_fallen())
        time.sleep(1)
        hung = [] if senders.finish(60) else ["hung: a sender did not come to its end within 60 s"]
        with stack.watched(fallen):
            found = look(stack)
        sent = [parcel.sent for parcel in senders.parcels]
        answers = Counter(answer for one in sent for answer in one.answers)
        report = {
            "profile": profile,
            "seed": seed,
            "faults": dict(struck),
            "fallen": dict(fallen),
            "deliveries": len(sent),
            "acknowledged": sum(one.acknowledged for one in sent),
            "requests": sum(answers.values()),
            "answers": {str(status or "none"): number for status, number in sorted(answers.items())},
            "calls": len(found.clean),
            "seconds": round(time.monotonic() - started),
            "slowest_503_sec": round(max(senders.refused_after_sec, default=0.0), 1),
        }
        return report, [*hung, *breaches(sent, found)]


def look(stack: FaultyStack) -> Found:
    """Wait until all is worked off, and read what the judge looks at."""
    told = json.loads(stack.module("faults.look", "--within", str(DRAINED_WITHIN_SEC)))
    (stack.folder / "stored.json").write_text(json.dumps(told["bodies"]))
    clean = json.loads(stack.module("faults.look", "--clean", str(stack.folder / "stored.json")))
    return Found(
        deliveries=[Stored(**row) for row in told["deliveries"]],
        messages={(provider, call): digests for provider, call, digests in told["messages"]},
        clean={(provider, call): digest for provider, call, digest in clean},
        totals=told["totals"],
        audit=_failure(stack, "audit_rollups"),
        ledger=_failure(stack, "ledger", "--check"),
    )


def _failure(stack: FaultyStack, *command: str) -> str:
    try:
        stack.manage(*command)
    except RuntimeError as error:
        return str(error)
    return ""


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--profile", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--rounds", type=int, default=50, help="how many faults (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the plan and the deliveries (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="no fault begins after so many")
    parser.add_argument("--report", type=Path, help="write the report as JSON to this file")
    asked = parser.parse_args(arguments)
    report, found = run(asked.profile, asked.rounds, asked.seed, asked.minutes, out)
    print(json.dumps(report, indent=2), file=out)
    if asked.report:
        asked.report.write_text(json.dumps({**report, "breaches": found}, indent=2) + "\n")
    for breach in found[:50]:
        print(f"BREACH {breach}", file=out)
    print(f"{len(found)} breaches" if found else "nothing lost, nothing double, the numbers are exact", file=out)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""How many checks a worker works off: pages fetched, read, compared and recorded in a database of its own.

`make bench-monitoring`. A server in another process plays the providers at many loopback addresses. The first round is
the baseline, in the second every page changed a little. One worker has to manage a thousand checks within a minute.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import quantiles
from typing import TextIO

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")
django.setup()

from django.core.management import call_command  # noqa: E402 - models can be imported only now

from apps.monitoring import claims, rules, watch  # noqa: E402
from apps.monitoring.fetch import Door  # noqa: E402
from apps.monitoring.models import Kind, Monitor, Snapshot  # noqa: E402
from apps.monitoring.runs import Done, Runner  # noqa: E402
from apps.monitoring.watch import Seen  # noqa: E402
from apps.providers.models import Provider  # noqa: E402
from bench import page_server  # noqa: E402
from voicelens.collector import calm_collector  # noqa: E402

CHECKS_OF_A_HOST = 4
ROUND_AT_MOST_SEC = 600
# Half of the checks read and compare a text of 100 KB.
KINDS = (Kind.DOCS, Kind.HEALTH, Kind.DOCS, Kind.FEED)


@contextmanager
def played_pages() -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=page_server.serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def make_checks(count: int, port: int) -> list[str]:
    """So many checks, some on each of many hosts; gives the hosts."""
    provider = Provider.objects.create(slug="bench", name="Bench")
    hosts = [f"127.0.{1 + number // 250}.{1 + number % 250}:{port}" for number in range(-(-count // CHECKS_OF_A_HOST))]
    pages = [(hosts[number // CHECKS_OF_A_HOST], KINDS[number % len(KINDS)], number) for number in range(count)]
    rows = [
        Monitor(provider=provider, kind=kind, url=f"http://{host}/{kind}/{n}", host=host) for host, kind, n in pages
    ]
    Monitor.objects.bulk_create(rows)
    return hosts


class Timed:
    """Stands before `watch.see`, and knows how long each look took."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []
        self._see = watch.see

    def __call__(self, monitor: Monitor, before: Snapshot | None, door: Door) -> Seen:
        started = time.perf_counter()
        seen = self._see(monitor, before, door)
        self.took_ms.append(1000 * (time.perf_counter() - started))
        return seen


def one_round(door: Door) -> tuple[Done, float, list[float]]:
    """All checks once: what came of it, the seconds it took, and the milliseconds of each look."""
    claims.make_due(Monitor.objects.values_list("pk", flat=True), datetime.now(UTC))
    timed = watch.see = Timed()
    started = time.perf_counter()
    done = Runner(door, lambda: datetime.now(UTC)).work(ROUND_AT_MOST_SEC)
    watch.see = timed._see
    return done, time.perf_counter() - started, timed.took_ms


def report(name: str, done: Done, took_sec: float, took_ms: list[float], out: TextIO) -> None:
    p95 = quantiles(took_ms, n=20)[-1]
    standings = ", ".join(
        f"{count} {word}" for word, count in Counter(str(look.seen.outcome.standing) for look in done.looks).items()
    )
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<10}{len(done.looks):>7}{took_sec:>8.1f}{len(done.looks) / took_sec:>10.1f}{p95:>9.0f}"
        f"{len(done.changes):>9}{memory_mb:>8.0f}  {standings}",
        file=out,
    )


def main(arguments: list[str] | None = None, out: TextIO = sys.stdout) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.monitoring", description=__doc__)
    parser.add_argument("--checks", type=int, default=1000, help="how many (default 1000)")
    count = parser.parse_args(arguments).checks
    call_command("migrate", verbosity=0)
    rules.ensure_rules()
    with played_pages() as port:
        hosts = make_checks(count, port)
        door = Door(user_agent="VoiceLens bench", open_hosts=hosts)
        print(f"{'round':<10}{'checks':>7}{'s':>8}{'checks/s':>10}{'p95 ms':>9}{'changes':>9}{'MB':>8}", file=out)
        report("baseline", *one_round(door), out)
        urllib.request.urlopen(f"http://127.0.0.1:{port}/next").close()
        report("changed", *one_round(door), out)


if __name__ == "__main__":
    calm_collector()
    main()

"""How often a second some work is done, beside a yardstick of the same rounds, and how long one turn takes.

Rates differ from machine to machine and from minute to minute; the ratio to the yardstick differs far less.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

YARDSTICK = "json.loads"

Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """Median and best rate, and the median of the ratios to the yardstick of the same round."""

    per_sec: float
    best_per_sec: float
    ratio: float


def measure(lanes: dict[str, Work], rounds: int, seconds: float) -> dict[str, Result]:
    """All lanes in turn in each round, so that a slow minute of the machine slows all of them; one is YARDSTICK."""
    rates: dict[str, list[float]] = {name: [] for name in lanes}
    for work in lanes.values():
        work()
    for _ in range(rounds):
        gc.collect()
        for name, work in lanes.items():
            rates[name].append(times_per_sec(work, seconds))
    return {name: _result(found, rates[YARDSTICK]) for name, found in rates.items()}


def times_per_sec(work: Work, seconds: float) -> float:
    """The rate over about `seconds`, in whole batches; with the garbage collector on, as in a worker."""
    done, batch = 0, 5
    started = now = time.process_time()
    while now - started < seconds:
        for _ in range(batch):
            work()
        done, now = done + batch, time.process_time()
    return done / (now - started)


def _result(rates: Sequence[float], yardstick: Sequence[float]) -> Result:
    ratios = [rate / per_sec for rate, per_sec in zip(rates, yardstick, strict=True)]
    return Result(median(rates), max(rates), median(ratios))


def p50_and_p99_us(work: Work, turns: int) -> tuple[float, float]:
    """Microseconds that half of the turns, and 99 of 100, take at most. At least two turns."""
    took_us: list[float] = []
    for _ in range(turns):
        started = time.perf_counter_ns()
        work()
        took_us.append((time.perf_counter_ns() - started) / 1000)
    cuts = quantiles(took_us, n=100)
    return cuts[49], cuts[98]

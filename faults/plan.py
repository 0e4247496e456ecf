"""Which fault strikes when: a pure function of the seed, so that a run can be repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Parts = tuple[str, ...]

PARTS = {
    "postgres": ("web", "worker", "worker2", "beat", "redis", "postgres"),
    "sqlite": ("web", "worker", "beat", "redis"),
}
FROZEN = {"postgres": ("web", "worker", "postgres"), "sqlite": ("web", "worker")}
# Every kind comes up before one comes again, so that a short run meets all of them too.
KINDS = ("kill", "kill two", "freeze", "disk full", "cut bodies", "move clock", "kill", "kill two")
CLOCK_SHIFTS_SEC = (-7200, -900, 900, 7200)


@dataclass(frozen=True)
class Fault:
    """After `pause_sec` of peace this strikes these parts for `for_sec`; `shift_sec` is the clock's."""

    kind: str
    parts: Parts = ()
    pause_sec: float = 0.0
    for_sec: float = 0.0
    shift_sec: int = 0

    def __str__(self) -> str:
        shift = f" by {self.shift_sec:+d} s" if self.shift_sec else ""
        return f"{self.kind}{shift} {' and '.join(self.parts)}".strip() + f" for {self.for_sec:.1f} s"


def plan(seed: int, rounds: int, profile: str) -> list[Fault]:
    """The faults of a run, in order."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    parts = PARTS[profile]
    singles = _in_turn(chance, [(one,) for one in parts])
    pairs = _in_turn(chance, [(one, two) for one in parts for two in parts if one < two])
    faults: list[Fault] = []
    while len(faults) < rounds:
        for kind in chance.sample(KINDS, len(KINDS)):
            faults.append(_fault(chance, kind, FROZEN[profile], singles, pairs))
    return faults[:rounds]


def _fault(chance: random.Random, kind: str, frozen: Parts, singles: Iterator[Parts], pairs: Iterator[Parts]) -> Fault:
    pause_sec, for_sec = chance.uniform(0.3, 1.5), chance.uniform(0.2, 2.0)
    match kind:
        case "kill":
            return Fault(kind, next(singles), pause_sec, for_sec)
        case "kill two":
            return Fault(kind, next(pairs), pause_sec, for_sec)
        case "freeze":
            return Fault(kind, (chance.choice(frozen),), pause_sec, chance.uniform(1.0, 3.0))
        case "move clock":
            return Fault(kind, (), pause_sec, chance.uniform(1.0, 2.0), chance.choice(CLOCK_SHIFTS_SEC))
        case _:
            return Fault(kind, (), pause_sec, for_sec)


def _in_turn(chance: random.Random, choices: Sequence[Parts]) -> Iterator[Parts]:
    """Each of them once before one comes again, shuffled anew each time."""
    while True:
        yield from chance.sample(choices, len(choices))

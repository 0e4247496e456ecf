"""How fast one core normalises: bytes of a delivery to the stored text of a valid message with its checksum.

`make bench-normalise`. Rates differ from machine to machine and from minute to minute, so each stands beside json.loads
of the same bytes in the same round. No database takes part; what a worker prepares for it does.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from typing import Any, TextIO

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")
django.setup()

from django.db import connection  # noqa: E402 - models can be imported only now

from apps.ingest import messages  # noqa: E402
from apps.ingest.models import CallKey, InboundEvent, Message  # noqa: E402
from apps.ingest.reading import Reading, fold_event, read, stored_report, take_out_artifacts  # noqa: E402
from apps.providers import catalog  # noqa: E402
from apps.providers.engine.fold import Context, fold  # noqa: E402
from apps.providers.engine.mapping import Mapping  # noqa: E402
from apps.providers.engine.payload import parse  # noqa: E402
from apps.providers.engine.prices import PriceList  # noqa: E402
from bench.payloads import payload_of, payloads_of  # noqa: E402
from bench.timing import YARDSTICK, Work, measure  # noqa: E402
from vcp import examples  # noqa: E402
from voicelens.collector import calm_collector  # noqa: E402

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OF_A_MESSAGE = "json.loads of a message"


@dataclass(frozen=True)
class Case:
    """One provider's delivery, and each stage of its way as work to be timed."""

    slug: str
    sample: str
    body: bytes
    mapping: Mapping

    @cached_property
    def row(self) -> InboundEvent:
        digest = hashlib.sha256(self.body).hexdigest()
        return InboundEvent(provider=self.slug, body=self.body, body_sha256=digest, received_at=NOW)

    @cached_property
    def context(self) -> Context:
        key = CallKey(provider=self.reading.provider, environment="live", call_id=self.reading.call_id)
        prices = PriceList(row for price in catalog.load(self.slug).prices for row in price.rows())
        # The catalogue's prices instead of the database's.
        return replace(
            messages.context(key, self.slug),
            prices=lambda model, at_iso: prices.at(model, datetime.fromisoformat(at_iso)),
        )

    @cached_property
    def stored(self) -> Message:
        return Message(provider=self.reading.provider, call_id=self.reading.call_id)

    @cached_property
    def reading(self) -> Reading:
        reading = read(self.row, self.mapping)
        if reading.fragment is None:
            raise ValueError(f"{self.slug}/{self.sample} makes no message: {reading.failure}")
        return reading

    def stages(self) -> dict[str, Work]:
        """In the order of the way; each alone, with what the stage before it made."""
        note(self.row, self.reading)  # what is folded has its artifacts taken out
        return {
            YARDSTICK: partial(json.loads, self.body),
            "parse": partial(parse, self.body),
            "read": self.read,
            "store fragment": partial(as_stored, InboundEvent, "fragment", self.row.fragment),
            "message": self.message,
            "whole": self.whole,
        }

    def read(self) -> Reading:
        return read(self.row, self.mapping)

    def message(self) -> Any:
        return message_of(self.row, self.reading, self)

    def whole(self) -> Any:
        row, reading = self.row, self.read()
        note(row, reading)
        as_stored(InboundEvent, "fragment", row.fragment)
        as_stored(InboundEvent, "report", row.report)
        return message_of(row, reading, self)


def note(row: InboundEvent, reading: Reading) -> None:
    """What a worker writes into the row of a delivery that belongs to a call."""
    assert reading.fragment is not None  # noqa: S101 - Case.reading has looked
    take_out_artifacts(reading, f"{reading.provider}\x1f\x1flive\x1f{reading.call_id}")
    row.event, row.rank, row.opens_call = reading.event, reading.rank, reading.opens_call
    row.proves, row.occurred_at = reading.proves, reading.occurred_at
    row.fragment, row.report = reading.fragment.to_json(), stored_report(reading.report)


def message_of(row: InboundEvent, reading: Reading, case: Case) -> Any:
    """The stored text of the message that this event makes alone: folded, validated, sealed, its columns read off."""
    folded = fold([fold_event(row, reading.fragment)], case.mapping, case.context)
    assert folded is not None  # noqa: S101 - bench.payloads takes samples that make a message alone
    built = messages.build(folded, [], NOW)
    assert built.message is not None, built.errors  # noqa: S101
    case.stored.content_digest = ""  # else it would be found unchanged
    messages.fill(case.stored, built.message, folded, NOW, 1.0)
    return as_stored(Message, "vcp", case.stored.vcp)


def as_stored(model: type[InboundEvent | Message], name: str, value: Any) -> Any:
    """What the database's driver is given for a column."""
    return model._meta.get_field(name).get_db_prep_save(value, connection)  # type: ignore[union-attr]


# --- the report -----------------------------------------------------------------------------------------------


def cases(size: int) -> Iterator[Case]:
    for slug in catalog.slugs():
        sample, body = payload_of(slug, size)
        yield Case(slug, sample, body, Mapping(catalog.load(slug).mapping))


def print_stages(found: Sequence[Case], rounds: int, seconds: float, out: TextIO) -> None:
    """Beside json.loads of the payload itself, and of one whole VCP message: the same for all, it tells the machine."""
    head = f"{'provider':<16}{'bytes':>6}  {'stage':<16}{'events/s':>10}{'best':>10}"
    print(f"{head}{'x json.loads':>14}{'x of a message':>16}", file=out)
    for case in found:
        results = measure({**case.stages(), OF_A_MESSAGE: partial(json.loads, whole_message())}, rounds, seconds)
        machine = results.pop(OF_A_MESSAGE)
        for stage, result in results.items():
            place = f"{case.slug:<16}{len(case.body):>6}  {stage:<16}"
            rates = f"{result.per_sec:>10,.0f}{result.best_per_sec:>10,.0f}{result.ratio:>14.2f}"
            print(f"{place}{rates}{result.ratio / machine.ratio:>16.2f}", file=out)


@cache
def whole_message() -> bytes:
    """4 KB with some 140 leaves."""
    return json.dumps(examples.load("v05_whole"), ensure_ascii=False, separators=(",", ":")).encode()


def print_all_samples(found: Sequence[Case], rounds: int, seconds: float, size: int, out: TextIO) -> None:
    """Reading every sample in turn, the short kinds of events and the rich ones, all of them at the same size."""
    print(f"\n{'read all samples of':<24}{'events/s':>10}{'x json.loads':>14}", file=out)
    for case in found:
        rows = [replace(case, body=body).row for body in payloads_of(case.slug, size).values()]
        lanes: dict[str, Work] = {
            YARDSTICK: partial(_each, json.loads, [row.body for row in rows]),
            "read": partial(_each, partial(read, mapping=case.mapping), rows),
        }
        result = measure(lanes, rounds, seconds)["read"]
        place = f"{case.slug} ({len(rows)})"
        print(f"{place:<24}{result.per_sec * len(rows):>10,.0f}{result.ratio:>14.2f}", file=out)


def _each(work: Callable[[Any], object], inputs: Sequence[Any]) -> None:
    for one in inputs:
        work(one)


def print_crowd(found: Sequence[Case], rounds: int, seconds: float, many: int, out: TextIO) -> None:
    """The same reading with only the catalogue's mappings in memory, and with `many`."""
    print(f"\n{'read with':<24}{'events/s':>10}{'x json.loads':>14}", file=out)
    crowd: list[Case] = []
    for loaded in (len(found), many):
        while len(found) + len(crowd) < loaded:
            crowd.append(_another(found[len(crowd) % len(found)]))
            crowd[-1].read()
        for case in found:
            lanes: dict[str, Work] = {YARDSTICK: partial(json.loads, case.body), "read": case.read}
            result = measure(lanes, rounds, seconds)["read"]
            place = f"{case.slug} of {loaded}"
            print(f"{place:<24}{result.per_sec:>10,.0f}{result.ratio:>14.2f}", file=out)


def _another(case: Case) -> Case:
    """A provider more: the same rules, compiled on their own."""
    return replace(case, mapping=Mapping(case.mapping.spec.model_copy(deep=True)))


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of processor time for each stage in each round")
    parser.add_argument("--bytes", type=int, default=4096, help="size of the payloads")
    parser.add_argument("--many", type=int, default=100, help="mappings in memory, to see that others do not slow one")
    parser.add_argument("--only", help="one provider of the catalogue")
    asked = parser.parse_args(arguments)
    found = [case for case in cases(asked.bytes) if asked.only in (None, case.slug)]
    print_stages(found, asked.rounds, asked.seconds, out)
    print_all_samples(found, asked.rounds, asked.seconds, asked.bytes, out)
    print_crowd(found, asked.rounds, asked.seconds, asked.many, out)


if __name__ == "__main__":
    calm_collector()  # as a worker does
    main()

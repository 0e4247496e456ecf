"""Shows the ledger: what the door accepted, what became of it, what was refused, and whether it adds up."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.ingest import ledger
from apps.ingest.ledger import WORDS, Line

COLUMNS = ("accepted", "repeated", *WORDS, "refused", "difference")


class Command(BaseCommand):
    help = "Accepted = processed + waiting + failed + ignored, by endpoint and hour (UTC), of the last 24 hours."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider", default="", help="slug of one provider")
        parser.add_argument("--since", type=_time, metavar="TIME", help="ISO 8601, UTC; 24 hours ago")
        parser.add_argument("--until", type=_time, metavar="TIME", help="not included; now")
        parser.add_argument("--by", choices=["hour", "day", "all"], default="hour", help="all: one line an endpoint")
        parser.add_argument("--all", action="store_true", help="of all time, whatever --since and --until say")
        parser.add_argument("--json", action="store_true", help="each state and each reason, as JSON")
        parser.add_argument(
            "--check", action="store_true", help="exit status 1 where it does not add up, and says where"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since, until = options["since"], options["until"]
        if options["all"]:
            since = until = None
        elif since is None:
            since = (until or timezone.now()) - timedelta(hours=24)
        found = ledger.lines(since, until, options["by"], options["provider"].lower())
        if options["json"]:
            self.stdout.write(json.dumps([as_json(line) for line in found], indent=2))
        else:
            self.stdout.write("\n".join(_table(found, options["by"])))
        wrong = ledger.differing(found)
        if options["check"] and wrong:
            raise CommandError("\n".join(["the ledger does not add up:", *map(ledger.explained, wrong)]), returncode=1)


def as_json(line: Line) -> dict[str, Any]:
    return {
        "start": line.start and line.start.isoformat().replace("+00:00", "Z"),
        "provider": line.provider,
        "endpoint": line.endpoint,
        "accepted": line.accepted,
        "repeated": line.repeated,
        **line.words,
        "states": dict(sorted(line.states.items())),
        "refused": dict(sorted(line.refused.items())),
        "difference": line.difference,
    }


def _table(found: Sequence[Line], by: str) -> list[str]:
    if not found:
        return ["nothing came in this time"]
    start = {"hour": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d"}.get(by, "")
    rows = [("start (UTC)" if start else "", "endpoint", *COLUMNS)]
    rows += [(f"{line.start:{start}}" if line.start else "", f"{line.provider}/{line.endpoint}", *_numbers([line]))
             for line in found]  # fmt: skip
    rows.append(("together", "", *_numbers(found)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) if number < 2 else text.rjust(width)
                  for number, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip


def _numbers(of: Sequence[Line]) -> list[str]:
    parts = [[line.accepted, line.repeated, *line.words.values(), line.all_refused, line.difference] for line in of]
    return [str(sum(column)) for column in zip(*parts, strict=True)]


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

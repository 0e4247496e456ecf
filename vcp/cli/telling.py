"""How results are shown: a JSON object a line for machines, aligned rows for people."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final, TextIO

from vcp.cli.commands import Result, Row
from vcp.cli.documents import Document

_COLOURS: Final = {"error": "\x1b[31m", "warning": "\x1b[33m", "lost": "\x1b[33m"}
_NOUNS: Final = ("error", "warning")
_PLAIN: Final = "\x1b[0m"
_WIDEST_PLACE: Final = 60


class Teller:
    """Shows results and counts them. `out` takes what was made, `report` what is said about it.

    `lines`: products come one a line, since there may be several.
    """

    def __init__(self, out: TextIO, report: TextIO, *, machine: bool, lines: bool) -> None:
        self._out, self._report = out, report
        self._machine, self._lines = machine, lines
        self._documents: Counter[bool] = Counter()
        self._rows: Counter[str] = Counter()

    def tell(self, document: Document, result: Result, *, always: bool) -> None:
        """Show one result; `always` shows its headline also when there is nothing to remark."""
        self._documents[result.ok] += 1
        self._rows.update(row.kind for row in result.rows)
        if self._machine:
            place = {"file": document.file, **({} if document.line is None else {"line": document.line})}
            print(dumped({**place, **result.record}), file=self._out)
            return
        if isinstance(result.product, str):
            print(f"{result.product}  {document.name}", file=self._out)
        elif result.product is not None:
            print(dumped(result.product, pretty=not self._lines), file=self._out)
        if always or result.rows:
            self._out.flush()  # where both go to one place, the remarks follow what they are about
            print(f"{document.name}: {result.headline}", *self._aligned(result.rows), sep="\n", file=self._report)

    def summary(self) -> None:
        """The counts, when there were several documents."""
        if self._documents.total() > 1:
            counts = [f"{self._documents.total()} messages", f"{self._documents[True]} fine"]
            counts += [f"{self._documents[False]} not", *(_counted(count, kind) for kind, count in self._rows.items())]
            print(", ".join(counts), file=self._report)

    @property
    def all_ok(self) -> bool:
        """No result had an error."""
        return not self._documents[False]

    def _aligned(self, rows: list[Row]) -> list[str]:
        kind, rule, place = (max((len(row[column]) for row in rows), default=0) for column in range(3))
        place = min(place, _WIDEST_PLACE)
        return [
            f"  {self._coloured(row.kind, kind)}  {row.rule:<{rule}}  {row.place:<{place}}  {row.words}" for row in rows
        ]

    def _coloured(self, kind: str, width: int) -> str:
        text = f"{kind:<{width}}"
        return f"{_COLOURS[kind]}{text}{_PLAIN}" if kind in _COLOURS and self._report.isatty() else text


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}{'s' * (count > 1 and kind in _NOUNS)}"


def dumped(value: Any, *, pretty: bool = False) -> str:
    """JSON text, on one line or indented."""
    if pretty:
        return json.dumps(value, ensure_ascii=False, indent=2)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

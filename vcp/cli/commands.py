"""What each command makes of one document; reads no file and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from vcp.checksum import checksum
from vcp.cli.documents import Document
from vcp.errors import ErrorObject, MigrationError, SchemaError, VCPError
from vcp.exports.vcon import from_vcon, to_vcon
from vcp.migrate import Migration, migrate
from vcp.structure import read_json
from vcp.validate import Report, validate
from vcp.versions.reading import read_current


class Row(NamedTuple):
    """One line for people: `kind` is error, warning, made up or lost."""

    kind: str
    rule: str
    place: str
    words: str


@dataclass(frozen=True)
class Options:
    """What the command line says beyond the files."""

    now: datetime
    version: str = "0.5"
    shape: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a document: `record` for machines; for people `product`, a headline and rows."""

    record: dict[str, Any]
    headline: str
    rows: list[Row] = field(default_factory=list)
    product: Any = None

    @property
    def ok(self) -> bool:
        """Nothing in it is an error."""
        return all(row.kind != "error" for row in self.rows)


Command = Callable[[Document, Options], Result]


def validated(document: Document, options: Options) -> Result:
    """The findings of a message of any version."""
    report = _report(document, options.now)
    version, shape = report.form or (None, None)
    record = {"valid": report.ok, "version": version, "shape": shape, **report.to_dict()}
    rows = [*_rows("error", report.errors), *_rows("warning", report.warnings)]
    words = "valid" if report.ok else "not valid"
    return Result(record, f"{words}, {report.form}" if report.form else words, rows)


def _report(document: Document, now: datetime) -> Report:
    try:
        return validate(document.content(), now=now)
    except SchemaError as error:
        return Report(error.errors, [], None)


def migrated(document: Document, options: Options) -> Result:
    """The message in another version, and what was made up and lost. Raises MigrationError."""
    done = migrate(document.content(), options.version, options.shape, force=options.force)
    headline = f"{done.source} is now {done.target}"
    return Result({**done.to_dict(), "errors": []}, headline, _notes(done), done.message)


def summed(document: Document, options: Options) -> Result:
    """The checksum of a v0.5 message. Raises SchemaError."""
    found = checksum(read_current(document.content()))
    return Result({"checksum": found, "errors": []}, "summed", product=found)


def exported(document: Document, options: Options) -> Result:
    """The vCon of a v0.5 message. Raises VCPError."""
    vcon = to_vcon(read_current(document.content()))
    return Result({"vcon": vcon, "errors": []}, "a vCon", product=vcon)


def imported(document: Document, options: Options) -> Result:
    """The message within a vCon. Raises VCPError."""
    message = from_vcon(read_json(document.content())).to_dict()
    return Result({"message": message, "errors": []}, "a message", product=message)


def refused(error: VCPError) -> Result:
    """What a command could not do."""
    told = error.errors if isinstance(error, SchemaError) else [error.to_error()]
    reasons = error.errors if isinstance(error, MigrationError) else []
    return Result({"errors": [one.to_dict() for one in told]}, "refused", [*_rows("error", [*told, *reasons])])


def _rows(kind: str, found: Iterable[ErrorObject]) -> Iterable[Row]:
    for one in found:
        expected = one.context.get("expected")
        words = f"{one.message} (expected: {expected})" if expected else one.message
        yield Row(kind, one.context.get("rule", one.code), one.field_path or "$", words)


_NOTES: Final[Mapping[str, str]] = {"synthesized": "made up", "lost": "lost", "warnings": "warning"}


def _notes(done: Migration) -> list[Row]:
    return [
        Row(kind, "", note["path"], note["reason"])
        for part, kind in _NOTES.items()
        for note in done.report.to_dict()[part]
    ]

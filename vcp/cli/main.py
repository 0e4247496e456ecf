"""The commands and options of `python -m vcp`, their exit status, and what happens when a stream breaks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from vcp import examples
from vcp.cli import commands
from vcp.cli.commands import Command, Options, Result
from vcp.cli.documents import LINES_SUFFIXES, STANDARD_INPUT, Document, documents
from vcp.cli.telling import Teller, dumped
from vcp.errors import VCPError
from vcp.versions.forms import SUPPORTED_VERSIONS

FINE: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
# As the shell reports a program that was ended because nobody reads on, or by Ctrl-C.
BROKEN_PIPE: Final = 141
INTERRUPTED: Final = 130

_EPILOG: Final = f"""\
FILE is a path, or - for standard input. It holds one message; with --lines, or when its name ends in
{" or ".join(LINES_SUFFIXES)}, one message a line. What is made goes to standard output: indented when it is
one document, else one a line. Remarks go to standard error (of `validate`: to standard output).
Exit status: 0 all is well, 1 something has findings, 2 a file or an option cannot be used.
"""
_COMMANDS: Final[dict[str, tuple[Command, str]]] = {
    "validate": (commands.validated, "check messages by every rule of their version"),
    "upgrade": (commands.migrated, "make messages of 0.3 and 0.4 into 0.5"),
    "downgrade": (commands.migrated, "make messages of 0.5 and 0.4 into 0.3"),
    "checksum": (commands.summed, "the SHA-256 of the canonical JSON of 0.5 messages"),
    "vcon": (commands.exported, "make 0.5 messages into vCons, or --from vCons into messages"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Raises SystemExit(2) for options that cannot be understood."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.command == "schema" and asked.shape and asked.version != "0.3":
        parser.error("only version 0.3 has shapes with schemas of their own")
    if sys.stdout is None:  # the caller closed it
        return USAGE
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = _run(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        give_up_output()
        return BROKEN_PIPE
    except OSError as error:  # reading fails elsewhere: this is the output
        give_up_output()
        print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        return USAGE
    return status


def give_up_output() -> None:
    """What is still in the buffer must not fail a second time when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(asked: argparse.Namespace) -> int:
    if asked.command == "schema":
        return _schema(asked.version, asked.shape)
    if asked.command == "example":
        return _example(asked.name, asked.json)
    return _work(asked)


def _work(asked: argparse.Namespace) -> int:
    """Every document of every file: one that fails does not keep the others from their turn."""
    command = commands.imported if getattr(asked, "back", False) else _COMMANDS[asked.command][0]
    checks = asked.command == "validate"
    lines = asked.lines or len(asked.files) > 1 or asked.files[0].lower().endswith(LINES_SUFFIXES)
    people = sys.stdout if checks and not asked.json else sys.stderr
    teller = Teller(sys.stdout, people, machine=asked.json, lines=lines)
    unreadable: list[str] = []
    for document in _documents(asked.files, asked.lines, unreadable):
        teller.tell(document, _result(command, document, _options(asked)), always=checks)
    teller.summary()
    if unreadable:
        return USAGE
    return FINE if teller.all_ok else FINDINGS


def _documents(files: Sequence[str], lines: bool, unreadable: list[str]) -> Iterator[Document]:
    for file in files:
        try:
            yield from documents(file, lines)
        except OSError as error:
            unreadable.append(file)
            print(f"{file}: cannot be read: {error.strerror or error}", file=sys.stderr)


def _options(asked: argparse.Namespace) -> Options:
    version = getattr(asked, "to", "0.5")
    now = getattr(asked, "now", None) or datetime.now(UTC)
    return Options(now, version, getattr(asked, "shape", None), getattr(asked, "force", False))


def _result(command: Command, document: Document, options: Options) -> Result:
    try:
        return command(document, options)
    except VCPError as error:
        return commands.refused(error)


def _schema(version: str, shape: str | None) -> int:
    from vcp.json_schema import json_schema  # making schemas is a part of pydantic that little else needs

    print(dumped(json_schema(version, shape), pretty=True))
    return FINE


def _example(name: str | None, as_json: bool) -> int:
    if name is None:
        names = examples.names()
        print(dumped(names) if as_json else "\n".join(names))
        return FINE
    try:
        print(dumped(examples.load(name), pretty=not as_json))
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return USAGE
    return FINE


# --- options ------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vcp",
        description="Voice Context Protocol messages: check them, change their version, sum and export them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    of_files = {name: _with_files(known, name, text) for name, (_, text) in _COMMANDS.items()}
    of_files["validate"].add_argument(
        "--now", type=_moment, metavar="TIME", help="when consents are judged, with its offset; default: now"
    )
    downgrade = of_files["downgrade"]
    downgrade.add_argument("--to", default="0.3", choices=["0.3"], help="the version; 0.3")
    downgrade.add_argument(
        "--shape",
        choices=["lineage", "published"],
        help="of 0.3; published when the message came from it, else lineage",
    )
    downgrade.add_argument("--force", action="store_true", help="also without a consent that was denied or revoked")
    of_files["vcon"].add_argument("--from", dest="back", action="store_true", help="files are vCons; gives messages")
    _add_papers(known)
    return parser


def _with_files(
    known: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = known.add_parser(
        name, help=text, description=text, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", default=[STANDARD_INPUT], metavar="FILE", help="default: standard input")
    parser.add_argument("--lines", action="store_true", help="JSON Lines: one message a line")
    parser.add_argument("--json", action="store_true", help="one JSON object a document, for machines")
    return parser


def _add_papers(known: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    schema = known.add_parser("schema", help="the JSON Schema (2020-12) of a version")
    schema.add_argument("--version", default="0.5", choices=SUPPORTED_VERSIONS, help="0.5")
    schema.add_argument("--shape", choices=["published", "lineage"], help="of 0.3; published")
    example = known.add_parser("example", help="an example message; without a name, the names")
    example.add_argument("name", nargs="?", metavar="NAME")
    example.add_argument("--json", action="store_true", help="on one line, for machines")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError("a time with its offset is needed, such as 2026-01-31T12:00:00Z")
    return moment

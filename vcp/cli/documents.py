"""Files and standard input as documents: one a file, or one a line. Knows nothing of what they hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from vcp.errors import SchemaError
from vcp.findings import Finding

STANDARD_INPUT: Final = "-"
LINES_SUFFIXES: Final = (".jsonl", ".ndjson")
# Far above any message; a bound, so that a file without line ends does not fill the memory.
MAX_BYTES: Final = 32 * 2**20
_TOO_LONG: Final = f"the input is longer than {MAX_BYTES // 2**20} MiB"
_EMPTY: Final = "the input is empty; a message is needed"


@dataclass(frozen=True)
class Document:
    """One document and where it stands; `line` counts from 1. `problem` says why there is nothing to be read."""

    file: str
    line: int | None
    data: bytes
    problem: str = ""

    @property
    def name(self) -> str:
        """The place as it is shown: `file` or `file:line`."""
        file = "standard input" if self.file == STANDARD_INPUT else self.file
        return file if self.line is None else f"{file}:{self.line}"

    def content(self) -> bytes:
        """What was read. Raises SchemaError when there is nothing."""
        if self.problem:
            raise SchemaError([Finding("S2", (), self.problem, "JSON in UTF-8").to_error()])
        return self.data


def documents(file: str, lines: bool) -> Iterator[Document]:
    """The documents of one file; `-` is standard input. Lines are taken apart when `lines` or the suffix says so.

    Raises OSError when the file cannot be read.
    """
    with _opened(file) as stream:
        if lines or file.lower().endswith(LINES_SUFFIXES):
            yield from _lines(file, stream)
        else:
            data = stream.read(MAX_BYTES + 1)
            yield Document(file, None, data, _problem(data))


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file != STANDARD_INPUT:
        return Path(file).open("rb")
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return nullcontext(sys.stdin.buffer)


def _lines(file: str, stream: BinaryIO) -> Iterator[Document]:
    """Blank lines are none; a file of nothing else is one empty document, for nobody means that."""
    number, found = 0, False
    while data := stream.readline(MAX_BYTES + 1):
        number += 1
        problem = _problem(data)
        if problem == _TOO_LONG:
            _skip_line(data, stream)
        if problem != _EMPTY:
            found = True
            yield Document(file, number, data, problem)
    if not found:
        yield Document(file, None, b"", _EMPTY)


def _skip_line(data: bytes, stream: BinaryIO) -> None:
    while data and not data.endswith(b"\n"):
        data = stream.readline(2**20)


def _problem(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        return _TOO_LONG
    return "" if data.strip() else _EMPTY

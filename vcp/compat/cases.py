"""Reads the manifest and the case files, chooses among them, and makes each case's input.

What an operation does is known by `answers.py`, whether an answer is right by `judge.py`.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any

_PACKAGE = "vcp.compat"


@dataclass(frozen=True)
class Case:
    """One case as its file tells it; `suite` and `provider` are those of the file.

    `needs` names rules without which the case cannot pass; `pair` and `row` are its place in the migration matrix.
    """

    id: str
    rule: str
    title: str
    operation: str
    input: dict[str, Any]
    expect: dict[str, Any]
    suite: str
    optional: bool = False
    provider: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    pair: str | None = None
    row: str | None = None
    hidden: tuple[str, ...] = ()

    def resolved(self) -> dict[str, Any]:
        """The case as plain JSON without reference to a file: `input` is `json`, or `base64` where it is bytes."""
        value = given(self.input)
        is_bytes = isinstance(value, bytes)
        told = {"base64": base64.b64encode(value).decode()} if is_bytes else {"json": value}
        expect = dict(self.expect)
        if expect.pop("output_of", None) is not None:
            expect["output"] = expected_output(self.expect)
        return asdict(self) | {"input": told, "expect": expect}


@cache
def manifest() -> dict[str, Any]:
    """The manifest: the suites and their files, the rules in words, the rows of the migration matrix."""
    return dict(json.loads(_bytes("manifest.json")))


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case of every suite, in the order of the manifest."""
    return tuple(case for suite in manifest()["suites"] for name in suite["files"] for case in _cases(suite, name))


def _cases(suite: dict[str, Any], name: str) -> Iterable[Case]:
    content = json.loads(_bytes(name))
    for told in content["cases"]:
        lists = {key: tuple(told[key]) for key in ("needs", "hidden") if key in told}
        yield Case(**(told | lists), suite=suite["name"], optional=suite["optional"], provider=content.get("provider"))


def chosen(suite: str | None = None, provider: str | None = None, pair: str | None = None) -> list[Case]:
    """The cases of one suite, one provider and one version pair (`0.3:0.5`); None takes all.

    Raises ValueError that names the possible ones when there is no such suite, provider or pair.
    """
    asked = {"suite": suite, "provider": provider, "pair": pair}
    for name, value in asked.items():
        known = sorted({getattr(case, name) for case in all_cases()} - {None})
        if value is not None and value not in known:
            raise ValueError(f"no such {name}; there are: {', '.join(known)}")
    return [
        case
        for case in all_cases()
        if all(value is None or getattr(case, name) == value for name, value in asked.items())
    ]


def given(told: dict[str, Any]) -> Any:
    """What a case hands to the implementation: a JSON value, or bytes that may be anything.

    `told` is a case's `input`: one of `json`, `text`, `file`, or `fixture` with or without `changes`.
    """
    if "text" in told:
        return told["text"].encode()
    if "file" in told:
        return _bytes(told["file"])
    if "json" in told:
        return copy.deepcopy(told["json"])
    return patched(json.loads(_bytes(told["fixture"])), told.get("changes", ()))


def expected_output(expect: dict[str, Any]) -> Any:
    """The output a case expects as a whole, read from a fixture where it is one."""
    return given(expect["output_of"]) if "output_of" in expect else expect["output"]


def patched(document: Any, changes: Iterable[dict[str, Any]]) -> Any:
    """The document after some JSON Patch operations (RFC 6902: `add`, `replace`, `remove`); changed in place."""
    for change in changes:
        *parents, last = pointer(change["path"])
        place = document
        for part in parents:
            place = place[_key(place, part)]
        if change["op"] == "remove":
            del place[_key(place, last)]
        elif change["op"] == "add" and isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), copy.deepcopy(change["value"]))
        else:
            place[_key(place, last)] = copy.deepcopy(change["value"])
    return document


def pointer(text: str) -> list[str]:
    """The steps of a JSON Pointer (RFC 6901)."""
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def at(document: Any, path: str) -> Any:
    """The value at a JSON Pointer. Raises LookupError, TypeError or ValueError when there is none."""
    for part in pointer(path):
        document = document[_key(document, part)]
    return document


def _key(place: Any, part: str) -> str | int:
    return int(part) if isinstance(place, list) else part


@cache
def _bytes(name: str) -> bytes:
    place = resources.files(_PACKAGE)
    for part in name.split("/"):
        place = place.joinpath(part)
    return place.read_bytes()

"""Payloads of a wanted size for every provider of the catalogue, made from its richest sample that can have that size.

The same sample always gives the same bytes: its longest lists (turns, words, tool calls) lose items at their end or get
more of them, and its longest text (a summary, a transcript in one text) fills what is left. No key is lost.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from apps.providers import catalog

Json = Any


@cache
def payload_of(slug: str, size: int) -> tuple[str, bytes]:
    """(name of the sample, body of about `size` bytes) of a provider, of its samples that make a message alone."""
    telling = {name: payload for name, payload in catalog.samples(slug).items() if _makes_a_message(slug, name)}
    bodies = {name: fitted(payload, size) for name, payload in telling.items()}
    fitting = [name for name, body in bodies.items() if len(body) <= size]
    name = max(fitting or bodies, key=lambda name: len(_written(telling[name])))
    return name, bodies[name]


def payloads_of(slug: str, size: int) -> dict[str, bytes]:
    """Every sample of a provider that is an object, by name, with about `size` bytes."""
    return {name: fitted(payload, size) for name, payload in catalog.samples(slug).items()}


def _makes_a_message(slug: str, name: str) -> bool:
    expected = catalog.FOLDER / "samples" / slug / f"{name}.expected.json"
    return bool(json.loads(expected.read_text()).get("message"))


def fitted(payload: Json, size: int) -> bytes:
    """The payload, written with `size` bytes or, where its lists are too short to be cut so far, with more."""
    payload = json.loads(json.dumps(payload))
    while len(_written(payload)) > size and (longest := _longest_list(payload)) is not None:
        longest.pop()
    missing = size - len(_written(payload))
    longest = _longest_list(payload)
    while longest and isinstance(longest[1], dict) and missing > (more := len(_written(longest[1])) + 1):
        longest.append(longest[1])
        missing -= more
    _lengthen_text(payload, missing)
    return _written(payload)


def _written(payload: Json) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _longest_list(payload: Json) -> list[Json] | None:
    """The list with the most bytes that has more than two items."""
    lists = [inner for _, _, inner in _places(payload) if isinstance(inner, list) and len(inner) > 2]
    return max(lists, key=lambda found: len(_written(found)), default=None)


def _lengthen_text(payload: Json, missing: int) -> None:
    texts = [(len(inner), place, key) for place, key, inner in _places(payload) if isinstance(inner, str)]
    length, place, key = max(texts, key=lambda found: found[0])
    if missing > 0:
        place[key] += (f" {place[key]}" * (missing // length + 1))[:missing]


def _places(value: Json) -> Iterator[tuple[Json, Any, Json]]:
    """Each (object or list, key or index, value there), at any depth."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield value, key, inner
        yield from _places(inner)

"""Reads the catalogue: one TOML file a provider, and the samples beside them. Pure but for reading those files."""

import json
import math
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from apps.providers.engine.spec import ProviderSpec, first_problem

FOLDER = Path(__file__).parent


class CatalogError(Exception):
    """A catalogue file that cannot be used; the text names file, place and problem."""


def slugs() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load(slug: str) -> ProviderSpec:
    """The provider of `<slug>.toml`. Raises CatalogError."""
    return parse((FOLDER / f"{slug}.toml").read_text(), f"{slug}.toml")


def parse(text: str, name: str) -> ProviderSpec:
    """The provider of a file of that name. Raises CatalogError."""
    spec = read(text, name)
    if f"{spec.slug}.toml" != name:
        raise CatalogError(f"{name}: slug {spec.slug!r} must be the file's name")
    return spec


def read(text: str, name: str) -> ProviderSpec:
    """The provider that a text describes, wherever it comes from. Raises CatalogError naming the line or the field."""
    try:
        told = tomllib.loads(text)
        for place, problem in _unstorable(told):
            raise CatalogError(f"{name}: {place} {problem}")
        return ProviderSpec.model_validate(told)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{name}: {error}") from error
    except RecursionError as error:
        raise CatalogError(f"{name}: nested too deeply") from error
    except ValidationError as error:
        line = _line_of(text, error.errors()[0]["loc"])
        raise CatalogError(f"{name}: {first_problem(error)}{line and f' (see line {line})'}") from error


def _unstorable(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """What TOML can say and JSON in a database cannot keep: places, each with its problem."""
    if isinstance(value, dict):
        yield from ((place or "a key", "holds a NUL character") for key in value if "\0" in key)
        for key, inner in value.items():
            yield from _unstorable(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unstorable(inner, f"{place}.{number}")
    elif isinstance(value, str) and "\0" in value:
        yield place, "holds a NUL character"
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, f"is {value}: only finite numbers can be kept"


def _line_of(text: str, place: tuple[int | str, ...]) -> int | str:
    """The line at which the innermost `[[table]]` of a place begins; empty where the place is in none."""
    found: int | str = ""
    for depth, number in enumerate(place):
        if isinstance(number, int):
            header = f"[[{'.'.join(str(part) for part in place[:depth] if isinstance(part, str))}]]"
            start = int(found or 0)
            lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == header and n > start]
            found = lines[number] if number < len(lines) else found
    return found


def samples(slug: str) -> dict[str, Any]:
    """The recorded or documented payloads of a provider by file name, without the expected messages beside them."""
    folder = FOLDER / "samples" / slug
    return {
        path.stem: json.loads(path.read_bytes())
        for path in sorted(folder.glob("*.json"))
        if not path.name.endswith(".expected.json")
    }

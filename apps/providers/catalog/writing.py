"""Writes a provider as a catalogue file: the reverse of reading it, but for the comments.

Tables as people write them here: one for each part, event, rule and row; small objects stay on their line.
"""

from typing import Any

import tomlkit
from tomlkit.items import AoT, Array, InlineTable, Table
from tomlkit.items import String as TomlString

from apps.providers.catalog import CatalogError, read
from apps.providers.engine.spec import ProviderSpec

LINE_LENGTH = 100
# Shown as tables of their own however short they are: `[setup]`, `[[mapping.rules]]`.
SECTIONS = {"setup", "auth", "mapping", "read", "leftovers", "events", "rules", "decisions", "redact", "rows"}


def write(spec: ProviderSpec) -> str:
    """The file of this provider; read again, it is equal, save that examples lose their nulls, which say nothing.

    Raises CatalogError with the place for what TOML cannot say: null.
    """
    plain = _plain(spec)
    nulls = list(_nulls(plain, ""))
    if nulls:
        raise CatalogError(f"{nulls[0]} is null, which TOML cannot say: leave it out of the mapping, then export")
    document = tomlkit.document()
    _fill(document, plain)
    text = tomlkit.dumps(document)
    if _plain(read(text, spec.slug)) != plain:
        raise CatalogError(f"{spec.slug}: the file would not read back as what it was written from")
    return text


def _plain(spec: ProviderSpec) -> dict[str, Any]:
    plain = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for event in plain["mapping"].get("events", []):
        if "example" in event:
            event["example"] = _without_nulls(event["example"])
    return plain


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value


def _nulls(value: Any, place: str) -> Any:
    if value is None:
        yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield from _nulls(inner, f"{place}.{name}" if place else str(name))


def _fill(table: Any, plain: dict[str, Any]) -> None:
    """Lines first: a line after a table would belong to that table."""
    nested = {name: value for name, value in plain.items() if _is_nested(name, value)}
    for name, value in plain.items():
        if name not in nested:
            table.add(name, _on_lines(value))
    for name, value in nested.items():
        table.add(name, _tables(value) if isinstance(value, list) else _table(value))


def _is_nested(name: str, value: Any) -> bool:
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return False
    return name in SECTIONS or any(len(_inline(row).as_string()) > LINE_LENGTH for row in rows)


def _table(plain: dict[str, Any]) -> Table:
    table = tomlkit.table()
    _fill(table, plain)
    return table


def _tables(rows: list[dict[str, Any]]) -> AoT:
    tables = tomlkit.aot()
    for row in rows:
        tables.append(_table(row))
    return tables


def _on_lines(value: Any) -> Any:
    """A value of a line; a list that is too long for one has a line for each item."""
    item = _inline(value)
    if isinstance(item, Array) and len(item.as_string()) > LINE_LENGTH:
        item.multiline(True)
    return _paragraphs(value) if isinstance(value, str) and "\n" in value else item


def _paragraphs(text: str) -> TomlString:
    return tomlkit.string(text, multiline="\r" not in text)  # a reader takes \r\n for \n


def _inline(value: Any) -> Any:
    if isinstance(value, dict):
        table: InlineTable = tomlkit.inline_table()
        for name, inner in value.items():
            table.add(name, _inline(inner))
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_inline(inner) for inner in value)
        return array
    return tomlkit.item(value)

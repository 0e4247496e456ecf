"""Writes many rows of one model by key in one go.

Django's bulk_update builds one CASE expression over all rows and fields, which costs more than the database does.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection, models

# PostgreSQL takes 65,535 parameters at most from other drivers; and a statement is text that somebody has to hold.
MAX_ROWS = 500


def update_rows(rows: Sequence[models.Model], names: tuple[str, ...]) -> None:
    """Write these fields of these rows, all of one model. Sends no signals."""
    if not rows:
        return
    model = type(rows[0])
    fields = _fields(model, names)
    values = [[field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields] for row in rows]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One round trip for all: its driver runs a prepared statement once for each row, over the network.
            for start in range(0, len(values), MAX_ROWS):
                part = values[start : start + MAX_ROWS]
                cursor.execute(_update_from_values(model, names, len(part)), [value for row in part for value in row])
        else:
            cursor.executemany(_update_one(model, names), values)


def _fields(model: type[models.Model], names: tuple[str, ...]) -> list[Any]:
    meta = model._meta
    assert meta.pk is not None  # noqa: S101 - every table here has a key
    return [meta.get_field(name) for name in (*names, meta.pk.name)]


@cache
def _update_one(model: type[models.Model], names: tuple[str, ...]) -> str:
    *fields, key = _fields(model, names)
    columns = ", ".join(f'"{field.column}" = %s' for field in fields)
    return f'UPDATE "{model._meta.db_table}" SET {columns} WHERE "{key.column}" = %s'  # noqa: S608 - names of our own


@cache
def _update_from_values(model: type[models.Model], names: tuple[str, ...], rows: int) -> str:
    fields = _fields(model, names)
    # The first row tells the types of all; without lengths, for a cast to one cuts off what an assignment refuses.
    first = ", ".join(f"%s::{field.rel_db_type(connection).partition('(')[0]}" for field in fields)
    other = ", ".join(["%s"] * len(fields))
    values = ", ".join([f"({first})", *[f"({other})"] * (rows - 1)])
    columns = ", ".join(f'"{field.column}" = told."{field.column}"' for field in fields[:-1])
    told = ", ".join(f'"{field.column}"' for field in fields)
    table, key = model._meta.db_table, fields[-1].column
    return (
        f'UPDATE "{table}" SET {columns} FROM (VALUES {values}) AS told ({told}) '  # noqa: S608 - names of our own
        f'WHERE "{table}"."{key}" = told."{key}"'
    )

"""Writes many rows of one model by key in one go: an UPDATE prepared once and run for each row.

Django's bulk_update builds one CASE expression over all rows and fields, which costs more than the database does.
"""

from collections.abc import Sequence
from functools import cache

from django.db import connection, models


@cache
def _update_sql(model: type[models.Model], names: tuple[str, ...]) -> str:
    meta = model._meta
    columns = ", ".join(f'"{meta.get_field(name).column}" = %s' for name in names)  # type: ignore[union-attr]
    assert meta.pk is not None  # noqa: S101 - every table here has a key
    return f'UPDATE "{meta.db_table}" SET {columns} WHERE "{meta.pk.column}" = %s'  # noqa: S608 - names of our own


def update_rows(rows: Sequence[models.Model], names: tuple[str, ...]) -> None:
    """Write these fields of these rows, all of one model. Sends no signals."""
    if not rows:
        return
    meta = rows[0]._meta
    fields = [meta.get_field(name) for name in (*names, meta.pk.name if meta.pk else "id")]
    values = [
        [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]  # type: ignore[union-attr]
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_update_sql(type(rows[0]), names), values)

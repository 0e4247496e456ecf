"""The count of what the ingest door accepts, written in the transaction that stores it.

The ledger (ledger.py) holds it against the stored rows: what is here and not there was lost.
"""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from django.db import connection
from django.db.backends.utils import CursorWrapper

from apps.ingest.models import Tally

# By process, so that two web processes never wait for one row; a few rows an hour are little to add up.
SHARDS = 16


class Counted(Protocol):
    """What is counted of a delivery."""

    endpoint_id: int
    received_at: datetime


def add(cursor: CursorWrapper, outcomes: Sequence[tuple[Counted, bool]]) -> None:
    """Count each delivery in the hour of its `received_at`: accepted if it was created, else repeated.

    To be called in the transaction of the INSERTs and after them: the counters are what all wait for, so they are
    taken last, in one order, and given back soon.
    """
    counts = Counter((hour_of(row.received_at), row.endpoint_id, created) for row, created in outcomes)
    places = sorted({(hour, endpoint_id) for hour, endpoint_id, _ in counts})
    if not places:
        return
    shard = os.getpid() % SHARDS
    values: list[Any] = []
    for hour, endpoint_id in places:
        accepted, repeated = counts[hour, endpoint_id, True], counts[hour, endpoint_id, False]
        values += [connection.ops.adapt_datetimefield_value(hour), endpoint_id, shard, accepted, repeated]
    cursor.execute(_upsert(len(places)), values)


def counting(stored: str, rows: Sequence[Counted]) -> tuple[str, list[Any]]:
    """The same for PostgreSQL as a WITH query, and its values: to stand behind `stored`, the WITH query that inserts
    these rows and returns endpoint_id and received_at of those that were created."""
    told = sorted(Counter((hour_of(row.received_at), row.endpoint_id) for row in rows).items())
    values = [value for (hour, endpoint_id), count in told for value in (hour, endpoint_id, count)]
    places = ", ".join(["(%s::timestamptz, %s::bigint, %s::bigint)"] * len(told))
    created = (
        f"SELECT count(*) FROM {stored} WHERE {stored}.endpoint_id = place.endpoint_id "  # noqa: S608
        f"AND {stored}.received_at >= place.hour AND {stored}.received_at < place.hour + interval '1 hour'"
    )
    select = (
        f"SELECT hour, endpoint_id, {os.getpid() % SHARDS}, created, told - created "  # noqa: S608
        f"FROM (SELECT place.*, ({created}) AS created "
        f"FROM (VALUES {places}) AS place (hour, endpoint_id, told)) AS counts"
    )
    return f"counted AS ({_INSERT} {select} {_ADD})", values


def hour_of(moment: datetime) -> datetime:
    """The hour, UTC, that an aware time is in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


_TABLE = Tally._meta.db_table
_INSERT = f"INSERT INTO {_TABLE} (hour, endpoint_id, shard, accepted, repeated)"
_ADD = (
    f"ON CONFLICT (hour, endpoint_id, shard) DO UPDATE SET accepted = {_TABLE}.accepted + excluded.accepted, "
    f"repeated = {_TABLE}.repeated + excluded.repeated"
)


def _upsert(rows: int) -> str:
    return f"{_INSERT} VALUES {', '.join(['(%s, %s, %s, %s, %s)'] * rows)} {_ADD}"

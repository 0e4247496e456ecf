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


def hour_of(moment: datetime) -> datetime:
    """The hour, UTC, that an aware time is in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _upsert(rows: int) -> str:
    table = Tally._meta.db_table
    return (
        f"INSERT INTO {table} (hour, endpoint_id, shard, accepted, repeated) "  # noqa: S608
        f"VALUES {', '.join(['(%s, %s, %s, %s, %s)'] * rows)} ON CONFLICT (hour, endpoint_id, shard) DO UPDATE "
        f"SET accepted = {table}.accepted + excluded.accepted, repeated = {table}.repeated + excluded.repeated"
    )

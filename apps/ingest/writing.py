"""SQLite takes one writer at a time; threads of this process queue here instead of in its busy handler, which sleeps.

On PostgreSQL nothing waits.
"""

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import connection

# May be taken again by the thread that has it. Outside of a transaction, never within one that does not have it yet.
_sqlite_writer = threading.RLock()


def writing() -> AbstractContextManager[Any]:
    """Held around each write of the ingest door, or around the whole transaction when there are several."""
    return _sqlite_writer if connection.vendor == "sqlite" else nullcontext()

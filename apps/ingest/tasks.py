"""Celery's side of ingest: thin tasks that may run twice and lose nothing."""

import time

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from apps.ingest import bell, files
from apps.ingest.claims import claim, release, something_due
from apps.ingest.normalise import normalise
from apps.ingest.refused import drop_expired
from apps.ingest.retention import empty_old_bodies
from apps.ingest.turns import Turns

# A drain hands over before it could be taken for stuck; what is left rings again.
DRAIN_FOR_SEC = 20


def work_off(until: float | None = None) -> int:
    """Work off what is due, batch by batch, until a time of the monotonic clock (None: DRAIN_FOR_SEC from now); what is
    left then rings again. Returns the number of deliveries."""
    done = 0
    until = time.monotonic() + DRAIN_FOR_SEC if until is None else until
    while rows := claim(timezone.now()):
        try:
            normalise(rows, timezone.now())
        except DatabaseError:
            # A deadlock or a locked database. If even this fails, the rows' leases end by themselves.
            release(rows, timezone.now())
            raise
        done += len(rows)
        if time.monotonic() > until:
            bell.ring()
            break
    return done


_turns = Turns(work_off)


@shared_task(name=bell.DRAIN_TASK)
def drain() -> int:
    """The same, in one thread of this process at a time."""
    return _turns.ask(DRAIN_FOR_SEC, settings.INGEST_LEASE_SEC)


@shared_task(name="ingest.sweep")
def sweep() -> int:
    """Pick up what is due although nobody rang: after a broker was down, or a worker died."""
    return drain() if something_due(timezone.now()) else 0


@shared_task(name="ingest.prune")
def prune() -> int:
    """Empty bodies older than RAW_RETENTION_DAYS, drop refused deliveries older than REFUSED_KEPT_HOURS, and remove
    files that nothing needs.

    Returns the number of bodies and refused deliveries together.
    """
    now = timezone.now()
    done = empty_old_bodies(now, settings.RAW_RETENTION_DAYS) + drop_expired(now)
    files.remove_all_unused(now)
    return done

"""Which deliveries a worker takes. A claim is a lease in the row: a worker that dies gives its rows back when it ends.

Fresh rows are taken in batches. A row that was claimed before and is still here may be what killed its worker, so it
is taken alone, and parked as failed after INGEST_MAX_ATTEMPTS.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet

from apps.ingest.models import InboundEvent

State = InboundEvent.State
AFTER_DATABASE_ERROR = timedelta(seconds=2)


def claim(now: datetime) -> list[InboundEvent]:
    """The next rows to work off, their attempt counted and committed; empty when nothing is due."""
    with transaction.atomic():
        due = InboundEvent.objects.filter(state=State.RECEIVED, next_attempt_at__lte=now).order_by("id")
        _park_hopeless(due, now)
        rows = _locked(due.filter(attempts__gt=0), 1) or _locked(due.filter(attempts=0), settings.INGEST_BATCH_SIZE)
        InboundEvent.objects.filter(pk__in=[row.pk for row in rows]).update(
            attempts=F("attempts") + 1, next_attempt_at=now + timedelta(seconds=settings.INGEST_LEASE_SEC)
        )
    return rows


def release(rows: list[InboundEvent], now: datetime) -> None:
    """Give rows back that could not be worked off for a reason that is not theirs, such as the database's."""
    InboundEvent.objects.filter(pk__in=[row.pk for row in rows], state=State.RECEIVED).update(
        attempts=F("attempts") - 1, next_attempt_at=now + AFTER_DATABASE_ERROR
    )


def _locked(rows: QuerySet[InboundEvent], limit: int) -> list[InboundEvent]:
    skip = connection.features.has_select_for_update_skip_locked
    return list(rows.select_for_update(skip_locked=skip)[:limit])


def _park_hopeless(due: QuerySet[InboundEvent], now: datetime) -> None:
    due.filter(attempts__gte=settings.INGEST_MAX_ATTEMPTS).update(
        state=State.FAILED,
        processed_at=now,
        error_code="VCP_E002",
        error_detail=f"given up after {settings.INGEST_MAX_ATTEMPTS} attempts that did not come to an end; "
        "the worker's log has the reason under the trace id. Replay it once the reason is mended.",
    )


def something_due(now: datetime) -> bool:
    return InboundEvent.objects.filter(state=State.RECEIVED, next_attempt_at__lte=now).exists()

"""Which deliveries a worker takes. A claim is a lease in the row: a worker that dies gives its rows back when it ends.

Fresh rows are taken in batches. A row that was claimed before and is still here may be what killed its worker: such
rows are taken in ever smaller batches, alone at the last attempt, and parked as failed after INGEST_MAX_ATTEMPTS.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from apps.ingest.models import InboundEvent

State = InboundEvent.State
AFTER_DATABASE_ERROR = timedelta(seconds=2)


def claim(now: datetime) -> list[InboundEvent]:
    """The next rows to work off, their attempt counted and committed; empty when nothing is due."""
    with transaction.atomic():
        due = _due(now)
        tried = due.filter(attempts__gt=0)  # by an index of its own: in a backlog all others are fresh
        _park_hopeless(tried, now)
        most = tried.order_by("-attempts").values_list("attempts", flat=True).first() or 0
        rows = _locked(tried.filter(attempts=most), batch_size(most)) if most else []
        # None where another worker has them.
        rows = rows or _locked(due.filter(attempts=0), batch_size(0))
        InboundEvent.objects.filter(pk__in=[row.pk for row in rows]).update(
            attempts=F("attempts") + 1, next_attempt_at=now + timedelta(seconds=settings.INGEST_LEASE_SEC)
        )
    return rows


def _due(now: datetime) -> QuerySet[InboundEvent]:
    """In the order of their turn. A time further ahead than any lease ends means that the clock was set back."""
    beyond = now + timedelta(seconds=settings.INGEST_LEASE_SEC) + AFTER_DATABASE_ERROR
    waiting = InboundEvent.objects.filter(state=State.RECEIVED).order_by("next_attempt_at", "id")
    return waiting.filter(Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=beyond))


def batch_size(attempts: int) -> int:
    """How many rows with so many attempts are taken together: an eighth at each, one at the last before parking."""
    if attempts > 0 and attempts >= settings.INGEST_MAX_ATTEMPTS - 1:
        return 1
    return max(1, int(settings.INGEST_BATCH_SIZE) // int(8**attempts))


def release(rows: list[InboundEvent], now: datetime) -> None:
    """Give rows back that could not be worked off for a reason that is not theirs, such as the database's."""
    InboundEvent.objects.filter(pk__in=[row.pk for row in rows], state=State.RECEIVED).update(
        attempts=F("attempts") - 1, next_attempt_at=now + AFTER_DATABASE_ERROR
    )


def _locked(rows: QuerySet[InboundEvent], limit: int) -> list[InboundEvent]:
    skip = connection.features.has_select_for_update_skip_locked
    return list(rows.select_for_update(skip_locked=skip)[:limit])


def _park_hopeless(tried: QuerySet[InboundEvent], now: datetime) -> None:
    tried.filter(attempts__gte=settings.INGEST_MAX_ATTEMPTS).update(
        state=State.FAILED,
        processed_at=now,
        error_code="VCP_E002",
        error_detail=f"given up after {settings.INGEST_MAX_ATTEMPTS} attempts that did not come to an end; "
        "the worker's log has the reason under the trace id. Replay it once the reason is mended.",
    )


def something_due(now: datetime) -> bool:
    return _due(now).exists()

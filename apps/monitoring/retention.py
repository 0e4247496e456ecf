"""How long what was seen is kept. Nothing goes that a later look needs, that is open, or that somebody must still read.

Of each check the newest snapshot stays, and the newest entries of a feed: without them all would be new again.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber

from apps.monitoring.models import Change, Incident, Observation, SeenEntry, Snapshot, Span

BATCH = 500
# A feed shows ten; some come into sight again where newer ones are taken back.
ENTRIES_KEPT = 100


def prune(now: datetime, days: int) -> dict[str, int]:
    """Delete what is older than so many days, in batches; the number of rows by what they are."""
    before = now - timedelta(days=days)
    return {name: _delete(rows) for name, rows in _old(before).items()}


def _old(before: datetime) -> dict[str, QuerySet[Any]]:
    newest = Snapshot.objects.filter(monitor=OuterRef("monitor")).order_by("-id").values("pk")[:1]
    over = Q(incident=None) | Q(incident__resolved_at__lt=before)
    read = Q(needs_review=False) | Q(reviewed_at__isnull=False)
    return {
        "observations": Observation.objects.filter(at__lt=before),
        "spans": Span.objects.filter(ended_at__lt=before),
        "snapshots": Snapshot.objects.filter(taken_at__lt=before).exclude(pk=Subquery(newest)),
        "entries": SeenEntry.objects.filter(first_seen_at__lt=before, pk__in=_old_entries()),
        "changes": Change.objects.filter(over, read, detected_at__lt=before),
        "incidents": Incident.objects.filter(resolved_at__lt=before),
    }


def _old_entries() -> QuerySet[SeenEntry, int]:
    place = Window(RowNumber(), partition_by=[F("monitor")], order_by=F("id").desc())
    return SeenEntry.objects.annotate(place=place).filter(place__gt=ENTRIES_KEPT).values_list("pk", flat=True)


def _delete(rows: QuerySet[Any]) -> int:
    deleted = 0
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        rows.model._default_manager.filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted

"""How long raw bodies are kept, and how a call is erased.

Retention empties bodies and headers; row, key, fragment and report stay, so a late event never shrinks a message.
Erasing empties the fragments and artifacts of a call too, and leaves a tombstone under a keyed hash.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from apps.ingest import calls
from apps.ingest.models import CallKey, InboundEvent, Message, Tombstone
from apps.ingest.pseudonyms import tombstone_hash
from apps.ingest.signals import messages_written
from apps.ingest.snapshot import snapshot
from apps.providers import registry

BATCH = 500
State = InboundEvent.State
# What is left of a delivery whose call was erased: that it came, when, and its key.
FORGOTTEN: dict[str, Any] = {
    "state": State.ERASED,
    "call_key": None,
    "call_id": "",
    "body": b"",
    "headers": {},
    "fragment": None,
    "report": None,
    "error_code": "",
    "error_path": "",
    "error_rule": "",
    "error_detail": "",
}


def empty_old_bodies(now: datetime, days: int) -> int:
    """Empty bodies received before `days` ago, in batches; what still waits to be worked off is left alone."""
    emptied = 0
    while count := _empty_batch(now, now - timedelta(days=days)):
        emptied += count
    return emptied


def _empty_batch(now: datetime, before: datetime) -> int:
    due = InboundEvent.objects.filter(received_at__lt=before, body_emptied_at=None).exclude(state=State.RECEIVED)
    ids = list(due.order_by("received_at").values_list("pk", flat=True)[:BATCH])
    return empty_bodies(ids, now)


def empty_bodies(ids: list[int], now: datetime) -> int:
    """Empty these deliveries' bodies and headers, but for those still to be worked off."""
    rows = InboundEvent.objects.filter(pk__in=ids, body_emptied_at=None).exclude(state=State.RECEIVED)
    return rows.update(body=b"", headers={}, body_emptied_at=now)


@transaction.atomic
def erase_call(key: CallKey, now: datetime) -> None:
    """Forget a call under all its names: message, fragments, artifacts, bodies. What still arrives of it is
    acknowledged and dropped."""
    rows = calls.lock_names_of(key)
    remember_erased(calls.key_of(row) for row in rows)
    for row in rows:
        forget(row, now)


def remember_erased(names: Iterable[calls.Key]) -> None:
    """Leave a tombstone for each of these names of calls."""
    tombstones = [Tombstone(key_hash=tombstone_hash(*name)) for name in sorted(set(names))]
    Tombstone.objects.bulk_create(tombstones, ignore_conflicts=True)


def forget(key: CallKey, now: datetime) -> None:
    """Forget what came under this name, whose row is locked; the row goes, too."""
    message = Message.objects.filter(call_key=key).first()
    if message is not None:
        before = snapshot(message)
        message.delete()
        messages_written.send(sender=Message, changes=[(before, None)])
    _deliveries_naming(key).update(**FORGOTTEN, processed_at=now, body_emptied_at=now)
    key.events.update(**FORGOTTEN, processed_at=now, body_emptied_at=now)
    # Of names of one call the first that goes takes the others with it.
    CallKey.objects.filter(pk=key.pk).delete()


def _deliveries_naming(key: CallKey) -> QuerySet[InboundEvent]:
    """Those of no call's message (stored, ignored, failed) that name this one, ready-made messages among them."""
    ready_made = [provider.slug for provider in registry.providers() if provider.mapping.spec.format == "vcp"]
    return InboundEvent.objects.filter(
        provider__in=[key.provider, *ready_made],
        account=key.account,
        environment=key.environment,
        call_id=key.call_id,
        call_key=None,
    )

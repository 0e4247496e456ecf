"""Keeps what was refused for want of a proof: whole, encrypted and unparsed, for REFUSED_KEPT_HOURS.

A rotated key then costs nothing: recheck.py proves again what is kept here. Anybody can send something that is
refused, so an endpoint keeps no more than REFUSED_KEPT_COUNT of REFUSED_KEPT_BYTES, shared fairly among senders.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.asyncio import async_unsafe

from apps.ingest.models import RefusedDelivery
from apps.ingest.writing import writing
from apps.providers import vault
from apps.providers.engine.addresses import sender
from apps.providers.engine.signatures import SignedRequest
from apps.providers.models import Endpoint

log = logging.getLogger(__name__)

BATCH = 500


# --- keeping ----------------------------------------------------------------------------------------------------


@async_unsafe
def keep(
    endpoint_id: int, request: SignedRequest, reason: str, now: datetime, *, trace_id: str = "", address: str = ""
) -> bool:
    """Keep a refused request; False when that was not possible. Never raises: the sender's answer stays a 401.

    Of equal bodies the first is kept. With REFUSED_KEPT_HOURS=0 nothing is, and nothing is missed.
    """
    if not settings.REFUSED_KEPT_HOURS:
        return True
    row = RefusedDelivery(
        endpoint_id=endpoint_id,
        received_at=now,
        reason=reason[:40],
        address=address[:45],
        trace_id=trace_id,
        body_sha256=sha256(request.body).hexdigest(),
    )
    try:
        return _is_kept(row) or (_fits(row, len(request.body)) and _keep(row, request))
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is a 401; the count tells of it
        # Its own text could quote what was to be stored.
        log.error("a refused delivery could not be kept: %s", type(error).__name__)
        return False


def _is_kept(row: RefusedDelivery) -> bool:
    return RefusedDelivery.objects.filter(endpoint_id=row.endpoint_id, body_sha256=row.body_sha256).exists()


def _fits(row: RefusedDelivery, size_bytes: int) -> bool:
    """A look before the work of encrypting, so that a flood is turned away cheaply."""
    return evicted(_held(row.endpoint_id), row.address, size_bytes) is not None


def _keep(row: RefusedDelivery, request: SignedRequest) -> bool:
    row.key_id, row.ciphertext = vault.encrypt_bytes(sealed(request))
    row.size_bytes = len(row.ciphertext)
    with writing(), transaction.atomic():
        # One at a time an endpoint, or the bounds would not hold; what is accepted meanwhile does not wait.
        Endpoint.objects.select_for_update(no_key=True).only("pk").get(pk=row.endpoint_id)
        gone = evicted(_held(row.endpoint_id), row.address, row.size_bytes)
        if gone is None:
            return False
        delete(gone)
        RefusedDelivery.objects.bulk_create([row], ignore_conflicts=True)
    return True


# --- the bounds ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What the bounds look at of a row."""

    id: int
    address: str
    size_bytes: int


def _held(endpoint_id: int) -> list[Held]:
    rows = RefusedDelivery.objects.filter(endpoint_id=endpoint_id).order_by("id")
    return [Held(*row) for row in rows.values_list("id", "address", "size_bytes")]


def evicted(held: Sequence[Held], address: str, size_bytes: int) -> list[int] | None:
    """The ids that give way to one more of this size; None when it is the newcomer that is not kept. Oldest come first.

    Whoever holds most gives way, and of his the newest. One sender's flood so displaces only itself, never what others
    sent before it or send after it. Of one sender's the oldest stay: the newest he may send again by himself.
    """
    shares: dict[str, list[Held]] = defaultdict(list)
    for row in held:
        shares[sender(row.address)].append(row)
    mine = sender(address)
    left, gone = list(held), []
    while len(left) >= settings.REFUSED_KEPT_COUNT or _bytes(left) + size_bytes > settings.REFUSED_KEPT_BYTES:
        share = {name: _share(rows) for name, rows in shares.items() if rows}
        largest = max(share, key=lambda name: share[name], default=mine)
        if largest == mine or share[largest] <= _share([*shares[mine], Held(0, address, size_bytes)]):
            return None
        row = shares[largest].pop()
        left.remove(row)
        gone.append(row.id)
    return gone


def _share(rows: Sequence[Held]) -> float:
    """Which part of an endpoint's room these take up, by count or by bytes."""
    by_count: float = len(rows) / settings.REFUSED_KEPT_COUNT
    by_bytes: float = _bytes(rows) / settings.REFUSED_KEPT_BYTES
    return max(by_count, by_bytes)


def _bytes(rows: Sequence[Held]) -> int:
    return sum(row.size_bytes for row in rows)


# --- the sealed form ------------------------------------------------------------------------------------------------


def sealed(request: SignedRequest) -> bytes:
    """All that a proof may look at, as bytes: a line of JSON, then the body as it came."""
    head = {name: getattr(request, name) for name in _HEAD}
    return json.dumps(head | {"headers": dict(request.headers)}).encode() + b"\n" + request.body


def unsealed(row: RefusedDelivery) -> SignedRequest:
    """The request as it came. Raises vault.MissingKey."""
    head, _, body = vault.decrypt_bytes(row.key_id, bytes(row.ciphertext)).partition(b"\n")
    return SignedRequest(body=body, **json.loads(head))


_HEAD = tuple(field.name for field in fields(SignedRequest) if field.name != "body")


# --- what waits, and its end ------------------------------------------------------------------------------------------


def expires_at(row: RefusedDelivery) -> datetime:
    return row.received_at + timedelta(hours=settings.REFUSED_KEPT_HOURS)


def waiting(now: datetime) -> QuerySet[RefusedDelivery]:
    """What can still be checked again; what is older waits for the next prune only."""
    return RefusedDelivery.objects.filter(received_at__gt=_kept_since(now))


def drop_expired(now: datetime) -> int:
    """Delete in batches what was kept for REFUSED_KEPT_HOURS; returns the number."""
    expired = RefusedDelivery.objects.filter(received_at__lte=_kept_since(now)).order_by("received_at")
    dropped = 0
    while ids := list(expired.values_list("pk", flat=True)[:BATCH]):
        dropped += delete(ids)
    return dropped


def _kept_since(now: datetime) -> datetime:
    return now - timedelta(hours=settings.REFUSED_KEPT_HOURS)


def delete(ids: Sequence[int]) -> int:
    """Delete these rows; returns the number. Django reads rows that it deletes, and theirs are large."""
    return RefusedDelivery.objects.filter(pk__in=ids).only("pk").delete()[0]

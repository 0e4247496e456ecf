"""Proves again what was refused and kept, with today's secrets, and lets in what passes by the door of all others.

A delivery is judged as of the moment it came: its timestamp by the clock of then, a secret if it is valid today or was
then. Addresses and switches are judged as of today.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from apps.history.record import record_many
from apps.ingest import bell, refused
from apps.ingest.files import StorageFailed
from apps.ingest.inbox import allowed, authenticate, insert, made_ready, may_be_half
from apps.ingest.models import RefusedDelivery
from apps.ingest.writing import writing
from apps.providers import registry, vault
from apps.providers.engine.signatures import SignedRequest, Verdict
from apps.providers.registry import EndpointRuntime

Endpoints = dict[int, EndpointRuntime]


@dataclass
class Rechecked:
    """How many became deliveries, how many were deliveries already, and how many stay refused, by reason."""

    admitted: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        yield f"{self.admitted} admitted"
        if self.known:
            yield f"{self.known} known already"
        for reason, count in sorted(self.refused.items()):
            yield f"{count} still refused: {reason}"


@dataclass(frozen=True)
class _Proven:
    endpoint: EndpointRuntime
    request: SignedRequest
    verdict: Verdict


def recheck(rows: QuerySet[RefusedDelivery], now: datetime, *, dry_run: bool = False) -> Rechecked:
    """Check these again, oldest first, each in a transaction of its own; what is admitted or known is kept no more.

    Two at once admit each delivery once. A dry run writes nothing, and counts as admitted what is known already, too.
    """
    registry.forget()  # what was saved a moment ago counts
    found = [endpoint for one in registry.providers() for endpoint in registry.endpoints_of(one.slug)]
    endpoints = {endpoint.id: endpoint for endpoint in found}
    report = Rechecked()
    still_kept = rows.filter(pk__in=refused.waiting(now).values("pk")).order_by("id")
    for pk in list(still_kept.values_list("pk", flat=True)):
        if dry_run:
            _try(report, pk, endpoints)
        else:
            _settle(report, pk, endpoints, now)
    if report.admitted:
        record_many(RefusedDelivery, "rechecked", ", ".join(report.lines()))
    return report


def _try(report: Rechecked, pk: int, endpoints: Endpoints) -> None:
    row = RefusedDelivery.objects.filter(pk=pk).first()
    judged = _judge(row, endpoints) if row is not None else None
    if isinstance(judged, _Proven):
        report.admitted += 1
    elif judged is not None:
        report.refused[judged] += 1


def _settle(report: Rechecked, pk: int, endpoints: Endpoints, now: datetime) -> None:
    try:
        _settle_one(report, pk, endpoints, now)
    except StorageFailed:
        report.refused["storage_failed"] += 1  # it stays kept, and the others have their turn


def _settle_one(report: Rechecked, pk: int, endpoints: Endpoints, now: datetime) -> None:
    with writing(), transaction.atomic():
        row = RefusedDelivery.objects.select_for_update().filter(pk=pk).first()
        if row is None:
            return  # another recheck was quicker
        judged = _judge(row, endpoints)
        if not isinstance(judged, _Proven):
            report.refused[judged] += 1
            RefusedDelivery.objects.filter(pk=pk).update(reason=judged)
            return
        ready = made_ready(judged.endpoint, judged.request, judged.verdict, row.received_at, row.trace_id)
        created = insert(ready)
        refused.delete([pk])
    if judged.verdict.secret_id:
        registry.note_secret_used(judged.verdict.secret_id, now)
    if not created:
        report.known += 1
        return
    report.admitted += 1
    bell.ring()


def _judge(row: RefusedDelivery, endpoints: Endpoints) -> _Proven | str:
    """The proven request, or the reason why it stays refused."""
    endpoint = endpoints.get(row.endpoint_id)
    if endpoint is None or not endpoint.switched_on:
        return "closed"
    if not allowed(endpoint, row.address):
        return "address_not_allowed"
    try:
        request = refused.unsealed(row)
    except vault.MissingKey:
        return "key_missing"
    # Secrets have an end and no beginning: one that is valid today was valid at any time before.
    verdict = authenticate(endpoint, request, row.received_at)
    if not verdict.authentic:
        return verdict.reason.value
    return "body_incomplete" if may_be_half(request, verdict) else _Proven(endpoint, request, verdict)

"""The ingest door, free of HTTP: `accept` proves a delivery, stores it once, and rings the bell.

Nothing is mapped here. What returns Accepted has been committed; content can never make `accept` fail, since a
signed body that makes no sense is stored like any other and fails visibly later.
"""

import hashlib
import logging
import threading
import uuid
from collections.abc import Mapping as MappingType
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from apps.ingest import bell, files
from apps.ingest.ids import derived_id
from apps.ingest.models import InboundEvent, Refusal
from apps.providers import registry
from apps.providers.engine.addresses import contains, parse_networks
from apps.providers.engine.embedded import EmbeddedFile, take_out
from apps.providers.engine.errors import PayloadError
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import SignedRequest, Verdict, best_verdict, verify
from apps.providers.models import Endpoint
from apps.providers.registry import EndpointRuntime

log = logging.getLogger(__name__)

# Kept beside a delivery for whoever looks into it. Never those that carry a secret or a signature.
KEPT_HEADERS = ("content-type", "content-length", "content-encoding", "user-agent", "date", "traceparent")
MAX_HEADER_LENGTH = 500


@dataclass(frozen=True)
class Accepted:
    """Committed. `duplicate`: it had been before. `answer`: a neutral body that the provider waits for."""

    delivery_id: uuid.UUID
    duplicate: bool
    answer: dict[str, Any] | None = None


@dataclass(frozen=True)
class Refused:
    """Not stored. `status` is the HTTP status that says so; `detail` is for the log and the admin, not for
    strangers."""

    status: int
    reason: str
    detail: str


def find_endpoint(provider_slug: str, endpoint_slug: str) -> EndpointRuntime | Refused:
    """The endpoint if it exists and is open; to strangers, closed and missing look the same."""
    endpoint = registry.endpoint(provider_slug, endpoint_slug)
    if endpoint is None:
        return Refused(404, "unknown", "no such provider or endpoint")
    if not endpoint.open:
        detail = "switched off" if endpoint.has_credentials else _how_to_enter_a_secret(endpoint)
        return refuse(endpoint, 404, "closed", detail, timezone.now())
    return endpoint


def _how_to_enter_a_secret(endpoint: EndpointRuntime) -> str:
    where = "in the admin under Endpoints"
    if endpoint.slug == "default":
        where += f", or set WEBHOOK_SECRET_{endpoint.provider.slug.upper()}"
    return f"it has no secret yet: enter one {where}"


def accept(
    endpoint: EndpointRuntime,
    *,
    headers: MappingType[str, str],
    body: bytes,
    now: datetime,
    trace_id: str,
    address: str = "",
    method: str = "POST",
    url: str = "",
) -> Accepted | Refused:
    """Prove and store one delivery. `headers` have lower-case names; `now` is aware. Database errors and
    files.StorageFailed pass through."""
    if not _allowed(endpoint, address):
        return refuse(endpoint, 401, "address_not_allowed", "the sender's address is not on the allow-list", now)
    verdict = authenticate(endpoint, SignedRequest(headers, body, method, url), now)
    if not verdict.authentic:
        return refuse(endpoint, 401, verdict.reason.value, verdict.detail, now)
    kept = storable(endpoint.provider.mapping, body, headers.get("content-type", ""))
    row = _row(endpoint, headers, body, kept, now, trace_id, verdict)
    created = _insert_once(row) if kept.file is None else _insert_with_file(row, kept.file)
    if verdict.secret_id:
        registry.note_secret_used(verdict.secret_id, now)
    if created:
        bell.ring()
    return Accepted(row.delivery_id, not created, kept.answer)


def _allowed(endpoint: EndpointRuntime, address: str) -> bool:
    everywhere = parse_networks(settings.ALLOWED_WEBHOOK_IPS)
    return (not everywhere or contains(everywhere, address)) and endpoint.allows(address)


def authenticate(endpoint: EndpointRuntime, request: SignedRequest, now: datetime) -> Verdict:
    """The first way of the endpoint that proves the request, else the verdict that says most about why none did."""
    return best_verdict([verify(auth.scheme, auth.valid_secrets(now), request, now) for auth in endpoint.auths])


def refuse(endpoint: EndpointRuntime, status: int, reason: str, detail: str, now: datetime) -> Refused:
    """Count the refusal under its reason, and say in the log which setting to look at."""
    log.warning("webhook for %s refused (%s): %s", endpoint.name, reason, detail)
    hour = now.replace(minute=0, second=0, microsecond=0)
    with _writing():
        place = {"endpoint_id": endpoint.id, "hour": hour, "reason": reason[:40]}
        if not Refusal.objects.filter(**place).update(count=F("count") + 1, last_at=now):
            Refusal.objects.bulk_create([Refusal(**place, count=0, last_at=now)], ignore_conflicts=True)
            Refusal.objects.filter(**place).update(count=F("count") + 1, last_at=now)
        Endpoint.objects.filter(pk=endpoint.id).update(
            last_refused_at=now, last_refused_reason=f"{reason}: {detail}"[:200]
        )
    return Refused(status, reason, detail)


def _row(
    endpoint: EndpointRuntime,
    headers: MappingType[str, str],
    body: bytes,
    kept: "Storable",
    now: datetime,
    trace_id: str,
    verdict: Verdict,
) -> InboundEvent:
    digest = hashlib.sha256(body).hexdigest()
    # Only what the signature covers may tell deliveries apart: an id of the provider's, else the body itself.
    key = f"id:{verdict.covered_id}"[:255] if verdict.covered_id else f"sha256:{digest}"
    return InboundEvent(
        delivery_id=derived_id("delivery", endpoint.provider.slug, endpoint.slug, key),
        delivery_key=key,
        endpoint_id=endpoint.id,
        provider=endpoint.provider.slug,
        account=endpoint.account,
        environment=endpoint.environment,
        received_at=now,
        next_attempt_at=now,
        trace_id=trace_id,
        content_type=headers.get("content-type", "")[:100].replace("\x00", ""),
        headers={
            name: headers[name][:MAX_HEADER_LENGTH].replace("\x00", "") for name in KEPT_HEADERS if name in headers
        },
        body=kept.body,
        body_size=len(body),
        body_sha256=digest,
    )


@dataclass(frozen=True)
class Storable:
    """A body as it may be stored, the file that was in it, and the neutral answer that the event asks for."""

    body: bytes
    file: EmbeddedFile | None = None
    answer: dict[str, Any] | None = None


def storable(mapping: Mapping, body: bytes, content_type: str) -> Storable:
    """The body without secrets, and with a reference in the place of an embedded file. Writes nothing."""
    try:
        payload = parse(body, content_type)
    except PayloadError:
        return Storable(mapping.redact(body, None))
    event = mapping.identify(payload).spec
    shorter, file = take_out(event.artifact, body, payload) if event.artifact else (body, None)
    kept = mapping.redact(shorter, payload)
    if file is not None and file.reference.encode() not in kept:
        file = None  # what is redacted is not stored, wherever
    return Storable(kept, file, event.answer)


# SQLite takes one writer at a time; threads of this process queue here instead of in its busy handler, which sleeps.
_sqlite_writer = threading.Lock()


def _writing() -> AbstractContextManager[Any]:
    return _sqlite_writer if connection.vendor == "sqlite" else nullcontext()


@cache
def _insert_sql(vendor: str) -> str:
    fields = [field for field in InboundEvent._meta.concrete_fields if not field.primary_key]
    names = ", ".join(f'"{field.column}"' for field in fields)
    places = ", ".join(["%s"] * len(fields))
    table = InboundEvent._meta.db_table
    return f'INSERT INTO "{table}" ({names}) VALUES ({places}) ON CONFLICT (delivery_id) DO NOTHING'  # noqa: S608


def _insert_once(row: InboundEvent) -> bool:
    """One committed INSERT; False when the delivery was there already. The constraint decides, not a look before."""
    with _writing():
        return _insert(row)


def _insert_with_file(row: InboundEvent, file: EmbeddedFile) -> bool:
    """As `_insert_once`, with the file on the disk before the row is committed."""
    if InboundEvent.objects.filter(delivery_id=row.delivery_id).exists():
        return False  # a repetition, perhaps of a call erased since: nothing of it is written again
    files.write(file)  # outside the transaction: it takes long
    with _writing(), transaction.atomic():
        row.file = files.hold(file)
        return _insert(row)


def _insert(row: InboundEvent) -> bool:
    fields = [field for field in InboundEvent._meta.concrete_fields if not field.primary_key]
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(_insert_sql(connection.vendor), values)
        return bool(cursor.rowcount == 1)

"""The ingest door, free of HTTP: `accept` proves a delivery, stores it once, and rings the bell.

Nothing is mapped here. What returns Accepted has been committed; content can never make `accept` fail, since a
signed body that makes no sense is stored like any other and fails visibly later. Its three steps, `prove`, `insert`
and `acknowledge`, stand alone for those who wait for the commit in another way.
"""

import logging
import uuid
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import transaction
from django.utils import timezone

from apps.ingest import bell, committing, files, limits, refused
from apps.ingest.committing import Delivery
from apps.ingest.ids import derived_id
from apps.ingest.models import InboundEvent
from apps.ingest.notices import note_decision_request
from apps.ingest.writing import writing
from apps.providers import registry
from apps.providers.engine.addresses import contains
from apps.providers.engine.digests import sha256_hex
from apps.providers.engine.embedded import EmbeddedFile, take_out
from apps.providers.engine.errors import PayloadError
from apps.providers.engine.mapping import Mapping
from apps.providers.engine.payload import parse
from apps.providers.engine.signatures import Reason, SignedRequest, Verdict, best_verdict, verify
from apps.providers.engine.spec import EventSpec
from apps.providers.registry import EndpointRuntime

log = logging.getLogger(__name__)

# Kept beside a delivery for whoever looks into it. Never those that carry a secret or a signature.
KEPT_HEADERS = ("content-type", "content-length", "content-encoding", "user-agent", "date", "traceparent")
MAX_HEADER_LENGTH = 500
# Refused for these, a delivery says nothing against its sender.
OUR_OWN_WANT = (Reason.NO_SECRET, Reason.SECRET_UNUSABLE)


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
    retry_after_sec: int | None = None


def find_endpoint(provider_slug: str, endpoint_slug: str, address: str = "") -> EndpointRuntime | Refused:
    """The endpoint if it exists, is switched on, and the address is not shut out; to strangers, switched off and
    missing look the same."""
    endpoint, now = registry.endpoint(provider_slug, endpoint_slug), timezone.now()
    wait_sec = limits.shut_out(address, now)
    if endpoint is None:
        limits.note_refused(address, now)
        found = Refused(404, "unknown", "no such provider or endpoint")
        return found if wait_sec is None else replace(found, status=429, retry_after_sec=wait_sec)
    if wait_sec is not None:
        detail = "the address was refused too often"
        committing.count_refusal(endpoint.id, now, "shut_out", detail)  # told in the log when it began
        return Refused(429, "shut_out", detail, wait_sec)
    if not endpoint.switched_on:
        return refuse(endpoint, 404, "closed", "switched off", now)
    return endpoint


def _how_to_enter_a_secret(endpoint: EndpointRuntime) -> str:
    if endpoint.by_url_token_only:
        return "it has no URL token yet: make its URL in the admin under Endpoints"
    where = "in the admin under Endpoints"
    if endpoint.slug == "default":
        where += f", or set WEBHOOK_SECRET_{endpoint.provider.slug.upper()}"
    return f"it has no secret yet: enter one {where}"


@dataclass(frozen=True, slots=True)
class Proven:
    """An authentic delivery, within its provider's limit and not yet stored, with what its acknowledgement needs."""

    endpoint: EndpointRuntime
    verdict: Verdict
    delivery: Delivery
    file: EmbeddedFile | None
    event: EventSpec | None


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
    url_token: str = "",
) -> Accepted | Refused:
    """Prove and store one delivery. `headers` have lower-case names; `now` is aware. Database errors,
    committing.NotStoredError and files.StorageFailed pass through.
    """
    request = SignedRequest(headers, body, method, url, url_token)
    proven = prove(endpoint, request, now=now, trace_id=trace_id, address=address)
    return proven if isinstance(proven, Refused) else acknowledge(proven, insert(proven))


def prove(
    endpoint: EndpointRuntime, request: SignedRequest, *, now: datetime, trace_id: str, address: str
) -> Proven | Refused:
    """Judge one delivery; what is authentic is made ready to be stored.

    What cannot be proved is kept sealed, so that it can be checked again; see refused.py.
    """
    if not allowed(endpoint, address):
        limits.note_refused(address, now)
        return refuse(endpoint, 401, "address_not_allowed", "the sender's address is not on the allow-list", now)
    verdict = authenticate(endpoint, request, now)
    if not verdict.authentic:
        if verdict.reason not in OUR_OWN_WANT:
            limits.note_refused(address, now)
        kept = refused.keep(endpoint.id, request, verdict.reason.value, now, trace_id=trace_id, address=address)
        return refuse(endpoint, 401, verdict.reason.value, _detail(endpoint, verdict), now, not_kept=not kept)
    if may_be_half(request, verdict):
        return refuse(endpoint, 400, "body_incomplete", "the body came in chunks and is no whole JSON", now)
    # Where nothing need be proved, nobody has proved himself.
    wait_sec = limits.throttled(endpoint, address if verdict.reason is Reason.OK else "", now)
    if wait_sec is not None:
        detail = "authentic, but more than the provider's limit: see its page in the admin"
        return replace(refuse(endpoint, 429, "throttled", detail, now), retry_after_sec=wait_sec)
    return made_ready(endpoint, request, verdict, now, trace_id)


def made_ready(
    endpoint: EndpointRuntime, request: SignedRequest, verdict: Verdict, received_at: datetime, trace_id: str
) -> Proven:
    """What was proved, as it is to be stored."""
    kept = storable(endpoint.provider.mapping, request.body, request.headers.get("content-type", ""))
    delivery = _delivery(endpoint, request, kept, received_at, trace_id, verdict)
    return Proven(endpoint, verdict, delivery, kept.file, kept.event)


def insert(proven: Proven) -> bool:
    """Store it once, committed on return, its file before it; whether it is new. Whoever stores a new one rings the
    bell."""
    if proven.file is None:
        return committing.insert(proven.delivery)
    return _insert_with_file(proven.delivery, proven.file)


def acknowledge(proven: Proven, created: bool) -> Accepted:
    """What is told of a delivery that is committed; the worker hears of a new one."""
    event = proven.event
    answer = event.answer if event is not None else None
    decision = event.name if event is not None and answer is not None else ""
    _note_use(proven.endpoint, proven.verdict, decision, proven.delivery.received_at)
    if created:
        bell.ring()
    return Accepted(proven.delivery.delivery_id, not created, answer)


def _note_use(endpoint: EndpointRuntime, verdict: Verdict, decision: str, now: datetime) -> None:
    """What operators like to know of a delivery. It is committed by now, and must be acknowledged whatever fails."""
    try:
        if verdict.secret_id:
            registry.note_secret_used(verdict.secret_id, now)
        if decision:
            note_decision_request(endpoint.id, decision, now)
    except AnyDatabaseError:
        log.warning("the use of a secret of %s could not be noted", endpoint.name, exc_info=True)


def may_be_half(request: SignedRequest, verdict: Verdict) -> bool:
    """Whether the connection may have broken in the middle of the body: servers do not tell where it came in chunks.

    A signature over the body would not have held; half of a JSON text is none.
    """
    if verdict.covers_body or "transfer-encoding" not in request.headers:
        return False
    try:
        parse(request.body, "application/json")
    except PayloadError:
        return True
    return False


def _detail(endpoint: EndpointRuntime, verdict: Verdict) -> str:
    entered = verdict.reason is not Reason.NO_SECRET or endpoint.has_credentials
    return verdict.detail if entered else _how_to_enter_a_secret(endpoint)


def allowed(endpoint: EndpointRuntime, address: str) -> bool:
    """Whether the sender's address may post here: on the list of all, if there is one, and on the endpoint's."""
    everywhere = settings.ALLOWED_WEBHOOK_IPS
    return (not everywhere or contains(everywhere, address)) and endpoint.allows(address)


def authenticate(endpoint: EndpointRuntime, request: SignedRequest, now: datetime) -> Verdict:
    """The first way of the endpoint that proves the request, else the verdict that says most about why none did."""
    return best_verdict([verify(auth.scheme, auth.valid_secrets(now), request, now) for auth in endpoint.auths])


def refuse(
    endpoint: EndpointRuntime, status: int, reason: str, detail: str, now: datetime, *, not_kept: bool = False
) -> Refused:
    """Count the refusal under its reason, and say in the log which setting to look at."""
    log.warning("webhook for %s refused (%s): %s", endpoint.name, reason, detail)
    committing.count_refusal(endpoint.id, now, reason, detail, not_kept=not_kept)
    return Refused(status, reason, detail)


def _delivery(
    endpoint: EndpointRuntime,
    request: SignedRequest,
    kept: "Storable",
    received_at: datetime,
    trace_id: str,
    verdict: Verdict,
) -> Delivery:
    headers = request.headers
    digest = sha256_hex(request.body)
    # Only what the signature covers may tell deliveries apart: an id of the provider's, else the body itself.
    key = f"id:{verdict.covered_id}"[:255] if verdict.covered_id else f"sha256:{digest}"
    return Delivery(
        delivery_id=derived_id("delivery", endpoint.provider.slug, endpoint.slug, key),
        delivery_key=key,
        endpoint_id=endpoint.id,
        provider=endpoint.provider.slug,
        account=endpoint.account,
        environment=endpoint.environment,
        received_at=received_at,
        trace_id=trace_id,
        content_type=headers.get("content-type", "")[:100].replace("\x00", ""),
        headers={
            name: headers[name][:MAX_HEADER_LENGTH].replace("\x00", "") for name in KEPT_HEADERS if name in headers
        },
        body=kept.body,
        body_size=len(request.body),
        body_sha256=digest,
    )


@dataclass(frozen=True)
class Storable:
    """A body as it may be stored, the file that was in it, and the event that it names, if it can be read."""

    body: bytes
    file: EmbeddedFile | None = None
    event: EventSpec | None = None


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
    return Storable(kept, file, event)


def _insert_with_file(delivery: Delivery, file: EmbeddedFile) -> bool:
    """As committing.insert, with the file on the disk before the row is committed."""
    if InboundEvent.objects.filter(delivery_id=delivery.delivery_id).exists():
        return committing.insert(delivery)  # a repetition, perhaps of a call erased since: no file is written again
    files.write(file)  # outside the transaction: it takes long
    with writing(), transaction.atomic():
        delivery.file_id = files.hold(file).pk
        return committing.insert(delivery)

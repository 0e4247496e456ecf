"""The webhook's HTTP side without a framework: headers and body in, status, headers and body out.

Size, raw body, proof, and the status that tells the provider what happened. Nothing in a request can cause a 5xx;
503 means that it could not be stored. All doors answer by this: the Django view, and the lane before Django.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.utils import timezone

from apps.ingest.inbox import Accepted, Proven, Refused, acknowledge, find_endpoint, insert, prove
from apps.providers.engine.addresses import client_address
from apps.providers.engine.hidden import Hidden
from apps.providers.engine.signatures import SignedRequest
from vcp.errors import PROVIDER_MAPPING_FAILED, ErrorObject

log = logging.getLogger(__name__)

DELIVERY_HEADER = "X-Delivery-Id"
RETRY_AFTER_SEC = 5
DISCARDED_TIMES = 2
# What strangers are told; the reason is in the log and in the admin.
WORDS = {
    400: "the body could not be read to its end",
    401: "the request could not be authenticated",
    404: "no such provider or endpoint",
    405: "webhooks are sent by POST",
    413: "the body is larger than this endpoint accepts",
    429: "too many requests; send it again later",
    503: "the delivery could not be stored; send it again",
}


class UnreadableBodyError(Exception):
    """The body did not come as it was announced."""


@dataclass(slots=True)
class Request:
    """A POST to an endpoint. `headers` have lower-case names, `peer` is the address of the connection, `read` reads so
    many bytes of the body; `path_as_called` has path and query as the sender wrote them, with the token of the URL, if
    there is one, which stands alone in `url_token`."""

    headers: Mapping[str, str] = field(repr=False)
    peer: str
    read: Callable[[int], bytes] = field(repr=False)
    provider_slug: str
    endpoint_slug: str
    path_as_called: str = field(repr=False)
    url_token: str = field(repr=False)
    trace_id: str


@dataclass(slots=True)
class Answer:
    """`body` is JSON. Content-Type and Content-Length are left to the door."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def answer(request: Request) -> Answer:
    """What a POST to a webhook's address is answered; 200 with the delivery's id once it is committed."""
    found = begin(request)
    if isinstance(found, Answer):
        return found
    try:
        created = insert(found)
    except Exception:  # noqa: BLE001 - logged there
        return not_stored(request.trace_id)
    return finish(found, created, request.trace_id)


def begin(request: Request) -> Proven | Answer:
    """What is to be stored, or why nothing is.

    Called in an event loop it raises SynchronousOnlyOperation where it would have to wait, for the database or for
    Redis; then it is to be called again in a thread.
    """
    try:
        return _prove(request)
    except UnreadableBodyError:
        return refusal(400, request.trace_id)
    except SynchronousOnlyOperation:
        raise
    except Exception:  # noqa: BLE001 - logged there
        return not_stored(request.trace_id)


def finish(proven: Proven, created: bool, trace_id: str) -> Answer:
    """The answer once it is committed. Of event loops the same holds as of `begin`."""
    return _accepted(acknowledge(proven, created), trace_id)


def not_stored(trace_id: str) -> Answer:
    """The database, the storage of files, or a fault of ours: in any case the sender is to send it again. To be called
    where the exception is handled."""
    log.exception("a delivery could not be stored")
    return refusal(503, trace_id, {"Retry-After": str(RETRY_AFTER_SEC)})


def refusal(status: int, trace_id: str, headers: dict[str, str] | None = None) -> Answer:
    """The error object of vcp-schema section 10 with this status."""
    # An unknown provider has a code of the protocol; the other statuses refuse the request as such.
    code = PROVIDER_MAPPING_FAILED if status == 404 else f"HTTP_{status}"
    error = ErrorObject(code=code, message=WORDS[status], context={"trace_id": trace_id})
    return Answer(status, orjson.dumps(error.to_dict()), headers or {})


def _prove(request: Request) -> Proven | Answer:
    address = address_of(request.peer, request.headers)
    endpoint = find_endpoint(request.provider_slug, request.endpoint_slug, address)
    if isinstance(endpoint, Refused):
        return _refused(endpoint, request.trace_id)
    body = _read(request, endpoint.provider.body_limit_bytes)
    if body is None:
        return refusal(413, request.trace_id)
    url = Hidden(settings.PUBLIC_BASE_URL + request.path_as_called)
    signed = SignedRequest(request.headers, body, "POST", url, request.url_token)
    found = prove(endpoint, signed, now=timezone.now(), trace_id=request.trace_id, address=address)
    return _refused(found, request.trace_id) if isinstance(found, Refused) else found


def _refused(outcome: Refused, trace_id: str) -> Answer:
    wait_sec = outcome.retry_after_sec
    return refusal(outcome.status, trace_id, None if wait_sec is None else {"Retry-After": str(wait_sec)})


def _read(request: Request, limit_bytes: int) -> bytes | None:
    """The raw body, or None when it is larger than the limit; never more than the limit is held."""
    text = request.headers.get("content-length") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UnreadableBodyError("Content-Length is no length")
    length = int(text)
    if length > limit_bytes:
        _discard(request, min(length, DISCARDED_TIMES * limit_bytes))
        return None
    body = request.read(length)
    if len(body) < length:
        # Not every scheme signs the body: half of one must not be taken for the whole.
        raise UnreadableBodyError("the body ended early")
    return body


def _discard(request: Request, length: int) -> None:
    """Read some of a body that is too large: a client that is still sending would never see the answer."""
    while length > 0 and (part := request.read(min(length, 1 << 16))):
        length -= len(part)


def _accepted(outcome: Accepted, trace_id: str) -> Answer:
    delivery_id = str(outcome.delivery_id)
    told: dict[str, Any] = {
        "success": True,
        "delivery_id": delivery_id,
        "duplicate": outcome.duplicate,
        "trace_id": trace_id,
    }
    # A request that waits for a decision gets the neutral answer and nothing else in its body.
    body = told if outcome.answer is None else outcome.answer
    return Answer(200, orjson.dumps(body), {DELIVERY_HEADER: delivery_id})


def address_of(peer: str, headers: Mapping[str, str]) -> str:
    """The sender's address; X-Forwarded-For counts only from TRUSTED_PROXIES."""
    return client_address(peer, headers.get("x-forwarded-for"), settings.TRUSTED_PROXIES)

"""The webhook's HTTP side: size, raw body, `accept`, and the status that tells the provider what happened.

A plain Django view: what lies between the socket and the commit is kept short. Nothing in a body can cause a 5xx.
"""

import logging
from typing import Any

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from apps.ingest.files import StorageFailed
from apps.ingest.inbox import Accepted, Refused, accept, find_endpoint
from apps.ingest.url_tokens import path_as_called, url_token_of
from apps.providers.engine.addresses import client_address
from apps.providers.engine.hidden import Hidden
from apps.providers.models import DEFAULT_ENDPOINT
from vcp.errors import PROVIDER_MAPPING_FAILED, ErrorObject

log = logging.getLogger(__name__)

DELIVERY_HEADER = "X-Delivery-Id"
DISCARDED_TIMES = 2
# What strangers are told; the reason is in the log and in the admin.
WORDS = {
    401: "the request could not be authenticated",
    404: "no such provider or endpoint",
    405: "webhooks are sent by POST",
    429: "too many requests; send it again later",
    413: "the body is larger than this endpoint accepts",
    400: "the body could not be read to its end",
    503: "the delivery could not be stored; send it again",
}


@csrf_exempt
def webhook(request: HttpRequest, provider_slug: str, endpoint_slug: str = DEFAULT_ENDPOINT) -> HttpResponse:
    """POST /webhook/<provider>[/<endpoint>[/<token>]]: 200 with the delivery's id once it is committed."""
    if request.method != "POST":
        return refusal(request, 405, headers={"Allow": "POST"})
    try:
        return receive(request, provider_slug, endpoint_slug)
    except UnreadablePostError:
        return refusal(request, 400)
    except (AnyDatabaseError, StorageFailed):
        log.exception("a delivery could not be stored")
        return refusal(request, 503, headers={"Retry-After": "5"})


@csrf_exempt
def nowhere(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Any other address below /webhook."""
    return refusal(request, 404)


def receive(request: HttpRequest, provider_slug: str, endpoint_slug: str) -> HttpResponse:
    """The steps of a delivery; errors of the database and of the files' storage pass through."""
    endpoint = find_endpoint(provider_slug, endpoint_slug, address_of(request))
    if isinstance(endpoint, Refused):
        return _refused(request, endpoint)
    body = _read(request, endpoint.provider.body_limit_bytes)
    if body is None:
        return refusal(request, 413)
    outcome = accept(
        endpoint,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        now=timezone.now(),
        trace_id=trace_id_of(request),
        address=address_of(request),
        method=request.method or "POST",
        url=Hidden(settings.PUBLIC_BASE_URL + path_as_called(request)),
        url_token=url_token_of(request),
    )
    return _refused(request, outcome) if isinstance(outcome, Refused) else _accepted(request, outcome)


def _read(request: HttpRequest, limit_bytes: int) -> bytes | None:
    """The raw body, or None when it is larger than the limit; never more than the limit is held."""
    text = request.META.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UnreadablePostError("Content-Length is no length")
    length = int(text)
    if length > limit_bytes:
        _discard(request, min(length, DISCARDED_TIMES * limit_bytes))
        return None
    body: bytes = request.read(limit_bytes + 1)
    if len(body) < length:
        # Not every scheme signs the body: half of one must not be taken for the whole.
        raise UnreadablePostError("the body ended early")
    return None if len(body) > limit_bytes else body


def _discard(request: HttpRequest, length: int) -> None:
    """Read some of a body that is too large: a client that is still sending would never see the answer."""
    while length > 0 and (part := request.read(min(length, 1 << 16))):
        length -= len(part)


def _accepted(request: HttpRequest, outcome: Accepted) -> HttpResponse:
    told: dict[str, Any] = {
        "success": True,
        "delivery_id": str(outcome.delivery_id),
        "duplicate": outcome.duplicate,
        "trace_id": trace_id_of(request),
    }
    # A request that waits for a decision gets the neutral answer and nothing else in its body.
    answer = told if outcome.answer is None else outcome.answer
    return JsonResponse(answer, headers={DELIVERY_HEADER: str(outcome.delivery_id)})


def _refused(request: HttpRequest, outcome: Refused) -> HttpResponse:
    wait_sec = outcome.retry_after_sec
    return refusal(request, outcome.status, None if wait_sec is None else {"Retry-After": str(wait_sec)})


def refusal(request: HttpRequest, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    """The error object of vcp-schema section 10 with this status."""
    # An unknown provider has a code of the protocol; the other statuses refuse the request as such.
    code = PROVIDER_MAPPING_FAILED if status == 404 else f"HTTP_{status}"
    error = ErrorObject(code=code, message=WORDS[status], context={"trace_id": trace_id_of(request)})
    return JsonResponse(error.to_dict(), status=status, headers=headers)


def trace_id_of(request: HttpRequest) -> str:
    return str(getattr(request, "trace_id", ""))


def address_of(request: HttpRequest) -> str:
    """The sender's address; X-Forwarded-For counts only from TRUSTED_PROXIES."""
    return client_address(
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR"),
        settings.TRUSTED_PROXIES,
    )

"""The webhook as Django views: for any server that runs Django, and for what the lane leaves to it."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from apps.ingest import door
from apps.ingest.url_tokens import path_as_called, url_token_of
from apps.providers.models import DEFAULT_ENDPOINT


@csrf_exempt
def webhook(request: HttpRequest, provider_slug: str, endpoint_slug: str = DEFAULT_ENDPOINT) -> HttpResponse:
    """POST /webhook/<provider>[/<endpoint>[/<token>]]: 200 with the delivery's id once it is committed."""
    trace_id = trace_id_of(request)
    if request.method != "POST":
        return _response(door.refusal(405, trace_id, {"Allow": "POST"}))

    def read(size: int) -> bytes:
        try:
            return request.read(size)
        except UnreadablePostError as error:
            raise door.UnreadableBodyError("the body ended early") from error

    return _response(
        door.answer(
            door.Request(
                headers=headers_of(request.META),
                peer=request.META.get("REMOTE_ADDR", ""),
                read=read,
                provider_slug=provider_slug,
                endpoint_slug=endpoint_slug,
                path_as_called=path_as_called(request),
                url_token=url_token_of(request),
                trace_id=trace_id,
            )
        )
    )


@csrf_exempt
def nowhere(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Any other address below /webhook."""
    return _response(door.refusal(404, trace_id_of(request)))


def _response(answer: door.Answer) -> HttpResponse:
    return HttpResponse(answer.body, content_type="application/json", status=answer.status, headers=answer.headers)


def headers_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers with lower-case names."""
    found = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if name in environ:
            found[name.replace("_", "-").lower()] = environ[name]
    return found


def trace_id_of(request: HttpRequest) -> str:
    return str(getattr(request, "trace_id", ""))


def address_of(request: HttpRequest) -> str:
    """The sender's address; X-Forwarded-For counts only from TRUSTED_PROXIES."""
    return door.address_of(request.META.get("REMOTE_ADDR", ""), headers_of(request.META))

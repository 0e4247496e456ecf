"""The webhook as Django views: for any server that runs Django, and for what the lane leaves to it."""

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
                environ=request.META,
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


def trace_id_of(request: HttpRequest) -> str:
    return str(getattr(request, "trace_id", ""))


def address_of(request: HttpRequest) -> str:
    """The sender's address; X-Forwarded-For counts only from TRUSTED_PROXIES."""
    return door.address_of(request.META)

"""No NUL character in the query of an admin page: PostgreSQL takes none, and lists hand on what they get.

The API's own filters refuse it by themselves, and name the field.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

NUL = "\0"


class NulMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith("/admin/") and "%00" in request.META["QUERY_STRING"]:
            return _refused(request)
        return self.get_response(request)


def _refused(request: HttpRequest) -> HttpResponse:
    named = [name for name, values in request.GET.lists() if NUL in name or any(NUL in value for value in values)]
    names = ", ".join(name.replace(NUL, "%00") for name in named)
    text = f"This address asks for a NUL character (%00), which nothing stored can hold: take it out of {names}."
    return HttpResponseBadRequest(text, content_type="text/plain; charset=utf-8")

"""The token in a webhook's URL: taken out of a request before anything could log it, and kept for its proof alone.

Which endpoint insists on one, and whether it is right, is judged with the other ways of proof.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from apps.providers.engine.hidden import Hidden

# In whatever case and with however many slashes: what no endpoint answers to must not be logged either.
_WITH_TOKEN = re.compile(r"(/+webhook(?:/+[^/]+){2})/+([^/].*?)/*", re.IGNORECASE | re.DOTALL)


def split(path: str) -> tuple[str, Hidden]:
    """(the endpoint's path, the token behind it); the token is empty where the path ends with the endpoint."""
    match = _WITH_TOKEN.fullmatch(path)
    return (match[1], Hidden(match[2])) if match else (path, Hidden())


def token_in(url: str) -> Hidden:
    """The token in the whole URL of a delivery, or an empty text. Never raises."""
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    start = path.find("/webhook/")
    return split(path[start:])[1] if start >= 0 else Hidden()


class UrlTokenMiddleware:
    """Stands first: later ones, Django's own log and every report of an error see the path without the token."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        _take_out(request)
        return self.get_response(request)


def _take_out(request: HttpRequest) -> None:
    path, token = split(request.path_info)
    if token:
        request.url_token = token  # type: ignore[attr-defined]
        request.path_as_called = Hidden(request.get_full_path())  # type: ignore[attr-defined]
        request.path = request.path.removesuffix(request.path_info.removeprefix(path))
        request.path_info = request.META["PATH_INFO"] = path


def url_token_of(request: HttpRequest) -> str:
    return getattr(request, "url_token", Hidden())


def path_as_called(request: HttpRequest) -> str:
    """Path and query as the sender wrote them, for schemes that sign the URL."""
    return getattr(request, "path_as_called", None) or request.get_full_path()

"""The token in the address of our own feeds: feed readers send no headers, so it stands in the path.

It is taken out of a request before anything could log it; which one is right is judged in `feeds`.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from apps.providers.engine.hidden import Hidden

PREFIX = "/feeds/monitoring"
# In whatever case and with however many slashes: what no view answers to must not be logged either.
_WITH_TOKEN = re.compile(r"/+feeds/+monitoring/+(.+?)(/+changes\.(?:atom|rss))?/*", re.IGNORECASE | re.DOTALL)


def split(path: str) -> tuple[str, Hidden]:
    """(the address without its token, the token); the token is empty where the path is none of a feed."""
    match = _WITH_TOKEN.fullmatch(path)
    if match is None:
        return path, Hidden()
    return f"{PREFIX}/{(match[2] or '').strip('/').lower()}", Hidden(match[1])


class FeedTokenMiddleware:
    """Stands with the one of URL tokens before all others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path, token = split(request.path_info)
        if token:
            request.feed_token = token  # type: ignore[attr-defined]
            request.path = request.path.removesuffix(request.path_info) + path
            request.path_info = request.META["PATH_INFO"] = path
        return self.get_response(request)


def feed_token_of(request: HttpRequest) -> Hidden:
    return getattr(request, "feed_token", Hidden())

"""Who is acting: the user of the request, else what the process calls itself. Read when something is recorded.

Knows no models, so that manage.py can name the command before Django is set up.
"""

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase

_request: ContextVar[HttpRequest | None] = ContextVar("history_request", default=None)
_process: ContextVar[str] = ContextVar("history_process", default="system")


def author() -> str:
    """The user's name; without one `manage.py <command>`, or `system` in a worker or at the webhook's door."""
    # Read late: a token's user is known only once the API has looked at it.
    user = getattr(_request.get(), "user", None)
    return user.get_username() if user is not None and user.is_authenticated else _process.get()


def name_process(name: str) -> None:
    """What this process does without a user is recorded under this name."""
    _process.set(name[:150])


class AuthorMiddleware:
    """Remembers the request while it is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)

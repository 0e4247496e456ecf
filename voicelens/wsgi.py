"""The WSGI application, with the length of a chunked body made known before Django looks for it."""

import os
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")

from django.core.wsgi import get_wsgi_application

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_content_length(app: WSGIApp, limit_bytes: Callable[[], int]) -> WSGIApp:
    """Read a body that comes without Content-Length (at most one byte more than the limit) and state its length.

    Django takes a WSGI body's length from Content-Length and reads an empty body without it; some providers
    send large events chunked. One byte above the limit is enough for the view to answer 413.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get("CONTENT_LENGTH") and "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            body = environ["wsgi.input"].read(limit_bytes() + 1)
            environ["wsgi.input"] = BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return app(environ, start_response)

    return wrapped


def _largest_limit() -> int:
    from apps.providers import registry

    return registry.largest_body_limit_bytes()


application = with_content_length(get_wsgi_application(), _largest_limit)

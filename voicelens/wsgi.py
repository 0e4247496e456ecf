"""The WSGI application, for any WSGI server: Django, before which a chunked body is given its length."""

import os
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import Error as AnyDatabaseError

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_content_length(app: WSGIApp, limit_bytes: Callable[[str], int]) -> WSGIApp:
    """Read a body that comes without Content-Length (at most one byte more than its path's limit) and state its length.

    Django takes a WSGI body's length from Content-Length and reads an empty body without it; some providers
    send large events chunked. One byte above the limit is enough for the view to answer 413.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get("CONTENT_LENGTH") and "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            body = environ["wsgi.input"].read(limit_bytes(environ.get("PATH_INFO", "")) + 1)
            environ["wsgi.input"] = BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return app(environ, start_response)

    return wrapped


def limit_of(path: str) -> int:
    """What may come to this path in one body: strangers cannot have a large provider's bodies buffered elsewhere."""
    _, _, rest = path.partition("/webhook/")
    try:
        return registry.body_limit_bytes(rest.partition("/")[0])
    except AnyDatabaseError:
        return int(settings.WEBHOOK_BODY_LIMIT_BYTES)  # the view then answers 503


django_application = get_wsgi_application()

from apps.ingest import committing  # noqa: E402 - models can be imported only now
from apps.providers import registry  # noqa: E402
from voicelens.collector import calm_collector  # noqa: E402
from voicelens.startup import require_field_keys  # noqa: E402

require_field_keys()
application = with_content_length(django_application, limit_of)
committing.start()
calm_collector()

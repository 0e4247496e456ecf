"""The fast lane: a WSGI application that answers webhooks itself and hands all else to Django.

Between the socket and the commit lies only what a webhook needs (door.py). Django's handler and its middlewares cost
more than all of that together. What the lane does not know for certain, such as an odd spelling of the address, is
Django's too, and is answered there by the same door.
"""

import re
import uuid
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from django.db import connection
from django.utils.encoding import iri_to_uri

from apps.ingest import door
from apps.providers.engine.hidden import Hidden
from apps.providers.models import DEFAULT_ENDPOINT

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_ADDRESS = re.compile(r"/webhook/([A-Za-z0-9_-]+)(?:/([A-Za-z0-9_-]+)(?:/([A-Za-z0-9_.~-]+))?)?/?")
# What Django's security middlewares say for every page; a JSON answer is never one.
_SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
_REASONS = {status: f"{status.value} {status.phrase}" for status in HTTPStatus}


def with_lane(app: WSGIApp, trace_header: str, current_trace_id: ContextVar[str]) -> WSGIApp:
    """The application with the lane before it; the answers tell their trace id in this header, the log by this
    variable."""

    def lane(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = _ADDRESS.fullmatch(environ.get("PATH_INFO", "")) if environ.get("REQUEST_METHOD") == "POST" else None
        if found is None:
            return app(environ, start_response)
        trace_id = uuid.uuid4().hex
        token = current_trace_id.set(trace_id)
        try:
            answer = _answer(environ, found, trace_id)
        finally:
            current_trace_id.reset(token)
        start_response(
            _REASONS[HTTPStatus(answer.status)],
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(answer.body))),
                (trace_header, trace_id),
                *answer.headers.items(),
                *_SAFE,
            ],
        )
        return [answer.body]

    return lane


def _answer(environ: dict[str, Any], found: re.Match[str], trace_id: str) -> door.Answer:
    provider_slug, endpoint_slug, token = found.groups()
    try:
        return door.answer(
            door.Request(
                environ=environ,
                read=_reader(environ),
                provider_slug=provider_slug,
                endpoint_slug=endpoint_slug or DEFAULT_ENDPOINT,
                path_as_called=_path_as_called(environ),
                url_token=Hidden(token or ""),
                trace_id=trace_id,
            )
        )
    finally:
        # Django does this at the end of its requests: a connection that an error broke must not be used again.
        connection.close_if_unusable_or_obsolete()


def _reader(environ: dict[str, Any]) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        try:
            body: bytes = environ["wsgi.input"].read(size)
        except (OSError, ValueError) as error:
            raise door.UnreadableBodyError("the body ended early") from error
        return body

    return read


def _path_as_called(environ: dict[str, Any]) -> str:
    """Path and query as Django tells them."""
    path: str = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
    query: str = environ.get("QUERY_STRING", "")
    return Hidden(quote(path, safe="/:@!$&'()*+,;=~") + (f"?{iri_to_uri(query)}" if query else ""))

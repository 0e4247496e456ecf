"""Sending spans by OTLP over HTTP with JSON (OTLP 1.x), by the standard library alone.

The one file of `vcp` that speaks to the network; nothing else imports it. It does not try again: the error says
whether that can help.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

# Of the OTLP specification; every other refusal is final.
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
# An answer is a few words; what is longer is not read.
_MAX_ANSWER_BYTES: Final = 64 * 1024


class SendError(Exception):
    """Spans were not taken. `status` is the HTTP status, None when there was no answer; `retryable` says whether the
    same may be taken later, `retry_after` what the server said about when."""

    def __init__(
        self, text: str, *, status: int | None = None, retryable: bool = False, retry_after: str | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


def send(
    spans: Mapping[str, Any], endpoint: str, headers: Mapping[str, str] | None = None, timeout_sec: float = 10.0
) -> None:
    """Post what `to_spans` made to `endpoint`, the whole URL, for example `http://localhost:4318/v1/traces`.

    `headers` are sent as well (keys of the receiver, for instance). Raises SendError when the spans, or some of them,
    were not taken, ValueError for an endpoint or a header that cannot be used. No error holds a header or a span.
    """
    _check_endpoint(endpoint)
    body = json.dumps(spans, allow_nan=False, separators=(",", ":")).encode()
    all_headers = {**(headers or {}), "Content-Type": "application/json"}
    request = urllib.request.Request(endpoint, body, all_headers, method="POST")  # noqa: S310 - checked above
    _check_taken(_answer(request, timeout_sec))


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("endpoint must be a whole http or https URL, for example http://localhost:4318/v1/traces")
    if "@" in parts.netloc:
        raise ValueError("endpoint holds a user or password; send them as an Authorization header")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, and its headers at a host that nobody named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _answer(request: urllib.request.Request, timeout_sec: float) -> bytes:
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_sec) as response:
            return bytes(response.read(_MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from None
    except (OSError, http.client.HTTPException):
        raise SendError(f"no answer from {request.host}", retryable=True) from None
    except ValueError:  # its text would quote the header
        raise ValueError("a header's name or value cannot be sent over HTTP") from None


def _refused(error: urllib.error.HTTPError) -> SendError:
    return SendError(
        f"the spans were refused with HTTP status {error.code}",
        status=error.code,
        retryable=error.code in _RETRYABLE,
        retry_after=error.headers.get("Retry-After"),
    )


def _check_taken(answer: bytes) -> None:
    """A receiver that took only some of the spans says so in an answer of status 200."""
    try:
        rejected = int(json.loads(answer)["partialSuccess"]["rejectedSpans"])
    except (ValueError, KeyError, TypeError):  # nothing of the kind was said
        return
    if rejected > 0:
        raise SendError(f"{rejected} of the spans were refused", status=200)

"""The fast lane: webhooks answered in the event loop itself, before Django; all else is left to Django.

Between the socket and the commit lies only what a webhook needs (door.py), and hundreds of requests wait for one commit
without a thread each. What would have to wait for something else, a look into the registry or a refusal that is to be
kept, is done in a thread. An odd spelling of the address is Django's, and is answered there by the same door.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection
from django.utils.encoding import iri_to_uri

from apps.ingest import committing, door
from apps.ingest.inbox import Proven, insert
from apps.providers import registry
from apps.providers.engine.hidden import Hidden, HiddenItems
from apps.providers.models import DEFAULT_ENDPOINT

P = ParamSpec("P")
Value = TypeVar("Value")
Place = tuple[str, str, Hidden]  # provider, endpoint, token of the URL

THREADS = 8
_ADDRESS = re.compile(r"/webhook/([A-Za-z0-9_-]+)(?:/([A-Za-z0-9_-]+)(?:/([A-Za-z0-9_.~-]+))?)?/?")
# What Django's security middlewares say for every page; a JSON answer is never one.
_SAFE = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
]


@dataclass(slots=True)
class Call:
    """A request as the server tells it. `headers` have lower-case names; `body` is given a limit and reads the body, of
    one that is larger no more than a byte above it, or raises door.UnreadableBodyError."""

    method: str
    path: str = field(repr=False)
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    peer: str
    body: Callable[[int], Awaitable[bytes]]


class Lane:
    """`trace_header` is what answers tell their trace id in, and `current_trace_id` what the log reads it from."""

    def __init__(self, trace_header: str, current_trace_id: ContextVar[str], threads: Executor | None = None) -> None:
        self.trace_header = trace_header.lower()
        self.current_trace_id = current_trace_id
        self.threads = threads or ThreadPoolExecutor(THREADS, "lane")

    async def answer(self, call: Call) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """Status, headers and body; None where it is Django that answers."""
        place = _place_of(call.path) if call.method == "POST" else None
        if place is None:
            return None
        # To be told apart, not to be kept secret; and the system's own random numbers cost Python's lock.
        trace_id = f"{random.getrandbits(128):032x}"
        try:
            answer = await self._answer(call, place, trace_id)
        except Exception:  # noqa: BLE001 - logged there
            answer = self._traced(trace_id, door.not_stored, trace_id)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(answer.body))),
            (self.trace_header, trace_id),
            *answer.headers.items(),
            *_SAFE,
        ]
        return answer.status, headers, answer.body

    async def _answer(self, call: Call, place: Place, trace_id: str) -> door.Answer:
        provider_slug, endpoint_slug, url_token = place
        limit_bytes = await self._do(trace_id, _limit_bytes, provider_slug)
        read = await _read(call, limit_bytes)
        request = door.Request(
            headers=call.headers,
            peer=call.peer,
            read=read,
            provider_slug=provider_slug,
            endpoint_slug=endpoint_slug,
            # An address of the lane has nothing in it that would have been escaped.
            path_as_called=Hidden(call.path + (f"?{iri_to_uri(call.query)}" if call.query else "")),
            url_token=url_token,
            trace_id=trace_id,
        )
        proven = await self._do(trace_id, door.begin, request)
        if isinstance(proven, door.Answer):
            return proven
        created = await self._insert(proven, trace_id)
        return await self._do(trace_id, door.finish, proven, created, trace_id)

    async def _insert(self, proven: Proven, trace_id: str) -> bool:
        if proven.file is None and committing.is_shared():
            return await committing.insert_in_loop(proven.delivery)
        return await self._in_thread(trace_id, insert, proven)

    async def _do(self, trace_id: str, work: Callable[P, Value], *args: P.args, **named: P.kwargs) -> Value:
        """Do it here if it need not wait, else from its beginning in a thread."""
        try:
            return self._traced(trace_id, work, *args, **named)
        except SynchronousOnlyOperation:
            return await self._in_thread(trace_id, work, *args, **named)

    async def _in_thread(self, trace_id: str, work: Callable[P, Value], *args: P.args, **named: P.kwargs) -> Value:
        def done() -> Value:
            try:
                return self._traced(trace_id, work, *args, **named)
            finally:
                # Django does this at the end of its requests: a connection that an error broke must not be used again.
                connection.close_if_unusable_or_obsolete()

        return await asyncio.get_running_loop().run_in_executor(self.threads, done)

    def _traced(self, trace_id: str, work: Callable[P, Value], *args: P.args, **named: P.kwargs) -> Value:
        token = self.current_trace_id.set(trace_id)
        try:
            return work(*args, **named)
        finally:
            self.current_trace_id.reset(token)


def _place_of(path: str) -> Place | None:
    found = _ADDRESS.fullmatch(path)
    if found is None:
        return None
    provider_slug, endpoint_slug, token = found.groups()
    return provider_slug, endpoint_slug or DEFAULT_ENDPOINT, Hidden(token or "")


def _limit_bytes(provider_slug: str) -> int:
    try:
        return registry.body_limit_bytes(provider_slug)
    except SynchronousOnlyOperation:
        raise
    except Exception:  # noqa: BLE001 - the door meets the same and answers 503
        return 0


async def _read(call: Call, limit_bytes: int) -> Callable[[int], bytes]:
    """The body as the door reads it: at once, since it is all here."""
    try:
        here = await call.body(limit_bytes)
    except door.UnreadableBodyError as error:
        return _raising(error)
    if "transfer-encoding" in call.headers and not call.headers.get("content-length"):
        # Known now that it is here.
        call.headers = HiddenItems({**call.headers, "content-length": str(len(here))})
    return lambda size: here[:size]


def _raising(error: door.UnreadableBodyError) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        raise error

    return read

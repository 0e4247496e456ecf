"""The application that the web server runs: webhooks by their lane, all else by Django in threads."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from django.conf import settings
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from voicelens.wsgi import WSGIApp, django_application, limit_of

# models can be imported only now
from apps.ingest import door  # isort: skip
from apps.ingest.committing import NotStoredError  # isort: skip
from apps.ingest.lane import Call, Lane  # isort: skip
from voicelens import bridge, tracing  # isort: skip
from voicelens.crowd import Watch  # isort: skip

# Requests that Django serves at once in a process; each thread may hold one database connection.
DJANGO_THREADS = 16
# In a crowd, who says nothing has this part of the time that a body has.
HURRIED_PART = 6


class Application:
    """RSGI. Webhooks never wait for the threads of Django's pages."""

    def __init__(self, app: WSGIApp, lane: Lane, threads: Executor | None = None) -> None:
        self.app = app
        self.lane = lane
        self.bodies = bridge.Bodies(settings.BODY_TIMEOUT_SEC)
        self.threads = threads or ThreadPoolExecutor(DJANGO_THREADS, "django")
        self.watch = Watch(settings.BODY_TIMEOUT_SEC / HURRIED_PART)

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        self.watch.server = scope.server
        headers = bridge.headers_of(scope)

        async def body(limit_bytes: int) -> bytes:
            try:
                return await self.bodies.read(headers, proto, limit_bytes)
            except bridge.BodyError as error:
                raise door.UnreadableBodyError(str(error)) from error
            except bridge.TooManyBodiesError as error:
                raise NotStoredError("too many bodies are being received") from error

        call = Call(scope.method, scope.path, scope.query_string, headers, bridge.peer_of(scope), body)
        with suppress(ProtocolClosed):  # whoever asked is gone; what was stored is stored
            answer = await self.lane.answer(call)
            if answer is None:
                await self._by_django(scope, headers, proto)
            else:
                proto.response_bytes(*answer)

    async def _by_django(self, scope: Any, headers: Mapping[str, str], proto: Any) -> None:
        loop = asyncio.get_running_loop()
        try:
            body = b""
            if bridge.announced_bytes(headers) != 0:
                limit_bytes = await loop.run_in_executor(self.threads, limit_of, scope.path)
                body = await self.bodies.read(headers, proto, limit_bytes)
        except bridge.BodyError:
            _refuse(proto, 400)
            return
        except bridge.TooManyBodiesError:
            _refuse(proto, 503, {"retry-after": str(door.RETRY_AFTER_SEC)})
            return
        await bridge.serve(self.app, scope, headers, body, proto, self.threads)


def _refuse(proto: Any, status: int, headers: dict[str, str] | None = None) -> None:
    answer = door.refusal(status, "-", headers)
    proto.response_bytes(status, [("content-type", "application/json"), *answer.headers.items()], answer.body)


application = Application(django_application, Lane(tracing.HEADER, tracing.current_trace_id))
application.watch.start()

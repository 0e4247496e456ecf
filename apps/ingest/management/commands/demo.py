"""Sends calls to a running VoiceLens as their providers would, signed, and shows what became of them."""

import http.client
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.ingest.models import InboundEvent, Message
from apps.ingest.samples import SampleCall, fresh_calls
from apps.providers import registry
from apps.providers.engine.signatures import sign, url_tail
from apps.providers.models import Environment
from apps.providers.registry import EndpointRuntime
from apps.providers.sync import DEMO_ENDPOINT


@dataclass(frozen=True)
class Sent:
    endpoint: EndpointRuntime
    call: SampleCall


class Command(BaseCommand):
    help = "Sign and send sample calls of every provider to the running service; shows the messages they became."

    def add_arguments(self, parser: CommandParser) -> None:
        host = "127.0.0.1" if settings.SERVICE_HOST in ("0.0.0.0", "::", "") else settings.SERVICE_HOST  # noqa: S104
        parser.add_argument("--url", default=f"http://{host}:{settings.PORT}", help="where the service runs")
        parser.add_argument("--wait-sec", type=float, default=30, help="how long to wait for the messages")

    def handle(self, *args: Any, url: str, wait_sec: float, **options: Any) -> None:
        sent = [one for endpoint in _demo_endpoints() for one in _send_all(endpoint, url)]
        if not sent:
            raise CommandError("no provider has an open demo endpoint; run `make run` (or manage.py prepare) first")
        self.stdout.write(f"sent {sum(len(one.call.bodies) for one in sent)} signed webhooks to {url}, waiting …\n\n")
        found = _wait(sent, wait_sec)
        self.stdout.write(_table([_row(one, found.get(one.call.call_id), url) for one in sent]))
        if len(found) < len(sent):
            raise CommandError("not every call became a message; is the worker running? See the admin, Deliveries")
        self.stdout.write(f"\nThe numbers of the day: {url}/api/analytics/daily?environment=demo\n")


def _demo_endpoints() -> list[EndpointRuntime]:
    found = [registry.endpoint(provider.slug, DEMO_ENDPOINT) for provider in registry.providers()]
    return [endpoint for endpoint in found if endpoint is not None and endpoint.open]


def _send_all(endpoint: EndpointRuntime, url: str) -> list[Sent]:
    calls = fresh_calls(endpoint.provider.slug, endpoint.provider.mapping, timezone.now(), secrets.token_hex(4))
    for call in calls:
        for body in call.bodies:
            _send(endpoint, body, url)
    return [Sent(endpoint, call) for call in calls]


def _send(endpoint: EndpointRuntime, body: bytes, url: str) -> None:
    auth = endpoint.auths[0]
    now = timezone.now()
    secret = auth.valid_secrets(now)[0].value
    path = f"/webhook/{endpoint.provider.slug}/{endpoint.slug}"
    address = path + url_tail(auth.scheme, secret)
    headers = sign(auth.scheme, secret, body, now, id=f"demo_{secrets.token_hex(8)}", url=f"{url}{address}")
    status, answer = _post(url, address, body, {"Content-Type": "application/json", **headers})
    if status != 200:
        raise CommandError(f"{path} answered {status}: {answer}")


def _post(url: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "127.0.0.1", parts.port, timeout=10)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except OSError as error:
        raise CommandError(f"nothing answers at {url} ({error}); start the service first: make run") from error
    finally:
        connection.close()


def _wait(sent: Sequence[Sent], wait_sec: float) -> dict[str, Message]:
    ids = [one.call.call_id for one in sent]
    until = time.monotonic() + wait_sec
    while True:
        found = {message.call_id: message for message in Message.objects.filter(call_id__in=ids)}
        if (len(found) == len(ids) and not _pending()) or time.monotonic() > until:
            return found
        time.sleep(0.2)


def _pending() -> bool:
    """A call has its message with its first event; the table is of interest after the last."""
    return InboundEvent.objects.filter(environment=Environment.DEMO, state=InboundEvent.State.RECEIVED).exists()


def _row(one: Sent, message: Message | None, url: str) -> list[str]:
    start = [one.endpoint.provider.slug, str(len(one.call.bodies)), one.call.call_id]
    if message is None:
        return [*start, "no message yet", "", "", ""]
    duration = "" if message.duration_sec is None else f"{message.duration_sec} s"
    cost = "unknown" if message.cost_usd is None else f"${message.cost_usd:.4f}"
    return [*start, message.status, duration, cost, f"{url}/admin/ingest/message/{message.pk}/change/"]


def _table(rows: list[list[str]]) -> str:
    lines = [["provider", "events", "call", "outcome", "duration", "cost", "message"], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )

"""What tests of the webhook's path send and look at: signed samples of one call, their states, threads at once."""

import copy
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils import timezone

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import InboundEvent, Message
from apps.providers import catalog
from apps.providers.engine.signatures import sign

ON_SQLITE = settings.DATABASE["ENGINE"].endswith("sqlite3")
SECRET = "the secret that sender and receiver of the tests share"
# The samples' calls are of the day before.
ARRIVAL = datetime(2026, 3, 17, 9, 0, tzinfo=UTC)
# The four events of one call, in the order in which they happened.
STARTED, TRANSFER = "call_started.inbound", "transfer_started"
ENDED, ANALYZED = "call_ended.inbound_success_tools", "call_analyzed.inbound_success_tools"
EVENTS = (STARTED, TRANSFER, ENDED, ANALYZED)
CALL_ID = "call_b1e4c07a95d24f6f8e2a77d0c31"
GONE = object()


def signed(
    body: bytes, *, provider: str = "retell", secret: str = SECRET, at: datetime | None = None
) -> dict[str, str]:
    """The headers with which that provider would send the body at that time (now, if none is given)."""
    return sign(catalog.load(provider).auth, secret, body, at or timezone.now())


def as_body(payload: Any) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def sample(name: str, provider: str = "retell", **call: Any) -> Any:
    """A sample of the catalogue, its own copy; keywords replace fields of its `call`, those that are GONE go."""
    payload = copy.deepcopy(catalog.samples(provider)[name])
    for field, value in call.items():
        if value is GONE:
            payload["call"].pop(field, None)
        else:
            payload["call"][field] = value
    return payload


def ready_made(**call: Any) -> Any:
    """The sample of a whole VCP message; keywords replace fields of its `call`."""
    message = copy.deepcopy(catalog.samples("vcp")["message"])
    message["vcp_payload"]["call"] |= call
    return message


def states() -> dict[str, str]:
    """The state of each delivery by its event."""
    return dict(InboundEvent.objects.values_list("event", "state"))


def numbers(**lookup: Any) -> dict[str, int]:
    """The only day's numbers (or that of the lookup), without those that are zero."""
    row = DailyProviderStats.objects.get(**lookup)
    return {name: getattr(row, name) for name in row.ADDENDS if getattr(row, name)}


def said(message: Message) -> str:
    """The message's text, without what differs at every processing."""
    vcp = copy.deepcopy(message.vcp)
    for name in ("processed_at", "processing_duration_ms", "checksum"):
        vcp["audit"].pop(name, None)
    return json.dumps(vcp)


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs at once, each with a database connection of its own; their results, or the first error."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def run(number: int, job: Callable[[], Any]) -> None:
        try:
            start.wait(timeout=30)
            results[number] = job()
        except BaseException as error:  # noqa: BLE001 - carried over to the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number, job)) for number, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results

"""What a fault run left in the database, as JSON; and what the same deliveries make of themselves in peace.

Run as a process with the run's own environment. `--clean` works off the bodies in an empty database of its own.
"""

import argparse
import base64
import json
import os
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

Json = Any
LOOK_EVERY_SEC = 0.5
_TOLD = (
    "provider", "account", "environment", "trace_id", "content_type", "delivery_key", "file_id", "body_size",
    "body_sha256",
)  # fmt: skip


def left(within_sec: float) -> Json:
    """Once nothing is `received` any more, or the time is over."""
    from apps.analytics.models import DailyProviderStats
    from apps.ingest.models import InboundEvent, Message

    deadline = time.monotonic() + within_sec
    while InboundEvent.objects.filter(state="received").exists() and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SEC)
    deliveries, bodies = [], []
    for row in InboundEvent.objects.order_by("id"):
        deliveries.append(
            {
                "delivery_id": str(row.delivery_id),
                "provider": row.provider,
                "call_id": row.call_id,
                "state": row.state,
                "error": f"{row.error_code} {row.error_detail}".strip(),
            }
        )
        told = {name: getattr(row, name) for name in _TOLD}
        at, body = row.received_at.isoformat(), base64.b64encode(bytes(row.body)).decode()
        bodies.append({**told, "delivery_id": str(row.delivery_id), "received_at": at, "body": body})
    digests: dict[tuple[str, str], list[str]] = defaultdict(list)
    for provider, call_id, digest in Message.objects.values_list("provider", "call_id", "content_digest"):
        digests[provider, call_id].append(digest)
    totals: Counter[str] = Counter()
    for provider, total in DailyProviderStats.objects.values_list("provider", "total"):
        totals[provider] += total
    return {
        "deliveries": deliveries,
        "bodies": bodies,
        "messages": [[*key, found] for key, found in digests.items()],
        "totals": totals,
    }


def clean(path: Path) -> Json:
    """[provider, call id, content digest] of each message that these stored bodies make, taken in backwards."""
    from datetime import datetime

    from django.core.management import call_command
    from django.db import connection, transaction

    from apps.ingest import tasks
    from apps.ingest.committing import Delivery, insert
    from apps.ingest.models import Message, StoredFile
    from apps.providers import registry
    from apps.providers.sync import sync_catalog

    assert connection.vendor == "sqlite"  # noqa: S101 - never in the database of the run
    call_command("migrate", verbosity=0)
    sync_catalog()
    registry.forget()
    with transaction.atomic():
        for told in reversed(json.loads(path.read_text())):
            endpoint = registry.endpoint(told["provider"])
            assert endpoint is not None  # noqa: S101 - the catalogue has been synced
            if told["file_id"]:
                StoredFile.objects.get_or_create(
                    sha256=told["file_id"], defaults={"size_bytes": 0, "media_type": "audio/mpeg"}
                )
            given = {
                "endpoint_id": endpoint.id,
                "headers": {},
                "delivery_id": uuid.UUID(told["delivery_id"]),
                "received_at": datetime.fromisoformat(told["received_at"]),
                "body": base64.b64decode(told["body"]),
            }
            insert(Delivery(**{**told, **given}))
    while tasks.drain():
        pass
    return [list(found) for found in Message.objects.values_list("provider", "call_id", "content_digest")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--within", type=float, default=60)
    parser.add_argument("--clean", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")
    with tempfile.TemporaryDirectory() as folder:
        if asked.clean:
            os.environ["DATABASE_URL"] = f"sqlite:///{folder}/clean.sqlite3"
            os.environ["REDIS_URL"] = ""
        import django

        django.setup()
        sys.stdout.write(json.dumps(clean(asked.clean) if asked.clean else left(asked.within)))


if __name__ == "__main__":
    main()

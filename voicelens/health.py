"""GET /health: is this instance fit to take webhooks? Answered from stored state, without calls to the outside.

200 while deliveries can be acknowledged. Where the database is away or does not commit it is 503. Without Redis it
stays 200, so that no balancer takes away an instance that still loses nothing, but the status says `unhealthy`.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import redis
from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db.models import Count, Min, Q
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.ingest import committing
from apps.ingest.models import InboundEvent
from apps.monitoring import selectors as monitoring
from apps.providers.models import Provider

log = logging.getLogger(__name__)

DEPLOYMENT_MODES = ("native", "hosted_ai", "hybrid")
# Who asks for health waits 2 s (see supervisor.health_at), and the look at Redis may take a part of them.
COMMITS_WITHIN_SEC = 1.0


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    now = datetime.now(UTC)
    report: dict[str, Any] = {
        "status": "healthy",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "version": settings.VERSION,
        "database": "connected",
        "redis": _redis(),
        "deployment_modes": DEPLOYMENT_MODES,
        "system": _system(),
    }
    try:
        committing.check(COMMITS_WITHIN_SEC)  # first: where the database hangs, reading would hang as well
        report["providers"] = _providers()
        report["inbox"] = _inbox(now)
        report["monitoring"] = monitoring.counts(now)
    except (committing.NotStoredError, AnyDatabaseError):
        log.exception("health: no delivery can be stored now")
        report |= {"status": "error", "database": "unavailable"}
        return JsonResponse(report, status=503, headers={"Retry-After": "5"})
    if report["redis"] == "unavailable":
        report["status"] = "unhealthy"
    return JsonResponse(report)


def _redis() -> str:
    if not settings.REDIS_URL:
        return "not_configured"
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5) as client:
            client.ping()
    except redis.RedisError:
        return "unavailable"
    return "connected"


def _providers() -> dict[str, int]:
    return Provider.objects.aggregate(total=Count("id"), enabled=Count("id", filter=Q(enabled=True)))


def _inbox(now: datetime) -> dict[str, Any]:
    """What waits to be worked off, and for how long the oldest has waited."""
    waiting = InboundEvent.objects.filter(state=InboundEvent.State.RECEIVED)
    found = waiting.aggregate(to_do=Count("id"), oldest=Min("received_at"))
    oldest = found["oldest"]
    return {"to_do": found["to_do"], "oldest_sec": round((now - oldest).total_seconds(), 1) if oldest else 0}


def _system() -> dict[str, float]:
    return {
        "cpu_percent": psutil.cpu_percent(interval=None),
        "memory_percent": psutil.virtual_memory().percent,
        "disk_percent": psutil.disk_usage(str(_existing(settings.DATA_DIR))).percent,
    }


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else settings.BASE_DIR

"""The ledger's page: what was accepted, what became of it, and where that does not add up."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from apps.ingest import ledger
from apps.ingest.ledger import WORDS, By, Line
from apps.providers.admin.base import page
from apps.providers.models import Endpoint

# What can be chosen: how far back, and by what.
SPANS: dict[str, tuple[str, timedelta, By]] = {
    "24h": ("24 hours", timedelta(hours=24), "hour"),
    "7d": ("7 days", timedelta(days=7), "hour"),
    "30d": ("30 days, by day", timedelta(days=30), "day"),
}


def ledger_page(admin: Any, request: HttpRequest) -> HttpResponse:
    """By hour or day and endpoint, newest first; each number leads to its deliveries."""
    chosen = request.GET.get("span", "")
    span = chosen if chosen in SPANS else "24h"
    _, length, by = SPANS[span]
    lines = ledger.lines(timezone.now() - length, by=by)
    endpoints = {(slug, name): pk for slug, name, pk in Endpoint.objects.values_list("provider__slug", "slug", "pk")}
    return page(
        admin,
        request,
        None,
        "admin/ingest/ledger.html",
        title="Ledger",
        spans=[(name, words, name == span) for name, (words, _, _) in SPANS.items()],
        words=list(WORDS),
        rows=[_row(line, by, endpoints) for line in lines],
        sums=[_row(line, by, endpoints) for line in sorted(ledger.together(lines, by_endpoint=True), key=_name)],
        wrong=[ledger.explained(line) for line in ledger.differing(lines)],
    )


def _name(line: Line) -> tuple[str, str]:
    return line.provider, line.endpoint


def _row(line: Line, by: By, endpoints: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    endpoint = endpoints.get((line.provider, line.endpoint))
    addresses = _addresses(endpoint, line.start, by) if endpoint and line.start else {}
    return {
        "line": line,
        "start": line.start and line.start.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:%M"),
        "cells": [(count, addresses.get(word, "")) for word, count in line.words.items()],
        "refused": ", ".join(f"{reason} {count}" for reason, count in sorted(line.refused.items())),
    }


def _addresses(endpoint: int, start: datetime, by: By) -> dict[str, str]:
    """For each word the list of the deliveries that its cell counts."""
    end = start + (timedelta(days=1) if by == "day" else timedelta(hours=1))
    asked = {
        "endpoint__id__exact": endpoint,
        "received_at__gte": start.isoformat(),
        "received_at__lt": end.isoformat(),
    }
    page = reverse("admin:ingest_inboundevent_changelist")
    return {word: f"{page}?{urlencode({**asked, 'state__in': ','.join(states)})}" for word, states in WORDS.items()}

"""GET /api/metrics: the ledger and the backlog as Prometheus reads them. Counted when asked, by whoever answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Sum
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.ingest import ledger
from apps.ingest.models import InboundEvent, Refusal, Tally
from apps.providers.wire import error_answers

WINDOW = timedelta(hours=24)
State = InboundEvent.State
# What still needs somebody: the worker, another event, or an operator. They are found by an index, however old.
OPEN = (State.RECEIVED, State.WAITING, State.FAILED)


class LedgerCollector(Collector):
    """What the database says at `now`; every process would say the same, so nothing is kept in between."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def describe(self) -> Iterator[Metric]:
        """Nothing: else all would be counted once more, only to be registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from _of_the_last_day(self.now)
        yield from _open(self.now)
        yield from _of_all_time()


def _of_the_last_day(now: datetime) -> Iterator[Metric]:
    lines = ledger.together(ledger.lines(now - WINDOW, by="hour"), by_endpoint=True)
    deliveries = GaugeMetricFamily(
        "voicelens_deliveries", "Deliveries of the last 24 hours, by what became of them.",
        labels=["provider", "endpoint", "state"],
    )  # fmt: skip
    difference = GaugeMetricFamily(
        "voicelens_ledger_difference", "Deliveries of the last 24 hours accepted and not stored; must be 0.",
        labels=["provider", "endpoint"],
    )  # fmt: skip
    for line in lines:
        difference.add_metric([line.provider, line.endpoint], line.difference)
        for state in State:
            deliveries.add_metric([line.provider, line.endpoint, state], line.states.get(state, 0))
    yield from (deliveries, difference)


def _open(now: datetime) -> Iterator[Metric]:
    labels = ["provider", "state"]
    count = GaugeMetricFamily("voicelens_deliveries_open", "Deliveries of any age that are not done.", labels=labels)
    age = GaugeMetricFamily(
        "voicelens_oldest_open_seconds", "How long ago the oldest of these was received.", labels=labels
    )
    rows = InboundEvent.objects.filter(state__in=OPEN).order_by().values_list(*labels)
    for provider, state, number, oldest in rows.annotate(Count("pk"), Min("received_at")):
        count.add_metric([provider, state], number)
        age.add_metric([provider, state], max(0.0, (now - oldest).total_seconds()))
    yield from (count, age)


def _of_all_time() -> Iterator[Metric]:
    counted = Tally.objects.order_by().values_list("endpoint__provider__slug")
    accepted = CounterMetricFamily("voicelens_accepted", "Deliveries accepted as new.", labels=["provider"])
    repeated = CounterMetricFamily("voicelens_repeated", "Deliveries that had been stored before.", labels=["provider"])
    for provider, new, again in counted.annotate(Sum("accepted"), Sum("repeated")):
        accepted.add_metric([provider], new)
        repeated.add_metric([provider], again)
    refused = CounterMetricFamily("voicelens_refused", "Deliveries refused.", labels=["provider", "reason"])
    for provider, reason, number in (
        Refusal.objects.order_by().values_list("endpoint__provider__slug", "reason").annotate(Sum("count"))
    ):
        refused.add_metric([provider, reason], number)
    yield from (accepted, repeated, refused)


class Metrics(APIView):
    needs = "ingest.view_inboundevent"

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # Prometheus asks for its own types.
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        operation_id="metrics_retrieve",
        summary="The ledger and the backlog, for Prometheus",
        description="Prometheus' text format. Counted afresh at each request; a scrape a minute is plenty.",
        responses={
            (200, "text/plain"): OpenApiResponse(OpenApiTypes.STR, description="Metrics."),
            **error_answers(401, 403),
        },
        tags=["deliveries"],
    )
    def get(self, request: Request) -> HttpResponse:
        registry = CollectorRegistry()
        registry.register(LedgerCollector(timezone.now()))
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

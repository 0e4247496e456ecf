"""The daily numbers as the API shows them: published names, averages divided at reading, nulls that are not zeros.

And how a provider stands: its own word, our checks and our traffic side by side.
"""

from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.analytics.models import DailyProviderStats, TrafficCondition
from apps.analytics.selectors import daily_numbers, totals
from apps.analytics.traffic import provider_standing
from apps.analytics.usual import Verdict
from apps.monitoring.models import State
from apps.providers.models import Environment, Provider
from apps.providers.wire import Keyset, error_answers, unknown_provider

DEFAULT_DAYS = 30
MAX_DAYS = 366


class DailyQuery(serializers.Serializer[Any]):
    provider = serializers.CharField(required=False, help_text="Slug; all providers without it.")
    environment = serializers.ChoiceField(Environment.choices, default=Environment.LIVE)
    date_from = serializers.DateField(
        required=False, help_text=f"UTC day; {DEFAULT_DAYS} days up to date_to without it."
    )
    date_to = serializers.DateField(required=False, help_text="UTC day, included; today without it.")

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        until: date = asked.setdefault("date_to", timezone.now().date())
        # Counted in ordinals: the first days of the calendar have none before them.
        earliest = date.fromordinal(max(1, until.toordinal() - DEFAULT_DAYS + 1))
        since: date = asked.setdefault("date_from", earliest)
        if since > until:
            raise serializers.ValidationError({"date_from": "is after date_to"})
        if (until - since).days >= MAX_DAYS:
            raise serializers.ValidationError({"date_from": f"lies more than {MAX_DAYS} days back from date_to"})
        asked["provider"] = asked.get("provider", "").lower()
        return asked


class CallNumbersSerializer(serializers.Serializer[Any]):
    """What a set of calls comes to. Every average has the number of calls that told the value."""

    total = serializers.IntegerField(help_text="All calls; the sum of the next five.")
    successful = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Failures and errors.")
    partial = serializers.IntegerField(source="partial_count")  # type: ignore[assignment]  # the published name
    timeout = serializers.IntegerField(source="timeout_count")
    unknown = serializers.IntegerField(source="unknown_count", help_text="Outcome not told, or not yet.")
    success_rate = serializers.SerializerMethodField()
    avg_duration_sec = serializers.FloatField(allow_null=True)
    duration_count = serializers.IntegerField(help_text="Calls that told their duration.")
    total_cost_usd = serializers.FloatField(
        allow_null=True,
        help_text="A JSON number with up to 9 places, added up without rounding; null when no call told its cost.",
    )
    avg_cost_usd = serializers.SerializerMethodField()
    cost_count = serializers.IntegerField(help_text="Calls that told their cost.")
    avg_satisfaction_score = serializers.FloatField(allow_null=True, help_text="0 to 1.")
    satisfaction_count = serializers.IntegerField(help_text="Calls that told a satisfaction.")

    def get_success_rate(self, row: DailyProviderStats) -> float | None:
        """successful / total, from 0 to 1; null without calls."""
        return row.successful / row.total if row.total else None

    def get_avg_cost_usd(self, row: DailyProviderStats) -> float | None:
        """total_cost_usd / cost_count; null when no call told its cost."""
        return None if row.total_cost_usd is None else float(row.total_cost_usd / row.cost_count)


class DailyNumbersSerializer(CallNumbersSerializer):
    provider = serializers.CharField()
    date = serializers.DateField(help_text="UTC day of the calls' start.")
    environment = serializers.ChoiceField(Environment.choices)
    updated_at = serializers.DateTimeField()


class DailyResponse(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True, help_text="The next page; null on the last one.")
    totals = CallNumbersSerializer(help_text="Over the whole range, whatever the page.")
    results = DailyNumbersSerializer(many=True)


class NewestDays(Keyset):
    # The environment is fixed by the query, so day and provider together are unique.
    ordering = ("-date", "provider")


class DailyNumbers(GenericAPIView[DailyProviderStats]):
    serializer_class = DailyNumbersSerializer
    pagination_class = NewestDays
    queryset = DailyProviderStats.objects.none()

    @extend_schema(
        operation_id="analytics_daily",
        summary="Daily numbers of each provider",
        description=f"Live calls of the last {DEFAULT_DAYS} days unless asked otherwise, at most {MAX_DAYS} days at "
        "a time. A value that a call does not tell is left out of sums and averages; it is no zero.",
        parameters=[DailyQuery],
        responses={200: DailyResponse, **error_answers(400, 401, 403)},
        tags=["analytics"],
    )
    def get(self, request: Request) -> Response:
        # As in the other lists, an empty parameter is none.
        asked = DailyQuery(data={name: value for name, value in request.query_params.items() if value})
        asked.is_valid(raise_exception=True)
        rows: QuerySet[DailyProviderStats] = daily_numbers(**asked.validated_data)
        page = self.get_serializer(self.paginate_queryset(rows), many=True).data
        answer = self.get_paginated_response(page)
        answer.data |= {"totals": CallNumbersSerializer(totals(rows)).data}
        return answer


# --- how a provider stands ------------------------------------------------------------------------------------


class OwnWordSerializer(serializers.Serializer[Any]):
    metric = serializers.ChoiceField(TrafficCondition.Metric.choices)
    verdict = serializers.ChoiceField(
        [(word.value, word.value) for word in Verdict],
        source="reading.verdict",
        help_text="Now: `raised`, `calm`, `between` the two, or `unsure`: too few calls or deliveries to tell.",
    )
    text = serializers.CharField(source="reading.text", help_text="The numbers in a sentence.")
    numbers = serializers.DictField(source="reading.data", help_text="The same for machines; shares are 0 to 1.")
    open_since = serializers.DateTimeField(allow_null=True, help_text="Since when it is an incident; null: it is none.")


class StandingSerializer(serializers.Serializer[Any]):
    provider = serializers.CharField()
    vendor = serializers.ChoiceField(
        State.choices, allow_null=True, help_text="What the provider's status page says; null where none is watched."
    )
    vendor_checked_at = serializers.DateTimeField(allow_null=True)
    checks = serializers.ChoiceField(
        State.choices, allow_null=True, help_text="The worst of the health checks; null where there is none."
    )
    ours = OwnWordSerializer(many=True, help_text="What our own traffic says, one entry a condition.")


class StandingQuery(serializers.Serializer[Any]):
    provider = serializers.CharField(required=False, help_text="Slug; all enabled providers without it.")


class StandingResponse(serializers.Serializer[Any]):
    results = StandingSerializer(many=True)


class Standing(APIView):
    needs = "analytics.view_dailyproviderstats"

    @extend_schema(
        operation_id="monitoring_standing",
        summary="How providers stand: their word, our checks, our traffic",
        description="From stored checks and deliveries; nothing outside is asked. Live calls only.",
        parameters=[StandingQuery],
        responses={200: StandingResponse, **error_answers(401, 403, 404)},
        tags=["monitoring"],
    )
    def get(self, request: Request) -> Response:
        slug = request.query_params.get("provider", "").lower()
        providers = Provider.objects.filter(slug=slug) if slug else Provider.objects.filter(enabled=True)
        if slug and not providers:
            raise unknown_provider()
        now = timezone.now()
        found = [provider_standing(provider, now) for provider in providers.order_by("slug")]
        return Response(StandingResponse({"results": found}).data)

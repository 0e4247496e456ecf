"""The daily numbers as the API shows them: published names, averages divided at reading, nulls that are not zeros."""

from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.analytics.models import DailyProviderStats
from apps.analytics.selectors import daily_numbers, totals
from apps.providers.models import Environment
from apps.providers.wire import Keyset, error_answers

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

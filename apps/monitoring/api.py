"""Changes, checks and incidents as the API shows them, from what is stored: no request asks a provider anything."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.monitoring import feeds, selectors
from apps.monitoring.models import Change, ChangeType, Incident, IncidentEntry, Kind, Monitor, Severity, State
from apps.monitoring.uptime import WINDOWS, Uptime
from apps.providers.wire import Keyset, error_answers

MAX_HOURS = 24 * 366
# Below 100 it must not read as 100.
PLACES = 4

# --- what is asked ------------------------------------------------------------------------------------------


class Query(serializers.Serializer[Any]):
    """The filters of a list; an empty one is none."""

    provider = serializers.CharField(required=False, help_text="Slug, in any case; all without it.")

    def validate_provider(self, value: str) -> str:
        return value.lower()

    @classmethod
    def of(cls, request: Request) -> dict[str, Any]:
        """The filters of a request. Raises ValidationError."""
        asked = cls(data={name: value for name, value in request.query_params.items() if value})
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)


class SinceQuery(Query):
    since = serializers.DateTimeField(
        required=False, help_text=f"ISO time, included; {selectors.CHANGES_DAYS} days ago without it."
    )
    hours = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_HOURS, help_text="The last so many hours, instead of `since`."
    )

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        hours, since = asked.pop("hours", None), asked.pop("since", None)
        if hours and since:
            raise serializers.ValidationError({"hours": "either `hours` or `since`, not both"})
        asked["since"] = since or _hours_ago(hours or 24 * selectors.CHANGES_DAYS)
        return asked


class ChangeQuery(SinceQuery):
    change_type = serializers.ChoiceField(ChangeType.choices, required=False)
    severity = serializers.ChoiceField(Severity.choices, required=False, help_text="This one or a higher one.")
    needs_review = serializers.BooleanField(
        required=False, help_text="Only those that may need another mapping and were not reviewed; or only the others."
    )


class IncidentQuery(SinceQuery):
    is_open = serializers.BooleanField(required=False, help_text="Only open ones, or only ended ones.")


class HealthQuery(Query):
    kind = serializers.ChoiceField(Kind.choices, required=False)
    state = serializers.ChoiceField(State.choices, required=False)


def _hours_ago(hours: int) -> datetime:
    return timezone.now() - timedelta(hours=hours)


# --- how answers look ---------------------------------------------------------------------------------------


class RuleNamedSerializer(serializers.Serializer[Any]):
    rule = serializers.IntegerField(help_text="Its place in the mapping version, from 0.")
    event = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of that name
    target = serializers.CharField()


class AffectedSerializer(serializers.Serializer[Any]):
    """What of the published mapping the change names."""

    version = serializers.IntegerField(help_text="Number of the mapping version that was published then.")
    events = serializers.ListField(child=serializers.CharField(), required=False)
    rules = RuleNamedSerializer(many=True, required=False)
    headers = serializers.ListField(child=serializers.CharField(), required=False)


class ChangeSerializer(serializers.ModelSerializer[Change]):
    provider = serializers.CharField(help_text="Slug; empty: VoiceLens itself.")
    source = serializers.CharField(help_text="What found it: a kind of check, or `traffic`.")  # type: ignore[assignment]
    affected = AffectedSerializer(source="change_data.affected", default=None, allow_null=True)
    incident = serializers.IntegerField(source="incident_id", allow_null=True, help_text="Its id in `incidents`.")

    class Meta:
        model = Change
        fields: tuple[str, ...] = (
            "id", "provider", "change_type", "severity", "title", "description", "url", "detected_at", "diff",
            "source", "incident", "affected", "needs_review", "reviewed_at",
        )  # fmt: skip
        read_only_fields = fields
        extra_kwargs = {
            "url": {"help_text": "The provider's page; may be empty."},
            "diff": {"help_text": "Unified diff of the text that was compared; empty where there is none."},
            "needs_review": {"help_text": "It names webhooks or fields of the mapping, which may have to follow."},
        }


class IncidentEntrySerializer(serializers.ModelSerializer[IncidentEntry]):
    class Meta:
        model = IncidentEntry
        fields = ("at", "text", "author")
        read_only_fields = fields


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    is_open = serializers.BooleanField()
    timeline = IncidentEntrySerializer(many=True, help_text="Oldest first.")

    class Meta:
        model = Incident
        fields = (
            "id", "provider", "title", "severity", "is_open", "opened_at", "resolved_at", "acknowledged_at",
            "acknowledged_by", "acknowledge_reason", "timeline",
        )  # fmt: skip
        read_only_fields = fields


class HealthSerializer(serializers.Serializer[Any]):
    """How one check stands, by its last look."""

    id = serializers.IntegerField(source="monitor.pk")
    provider = serializers.CharField(source="monitor.provider.slug")
    kind = serializers.ChoiceField(Kind.choices, source="monitor.kind")
    endpoint = serializers.CharField(source="monitor.url", help_text="The address that is looked at.")
    state = serializers.ChoiceField(State.choices, source="monitor.state")
    state_since = serializers.DateTimeField(source="monitor.state_since", allow_null=True)
    is_healthy = serializers.BooleanField(
        allow_null=True, help_text="True when up, false when degraded or down, null while unknown."
    )
    status_code = serializers.IntegerField(source="monitor.last_status_code", allow_null=True)
    response_time_ms = serializers.IntegerField(source="monitor.last_latency_ms", allow_null=True)
    error_message = serializers.CharField(
        source="monitor.last_error", help_text="What was wrong at the last look; empty: nothing."
    )
    checked_at = serializers.DateTimeField(
        source="monitor.last_checked_at", allow_null=True, help_text="Null: not looked at yet."
    )
    is_flapping = serializers.BooleanField(source="monitor.is_flapping")
    uptime_24h = serializers.FloatField(allow_null=True, help_text="Percent of the watched time; null: not watched.")
    uptime_7d = serializers.FloatField(allow_null=True)
    uptime_30d = serializers.FloatField(allow_null=True)
    uptime_90d = serializers.FloatField(allow_null=True)


def health_of(monitor: Monitor, uptimes: dict[str, Uptime]) -> dict[str, Any]:
    healthy = None if monitor.state == State.UNKNOWN else monitor.state == State.UP
    percents = {f"uptime_{name}": _percent(uptimes[name].percent) for name in WINDOWS}
    return {"monitor": monitor, "is_healthy": healthy, **percents}


def _percent(value: float | None) -> float | None:
    """Cut, not rounded: 99.99999 is no 100."""
    return None if value is None else int(value * 10**PLACES) / 10**PLACES


# --- changes ------------------------------------------------------------------------------------------------


class NewestChanges(Keyset):
    ordering = ("-detected_at", "-id")


class ChangeList(GenericAPIView[Change]):
    queryset = Change.objects.none()
    serializer_class = ChangeSerializer
    pagination_class = NewestChanges

    @extend_schema(
        operation_id="monitoring_changes",
        summary="Changes at the providers, newest first",
        description=f"Outages, changed documentation, changed webhooks, news: the last {selectors.CHANGES_DAYS} days "
        "unless asked otherwise, 50 a page.",
        parameters=[ChangeQuery],
        responses={200: ChangeSerializer(many=True), **error_answers(400, 401, 403)},
        tags=["monitoring"],
    )
    def get(self, request: Request) -> Response:
        rows = self.paginate_queryset(selectors.changes(**ChangeQuery.of(request)))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)


class ChangeDetail(RetrieveAPIView[Change]):
    queryset = Change.objects.all()
    serializer_class = ChangeSerializer

    @extend_schema(
        operation_id="monitoring_changes_retrieve",
        summary="One change",
        responses={200: ChangeSerializer, **error_answers(401, 403, 404)},
        tags=["monitoring"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class ChangeFeed(GenericAPIView[Change]):
    """The same list for feed readers; a subclass for each format."""

    queryset = Change.objects.none()
    pagination_class = None
    feed_format: str

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # A reader asks for application/atom+xml, which no renderer of the API makes.
        return super().perform_content_negotiation(request, force=True)

    def as_feed(self, request: Request) -> HttpResponseBase:
        return feeds.feed(selectors.changes(**ChangeQuery.of(request)), self.feed_format)


def _described(format_name: str, media_type: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    described: Any = extend_schema(
        operation_id=f"monitoring_changes_{format_name.lower()}",
        summary=f"The newest 50 changes as {format_name}",
        description="With the filters of the list. For readers that send no headers see MONITORING_FEED_TOKEN.",
        parameters=[ChangeQuery],
        responses={
            (200, media_type): OpenApiResponse(OpenApiTypes.STR, description="The feed."),
            **error_answers(400, 401, 403),
        },
        tags=["monitoring"],
    )
    return described  # type: ignore[no-any-return]


class ChangesAsRss(ChangeFeed):
    feed_format = "rss"

    @_described("RSS", "application/rss+xml")
    def get(self, request: Request) -> HttpResponseBase:
        return self.as_feed(request)


class ChangesAsAtom(ChangeFeed):
    feed_format = "atom"

    @_described("Atom", "application/atom+xml")
    def get(self, request: Request) -> HttpResponseBase:
        return self.as_feed(request)


# --- checks -------------------------------------------------------------------------------------------------


class InOrder(Keyset):
    ordering = ("id",)


class Health(GenericAPIView[Monitor]):
    queryset = Monitor.objects.none()
    serializer_class = HealthSerializer
    pagination_class = InOrder

    @extend_schema(
        operation_id="monitoring_health",
        summary="How the providers' pages stand",
        description="One row a check, by its last look; nothing is asked outside. Checks that are switched off, and "
        "those of providers that are not watched, are left out.",
        parameters=[HealthQuery],
        responses={200: HealthSerializer(many=True), **error_answers(400, 401, 403)},
        tags=["monitoring"],
    )
    def get(self, request: Request) -> Response:
        asked = HealthQuery.of(request)
        if "provider" in asked:
            asked["provider__slug"] = asked.pop("provider")
        monitors = self.paginate_queryset(selectors.watched().filter(**asked).select_related("provider")) or []
        uptimes = selectors.uptimes_of(monitors, timezone.now())
        rows = [health_of(monitor, uptimes[monitor.pk]) for monitor in monitors]
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)


# --- incidents ----------------------------------------------------------------------------------------------


class NewestIncidents(Keyset):
    ordering = ("-opened_at", "-id")


class IncidentList(ListAPIView[Incident]):
    queryset = Incident.objects.none()
    serializer_class = IncidentSerializer
    pagination_class = NewestIncidents

    @extend_schema(
        operation_id="monitoring_incidents",
        summary="Incidents with their timelines, newest first",
        description=f"Open ones, and those that ended within {selectors.INCIDENTS_DAYS} days, `hours` or `since`.",
        parameters=[IncidentQuery],
        responses={200: IncidentSerializer(many=True), **error_answers(400, 401, 403)},
        tags=["monitoring"],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rows = self.paginate_queryset(selectors.incidents(**IncidentQuery.of(request)))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)

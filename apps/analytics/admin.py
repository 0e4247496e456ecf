"""The admin of the daily numbers (read-only, averages worked out as they are shown), of the processing times, and of
the conditions under which the traffic raises something."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from apps.analytics.models import DailyProviderStats, ProcessingTimes, TrafficCondition
from apps.history.pages import ModelAdmin
from apps.providers.admin.base import ReadOnlyAdmin, TextColumns, UtcDayFilter, link


class DayFilter(UtcDayFilter):
    """On a column that is a day already."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return super(UtcDayFilter, self).queryset(request, queryset)


@admin.register(DailyProviderStats)
class DailyProviderStatsAdmin(ReadOnlyAdmin):
    list_display = (
        "day", "provider", "environment_word", "calls", "successful", "failed", "partial", "timeout", "unknown",
        "duration", "cost", "satisfaction",
    )  # fmt: skip
    list_filter = ("provider", ("environment", ChoicesDropdownFilter), ("date", DayFilter))
    date_hierarchy = "date"
    actions = None
    list_fullwidth = True
    fieldsets = (
        (None, {"fields": ("day", "provider", "environment", "calls")}),
        ("Calls", {"fields": ("successful", "failed", "failure_count", "error_count", "partial_count",
                              "timeout_count", "unknown_count")}),
        ("Duration, cost, satisfaction", {"fields": ("duration", "duration_count", "cost", "cost_count",
                                                     "satisfaction", "satisfaction_count")}),
        ("Kept sums", {"fields": ("duration_sum_sec", "cost_sum_nano_usd", "satisfaction_sum_e4", "updated_at")}),
    )  # fmt: skip
    readonly_fields = ("day", "calls", "successful", "failed", "duration", "cost", "satisfaction")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if request.user.has_perm("ingest.view_message"):
            return self.list_display
        return tuple("total" if name == "calls" else name for name in self.list_display)  # without the link

    def get_fieldsets(self, request: HttpRequest, obj: DailyProviderStats | None = None) -> Any:
        if request.user.has_perm("ingest.view_message"):
            return self.fieldsets
        return ((None, {"fields": ("day", "provider", "environment", "total")}), *self.fieldsets[1:])

    @display(description="day (UTC)", ordering="date")
    def day(self, obj: DailyProviderStats) -> str:
        return obj.date.isoformat()

    @display(description="environment", ordering="environment")
    def environment_word(self, obj: DailyProviderStats) -> str:
        return obj.environment

    @display(description="successful", ordering="success_count")
    def successful(self, obj: DailyProviderStats) -> int:
        return obj.successful

    @display(description="failed")
    def failed(self, obj: DailyProviderStats) -> int:
        return obj.failed

    @display(description="partial", ordering="partial_count")
    def partial(self, obj: DailyProviderStats) -> int:
        return obj.partial_count

    @display(description="timeout", ordering="timeout_count")
    def timeout(self, obj: DailyProviderStats) -> int:
        return obj.timeout_count

    @display(description="unknown", ordering="unknown_count")
    def unknown(self, obj: DailyProviderStats) -> int:
        return obj.unknown_count

    @display(description="avg duration (s)")
    def duration(self, obj: DailyProviderStats) -> str:
        return "-" if obj.avg_duration_sec is None else f"{obj.avg_duration_sec:.1f}"

    @display(description="cost (USD)", ordering="cost_sum_nano_usd")
    def cost(self, obj: DailyProviderStats) -> str:
        return "-" if obj.total_cost_usd is None else f"{obj.total_cost_usd:.4f}"

    @display(description="avg satisfaction")
    def satisfaction(self, obj: DailyProviderStats) -> str:
        return "-" if obj.avg_satisfaction_score is None else f"{obj.avg_satisfaction_score:.3f}"

    @display(description="calls", ordering="total")
    def calls(self, obj: DailyProviderStats) -> SafeString:
        day = obj.date.isoformat()
        asked = {"provider": obj.provider, "environment__exact": obj.environment}
        query = urlencode({**asked, "start_time_from": day, "start_time_to": day})
        return link(f"{reverse('admin:ingest_message_changelist')}?{query}", obj.total)


@admin.register(TrafficCondition)
class TrafficConditionAdmin(TextColumns, ModelAdmin):
    list_display = ("metric", "of", "enabled", "window_min", "min_sample", "factor")
    list_filter = ("metric", "enabled")
    list_select_related = ("provider",)
    actions = None

    @display(description="provider", ordering="provider__name")
    def of(self, obj: TrafficCondition) -> str:
        return str(obj.provider or "all providers")


@admin.register(ProcessingTimes)
class ProcessingTimesAdmin(ReadOnlyAdmin):
    list_display = ("day", "messages", "sampled", "p50", "p95", "p99")
    fields = ("day", "messages", "sampled", "p50", "p95", "p99")
    readonly_fields = fields
    actions = None

    @display(description="day (UTC)", ordering="date")
    def day(self, obj: ProcessingTimes) -> str:
        return obj.date.isoformat()

    @display(description="half within (ms)", ordering="p50_ms")
    def p50(self, obj: ProcessingTimes) -> str:
        return f"{obj.p50_ms:.1f}"

    @display(description="95 % within (ms)", ordering="p95_ms")
    def p95(self, obj: ProcessingTimes) -> str:
        return f"{obj.p95_ms:.1f}"

    @display(description="99 % within (ms)", ordering="p99_ms")
    def p99(self, obj: ProcessingTimes) -> str:
        return f"{obj.p99_ms:.1f}"

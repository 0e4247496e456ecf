"""The admin of checks: how each stands, what was seen lately, what is compared, and a look at once."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from selectolax.lexbor import LexborHTMLParser, SelectolaxError
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from apps.history.pages import ModelAdmin
from apps.monitoring import http_statuses, monitors, own_schedules
from apps.monitoring.admin.words import SEVERITY_COLOURS, STATE_COLOURS, ago, how_long, percent
from apps.monitoring.models import Monitor, State
from apps.monitoring.runs import check_now
from apps.monitoring.selectors import uptimes_of
from apps.monitoring.uptime import WINDOWS
from apps.providers.admin.base import CappedPaginator, TextColumns, confirmation, cut, found_or_404, granted, utc

MAY_CHANGE = "monitoring.change_monitor"
SHOWN_LOOKS = 20
SHOWN_CHANGES = 10
BAR = timedelta(days=7)
# Narrower, a stretch of the bar could not be seen.
LEAST_PERCENT = 0.4


class MonitorForm(forms.ModelForm):  # type: ignore[type-arg]
    every_min = forms.IntegerField(
        label="Look every … minutes",
        required=False,
        min_value=1,
        max_value=60 * 24 * 31,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="A schedule of its own, for this check alone. Empty: by the schedule of its provider and kind.",
    )

    class Meta:
        model = Monitor
        fields = ("selector", "ignored_selectors", "ok_statuses")  # the page names the others
        labels = {
            "ok_statuses": "OK statuses",
            "latency_budget_ms": "Latency budget (ms)",
            "timeout_sec": "Timeout (s)",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "every_min" in self.fields:
            self.initial["every_min"] = own_schedules.every_min(self.instance)

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValidationError("Only http:// and https:// can be watched.")
        if parts.username or parts.password:
            raise ValidationError("Leave user and password out: pages are looked at without a login.")
        return url

    def clean_selector(self) -> str:
        selector = str(self.cleaned_data["selector"]).strip()
        if selector:
            _must_be_selector(selector)
        return selector

    def clean_ignored_selectors(self) -> list[str]:
        selectors = self.cleaned_data["ignored_selectors"]
        if not isinstance(selectors, list) or not all(isinstance(one, str) and one.strip() for one in selectors):
            raise ValidationError('A list of CSS selectors is needed: [".updated-at", "#share"].')
        for one in selectors:
            _must_be_selector(one)
        return selectors

    def clean_ok_statuses(self) -> str:
        text = str(self.cleaned_data["ok_statuses"]).strip()
        try:
            http_statuses.parse(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return text


def _must_be_selector(selector: str) -> None:
    try:
        LexborHTMLParser("<p></p>").css(selector)
    except SelectolaxError as error:
        raise ValidationError(f"{selector} is no CSS selector; write one such as main article or #content.") from error


@admin.register(Monitor)
class MonitorAdmin(TextColumns, ModelAdmin):
    form = MonitorForm
    list_display = ("page_address", "provider", "kind_word", "state_word", "since", "latency", "looked", "problem",
                    "schedule_word")  # fmt: skip
    list_display_links = ("page_address",)
    list_filter = (
        ("provider", RelatedDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("state", ChoicesDropdownFilter),
        "enabled",
    )
    list_select_related = ("provider", "schedule__interval", "schedule__crontab")
    list_fullwidth = True
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    search_fields = ("url", "last_error")
    search_help_text = "Address or error."
    actions = ("check_selected",)
    actions_detail = ("check_now",)
    change_form_outer_before_template = "admin/monitoring/monitor/overview.html"
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": (("provider", "kind"), "url", "enabled", "every_min")}),
        ("What is compared", {"fields": ("selector", "ignored_selectors"),
                              "description": "For documentation and changelogs that are HTML pages."}),
        ("When it is up", {"fields": ("ok_statuses", ("latency_budget_ms", "timeout_sec"),
                                      ("down_after", "up_after"))}),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Monitor | None = None) -> tuple[str, ...]:
        return ("provider", "kind") if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Monitor | None = None) -> Any:
        if self.has_change_permission(request, obj) or obj is None:
            return self.fieldsets
        # Who may only look has no form; a field that is no column could not be shown.
        return ((None, {"fields": (("provider", "kind"), "url", "enabled")}), *self.fieldsets[1:])

    def save_model(self, request: HttpRequest, obj: Monitor, form: Any, change: bool) -> None:
        if change:
            # What a look wrote while the form was open stays.
            obj.origin = Monitor.Origin.ADMIN if monitors.is_edited(obj) else obj.origin
            obj.save(update_fields=[*monitors.SETTINGS, "origin", "host"])
        else:
            obj.save()
        if "every_min" in form.changed_data:
            own_schedules.look_every(obj, form.cleaned_data["every_min"])

    def delete_model(self, request: HttpRequest, obj: Monitor) -> None:
        own = obj.schedule
        super().delete_model(request, obj)
        if own is not None:
            own.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
        for monitor in queryset:
            self.delete_model(request, monitor)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if context.get("original") is not None:
            context["overview"] = overview(context["original"], timezone.now())
        return super().render_change_form(request, context, *args, **kwargs)

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="page", ordering="url")
    def page_address(self, obj: Monitor) -> SafeString:
        return cut(obj.url.removeprefix("https://"), 40)

    @display(description="kind", ordering="kind")
    def kind_word(self, obj: Monitor) -> str:
        return obj.kind

    @display(description="state", ordering="state", label=STATE_COLOURS | {"off": "default", "flapping": "warning"})
    def state_word(self, obj: Monitor) -> str:
        if not obj.enabled or not obj.provider.monitored:
            return "off"
        return "flapping" if obj.is_flapping else obj.state

    @display(description="for", ordering="-state_since")
    def since(self, obj: Monitor) -> str:
        return how_long(timezone.now() - obj.state_since) if obj.state_since else "-"

    @display(description="latency", ordering="last_latency_ms")
    def latency(self, obj: Monitor) -> str:
        return "-" if obj.last_latency_ms is None else f"{obj.last_latency_ms:,} ms"

    @display(description="last look", ordering="last_checked_at")
    def looked(self, obj: Monitor) -> str:
        return ago(obj.last_checked_at, timezone.now())

    @display(description="error", ordering="last_error")
    def problem(self, obj: Monitor) -> SafeString | str:
        return cut(obj.last_error, 28) if obj.last_error else "-"

    @display(description="schedule")
    def schedule_word(self, obj: Monitor) -> str:
        if obj.schedule is None:
            return "by kind"
        return f"own: {_when(obj.schedule)}"

    # --- a look at once -------------------------------------------------------------------------------------

    has_check_permission = granted(MAY_CHANGE)

    @admin.action(description="Check selected now", permissions=["check"])
    def check_selected(self, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
        rows = list(queryset.filter(enabled=True, provider__monitored=True))
        for monitor in rows:
            check_now(monitor, timezone.now())
        messages.success(request, f"{len(rows)} checks are looked at within seconds.")

    @action(description="Check now", url_path="check-now", icon="refresh", permissions=["check"])
    def check_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        monitor = found_or_404(self, request, object_id, MAY_CHANGE)
        off = _why_off(monitor)
        if request.method != "POST":
            lines = [f"Nobody looks: {off}"] if off else [f"`{monitor.url}` is looked at once, within seconds."]
            button = "" if off else "Check now"
            return confirmation(self, request, monitor, title="Check now", lines=lines, button=button)
        if off:
            messages.error(request, f"Nobody looks: {off}")
        else:
            check_now(monitor, timezone.now())
            messages.success(request, "It is looked at within seconds: load this page again.")
        return HttpResponseRedirect(reverse("admin:monitoring_monitor_change", args=[monitor.pk]))


# --- one check ----------------------------------------------------------------------------------------------


def overview(monitor: Monitor, now: datetime) -> dict[str, Any]:
    """What the page of a check shows above its form."""
    uptimes = uptimes_of([monitor], now)[monitor.pk]
    looks = list(monitor.observations.all()[:SHOWN_LOOKS])
    return {
        "colour": STATE_COLOURS.get(monitor.state, "default"),
        "off": _why_off(monitor),
        "facts": _facts(monitor, now),
        "uptimes": [(name, percent(uptimes[name].percent)) for name in WINDOWS],
        "bar": list(_bar(monitor, now)),
        "looks": [(look, STATE_COLOURS.get(look.standing, "default")) for look in looks],
        "changes": [(row, SEVERITY_COLOURS[row.severity]) for row in monitor.changes.all()[:SHOWN_CHANGES]],
        "incident": monitor.incidents.filter(resolved_at=None).first(),
        "schedule": _schedule_of(monitor),
    }


def _why_off(monitor: Monitor) -> str:
    if not monitor.enabled:
        return "this check is switched off."
    return "" if monitor.provider.monitored else f"{monitor.provider} is not watched: see its page."


def _facts(monitor: Monitor, now: datetime) -> list[tuple[str, str]]:
    latency = "-" if monitor.last_latency_ms is None else f"{monitor.last_latency_ms:,} ms"
    facts = [
        ("Since", f"{utc(monitor.state_since)} UTC" if monitor.state_since else "-"),
        ("Last look", f"{utc(monitor.last_checked_at)} UTC, {ago(monitor.last_checked_at, now)}"
         if monitor.last_checked_at else "not yet"),
        ("It answered", f"{monitor.last_status_code or '-'} in {latency}"),
        ("Error", monitor.last_error),
        ("Speaks against the state", f"{monitor.pending_count} × {monitor.pending_state}" if monitor.pending_count
         else ""),
        ("Next look", f"{utc(monitor.due_at)} UTC" if monitor.due_at else ""),
    ]  # fmt: skip
    return [(term, value) for term, value in facts if value]


def _when(row: Any) -> str:
    return str(row.interval or row.crontab or row.clocked or row.solar)


def _bar(monitor: Monitor, now: datetime) -> Iterable[dict[str, Any]]:
    """The last seven days as stretches with a state and a width in percent; holes are times that nobody watched."""
    since = now - BAR
    spans = monitor.spans.filter(ended_at__gt=since).order_by("started_at")
    return _stretches([(row.state, row.started_at, row.ended_at) for row in spans], since, now)


def _stretches(
    spans: Sequence[tuple[str, datetime, datetime]], since: datetime, now: datetime
) -> Iterable[dict[str, Any]]:
    whole = (now - since).total_seconds()
    for state, start, end in spans:
        first, last = max(start, since), min(end, now)
        if first < last:
            yield {
                "state": state if state in STATE_COLOURS else State.UNKNOWN.value,
                "left": f"{100 * (first - since).total_seconds() / whole:.2f}",
                "width": f"{max(LEAST_PERCENT, 100 * (last - first).total_seconds() / whole):.2f}",
                "title": f"{state}: {utc(start)} to {utc(end)} UTC",
            }


def _schedule_of(monitor: Monitor) -> tuple[str, str]:
    """(in words, the page of its row) of the schedule by which it is looked at."""
    if monitor.schedule is None:
        page = reverse("admin:django_celery_beat_periodictask_changelist")
        return "by the schedule of its provider and kind", f"{page}?q=Watch+{monitor.provider.slug}"
    page = reverse("admin:django_celery_beat_periodictask_change", args=[monitor.schedule.pk])
    return f"its own: {_when(monitor.schedule)}", page

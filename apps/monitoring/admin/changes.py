"""The admin of changes: what was found, its diff, which rules of the mapping it names, and that somebody looked."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.history.pages import ModelAdmin
from apps.history.record import difference, record
from apps.monitoring.admin.words import SEVERITY_COLOURS, diff_lines
from apps.monitoring.models import Change
from apps.monitoring.selectors import waiting_for_review
from apps.providers.admin.base import (
    CappedPaginator,
    ProviderFilter,
    TextColumns,
    UtcDayFilter,
    cut,
    found_or_404,
    granted,
    page,
    utc,
)
from apps.providers.models import MappingVersion, Provider

MAY_CHANGE = "monitoring.change_change"
EDITABLE = ("severity", "change_type", "title", "description", "needs_review")


class ReviewFilter(DropdownFilter):
    title = "review"
    parameter_name = "review"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "waits for a review"), ("done", "reviewed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Change]) -> QuerySet[Change]:
        if self.value() == "waiting":
            return queryset.filter(waiting_for_review())
        return queryset.exclude(reviewed_at=None) if self.value() == "done" else queryset


class ReviewForm(forms.Form):
    note = forms.CharField(
        label="What came of it",
        required=False,
        max_length=300,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Such as: the mapping follows in version 4; or: does not touch us.",
    )


@admin.register(Change)
class ChangeAdmin(TextColumns, ModelAdmin):
    list_display = ("detected", "severity_word", "provider_word", "type_word", "shown_title", "source", "review_word")
    list_display_links = ("detected", "shown_title")
    list_filter = (
        ("severity", ChoicesDropdownFilter),
        ProviderFilter,
        ("change_type", ChoicesDropdownFilter),
        ReviewFilter,
        ("detected_at", UtcDayFilter),
    )
    list_fullwidth = True
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    search_fields = ("title", "description")
    search_help_text = "Title or description."
    ordering = ("-detected_at", "-id")
    actions = ("review_selected",)
    actions_detail = ("review",)
    change_form_outer_before_template = "admin/monitoring/change/finding.html"
    fieldsets = (
        ("Correct it", {"fields": ("title", ("severity", "change_type"), "description", "needs_review"),
                        "description": "What was told already is not told again.", "classes": ("collapse",)}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Change]:
        found = request.resolver_match
        rows: QuerySet[Change] = super().get_queryset(request)
        if found is not None and str(found.url_name).endswith("changelist"):
            return rows.defer("diff", "description", "change_data")
        return rows.select_related("monitor__provider", "incident")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Change | None = None) -> bool:
        return False  # retention removes them

    def save_model(self, request: HttpRequest, obj: Change, form: Any, change: bool) -> None:
        before = Change.objects.get(pk=obj.pk)
        obj.save(update_fields=EDITABLE)
        told = difference(*({name: getattr(row, name) for name in EDITABLE} for row in (before, obj)))
        if told:
            record(obj, "changed", told)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        change = context.get("original")
        if change is not None:
            context["finding"] = {
                "colour": SEVERITY_COLOURS[change.severity],
                "diff": list(diff_lines(change.diff)),
                "provider": Provider.objects.filter(slug=change.provider).first(),
                "affected": affected(change),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="detected (UTC)", ordering="detected_at")
    def detected(self, obj: Change) -> str:
        return utc(obj.detected_at)[:16]

    @display(description="severity", label=SEVERITY_COLOURS)
    def severity_word(self, obj: Change) -> str:
        return obj.severity

    @display(description="provider", ordering="provider")
    def provider_word(self, obj: Change) -> str:
        return obj.provider or "VoiceLens"

    @display(description="type", ordering="change_type")
    def type_word(self, obj: Change) -> str:
        return obj.change_type.replace("_", " ")

    @display(description="what")
    def shown_title(self, obj: Change) -> SafeString:
        return cut(obj.title, 70)

    @display(description="review", label={"waits": "warning", "reviewed": "success"})
    def review_word(self, obj: Change) -> str:
        if obj.reviewed_at:
            return "reviewed"
        return "waits" if obj.needs_review else ""

    # --- reviews ------------------------------------------------------------------------------------------

    has_review_permission = granted(MAY_CHANGE)

    @admin.action(description="Reviewed: selected changes", permissions=["review"])
    def review_selected(self, request: HttpRequest, queryset: QuerySet[Change]) -> None:
        rows = list(queryset.filter(reviewed_at=None))
        for change in rows:
            reviewed(change, request, "")
        messages.success(request, f"Reviewed: {len(rows)}.")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        found = super().get_actions_detail(request, object_id)
        change = self.get_object(request, str(object_id))
        return found if change is not None and change.reviewed_at is None else []

    @action(description="Reviewed", url_path="review", icon="task_alt", permissions=["review"])
    def review(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Somebody looked whether the mapping has to follow, and says what came of it."""
        change = found_or_404(self, request, object_id, MAY_CHANGE)
        form = ReviewForm(request.POST if request.method == "POST" else None)
        if request.method != "POST" or not form.is_valid():
            lines = [change.title, "It is noted under your name, and no longer waits."]
            return page(
                self, request, change, "admin/monitoring/form.html", title="Reviewed", lines=lines, form=form,
                button="Reviewed",
            )  # fmt: skip
        reviewed(change, request, form.cleaned_data["note"])
        messages.success(request, "It is reviewed.")
        return HttpResponseRedirect(reverse("admin:monitoring_change_change", args=[change.pk]))


def reviewed(change: Change, request: HttpRequest, note: str) -> None:
    change.reviewed_at, change.reviewed_by, change.review_note = timezone.now(), request.user.get_username(), note
    change.save(update_fields=["reviewed_at", "reviewed_by", "review_note"])
    record(change, "reviewed", note=note)


def affected(change: Change) -> dict[str, Any]:
    """What of the mapping it names, with the page of the version where that still is; empty where it names nothing."""
    told = change.change_data.get("affected") if isinstance(change.change_data, dict) else None
    if not told:
        return {}
    version = MappingVersion.objects.filter(provider__slug=change.provider, number=told.get("version")).first()
    url = reverse("admin:providers_mappingversion_change", args=[version.pk]) if version else ""
    return {**told, "url": url}

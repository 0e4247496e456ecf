"""The admin of incidents: the open ones first, each with its timeline, and what people do about it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from apps.history.pages import ModelAdmin
from apps.history.record import record
from apps.monitoring import incidents
from apps.monitoring.admin.words import SEVERITY_COLOURS, how_long
from apps.monitoring.models import Incident, Silence
from apps.providers.admin.base import (
    CappedPaginator,
    ProviderFilter,
    TextColumns,
    cut,
    found_or_404,
    granted,
    page,
    utc,
)
from apps.providers.models import Provider

MAY_CHANGE = "monitoring.change_incident"
MAY_SILENCE = "monitoring.add_silence"
HOURS = [(1, "1 hour"), (4, "4 hours"), (12, "12 hours"), (24, "1 day"), (72, "3 days"), (168, "7 days")]


class OpenFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("resolved", "resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        if self.value() == "open":
            return queryset.filter(resolved_at=None)
        return queryset.exclude(resolved_at=None) if self.value() == "resolved" else queryset


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Reason",
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text="Who takes care, and how: reminders and escalations stop.",
    )


class NoteForm(forms.Form):
    text = forms.CharField(label="Note", max_length=5000, widget=UnfoldAdminTextareaWidget({"rows": 4}))


class SilenceForm(forms.Form):
    hours = forms.TypedChoiceField(
        label="For", coerce=int, choices=HOURS, initial=4, widget=UnfoldAdminSelectWidget,
        help_text="From now on. It can be ended earlier under Silences.",
    )  # fmt: skip
    reason = forms.CharField(label="Reason", max_length=300, widget=UnfoldAdminTextInputWidget)


@admin.register(Incident)
class IncidentAdmin(TextColumns, ModelAdmin):
    list_display = ("opened", "state_word", "severity_word", "provider_word", "shown_title", "lasted", "acknowledged")
    list_display_links = ("opened", "shown_title")
    list_filter = (OpenFilter, ("severity", ChoicesDropdownFilter), ProviderFilter)
    list_fullwidth = True
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    search_fields = ("title",)
    ordering = (F("resolved_at").desc(nulls_first=True), "-opened_at", "-id")
    actions = None
    actions_detail = ("acknowledge", "note", "resolve", "silence")
    change_form_outer_before_template = "admin/monitoring/incident/story.html"
    fieldsets = (("Correct it", {"fields": ("title", "severity"), "classes": ("collapse",)}),)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Incident, form: Any, change: bool) -> None:
        obj.save(update_fields=["title", "severity"])
        if form.changed_data:
            said = "Corrected: " + ", ".join(f"{name} is “{getattr(obj, name)}”" for name in form.changed_data)
            incidents.note(obj, timezone.now(), f"{said}.", _name(request))
            record(obj, "changed", note=said)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        incident = context.get("original")
        if incident is not None:
            context["story"] = {
                "colour": SEVERITY_COLOURS[incident.severity],
                "lasted": _lasted(incident),
                "timeline": incident.timeline.all(),
                "changes": [(row, SEVERITY_COLOURS[row.severity]) for row in incident.changes.all()[:50]],
                "monitor": incident.monitor,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="opened (UTC)", ordering="opened_at")
    def opened(self, obj: Incident) -> str:
        return utc(obj.opened_at)[:16]

    @display(description="state", ordering="resolved_at", label={"open": "danger", "resolved": "success"})
    def state_word(self, obj: Incident) -> str:
        return "open" if obj.is_open else "resolved"

    @display(description="severity", label=SEVERITY_COLOURS)
    def severity_word(self, obj: Incident) -> str:
        return obj.severity

    @display(description="provider", ordering="provider")
    def provider_word(self, obj: Incident) -> str:
        return obj.provider or "VoiceLens"

    @display(description="what")
    def shown_title(self, obj: Incident) -> SafeString:
        return cut(obj.title, 70)

    @display(description="lasted")
    def lasted(self, obj: Incident) -> str:
        return _lasted(obj)

    @display(description="acknowledged by")
    def acknowledged(self, obj: Incident) -> str:
        return obj.acknowledged_by or "-"

    # --- what people do -----------------------------------------------------------------------------------

    has_change_it_permission = granted(MAY_CHANGE)
    has_silence_permission = granted(MAY_SILENCE)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        found = super().get_actions_detail(request, object_id)
        incident = self.get_object(request, str(object_id))
        if incident is None:
            return []
        gone = set() if incident.is_open else {"acknowledge", "resolve", "silence"}
        return [one for one in found if one.path not in gone | ({"acknowledge"} if incident.acknowledged_at else set())]

    @action(description="Acknowledge", url_path="acknowledge", icon="front_hand", permissions=["change_it"])
    def acknowledge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(incident: Incident, said: dict[str, Any]) -> str:
            incidents.acknowledge(incident, timezone.now(), _name(request), said["reason"])
            record(incident, "acknowledged", note=said["reason"])
            return "It is acknowledged: nobody is reminded of it."

        return self._asked(request, object_id, MAY_CHANGE, "Acknowledge", ReasonForm, do)

    @action(description="Note", url_path="note", icon="edit_note", permissions=["change_it"])
    def note(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(incident: Incident, said: dict[str, Any]) -> str:
            incidents.note(incident, timezone.now(), said["text"], _name(request))
            return "The note stands in the timeline."

        return self._asked(request, object_id, MAY_CHANGE, "Add a note", NoteForm, do)

    @action(description="Resolve", url_path="resolve", icon="check_circle", permissions=["change_it"])
    def resolve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(incident: Incident, said: dict[str, Any]) -> str:
            incidents.resolve(incident.source_key, timezone.now(), said["text"], _name(request))
            record(incident, "resolved", note=said["text"])
            return "It is resolved. If its cause is found again, a new incident is opened."

        return self._asked(request, object_id, MAY_CHANGE, "Resolve", NoteForm, do)

    @action(description="Silence", url_path="silence", icon="notifications_off", permissions=["silence"])
    def silence(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(incident: Incident, said: dict[str, Any]) -> str:
            row = silenced(incident, said["hours"], said["reason"], _name(request))
            return f"Nobody is told of {_scope(row)} until {utc(row.ends_at)} UTC."

        return self._asked(request, object_id, MAY_SILENCE, "Silence", SilenceForm, do)

    def _asked(
        self,
        request: HttpRequest,
        object_id: str,
        permission: str,
        title: str,
        form_class: type[forms.Form],
        do: Callable[[Incident, dict[str, Any]], str],
    ) -> HttpResponse:
        """A page with one form; what it says is done, and told on the incident's page."""
        incident = found_or_404(self, request, object_id, permission)
        form = form_class(request.POST if request.method == "POST" else None)
        if request.method != "POST" or not form.is_valid():
            return page(
                self, request, incident, "admin/monitoring/form.html", title=title, lines=[incident.title], form=form,
                button=title,
            )  # fmt: skip
        messages.success(request, do(incident, form.cleaned_data))
        return HttpResponseRedirect(reverse("admin:monitoring_incident_change", args=[incident.pk]))


def silenced(incident: Incident, hours: int, reason: str, author: str) -> Silence:
    """A silence of the incident's check, or where it has none of its provider."""
    now = timezone.now()
    provider = (
        incident.monitor.provider if incident.monitor else Provider.objects.filter(slug=incident.provider).first()
    )
    row = Silence.objects.create(
        provider=provider, monitor=incident.monitor, starts_at=now, ends_at=now + timedelta(hours=hours),
        reason=reason, author=author[:150],
    )  # fmt: skip
    incidents.note(incident, now, f"Silenced until {utc(row.ends_at)} UTC: {reason}", author)
    return row


def _scope(row: Silence) -> str:
    return str(row.monitor or row.provider or "any provider")


def _lasted(incident: Incident) -> str:
    return how_long((incident.resolved_at or timezone.now()) - incident.opened_at)


def _name(request: HttpRequest) -> str:
    return str(request.user.get_username())

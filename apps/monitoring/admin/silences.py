"""The admin of silences and planned maintenance: when nobody is told, of what, why and by whom."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.history.pages import ModelAdmin
from apps.monitoring.models import Silence
from apps.providers.admin.base import TextColumns, cut, utc


class SilenceForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Silence
        fields = ("provider", "monitor", "starts_at", "ends_at", "is_maintenance", "reason")
        labels = {"monitor": "Check", "starts_at": "Starts at (UTC)", "ends_at": "Ends at (UTC)"}

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        starts, ends = given.get("starts_at"), given.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "It must end after it starts.")
        provider, monitor = given.get("provider"), given.get("monitor")
        if provider and monitor and monitor.provider_id != provider.pk:
            self.add_error("monitor", f"This check is of {monitor.provider}: choose one of {provider}, or no provider.")
        return given


@admin.register(Silence)
class SilenceAdmin(TextColumns, ModelAdmin):
    form = SilenceForm
    list_display = ("starts", "ends", "state_word", "kind_word", "of_what", "shown_reason", "author")
    list_display_links = ("starts",)
    list_filter = ("is_maintenance",)
    list_select_related = ("provider", "monitor__provider")
    list_fullwidth = True
    search_fields = ("reason", "author")
    warn_unsaved_form = True
    fieldsets = (
        (
            None,
            {
                "fields": ("provider", "monitor", "starts_at", "ends_at", "is_maintenance", "reason"),
                "description": "Checks go on, and what they find is kept: only nobody is told. To end a silence early, "
                "set its end to now.",
            },
        ),
    )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "starts_at": timezone.now().replace(second=0, microsecond=0),
            **super().get_changeform_initial_data(request),
        }

    def save_model(self, request: HttpRequest, obj: Silence, form: Any, change: bool) -> None:
        if not change:
            obj.author = request.user.get_username()
        super().save_model(request, obj, form, change)

    @display(description="starts (UTC)", ordering="starts_at")
    def starts(self, obj: Silence) -> str:
        return utc(obj.starts_at)[:16]

    @display(description="ends (UTC)", ordering="ends_at")
    def ends(self, obj: Silence) -> str:
        return utc(obj.ends_at)[:16]

    @display(description="state", label={"in force": "warning", "to come": "info"})
    def state_word(self, obj: Silence) -> str:
        now = timezone.now()
        if now < obj.starts_at:
            return "to come"
        return "in force" if now < obj.ends_at else "over"

    @display(description="kind", ordering="is_maintenance")
    def kind_word(self, obj: Silence) -> str:
        return "maintenance" if obj.is_maintenance else "silence"

    @display(description="of")
    def of_what(self, obj: Silence) -> SafeString:
        return cut(str(obj.monitor or obj.provider or "everything"), 50)

    @display(description="reason")
    def shown_reason(self, obj: Silence) -> SafeString:
        return cut(obj.reason, 60)

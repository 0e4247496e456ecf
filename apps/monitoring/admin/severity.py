"""The admin of severity rules: their order by dragging, their conditions by ticking, and which one decides a text."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from apps.history.pages import ModelAdmin
from apps.monitoring import http_statuses, rules
from apps.monitoring.admin.words import SEVERITY_COLOURS
from apps.monitoring.changes import Finding
from apps.monitoring.models import ChangeType, Kind, SeverityRule, State
from apps.providers.admin.base import TextColumns, cut, granted, page
from apps.providers.models import Provider

SOURCES = [*Kind.choices, ("traffic", "our own traffic"), ("self", "VoiceLens itself")]


def _ticks(choices: Any, text: str) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        choices=choices, required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget, help_text=text
    )


class SeverityRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    sources = _ticks(SOURCES, "What found it. None: whatever did.")
    change_types = _ticks(ChangeType.choices, "None: any type.")
    states = _ticks(State.choices, "The new state of a check. None: any, and what is no change of state.")

    class Meta:
        model = SeverityRule
        fields = ("sources", "change_types", "states", "statuses", "words")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("sources", "change_types", "states"):
            self._keep_unknown(name)

    def _keep_unknown(self, name: str) -> None:
        # A word of a later source must not be lost because it cannot be ticked here.
        field = self.fields.get(name)
        if isinstance(field, forms.MultipleChoiceField):
            choices: Any = field.choices
            known = {word for word, _ in choices}
            field.choices = [*choices, *((word, word) for word in getattr(self.instance, name) if word not in known)]

    def clean_statuses(self) -> str:
        text = str(self.cleaned_data["statuses"]).strip()
        try:
            http_statuses.parse(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return text

    def clean_words(self) -> list[str]:
        words = self.cleaned_data["words"]
        if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            raise ValidationError('A list of words is needed: ["webhook", "post_call"].')
        return words


class TrialForm(forms.Form):
    """A finding as a check would make it."""

    text = forms.CharField(
        label="Text", max_length=20_000, widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="What the provider wrote: a headline, changed lines.",
    )  # fmt: skip
    source = forms.ChoiceField(label="Found by", choices=SOURCES, initial=Kind.DOCS, widget=UnfoldAdminSelectWidget)
    change_type = forms.ChoiceField(
        label="As", choices=ChangeType.choices, initial=ChangeType.DOCUMENTATION, widget=UnfoldAdminSelectWidget
    )
    provider = forms.ModelChoiceField(
        Provider.objects.all(), label="Provider", required=False, to_field_name="slug", widget=UnfoldAdminSelectWidget
    )
    state = forms.ChoiceField(
        label="New state", choices=[("", "none"), *State.choices], required=False, widget=UnfoldAdminSelectWidget
    )
    status_code = forms.IntegerField(
        label="HTTP status", required=False, min_value=100, max_value=599, widget=UnfoldAdminTextInputWidget
    )
    changed_percent = forms.FloatField(
        label="Changed (percent of the page)", required=False, min_value=0, max_value=100,
        widget=UnfoldAdminTextInputWidget,
    )  # fmt: skip
    url = forms.CharField(label="Address", required=False, max_length=1000, widget=UnfoldAdminTextInputWidget)

    def judged(self) -> rules.Judged:
        said = dict(self.cleaned_data)
        provider, text = said.pop("provider"), said.pop("text")
        return rules.judge(Finding(key="", provider=provider.slug if provider else "", title=text, words=text, **said))


@admin.register(SeverityRule)
class SeverityRuleAdmin(TextColumns, ModelAdmin):
    form = SeverityRuleForm
    list_display = ("name", "severity_word", "conditions", "makes", "shown_enabled", "position")
    list_display_links = ("name",)
    list_fullwidth = True
    list_per_page = 200
    ordering_field = "position"
    hide_ordering_field = True
    list_select_related = ("provider",)
    search_fields = ("name",)
    actions = None
    actions_list = ("try_it",)
    filter_horizontal = ("channels",)
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": (("name", "enabled"), ("severity", "change_type"), "channels"),
                "description": "The rules are asked from the top; the first that fits decides. What none fits is low, "
                "if its finder says nothing else."}),
        ("It fits when", {"fields": ("words", "sources", "change_types", "states", "statuses", "url_pattern",
                                     "min_changed_percent", ("provider", "priority"))}),
        ("Order", {"fields": ("position",), "description": "Lower ones are asked first."}),
    )  # fmt: skip

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="severity", label=SEVERITY_COLOURS)
    def severity_word(self, obj: SeverityRule) -> str:
        return obj.severity

    @display(description="fits when")
    def conditions(self, obj: SeverityRule) -> SafeString:
        return cut(conditions(obj), 90)

    @display(description="makes it a")
    def makes(self, obj: SeverityRule) -> str:
        return obj.get_change_type_display() if obj.change_type else "-"

    @display(description="enabled", ordering="enabled", label={"on": "success", "off": "danger"})
    def shown_enabled(self, obj: SeverityRule) -> str:
        return "on" if obj.enabled else "off"

    # --- which rule decides -----------------------------------------------------------------------------

    has_try_permission = granted("monitoring.view_severityrule")

    @action(description="Try a text", url_path="try", icon="science", permissions=["try"])
    def try_it(self, request: HttpRequest) -> HttpResponse:
        """Which rule decides a text; nothing is stored."""
        form = TrialForm(request.POST if request.method == "POST" else None)
        judged = form.judged() if form.is_bound and form.is_valid() else None
        colour = SEVERITY_COLOURS[judged.severity] if judged else ""
        template = "admin/monitoring/severityrule/try.html"
        return page(self, request, None, template, title="Try a text", form=form, judged=judged, colour=colour)


def conditions(rule: SeverityRule) -> str:
    """What must be so, in words."""
    lists = (("words", rule.words), ("found by", rule.sources), ("type", rule.change_types), ("state", rule.states))
    told = [f"{name} {', '.join(map(str, values))}" for name, values in lists if values]
    plain = (
        (rule.statuses, f"status {rule.statuses}"),
        (rule.url_pattern, f"address {rule.url_pattern}"),
        (rule.min_changed_percent is not None, f"over {rule.min_changed_percent} % changed"),
        (rule.provider, f"provider {rule.provider}"),
        (rule.priority, f"priority {rule.priority}"),
    )
    return "; ".join([*told, *(text for given, text in plain if given)]) or "always"

"""The admin of alert channels, with a test button, and of the outbox: what was told, what waits, what was given up."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget

from apps.history.pages import ModelAdmin
from apps.history.record import record
from apps.monitoring import alerts, channels
from apps.monitoring.admin.words import SEVERITY_COLOURS
from apps.monitoring.messages import test_notice
from apps.monitoring.models import Alert, AlertChannel, ChangeType
from apps.monitoring.storable import storable
from apps.providers.admin.base import (
    LargeTableAdmin,
    TextColumns,
    confirmation,
    cut,
    found_or_404,
    granted,
    link,
    utc,
)
from apps.providers.models import Provider

MAY_CHANGE = "monitoring.change_alertchannel"
STATE_COLOURS = {"pending": "info", "sent": "success", "dead": "danger", "silenced": "warning"}


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """The channel, and its secret to be stored: written only, so it never comes back to a page."""

    new_secret = forms.CharField(
        label="Secret",
        required=False,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Slack: the webhook's address. E-mail: the password. Webhook: the signing key; empty makes one. "
        "Apprise: its URL. Stored encrypted and never shown again; empty keeps the one that is there.",
    )

    class Meta:
        model = AlertChannel
        fields = (
            "name", "kind", "enabled", "config", "min_severity", "providers", "change_types", "quiet_from",
            "quiet_until", "quiet_timezone", "quiet_below", "remind_every_min", "escalate_after_min",
        )  # fmt: skip
        help_texts = {
            "config": " ".join(f"{word}: {channels.KINDS[kind].help}" for kind, word in AlertChannel.Kind.choices)
        }

    def clean_providers(self) -> list[str]:
        return _listed(self.cleaned_data["providers"], set(Provider.objects.values_list("slug", flat=True)), "provider")

    def clean_change_types(self) -> list[str]:
        return _listed(self.cleaned_data["change_types"], set(ChangeType.values), "type of change")

    def clean_quiet_timezone(self) -> str:
        zone: str = self.cleaned_data["quiet_timezone"]
        if zone not in available_timezones():
            raise forms.ValidationError("No such time zone. Names are like Europe/Berlin or UTC.")
        return zone

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if (given.get("quiet_from") is None) != (given.get("quiet_until") is None):
            self.add_error("quiet_until", "Quiet hours need a start and an end.")
        kind = given.get("kind")
        if kind:
            self._check("config", lambda: channels.config_of(kind, given.get("config")))
            self._check("new_secret", lambda: channels.check_secret(kind, self._secret(kind, given)))
        return given

    def _check(self, field: str, check: Any) -> None:
        if field in self.cleaned_data:
            try:
                check()
            except ValueError as error:
                self.add_error(field, f"{error}. {channels.KINDS[self.cleaned_data['kind']].help}")

    def _secret(self, kind: str, given: dict[str, Any]) -> str:
        """What the channel will have: the new one, the one it has, or a signing key that is made for it."""
        kept = self.instance.secret() if self.instance.pk and kind == self.initial.get("kind") else ""
        made = channels.new_signing_key() if kind == AlertChannel.Kind.WEBHOOK else ""
        secret: str = given.get("new_secret") or kept or made
        self.secret, self.made = secret, secret if secret == made else ""
        return secret


def _listed(value: Any, known: set[str], what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise forms.ValidationError('A list of texts is needed, such as ["one", "two"].')
    unknown = sorted(set(value) - known)
    if unknown:
        raise forms.ValidationError(f"No {what} of that name: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    return value


@admin.register(AlertChannel)
class AlertChannelAdmin(TextColumns, ModelAdmin):
    form = ChannelForm
    list_display = ("name", "kind", "enabled", "severity_word", "only", "last_sent", "last_failure")
    list_display_links = ("name",)
    list_fullwidth = True
    actions = None
    actions_detail = ("test",)
    warn_unsaved_form = True
    readonly_fields = ("has_secret",)
    fieldsets = (
        (None, {"fields": (("name", "kind"), "enabled", "config", "new_secret", "has_secret")}),
        ("Of what", {"fields": ("min_severity", ("providers", "change_types"))}),
        (
            "When",
            {
                "fields": (("quiet_from", "quiet_until"), ("quiet_timezone", "quiet_below"),
                           ("remind_every_min", "escalate_after_min")),
                "description": "Quiet hours hold back what is less severe, and tell it all at their end.",
            },
        ),
    )  # fmt: skip

    @method_decorator(sensitive_post_parameters("new_secret"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: AlertChannel, form: Any, change: bool) -> None:
        if form.cleaned_data.get("new_secret") or form.made or "kind" in form.changed_data:
            obj.set_secret(form.secret)
        super().save_model(request, obj, form, change)
        if change and form.cleaned_data.get("new_secret"):
            record(obj, "given another secret")
        if form.made:
            messages.success(request, f"A signing key was made, and is shown only now: {form.made}")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """A channel's alerts go with it, although nobody deletes one by itself."""
        shown, counts, needed, protected = super().get_deleted_objects(objs, request)
        return shown, counts, needed - {str(Alert._meta.verbose_name)}, protected

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="stored secret")
    def has_secret(self, obj: AlertChannel) -> str:
        return "there is one" if obj.ciphertext else "none"

    @display(description="from severity", label=SEVERITY_COLOURS)
    def severity_word(self, obj: AlertChannel) -> str:
        return obj.min_severity

    @display(description="only")
    def only(self, obj: AlertChannel) -> str:
        after = [f"after {obj.escalate_after_min} min unacknowledged"] if obj.escalate_after_min is not None else []
        return ", ".join([*obj.providers, *obj.change_types, *after]) or "-"

    @display(description="last sent (UTC)", ordering="last_sent_at")
    def last_sent(self, obj: AlertChannel) -> str:
        return utc(obj.last_sent_at)[:16]

    @display(description="last failure (UTC)", ordering="last_failed_at")
    def last_failure(self, obj: AlertChannel) -> SafeString | str:
        return cut(f"{utc(obj.last_failed_at)[:16]} {obj.last_error}", 60) if obj.last_failed_at else "-"

    # --- the test button ---------------------------------------------------------------------------------

    has_try_it_permission = granted(MAY_CHANGE)

    @action(description="Send a test", url_path="test", icon="send", permissions=["try_it"])
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = found_or_404(self, request, object_id, MAY_CHANGE)
        if request.method != "POST":
            lines = [f"A message that says it is a test goes out by “{channel.name}”, at once and without the outbox."]
            return confirmation(self, request, channel, title="Send a test", lines=lines, button="Send it")
        try:
            channels.send(channel, test_notice(timezone.now()), timezone.now())
        except channels.SendError as error:
            told = storable(error.message, 300)
            AlertChannel.objects.filter(pk=channel.pk).update(last_error=told, last_failed_at=timezone.now())
            messages.error(request, f"It did not get through. {told}")
        else:
            AlertChannel.objects.filter(pk=channel.pk).update(last_sent_at=timezone.now())
            messages.success(request, "It was taken. Look whether it arrived.")
        record(channel, "tested")
        return HttpResponseRedirect(reverse("admin:monitoring_alertchannel_change", args=[channel.pk]))


@admin.register(Alert)
class AlertAdmin(LargeTableAdmin):
    list_display = ("created", "state_word", "severity_word", "what", "channel", "occasion", "due", "sent", "attempts")
    list_display_links = ("created",)
    list_filter = (("state", ChoicesDropdownFilter), ("channel", RelatedDropdownFilter))
    list_select_related = ("change", "channel")
    ordering = ("-id",)
    actions = ("send_again", "give_up")
    fieldsets = (
        (None, {"fields": ("what", "channel", "occasion", "state", "error")}),
        ("When (UTC)", {"fields": ("created", "due", "sent", "attempts")}),
        ("Told together", {"fields": ("together",)}),
    )
    readonly_fields = ("what", "created", "due", "sent", "together")

    @display(description="written (UTC)", ordering="id")
    def created(self, obj: Alert) -> str:
        return utc(obj.created_at)

    @display(description="state", label=STATE_COLOURS)
    def state_word(self, obj: Alert) -> str:
        return obj.state

    @display(description="severity", label=SEVERITY_COLOURS)
    def severity_word(self, obj: Alert) -> str:
        return obj.change.severity

    @display(description="what")
    def what(self, obj: Alert) -> SafeString:
        return link(reverse("admin:monitoring_change_change", args=[obj.change_id]), cut(obj.change.title, 60))

    @display(description="due (UTC)")
    def due(self, obj: Alert) -> str:
        return utc(obj.due_at)[:16]

    @display(description="sent (UTC)")
    def sent(self, obj: Alert) -> str:
        return utc(obj.sent_at)[:16]

    @display(description="changes in the same message")
    def together(self, obj: Alert) -> SafeString | str:
        rows = Alert.objects.filter(batch=obj.batch, channel=obj.channel_id).exclude(batch="").select_related("change")
        told = [(reverse("admin:monitoring_alert_change", args=[row.pk]), row.change.title) for row in rows[:20]]
        return format_html("{}", format_html_join("", '<a class="vl-link" href="{}">{}</a><br>', told)) if told else "-"

    # --- what people do ------------------------------------------------------------------------------------

    has_change_it_permission = granted("monitoring.change_alert")

    @action(description="Send again what was given up", permissions=["change_it"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        self._told(request, alerts.send_again(queryset, timezone.now()), "be sent again within seconds", "was given up")

    @action(description="Give up what still waits", permissions=["change_it"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        self._told(request, alerts.give_up(queryset), "not be sent", "still waits")

    def _told(self, request: HttpRequest, count: int, done: str, needed: str) -> None:
        if count:
            messages.success(request, f"{count} will {done}.")
        else:
            messages.warning(request, f"None of them {needed}.")

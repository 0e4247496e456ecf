"""The admin page of an endpoint: what to do at the provider, whether it is open, its ways of proof and their secrets.

What was delivered to it is added by ingest, which also registers the page.
"""

from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import StackedInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from apps.history.pages import ModelAdmin
from apps.providers import registry
from apps.providers.admin.base import TextColumns, confirmation, found_or_404, granted
from apps.providers.admin.state import COLOURS, endpoint_state, secrets_in_environment, unreadable
from apps.providers.admin.ways import (
    add_way,
    label_field,
    new_url_page,
    offered,
    older_end_field,
    only_url_tokens,
    store_secret,
    usual,
    ways_of,
)
from apps.providers.engine.signatures import NoneScheme, UrlTokenScheme, parse_scheme, sign
from apps.providers.models import AuthConfig, Endpoint, Secret

MAY_SWITCH = "providers.switch_endpoint"


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    """The endpoint, and a secret to be stored: written only, so it never comes back to a page."""

    new_secret = forms.CharField(
        label="Enter a secret",
        required=False,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again.",
    )
    secret_label = label_field()
    secret_for = forms.ChoiceField(
        label="Proves by", required=False, widget=UnfoldAdminSelectWidget, help_text="The auth config it belongs to."
    )
    older_end = older_end_field(
        "The secrets before it", "When rotating: let the old ones end once the provider signs with the new one."
    )
    new_way = forms.ChoiceField(
        label="Add a way",
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Saved with its scheme filled in, to be adapted below. A secret entered in the same step is its own.",
    )

    class Meta:
        model = Endpoint
        fields = ("provider", "slug", "account", "environment", "enabled", "allowed_addresses")
        help_texts = {"slug": "`default` answers at the provider's address itself, any other below it. Fixed for ever."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ways = list(self.instance.auth_configs.all()) if self.instance.pk else []
        choice: Any = self.fields["secret_for"]
        choice.choices = [(str(way.pk), way.name) for way in ways]
        self.ways = {str(way.pk): way for way in ways}
        self.offered = {option["name"]: option for option in offered(self.instance)} if self.instance.pk else {}
        new_way: Any = self.fields["new_way"]
        new_way.choices = [("", "no further way"), *((name, name) for name in self.offered)]

    def option(self) -> dict[str, Any] | None:
        """The way that is to be added."""
        return self.offered.get(self.cleaned_data.get("new_way") or "")

    def way(self) -> AuthConfig | None:
        """The auth config that a new secret belongs to; None for an endpoint that is being made."""
        return self.ways.get(self.cleaned_data.get("secret_for") or next(iter(self.ways), ""))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("new_secret"):
            problem = _unusable(self._scheme_of_secret(cleaned), cleaned["new_secret"])
            if problem:
                self.add_error("new_secret", problem)
        return cleaned

    def _scheme_of_secret(self, cleaned: dict[str, Any]) -> Any:
        option, way = self.option(), self.way()
        if option:
            return option["scheme"]
        return way.scheme if way else getattr(cleaned.get("provider"), "auth", None)


def _unusable(scheme: Any, value: str) -> str:
    """Why this secret cannot serve the scheme, without quoting it; empty when it can."""
    if not scheme:
        return "Add an auth config below and save it first: it says how the secret is used."
    try:
        parsed = parse_scheme(scheme)
        if isinstance(parsed, NoneScheme):
            return "The scheme none needs no secret."
        if isinstance(parsed, UrlTokenScheme):
            return "VoiceLens makes the tokens of URLs itself: leave this empty and use “New URL”."
        sign(parsed, value, b"", timezone.now(), id="check")
    except ValueError:
        return f"The scheme cannot use it: it is to be {_form_of(scheme)}."
    return ""


def _form_of(scheme: dict[str, Any]) -> str:
    forms_of_secrets = {"base64": "base64", "whsec": "base64, mostly after whsec_"}
    return forms_of_secrets.get(scheme.get("secret_encoding", ""), "text")


class AuthConfigInline(TextColumns, StackedInline):
    model = AuthConfig
    extra = 0
    fields = (("name", "enabled"), "scheme")
    verbose_name_plural = "auth configs: any of them is enough; deleting one deletes its secrets"


class EndpointAdmin(TextColumns, ModelAdmin):
    form = EndpointForm
    list_display = ("__str__", "environment_word", "account", "state", "secret_count", "url", "last_refused")
    list_filter = ("provider", "environment", "enabled")
    list_select_related = ("provider",)
    search_fields = ("slug", "account", "provider__name")
    actions = None
    actions_detail: tuple[str, ...] = ("switch_off", "switch_on")
    change_form_outer_before_template = "admin/providers/endpoint/card.html"
    warn_unsaved_form = True

    # --- the form -----------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Endpoint | None = None) -> Any:
        facts = (("provider", "slug"), ("account", "environment"), "enabled", "allowed_addresses")
        fieldsets: list[Any] = [(None, {"fields": facts})]
        if request.user.has_perm("providers.add_secret") and self.has_change_permission(request, obj):
            names: list[Any] = [("new_secret", "secret_label")]
            if obj is not None:
                several = obj.auth_configs.count() > 1
                names.append(("older_end", "secret_for") if several else "older_end")
            fieldsets.append(("Secret", {"fields": tuple(names)}))
        if obj is not None and self._may_add_ways(request, obj) and offered(obj):
            fieldsets.append(("Ways of proof", {"fields": ("new_way",)}))
        return fieldsets

    def _may_add_ways(self, request: HttpRequest, obj: Endpoint) -> bool:
        return request.user.has_perm("providers.add_authconfig") and self.has_change_permission(request, obj)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(partial(new_url_page, self))
        return [
            path("<path:object_id>/ways/<int:way_id>/new-url/", view, name="providers_endpoint_new_url"),
            *super().get_urls(),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[str, ...]:
        return ("provider", "slug") if obj else ()

    def response_post_save_add(self, request: HttpRequest, obj: Endpoint) -> HttpResponse:
        # Its page says what to paste at the provider.
        return HttpResponseRedirect(reverse("admin:providers_endpoint_change", args=[obj.pk]))

    def get_inlines(self, request: HttpRequest, obj: Endpoint | None) -> list[Any]:
        return [AuthConfigInline] if obj else []

    @method_decorator(sensitive_post_parameters("new_secret"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        registry.forget()
        return super().changelist_view(request, *args, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        endpoint: Endpoint = form.instance
        way = form.way()
        option = form.option() if change else usual(endpoint.provider)
        if option and (not change or self._may_add_ways(request, endpoint)):
            way = add_way(endpoint, option)
        value = form.cleaned_data.get("new_secret")
        if not value or not request.user.has_perm("providers.add_secret"):
            return
        if way is None or not AuthConfig.objects.filter(pk=way.pk).exists():
            messages.error(request, "The secret was not stored: its auth config was deleted with the same click.")
            return
        data = form.cleaned_data
        store_secret(way, value, label=data.get("secret_label", ""), older_end=data.get("older_end", ""))
        messages.success(request, "The secret was stored. It is not shown again.")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        endpoint = context.get("original")
        if endpoint is not None:
            registry.forget()
            secrets = Secret.objects.filter(auth_config__endpoint=endpoint).select_related("auth_config")
            context["endpoint"] = endpoint
            context["ways"] = ways_of(endpoint)
            context["only_url_tokens"] = only_url_tokens(context["ways"])
            context["offered"] = offered(endpoint) if self._may_add_ways(request, endpoint) else []
            context["may_add_secrets"] = request.user.has_perm("providers.add_secret")
            context["state"] = endpoint_state(endpoint, timezone.now())
            context["secrets"] = [(secret, _validity(secret)) for secret in secrets]
            context["secrets_in_environment"] = secrets_in_environment(endpoint)
            context["environment_name"] = f"WEBHOOK_SECRET_{endpoint.provider.slug.upper()}"
        return super().render_change_form(request, context, *args, **kwargs)

    # --- on and off -----------------------------------------------------------------------------------------

    has_switch_permission = granted(MAY_SWITCH)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        endpoint = self.get_object(request, str(object_id))
        unfit = "switch-on" if endpoint is not None and endpoint.enabled else "switch-off"
        return [one for one in super().get_actions_detail(request, object_id) if one.path != unfit]

    @action(description="Switch off", url_path="switch-off", icon="power_settings_new", permissions=["switch"])
    def switch_off(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(request, object_id, False, "Switch off", "Every delivery to it is answered 404 and lost.")

    @action(description="Switch on", url_path="switch-on", icon="power_settings_new", permissions=["switch"])
    def switch_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(request, object_id, True, "Switch on", "Deliveries with a valid proof are taken again.")

    def _switch(self, request: HttpRequest, object_id: str, enabled: bool, word: str, what: str) -> HttpResponse:
        endpoint: Endpoint = found_or_404(self, request, object_id, MAY_SWITCH)
        if request.method != "POST":
            return confirmation(self, request, endpoint, title=f"{word} {endpoint}", lines=[what], button=word)
        endpoint.enabled = enabled
        endpoint.save(update_fields=["enabled"])
        messages.success(request, f"{endpoint} is switched {'on' if enabled else 'off'}.")
        return HttpResponseRedirect(reverse("admin:providers_endpoint_change", args=[endpoint.pk]))

    # --- columns --------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        rows = super().get_queryset(request).select_related("provider")
        return rows.annotate(secret_total=Count("auth_configs__secrets"))

    @display(description="environment", ordering="environment", label={"live": "success", "test": "info"})
    def environment_word(self, obj: Endpoint) -> str:
        return obj.environment

    @display(description="state", label=COLOURS)
    def state(self, obj: Endpoint) -> str:
        return endpoint_state(obj, timezone.now()).word

    @display(description="secrets")
    def secret_count(self, obj: Any) -> str:
        more = secrets_in_environment(obj)
        return f"{obj.secret_total} + {more} from the environment" if more else str(obj.secret_total)

    @display(description="URL to paste")
    def url(self, obj: Endpoint) -> str:
        return obj.url

    @display(description="last refused (UTC)", ordering="last_refused_at")
    def last_refused(self, obj: Endpoint) -> str:
        if obj.last_refused_at is None:
            return "never"
        reason, _, _ = obj.last_refused_reason.partition(":")
        return f"{obj.last_refused_at:%Y-%m-%d %H:%M:%S}  {reason}"


def _validity(secret: Secret) -> tuple[str, str]:
    """(word, colour) for a secret's validity."""
    if unreadable(secret):
        return "key is missing", "danger"
    if secret.valid_until is None:
        return "valid", "success"
    return ("ending", "warning") if secret.valid_until > timezone.now() else ("ended", "danger")

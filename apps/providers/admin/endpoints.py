"""The admin page of an endpoint: what to do at the provider, whether it is open, its ways of proof and their secrets.

What was delivered to it is added by ingest, which also registers the page.
"""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin, StackedInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.providers import registry
from apps.providers.admin.base import TextColumns
from apps.providers.admin.state import endpoint_state, secrets_in_environment, unreadable
from apps.providers.engine.signatures import NoneScheme, parse_scheme, sign
from apps.providers.models import AuthConfig, Endpoint, Secret

# When the secrets before a new one end: seconds from now.
OLDER_END = (
    ("", "stay valid"),
    ("3600", "end in an hour"),
    ("86400", "end in a day"),
    ("604800", "end in a week"),
    ("0", "end now"),
)


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    """The endpoint, and a secret to be stored: written only, so it never comes back to a page."""

    new_secret = forms.CharField(
        label="Enter a secret",
        required=False,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again.",
    )
    secret_label = forms.CharField(
        label="Its label",
        required=False,
        max_length=50,
        widget=UnfoldAdminTextInputWidget,
        help_text="For people: “since March”, “agent 7”.",
    )
    secret_for = forms.ChoiceField(
        label="Proves by", required=False, widget=UnfoldAdminSelectWidget, help_text="The auth config it belongs to."
    )
    older_end = forms.ChoiceField(
        label="The secrets before it",
        required=False,
        choices=OLDER_END,
        widget=UnfoldAdminSelectWidget,
        help_text="When rotating: let the old ones end once the provider signs with the new one.",
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

    def way(self) -> AuthConfig | None:
        """The auth config that a new secret belongs to; None for an endpoint that is being made."""
        return self.ways.get(self.cleaned_data.get("secret_for") or next(iter(self.ways), ""))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("new_secret"):
            way = self.way()
            scheme = way.scheme if way else getattr(cleaned.get("provider"), "auth", None)
            problem = _unusable(scheme, cleaned["new_secret"])
            if problem:
                self.add_error("new_secret", problem)
        return cleaned


def _unusable(scheme: Any, value: str) -> str:
    """Why this secret cannot serve the scheme, without quoting it; empty when it can."""
    if not scheme:
        return "Add an auth config below and save it first: it says how the secret is used."
    try:
        parsed = parse_scheme(scheme)
        if isinstance(parsed, NoneScheme):
            return "The scheme `none` needs no secret."
        sign(parsed, value, b"", timezone.now(), id="check")
    except ValueError:
        return f"The scheme cannot use it: it is to be {_form_of(scheme)}."
    return ""


def _form_of(scheme: dict[str, Any]) -> str:
    forms_of_secrets = {"base64": "base64", "whsec": "base64, mostly after `whsec_`"}
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
        return fieldsets

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
        if not change:
            way = AuthConfig.objects.create(endpoint=endpoint, scheme=endpoint.provider.auth)
        value = form.cleaned_data.get("new_secret")
        if not value or not request.user.has_perm("providers.add_secret"):
            return
        if way is None or not AuthConfig.objects.filter(pk=way.pk).exists():
            messages.error(request, "The secret was not stored: its auth config was deleted with the same click.")
            return
        _store_secret(way, value, form.cleaned_data)
        messages.success(request, "The secret was stored. It is not shown again.")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        endpoint = context.get("original")
        if endpoint is not None:
            registry.forget()
            secrets = Secret.objects.filter(auth_config__endpoint=endpoint).select_related("auth_config")
            context["endpoint"] = endpoint
            context["state"] = endpoint_state(endpoint, timezone.now())
            context["secrets"] = [(secret, _validity(secret)) for secret in secrets]
            context["secrets_in_environment"] = secrets_in_environment(endpoint)
            context["environment_name"] = f"WEBHOOK_SECRET_{endpoint.provider.slug.upper()}"
            context["may_change_secrets"] = request.user.has_perm("providers.change_secret")
            context["may_delete_secrets"] = request.user.has_perm("providers.delete_secret")
        return super().render_change_form(request, context, *args, **kwargs)

    # --- columns --------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        rows = super().get_queryset(request).select_related("provider")
        return rows.annotate(secret_total=Count("auth_configs__secrets"))

    @display(description="environment", ordering="environment", label={"live": "success", "test": "info"})
    def environment_word(self, obj: Endpoint) -> str:
        return obj.environment

    @display(description="state", label={"open": "success", "closed": "danger", "open, but look": "warning"})
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


def _store_secret(way: AuthConfig, value: str, data: dict[str, Any]) -> None:
    if data.get("older_end"):
        end = timezone.now() + timedelta(seconds=int(data["older_end"]))
        # No signal from update(): the new secret's own save raises the stamp in the same transaction.
        way.secrets.filter(Q(valid_until=None) | Q(valid_until__gt=end)).update(valid_until=end)
    secret = Secret(auth_config=way, label=data.get("secret_label", ""))
    secret.set_value(value)
    secret.save()

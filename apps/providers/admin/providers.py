"""The admin page of a provider: its facts, its mapping, its endpoints."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from apps.history.pages import ModelAdmin
from apps.history.record import record
from apps.providers import catalog, publishing, registry
from apps.providers.admin.base import TextColumns, confirmation, found_or_404, granted, link
from apps.providers.admin.files import download, import_page
from apps.providers.admin.state import endpoint_state
from apps.providers.engine.spec import MappingSpec
from apps.providers.models import AuthConfig, MappingVersion, Provider

# What the catalogue says nothing about.
OURS = {"enabled", "monitored", "priority", "allowed_addresses", "rate_per_min", "rate_burst"}


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Provider
        fields = ("auth", "setup", "source_addresses", "pages", "sources")
        help_texts = {
            "auth": 'How it proves itself: {"kind": "token", "header": "X-Token"}, or {"kind": "hmac", "header": '
            '"X-Signature", "signed": "{body}"} and more: docs/authenticity.md. Each new endpoint starts with it.',
            "setup": 'What to do at the provider, shown with each endpoint: {"secret": "where it is found", "events": '
            '["to tick"], "steps": ["in words"]}.',
            "source_addresses": 'Addresses it says it sends from, for endpoints to allow: ["203.0.113.0/24"].',
            "pages": 'Pages worth watching: [{"kind": "status", "url": "https://…"}].',
            "sources": 'Where the facts were read: ["https://…"].',
        }


@admin.register(Provider)
class ProviderAdmin(TextColumns, ModelAdmin):
    form = ProviderForm
    list_display = ("name", "slug", "shown_enabled", "mapping", "endpoint_count", "calls_today", "origin")
    list_filter = ("enabled",)
    search_fields = ("name", "slug", "company")
    actions = None
    actions_list = ("import_file",)
    actions_detail = ("new_draft", "export", "follow_catalogue")
    change_form_outer_before_template = "admin/providers/provider/overview.html"
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": (("name", "slug"), "enabled", ("company", "website"), ("docs_url", "api_base_url"))}),
        (
            "Webhooks",
            {
                "fields": ("auth", "auth_options", "setup", "source_addresses", "body_limit_bytes"),
                "description": "The auth scheme is copied into each new endpoint, an option into one that chooses it; "
                "existing endpoints keep theirs.",
            },
        ),
        ("Limits", {"fields": (("rate_per_min", "rate_burst"), "allowed_addresses")}),
        ("Monitoring", {"fields": (("monitored", "priority"), "pages")}),
        ("Notes", {"fields": ("sources", "notes", "gaps", "stricter")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        published = MappingVersion.objects.filter(state=MappingVersion.State.PUBLISHED)
        return (
            super().get_queryset(request).prefetch_related("endpoints", Prefetch("versions", published, to_attr="live"))
        )

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        hidden = () if request.user.has_perm("ingest.view_message") else ("calls_today",)
        return tuple(name for name in self.list_display if name not in hidden)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"auth": {"kind": "hmac", "header": "X-Signature"}, **super().get_changeform_initial_data(request)}

    def response_post_save_add(self, request: HttpRequest, obj: Provider) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[obj.pk]))

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        # Switching a provider off does not make its facts our own.
        if not change or set(form.changed_data) - OURS:
            obj.edited_at = timezone.now()
        super().save_model(request, obj, form, change)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        # That its versions may not be deleted either is beside the point: a provider in use stays, whoever asks.
        return deleted, counts, set() if protected else lacking, protected

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        provider = context.get("original")
        if provider is not None:
            registry.forget()
            drafts = provider.versions.filter(state=MappingVersion.State.DRAFT)
            context["overview"] = {
                "published": next(iter(provider.live), None),
                "drafts": drafts.select_related("provider"),
                "endpoints": [(row, endpoint_state(row, timezone.now())) for row in _endpoints(provider)],
                "calls": _calls_url(provider),
                "prices": provider.prices.exists(),
                "steps": _steps(provider),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="enabled", ordering="enabled", label={"on": "success", "off": "danger"})
    def shown_enabled(self, obj: Provider) -> str:
        return "on" if obj.enabled else "off"

    @display(description="published mapping")
    def mapping(self, obj: Any) -> SafeString | str:
        if not obj.live:
            return "none"
        version = obj.live[0]
        return link(reverse("admin:providers_mappingversion_change", args=[version.pk]), f"v{version.number}")

    @display(description="endpoints")
    def endpoint_count(self, obj: Provider) -> SafeString:
        count = len(obj.endpoints.all())
        url = f"{reverse('admin:providers_endpoint_changelist')}?provider__id__exact={obj.pk}"
        return link(url, f"{count} endpoint{'' if count == 1 else 's'}")

    @display(description="calls today (UTC)")
    def calls_today(self, obj: Provider) -> SafeString:
        return link(_calls_url(obj), "calls today")

    @display(description="facts", label={"edited here": "warning", "catalogue": "info"})
    def origin(self, obj: Provider) -> str:
        return "edited here" if obj.edited_at else "catalogue"

    # --- actions ----------------------------------------------------------------------------------------

    has_draft_permission = granted("providers.add_mappingversion")
    has_follow_permission = granted("providers.change_provider")
    has_import_permission = granted("providers.add_provider")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        found = super().get_actions_detail(request, object_id)
        provider = self.get_object(request, str(object_id))
        if provider is None or provider.edited_at is None or provider.slug not in catalog.slugs():
            found = [one for one in found if one.path != "follow-catalogue"]
        return found

    @action(
        description="New mapping draft", url_path="new-draft", icon="edit_note",
        permissions=["draft"],
    )  # fmt: skip
    def new_draft(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A draft with the content of the published version, or an empty one where there is none."""
        provider = found_or_404(self, request, object_id, "providers.add_mappingversion")
        current = provider.published
        if request.method != "POST":
            start = f"It starts as a copy of {current}." if current else "It starts empty: add events and rules."
            lines = [f"A new mapping draft of {provider}. {start} Nothing runs on it until it is published."]
            return confirmation(
                self, request, provider, title="New mapping draft", lines=lines, button="Make the draft"
            )
        if current is not None:
            draft = publishing.draft_of(current, author=request.user)
        else:
            draft = publishing.create_version(
                provider, MappingSpec(), origin=MappingVersion.Origin.ADMIN, author=request.user, reason="first mapping"
            )
        return HttpResponseRedirect(reverse("admin:providers_mappingversion_change", args=[draft.pk]))

    @action(
        description="Follow the catalogue again", url_path="follow-catalogue", icon="sync",
        permissions=["follow"],
    )  # fmt: skip
    def follow_catalogue(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give up the edits of the facts: the next sync writes the catalogue's."""
        provider = found_or_404(self, request, object_id, "providers.change_provider")
        if request.method != "POST":
            lines = [
                "This provider's facts were edited here, so an update of the catalogue leaves them alone.",
                "Following it again, the edits are written over at the next start, or by `manage.py sync_catalog`.",
                "Endpoints, secrets and mapping versions are not touched.",
            ]
            return confirmation(
                self, request, provider, title="Follow the catalogue again", lines=lines, button="Follow it"
            )
        provider.edited_at = None
        provider.save(update_fields=["edited_at", "last_updated"])
        record(provider, "follows the catalogue again")
        messages.success(request, f"{provider} follows the catalogue again from the next sync on.")
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[provider.pk]))

    @action(description="Import", url_path="import", icon="upload", permissions=["import"])
    def import_file(self, request: HttpRequest) -> HttpResponse:
        return import_page(self, request)

    @action(description="Export", url_path="export", icon="download", permissions=["view"])
    def export(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The published mapping and the facts as a catalogue file."""
        provider = found_or_404(self, request, object_id, "providers.view_provider")
        back = reverse("admin:providers_provider_change", args=[provider.pk])
        if provider.published is None:
            messages.error(request, "No mapping is published: export one of its versions from that version's page.")
            return HttpResponseRedirect(back)
        return download(request, provider.published, back)


def _endpoints(provider: Provider) -> Any:
    return provider.endpoints.select_related("provider")


def _steps(provider: Provider) -> list[tuple[bool, str, str]]:
    """(done, what, where) of all that a provider needs before it takes calls; nothing once a mapping is in force."""
    if provider.published is not None:
        return []
    endpoint, draft = provider.endpoints.first(), provider.versions.first()
    version = "admin:providers_mappingversion"
    endpoint_url = (
        reverse("admin:providers_endpoint_change", args=[endpoint.pk])
        if endpoint
        else f"{reverse('admin:providers_endpoint_add')}?provider={provider.pk}"
    )
    steps = [
        (endpoint is not None, "Add an endpoint", endpoint_url),
        (_has_secret(provider), "Enter its secret", endpoint_url),
    ]
    if draft is None:
        new = reverse("admin:providers_provider_new_draft", args=[provider.pk])
        return [*steps, (False, "Make a mapping draft", new)]
    written = draft.webhook_schemas.exists()
    return [
        *steps,
        (written, f"Write events and rules into {draft}", reverse(f"{version}_change", args=[draft.pk])),
        (False, "Try it on a payload", reverse(f"{version}_try_it", args=[draft.pk])),
        (False, "Publish it", reverse(f"{version}_publish", args=[draft.pk])),
    ]


def _has_secret(provider: Provider) -> bool:
    ways = AuthConfig.objects.filter(endpoint__provider=provider)
    open_to_all = any(way.scheme.get("kind") == "none" for way in ways)
    return open_to_all or ways.filter(secrets__isnull=False).exists() or provider.slug in settings.WEBHOOK_SECRETS


def _calls_url(provider: Provider) -> str:
    today = timezone.now().date().isoformat()
    return f"{reverse('admin:ingest_message_changelist')}?provider={provider.slug}&start_time_from={today}"

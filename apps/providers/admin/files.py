"""The admin pages that take a provider in as its catalogue file and give it out as one."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from apps.history.record import record
from apps.providers import importing
from apps.providers.admin.base import page
from apps.providers.admin.difference import shown_fields, shown_parts
from apps.providers.catalog import CatalogError
from apps.providers.exporting import export
from apps.providers.models import MappingVersion

MAX_FILE_BYTES = 1024 * 1024


def download(request: HttpRequest, version: MappingVersion, otherwise: str) -> HttpResponse:
    """The version's provider as a file to keep; where that cannot be written, the reason, on the page `otherwise`."""
    try:
        text = export(version)
    except CatalogError as error:
        messages.error(request, f"Not exported: {error}")
        return HttpResponseRedirect(otherwise)
    answer = HttpResponse(text, content_type="application/toml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{version.provider.slug}.toml"'
    return answer


def import_page(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Takes a text, says what it would change, and does so when that was confirmed."""
    context: dict[str, Any] = {"text": ""}
    if request.method == "POST":
        try:
            context["text"] = _given(request)
            plan = importing.plan(context["text"])
        except CatalogError as error:
            context["problem"] = str(error)
        else:
            if request.POST.get("confirmed"):
                return _import(admin, request, plan)
            context |= _shown(plan)
    return page(admin, request, None, "admin/providers/provider/import.html", title="Import a provider", **context)


def _given(request: HttpRequest) -> str:
    """The text of the uploaded file, else the pasted one. Raises CatalogError."""
    uploaded = request.FILES.get("file")
    if uploaded is None:
        text = request.POST.get("text", "").replace("\r\n", "\n")
        if not text.strip():
            raise CatalogError("there is nothing to import: choose a file or paste its text")
        return text
    if (uploaded.size or 0) > MAX_FILE_BYTES:
        raise CatalogError(f"{uploaded.name}: larger than {MAX_FILE_BYTES:,} bytes, so no catalogue file")
    try:
        return uploaded.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CatalogError(f"{uploaded.name}: is not UTF-8, which TOML is written in") from error


def _shown(plan: importing.Plan) -> dict[str, Any]:
    return {
        "plan": plan,
        "facts": shown_fields(plan.facts),
        "difference": shown_parts(plan.parts),
        "current": plan.provider.published if plan.provider else None,
    }


def _import(admin: ModelAdmin, request: HttpRequest, plan: importing.Plan) -> HttpResponse:
    needed = ["add_mappingversion", "change_provider" if plan.provider else "add_provider"]
    if not request.user.has_perms([f"providers.{right}" for right in needed]):
        raise PermissionDenied
    provider, version = importing.carry_out(plan, author=request.user)
    record(provider, "imported from a file")
    if version is None:
        messages.success(request, f"{provider} was imported; its mapping is in force already.")
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[provider.pk]))
    messages.success(request, f"{provider} was imported; {version} is a draft: try it, then publish it.")
    return HttpResponseRedirect(reverse("admin:providers_mappingversion_change", args=[version.pk]))

"""Stored secrets: their label and how long they are valid.

A secret itself is entered with its endpoint and never shown.
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.history.pages import ModelAdmin
from apps.providers.models import Secret


@admin.register(Secret)
class SecretAdmin(ModelAdmin):
    """Reached from the endpoint's page only."""

    fields = ("auth_config", "label", "valid_until", "created_at", "last_used_at", "key_id")
    readonly_fields = ("auth_config", "created_at", "last_used_at", "key_id")
    list_display = ("__str__", "auth_config", "created_at", "valid_until", "last_used_at", "key_id")
    list_select_related = ("auth_config__endpoint__provider",)
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Secret) -> None:
        # The row knows its endpoint no more once it is gone.
        request.endpoint_id = obj.auth_config.endpoint_id  # type: ignore[attr-defined]
        super().delete_model(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        super().response_delete(request, obj_display, obj_id)
        return _to_endpoint(request.endpoint_id)  # type: ignore[attr-defined]

    def response_post_save_change(self, request: HttpRequest, obj: Secret) -> HttpResponse:
        return _to_endpoint(obj.auth_config.endpoint_id)


def _to_endpoint(endpoint_id: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:providers_endpoint_change", args=[endpoint_id]))

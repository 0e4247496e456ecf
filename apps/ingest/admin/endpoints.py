"""The registry's endpoint page, with what was delivered to the endpoint and what it refused."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from apps.ingest.models import InboundEvent, Refusal
from apps.providers.admin.endpoints import EndpointAdmin
from apps.providers.models import Endpoint


@admin.register(Endpoint)
class EndpointWithTrafficAdmin(EndpointAdmin):
    def has_delete_permission(self, request: HttpRequest, obj: Endpoint | None = None) -> bool:
        # Its deliveries are kept (PROTECT); listing millions of them to say so helps nobody.
        used = obj is not None and InboundEvent.objects.filter(endpoint=obj).exists()
        return not used and super().has_delete_permission(request, obj)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        endpoint = context.get("original")
        if endpoint is not None:
            context["traffic"] = _traffic(endpoint)
        return super().render_change_form(request, context, *args, **kwargs)


def _traffic(endpoint: Endpoint) -> dict[str, Any]:
    since = timezone.now() - timedelta(hours=24)
    deliveries = InboundEvent.objects.filter(endpoint=endpoint).only("received_at", "event")
    refused = Refusal.objects.filter(endpoint=endpoint, last_at__gte=since).values("reason")
    return {
        "last_accepted": deliveries.order_by("-received_at").first(),
        "refused": refused.annotate(total=Sum("count")).order_by("-total", "reason"),
        "deliveries": f"{reverse('admin:ingest_inboundevent_changelist')}?endpoint__id__exact={endpoint.pk}",
    }

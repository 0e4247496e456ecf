"""The registry's endpoint page, with what was delivered to the endpoint, what it refused, and what of that is kept."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action

from apps.ingest import refused
from apps.ingest.admin.refused import MAY_RECHECK, WHAT_A_RECHECK_DOES, recheck_and_tell
from apps.ingest.models import InboundEvent, Refusal, RefusedDelivery
from apps.providers.admin.base import confirmation, found_or_404, granted
from apps.providers.admin.endpoints import EndpointAdmin
from apps.providers.models import Endpoint


@admin.register(Endpoint)
class EndpointWithTrafficAdmin(EndpointAdmin):
    actions_detail = (*EndpointAdmin.actions_detail, "recheck")

    def has_delete_permission(self, request: HttpRequest, obj: Endpoint | None = None) -> bool:
        # Its deliveries are kept (PROTECT); listing millions of them to say so helps nobody.
        used = obj is not None and InboundEvent.objects.filter(endpoint=obj).exists()
        return not used and super().has_delete_permission(request, obj)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        endpoint = context.get("original")
        if endpoint is not None:
            context["traffic"] = _traffic(endpoint)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if form.cleaned_data.get("new_secret"):
            _offer_recheck(request, form.instance)

    # --- the recheck ----------------------------------------------------------------------------------------

    has_recheck_permission = granted(MAY_RECHECK)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        found = super().get_actions_detail(request, object_id)
        endpoint = self.get_object(request, str(object_id))
        return [one for one in found if one.path != "recheck" or (endpoint is not None and _count(endpoint))]

    @action(description="Recheck what was refused", url_path="recheck", icon="replay", permissions=["recheck"])
    def recheck(self, request: HttpRequest, object_id: str) -> HttpResponse:
        endpoint = found_or_404(self, request, object_id, MAY_RECHECK)
        if request.method != "POST":
            lines = [f"Refused deliveries that are kept: {_count(endpoint)}.", WHAT_A_RECHECK_DOES]
            title = "Recheck what was refused"
            return confirmation(self, request, endpoint, title=title, lines=lines, button="Recheck all")
        recheck_and_tell(request, RefusedDelivery.objects.filter(endpoint=endpoint))
        return HttpResponseRedirect(reverse("admin:providers_endpoint_change", args=[endpoint.pk]))


def _offer_recheck(request: HttpRequest, endpoint: Endpoint) -> None:
    count = _count(endpoint)
    if count and request.user.has_perm(MAY_RECHECK):
        text = 'Refused deliveries that wait: {}. <a class="vl-link" href="{}">Recheck them with the new secret</a>'
        url = reverse("admin:providers_endpoint_recheck", args=[endpoint.pk])
        messages.warning(request, format_html(text, count, url))


def _count(endpoint: Endpoint) -> int:
    return refused.waiting(timezone.now()).filter(endpoint=endpoint).count()


def _traffic(endpoint: Endpoint) -> dict[str, Any]:
    since = timezone.now() - timedelta(hours=24)
    deliveries = InboundEvent.objects.filter(endpoint=endpoint).only("received_at", "event")
    refusals = Refusal.objects.filter(endpoint=endpoint, last_at__gte=since).values("reason")
    return {
        "last_accepted": deliveries.order_by("-received_at").first(),
        "refused": refusals.annotate(total=Sum("count")).order_by("-total", "reason"),
        "deliveries": f"{reverse('admin:ingest_inboundevent_changelist')}?endpoint__id__exact={endpoint.pk}",
        "kept": _count(endpoint),
        "kept_list": f"{reverse('admin:ingest_refuseddelivery_changelist')}?endpoint__id__exact={endpoint.pk}",
    }

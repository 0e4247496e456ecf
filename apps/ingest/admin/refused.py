"""The admin of refused deliveries that are kept: what the door saw of them, never what is in them, and the recheck."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display

from apps.ingest import operations, refused
from apps.ingest.models import RefusedDelivery
from apps.providers import vault
from apps.providers.admin.base import LargeTableAdmin, confirmation, found_or_404, granted, utc

MAY_RECHECK = "ingest.change_refuseddelivery"


@admin.register(RefusedDelivery)
class RefusedDeliveryAdmin(LargeTableAdmin):
    list_display = ("received", "endpoint", "reason_word", "size", "address", "expires")
    list_display_links = ("received",)
    list_filter = ("endpoint", "reason")
    list_select_related = ("endpoint__provider",)
    actions = ("recheck_selected",)
    actions_detail = ("recheck",)
    change_form_template = "admin/ingest/refuseddelivery/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefusedDelivery]:
        # Those at their end wait for the next prune only, and are not checked again.
        rows = super().get_queryset(request) & refused.waiting(timezone.now())
        return rows.select_related("endpoint__provider").defer("ciphertext")

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="received (UTC)", ordering="received_at")
    def received(self, obj: RefusedDelivery) -> str:
        return utc(obj.received_at)

    @display(description="reason", ordering="reason", label=True)
    def reason_word(self, obj: RefusedDelivery) -> str:
        return obj.reason

    @display(description="size", ordering="size_bytes")
    def size(self, obj: RefusedDelivery) -> str:
        return filesizeformat(obj.size_bytes)

    @display(description="expires at (UTC)", ordering="received_at")
    def expires(self, obj: RefusedDelivery) -> str:
        return utc(refused.expires_at(obj))

    # --- one of them --------------------------------------------------------------------------------------

    has_delete_permission = granted("ingest.delete_refuseddelivery")
    has_recheck_permission = granted(MAY_RECHECK)

    def get_fieldsets(self, request: HttpRequest, obj: RefusedDelivery | None = None) -> Any:
        return ()

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        row: RefusedDelivery = context["original"]
        context |= {"refused": row, "facts": _facts(row), "header_names": _header_names(row)}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- the recheck ----------------------------------------------------------------------------------------

    @admin.action(description="Recheck selected deliveries", permissions=["recheck"])
    def recheck_selected(self, request: HttpRequest, queryset: QuerySet[RefusedDelivery]) -> None:
        recheck_and_tell(request, queryset)

    @action(description="Recheck", url_path="recheck", icon="replay", permissions=["recheck"])
    def recheck(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = found_or_404(self, request, object_id, MAY_RECHECK)
        if request.method != "POST":
            return confirmation(
                self, request, row, title="Recheck this delivery", lines=[WHAT_A_RECHECK_DOES], button="Recheck"
            )
        recheck_and_tell(request, RefusedDelivery.objects.filter(pk=row.pk))
        return HttpResponseRedirect(reverse("admin:ingest_refuseddelivery_changelist"))


WHAT_A_RECHECK_DOES = (
    "Its proof is checked again with the secrets that are stored now, as of the time when it came. "
    "What passes becomes a delivery; the rest stays as it is."
)


def recheck_and_tell(request: HttpRequest, rows: QuerySet[RefusedDelivery]) -> str:
    """Check them again and say on the next page what became of them; returns that text."""
    report = operations.recheck(rows, timezone.now())
    text = f"Rechecked: {', '.join(report.lines())}."
    (messages.warning if report.refused else messages.success)(request, text)
    return text


def _facts(row: RefusedDelivery) -> list[tuple[str, str]]:
    return [
        ("Received", f"{utc(row.received_at)} UTC"),
        ("Expires", f"{utc(refused.expires_at(row))} UTC"),
        ("Sent from", row.address or "not known"),
        ("Size", f"{row.size_bytes:,} bytes, encrypted"),
        ("SHA-256 of the body", row.body_sha256),
        ("Key id", row.key_id),
        ("Trace id", row.trace_id),
    ]


def _header_names(row: RefusedDelivery) -> list[str]:
    """Which headers came with it: enough to see whether it was signed, without a value of them."""
    try:
        return sorted(refused.unsealed(row).headers)
    except vault.MissingKey as error:
        return [str(error)]

"""The admin of the inbox: what came, what became of it, and replaying it."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from apps.ingest import operations
from apps.ingest.admin.evidence import Told, told_by
from apps.ingest.admin.filters import EventFilter
from apps.ingest.admin.ledger import ledger_page
from apps.ingest.admin.upgrades import shown_upgrades
from apps.ingest.models import InboundEvent, Message
from apps.providers.admin.base import (
    LargeTableAdmin,
    ProviderFilter,
    UtcDayFilter,
    confirmation,
    cut,
    found_or_404,
    granted,
    is_list,
    pretty_json,
    utc,
)
from apps.providers.models import MappingVersion

State = InboundEvent.State
MAX_BODY_SHOWN = 256 * 1024
LARGE = ("body", "headers", "fragment", "report")
COLOURS = {
    State.RECEIVED: "info",
    State.WAITING: "warning",
    State.PROCESSED: "success",
    State.STORED: "",
    State.IGNORED: "",
    State.FAILED: "danger",
    State.ERASED: "",
}
MAY_REPLAY = "ingest.change_inboundevent"


@admin.register(InboundEvent)
class InboundEventAdmin(LargeTableAdmin):
    list_display = ("received", "state_word", "provider", "event_name", "call", "problem", "environment_word")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ProviderFilter,
        ("environment", ChoicesDropdownFilter),
        EventFilter,
        ("received_at", UtcDayFilter),
        "endpoint",
    )
    search_fields = ("call_id",)
    search_help_text = "A whole call id, delivery id or trace id."
    actions = ("replay_selected",)
    actions_list = ("ledger",)
    actions_detail = ("replay",)
    change_form_template = "admin/ingest/inboundevent/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundEvent]:
        rows = super().get_queryset(request)
        if is_list(request):
            return rows.defer(*LARGE)
        return rows.select_related("endpoint__provider", "mapping_version__provider")

    def get_list_filter(self, request: HttpRequest) -> Any:
        # The endpoint is chosen from its own page; as a filter it would only repeat the provider.
        asked = "endpoint__id__exact" in request.GET
        return self.list_filter if asked else self.list_filter[:-1]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        return (queryset.filter(_search(term)) if term else queryset), False

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="received (UTC)", ordering="id")
    def received(self, obj: InboundEvent) -> str:
        return utc(obj.received_at)

    @display(description="event")
    def event_name(self, obj: InboundEvent) -> SafeString:
        return cut(obj.event or "-", 24)

    @display(description="call id")
    def call(self, obj: InboundEvent) -> SafeString:
        return cut(obj.call_id or "-", 34)

    @display(description="environment", ordering="environment")
    def environment_word(self, obj: InboundEvent) -> str:
        return obj.environment

    @display(description="state", ordering="state", label=dict(COLOURS))
    def state_word(self, obj: InboundEvent) -> str:
        return obj.state

    @display(description="error")
    def problem(self, obj: InboundEvent) -> SafeString | str:
        if obj.state == State.WAITING:
            return cut(_why_it_waits(obj), 44)
        return cut(f"{obj.error_code}: {obj.error_detail}", 44) if obj.error_code else "-"

    # --- one delivery -------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: InboundEvent | None = None) -> Any:
        return ()

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        event: InboundEvent = context["original"]
        context |= {
            "event": event,
            "colour": COLOURS.get(State(event.state), ""),
            "facts": _facts(event),
            "headers": sorted(event.headers.items()),
            "body": body_text(event),
            **_report(event),
            "ready_made": event.mapping_version is not None and event.mapping_version.format == "vcp",
            "told": _told(event),
            "trials": _trials(event) if request.user.has_perm("providers.view_mappingversion") else [],
            "fragment": pretty_json(event.fragment) if event.fragment else "",
            "message": Message.objects.filter(call_key=event.call_key_id).only("id").first()
            if event.call_key_id
            else None,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- actions --------------------------------------------------------------------------------------------

    @action(description="Ledger", url_path="ledger", icon="balance", permissions=["view"])
    def ledger(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return ledger_page(self, request)

    has_replay_permission = granted(MAY_REPLAY)

    @admin.action(description="Replay selected deliveries", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[InboundEvent]) -> HttpResponse | None:
        if request.POST.get("select_across") == "1" and "confirmed" not in request.POST:
            return self._ask_for_all(request, queryset)
        erased = queryset.filter(state=State.ERASED).count()
        count = operations.replay(queryset.order_by())
        left = f" {erased} are erased and stay so." if erased else ""
        messages.success(request, f"{count} deliveries are worked off again with today's mapping.{left}")
        return None

    def _ask_for_all(self, request: HttpRequest, queryset: QuerySet[InboundEvent]) -> HttpResponse:
        """All that the list shows, on every page of it, may be very many."""
        rows = operations.replayable(queryset)
        states = sorted(rows.values_list("state").annotate(Count("pk")))
        lines = [
            f"{sum(count for _, count in states)} deliveries match, on all pages of the list.",
            *(f"{state}: {count}" for state, count in states),
            "They are worked off again with the mapping that is published now, and their calls are folded anew.",
        ]
        posted = {"action": "replay_selected", "select_across": "1", "confirmed": "yes",
                  ACTION_CHECKBOX_NAME: request.POST.get(ACTION_CHECKBOX_NAME, "")}  # fmt: skip
        return confirmation(self, request, None, title="Replay all that match", lines=lines, button="Replay all",
                            posted=posted, back=request.get_full_path())  # fmt: skip

    @action(description="Replay", url_path="replay", icon="replay", permissions=["replay"])
    def replay(self, request: HttpRequest, object_id: str) -> HttpResponse:
        event = found_or_404(self, request, object_id, MAY_REPLAY)
        back = HttpResponseRedirect(reverse("admin:ingest_inboundevent_change", args=[event.pk]))
        if request.method != "POST":
            lines = ["It is worked off again with the mapping that is published now; its call is folded anew."]
            if event.body_emptied_at:
                lines.append("Its body was emptied by retention, so its stored fragment counts as it is.")
            return confirmation(self, request, event, title="Replay this delivery", lines=lines, button="Replay")
        if operations.replay(InboundEvent.objects.filter(pk=event.pk)):
            messages.success(request, "The delivery is worked off again.")
        else:
            messages.warning(request, "Its call was erased: there is nothing to replay.")
        return back


def _why_it_waits(event: InboundEvent) -> str:
    return f"for {timesince(event.received_at, depth=1)}: nothing has opened its call yet"


def _search(term: str) -> Q:
    condition = Q(call_id=term)
    plain = term.replace("-", "").lower()
    if len(plain) == 32 and all(digit in "0123456789abcdef" for digit in plain):
        condition |= Q(delivery_id=plain) | Q(trace_id=plain)
    return condition


def body_text(event: InboundEvent) -> str:
    """The body for reading: JSON indented, anything else as text, what is no text by its escapes; cut when long."""
    raw = bytes(event.body)
    try:
        text = pretty_json(json.loads(raw)) if len(raw) <= MAX_BODY_SHOWN else ""
    except (ValueError, RecursionError):
        text = ""
    text = text or raw[:MAX_BODY_SHOWN].decode("utf-8", "backslashreplace")
    return text[: 2 * MAX_BODY_SHOWN].replace("\x00", "\\x00")


def _facts(event: InboundEvent) -> list[tuple[str, str]]:
    return [
        ("Received", f"{utc(event.received_at)} UTC"),
        ("Worked off", f"{utc(event.processed_at)} UTC" if event.processed_at else "not yet"),
        *([("Waits", _why_it_waits(event))] if event.state == State.WAITING else []),
        ("Event", f"{event.event or '-'}" + (f" (our word: {event.kind})" if event.kind else "")),
        ("Provider's clock", event.occurred_at or "not told"),
        ("Call id", event.call_id or "-"),
        ("Account, environment", f"{event.account}, {event.environment}"),
        ("Delivery id", str(event.delivery_id)),
        ("Delivery key", event.delivery_key),
        ("Trace id", event.trace_id),
        ("Attempts", str(event.attempts)),
        ("Body", f"{event.body_size:,} bytes, {event.content_type or 'no content type'}"),
        ("SHA-256 as received", event.body_sha256),
    ]


def _trials(event: InboundEvent) -> list[MappingVersion]:
    """The versions worth trying on it: drafts, and the one in force."""
    if event.body_emptied_at or event.state == State.ERASED:
        return []
    return list(event.endpoint.provider.versions.exclude(state=MappingVersion.State.RETIRED).select_related("provider"))


def _report(event: InboundEvent) -> dict[str, Any]:
    """The report, with upgrades as a table of their own."""
    told = event.report or {}
    rest = {name: items for name, items in told.items() if name != "migrations"}
    upgrades = shown_upgrades(told.get("migrations", ()))
    return {"report": pretty_json(rest) if rest else "", "upgrades": upgrades}


def _told(event: InboundEvent) -> list[Told]:
    return told_by([event]) if event.fragment else []

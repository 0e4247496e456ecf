"""The admin of messages: reading one with its evidence, correcting it, deleting it, erasing its call."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from apps.ingest import operations
from apps.ingest.admin.corrections import CorrectionForm
from apps.ingest.admin.evidence import told_by
from apps.ingest.admin.filters import DirectionFilter, MessageProviderFilter, MissingFilter
from apps.ingest.admin.transcript import Turn, turns
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message
from apps.ingest.selectors import in_order
from apps.providers.admin.base import (
    LargeTableAdmin,
    UtcDayFilter,
    confirmation,
    cut,
    found_or_404,
    granted,
    is_list,
    pretty_json,
    utc,
)

MAY_CORRECT = "ingest.change_message"
MAY_ERASE = "ingest.delete_callkey"
STATUS_COLOURS = {
    "success": "success",
    "partial": "warning",
    "timeout": "warning",
    "failure": "danger",
    "error": "danger",
    "unknown": "",
}
STAGE_COLOURS = {"in_progress": "info", "ended": "", "analysed": "success"}
# An operator reads a call's events on one page; a call with more of them has a link to the rest.
MAX_EVENTS_SHOWN = 100


@admin.register(Message)
class MessageAdmin(LargeTableAdmin):
    list_display = (
        "started", "provider", "call", "status_word", "stage_word", "duration", "cost", "satisfaction",
        "environment_word", "account",
    )  # fmt: skip
    list_display_links = ("started", "call")
    list_filter = (
        MessageProviderFilter,
        ("environment", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
        ("stage", ChoicesDropdownFilter),
        MissingFilter,
        DirectionFilter,
        ("start_time", UtcDayFilter),
    )
    search_fields = ("call_id",)
    search_help_text = "A call id, or its beginning."
    actions_detail = ("correct", "withdraw", "erase")
    change_form_template = "admin/ingest/message/change_form.html"
    delete_confirmation_template = "admin/ingest/message/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/ingest/message/delete_selected_confirmation.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        rows = super().get_queryset(request)
        return rows.defer("vcp") if is_list(request) else rows.select_related("mapping_version__provider")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        # The whole id first: it has an index on both databases, its beginning has not.
        exact = queryset.filter(call_id=term)
        return (exact if exact.exists() else queryset.filter(call_id__startswith=term)), False

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="started (UTC)", ordering="start_time")
    def started(self, obj: Message) -> str:
        return utc(obj.start_time)

    @display(description="call id", ordering="call_id")
    def call(self, obj: Message) -> SafeString:
        return cut(obj.call_id, 34)

    @display(description="environment", ordering="environment")
    def environment_word(self, obj: Message) -> str:
        return obj.environment

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def status_word(self, obj: Message) -> str:
        return obj.status

    @display(description="stage", ordering="stage", label=STAGE_COLOURS)
    def stage_word(self, obj: Message) -> tuple[str, str]:
        return obj.stage, obj.get_stage_display()

    @display(description="duration", ordering="duration_sec")
    def duration(self, obj: Message) -> str:
        return duration_text(obj.duration_sec)

    @display(description="cost (USD)", ordering="cost_usd")
    def cost(self, obj: Message) -> str:
        return "-" if obj.cost_usd is None else f"{obj.cost_usd:.4f}"

    @display(description="satisfaction", ordering="user_satisfaction_score")
    def satisfaction(self, obj: Message) -> str:
        return "-" if obj.user_satisfaction_score is None else f"{obj.user_satisfaction_score:.2f}"

    # --- one message --------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Message | None = None) -> Any:
        return ()

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        message: Message = context["original"]
        payload = message.vcp["vcp_payload"]
        events = list(
            InboundEvent.objects.filter(call_key=message.call_key_id).defer("body", "headers")[:MAX_EVENTS_SHOWN]
        )
        corrected = {item["path"]: item for item in message.corrections}
        context |= {
            "message": message,
            "hcr": payload["hcr"],
            "status_colour": STATUS_COLOURS.get(message.status, ""),
            "facts": _facts(message),
            "told": [(told, corrected.get(told.target)) for told in told_by(events)],
            "events": [*in_order(events), *(event for event in events if not event.fragment)],
            "all_events": f"{reverse('admin:ingest_inboundevent_changelist')}?{urlencode({'q': message.call_id})}",
            "turns": _turns(message),
            "recording": _recording(message),
            "corrections": [(item, pretty_json(item["value"])) for item in message.corrections],
            "vcp": pretty_json(message.vcp),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        message = self.get_object(request, str(object_id))
        found = super().get_actions_detail(request, object_id)
        corrected = message is not None and bool(message.corrections)
        return [one for one in found if one.path != "withdraw" or corrected]

    # --- correcting -----------------------------------------------------------------------------------------

    has_correct_permission = granted(MAY_CORRECT)

    @action(description="Correct", url_path="correct", icon="edit", variant="primary", permissions=["correct"])
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        message = found_or_404(self, request, object_id, MAY_CORRECT)
        form = CorrectionForm(message, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._corrected(request, message, form):
            return self._to(message)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": message,
            "title": f"Correct {message}",
            "form": form,
        }
        return TemplateResponse(request, "admin/ingest/message/correct.html", context)

    def _corrected(self, request: HttpRequest, message: Message, form: CorrectionForm) -> bool:
        values = form.corrections()
        if not values:
            messages.info(request, "Nothing was changed.")
            return True
        try:
            operations.correct(message, values, request.user.get_username())
        except operations.InvalidCorrectionError as error:
            form.tell(error.errors)
            return False
        messages.success(request, "Corrected. Later events and replays leave it so; the daily numbers moved along.")
        return True

    @action(
        description="Withdraw corrections", url_path="withdraw", icon="undo", permissions=["correct"]
    )  # fmt: skip
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        message = found_or_404(self, request, object_id, MAY_CORRECT)
        if request.method != "POST":
            paths = ", ".join(item["path"] for item in message.corrections) or "none"
            lines = [f"Back to what the events say. Corrected so far: {paths}."]
            return confirmation(
                self, request, message, title="Withdraw corrections", lines=lines, button="Withdraw all"
            )
        try:
            operations.withdraw_corrections(message)
        except operations.InvalidCorrectionError as error:
            messages.error(request, f"Nothing was changed: {error}")
        else:
            messages.success(request, "The message says again what its events say.")
        return self._to(message)

    # --- deleting and erasing -------------------------------------------------------------------------------

    has_delete_permission = granted("ingest.delete_message")
    has_erase_permission = granted(MAY_ERASE)

    def delete_model(self, request: HttpRequest, obj: Message) -> None:
        operations.withhold(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        for message in queryset.iterator():
            operations.withhold(message)

    @action(
        description="Erase this call", url_path="erase", icon="delete_forever", variant="danger",
        permissions=["erase"],
    )  # fmt: skip
    def erase(self, request: HttpRequest, object_id: str) -> HttpResponse:
        message = found_or_404(self, request, object_id, MAY_ERASE)
        if request.method != "POST":
            return confirmation(
                self, request, message, title="Erase this call", lines=ERASING, button="Erase for ever", danger=True
            )
        erase(request, message.call_key)
        return HttpResponseRedirect(reverse("admin:ingest_message_changelist"))

    def _to(self, message: Message) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:ingest_message_change", args=[message.pk]))


ERASING = (
    "Message, transcript, recording, fragments and raw bodies of this call are removed, and the daily numbers lose it.",
    "What still arrives of the call is acknowledged and dropped.",
    "This cannot be undone. To be able to bring the message back, delete it instead.",
)


def erase(request: HttpRequest, key: CallKey) -> None:
    operations.erase_call(key, timezone.now())
    messages.success(request, "The call was erased.")


def duration_text(seconds: int | None) -> str:
    """`4 min 07 s`; a dash where the provider told none."""
    if seconds is None:
        return "-"
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"


def _facts(message: Message) -> list[tuple[str, str]]:
    call = message.vcp["vcp_payload"]["call"]
    cost, score = message.cost_usd, message.user_satisfaction_score
    return [
        ("Start", f"{utc(message.start_time)} UTC"),
        ("End", f"{utc(message.end_time)} UTC" if message.end_time else "not told"),
        ("Duration", "not told" if message.duration_sec is None else duration_text(message.duration_sec)),
        ("Cost", "not told" if cost is None else f"{cost.normalize():f} USD"),
        ("Satisfaction", "not told" if score is None else f"{score:.2f} of 1"),
        ("Direction, channel", f"{message.direction or 'not told'}, {message.channel or 'not told'}"),
        ("From, to", f"{call.get('from') or 'not told'}, {call.get('to') or 'not told'}"),
        ("Provider, account", f"{message.provider}, {message.account}"),
        ("Environment", message.environment),
        ("Last written", f"{utc(message.updated_at)} UTC"),
    ]


def _recording(message: Message) -> Artifact | None:
    """The recording that was delivered with the call, where the message refers to it."""
    reference = message.vcp["vcp_payload"].get("artifacts", {}).get("audio_recording_ref") or ""
    kept = Artifact.objects.filter(call_key=message.call_key_id).exclude(file=None).select_related("file")
    return next((artifact for artifact in kept[:10] if artifact.ref == reference), None)


def _turns(message: Message) -> list[Turn]:
    """The transcript that the message refers to."""
    reference = message.vcp["vcp_payload"].get("artifacts", {}).get("transcript_ref") or ""
    kept = Artifact.objects.filter(call_key=message.call_key_id, kind="transcript").order_by("-created_at")
    found = next((artifact for artifact in kept[:10] if artifact.ref == reference), None)
    return [] if found is None else turns(found.content)

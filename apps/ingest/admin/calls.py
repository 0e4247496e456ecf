"""The admin of calls: where a deleted message is brought back, and a call without a message can be erased."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from apps.ingest import operations
from apps.ingest.admin.filters import DeletedFilter
from apps.ingest.admin.messages import ERASING, MAY_CORRECT, MAY_ERASE, erase
from apps.ingest.models import CallKey, Message
from apps.providers.admin.base import LargeTableAdmin, ProviderFilter, confirmation, cut, found_or_404, granted, utc


@admin.register(CallKey)
class CallKeyAdmin(LargeTableAdmin):
    list_display = ("call", "provider", "account", "environment_word", "first_seen", "message_word", "deleted")
    list_filter = (DeletedFilter, ProviderFilter, ("environment", ChoicesDropdownFilter))
    search_fields = ("call_id",)
    search_help_text = "A whole call id, or another id that the call is known by."
    list_select_related = ("message",)
    actions = ("restore_selected",)
    actions_detail = ("restore", "erase")
    change_form_template = "admin/ingest/callkey/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CallKey]:
        # Another name of a call has no page of its own.
        return super().get_queryset(request).filter(alias_of=None).defer("message__vcp")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        other_names = CallKey.objects.filter(call_id=term, alias_of__isnull=False).values("alias_of")
        return queryset.filter(Q(call_id=term) | Q(pk__in=other_names)), False

    @display(description="call id", ordering="call_id")
    def call(self, obj: CallKey) -> SafeString:
        return cut(obj.call_id, 60)

    @display(description="environment", ordering="environment")
    def environment_word(self, obj: CallKey) -> str:
        return obj.environment

    @display(description="first seen (UTC)", ordering="id")
    def first_seen(self, obj: CallKey) -> str:
        return utc(obj.created_at)

    @display(description="message", label={"kept": "success", "deleted": "danger", "waiting": "warning"})
    def message_word(self, obj: CallKey) -> str:
        if obj.withheld_at is not None:
            return "deleted"
        return "kept" if hasattr(obj, "message") else "waiting"

    @display(description="deleted (UTC)", ordering="withheld_at")
    def deleted(self, obj: CallKey) -> str:
        return utc(obj.withheld_at)

    def get_fieldsets(self, request: HttpRequest, obj: CallKey | None = None) -> Any:
        return ()

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        key: CallKey = context["original"]
        context |= {
            "key": key,
            "word": self.message_word(key),
            "message": getattr(key, "message", None),
            "other_names": key.aliases.values_list("call_id", flat=True),
            "events": key.events.defer("body", "headers", "fragment", "report")[:100],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        key = self.get_object(request, str(object_id))
        found = super().get_actions_detail(request, object_id)
        return [one for one in found if one.path != "restore" or (key is not None and key.withheld_at)]

    has_restore_permission = granted(MAY_CORRECT)
    has_erase_permission = granted(MAY_ERASE)

    @admin.action(description="Restore the messages of selected calls", permissions=["restore"])
    def restore_selected(self, request: HttpRequest, queryset: QuerySet[CallKey]) -> None:
        for key in queryset.filter(withheld_at__isnull=False):
            self._restore(request, key)

    @action(description="Restore its message", url_path="restore", icon="restore_from_trash", permissions=["restore"])
    def restore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = found_or_404(self, request, object_id, MAY_CORRECT)
        if request.method != "POST":
            lines = ["The message is folded again from its stored events. Corrections it had are not brought back."]
            return confirmation(self, request, key, title="Restore the message", lines=lines, button="Restore")
        if key.withheld_at is not None:
            self._restore(request, key)
        return HttpResponseRedirect(reverse("admin:ingest_callkey_change", args=[key.pk]))

    def _restore(self, request: HttpRequest, key: CallKey) -> None:
        operations.restore(key)
        if Message.objects.filter(call_key=key).exists():
            messages.success(request, f"The message of {key} is back.")
        else:
            messages.warning(request, f"{key} is no longer held back, but its events make no message yet.")

    @action(
        description="Erase this call", url_path="erase", icon="delete_forever", variant="danger",
        permissions=["erase"],
    )  # fmt: skip
    def erase(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = found_or_404(self, request, object_id, MAY_ERASE)
        if request.method != "POST":
            return confirmation(
                self, request, key, title="Erase this call", lines=ERASING, button="Erase for ever", danger=True
            )
        erase(request, key)
        return HttpResponseRedirect(reverse("admin:ingest_callkey_changelist"))

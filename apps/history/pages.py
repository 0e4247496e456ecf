"""The base of all our admin pages: unfold's, with our history in place of Django's own log of the admin.

Django's log knows no commands, no values, and ends with its author.
"""

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold import admin as unfold

from apps.history.record import history_of

PER_PAGE = 50


class ModelAdmin(unfold.ModelAdmin):
    """For watched models, and for those whose actions record what they do."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Recorded already, by whoever wrote the row."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Recorded already."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Recorded already."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": f"History: {row}",
            "opts": self.opts,
            "object": row,
            "page": Paginator(history_of(row), PER_PAGE).get_page(request.GET.get("p")),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/history.html", context)

"""Filters of the traffic lists. Their choices come from small tables or an index, never from reading the large one."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from apps.ingest.models import Message
from apps.providers.admin.base import ProviderFilter
from apps.providers.models import MappingVersion, WebhookSchema


class MessageProviderFilter(ProviderFilter):
    """Also the providers that only ready-made messages name."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = dict(super().lookups(request, model_admin))
        return [(slug, names.get(slug, slug)) for slug in _providers_of_messages()]


def _providers_of_messages() -> list[str]:
    """Hops along the index on provider: as many steps as there are providers, however many messages."""
    table = Message._meta.db_table
    sql = (
        f"WITH RECURSIVE hop(slug) AS (SELECT MIN(provider) FROM {table} UNION ALL "  # noqa: S608 - our own name
        f"SELECT (SELECT MIN(provider) FROM {table} WHERE provider > slug) FROM hop WHERE slug IS NOT NULL) "
        "SELECT slug FROM hop WHERE slug IS NOT NULL"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


class EventFilter(DropdownFilter):
    """Events of the published event tables; `transfer_*` finds all that begin so."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        published = WebhookSchema.objects.filter(version__state=MappingVersion.State.PUBLISHED)
        return [(event, event) for event in published.order_by("event").values_list("event", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        event = self.value()
        if not event:
            return queryset
        beginning, star, _ = event.partition("*")
        return queryset.filter(Q(event__startswith=beginning) if star else Q(event=event))


class MissingFilter(DropdownFilter):
    """Calls that have waited long enough. How long a provider is waited for is a traffic condition's matter."""

    title = "missing"
    parameter_name = "missing"
    WAITED = {"in_progress": timedelta(hours=2), "ended": timedelta(hours=1)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in_progress", "without an end for 2 h"), ("ended", "without analysis for 1 h")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        waited = self.WAITED.get(self.value() or "")
        return queryset.filter(stage=self.value(), start_time__lte=timezone.now() - waited) if waited else queryset


class DirectionFilter(DropdownFilter):
    title = "direction"
    parameter_name = "direction"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("inbound", "inbound"), ("outbound", "outbound"), ("none", "not told")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        direction = self.value()
        if direction == "none":
            return queryset.filter(direction=None)
        return queryset.filter(direction=direction) if direction else queryset


class DeletedFilter(DropdownFilter):
    title = "deleted"
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "its message was deleted"), ("no", "not deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(withheld_at__isnull=self.value() == "no")
        return queryset

"""The rows that tests of the admin look at, and addresses of theirs."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.urls import reverse

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import Message
from apps.providers.models import Endpoint, MappingVersion, Price, Provider
from tests.browser import page
from tests.calls import CALL_ID

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label_lower)


def message() -> Message:
    return Message.objects.get(call_id=CALL_ID)


def version(number: int = 1) -> MappingVersion:
    return MappingVersion.objects.get(provider__slug="retell", number=number)


def new_price(**fields: Any) -> Price:
    row = Price(
        **{"provider": Provider.objects.get(slug="retell"), "model": "m-1", "rate": "text_in", "usd": Decimal(4),
           "valid_from": date(2026, 1, 1), **fields}
    )  # fmt: skip
    row.save()
    return row


def retell() -> Provider:
    return Provider.objects.get(slug="retell")


def default_endpoint() -> Endpoint:
    return Endpoint.objects.get(provider__slug="retell", slug="default")


def endpoint_url() -> str:
    return page(Endpoint, "change", default_endpoint().pk)


def numbers() -> DailyProviderStats:
    return DailyProviderStats.objects.get(provider="retell", date=message().start_time.date())


def every_page() -> Iterator[str]:
    yield reverse("admin:index")
    for model in MODELS:
        yield page(model, "changelist")
        for row in model._default_manager.all():
            yield from (page(model, kind, row.pk) for kind in ("change", "history"))

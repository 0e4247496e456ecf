"""The admin pages of prices: what each model costs on which days, and the form that lets new prices begin.

How one price ends where the next begins is pricing.py's.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from apps.history.pages import ModelAdmin
from apps.providers import pricing
from apps.providers.admin.base import TextColumns, found_or_404, granted
from apps.providers.models import Price

MAY_CHANGE = "providers.change_price"
BOX = "usd_"


def dollars(usd: Decimal) -> str:
    """A price with two decimals, and more only where they are not zero."""
    whole, _, decimals = f"{usd.normalize():f}".partition(".")
    return f"{whole}.{decimals:0<2}"


class DollarsField(forms.DecimalField):
    """A price without the zeros that the database keeps behind it."""

    def prepare_value(self, value: Any) -> Any:
        return dollars(value) if isinstance(value, Decimal) else value


class InForceFilter(DropdownFilter):
    title = "days"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("today", "in force today"), ("ended", "ended"), ("coming", "still to come")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        day = _today()
        ended = Q(valid_until__lte=day)
        chosen = {"today": Q(valid_from__lte=day) & ~ended, "ended": ended, "coming": Q(valid_from__gt=day)}
        return queryset.filter(chosen[self.value()]) if self.value() in chosen else queryset


class ModelFilter(DropdownFilter):
    """Of the provider that is chosen, else of all."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        provider = request.GET.get("provider__id__exact", "")
        rows = Price.objects.filter(provider=int(provider)) if provider.isdecimal() else Price.objects.all()
        return [(name, name) for name in rows.order_by("model").values_list("model", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class NewPricesForm(forms.Form):
    """All rates of one model with their newest prices; only those that are changed get a new one."""

    valid_from = forms.DateField(
        label="From (UTC)",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="The first day with the new prices.",
    )
    source = forms.CharField(
        label="Source",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="Where it was read.",
    )
    note = forms.CharField(label="Note", required=False, max_length=200, widget=UnfoldAdminTextInputWidget)

    def __init__(self, newest: Mapping[str, Price], data: Any = None) -> None:
        super().__init__(data, initial={"valid_from": _today()})
        for rate, row in newest.items():
            self.fields[BOX + rate] = DollarsField(
                label=rate,
                initial=row.usd,
                min_value=0,
                max_digits=14,
                decimal_places=8,
                widget=UnfoldAdminDecimalFieldWidget,
                help_text=f"USD per {row.get_per_display()}; {dollars(row.usd)} since {row.valid_from}",
            )

    def changed_usd(self) -> dict[str, Decimal]:
        """USD by rate of every price that was changed."""
        return {name.removeprefix(BOX): self.cleaned_data[name] for name in self.changed_data if name.startswith(BOX)}


@admin.register(Price)
class PriceAdmin(TextColumns, ModelAdmin):
    list_display = ("model", "rate", "price", "since", "until", "state", "origin_word", "provider")
    list_display_links = ("model", "rate")
    list_filter = ("provider", ModelFilter, InForceFilter, ("origin", ChoicesDropdownFilter))
    list_select_related = ("provider",)
    list_fullwidth = True
    search_fields = ("model", "rate", "note")
    date_hierarchy = "valid_from"
    actions = None
    actions_detail = ("new_prices",)
    warn_unsaved_form = True
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("provider", "model"),
                    ("rate", "per"),
                    "usd",
                    ("valid_from", "valid_until"),
                    "source",
                    "note",
                ),
                "description": "Calls that start on these days are estimated with it. A message that is folded already "
                "keeps its figure until it is replayed.",
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Price | None = None) -> tuple[str, ...]:
        return ("provider", "model", "rate") if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "usd":
            kwargs["form_class"] = DollarsField
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Price, form: Any, change: bool) -> None:
        if form.changed_data:
            obj.origin = Price.Origin.ADMIN
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        # The catalogue would bring it back. One that was edited here may go: then the catalogue's returns.
        from_catalogue = obj is not None and obj.origin == Price.Origin.CATALOGUE
        return not from_catalogue and super().has_delete_permission(request, obj)

    # --- columns ----------------------------------------------------------------------------------------

    @display(description="price (USD)", ordering="usd")
    def price(self, obj: Price) -> str:
        return f"{dollars(obj.usd)} per {'1M tokens' if obj.per == Price.Per.MILLION else 'minute'}"

    @display(description="valid from", ordering="valid_from")
    def since(self, obj: Price) -> str:
        return obj.valid_from.isoformat()

    @display(description="valid until", ordering="valid_until")
    def until(self, obj: Price) -> str:
        return "further notice" if obj.valid_until is None else obj.valid_until.isoformat()

    @display(description="today", label={"in force": "success", "to come": "info"})
    def state(self, obj: Price) -> str:
        if obj.dated().covers(_today()):
            return "in force"
        return "to come" if obj.valid_from > _today() else "ended"

    @display(description="told by", ordering="origin", label={"edited here": "warning", "catalogue": "info"})
    def origin_word(self, obj: Price) -> str:
        return obj.get_origin_display().lower()

    # --- new prices from a date ---------------------------------------------------------------------------

    has_new_permission = granted(MAY_CHANGE)

    @action(
        description="New prices from a date", url_path="new-prices", icon="event_upcoming",
        permissions=["new"],
    )  # fmt: skip
    def new_prices(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """All rates of this price's model in one form; what is changed begins on a day, and the former ends there."""
        price = found_or_404(self, request, object_id, MAY_CHANGE)
        form = NewPricesForm(
            pricing.newest(price.provider, price.model), request.POST if request.method == "POST" else None
        )
        if request.method == "POST" and form.is_valid() and self._changed(request, price, form):
            query = urlencode({"provider__id__exact": price.provider_id, "model": price.model})
            return HttpResponseRedirect(f"{reverse('admin:providers_price_changelist')}?{query}")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": price,
            "title": f"New prices of {price.model}",
            "form": form,
        }
        return TemplateResponse(request, "admin/providers/price/new_prices.html", context)

    def _changed(self, request: HttpRequest, price: Price, form: NewPricesForm) -> bool:
        given, usd = form.cleaned_data, form.changed_usd()
        if not usd:
            form.add_error(None, "No price was changed.")
            return False
        try:
            new = pricing.change(
                price.provider, price.model, usd, given["valid_from"], source=given["source"], note=given["note"]
            )
        except ValidationError as error:
            form.add_error(None, error)
            return False
        rates = ", ".join(row.rate for row in new)
        messages.success(
            request,
            f"From {given['valid_from']} on, new: {rates}. Messages that are folded already keep their figures until "
            "they are replayed.",
        )
        return True


def _today() -> date:
    return timezone.now().date()

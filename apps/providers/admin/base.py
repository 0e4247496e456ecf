"""What all admin pages share: JSON as people edit it, lists that never count a whole table, days, confirmations.

Which model is shown how is said in the apps' own admin modules.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib.admin import ShowFacets
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.utils import parse_date_str
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.history.pages import ModelAdmin
from apps.providers.models import Provider
from apps.providers.templatetags.wording import code_words

LINE_LENGTH = 80


def pretty_json(value: Any) -> str:
    """JSON as people read it: what fits on a line stands on one, the rest is indented, letters are as they are."""
    return _sendable(_laid_out(value, 0))


def _laid_out(value: Any, indent: int) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or indent + len(text) <= LINE_LENGTH:
        return text
    inner = indent + 2
    if isinstance(value, dict):
        names = [json.dumps(str(name), ensure_ascii=False) for name in value]
        lines = [f"{name}: {_laid_out(item, inner)}" for name, item in zip(names, value.values(), strict=True)]
        start, end = "{}"
    else:
        lines = [_laid_out(item, inner) for item in value]
        start, end = "[]"
    margin = "\n" + " " * inner
    return f"{start}{margin}{(',' + margin).join(lines)}\n{' ' * indent}{end}"


def one_line(value: Any) -> str:
    return _sendable(json.dumps(value, ensure_ascii=False))


def _sendable(text: str) -> str:
    # Half a surrogate pair is legal in JSON and cannot be sent in a page.
    return text.encode("utf-8", "backslashreplace").decode()


def code_box() -> UnfoldAdminTextareaWidget:
    """A monospaced box that grows with its text."""
    return UnfoldAdminTextareaWidget({"rows": 1, "class": "vl-code", "spellcheck": "false", "autocomplete": "off"})


class JSONText(forms.JSONField):
    """JSON in a monospaced box, refused where a database could not keep it (NaN, NUL, half a surrogate pair).

    `empty` gives the value of an empty box.
    """

    def __init__(self, *, empty: Callable[[], Any] = lambda: None, **kwargs: Any) -> None:
        super().__init__(**{"widget": code_box(), **kwargs})
        self.empty = empty

    def bound_data(self, data: Any, initial: Any) -> Any:
        # What was typed comes back as it was typed.
        return initial if self.disabled else InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> str:
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None else pretty_json(value)

    def to_python(self, value: Any) -> Any:
        try:
            parsed = self._parsed(value)
            text = json.dumps(parsed, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (ValueError, RecursionError) as error:
            raise ValidationError("This cannot be stored: a number or a character is out of range.") from error
        if "\\u0000" in text:
            raise ValidationError("This cannot be stored: it holds a NUL character.")
        return parsed

    def _parsed(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except ValidationError as error:
            raise ValidationError(f"Enter valid JSON: {_broken(value)}.", code="invalid") from error

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        return self.empty() if cleaned is None else cleaned


def _broken(text: str) -> str:
    """Where a text stops being JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"{error.msg[0].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno})"
    return "it cannot be read"


class PlainText(forms.CharField):
    """Text of several lines as it was typed: browsers send other line breaks than people and catalogues write."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n").strip()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(initial) != self.to_python(data)


class TextColumns:
    """For admins and inlines: JSON columns get a JSONText box, long texts a PlainText one, help texts code."""

    formfield_overrides: ClassVar[dict[Any, dict[str, Any]]] = {models.URLField: {"assume_scheme": "https"}}

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = self._formfield(db_field, request, **kwargs)
        if field is not None and field.help_text:
            field.help_text = code_words(field.help_text)
        return field

    def _formfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, models.JSONField):
            empty = (lambda: None) if db_field.null else db_field.get_default
            return db_field.formfield(form_class=JSONText, empty=empty, **kwargs)
        if isinstance(db_field, models.TextField):
            kwargs["form_class"] = PlainText
        return super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]


class ReadOnlyAdmin(ModelAdmin):
    """Rows that people look at; what may be done to them is an action."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than CAP rows, so that a list is as quick on ten million rows as on ten thousand."""

    CAP = 10_000
    template_name = "admin/pagination_capped.html"

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.CAP + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.CAP)

    @property
    def capped(self) -> bool:
        return self._counted > self.CAP


def is_list(request: HttpRequest) -> bool:
    """Whether a list is asked for, which leaves the large columns where they are."""
    found = request.resolver_match
    return found is not None and str(found.url_name).endswith("changelist")


class LargeTableAdmin(ReadOnlyAdmin):
    """A read-only list of a table that grows with the traffic."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # they count all of it once for every choice
    list_per_page = 50
    list_fullwidth = True


def day_start(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


class UtcDayFilter(RangeDateFilter):
    """From one UTC day to another, both included."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_from", ""))
        last = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_to", ""))
        if first:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": day_start(first)})
        if last and last < date.max:  # which has no day after it
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": day_start(last + timedelta(days=1))})
        return queryset


class ProviderFilter(DropdownFilter):
    """By the registry's names, so that no filter reads the whole table for its choices."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Provider.objects.values_list("slug", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


def utc(moment: datetime | None) -> str:
    """A time in lists and cards; the heading or the text beside it says that it is UTC."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def cut(text: str, length: int = 90) -> SafeString:
    """Long text in a list: its beginning, the rest on pointing at it."""
    short = text if len(text) <= length else f"{text[:length]}…"
    return format_html('<span class="vl-cut" title="{}">{}</span>', text, short)


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="vl-link" href="{}">{}</a>', url, text)


def granted(permission: str) -> Callable[..., bool]:
    """A has_…_permission method: the user holds `permission` (`app.codename`), whatever the object.

    Unfold's actions can name a permission directly too, but then looks for it in the database before that is migrated.
    """

    def has_permission(self: ModelAdmin, request: HttpRequest, obj: object = None) -> bool:
        return bool(request.user.has_perm(permission))

    return has_permission


def found_or_404(admin: ModelAdmin, request: HttpRequest, object_id: str, permission: str) -> Any:
    """The object of a detail action. Raises PermissionDenied without `permission` (`app.codename`)."""
    if not request.user.has_perm(permission):
        raise PermissionDenied
    found = admin.get_object(request, object_id)
    if found is None:
        raise Http404
    return found


def page(
    admin: ModelAdmin, request: HttpRequest, original: Any, template: str, *, title: str, **context: Any
) -> TemplateResponse:
    """A page of its own within the admin; `original` is the object it belongs to, None for one of the whole list."""
    frame = {**admin.admin_site.each_context(request), "opts": admin.model._meta, "original": original, "title": title}
    return TemplateResponse(request, template, frame | context)


def confirmation(
    admin: ModelAdmin,
    request: HttpRequest,
    original: Any,
    *,
    title: str,
    lines: Sequence[str],
    button: str,
    danger: bool = False,
    template: str = "admin/confirmation.html",
    **context: Any,
) -> TemplateResponse:
    """A page that asks before something is done; its button posts to the same address."""
    asked = {"lines": lines, "button": button, "danger": danger}
    return page(admin, request, original, template, title=title, **asked, **context)

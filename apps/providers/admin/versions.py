"""The admin page of a mapping version: read-only once published; a draft is edited with its events and rules.

What a version must be is said by engine/spec.py, its life by publishing.py. The page is registered by ingest, which
adds a trial to it.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import CharField, F, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from pydantic import TypeAdapter
from pydantic import ValidationError as PydanticError
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminSelectWidget

from apps.history.pages import ModelAdmin
from apps.history.record import Difference, difference, record
from apps.providers import publishing
from apps.providers.admin.base import (
    TextColumns,
    code_box,
    confirmation,
    found_or_404,
    granted,
    one_line,
    page,
    pretty_json,
    utc,
)
from apps.providers.admin.difference import shown_parts
from apps.providers.admin.files import download
from apps.providers.comparing import differences
from apps.providers.engine import transforms
from apps.providers.engine.spec import ARTIFACT_TARGETS, EventKind, MappingSpec, first_problem
from apps.providers.models import Immutable, MappingRule, MappingVersion, Provider, WebhookSchema
from vcp.models import field_paths

SWITCHES = ("end_from_duration", "start_from_receipt")
PARTS = ("read", "collections", "decisions", "estimates", "redact", "leftovers")


def _choice(values: Any) -> forms.ChoiceField:
    return forms.ChoiceField(choices=[(value, value) for value in values], widget=UnfoldAdminSelectWidget)


# --- the rows of a draft ---------------------------------------------------------------------------------------


class RowForm(forms.ModelForm):  # type: ignore[type-arg]
    """A row of a draft. Whether rows agree with each other is judged for all of them together, see DraftRows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            # A new row has no place until it is dragged to one, which may be the first.
            self.initial["position"] = None
            self.fields["position"].required = False

    def validate_unique(self) -> None:
        pass

    def validate_constraints(self) -> None:
        pass


class EventForm(RowForm):
    kind = _choice(get_args(EventKind))


class RuleForm(RowForm):
    transform = _choice(sorted(transforms.REGISTRY))


class DraftRows(PaginationInlineFormSet):
    """The rows of one table of a draft. The last table of the page checks the version as a whole."""

    siblings: "list[DraftRows]"

    def kept(self) -> list[Any]:
        """The rows that stay or come, in the order of the page; rows just added stand at its end."""
        forms_ = [
            form
            for form in self.forms
            if form not in self.deleted_forms and (form.instance.pk is not None or form.has_changed())
        ]
        placed = sorted(forms_, key=lambda form: (_is_new(form), form.instance.position or 0, self.forms.index(form)))
        return [form.instance for form in placed]

    def validate_unique(self) -> None:
        pass

    def clean(self) -> None:
        super().clean()
        if self is not self.siblings[-1] or any(any(table.errors) for table in self.siblings):
            return
        events, rules = (table.kept() for table in self.siblings)
        try:
            _whole(self.instance, events, rules)
        except PydanticError as error:
            problem = f"The mapping does not hang together: {first_problem(error)}"
            raise ValidationError(problem) from error

    def store(self) -> None:
        """Write the rows in their order. A row may take the place or name that another one gives up."""
        self.save(commit=False)
        rows = self.kept()
        table: QuerySet[Any] = self.model.objects.filter(version=self.instance)
        before = list(table)
        table.filter(pk__in=[row.pk for row in self.deleted_objects]).delete()
        self._give_up_places(table, len(rows))
        for position, row in enumerate(rows):
            row.version, row.position = self.instance, position
        names = [field.name for field in self.model._meta.concrete_fields if field.name not in ("id", "version")]
        self.model.objects.bulk_update([row for row in rows if row.pk], names)
        self.model.objects.bulk_create([row for row in rows if not row.pk])
        changes = _row_changes(before, rows)
        if changes:
            record(self.instance, "changed", changes)

    def _give_up_places(self, table: QuerySet[Any], count: int) -> None:
        # The unique constraints hold after every row; two rows that swap would meet for a moment.
        if self.model is WebhookSchema:
            table.update(event=Concat(Value("\n"), Cast("pk", CharField())))
        else:
            table.update(position=F("position") + count + max(table.values_list("position", flat=True), default=0) + 1)


def _row_changes(before: list[Any], after: list[Any]) -> Difference:
    """What became of the rows of a table, for the history: one line for each that differs, else their new order."""
    changes = difference(_named(before), _named(after))
    orders = [[str(row) for row in rows] for rows in (before, after)]
    return changes or difference({"order": orders[0]}, {"order": orders[1]})


def _named(rows: list[Any]) -> dict[str, str]:
    """The content of each row under its name; rows of one name are counted."""
    named: dict[str, str] = {}
    for row in rows:
        name = f"{'event' if isinstance(row, WebhookSchema) else 'rule'} {row}"
        again = sum(other.startswith(name) for other in named)
        named[f"{name} ({again + 1})" if again else name] = _filled(row.as_data())
    return named


def _filled(data: dict[str, Any]) -> str:
    return one_line({name: value for name, value in data.items() if value not in (None, False, "", [], {})})


def _is_new(form: Any) -> bool:
    return form.instance.pk is None and "position" not in form.changed_data


def _whole(version: MappingVersion, events: list[WebhookSchema], rules: list[MappingRule]) -> MappingSpec:
    """The version with these rows as the engine would read it. Raises pydantic.ValidationError."""
    parts = {name: getattr(version, name) for name in (*PARTS, "format", *SWITCHES)}
    rows = {"events": [row.as_data() for row in events], "rules": [row.as_data() for row in rules]}
    return MappingSpec.model_validate({**parts, **rows})


class RowsInline(TextColumns, TabularInline):
    formset = DraftRows
    extra = 0
    tab = True
    ordering_field = "position"
    hide_ordering_field = True
    hide_title = True
    texts: tuple[str, ...] = ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.texts:
            kwargs["widget"] = code_box()
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class EventInline(RowsInline):
    model = WebhookSchema
    form = EventForm
    verbose_name = "event"
    template_before = "admin/providers/mappingversion/events_legend.html"
    verbose_name_plural = "events"
    texts = ("event", "description")
    fields = (
        "event", "kind", "disposition", "rank", "opens_call", "proves", "required", "optional", "answer", "artifact",
        "description", "example", "position",
    )  # fmt: skip


class RuleInline(RowsInline):
    model = MappingRule
    form = RuleForm
    verbose_name = "rule"
    template_before = "admin/providers/mappingversion/rules_legend.html"
    verbose_name_plural = "rules"
    texts = ("source", "target", "event")
    fields = (
        "source", "target", "transform", "args", "event", "when", "default", "required", "inferred", "keep", "position",
    )  # fmt: skip


class VersionForm(forms.ModelForm):  # type: ignore[type-arg]
    format = forms.ChoiceField(
        choices=[("rules", "rules: payloads are mapped"), ("vcp", "vcp: payloads are ready-made messages")],
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = MappingVersion
        fields = ("reason", "format", *SWITCHES, *PARTS)
        help_texts = {
            "read": 'Where a payload has its event name, call id and time: {"event": "type", "call_id": "call.id", '
            '"occurred_at": "sent_at"}. Several paths are tried in order; classify names events by their look.',
            "decisions": 'Ordered tables over the merged call: [{"target": "outcomes.objective.status", "vocabulary": '
            '"call.end_reason", "rows": [{"when": {"call.end_reason": {"in": ["hangup"]}}, "value": "success"}], '
            '"default": "unknown"}].',
            "redact": 'What is never stored: [{"paths": ["**.access_token"], "why": "a live token"}].',
            "leftovers": 'Of what no rule used: {"lift": ["call"], "drop": ["call.noise"]}; lift moves members up, '
            "drop keeps them out.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.update({name: _brief(self.instance, name) for name in PARTS})


# --- the page ----------------------------------------------------------------------------------------------------


class MappingVersionAdmin(TextColumns, ModelAdmin):
    list_display = ("__str__", "state_word", "origin", "author", "reason", "created", "published")
    list_filter = ("provider", "state", "origin")
    list_select_related = ("provider", "author")
    search_fields = ("provider__slug", "reason")
    ordering = ("provider__slug", "-number")
    actions = None
    actions_detail: tuple[str, ...] = ("edit_as_draft", "publish", "undo", "compare", "export")
    change_form_outer_before_template = "admin/providers/mappingversion/state.html"
    change_form_outer_after_template = "admin/providers/mappingversion/content.html"
    warn_unsaved_form = True

    # --- who may change what ------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a draft is made from its provider's page, or from another version

    def has_change_permission(self, request: HttpRequest, obj: MappingVersion | None = None) -> bool:
        return (obj is None or obj.is_draft) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: MappingVersion | None = None) -> bool:
        return obj is not None and obj.is_draft and super().has_delete_permission(request, obj)

    def get_form(self, request: HttpRequest, obj: MappingVersion | None = None, change: bool = False, **kw: Any) -> Any:
        if self.has_change_permission(request, obj):
            kw["form"] = VersionForm
        return super().get_form(request, obj, change, **kw)

    def get_fieldsets(self, request: HttpRequest, obj: MappingVersion | None = None) -> Any:
        if not self.has_change_permission(request, obj):
            return ()
        return ((None, {"fields": ("reason", "format", SWITCHES, *PARTS)}),)

    def get_inlines(self, request: HttpRequest, obj: MappingVersion | None) -> list[Any]:
        return [EventInline, RuleInline] if self.has_change_permission(request, obj) else []

    # --- saving a draft -------------------------------------------------------------------------------------

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)
        tables = [formset for formset in formsets if isinstance(formset, DraftRows)]
        for table in tables:
            table.siblings = tables
        return formsets, inlines

    def changeform_view(self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            version = self.get_object(request, object_id) if object_id and request.method == "POST" else None
            if version is not None and not version.is_draft:
                raise Immutable
            return super().changeform_view(request, object_id, *args, **kwargs)
        except Immutable as error:
            messages.error(request, f"Not saved: {error.message}")
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: MappingVersion, form: Any, change: bool) -> None:
        # Under the lock of publishing.py: what is in force must not change under it.
        Provider.objects.select_for_update().get(pk=obj.provider_id)
        obj.author_id = request.user.pk
        super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.store()

    # --- showing ----------------------------------------------------------------------------------------------

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        version = context.get("original")
        if version is not None:
            context["version"] = version
            context["problems"] = [text for inline in context["inline_admin_formsets"] for text in _problems(inline)]
            context["transforms"] = [_transform(one) for one in transforms.REGISTRY.values()]
            context["targets"] = [*ARTIFACT_TARGETS, *field_paths()]
            if not self.has_change_permission(request, version):
                context["parts"] = [(name, pretty_json(_brief(version, name))) for name in PARTS]
                context["events"] = [(row, _shown(row, ("required", "optional", "answer", "artifact"))) for row in
                                     version.webhook_schemas.all()]  # fmt: skip
                context["rules"] = [(row, _shown(row, ("args", "when", "default"))) for row in version.rules.all()]
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description="state", ordering="state", label={"draft": "warning", "published": "success"})
    def state_word(self, obj: MappingVersion) -> str:
        return obj.state

    @display(description="created (UTC)", ordering="created_at")
    def created(self, obj: MappingVersion) -> str:
        return utc(obj.created_at)

    @display(description="published (UTC)", ordering="published_at")
    def published(self, obj: MappingVersion) -> str:
        return utc(obj.published_at)

    # --- actions ----------------------------------------------------------------------------------------------

    has_draft_permission = granted("providers.add_mappingversion")
    has_publish_permission = granted("providers.change_mappingversion")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        version = self.get_object(request, str(object_id))
        fitting = {
            "edit-as-draft": version is not None and not version.is_draft,
            "publish": version is not None and version.is_draft,
            "undo": version is not None and version.state == version.State.PUBLISHED and version.replaced_id,
        }
        return [one for one in super().get_actions_detail(request, object_id) if fitting.get(one.path, True)]

    @action(
        description="Edit as draft", url_path="edit-as-draft", icon="edit_note",
        permissions=["draft"],
    )  # fmt: skip
    def edit_as_draft(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = found_or_404(self, request, object_id, "providers.add_mappingversion")
        if request.method != "POST":
            lines = [f"A new draft with the content of {version}. Nothing runs on it until it is published."]
            return confirmation(self, request, version, title="Edit as draft", lines=lines, button="Make the draft")
        draft = publishing.draft_of(version, author=request.user)
        return self._to(draft)

    @action(
        description="Publish", url_path="publish", icon="rocket_launch", variant="primary",
        permissions=["publish"],
    )  # fmt: skip
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """GET shows what would change and what the samples say; POST runs them again and publishes."""
        version = found_or_404(self, request, object_id, "providers.change_mappingversion")
        if not version.is_draft:
            messages.error(request, f"{version} is {version.state}: only a draft can be published.")
            return self._to(version)
        if request.method == "POST":
            try:
                results = publishing.publish(version)
            except (publishing.SamplesFail, PydanticError) as error:
                messages.error(request, f"Nothing was published: {publishing.explain(error)}")
            except Immutable as error:
                messages.error(request, f"Nothing was published: {error.message}")
                return self._to(version)
            else:
                messages.success(request, f"{version} is in force. {len(results)} samples passed.")
                return self._to(version)
        return self._publish_page(request, version)

    def _publish_page(self, request: HttpRequest, version: MappingVersion) -> HttpResponse:
        results: list[publishing.SampleResult] = []
        problem = ""
        current = version.provider.published
        difference: list[Any] = []
        try:
            mapping = version.to_spec()
            results = publishing.run_samples(version.provider, mapping)
            difference = shown_parts(differences(current.to_spec(), mapping)) if current else []
        except PydanticError as error:
            problem = publishing.explain(error)
        blocked = bool(problem) or any(result.problem for result in results)
        instead = f"It takes the place of {current}, which can be put back by Undo." if current else "It is the first."
        return confirmation(
            self, request, version,
            title=f"Publish {version}",
            lines=[f"Every process reads deliveries by it within a second. {instead}"],
            button="" if blocked else "Publish",
            template="admin/providers/mappingversion/publish.html",
            results=results, problem=problem, blocked=blocked, current=current,
            difference=difference,
        )  # fmt: skip

    @action(
        description="Undo", url_path="undo", icon="undo", permissions=["publish"]
    )  # fmt: skip
    def undo(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = found_or_404(self, request, object_id, "providers.change_mappingversion")
        if version.state != version.State.PUBLISHED or version.replaced is None:
            messages.error(request, f"{version} is not in force, or replaced none: there is nothing to undo.")
            return self._to(version)
        if request.method != "POST":
            lines = [
                f"{version} goes out of force and {version.replaced} comes back, within a second in every process.",
                "What was mapped meanwhile stays as it is until it is replayed.",
            ]
            return confirmation(self, request, version, title=f"Undo {version}", lines=lines, button="Undo")
        try:
            former = publishing.undo(version.provider)
        except publishing.NothingToUndo as error:
            messages.error(request, str(error))
            return self._to(version)
        messages.success(request, f"{former} is in force again.")
        return self._to(former)

    @action(description="Compare", url_path="compare", icon="compare_arrows", permissions=["view"])
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Side by side with another version of its provider: `with`, else the one it took over from."""
        version = found_or_404(self, request, object_id, "providers.view_mappingversion")
        others = list(version.provider.versions.exclude(pk=version.pk).select_related("provider"))
        other = _chosen(version, others, request.GET.get("with", ""))
        context: dict[str, Any] = {"others": others, "other": other}
        if other is not None:
            older, newer = sorted((version, other), key=lambda one: one.number)
            context |= {"older": older, "newer": newer}
            try:
                context["difference"] = shown_parts(differences(older.to_spec(), newer.to_spec()))
            except PydanticError as error:
                context["problem"] = f"One of them does not hold together: {publishing.explain(error)}"
        template = "admin/providers/mappingversion/compare.html"
        return page(self, request, version, template, title=f"Compare {version}", **context)

    @action(description="Export", url_path="export", icon="download", permissions=["view"])
    def export(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = found_or_404(self, request, object_id, "providers.view_mappingversion")
        return download(request, version, reverse("admin:providers_mappingversion_change", args=[version.pk]))

    def _to(self, version: MappingVersion) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:providers_mappingversion_change", args=[version.pk]))


def _brief(version: MappingVersion, name: str) -> Any:
    """One of the PARTS without what only repeats a default; it means the same."""
    kind: Any = MappingSpec.model_fields[name].annotation
    part = TypeAdapter(kind)
    value = part.validate_python(getattr(version, name))
    return part.dump_python(value, mode="json", by_alias=True, exclude_defaults=True)


def _problems(inline: Any) -> Iterator[str]:
    """What is wrong with which row: the row itself may stand in a tab that is not open."""
    name = inline.opts.verbose_name
    for number, form in enumerate(inline.formset.forms):
        for field, errors in form.errors.items():
            place = "" if field == NON_FIELD_ERRORS else f"{field}: "
            yield f"{name.capitalize()} {number} ({form.instance}): {place}{' '.join(errors).removeprefix(place)}"


def _transform(kind: type[transforms.Transform]) -> dict[str, Any]:
    """A transform with its help and its arguments as they stand without being given."""
    fields = kind.model_fields.items()
    args = [(name, "needed" if field.is_required() else one_line(_default(field))) for name, field in fields]
    return {"name": kind.name, "help": " ".join((kind.__doc__ or "").split()), "args": args}


def _default(field: Any) -> Any:
    value = field.get_default(call_default_factory=True)
    return str(value) if isinstance(value, Decimal) else value


def _shown(row: Any, names: tuple[str, ...]) -> dict[str, str]:
    """The row's JSON columns, each on one line; nothing for empty ones."""
    values = {name: getattr(row, name) for name in names}
    return {name: "" if value in (None, [], {}) else one_line(value) for name, value in values.items()}


def _chosen(version: MappingVersion, others: list[MappingVersion], asked: str) -> MappingVersion | None:
    """The version to compare with: the one asked for, else what it replaced, else what is in force, else the newest."""
    tests = (
        lambda one: str(one.pk) == asked,
        lambda one: one.pk == version.replaced_id,
        lambda one: one.state == one.State.PUBLISHED,
        lambda one: True,
    )
    return next((one for test in tests for one in others if test(one)), None)

"""Pages of other packages in the admin's own form: periodic tasks, users, groups, API tokens.

And what its first page shows: notices, and the things that need attention.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from rest_framework.authtoken.admin import TokenAdmin, TokenChangeList
from rest_framework.authtoken.models import TokenProxy
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.history.models import Change
from apps.history.pages import ModelAdmin
from apps.history.record import record
from apps.ingest.models import InboundEvent, Refusal
from apps.monitoring import selectors as monitoring
from apps.providers import registry
from apps.providers.admin.base import LargeTableAdmin, UtcDayFilter, cut, utc
from apps.providers.admin.state import endpoint_state
from apps.providers.models import Endpoint, Environment, MappingVersion
from voicelens.groups import GROUPS
from voicelens.notices import notices

SHOWN = 99
RECENT = 10


def failed_deliveries(request: HttpRequest) -> str:
    """The badge beside Deliveries; empty when nothing failed."""
    failed = InboundEvent.objects.filter(state=InboundEvent.State.FAILED).order_by()
    return _badge(request, "ingest.view_inboundevent", failed)


def changes_to_review(request: HttpRequest) -> str:
    """The badge beside Changes: those of high severity that wait for a review."""
    return _badge(request, "monitoring.view_change", monitoring.unreviewed())


def open_incidents(request: HttpRequest) -> str:
    """The badge beside Incidents."""
    return _badge(request, "monitoring.view_incident", monitoring.open_incidents().order_by())


def _badge(request: HttpRequest, permission: str, rows: QuerySet[Any]) -> str:
    """How many there are, up to SHOWN; empty where there are none, or the user may not look."""
    count = rows[: SHOWN + 1].count() if request.user.has_perm(permission) else 0
    return (f"{SHOWN}+" if count > SHOWN else str(count)) if count else ""


admin.site.index_title = "Overview"


@dataclass(frozen=True)
class Concern:
    """Something that waits for an operator: what, how urgent, and the page to go to."""

    word: str
    colour: str
    text: str
    url: str


def attention(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the admin's first page shows."""
    may: Any = request.user
    told = notices(request.user)
    concerns = list(_failed(request))
    if may.has_perm("providers.view_endpoint"):
        registry.forget()  # what was saved a moment ago counts
        concerns += _endpoints({notice.refuses for notice in told})
    if may.has_perm("providers.view_mappingversion"):
        concerns += _drafts()
    recent = Change.objects.select_related("content_type")[:RECENT] if may.has_perm("history.view_change") else None
    return {**context, "notices": told, "concerns": concerns, "recent": recent}


def _failed(request: HttpRequest) -> Iterator[Concern]:
    count = failed_deliveries(request)
    if count:
        url = f"{reverse('admin:ingest_inboundevent_changelist')}?state__exact=failed"
        yield Concern("failed", "danger", f"Deliveries that could not be mapped: {count}", url)


def _endpoints(told: set[int | None]) -> Iterator[Concern]:
    """Each endpoint once; nothing of those that a notice has `told`, but for a door that is open to everyone."""
    live = Q(environment=Environment.LIVE, enabled=True, provider__enabled=True)
    watched = set(Endpoint.objects.filter(live).values_list("pk", flat=True))
    refused = _refused_lately()
    for endpoint in Endpoint.objects.filter(pk__in=watched | set(refused)).select_related("provider"):
        state = endpoint_state(endpoint, timezone.now())
        new = endpoint.pk not in told
        said = _refusals(endpoint, refused.get(endpoint.pk, 0)) if new else ""
        if endpoint.pk in watched and (state.unproven or (new and (state.warning or not state.open))):
            text = f"{endpoint}: {state.warning or state.why}{said and f' It {said}.'}"
            yield Concern(state.word, state.colour, text, _page(endpoint))
        elif said:
            yield Concern("refused", "warning", f"{endpoint} {said}", _page(endpoint))


def _refused_lately() -> dict[int, int]:
    since = timezone.now() - timedelta(hours=24)
    rows = Refusal.objects.filter(hour__gt=since).values("endpoint").annotate(total=Sum("count"))
    return {row["endpoint"]: row["total"] for row in rows}


def _refusals(endpoint: Endpoint, count: int) -> str:
    # The reason's code alone: its advice may have been followed since.
    reason, _, _ = endpoint.last_refused_reason.partition(":")
    last = f"{reason}, {utc(endpoint.last_refused_at)} UTC" if endpoint.last_refused_at else reason
    return f"refused {count} deliveries in 24 hours, last: {last}" if count else ""


def _drafts() -> Iterator[Concern]:
    """Those that no later version was published over."""
    later = MappingVersion.objects.filter(
        provider=OuterRef("provider"), state=MappingVersion.State.PUBLISHED, number__gt=OuterRef("number")
    )
    drafts = MappingVersion.objects.filter(~Exists(later), state=MappingVersion.State.DRAFT)
    for draft in drafts.select_related("provider"):
        yield Concern("draft", "info", f"{draft} is not published: {draft.reason}", _page(draft))


def _page(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


for model in (
    User, Group, TokenProxy, PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule
):  # fmt: skip
    admin.site.unregister(model)


# --- access --------------------------------------------------------------------------------------------------


def _above(request: HttpRequest) -> QuerySet[Permission]:
    """The rights that the user of this request does not hold."""
    giver = request.user
    if giver.is_superuser:
        return Permission.objects.none()
    return Permission.objects.exclude(pk__in=Permission.objects.filter(Q(user=giver.pk) | Q(group__user=giver.pk)))


def _touchable(request: HttpRequest) -> QuerySet[User]:
    """The users who may do nothing that the user of this request may not: nobody takes the password of one above."""
    users = User.objects.all()
    if request.user.is_superuser:
        return users
    above = _above(request)
    higher = users.filter(Q(is_superuser=True) | Q(user_permissions__in=above) | Q(groups__permissions__in=above))
    return users.exclude(pk__in=higher.values("pk"))


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    return user is None or _touchable(request).filter(pk=user.pk).exists()


class GiverForm(forms.ModelForm):  # type: ignore[type-arg]
    """Nobody gives more than they hold, to themselves or to others; what is there already stays."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        above = _above(self.request)
        for name in {"groups", "user_permissions", "permissions"} & set(cleaned):
            added = cleaned[name].exclude(pk__in=getattr(self.instance, name).all() if self.instance.pk else [])
            beyond = added.filter(permissions__in=above).distinct() if name == "groups" else added & above
            if beyond:
                said = ", ".join(str(row) for row in beyond)
                self.add_error(name, f"You cannot give what you do not hold yourself: {said}.")
        return cleaned


class GiverAdmin(ModelAdmin):
    """For users and groups, whose forms give rights."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (GiverForm, form), {"request": request})


@admin.register(User)
class OperatorAdmin(UserAdmin, GiverAdmin):  # type: ignore[type-arg, misc]  # stubs: get_form has no `change` there
    """Whoever may change users could otherwise make themselves a superuser, or take the password of one above."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return () if request.user.is_superuser else ("is_superuser",)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return _may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return _may_touch(request, obj) and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        higher = {"a user with more rights than you"} if any(not _may_touch(request, user) for user in objs) else set()
        return deleted, counts, lacking | higher, protected


@admin.register(Group)
class OperatorGroupAdmin(GroupAdmin, GiverAdmin):
    """The groups that come with VoiceLens are shown and not changed: the next start would undo it."""

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _may_be_edited(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _may_be_edited(obj) and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, lacking, protected + [group.name for group in objs if group.name in GROUPS]


def _may_be_edited(group: Group | None) -> bool:
    return group is None or group.name not in GROUPS


class TokensChangeList(TokenChangeList, ChangeList):
    pass


# A token's own text is the token: it would stand in messages, headings and the admin's log.
TokenProxy.__str__ = lambda self: f"token of {self.user}"  # type: ignore[method-assign, attr-defined]


@admin.register(TokenProxy)
class OperatorTokenAdmin(TokenAdmin, ModelAdmin):
    """A token is shown once, when it is made."""

    list_display = ("user", "masked", "created")
    list_select_related = ("user",)
    actions = None  # rows are named by their user, so that no page holds a key; "selected" would find none of them
    readonly_fields = ("masked", "created")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return TokensChangeList

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("user", "masked", "created") if obj else ("user",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # another user needs another token

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_touch(request, obj and obj.user) and super().has_delete_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        # Whoever holds a token is its user: nobody makes one of somebody above.
        if db_field.name == "user":
            kwargs["queryset"] = _touchable(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @display(description="token")
    def masked(self, obj: Any) -> str:
        return f"{obj.key[:4]}…"

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        text = "Token of {}: <code>{}</code>. It is shown only this once. Send it as Authorization: Token …"
        messages.warning(request, format_html(text, obj.user, obj.key))
        return super().response_add(request, obj, post_url_continue)


# --- periodic tasks ------------------------------------------------------------------------------------------


class TaskSelectWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """Unfold's look, beat's list of tasks."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelectWidget()


@admin.register(PeriodicTask)
class OperatorPeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):
    form = PeriodicTaskForm
    list_display = ("name", "enabled", "task", "scheduler", "last_run_at", "one_off")
    list_filter = ("enabled",)
    date_hierarchy = None
    actions = ("enable_tasks", "disable_tasks", "run_tasks")

    @admin.action(description="Enable selected tasks", permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Disable selected tasks", permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[PeriodicTask], *, enabled: bool) -> None:
        # One by one, for the history; a task that is off forgets when it ran, as beat does it.
        tasks = list(queryset.exclude(enabled=enabled))
        for task in tasks:
            task.enabled = enabled
            task.save()
        messages.success(request, f"{len(tasks)} tasks were switched {'on' if enabled else 'off'}.")

    @admin.action(description="Run selected tasks", permissions=["change"])
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().run_tasks(request, queryset)
        for task in queryset:
            record(task, "run by hand")


class PeriodicTaskInline(beat.PeriodicTaskInline, TabularInline):
    pass


class ScheduleAdmin(ModelAdmin):
    inlines = (PeriodicTaskInline,)


@admin.register(IntervalSchedule, SolarSchedule)
class OperatorScheduleAdmin(ScheduleAdmin):
    pass


@admin.register(CrontabSchedule)
class OperatorCrontabAdmin(ScheduleAdmin, beat.CrontabScheduleAdmin):
    inlines = (PeriodicTaskInline,)


@admin.register(ClockedSchedule)
class OperatorClockedAdmin(ScheduleAdmin, beat.ClockedScheduleAdmin):
    inlines = (PeriodicTaskInline,)


# --- history -------------------------------------------------------------------------------------------------


@admin.register(Change)
class ChangeAdmin(LargeTableAdmin):
    """What was changed anywhere, also of objects that are gone. Each object's own page shows its part."""

    list_display = ("when", "author", "object", "kind", "what")
    list_display_links = ("when",)
    list_filter = ("verb", ("at", UtcDayFilter))
    list_select_related = ("content_type",)
    search_fields = ("author", "object_name")
    search_help_text = "Author or object."
    actions = None
    change_form_template = "admin/history/change/change_form.html"

    def get_fieldsets(self, request: HttpRequest, obj: Change | None = None) -> Any:
        return ()

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().render_change_form(request, context | {"entries": [context["original"]]}, *args, **kwargs)

    @display(description="when (UTC)", ordering="id")
    def when(self, obj: Change) -> str:
        return utc(obj.at)

    @display(description="object", ordering="object_name")
    def object(self, obj: Change) -> SafeString:
        return cut(obj.object_name, 50)

    @display(description="kind")
    def kind(self, obj: Change) -> str:
        return str(obj.content_type.name)

    @display(description="what")
    def what(self, obj: Change) -> SafeString:
        said = " ".join(filter(None, [f"{obj.part}:" if obj.part else "", obj.verb, obj.note]))
        return cut(f"{said} {', '.join(str(item['field']) for item in obj.changes)}".strip(), 80)

"""Writes the history: by itself for models that are watched, by `record` for what has a name of its own (published, …).

Bulk writes send no signals; whoever does one to a watched model records it. What is not watched costs nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import QuerySet
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save

from apps.history.author import author
from apps.history.models import Change

Row = models.Model
# The object in whose history a row's changes stand, and the name of the row there.
Owner = Callable[[Any], tuple[Row, str]]
Difference = list[dict[str, str | None]]

MAX_TEXT = 2000
HIDDEN = "(hidden)"
_owners: dict[type[Row], Owner] = {}


# --- recording ----------------------------------------------------------------------------------------------


def record(
    row: Row, verb: str, changes: Difference | None = None, *, note: str = "", by: str = "", name: str = ""
) -> None:
    """Note that the acting user (or `by`) did this to `row`. `name` stands for the row where its own must not."""
    owner, part = owner_of(row)
    Change.objects.create(
        author=(by or author())[:150],
        content_type=ContentType.objects.get_for_model(owner),
        object_id=str(owner.pk),
        object_name=(name or str(owner))[:200],
        part=part[:100],
        verb=verb,
        note=note[:500],
        changes=changes or [],
    )


def record_many(model: type[Row], verb: str, note: str) -> None:
    """Note something done to many rows at once, as one entry that belongs to no single one."""
    kind = ContentType.objects.get_for_model(model)
    Change.objects.create(
        author=author(),
        content_type=kind,
        object_id="",
        object_name=str(model._meta.verbose_name_plural),
        verb=verb,
        note=note[:500],
    )


def forget(row: Row) -> None:
    """Remove the history of an object that is to be forgotten itself."""
    history_of(row).delete()


def history_of(row: Row) -> QuerySet[Change]:
    """What happened to the object, or to the one that it is part of; newest first."""
    owner, _ = owner_of(row)
    return Change.objects.filter(content_type=ContentType.objects.get_for_model(owner), object_id=str(owner.pk))


def owner_of(row: Row) -> tuple[Row, str]:
    found = _owners.get(type(row))
    return found(row) if found else (row, "")


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """What is not the same, as texts, in the order of the names; of a JSON object only the members that differ."""
    found: Difference = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old and new and isinstance(old, dict) and isinstance(new, dict):
            found += [{**inner, "field": f"{name}.{inner['field']}"} for inner in difference(old, new)]
        elif text(old) != text(new):
            found.append({"field": name, "from": cut(text(old)), "to": cut(text(new))})
    return found


def text(value: Any) -> str | None:
    """A value for people to read; None for nothing. Space around a text is none of its content."""
    if value is None or value == [] or value == {}:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value).strip() or None


def cut(value: str | None) -> str | None:
    if value is None:
        return None
    # Neither NUL nor half a surrogate pair can be stored by every database.
    value = value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
    return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"


# --- watching -----------------------------------------------------------------------------------------------


def belongs_to(model: type[Row], owner: Owner) -> None:
    """The history of this model's rows stands with their owner."""
    _owners[model] = owner


def watch(
    model: type[Row], *, hidden: Iterable[str] = (), ignored: Iterable[str] = (), part_of: Owner | None = None
) -> None:
    """Record every row of `model` that is created, changed or deleted one by one.

    Of `hidden` fields only that they changed. Left out are `ignored` fields and those nobody edits (editable=False).
    """
    if part_of is not None:
        belongs_to(model, part_of)
    watcher = _Watcher(model, frozenset(hidden), frozenset(ignored))
    label = model._meta.label
    pre_save.connect(watcher.before, sender=model, weak=False, dispatch_uid=f"history before {label}")
    post_save.connect(watcher.after, sender=model, weak=False, dispatch_uid=f"history after {label}")
    pre_delete.connect(watcher.deleted, sender=model, weak=False, dispatch_uid=f"history deleted {label}")


class _Watcher:
    def __init__(self, model: type[Row], hidden: frozenset[str], ignored: frozenset[str]) -> None:
        self.hidden = hidden
        fields = (field for field in model._meta.concrete_fields if field.editable and not field.primary_key)
        self.fields = [field for field in fields if field.name not in ignored]

    def before(self, instance: Any, raw: bool, update_fields: Any = None, **kwargs: Any) -> None:
        stored = None
        if not raw and instance.pk and self._written(update_fields):
            stored = type(instance)._default_manager.filter(pk=instance.pk).first()
        instance._history_before = stored

    def after(self, instance: Any, created: bool, raw: bool, update_fields: Any = None, **kwargs: Any) -> None:
        before = instance.__dict__.pop("_history_before", None)
        names = self._written(update_fields)
        if raw or not (created or (names and before)):
            return
        changes = difference(self._values(before, names) if before else {}, self._values(instance, names))
        for change in changes:
            if change["field"] in self.hidden:
                change |= {"from": before and HIDDEN, "to": HIDDEN}
        if created or changes:
            record(instance, "created" if created else "changed", changes)

    def deleted(self, instance: Any, **kwargs: Any) -> None:
        record(instance, "deleted")

    def _written(self, update_fields: Any) -> list[Any]:
        return [field for field in self.fields if update_fields is None or field.name in update_fields]

    def _values(self, row: Any, fields: list[Any]) -> dict[str, Any]:
        return {field.name: _value(field, row) for field in fields}


def _value(field: Any, row: Any) -> Any:
    """A related row by its name, anything else as it is."""
    value = getattr(row, field.name)
    return str(value) if field.is_relation and value is not None else value


def watch_members(owner: type[Row], name: str) -> None:
    """Record who or what comes into, and goes out of, a many-to-many field of `owner`."""
    through = getattr(owner, name).through
    m2m_changed.connect(_members, sender=through, weak=False, dispatch_uid=f"history {owner._meta.label}.{name}")


def _members(instance: Any, action: str, reverse: bool, model: Any, pk_set: Any, sender: Any, **kwargs: Any) -> None:
    if action not in ("post_add", "pre_remove", "pre_clear"):
        return
    field = str(model._meta.verbose_name_plural)
    rows = model._default_manager.filter(pk__in=pk_set) if pk_set is not None else _all_members(instance, sender, model)
    names = "; ".join(sorted(str(row) for row in rows))
    if names:
        came = action == "post_add"
        change = {"field": field, "from": None if came else cut(names), "to": cut(names) if came else None}
        record(instance, "changed", [change])


def _all_members(instance: Any, through: Any, model: Any) -> Any:
    near = next(field.name for field in through._meta.fields if field.related_model is type(instance))
    far = next(field.name for field in through._meta.fields if field.related_model is model)
    return model._default_manager.filter(pk__in=through.objects.filter(**{near: instance}).values(far))

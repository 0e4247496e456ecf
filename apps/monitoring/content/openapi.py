"""What changed between two OpenAPI documents in the form of `specification`, each change classed as breaking or not.

Breaking is what may fail an integration that worked. It depends on who sends: what we send (request bodies and
parameters, answers to webhooks) must not become narrower, what we receive (responses, and bodies of webhooks and
callbacks) must not become wider or lose something. A value added to an enum that we receive is told and does not
count as breaking: readers keep open enums. A named schema is compared once, for all the places it is used in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from apps.monitoring.content.specification import LIMITS, UNIONS

Json = dict[str, Any]
Way = Literal["sent", "received"]
SENT: Way = "sent"
RECEIVED: Way = "received"
MOST_CHANGES = 2000


@dataclass(frozen=True)
class SchemaChange:
    """`path` names the place: `POST /v2/create-call request.body.agent_id`, or `schemas.Call.status`."""

    path: str
    what: str
    breaking: bool
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        values = f": {self.before} -> {self.after}" if self.before and self.after else ""
        named = values or (f": {self.before or self.after}" if self.before or self.after else "")
        return f"{self.path}: {self.what}{named}{' (breaking)' if self.breaking else ''}"


def changes(before: Json, after: Json) -> tuple[SchemaChange, ...]:
    """All changes of meaning, at most MOST_CHANGES, ordered by place; breaking ones first."""
    found = set(_Comparison(before, after).all())
    # What breaks one way and not the other is told as breaking only.
    found -= {replace(each, breaking=False) for each in found if each.breaking}
    return tuple(sorted(found, key=lambda each: (not each.breaking, each.path, each.what, each.before, each.after)))


def _part(of: Json, key: str) -> Json:
    value = of.get(key)
    return value if isinstance(value, dict) else {}


def _say(value: object) -> str:
    return ("" if value is None else str(value))[:300]


@dataclass
class _Comparison:
    before: Json
    after: Json
    _seen: set[tuple[str, str, Way]] = field(default_factory=set)

    def all(self) -> Iterator[SchemaChange]:
        for count, change in enumerate(self._all()):
            if count >= MOST_CHANGES:
                return
            yield change

    def _all(self) -> Iterator[SchemaChange]:
        yield from self._names("servers", "server", self.before.get("servers"), self.after.get("servers"))
        yield from self._security("", self.before.get("security"), self.after.get("security"))
        yield from self._auth()
        for place, we in (("paths", SENT), ("webhooks", RECEIVED)):
            yield from self._paths("webhook " if place == "webhooks" else "", place, we)
        yield from self._schemas()

    def _names(self, path: str, noun: str, before: object, after: object) -> Iterator[SchemaChange]:
        old, new = (set(names) if isinstance(names, list) else set() for names in (before, after))
        yield from (SchemaChange(path, f"{noun} removed", True, before=name) for name in old - new)
        yield from (SchemaChange(path, f"{noun} added", False, after=name) for name in new - old)

    def _auth(self) -> Iterator[SchemaChange]:
        old, new = _part(self.before, "auth"), _part(self.after, "auth")
        for name in old.keys() | new.keys():
            path = f"auth.{name}"
            if name not in new:
                yield SchemaChange(path, "auth removed", True)
            elif name not in old:
                yield SchemaChange(path, "auth added", False)
            elif old[name] != new[name]:
                yield SchemaChange(path, "auth changed", True, *(_terms(each) for each in (old[name], new[name])))

    def _security(self, path: str, before: object, after: object) -> Iterator[SchemaChange]:
        if before != after:
            old, new = (" or ".join(ways) if isinstance(ways, list) else "" for ways in (before, after))
            lost = set(before if isinstance(before, list) else ["none"]) - set(after if isinstance(after, list) else [])
            open_now = isinstance(after, list) and (not after or "none" in after)
            yield SchemaChange(f"{path} auth".strip(), "auth required changed", bool(lost) and not open_now, old, new)

    def _paths(self, prefix: str, place: str, we: Way) -> Iterator[SchemaChange]:
        old, new = _part(self.before, place), _part(self.after, place)
        for key in old.keys() | new.keys():
            was, now = _part(old, key), _part(new, key)
            path = prefix + _say(now.get("path", was.get("path", key)))
            yield from self._operations(path, _part(was, "operations"), _part(now, "operations"), we)

    def _operations(self, path: str, old: Json, new: Json, we: Way) -> Iterator[SchemaChange]:
        for method in old.keys() | new.keys():
            at = f"{method.upper()} {path}"
            if method not in new:
                yield SchemaChange(at, "operation removed", True)
            elif method not in old:
                yield SchemaChange(at, "operation added", False)
            else:
                yield from self._operation(at, old[method], new[method], we)

    def _operation(self, at: str, old: Json, new: Json, we: Way) -> Iterator[SchemaChange]:
        they: Way = RECEIVED if we == SENT else SENT
        yield from _flag(at, "deprecated", old, new)
        yield from self._security(at, old.get("security"), new.get("security"))
        yield from self._parameters(f"{at} request", _part(old, "parameters"), _part(new, "parameters"), we)
        yield from self._body(f"{at} request.body", _part(old, "body"), _part(new, "body"), we)
        yield from self._responses(at, _part(old, "responses"), _part(new, "responses"), they)
        was, now = _part(old, "callbacks"), _part(new, "callbacks")
        for key in was.keys() | now.keys():
            yield from self._operations(f"{at} callback {key}", _part(was, key), _part(now, key), they)

    def _parameters(self, at: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        for name in old.keys() | new.keys():
            path = f"{at}.{name.replace(' ', '.')}"
            if name not in new:
                yield SchemaChange(path, "parameter removed", True)
            elif name not in old:
                needed = bool(new[name].get("required"))
                yield SchemaChange(
                    path, "required parameter added" if needed else "parameter added", needed and way == SENT
                )
            else:
                yield from _required(path, bool(old[name].get("required")), bool(new[name].get("required")), way)
                yield from _flag(path, "deprecated", old[name], new[name])
                yield from self._schema(path, _part(old[name], "schema"), _part(new[name], "schema"), way)

    def _body(self, at: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        if bool(old) != bool(new):
            needed = bool(new.get("required")) and way == SENT
            yield SchemaChange(at, "body added" if new else "body removed", needed or bool(old))
            return
        yield from _required(at, bool(old.get("required")), bool(new.get("required")), way)
        yield from self._content(at, _part(old, "content"), _part(new, "content"), way)

    def _content(self, at: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        for media in old.keys() | new.keys():
            if media not in new:
                yield SchemaChange(at, "media type removed", True, before=media)
            elif media not in old:
                yield SchemaChange(at, "media type added", False, after=media)
            else:
                yield from self._schema(at, old[media], new[media], way)

    def _responses(self, at: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        for status in old.keys() | new.keys():
            path = f"{at} response {status}"
            if status not in new:
                yield SchemaChange(path, "response removed", status.startswith("2"))
            elif status not in old:
                yield SchemaChange(path, "response added", False)
            else:
                yield from self._headers(path, _part(old[status], "headers"), _part(new[status], "headers"), way)
                yield from self._content(
                    f"{path}.body", _part(old[status], "content"), _part(new[status], "content"), way
                )

    def _headers(self, at: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        for name in old.keys() | new.keys():
            if name in old and name in new:
                yield from self._schema(f"{at}.header.{name}", old[name], new[name], way)
            else:
                lost = name in old
                yield SchemaChange(f"{at}.header.{name}", "header removed" if lost else "header added", lost)

    def _schemas(self) -> Iterator[SchemaChange]:
        """The named schemas that both know, by the ways they travel; those that nothing uses by name alone."""
        old, new = _part(self.before, "schemas"), _part(self.after, "schemas")
        used = {(name, way) for document in (self.before, self.after) for name, way in _used(document)}
        names = {name for name, _ in used}
        for name in old.keys() | new.keys():
            if name in old and name in new:
                for way in (SENT, RECEIVED):
                    if (name, way) in used or (name not in names and way == RECEIVED):
                        yield from self._schema(f"schemas.{name}", old[name], new[name], way)
            elif name not in names:
                yield SchemaChange(f"schemas.{name}", "schema removed" if name in old else "schema added", name in old)

    def _schema(self, path: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        if old == new:
            return
        was, now = old.get("$ref"), new.get("$ref")
        yield from self._nullable(path, old, new, way)
        if union := _grown(old, new) or _grown(new, old):
            yield from self._branches(path, union, old.get(union, [_bare(old)]), new.get(union, [_bare(new)]), way)
            return
        if (was or now) and was != now:
            mark = (_say(was) or f"={id(old)}", _say(now) or f"={id(new)}", way)
            if mark in self._seen:
                return
            self._seen.add(mark)
            old, new = _behind(self.before, old), _behind(self.after, new)
        if "$ref" not in old and "$ref" not in new:
            yield from self._value(path, old, new, way)
            yield from self._properties(path, old, new, way)
            yield from self._inside(path, old, new, way)
        elif old.get("$ref") != new.get("$ref"):
            yield SchemaChange(path, "type changed", True, _say(was), _say(now))

    def _nullable(self, path: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        if bool(old.get("nullable")) != bool(new.get("nullable")):
            added = bool(new.get("nullable"))
            yield SchemaChange(path, "null allowed" if added else "null no longer allowed", added == (way == RECEIVED))

    def _value(self, path: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        for key in ("type", "format", "default"):
            if old.get(key) != new.get(key):
                yield SchemaChange(path, f"{key} changed", key == "type", _say(old.get(key)), _say(new.get(key)))
        for key in LIMITS:
            if old.get(key) != new.get(key):
                narrower = way == SENT and _is_narrower(key, old.get(key), new.get(key))
                yield SchemaChange(path, f"{key} changed", narrower, _say(old.get(key)), _say(new.get(key)))
        for key in ("deprecated", "readOnly", "writeOnly"):
            yield from _flag(path, key, old, new)
        yield from self._enum(path, old.get("enum"), new.get("enum"), way)

    def _enum(self, path: str, old: list[str] | None, new: list[str] | None, way: Way) -> Iterator[SchemaChange]:
        if old is None or new is None:
            if old != new:
                what, values = ("enum removed", old) if new is None else ("enum added", new)
                yield SchemaChange(path, what, new is not None and way == SENT, after=", ".join(values or ()))
            return
        known, now = set(old), set(new)
        yield from (SchemaChange(path, "enum value removed", way == SENT, before=value) for value in known - now)
        yield from (SchemaChange(path, "enum value added", False, after=value) for value in now - known)

    def _properties(self, path: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        was, now = _part(old, "properties"), _part(new, "properties")
        needed_then, needed_now = set(old.get("required", ())), set(new.get("required", ()))
        for name in was.keys() | now.keys():
            at = f"{path}.{name}"
            if name not in now:
                yield SchemaChange(at, "property removed", True)
            elif name not in was:
                needed = name in needed_now
                yield SchemaChange(
                    at, "required property added" if needed else "property added", needed and way == SENT
                )
            else:
                yield from _required(at, name in needed_then, name in needed_now, way)
                yield from self._schema(at, was[name], now[name], way)
        for name in (needed_then ^ needed_now) - was.keys() - now.keys():
            yield from _required(f"{path}.{name}", name in needed_then, name in needed_now, way)

    def _inside(self, path: str, old: Json, new: Json, way: Way) -> Iterator[SchemaChange]:
        for key, step in (("items", "[]"), ("additionalProperties", ".*"), ("not", ".not")):
            if key in old and key in new:
                yield from self._schema(path + step, old[key], new[key], way)
            elif key in old or key in new:
                narrower = (key in new) == (way == SENT)
                yield SchemaChange(path + step, f"{key} {'added' if key in new else 'removed'}", narrower)
        for key in UNIONS:
            yield from self._branches(path, key, old.get(key, []), new.get(key, []), way)

    def _branches(self, path: str, key: str, old: list[Json], new: list[Json], way: Way) -> Iterator[SchemaChange]:
        gone = [each for each in old if each not in new]
        come = [each for each in new if each not in old]
        for was, now in zip(gone, come, strict=False):
            yield from self._schema(f"{path}.{key}[{_branch(now)}]", was, now, way)
        # An alternative less is narrower; a part less of allOf is wider.
        lost, won = (way == SENT, False) if key != "allOf" else (way == RECEIVED, way == SENT)
        yield from (
            SchemaChange(path, f"{key} branch removed", lost, before=_branch(each)) for each in gone[len(come) :]
        )
        yield from (SchemaChange(path, f"{key} branch added", won, after=_branch(each)) for each in come[len(gone) :])


def _bare(schema: Json) -> Json:
    return {key: value for key, value in schema.items() if key != "nullable"}


def _grown(one: Json, other: Json) -> str:
    """The union of the other in which the one is a branch; empty if there is none."""
    return next((key for key in ("anyOf", "oneOf") if key not in one and _bare(one) in other.get(key, ())), "")


def _terms(scheme: Json) -> str:
    return ", ".join(f"{key} {_say(value)}" for key, value in sorted(scheme.items()))


def _branch(schema: Json) -> str:
    return _say(schema.get("$ref") or ", ".join(_part(schema, "properties")) or schema.get("type") or "schema")


def _flag(path: str, key: str, old: Json, new: Json) -> Iterator[SchemaChange]:
    if bool(old.get(key)) != bool(new.get(key)):
        yield SchemaChange(path, key if new.get(key) else f"no longer {key}", False)


def _required(path: str, then: bool, now: bool, way: Way) -> Iterator[SchemaChange]:
    if then != now:
        yield SchemaChange(path, "became required" if now else "became optional", now == (way == SENT))


def _is_narrower(key: str, old: object, new: object) -> bool:
    if new is None:
        return False
    if isinstance(old, int | float) and isinstance(new, int | float) and key != "multipleOf":
        return new > old if key.lower().startswith(("min", "exclusivemin", "unique")) else new < old
    return True


def _behind(document: Json, schema: Json) -> Json:
    """The schema that a name stands for. Names that only lead to names are followed a few steps."""
    for _ in range(10):
        if "$ref" not in schema:
            break
        schema = _part(_part(document, "schemas"), schema["$ref"])
    return schema


def _used(document: Json) -> set[tuple[str, Way]]:
    """(name, way) of each named schema that travels, directly or within another."""
    found: set[tuple[str, Way]] = set()
    waiting = list(_named_in_operations(document))
    while waiting:
        use = waiting.pop()
        if use not in found:
            found.add(use)
            waiting += [(name, use[1]) for name in _names_in(_part(_part(document, "schemas"), use[0]))]
    return found


def _named_in_operations(document: Json) -> Iterator[tuple[str, Way]]:
    for place, we in (("paths", SENT), ("webhooks", RECEIVED)):
        for item in _part(document, place).values():
            yield from _named_in(_part(item, "operations").values(), we)


def _named_in(operations: Iterable[Json], we: Way) -> Iterator[tuple[str, Way]]:
    they: Way = RECEIVED if we == SENT else SENT
    for operation in operations:
        asks = [operation.get("parameters"), operation.get("body")]
        yield from ((name, we) for name in _names_in(asks))
        yield from ((name, they) for name in _names_in(operation.get("responses")))
        for callback in _part(operation, "callbacks").values():
            yield from _named_in(callback.values(), they)


def _names_in(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if isinstance(each.get("$ref"), str):
                yield each["$ref"]
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each

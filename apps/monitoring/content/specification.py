"""An OpenAPI document (3.x, or Swagger 2; JSON or YAML) reduced to what an integration depends on, as canonical JSON.

Left out are descriptions, titles, examples, tags, extensions (`x-…`), `info` with its version, and all order. One
meaning has one form: a nullable type is `nullable`, `const` an enum of one value, a union of one branch that branch,
names of path parameters their position. Schemas that are named keep their name (`$ref`), so that a change of one is
told once and cycles do no harm; all other references are followed here.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson
import yaml

from apps.monitoring.content.errors import ContentError

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LIMITS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
UNIONS = ("allOf", "anyOf", "oneOf")
_MOST_VALUES = 1_000_000
_DEEPEST = 100
_HOPS = 10
_SCHEMA_REF = re.compile(r"#/(?:components/schemas|definitions)/([^/]+)")
Json = dict[str, Any]


def canonical(body: bytes) -> str:
    """The reduced document. Raises ContentError: `format` for what is no OpenAPI document or beyond all bounds."""
    document = _mapping(_parsed(body))
    if not isinstance(document.get("openapi", document.get("swagger")), str | float | int):
        raise ContentError("format", "This is no OpenAPI document: it names neither `openapi` nor `swagger`.")
    try:
        reduced = _Reduction(document).document()
        return orjson.dumps(reduced, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise ContentError("format", "The OpenAPI document is nested too deeply.") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as JSON: no dates, and no merging of aliases, which may multiply without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ContentError("format", "The YAML merges mappings by `<<`, which is not followed.")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in known if not tag.endswith(":timestamp")]
    for first, known in _Loader.yaml_implicit_resolvers.items()
}


def _parsed(body: bytes) -> Any:
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if body[:1] == b"<":
        raise ContentError("format", "This is a web page, not an OpenAPI document; give the address of the raw file.")
    try:
        return orjson.loads(body) if body[:1] in (b"{", b"[") else yaml.load(body, _Loader)  # noqa: S506 - a safe one
    except (orjson.JSONDecodeError, yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ContentError("format", "The OpenAPI document is neither well-formed JSON nor YAML.") from error


def _mapping(value: object) -> Json:
    """The value if it is an object, with its keys as text (YAML has numbers for statuses); else an empty one."""
    return {_text(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)[:200]


def _words(value: object) -> list[str]:
    return sorted({_text(item) for item in _list(value) if not isinstance(item, list | dict)})


def _scalar(value: object) -> object:
    """A value as it may stand in JSON; composed ones as their JSON text."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()[:1000]
    except (orjson.JSONEncodeError, RecursionError):
        return "…"


class _Reduction:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._is_swagger = "openapi" not in document
        self._left = _MOST_VALUES

    def document(self) -> Json:
        components = _mapping(self._document.get("components"))
        schemas = _mapping(self._document.get("definitions") if self._is_swagger else components.get("schemas"))
        schemes = self._document.get("securityDefinitions") if self._is_swagger else components.get("securitySchemes")
        return {
            "paths": self._paths(self._document.get("paths")),
            "webhooks": self._paths(self._document.get("webhooks", self._document.get("x-webhooks"))),
            "schemas": {name: self.schema(schema) for name, schema in schemas.items()},
            "auth": {name: self._scheme(self._followed(scheme)) for name, scheme in _mapping(schemes).items()},
            "security": self._security(self._document.get("security")),
            "servers": self._servers(),
        }

    def _servers(self) -> list[str]:
        if not self._is_swagger:
            return _words([_mapping(server).get("url", "") for server in _list(self._document.get("servers"))])
        host, base = (_text(self._document.get(key, "")) for key in ("host", "basePath"))
        return [host + base] if host or base else []

    def _scheme(self, scheme: Json) -> Json:
        return {key: _scalar(scheme[key]) for key in ("type", "scheme", "in", "name") if key in scheme}

    def _security(self, given: object) -> list[str] | None:
        """Each way in as the names of its schemes; None where nothing is said."""
        if not isinstance(given, list):
            return None
        return sorted({" + ".join(sorted(_mapping(way))) or "none" for way in given})

    def _followed(self, value: object) -> Json:
        """An object behind its references within the document; an empty one if they lead nowhere."""
        found = _mapping(value)
        for _ in range(_HOPS):
            ref = found.get("$ref")
            if not isinstance(ref, str):
                return found
            self._spend()
            found = _mapping(self._at(ref))
        return {}

    def _at(self, ref: str) -> object:
        at: object = self._document if ref.startswith("#/") else None
        for step in ref[2:].split("/")[:_HOPS]:
            at = _mapping(at).get(step.replace("~1", "/").replace("~0", "~"))
        return at

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ContentError("format", f"The OpenAPI document holds more than {_MOST_VALUES:,} values.")

    def _paths(self, given: object) -> Json:
        found: Json = {}
        for path, item in _mapping(given).items():
            key = re.sub(r"\{[^{}]*\}", "{}", path)
            operations = self._operations(path, self._followed(item))
            found[path if key in found else key] = {"path": path, "operations": operations}
        return found

    def _operations(self, path: str, item: Json) -> Json:
        shared = _list(item.get("parameters"))
        return {
            method: self._operation(path, _mapping(item[method]), shared)
            for method in METHODS
            if isinstance(item.get(method), Mapping)
        }

    def _operation(self, path: str, given: Json, shared: list[Any]) -> Json:
        self._spend()
        known = [self._followed(parameter) for parameter in [*shared, *_list(given.get("parameters"))]]
        return {
            "parameters": self._parameters(path, known),
            "body": self._swagger_body(known)
            if self._is_swagger
            else self._body(self._followed(given.get("requestBody"))),
            "responses": {
                status: self._response(self._followed(response))
                for status, response in _mapping(given.get("responses")).items()
                if not status.startswith("x-")
            },
            "security": self._security(given.get("security")),
            "deprecated": given.get("deprecated") is True,
            "callbacks": self._callbacks(given.get("callbacks")),
        }

    def _callbacks(self, given: object) -> Json:
        known = {name: self._followed(callback) for name, callback in _mapping(given).items()}
        self._left -= sum(map(len, known.values()))
        # Callbacks of callbacks are left out: they could go on for ever.
        return {
            f"{name} {path}": {
                method: self._operation(path, {**_mapping(operation), "callbacks": None}, [])
                for method, operation in self._followed(item).items()
                if method in METHODS
            }
            for name, callback in known.items()
            for path, item in callback.items()
        }

    def _parameters(self, path: str, known: list[Json]) -> Json:
        order = re.findall(r"\{([^{}]*)\}", path)
        found = {}
        for parameter in known:
            place, name = _text(parameter.get("in", "")), _text(parameter.get("name", ""))
            if place in ("body", "formData") or not name:
                continue
            if place == "path" and name in order:
                name = f"{{{order.index(name) + 1}}}"
            content = next(iter(_mapping(parameter.get("content")).values()), None)
            schema = parameter if self._is_swagger else parameter.get("schema", _mapping(content).get("schema"))
            found[f"{place} {name.lower() if place == 'header' else name}"] = {
                "required": parameter.get("required") is True or place == "path",
                "deprecated": parameter.get("deprecated") is True,
                "schema": self.schema({**_mapping(schema), "required": None, "deprecated": None}),
            }
        return found

    def _swagger_body(self, known: list[Json]) -> Json:
        for parameter in known:
            if parameter.get("in") == "body":
                content = {"*": self.schema(parameter.get("schema"))}
                return {"required": parameter.get("required") is True, "content": content}
        fields = {_text(each.get("name", "")): each for each in known if each.get("in") == "formData"}
        if not fields:
            return {}
        needed = [name for name, each in fields.items() if each.get("required") is True]
        properties = {name: {**each, "required": None} for name, each in fields.items()}
        form = self.schema({"type": "object", "properties": properties, "required": needed})
        return {"required": bool(needed), "content": {"form": form}}

    def _body(self, given: Json) -> Json:
        return {"required": given.get("required") is True, "content": self._content(given)} if given else {}

    def _content(self, given: Json) -> Json:
        return {
            _text(media).partition(";")[0].strip().lower(): self.schema(_mapping(each).get("schema"))
            for media, each in _mapping(given.get("content")).items()
        }

    def _response(self, given: Json) -> Json:
        swagger = {"*": self.schema(given["schema"])} if self._is_swagger and "schema" in given else {}
        headers = {
            name.lower(): self.schema(header if self._is_swagger else header.get("schema"))
            for name, header in (
                (_text(name), self._followed(each)) for name, each in _mapping(given.get("headers")).items()
            )
        }
        return {"content": swagger or self._content(given), "headers": headers}

    def schema(self, given: object, depth: int = 0) -> Json:
        """One schema in its one form; `true` and what is none as the schema that everything fits."""
        self._spend()
        if depth > _DEEPEST:
            raise ContentError("format", f"A schema is nested more than {_DEEPEST} levels deep.")
        if given is False:
            return {"not": {}}
        found = _mapping(given)
        if isinstance(found.get("$ref"), str):
            named = _SCHEMA_REF.fullmatch(found["$ref"])
            kept: Json = {"$ref": named[1].replace("~1", "/").replace("~0", "~") if named else found["$ref"]}
        else:
            kept = {**self._own(found), **self._parts(found, depth)}
        if found.get("nullable") is True or found.get("x-nullable") is True:
            kept["nullable"] = True
        return _alone(kept)

    def _own(self, found: Json) -> Json:
        """What a schema says of the value itself."""
        kept: Json = {key: _scalar(found[key]) for key in (*LIMITS, "format", "default") if found.get(key) is not None}
        kept |= {key: True for key in ("deprecated", "readOnly", "writeOnly") if found.get(key) is True}
        if types := _words(found.get("type") if isinstance(found.get("type"), list) else [found.get("type", "null")]):
            kept |= {"type": "|".join(name for name in types if name != "null")} if types != ["null"] else {}
            kept |= {"nullable": True} if "null" in types and "type" in found else {}
        values = [found["const"]] if "const" in found else _list(found.get("enum"))
        if values:
            self._left -= len(values)
            kept["enum"] = sorted({_text(_scalar(value)) for value in values if value is not None})
            kept |= {"nullable": True} if None in values else {}
        return kept

    def _parts(self, found: Json, depth: int) -> Json:
        """What a schema says of what the value is made of."""
        kept: Json = {}
        if properties := _mapping(found.get("properties")):
            kept["properties"] = {name: self.schema(each, depth + 1) for name, each in properties.items()}
        if required := _words(found.get("required")):
            kept["required"] = required
        for key in ("items", "not"):
            if isinstance(found.get(key), Mapping):
                kept[key] = self.schema(found[key], depth + 1)
        extra = found.get("additionalProperties")
        if extra is False or (isinstance(extra, Mapping) and extra):
            kept["additionalProperties"] = self.schema(extra, depth + 1)
        for key in UNIONS:
            branches = [self.schema(each, depth + 1) for each in _list(found.get(key))]
            if any(_is_null(each) for each in branches):
                branches, kept["nullable"] = [each for each in branches if not _is_null(each)], True
            if branches:
                kept[key] = sorted(branches, key=lambda each: orjson.dumps(each, option=orjson.OPT_SORT_KEYS))
        return kept


def _is_null(schema: Json) -> bool:
    return schema == {"nullable": True}


def _alone(schema: Json) -> Json:
    """A union of one branch, with nothing beside it that matters, is that branch."""
    for union in UNIONS:
        branches = schema.get(union)
        if branches is not None and len(branches) == 1 and not (schema.keys() - {union, "nullable", "default", "type"}):
            return {**branches[0], **{key: schema[key] for key in ("nullable", "default") if key in schema}}
    return schema

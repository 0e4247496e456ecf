"""The tables of docs/protocol.md, made from the models, the rules and the manifest of the compatibility suite.

`manage.py protocol_docs` puts them into the page; the words around them are written there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vcp import models
from vcp.compat.cases import manifest
from vcp.errors import ERROR_NAMES
from vcp.findings import Finding
from vcp.models import Capability, VCPMessage
from vcp.scalars import Amount, AnyText, Count, JsonObject, JsonValue, Number, Score, Text, Timestamp
from vcp.shape import own_type
from vcp.versions import v03, v04
from vcp.versions.v03 import PublishedMessage, Scalar, UnixSeconds, ZuluTime
from vcp.versions.v04 import Days, MessageV04

BEGIN: Final = "<!-- tables: begin -->"
END: Final = "<!-- tables: end -->"

_VALIDATION_RULE: Final = ("S", "X", "C", "A", "V")
# The types are Annotated with constraints that cannot be hashed, so this is no dict.
_WORDS: Final[Sequence[tuple[Any, str]]] = (
    (Text, "text, not blank"),
    (AnyText, "text"),
    (bool, "bool"),
    (Number, "float"),
    (Amount, "float, 0 or more"),
    (Score, "float, 0 to 1"),
    (Count, "int, 0 or more"),
    (Days, "int, more than 0"),
    (UnixSeconds, "int, Unix seconds"),
    (Timestamp, "timestamp"),
    (ZuluTime, "timestamp, ends in `Z`"),
    (Scalar, "bool, text, int or float"),
    (Capability, "text or CapabilityInvocation"),
    (JsonValue, "any JSON"),
    (JsonObject, "object"),
)
_VERSIONS: Final[Sequence[tuple[str, type[BaseModel], ModuleType]]] = (
    ("v0.5", VCPMessage, models),
    ("v0.4 (deprecated)", MessageV04, v04),
    ("v0.3, published shape", PublishedMessage, v03),
)


def with_tables(page: str) -> str:
    """The page with the tables between its two marks. Raises ValueError when a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has not both marks, {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def tables() -> str:
    """All tables as Markdown."""
    parts = [part for title, root, module in _VERSIONS for part in _version(title, root, module)]
    return "\n".join([*parts, *_rules(), *_codes(), *_migrations()])


# --- models ----------------------------------------------------------------------------------------------------------


def _version(title: str, root: type[BaseModel], module: ModuleType) -> Iterator[str]:
    yield f"## Fields of {title}\n"
    enumerations = _enumerations(module)
    yield _table(("enumeration", "values"), ([name, _values(hint)] for name, hint in enumerations.items()))
    names = _enumerations(models) | enumerations
    for model in _below(root):
        yield f"### {model.__name__}\n\n{_first_line(model)}\n"
        yield _table(("field", "type", "required"), _fields(model, names))


def _enumerations(module: ModuleType) -> dict[str, Any]:
    """The enumerations that a module defines or takes from another, by name."""
    return {name: hint for name, hint in vars(module).items() if get_origin(hint) is Literal}


def _values(hint: Any) -> str:
    return ", ".join(f"`{value}`" for value in get_args(hint))


def _below(root: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and all it refers to, each once, in document order."""
    found: dict[type[BaseModel], None] = {root: None}
    for hint in get_type_hints(root, include_extras=True).values():
        found.update(dict.fromkeys(model for one in _models_in(hint) for model in _below(one)))
    return list(found)


def _models_in(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    elif get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _models_in(part)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _fields(model: type[BaseModel], names: Mapping[str, Any]) -> Iterator[list[str]]:
    hints = get_type_hints(model, include_extras=True)
    for name, info in model.model_fields.items():
        yield [f"`{info.alias or name}`", _words(own_type(hints[name]), names), _required(info)]


def _words(hint: Any, names: Mapping[str, Any]) -> str:
    known = next((words for one, words in _WORDS if one == hint), None)
    if known is not None:
        return known
    args = get_args(hint)
    if get_origin(hint) is Literal:
        return next((name for name, one in names.items() if one == hint), _values(hint))
    if get_origin(hint) is list:
        return f"list of {_words(args[0], names)}"
    if get_origin(hint) is dict:
        return f"map of {_words(args[0], names)} to {_words(args[1], names)}"
    return str(hint.__name__)


def _required(info: FieldInfo) -> str:
    if info.is_required():
        return "yes"
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is None:
        return ""
    return f"default `{json.dumps(default.model_dump() if isinstance(default, BaseModel) else default)}`"


# --- rules, codes, migrations ----------------------------------------------------------------------------------------


def _rules() -> Iterator[str]:
    yield "## Rules of validation\n"
    rules = {name: text for name, text in manifest()["rules"].items() if _is_validation(name)}
    yield _table(("rule", "level", "code", "what breaks it"), (_rule(name, text) for name, text in rules.items()))


def _is_validation(rule: str) -> bool:
    return rule.startswith(_VALIDATION_RULE) and rule[1:].isdigit()


def _rule(name: str, text: str) -> list[str]:
    finding = Finding(name, (), "")
    return [name, "error" if finding.is_error else "warning", finding.to_error().code, text.rpartition(":")[0]]


def _codes() -> Iterator[str]:
    yield "## Error codes\n"
    yield _table(("code", "name"), ([code, f"`{name}`"] for code, name in ERROR_NAMES.items()))


def _migrations() -> Iterator[str]:
    yield "## Migration paths\n"
    rows = ([part["pair"].replace(":", " to "), ", ".join(part["rows"])] for part in manifest()["matrix"])
    yield _table(("path", "what the compatibility suite tries"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

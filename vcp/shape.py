"""The schema as a tree of fields, read off the pydantic models: look-up by path, and document order.

Knows nothing of any single field; `vcp.models` says which models there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter

from vcp.normal import normal_test
from vcp.scalars import NULL_IS_ABSENT, JsonObject, JsonValue, Leniently, Path

Kind = Literal["model", "map", "list", "free", "timestamp", "value"]


@dataclass(frozen=True)
class Shape:
    """One place of the schema.

    `hint` is its type with constraints, never optional. A model has `fields` by wire name, and
    `synonyms` for the attribute names that differ from it; a map has `keys` (None: any) and `item`; a
    list has `item`. `tagged` marks a place that may hold a bare word instead of the model. `tries` counts the
    marks that pydantic's locations have behind the place, one for each type that is read exactly and, failing
    that, leniently.
    """

    kind: Kind
    hint: Any
    fields: Mapping[str, Shape] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)
    keys: frozenset[str] | None = None
    item: Shape | None = None
    tries: int = 0
    tagged: bool = False

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Validates and normalises a value of this place."""
        return TypeAdapter(self.hint)

    @cached_property
    def is_normal(self) -> Callable[[Any], bool]:
        """True only for values that `adapter` would take and give back unchanged; quick."""
        return normal_test(self.hint)

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {name: position for position, name in enumerate(self.fields)}

    @cached_property
    def layered(self) -> bool:
        """Whether a timestamp or an unknown field can stand here or below."""
        if self.kind in ("model", "timestamp"):
            return True
        return self.item is not None and self.item.layered

    @cached_property
    def plain_fields(self) -> frozenset[str]:
        """The fields that are no place for either."""
        return frozenset(name for name, place in self.fields.items() if not place.layered)

    def wire_name(self, key: str) -> str:
        """The name a key is written under: `from` for `from_`, any other key as it is."""
        return self.synonyms.get(key, key)

    def child(self, part: str | int) -> Shape | None:
        """The place one step below, None when the schema has none.

        In a map `*` stands for each key; below a free-form object everything is allowed.
        """
        if self.kind == "free":
            return ANYTHING
        if self.kind == "list":
            return self.item if isinstance(part, int) else None
        if self.kind == "map":
            return self.item if self.keys is None or part in self.keys or part == "*" else None
        return self.fields.get(str(part))

    def order(self, path: Path) -> tuple[tuple[int, int, str], ...]:
        """Sort key for document order: schema fields as declared, then other keys by name."""
        key: list[tuple[int, int, str]] = []
        place: Shape | None = self
        for part in path:
            if isinstance(part, int):
                key.append((0, part, ""))
            elif place is not None and part in place._positions:
                key.append((0, place._positions[part], ""))
            else:
                key.append((1, 0, part))
            place = place.child(part) if place is not None else None
        return tuple(key)


ANYTHING = Shape("free", JsonValue)


def find(root: Shape, path: str) -> Shape | None:
    """The place of a dotted path below `root`; None for an unknown field, a list index or an empty step."""
    place: Shape | None = root
    for name in path.split("."):
        place = place.child(name) if place is not None and name else None
    return place


def paths(root: Shape, above: str = "") -> Iterator[str]:
    """The dotted path of every field below `root` that is no model itself, in document order; `*` is any key."""
    steps = {"*": root.item} if root.kind == "map" else root.fields
    for name, place in steps.items():
        path = f"{above}.{name}" if above else name
        if place is not None and place.kind in ("model", "map"):
            yield from paths(place, path)
        else:
            yield path


def shape_of(hint: Any, tries: int = 0) -> Shape:
    """The tree of a model class or of any type that a field of a model may have."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return _model(bare, tries)
    tries += sum(isinstance(mark, Leniently) for mark in _marks(hint))
    origin, args = get_origin(bare), get_args(bare)
    if origin is dict:
        return _map(hint, tries, *args)
    if origin is list:
        return Shape("list", hint, item=shape_of(args[0]), tries=tries)
    if origin is Union:
        record = shape_of(args[1])
        return Shape("model", hint, fields=record.fields, synonyms=record.synonyms, tries=tries + 1, tagged=True)
    return Shape("timestamp" if bare is datetime else "value", hint, tries=tries)


def _marks(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _map(hint: Any, tries: int, key_hint: Any, item_hint: Any) -> Shape:
    if item_hint is Any:
        return Shape("free", JsonObject, tries=tries)
    keys = frozenset(get_args(key_hint)) if get_origin(key_hint) is Literal else None
    return Shape("map", hint, keys=keys, item=shape_of(item_hint), tries=tries)


def _model(model: type[BaseModel], tries: int) -> Shape:
    hints = get_type_hints(model, include_extras=True)
    names = {name: info.alias or name for name, info in model.model_fields.items()}
    return Shape(
        "model",
        model,
        fields={wire: _field(hints[name]) for name, wire in names.items()},
        synonyms={name: wire for name, wire in names.items() if name != wire},
        tries=tries,
    )


def _field(hint: Any) -> Shape:
    """The place of a field, whose own type takes no null."""
    return shape_of(own_type(hint), tries=1 if NULL_IS_ABSENT in _marks(hint) else 0)


def own_type(hint: Any) -> Any:
    """The type of a field apart from what makes it optional."""
    marks = _marks(hint)
    if NULL_IS_ABSENT in marks:
        kept = [mark for mark in marks if mark != NULL_IS_ABSENT]
        bare = get_args(hint)[0]
        return Annotated[bare, *kept] if kept else bare
    union = get_args(hint)[0] if marks else hint
    args = get_args(union)
    return args[0] if len(args) == 2 and args[1] is NoneType else hint

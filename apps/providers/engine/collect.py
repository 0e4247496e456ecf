"""Lists that grow over the events of a call: what one payload adds to them, and what all of them come to together.

The items of all events are united by key and put in order, so batches, their order and their repetition do not matter.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from apps.providers.engine import transforms
from apps.providers.engine.errors import TransformError
from apps.providers.engine.fragment import Items
from apps.providers.engine.paths import MISSING, compile_path, says_nothing
from apps.providers.engine.sources import LATER, Sources
from apps.providers.engine.spec import COLLECTED, CollectionSpec, FieldSpec

Json = Any
# Longer keys are known by their hash: a fragment is no place for what a sender thinks up.
MAX_KEY = 255
_MICROSECOND = timedelta(microseconds=1)


class Collection:
    """A CollectionSpec made ready to run. `items` reads its items; collections of the same source share it."""

    def __init__(self, spec: CollectionSpec, items: Sources | None = None) -> None:
        self.spec = spec
        self._items = items or Sources()
        self._source = compile_path(spec.source)
        self._where = self._items.tests(spec.where)
        self._as_they_are: list[tuple[str, int]] = []
        self._others: list[tuple[str, _Field]] = []
        for name, field in spec.fields.items():
            self._add(name, field)
        self._key = [compile_path(path) for path in spec.key]
        self._order = [compile_path(path) for path in spec.order_by]

    def _add(self, name: str, spec: FieldSpec) -> None:
        slots = [self._items.slot(path) for path in spec.path]
        if len(slots) == 1 and spec.transform == transforms.Same.name and not self._items.is_searched(slots[0]):
            self._as_they_are.append((name, slots[0]))
        else:
            self._others.append((name, _Field(spec, slots, self._items)))

    def read_items(self, payload: Json) -> list[list[Json]]:
        """The items that the payload has for this collection and all that share its source, as `items` reads them."""
        found = self._source(payload)
        listed = found if isinstance(found, list) else [] if found is MISSING else [found]
        return [self._items.read(item) for item in listed]

    def collect(self, items: list[list[Json]], warnings: list[str]) -> Items:
        """What these items add, by key. What cannot be read of an item is left out, with a warning."""
        hold, where = self._items.hold, self._where
        kept = [self._kept(values, warnings) for values in items if hold(where, values)]
        return self._by_key([(self._key_of(item), item) for item in kept if not says_nothing(item)])

    def unite(self, parts: Iterable[Items]) -> list[Json]:
        """The items of all events, each once, in their order."""
        chosen = self._by_key(pair for part in parts for pair in part.items())
        return [item for _, item in sorted(chosen.items(), key=lambda pair: (self._place(pair[1]), pair[0]))]

    def _kept(self, values: list[Json], warnings: list[str]) -> Json:
        if not self.spec.fields:
            return values[0]
        # An item has few of the fields that it could have, and most are kept as they are: both must cost little.
        kept = {name: value for name, slot in self._as_they_are if (value := values[slot]) is not MISSING}
        for name, field in self._others:
            if field.only is not None and values[field.only] is MISSING:
                continue
            try:
                value = field.of(values)
            except TransformError as error:
                warnings.append(f"collection {self.spec.name}, {name}: {error}")
                continue
            if value is not MISSING and not says_nothing(value):
                kept[name] = value
        return kept

    def _key_of(self, item: Json) -> str:
        for get in self._key:
            told = get(item)
            if told is not MISSING:
                break
        else:
            return _hashed(item)
        key = told if type(told) is str else str(told) if isinstance(told, str | int) else ""
        return key if 0 < len(key) <= MAX_KEY else _hashed(told)

    def _by_key(self, pairs: Iterable[tuple[str, Json]]) -> Items:
        """Of several items of one key the first in order, whichever came first."""
        chosen: Items = {}
        for key, item in pairs:
            if key not in chosen or self._weight(item) < self._weight(chosen[key]):
                chosen[key] = item
        return chosen

    def _weight(self, item: Json) -> tuple[Any, bytes]:
        return self._place(item), _canonical(item)

    def _place(self, item: Json) -> list[tuple[int, float, str]]:
        return [_comparable(get(item)) for get in self._order]


class _Field:
    """One field of a collected item that is converted, searched for or has several paths."""

    def __init__(self, spec: FieldSpec, slots: list[int], items: Sources) -> None:
        self._items = items
        self._slots = slots
        # The slot that has all there is for this field, if it has but one path.
        self.only = slots[0] if len(slots) == 1 else None
        self._convert = transforms.build(spec.transform, spec.args).__call__
        # Several collections have the same time of an item: it is converted once.
        self._shared = items.shared_slot(json.dumps([spec.path, spec.transform, spec.args], default=str))

    def of(self, values: list[Json]) -> Json:
        """Raises TransformError."""
        value = values[self._shared]
        if value is LATER:
            value = values[self._shared] = self._converted(values)
        return value

    def _converted(self, values: list[Json]) -> Json:
        value = self._items.first(self._slots, values)
        if value is MISSING:
            return MISSING
        try:
            return self._convert(value)
        except transforms.UnseenWord as unseen:
            return unseen.default


class Collections:
    """All collections of a mapping. Those of one source read its items together."""

    def __init__(self, specs: Iterable[CollectionSpec]) -> None:
        readers: dict[str, Sources] = {}
        self.all = [Collection(spec, readers.setdefault(spec.source, Sources())) for spec in specs]

    def collect(self, payload: Json, warnings: list[str]) -> dict[str, Items]:
        """What this payload adds, by collection and key; those to which it adds nothing are left out."""
        found: dict[str, Items] = {}
        read: dict[str, list[list[Json]]] = {}
        for one in self.all:
            if one.spec.source not in read:
                read[one.spec.source] = one.read_items(payload)
            if items := one.collect(read[one.spec.source], warnings):
                found[one.spec.name] = items
        return found


def _hashed(value: Json) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _comparable(value: Json) -> tuple[int, float, str]:
    """Numbers, then times, then other texts, and last what tells no place."""
    if isinstance(value, int | float):
        return 0, value, ""
    if not isinstance(value, str):
        return 3, 0, ""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return 2, 0, value
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return 1, (moment - transforms.EPOCH) // _MICROSECOND, ""


def call_document(collections: Iterable[Collection], parts: Iterable[Mapping[str, Items]]) -> dict[str, Json]:
    """What all events of a call have collected: {"collected": {name: [items]}}; `parts` are those of the fragments."""
    told = list(parts)
    return {COLLECTED: {one.spec.name: one.unite(part.get(one.spec.name, {}) for part in told) for one in collections}}

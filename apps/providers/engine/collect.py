"""Lists that grow over the events of a call: what one payload adds to them, and what all of them come to together.

The items of all events are united by key and put in order, so batches, their order and their repetition do not matter.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from apps.providers.engine import transforms
from apps.providers.engine.conditions import compile_when
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, Getter, compile_path, says_nothing
from apps.providers.engine.spec import COLLECTED, CollectionSpec, FieldSpec

Json = Any
Items = dict[str, Json]  # by key
# Longer keys are known by their hash: a fragment is no place for what a sender thinks up.
MAX_KEY = 255
_MICROSECOND = timedelta(microseconds=1)


class Collection:
    """A CollectionSpec made ready to run."""

    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        self._source = compile_path(spec.source)
        self._meets = compile_when(spec.where)
        self._fields = {name: _Field(field) for name, field in spec.fields.items()}
        self._key = [compile_path(path) for path in spec.key]
        self._order = [compile_path(path) for path in spec.order_by]

    def collect(self, payload: Json, warnings: list[str]) -> Items:
        """What this payload adds, by key. What cannot be read of an item is left out, with a warning."""
        found = self._source(payload)
        listed = found if isinstance(found, list) else [] if found is MISSING else [found]
        kept = [self._kept(item, warnings) for item in listed if self._meets(item)]
        return self._by_key((self._key_of(item), item) for item in kept if not says_nothing(item))

    def unite(self, parts: Iterable[Items]) -> list[Json]:
        """The items of all events, each once, in their order."""
        chosen = self._by_key(pair for part in parts for pair in part.items())
        return [item for _, item in sorted(chosen.items(), key=lambda pair: (self._place(pair[1]), pair[0]))]

    def _kept(self, item: Json, warnings: list[str]) -> Json:
        if not self._fields:
            return item
        kept = {}
        for name, read in self._fields.items():
            try:
                value = read(item)
            except TransformError as error:
                warnings.append(f"collection {self.spec.name}, {name}: {error}")
                continue
            if not says_nothing(value):
                kept[name] = value
        return kept

    def _key_of(self, item: Json) -> str:
        told = next((value for get in self._key if not says_nothing(value := get(item))), None)
        if isinstance(told, str | int) and len(str(told)) <= MAX_KEY:
            return str(told)
        return hashlib.sha256(_canonical(item if told is None else told)).hexdigest()

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
    """One field of a collected item."""

    def __init__(self, spec: FieldSpec) -> None:
        self._paths: list[Getter] = [compile_path(path) for path in spec.path]
        self._convert = transforms.build(spec.transform, spec.args)

    def __call__(self, item: Json) -> Json:
        value = next((value for get in self._paths if not says_nothing(value := get(item))), MISSING)
        if value is MISSING:
            return MISSING
        try:
            return self._convert(value)
        except transforms.UnseenWord as unseen:
            return unseen.default


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

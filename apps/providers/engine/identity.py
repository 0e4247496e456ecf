"""What a payload says it is: event, call, time. Read before anything is mapped, and of every delivery."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from apps.providers.engine import transforms
from apps.providers.engine.conditions import Test
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, says_nothing
from apps.providers.engine.sources import Sources
from apps.providers.engine.spec import UNKNOWN_EVENT, EventSpec, ReadSpec

Json = Any
MAX_EVENT_NAME = 100


@dataclass(frozen=True)
class Identity:
    """What a payload says it is: the provider's event name, its row in the event table, call id, the event's own
    time."""

    event: str
    spec: EventSpec
    call_id: str | None
    occurred_at: str | None


class Reader:
    """A ReadSpec made ready to run."""

    def __init__(self, spec: ReadSpec, event_spec: Callable[[str], EventSpec]) -> None:
        self.aliases = spec.aliases
        self._event_spec = event_spec
        self._sources = Sources()
        self._event = self._slots(spec.event)
        self._call_id = self._slots(spec.call_id)
        self._occurred_at = self._slots(spec.occurred_at)
        self._classify: list[tuple[list[tuple[int, Test]], str]] = [
            (self._sources.tests(row.when), row.event) for row in spec.classify
        ]

    def _slots(self, paths: Iterable[str]) -> list[int]:
        return [self._sources.slot(path) for path in paths]

    def identify(self, payload: Json) -> Identity:
        """What the payload, read under its present names, says it is; an unnamed event is `unknown`."""
        values = self._sources.read(payload)
        name = self._event_name(values)
        call_id = self._first(self._call_id, values)
        if isinstance(call_id, bool) or not isinstance(call_id, (str, int)):
            call_id = None
        return Identity(name, self._event_spec(name), None if call_id is None else str(call_id), self._time(values))

    def under_new_names(self, payload: Json) -> Json:
        """The payload with members of old names under their new ones; itself where there are none."""
        if not isinstance(payload, dict) or not any(old in payload for old in self.aliases):
            return payload
        renamed = {key: value for key, value in payload.items() if key not in self.aliases}
        for old, new in self.aliases.items():
            if says_nothing(renamed.get(new)) and old in payload:
                renamed[new] = payload[old]
        return renamed

    def _event_name(self, values: list[Json]) -> str:
        for when, event in self._classify:
            if self._sources.hold(when, values):
                return event
        name = self._first(self._event, values)
        return name[:MAX_EVENT_NAME] if isinstance(name, str) else UNKNOWN_EVENT

    def _first(self, slots: list[int], values: list[Json]) -> Json:
        found = (self._sources.at(slot, values) for slot in slots)
        return next((value for value in found if value is not MISSING), None)

    def _time(self, values: list[Json]) -> str | None:
        for slot in self._occurred_at:
            value = self._sources.at(slot, values)
            if value is not MISSING and (time := _as_time(value)) is not None:
                return time
        return None


_CLOCK = transforms.Epoch(unit="auto")
_ISO = transforms.IsoTime()


def _as_time(value: Json) -> str | None:
    # No number has a colon: texts that have one need not be tried as Unix times, which costs an exception.
    readers = (_ISO,) if isinstance(value, str) and ":" in value else (_CLOCK, _ISO)
    for read in readers:
        try:
            return str(read(value))
        except TransformError:
            continue
    return None

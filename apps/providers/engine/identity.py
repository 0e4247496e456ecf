"""What a payload says it is: event, call, time. Read before anything is mapped, and of every delivery."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from apps.providers.engine import transforms
from apps.providers.engine.errors import TransformError
from apps.providers.engine.paths import MISSING, says_nothing
from apps.providers.engine.sources import Sources
from apps.providers.engine.spec import UNKNOWN_EVENT, EventSpec, ReadSpec

Json = Any
MAX_EVENT_NAME = 100


class Identity(NamedTuple):
    """What a payload says it is: the provider's event name, its row in the event table, call id, the event's own
    time, and other ids of the call."""

    event: str
    spec: EventSpec
    call_id: str | None
    occurred_at: str | None
    aliases: tuple[str, ...] = ()


def call_id_of(identities: Iterable[Identity]) -> str | None:
    """Of events that tell of one call, that id of theirs which is no other name of it."""
    known = list(identities)
    aliases = {alias for identity in known for alias in identity.aliases}
    ids = [identity.call_id for identity in known if identity.call_id]
    return next((call_id for call_id in ids if call_id not in aliases), ids[0] if ids else None)


class Reader:
    """A ReadSpec made ready to run."""

    def __init__(self, spec: ReadSpec, event_spec: Callable[[str], EventSpec]) -> None:
        self.old_names = spec.aliases
        self._event_spec = event_spec
        self._sources = Sources()
        self._event = self._slots(spec.event)
        self._call_id = self._slots(spec.call_id)
        self._also_known_as = self._slots(spec.also_known_as)
        self._occurred_at = self._slots(spec.occurred_at)
        self._classify = [(self._sources.tests(row.when), row.event) for row in spec.classify]

    def _slots(self, paths: Iterable[str]) -> list[int]:
        return [self._sources.slot(path) for path in paths]

    def identify(self, payload: Json) -> Identity:
        """What the payload, read under its present names, says it is; an unnamed event is `unknown`."""
        values = self._sources.read(payload)
        name = self._event_name(values)
        call_id = _id_text(self._sources.first(self._call_id, values))
        aliases = self._aliases(call_id, values) if call_id and self._also_known_as else ()
        return Identity(name, self._event_spec(name), call_id, self._time(values), aliases)

    def _aliases(self, call_id: str, values: list[Json]) -> tuple[str, ...]:
        others = (_id_text(self._sources.at(slot, values)) for slot in self._also_known_as)
        return tuple(dict.fromkeys(alias for alias in others if alias and alias != call_id))

    def under_new_names(self, payload: Json) -> Json:
        """The payload with members of old names under their new ones; itself where there are none."""
        if not self.old_names or not isinstance(payload, dict) or not any(old in payload for old in self.old_names):
            return payload
        renamed = {key: value for key, value in payload.items() if key not in self.old_names}
        for old, new in self.old_names.items():
            if says_nothing(renamed.get(new)) and old in payload:
                renamed[new] = payload[old]
        return renamed

    def _event_name(self, values: list[Json]) -> str:
        for when, event in self._classify:
            if self._sources.hold(when, values):
                return event
        name = self._sources.first(self._event, values)
        return name[:MAX_EVENT_NAME] if isinstance(name, str) else UNKNOWN_EVENT

    def _time(self, values: list[Json]) -> str | None:
        for slot in self._occurred_at:
            value = self._sources.at(slot, values)
            if value is not MISSING and (time := _as_time(value)) is not None:
                return time
        return None


def _id_text(value: Json) -> str | None:
    told = isinstance(value, (str, int)) and not isinstance(value, bool)
    return str(value) if told else None


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

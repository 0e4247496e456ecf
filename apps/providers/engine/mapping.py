"""From one verified payload to its fragment: what this event tells of its call, and a report of how it was read.

A fragment is small JSON and is stored with the delivery. It outlives the raw body, so a message can be folded
again at any time from fragments alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingType
from typing import Any

from apps.providers.engine.collect import Collections, call_document
from apps.providers.engine.conditions import compile_when, holds
from apps.providers.engine.errors import MappingError
from apps.providers.engine.filling import DEFAULT as DEFAULT
from apps.providers.engine.filling import DERIVED as DERIVED
from apps.providers.engine.filling import OBSERVED as OBSERVED
from apps.providers.engine.fragment import Fragment as Fragment
from apps.providers.engine.fragment import Items
from apps.providers.engine.fragment import Report as Report
from apps.providers.engine.fragment import Value as Value
from apps.providers.engine.identity import Identity as Identity
from apps.providers.engine.identity import Reader
from apps.providers.engine.identity import call_id_of as call_id_of
from apps.providers.engine.leftovers import Leftovers
from apps.providers.engine.paths import MISSING, compile_path, to_jsonpath
from apps.providers.engine.ready_made import upgraded
from apps.providers.engine.redact import compile_patterns
from apps.providers.engine.rules import BELOW as BELOW
from apps.providers.engine.rules import CallPlan, EventPlan
from apps.providers.engine.spec import EventSpec, MappingSpec, RedactSpec, RuleSpec

Json = Any
MAX_CALL_ID = 255
MAX_PLANS = 1000


class Mapping:
    """A MappingSpec made ready to run. Thread-safe: it holds no state of a payload.

    What one kind of event needs is worked out when its first payload comes, and kept.
    """

    def __init__(self, spec: MappingSpec) -> None:
        self.spec = spec
        self._reader = Reader(spec.read, self._event_spec)
        self._leftovers = Leftovers(spec)
        self._collections = Collections(spec.collections)
        self._plans: dict[str, EventPlan] = {}
        self._call_plan = CallPlan(spec)
        self._redact = [
            (
                compile_when(part.when) if part.when else None,
                compile_patterns(self._under_all_names(part.paths), hashed=part.hashed),
            )
            for part in spec.redact
            if not part.rows
        ]
        self._redact_rows = [part for part in spec.redact if part.rows]

    def rule(self, number: int) -> RuleSpec:
        return self.spec.rules[number]

    def source(self, number: int, payload: Json) -> Json:
        """What a rule reads in this payload, or MISSING; for showing how the rule came to its value."""
        return compile_path(self.spec.rules[number].source)(self._reader.under_new_names(payload))

    # --- before storing ---------------------------------------------------------------------------------

    def redact(self, body: bytes, payload: Json) -> bytes:
        """The body without the secrets that the mapping names; the very same object when there are none."""
        views = self._views(payload)
        for when, redactor in self._redact:
            if when is None or any(map(when, views)):
                body = redactor(body)
        for part in self._redact_rows:
            patterns = list(self._in_rows(part, payload, views))
            if patterns:
                body = compile_patterns(patterns, hashed=part.hashed)(body)
        return body

    def _in_rows(self, part: RedactSpec, payload: Json, views: list[Json]) -> Iterator[str]:
        """The part's patterns below each row that meets its condition. A body that is no JSON has no rows to judge: all
        values of those names go."""
        if payload is None:
            yield from part.paths
        elif not part.when or any(holds(part.when, view) for view in views):
            for rows in self._under_all_names([part.rows]):
                found = compile_path(rows)(payload)
                for number, row in enumerate(found if isinstance(found, list) else ()):
                    if holds(part.where, row):
                        yield from (f"{rows}[{number}].{pattern}" for pattern in part.paths)

    def _views(self, payload: Json) -> list[Json]:
        """The payload as each of its aliased members tells it: what one of them asks for binds all of the body."""
        if not isinstance(payload, dict):
            return [payload]
        aliased = [{**payload, new: payload[old]} for old, new in self.spec.read.aliases.items() if old in payload]
        return [payload, *aliased]

    def _under_all_names(self, patterns: Sequence[str]) -> list[str]:
        """The patterns, and the same under the old names of top-level members."""
        found = list(patterns)
        for old, new in self.spec.read.aliases.items():
            found += [old + pattern[len(new) :] for pattern in patterns if pattern.partition(".")[0] == new]
        return found

    def identify(self, payload: Json) -> Identity:
        """What the payload says it is; an unnamed event is `unknown` and gets stored."""
        return self._reader.identify(self._reader.under_new_names(payload))

    # --- mapping ----------------------------------------------------------------------------------------

    def apply(self, payload: Json, identity: Identity | None = None) -> tuple[Identity, Fragment, Report]:
        """Map one payload; `identity` if `identify` has told already. Raises MappingError when a required part is
        absent or cannot be read."""
        payload = self._reader.under_new_names(payload)
        identity = identity or self._reader.identify(payload)
        if self.spec.format == "vcp":
            message, migrations = upgraded(payload)
            return identity, Fragment(message=message), Report(migrations=migrations)
        plan = self._plan(identity.event)
        values = plan.sources.read(payload)
        self._check_required(identity, plan, values)
        fragment, report = Fragment(), Report()
        plan.fill(values, fragment, report)
        _take_artifact(identity.spec, payload, fragment)
        fragment.facts = plan.facts_in(values)
        fragment.data = self._leftovers.of(payload)
        if self.spec.collections:
            fragment.collected = self._collections.collect(payload, report.warnings)
        return identity, fragment, report

    # --- the whole call ---------------------------------------------------------------------------------

    def call_document(self, collected: Iterable[MappingType[str, Items]]) -> dict[str, Json]:
        """The call document from what the fragments of its events have collected."""
        return call_document(self._collections.all, collected)

    def facts_of_call(self, document: dict[str, Json]) -> dict[str, Json]:
        """What decision tables read of the whole call, by path."""
        return self._call_plan.facts_in(self._call_plan.sources.read(document)) if self._call_plan.facts else {}

    def apply_to_call(self, document: dict[str, Json]) -> tuple[dict[str, Value], Report]:
        """Run the rules that read the whole call. What they make of it, by target."""
        fragment, report = Fragment(), Report()
        self._call_plan.fill(self._call_plan.sources.read(document), fragment, report)
        return fragment.values, report

    # --- the steps of mapping ---------------------------------------------------------------------------

    def _check_required(self, identity: Identity, plan: EventPlan, values: list[Json]) -> None:
        if not isinstance(values[0], dict):
            raise MappingError("VCP_E004", "the payload is no JSON object", path="$")
        for path, slot in plan.required:
            if plan.sources.at(slot, values) is MISSING:
                raise MappingError("VCP_E005", f"{path} is missing; {identity.event} needs it", path=to_jsonpath(path))
        if identity.call_id is not None and len(identity.call_id) > MAX_CALL_ID:
            raise _too_long(self.spec.read.call_id[0])
        if any(len(alias) > MAX_CALL_ID for alias in identity.aliases):
            raise _too_long(self.spec.read.also_known_as[0])

    def _plan(self, event: str) -> EventPlan:
        plan = self._plans.get(event)
        if plan is None:
            plan = EventPlan(self.spec.event_spec(event), event, self.spec)
            if len(self._plans) < MAX_PLANS:  # names come from outside: remember only so many
                self._plans[event] = plan
        return plan

    def _event_spec(self, event: str) -> EventSpec:
        plan = self._plans.get(event)
        return self.spec.event_spec(event) if plan is None else plan.event


def _too_long(path: str) -> MappingError:
    return MappingError("VCP_E001", f"the call id is longer than {MAX_CALL_ID} characters", path=to_jsonpath(path))


def _take_artifact(event: EventSpec, payload: Json, fragment: Fragment) -> None:
    """The reference to the event's file; the event table says that it is one, no rule does."""
    if event.artifact is not None and (reference := compile_path(event.artifact.path)(payload)) is not MISSING:
        fragment.values[event.artifact.kind] = Value(OBSERVED, None, reference)

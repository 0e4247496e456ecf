"""From one verified payload to its fragment: what this event tells of its call, and a report of how it was read.

A fragment is small JSON and is stored with the delivery. It outlives the raw body, so a message can be folded
again at any time from fragments alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from apps.providers.engine import transforms
from apps.providers.engine.collect import Collections, Items, call_document
from apps.providers.engine.conditions import holds
from apps.providers.engine.errors import MappingError, TransformError
from apps.providers.engine.identity import Identity as Identity
from apps.providers.engine.identity import Reader
from apps.providers.engine.identity import call_id_of as call_id_of
from apps.providers.engine.leftovers import Leftovers
from apps.providers.engine.paths import MISSING, compile_path, to_jsonpath
from apps.providers.engine.ready_made import upgraded
from apps.providers.engine.redact import compile_patterns
from apps.providers.engine.rules import BELOW as BELOW
from apps.providers.engine.rules import DEFAULT as DEFAULT
from apps.providers.engine.rules import DERIVED as DERIVED
from apps.providers.engine.rules import OBSERVED as OBSERVED
from apps.providers.engine.rules import CallPlan, EventPlan, Plan, Rule
from apps.providers.engine.sources import LATER
from apps.providers.engine.spec import EventSpec, MappingSpec, RedactSpec, RuleSpec

Json = Any
MAX_CALL_ID = 255
MAX_PLANS = 1000
# What a value may raise on its way through a transform into its target.
UNFIT = (TransformError, ValidationError, RecursionError)


class Value(NamedTuple):
    """A value with its basis and the number of the rule that gave it (position in the mapping version)."""

    basis: str
    rule: int | None
    value: Json


# As Value(…), in a third of the time: one is made for every field of every payload.
_value = partial(tuple.__new__, Value)


@dataclass
class Fragment:
    """What one event tells: target values, the words that decision tables read, what no rule used, and what it adds
    to the call's collections."""

    values: dict[str, Value] = field(default_factory=dict)
    facts: dict[str, Json] = field(default_factory=dict)
    data: dict[str, Json] = field(default_factory=dict)
    # A ready-made message instead of all the above.
    message: dict[str, Json] | None = None
    collected: dict[str, Items] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        stored: dict[str, Json] = {
            "values": {target: list(value) for target, value in self.values.items()},
            "facts": self.facts,
            "data": self.data,
        }
        if self.collected:
            stored["collected"] = self.collected
        return {"message": self.message} if self.message is not None else stored

    @classmethod
    def from_json(cls, stored: dict[str, Json]) -> "Fragment":
        values = {target: Value(*parts) for target, parts in stored.get("values", {}).items()}
        rest = (stored.get("facts", {}), stored.get("data", {}), stored.get("message"), stored.get("collected", {}))
        return cls(values, *rest)


@dataclass
class Report:
    """How the rules fared. `used` and `missing` hold rule numbers; `failed` tells path and reason."""

    used: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    defaulted: list[int] = field(default_factory=list)
    failed: list[dict[str, Json]] = field(default_factory=list)
    unseen: list[dict[str, Json]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # Of a ready-made message of an older version, one: what it was, and what its upgrade made up and lost.
    migrations: list[dict[str, Json]] = field(default_factory=list)


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
            (part.when, compile_patterns(self._under_all_names(part.paths), hashed=part.hashed))
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
            if not when or any(holds(when, view) for view in views):
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
        self._fill_all(plan, values, fragment, report)
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
        self._fill_all(self._call_plan, self._call_plan.sources.read(document), fragment, report)
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

    def _fill_all(self, plan: Plan, values: list[Json], fragment: Fragment, report: Report) -> None:
        """Fill each target from the first of its rules that yields."""
        # One loop, written out: what stands here is done for every rule of every payload.
        sources, filled, used, missing = plan.sources, fragment.values, report.used, report.missing
        for target, rules, falls_back in plan.targets:
            for rule in rules:
                number, _, slot, basis, when, shared, convert, fit = rule
                if when and not sources.hold(when, values):
                    continue
                value = values[slot]
                if value is LATER:
                    value = sources.at(slot, values)
                if value is MISSING:
                    missing.append(number)
                    continue
                try:
                    value = convert(value) if shared is None else _convert_once(rule, value, values)
                    if fit is not None and value is not MISSING:
                        value = fit(value)
                except transforms.UnseenWord as unseen:
                    if self._take_default(rule, unseen, fragment, report):
                        break
                    continue
                except UNFIT as error:
                    self._fail(rule, error, report)
                    continue
                if value is not MISSING:
                    filled[target] = _value((basis, number, value))
                    used.append(number)
                    break
            else:
                if falls_back:
                    self._fall_back(target, rules, fragment, report)

    def _take_default(self, rule: Rule, unseen: transforms.UnseenWord, fragment: Fragment, report: Report) -> bool:
        """Fill a target with the default of the table that lacks the word, if it has one that fits."""
        report.unseen.append({"source": rule.spec.source, "word": str(unseen.word)[:100]})
        if unseen.default is MISSING:
            return False
        try:
            value = unseen.default if rule.fit is None else rule.fit(unseen.default)
        except UNFIT as error:
            self._fail(rule, error, report)
            return False
        fragment.values[rule.spec.target] = Value(DEFAULT, rule.number, value)
        report.defaulted.append(rule.number)
        return True

    def _fail(self, rule: Rule, error: Exception, report: Report) -> None:
        """Note a value that cannot be taken: it counts as missing, or the event fails if the rule is required."""
        reason = "does not fit the target's type" if isinstance(error, ValidationError) else str(error)
        if rule.spec.required:
            raise MappingError(
                "VCP_E004",
                f"{rule.spec.source}: {reason}",
                path=to_jsonpath(rule.spec.source),
                rule=rule.spec.describe(),
            ) from error
        report.failed.append(
            {
                "rule": rule.number,
                "path": to_jsonpath(rule.spec.source),
                "target": rule.spec.target,
                "error": reason,
            }
        )

    def _fall_back(self, target: str, rules: list[Rule], fragment: Fragment, report: Report) -> None:
        for rule in rules:
            if rule.spec.default is not None:
                fragment.values[target] = Value(DEFAULT, rule.number, rule.spec.default)
                report.defaulted.append(rule.number)
                return
        required = next((rule for rule in rules if rule.spec.required), None)
        if required is not None:
            raise MappingError(
                "VCP_E005",
                f"{required.spec.source} is missing; {target} needs it",
                path=to_jsonpath(required.spec.source),
                rule=required.spec.describe(),
            )


def _too_long(path: str) -> MappingError:
    return MappingError("VCP_E001", f"the call id is longer than {MAX_CALL_ID} characters", path=to_jsonpath(path))


def _convert_once(rule: Rule, value: Json, values: list[Json]) -> Json:
    """What the first rule with this source and transform made of it. One that raises is asked again."""
    assert rule.shared is not None  # noqa: S101 - the caller has looked
    if values[rule.shared] is LATER:
        values[rule.shared] = rule.convert(value)
    return values[rule.shared]


def _take_artifact(event: EventSpec, payload: Json, fragment: Fragment) -> None:
    """The reference to the event's file; the event table says that it is one, no rule does."""
    if event.artifact is not None and (reference := compile_path(event.artifact.path)(payload)) is not MISSING:
        fragment.values[event.artifact.kind] = Value(OBSERVED, None, reference)

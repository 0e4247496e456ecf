"""From one verified payload to its fragment: what this event tells of its call, and a report of how it was read.

A fragment is small JSON and is stored with the delivery. It outlives the raw body, so a message can be folded
again at any time from fragments alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from apps.providers.engine import transforms
from apps.providers.engine.collect import Collection, Items, call_document
from apps.providers.engine.conditions import holds
from apps.providers.engine.errors import MappingError, TransformError
from apps.providers.engine.paths import MISSING, compile_path, first_key, says_nothing, to_jsonpath, without
from apps.providers.engine.redact import compile_patterns
from apps.providers.engine.spec import (
    RULE_TARGETS,
    UNKNOWN_EVENT,
    EventSpec,
    MappingSpec,
    RedactSpec,
    RuleSpec,
    reads_call,
)
from vcp.models import field_type

Json = Any
# How a value came to be. A stronger basis is never overwritten by a weaker one.
OBSERVED, DERIVED, DEFAULT = "observed", "derived", "default"
MAX_EVENT_NAME = 100
MAX_CALL_ID = 255
# As much as the columns of a stored message hold (a cost as a float still exact to the nano-dollar); more is no fact of
# a call but a mistake, and is left out.
BELOW = {
    "call.duration_sec": 2**31,
    "outcomes.model_outcome_attribution.total_cost_usd": 10**6,
    "outcomes.model_outcome_attribution.roles.*.minutes": 2**31 / 60,
}


@dataclass
class Value:
    """A value with its basis and the number of the rule that gave it (position in the mapping version)."""

    basis: str
    rule: int | None
    value: Json

    def to_json(self) -> list[Json]:
        return [self.basis, self.rule, self.value]


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
            "values": {target: value.to_json() for target, value in self.values.items()},
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


@dataclass(frozen=True)
class Identity:
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


@dataclass(frozen=True)
class _CompiledRule:
    number: int
    spec: RuleSpec
    get: Callable[[Json], Json]
    convert: Callable[[Json], Json]
    adapter: TypeAdapter[Any] | None


class Mapping:
    """A MappingSpec made ready to run. Thread-safe: it holds no state of a payload."""

    def __init__(self, spec: MappingSpec) -> None:
        self.spec = spec
        self._rules = [_compile_rule(number, rule) for number, rule in enumerate(spec.rules)]
        self._by_event: dict[str, list[tuple[str, list[_CompiledRule]]]] = {}
        self._collections = [Collection(one) for one in spec.collections]
        self._call_targets = _by_target(rule for rule in self._rules if rule.spec.of_call)
        facts = {path for decision in spec.decisions for path in decision.paths() if not reads_call(path)}
        self._facts = {path: compile_path(path) for path in facts}
        self._used_keys = self._keys_used()
        self._redact = [
            (part.when, compile_patterns(self._under_all_names(part.paths), hashed=part.hashed))
            for part in spec.redact
            if not part.rows
        ]
        self._redact_rows = [part for part in spec.redact if part.rows]
        self._clock = transforms.Epoch(unit="auto")

    def rule(self, number: int) -> RuleSpec:
        return self.spec.rules[number]

    def source(self, number: int, payload: Json) -> Json:
        """What a rule reads in this payload, or MISSING; for showing how the rule came to its value."""
        return self._rules[number].get(self._with_aliases(payload))

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
        payload = self._with_aliases(payload)
        name = self._event_name(payload)
        call_id = _id_text(self._first(self.spec.read.call_id, payload))
        others = (_id_text(compile_path(path)(payload)) for path in self.spec.read.also_known_as)
        aliases = tuple(dict.fromkeys(alias for alias in others if alias and alias != call_id))
        return Identity(name, self.spec.event_spec(name), call_id, self._time(payload), aliases if call_id else ())

    def _event_name(self, payload: Json) -> str:
        for row in self.spec.read.classify:
            if holds(row.when, payload):
                return row.event
        name = self._first(self.spec.read.event, payload)
        return name[:MAX_EVENT_NAME] if isinstance(name, str) else UNKNOWN_EVENT

    def _first(self, paths: Sequence[str], payload: Json) -> Json:
        found = (compile_path(path)(payload) for path in paths)
        return next((value for value in found if value is not MISSING), None)

    def _time(self, payload: Json) -> str | None:
        for path in self.spec.read.occurred_at:
            value = compile_path(path)(payload)
            for read in (self._clock, transforms.IsoTime()):
                try:
                    return str(read(value))
                except TransformError:
                    continue
        return None

    def _with_aliases(self, payload: Json) -> Json:
        if not isinstance(payload, dict) or not any(old in payload for old in self.spec.read.aliases):
            return payload
        renamed = {key: value for key, value in payload.items() if key not in self.spec.read.aliases}
        for old, new in self.spec.read.aliases.items():
            if says_nothing(renamed.get(new)) and old in payload:
                renamed[new] = payload[old]
        return renamed

    # --- mapping ----------------------------------------------------------------------------------------

    def apply(self, payload: Json) -> tuple[Identity, Fragment, Report]:
        """Map one payload. Raises MappingError when a required part is absent or cannot be read."""
        payload = self._with_aliases(payload)
        identity = self.identify(payload)
        if self.spec.format == "vcp":
            return identity, Fragment(message=payload), Report()
        self._check_required(identity, payload)
        fragment, report = Fragment(), Report()
        for target, rules in self._targets(identity.event):
            self._fill(target, rules, payload, fragment, report)
        _take_artifact(identity.spec, payload, fragment)
        fragment.facts = {path: value for path, get in self._facts.items() if not says_nothing(value := get(payload))}
        fragment.data = self._leftovers(payload)
        found = {one.spec.name: one.collect(payload, report.warnings) for one in self._collections}
        fragment.collected = {name: items for name, items in found.items() if items}
        return identity, fragment, report

    # --- the whole call ---------------------------------------------------------------------------------

    def call_document(self, collected: Iterable[MappingType[str, Items]]) -> dict[str, Json]:
        """The call document from what the fragments of its events have collected."""
        return call_document(self._collections, collected)

    def apply_to_call(self, document: dict[str, Json]) -> tuple[dict[str, Value], Report]:
        """Run the rules that read the whole call. What they make of it, by target."""
        fragment, report = Fragment(), Report()
        for target, rules in self._call_targets.items():
            self._fill(target, rules, document, fragment, report)
        return fragment.values, report

    # --- the steps of mapping ---------------------------------------------------------------------------

    def _check_required(self, identity: Identity, payload: Json) -> None:
        if not isinstance(payload, dict):
            raise MappingError("VCP_E004", "the payload is no JSON object", path="$")
        for path in identity.spec.required:
            if compile_path(path)(payload) is MISSING:
                raise MappingError("VCP_E005", f"{path} is missing; {identity.event} needs it", path=to_jsonpath(path))
        named = [(identity.call_id or "", self.spec.read.call_id)]
        named += [(alias, self.spec.read.also_known_as) for alias in identity.aliases]
        for text, paths in named:
            if len(text) > MAX_CALL_ID:
                problem = f"the call id is longer than {MAX_CALL_ID} characters"
                raise MappingError("VCP_E001", problem, path=to_jsonpath(paths[0]))

    def _targets(self, event: str) -> list[tuple[str, list[_CompiledRule]]]:
        targets = self._by_event.get(event)
        if targets is None:
            fitting = (rule for rule in self._rules if not rule.spec.of_call and rule.spec.applies_to(event))
            targets = list(_by_target(fitting).items())
            if len(self._by_event) < 1000:  # names come from outside: remember only so many
                self._by_event[event] = targets
        return targets

    def _fill(self, target: str, rules: list[_CompiledRule], payload: Json, fragment: Fragment, report: Report) -> None:
        for rule in rules:
            if rule.spec.when and not holds(rule.spec.when, payload):
                continue
            value = rule.get(payload)
            basis = DERIVED if rule.spec.inferred else OBSERVED
            if value is MISSING:
                report.missing.append(rule.number)
            else:
                value, basis = self._convert(rule, value, basis, report)
            if value is not MISSING:
                fragment.values[target] = Value(basis, rule.number, value)
                (report.defaulted if basis == DEFAULT else report.used).append(rule.number)
                return
        self._fall_back(target, rules, fragment, report)

    def _convert(self, rule: _CompiledRule, value: Json, basis: str, report: Report) -> tuple[Json, str]:
        try:
            try:
                converted = rule.convert(value)
            except transforms.UnseenWord as unseen:
                report.unseen.append({"source": rule.spec.source, "word": str(unseen.word)[:100]})
                converted, basis = unseen.default, DEFAULT
            return _fitted(rule, converted), basis
        except (TransformError, ValidationError, RecursionError) as error:
            self._fail(rule, error, report)
            return MISSING, basis

    def _fail(self, rule: _CompiledRule, error: Exception, report: Report) -> None:
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

    def _fall_back(self, target: str, rules: list[_CompiledRule], fragment: Fragment, report: Report) -> None:
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

    # --- what no rule used ------------------------------------------------------------------------------

    def _keys_used(self) -> set[tuple[str, ...]]:
        read = self.spec.read
        kept = {rule.source for rule in self.spec.rules if rule.keep}
        used = [rule.source for rule in self.spec.rules if rule.source not in kept and not rule.of_call]
        used += [*read.event, *read.call_id, *self.spec.leftovers.drop]
        used += [event.artifact.path for event in self.spec.events if event.artifact is not None]
        return {tuple(keys) for path in used if (keys := first_key(path))}

    def _leftovers(self, payload: dict[str, Json]) -> dict[str, Json]:
        rest = without(payload, self._used_keys)
        lifted: dict[str, Json] = {}
        for path in self.spec.leftovers.lift:
            inner = compile_path(path)(rest)
            if isinstance(inner, dict):
                lifted |= {key: value for key, value in inner.items() if not says_nothing(value)}
        lifted_tops = {first_key(path)[0] for path in self.spec.leftovers.lift}
        for key, value in rest.items():
            if key not in lifted_tops and not says_nothing(value):
                lifted.setdefault(key, value)
        return lifted


def _id_text(value: Json) -> str | None:
    told = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if told else None


def _by_target(rules: Iterable[_CompiledRule]) -> dict[str, list[_CompiledRule]]:
    grouped: dict[str, list[_CompiledRule]] = {}
    for rule in rules:
        grouped.setdefault(rule.spec.target, []).append(rule)
    return grouped


def _compile_rule(number: int, rule: RuleSpec) -> _CompiledRule:
    adapter = None if rule.target in RULE_TARGETS else field_type(rule.target)
    return _CompiledRule(number, rule, compile_path(rule.source), transforms.build(rule.transform, rule.args), adapter)


def _take_artifact(event: EventSpec, payload: Json, fragment: Fragment) -> None:
    """The reference to the event's file; the event table says that it is one, no rule does."""
    if event.artifact is not None and (reference := compile_path(event.artifact.path)(payload)) is not MISSING:
        fragment.values[event.artifact.kind] = Value(OBSERVED, None, reference)


def _fitted(rule: _CompiledRule, value: Json) -> Json:
    """The value in the normal form of its target. Raises ValidationError or TransformError when it does not fit."""
    if value is MISSING or rule.adapter is None:
        return value
    try:
        checked = rule.adapter.validate_python(value)
    except ValidationError as error:
        # What an object lacks may be filled by other rules; the whole message is checked again later.
        if isinstance(value, dict) and all(problem["type"] == "missing" for problem in error.errors()):
            return value
        raise
    if isinstance(value, dict | list):
        return value
    limit = BELOW.get(rule.spec.target)
    if limit is not None and checked >= limit:
        raise TransformError(f"a value below {limit:g}", value)
    return rule.adapter.dump_python(checked, mode="json")

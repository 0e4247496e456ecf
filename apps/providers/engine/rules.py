"""The rules of a mapping made ready to run, for one kind of event or for the whole call: those that apply, with their
paths, conditions and transforms, and `fit`, which gives a value in the normal form of its target's type.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from apps.providers.engine import transforms
from apps.providers.engine.errors import TransformError
from apps.providers.engine.filling import DERIVED, OBSERVED, Convert, Fill, Rule, Target, compile_fill
from apps.providers.engine.paths import MISSING
from apps.providers.engine.sources import Sources
from apps.providers.engine.spec import RULE_TARGETS, EventSpec, MappingSpec, RuleSpec, reads_call
from vcp.models import field_shape
from vcp.shape import Shape

Json = Any
# As much as the columns of a stored message hold (a cost as a float still exact to the nano-dollar); more is no fact of
# a call but a mistake, and is left out.
BELOW = {
    "call.duration_sec": 2**31,
    "outcomes.model_outcome_attribution.total_cost_usd": 10**6,
    "outcomes.model_outcome_attribution.roles.*.minutes": 2**31 / 60,
}


class Plan:
    """Rules ready to run, with their sources. Rules of one target stand together, in their order."""

    def __init__(self, rules: Iterable[tuple[int, RuleSpec]]) -> None:
        self.sources = Sources()
        numbered = list(rules)
        self._converted = Counter(_conversion(rule) for _, rule in numbered)
        grouped: dict[str, list[Rule]] = {}
        for number, rule in numbered:
            grouped.setdefault(rule.target, []).append(self._compiled(number, rule))
        self.targets = [Target(name, found, _has_fallback(found)) for name, found in grouped.items()]
        self.facts: list[tuple[str, int]] = []

    @cached_property
    def fill(self) -> Fill:
        """Fills a fragment from the values that `sources` has read, and reports how; see `filling.py`."""
        return compile_fill(self.targets, self.sources)

    def read_facts(self, paths: Iterable[str]) -> None:
        """Have these paths read as well: decision tables look at them."""
        self.facts = [(path, self.sources.slot(path)) for path in dict.fromkeys(paths)]

    def facts_in(self, values: list[Json]) -> dict[str, Json]:
        """What the payload with these values tells at the paths of `read_facts`."""
        at = self.sources.at
        return {path: value for path, slot in self.facts if (value := at(slot, values)) is not MISSING}

    def _compiled(self, number: int, rule: RuleSpec) -> Rule:
        transform = transforms.build(rule.transform, rule.args)
        fit = _compile_fit(rule.target, transform)
        return Rule(
            number=number,
            spec=rule,
            slot=self.sources.slot(rule.source),
            basis=DERIVED if rule.inferred else OBSERVED,
            when=self.sources.tests(rule.when),
            shared=self._shared_slot(_conversion(rule)),
            # The bound method: calling the model itself costs a look-up more.
            convert=transform.__call__,
            fit=fit,
            quick=_quick(rule.target, transform, fit),
        )

    def _shared_slot(self, conversion: str) -> int | None:
        return self.sources.shared_slot(conversion) if self._converted[conversion] > 1 else None


def _conversion(rule: RuleSpec) -> str:
    """What a rule reads and how it converts it, apart from whether and whereto."""
    return json.dumps([rule.source, rule.transform, rule.args], default=str)


def _has_fallback(rules: list[Rule]) -> bool:
    return any(rule.spec.required or rule.spec.default is not None for rule in rules)


class EventPlan(Plan):
    """All that one kind of event needs."""

    def __init__(self, event: EventSpec, name: str, spec: MappingSpec) -> None:
        super().__init__((n, rule) for n, rule in enumerate(spec.rules) if not rule.of_call and rule.applies_to(name))
        self.event = event
        self.required = [(path, self.sources.slot(path)) for path in event.required]
        self.read_facts(path for path in _decision_paths(spec) if not reads_call(path))


class CallPlan(Plan):
    """The rules that read the whole call."""

    def __init__(self, spec: MappingSpec) -> None:
        super().__init__((number, rule) for number, rule in enumerate(spec.rules) if rule.of_call)
        self.read_facts(path for path in _decision_paths(spec) if reads_call(path))


def _decision_paths(spec: MappingSpec) -> list[str]:
    return [path for decision in spec.decisions for path in sorted(decision.paths())]


def _compile_fit(target: str, transform: transforms.Transform) -> Convert | None:
    place = None if target in RULE_TARGETS else field_shape(target)
    limit = BELOW.get(target)
    if place is None or (limit is None and transform.fits(place)):
        return None
    is_normal = _normal_test(place)

    def fit(value: Json) -> Json:
        if not is_normal(value):
            value = _normal(value, place)
        if limit is not None and value >= limit:
            raise TransformError(f"a value below {limit:g}", value)
        return value

    return fit


def _quick(target: str, transform: transforms.Transform, fit: Convert | None) -> transforms.Quick | None:
    """The transform's short way, where what it gives needs no second look, or only a glance."""
    quick = transform.quick()
    if quick is None or fit is None:
        return quick
    place = None if target in BELOW else field_shape(target)
    if place is None or quick != transforms.AS_IT_IS:
        return None
    return transforms.Quick("GIVEN(value)", "value", _normal_test(place))


def _normal_test(place: Shape) -> Callable[[Json], bool]:
    """A test that says yes only to what `_normal` would take and give back unchanged."""
    if place.kind == "map" and place.keys is not None and place.item is not None:
        keys, item = place.keys, _normal_test(place.item)
        return lambda value: type(value) is dict and value.keys() <= keys and all(map(item, value.values()))
    if place.kind == "model" and not place.tagged:
        tests = {name: _normal_test(inner) for name, inner in place.fields.items()}
        return lambda value: (
            type(value) is dict and all(key in tests and tests[key](inner) for key, inner in value.items())
        )
    return place.is_normal


def _normal(value: Json, place: Shape) -> Json:
    try:
        checked = place.adapter.validate_python(value)
    except ValidationError as error:
        # What an object lacks may be filled by other rules; the whole message is checked again later.
        if isinstance(value, dict) and all(problem["type"] == "missing" for problem in error.errors()):
            return value
        raise
    return value if isinstance(value, (dict, list)) else place.adapter.dump_python(checked, mode="json")

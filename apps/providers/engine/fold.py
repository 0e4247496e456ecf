"""All fragments of one call as one VCP message; the same result in whatever order the events arrived.

Events are laid over each other by rank, then the provider's clock, then the body's digest. Observed beats derived beats
default, what is absent never overwrites, lists are replaced whole, but for collections, which grow. Outcome, duration,
gap and headline are worked out from the merged call. Provider facts stay outside: they are rules and decision tables.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

from apps.providers.engine.conditions import Decision
from apps.providers.engine.mapping import BELOW, DEFAULT, DERIVED, OBSERVED, Fragment, Mapping, Report, Value
from apps.providers.engine.paths import fill, put, put_at, says_nothing
from apps.providers.engine.prices import EstimateSpec, Rates, estimate
from apps.providers.engine.spec import (
    ARTIFACT_TARGETS,
    CALLER_TARGET,
    FILE_TARGETS,
    RULE_TARGETS,
    STAGES,
    Stage,
)
from apps.providers.engine.transforms import to_iso
from vcp.gap import perception_gap

Json = Any
STRENGTH = {DEFAULT: 0, DERIVED: 1, OBSERVED: 2}
STATUS = "outcomes.objective.status"
TOTAL_COST = "outcomes.model_outcome_attribution.total_cost_usd"
START, END, DURATION = "call.start_time", "call.end_time", "call.duration_sec"
MAX_HEADLINE = 120
LONG_AGO = datetime.min.replace(tzinfo=UTC)
# Words that stand where a number would: a pseudonym of them would make one person of all hidden callers.
NO_CALLER = frozenset({"anonymous", "restricted", "private", "unavailable", "unknown", "blocked", "withheld"})


@dataclass(frozen=True)
class Event:
    """One event of a call, as stored: its fragment and what orders it."""

    fragment: Fragment
    name: str
    rank: int
    opens_call: bool
    proves: Stage | None
    occurred_at: str | None
    digest: str
    received_at: datetime
    payload_ref: str = ""
    failures: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[int, datetime, str, str]:
        # The reference tells apart what is equal in all else: one body that came to two endpoints.
        clock = _moment(self.occurred_at) if self.occurred_at else LONG_AGO
        return self.rank, clock, self.digest, self.payload_ref


def no_reference(kind: str, content: Json) -> str | None:
    """The reference of a large part where none is kept."""
    return None


def no_prices(model: str, at_iso: str) -> Rates | None:
    """The price list where none is known."""
    return None


@dataclass(frozen=True)
class Context:
    """What a message says beside the payloads. `pseudonym` turns a telephone number into a keyed one."""

    provider: str
    provider_name: str
    call_id: str
    retention_policy: str
    pseudonym: Callable[[str], str]
    # What people corrected, by target; stronger than anything told, and what is worked out follows it. None takes away.
    corrections: MappingType[str, Json] = field(default_factory=dict)
    # The prices of a model that are in force at a time, which is ISO 8601 with its zone.
    prices: Callable[[str, str], Rates | None] = no_prices
    # The reference under which a large part (its kind and content) will be kept; none: the message refers to nothing.
    artifact_ref: Callable[[str, Json], str | None] = no_reference


@dataclass
class Folded:
    """The message as plain JSON, without checksum and processing times; `ready_made` when its sender wrote it whole.

    `report` and `artifacts` (by kind) are of the rules that read the whole call; each of those artifacts is to be kept
    under the reference that the context gave for it.
    """

    message: dict[str, Json]
    stage: Stage
    unseen: list[dict[str, Json]] = field(default_factory=list)
    ready_made: bool = False
    report: Report = field(default_factory=Report)
    artifacts: dict[str, Json] = field(default_factory=dict)


def fold(events: Iterable[Event], mapping: Mapping, context: Context) -> Folded | None:
    """One message of a call's events, or None while no event among them may open the call."""
    ordered = sorted(events, key=lambda event: event.order)
    if not any(event.opens_call for event in ordered):
        return None
    whole = next((event for event in reversed(ordered) if event.fragment.message is not None), None)
    if whole is not None:
        # A ready-made message stands for itself; nothing is worked out for its sender.
        return Folded(dict(whole.fragment.message or {}), _stage(ordered), ready_made=True)
    merged = _Merged(ordered, mapping, context)
    message = merged.message()
    return Folded(message, merged.stage, merged.unseen, report=merged.report, artifacts=merged.artifacts)


def _stage(events: Sequence[Event]) -> Stage:
    proven = [STAGES.index(event.proves) for event in events if event.proves]
    return STAGES[max(proven, default=0)]


class _Merged:
    """The merged call while its message is being built; the steps of `message` are in the order they depend on."""

    def __init__(self, events: Sequence[Event], mapping: Mapping, context: Context) -> None:
        self.events = events
        self.mapping = mapping
        self.context = context
        self.stage = _stage(events)
        self.values: dict[str, Value] = {}
        self.facts: dict[str, Json] = {}
        self.data: dict[str, Json] = {}
        self.history: list[str] = []
        self.problems: list[str] = sorted({text for event in events for text in event.failures})
        self.unseen: list[dict[str, Json]] = []
        self.artifacts: dict[str, Json] = {}
        self.estimated: list[str] = []
        for event in events:
            self._lay_over(event.fragment)
        self.document = mapping.call_document(event.fragment.collected for event in events)
        self._read_document()
        for target, value in context.corrections.items():
            self.values.pop(target, None)
            if value is not None:
                self.values[target] = Value(OBSERVED, None, value)

    def _lay_over(self, fragment: Fragment) -> None:
        for target, value in fragment.values.items():
            there = self.values.get(target)
            if there is None or STRENGTH[value.basis] >= STRENGTH[there.basis]:
                self.values[target] = value
        self.facts |= fragment.facts
        self.data = overlay(self.data, fragment.data)

    def _read_document(self) -> None:
        """What the rules make of the whole call fills what no event told as strongly."""
        self.facts |= self.mapping.facts_of_call(self.document)
        found, self.report = self.mapping.apply_to_call(self.document)
        self.unseen += self.report.unseen
        self.problems += [f"{failure['path']}: {failure['error']}" for failure in self.report.failed]
        for target, value in found.items():
            if target in ARTIFACT_TARGETS:
                self._keep_artifact(target, value)
            elif self._is_weaker(target, value):
                self.values[target] = value

    def _is_weaker(self, target: str, value: Value) -> bool:
        there = self.values.get(target)
        return there is None or STRENGTH[there.basis] < STRENGTH[value.basis]

    def _keep_artifact(self, kind: str, value: Value) -> None:
        target = ARTIFACT_TARGETS[kind]
        if self._is_weaker(target, value):
            self.artifacts[kind] = value.value
            ref = self.context.artifact_ref(kind, value.value)
            self.values[target] = Value(value.basis, value.rule, ref)

    # --- reading and adding ---------------------------------------------------------------------------

    def get(self, target: str) -> Json:
        value = self.values.get(target)
        return None if value is None else value.value

    def observed(self, target: str) -> Json:
        value = self.values.get(target)
        return value.value if value is not None and value.basis == OBSERVED else None

    def add(self, target: str, value: Json, basis: str = DERIVED) -> None:
        """Set a target that is still open."""
        if value is not None and target not in self.values:
            self.values[target] = Value(basis, None, value)

    # --- the message ------------------------------------------------------------------------------------

    def message(self) -> dict[str, Json]:
        for decision in self.mapping.spec.decisions:
            self._decide(decision)
        self._times()
        self._costs()
        self._medium()
        self._caller()
        self.add(STATUS, "unknown", DEFAULT)
        self._gap()
        self._words_for_people()
        payload = self._payload()
        self._finish_roles(payload)
        return {
            "vcp_version": "0.5",
            "vcp_payload": payload,
            "audit": {
                "received_at": to_iso(self._first_received()),
                "schema_version": "0.5",
                "validation_errors": self.problems,
            },
        }

    def _decide(self, decision: Decision) -> None:
        value, held = decision.decide(self.facts.get)
        word = decision.unseen_word(self.facts.get)
        if word is not None:
            self.unseen.append({"source": decision.vocabulary, "word": word[:100]})
        if decision.target not in self.values and value is not None:
            # What a table says is read from the provider's words: as good as told, no guess of ours.
            self.values[decision.target] = Value(OBSERVED if held else DEFAULT, None, value)

    def _first_received(self) -> datetime:
        return min(event.received_at for event in self.events)

    def _times(self) -> None:
        start, end, duration = self.observed(START), self.observed(END), self.observed(DURATION)
        if end is not None and duration is not None:
            self._infer(START, _shifted(end, -duration))
        # An event is told after its call began, and a call begins before it ends.
        clocks = [event.occurred_at for event in self.events if event.occurred_at] + ([end] if end else [])
        if clocks:
            self._infer(START, min(clocks, key=_moment))
        if START not in self.values:
            estimated = self._start_by_receipt(duration)
            self._infer(START, estimated or to_iso(self._first_received()))
            self.history.append("start_time_estimated" if estimated else "start_time_unknown")
        if self.mapping.spec.end_from_duration and start and duration is not None:
            self._infer(END, _shifted(start, duration))
        self._check_end()
        if start is not None and self.observed(END) is not None:
            seconds = _seconds_between(start, self.observed(END))
            self.add(DURATION, seconds if seconds < BELOW[DURATION] else None)

    def _start_by_receipt(self, duration: int | None) -> str | None:
        if not self.mapping.spec.start_from_receipt or duration is None:
            return None
        ends = [event.received_at for event in self.events if event.proves in ("ended", "analysed")]
        return _shifted(to_iso(min(ends)), -duration) if ends else None

    def _check_end(self) -> None:
        end = self.get(END)
        if end is not None and _moment(end) < _moment(self.get(START)):
            # Left out whichever event brought it, so the message is the same in every order.
            del self.values[END]
            self.problems.append("X1: end_time is before start_time; end_time left out")

    def _infer(self, target: str, value: Json) -> None:
        self.add(target, value, DERIVED)

    def _costs(self) -> None:
        """What the usage costs by the price list of the call's day. A total needs the first estimate; further ones are
        added where they are known."""
        estimates = self.mapping.spec.estimates
        self.estimated = [spec.target for spec in estimates if self._estimate(spec)]
        if not self.estimated:
            return
        first, *further = (self.get(spec.target) for spec in estimates)
        if first is not None and TOTAL_COST not in self.values:
            total = sum((Decimal(str(cost)) for cost in further if cost is not None), Decimal(str(first)))
            self._infer(TOTAL_COST, float(total))
            self.estimated.append(TOTAL_COST)
        if TOTAL_COST in self.estimated:
            self.add("outcomes.model_outcome_attribution.kpis.cost_per_call_usd", self.get(TOTAL_COST), OBSERVED)
            self.add("outcomes.model_outcome_attribution.kpis.cost_estimated", True, OBSERVED)

    def _estimate(self, spec: EstimateSpec) -> bool:
        if spec.target in self.values:
            return False
        start = self.get(START)
        cost = estimate(spec, self.document, self.get(spec.model), lambda model: self.context.prices(model, start))
        if cost is None or cost >= BELOW[TOTAL_COST]:
            return False
        self._infer(spec.target, float(cost))
        return True

    def _medium(self) -> None:
        if self.get("call.direction") is not None:
            self.add("call.channel", "phone")

    def _caller(self) -> None:
        side = {"inbound": "call.from", "outbound": "call.to"}.get(self.get("call.direction") or "")
        number = (self.get(side) if side else None) or self.get(CALLER_TARGET)
        if number and number.strip().lower() not in NO_CALLER:
            self.add("call.caller_id", self.context.pseudonym(number), OBSERVED)

    def _gap(self) -> None:
        score = self.get("outcomes.user_satisfaction_score")
        gap = perception_gap([] if score is None else [score], self.get(STATUS))
        self.add("outcomes.perception_gap", gap or dict(_NOT_ASSESSED), OBSERVED)

    def _words_for_people(self) -> None:
        summary = self.get("hcr.summary")
        self.add("hcr.headline", _first_sentence(summary or "") or self._plain_headline(), OBSERVED)
        duration = self.get(DURATION)
        self.add("outcomes.objective.metrics.aht_sec", duration, OBSERVED)
        self.add("hcr.impact_metrics.aht_sec", duration, OBSERVED)

    def _plain_headline(self) -> str:
        direction = self.get("call.direction")
        words = [self.context.provider_name, direction, "call"] if direction else [self.context.provider_name, "call"]
        if self.stage == "in_progress":
            return " ".join([*words, "in progress"])
        text = f"{' '.join(words)}: {self.get(STATUS)}"
        reason = self.get("outcomes.objective.metrics.disconnect_reason")
        return ", ".join([f"{text} ({reason})" if reason else text, *self._measures()])[:MAX_HEADLINE]

    def _measures(self) -> list[str]:
        """How much of a call there was, of those whose conversation is put together here and tell no summary."""
        turns = self.artifacts.get("transcript")
        if turns is None:
            return []
        counted = {"turn": len(turns), "tool call": len(self.get("call.capabilities_invoked") or ())}
        found = [f"{number} {word}{'' if number == 1 else 's'}" for word, number in counted.items() if number]
        return found if self.get(DURATION) is None else [*found, f"{self.get(DURATION)} s"]

    def _payload(self) -> dict[str, Json]:
        slug, call_id = self.context.provider, self.context.call_id
        payload: dict[str, Json] = {}
        plain, stars = _places(tuple(self.values))
        for target, keys in plain:
            put_at(payload, keys, self.values[target].value)
        for target, keys in stars:
            if not _put_each(payload, keys, self.values[target].value):
                del self.values[target]  # nothing there to put it in: it is no part of the message
        put(payload, "call.call_id", call_id)
        put(payload, "call.session_id", call_id)
        put(payload, "call.provider", slug)
        put_at(payload, ("custom", "provider_specific", slug, "data"), self.data, shared=True)
        put(payload, "artifacts.provider_raw_payload_ref", self.events[-1].payload_ref or None)
        put(
            payload,
            "model_selection",
            {"policy_id": f"{slug}_default", "resolved_at": self.get(START), "roles": {}},
        )
        put(payload, "outcomes.model_outcome_attribution", {"roles": {}, "kpis": {}})
        put(payload, "hcr", {"audience": "system", "outcome_status": self.get(STATUS)})
        put(payload, "provenance", self._provenance(slug))
        return payload

    def _provenance(self, slug: str) -> dict[str, Json]:
        derived = sorted(target for target, value in self.values.items() if value.basis == DERIVED)
        inferred = [f"{'estimated' if target in self.estimated else 'inferred'}:{target}" for target in derived]
        # Which events, in the order of the fold, and the hash of each body as it was received; two endpoints may get
        # the same one.
        steps = dict.fromkeys(f"event:{event.name} sha256:{event.digest}" for event in self.events)
        return {
            "source_system": f"{slug}_webhook_api",
            "created_at": to_iso(self._first_received()),
            "created_by": f"{slug}_webhook_processor",
            "transformation_history": [
                f"received_from_{slug}_webhook",
                *steps,
                "mapped_to_vcp_v0.5",
                *self.history,
                *inferred,
            ],
            "data_retention_policy": self.context.retention_policy,
            "compliance_flags": [],
        }

    def _finish_roles(self, payload: dict[str, Json]) -> None:
        """What a role needs and no rule gave: a model's name, and minutes, which then are those of the call."""
        for role in payload["model_selection"]["roles"].values():
            fill(role, "chosen", "unknown")
        minutes = Decimal(self.get(DURATION) or 0) / 60
        for role in payload["outcomes"]["model_outcome_attribution"]["roles"].values():
            fill(role, "model_id", "unknown")
            fill(role, "minutes", float(minutes.quantize(Decimal("0.0001"), ROUND_HALF_UP)))


_NOT_ASSESSED: dict[str, Json] = {"gap_score": 0.0, "gap_class": "aligned", "factors": ["not_assessed"]}


Places = tuple[tuple[str, tuple[str, ...]], ...]


@lru_cache(maxsize=1000)
def _places(targets: tuple[str, ...]) -> tuple[Places, Places]:
    """The targets that are fields, each with its keys, in the order of filling, and those with `*` among their keys.

    Remembered, for the calls of one mapping tell the same few sets of targets again and again.
    """
    # Shallow targets first: a deeper one then fills what the shallower left open.
    ordered = sorted(targets, key=lambda name: (name.count("."), name))
    fields = [name for name in ordered if name not in RULE_TARGETS and name not in FILE_TARGETS]
    places = [(name, tuple(name.split("."))) for name in fields]
    return tuple(place for place in places if "*" not in place[0]), tuple(place for place in places if "*" in place[0])


def _put_each(node: Json, keys: Sequence[str], value: Json) -> bool:
    """`a.*.b`: fill b in every object below a; False when there is none."""
    for number, key in enumerate(keys):
        if not isinstance(node, dict):
            return False
        if key == "*":
            rest = keys[number + 1 :]
            filled = [_put_each(inner, rest, value) for inner in node.values()]
            return any(filled)
        if number == len(keys) - 1:
            fill(node, key, value)
            return True
        node = node.get(key)
    return False


def overlay(under: dict[str, Json], over: dict[str, Json]) -> dict[str, Json]:
    """`over` laid on `under`: objects key by key, anything else replaced whole, empty values never.

    Both stay as they are, and the result shares with them what only one of them has: nobody may write into it.
    """
    laid = dict(under)
    for key, value in over.items():
        if says_nothing(value):
            continue
        there = laid.get(key)
        laid[key] = overlay(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return laid


def sort_keys(value: Json) -> Json:
    """The same JSON with the keys of every object in order, so that equal content gives equal bytes."""
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [sort_keys(item) for item in value]
    return value


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _shifted(text: str, seconds: int) -> str | None:
    try:
        return to_iso(_moment(text) + timedelta(seconds=seconds))
    except OverflowError:  # beyond the years 1 to 9999
        return None


def _seconds_between(start: str, end: str) -> int:
    milliseconds = (_moment(end) - _moment(start)) // timedelta(milliseconds=1)
    return int((Decimal(milliseconds) / 1000).to_integral_value(ROUND_HALF_UP))


def _first_sentence(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    sentence = line.split(". ", 1)[0].rstrip(".") or line
    return sentence if len(sentence) <= MAX_HEADLINE else sentence[: MAX_HEADLINE - 1].rstrip() + "…"

"""How each rule of a mapping fared on a delivery of a trial, or on the whole call: what it read and what it gave."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from apps.ingest.messages import PROCESSING_FIELDS
from apps.ingest.trial import CaseResult, Trial
from apps.providers.comparing import Field, changed_fields
from apps.providers.engine.conditions import holds
from apps.providers.engine.errors import PayloadError
from apps.providers.engine.mapping import Mapping, Report, Value
from apps.providers.engine.paths import MISSING, compile_path
from apps.providers.engine.payload import parse
from apps.providers.engine.spec import ARTIFACT_TARGETS, UNKNOWN_EVENT, RuleSpec

Json = Any
# Each state of a rule in words; all but the first tell why the rule gave nothing of its own.
USED, DEFAULTED, FAILED, UNSEEN, MISSED = "used", "default", "failed", "unseen word", "missing"
SILENT, NOT_NEEDED, ELSEWHERE, STOPPED = "says nothing", "not needed", "does not apply", "not tried"


@dataclass(frozen=True)
class RuleRow:
    """One rule: `read` and `gave` are MISSING where there is no value; `reason` says why where that is not plain."""

    number: int
    rule: RuleSpec
    state: str
    read: Json
    gave: Json
    reason: str = ""


def payload_of(result: CaseResult) -> Json:
    """The payload as it would be stored, without what is redacted; MISSING where the body is none."""
    try:
        return parse(bytes(result.row.body), result.row.content_type)
    except PayloadError:
        return MISSING


def rule_rows(result: CaseResult, mapping: Mapping) -> list[RuleRow]:
    """The rules for this delivery's event, in their order; none where it is not mapped by rules."""
    payload = payload_of(result)
    if result.reading.disposition != "map" or not isinstance(payload, dict):
        return []
    values = _values(result)
    return [
        _row(number, rule, result, values, mapping.source(number, payload), payload)
        for number, rule in enumerate(mapping.spec.rules)
        if not rule.of_call and rule.applies_to(result.reading.event)
    ]


def rule_rows_of_call(results: Iterable[CaseResult], mapping: Mapping) -> list[RuleRow]:
    """The rules that read the whole call, on what these deliveries tell of it together."""
    rules = [(number, rule) for number, rule in enumerate(mapping.spec.rules) if rule.of_call]
    fragments = [result.reading.fragment for result in results if result.reading.fragment is not None]
    if not rules or not fragments:
        return []
    document = mapping.call_document(fragment.collected for fragment in fragments)
    told, report = mapping.apply_to_call(document)
    values = {value.rule: value.value for value in told.values()}
    rows = []
    for number, rule in rules:
        read = compile_path(rule.source)(document)
        state, reason = _fared(number, rule, report, told, read)
        state = ELSEWHERE if state == SILENT and not holds(rule.when, document) else state
        rows.append(RuleRow(number, rule, state, read, values.get(number, MISSING), reason))
    return rows


def _values(result: CaseResult) -> dict[int | None, Json]:
    """What each rule gave; of a part that is kept apart the part itself, not the reference to it."""
    if result.reading.fragment is None:
        return {}
    apart = {one.ref: one.content for one in result.reading.artifacts if one.content is not None}
    told = result.reading.fragment.values.values()
    return {value.rule: apart.get(str(value.value), value.value) for value in told}


def _row(
    number: int, rule: RuleSpec, result: CaseResult, values: dict[int | None, Json], read: Json, payload: Json
) -> RuleRow:
    failure, fragment = result.reading.failure, result.reading.fragment
    if failure is not None:
        mine = failure.rule == rule.describe()
        state, reason = (FAILED, failure.detail) if mine else (STOPPED, "")
    else:
        state, reason = _fared(number, rule, result.reading.report, fragment.values if fragment else {}, read)
    if state == SILENT and not holds(rule.when, payload):
        state = ELSEWHERE
    return RuleRow(number, rule, state, read, values.get(number, MISSING), reason)


def _fared(number: int, rule: RuleSpec, report: Report, told: dict[str, Value], read: Json) -> tuple[str, str]:
    """(state, reason) as the report and the values tell them."""
    unseen = next((f"the table does not know {item['word']!r}" for item in report.unseen
                   if item["source"] == rule.source and read is not MISSING), "")  # fmt: skip
    failed = next((item["error"] for item in report.failed if item["rule"] == number), "")
    if number in report.used:
        return USED, ""
    if number in report.defaulted:
        return DEFAULTED, failed or unseen
    if failed:
        return FAILED, failed
    if number in report.missing:
        return MISSED, ""
    there = told.get(ARTIFACT_TARGETS.get(rule.target, rule.target))
    if there is not None and there.rule is not None and there.rule < number:
        return NOT_NEEDED, f"rule {there.rule} told {rule.target}"
    return (UNSEEN, unseen) if unseen else (SILENT, "")


# --- what else there is to say -----------------------------------------------------------------------------------


def remarks(result: CaseResult, mapping: Mapping) -> list[str]:
    """Why this delivery makes no part of a message, in words that name the place; empty when it does."""
    reading, spec = result.reading, mapping.spec
    if reading.failure is not None:
        rule = f" (rule {reading.failure.rule})" if reading.failure.rule else ""
        return [f"{reading.failure.path or '$'}: {reading.failure.detail}{rule}"]
    named = any(row.name == reading.event or fnmatchcase(reading.event, row.name) for row in spec.events)
    if reading.event == UNKNOWN_EVENT and not named:
        paths = ", ".join(spec.read.event) or "no path at all"
        return [f"No event name was found: read.event looks at {paths}, and no condition of read.classify fits."]
    if not named:
        return [f"The event {reading.event!r} stands in no row of the event table, so it is only stored. Add a row."]
    if reading.disposition != "map":
        return [f"The event table says to {reading.disposition} {reading.event!r}: it makes no part of a message."]
    return []


def message_changes(before: Trial, after: Trial) -> list[Field]:
    """Every leaf of the messages in which two trials of the same deliveries differ."""
    return changed_fields(_flat(before.message), _flat(after.message))


def _flat(message: dict[str, Json] | None) -> dict[str, Json]:
    skipped = tuple(f"audit.{name}" for name in PROCESSING_FIELDS)
    return {path: value for path, value in _leaves(message or {}, "") if path not in skipped}


def _leaves(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, value

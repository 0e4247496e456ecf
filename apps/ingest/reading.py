"""One delivery read by its provider's mapping: what it tells of which call, or why it cannot be read. Writes
nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.ingest.ids import artifact_id, artifact_ref
from apps.ingest.models import Artifact, InboundEvent
from apps.providers.engine.embedded import file_of
from apps.providers.engine.errors import MappingError, PayloadError
from apps.providers.engine.fold import Event
from apps.providers.engine.mapping import MAX_CALL_ID, OBSERVED, Fragment, Identity, Mapping, Report, Value
from apps.providers.engine.paths import to_jsonpath
from apps.providers.engine.payload import parse
from apps.providers.engine.spec import ARTIFACT_TARGETS, FILE_TARGETS
from vcp import validate

MAX_PROVIDER = 50


@dataclass(frozen=True)
class Failure:
    """Why an event cannot be mapped: VCP code, JSONPath, rule, words."""

    code: str
    detail: str
    path: str = ""
    rule: str = ""


@dataclass
class Reading:
    """What one delivery says. `fragment` is None unless its disposition is map and the mapping succeeded."""

    event: str = ""
    kind: str = ""
    disposition: str = "store"
    provider: str = ""
    call_id: str = ""
    rank: int = 0
    opens_call: bool = False
    proves: str = ""
    occurred_at: str = ""
    # Other ids of the same call.
    aliases: tuple[str, ...] = ()
    fragment: Fragment | None = None
    report: Report = field(default_factory=Report)
    artifacts: list[Artifact] = field(default_factory=list)
    failure: Failure | None = None


def read(row: InboundEvent, mapping: Mapping) -> Reading:
    """Read a delivery that still has its body. Never raises for what the body holds."""
    try:
        payload = parse(bytes(row.body), row.content_type)
    except PayloadError as error:
        return Reading(provider=row.provider, failure=Failure("VCP_E002", str(error), path="$"))
    identity = mapping.identify(payload)
    reading = _named(row, identity)
    if reading.disposition != "map":
        return reading
    try:
        _, reading.fragment, reading.report = mapping.apply(payload, identity)
    except MappingError as error:
        reading.failure = Failure(error.code, error.message, error.path, error.rule)
        return reading
    _check_file(reading, row, identity)
    if reading.failure is not None:
        return reading
    if mapping.spec.format == "vcp":
        _take_ready_made(reading, row)
    elif identity.call_id is None:
        _derive_call_id(reading, row)
    return reading


def _named(row: InboundEvent, identity: Identity) -> Reading:
    return Reading(
        event=identity.event,
        kind=identity.spec.kind,
        disposition=identity.spec.disposition,
        provider=row.provider,
        call_id=identity.call_id or "",
        rank=identity.spec.rank,
        opens_call=identity.spec.opens_call,
        proves=identity.spec.proves or "",
        occurred_at=identity.occurred_at or "",
        aliases=identity.aliases,
    )


def _check_file(reading: Reading, row: InboundEvent, identity: Identity) -> None:
    """What stands where a file was must be the reference to the file that came with this very delivery."""
    part = identity.spec.artifact
    told = part and reading.fragment and reading.fragment.values.get(part.kind)
    if part and told and (row.file_id is None or file_of(told.value) != row.file_id):
        reading.fragment = None
        words = f"{part.path} holds no file: when the delivery came it was no {part.encoding} text"
        reading.failure = Failure("VCP_E004", words, to_jsonpath(part.path))


def _derive_call_id(reading: Reading, row: InboundEvent) -> None:
    # From the body, not at random: a repetition of the delivery must find the same call.
    reading.call_id = f"{row.provider}_{row.body_sha256[:32]}"
    reading.report.warnings.append("the payload has no call id; one was derived from its body")


def _take_ready_made(reading: Reading, row: InboundEvent) -> None:
    """A ready-made message, upgraded where it was older, is checked as a whole and keeps its own provider."""
    assert reading.fragment is not None  # noqa: S101 - apply() gives one for each mapped event
    report = validate(reading.fragment.message or {}, now=row.received_at)
    if report.message is None or report.errors:
        error = report.errors[0]
        reading.fragment = None
        reading.failure = Failure(error.code, error.message, error.field_path or "$")
        return
    # The registry's keys are lower case: `Retell` and `retell` are one provider.
    reading.provider = report.message.vcp_payload.call.provider.lower()
    reading.call_id = report.message.vcp_payload.call.call_id
    for name, value, limit in (("provider", reading.provider, MAX_PROVIDER), ("call_id", reading.call_id, MAX_CALL_ID)):
        if len(value) > limit:
            reading.fragment = None
            text = f"is longer than {limit} characters"
            reading.failure = Failure("VCP_E001", text, f"$.vcp_payload.call.{name}")
            return
    reading.fragment = Fragment(message=report.message.to_dict())
    reading.report.warnings += [f"{warning.field_path}: {warning.message}" for warning in report.warnings]


def take_out_artifacts(reading: Reading, call_key: str) -> list[Artifact]:
    """Move large parts out of the fragment, leaving their reference; returns them as rows without a call, unsaved.

    The id is derived from call and content: the same transcript in two events is kept once.
    """
    found: list[Artifact] = []
    if reading.fragment is None:
        return found
    for kind, target in (ARTIFACT_TARGETS | FILE_TARGETS).items():
        value = reading.fragment.values.pop(kind, None)
        if value is not None:
            name = artifact_id(call_key, kind, value.value)
            file = file_of(value.value) if kind in FILE_TARGETS else None
            found.append(Artifact(pk=name, kind=kind, file_id=file, content=None if file else value.value))
            reading.fragment.values[target] = Value(OBSERVED, value.rule, artifact_ref(name))
    return found


def of_one_call(readings: Sequence[Reading]) -> list[Reading]:
    """Those that tell of the same call as the last one, under whichever of its names."""
    names = {(readings[-1].provider, name) for name in _names(readings[-1])}
    while True:
        mine = [one for one in readings if any((one.provider, name) in names for name in _names(one))]
        told = {(one.provider, name) for one in mine for name in _names(one)}
        if told <= names:
            return mine
        names |= told


def _names(reading: Reading) -> tuple[str, ...]:
    return reading.call_id, *reading.aliases


def stored_report(report: Report) -> dict[str, Any]:
    """The report as kept with the event. Used rules are in the fragment, missing ones follow from both."""
    names = ("defaulted", "failed", "unseen", "warnings", "migrations")
    return {name: list(kept) for name in names if (kept := getattr(report, name))}


def fold_event(row: InboundEvent, fragment: Fragment | None = None) -> Event:
    """A stored event as the fold takes it."""
    failures = tuple(f"{failure['path']}: {failure['error']}" for failure in (row.report or {}).get("failed", ()))
    return Event(
        fragment=fragment or Fragment.from_json(row.fragment or {}),
        name=row.event,
        rank=row.rank,
        opens_call=row.opens_call,
        proves=row.proves or None,  # type: ignore[arg-type]
        occurred_at=row.occurred_at or None,
        digest=row.body_sha256,
        received_at=row.received_at,
        payload_ref=row.payload_ref,
        failures=failures,
    )

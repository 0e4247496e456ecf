"""Works deliveries off: reads each, folds every call they touch, writes messages and announces the changes.

One transaction holds the events' states, the messages and the numbers that listeners keep. A call's key row is
locked before its
events are read, calls always in the same order, so two workers on one call make one message. Everything here can
be run again with the same result.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q

from apps.ingest import messages
from apps.ingest.ids import derived_id
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message, Tombstone
from apps.ingest.pseudonyms import tombstone_hashes
from apps.ingest.reading import Failure, Reading, fold_event, read, stored_report, take_out_artifacts
from apps.ingest.signals import messages_written
from apps.ingest.snapshot import Change, snapshot
from apps.providers import registry
from apps.providers.engine.fold import Folded, fold
from apps.providers.engine.mapping import Fragment, Mapping
from apps.providers.registry import ProviderRuntime
from vcp.errors import ErrorObject

log = logging.getLogger(__name__)

State = InboundEvent.State
Key = tuple[str, str, str, str]  # provider, account, environment, call id: also the order of locking
NOT_REMAPPED = "not mapped anew: its body was emptied by retention; the stored fragment still counts"


class _Unprocessable(Exception):
    """The body is gone and no fragment was ever made of it."""


@dataclass
class _Work:
    """A claimed row and what was read of it."""

    row: InboundEvent
    reading: Reading
    version_id: int | None
    key: Key | None = None


@dataclass
class _Batch:
    """One transaction's work: rows to save, artifacts to keep, changes to announce."""

    now: datetime
    started: float
    works: list[_Work]
    changes: list[Change] = field(default_factory=list)


def normalise(rows: Sequence[InboundEvent], now: datetime) -> None:
    """Work off claimed rows together; if that fails, one by one, so that a bad row fails alone.

    Database errors pass through: the rows' leases end and they are tried again.
    """
    try:
        _normalise_together(rows, now)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(rows) == 1:
            _record_unexpected(rows[0], now)
            return
        log.exception("a batch of %d deliveries failed; trying them one by one", len(rows))
        for row in rows:
            normalise([row], now)


def _record_unexpected(row: InboundEvent, now: datetime) -> None:
    log.exception("delivery %s failed unexpectedly", row.delivery_id, extra={"trace_id": row.trace_id})
    failure = Failure("VCP_E002", f"unexpected error; the worker's log has it under trace id {row.trace_id}")
    _fail(row, failure, now)
    row.save()


def _normalise_together(rows: Sequence[InboundEvent], now: datetime) -> None:
    batch = _Batch(now, time.perf_counter(), [_read(row) for row in rows])
    with transaction.atomic():
        _settle_what_makes_no_message(batch)
        keys = _lock_keys(batch)
        _keep_artifacts(batch, keys)
        by_key = defaultdict(list)
        for work in batch.works:
            if work.key is not None:
                by_key[work.key].append(work)
        for key in sorted(by_key):
            _fold_call(keys[key], by_key[key], batch)
        InboundEvent.objects.bulk_update([work.row for work in batch.works], _WRITTEN, batch_size=200)
        if batch.changes:
            messages_written.send(sender=Message, changes=batch.changes)


_WRITTEN = [
    "state", "processed_at", "event", "kind", "call_key", "call_id", "rank", "opens_call", "proves", "occurred_at",
    "fragment", "report", "mapping_version", "body", "error_code", "error_path", "error_rule", "error_detail",
]  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------------


def _read(row: InboundEvent) -> _Work:
    provider = registry.provider(row.provider)
    if provider is None:
        failure = Failure("VCP_E002", f"provider {row.provider!r} has no published mapping; publish one and replay")
        return _Work(row, Reading(provider=row.provider, failure=failure), None)
    if row.body_emptied_at is not None:
        return _Work(row, _from_fragment(row), row.mapping_version_id)
    reading = read(row, provider.mapping)
    work = _Work(row, reading, provider.version_id)
    if reading.fragment is not None:
        work.key = (reading.provider, row.account, row.environment, reading.call_id)
        reading.artifacts = take_out_artifacts(reading, "\x1f".join(work.key))
    return work


def _from_fragment(row: InboundEvent) -> Reading:
    """What is still known of an event whose body retention has emptied."""
    reading = Reading(
        event=row.event,
        kind=row.kind,
        disposition="map" if row.fragment else "store",
        provider=row.provider,
        call_id=row.call_id,
        rank=row.rank,
        opens_call=row.opens_call,
        proves=row.proves,
        occurred_at=row.occurred_at,
    )
    if row.fragment is None:
        reading.failure = Failure("VCP_E002", "its body was emptied by retention before it could be mapped")
        return reading
    reading.fragment = Fragment.from_json(row.fragment)
    reading.report.warnings.append(NOT_REMAPPED)
    return reading


def _settle_what_makes_no_message(batch: _Batch) -> None:
    for work in batch.works:
        _note_reading(work)
        if work.reading.failure is not None:
            _fail(work.row, work.reading.failure, batch.now)
        elif work.reading.fragment is None:
            work.row.state = State.IGNORED if work.reading.disposition == "ignore" else State.STORED
            work.row.processed_at = batch.now


def _note_reading(work: _Work) -> None:
    row, reading = work.row, work.reading
    if work.key is None and reading.fragment is not None:
        work.key = (reading.provider, row.account, row.environment, reading.call_id)
    row.event, row.kind, row.call_id = reading.event, reading.kind, reading.call_id[:255]
    row.rank, row.opens_call, row.proves = reading.rank, reading.opens_call, reading.proves
    row.occurred_at = reading.occurred_at
    row.fragment = reading.fragment.to_json() if reading.fragment is not None else None
    row.report = stored_report(reading.report)
    row.mapping_version_id = work.version_id
    row.error_code = row.error_path = row.error_rule = row.error_detail = ""


def _fail(row: InboundEvent, failure: Failure, now: datetime) -> None:
    row.state, row.processed_at = State.FAILED, now
    row.error_code, row.error_path = failure.code, failure.path[:500]
    row.error_rule, row.error_detail = failure.rule[:750], failure.detail[:1000]
    row.fragment = None


# --- calls ------------------------------------------------------------------------------------------------------


def _lock_keys(batch: _Batch) -> dict[Key, CallKey]:
    """The key rows of all calls touched: made where missing, then locked in key order. Erased calls are dropped
    here."""
    _drop_erased(batch)
    wanted = sorted({work.key for work in batch.works if work.key is not None})
    if not wanted:
        return {}
    CallKey.objects.bulk_create([_key_row(key) for key in wanted], ignore_conflicts=True)
    condition = Q()
    for provider, account, environment, call_id in wanted:
        condition |= Q(provider=provider, account=account, environment=environment, call_id=call_id)
    order = ("provider", "account", "environment", "call_id")
    rows = CallKey.objects.filter(condition).order_by(*order).select_for_update()
    return {(row.provider, row.account, row.environment, row.call_id): row for row in rows}


def _key_row(key: Key) -> CallKey:
    provider, account, environment, call_id = key
    return CallKey(provider=provider, account=account, environment=environment, call_id=call_id)


def _drop_erased(batch: _Batch) -> None:
    hashes = {text: work.key for work in batch.works if work.key is not None for text in tombstone_hashes(*work.key)}
    buried = Tombstone.objects.filter(key_hash__in=hashes).values_list("key_hash", flat=True)
    erased = {hashes[text] for text in buried}
    for work in batch.works:
        if work.key in erased:
            work.row.state, work.row.processed_at = State.ERASED, batch.now
            work.row.fragment = work.row.report = None
            work.row.body, work.row.call_id = b"", ""
            work.key = None


def _keep_artifacts(batch: _Batch, keys: dict[Key, CallKey]) -> None:
    rows = [
        Artifact(pk=artifact_id, call_key=keys[work.key], kind=kind, content=content)
        for work in batch.works
        if work.key is not None
        for artifact_id, (kind, content) in work.reading.artifacts.items()
    ]
    Artifact.objects.bulk_create(rows, ignore_conflicts=True)


def _fold_call(key: CallKey, works: list[_Work], batch: _Batch) -> None:
    """Fold one locked call and write its message if that says anything new."""
    mine = {work.row.pk for work in works}
    others = [row for row in key.events.filter(state__in=[State.PROCESSED, State.WAITING]) if row.pk not in mine]
    for work in works:
        work.row.call_key = key
    good = _fold_and_write(key, others, works, batch)
    state = State.PROCESSED if good is not None else State.WAITING
    for work in works:
        if work.row.state != State.FAILED:
            work.row.state, work.row.processed_at = state, batch.now
    waiting = [row.pk for row in others if row.state == State.WAITING]
    if good is not None and waiting:
        InboundEvent.objects.filter(pk__in=waiting).update(state=State.PROCESSED, processed_at=batch.now)


def _fold_and_write(key: CallKey, others: list[InboundEvent], works: list[_Work], batch: _Batch) -> Folded | None:
    """The folded call, or None while no event opens it. Events that make the message invalid are failed."""
    provider = registry.provider(key.provider) or registry.provider(works[0].row.provider)
    assert provider is not None  # noqa: S101 - without a mapping the rows would have failed in _read
    stored = Message.objects.filter(call_key=key).first()
    corrections = stored.corrections if stored is not None else []
    rows = [*others, *(work.row for work in works)]
    folded = _fold_rows(key, rows, provider)
    if folded is None:
        return None
    built = messages.build(folded, corrections, batch.now)
    if built.message is None:
        rows, folded = _without_the_breaking(key, others, works, provider, corrections, batch.now)
        if folded is None:
            return None
        built = messages.build(folded, corrections, batch.now)
    _note_unseen(folded, works)
    if built.message is not None and key.withheld_at is None:
        before = snapshot(stored) if stored is not None else None
        stored = stored or _new_message(key)
        elapsed_ms = (time.perf_counter() - batch.started) * 1000
        if messages.write(stored, built.message, folded, provider.version_id, batch.now, elapsed_ms):
            after = snapshot(stored)
            if before != after:
                batch.changes.append((before, after))
    return folded


def _fold_rows(key: CallKey, rows: list[InboundEvent], provider: ProviderRuntime) -> Folded | None:
    mapping: Mapping = provider.mapping
    return fold([fold_event(row) for row in rows if row.fragment], mapping, messages.context(key, provider.name))


def _without_the_breaking(
    key: CallKey,
    others: list[InboundEvent],
    works: list[_Work],
    provider: ProviderRuntime,
    corrections: list[dict[str, object]],
    now: datetime,
) -> tuple[list[InboundEvent], Folded | None]:
    """Add the new events one by one in the order of the fold; those that make the message invalid fail."""
    rows = list(others)
    for work in sorted(works, key=lambda work: fold_event(work.row).order):
        folded = _fold_rows(key, [*rows, work.row], provider)
        errors = messages.build(folded, corrections, now).errors if folded is not None else []
        if errors:
            _fail(work.row, _as_failure(errors[0]), now)
        else:
            rows.append(work.row)
    return rows, _fold_rows(key, rows, provider)


def _as_failure(error: ErrorObject) -> Failure:
    return Failure(error.code, error.message, error.field_path or "", str(error.context.get("rule", "")))


def _note_unseen(folded: Folded, works: list[_Work]) -> None:
    """Words that a decision table does not know are recorded with the event that brought the call here."""
    for work in works:
        if folded.unseen and work.row.state != State.FAILED:
            report = work.row.report or {}
            known = report.setdefault("unseen", [])
            known += [item for item in folded.unseen if item not in known]
            work.row.report = report


def _new_message(key: CallKey) -> Message:
    return Message(
        pk=derived_id("message", key.provider, key.account, key.environment, key.call_id),
        call_key=key,
        call_id=key.call_id,
        provider=key.provider,
        account=key.account,
        environment=key.environment,
    )


def refold(key: CallKey, now: datetime, corrections: list[dict[str, object]] | None = None) -> list[ErrorObject]:
    """Fold a call anew from its stored fragments, with these corrections; the caller holds a transaction.

    Returns the errors when the result would not be valid; then nothing is written.
    """
    key = CallKey.objects.select_for_update().get(pk=key.pk)
    started = time.perf_counter()
    rows = list(key.events.filter(state__in=[State.PROCESSED, State.WAITING]))
    provider = registry.provider(key.provider) or registry.provider(rows[0].provider)
    assert provider is not None  # noqa: S101 - a provider with messages cannot be deleted (PROTECT)
    folded = _fold_rows(key, rows, provider)
    stored = Message.objects.filter(call_key=key).first()
    kept = corrections if corrections is not None else (stored.corrections if stored else [])
    if folded is None:
        return []
    built = messages.build(folded, kept, now)
    if built.message is None:
        return built.errors
    before = snapshot(stored) if stored is not None else None
    stored = stored or _new_message(key)
    stored.corrections = kept
    if messages.write(stored, built.message, folded, provider.version_id, now, (time.perf_counter() - started) * 1000):
        messages_written.send(sender=Message, changes=[(before, snapshot(stored))])
    return []

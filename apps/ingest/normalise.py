"""Works deliveries off: reads each, folds every call they touch, writes messages and announces the changes.

One transaction holds the events' states, the messages and the numbers that listeners keep. Everything here can be
run again with the same result.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from apps.ingest import calls
from apps.ingest.calls import Key, Written, fail
from apps.ingest.models import Artifact, CallKey, InboundEvent, Tombstone
from apps.ingest.pseudonyms import tombstone_hashes
from apps.ingest.reading import Failure, Reading, read, stored_report, take_out_artifacts
from apps.ingest.retention import FORGOTTEN, empty_bodies, forget, remember_erased, remove_unused_on_commit
from apps.ingest.rows import update_rows
from apps.providers import registry
from apps.providers.engine.mapping import Fragment, Mapping, Report
from apps.providers.engine.spec import UNKNOWN_EVENT

log = logging.getLogger(__name__)

State = InboundEvent.State
NOT_REMAPPED = "not mapped anew: its body was emptied by retention; the stored fragment still counts"
_WRITTEN = (
    "state", "processed_at", "event", "kind", "call_key", "call_id", "rank", "opens_call", "proves", "occurred_at",
    "fragment", "report", "mapping_version", "error_code", "error_path", "error_rule", "error_detail",
)  # fmt: skip


@dataclass
class _Work:
    """A claimed row and what was read of it; `key` when it belongs to a call."""

    row: InboundEvent
    reading: Reading
    version_id: int | None
    key: Key | None = None

    @property
    def call(self) -> Key:
        """The call that the delivery names, also where it does not become part of it."""
        return self._key(self.reading.call_id)

    @property
    def aliases(self) -> list[Key]:
        """The same call by its other names."""
        return [self._key(alias) for alias in self.reading.aliases]

    @property
    def names(self) -> list[Key]:
        return [self.call, *self.aliases] if self.reading.call_id else []

    def _key(self, call_id: str) -> Key:
        return self.reading.provider, self.row.account, self.row.environment, call_id


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
            # Read again: what the failed attempt wrote into the row in hand was rolled back in the database only.
            normalise([InboundEvent.objects.get(pk=row.pk)], now)


def _record_unexpected(row: InboundEvent, now: datetime) -> None:
    log.exception("delivery %s failed unexpectedly", row.delivery_id, extra={"trace_id": row.trace_id})
    row = InboundEvent.objects.get(pk=row.pk)  # as stored: the failed attempt may have changed the one in hand
    fail(row, Failure("VCP_E002", f"unexpected error; the worker's log has it under trace id {row.trace_id}"), now)
    update_rows([row], _WRITTEN)


def _normalise_together(rows: Sequence[InboundEvent], now: datetime) -> None:
    started = time.perf_counter()
    works = [_read(row) for row in rows]
    with transaction.atomic():
        left_keys = {work.row.call_key_id for work in works if work.row.call_key_id is not None}
        for work in works:
            _settle(work, now)
        names = [name for work in works if work.key is not None for name in work.names]
        keys = calls.lock([*names, *_keys_of(left_keys)])
        forgotten = _drop_erased(works, keys, now)
        _find_calls(works, keys)
        _keep_artifacts(works, keys)
        written = _fold_calls(works, keys, now, started)
        update_rows([work.row for work in works], _WRITTEN)
        _forget([work.row for work in forgotten], now)
        written.save()
        if not settings.STORE_WEBHOOK_PAYLOADS:
            empty_bodies([work.row.pk for work in works if work.row.state != State.FAILED], now)


def _fold_calls(works: Sequence[_Work], keys: dict[Key, CallKey], now: datetime, started: float) -> Written:
    """Fold every locked call: those the rows belong to, and those that replayed rows belonged to before."""
    new: dict[int, list[InboundEvent]] = defaultdict(list)
    for work in works:
        work.row.call_key = keys[work.key] if work.key is not None else None
        if work.key is not None:
            new[keys[work.key].pk].append(work.row)
    written = Written()
    for call in calls.load(list(keys.values()), new, absent=[work.row.pk for work in works]):
        if call.new or call.settled or call.stored is not None:
            calls.fold_call(call, written, now, started)
    return written


def _keys_of(ids: set[int]) -> list[Key]:
    return list(CallKey.objects.filter(pk__in=ids).values_list("provider", "account", "environment", "call_id"))


def _read(row: InboundEvent) -> _Work:
    provider = registry.provider(row.provider)
    if provider is None:
        failure = Failure("VCP_E002", f"provider {row.provider!r} has no published mapping; publish one and replay")
        return _Work(row, Reading(provider=row.provider, failure=failure), None)
    if row.body_emptied_at is not None:
        return _Work(row, _from_fragment(row, provider.mapping), row.mapping_version_id)
    return _Work(row, read(row, provider.mapping), provider.version_id)


def _from_fragment(row: InboundEvent, mapping: Mapping) -> Reading:
    """What is still known of an event whose body retention has emptied."""
    reading = Reading(
        event=row.event,
        kind=row.kind,
        disposition="map" if row.fragment else mapping.spec.event_spec(row.event or UNKNOWN_EVENT).disposition,
        provider=row.call_key.provider if row.call_key else row.provider,
        call_id=row.call_id,
        rank=row.rank,
        opens_call=row.opens_call,
        proves=row.proves,
        occurred_at=row.occurred_at,
        report=Report(**(row.report or {})),
    )
    if row.fragment is not None:
        reading.fragment = Fragment.from_json(row.fragment)
        if NOT_REMAPPED not in reading.report.warnings:
            reading.report.warnings.append(NOT_REMAPPED)
    elif row.error_code or reading.disposition == "map":
        reading.failure = Failure("VCP_E002", "its body was emptied by retention before it could be mapped")
    return reading


def _settle(work: _Work, now: datetime) -> None:
    """Note in the row what was read; what makes no message has its final state with that."""
    row, reading = work.row, work.reading
    if reading.failure is not None and row.body_emptied_at is not None:
        fail(row, reading.failure, now)  # what is still known of it is in the row, and stays there
        return
    if reading.fragment is not None:
        work.key = work.call
        reading.artifacts = take_out_artifacts(reading, "\x1f".join(work.key))
    row.event, row.kind, row.call_id = reading.event, reading.kind, reading.call_id[:255]
    row.rank, row.opens_call, row.proves = reading.rank, reading.opens_call, reading.proves
    row.occurred_at = reading.occurred_at
    row.fragment = reading.fragment.to_json() if reading.fragment is not None else None
    row.report = stored_report(reading.report)
    row.mapping_version_id = work.version_id
    row.error_code = row.error_path = row.error_rule = row.error_detail = ""
    if reading.failure is not None:
        fail(row, reading.failure, now)
    elif reading.fragment is None:
        row.state = State.IGNORED if reading.disposition == "ignore" else State.STORED
        row.processed_at = now


def _drop_erased(works: Sequence[_Work], keys: dict[Key, CallKey], now: datetime) -> list[_Work]:
    """Deliveries that name an erased call are acknowledged, and forgotten here, whatever their disposition.

    Looked up under the lock of the key rows: a call that is being erased meanwhile is not brought back.
    """
    hashes = {text: name for work in works for name in work.names for text in tombstone_hashes(*name)}
    if not hashes:
        return []
    found = Tombstone.objects.filter(key_hash__in=hashes).values_list("key_hash", flat=True)
    erased = {hashes[text] for text in found}
    dropped = [work for work in works if erased.intersection(work.names)]
    # An erased call is erased under every name: also under those that are only told now.
    while further := {name for work in dropped if work.key is not None for name in work.names} - erased:
        remember_erased(further)
        erased |= further
        dropped = [work for work in works if erased.intersection(work.names)]
    for work in dropped:
        work.key, work.row.processed_at = None, now
    for name in sorted(erased & keys.keys()):
        forget(keys.pop(name), now)  # at least the row that was made for the lock
    return dropped


def _find_calls(works: Sequence[_Work], keys: dict[Key, CallKey]) -> None:
    """Learn the other names that deliveries tell of their calls, then settle which call each belongs to."""
    mapped = [work for work in works if work.key is not None]
    links: list[calls.Link] = []
    for work in mapped:
        strangers = [alias for alias in work.aliases if not calls.link(alias, work.call, keys, links)]
        if strangers:
            work.reading.report.warnings.append("another id that it tells of its call is another call's already")
            work.row.report = stored_report(work.reading.report)
    if links:
        calls.save_links(links)
    for work in mapped:
        work.key = calls.call_named(work.call, keys)


def _forget(rows: Sequence[InboundEvent], now: datetime) -> None:
    InboundEvent.objects.filter(pk__in=[row.pk for row in rows]).update(**FORGOTTEN, body_emptied_at=now)
    remove_unused_on_commit(row.file_id for row in rows)


def _keep_artifacts(works: Sequence[_Work], keys: dict[Key, CallKey]) -> None:
    rows = {}
    for work in works:
        if work.key is not None:
            for artifact in work.reading.artifacts:
                artifact.call_key = keys[work.key]
                rows[artifact.pk] = artifact
    Artifact.objects.bulk_create(rows.values(), ignore_conflicts=True)

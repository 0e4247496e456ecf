"""One locked call: its events are folded, the result is judged against its stored message, and what changed is written.

Whoever calls holds the transaction and the lock on the call's key row; events are read after that lock, so the last
to hold it sees all of them.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.ingest import messages
from apps.ingest.ids import artifact_id, artifact_of, call_text, derived_id
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message
from apps.ingest.reading import Failure, fold_event
from apps.ingest.rows import update_rows
from apps.ingest.signals import messages_written
from apps.ingest.snapshot import Change, snapshot
from apps.providers import registry
from apps.providers.engine.fold import Folded, fold
from apps.providers.engine.spec import ARTIFACT_TARGETS
from apps.providers.registry import ProviderRuntime
from vcp import VCPMessage
from vcp.errors import PROVIDER_MAPPING_FAILED, ErrorObject

log = logging.getLogger(__name__)

State = InboundEvent.State
Key = tuple[str, str, str, str]  # provider, account, environment, call id: also the order of locking
NOT_OPENED = ErrorObject(PROVIDER_MAPPING_FAILED, "no event opens this call any more; replay its deliveries first")
_KEY_FIELDS = ("provider", "account", "environment", "call_id")
_MESSAGE_FIELDS = (
    "vcp", "content_digest", "stage", "mapping_version", "updated_at", "vcp_version", "start_time",
    "end_time", "duration_sec", "channel", "direction", "status", "user_satisfaction_score", "cost_usd",
    "capabilities_count",
)  # fmt: skip


@dataclass
class Call:
    """A locked call. `settled` are its events of before, `new` those being worked off; all have fragments."""

    key: CallKey
    stored: Message | None
    settled: list[InboundEvent] = field(default_factory=list)
    new: list[InboundEvent] = field(default_factory=list)


@dataclass
class Written:
    """What folding some calls changed; `save` puts it into the database and announces it."""

    created: list[Message] = field(default_factory=list)
    updated: list[Message] = field(default_factory=list)
    deleted: list[Message] = field(default_factory=list)
    restated: list[InboundEvent] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    superseded: Q = field(default_factory=Q)
    changes: list[Change] = field(default_factory=list)

    def save(self) -> None:
        if self.artifacts:
            Artifact.objects.filter(self.superseded).delete()
            Artifact.objects.bulk_create(self.artifacts, ignore_conflicts=True)
        Message.objects.bulk_create(self.created)
        update_rows(self.updated, _MESSAGE_FIELDS)
        if self.deleted:
            Message.objects.filter(pk__in=[message.pk for message in self.deleted]).delete()
        update_rows(self.restated, ("state", "processed_at"))
        if self.changes:
            messages_written.send(sender=Message, changes=self.changes)


def key_of(row: CallKey) -> Key:
    return row.provider, row.account, row.environment, row.call_id


def lock(keys: Iterable[Key]) -> dict[Key, CallKey]:
    """The key rows of these calls, made where missing, then locked in key order; of a name that is another call's, that
    call's row as well.

    A call that is erased between the two steps has none: its tombstone tells.
    """
    wanted = set(keys)
    while wanted:
        with transaction.atomic():
            rows = _locked(wanted)
            ids = {row.pk for row in rows.values()}
            beyond = {row.alias_of_id for row in rows.values() if row.alias_of_id} - ids
            if not beyond:
                return rows
            # Locks are taken in one order only. So these are given back, and all are taken anew with the ones beyond.
            transaction.set_rollback(True)
        wanted |= {key_of(row) for row in CallKey.objects.filter(pk__in=beyond)}
    return {}


def _locked(keys: Iterable[Key]) -> dict[Key, CallKey]:
    wanted = sorted(keys)
    CallKey.objects.bulk_create(
        [CallKey(**dict(zip(_KEY_FIELDS, key, strict=True))) for key in wanted], ignore_conflicts=True
    )
    by_place: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for provider, account, environment, call_id in wanted:
        by_place[provider, account, environment].append(call_id)
    condition = Q()
    for (provider, account, environment), call_ids in by_place.items():
        condition |= Q(provider=provider, account=account, environment=environment, call_id__in=call_ids)
    rows = CallKey.objects.filter(condition).order_by(*_KEY_FIELDS).select_for_update()
    return {key_of(row): row for row in rows}


def call_named(key: Key, locked: dict[Key, CallKey]) -> Key:
    """The call that this name stands for: itself, or the one whose other name it is."""
    row = locked[key]
    while row.alias_of_id is not None:
        row = next(other for other in locked.values() if other.pk == row.alias_of_id)
    return key_of(row)


Link = tuple[CallKey, CallKey]  # a name, and the call whose other name it has become


def link(alias: Key, key: Key, locked: dict[Key, CallKey], links: list[Link]) -> bool:
    """Make `alias` another name of the call `key`. Both are locked; `save_links` writes what is added to `links`.

    False, and nothing changes, when the name is another call's already.
    """
    call, other = locked[call_named(key, locked)], locked[alias]
    if other.alias_of_id is not None or other is call:
        return locked[call_named(alias, locked)] is call
    other.alias_of = call
    taken = {correction["path"] for correction in call.corrections}
    call.corrections += [correction for correction in other.corrections if correction["path"] not in taken]
    call.withheld_at = call.withheld_at or other.withheld_at
    other.corrections, other.withheld_at = [], None
    links.append((other, call))
    return True


def save_links(links: Sequence[Link]) -> None:
    """Write new names of calls, in the order in which they were linked; what came under such a name moves there."""
    rows = {row.pk: row for both in links for row in both}
    update_rows(list(rows.values()), ("alias_of", "corrections", "withheld_at"))
    for model in (InboundEvent, Artifact):
        with_something = set(model.objects.filter(call_key__in=rows).order_by().values_list("call_key", flat=True))
        for other, call in links:  # mostly new names, under which nothing came
            if other.pk in with_something:
                model.objects.filter(call_key=other).update(call_key=call)
                with_something.add(call.pk)


def lock_names_of(key: CallKey) -> list[CallKey]:
    """The rows of the call that this one stands for, under all its names, locked in key order."""
    while True:
        known = _names_of(key)
        with transaction.atomic():
            rows = list(CallKey.objects.filter(pk__in=known).order_by(*_KEY_FIELDS).select_for_update())
            if _names_of(key) <= known:
                return rows
            transaction.set_rollback(True)  # a name came to it meanwhile: locks are taken in one order only


def _names_of(key: CallKey) -> set[int]:
    row = CallKey.objects.filter(pk=key.pk).select_related("alias_of").first()
    while row is not None and row.alias_of is not None:
        row = row.alias_of
    names = found = {row.pk} if row is not None else set()
    while found:
        found = set(CallKey.objects.filter(alias_of__in=found).values_list("pk", flat=True)) - names
        names = names | found
    return names


def load(keys: Sequence[CallKey], new: dict[int, list[InboundEvent]], absent: Iterable[int] = ()) -> list[Call]:
    """The calls of locked keys with all their events; `new` by key's pk. Rows of `absent` are left out: they moved."""
    in_hand = {row.pk for rows in new.values() for row in rows} | set(absent)
    stored = {message.call_key_id: message for message in Message.objects.filter(call_key__in=keys)}
    settled: dict[int, list[InboundEvent]] = defaultdict(list)
    # A row that is being replayed still counts with its old fragment until it is worked off.
    states = [State.PROCESSED, State.WAITING, State.RECEIVED]
    for row in InboundEvent.objects.filter(call_key__in=keys, state__in=states).defer("body", "headers"):
        if row.pk not in in_hand and row.fragment:
            settled[row.call_key_id or 0].append(row)
    return [Call(key, stored.get(key.pk), settled[key.pk], new.get(key.pk, [])) for key in keys]


def fold_call(call: Call, written: Written, now: datetime, started: float) -> None:
    """Fold one call, judge its events and collect what is to be written. New events that break the message fail."""
    if not (call.new or call.settled):
        _delete(call, written)
        return
    provider = _provider_of(call)
    rows = [*call.settled, *call.new]
    verdict = _judge(call, rows, provider, [], now)
    if verdict.errors:
        rows = _without_the_breaking(call, provider, now)
        verdict = _judge(call, rows, provider, [], now)
    _restate(call, State.WAITING if verdict.folded is None else State.PROCESSED, written, now)
    if verdict.folded is None:
        _delete(call, written)
        return
    _note_unseen(verdict.folded, call.new)
    if verdict.message is not None and call.key.withheld_at is None:
        _write(call, _corrected(call, rows, provider, verdict, now), provider, written, now, started)


@dataclass(frozen=True)
class Verdict:
    """What some rows of a call fold to: nothing (no row opens it), a valid message, or the errors why there is none."""

    folded: Folded | None = None
    message: VCPMessage | None = None
    errors: tuple[ErrorObject, ...] = ()


def _judge(
    call: Call, rows: list[InboundEvent], provider: ProviderRuntime, corrections: list[dict[str, Any]], now: datetime
) -> Verdict:
    context = messages.context(call.key, provider.name, corrections)
    folded = fold(map(fold_event, rows), provider.mapping, context)
    if folded is None:
        return Verdict()
    built = messages.build(folded, corrections, now)
    return Verdict(folded, built.message, tuple(built.errors))


def _corrected(
    call: Call, rows: list[InboundEvent], provider: ProviderRuntime, plain: Verdict, now: datetime
) -> Verdict:
    """The call with its corrections. One that contradicts what has come since steps back: no event is lost to it."""
    applied = list(call.key.corrections)
    while applied:
        verdict = _judge(call, rows, provider, applied, now)
        if verdict.message is not None:
            return verdict
        left_out = applied.pop()
        log.warning("a correction of %s of call %s does not fit its events any more", left_out["path"], call.key.pk)
    return plain


def _provider_of(call: Call) -> ProviderRuntime:
    """The provider whose mapping folds the call: its own, else (ready-made messages) the one that delivered it."""
    rows = [*call.new, *call.settled]
    slugs = [call.key.provider, *(row.provider for row in rows)]
    found = next((found for slug in slugs if (found := registry.provider(slug)) is not None), None)
    if found is None:
        raise LookupError(f"no provider of call {call.key.pk} has a published mapping")
    return found


def _without_the_breaking(call: Call, provider: ProviderRuntime, now: datetime) -> list[InboundEvent]:
    """Take the new events one by one in the order of the fold; those with which the message is invalid fail."""
    rows = list(call.settled)
    for row in sorted(call.new, key=lambda row: fold_event(row).order):
        errors = _judge(call, [*rows, row], provider, [], now).errors
        if errors:
            rule = str(errors[0].context.get("rule", ""))
            fail(row, Failure(errors[0].code, errors[0].message, errors[0].field_path or "", rule), now)
        else:
            rows.append(row)
    return rows


def fail(row: InboundEvent, failure: Failure, now: datetime) -> None:
    """Mark a delivery as failed, with all that an operator needs to mend it. It has no part in any message."""
    row.state, row.processed_at = State.FAILED, now
    row.error_code, row.error_path = failure.code, failure.path[:500]
    row.error_rule, row.error_detail = failure.rule[:750], failure.detail[:1000]
    if row.body_emptied_at is None:
        row.fragment = None  # made anew from the body; without a body the fragment is all there is


def _restate(call: Call, state: str, written: Written, now: datetime) -> None:
    """New events take the call's state; settled ones that waited for its opening are woken."""
    for row in call.new:
        if row.state != State.FAILED:
            row.state, row.processed_at = state, now
    for row in call.settled:
        if row.state not in (state, State.RECEIVED):
            row.state, row.processed_at = state, now
            written.restated.append(row)


def _delete(call: Call, written: Written) -> None:
    """No event opens the call any more (a replay moved or failed it): it has no message either."""
    if call.stored is not None:
        written.deleted.append(call.stored)
        written.changes.append((snapshot(call.stored), None))


def _write(
    call: Call, verdict: Verdict, provider: ProviderRuntime, written: Written, now: datetime, started: float
) -> None:
    assert verdict.message is not None  # noqa: S101 - the callers have looked
    assert verdict.folded is not None  # noqa: S101
    before = snapshot(call.stored) if call.stored is not None else None
    message = call.stored or _new_message(call.key)
    _keep_artifacts(call, verdict.folded, written)
    elapsed_ms = (time.perf_counter() - started) * 1000
    corrected = bool(call.key.corrections)
    if not messages.fill(message, verdict.message, verdict.folded, now, elapsed_ms, corrected=corrected):
        return
    message.mapping_version_id, message.updated_at = provider.version_id, now
    (written.created if before is None else written.updated).append(message)
    after = snapshot(message)
    if before != after:
        written.changes.append((before, after))


def _keep_artifacts(call: Call, folded: Folded, written: Written) -> None:
    """Those that the fold made of all events, in place of the ones it made of fewer; events' own stay."""
    rows = [row for row in (*call.settled, *call.new) if row.fragment]
    for kind, content in folded.artifacts.items():
        name = artifact_id(call_text(*key_of(call.key)), kind, content)
        told = [row.fragment.get("values", {}).get(ARTIFACT_TARGETS[kind]) for row in rows if row.fragment]
        kept = {name, *(artifact_of(value[2]) for value in told if value)} - {None}
        written.artifacts.append(Artifact(pk=name, call_key=call.key, kind=kind, content=content))
        written.superseded |= Q(call_key=call.key, kind=kind) & ~Q(pk__in=kept)


def _note_unseen(folded: Folded, rows: list[InboundEvent]) -> None:
    """Words that a decision table does not know are recorded with the events that brought the call here."""
    for row in rows:
        if folded.unseen and row.state != State.FAILED:
            report = dict(row.report or {})
            known = report.get("unseen", [])
            report["unseen"] = known + [item for item in folded.unseen if item not in known]
            row.report = report


def _new_message(key: CallKey) -> Message:
    return Message(
        pk=derived_id("message", key.provider, key.account, key.environment, key.call_id),
        call_key=key,
        call_id=key.call_id,
        provider=key.provider,
        account=key.account,
        environment=key.environment,
    )


def refold(key: CallKey, now: datetime, corrections: list[dict[str, Any]] | None = None) -> list[ErrorObject]:
    """Fold a call anew from its stored fragments, with these corrections from now on (None: with those it has).

    Returns the errors when the result would not be valid; then nothing is written. The caller holds a transaction.
    """
    started = time.perf_counter()
    key = CallKey.objects.select_for_update().get(pk=key.pk)
    if corrections is not None:
        key.corrections = corrections
    [call] = load([key], {})
    if not call.settled:
        return [NOT_OPENED]
    provider = _provider_of(call)
    verdict = _judge(call, call.settled, provider, key.corrections, now)
    if verdict.folded is None:
        return [NOT_OPENED]
    if verdict.message is None:
        return list(verdict.errors)
    CallKey.objects.filter(pk=key.pk).update(corrections=key.corrections)
    written = Written()
    _write(call, verdict, provider, written, now, started)
    written.save()
    return []

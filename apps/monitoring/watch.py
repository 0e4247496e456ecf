"""One look at a page: seen without the database, then recorded in one transaction, whole or not at all.

Which checks are due, and how many are looked at at once, is for `claims` and `runs`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction

from apps.monitoring import content, outages, pages, probes, schedules, vendor, verdict
from apps.monitoring.fetch import Door
from apps.monitoring.models import Change, Kind, Monitor, Observation, Snapshot, Span, State
from apps.monitoring.outcome import Outcome, Standing
from apps.monitoring.storable import storable, storable_json

CONFIRM_AFTER = timedelta(seconds=60)
# A pause so many times as long as usual is a hole: nobody knows how the page was.
HOLE_AFTER_PAUSES = 2.5
# Pages whose unchanged answer (304) says that the text is still the one that was read.
CONDITIONAL = (Kind.DOCS, Kind.OPENAPI, Kind.CHANGELOG, Kind.FEED)
COMPARED = (Kind.DOCS, Kind.OPENAPI, Kind.CHANGELOG)
# Goes up where a release reads pages in another way: the next look is a baseline, and no page "changed".
READING = 1


@dataclass(frozen=True)
class Seen:
    """What a look saw, and how that differs from the snapshot it was compared with."""

    outcome: Outcome
    difference: content.Difference | None = None


def see(monitor: Monitor, before: Snapshot | None, door: Door) -> Seen:
    """Look at the page and compare it with the newest snapshot. Uses no database, and never raises."""
    outcome = probes.look(_look(monitor), door)
    if outcome.content is None or before is None or not is_known_reading(monitor):
        return Seen(outcome)
    if before.content_hash == pages.digest(outcome.content):
        return Seen(outcome)
    try:
        return Seen(outcome, content.compare(content.Content(before.text, before.format), outcome.content))
    except Exception as error:  # noqa: BLE001 - whatever a page makes of the comparison must not stop the others
        fault = f"The page could not be compared: {type(error).__name__}"
        return Seen(replace(outcome, standing=Standing.FAULT, error_kind="compare", error=fault, content=None))


def _look(monitor: Monitor) -> probes.Look:
    conditional = monitor.kind in CONDITIONAL and is_known_reading(monitor)
    return probes.Look(
        kind=monitor.kind,
        url=monitor.url,
        selector=monitor.selector,
        ignored=tuple(monitor.ignored_selectors),
        ok_statuses=monitor.ok_statuses,
        latency_budget_ms=monitor.latency_budget_ms,
        timeout_sec=monitor.timeout_sec,
        etag=monitor.etag if conditional else "",
        last_modified=monitor.last_modified if conditional else "",
    )


def reading(monitor: Monitor) -> str:
    """Says how the page is read: with another address or selector, what was seen before cannot be compared."""
    told = [READING, monitor.kind, monitor.url, monitor.selector, monitor.ignored_selectors]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def is_known_reading(monitor: Monitor) -> bool:
    """Whether there is something to compare with; if not, the next look is a baseline."""
    return bool(monitor.memory.get("reading") == reading(monitor))


@transaction.atomic
def record(monitor: Monitor, seen: Seen, now: datetime) -> list[Change]:
    """Observation, span, snapshot or entries, state, incident, changes and their alerts; gives the changes.

    Where the check was deleted or edited since it was claimed, what was seen is of another page and is dropped.
    """
    row = Monitor.objects.select_for_update(of=("self",)).select_related("provider", "schedule").filter(pk=monitor.pk)
    stored = row.first()
    if stored is None:
        return []
    if reading(stored) != reading(monitor):
        Monitor.objects.filter(pk=stored.pk).update(leased_until=None, due_at=now)
        return []
    _observe(stored, seen.outcome, now)
    judgement = _judge(stored, seen.outcome, now)
    _extend_span(stored, now)
    changes = _tell_page(stored, seen, now)
    changes += outages.tell(stored, judgement, seen.outcome, now)
    _finish(stored, seen.outcome, judgement, now)
    return changes


def _observe(monitor: Monitor, outcome: Outcome, now: datetime) -> None:
    Observation.objects.create(
        monitor=monitor,
        at=now,
        standing=outcome.standing,
        status_code=outcome.status_code,
        latency_ms=outcome.latency_ms,
        error_kind=outcome.error_kind[:30],
        error=storable(outcome.error, 300),
    )


def _judge(monitor: Monitor, outcome: Outcome, now: datetime) -> verdict.Judgement:
    """The judgement, with its standings written into the row."""
    memory = monitor.memory
    before = verdict.Standings(
        state=monitor.state,
        state_since=monitor.state_since,
        pending_state=monitor.pending_state,
        pending_count=monitor.pending_count,
        recent=tuple(datetime.fromisoformat(at) for at in memory.get("turns", [])),
        is_flapping=monitor.is_flapping,
        fault_count=memory.get("faults", 0),
    )
    judgement = verdict.judge(
        before, outcome.standing, now, down_after=monitor.down_after, up_after=monitor.up_after
    )
    after = judgement.after
    monitor.state, monitor.state_since, monitor.is_flapping = after.state, after.state_since, after.is_flapping
    monitor.pending_state, monitor.pending_count = after.pending_state, after.pending_count
    monitor.memory = {**memory, "turns": [at.isoformat() for at in after.recent], "faults": after.fault_count}
    return judgement


def _extend_span(monitor: Monitor, now: datetime) -> None:
    """Lengthen the last span, or begin one where the state is another or nobody looked in between."""
    if monitor.state == State.UNKNOWN:
        return
    last = monitor.spans.order_by("-ended_at", "-id").first()
    if last is None:
        Span.objects.create(monitor=monitor, state=monitor.state, started_at=now, ended_at=now)
        return
    until = max(now, last.ended_at)  # a clock set back makes no time pass
    watched = _was_watched(monitor, now)
    if watched:
        last.ended_at = until
        last.save(update_fields=["ended_at"])
    if last.state != monitor.state or not watched:
        Span.objects.create(monitor=monitor, state=monitor.state, started_at=until, ended_at=until)


def _was_watched(monitor: Monitor, now: datetime) -> bool:
    if monitor.last_checked_at is None:
        return False
    pause = now - monitor.last_checked_at
    if pause <= HOLE_AFTER_PAUSES * schedules.LEAST_PAUSE:
        return True
    return pause <= HOLE_AFTER_PAUSES * schedules.usual_pause(monitor, monitor.last_checked_at)


def _tell_page(monitor: Monitor, seen: Seen, now: datetime) -> list[Change]:
    """What the page says, against what is known of it."""
    outcome, is_baseline = seen.outcome, not is_known_reading(monitor)
    if outcome.incidents is not None:
        return vendor.note_incidents(monitor, outcome.incidents, now, is_baseline=is_baseline)
    if outcome.entries is not None:
        return pages.note_entries(monitor, outcome.entries, now, is_baseline=is_baseline)
    if outcome.content is not None and seen.difference is not None and not is_baseline:
        change = pages.tell_difference(monitor, outcome.content, seen.difference, now)
        return [change] if change else []
    if outcome.content is not None and (is_baseline or pages.newest_snapshot(monitor) is None):
        pages.take_snapshot(monitor, outcome.content, now)
    return []


def _finish(monitor: Monitor, outcome: Outcome, judgement: verdict.Judgement, now: datetime) -> None:
    if any(found is not None for found in (outcome.content, outcome.entries, outcome.incidents)):
        monitor.etag, monitor.last_modified = _validators(outcome)
        monitor.memory = {**monitor.memory, "reading": reading(monitor)}
    if outcome.components:
        monitor.memory = {**monitor.memory, "components": storable_json(outcome.components)}
    monitor.last_checked_at = now
    monitor.last_status_code, monitor.last_latency_ms = outcome.status_code, outcome.latency_ms
    monitor.last_error = storable(outcome.error, 300)
    monitor.due_at = now + CONFIRM_AFTER if judgement.confirm_soon else None
    monitor.leased_until = None
    monitor.save(update_fields=_WRITTEN)


def _validators(outcome: Outcome) -> tuple[str, str]:
    """ETag and Last-Modified of the text that was read; one too long for its column would never match."""
    etag, last_modified = storable(outcome.etag), storable(outcome.last_modified)
    return etag if len(etag) <= 300 else "", last_modified if len(last_modified) <= 100 else ""


_WRITTEN: tuple[str, ...] = (
    "state", "state_since", "pending_state", "pending_count", "is_flapping", "last_checked_at", "last_status_code",
    "last_latency_ms", "last_error", "etag", "last_modified", "memory", "due_at", "leased_until",
)  # fmt: skip

"""What operators do to deliveries and messages; admin, API and commands call these and nothing else.

Each is one transaction (a replay one a batch) in which the numbers move along, and each holds against later events
and replays.
"""

from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from pydantic import ValidationError

from apps.history.record import Difference, difference, record, record_many
from apps.ingest import bell
from apps.ingest.calls import refold
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.ingest.recheck import Rechecked, recheck
from apps.ingest.retention import erase_call
from apps.ingest.signals import messages_written
from apps.ingest.snapshot import snapshot
from apps.providers.engine.paths import MISSING, compile_path
from vcp.errors import FIELD_TYPE_MISMATCH, SCHEMA_VALIDATION_FAILED, ErrorObject
from vcp.models import field_type

__all__ = [
    "InvalidCorrectionError",
    "Rechecked",
    "correct",
    "erase_call",
    "recheck",
    "replay",
    "replayable",
    "restore",
    "withdraw_corrections",
    "withhold",
]

State = InboundEvent.State
# So many deliveries are replayed at once; each batch is an entry of the history.
REPLAY_BATCH = 1000
# What identifies a message is no matter of opinion.
FIXED = ("call.call_id", "call.provider", "provenance")


class InvalidCorrectionError(Exception):
    """The corrected message would not be valid; `errors` tells which fields and why. Nothing was changed."""

    def __init__(self, errors: list[ErrorObject]) -> None:
        super().__init__("; ".join(f"{error.field_path}: {error.message}" for error in errors))
        self.errors = errors


def replay(events: QuerySet[InboundEvent]) -> int:
    """Work these deliveries off again with today's mapping; returns their number.

    Erased ones stay erased. A delivery whose body retention has emptied keeps its stored fragment and says so. Each
    batch is a transaction of its own, so any number may be replayed while others arrive and are worked off.
    """
    kept = replayable(events)
    count = last = 0
    end = kept.aggregate(Max("pk"))["pk__max"] or 0  # what arrives meanwhile was not meant
    while ids := list(kept.filter(pk__gt=last, pk__lte=end).order_by("pk").values_list("pk", flat=True)[:REPLAY_BATCH]):
        count += _replay_batch(ids)
        last = ids[-1]
    return count


def replayable(events: QuerySet[InboundEvent]) -> QuerySet[InboundEvent]:
    """Those of them that a replay would work off again."""
    return events.exclude(state=State.ERASED).order_by()


@transaction.atomic
def _replay_batch(ids: list[int]) -> int:
    rows = InboundEvent.objects.filter(pk__in=ids).exclude(state=State.ERASED)
    count = rows.update(state=State.RECEIVED, attempts=0, next_attempt_at=timezone.now(), processed_at=None)
    if count:
        _record_replay(InboundEvent.objects.only("provider", "event", "delivery_id").get(pk=ids[0]), count)
        transaction.on_commit(bell.ring)
    return count


def _record_replay(first: InboundEvent, count: int) -> None:
    if count == 1:
        record(first, "replayed")
    else:
        record_many(InboundEvent, "replayed", f"{count} deliveries, among them {first.delivery_id}")


def correct(message: Message, values: dict[str, Any], author: str) -> None:
    """Set paths below vcp_payload to values (None takes a value away). Raises InvalidCorrectionError.

    The correction is noted in provenance and laid over every later fold.
    """
    values = {path: _valid(path, value) for path, value in values.items()}
    with transaction.atomic():
        key = CallKey.objects.select_for_update().get(pk=message.call_key_id)
        at = timezone.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        kept = [item for item in key.corrections if item["path"] not in values]
        added = [{"path": path, "value": value, "author": author, "at": at} for path, value in values.items()]
        before = _payload(key)
        errors = refold(key, timezone.now(), kept + added)
        if errors:
            raise InvalidCorrectionError(errors)
        record(key, "corrected", _difference(before, _payload(key), list(values)), by=author)


def _payload(key: CallKey) -> dict[str, Any]:
    message = Message.objects.filter(call_key=key).first()
    return message.vcp["vcp_payload"] if message else {}


def _difference(before: dict[str, Any], after: dict[str, Any], paths: list[str]) -> Difference:
    return difference(_values(before, paths), _values(after, paths))


def _values(payload: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    found = {path: compile_path(path)(payload) for path in paths}
    return {path: value for path, value in found.items() if value is not MISSING}


def _valid(path: str, value: Any) -> Any:
    """The value in the form of its field. Raises InvalidCorrectionError."""
    adapter = field_type(path)
    if adapter is None or _is_fixed(path):
        problem = ErrorObject(SCHEMA_VALIDATION_FAILED, "cannot be corrected: no such field, or a fixed one")
        raise InvalidCorrectionError([replace(problem, field_path=f"$.vcp_payload.{path}")])
    if value is None:
        return None
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json", by_alias=True)
    except ValidationError as error:
        text = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        raise InvalidCorrectionError([ErrorObject(FIELD_TYPE_MISMATCH, text, f"$.vcp_payload.{path}")]) from error


def _is_fixed(path: str) -> bool:
    """Fixed itself, or part of what is fixed, or a whole that holds something fixed."""
    return any(f"{path}.".startswith(f"{fixed}.") or fixed.startswith(f"{path}.") for fixed in FIXED)


def withdraw_corrections(message: Message) -> None:
    """Back to what the events say."""
    with transaction.atomic():
        key = CallKey.objects.select_for_update().get(pk=message.call_key_id)
        before, paths = _payload(key), [item["path"] for item in key.corrections]
        errors = refold(key, timezone.now(), [])
        if errors:
            raise InvalidCorrectionError(errors)
        record(key, "withdrew the corrections", _difference(before, _payload(key), paths))


@transaction.atomic
def withhold(message: Message) -> None:
    """Delete a message; later events and replays do not bring it back, `restore` does."""
    key = CallKey.objects.select_for_update().get(pk=message.call_key_id)
    current = Message.objects.get(call_key=key)
    before = snapshot(current)
    current.delete()
    CallKey.objects.filter(pk=key.pk).update(withheld_at=timezone.now())
    record(key, "deleted its message")
    messages_written.send(sender=Message, changes=[(before, None)])


@transaction.atomic
def restore(key: CallKey) -> list[ErrorObject]:
    """Bring a deleted message back from its stored events and corrections; returns why that is not possible."""
    CallKey.objects.filter(pk=key.pk).update(withheld_at=None)
    record(key, "restored its message")
    return refold(key, timezone.now())

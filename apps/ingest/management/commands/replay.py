"""Has deliveries worked off again with today's mapping: one by its id, or all that match a selection."""

import uuid
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count, QuerySet

from apps.ingest import operations
from apps.ingest.models import InboundEvent

State = InboundEvent.State
# Each option and the condition it stands for.
CONDITIONS = {
    "state": "state",
    "provider": "provider__iexact",
    "event": "event__iexact",
    "error_code": "error_code__iexact",
    "since": "received_at__gte",
    "until": "received_at__lt",
}


class Command(BaseCommand):
    help = "Replay one delivery by its id, or all that match every option given; the worker does the rest."

    def add_arguments(self, parser: CommandParser) -> None:
        states = [state.value for state in State if state != State.ERASED]
        parser.add_argument("delivery", nargs="?", type=_id, help="id of one delivery, as the provider was answered")
        parser.add_argument("--state", choices=states, help="for example failed")
        parser.add_argument("--provider", help="slug of the provider that delivered")
        parser.add_argument("--event", help="the provider's word, for example call_ended")
        parser.add_argument("--error-code", help="for example VCP_E004")
        parser.add_argument("--since", type=_time, metavar="TIME", help="received then or later; ISO 8601, UTC")
        parser.add_argument("--until", type=_time, metavar="TIME", help="received before")
        parser.add_argument("--dry-run", action="store_true", help="only tell how many these are")

    def handle(self, *args: Any, delivery: uuid.UUID | None, dry_run: bool, **options: Any) -> None:
        chosen = {CONDITIONS[name]: options[name] for name in CONDITIONS if options[name] is not None}
        if (delivery is None) == (not chosen):
            raise CommandError("give the id of one delivery, or at least one option to select by", returncode=2)
        events = _one(delivery) if delivery else InboundEvent.objects.filter(**chosen)
        if dry_run:
            self.stdout.write("\n".join(_counted(events)))
            return
        count = operations.replay(events)
        self.stdout.write(f"{count} {'delivery' if count == 1 else 'deliveries'} to be worked off again")


def _counted(events: QuerySet[InboundEvent]) -> list[str]:
    groups = operations.replayable(events).values_list("provider", "state").annotate(Count("pk"))
    lines = [f"{provider} {state}: {count}" for provider, state, count in sorted(groups)]
    return [*lines, f"{sum(group[2] for group in groups)} would be worked off again; nothing was changed"]


def _one(delivery: uuid.UUID) -> QuerySet[InboundEvent]:
    found = InboundEvent.objects.filter(delivery_id=delivery)
    state = found.values_list("state", flat=True).first()
    if state is None:
        raise CommandError(f"there is no delivery {delivery}")
    if state == State.ERASED:
        raise CommandError(f"the call of delivery {delivery} was erased; nothing of it is left to replay")
    return found


def _id(text: str) -> uuid.UUID:
    return uuid.UUID(text)


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

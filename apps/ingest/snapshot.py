"""What a message counts as: the few values that numbers are made of, as exact types."""

from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal

from apps.ingest.models import Message


@dataclass(frozen=True)
class Snapshot:
    """`day` is the UTC day of the call's start. Null values are not zeros: they are not counted at all."""

    provider: str
    environment: str
    day: date
    status: str
    duration_sec: int | None
    cost_usd: Decimal | None
    user_satisfaction_score: Decimal | None


def snapshot(message: Message) -> Snapshot:
    return Snapshot(
        provider=message.provider,
        environment=message.environment,
        day=message.start_time.astimezone(UTC).date(),
        status=message.status,
        duration_sec=message.duration_sec,
        cost_usd=message.cost_usd,
        user_satisfaction_score=message.user_satisfaction_score,
    )


Change = tuple[Snapshot | None, Snapshot | None]

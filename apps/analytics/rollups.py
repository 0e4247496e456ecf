"""Keeps the daily numbers exact by adding differences, and proves it by counting again.

`apply_changes` runs in the transaction that writes the messages. Days are locked in one order by the sorted upsert.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection, models, transaction
from django.db.models import BigIntegerField, Count, F, Q, Sum
from django.db.models.functions import Cast, Round, TruncDate
from django.utils import timezone

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import Message
from apps.ingest.one_view import one_view
from apps.ingest.snapshot import Change, Snapshot

Day = tuple[str, date, str]  # provider, UTC day, environment
NANO = 10**9
STATUSES = tuple(Message.Status.values)


def addends(call: Snapshot) -> Counter[str]:
    """What one call adds to its day."""
    parts = Counter({"total": 1, f"{call.status}_count": 1})
    if call.duration_sec is not None:
        parts.update(duration_sum_sec=call.duration_sec, duration_count=1)
    if call.cost_usd is not None:
        parts.update(cost_sum_nano_usd=int(call.cost_usd * NANO), cost_count=1)
    if call.user_satisfaction_score is not None:
        parts.update(satisfaction_sum_e4=int(call.user_satisfaction_score * 10_000), satisfaction_count=1)
    return parts


def differences(changes: Iterable[Change]) -> dict[Day, Counter[str]]:
    """For each day touched what is added (or, negative, taken away)."""
    days: dict[Day, Counter[str]] = defaultdict(Counter)
    for before, after in changes:
        if before is not None:
            days[before.provider, before.day, before.environment].subtract(addends(before))
        if after is not None:
            days[after.provider, after.day, after.environment].update(addends(after))
    return {day: parts for day, parts in days.items() if any(parts.values())}


def apply_changes(changes: Sequence[Change]) -> None:
    """Add the differences of these changes to their days, in key order so that no two workers lock crosswise."""
    days = differences(changes)
    if not days:
        return
    names = DailyProviderStats.ADDENDS
    table = DailyProviderStats._meta.db_table
    columns = ("provider", "date", "environment", *names, "created_at", "updated_at")
    updates = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in names)
    row = f"({', '.join(['%s'] * len(columns))})"
    sql = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(days))} "  # noqa: S608
        f"ON CONFLICT (provider, date, environment) DO UPDATE SET {updates}, updated_at = excluded.updated_at"
    )
    now = timezone.now()
    values: list[Any] = [
        value for day in sorted(days) for value in (*day, *(days[day][name] for name in names), now, now)
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def count_again(days: Iterable[Day] | None = None) -> dict[Day, dict[str, int]]:
    """The numbers counted from the messages themselves; of some days or of all."""
    counted = {f"n_{status}": Count("id", filter=Q(status=status)) for status in STATUSES}
    rows: Any = (
        Message.objects.filter(_within(days))
        .annotate(day=TruncDate("start_time", tzinfo=UTC))
        .values("provider", "day", "environment")
        .order_by()
        .annotate(
            n_total=Count("id"),
            n_duration=Sum("duration_sec"),
            n_duration_count=Count("duration_sec"),
            n_cost=Sum(_whole(F("cost_usd") * NANO)),
            n_cost_count=Count("cost_usd"),
            n_satisfaction=Sum(_whole(F("user_satisfaction_score") * 10_000)),
            n_satisfaction_count=Count("user_satisfaction_score"),
            **counted,
        )
    )
    return {
        (row["provider"], row["day"], row["environment"]): {
            "total": row["n_total"],
            **{f"{status}_count": row[f"n_{status}"] for status in STATUSES},
            "duration_sum_sec": row["n_duration"] or 0,
            "duration_count": row["n_duration_count"],
            "cost_sum_nano_usd": row["n_cost"] or 0,
            "cost_count": row["n_cost_count"],
            "satisfaction_sum_e4": row["n_satisfaction"] or 0,
            "satisfaction_count": row["n_satisfaction_count"],
        }
        for row in rows
    }


def _whole(expression: models.F | models.expressions.CombinedExpression) -> Cast:
    # Rounded before it is cast: SQLite keeps decimals as floats, where 0.29 * 10**9 is 289999999.99999994.
    return Cast(Round(expression, output_field=models.FloatField()), BigIntegerField())


def _within(days: Iterable[Day] | None) -> Q:
    if days is None:
        return Q()
    condition = Q(pk__in=[])
    for provider, day, environment in days:
        start = datetime.combine(day, time.min, tzinfo=UTC)
        end = start + timedelta(days=1)
        condition |= Q(provider=provider, environment=environment, start_time__gte=start, start_time__lt=end)
    return condition


@dataclass(frozen=True)
class Difference:
    """A stored number that is not what the messages say."""

    provider: str
    day: date
    environment: str
    name: str
    stored: int
    counted: int

    def __str__(self) -> str:
        return (
            f"{self.provider} {self.day} {self.environment}: {self.name} is {self.stored}, messages say {self.counted}"
        )


def audit() -> list[Difference]:
    """Every difference between the stored numbers and the messages; empty when they are exact."""
    with one_view():
        counted = count_again()
        stored = {(row.provider, row.date, row.environment): row for row in DailyProviderStats.objects.all()}
    return [
        Difference(*day, name, was, now)
        for day in sorted({*counted, *stored})
        for name in DailyProviderStats.ADDENDS
        if (was := getattr(stored.get(day), name, 0)) != (now := counted.get(day, {}).get(name, 0))
    ]


def rebuild() -> None:
    """Write all days anew from the messages, with writers kept out meanwhile."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {DailyProviderStats._meta.db_table} IN ACCESS EXCLUSIVE MODE")
        DailyProviderStats.objects.all().delete()
        DailyProviderStats.objects.bulk_create(
            DailyProviderStats(provider=provider, date=day, environment=environment, **numbers)
            for (provider, day, environment), numbers in count_again().items()
        )

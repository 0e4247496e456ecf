"""Reading functions over the daily numbers. Totals are added up from the integer sums, never from averages."""

from datetime import date

from django.db.models import QuerySet, Sum

from apps.analytics.models import DailyProviderStats


def daily_numbers(environment: str, date_from: date, date_to: date, provider: str = "") -> QuerySet[DailyProviderStats]:
    """The days of that environment from `date_from` to `date_to`, both included; of one provider or of all."""
    rows = DailyProviderStats.objects.filter(environment=environment, date__range=(date_from, date_to))
    return rows.filter(provider=provider) if provider else rows


def totals(rows: QuerySet[DailyProviderStats]) -> DailyProviderStats:
    """All rows added up, as a row that is not stored; its averages are those of all calls together."""
    sums = rows.order_by().aggregate(**{name: Sum(name, default=0) for name in DailyProviderStats.ADDENDS})
    return DailyProviderStats(**sums)

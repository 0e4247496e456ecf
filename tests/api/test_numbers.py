"""Daily numbers as the API tells them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from apps.analytics.models import DailyProviderStats
from apps.ingest.models import Message
from tests.api.asking import assert_error, walk

pytestmark = pytest.mark.django_db

DAY = date(2026, 3, 16)


@pytest.fixture
def numbers():
    """Writes a day's numbers; they go before it is audited that numbers are what messages say."""

    def write(day=DAY, provider="retell", environment="live", **sums):
        DailyProviderStats.objects.create(provider=provider, date=day, environment=environment, **sums)

    yield write
    DailyProviderStats.objects.all().delete()


@pytest.fixture
def three_days(numbers):
    numbers(
        total=10, success_count=4, failure_count=2, error_count=1, partial_count=1, timeout_count=1, unknown_count=1,
        duration_sum_sec=100, duration_count=4, cost_sum_nano_usd=300_000_000, cost_count=2,
        satisfaction_sum_e4=15_000, satisfaction_count=2,
    )  # fmt: skip
    numbers(DAY - timedelta(days=1), total=1, success_count=1, duration_sum_sec=1, duration_count=1,
            cost_sum_nano_usd=1, cost_count=1)  # fmt: skip
    numbers(DAY - timedelta(days=2), total=1, unknown_count=1)


def daily(client, query=""):
    return client.get(f"/api/analytics/daily?date_from=2026-03-01&date_to=2026-03-31&{query}").json()


def test_daily_numbers_have_the_published_names(api, three_days):
    newest, _, oldest = daily(api)["results"]
    assert newest | {"updated_at": ""} == {
        "provider": "retell",
        "date": "2026-03-16",
        "environment": "live",
        "total": 10,
        "successful": 4,
        "failed": 3,
        "partial": 1,
        "timeout": 1,
        "unknown": 1,
        "success_rate": 0.4,
        "avg_duration_sec": 25.0,
        "duration_count": 4,
        "total_cost_usd": 0.3,
        "avg_cost_usd": 0.15,
        "cost_count": 2,
        "avg_satisfaction_score": 0.75,
        "satisfaction_count": 2,
        "updated_at": "",
    }
    assert (oldest["success_rate"], oldest["unknown"]) == (0.0, 1)
    unknown = ("avg_duration_sec", "total_cost_usd", "avg_cost_usd", "avg_satisfaction_score")
    assert [oldest[name] for name in unknown] == [None] * 4


def test_totals_are_of_all_calls_and_not_of_the_page_or_of_averages(api, three_days):
    told = daily(api, "page_size=1")
    assert len(told["results"]) == 1
    totals = told["totals"]
    assert (totals["total"], totals["successful"], totals["avg_duration_sec"]) == (12, 5, 101 / 5)
    assert (totals["total_cost_usd"], totals["avg_cost_usd"]) == (0.300000001, 0.100000000333333333)
    assert [row["date"] for row in walk(api, "/api/analytics/daily?date_to=2026-03-31&page_size=1")] == [
        "2026-03-16",
        "2026-03-15",
        "2026-03-14",
    ]


def test_totals_of_nothing_are_zeros_and_nulls(api):
    totals = daily(api)["totals"]
    assert totals["total"] == 0
    assert [totals[name] for name in ("success_rate", "avg_duration_sec", "total_cost_usd")] == [None] * 3


def test_daily_numbers_count_live_calls_unless_asked_otherwise(api, numbers):
    numbers(total=1)
    numbers(environment="demo", total=2)
    numbers(provider="other", total=4)
    assert daily(api)["totals"]["total"] == 5
    assert daily(api, "environment=demo")["totals"]["total"] == 2
    assert daily(api, "provider=Retell")["totals"]["total"] == 1
    assert daily(api, "provider=&environment=")["totals"]["total"] == 5
    assert [row["provider"] for row in daily(api)["results"]] == ["other", "retell"]


def test_daily_numbers_are_those_of_the_last_thirty_days(api, numbers, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(2026, 3, 30, 12, tzinfo=UTC))
    for day, total in ((date(2026, 2, 28), 1), (date(2026, 3, 1), 2), (date(2026, 3, 30), 4), (date(2026, 3, 31), 8)):
        numbers(day, total=total)
    assert api.get("/api/analytics/daily").json()["totals"]["total"] == 6


@pytest.mark.parametrize(
    ("query", "code", "field_path"),
    [
        ("date_from=today", "VCP_E004", "$.date_from"),
        ("date_to=2026-02-30", "VCP_E004", "$.date_to"),
        ("date_from=2026-02-02&date_to=2026-02-01", "VCP_E004", "$.date_from"),
        ("date_from=2025-01-01&date_to=2026-01-02", "VCP_E004", "$.date_from"),
        ("environment=prod", "HTTP_400", "$.environment"),
        ("provider=%00", "HTTP_400", "$.provider"),
        ("cursor=x", "VCP_E004", "$.cursor"),
    ],
)
def test_a_range_of_days_that_cannot_be_meant_is_refused(api, query, code, field_path):
    assert_error(api.get(f"/api/analytics/daily?{query}"), 400, code, field_path)


def test_the_first_day_of_the_calendar_is_a_day(api):
    assert api.get("/api/analytics/daily?date_to=0001-01-01").status_code == 200


def test_the_numbers_of_delivered_calls_are_those_of_their_messages(api, calls):
    told = daily(api, "environment=demo")["totals"]
    assert told["total"] == Message.objects.count()
    assert told["successful"] == Message.objects.filter(status="success").count()
    assert told["total_cost_usd"] == float(
        sum(cost for cost in Message.objects.values_list("cost_usd", flat=True) if cost)
    )

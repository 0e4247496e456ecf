"""Each call is counted once, on the right day, with nulls that are no zeros; and the audit finds what is not."""

from datetime import date

import pytest
from django.core.management import CommandError, call_command

from apps.analytics import rollups
from apps.analytics.models import DailyProviderStats
from apps.analytics.tasks import audit_numbers
from apps.ingest.models import InboundEvent, Message
from apps.providers import registry
from apps.providers.models import Endpoint
from tests.calls import ANALYZED, ENDED, GONE, STARTED, numbers, sample

pytestmark = pytest.mark.django_db


def test_the_day_is_the_utc_day_of_the_call_s_start(arrive, drain):
    just_before = 1773705599_000  # 2026-03-16T23:59:59Z
    for number, start in enumerate([just_before, just_before + 1000]):
        arrive(sample(ENDED, call_id=f"c{number}", start_timestamp=start, end_timestamp=start + 35_000))
    drain()
    days = DailyProviderStats.objects.order_by("date").values_list("date", "total")
    assert [(str(day), total) for day, total in days] == [("2026-03-16", 1), ("2026-03-17", 1)]


def test_a_late_event_moves_a_call_to_another_day(arrive, drain):
    """A transfer of an unknown start has the call begin at its own clock; the end tells the true one."""
    started = sample(STARTED, start_timestamp=GONE)
    arrive(started)
    drain()
    assert numbers()["total"] == 1
    arrive(sample(ENDED))
    drain()
    assert [(str(row.date), row.total, row.success_count) for row in DailyProviderStats.objects.order_by("date")] == [
        ("2026-03-16", 1, 1),
        ("2026-03-17", 0, 0),
    ]


def test_a_null_is_no_zero(arrive, drain):
    arrive(sample(ENDED))
    arrive(sample(STARTED, call_id="still talking"))
    drain()
    found = numbers()
    assert (found["total"], found["duration_count"], found["cost_count"]) == (2, 1, 1)
    row = DailyProviderStats.objects.get()
    assert row.avg_duration_sec == 35
    assert row.avg_satisfaction_score is None


def test_environments_are_counted_apart(deliver, catalogue, drain):
    Endpoint.objects.filter(slug="default").update(environment="test")
    registry.forget()
    deliver(sample(ENDED))
    drain()
    assert numbers(environment="test")["total"] == 1


def test_equal_call_ids_of_two_accounts_are_two_calls(arrive, drain):
    arrive(sample(ENDED))
    Endpoint.objects.filter(slug="default").update(account="second")
    registry.forget()
    arrive(sample(ANALYZED))
    drain()
    assert Message.objects.count() == 2
    assert sum(row.total for row in DailyProviderStats.objects.all()) == 2
    assert rollups.audit() == []


# --- the audit ------------------------------------------------------------------------------------------------------


@pytest.fixture
def wrong_numbers(arrive, drain):
    """Two calls, of whose numbers one is false and one is of a day without calls; mended after the test."""
    arrive(sample(ENDED))
    arrive(sample(STARTED, call_id="second"))
    drain()
    DailyProviderStats.objects.update(total=5)
    DailyProviderStats.objects.create(provider="retell", date=date(2026, 1, 1), environment="live", cost_count=1)
    yield
    rollups.rebuild()


def test_the_audit_names_every_difference(wrong_numbers):
    assert [str(difference) for difference in rollups.audit()] == [
        "retell 2026-01-01 live: cost_count is 1, messages say 0",
        "retell 2026-03-16 live: total is 5, messages say 2",
    ]


def test_the_audit_finds_a_day_that_is_not_counted_at_all(wrong_numbers):
    DailyProviderStats.objects.all().delete()
    names = {difference.name for difference in rollups.audit()}
    assert {"total", "success_count", "unknown_count", "duration_sum_sec"} <= names


def test_the_command_reports_and_mends(wrong_numbers, capsys):
    with pytest.raises(CommandError, match="2 numbers differ") as failure:
        call_command("audit_rollups")
    assert failure.value.returncode == 1
    assert "total is 5, messages say 2" in capsys.readouterr().err
    call_command("audit_rollups", "--rebuild")
    assert "1 provider-days, no difference" in capsys.readouterr().out
    assert rollups.audit() == []


def test_the_nightly_audit_logs_each_difference_as_an_error(wrong_numbers, caplog):
    assert audit_numbers() == 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_the_nightly_audit_logs_where_the_ledger_does_not_add_up(arrive, caplog):
    arrive(sample(ENDED))
    InboundEvent.objects.all().delete()
    assert audit_numbers() == 1
    assert caplog.records[-1].levelname == "ERROR"
    assert "retell/default: 1 accepted, 0 stored, 1 missing" in caplog.text


def test_numbers_counted_again_are_the_numbers_kept(arrive, drain):
    costs = [0.1, 0.29, 12.3456, 99_999_999.87654321, 1e-9, 0]
    for number, cost in enumerate(costs):
        arrive(sample(ENDED, call_id=f"c{number}", call_cost={"combined_cost": cost}))
    drain()
    assert Message.objects.filter(cost_usd=None).count() == 0
    kept = numbers()
    rollups.rebuild()
    assert numbers() == kept
    assert kept["cost_count"] == len(costs)


def test_a_cost_that_cannot_be_counted_exactly_is_left_out(arrive, drain):
    arrive(sample(ENDED, call_cost={"combined_cost": 100_000_000}))
    drain()
    assert Message.objects.get().cost_usd is None
    assert numbers()["total"] == 1
    assert "cost_count" not in numbers()


def test_averages_are_divided_at_reading(arrive, drain):
    for number, milliseconds in enumerate([1000, 2000]):
        arrive(sample(ENDED, call_id=f"c{number}", duration_ms=milliseconds))
    drain()
    row = DailyProviderStats.objects.get()
    assert (row.avg_duration_sec, row.successful, row.failed) == (1.5, 2, 0)
    assert row.total_cost_usd == sum(Message.objects.values_list("cost_usd", flat=True))
    assert DailyProviderStats().avg_duration_sec is DailyProviderStats().total_cost_usd is None

"""VoiceLens tells of itself: a protocol that deviates, and processing that takes longer than it did."""

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest

from apps.analytics import rollups, self_check
from apps.analytics.models import ProcessingTimes
from apps.ingest.models import CallKey, InboundEvent, Message
from apps.monitoring.models import Change, Incident
from tests.calls import ENDED, sample
from vcp.compat.answers import answer
from vcp.compat.cases import chosen
from vcp.compat.judge import judge

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 25, 3, 40, tzinfo=UTC)
YESTERDAY = date(2026, 3, 24)
DAY = timedelta(days=1)


def week(p50=10.0, p95=20.0, *, days=7, messages=1000):
    for back in range(1, days + 1):
        ProcessingTimes.objects.create(
            date=YESTERDAY - back * DAY, messages=messages, sampled=messages, p50_ms=p50 + back % 3, p95_ms=p95,
            p99_ms=p95 * 2,
        )  # fmt: skip


def messages(times, *, at=NOW - 12 * timedelta(hours=1)):
    rows = []
    for ms in times:
        who = {"provider": "retell", "account": "default", "environment": "live", "call_id": str(uuid.uuid4())}
        vcp = {"audit": {} if ms is None else {"processing_duration_ms": ms}}
        key = CallKey(**who)
        rows.append(
            Message(call_key=key, vcp=vcp, content_digest="", stage="ended", status="success", start_time=at, **who)
        )
    CallKey.objects.bulk_create(row.call_key for row in rows)
    Message.objects.bulk_create(rows)
    Message.objects.filter(pk__in=[row.pk for row in rows]).update(updated_at=at)
    rollups.rebuild()


def test_the_protocol_as_it_is_raises_nothing():
    assert self_check.compatibility_problem() is None


def test_a_deviation_of_the_protocol_is_told_once_and_its_end_too(monkeypatch):
    cases = [case for case in chosen("migration") if case.pair][:3]
    results = {case.id: answer(case) for case in cases}
    results[cases[0].id] = {"id": cases[0].id, "unstable": ["crash"], "output": "ValueError"}
    title, text, data = self_check._deviation(judge(cases, results))
    assert title == "VoiceLens does not pass its compatibility cases"
    assert text == (
        f"1 of 3 cases failed: {cases[0].id}. Rules that are missed: {cases[0].rule}. "
        "`python -m vcp.compat` tells more."
    )
    assert data == {"failed": [cases[0].id], "rules": [cases[0].rule]}
    monkeypatch.setattr(self_check, "compatibility_problem", lambda: (title, text, data))
    [change] = self_check.check(NOW)
    assert (change.provider, change.source, change.severity, change.description) == ("", "self", "high", text)
    assert self_check.check(NOW + DAY) == []
    assert Incident.objects.get(resolved_at=None).source_key == "self:compat"
    monkeypatch.setattr(self_check, "compatibility_problem", lambda: None)
    [over] = self_check.check(NOW + 2 * DAY)
    assert over.title == "VoiceLens passes its compatibility cases again"
    assert not Incident.objects.filter(resolved_at=None).exists()
    assert self_check.check(NOW + 3 * DAY) == []


def test_the_times_of_a_day_are_noted_from_its_messages():
    messages([*range(1, 101), None])
    messages([1000] * 5, at=NOW - 2 * DAY)
    messages([1000] * 5, at=NOW)
    for _ in range(2):
        self_check.note_processing(YESTERDAY)
    row = ProcessingTimes.objects.get()
    assert (row.date, row.messages, row.sampled) == (YESTERDAY, 101, 100)
    assert (row.p50_ms, row.p95_ms, row.p99_ms) == (50, 95, 99)
    assert self_check.note_processing(YESTERDAY - 9 * DAY) is None


@pytest.mark.parametrize(
    ("what", "before", "times", "slower"),
    [
        ("as usual", {}, [11] * 190 + [20] * 10, False),
        ("half as slow again", {}, [15] * 180 + [30] * 20, True),
        ("less than 5 % above the slowest day", {}, [12.5] * 180 + [20.9] * 20, False),
        ("just more than 5 % above the slowest day", {}, [12.7] * 180 + [21.1] * 20, True),
        ("only some are slower", {}, [11] * 180 + [90] * 20, False),
        ("too few messages", {}, [90] * 199, False),
        ("two known days", {"days": 2}, [90] * 200, False),
        ("three known days", {"days": 3}, [90] * 200, True),
        ("days of few messages", {"messages": 199}, [90] * 200, False),
        ("a first day", {"days": 0}, [90] * 200, False),
    ],
)
def test_slower_means_slower_than_the_slowest_day_of_the_week_before(what, before, times, slower):
    week(**before)
    messages(times)
    assert (self_check.processing_problem(YESTERDAY) is not None) is slower


def test_slower_processing_is_told_with_its_numbers(monkeypatch):
    monkeypatch.setattr(self_check, "compatibility_problem", lambda: None)
    week()
    messages([15] * 180 + [30] * 20)
    [change] = self_check.check(NOW)
    assert change.title == "Processing takes longer than usual"
    assert change.description == (
        "Of 200 messages of 2026-03-24 half within 15.0 ms (usually 11.0 ms), 95 % within 30.0 ms (usually 20.0 ms), "
        "99 % within 30.0 ms (usually 40.0 ms). Usual is the median of the 7 days before."
    )
    assert Change.objects.get().change_data["p50_ms"] == 15


def test_a_ledger_that_does_not_add_up_is_told_once_and_its_end_too(arrive, monkeypatch):
    monkeypatch.setattr(self_check, "compatibility_problem", lambda: None)
    arrive(sample(ENDED))
    assert self_check.check(NOW) == []
    row = InboundEvent.objects.get()
    row.delete()
    [change] = self_check.check(NOW)
    assert (change.title, change.severity) == ("The ledger does not add up", "high")
    assert change.description == (
        "2026-03-17 00:00 UTC retell/default: 1 accepted, 0 stored, 1 missing. "
        "`manage.py ledger --all --check` tells more."
    )
    assert self_check.check(NOW + DAY) == []
    row.save()
    [over] = self_check.check(NOW + 2 * DAY)
    assert over.title == "The ledger adds up again"

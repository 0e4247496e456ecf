"""Who is told, and when: filters, quiet hours by local clocks, silences."""

from datetime import UTC, datetime, time, timedelta

import pytest

from apps.monitoring import routing
from apps.monitoring.models import AlertChannel, Change, Silence
from apps.monitoring.tests.play import START, check, provider


def channel(**columns: object) -> AlertChannel:
    return AlertChannel(**{"name": "ops", "kind": "slack", **columns})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, True),
        ({"min_severity": "high"}, True),
        ({"min_severity": "critical"}, False),
        ({"providers": ["acme"]}, True),
        ({"providers": ["other"]}, False),
        ({"change_types": ["pricing", "documentation"]}, True),
        ({"change_types": ["pricing"]}, False),
    ],
)
def test_a_channel_wants_what_passes_all_its_filters(settings, wanted):
    change = Change(provider="acme", severity="high", change_type="documentation")
    assert routing.wants(channel(**settings), change) is wanted


@pytest.mark.parametrize(
    ("start", "end", "zone", "now", "until"),
    [
        (22, 7, "UTC", "2026-11-02T23:00", "2026-11-03T07:00"),
        (22, 7, "UTC", "2026-11-03T06:59", "2026-11-03T07:00"),
        (22, 7, "UTC", "2026-11-03T07:00", None),
        (22, 7, "UTC", "2026-11-02T21:59", None),
        (22, 7, "UTC", "2026-11-02T22:00", "2026-11-03T07:00"),
        (9, 17, "UTC", "2026-11-02T12:00", "2026-11-02T17:00"),
        (9, 17, "UTC", "2026-11-02T17:00", None),
        (9, 9, "UTC", "2026-11-02T09:00", None),
        # 22:00 to 7:00 in Berlin is 21:00 to 6:00 UTC in winter.
        (22, 7, "Europe/Berlin", "2026-11-02T21:00", "2026-11-03T06:00"),
        (22, 7, "Europe/Berlin", "2026-11-03T06:00", None),
        # The night in which the clocks go forward, and the one in which they go back.
        (22, 7, "Europe/Berlin", "2026-03-28T22:00", "2026-03-29T05:00"),
        (22, 7, "Europe/Berlin", "2026-10-24T21:00", "2026-10-25T06:00"),
        # An end that the clocks skip (2:30 does not exist that night): the moment of the jump, give or take.
        (22, 2.5, "Europe/Berlin", "2026-03-29T00:30", "2026-03-29T01:30"),
        # 12 h 45 min ahead.
        (22, 7, "Pacific/Chatham", "2026-11-02T10:00", "2026-11-02T17:15"),
    ],
)
def test_quiet_hours_are_those_of_the_clocks_where_the_people_are(start, end, zone, now, until):
    def of(hour):
        return time(int(hour), 30 if hour % 1 else 0)

    quiet = channel(quiet_from=of(start), quiet_until=of(end), quiet_timezone=zone)
    expected = utc(until) if until else None
    assert routing.quiet_until(quiet, utc(now)) == expected


def test_without_both_ends_there_are_no_quiet_hours():
    assert routing.quiet_until(channel(quiet_from=time(22)), START) is None
    assert routing.quiet_until(channel(quiet_until=time(7)), START) is None


@pytest.mark.parametrize(
    ("severity", "is_held"), [("low", True), ("medium", True), ("high", False), ("critical", False)]
)
def test_quiet_hours_hold_back_what_is_less_severe(severity, is_held):
    quiet = channel(quiet_from=time(22), quiet_until=time(7), quiet_below="high")
    now = utc("2026-11-02T23:00")
    assert routing.due_at(quiet, severity, now) == (utc("2026-11-03T07:00") if is_held else now)


def test_at_every_minute_of_a_year_quiet_hours_end_later_on_and_outside_of_themselves():
    quiet = channel(quiet_from=time(22), quiet_until=time(7), quiet_timezone="America/New_York")
    for minutes in range(0, 366 * 24 * 60, 97):
        now = utc("2026-01-01T00:00") + timedelta(minutes=minutes)
        until = routing.quiet_until(quiet, now)
        if until is not None:
            assert now < until <= now + timedelta(hours=10)
            assert routing.quiet_until(quiet, until) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("of", "is_silenced"),
    [
        ("everything", True),
        ("its provider", True),
        ("its check", True),
        ("another provider", False),
        ("another check", False),
    ],
)
def test_a_silence_covers_what_it_names(of, is_silenced):
    monitor, other = check(), check("docs")
    about = {
        "everything": {},
        "its provider": {"provider": monitor.provider},
        "its check": {"monitor": monitor, "provider": monitor.provider},
        "another provider": {"provider": provider("other")},
        "another check": {"monitor": other},
    }[of]
    Silence.objects.create(starts_at=START, ends_at=START + timedelta(hours=1), reason="x", **about)
    change = Change(provider="acme", monitor=monitor)
    assert routing.is_silenced(change, START) is is_silenced
    assert not routing.is_silenced(change, START + timedelta(hours=1))
    assert not routing.is_silenced(change, START - timedelta(seconds=1))


@pytest.mark.django_db
def test_what_has_no_check_is_silenced_by_its_provider_and_by_no_check():
    monitor = check()
    span = {"starts_at": START, "ends_at": START + timedelta(hours=1), "reason": "x"}
    Silence.objects.create(monitor=monitor, **span)
    assert not routing.is_silenced(Change(provider="acme"), START)
    Silence.objects.create(provider=monitor.provider, **span)
    assert routing.is_silenced(Change(provider="acme"), START)
    assert not routing.is_silenced(Change(provider=""), START)

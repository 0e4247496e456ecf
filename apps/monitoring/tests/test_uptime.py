"""Uptime from real intervals."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.monitoring.uptime import Uptime, uptime, uptimes
from vcp.tests.tries import tries

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def spans(*wanted):
    return [(state, at(start), at(end)) for state, start, end in wanted]


@pytest.mark.parametrize(
    ("watched", "maintenance", "hours"),
    [
        # (up, degraded, down) of the ten hours after noon
        ([], [], (0, 0, 0)),
        ([("up", 0, 10)], [], (10, 0, 0)),
        ([("up", -5, 20)], [], (10, 0, 0)),  # cut to the window
        ([("up", -5, 0), ("down", 10, 12)], [], (0, 0, 0)),  # outside it
        ([("up", 0, 3), ("down", 7, 10)], [], (3, 0, 3)),  # nobody looked from 3 to 7
        ([("down", 7, 10), ("up", 0, 3)], [], (3, 0, 3)),  # in any order
        ([("up", 0, 4), ("degraded", 4, 5), ("down", 5, 6)], [], (4, 1, 1)),
        ([("up", 0, 6), ("down", 5, 8), ("degraded", 4, 10)], [], (4, 3, 3)),  # the worst counts
        ([("up", 0, 4), ("up", 2, 6)], [], (6, 0, 0)),  # not twice
        ([("unknown", 0, 4), ("up", 4, 6)], [], (2, 0, 0)),
        ([("up", 6, 2), ("up", 3, 3), ("up", 0, 1)], [], (1, 0, 0)),  # reversed and empty ones
        ([("up", 0, 4), ("down", 4, 6)], [(4, 6)], (4, 0, 0)),
        ([("up", 0, 4), ("down", 4, 6)], [(3, 5), (4, 5.5)], (3, 0, 0.5)),
        ([("up", 0, 4)], [(-9, 99)], (0, 0, 0)),
    ],
)
def test_each_watched_second_counts_once(watched, maintenance, hours):
    told = uptime(spans(*watched), [(at(start), at(end)) for start, end in maintenance], at(0), at(10))

    assert (told.up_sec, told.degraded_sec, told.down_sec) == tuple(3600 * one for one in hours)
    assert told.watched_sec == 3600 * sum(hours)


def test_degraded_counts_as_up_and_the_strict_share_stands_beside_it():
    told = uptime(spans(("up", 0, 7), ("degraded", 7, 9), ("down", 9, 10)), [], at(0), at(10))

    assert told.percent == pytest.approx(90)
    assert told.fully_up_percent == pytest.approx(70)


def test_where_nobody_looked_there_is_no_percentage():
    told = uptime([], [], at(0), at(10))

    assert told == Uptime(None, 0, 0, 0, 0)
    assert told.fully_up_percent is None


def test_a_window_that_ends_before_it_begins_holds_nothing():
    assert uptime(spans(("up", 0, 10)), [], at(8), at(2)).watched_sec == 0


def test_the_four_windows_look_back_from_now():
    told = uptimes(iter(spans(("down", -24 * 6, -24 * 5), ("up", -24 * 5, 0))), iter([]), at(0))

    assert list(told) == ["24h", "7d", "30d", "90d"]
    assert told["24h"].percent == 100
    assert told["90d"].percent == pytest.approx(100 * 5 / 6)


def test_each_window_is_as_long_as_its_name_says():
    told = uptimes(spans(("up", -24 * 200, 9)), [], at(0))

    assert {name: one.watched_sec / 86400 for name, one in told.items()} == {"24h": 1, "7d": 7, "30d": 30, "90d": 90}


HOURS = st.integers(-30, 40)
STATES = st.sampled_from(["up", "degraded", "down", "unknown"])


@tries(100)
@given(st.lists(st.tuples(STATES, HOURS, HOURS), max_size=12), st.lists(st.tuples(HOURS, HOURS), max_size=4))
def test_it_agrees_with_counting_hour_by_hour(watched, maintenance):
    expected = {"up": 0, "degraded": 0, "down": 0}
    for hour in range(24):
        states = {state for state, start, end in watched if start <= hour < end}
        if not any(start <= hour < end for start, end in maintenance):
            worst = next((state for state in ("down", "degraded", "up") if state in states), None)
            if worst:
                expected[worst] += 3600

    told = uptime(spans(*watched), [(at(start), at(end)) for start, end in maintenance], at(0), at(24))

    assert {"up": told.up_sec, "degraded": told.degraded_sec, "down": told.down_sec} == expected

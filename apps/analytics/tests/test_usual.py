"""When a share is clearly above its usual: tables of series, and what must never be raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.analytics.usual import Share, Verdict, judge, quantile, raised_at

RAISED, BETWEEN, CALM, UNSURE = Verdict.RAISED, Verdict.BETWEEN, Verdict.CALM, Verdict.UNSURE


@pytest.mark.parametrize(
    ("what", "window", "usual", "verdict"),
    [
        ("as usual", (3, 100), (300, 10_000), CALM),
        ("tripled, but still few", (9, 100), (300, 10_000), BETWEEN),
        ("tripled to a third", (33, 100), (1_000, 10_000), RAISED),
        ("all failed", (20, 20), (30, 1_000), RAISED),
        ("all failed, one too few to tell", (19, 19), (30, 1_000), UNSURE),
        ("nothing at all", (0, 0), (30, 1_000), UNSURE),
        ("a new provider without history", (100, 100), (0, 0), BETWEEN),
        ("a new provider with ten calls of history", (100, 100), (0, 10), RAISED),
        ("half of them, with ten calls of history", (50, 100), (0, 10), BETWEEN),
        ("may be chance", (4, 20), (30, 1_000), BETWEEN),
        ("is no chance", (8, 20), (30, 1_000), RAISED),
        ("slowly risen, the usual with it", (31, 100), (2_000, 10_000), BETWEEN),
        ("usually most of them, now nearly all", (95, 100), (6_000, 10_000), RAISED),
        ("usually most of them, now somewhat more", (70, 100), (6_000, 10_000), BETWEEN),
        ("recovering", (12, 100), (300, 10_000), BETWEEN),
        ("recovered", (7, 100), (300, 10_000), CALM),
        ("fewer than usual", (0, 100), (3_000, 10_000), CALM),
    ],
)
def test_a_share_is_judged_against_its_usual(what, window, usual, verdict):
    assert judge(Share(*window), Share(*usual), min_sample=20, factor=2) is verdict


@pytest.mark.parametrize(
    ("usual", "factor", "limit"),
    [(0, 2, 0.1), (0.05, 2, 0.15), (0.2, 2, 0.4), (0.2, 3, 0.6), (0.6, 2, 0.8), (0.95, 2, 1.05)],
)
def test_the_limit_is_the_factor_or_the_rest_shrunk_by_it_but_ten_points_above(usual, factor, limit):
    assert raised_at(usual, factor) == pytest.approx(limit)


def shares(least=0):
    return st.integers(least, 500).flatmap(lambda total: st.builds(Share, st.integers(0, total), st.just(total)))


@given(window=shares(), usual=shares(), min_sample=st.integers(1, 200), factor=st.floats(1.1, 10))
def test_nothing_is_raised_of_too_few_or_below_its_usual(window, usual, min_sample, factor):
    if judge(window, usual, min_sample=min_sample, factor=factor) is RAISED:
        assert window.total >= min_sample
        assert window.value >= usual.value + 0.1


@given(share=shares(least=1), factor=st.floats(1.1, 10))
def test_a_window_that_equals_its_own_history_is_calm(share, factor):
    assert judge(share, share, min_sample=1, factor=factor) is CALM


@given(share=shares())
def test_the_bounds_hold_the_share_between_them(share):
    assert 0 <= share.lower <= share.value + 1e-9
    assert share.value - 1e-9 <= share.upper <= 1


@pytest.mark.parametrize(
    ("values", "part", "found"),
    [([5], 0.5, 5), ([1, 2], 0.5, 1), ([3, 1, 2], 0.5, 2), (range(1, 101), 0.95, 95), (range(1, 101), 1, 100)],
)
def test_a_quantile_is_one_of_the_values(values, part, found):
    assert quantile(list(values), part) == found


def test_no_values_have_no_quantile():
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)

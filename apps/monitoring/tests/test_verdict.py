"""When the state of a check moves, and when nobody must hear of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.monitoring.outcome import Standing
from apps.monitoring.verdict import FLAP_LIMIT, Judgement, Standings, judge
from vcp.tests.tries import tries

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LOOKS = {"u": Standing.UP, "g": Standing.DEGRADED, "d": Standing.DOWN, "f": Standing.FAULT}
BADNESS = {"unknown": 0, "up": 0, "degraded": 1, "down": 2}


def follow(looks, standings=None, *, down_after=3, up_after=2, step=MINUTE) -> list[Judgement]:
    """One judgement a look, a minute apart."""
    standings, told = standings or Standings(), []
    for n, look in enumerate(looks):
        told.append(judge(standings, LOOKS[look], START + n * step, down_after=down_after, up_after=up_after))
        standings = told[-1].after
    return told


def up(**more) -> Standings:
    return Standings(state="up", state_since=START, **more)


def states(looks, standings=None, **thresholds) -> str:
    """The state after each look, by its first letter, `g` for degraded and `?` for unknown."""
    letters = {"up": "u", "degraded": "g", "down": "d", "unknown": "?"}
    return "".join(letters[judgement.after.state] for judgement in follow(looks, standings, **thresholds))


@pytest.mark.parametrize(
    ("looks", "after"),
    [
        ("u", "u"),  # the first good look of all
        ("ddd", "??d"),  # the first sight is an outage
        ("ggg", "??g"),
        ("ddu", "??u"),
        ("uddu", "uuuu"),
        ("uddudd", "uuuuuu"),
        ("uddd", "uuud"),
        ("uggg", "uuug"),
        ("udddu", "uuudd"),
        ("uddduu", "uuuddu"),
        ("uddduduu", "uuuddddu"),
        ("ugdd", "uuug"),  # the mildest of the three
        ("ugddd", "uuugg"),
        ("ugdddd", "uuuggd"),  # the down look of the run counts for the next one
        ("ugggddd", "uuugggd"),
        ("ugggdgdd", "uuuggggg"),  # a look as the state is ends the run
        ("udddgu", "uuuddg"),  # two are better, the worse of them decides
        ("udddguu", "uuuddgu"),
        ("udddgg", "uuuddg"),
        ("ugggdu", "uuuggg"),  # worse, then better: no run
        ("ugggduu", "uuugggu"),
        ("uddffffd", "uuuuuuud"),  # faults end no run and make none
        ("uffffff", "uuuuuuu"),
        ("uddd" + "f" * 9, "uuud" + "d" * 9),
        ("ffff", "????"),
    ],
)
def test_the_state_moves_by_runs_of_looks(looks, after):
    assert states(looks) == after


@pytest.mark.parametrize(("down_after", "up_after"), [(1, 1), (0, 0)])
def test_with_thresholds_of_one_each_look_decides(down_after, up_after):
    assert states("udgduf", down_after=down_after, up_after=up_after) == "udgduu"


def test_a_transition_names_both_states_and_the_time():
    judgement = follow("ddd", up())[-1]

    assert judgement.transition == ("up", "down")
    assert judgement.after.state_since == START + 2 * MINUTE
    assert (judgement.after.pending_state, judgement.after.pending_count) == ("", 0)


def test_a_look_below_the_threshold_is_followed_by_another_soon():
    assert [j.confirm_soon for j in follow("uuddduu")] == [False, False, True, True, False, True, False]


def test_a_check_that_does_not_work_is_told_once_and_told_again_when_it_works():
    told = follow("ufffffuu")

    assert [j.fault for j in told] == ["", "", "", "began", "", "", "ended", ""]
    assert [j.confirm_soon for j in told] == [False, True, True, False, False, False, False, False]
    assert not any(j.transition for j in told[1:])


@pytest.mark.parametrize(("looks", "down_after"), [("ufffu", 3), ("ufu", 1), ("ufu", 0)])
def test_as_many_faults_as_the_threshold_are_enough_to_be_told(looks, down_after):
    assert [j.fault for j in follow(looks, down_after=down_after)][-2:] == ["began", "ended"]


def test_a_few_faults_are_not_told():
    assert not any(j.fault for j in follow("uffuffuff"))


def test_a_run_that_faults_interrupt_is_not_looked_at_every_minute_for_ever():
    assert not follow("uddffff")[-1].confirm_soon


def test_flapping_is_told_once_until_it_was_calm_for_half_an_hour():
    told = follow("ud" * 10 + "u" * 40, down_after=1, up_after=1)

    # The first look is a first sight; the seventh change after it begins the flapping.
    assert [n for n, j in enumerate(told) if j.flapping == "began"] == [FLAP_LIMIT + 1]
    last_change = max(n for n, j in enumerate(told) if j.transition)
    assert [n for n, j in enumerate(told) if j.flapping == "ended"] == [last_change + 30]
    assert all(j.after.is_flapping for j in told[FLAP_LIMIT + 1 : last_change + 30])
    assert all(j.transition for j in told[1:20])  # recorded all the while


def test_six_changes_within_an_hour_are_not_flapping():
    assert not any(j.after.is_flapping for j in follow("u" + "du" * 3 + "u" * 60, down_after=1, up_after=1))


def test_seven_changes_in_more_than_an_hour_are_not_flapping():
    told = follow("udududud", down_after=1, up_after=1, step=timedelta(minutes=10))

    assert len([j for j in told if j.transition]) == FLAP_LIMIT + 2
    assert not any(j.after.is_flapping for j in told)


def test_a_clock_set_back_neither_breaks_nor_keeps_the_damping_for_ever():
    flapping = follow("u" + "du" * 4, down_after=1, up_after=1)[-1].after
    earlier = START - timedelta(days=30)

    first = judge(flapping, Standing.UP, earlier, down_after=3, up_after=2)
    assert first.after.is_flapping
    assert first.after.state_since == earlier
    assert max(first.after.recent) == earlier
    later = judge(first.after, Standing.UP, earlier + timedelta(minutes=30), down_after=3, up_after=2)
    assert later.flapping == "ended"


LOOK_LISTS = st.text("ugdf", max_size=60)
THRESHOLDS = st.integers(1, 5)


@tries(300)
@given(LOOK_LISTS, THRESHOLDS, THRESHOLDS)
def test_nothing_moves_without_enough_looks_in_a_row_that_say_so(looks, down_after, up_after):
    told = follow(looks, down_after=down_after, up_after=up_after)

    for n, judgement in enumerate(told):
        if judgement.transition is None or judgement.transition == ("unknown", "up"):
            continue
        old, new = judgement.transition
        worse = BADNESS[new] > BADNESS[old]
        needed = down_after if worse else up_after
        run = [BADNESS[LOOKS[look]] for look in looks[: n + 1] if look != "f"][-needed:]
        assert len(run) == needed
        assert all(one >= BADNESS[new] if worse else one <= BADNESS[new] for one in run)


@tries(300)
@given(LOOK_LISTS, st.sampled_from("ugd"), THRESHOLDS, THRESHOLDS)
def test_the_same_look_again_and_again_always_gets_its_state(looks, last, down_after, up_after):
    # From a settled state the threshold is enough; a run that is under way may first stop half-way.
    most = max(1, 2 * down_after - 2, 2 * up_after - 2, down_after, up_after)

    told = follow(looks + last * most, down_after=down_after, up_after=up_after)

    assert told[-1].after.state == LOOKS[last]
    assert told[-1].after.pending_count == 0


@tries(200)
@given(st.lists(st.tuples(st.sampled_from("ugdf"), st.integers(-4000, 4000)), max_size=60), THRESHOLDS)
def test_no_order_of_looks_and_no_clock_breaks_it(looks, threshold):
    standings, now = Standings(), START
    for look, seconds in looks:
        now += timedelta(seconds=seconds)
        judgement = judge(standings, LOOKS[look], now, down_after=threshold, up_after=threshold)
        standings = judgement.after
        assert standings.state_since is None or standings.state_since <= now
        assert all(at <= now for at in standings.recent)
        assert (standings.pending_count == 0) == (standings.pending_state == "")
        assert (judgement.transition is not None) <= (look != "f")

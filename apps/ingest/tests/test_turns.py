"""One at a time, nobody unheard, and nobody held up by a turn that hangs."""

import threading

import pytest

from apps.ingest.turns import Turns


class Works:
    """Holds whoever works until it is let go; `worked` counts the beginnings."""

    def __init__(self):
        self.worked = 0
        self.begun, self.let_go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self):
        self.worked += 1
        self.begun.release()
        assert self.let_go.acquire(timeout=10)
        return 1


@pytest.fixture
def works():
    return Works()


def asking(turns, told):
    thread = threading.Thread(target=lambda: told.append(turns.ask(60)))
    thread.start()
    return thread


def test_who_comes_meanwhile_does_not_wait_and_the_one_at_work_looks_once_more(works):
    turns, told = Turns(works), []
    thread = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    assert [turns.ask(60), turns.ask(60)] == [0, 0]
    works.let_go.release(2)
    thread.join(10)
    assert (works.worked, told) == (2, [2])  # once more for both of them


def test_without_another_ring_it_works_once(works):
    turns = Turns(works)
    works.let_go.release(2)
    assert [turns.ask(60), turns.ask(60)] == [1, 1]
    assert works.worked == 2


def test_a_turn_that_fails_is_given_back():
    def fail():
        raise OSError("the database")

    turns = Turns(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="the database"):
            turns.ask(60)


def test_a_turn_that_hangs_is_taken_over_and_takes_nothing_from_its_successor_when_it_ends(works):
    now = [0.0]
    turns, told = Turns(works, lambda: now[0]), []
    hanging = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    now[0] = 60.0
    successor = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    works.let_go.release()  # one of the two ends; the other still has the turn, or had it
    while not told:
        hanging.join(0.01)
        successor.join(0.01)
    works.let_go.release(2)
    hanging.join(10)
    successor.join(10)
    assert sorted(told) == [1, 1]
    works.let_go.release()
    assert turns.ask(60) == 1

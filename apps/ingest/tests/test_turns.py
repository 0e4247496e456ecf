"""One at a time, nobody unheard, and nobody held up by a turn that hangs."""

import threading

import pytest

from apps.ingest.turns import Turns


class Works:
    """Holds each that works until it is let go, by its number; `worked` counts the beginnings."""

    def __init__(self):
        self.worked, self.told_until = 0, []
        self.begun, self.let_go = threading.Semaphore(0), [threading.Event() for _ in range(5)]

    def __call__(self, until):
        number, self.worked = self.worked, self.worked + 1
        self.told_until.append(until)
        self.begun.release()
        assert self.let_go[number].wait(timeout=10)
        return 1

    def let_all_go(self):
        for gate in self.let_go:
            gate.set()


@pytest.fixture
def works():
    return Works()


def asking(turns, told):
    thread = threading.Thread(target=lambda: told.append(turns.ask(20, 60)))
    thread.start()
    return thread


def test_who_comes_meanwhile_does_not_wait_and_the_one_at_work_looks_once_more(works):
    turns, told = Turns(works), []
    thread = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    assert [turns.ask(20, 60), turns.ask(20, 60)] == [0, 0]
    works.let_all_go()
    thread.join(10)
    assert (works.worked, told) == (2, [2])  # once more for both of them


def test_without_another_ring_it_works_once(works):
    turns = Turns(works)
    works.let_all_go()
    assert [turns.ask(20, 60), turns.ask(20, 60)] == [1, 1]
    assert works.worked == 2


def test_a_turn_that_fails_is_given_back():
    def fail(until):
        raise OSError("the database")

    turns = Turns(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="the database"):
            turns.ask(20, 60)


def test_a_turn_that_hangs_is_taken_over_and_takes_nothing_from_its_successor_when_it_ends(works):
    now = [0.0]
    turns, told = Turns(works, lambda: now[0]), []
    hanging = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    now[0] = 60.0
    successor = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    works.let_go[0].set()
    hanging.join(10)
    assert (told, turns.ask(20, 60)) == ([1], 0)  # the successor still has it
    works.let_all_go()
    successor.join(10)
    assert told == [1, 2]  # once more, for who was told 0
    assert turns.ask(20, 60) == 1


def test_whoever_keeps_asking_does_not_keep_one_at_work_beyond_its_time():
    now = [0.0]

    def work(until):
        now[0] += 15
        turns.ask(20, 60)  # as another thread's ring
        return 1

    turns = Turns(work, lambda: now[0])
    assert turns.ask(20, 60) == 2
    assert now[0] == 30


def test_what_it_does_once_more_has_only_what_is_left_of_its_time(works):
    turns, told = Turns(works, lambda: 5.0), []
    thread = asking(turns, told)
    assert works.begun.acquire(timeout=10)
    assert turns.ask(20, 60) == 0
    works.let_all_go()
    thread.join(10)
    assert works.told_until == [25.0, 25.0]

"""The bell: one background thread a process sends a drain task, and a dead broker costs nobody anything."""

import logging
import threading

import pytest
from celery import current_app
from kombu.exceptions import OperationalError

from apps.ingest import bell
from apps.ingest.bell import ring as really_ring


@pytest.fixture
def sent(monkeypatch):
    """What is sent to the broker, and a flag for it; a new bell before and after."""
    calls, heard = [], threading.Event()

    def send_task(name, **options):
        calls.append((name, options))
        heard.set()

    monkeypatch.setattr(current_app, "send_task", send_task)
    monkeypatch.setattr(bell, "_bell", None)
    return calls, heard


def test_a_ring_sends_a_drain_task_that_nobody_waits_for(sent, settings):
    calls, heard = sent
    really_ring()
    assert heard.wait(timeout=10)
    [(name, options)] = calls
    assert (name, options["queue"]) == ("ingest.drain", settings.CELERY_TASK_DEFAULT_QUEUE)
    assert (options["retry"], options["ignore_result"]) == (False, True)


def test_a_hundred_rings_at_once_are_few_tasks(sent, monkeypatch):
    calls, heard = sent
    paused = threading.Event()
    monkeypatch.setattr(bell.time, "sleep", lambda seconds: paused.wait(timeout=10))
    for _ in range(100):
        really_ring()
    assert heard.wait(timeout=10)
    # Held in its pause it has sent the first ring; all that came since is one more.
    assert len(calls) == 1
    heard.clear()
    really_ring()
    paused.set()
    assert heard.wait(timeout=10)
    assert len(calls) == 2


def test_a_dead_broker_is_told_once_and_its_return_is_noticed(monkeypatch, caplog):
    bell_of_test = bell._Bell.__new__(bell._Bell)
    bell_of_test.working = True
    answers = [OperationalError("refused"), OperationalError("refused"), None, ConnectionError("gone again")]

    def send_task(*args, **options):
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(current_app, "send_task", send_task)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            bell_of_test._send()
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "the broker cannot be reached (refused)",
        "the broker cannot be reached (gone again)",
    ]


def test_without_a_broker_nothing_is_sent(sent, settings):
    calls, _ = sent
    settings.REDIS_URL = ""
    bell_of_test = bell._Bell.__new__(bell._Bell)
    bell_of_test._send()
    assert calls == []


def test_a_forked_process_gets_a_bell_of_its_own(sent, monkeypatch):
    really_ring()
    first = bell._bell
    monkeypatch.setattr(bell.os, "getpid", lambda: -1)
    really_ring()
    assert bell._bell is not first
    assert bell._bell.pid == -1

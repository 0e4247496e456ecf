"""Buckets: bursts, refill, one bucket for two processes, and what happens while Redis is away or a clock jumps."""

import os
import socket
import subprocess
import sys

import pytest
from redis import Redis

from apps.ingest import buckets
from apps.ingest.buckets import Limit, take

NOON = 1_770_000_000.0
SMALL = Limit(per_min=60, burst=5)


def taken(name, limit, at, tries=1000):
    """How many of so many tries got a token."""
    return sum(take(name, limit, at) is None for _ in range(tries))


@pytest.fixture
def alone(settings):
    settings.REDIS_URL = ""


@pytest.fixture
def redis():
    with Redis.from_url(os.environ["REDIS_URL"]) as client:
        yield client


def turn_back(redis, name, seconds):
    """As if the bucket had been used so many seconds earlier; its time is that of Redis."""
    redis.hincrbyfloat(buckets.PREFIX + name, "at", -seconds)


# --- one process -----------------------------------------------------------------------------------------------------


def test_a_burst_is_granted_and_no_more(alone):
    assert taken("a", SMALL, NOON) == 5
    assert take("a", SMALL, NOON) == pytest.approx(1)


@pytest.mark.parametrize(("pause_sec", "granted"), [(0.5, 0), (1, 1), (3.5, 3), (5, 5), (3600, 5)])
def test_it_fills_at_its_rate_up_to_the_burst(alone, pause_sec, granted):
    taken("a", SMALL, NOON)
    assert taken("a", SMALL, NOON + pause_sec) == granted


def test_names_do_not_share(alone):
    taken("a", SMALL, NOON)
    assert taken("b", SMALL, NOON) == 5


def test_over_time_the_rate_is_kept(alone):
    limit = Limit(per_min=6000, burst=640)
    granted = sum(taken("a", limit, NOON + tick / 10, tries=100) for tick in range(600))
    assert granted == pytest.approx(640 + 6000, rel=0.01)


def test_a_clock_that_goes_back_neither_grants_nor_locks(alone):
    taken("a", SMALL, NOON)
    assert taken("a", SMALL, NOON - 3600) == 0
    assert taken("a", SMALL, NOON - 3590) == 5


def test_the_names_in_memory_are_bounded(alone, monkeypatch):
    monkeypatch.setattr(buckets, "MAX_NAMES", 10)
    for number in range(100):
        take(f"sender {number}", SMALL, NOON)
    assert (len(buckets._purses), len(buckets._locals)) == (10, 10)


# --- several processes -----------------------------------------------------------------------------------------------


def test_what_one_process_takes_another_does_not_get(redis):
    limit = Limit(per_min=1, burst=640)
    assert [take("a", limit, NOON) for _ in range(100)] == [None] * 100
    buckets.forget()  # a second process; what the first has unspent of its last block stays there
    assert taken("a", limit, NOON, tries=2000) == 640 - 100


@pytest.mark.parametrize("tries", [50, 5000])
def test_two_processes_share_one_bucket(tries):
    script = (
        "import django; django.setup()\n"
        "from apps.ingest import buckets\n"
        f"buckets.PREFIX = {buckets.PREFIX!r}\n"
        f"print(sum(buckets.take('a', buckets.Limit(1, 640), {NOON}) is None for _ in range({tries})))\n"
    )
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(counts) == min(2 * tries, 640)


def test_a_shared_bucket_fills_by_the_clock_of_redis(redis):
    limit = Limit(per_min=60, burst=64)
    assert taken("a", limit, NOON) == 64
    turn_back(redis, "a", 10)
    assert 10 <= taken("a", limit, NOON + 10) <= 20
    turn_back(redis, "a", 3600)
    assert taken("a", limit, NOON + 3610) == 64


def test_a_clock_of_redis_that_goes_back_does_not_lock(redis):
    taken("a", SMALL, NOON)
    turn_back(redis, "a", -3600)
    assert taken("a", SMALL, NOON + 1) <= 1
    turn_back(redis, "a", 10)
    assert taken("a", SMALL, NOON + 10) == 5


def test_who_is_too_early_asks_redis_only_once(redis, monkeypatch):
    taken("a", SMALL, NOON)
    asked = []
    monkeypatch.setattr(buckets.shared, "call", lambda *args: asked.append(1))
    assert taken("a", SMALL, NOON) == 0
    assert asked == []


def test_a_bucket_that_is_full_again_is_not_kept(redis):
    take("a", SMALL, NOON)
    assert 0 < redis.ttl(f"{buckets.PREFIX}a") <= 5 + 60


def test_a_redis_that_lost_its_scripts_gets_them_again(redis):
    take("a", SMALL, NOON)
    redis.script_flush()
    assert taken("b", SMALL, NOON) == 5
    assert redis.exists(f"{buckets.PREFIX}b")


# --- Redis away ------------------------------------------------------------------------------------------------------


@pytest.fixture
def away(settings, monkeypatch):
    """Nobody listens there; gives the times somebody tried."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    tried = []
    find = buckets._redis
    monkeypatch.setattr(buckets, "_redis", lambda url: tried.append(url) or find(url))
    return tried


def test_without_redis_each_process_limits_by_itself_and_says_so_once(away, caplog):
    assert taken("a", SMALL, NOON) == 5
    assert taken("b", SMALL, NOON) == 5
    assert len(away) == 1
    assert [row.message.partition(" (")[0] for row in caplog.records] == ["Redis cannot be reached"]


def test_redis_is_tried_again_after_a_while_and_when_a_clock_went_back(away, caplog):
    for at in (NOON, NOON + buckets.AWAY_SEC - 1, NOON + buckets.AWAY_SEC, NOON):
        take("a", SMALL, at)
        take("b", SMALL, at)
    assert len(away) == 3
    assert len(caplog.records) == 1


def test_when_redis_is_back_the_bucket_is_shared_again(away, settings, caplog, redis):
    caplog.set_level("INFO")
    take("a", SMALL, NOON)
    settings.REDIS_URL = os.environ["REDIS_URL"]
    taken("a", SMALL, NOON + buckets.AWAY_SEC)
    assert redis.exists(f"{buckets.PREFIX}a")
    assert caplog.messages[-1] == "Redis answers again: the limits are shared"


def test_a_redis_that_does_not_answer_is_left_alone(settings, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        assert taken("a", SMALL, NOON) == 5
    assert "each process keeps its limits by itself" in caplog.text

"""Token buckets that all processes share: so many a second, and a burst above it. What is limited is for others.

A process draws tokens from Redis in blocks and spends them by itself, so that a token costs microseconds and rarely a
round trip. While Redis is away or slow each process limits by itself. Clocks may jump: Redis tells the time of the
shared buckets, and a step back of any clock only means that nothing is refilled for it.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.utils.asyncio import async_unsafe
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

log = logging.getLogger(__name__)
Value = TypeVar("Value")

PREFIX = "voicelens:limit:"
REDIS_TIMEOUT_SEC = 0.1
# After an error Redis is left alone for so long: a dead one must not cost every request its timeout.
AWAY_SEC = 5.0
# A process may hold this part of a burst unspent.
BLOCKS_IN_BURST = 64
# Who found a bucket empty asks again after so long at the earliest, not for each token that drips in.
LEAST_WAIT_SEC = 0.05
# Names in memory; the oldest give way. A name that gives way loses an unspent block, no more.
MAX_NAMES = 20_000

# The time of a bucket is that of its Redis. It is gone when it would be full again, which is what a new one is.
_DRAW = """
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(held[1]) or burst, tonumber(held[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate)
local granted = math.min(want, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 60)
return {granted, math.ceil((1 - tokens) / rate * 1000)}
"""


@dataclass(frozen=True)
class Limit:
    """`per_min` above 0, and how many may come at once after a pause."""

    per_min: int
    burst: int

    @property
    def per_sec(self) -> float:
        return self.per_min / 60

    @property
    def block(self) -> int:
        return max(1, self.burst // BLOCKS_IN_BURST)


class _Purse:
    """What this process holds of a bucket: unspent tokens, or since when and until when there are none."""

    __slots__ = ("empty_since", "empty_until", "tokens")

    def __init__(self) -> None:
        self.tokens = 0
        self.empty_since = self.empty_until = 0.0


class _Local:
    """A bucket of this process alone."""

    __slots__ = ("at", "tokens")

    def __init__(self, limit: Limit, at: float) -> None:
        self.tokens, self.at = float(limit.burst), at

    def draw(self, limit: Limit, at: float) -> tuple[int, float]:
        self.tokens = min(limit.burst, self.tokens + max(0.0, at - self.at) * limit.per_sec)
        self.at = at
        granted = min(limit.block, int(self.tokens))
        self.tokens -= granted
        return granted, (1 - self.tokens) / limit.per_sec


_lock = threading.Lock()
_purses: dict[str, _Purse] = {}
_locals: dict[str, _Local] = {}


def take(name: str, limit: Limit, at: float) -> float | None:
    """Take one token of the bucket `name` at the time `at` (Unix, s). None: taken; else in how many seconds there is
    one."""
    with _lock:
        purse = remembered(_purses, name, _Purse)
        if purse.tokens > 0:
            purse.tokens -= 1
            return None
        if purse.empty_since <= at < purse.empty_until:
            return purse.empty_until - at
    granted, wait_sec = _draw(name, limit, at)  # not under the lock: it may wait for Redis
    with _lock:
        if granted:
            purse.tokens += granted - 1
            return None
        wait_sec = max(wait_sec, LEAST_WAIT_SEC)
        purse.empty_since, purse.empty_until = at, at + wait_sec
    return wait_sec


def forget() -> None:
    """Drop what this process holds, as a new process would begin."""
    with _lock:
        _purses.clear()
        _locals.clear()
    shared.away_since = None


def remembered(rows: dict[str, Value], name: str, make: Callable[[], Value]) -> Value:
    """The value of that name, made where there is none; the oldest name gives way when there are too many."""
    found = rows.get(name)
    if found is None:
        if len(rows) >= MAX_NAMES:
            rows.pop(next(iter(rows)), None)
        found = rows[name] = make()
    return found


def _draw(name: str, limit: Limit, at: float) -> tuple[int, float]:
    """A block, or less where there is less, and when the next token comes (s)."""
    told = shared.call(lambda redis: _script(redis)(keys=[PREFIX + name], args=_args(limit)), at)
    if told is not None:
        return int(told[0]), int(told[1]) / 1000
    with _lock:
        return remembered(_locals, name, lambda: _Local(limit, at)).draw(limit, at)


def _args(limit: Limit) -> list[float]:
    return [limit.per_sec, limit.burst, limit.block]


class ShutOut:
    """Who is not answered for a while, by name."""

    # Who is shut out again so soon after the last time is no news.
    QUIET_SEC = 600.0

    def __init__(self) -> None:
        self._spans: dict[str, tuple[float, float]] = {}

    def shut(self, name: str, at: float, wait_sec: float) -> bool:
        """Shut it out for so long; whether that is news."""
        _, before = remembered(self._spans, name, lambda: (0.0, -self.QUIET_SEC))
        self._spans[name] = (at, at + wait_sec)
        return abs(at - before) >= self.QUIET_SEC

    def wait_sec(self, name: str, at: float) -> float | None:
        """For how long it is still shut out; None: it is not. A clock that went back opens it."""
        since, until = self._spans.get(name, (0.0, 0.0))
        return until - at if since <= at < until else None

    def open(self, name: str) -> None:
        self._spans.pop(name, None)

    def clear(self) -> None:
        self._spans.clear()

    def __bool__(self) -> bool:
        return bool(self._spans)


# --- Redis, which may be away -----------------------------------------------------------------------------------------


class Shared:
    """Redis with a short timeout; after an error it is left alone for a while, and that is logged once."""

    def __init__(self) -> None:
        self.away_since: float | None = None

    def call(self, ask: Callable[[Redis], Any], at: float) -> Any:
        """What Redis answers; None where there is none, or it is away."""
        away = self.away_since
        if not settings.REDIS_URL or (away is not None and away <= at < away + AWAY_SEC):
            return None
        try:
            answer = _answer(ask)
        except RedisError as error:
            self.away_since = at
            if away is None:
                log.warning("Redis cannot be reached (%s): each process keeps its limits by itself", error)
            return None
        if away is not None:
            self.away_since = None
            log.info("Redis answers again: the limits are shared")
        return answer


shared = Shared()


@async_unsafe
def _answer(ask: Callable[[Redis], Any]) -> Any:
    return ask(_redis(settings.REDIS_URL))


@lru_cache(maxsize=4)
def _redis(url: str) -> Redis:
    timeouts = {"socket_timeout": REDIS_TIMEOUT_SEC, "socket_connect_timeout": REDIS_TIMEOUT_SEC}
    return Redis.from_url(url, **timeouts, retry=Retry(NoBackoff(), 0))


@lru_cache(maxsize=4)
def _script(redis: Redis) -> Any:
    return redis.register_script(_DRAW)

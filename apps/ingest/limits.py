"""How much a provider and a stranger may send: the rules; how tokens are counted is known by `buckets`.

A provider's share is counted after the proof, so that nobody else can use it up. An address that is refused too often
is answered without any work, unless it has proved itself: a provider's deliveries never wait for a neighbour's abuse,
nor for a secret that was rotated.
"""

import logging
from datetime import datetime
from math import ceil

from django.conf import settings
from django.utils.asyncio import async_unsafe

from apps.ingest import buckets
from apps.ingest.buckets import Limit, ShutOut
from apps.providers.engine.addresses import sender
from apps.providers.registry import EndpointRuntime

log = logging.getLogger(__name__)

# An address from which something authentic came is no stranger for so long.
PROVED_SEC = 7 * 24 * 3600
# Other processes hear of it at most so often.
TELL_EVERY_SEC = 600.0

# By sender: when something authentic came, as last told to Redis.
_proved: dict[str, float] = {}
_strangers = ShutOut()


def throttled(endpoint: EndpointRuntime, address: str, now: datetime) -> int | None:
    """Whether an authentic delivery is one too many for its provider: None, or in how many whole seconds to come again.

    The address is remembered as one that sends what is authentic.
    """
    at = now.timestamp()
    if address:
        _note_proved(sender(address), at)
    limit = endpoint.provider.limit
    if limit is None:
        return None
    return _whole(buckets.take(f"provider:{endpoint.provider.slug}", Limit(*limit), at))


def shut_out(address: str, now: datetime) -> int | None:
    """Whether an address was refused too often: None, or in how many whole seconds to come again."""
    if not _strangers or not address:
        return None
    return _whole(_strangers.wait_sec(sender(address), now.timestamp()))


@async_unsafe
def note_refused(address: str, now: datetime) -> None:
    """Count one refusal that speaks against the sender; one above the limit shuts the address out until the next is
    due. An unknown address is not counted: it would be everybody's."""
    if not address or not settings.REFUSED_PER_MIN:
        return
    at, name = now.timestamp(), sender(address)
    wait_sec = buckets.take(f"refused:{name}", Limit(settings.REFUSED_PER_MIN, settings.REFUSED_BURST), at)
    if wait_sec is None or _has_proved(name, at):
        return
    if _strangers.shut(name, at, wait_sec):
        log.warning("%s was refused too often: what comes from there is answered 429 for now", name)


def forget() -> None:
    """Drop what this process knows, as a new process would begin."""
    _proved.clear()
    _strangers.clear()
    buckets.forget()


def _note_proved(name: str, at: float) -> None:
    told = _proved.get(name)
    if told is not None and 0 <= at - told < TELL_EVERY_SEC:
        return
    buckets.shared.call(lambda redis: redis.set(f"{buckets.PREFIX}proved:{name}", 1, ex=PROVED_SEC), at)
    buckets.remembered(_proved, name, lambda: at)
    _proved[name] = at
    _strangers.open(name)


def _has_proved(name: str, at: float) -> bool:
    if at - _proved.get(name, -PROVED_SEC) < PROVED_SEC:
        return True
    return bool(buckets.shared.call(lambda redis: redis.exists(f"{buckets.PREFIX}proved:{name}"), at))


def _whole(wait_sec: float | None) -> int | None:
    return None if wait_sec is None else max(1, ceil(wait_sec))

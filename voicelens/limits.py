"""How often a user or an address may ask the API, ask for a token, and try passwords.

The counting is that of the webhooks' limits: shared by all processes through Redis; without it each process limits by
itself, and nobody is kept from the service.
"""

import logging
import time
from hashlib import sha256
from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.ingest import buckets
from apps.ingest.buckets import Limit, ShutOut
from apps.ingest.views import address_of
from apps.providers.engine.addresses import sender

log = logging.getLogger(__name__)
TOO_MANY_LOGINS = "Too many wrong passwords for this user from your address. Try again in {} seconds."

_guessers = ShutOut()


class ApiThrottle(BaseThrottle):
    """Requests of a user; of an address where nobody is logged in."""

    _wait_sec: float | None = None

    def allow_request(self, request: Request, view: object) -> bool:
        user = request.user
        known = user and user.is_authenticated
        self._wait_sec = _take_api(f"user:{user.pk}" if known else sender(address_of(request)))
        return self._wait_sec is None

    def wait(self) -> float | None:
        return self._wait_sec


class TokenThrottle(BaseThrottle):
    """Requests of an address for a token, whatever their password; none is answered where the setting is 0."""

    _wait_sec: float | None = None

    def allow_request(self, request: Request, view: object) -> bool:
        per_min = settings.TOKEN_REQUESTS_PER_MIN
        if not per_min:
            return False
        name = f"token:{sender(address_of(request))}"
        self._wait_sec = buckets.take(name, Limit(per_min, per_min), time.time())
        return self._wait_sec is None

    def wait(self) -> float | None:
        return self._wait_sec


def count_stranger(request: Request) -> float | None:
    """Count a request that had no login, or a wrong one, to its address; the wait (s) where it was one too many."""
    return _take_api(sender(address_of(request)))


def _take_api(who: str) -> float | None:
    if not settings.API_REQUESTS_PER_MIN:
        return None
    limit = Limit(settings.API_REQUESTS_PER_MIN, settings.API_REQUESTS_BURST)
    return buckets.take(f"api:{who}", limit, time.time())


class LimitedLogin(ModelBackend):
    """Django's login, for the admin, the API's session and its tokens; only so many wrong passwords are looked at."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Raises Throttled for the API and ValidationError for a form, while an address guesses at a user."""
        if request is None or not username or not settings.LOGIN_FAILURES_PER_MIN:
            return super().authenticate(request, username, password, **kwargs)
        name, at = _guess(request, username), time.time()
        wait_sec = _guessers.wait_sec(name, at)
        if wait_sec is not None:
            raise _too_many(request, wait_sec)
        user = super().authenticate(request, username, password, **kwargs)
        if user is None:
            _note_wrong(name, at, address_of(request))
        return user


def _guess(request: Any, username: str | None) -> str:
    # Whatever was typed as a name, a password perhaps, stands in no key.
    typed = sha256(str(username).casefold().encode(errors="replace")).hexdigest()[:32]
    return f"login:{sender(address_of(request))}:{typed}"


def _note_wrong(name: str, at: float, address: str) -> None:
    limit = Limit(settings.LOGIN_FAILURES_PER_MIN, settings.LOGIN_FAILURES_BURST)
    wait_sec = buckets.take(name, limit, at)
    if wait_sec is not None and _guessers.shut(name, at, wait_sec):
        log.warning("too many wrong passwords for one user from %s: no more are looked at for now", address)


def _too_many(request: Any, wait_sec: float) -> Exception:
    if isinstance(request, Request):
        return Throttled(wait=wait_sec)
    return ValidationError(TOO_MANY_LOGINS.format(ceil(wait_sec)))

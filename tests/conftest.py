"""Shared fixtures: a registry from the catalogue, deliveries through the front door, and a check of the numbers.

After every test that uses the database the daily numbers must be what the messages say, whatever happened in it.
"""

import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from apps.analytics import rollups
from apps.ingest import bell, buckets, inbox, limits, tasks
from apps.ingest.models import Message
from apps.ingest.signals import messages_written
from apps.providers import registry
from apps.providers.registry import EndpointRuntime
from tests.calls import ARRIVAL, SECRET, as_body, signed
from tests.plugin import uses_database
from tests.synced import synced

# WhiteNoise warns where nothing was collected yet, and a warning fails a test.
Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
# A million rounds for the password of every user that a test makes would be a third of the suite's time.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches beyond this machine fails."""
    connect = socket.socket.connect

    def guarded(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _exact_numbers(request: pytest.FixtureRequest) -> Iterator[None]:
    """No difference between numbers and messages is left after any test with calls in the database.

    A test that writes numbers by hand and has no calls is not judged.
    """
    if not uses_database(request.node):
        yield
        return
    request.getfixturevalue("db")
    _forget_registry()
    announced: list[Any] = []

    def listen(changes: Any, **kwargs: Any) -> None:
        announced.extend(changes)

    messages_written.connect(listen)
    yield
    messages_written.disconnect(listen)
    _forget_registry()
    if announced or Message.objects.exists():
        assert rollups.audit() == []


def _forget_registry() -> None:
    """Rows are rolled back after a test and their ids given again: nothing read from them may be kept."""
    registry.forget()
    registry.mapping_of_version.cache_clear()
    registry._holder.noted.clear()


@pytest.fixture(autouse=True)
def _own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test uses up of a limit is not missing in another."""
    limits.forget()
    monkeypatch.setattr(buckets, "PREFIX", f"test:{uuid4().hex}:")


@pytest.fixture(autouse=True)
def rings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time the bell was rung. No worker hears it: a test drains by hand."""
    rung: list[int] = []
    monkeypatch.setattr(bell, "ring", lambda: rung.append(1))
    return rung


@pytest.fixture
def catalogue(db: None) -> None:
    """Two providers of the catalogue in the database, and SECRET known to their default endpoints."""
    synced(retell=SECRET, vcp=SECRET)


@pytest.fixture
def endpoint(catalogue: None) -> EndpointRuntime:
    """Retell's default endpoint, where real calls come in."""
    found = registry.endpoint("retell")
    assert found is not None
    return found


Deliver = Callable[..., Any]


@pytest.fixture
def deliver(catalogue: None, client: Client) -> Deliver:
    """Signs a payload (JSON value or raw bytes) and posts it to /webhook/<provider>; gives the response."""

    def send(
        payload: Any,
        *,
        provider: str = "retell",
        path: str | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Any:
        body = as_body(payload)
        headers = signed(body, provider=provider) if headers is None else headers
        return client.generic("POST", path or f"/webhook/{provider}", body, content_type, headers=headers)

    return send


@pytest.fixture
def arrive(catalogue: None) -> Callable[..., inbox.Accepted]:
    """Brings a payload in at a time of the test's choice, signed at that time; gives what `accept` says."""

    def bring(payload: Any, at: datetime = ARRIVAL, *, provider: str = "retell") -> inbox.Accepted:
        body = as_body(payload)
        headers = {name.lower(): value for name, value in signed(body, provider=provider, at=at).items()}
        endpoint = registry.endpoint(provider)
        assert endpoint is not None
        outcome = inbox.accept(endpoint, headers=headers, body=body, now=at, trace_id="0" * 32)
        assert isinstance(outcome, inbox.Accepted), outcome
        return outcome

    return bring


@pytest.fixture
def drain(catalogue: None) -> Callable[[], int]:
    """Works off what is due, as the worker would; gives the number of deliveries."""
    return tasks.work_off


@pytest.fixture
def operator(client: Client) -> Client:
    """A browser in which a superuser is logged in."""
    client.force_login(User.objects.create_superuser("olga", "", "a password of the tests"))
    return client

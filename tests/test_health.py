"""GET /health tells soon where no delivery can be stored, whatever the reason."""

import threading
from collections.abc import Iterator

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from apps.ingest import committing
from apps.ingest.committing import NotStoredError
from voicelens import health


@pytest.fixture
def shared(transactional_db: None) -> Iterator[None]:
    """This process commits through its writer thread, as a web process does."""
    committing.start()
    yield
    committing.stop()


def assert_unavailable(client: Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    told = answer.json()
    assert (told["status"], told["database"]) == ("error", "unavailable")
    assert "secret" not in answer.content.decode()


def test_it_is_200_where_the_writer_commits(shared: None, client: Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["database"]) == (200, "connected")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "error",
    [OperationalError("secret"), InterfaceError("secret"), NotStoredError("secret")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["the commit", "the reading"])
def test_it_is_503_where_deliveries_cannot_be_stored(
    client: Client, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(*((committing, "check", fail) if place == "the commit" else (health, "_providers", fail)))
    assert_unavailable(client)


def test_it_is_503_soon_while_the_writer_hangs_and_200_afterwards(
    shared: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the time that a delivery is given: who asks for health has gone away by then."""
    open_again, look = threading.Event(), committing._look

    def hang() -> None:
        assert open_again.wait(timeout=30)
        look()

    monkeypatch.setattr(committing, "_look", hang)
    monkeypatch.setattr(committing, "WAIT_SEC", 600.0)  # a look that lasted so long would fail above
    monkeypatch.setattr(health, "COMMITS_WITHIN_SEC", 0.05)
    try:
        assert_unavailable(client)
    finally:
        open_again.set()
    monkeypatch.setattr(health, "COMMITS_WITHIN_SEC", 30.0)
    assert client.get("/health").status_code == 200

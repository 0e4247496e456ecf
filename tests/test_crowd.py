"""Which connections of a crowd are closed, on sockets of this machine. The server itself is tried in
test_hostile_connections.py."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from voicelens import crowd
from voicelens.crowd import Watch

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_INFO"), reason="only Linux tells what was said on a connection"
)

HERE = "127.0.0.1"
Connect = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """One that has no patience at all, and sees a crowd in every connection."""
    monkeypatch.setattr(crowd, "CROWD", 0)
    return Watch(patience_sec=0)


@pytest.fixture
def connect(watch: Watch) -> Iterator[Connect]:
    """Opens a connection: the client's end, and the server's."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.create_server((HERE, 0)))
        watch.server = f"{HERE}:{listening.getsockname()[1]}"

        def connection() -> tuple[socket.socket, socket.socket]:
            client = sockets.enter_context(socket.create_connection(listening.getsockname(), 10))
            server = sockets.enter_context(listening.accept()[0])
            server.settimeout(10)
            return client, server

        yield connection


def is_closed(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        while server.recv(1000):
            pass
    except BlockingIOError:
        return False
    return True


def test_in_a_crowd_who_says_nothing_goes_and_who_waits_for_an_answer_stays(watch, connect):
    silent, asking, answered = connect(), connect(), connect()
    asking[0].sendall(b"GET")
    answered[0].sendall(b"GET")
    assert answered[1].recv(10) == b"GET"
    answered[1].sendall(b"200")
    assert answered[0].recv(10) == b"200"
    assert watch.look() == 2
    assert [is_closed(server) for _, server in (silent, asking, answered)] == [True, False, True]


def test_where_there_is_no_crowd_nobody_goes(watch, connect, monkeypatch):
    monkeypatch.setattr(crowd, "CROWD", 1000)
    _, server = connect()
    assert watch.look() == 0
    assert not is_closed(server)


def test_who_spoke_a_moment_ago_stays(watch, connect):
    watch.patience_sec = 60
    _, server = connect()
    assert watch.look() == 0
    assert not is_closed(server)


def test_connections_to_another_port_are_not_looked_at(watch, connect):
    _, server = connect()
    watch.server = f"{HERE}:1"
    assert watch.look() == 0
    assert not is_closed(server)

"""Which connections are closed for holding the server up, on sockets of this machine. The server itself is tried in
test_hostile_connections.py."""

import contextlib
import io
import socket
from collections.abc import Callable, Iterator

import pytest

from voicelens import cut_off
from voicelens.cut_off import Watch, cutting_off

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_INFO"), reason="only Linux tells what was said on a connection"
)

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
Connect = Callable[..., tuple[socket.socket, socket.socket]]


@pytest.fixture
def watch() -> Watch:
    """One that has no patience at all."""
    return Watch(timeout_sec=0, threads=16)


@pytest.fixture
def connect(watch: Watch) -> Iterator[Connect]:
    """Opens a connection from an address: the client's end, and the server's."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.create_server((HERE, 0)))
        watch.port = listening.getsockname()[1]

        def connection(address: str = HERE) -> tuple[socket.socket, socket.socket]:
            client = sockets.enter_context(socket.create_connection((HERE, watch.port), 10, (address, 0)))
            server = sockets.enter_context(listening.accept()[0])
            server.settimeout(10)
            return client, server

        yield connection


def waits_for(watch: Watch, address: str, since_sec: float = 0) -> None:
    """As while a thread reads a body."""
    watch.waits[len(watch.waits)] = cut_off._Wait(since_sec, address)


def is_closed(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        while server.recv(1000):
            pass
    except BlockingIOError:
        return False
    return True


def test_whose_body_does_not_come_is_not_heard_any_longer_and_can_still_be_told(watch, connect):
    client, server = connect()
    client.sendall(b"POST")
    waits_for(watch, HERE)
    assert watch.look(1) == 1
    assert is_closed(server)
    server.sendall(b"400")
    client.settimeout(10)
    assert client.recv(10) == b"400"


def test_others_are_left_alone(watch, connect):
    ends = [connect(ELSEWHERE), connect(ELSEWHERE)]
    waits_for(watch, HERE)
    assert watch.look(1) == 0
    assert not any(is_closed(server) for _, server in ends)


def test_a_body_has_its_time(connect, watch):
    _, server = connect()
    patient = Watch(timeout_sec=30, threads=16)
    patient.port = watch.port
    waits_for(patient, HERE, since_sec=100)
    assert patient.look(129) == 0
    assert not is_closed(server)


def test_in_a_crowd_who_says_nothing_goes_and_who_waits_for_an_answer_stays(watch, connect, monkeypatch):
    silent, asking, answered = connect(), connect(), connect()
    asking[0].sendall(b"GET")
    answered[0].sendall(b"GET")
    assert answered[1].recv(10) == b"GET"
    answered[1].sendall(b"200")
    assert answered[0].recv(10) == b"200"
    assert watch.look(1) == 0
    monkeypatch.setattr(cut_off, "CROWD", 0)
    assert watch.look(1) == 2
    assert [is_closed(server) for _, server in (silent, asking, answered)] == [True, False, True]


def test_a_body_is_read_through_the_watch_as_without_it(watch, monkeypatch):
    monkeypatch.setattr(Watch, "run", lambda self: None)
    monkeypatch.setattr(cut_off, "Watch", lambda timeout_sec, threads: watch)
    noted = []

    class Stream(io.BytesIO):
        def read(self, *size):
            noted.append([wait.address for wait in watch.waits.values()])
            return super().read(*size)

    def app(environ, start_response):
        stream = environ["wsgi.input"]
        return [stream.read(2), stream.readline(), stream.read()]

    environ = {"SERVER_PORT": "8080", "REMOTE_ADDR": HERE, "wsgi.input": Stream(b"abc\ndef")}
    assert cutting_off(app, 30, 16)(environ, None) == [b"ab", b"c\n", b"def"]
    assert (noted, watch.waits, watch.port) == ([[HERE], [HERE]], {}, 8080)

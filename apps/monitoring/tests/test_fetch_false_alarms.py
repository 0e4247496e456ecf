"""What would make the outgoing door call a healthy page down, and is no fault of the page."""

import gzip
import socket
from typing import Any

import pytest

from apps.monitoring.fetch import Door, Request
from apps.monitoring.tests.servers import PlayedServer, page


def door(**more: Any) -> Door:
    told = {"user_agent": "VoiceLens/test", "open_hosts": ["127.0.0.1"], "host_pause_sec": 0}
    return Door(**{**told, "sleep": lambda sec: None, **more})


def looked_up(*addresses: tuple[int, str]) -> Any:
    return lambda host, port: [(family, socket.SOCK_STREAM, 6, "", (text, port)) for family, text in addresses]


@pytest.mark.parametrize(("method", "status"), [("GET", 304), ("HEAD", 200), ("GET", 204)])
def test_an_answer_without_a_body_may_call_itself_packed(method: str, status: int) -> None:
    told: dict[str, Any] = {"content_length": "900"} if method == "HEAD" else {}
    with PlayedServer({"/": page(status=status, content_encoding="gzip", **told)}).running() as server:
        answer = door().fetch(Request(server.url(), method, retries=0))
    assert (answer.status, answer.body) == (status, b"")


def test_a_machine_without_ipv6_asks_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def without_ipv6(family: int = -1, *more: Any, **named: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return made(family, *more, **named)

    with PlayedServer({"/": page(b"there")}).running() as server:
        monkeypatch.setattr("apps.monitoring.fetch.socket.socket", without_ipv6)
        resolve = looked_up((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
        assert door(resolve=resolve).fetch(Request(server.url(), retries=0)).body == b"there"


def test_an_address_that_swallows_packets_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, waited = socket.socket.connect, []

    def swallowing(sock: socket.socket, address: Any) -> None:
        if address[0] == "127.0.0.9":
            waited.append(sock.gettimeout())
            now[0] += sock.gettimeout() or 0
            raise TimeoutError
        connect(sock, address)

    now = [0.0]
    with PlayedServer({"/": page(b"there")}).running() as server:
        monkeypatch.setattr(socket.socket, "connect", swallowing)
        resolve = looked_up((socket.AF_INET, "127.0.0.9"), (socket.AF_INET, "127.0.0.1"))
        by = door(resolve=resolve, clock=lambda: now[0])
        assert by.fetch(Request(server.url(), retries=0, timeout_sec=30)).body == b"there"
    assert len(waited) == 1


def test_waiting_for_ones_turn_takes_nothing_of_the_time_limit() -> None:
    now = [0.0]

    def sleep(sec: float) -> None:
        now[0] += sec

    with PlayedServer({"/": page(b"there")}).running() as server:
        by = door(clock=lambda: now[0], sleep=sleep, host_pause_sec=60)
        by.fetch(Request(server.url(), timeout_sec=30))
        assert by.fetch(Request(server.url(), timeout_sec=30)).body == b"there"


def test_a_redirect_in_plain_letters_is_followed() -> None:
    with PlayedServer({"/%C3%A9": page(b"there")}).running() as server:
        server.routes["/"] = lambda asked, sock: sock.sendall(
            "HTTP/1.1 302 Found\r\nlocation: /é\r\ncontent-length: 0\r\n\r\n".encode()
        )
        assert door().fetch(Request(server.url(), retries=0)).body == b"there"


def test_a_packed_page_may_be_padded() -> None:
    with PlayedServer({"/": page(gzip.compress(b"there") + b"\0" * 16, content_encoding="gzip")}).running() as server:
        assert door().fetch(Request(server.url(), retries=0)).body == b"there"


def test_what_is_sent_stands_in_no_repr() -> None:
    shown = repr(Request("https://x.test/T0/hush", "POST", {"Authorization": "hush"}, b"hush"))
    assert "hush" not in shown

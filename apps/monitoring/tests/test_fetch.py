"""The outgoing door against a server that plays every kind of page, and addresses of every kind."""

import gzip
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from apps.monitoring.fetch import Answer, Door, FetchError, Request
from apps.monitoring.targets import is_public
from apps.monitoring.tests.servers import (
    PlayedServer,
    certificate,
    drip,
    endless,
    gzipped,
    hang,
    in_turn,
    page,
    raw,
    redirect,
    with_etag,
)

UNAVAILABLE = page(b"later", status=503)


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Ends what a server would play for ever."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    with PlayedServer({}).running() as played:
        yield played


class Slept(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(round(seconds, 3))


def door(**more: Any) -> Door:
    told = {"user_agent": "VoiceLens/test (+https://us.test)", "open_hosts": ["127.0.0.1"], "host_pause_sec": 0}
    return Door(**{**told, "sleep": Slept(), "chance": lambda: 0.5, **more})


def refusal(request: Request, by: Door | None = None) -> FetchError:
    with pytest.raises(FetchError) as caught:
        (by or door()).fetch(request)
    return caught.value


# --- answers --------------------------------------------------------------------------------------------------


def test_an_answer_comes_with_its_parts(server: PlayedServer) -> None:
    server.routes["/a?b=1"] = page(b"text", content_type="text/plain")
    answer = door().fetch(Request(server.url("/a?b=1"), accept="text/plain", headers={"X-Extra": "1"}))
    assert (answer.status, answer.body, answer.url, answer.attempts) == (200, b"text", server.url("/a?b=1"), 1)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.latency_ms >= 0
    asked = server.asked[0]
    assert (asked.method, asked.headers["user-agent"]) == ("GET", "VoiceLens/test (+https://us.test)")
    assert (asked.headers["accept"], asked.headers["x-extra"]) == ("text/plain", "1")
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"


def test_a_body_is_posted_once_even_if_the_answer_is_bad(server: PlayedServer) -> None:
    server.routes["/hook"] = UNAVAILABLE
    answer = door().fetch(Request(server.url("/hook"), "POST", {"Content-Type": "text/plain"}, "é".encode()))
    assert (answer.status, len(server.asked), server.asked[0].body) == (503, 1, "é".encode())


def test_what_did_not_change_is_not_sent_again(server: PlayedServer) -> None:
    server.routes["/"] = with_etag(b"text", '"v1"')
    assert door().fetch(Request(server.url())).body == b"text"
    answer = door().fetch(Request(server.url(), etag='"v1"', last_modified="Mon, 02 Nov 2026 00:00:00 GMT"))
    assert (answer.not_modified, answer.body) == (True, b"")
    assert server.asked[1].headers["if-modified-since"] == "Mon, 02 Nov 2026 00:00:00 GMT"


@pytest.mark.parametrize("path", ["/é/ü", "/a%20b", "/x?q=ä&r=%26#part"])
def test_letters_of_an_address_are_escaped_and_escapes_are_kept(server: PlayedServer, path: str) -> None:
    door().fetch(Request(server.url(path)))
    sent = server.asked[0].path
    assert sent.isascii()
    assert ("%20" in path) == ("%20" in sent)


def test_packed_pages_are_unpacked_also_in_several_members(server: PlayedServer) -> None:
    server.routes["/"] = gzipped(b"x" * 100_000)
    server.routes["/two"] = page(gzip.compress(b"one") + gzip.compress(b"two"), content_encoding="x-gzip")
    assert door().fetch(Request(server.url())).body == b"x" * 100_000
    assert door().fetch(Request(server.url("/two"))).body == b"onetwo"


def test_a_large_body_comes_whole(server: PlayedServer) -> None:
    body = bytes(range(256)) * 20_000
    server.routes |= {"/": page(body), "/open": raw(b"HTTP/1.1 200 OK\r\n\r\n" + body)}
    assert door().fetch(Request(server.url())).body == body
    assert door().fetch(Request(server.url("/open"))).body == body


# --- attempts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again_later_and_later(server: PlayedServer, status: int) -> None:
    server.routes["/"] = in_turn(page(status=status), page(status=status), page(b"there"))
    slept = Slept()
    answer = door(sleep=slept).fetch(Request(server.url()))
    assert (answer.body, answer.attempts, slept) == (b"there", 3, [0.5, 1.0])


def test_the_last_answer_is_given_when_none_was_better(server: PlayedServer) -> None:
    server.routes["/"] = UNAVAILABLE
    answer = door().fetch(Request(server.url(), retries=1))
    assert (answer.status, answer.attempts, len(server.asked)) == (503, 2, 2)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_what_will_not_pass_is_not_tried_again(server: PlayedServer, status: int) -> None:
    server.routes["/"] = page(status=status)
    assert door().fetch(Request(server.url())).attempts == 1


def test_the_server_says_how_long_to_wait(server: PlayedServer) -> None:
    server.routes["/"] = in_turn(page(status=429, retry_after="7"), page())
    slept = Slept()
    assert door(sleep=slept).fetch(Request(server.url())).status == 200
    assert slept == [7.0]


@pytest.mark.parametrize("asked", ["3600", "9" * 8])
def test_a_wait_beyond_the_time_limit_is_not_waited(server: PlayedServer, asked: str) -> None:
    server.routes["/"] = page(status=503, retry_after=asked)
    assert door().fetch(Request(server.url())).attempts == 1


@pytest.mark.parametrize("asked", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9", "²"])
def test_a_wait_that_is_no_number_leaves_the_usual_one(server: PlayedServer, asked: str) -> None:
    server.routes["/"] = in_turn(page(status=503, retry_after=asked), page())
    slept = Slept()
    door(sleep=slept).fetch(Request(server.url()))
    assert slept == [0.5]


def test_a_broken_exchange_is_tried_again(server: PlayedServer) -> None:
    server.routes["/"] = in_turn(raw(b""), raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), page(b"whole"))
    assert door().fetch(Request(server.url())).body == b"whole"


def test_one_request_at_a_time_goes_to_a_host_with_a_pause_between(server: PlayedServer) -> None:
    now = [100.0]
    slept = Slept()
    polite = door(host_pause_sec=2, clock=lambda: now[0], sleep=slept)
    polite.fetch(Request(server.url()))
    now[0] += 0.5
    polite.fetch(Request(server.url()))
    now[0] += 5
    polite.fetch(Request(server.url()))
    assert slept == [1.5]


# --- outages --------------------------------------------------------------------------------------------------


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        error = refusal(Request(url, retries=0))
    assert (error.kind, str(error)) == ("refused", "127.0.0.1 refuses the connection.")
    assert error.latency_ms is not None


def test_a_name_that_nobody_knows_is_no_fault_of_the_page() -> None:
    def unknown(host: str, port: int) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    error = refusal(Request("https://gone.test/"), door(resolve=unknown))
    assert error.kind == "dns"
    assert "gone.test" in str(error)


def test_a_name_whose_look_up_hangs_ends_in_time(over: threading.Event) -> None:
    error = refusal(Request("https://slow.test/", timeout_sec=0.05), door(resolve=lambda host, port: over.wait(10)))
    assert error.kind == "timeout"


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n"]
)
def test_a_page_that_hangs_or_drips_is_cut_at_the_time_limit(
    server: PlayedServer, over: threading.Event, start: bytes
) -> None:
    server.routes["/"] = drip(over, start) if start else hang(over)
    assert refusal(Request(server.url(), timeout_sec=0.1)).kind == "timeout"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff not http at all\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_is_none_is_told_as_such(server: PlayedServer, answer: bytes) -> None:
    server.routes["/"] = raw(answer)
    assert refusal(Request(server.url(), retries=0)).kind == "protocol"


# --- size -----------------------------------------------------------------------------------------------------


def test_an_endless_answer_is_cut_without_being_kept(server: PlayedServer) -> None:
    server.routes["/"] = endless
    small = door(max_bytes=2_000_000)
    tracemalloc.start()
    error = refusal(Request(server.url()), small)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (error.kind, peak < 8_000_000) == ("too_large", True)


def test_a_bomb_is_cut_while_it_is_unpacked(server: PlayedServer) -> None:
    server.routes["/"] = gzipped(b"0" * 50_000_000)
    tracemalloc.start()
    error = refusal(Request(server.url()), door(max_bytes=1_000_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (error.kind, peak < 5_000_000) == ("too_large", True)


def test_endless_headers_end(server: PlayedServer) -> None:
    server.routes["/"] = raw(b"HTTP/1.1 200 OK\r\n" + b"x: yyyyyyyyyy\r\n" * 100_000)
    assert refusal(Request(server.url(), retries=0)).kind in ("protocol", "too_large")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"no gzip", "gzip"),
        (gzip.compress(b"x" * 9999, mtime=0)[:-20], "gzip"),
        (b"x", "br"),
        (b"", "gzip"),
        (b"x", "gzip, br"),
    ],
)
def test_what_cannot_be_unpacked_is_a_fault_of_the_encoding(server: PlayedServer, body: bytes, encoding: str) -> None:
    server.routes["/"] = page(body, content_encoding=encoding)
    assert refusal(Request(server.url())).kind == "encoding"


# --- redirects ------------------------------------------------------------------------------------------------


def test_redirects_are_followed_and_the_last_address_is_told(server: PlayedServer) -> None:
    server.routes |= {"/a": redirect("b?x=1"), "/b?x=1": redirect("/c", 308), "/c": page(b"end")}
    answer = door().fetch(Request(server.url("/a")))
    assert (answer.url, answer.body) == (server.url("/c"), b"end")


def test_a_circle_of_redirects_ends(server: PlayedServer) -> None:
    server.routes["/"] = redirect("/")
    assert refusal(Request(server.url())).kind == "redirect"
    assert len(server.asked) == 6


def test_a_post_is_never_redirected(server: PlayedServer) -> None:
    server.routes["/"] = redirect("/b")
    assert refusal(Request(server.url(), "POST", body=b"x")).kind == "redirect"
    assert len(server.asked) == 1


def test_a_login_does_not_travel_to_another_host(server: PlayedServer) -> None:
    with PlayedServer({"/": page()}).running() as other:
        server.routes |= {"/": redirect("/same"), "/same": redirect(other.url())}
        door().fetch(Request(server.url(), headers={"Authorization": "secret", "X-Other": "1"}))
    assert [("authorization" in asked.headers, "x-other" in asked.headers) for asked in server.asked] == [
        (True, True)
    ] * 2
    assert ("authorization" in other.asked[0].headers, "x-other" in other.asked[0].headers) == (False, True)


PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - asked for, not bound
       "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1", "192.0.2.1", "::", "::1",
    "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:7f00:1::", "2001:db8::1", "100::1", "nonsense", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_of_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "100.20.5.228", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_of_the_public_internet(address: str) -> None:
    assert is_public(address)


def resolving(*addresses: str) -> Any:
    """A look-up that gives these addresses, whatever is asked; counts how often."""

    def resolve(host: str, port: int) -> Any:
        resolve.asked += 1  # type: ignore[attr-defined]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    resolve.asked = 0  # type: ignore[attr-defined]
    return resolve


@pytest.mark.parametrize("address", [address for address in PRIVATE if address and address != "nonsense"])
def test_a_name_with_a_closed_address_is_not_asked(address: str) -> None:
    error = refusal(Request("http://inside.test/"), door(resolve=resolving(address), open_hosts=[]))
    assert error.kind == "blocked"
    assert "MONITORING_OPEN_HOSTS" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]"])
def test_the_machine_itself_is_not_asked_however_it_is_written(server: PlayedServer, host: str) -> None:
    assert refusal(Request(server.url(host=host)), door(open_hosts=[])).kind in ("blocked", "dns")
    assert server.asked == []


@pytest.mark.parametrize("target", ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/"])
def test_a_redirect_to_a_closed_address_is_not_followed(server: PlayedServer, target: str) -> None:
    server.routes["/"] = redirect(target)
    assert refusal(Request(server.url())).kind == "blocked"


@pytest.mark.parametrize(("by", "kind"), [("localhost", "blocked"), ("127.0.0.1", "refused")])
def test_only_an_opened_host_leads_to_an_opened_host(server: PlayedServer, by: str, kind: str) -> None:
    """Whoever can write a public page could else have us read an inner one."""
    server.routes["/"] = redirect("http://inside.test:1/")
    opened = ["inside.test", "127.0.0.1"]

    def resolve(host: str, port: int) -> Any:
        return resolving("127.0.0.1")(host, port)

    class Public(Door):
        """`localhost` stands for a public host: it is asked although it was not opened."""

        def _vetted(self, host: str, port: int, limit: Any) -> Any:
            return resolve(host, port)

    asking = Public(user_agent="x", open_hosts=opened, host_pause_sec=0, sleep=Slept())
    assert refusal(Request(server.url(host=by), retries=0), asking).kind == kind


def test_an_address_of_ipv6_is_opened_with_its_port() -> None:
    by = door(resolve=resolving("::1"), open_hosts=["[::1]:1"])
    assert refusal(Request("http://[::1]:1/", retries=0), by).kind in ("refused", "unreachable")
    assert refusal(Request("http://[::1]:2/", retries=0), by).kind == "blocked"


def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that sockets go to; none gets there."""
    asked: list[str] = []

    def connect(sock: socket.socket, address: Any) -> None:
        asked.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return asked


def test_a_name_that_changes_its_address_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: whoever is asked again would say 127.0.0.1."""
    asked = connections(monkeypatch)
    answers = iter(["8.8.8.8", "127.0.0.1"])
    error = refusal(
        Request("http://turn.test/", retries=0), door(resolve=lambda host, port: resolving(next(answers))(host, port))
    )
    assert (error.kind, asked) == ("refused", ["8.8.8.8"])


def test_of_mixed_addresses_only_the_public_ones_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = connections(monkeypatch)
    refusal(Request("http://mixed.test/", retries=0), door(resolve=resolving("10.0.0.1", "8.8.8.8", "::1", "9.9.9.9")))
    assert asked == ["8.8.8.8", "9.9.9.9"]


@pytest.mark.parametrize("opened", ["inside.test", "INSIDE.test:8443", " inside.test "])
def test_a_named_host_may_be_private(monkeypatch: pytest.MonkeyPatch, opened: str) -> None:
    asked = connections(monkeypatch)
    by = door(resolve=resolving("10.0.0.1"), open_hosts=[opened])
    assert refusal(Request("http://inside.test:8443/", retries=0), by).kind == "refused"
    assert asked == ["10.0.0.1"]


def test_a_host_named_with_a_port_is_open_there_only() -> None:
    by = door(resolve=resolving("10.0.0.1"), open_hosts=["inside.test:8443"])
    assert refusal(Request("http://inside.test:22/"), by).kind == "blocked"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.test/", "file:///etc/passwd", "gopher://x.test/", "javascript:alert(1)", "//x.test/", "x.test", "",
        "http://", "http:///path", "http://user:secret@x.test/", "http://user@x.test/", "http://x.test:99999/",
        "http://x.test:0/", "http://x.test/a b", "http://x.test/a\r\nX: 1", "http://[::1", "http://x.test/\x00",
    ],
)  # fmt: skip
def test_addresses_that_are_never_asked(url: str) -> None:
    assert refusal(Request(url), door(resolve=resolving("8.8.8.8"))).kind == "blocked"


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "xn--\udcff.test", "..", "ex..ample"])
def test_a_name_that_is_none_is_told(host: str) -> None:
    assert refusal(Request(f"http://{host}/")).kind in ("dns", "blocked", "unreachable", "protocol")


def test_proxies_of_the_environment_are_not_used(server: PlayedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert door().fetch(Request(server.url())).status == 404


# --- TLS ------------------------------------------------------------------------------------------------------


def secure(name: str = "127.0.0.1", **more: Any) -> tuple[PlayedServer, ssl.SSLContext]:
    file, context = certificate(name, **more)
    return PlayedServer({"/": page(b"safe")}, tls=context), ssl.create_default_context(cafile=str(file))


def test_a_good_certificate_is_taken() -> None:
    server, trusting = secure()
    with server.running():
        assert door(tls=trusting).fetch(Request(server.url())).body == b"safe"


def test_the_name_of_the_address_is_what_the_certificate_must_say(monkeypatch: pytest.MonkeyPatch) -> None:
    server, trusting = secure("good.test")
    with server.running():
        by = door(tls=trusting, resolve=resolving("127.0.0.1"), open_hosts=["good.test", "bad.test"])
        assert by.fetch(Request(server.url(host="good.test"))).body == b"safe"
        assert refusal(Request(server.url(host="bad.test")), by).kind == "tls"


def test_a_certificate_that_nobody_vouches_for_or_that_ran_out_is_not_taken() -> None:
    server, _ = secure()
    with server.running():
        assert refusal(Request(server.url())).kind == "tls"
    server, trusting = secure(is_expired=True)
    with server.running():
        error = refusal(Request(server.url()), door(tls=trusting))
    assert (error.kind, "expired" in str(error)) == ("tls", True)


def test_a_server_that_speaks_no_tls_is_told() -> None:
    with PlayedServer({}).running() as plain:
        error = refusal(Request(plain.url().replace("http:", "https:"), retries=0, timeout_sec=2))
    assert error.kind in ("tls", "protocol")


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    server, trusting = secure()
    with server.running():
        server.routes["/"] = redirect(server.url().replace("https:", "http:"))
        assert refusal(Request(server.url()), door(tls=trusting)).kind == "redirect"


def test_an_error_says_what_happened_and_nothing_of_what_was_sent(server: PlayedServer) -> None:
    server.routes["/"] = raw(b"")
    request = Request(server.url(), headers={"Authorization": "Bearer hush"}, retries=0)
    assert "hush" not in repr(refusal(request))


def test_an_answer_can_be_compared() -> None:
    assert Answer("u", 304, {}, b"", 1, 1).not_modified
    assert not Answer("u", 200, {}, b"", 1, 1).not_modified

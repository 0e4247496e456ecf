"""A server on loopback that plays a provider: pages, outages, slowness, bombs, broken TLS. For the tests of whoever
fetches or posts."""

import gzip
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behaviour = Callable[["Asked", socket.socket], None]


@dataclass(frozen=True)
class Asked:
    """One request as it came; `headers` by lower-case names."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class PlayedServer:
    """What is asked for is played by the behaviour of its path; what was asked is kept."""

    routes: dict[str, Behaviour]
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    @contextmanager
    def running(self) -> Iterator["PlayedServer"]:
        server = _Server(self)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, played: PlayedServer) -> None:
        self.played = played
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what is tested."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        sock = self.request
        if self.server.played.tls:
            sock = self.server.played.tls.wrap_socket(sock, server_side=True)
        asked = _read(sock)
        self.server.played.asked.append(asked)
        self.server.played.routes.get(asked.path, page(b"not here", status=404))(asked, sock)
        if self.server.played.tls:
            sock.close()


def _read(sock: socket.socket) -> Asked:
    with sock.makefile("rb") as lines:
        method, path, _ = lines.readline().decode().split(" ", 2)
        headers = {}
        while line := lines.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Asked(method, path, headers, lines.read(int(headers.get("content-length", 0))))


# --- behaviours -----------------------------------------------------------------------------------------------


def page(body: bytes = b"", status: int = 200, **headers: Any) -> Behaviour:
    """An answer as it should be; `content_type="text/html"` becomes a header."""

    def play(asked: Asked, sock: socket.socket) -> None:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told = {"content-length": str(len(body)), **told}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        sock.sendall(f"HTTP/1.1 {status} Played\r\n{lines}\r\n".encode("latin-1") + body)

    return play


def raw(data: bytes) -> Behaviour:
    """Just these bytes, then the end."""
    return lambda asked, sock: sock.sendall(data)


def redirect(url: str, status: int = 302) -> Behaviour:
    return page(status=status, location=url)


def gzipped(body: bytes, **headers: Any) -> Behaviour:
    return page(gzip.compress(body), content_encoding="gzip", **headers)


def with_etag(body: bytes, etag: str) -> Behaviour:
    def play(asked: Asked, sock: socket.socket) -> None:
        known = asked.headers.get("if-none-match") == etag
        (page(status=304, etag=etag) if known else page(body, etag=etag))(asked, sock)

    return play


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one again and again."""
    left = list(behaviours)
    return lambda asked, sock: (left.pop(0) if len(left) > 1 else left[0])(asked, sock)


def hang(until: threading.Event) -> Behaviour:
    def play(asked: Asked, sock: socket.socket) -> None:
        until.wait(10)

    return play


def drip(until: threading.Event, start: bytes = b"HTTP/1.1 200 OK\r\nx: ") -> Behaviour:
    """A byte every few milliseconds, for ever: each read succeeds, none is the last."""

    def play(asked: Asked, sock: socket.socket) -> None:
        sock.sendall(start)
        while not until.wait(0.005):
            sock.sendall(b"x")

    return play


def endless(asked: Asked, sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        sock.sendall(b"x" * 65536)


# --- certificates ---------------------------------------------------------------------------------------------


@cache
def certificate(name: str = "127.0.0.1", *, is_expired: bool = False) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for a name or an address: the file a client may trust, and the server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    is_address = name.replace(".", "").isdigit()
    known_as = x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name)
    until = datetime.now(UTC) + timedelta(days=-1 if is_expired else 1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=10))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([known_as]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = Path(mkdtemp(prefix="played-"))
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context

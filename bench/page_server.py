"""A local web server that plays providers' pages at every loopback address: health, documentation, feeds.

Pages are the same for every address. A request for /next changes the text of all of them a little.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

PARAGRAPH = "The call ends with an event that holds its duration, its transcript and what it cost. "


def docs_page(path: str, revision: int, counter: int) -> bytes:
    """Some 100 KB; what surrounds the text differs with every request."""
    lines = [f"<h2>Section {n}</h2><p>{PARAGRAPH * 4} Field <code>field_{n}</code>.</p>" for n in range(220)]
    lines[100] = f"<h2>Section 100</h2><p>Retries are sent {revision} times.</p>"
    head = f"<head><title>{path}</title><script>build={counter}</script></head>"
    nav = "".join(f'<a href="/{n}?v={counter}">Page {n}</a>' for n in range(100))
    return f"<html>{head}<body><nav>{nav}</nav><main>{''.join(lines)}</main></body></html>".encode()


def feed(revision: int) -> bytes:
    entries = "".join(
        f"<item><guid>{n}</guid><title>Release {n}</title><description>{PARAGRAPH}</description></item>"
        for n in range(revision + 9, revision - 1, -1)
    )
    return f'<rss version="2.0"><channel><title>News</title>{entries}</channel></rss>'.encode()


class Handler(BaseHTTPRequestHandler):
    served = 0

    def do_GET(self) -> None:
        Handler.served += 1
        path, revision = self.path, self.server.revision  # type: ignore[attr-defined]
        if path.startswith("/docs"):
            self._answer("text/html; charset=utf-8", docs_page(path, revision, Handler.served))
        elif path.startswith("/feed"):
            self._answer("application/rss+xml", feed(revision))
        elif path == "/next":
            self.server.revision += 1  # type: ignore[attr-defined]
            self._answer("text/plain", b"next")
        else:
            self._answer("application/json", b'{"ok": true}')

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    revision = 1


def serve(told: Connection) -> None:
    """Serve for ever; tells its port."""
    server = Server(("0.0.0.0", 0), Handler)  # noqa: S104 - all of 127.0.0.0/8, on a machine that measures
    told.send(server.server_address[1])
    server.serve_forever()

"""A web server on loopback that says what a test tells it, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Page:
    """An answer: with an ``ETag`` it is conditional; ``length`` may lie."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


class Web:
    """The pages by path, and the requests so far: (path, headers)."""

    def __init__(self, port: int) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.address = f"http://127.0.0.1:{port}"
        self.port = port


def _handler(web: Callable[[], Web]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = web()
            there.asked.append((self.path, dict(self.headers.items())))
            page = there.pages.get(self.path, Page(status=404))
            etag = page.headers.get("ETag")
            page = Page(status=304) if etag and self.headers.get("If-None-Match") == etag else page
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body) if page.length is None else page.length))
            self.end_headers()
            if page.status != 304:
                self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@contextmanager
def served() -> Iterator[Web]:
    """Serve for the block."""
    found: list[Web] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: found[0]))
    server.daemon_threads = False
    found.append(Web(server.server_address[1]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

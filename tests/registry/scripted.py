"""A registry that answers from a script and keeps every request: the liar of the client's tests."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TypeAlias


@dataclass
class Answer:
    """What the scripted registry says.

    ``cut`` bytes of the body are left out though announced; ``reset_after`` bytes of it the connection is reset (RST); with ``ranges`` a
    Range is honoured, with ``content_range`` in words of our choice; ``bytes_per_s`` makes it slow; ``hang_s`` is waited at the end;
    ``dropped`` resets the connection instead of answering.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    delay_s: float = 0.0
    reset_after: int | None = None
    ranges: bool = False
    content_range: str = ""
    bytes_per_s: int = 0
    hang_s: float = 0.0
    dropped: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


Reply: TypeAlias = "Answer | Callable[[Request], Answer]"


@dataclass
class Scripted:
    """A registry that answers each path from a script; an Answer list is used up one by one, its last for ever."""

    host: str
    answers: dict[str, list[Reply]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def say(self, path: str, *answers: Reply) -> None:
        self.answers[path] = list(answers)

    def asked(self, path: str, method: str = "") -> list[Request]:
        return [r for r in self.requests if r.path.partition("?")[0] == path and method in ("", r.method)]

    def next(self, request: Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            answers = self.answers.get(request.path.partition("?")[0], [Answer(status=404)])
            found = answers.pop(0) if len(answers) > 1 else answers[0]
        return found if isinstance(found, Answer) else found(request)


def handler_for(script: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            request = Request(self.command, self.path, dict(self.headers), self.given())
            found = script.next(request)
            script.over.wait(found.delay_s) if found.delay_s else None
            try:
                self.send(found, request.headers.get("Range", ""))
            except OSError:
                pass  # the client had enough
            self.close_connection = True

        def given(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def send(self, found: Answer, wanted: str) -> None:
            if found.dropped:
                self.reset()
                return
            status, body, headers = found.status, found.body, dict(found.headers)
            if wanted and found.ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = found.content_range or f"bytes {start}-{len(body) - 1}/{len(body)}"
                status, body = 206, body[start:]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.send_body(found, body[: len(body) - found.cut])

        def send_body(self, found: Answer, body: bytes) -> None:
            end = len(body) if found.reset_after is None else min(found.reset_after, len(body))
            step = max(found.bytes_per_s // 20, 1) if found.bytes_per_s else max(end, 1)
            for start in range(0, end, step):
                self.wfile.write(body[start : min(start + step, end)])
                if found.bytes_per_s and script.over.wait(0.05):
                    return
            if found.hang_s:
                script.over.wait(found.hang_s)
            if end < len(body):
                self.wfile.flush()
                time.sleep(0.005)  # what was sent must arrive before the reset that drops what is queued
                self.reset()

        def reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

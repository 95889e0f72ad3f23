"""A registry that answers from a script and keeps every request: the liar of the client's tests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler


@dataclass
class Answer:
    """What the scripted registry says: ``cut`` bytes of the body are left out though announced."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    delay_s: float = 0.0


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Scripted:
    """A registry that answers each path from a script; an Answer list is used up one by one, its last for ever."""

    host: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def say(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path.partition("?")[0] == path]


def handler_for(script: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0) or 0)
            self.rfile.read(length)
            script.requests.append(Request(self.command, self.path, dict(self.headers)))
            answers = script.answers.get(self.path.partition("?")[0], [Answer(status=404)])
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            time.sleep(found.delay_s)
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in found.headers:
                self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(found.body[: len(found.body) - found.cut])
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

"""Text from containers, builds and registries made safe to show: no control of the terminal or page is left in it (JUP-03, JUP-04).

What stays: printable text, newlines, tabs, and colours (SGR) where asked for. What goes: cursor movement, clipboard and title sequences
(OSC), device strings (DCS), C0 and C1 controls. What is made visible: characters that reorder the text around them (``\\u202e``).
A carriage return overwrites its line, as on a terminal, so a progress bar leaves its last state only.
"""

from __future__ import annotations

import codecs
import re

LINE_LIMIT = 4096
"""Characters of one line that are kept; the rest is cut with a mark."""

TEXT_LIMIT = 100_000
"""Characters of one text that are kept."""

_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|[\x18\x1a]|$|(?=\x1b|\n))"
_CONTROL = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|$|(?=[^ -~]))"
_ESCAPE = r"\x1b[ -/]*(?:[0-~]|$)?"
_SEQUENCE = re.compile(f"{_STRING}|{_CONTROL}|{_ESCAPE}", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,48}m\Z")
_OVERSTRUCK = re.compile(r"[^\x08\n]\x08")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_REORDERING = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RESET = "\x1b[0m"


def plain(text: str | bytes, *, limit: int = TEXT_LIMIT) -> str:
    """Return the text without any control sequence; at most ``limit`` characters and a mark that says how much was cut."""
    return _clean(_decoded(text, limit), colours=False, limit=limit)


def term(text: str | bytes, *, limit: int = TEXT_LIMIT) -> str:
    """Return the text with colours as its only control sequences, switched off at its end; cut as :func:`plain` does."""
    return _clean(_decoded(text, limit), colours=True, limit=limit)


def one_line(text: str | bytes, *, limit: int = 200) -> str:
    """Return the text as one line of at most ``limit`` characters, white space collapsed, cut with ``…``."""
    words = " ".join(plain(text).split())
    return words if len(words) <= limit else words[: max(limit - 1, 0)].rstrip() + "…"


class LineFilter:
    """Turns a stream of chunks, cut anywhere, into safe whole lines; memory stays flat whatever comes (``yes``, 1 MB without newline)."""

    def __init__(self, *, colours: bool = False, limit: int = LINE_LIMIT) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._colours, self._limit = colours, limit
        self._pending = ""
        self._cut = False

    def feed(self, data: bytes) -> list[str]:
        """Take a chunk; returns the lines it completes, without their newline."""
        return self._take(self._decoder.decode(data))

    def close(self) -> list[str]:
        """Return the unfinished last line, if there is one; the filter is empty again."""
        lines = self._take(self._decoder.decode(b"", final=True))
        if self._pending and not self._cut:
            lines.append(self._line(self._pending))
        self._pending, self._cut = "", False
        return lines

    @property
    def current(self) -> str:
        """The line that has no newline yet, such as a progress bar."""
        return self._line(self._pending)

    def _take(self, text: str) -> list[str]:
        *complete, rest = text.split("\n")
        lines = []
        for piece in complete:
            if not self._cut:
                lines.append(self._line(self._pending + piece))
            self._pending, self._cut = "", False
        self._pending = "" if self._cut else _last_written(self._pending + rest)
        if len(self._pending) > 4 * self._limit:
            lines.append(self._line(self._pending))
            self._pending, self._cut = "", True
        return lines

    def _line(self, text: str) -> str:
        return _clean(text, colours=self._colours, limit=self._limit)


def _decoded(text: str | bytes, limit: int) -> str:
    """Decode; what is far beyond the limit is not even looked at."""
    if isinstance(text, bytes):
        return text[: 16 * limit].decode("utf-8", errors="replace")
    return text


def _clean(text: str, *, colours: bool, limit: int) -> str:
    if len(text) <= limit and text.isprintable():
        return text
    hidden = max(len(text) - 16 * limit, 0)
    text = text[: 16 * limit] if hidden else text
    text = _SEQUENCE.sub(_keep_colour if colours else "", text)
    if "\r" in text:
        text = "\n".join(_last_written(line).rstrip("\r") for line in text.split("\n"))
    text = _OVERSTRUCK.sub("", text)
    text = _CONTROLS.sub("", text)
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", _REORDERING.sub(_visible, text))
    if hidden or len(text) > limit:
        text = f"{text[:limit]}… ({len(text) - limit + hidden} more characters)"
        text = re.sub(r"\x1b[^m]*…", "…", text)
    return text + _RESET if colours and "\x1b" in text and not text.endswith(_RESET) else text


def _keep_colour(match: re.Match[str]) -> str:
    return match[0] if _COLOUR.match(match[0]) else ""


def _last_written(line: str) -> str:
    """Return what a terminal shows of a line with carriage returns: the last part (``\\r`` at the very end belongs to a newline)."""
    ends = line.endswith("\r")
    body = line.rstrip("\r")
    return body[body.rfind("\r") + 1 :] + ("\r" if ends else "")


def _visible(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"

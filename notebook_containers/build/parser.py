"""Dockerfile text to nodes: directives, continuations, comments, flags, heredocs; each node knows its place in the text.

The rules are the Dockerfile reference's "Parser directives", "Format" and "Here-documents". Nothing is expanded and no instruction
is interpreted here. Each pass is linear; a text larger than :data:`MAX_BYTES`, or with a NUL, is refused.
"""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterator

from notebook_containers.build.gathering import Gathered
from notebook_containers.build.words import Word, WordError, expand, split
from notebook_containers.errors import DockerfileError
from notebook_containers.lean import dataclass, field

MAX_BYTES = 4 * 1024 * 1024

KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD"),
    *("RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_DIRECTIVES = ("escape", "syntax", "check")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)\Z")
_WITH_HEREDOCS = re.compile(r"(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """``--name=value`` of an instruction; ``value`` is None when no ``=`` stands there."""

    name: str
    value: str | None
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A here-document: its name, its text (tabs already stripped for ``<<-``), and whether variables in it are replaced."""

    name: str
    content: str
    expand: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction: ``text`` is its logical line (continuations joined), ``start`` where its arguments begin in it (after the flags).

    ``places`` are ``(offset in text, line, column)`` in rising order; ``lines`` are all lines of the file, for messages.
    """

    keyword: str
    text: str
    start: int
    flags: tuple[Flag, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    line: int
    end_line: int
    places: tuple[tuple[int, int, int], ...]
    escape: str = "\\"
    file: str = field(compare=False, default="Dockerfile")
    lines: tuple[str, ...] = field(repr=False, compare=False)

    @property
    def arguments(self) -> str:
        """The text after keyword and flags."""
        return self.text[self.start :]

    def words(self) -> tuple[Word, ...]:
        """The arguments cut at blanks, as written; offsets count in ``text``."""
        return split(self.text, escape=self.escape, start=self.start)

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column, from 1, of an offset in ``text``."""
        index = bisect.bisect_right(self.places, (offset, 1 << 60, 0)) - 1
        start, line, column = self.places[max(index, 0)]
        return line, column + max(offset - start, 0)

    def error(self, message: str, *, offset: int = 0, length: int = 0, hint: str = "") -> DockerfileError:
        """Return the error for a place in this instruction; without a length the keyword is marked."""
        line, column = self.place(offset)
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        wanted = length or (len(self.keyword) if offset == 0 else 1)
        room = max(len(source) - column + 1, 1)
        return DockerfileError(message, hint=hint, file=self.file, line=line, column=column, length=min(wanted, room), source=source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A parsed file: nodes in order, the directives given, and remarks ``(line, text)`` that are no errors."""

    name: str
    nodes: tuple[Node, ...]
    directives: dict[str, str]
    remarks: tuple[tuple[int, str], ...] = ()
    lines: tuple[str, ...] = field(repr=False, compare=False)

    @property
    def escape(self) -> str:
        """The escape character, a backslash or a backtick."""
        return self.directives.get("escape", "\\")


def parse(text: str, *, name: str = "Dockerfile", errors: Gathered | None = None) -> Dockerfile:
    """Cut a Dockerfile into nodes; raises DockerfileError with line, column and source for what no instruction can be.

    Reading goes on behind a wrong instruction. With ``errors`` they are kept there and the good nodes are returned.
    """
    gathered = Gathered() if errors is None else errors
    reader = _Lines(text, name)
    nodes: list[Node] = []
    directives = _directives(reader)
    escape = directives.get("escape", "\\")
    for logical in _logical_lines(reader, escape):
        with gathered.each():
            nodes.append(_node(reader, logical, escape))
    if errors is None:
        gathered.tell()
    if not nodes and not gathered:
        raise DockerfileError(f"{name} has no instruction", hint="a Dockerfile starts with FROM", file=name)
    return Dockerfile(name=name, nodes=tuple(nodes), directives=directives, remarks=tuple(reader.remarks), lines=reader.lines)


@dataclass(frozen=True, slots=True)
class _Logical:
    text: str
    places: tuple[tuple[int, int, int], ...]
    line: int


class _Lines:
    """The physical lines and how far they are read."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        if len(text) > MAX_BYTES:
            raise DockerfileError(f"{name} is {len(text)} characters, more than the {MAX_BYTES} allowed", file=name)
        text = text.removeprefix("\ufeff")
        # Only line feeds end a line; str.splitlines would also cut at form feeds and Unicode separators.
        self.raw = tuple(text.split("\n"))
        self.lines = tuple(line.removesuffix("\r") for line in self.raw)
        self.next = 0
        self.remarks: list[tuple[int, str]] = []
        nul = text.find("\0")
        if nul >= 0:
            line, column = text.count("\n", 0, nul) + 1, nul - text.rfind("\n", 0, nul)
            raise self.error("a NUL character stands here", line=line, column=column, hint="save the file as UTF-8 text")

    def error(self, message: str, *, line: int, column: int = 1, length: int = 1, hint: str = "") -> DockerfileError:
        return DockerfileError(message, hint=hint, file=self.name, line=line, column=column, length=length, source=self.lines[line - 1])


def _directives(reader: _Lines) -> dict[str, str]:
    found: dict[str, str] = {}
    while reader.next < len(reader.lines):
        line = reader.lines[reader.next]
        match = _DIRECTIVE.match(line.strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            return found
        key, value = match[1].lower(), match[2].rstrip()
        reader.next += 1
        if key in found:
            raise reader.error(f"the directive {key} stands twice", line=reader.next, length=len(line), hint="leave one of them")
        if key == "escape" and value not in ("\\", "`"):
            raise reader.error(
                f"{value!r} is no escape character", line=reader.next, column=line.index(value) + 1, length=len(value), hint="use \\ or `"
            )
        if key == "syntax":
            reader.remarks.append((reader.next, f"syntax={value} is not fetched: this builder reads the Dockerfile itself"))
        found[key] = value
    return found


def _logical_lines(reader: _Lines, escape: str) -> Iterator[_Logical]:
    while reader.next < len(reader.lines):
        line = reader.lines[reader.next].lstrip()
        if not line or line.startswith("#"):
            reader.next += 1
            continue
        logical = _join(reader, escape)
        if logical.text:
            yield logical


def _join(reader: _Lines, escape: str) -> _Logical:
    first = reader.next
    pieces: list[str] = []
    places: list[tuple[int, int, int]] = []
    length, more = 0, True
    while more and reader.next < len(reader.lines):
        number, line = reader.next, reader.lines[reader.next]
        reader.next += 1
        stripped = line.lstrip()
        if number > first and stripped.startswith("#"):
            continue
        if number > first and not stripped:
            if reader.next < len(reader.lines):
                reader.remarks.append((number + 1, "an empty line inside a continued instruction"))
            continue
        body, more = _continued(line, escape)
        skipped = 0 if length else len(body) - len(body.lstrip())
        places.append((length, number + 1, skipped + 1))
        pieces.append(body[skipped:])
        length += len(body) - skipped
    return _Logical("".join(pieces).rstrip(), tuple(places), first + 1)


def _continued(line: str, escape: str) -> tuple[str, bool]:
    """Cut the escape that ends a line (blanks may follow it); an escaped escape does not continue it."""
    body = line.rstrip(" \t")
    if body.endswith(escape) and not body.endswith(escape * 2):
        return body[:-1], True
    return line, False


def _node(reader: _Lines, logical: _Logical, escape: str) -> Node:
    keyword = logical.text.split(None, 1)[0]
    if keyword.upper() not in KEYWORDS:
        close = difflib.get_close_matches(keyword.upper(), KEYWORDS, n=1, cutoff=0.6)
        line, column = logical.places[0][1:]
        raise reader.error(
            f"unknown instruction {keyword[:40]}",
            line=line,
            column=column,
            length=len(keyword),
            hint=f"did you mean {close[0]}?" if close else "instructions are " + " ".join(KEYWORDS),
        )
    bare = Node(
        keyword=keyword.upper(), text=logical.text, start=len(keyword), line=logical.line, end_line=reader.next,
        places=logical.places, escape=escape, file=reader.name, lines=reader.lines,
    )  # fmt: skip
    flags, start = _flags(bare)
    heredocs = tuple(_heredocs(reader, bare)) if _WITH_HEREDOCS.match(logical.text) else ()
    return Node(
        keyword=bare.keyword, text=bare.text, start=start, flags=flags, heredocs=heredocs, line=bare.line, end_line=reader.next,
        places=bare.places, escape=escape, file=reader.name, lines=reader.lines,
    )  # fmt: skip


def _flags(node: Node) -> tuple[tuple[Flag, ...], int]:
    """Read the ``--flags`` between keyword and arguments (a lone ``--`` ends them)."""
    flags: list[Flag] = []
    for word in node.words():
        if not word.text.startswith("--"):
            return tuple(flags), word.offset
        if word.text == "--":
            rest = node.text[word.end :]
            return tuple(flags), word.end + len(rest) - len(rest.lstrip())
        name, equals, value = word.text[2:].partition("=")
        flags.append(Flag(name=name, value=value if equals else None, offset=word.offset, length=len(word.text)))
    return tuple(flags), len(node.text)


def _heredocs(reader: _Lines, node: Node) -> Iterator[Heredoc]:
    for word in node.words():
        match = _HEREDOC.match(word.text)
        if match is None:
            continue
        try:
            name = match[2] if "$" in match[2] else expand(match[2], {}, escape=node.escape).text
        except WordError as err:
            raise node.error(err.message, offset=word.offset, length=len(word.text), hint=err.hint) from None
        if name:
            yield _heredoc(reader, node, word, name=name, strip=bool(match[1]), expands=name == match[2])


def _heredoc(reader: _Lines, node: Node, word: Word, *, name: str, strip: bool, expands: bool) -> Heredoc:
    first = reader.next
    content: list[str] = []
    while reader.next < len(reader.lines):
        line, raw = reader.lines[reader.next], reader.raw[reader.next]
        reader.next += 1
        if (line.lstrip("\t") if strip else line) == name:
            return Heredoc(name=name, content="".join(content), expand=expands, line=first + 1)
        content.append((raw.lstrip("\t") if strip else raw) + "\n")
    raise node.error(
        f"no line {name!r} ends this here-document", offset=word.offset, length=len(word.text), hint=f"end it with {name} alone on a line"
    )

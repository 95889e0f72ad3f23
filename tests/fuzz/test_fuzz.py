"""REL-34: each reader's kept corpus is read again; with ``NBC_FUZZ_MINUTES`` each is fuzzed so long, and what is new joins its corpus.

A corpus (``corpus/<reader>/``) has the seeds, every input that once reached lines which none before had reached, and every one that broke
something. To fuzz: ``NBC_FUZZ_MINUTES=10 pytest tests/fuzz --timeout 0`` (``-k tar`` for one reader); commit what it adds.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from notebook_containers.errors import Error
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MINUTES = float(os.environ.get("NBC_FUZZ_MINUTES", "0"))
PACKAGE = f"{Path(__file__).parents[2]}/notebook_containers/"
MOST_BYTES = 200 << 20
MOST_S = 1.0
MOST_KEPT = 64 << 10


def inputs(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@contextmanager
def bounded() -> Iterator[None]:
    """Let the block have 200 MB more than there are now, and a second of the processor."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, before[1]))
    started = time.thread_time()
    try:
        yield
        took = time.thread_time() - started
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert took < MOST_S, f"it took {took:.1f} s"


def tried(target: Callable[[bytes], None], data: bytes) -> None:
    """Give a reader one input; any error but ours, and ValueError where a reader is allowed it, goes through."""
    with bounded():
        try:
            target(data)
        except Error:
            pass
        except ValueError:
            if target.__name__ != "message":
                raise


@pytest.mark.parametrize("name", TARGETS)
def test_rel34_the_kept_corpus(name: str) -> None:
    found = inputs(name)
    assert len(found) >= 3
    for data in found:
        tried(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_rel34_inputs_near_the_corpus(name: str) -> None:
    """A few that nobody chose, always the same: a finding comes from a run of minutes, not from a run of CI."""
    chosen, found = random.Random(name), inputs(name)
    for _ in range(40):
        tried(TARGETS[name], mutated(found, chosen))


if MINUTES:

    @pytest.mark.parametrize("name", TARGETS)
    def test_rel34_fuzzed_for_minutes(name: str) -> None:
        fuzz(name, MINUTES * 60)


def fuzz(name: str, seconds: float) -> None:
    """Mutate, keep what reaches new lines, and fail with the first input that breaks something, which is kept too."""
    chosen, found, seen = random.Random(), inputs(name), set[tuple[str, int]]()
    for data in found:
        seen |= reached(TARGETS[name], data)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = mutated(found, chosen)
        try:
            tried(TARGETS[name], data)
        except BaseException:
            keep(name, data)
            raise
        if chosen.random() < 0.3 and len(data) <= MOST_KEPT and (new := reached(TARGETS[name], data) - seen):
            seen |= new
            found.append(data)
            keep(name, data)


def keep(name: str, data: bytes) -> None:
    (CORPUS / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def reached(target: Callable[[bytes], None], data: bytes) -> set[tuple[str, int]]:
    """Return the lines of the package that an input reaches."""
    lines: set[tuple[str, int]] = set()

    def line(frame: FrameType, event: str, _argument: object) -> object:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    sys.settrace(lambda frame, event, argument: line(frame, event, argument) if frame.f_code.co_filename.startswith(PACKAGE) else None)  # type: ignore[arg-type,return-value]
    try:
        target(data)
    except (Error, ValueError):
        pass
    finally:
        sys.settrace(None)
    return lines


def mutated(found: list[bytes], chosen: random.Random) -> bytes:
    """Return an input of the corpus after some changes: bytes flipped, cut, doubled, or taken from another one."""
    data = bytearray(chosen.choice(found))
    for _ in range(chosen.randrange(1, 6)):
        at = chosen.randrange(len(data) + 1)
        length = chosen.randrange(1, 9) if chosen.random() < 0.7 else chosen.randrange(1, 600)
        other = chosen.choice(found)
        start = chosen.randrange(len(other) + 1)
        match chosen.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << chosen.randrange(8)
            case 1:
                data[at : at + length] = chosen.randbytes(length)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * chosen.randrange(1, 20)
            case 4:
                data[at : at + length] = other[start : start + length]
            case 5:
                data[at:at] = other[start : start + chosen.randrange(1, 600)]
            case _:
                data[at:at] = chosen.choice(
                    [b"0", b"-1", b"\xff", b"9" * 20, b"\0", b'"', b"{", b"[", b"\n", b"${A}", b"null", b"e9", b"\xc3\xa9"]
                )
    return bytes(data[: 4 * MOST_KEPT])

"""What a pull, push, load or save tells while it works: plain frozen events, which the faces draw.

Events come from several threads at once; each is complete in itself, so that one may be left out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest

PullPhase = Literal["waiting", "downloading", "verifying", "extracting", "done", "exists"]
PushPhase = Literal["waiting", "compressing", "uploading", "verifying", "done", "exists", "mounted"]
StreamPhase = Literal["reading", "writing", "done"]
Phase: TypeAlias = PullPhase | PushPhase | StreamPhase

_WINDOW_S = 3.0
_PERIOD_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStarted:
    """What is going to be moved: the manifest's digest, and each blob with its bytes, the config first, then the layers from the bottom."""

    name: str
    direction: Literal["pull", "push", "load", "save"]
    platform: str = ""
    manifest: str = ""
    blobs: tuple[tuple[Digest, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobProgress:
    """Where one blob stands: ``done`` of ``total`` bytes (0: not known yet) in this phase, and bytes per second over the last moments.

    A push names a layer that is still to be compressed by its diff_id; ``sent_as`` is its digest in the registry once that is known.
    """

    digest: Digest
    phase: Phase
    done: int = 0
    total: int = 0
    rate: float = 0.0
    sent_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProgress:
    """How much of an archive is read or written: ``done`` of ``total`` bytes (0: not known), and bytes per second."""

    name: str
    phase: Phase
    done: int = 0
    total: int = 0
    rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferNote:
    """A remark for people: a mirror that does not answer, a connection that is tried again, a certificate that is not checked."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferDone:
    """The image is here, or there, whole: the digest of its manifest, and whether anything had to be moved."""

    name: str
    manifest: Digest
    changed: bool


TransferEvent: TypeAlias = TransferStarted | BlobProgress | StreamProgress | TransferNote | TransferDone
Report: TypeAlias = Callable[[TransferEvent], None]


def silent(_event: TransferEvent) -> None:
    """Report to nobody."""


class Meter:
    """Counts one blob's bytes and reports them at most ten times a second, with a rate; thread-safe."""

    def __init__(self, report: Report, digest: Digest, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._digest, self.total, self._clock = report, digest, total, clock
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque()
        self._phase: Phase = "waiting"
        self._done, self._last = 0, 0.0

    def phase(self, phase: Phase, *, done: int | None = None, sent_as: str = "") -> None:
        """Begin a phase, told at once; ``done`` is where its count starts."""
        with self._lock:
            if phase != self._phase:
                self._seen.clear()
            self._phase, self._done = phase, self._done if done is None else done
            self._tell(self._clock(), sent_as)

    def add(self, count: int) -> None:
        """Count bytes of the present phase."""
        with self._lock:
            self._done += count
            now = self._clock()
            if now - self._last >= _PERIOD_S:
                self._tell(now, "")

    def _tell(self, now: float, sent_as: str) -> None:
        self._last = now
        self._seen.append((now, self._done))
        while now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        began, before = self._seen[0]
        rate = (self._done - before) / (now - began) if now > began else 0.0
        self._report(self._event(max(rate, 0.0), sent_as))

    def _event(self, rate: float, sent_as: str) -> TransferEvent:
        return BlobProgress(digest=self._digest, phase=self._phase, done=self._done, total=self.total, rate=rate, sent_as=sent_as)


class StreamMeter(Meter):
    """Counts the bytes of an archive called ``name``."""

    def __init__(self, report: Report, name: str, total: int) -> None:
        super().__init__(report, Digest.of(b""), total)
        self._name = name

    def _event(self, rate: float, sent_as: str) -> TransferEvent:  # noqa: ARG002
        return StreamProgress(name=self._name, phase=self._phase, done=self._done, total=self.total, rate=rate)

"""How what is moved stands (images, archives): the state that all faces draw, and its words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias

from notebook_containers.commands import figures
from notebook_containers.commands.text import one_line
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.image import Digest
from notebook_containers.registry.progress import (
    BlobProgress,
    StreamProgress,
    TransferDone,
    TransferEvent,
    TransferNote,
    TransferStarted,
)

Verb: TypeAlias = Literal["pull", "push", "load", "save", "import", "export", "commit"]

ENDED = frozenset({"done", "exists", "mounted", "stopped"})
_WORDS: dict[Verb, tuple[str, str]] = {
    "pull": ("Pulling", "Pulled"),
    "push": ("Pushing", "Pushed"),
    "load": ("Loading", "Loaded"),
    "save": ("Saving", "Saved"),
    "import": ("Importing", "Imported"),
    "export": ("Exporting", "Exported"),
    "commit": ("Committing", "Committed"),
}


@dataclass(slots=True, kw_only=True)
class Part:
    """A layer, or a whole archive: its phase, bytes ``done`` of ``total`` (0: not known) in it, and bytes a second now."""

    name: str
    phase: str = "waiting"
    done: int = 0
    total: int = 0
    rate: float = 0.0
    began: float = 0.0
    """When it stopped waiting."""
    seconds: float = 0.0
    """How long it took, once it has ended."""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.phase in ENDED

    @property
    def share(self) -> float | None:
        """What is done of it, 0 to 1; None when that cannot be told."""
        if self.phase in ("done", "exists", "mounted"):
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else None

    def amount(self) -> str:
        """Return its bytes: ``12.4 MB of 41.2 MB`` while it moves, ``41.2 MB`` before and after."""
        if self.phase == "waiting" or self.ended or not self.total or not 0 < self.done < self.total:
            return figures.size(self.total or self.done) if self.total or self.done else ""
        return f"{figures.size(self.done)} of {figures.size(self.total)}"

    def speed(self) -> str:
        """Return its rate while it moves: ``8.1 MB/s``."""
        return f"{figures.size(self.rate)}/s" if self.rate and not self.ended else ""


@dataclass(slots=True, kw_only=True)
class ImageTransfer:
    """One image on its way: its layers by digest, from the bottom, and how it ended."""

    name: str
    platform: str = ""
    began: float
    ended: float = 0.0
    outcome: TransferDone | None = None
    parts: dict[Digest, Part] = field(default_factory=dict)


class TransferState:
    """A transfer as events tell it, one image after the other; not locked, one thread at a time."""

    def __init__(self, verb: Verb, subject: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.verb, self._subject, self._clock = verb, one_line(subject), clock
        self.began, self.over = clock(), 0.0
        self.images: list[ImageTransfer] = []
        self.stream: Part | None = None
        self.notes: dict[str, None] = {}
        self.error = ""

    def take(self, event: TransferEvent) -> None:
        """Bring the state up to date."""
        match event:
            case TransferStarted(name=name, platform=platform):
                self._close()
                self.images.append(ImageTransfer(name=one_line(name), platform=one_line(platform), began=self._clock()))
            case BlobProgress() if self.images:
                parts = self.images[-1].parts
                self._move(parts.setdefault(event.digest, Part(name=event.digest.short)), event)
            case StreamProgress():
                self.stream = self.stream or Part(name=one_line(event.name, limit=40))
                self._move(self.stream, event)
            case TransferDone() if self.images:
                self.images[-1].outcome = event
                self._close()
            case TransferNote(message=message):
                self.notes[one_line(message, limit=1000)] = None
            case _:
                pass

    def _move(self, part: Part, event: BlobProgress | StreamProgress) -> None:
        now = self._clock()
        if part.phase == "waiting" != event.phase:
            part.began = now
        part.phase, part.done, part.total, part.rate = event.phase, event.done, event.total, event.rate
        if part.ended:
            part.seconds = now - part.began

    def _close(self) -> None:
        if self.images and not self.images[-1].ended:
            self.images[-1].ended = self._clock()

    def end(self, error: BaseException | None) -> None:
        """Say that it is over; what was on its way is ``stopped`` when there was an error."""
        self._close()
        self.over = self._clock()
        if error is None:
            return
        self.error = one_line(str(error), limit=500) or ("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
        for part in self.parts():
            if not part.ended:
                part.phase = "stopped"

    def parts(self) -> list[Part]:
        """Return what is drawn with a bar: the archive, and the layers of the image that is moved now (or was last)."""
        layers = self.images[-1].parts.values() if self.images else ()
        return [*([self.stream] if self.stream else ()), *layers]

    def sentences(self) -> list[str]:
        """Return a sentence for each image that came through, and one for what happens now or ended it all."""
        lines = [self._ended(image) for image in self.images if image.outcome]
        if self.error:
            return [*lines, f"{self._name()}: stopped after {figures.seconds(self.over - self.began)}: {self.error}"]
        if self.over:
            return lines or [f"{_WORDS[self.verb][1]} {self._subject} in {figures.seconds(self.over - self.began)}"]
        waiting = not self.images or self.images[-1].outcome is None
        return [*lines, self._running()] if waiting else lines

    def _name(self) -> str:
        return self.images[-1].name if self.images and not self.images[-1].outcome else self._subject

    def _running(self) -> str:
        begin = f"{_WORDS[self.verb][0]} {self._name()}"
        if self.images and self.images[-1].platform:
            begin += f" ({self.images[-1].platform})"
        words = list(_progress(list(self.images[-1].parts.values()) if self.images else []))
        return f"{begin}: {', '.join(words)}" if words else begin

    def _ended(self, image: ImageTransfer) -> str:
        parts = list(image.parts.values())
        moved = [part for part in parts if part.phase == "done"]
        left = len(parts) - len(moved)
        place = "there" if self.verb == "push" else "here"
        if image.outcome is not None and not image.outcome.changed:
            return f"{image.name} is up to date: {figures.count(len(parts), 'layer')}"
        words = [figures.count(len(parts), "layer")]
        words += [f"{len(moved)} moved ({figures.size(sum(part.total for part in moved))})"] if left and moved else []
        words += [figures.size(sum(part.total for part in moved))] if moved and not left else []
        words += [f"{left} already {place}"] if left else []
        return f"{_WORDS[self.verb][1]} {image.name} in {figures.seconds(image.ended - image.began)}: {', '.join(words)}"

    def total_share(self) -> float | None:
        """Return what is done of all that is drawn, 0 to 1; None when that cannot be told."""
        parts = self.parts()
        total = sum(part.total for part in parts)
        done = sum(part.total * (part.share or 0) for part in parts)
        return done / total if total else None


def _progress(parts: Sequence[Part]) -> Iterator[str]:
    if not parts:
        return
    yield f"{sum(part.ended for part in parts)} of {figures.count(len(parts), 'layer')}"
    total = sum(part.total for part in parts)
    if total:
        yield f"{figures.size(sum(part.total * (part.share or 0) for part in parts))} of {figures.size(total)}"
    rate = sum(part.rate for part in parts if not part.ended)
    if rate:
        yield f"{figures.size(rate)}/s"

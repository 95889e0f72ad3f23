"""The images that a build starts from or copies from: what is here, else pulled, with what the pull tells as progress of the build."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from notebook_containers.build.progress import Event, FetchProgress, Warned
from notebook_containers.engine import pulling
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.progress import BlobProgress, TransferEvent, TransferNote

if TYPE_CHECKING:
    from notebook_containers.engine.images import Images
    from notebook_containers.store.images import ImageRecord


class BuildBases:
    """Finds images for a builder; ``tell`` hears of pulls, one event at a time."""

    def __init__(self, images: Images, tell: Callable[[Event], None]) -> None:
        self._images, self._tell = images, tell
        self._lock = threading.Lock()

    def image(self, reference: str, *, pull: bool, platform: str = "") -> ImageRecord:
        """Return an image: what the store has, unless ``pull``; else the registry's. Raises ImageNotFound, RegistryError with ``pull``.

        With ``platform`` it is one for that.
        """

        def progress(event: TransferEvent) -> None:
            with self._lock:
                self._told(reference, event)

        policy = "always" if pull and Reference.parse(reference).registry != "localhost" else ""
        return pulling.choose(self._images, reference, policy=policy, platform=platform, progress=progress)

    def _told(self, reference: str, event: TransferEvent) -> None:
        if isinstance(event, BlobProgress) and event.phase in ("downloading", "done"):
            name = f"{reference} {event.digest.short}"
            total = event.total or event.done
            self._tell(FetchProgress(name=name, current=event.done, total=total, ended=event.phase == "done"))
        elif isinstance(event, TransferNote):
            self._tell(Warned(line=0, message=event.message))

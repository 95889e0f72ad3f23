"""Many threads that want the same thing of the kernel at once: they wait here, asleep, and not in the kernel, where they would spin."""

from __future__ import annotations

import threading
from collections.abc import Callable


class OnceForAll:
    """Does for all who wait what each of them wants to see done: one that began after they came is enough for every one of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._done = 0

    def run(self, action: Callable[[], object]) -> None:
        """Return when ``action`` was done, here or by another thread, after this call began; an error here is raised here."""
        came = self._begun
        with self._lock:
            if self._done > came:
                return
            self._begun += 1
            action()
            self._done = self._begun

"""A store and a run directory for tests that use the whole engine, and what may be left in them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from notebook_containers import Engine
from notebook_containers.store.check import Finding

BASE = "localhost/base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Places of their own, with short names because a socket's path has 108 bytes."""

    top: Path

    @property
    def root(self) -> Path:
        return self.top / "root"

    @property
    def run(self) -> Path:
        return self.top / "run"

    def open(self) -> Engine:
        return Engine(root=self.root, run=self.run)

    def variables(self) -> dict[str, str]:
        return {"NBC_ROOT": str(self.root), "NBC_RUN": str(self.run)}

    def remains(self) -> dict[str, list[str]]:
        """Return what containers left on disk; a moment after they are removed there is nothing (trees are unlinked in the background)."""
        deadline = time.monotonic() + 3
        while (found := self._remains()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _remains(self) -> dict[str, list[str]]:
        places = [*(self.root / name for name in ("containers", "snapshots", "volumes")), self.run / "c"]
        places += [path for name in ("tmp", "trash") for path in (self.root / name).glob("*")]
        # a build step's lock stays: to unlink it while another process opens it would split the lock
        left = {place: sorted(name for name in os.listdir(place) if name != "steps.lock") for place in places if place.is_dir()}
        return {str(place.relative_to(self.top)): names for place, names in left.items() if names}


def findings(engine: Engine) -> list[Finding]:
    """Return what a check finds of this store: empty groups of nobody knows whose containers are the machine's."""
    return [found for found in engine.check().findings if not (found.garbage and found.kind == "cgroup-leaked")]


def clear(engine: Engine) -> None:
    """Remove every container and volume."""
    for container in engine.containers.list(all=True):
        container.remove(force=True, v=True)
    for volume in engine.volumes.list():
        engine.volumes.remove(volume.name)


@contextmanager
def new_home() -> Iterator[Home]:
    """Make places, and take everything in them away again: containers, bridges, files."""
    home = Home(top=Path(tempfile.mkdtemp(prefix="nbc-")))
    try:
        yield home
        with home.open() as engine:
            clear(engine)
    finally:
        shutil.rmtree(home.top)

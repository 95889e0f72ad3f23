"""Our side: an engine in this warm process, and the cold command line, over a store of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from notebook_containers.engine.container import Container
from notebook_containers.engine.engine import Engine
from notebook_containers.store.store import Store
from tests.bench.measure import Unavailable
from tests.bench.stage import volatile

IMAGE = "localhost/base"

_SCRIPT = "import sys\nfrom notebook_containers.cli.entry import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


class Ours:
    """The engine over ``place``; closed at the end, with its bridge and its containers gone."""

    def __init__(self, place: Path) -> None:
        self.root, self.run = place / "root", volatile("notebook-containers", place / "run")
        self.engine = Engine(root=self.root, run=self.run)
        self._script = place / "nbc"
        self._script.write_text(_SCRIPT)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            # compiled beforehand, as pip leaves it
            "PYTHONPYCACHEPREFIX": str(place / "pycache"),
            "NBC_ROOT": str(self.root),
            "NBC_RUN": str(self.run),
            "HOME": str(place),
            "LC_ALL": "C.UTF-8",
        }

    def export(self, target: Path) -> None:
        """Write the base image's root file system as one tar archive, for the peers to import."""
        (layer,) = self.engine.images.get(IMAGE).layers
        store = Store.open(self.root)
        try:
            with store.layers.open_tar(layer) as archive, open(target, "wb") as file:
                shutil.copyfileobj(archive, file)
        finally:
            store.close()

    def call(self, *words: str) -> bytes:
        """Run the command line in a process of its own, started by a script such as pip writes."""
        done = subprocess.run([sys.executable, str(self._script), *words], env=self.environment, capture_output=True, check=False)
        if done.returncode:
            raise Unavailable(f"nbc {words[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def idle(self) -> Container:
        """Start a container that sleeps, without network."""
        container = self.engine.containers.run(IMAGE, ["sleep", "1000"], detach=True, network="none")
        assert isinstance(container, Container)
        return container

    def close(self) -> None:
        """Remove every container, the bridge and the firewall table, and end the engine."""
        for container in self.engine.containers.list(all=True):
            container.remove(force=True)
        self.engine.close()

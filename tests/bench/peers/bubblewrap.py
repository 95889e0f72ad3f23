"""bubblewrap: the floor. One process, no image, no cgroup, no log: what namespaces and mounts alone cost."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.bench.peers.tool import Tool


def bubblewrap(place: Path, archive: Path) -> Tool:
    """Give it with the image's tree, unpacked once, as its root."""
    tree = place / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(tree)], check=True)
    return Tool("bwrap", ["--unshare-all", "--bind", str(tree), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"])

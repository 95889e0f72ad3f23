"""What a prune took away, for all verbs that prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from notebook_containers.commands.figures import docker_size
from notebook_containers.commands.results import Removed


def removed(names: Mapping[str, Sequence[str]], lines: Sequence[str], freed: int) -> Removed:
    """Return the names that went, by kind, the lines that say so in Docker's words, and how many bytes that freed."""
    rows = [{"kind": kind, "name": name, "action": "deleted"} for kind, each in names.items() for name in each]
    return Removed(rows=rows, lines=lines, total=f"Total reclaimed space: {docker_size(freed)}")

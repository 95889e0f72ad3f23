"""Which control groups there are, while other programs make and remove theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def named(wanted: Callable[[str], bool]) -> list[Path]:
    """Return the groups of all hierarchies whose own name is wanted; one that goes while it is listed is none (a glob would fail)."""
    found = (Path(top, name) for top, names, _ in os.walk("/sys/fs/cgroup") for name in names if wanted(name))
    return sorted(path for path in found if not path.is_symlink())

"""What docker's daemon changes in a network namespace and does not take back: its bridge, its chains, forwarding."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_LINK = Path("/sys/class/net/docker0")


@contextmanager
def taken_back() -> Iterator[None]:
    """Take back after the block what a daemon in it left and was not there before."""
    tables, forward, link = _tables(), _FORWARD.read_text(), _LINK.exists()
    try:
        yield
    finally:
        if not link and _LINK.exists():
            subprocess.run(["ip", "link", "del", _LINK.name], check=False)
        for table in sorted(_tables() - tables):
            subprocess.run(["nft", "delete", "table", *table.split()], check=False)
        with suppress(OSError):  # read-only in a container's own namespace
            if _FORWARD.read_text() != forward:
                _FORWARD.write_text(forward)


def _tables() -> set[str]:
    """The tables of iptables, as ``family name``."""
    if not shutil.which("nft"):
        return set()
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    found = {line.removeprefix("table ").strip() for line in listed.splitlines() if line.startswith("table ")}
    return {name for name in found if name.split()[-1] in ("nat", "filter", "mangle", "raw")}

"""Where ``nbc`` begins: ``nbc runtime`` must start in no time and needs none of the engine; everything else is in :mod:`.main`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command and exit with its status."""
    words = sys.argv[1:]
    if words[:1] == ["runtime"]:
        from notebook_containers.commands import runtime

        sys.exit(runtime.main(words[1:]))
    from notebook_containers.cli import main as everything

    everything.main(words)

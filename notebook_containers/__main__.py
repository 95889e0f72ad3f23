"""``python -m notebook_containers``: the same as ``nbc``."""

from notebook_containers.cli.entry import main

main()

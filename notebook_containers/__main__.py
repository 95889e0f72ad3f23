"""``python -m notebook_containers``: the same as ``nbc``."""

from notebook_containers.cli.main import main

main()

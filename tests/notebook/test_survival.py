"""A kernel is killed: its containers go on and a new kernel has them (P4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.home import BASE, Home, clear
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root


def test_p4_a_new_kernel_finds_stops_and_removes_what_a_killed_one_started(
    home: Home, kernel_environment: dict[str, str], tmp_path: Path
) -> None:
    try:
        with Kernel(kernel_environment, tmp_path) as first:
            first.ok("%load_ext notebook_containers")
            first.ok(f"%container_run -d --name survivor {BASE} sh -c 'while :; do echo tick; sleep 0.1; done'")
            first.kill()
        with Kernel(kernel_environment, tmp_path) as second:
            second.ok("%load_ext notebook_containers")
            assert second.ok("%container_ps --format '{{.Names}} {{.State}}'").stdout == "survivor running\n"
            assert "tick" in second.ok("%container_logs --tail 3 survivor").stdout
            assert second.ok("%container_exec survivor echo in").stdout == "in\n"
            second.ok("%container_stop -t 1 survivor")
            assert second.ok("%container_rm survivor").stdout == "survivor\n"
            assert second.ok("%container_ps -aq").stdout == ""
    finally:
        with home.open() as engine:
            clear(engine)
    assert home.remains() == {}


def test_a_kernel_that_is_killed_in_a_foreground_run_leaves_it_running(
    home: Home, kernel_environment: dict[str, str], tmp_path: Path
) -> None:
    import threading

    try:
        with Kernel(kernel_environment, tmp_path) as first:
            first.ok("%load_ext notebook_containers")
            first.ok("%container_ps")
            threading.Timer(2, first.kill).start()
            with pytest.raises(Exception):  # noqa: B017, PT011 - the client only times out
                first.run(f"%container_run --name front --network none {BASE} sh -c 'echo up; sleep 1000'", timeout=4)
        with home.open() as engine:
            container = engine.containers.get("front")
            assert (container.status, container.logs()) == ("running", b"up\n")
    finally:
        with home.open() as engine:
            clear(engine)

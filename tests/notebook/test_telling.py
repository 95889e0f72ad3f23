"""Events as a DataFrame, and the line that a bad end leaves in a cell."""

from __future__ import annotations

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root


def test_events_are_a_frame_of_what_there_is_and_do_not_wait(kernel: Kernel) -> None:
    kernel.ok(f"%container_run --network none --name framed {BASE} true")
    cell = kernel.ok("events = %container_events --filter container=framed\nprint(list(events.action), type(events.index).__name__)")
    assert cell.stdout == "['create', 'attach', 'start', 'die'] DatetimeIndex\n"
    assert kernel.ok("events.name.unique().tolist()").text == "['framed']"
    assert "text/html" in kernel.ok("%container_events --since 1h --filter type=container").result


def test_a_bad_end_says_why_in_the_cell(kernel: Kernel) -> None:
    cell = kernel.run(f"%container_run --network none -m 32m {BASE} tail /dev/zero")
    assert cell.status == "error"
    shown = "\n".join(cell.traceback)
    assert "limit of 32 MiB" in shown
    assert "-m 64m" in shown
    told = kernel.ok(f"%container_run --network none -m 32m --no-raise-error {BASE} tail /dev/zero")
    assert "WARNING: out of memory" in told.stderr


def test_ps_has_verdicts(kernel: Kernel) -> None:
    kernel.run(f"%container_run --network none --name hungry -m 32m {BASE} tail /dev/zero")
    cell = kernel.ok("rows = %container_ps -a\nprint(rows.verdict.tolist())")
    assert "out of memory" in cell.stdout

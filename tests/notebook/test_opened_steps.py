"""The step that failed, opened in a real kernel."""

from __future__ import annotations

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root

FAILING = f"%%dockerfile -t nb-broken\nFROM {BASE}\nENV A=b\nWORKDIR /work\nRUN echo half > half; exit 3\n"


def test_the_failed_step_is_opened_by_a_magic(kernel: Kernel) -> None:
    cell = kernel.run(FAILING)
    assert cell.status == "error"
    assert "open it where it stopped" in "\n".join(cell.traceback) + cell.stderr
    cell = kernel.ok("%container_shell --failed cat half")
    assert cell.stdout == "half\n"
    kernel.ok("%container_shell --out opened --failed")
    assert kernel.ok("%container_exec {opened.name} sh -c 'pwd; echo $A'").stdout == "/work\nb\n"
    kernel.ok("%container_rm -f {opened.name}")
    kernel.ok(FAILING.replace("exit 3", "exit 0"))
    assert kernel.run("%container_shell --failed").status == "error"
    assert kernel.ok("%container_run --rm --step 4 nb-broken cat /work/half").stdout == "half\n"

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
    assert "half" not in kernel.run("%container_shell --failed ls").stdout  # another test's may still be open
    assert kernel.ok("%container_run --rm --step 4 nb-broken cat /work/half").stdout == "half\n"


STAGES = f"""%%dockerfile -t nb-plan {{}}
FROM {BASE} AS one
RUN sleep 0.3; echo 1 > /one
FROM {BASE} AS two
RUN sleep 0.3; echo 2 > /two
FROM scratch
COPY --from=one /one /
COPY --from=two /two /
"""


def test_the_plan_is_a_picture_while_it_builds_and_afterwards(kernel: Kernel) -> None:
    cell = kernel.ok(STAGES.format("--call=plan"))
    assert cell.text.startswith("3 stages, 7 steps\nstage one\n  · #1   FROM localhost/base AS one\n")
    cell = kernel.ok(STAGES.format("--graph"))
    assert "data:image/svg+xml" in cell.result["text/html"]
    assert cell.text.startswith("3 stages, 7 steps, ")
    assert "data:image/svg+xml" in cell.displays[-1]["text/html"]
    kernel.ok("%container_rmi nb-plan")

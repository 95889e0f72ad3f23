"""``--context-var``: a cell COPYs what the notebook computed, in a real kernel with real libraries."""

from __future__ import annotations

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root

COMPUTED = """
import pandas, pathlib
from matplotlib.figure import Figure
table = pandas.DataFrame({"a": [1, 2], "b": ["x", "ü"]})
figure = Figure()
_ = figure.subplots().plot([1, 2, 3])
settings = {"rate": 0.5, "names": ["ä"]}
note, raw = "plain text", b"\\x00\\x01"
place = pathlib.Path("beside.txt")
_ = place.write_text("beside the notebook")
"""
WORDS = "--context-var table --context-var table=t.parquet --context-var figure --context-var settings --context-var note=n.txt"


def test_a_cell_copies_what_the_notebook_computed(kernel: Kernel) -> None:
    kernel.ok(COMPUTED)
    cell = (
        f"%%dockerfile -t nb-vars {WORDS} --context-var raw --context-var place=deep/p.txt --network none\nFROM {BASE}\n"
        "COPY table.csv t.parquet figure.png settings.json n.txt raw deep /d/\n"
    )
    kernel.ok(cell)
    try:
        shown = kernel.ok("%container_run --rm --network none nb-vars cat /d/table.csv /d/settings.json /d/n.txt /d/p.txt").stdout
        assert shown.splitlines() == [
            "a,b",
            "1,x",
            "2,ü",
            "{",
            '  "rate": 0.5,',
            '  "names": [',
            '    "ä"',
            "  ]",
            "}",
            "plain textbeside the notebook",
        ]
        heads = kernel.ok("%container_run --rm --network none nb-vars head -c 4 /d/figure.png /d/t.parquet").stdout
        assert "PNG" in heads
        assert "PAR1" in heads
        kernel.ok("table.loc[0, 'a'] = 7")
        kernel.ok(cell)
        assert "7,x" in kernel.ok("%container_run --rm --network none nb-vars cat /d/table.csv").stdout
    finally:
        kernel.ok("%container_rmi nb-vars")


def test_a_wrong_name_and_a_value_that_is_no_file(kernel: Kernel) -> None:
    kernel.ok("settings = {}; lock = __import__('threading').Lock()")
    cell = kernel.run(f"%%dockerfile --context-var setings\nFROM {BASE}\n")
    assert "the notebook has no variable setings" in "".join(cell.traceback)
    assert "did you mean settings?" in "".join(cell.traceback)
    assert cell.displays == [], "nothing has begun"
    assert "has no form as a file" in "".join(kernel.run(f"%%dockerfile --context-var lock\nFROM {BASE}\n").traceback)
    wrong = kernel.run(f"%%dockerfile --context-var settings\nFROM {BASE}\nCOPY setings.json /\n")
    assert "did you mean settings.json?" in "".join(wrong.traceback)
    assert "no such file table" in "".join(kernel.run(f"%%dockerfile --context-var settings\nFROM {BASE}\nCOPY table.csv /\n").traceback)

"""Volumes in cells: a data frame's directory mounted by its path, a volume's bytes in Python, listings as frames, backup and restore."""

from __future__ import annotations

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root


def test_volumes_in_cells(kernel: Kernel) -> None:
    kernel.ok("from pathlib import Path; from notebook_containers import Engine; engine = Engine()")
    kernel.ok("here = Path('frames'); here.mkdir(exist_ok=True); _ = (here / 'x.csv').write_text('a,b\\n1,2\\n')")
    code = f"engine.containers.run('{BASE}', 'cat /frames/x.csv', network='none', remove=True, volumes={{here: '/frames:ro'}}).decode()"
    assert kernel.ok(code).text == repr("a,b\n1,2\n")
    kernel.ok("%container_volume create --label stage=test data")
    kernel.ok(f"box = %container_run -d --name box --network none -v data:/v {BASE} sh -c 'echo 3,4 > /v/x.csv; sleep 1000'")
    wait = "import time\nwhile 'x.csv' not in box.volume('data').names(): time.sleep(0.05)"
    kernel.ok(wait)
    assert kernel.ok("box.volume('data').read('x.csv')").text == repr(b"3,4\n")
    assert kernel.ok("box.volume('/v')").text == "<Volume: data>"
    listed = "volumes = %container_volume ls --filter label=stage\nvolumes.reset_index().to_dict('records')[0]"
    shown = kernel.ok(listed).text
    assert "'name': 'data'" in shown
    assert "'containers': ['box']" in shown
    assert int(kernel.ok("int(volumes.loc['data', 'size'])").text) > 0
    kernel.ok("%container_volume export -o backup.tar data")
    kernel.ok("%container_volume import copy backup.tar")
    assert kernel.ok("engine.volumes.get('copy').read('x.csv')").text == repr(b"3,4\n")
    assert kernel.ok("inspected = %container_volume inspect data\ninspected['Labels']").text == "{'stage': 'test'}"
    kernel.ok("%container_rm -f box")
    assert "Deleted Volumes:\ncopy\ndata\n" in kernel.ok("%container_volume prune -a -f").stdout
    kernel.ok("engine.close()")

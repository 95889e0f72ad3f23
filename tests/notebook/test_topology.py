"""``%container_network``: the topology as a picture, in a real kernel over real networks."""

from __future__ import annotations

import json

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = [pytest.mark.root, pytest.mark.netns]


def test_the_topology_is_a_picture(kernel: Kernel) -> None:
    kernel.ok("%container_network create --internal nb-back")
    kernel.ok(f"%container_run -d --name nb-web --network nb-back --network-alias backend {BASE} sleep 1000")
    kernel.ok(f"%container_run -d --name nb-side --network container:nb-web {BASE} sleep 1000")
    try:
        cell = kernel.ok("%container_network")
        assert "data:image/svg+xml;base64," in cell.result["text/html"]
        assert "<td>nb-web</td>" in cell.result["text/html"]
        lines = cell.text.splitlines()
        assert "nb-side  in the network of nb-web" in lines
        (network,) = [line for line in lines if line.startswith("network nb-back  bridge  ")]
        assert network.endswith("internal: no way out")
        (member,) = [line for line in lines if line.startswith("  nb-web  ")]
        assert member.endswith("also called backend")
        found = json.loads(kernel.ok("%container_network graph --format json nb-back").stdout)
        assert [box["Name"] for box in found["Containers"]] == ["nb-web"]
        kernel.ok("%container_stop -t 0 nb-web nb-side")
        assert "nb-web" not in kernel.ok("%container_network").text
        assert "nb-web  exited" in kernel.ok("%container_network graph -a").text
        assert kernel.run("%container_network graph nothing").status == "error"
    finally:
        kernel.ok("%container_rm -f nb-side nb-web")
        kernel.ok("%container_network rm nb-back")

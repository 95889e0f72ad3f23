"""Networks and containers as text and as a picture: pure, the same data gives the same."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from notebook_containers.commands.topology import ContainerBox, NetworkBox, Place, Published, Subnet, Topology
from notebook_containers.lean import replace
from notebook_containers.notebook.topology import TopologyDiagram

SVG = "{http://www.w3.org/2000/svg}"
FRONT = NetworkBox(name="front", driver="bridge", subnets=(Subnet(subnet="10.1.0.0/24", gateway="10.1.0.1"),))
BACK = NetworkBox(name="back", driver="bridge", internal=True, subnets=(Subnet(subnet="10.2.0.0/24"), Subnet(subnet="fd00::/64")))
WEB = ContainerBox(
    name="web",
    image="nginx",
    state="running",
    ports=(Published(host="127.0.0.1:8080", inside="80/tcp"),),
    places=(Place(network="front", addresses=("10.1.0.2/24",)),),
)
API = ContainerBox(
    name="api",
    image="api:1",
    state="running",
    places=(
        Place(network="front", addresses=("10.1.0.3/24",)),
        Place(network="back", addresses=("10.2.0.2/24", "fd00::2/64"), aliases=("backend",)),
    ),
)
OLD = ContainerBox(name="old", image="job", state="exited", places=(Place(network="back"),))
SIDE = ContainerBox(name="side", image="tool", state="running", shares="web")
JOB = ContainerBox(name="job", image="job", state="running", mode="none")
SHARED = ContainerBox(name="agent", image="agent", state="paused", mode="host")
ALL = Topology(host="laptop", networks=(FRONT, BACK), containers=(OLD, JOB, SHARED, SIDE, API, WEB))

TEXT = """\
2 networks, 6 containers (1 not running), 1 published port
host laptop
  127.0.0.1:8080 -> web 80/tcp
  agent  in the host's own network
network front  bridge  10.1.0.0/24 gateway 10.1.0.1  outward through the host
  api  10.1.0.3/24
  web  10.1.0.2/24
network back  bridge  10.2.0.0/24  fd00::/64  internal: no way out
  old  exited
  api  10.2.0.2/24  fd00::2/64  also called backend
side  in the network of web
job  without a network"""


def test_the_text_says_everything() -> None:
    assert ALL.as_text() == TEXT
    assert str(TopologyDiagram(ALL).to_text()) == TEXT


def test_the_data_says_everything() -> None:
    data = ALL.to_json()
    assert data["Host"] == "laptop"
    networks, containers = data["Networks"], data["Containers"]
    assert isinstance(networks, list)
    assert isinstance(containers, list)
    assert networks[1] == {
        "Name": "back",
        "Driver": "bridge",
        "Internal": True,
        "Subnets": [{"Subnet": "10.2.0.0/24", "Gateway": ""}, {"Subnet": "fd00::/64", "Gateway": ""}],
    }
    assert containers[-1] == {
        "Name": "web",
        "Image": "nginx",
        "State": "running",
        "NetworkMode": "",
        "Shares": "",
        "Networks": [{"Name": "front", "Addresses": ["10.1.0.2/24"], "Aliases": []}],
        "Ports": [{"Host": "127.0.0.1:8080", "Container": "80/tcp"}],
    }


def many(count: int) -> Topology:
    networks = tuple(NetworkBox(name=f"net{n}", driver="bridge", subnets=(Subnet(subnet=f"10.{n}.0.0/24"),)) for n in range(count // 4))
    boxes = tuple(
        replace(API, name=f"box{n}", places=tuple(Place(network=one.name, addresses=(f"10.0.{n}.2/24",)) for one in networks[n % 3 :: 3]))
        for n in range(count)
    )
    return Topology(host="h" * 80, networks=networks, containers=boxes)


PICTURES = {"all": ALL, "none": Topology(host="laptop", networks=(), containers=()), "many": many(40)}


@pytest.mark.parametrize("themed", [True, False])
@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_well_formed_and_every_box_lies_inside_and_apart(name: str, *, themed: bool) -> None:
    diagram = TopologyDiagram(PICTURES[name])
    tree = ET.fromstring(diagram.to_svg(themed=themed))
    _, _, width, height = map(float, tree.attrib["viewBox"].split())
    boxes = [tuple(float(rect.attrib[key]) for key in ("x", "y", "width", "height")) for rect in tree.iter(f"{SVG}rect")]
    for x, y, w, h in boxes:
        assert min(x, y) >= 0
        assert x + w <= width + 1
        assert y + h <= height + 1
    for number, (x, y, w, h) in enumerate(boxes):
        for other_x, other_y, other_w, other_h in boxes[:number]:
            assert x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y
    assert ("var(--jp-" in diagram.to_svg(themed=themed)) == themed
    assert len(diagram.to_svg()) < 400_000


def test_ribbons_lead_from_ports_and_addresses_to_the_host_and_the_networks() -> None:
    drawing = TopologyDiagram(ALL)._drawing
    ribbons = [shape for shape in drawing.shapes if shape.kind == "ribbon"]
    places = sum(len(box.places) for box in ALL.containers)
    assert len(ribbons) == places + len(ALL.published()) + 1  # and one for the container in the host's own network
    heads = {shape.role: shape for shape in drawing.shapes if shape.kind == "rect" and shape.title.startswith(("front\n", "back\n"))}
    for ribbon in ribbons:
        assert ribbon.x < ribbon.x2
        if ribbon.role in heads:
            head = heads[ribbon.role]
            assert ribbon.x2 == head.x
            assert head.y <= ribbon.y2 <= head.y + head.height


def test_names_from_outside_stay_text() -> None:
    attack = "</svg><script>alert(1)</script>\x1b]52;c;eA==\x07"
    hostile = Topology(
        host=attack,
        networks=(NetworkBox(name=attack, driver=attack, subnets=(Subnet(subnet=attack, gateway=attack),)),),
        containers=(replace(WEB, name=attack, image=attack, places=(Place(network=attack, addresses=(attack,), aliases=(attack,)),)),),
    )
    diagram = TopologyDiagram(hostile)
    for text in (diagram.to_svg(themed=False), diagram.to_html()):
        assert "\x1b" not in text
        assert "<script" not in text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "\x1b" not in diagram.to_text()
    assert "<td>web</td>" in TopologyDiagram(ALL).to_html()

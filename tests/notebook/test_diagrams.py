"""The layer diagram: figures, marks, drawing, and that nothing from outside becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from notebook_containers.commands.layers import Sharing, instruction_words
from notebook_containers.notebook.diagrams import LAYERS_MIME, ImageStack, LayerBox, LayerDiagram
from notebook_containers.notebook.drawing import PALETTE
from notebook_containers.notebook.layout import MOST_STACKS

SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {
    "figure": set(),
    "figcaption": set(),
    "img": {"alt", "src"},
    "details": set(),
    "summary": set(),
    "table": set(),
    "thead": set(),
    "tbody": set(),
    "tr": set(),
    "th": set(),
    "td": set(),
    "code": set(),
}
ATTACKS = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "]]><svg onload=x>",
    "a\u202eb\x1b]52;c;eA==\x07",
    "&lt;",
    "x" * 5000,
)


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def layer(instruction: str, size: int = 0, *, empty: bool = False) -> LayerBox:
    return LayerBox(diff_id="" if empty else digest(instruction), instruction=instruction, size=size, empty=empty)


def stack(name: str, *layers: LayerBox) -> ImageStack:
    return ImageStack(name=name, id=digest(name), layers=layers)


BASE = layer("ADD the programs", 20_000_000)
LIBS = layer("RUN pip install everything", 11_150_000)
CMD = layer('CMD ["cat"]', empty=True)


def three() -> list[ImageStack]:
    return [
        stack("one:latest", BASE, LIBS, layer("COPY 1 /", 41_200), CMD),
        stack("two:latest", BASE, LIBS, layer("COPY 2 /", 10_000_000), CMD),
        stack("three:latest", BASE, LIBS, layer("COPY 3 /", 8_800)),
    ]


def shelf(count: int) -> list[ImageStack]:
    return [stack(f"image-{i}", BASE, *([LIBS] if i % 2 else []), layer(f"COPY {i} /", 10 ** (i % 9)), CMD) for i in range(count)]


class Allowed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= ALLOWED[tag], (tag, attrs)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")


def test_the_figures_are_said_in_one_sentence() -> None:
    sentence = LayerDiagram(three()).sharing.sentence()
    assert sentence == "3 images, 9 layers, 5 on disk: 41.2 MB instead of 104 MB, sharing saves 62.3 MB (60 %)"


def test_nothing_shared_and_a_single_image_say_so() -> None:
    assert (
        LayerDiagram([stack("a", BASE), stack("b", LIBS)]).sharing.sentence() == "2 images, 2 layers, 2 on disk: 31.1 MB, nothing is shared"
    )
    assert LayerDiagram([stack("a", BASE, CMD)]).sharing.sentence() == "1 image, 1 layer: 20 MB"


def test_a_layer_is_shared_by_its_content_whatever_lies_below() -> None:
    sharing = Sharing.of([stack("a", BASE, LIBS), stack("b", LIBS)])
    assert [(s.mark, s.images) for s in sharing.shared.values()] == [("A", 2)]
    assert sharing.saved == LIBS.size


def test_the_same_layer_twice_in_one_image_is_one_on_disk_and_not_shared_between_images() -> None:
    sharing = Sharing.of([stack("a", BASE, BASE)])
    assert (sharing.layers, sharing.on_disk, sharing.shared) == (2, 1, {})
    assert "sharing saves 20 MB" in sharing.sentence()


def test_marks_go_on_after_z() -> None:
    layers = tuple(layer(f"RUN {i}", 1) for i in range(30))
    marks = [s.mark for s in Sharing.of([stack("a", *layers), stack("b", *layers)]).shared.values()]
    assert (marks[0], marks[25], marks[26], marks[29]) == ("A", "Z", "AA", "AD")
    assert len(set(marks)) == 30


@pytest.mark.parametrize(
    ("created_by", "words"),
    [
        ('/bin/sh -c #(nop)  CMD ["bash"]', ("CMD", '["bash"]')),
        ("/bin/sh -c apt-get update", ("RUN", "apt-get update")),
        ("RUN /bin/sh -c apt-get update # buildkit", ("RUN", "apt-get update")),
        ("RUN |2 A=1 B=2 /bin/sh -c make # buildkit", ("RUN", "make")),
        ("|1 V=3 /bin/sh -c make", ("RUN", "make")),
        ("COPY . /srv", ("COPY", ". /srv")),
        ("crun import", ("", "crun import")),
        ("", ("", "")),
    ],
)
def test_history_lines_are_shown_as_instructions(created_by: str, words: tuple[str, str]) -> None:
    assert instruction_words(created_by) == words


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, MOST_STACKS + 1, 30])
@pytest.mark.parametrize("themed", [True, False])
def test_the_svg_is_well_formed_and_every_shape_lies_inside(count: int, *, themed: bool) -> None:
    diagram = LayerDiagram(shelf(count))
    tree = ET.fromstring(diagram.to_svg(themed=themed))
    _, _, width, height = map(float, tree.attrib["viewBox"].split())
    for rect in tree.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 1
        assert y + h <= height + 1
    assert tree.attrib["role"] == "img"
    assert tree.find(f"{SVG}title") is not None
    assert ("var(--jp-" in diagram.to_svg(themed=themed)) == (themed and count >= 0)


@pytest.mark.parametrize("count", [1, 3, 30])
def test_text_stands_only_on_filled_shapes(count: int) -> None:
    """So that it can be read on any page."""
    shapes = LayerDiagram(shelf(count))._drawing.shapes
    rects = [s for s in shapes if s.kind == "rect"]
    for text in (s for s in shapes if s.kind == "text"):
        assert any(r.x <= text.x <= r.x + r.width and r.y <= text.y - 3 <= r.y + r.height for r in rects), text


def test_boxes_of_one_image_do_not_overlap() -> None:
    for diagram in (LayerDiagram(shelf(3)), LayerDiagram([stack("deep", *(layer(f"RUN {i}", 10 ** (i % 8)) for i in range(120)))])):
        boxes = [s for s in diagram._drawing.shapes if s.kind == "rect" and s.title]
        for one in boxes:
            for other in boxes:
                apart = one.y + one.height <= other.y or other.y + other.height <= one.y or one.x != other.x
                assert one is other or apart, (one, other)


def test_shared_layers_have_colour_and_mark_and_ribbons() -> None:
    shapes = LayerDiagram(three())._drawing.shapes
    ribbons = [s for s in shapes if s.kind == "ribbon"]
    assert [r.role for r in ribbons] == ["shared-0", "shared-1"] * 2
    marks = [s.text for s in shapes if s.kind == "text" and s.role.startswith("shared") and len(s.text) == 1]
    assert sorted(marks) == ["A", "A", "A", "B", "B", "B"]


def test_the_whole_instruction_is_in_the_title() -> None:
    words = "RUN " + " ".join(f"word{i}" for i in range(60))
    svg = LayerDiagram([stack("a", layer(words, 10))]).to_svg()
    titles = [e.text or "" for e in ET.fromstring(svg).iter(f"{SVG}title")]
    assert any(words in title for title in titles)


def luminance(colour: str) -> float:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", PALETTE)
def test_white_text_can_be_read_on_every_palette_colour(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5
    assert (luminance(colour) + 0.05) / (luminance("#111111") + 0.05) >= 2.0, "the box is seen on a dark page"


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("count", [1, 7])
def test_jup03_names_and_instructions_stay_text(attack: str, count: int) -> None:
    hostile = [stack(f"{attack}{i}", layer(attack, 5), layer(f"RUN {attack}", 7)) for i in range(count)]
    bundle = LayerDiagram(hostile)._repr_mimebundle_()
    parser = Allowed()
    parser.feed(str(bundle["text/html"]))
    assert len(parser.images) == 1
    svg = base64.b64decode(parser.images[0].removeprefix("data:image/svg+xml;base64,"))
    tags = {e.tag.removeprefix(SVG) for e in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "title", "desc", "rect", "text", "tspan", "path"}
    assert not any(name.startswith("on") or "href" in name for e in ET.fromstring(svg).iter() for name in e.attrib)
    for text in (json.dumps(bundle[LAYERS_MIME], ensure_ascii=False), str(bundle["text/plain"]), svg.decode()):
        assert not re.search("[\x00-\x08\x1b\u202e]", text)


def test_the_bundle_has_data_html_and_text() -> None:
    bundle = LayerDiagram(three())._repr_mimebundle_()
    data = bundle[LAYERS_MIME]
    assert isinstance(data, dict)
    assert data["version"] == 1
    assert [image["name"] for image in data["images"]] == ["one:latest", "two:latest", "three:latest"]
    assert data["images"][0]["layers"][0]["mark"] == "A"
    assert data["drawing"]["shapes"]
    assert json.loads(json.dumps(data)) == data
    text = str(bundle["text/plain"])
    assert "[A]     20 MB  ADD the programs" in text
    assert text.endswith("sharing saves 62.3 MB (60 %)")
    assert "20000000" in str(bundle["text/html"])


def test_the_same_images_give_the_same_picture() -> None:
    assert LayerDiagram(three()).to_svg() == LayerDiagram(three()).to_svg()


def test_it_can_be_saved(tmp_path: Path) -> None:
    path = LayerDiagram(three()).save(tmp_path / "layers.svg")
    assert ET.fromstring(path.read_text()).tag == f"{SVG}svg"
    assert "var(" not in path.read_text()

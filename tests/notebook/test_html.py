"""Markup can only be made of elements; everything from outside is text (JUP-03)."""

from __future__ import annotations

import pytest

from notebook_containers.notebook.html import Markup, data_image, element, html, join


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "</textarea>", "' onload='x", "a & b"])
def test_jup03_text_is_escaped_as_child_and_attribute(text: str) -> None:
    shown = element("td", {"title": text}, text)
    assert shown.count("<") == 2
    assert shown.count('"') == 2
    assert "'" not in shown


def test_control_sequences_and_reordering_do_not_reach_a_page() -> None:
    assert html("\x1b[31mx\u202ey") == "x\\u202ey"


def test_markup_is_not_escaped_twice() -> None:
    assert element("p", None, element("b", None, "<"), "&") == "<p><b>&lt;</b>&amp;</p>"
    assert isinstance(join("a", Markup("<br>")), Markup)


def test_only_known_elements_are_made() -> None:
    with pytest.raises(ValueError, match="script"):
        element("script")


def test_numbers_are_short() -> None:
    assert element("rect", {"x": 1.0, "y": 2.345, "width": 10}) == '<rect x="1" y="2.35" width="10"></rect>'


def test_an_image_has_its_alternative() -> None:
    assert data_image("<svg/>", 'say "hi"') == '<img alt="say &quot;hi&quot;" src="data:image/svg+xml;base64,PHN2Zy8+">'

"""Lent ids: reading subuid and subgid, refusing what would be dangerous, and the maps made of them."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from notebook_containers.linux import idmaps
from notebook_containers.linux.idmaps import IdMaps, Lent

OWN = os.geteuid()
WIDE = IdMaps(uids=((0, 1000, 1), (1, 100000, 65536)), gids=((0, 1000, 1), (1, 200000, 65536)))


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "passwd").write_text("root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n")
    (tmp_path / "group").write_text("root:x:0:\nann:x:1000:\nvideo:x:44:\n")
    return tmp_path


def lend(etc: Path, subuid: str, subgid: str | None = None) -> Lent:
    (etc / "subuid").write_text(subuid)
    (etc / "subgid").write_text(subuid if subgid is None else subgid)
    return idmaps.lent_ids(str(etc), uid=1000)


@pytest.mark.parametrize("line", ["ann:100000:65536\n", "1000:100000:65536\n", "# a comment\n\nbob:200000:5\nann:100000:65536"])
def test_by_name_and_by_number(etc: Path, line: str) -> None:
    assert lend(etc, line) == Lent(uids=((100000, 65536),), gids=((100000, 65536),))


def test_several_ranges_in_their_order(etc: Path) -> None:
    assert lend(etc, "ann:300000:10\nann:100000:5\n").uids == ((300000, 10), (100000, 5))


def test_nothing_is_lent(etc: Path) -> None:
    assert lend(etc, "bob:100000:65536\n") == Lent()
    assert idmaps.lent_ids(str(etc / "missing"), uid=1000) == Lent()
    assert idmaps.wide_map(Lent()) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ann:100000:65536\nbob:165000:65536\n", "overlap those of bob (165000-230535)"),
        ("ann:100000:65536\nann:100010:5\n", "overlap those of this user again"),
        ("ann:0:65536\n", "hold the id 0 of root"),
        ("ann:500:65536\n", "hold the id 1000 of ann"),
        ("ann:4294967290:65536\n", "go beyond the last id"),
        ("ann:abc:65536\n", "line 1: 'ann:abc:65536' is not NAME:START:COUNT"),
        ("ann:100000\n", "is not NAME:START:COUNT"),
        ("ann:100000:0\n", "is not NAME:START:COUNT"),
    ],
)
def test_hst_02_what_is_wrong_is_said_and_left_out(etc: Path, text: str, words: str) -> None:
    lent = lend(etc, text)
    assert any(words in problem for problem in lent.problems), lent.problems
    assert lent.uids in ((), ((100000, 65536),))


def test_a_group_of_the_machine_in_the_range(etc: Path) -> None:
    assert "hold the id 44 of video" in lend(etc, "ann:100000:9\n", "ann:40:9\n").problems[0]


def test_one_file_alone_is_not_enough(etc: Path) -> None:
    lent = lend(etc, "ann:100000:65536\n", "")
    assert "both are needed" in lent.problems[0]
    assert idmaps.wide_map(lent) is None


def test_the_wide_map() -> None:
    maps = idmaps.wide_map(Lent(uids=((300000, 10), (100000, 5)), gids=((100000, 65536),)))
    assert maps is not None
    assert maps.uids == ((0, OWN, 1), (1, 300000, 10), (11, 100000, 5))
    assert (maps.highest, maps.single) == (15, False)
    assert maps.has(15, 65536)
    assert not maps.has(16)
    assert IdMaps.from_json(maps.to_json()) == maps


def test_a_map_is_held_while_its_ranges_are_lent() -> None:
    assert Lent(uids=((100000, 65536),), gids=((100000, 200000),)).holds(WIDE)
    assert Lent(uids=((90000, 90000),), gids=((200000, 65536),)).holds(WIDE)
    assert not Lent(uids=((100001, 65536),), gids=((200000, 65536),)).holds(WIDE)
    assert not Lent().holds(WIDE)
    assert Lent().holds(idmaps.own_map())


@pytest.mark.parametrize("own", [1, 1000, 65536, 70000])
def test_keep_id_changes_places_with_root(own: int) -> None:
    maps = idmaps.keep_id(WIDE, own, own)
    inside = {i + n: o + n for i, o, size in maps.uids for n in (range(size) if size < 3 else (0, size - 1))}
    assert inside[own] == 1000
    assert inside[0] == (165535 if own > 65536 else 100000 + own - 1)
    spans = sorted((start, start + size) for start, _, size in maps.uids)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "no id twice inside"
    outside = sorted((start, start + size) for _, start, size in maps.uids)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(outside)), "no id twice outside"
    assert sum(size for _, _, size in maps.uids) == 65537


def test_keep_id_of_the_only_id() -> None:
    assert idmaps.keep_id(IdMaps(uids=((0, 1000, 1),), gids=((0, 7, 1),)), 1000, 7) == IdMaps(uids=((1000, 1000, 1),), gids=((7, 7, 1),))


@pytest.mark.parametrize(
    "bad", [None, [], {}, {"uids": []}, {"uids": [[0, 1]], "gids": [[0, 1, 1]]}, {"uids": [[0, -1, 1]], "gids": [[0, 1, 1]]}]
)
def test_what_is_no_map(bad: object) -> None:
    with pytest.raises(ValueError, match="id map"):
        IdMaps.from_json(bad)


def test_the_line_for_the_administrator_is_free(etc: Path) -> None:
    (etc / "subuid").write_text("bob:100000:65536\n")
    assert idmaps.line_for_administrator(str(etc)).startswith("usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ")

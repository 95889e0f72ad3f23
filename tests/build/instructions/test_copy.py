"""COPY: where files go, whose they are, what is left out, what may be taken from stages and images."""

from __future__ import annotations

import pytest

from .conftest import Builds

FILES = {"app.py": "app", "src/a.txt": "a", "src/deep/b.txt": "b"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY app.py /new", {"new"}),
        ("COPY app.py /new/", {"new", "new/app.py"}),
        ("COPY app.py /tmp", {"tmp", "tmp/app.py"}),
        ("COPY app.py .", {"app.py"}),
        ("COPY app.py ./sub/../x.py", {"x.py"}),
        ("COPY src /data", {"data", "data/a.txt", "data/deep", "data/deep/b.txt"}),
        ("COPY src/ app.py /data/", {"data", "data/a.txt", "data/deep", "data/deep/b.txt", "data/app.py"}),
        ("COPY src/*.txt /data/", {"data", "data/a.txt"}),
        ('COPY ["app.py", "/with space/"]', {"with space", "with space/app.py"}),
    ],
)
def test_destinations(builds: Builds, line: str, expected: set[str]) -> None:
    found = builds(f"FROM base\n{line}\n", FILES).files
    assert set(found) == expected
    assert {(entry["uid"], entry["gid"]) for name, entry in found.items() if name != "tmp"} == {(0, 0)}


def test_owner_and_mode(builds: Builds) -> None:
    entry = builds("FROM base\nCOPY --chown=5:6 --chmod=640 app.py /a/\n", FILES).files["a/app.py"]
    assert (entry["uid"], entry["gid"], entry["mode"]) == (5, 6, 0o640)
    by_name = builds("FROM base\nRUN echo w:x:33:34:::>>/etc/passwd\nCOPY --chown=w app.py /a\n", FILES).files["a"]
    assert (by_name["uid"], by_name["gid"]) == (33, 34)
    assert builds("FROM base\nCOPY --chmod=u=rwX,go=rX src /s\n", FILES).files["s/deep"]["mode"] == 0o755


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("COPY ../x /", "outside the build context"),
        ("COPY app.py src/a.txt /file", "need a directory"),
        ("COPY s* a* /file", "need a directory"),
        ("COPY --chown=nosuch app.py /", "no user 'nosuch'"),
        ("COPY --chown=root:x app.py /", "no group 'x'"),
        ("COPY --chmod=u+q app.py /", "no mode"),
        ("COPY --from=0 x /", "no stage 0"),
        ("COPY --from=base /none /", "no such file /none"),
        ("COPY --from=$X x /", "variables are not replaced"),
        ("COPY $NONE /", "empty"),
        ("COPY app[.py /", "no ] closes"),
    ],
)
def test_refusals(builds: Builds, line: str, words: str) -> None:
    refused = builds.refused(f"FROM base\n{line}\n", FILES)
    assert words in refused.message
    assert refused.line == 2


def test_what_is_ignored_is_left_out(builds: Builds) -> None:
    files = {**FILES, ".dockerignore": "**/*.txt\n!src/deep\n.dockerignore\n"}
    found = builds("FROM base\nCOPY . /data/\n", files).files
    assert {name for name, entry in found.items() if entry["kind"] == "file"} == {"data/app.py", "data/src/deep/b.txt"}
    refused = builds.refused("FROM base\nCOPY src/a.txt /\n", files)
    assert refused.message == "src/a.txt is left out of the build context by .dockerignore"
    assert refused.hint == "line 1 says '**/*.txt'"


def test_bld02_copy_from_a_stage_stays_in_the_stage(builds: Builds) -> None:
    text = "FROM base AS a\nRUN ln -s /etc/hostname /s; rm -f /etc/hostname; echo stage > /etc/hostname-real; ln -sf hostname-real /etc/h\n"
    built = builds(f"{text}FROM scratch\nCOPY --from=a /etc/h /copied\n")
    assert built.answer["layers"][-1]["copied"]["text"] == "stage\n"


def test_copies_of_a_stage_keep_their_owners(builds: Builds) -> None:
    text = "FROM base AS a\nRUN echo 1 > /f; chown 33:34 /f\nFROM base\nCOPY --from=a /f /g\nCOPY --from=a --chown=5:6 /f /h\n"
    found = builds(text).files
    assert [(found[name]["uid"], found[name]["gid"]) for name in ("g", "h")] == [(33, 34), (5, 6)]


def test_here_documents(builds: Builds) -> None:
    text = (
        "FROM base\nARG A=1\nCOPY <<one <<'two' /d/\nvalue $A\none\nvalue $A\ntwo\n"
        "COPY --chmod=700 <<EOF /bin/tool\n#!/bin/sh\necho tool\nEOF\nRUN tool\n"
    )
    built = builds(text)
    assert (built.text("d/one"), built.text("d/two"), built.said) == ("value 1\n", "value $A\n", "tool\n")


def test_links_in_the_image_are_followed_inside_it(builds: Builds) -> None:
    built = builds("FROM base\nRUN mkdir /real && ln -s /real /link\nCOPY app.py /link/\n", FILES)
    assert built.text("real/app.py") == "app"


def test_bld03_special_files_and_set_id_bits_of_a_stage(builds: Builds) -> None:
    make = "mkdir -p /d/sub && mkfifo /d/pipe && cp /bin/sh /d/tool && chmod 6755 /d/tool && chmod 1777 /d/sub && ln -s nowhere /d/link"
    found = builds(f"FROM base AS a\nRUN {make}\nFROM scratch\nCOPY --from=a /d /copied\n").answer["layers"][-1]
    told = {name.removeprefix("copied"): (entry["kind"], entry["mode"]) for name, entry in found.items()}
    special = {"/pipe": ("other", 0o644), "/tool": ("file", 0o6755), "/link": ("link", 0o777)}
    assert told == {"": ("directory", 0o755), "/sub": ("directory", 0o1777), **special}
    changed = builds(f"FROM base AS a\nRUN {make}\nFROM scratch\nCOPY --from=a --chmod=700 --chown=5:6 /d/tool /t\n").answer["layers"][-1]
    assert (changed["t"]["mode"], changed["t"]["uid"], changed["t"]["gid"]) == (0o700, 5, 6)

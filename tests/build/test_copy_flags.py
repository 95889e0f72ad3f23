"""COPY and ADD with ``--chmod`` in words, ``--exclude``, ``--parents``, ``--link``, ``--unpack`` in real builds."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from notebook_containers.build.build import BuildResult
from notebook_containers.errors import DockerfileError

from .conftest import Builder

pytestmark = pytest.mark.root


@pytest.fixture
def filled(builder: Builder) -> Builder:
    top = builder.context
    (top / "src/deep/er").mkdir(parents=True)
    for name, mode in (("run", 0o755), ("src/a.txt", 0o644), ("src/b.log", 0o600), ("src/deep/c.txt", 0o640), ("src/deep/er/d.log", 0o644)):
        (top / name).write_text(name)
        (top / name).chmod(mode)
    return builder


def files(builder: Builder, result: BuildResult) -> dict[str, int]:
    """The files and directories of the last layer with their modes, but those on the way."""
    return {name: entry.mode for name, entry in builder.tree(result).items()}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("u=rwX,go=rX", {"d": 0o755, "d/a.txt": 0o644, "d/b.log": 0o644, "d/deep": 0o755, "d/deep/c.txt": 0o644}),
        ("go-rwx", {"d": 0o755, "d/a.txt": 0o600, "d/b.log": 0o600, "d/deep": 0o700, "d/deep/c.txt": 0o600}),
        ("+x", {"d": 0o755, "d/a.txt": 0o755, "d/b.log": 0o711, "d/deep": 0o755, "d/deep/c.txt": 0o751}),
        ("a=r,u+w,o=", {"d": 0o755, "d/a.txt": 0o640, "d/b.log": 0o640, "d/deep": 0o640, "d/deep/c.txt": 0o640}),
    ],
)
def test_a_mode_in_words(filled: Builder, mode: str, expected: dict[str, int]) -> None:
    found = files(filled, filled(f"FROM base\nCOPY --chmod={mode} src /d/\n"))
    assert {name: found[name] for name in expected} == expected


def test_a_mode_in_words_for_a_heredoc_and_from_a_stage(filled: Builder) -> None:
    result = filled(
        "FROM base AS a\nRUN touch /x && chmod 600 /x\nFROM base\nCOPY --chmod=u+x <<EOF /s\nEOF\nCOPY --from=a --chmod=g=u /x /y\n"
    )
    with filled.store.layers.open_tar(result.image.config.rootfs.diff_ids[-2]) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        assert tar.getmember("s").mode == 0o744
    assert files(filled, result)["y"] == 0o660


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--exclude=*.log", {"a.txt", "deep", "deep/c.txt", "deep/er", "deep/er/d.log"}),
        ("--exclude=**/*.log", {"a.txt", "deep", "deep/c.txt", "deep/er"}),
        ("--exclude=deep", {"a.txt", "b.log"}),
        ("--exclude=deep --exclude=!deep/er/d.log", {"a.txt", "b.log", "deep", "deep/er", "deep/er/d.log"}),
        ("--exclude=*.log --exclude=deep", {"a.txt"}),
    ],
)
@pytest.mark.parametrize("origin", ["", "--from=made "])
def test_what_is_excluded(filled: Builder, flags: str, expected: set[str], origin: str) -> None:
    before = "FROM base AS made\nCOPY src /src\n" if origin else ""
    source = "/src" if origin else "src"
    found = set(files(filled, filled(f"{before}FROM base\nCOPY {origin}{flags} {source} /d/\n")))
    assert {name.removeprefix("d/") for name in found if name.startswith("d/")} == expected


def test_an_excluded_source_and_what_it_means_for_the_cache(filled: Builder) -> None:
    text = "FROM base\nCOPY --exclude=*.log src/*.* run /d/\n"
    assert set(files(filled, filled(text))) == {"d", "d/a.txt", "d/run"}
    (filled.context / "src/b.log").write_text("changed, and excluded")
    assert [s.status for s in filled(text).steps] == ["metadata", "cached"]
    (filled.context / "src/a.txt").write_text("changed")
    assert [s.status for s in filled(text).steps] == ["metadata", "built"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("src/a.txt src/deep/c.txt", {"src", "src/a.txt", "src/deep", "src/deep/c.txt"}),
        ("src/deep", {"src", "src/deep", "src/deep/c.txt", "src/deep/er", "src/deep/er/d.log"}),
        ("src/./deep/c.txt", {"deep", "deep/c.txt"}),
        ("./src/./deep/er/*", {"deep", "deep/er", "deep/er/d.log"}),
        ("**/*.log", {"src", "src/b.log", "src/deep", "src/deep/er", "src/deep/er/d.log"}),
        ("run", {"run"}),
    ],
)
@pytest.mark.parametrize("origin", ["", "--from=made "])
def test_parents_are_kept(filled: Builder, words: str, expected: set[str], origin: str) -> None:
    before = "FROM scratch AS made\nCOPY . /\n" if origin else ""
    found = set(files(filled, filled(f"{before}FROM base\nCOPY {origin}--parents {words} /d\n")))
    assert {name.removeprefix("d/") for name in found if name.startswith("d/")} == expected


def test_link_is_a_layer_of_its_own_whatever_is_below(filled: Builder) -> None:
    line = "COPY --link --chown=5:6 src /opt/data/"
    one = filled(f"FROM base\nRUN mkdir /one\n{line}\n")
    two = filled(f"FROM base\nRUN mkdir /two\n{line}\n")
    assert one.image.config.rootfs.diff_ids[-1] == two.image.config.rootfs.diff_ids[-1]
    assert [s.status for s in two.steps] == ["metadata", "built", "cached"]
    entry = filled.tree(two)["opt/data/a.txt"]
    assert (entry.uid, entry.gid) == (5, 6)
    assert filled.read(two, "/opt/data/a.txt") == "src/a.txt"


def test_link_follows_no_link_of_the_image(filled: Builder) -> None:
    result = filled("FROM base\nRUN mkdir /real && ln -s /real /alias\nCOPY --link run /alias/\n")
    assert set(filled.tree(result)) == {"alias", "alias/run"}
    plain = filled("FROM base\nRUN mkdir /real && ln -s /real /alias\nCOPY run /alias/\n")
    assert "real/run" in filled.tree(plain)


def test_add_unpacks_unless_it_is_told_not_to(builder: Builder) -> None:
    with tarfile.open(builder.context / "a.tar", "w") as tar:
        member = tarfile.TarInfo("inside")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"hi"))
    assert builder.read(builder("FROM base\nADD a.tar /d/\n"), "/d/inside") == "hi"
    assert set(builder.tree(builder("FROM base\nADD --unpack=false a.tar /d/\n"))) == {"d", "d/a.tar"}
    assert builder.read(builder("FROM base\nADD --unpack a.tar /d/\n"), "/d/inside") == "hi"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("COPY --chmod=u+q run /", "no mode"),
        ("COPY --exclude=[ run /", "no pattern"),
        ("COPY --link=maybe run /", "neither true nor false"),
        ("COPY --checksum=sha256:0 run /", "no flag --checksum"),
        ("COPY --parents ../run /", "outside the build context"),
        ("COPY --parent run /", "did you mean --parents"),
    ],
)
def test_wrong_flags(filled: Builder, line: str, words: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        filled(f"FROM base\n{line}\n")
    assert words in caught.value.one_line()
    assert caught.value.line == 2


def test_a_link_out_of_the_context_stays_inside_with_parents(filled: Builder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("never")
    os.symlink(outside, filled.context / "out")
    with pytest.raises(DockerfileError):
        filled("FROM base\nCOPY --parents out/secret /d/\n")
    with pytest.raises(DockerfileError):
        filled("FROM base\nCOPY --parents **/secret /d/\n")

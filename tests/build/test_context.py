"""Build contexts: what is selected, what is left out, what changes a digest, and that nothing outside is reached."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.build.context import Context, OutsideContext
from notebook_containers.errors import InvalidArgument, InvalidDocument, NotFound
from notebook_containers.store.store import Store


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "context"
    (top / "src/deep").mkdir(parents=True)
    (top / "app.py").write_text("print(1)\n")
    (top / "src/a.txt").write_text("a")
    (top / "src/b.md").write_text("b")
    (top / "src/deep/c.txt").write_text("c")
    return top


@pytest.fixture
def context(tree: Path) -> Iterator[Context]:
    with Context.open(tree) as opened:
        yield opened


def digest(tree: Path, word: str = ".") -> str:
    with Context.open(tree) as context:
        return context.digest(context.select(word)[0]).digest


def paths(tree: Path, word: str = ".") -> list[str]:
    with Context.open(tree) as context:
        return [e.path for e in context.digest(context.select(word)[0]).entries]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("app.py", ["app.py"]),
        ("/app.py", ["app.py"]),
        ("./src/../app.py", ["app.py"]),
        ("src", ["src"]),
        ("src/", ["src"]),
        (".", [""]),
        ("src/*.txt", ["src/a.txt"]),
        ("s*/*", ["src/a.txt", "src/b.md", "src/deep"]),
        ("src/[ab].*", ["src/a.txt", "src/b.md"]),
        ("*/a.txt", ["src/a.txt"]),
        ("missing", []),
        ("app.py/x", []),
        ("*.none", []),
    ],
)
def test_selection(context: Context, word: str, expected: list[str]) -> None:
    assert [s.path for s in context.select(word)] == expected


@pytest.mark.parametrize("word", ["../x", "..", "src/../../x", "/../etc/passwd"])
def test_bld01_words_that_climb_out_are_refused(context: Context, word: str) -> None:
    with pytest.raises(OutsideContext):
        context.select(word)


def test_bld01_links_are_followed_inside_only(tree: Path) -> None:
    (tree.parent / "secret").write_text("canary")
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("inside")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("../secret")
    (tree / "chain").symlink_to("absolute")
    (tree / "out").symlink_to(tree.parent)
    with Context.open(tree) as context:
        assert [s.real for s in context.select("absolute")] == ["etc/passwd"]
        assert [(s.path, s.real) for s in context.select("chain")] == [("chain", "etc/passwd")]
        assert context.select("up") == ()
        assert context.select("out/secret") == ()
        assert context.select("out/*") == ()


def test_links_inside_a_directory_stay_links(tree: Path) -> None:
    (tree / "src/link").symlink_to("/etc/passwd")
    with Context.open(tree) as context:
        entries = {e.path: e for e in context.digest(context.select("src")[0]).entries}
    assert (entries["link"].kind, entries["link"].value) == ("l", "/etc/passwd")


def test_bld10_digest_covers_content_mode_and_names_but_no_times(tree: Path) -> None:
    seen = {digest(tree)}
    os.utime(tree / "app.py", (1, 1))
    os.utime(tree / "src", (1, 1))
    assert digest(tree) in seen
    (tree / "app.py").chmod(0o700)
    seen.add(digest(tree))
    (tree / "app.py").rename(tree / "app2.py")
    seen.add(digest(tree))
    (tree / "src/empty").mkdir()
    seen.add(digest(tree))
    assert len(seen) == 4


def test_bld10_same_size_and_mtime_with_other_content_is_seen_within_one_build(tree: Path, context: Context) -> None:
    source = context.select("app.py")[0]
    status = (tree / "app.py").stat()
    before = context.digest(source).digest
    (tree / "app.py").write_text("print(2)\n")
    os.utime(tree / "app.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert context.digest(source).digest != before


def test_ignored_files_are_not_seen(tree: Path) -> None:
    (tree / ".dockerignore").write_text("**/*.txt\n!src/deep/c.txt\n.dockerignore\n")
    assert paths(tree) == ["", "app.py", "src", "src/b.md", "src/deep", "src/deep/c.txt"]
    with Context.open(tree) as context:
        assert context.select("src/a.txt") == ()
        assert context.digest(context.select(".")[0]).skipped == {".dockerignore", "src/a.txt"}
        assert context.digest(context.select("src")[0]).skipped == {"a.txt"}
        assert context.digest(context.select("src/deep")[0]).skipped == frozenset()


def test_an_excluded_directory_with_something_taken_back(tree: Path) -> None:
    (tree / ".dockerignore").write_text("*\n!src/deep\n")
    (tree / "other/deep").mkdir(parents=True)
    (tree / "other/deep/x").write_text("")
    with Context.open(tree) as context:
        assert "other" in context.digest(context.select(".")[0]).skipped
    assert paths(tree) == ["", "src", "src/deep", "src/deep/c.txt"]
    assert paths(tree, "src") == ["", "deep", "deep/c.txt"]


def test_a_changed_ignored_file_changes_no_digest(tree: Path) -> None:
    (tree / ".dockerignore").write_text("src\n")
    before = digest(tree)
    (tree / "src/a.txt").write_text("other")
    assert digest(tree) == before


def test_the_dockerfiles_own_ignore_file_comes_first(tree: Path) -> None:
    (tree / ".dockerignore").write_text("app.py\n")
    (tree / "Other.dockerignore").write_text("src\n")
    with Context.open(tree, dockerfile="Other") as context:
        assert context.select("app.py")
        assert not context.select("src")


def test_missing_sources_are_explained(tree: Path) -> None:
    (tree / "app.py").rename(tree / "app.py.txt")
    (tree / ".dockerignore").write_text("# x\n\nsrc\n")
    with Context.open(tree) as context:
        assert context.missing("app.py") == (f"no such file app.py in the build context {tree}", "did you mean app.py.txt?")
        assert context.missing("src/a.txt") == ("src/a.txt is left out of the build context by .dockerignore", "line 3 says 'src'")
        assert context.missing("*.c")[0].startswith("no file matches *.c")


def test_sockets_are_left_out_and_fifos_never_opened(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "src/socket"))
        os.mkfifo(tree / "src/fifo")
        with Context.open(tree) as context:
            result = context.digest(context.select("src")[0])
    assert [e.path for e in result.entries] == ["", "a.txt", "b.md", "deep", "deep/c.txt", "fifo"]
    assert result.skipped == {"socket"}


def test_bld01_ignore_file_that_is_no_plain_file(tree: Path) -> None:
    os.mkfifo(tree / ".dockerignore")
    with pytest.raises(InvalidDocument, match=r"\.dockerignore"):
        Context.open(tree)
    (tree / ".dockerignore").unlink()
    (tree / ".dockerignore").symlink_to("/etc/hostname")
    with Context.open(tree) as context:
        assert context.rules.rules == ()
    (tree / ".dockerignore").unlink()
    with (tree / ".dockerignore").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InvalidDocument, match="too large"):
        Context.open(tree)


def test_contexts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Context.open(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument):
        Context.open(tmp_path / "file")


def test_strange_names(tree: Path) -> None:
    (tree / "a\nb").write_text("1")
    Path(os.fsdecode(bytes(tree) + b"/\xff")).write_text("2")
    assert len(paths(tree)) == 9
    assert len(digest(tree)) == 64


def test_digests_are_kept_from_one_build_to_the_next(tmp_path: Path, store: Store) -> None:
    top = tmp_path / "many"
    top.mkdir()
    for number in range(60):
        (top / f"f{number}").write_text(str(number))
    past = time.time() - 10
    reads: list[str] = []
    while not store.known_digests.read(str(top)):  # what changed within the last second is not remembered
        assert time.time() - past < 60
        with Context.open(top, memory=store.known_digests) as context:
            first = context.digest(context.select(".")[0])
        time.sleep(0.2)
    sys_open = os.open

    def watched(path: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if str(path).startswith("f"):
            reads.append(str(path))
        return sys_open(path, flags, *more, dir_fd=dir_fd)

    (top / "f7").write_text("x")
    os.utime(top / "f7", (past, past))
    with pytest.MonkeyPatch.context() as patch, Context.open(top, memory=store.known_digests) as context:
        patch.setattr(os, "open", watched)
        second = context.digest(context.select(".")[0])
    assert reads == ["f7"]
    assert second.digest != first.digest


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version":1}', b'{"version":1,"context":"c","files":{"a":[1]}}', b"\xff\x00"])
def test_a_damaged_memory_counts_as_none(store: Store, damage: bytes) -> None:
    store.known_digests.write("c", {"a": ((1, 2, 3, 4, 5, 6), "d")})
    assert store.known_digests.read("c") == {"a": ((1, 2, 3, 4, 5, 6), "d")}
    (path,) = (store.root / "digests").iterdir()
    path.write_bytes(damage)
    assert store.known_digests.read("c") == {}
    store.known_digests.forget()
    assert list((store.root / "digests").iterdir()) == []

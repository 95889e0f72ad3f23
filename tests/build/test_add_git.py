"""``ADD <git repository>`` in real builds, from git's own server on loopback; BLD-06: what a repository could make git do."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers.build.git import Git
from notebook_containers.build.lent import Lent
from notebook_containers.build.locations import Repository, WrongLocation, remote
from notebook_containers.build.progress import FetchProgress
from notebook_containers.errors import BuildError, DockerfileError

from .conftest import Builder
from .repositories import commit, git, served

pytestmark = [pytest.mark.root, pytest.mark.needs("git")]


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served") as found:
        yield found


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "served/work.git"


def names(builder: Builder, text: str) -> set[str]:
    return set(builder.tree(builder(text)))


def test_branches_tags_commits_and_directories(builder: Builder, address: str, work: Path) -> None:
    first = commit(work, {"a.txt": "one", "sub/deep/b.txt": "b"})
    git(work, "tag", "-a", "-m", "it", "v1")
    git(work, "branch", "old")
    second = commit(work, {"a.txt": "two"})
    url = f"{address}/work.git"
    assert names(builder, f"FROM base\nADD {url} /w\n") == {"w", "w/a.txt", "w/sub", "w/sub/deep", "w/sub/deep/b.txt"}
    for words, text in (
        ("", "two"),
        ("#main", "two"),
        ("#v1", "one"),
        ("#old", "one"),
        (f"#{first}", "one"),
        (f"#{second[:10]}", "two"),
        ("?tag=v1", "one"),
    ):
        assert builder.read(builder(f"FROM base\nADD {url}{words} /w\n"), "/w/a.txt") == text, words
    assert names(builder, f"FROM base\nADD {url}#main:sub/deep /w\n") == {"w", "w/b.txt"}
    assert names(builder, f"FROM base\nADD --exclude=*.txt {url}?ref=old&subdir=sub /w/\n") == {"w", "w/deep", "w/deep/b.txt"}


def test_it_is_fetched_again_when_its_branch_has_moved(builder: Builder, address: str, work: Path) -> None:
    commit(work, {"a.txt": "one"})
    text = f"FROM base\nADD {address}/work.git#main /w\n"
    assert [builder(text).steps[1].status for _ in range(2)] == ["built", "cached"]
    commit(work, {"a.txt": "two"})
    result = builder(text)
    assert (result.steps[1].status, builder.read(result, "/w/a.txt")) == ("built", "two")


def test_a_whole_commit_that_is_known_needs_no_server(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    whole = commit(tmp_path / "served/work.git", {"a.txt": "one"})
    with served(tmp_path / "served") as address:
        text = f"FROM base\nADD {address}/work.git#{whole} /w\n"
        assert builder(text).steps[1].status == "built"
    assert builder(text).steps[1].status == "cached"
    with pytest.raises(DockerfileError, match="git cannot fetch"):
        builder(f"FROM base\nADD {address}/work.git#main /w\n")


def test_the_git_directory_and_the_depth(builder: Builder, address: str, work: Path) -> None:
    for number in range(3):
        commit(work, {"a.txt": str(number)})
    result = builder(f"FROM base\nADD --keep-git-dir {address}/work.git /w\n")
    assert (builder.read(result, "/w/.git/shallow") or "").strip() == git(work, "rev-parse", "HEAD")


def test_the_commit_that_it_must_be(builder: Builder, address: str, work: Path) -> None:
    whole = commit(work, {"a.txt": "one"})
    assert builder.read(builder(f"FROM base\nADD --checksum={whole[:12]} {address}/work.git /w\n"), "/w/a.txt") == "one"
    with pytest.raises(DockerfileError, match=f"is the commit {whole}, not 1234567"):
        builder(f"FROM base\nADD --checksum=1234567 {address}/work.git /w\n")
    with pytest.raises(DockerfileError, match=f"is the commit {whole}, not 1234567"):
        builder(f"FROM base\nADD {address}/work.git?commit=1234567 /w\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("#nothing", "has no branch or tag nothing"),
        ("#1234567", "has no commit 1234567"),
        ("#main:none", "none is no directory of"),
        ("#main:out", "out is no directory of"),
        ("#main:out/etc", "out/etc is no directory of"),
        ("#main:up", "up is no directory of"),
        ("#main:a.txt", "a.txt is no directory of"),
    ],
)
def test_bld06_what_is_not_there_and_links_on_the_way(builder: Builder, address: str, work: Path, words: str, message: str) -> None:
    commit(work, {"a.txt": "one", "out": "-> /", "up": "-> ../..", "sub/x": "x"})
    with pytest.raises(DockerfileError) as info:
        builder(f"FROM base\nADD {address}/work.git{words} /w\n")
    assert message in info.value.message
    assert info.value.excerpt().splitlines()[1].count("^") == len(f"{address}/work.git{words}")
    assert builder.store.snapshots.list() == []


@pytest.mark.parametrize("text", ["ext::sh -c touch% /tmp/x", "--upload-pack=x", "/etc", "file:///etc", "x.git", "./x.git"])
def test_bld06_words_that_name_no_repository(text: str) -> None:
    try:
        assert remote(text) is None  # a path of the context, and no more
    except WrongLocation as err:
        assert "cannot be fetched" in err.message  # noqa: PT017 either is right


@pytest.mark.parametrize(
    "text", ["https://h/x.git#-x", "https://h/x.git#a..b", "https://h/x.git#a:../b", "https://h/x.git#a b", "git@h:x#--x"]
)
def test_bld06_refs_and_directories_that_are_none(text: str) -> None:
    with pytest.raises(WrongLocation):
        remote(text)


def test_bld06_a_submodule_of_the_same_server_and_none_of_this_machine(builder: Builder, address: str, work: Path, tmp_path: Path) -> None:
    commit(work.parent / "part.git", {"p.txt": "part"})
    commit(tmp_path / "secret", {"s.txt": "of this machine"})
    commit(work, {"a.txt": "one"})
    git(work, "submodule", "add", "-q", f"{address}/part.git", "part")
    git(work, "commit", "-q", "-m", "part")
    assert builder.read(builder(f"FROM base\nADD {address}/work.git /w\n"), "/w/part/p.txt") == "part"
    for url in (f"file://{tmp_path}/secret", f"{tmp_path}/secret", "http://169.254.169.254/x.git", "ext::sh -c 'touch /x'"):
        git(work, "config", "-f", ".gitmodules", "submodule.part.url", url)
        git(work, "commit", "-q", "-a", "-m", "elsewhere")
        with pytest.raises(DockerfileError, match=r"may not fetch|cannot fetch"):
            builder(f"FROM base\nADD {address}/work.git /w\n")


def test_bld06_no_hook_no_filter_no_monitor_no_configuration(
    builder: Builder, address: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own git would run each of these on a checkout."""
    ran = tmp_path / "ran"
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    hook = home / "hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n\tfsmonitor = {hook}\n[filter "lfs"]\n\tsmudge = touch {ran}; cat\n'
        f'[url "file:///"]\n\tinsteadOf = {address}\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(hook))
    commit(work, {".gitattributes": "* filter=lfs\n", "big.bin": "version https://git-lfs.github.com/spec/v1\n"})
    assert (builder.read(builder(f"FROM base\nADD {address}/work.git /w\n"), "/w/big.bin") or "").startswith("version https://git-lfs")
    assert not ran.exists()


def test_a_remote_dockerfile_reaches_no_private_host(address: str, work: Path) -> None:
    commit(work, {"a.txt": "one"})
    strict = Git(trusted=False, variables={}, check=lambda: None)
    with pytest.raises(BuildError, match="is a private address"):
        strict.commit(Repository(text="", url=f"{address}/work.git"))
    for url in ("git://example.org/x.git", "ssh://example.org/x.git", "git@example.org:x.git", "file:///x.git"):
        with pytest.raises(BuildError, match="are not allowed"):
            strict.commit(Repository(text="", url=url))


def test_without_git_the_next_step_is_told(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notebook_containers.build.git._PATH", os.devnull)
    with pytest.raises(DockerfileError) as info:
        builder("FROM base\nADD http://127.0.0.1:1/x.git /w\n")
    assert "needs the program git" in info.value.message
    assert "install git" in info.value.hint


def test_an_interrupt_ends_git(tmp_path: Path, address: str, work: Path) -> None:
    commit(work, {"a.txt": "one"})

    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Git(trusted=True, variables={}, check=check).commit(Repository(text="", url=f"{address}/work.git"))


TOKEN = "ghs_canary"
HEADER = "basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


@pytest.mark.parametrize("name", ["GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN.127.0.0.1"])
def test_bld08_a_secret_logs_in_and_is_left_nowhere(builder: Builder, tmp_path: Path, name: str) -> None:
    commit(tmp_path / "private/work.git", {"a.txt": "private"})
    with served(tmp_path / "private", login=HEADER) as url:
        text = f"FROM base\nADD --keep-git-dir=true {url}/work.git /w\n"
        with pytest.raises(DockerfileError) as info:
            builder(text)
        assert "GIT_AUTH_TOKEN" in info.value.hint
        builder.lent = Lent(secrets={name: f"{TOKEN}\n".encode()})
        result = builder(text)
    assert builder.read(result, "/w/a.txt") == "private"
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file() and _holds(path.read_bytes())] == []
    assert TOKEN not in repr(builder.events) + repr(result)


def _holds(data: bytes) -> bool:
    return TOKEN.encode() in data or HEADER.encode() in data


def test_bld06_a_secret_for_any_host_is_for_the_users_own_words_only() -> None:
    lent = Lent(secrets={"GIT_AUTH_TOKEN": b"any", "GIT_AUTH_HEADER.git.example": b"bearer one"})
    assert lent.authorization("https://git.example/a", own=False) == "bearer one"
    assert lent.authorization("https://other.example/a", own=False) == ""
    assert lent.authorization("https://other.example/a", own=True).startswith("basic ")
    for clear in ("http://git.example/a", "git://git.example/a", "ssh://git@git.example/a", "git.example:a"):
        assert lent.authorization(clear, own=True) == "", clear
    assert Lent(secrets={"GIT_AUTH_HEADER": b"x\r\nHost: evil"}).authorization("https://a.example/", own=True) == ""
    assert "any" not in repr(lent)


def test_it_tells_how_far_it_is(builder: Builder, address: str, work: Path) -> None:
    commit(work, {f"{number}.txt": str(number) for number in range(30)})
    builder(f"FROM base\nADD {address}/work.git /w\n")
    told = [event for event in builder.events if isinstance(event, FetchProgress)]
    assert {(event.name, event.unit) for event in told} == {(f"{address}/work.git", "objects")}
    assert told[-1].ended
    assert told[-1].current == told[-1].total >= 32

"""``nbc images -f --digests --tree``, ``history``, ``rmi``, ``import``, ``save`` and ``load``: Docker's rules and words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Nbc
from tests.engine.tars import tar
from tests.home import BASE

pytestmark = pytest.mark.root


@pytest.fixture
def two(nbc: Nbc) -> Iterator[Nbc]:
    """A base image of one layer, and one that stands on it."""
    (nbc.cwd / "tree.tar").write_bytes(tar(("etc/name", b"imported\n")))
    nbc.ok("import", "-m", "first words", "-c", "LABEL stage=test", "-c", "ENV A=b", "tree.tar", "verbs/base:1")
    (nbc.cwd / "Dockerfile").write_text("FROM verbs/base:1\nCOPY tree.tar /\nLABEL more=1\n")
    nbc.ok("build", "-q", "-t", "verbs/child:1", ".")
    yield nbc
    nbc("rmi", "-f", "verbs/base:1", "verbs/child:1", "verbs/other:2")
    nbc.ok("image", "prune")


def names(nbc: Nbc, *words: str) -> list[str]:
    return nbc.ok("images", "--format", "{{.Repository}}:{{.Tag}}", *words).split()


def test_filters(two: Nbc) -> None:
    both = ["verbs/child:1", "verbs/base:1"]
    assert sorted(names(two, "-f", "label=stage=test")) == sorted(both)
    assert names(two, "-f", "label=stage=test", "-f", "label=more") == ["verbs/child:1"]
    assert names(two, "-f", "reference=verbs/*") == names(two, "verbs/*")
    assert sorted(names(two, "verbs/*")) == sorted(both)
    assert names(two, "verbs/base") == ["verbs/base:1"]
    assert names(two, "-f", "reference=verbs/b*:1", "-f", "reference=nothing") == ["verbs/base:1"]
    assert "verbs/base:1" in names(two, "-f", "before=verbs/child:1")
    assert "verbs/child:1" not in names(two, "-f", "before=verbs/child:1")
    assert names(two, "-f", "since=verbs/base:1", "verbs/*") == ["verbs/child:1"]
    assert names(two, "-f", "until=24h", "verbs/*") == []
    assert names(two, "-f", "dangling=true", "verbs/*") == []
    for word in ("dangling=perhaps", "size=5", "noequals"):
        done = two("images", "-f", word)
        assert (done.status, "is not understood" in done.line) == (1, True)


def test_digests_and_the_tree(two: Nbc) -> None:
    heading = two.ok("images", "--digests", "verbs/base").splitlines()[0].split()
    assert heading[:3] == ["REPOSITORY", "TAG", "DIGEST"]
    assert two.ok("images", "--format", "{{.Digest}}", "verbs/base") == "<none>"
    lines = two.ok("images", "--tree", "verbs/*").splitlines()
    assert lines[0].startswith("verbs/base:1")
    assert lines[1].startswith("└─ verbs/child:1")
    assert "2 layers" in lines[1]
    assert two("images", "--tree", "-q").status == 1


def test_history_and_inspect(two: Nbc) -> None:
    newest, *_rest, oldest = json.loads(f"[{','.join(two.ok('history', '--format', 'json', 'verbs/child:1').splitlines())}]")
    assert "more=1" in json.dumps(newest)
    assert "first words" in json.dumps(oldest)
    (found,) = json.loads(two.ok("inspect", "verbs/base:1"))
    assert (found["Comment"], found["Config"]["Env"], found["Config"]["Labels"]) == ("first words", ["A=b"], {"stage": "test"})
    assert found["RepoTags"] == ["verbs/base:1"]
    assert len(two.ok("history", "-q", "--no-trunc", "verbs/base:1")) == len("sha256:") + 64


def test_rmi_by_dockers_rules(two: Nbc) -> None:
    identity = two.ok("images", "-q", "--no-trunc", "verbs/base")
    two.ok("tag", "verbs/base:1", "verbs/other:2")
    assert "several repositories" in two("rmi", identity).line
    assert two.ok("rmi", "verbs/other:2") == "Untagged: verbs/other:2"
    two.ok("tag", "verbs/base:1", "verbs/base:also")
    container = two.ok("create", "--network", "none", "verbs/base:1", "x")
    done = two("rmi", identity)
    assert (done.status, "used by container" in done.line) == (1, True)
    two.ok("rm", container)
    lines = two.ok("rmi", "--no-prune", identity[:20]).splitlines()
    assert lines == ["Untagged: verbs/base:1", "Untagged: verbs/base:also", f"Deleted: {identity}"]
    assert two("rmi", "never-was").status == 1


def test_an_image_in_use_by_id(nbc: Nbc) -> None:
    (nbc.cwd / "Dockerfile").write_text(f"FROM {BASE}\nLABEL used=1\n")
    identity = nbc.ok("build", "-q", "-t", "verbs/used:1", ".")
    nbc.ok("run", "-d", "--name", "verbs-used", "--network", "none", "verbs/used:1", "sleep", "60")
    try:
        done = nbc("rmi", "-f", identity)
        assert (done.status, "which runs" in done.line) == (1, True)
        nbc.ok("stop", "-t", "0", "verbs-used")
        assert nbc.ok("rmi", "-f", identity).splitlines()[-1] == f"Deleted: {identity}"
        assert nbc.ok("ps", "-a", "-q", "-f", "name=verbs-used")
    finally:
        nbc.ok("rm", "-f", "verbs-used")
        nbc.ok("image", "prune")


def test_save_and_load_of_every_form(two: Nbc) -> None:
    identity = two.ok("images", "-q", "--no-trunc", "verbs/base")
    for form in ("docker-archive", "oci-archive", "oci-dir", "docker-dir"):
        two.ok("save", "--format", form, "-o", form, "verbs/base:1")
        two.ok("rmi", "verbs/base:1")
        assert two.ok("load", "-q", "-i", form) == (
            "Loaded image: verbs/base:1" if form != "docker-dir" else f"Loaded image ID: {identity}"
        )
        two("tag", identity, "verbs/base:1")
    assert "-o DIRECTORY" in two("save", "--format", "oci-dir", "verbs/base:1").line
    done = two("load", "-i", "docker-archive", "--platform", "linux/s390x")
    assert (done.status, "it is there for linux/" in done.line) == (1, True)
    done = two("load", "-i", "tree.tar")
    assert (done.status, "nbc import" in done.line) == (1, True)

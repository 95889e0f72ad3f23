"""Where a build's files come from: named contexts, archives, addresses, git, and values of the program; in real builds."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from backports import zstd

from notebook_containers.engine.engine import Engine
from notebook_containers.engine.image import BuildResult
from notebook_containers.errors import BuildError, DockerfileError, Error, InvalidArgument
from tests.build import repositories, web
from tests.home import BASE, Home
from tests.people import person

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    top = tmp_path / "context"
    top.mkdir()
    (top / "own.txt").write_text("own")
    return top


@pytest.fixture
def further(tmp_path: Path) -> Path:
    top = tmp_path / "further"
    (top / "sub").mkdir(parents=True)
    (top / "sub/f.txt").write_text("further")
    (top / "left-out").write_text("never")
    (top / ".dockerignore").write_text("left-out\n")
    return top


def tar(files: Mapping[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


def read(engine: Engine, result: BuildResult, path: str) -> str | None:
    data = engine.images._parts.store.snapshots.read_file(result.image.layers, path)
    return None if data is None else data.decode()


def test_a_directory_as_a_named_context(own: Engine, context: Path, further: Path) -> None:
    text = "FROM more AS start\nFROM scratch\nCOPY --from=more sub/f.txt /copied\nCOPY --from=start /sub/f.txt /from\nCOPY own.txt /own\n"
    contexts = {"more": str(further)}
    result = own.images.build(context, text=text, contexts=contexts)
    assert [read(own, result, path) for path in ("/copied", "/from", "/own")] == ["further", "further", "own"]
    assert {step.status for step in own.images.build(context, text=text, contexts=contexts).steps} == {"cached", "metadata"}
    (further / "sub/f.txt").write_text("changed")
    assert read(own, own.images.build(context, text=text, contexts=contexts), "/copied") == "changed"
    with pytest.raises(DockerfileError, match=r"left-out is left out of the build context by \.dockerignore"):
        own.images.build(context, text="FROM scratch\nCOPY --from=more left-out /\n", contexts=contexts)


def test_a_named_context_is_mounted(own: Engine, context: Path, further: Path) -> None:
    assert [t.base for t in own.images.look(context, text="FROM more\n", contexts={"more": str(further)}).targets()] == ["more"]
    text = f"FROM {BASE}\nRUN --mount=from=more,source=sub,target=/m cp /m/f.txt /f.txt\n"
    result = own.images.build(context, text=text, contexts={"more": str(further)}, network="none")
    assert read(own, result, "/f.txt") == "further"


def test_an_image_takes_the_place_of_another_and_of_a_stage(own: Engine, context: Path, tmp_path: Path) -> None:
    own.images.build(context, text="FROM scratch\nCOPY own.txt /other\n", tag="other:1")
    text = (
        "FROM nowhere.example/x:1 AS base\nFROM scratch AS stage\nFROM scratch\nCOPY --from=base /other /a\nCOPY --from=stage /other /b\n"
    )
    contexts = {"nowhere.example/x:1": "docker-image://other:1", "stage": "docker-image://other:1"}
    result = own.images.build(context, text=text, contexts=contexts)
    assert (read(own, result, "/a"), read(own, result, "/b")) == ("own", "own")
    own.images.save_directory(["other:1"], tmp_path / "layout")
    result = own.images.build(context, text="FROM it\nCOPY own.txt /c\n", contexts={"it": f"oci-layout://{tmp_path}/layout"})
    assert (read(own, result, "/other"), read(own, result, "/c")) == ("own", "own")


def test_an_archive_on_the_web(own: Engine, context: Path) -> None:
    with web.served() as server:
        server.pages["/c.tar.gz"] = web.Page(gzip.compress(tar({"f.txt": "inside", "Dockerfile": "FROM scratch\nCOPY f.txt /f\n"})))
        server.pages["/plain"] = web.Page(b"no archive")
        url = f"{server.address}/c.tar.gz"
        result = own.images.build(context, text="FROM scratch\nCOPY --from=far f.txt /f\n", contexts={"far": url})
        assert read(own, result, "/f") == "inside"
        assert read(own, own.images.build(url), "/f") == "inside"
        assert [t.name for t in own.images.look(url).targets()] == ["0"]
        with pytest.raises(DockerfileError, match="is no tar archive"):
            own.images.build(context, text="FROM scratch\nCOPY --from=far f /f\n", contexts={"far": f"{server.address}/plain"})
        with pytest.raises(BuildError, match="answers 404"):
            own.images.build(f"{server.address}/none.tar")


def test_a_dockerfile_from_elsewhere_reaches_no_private_host(own: Engine) -> None:
    with web.served() as server:
        dockerfile = f"FROM scratch\nADD {server.address}/secret /s\n"
        server.pages["/c.tar"] = web.Page(tar({"Dockerfile": dockerfile}))
        server.pages["/secret"] = web.Page(b"of this machine")
        with pytest.raises(DockerfileError, match="is a private address"):
            own.images.build(f"{server.address}/c.tar")
        assert own.images.build(f"{server.address}/c.tar", text=dockerfile).image.layers
        server.pages["/d.tar"] = web.Page(tar({"Dockerfile": "FROM scratch\nCOPY --from=more inside /\n"}))
        server.pages["/more.tar"] = web.Page(tar({"inside": "named by the user"}))
        assert own.images.build(f"{server.address}/d.tar", contexts={"more": f"{server.address}/more.tar"}).image.layers


@pytest.mark.needs("git")
def test_a_git_repository_as_context(own: Engine, context: Path, tmp_path: Path) -> None:
    top = tmp_path / "served"
    files = {
        "Dockerfile": "FROM scratch\nCOPY f.txt /f\n",
        "f.txt": "top",
        "sub/other": "FROM scratch\nCOPY f.txt /f\n",
        "sub/f.txt": "sub",
    }
    repositories.commit(top / "w.git", {**files, "out": "-> /etc"})
    repositories.git(top / "w.git", "tag", "v1")
    with repositories.served(top) as address:
        assert read(own, own.images.build(f"{address}/w.git"), "/f") == "top"
        assert read(own, own.images.build(f"{address}/w.git#v1:sub", dockerfile="other"), "/f") == "sub"
        result = own.images.build(context, text="FROM scratch\nCOPY --from=far sub/f.txt /f\n", contexts={"far": f"{address}/w.git#v1"})
        assert read(own, result, "/f") == "sub"
        with pytest.raises(BuildError, match="out is no directory of"):
            own.images.build(f"{address}/w.git#v1:out")
        with pytest.raises(InvalidArgument, match="cannot read the Dockerfile 'none'"):
            own.images.build(f"{address}/w.git", dockerfile="none")


def test_an_archive_as_a_file_object(own: Engine) -> None:
    archive = tar({"Dockerfile": "FROM scratch\nCOPY . /\n", "f.txt": "inside"})
    for data in (archive, gzip.compress(archive), zstd.compress(archive)):
        assert read(own, own.images.build(fileobj=io.BytesIO(data), custom_context=True), "/f.txt") == "inside"
    with pytest.raises(Error, match="cannot be unpacked"):
        own.images.build(fileobj=io.BytesIO(tar({"../x": "out"})), custom_context=True)


@pytest.mark.parametrize(
    ("contexts", "words"),
    [
        ({"more": "/nowhere"}, "which is no directory"),
        ({"more": ""}, "is incomplete"),
        ({"more": "ftp://x/y"}, "cannot be fetched"),
        ({"more": "docker-image://UPPER CASE"}, "UPPER CASE"),
        ({"more": "oci-layout:///nowhere"}, "which is no directory"),
        ({"more": "https://h/x.git#--upload-pack=x"}, "is no git ref"),
    ],
)
def test_contexts_that_are_none(own: Engine, context: Path, contexts: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as info:
        own.images.build(context, text="FROM scratch\n", contexts=contexts)
    assert words in info.value.message
    assert info.value.hint


class Table:
    """A DataFrame's shape, as far as it is used."""

    index = range(2)

    def to_csv(self, path_or_buf: None = None, *, index: bool) -> str:
        return f"a,b\n1,2\n{index}\n"

    def to_json(self) -> str:
        return "[]"


def test_values_are_files_of_the_context(own: Engine, context: Path, further: Path) -> None:
    values = {
        "raw": b"bytes", "note.txt": "text", "made": {"a": [1, None]}, "t": Table(), "own.txt": "above its own", "deep/down.json": [1],
        "tree": further / "sub", "p": further / "sub/f.txt",
    }  # fmt: skip
    (context / ".dockerignore").write_text("*\n!own.txt\n")
    result = own.images.build(context, text="FROM scratch\nCOPY . /w/\nCOPY raw p.txt /x/\nCOPY own.txt /y\n", context_vars=values)
    found = {
        path: read(own, result, path) for path in ("/w/raw", "/w/note.txt", "/w/t.csv", "/w/own.txt", "/w/tree/f.txt", "/x/p.txt", "/y")
    }
    assert found == {
        "/w/raw": "bytes", "/w/note.txt": "text", "/w/t.csv": "a,b\n1,2\nTrue\n", "/w/own.txt": "above its own", "/w/tree/f.txt": "further",
        "/x/p.txt": "further", "/y": "above its own",
    }  # fmt: skip
    assert json.loads(read(own, result, "/w/made.json") or "") == {"a": [1, None]}
    again = own.images.build(context, text="FROM scratch\nCOPY . /w/\nCOPY raw p.txt /x/\nCOPY own.txt /y\n", context_vars=values)
    assert {step.status for step in again.steps} == {"cached", "metadata"}
    text = f"FROM {BASE}\nRUN --mount=target=/m cat /m/own.txt /m/raw > /all\n"
    assert read(own, own.images.build(context, text=text, context_vars=values, network="none"), "/all") == "above its ownbytes"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"../x": b""}, "is no file of"),
        ({"/x": b""}, "is no file of"),
        ({"x": object()}, "has no form as a file"),
        ({"x": {"a": b""}}, "JSON cannot hold it"),
        ({"x": Path("/nowhere")}, "cannot be read"),
        ({"t.parquet": Table()}, "cannot be Parquet"),
    ],
)
def test_values_that_are_no_files(own: Engine, context: Path, values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument) as info:
        own.images.build(context, text="FROM scratch\n", context_vars=values)
    assert words in info.value.message


def test_on_the_command_line(own_home: Home, context: Path, further: Path) -> None:
    def nbc(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, "NBC_ROOT": str(own_home.root), "PYTHONPATH": os.getcwd()}
        return subprocess.run(
            [sys.executable, "-m", "notebook_containers", *words], input=stdin, env=env, cwd=context, capture_output=True, check=False
        )

    (context / "Dockerfile").write_text("FROM scratch\n")
    archive = tar({"d/file": "FROM scratch\nCOPY f.txt /f\n", "f.txt": "inside"})
    for data in (archive, gzip.compress(archive)):
        done = nbc("build", "-q", "-f", "d/file", "-", stdin=data)
        assert done.returncode == 0, done.stderr
    done = nbc("build", "-q", "--build-context", "more=../further", "-", stdin=b"FROM scratch\nCOPY own.txt /\nCOPY --from=more sub /\n")
    assert done.returncode == 0, done.stderr
    for words, said in (
        (("--context-var", "x"), b"is for notebooks"),
        (("--build-context", "x"), b"names no context"),
        (("--build-context", "x=nowhere"), b"no directory"),
    ):
        done = nbc("build", *words, ".", stdin=b"")
        assert done.returncode != 0
        assert said in done.stderr
    assert b"neither a Dockerfile nor a tar archive" in nbc("build", "-", stdin=b"\xff\xfe").stderr


@pytest.mark.user
@pytest.mark.needs("git")
@pytest.mark.parametrize("lent", [False, True], ids=["one-id", "lent-ids"])
def test_as_an_ordinary_user(tmp_path: Path, lent: bool) -> None:
    top = tmp_path / "served"
    repositories.commit(top / "w.git", {"f.txt": "from git"})
    with person(lent=lent) as who, web.served() as server, repositories.served(top) as address:
        server.pages["/f"] = web.Page(b"from the web\n")
        server.pages["/a.tar"] = web.Page(tar({"in": "in the archive"}))
        work = who.home / "work"
        work.mkdir()
        (work / "Dockerfile").write_text(
            f"FROM {BASE}\nADD {server.address}/f /f\nADD {address}/w.git /w\nCOPY --from=far in /in\n"
            "RUN --mount=from=far,target=/m cat /f /w/f.txt /in /m/in\n"
        )
        for path in (work, *work.iterdir()):
            os.chown(path, who.uid, who.gid)
        done = who.run(
            "/usr/bin/python3", "-m", "notebook_containers", "build", "--progress", "plain", "--network", "none",
            "--build-context", f"far={server.address}/a.tar", work,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "from gitin the archive" in done.stdout + done.stderr

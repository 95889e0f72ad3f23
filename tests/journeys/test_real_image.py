"""A real image, from gcc to a web server that is nobody: built here and by docker from the same base, run, asked over HTTP, compared."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.bench.peers.docker import docker
from tests.bench.peers.tool import Tool
from tests.home import BASE as LOCAL, new_home
from tests.interchange.conftest import unmounted
from tests.needs import need
from tests.registry.conftest import free_port

pytestmark = [pytest.mark.root, pytest.mark.needs("dockerd", "docker"), pytest.mark.timeout(600)]

CONTEXT = Path(__file__).parent / "httpd"
BASE = "debian:test"

DIFFERENT: Mapping[str, str] = {
    r"var/log/(apt/(history|term|eipp)\.log(\.xz)?|dpkg\.log|alternatives\.log|bootstrap\.log)": "tells when each package was unpacked",
    r"var/cache/ldconfig/aux-cache": "holds the inodes and times of libraries",
    r"var/cache/apt/(src)?pkgcache\.bin": "holds the times of apt's lists, and addresses of its memory",
}
"""Reviewed: the files whose content holds the time of the build (or numbers of the disk), and so differs between any two builds."""

OWN: Mapping[str, str] = {
    **dict.fromkeys(("Id", "RepoTags", "Created", "Metadata", "GraphDriver"), "name this build or this disk"),
    **dict.fromkeys(("RootFS", "Size", "VirtualSize"), "digests and sizes of archives, which hold times"),
    "Comment": "docker puts the name of its builder here",
    "Config.ArgsEscaped": "of Windows; docker's builder before 23.0 sets it always",
}
"""Reviewed: what may differ in ``docker inspect``."""

REWORDED = ("EXPOSE", "COPY")
"""Reviewed: instructions that later BuildKits put in other words, as we do (``[80/tcp]`` for ``map[80/tcp:{}]``; COPY with its flags)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Our engine and a client of docker, each with the image ``httpd``; docker also has ours, as ``ours``."""

    ours: Engine
    docker: Tool


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """Build it on both sides at once."""
    archive = Path(os.environ.get("NBC_TEST_DEBIAN", ""))
    need(archive.is_file(), "archive of a Debian (NBC_TEST_DEBIAN)")
    with (
        tempfile.TemporaryDirectory(prefix="nbcr-", dir="/tmp") as text,
        new_home() as home,
        unmounted(Path(text)),
        docker(Path(text), cgroup="nbc-real-image") as daemon,
        home.open() as engine,
        ThreadPoolExecutor(1) as beside,
    ):
        lasting = engine.containers.run(LOCAL, ["true"], detach=True)  # makes the bridge, and what watches it: no test's leaks
        assert isinstance(lasting, Container)
        lasting.remove(force=True)
        theirs = beside.submit(_build_theirs, daemon, archive)
        with archive.open("rb") as file:
            engine.images.import_image(file, *BASE.split(":"))
        engine.images.build(CONTEXT, tag="httpd", network="host")
        theirs.result()
        saved = Path(text) / "ours.tar"
        engine.images.get("httpd").tag("ours")
        with saved.open("wb") as file:
            file.writelines(engine.images.save(["ours"]))
        daemon.call("load", "--input", str(saved))
        saved.unlink()
        yield Both(ours=engine, docker=daemon)


def _build_theirs(daemon: Tool, archive: Path) -> None:
    daemon.call("import", str(archive), BASE)
    client = Tool("docker", daemon.command()[1:], environment={**daemon.environment, "DOCKER_BUILDKIT": "1"})
    client.call("build", "--network", "host", "--tag", "httpd", str(CONTEXT))


def test_it_answers_over_http(both: Both) -> None:
    port = free_port()
    web = both.ours.containers.run("httpd", detach=True, ports={"80/tcp": ("127.0.0.1", port)})
    assert isinstance(web, Container)
    try:
        page, headers = _ask(web, f"http://127.0.0.1:{port}/")
        assert page == (CONTEXT / "site/index.html").read_bytes()
        assert (headers["Server"].split("/")[0], headers["X-Greeting"]) == ("Apache", "hello from a build")
        assert _ask(web, f"http://127.0.0.1:{port}/pages/note.txt")[0] == b"a page below\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing", timeout=10)
        assert web.exec_run(["id", "-un"]).output == b"nobody\n"
        assert web.exec_run(["pwd"]).output == b"/srv/site\n"
    finally:
        web.remove(force=True)


def _ask(web: Container, url: str) -> tuple[bytes, Mapping[str, str]]:
    """Ask until the server listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read(), dict(answer.headers)
        except OSError as err:
            if isinstance(err, urllib.error.HTTPError) or time.monotonic() > deadline:
                pytest.fail(f"{err}\n{web.logs()!r}")
            time.sleep(0.05)


def test_the_files_are_those_of_dockers_image(both: Both) -> None:
    ours, theirs = _files(both.docker, "ours"), _files(both.docker, "httpd")
    assert len(ours) > 5000
    found = {name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    unexpected = {name: pair for name, pair in found.items() if not any(re.fullmatch(pattern, name) for pattern in DIFFERENT)}
    assert unexpected == {}


def _files(tool: Tool, image: str) -> dict[str, tuple[object, ...]]:
    """Return every file of an image as docker shows it: kind, mode, owners, extended attributes, content; times are those of the build."""
    name = tool.call("create", image).strip()
    try:
        with subprocess.Popen(tool.command("export", name), stdout=subprocess.PIPE, env=tool.environment) as export:
            assert export.stdout
            with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
                return {member.name.rstrip("/"): _about(tar, member) for member in tar}
    finally:
        tool.call("rm", name)


def _about(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    attributes = {name: value for name, value in member.pax_headers.items() if name.startswith("SCHILY.xattr.")}
    file = tar.extractfile(member) if member.isfile() else None
    content = hashlib.file_digest(file, "sha256").hexdigest() if file else member.linkname  # type: ignore[arg-type]
    return member.type, member.mode, member.uid, member.gid, member.devmajor, member.devminor, attributes, content


def test_the_config_is_that_of_dockers_image(both: Both) -> None:
    ours, theirs = _inspected(both.docker, "ours"), _inspected(both.docker, "httpd")
    assert {name: (ours.get(name), theirs.get(name)) for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)} == {}


def test_the_history_is_that_of_dockers_image(both: Both) -> None:
    ours, theirs = _history(both.docker, "ours"), _history(both.docker, "httpd")
    assert [line.split()[0] for line in ours] == [line.split()[0] for line in theirs]
    plain = {line for line in theirs if not line.startswith(REWORDED)}
    assert plain - set(ours) == set()
    assert len(plain) > 5


def _inspected(tool: Tool, image: str) -> dict[str, object]:
    """Return what docker says of an image, without what names this one build and this one disk."""
    document = cast("dict[str, object]", json.loads(tool.call("inspect", image))[0])
    config = cast("dict[str, object]", document.pop("Config"))
    kept = {**{f"Config.{name}": value for name, value in config.items()}, **document}
    return {name: value for name, value in kept.items() if name not in OWN}


def _history(tool: Tool, image: str) -> list[str]:
    """Return what docker says made each layer of an image, without BuildKit's remark that it did."""
    listed = tool.call("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).splitlines()
    return [line.removesuffix(" # buildkit") for line in listed if line.strip()]

"""A volume's files as bytes and archives, while hostile containers have it (CP-05), and what fills it at first use (CP-06)."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Error, InvalidArgument, NotFound, VolumeNotFound
from tests.engine.test_volumes import run
from tests.home import BASE

pytestmark = pytest.mark.root
CANARY = b"canary of the host"


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entry(name: str, data: bytes = b"", *, link: str = "", hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    if link:
        info.type, info.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, link
    return info, data


def members(data: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {info.name.removeprefix("./"): tar.extractfile(info) if info.isfile() else None for info in tar}
        return {name: file.read() if file is not None else None for name, file in found.items()}


def test_bytes_are_read_by_the_name_or_the_place(engine: Engine) -> None:
    container = engine.containers.run(
        BASE, ["sh", "-c", "echo 1,2 > /v/x.csv; mkdir /v/d; ln -s ../x.csv /v/d/l; mkfifo /v/p; sleep 1000"], network="none", detach=True,
        stop_timeout=0, volumes=["data:/v"],
    )  # fmt: skip
    assert isinstance(container, Container)
    assert container.exec_run(["sh", "-c", "until [ -p /v/p ]; do sleep 0.01; done"]).exit_code == 0
    assert container.volume("data").read("x.csv") == b"1,2\n"
    assert container.volume("/v/").read("/d/l") == b"1,2\n"
    assert container.volume("data").read(Path("x.csv")) == b"1,2\n"
    assert container.volume("data").names() == ["d", "p", "x.csv"]
    assert container.volume("data").names(Path("d")) == ["l"]
    container.volume("data").write(Path("made/here"), b"by the notebook")
    assert container.exec_run(["cat", "/v/made/here"]).output == b"by the notebook"
    with pytest.raises(VolumeNotFound, match="no volume 'other'") as caught:
        container.volume("other")
    assert caught.value.hint == "it has data at /v"
    for path, kind, says in (
        ("nothing", NotFound, "there is no nothing in volume data"),
        ("d", InvalidArgument, "is a directory"),
        ("p", InvalidArgument, "not a regular file"),
    ):
        with pytest.raises(kind, match=says):
            container.volume("data").read(path)
    with pytest.raises(InvalidArgument, match="more than 2 bytes"):
        container.volume("data").read("x.csv", max_bytes=2)


def test_a_backup_restores_everything(engine: Engine) -> None:
    script = "cd /v; mkdir -p a/b; echo x > a/b/f; chmod 640 a/b/f; chown 5:6 a/b/f; ln -s f a/b/l; ln a/b/f hard; mkfifo p; chmod 1777 ."
    run(engine, script, "data:/v")
    backup = b"".join(engine.volumes.get("data").export())
    restored = engine.volumes.create("restored")
    assert list(restored.import_archive(backup)) == []
    look = "cd /v; find . | sort; stat -c '%a %u:%g %h' a/b/f .; readlink a/b/l; cat hard"
    assert run(engine, look, "restored:/v") == run(engine, look, "data:/v")
    restored.write("a/b/f", b"changed")
    restored.write("own", b"stays")
    restored.import_archive(iter([backup]))
    assert (restored.read("a/b/f"), restored.read("own")) == (b"x\n", b"stays")


def test_cp05_an_export_holds_only_the_volume_whatever_the_container_swaps(engine: Engine, tmp_path: Path) -> None:
    """CVE-2023-0778: a file is replaced by a link to a file of the host while it is exported and read."""
    (tmp_path / "secret").write_bytes(CANARY)
    script = f"""
        mkdir /v/d; echo inside > /v/d/f; echo inside > /v/g
        while :; do
            mv /v/d /v/e; ln -s {tmp_path} /v/d; rm /v/d; mv /v/e /v/d
            mv /v/g /v/h; ln -s {tmp_path}/secret /v/g; rm /v/g; mv /v/h /v/g
        done
    """
    swapper = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, stop_timeout=0, volumes=["data:/v"])
    assert isinstance(swapper, Container)
    volume = swapper.volume("data")
    for _ in range(10):
        found = members(b"".join(volume.export()))
        assert CANARY not in found.values()
    seen: set[bytes] = set()
    for _ in range(500):
        for path in ("g", "d/f", "d/secret"):
            try:
                seen.add(volume.read(path))
            except (NotFound, InvalidArgument):
                continue
    assert seen <= {b"inside\n"}
    assert swapper.status == "running"


def test_cp05_an_import_writes_only_in_the_volume(engine: Engine, tmp_path: Path) -> None:
    """CVE-2025-11395 and its like: links in the archive, and in the volume before, lead to nothing outside."""
    canary = tmp_path / "canary"
    canary.write_bytes(CANARY)
    run(engine, f"ln -s {tmp_path} /v/before; ln -s {canary} /v/file", "data:/v")
    hostile = [
        [entry("link", link=str(tmp_path)), entry("link/through", b"x")],
        [entry("before/through", b"x")],
        [entry("file", b"replaced")],
        [entry("up", link="../../../../../.."), entry(f"up{canary}", b"x")],
        [entry("../escape", b"x")],
        [entry("/abs", b"x")],
        [entry("hard", link=str(canary), hard=True)],
        [entry("a/../../b", b"x")],
    ]
    volume, refused = engine.volumes.get("data"), 0
    for entries in hostile:
        try:
            volume.import_archive(archive(*entries))
        except Error:
            refused += 1
    volume.import_archive(archive(entry("innocent", b"fine")))
    assert refused > 2
    assert volume.read("file") == b"replaced"
    assert canary.read_bytes() == CANARY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary"]
    assert sorted(path.name for path in volume.path.parent.iterdir()) == ["_data"]
    assert volume.read("innocent") == b"fine"


def test_cp05_a_swap_during_an_import_leads_nowhere(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "canary").write_bytes(CANARY)
    script = f"mkdir /v/d; while :; do mv /v/d /v/e; ln -s {tmp_path} /v/d; rm -rf /v/d; mv /v/e /v/d; done"
    swapper = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, stop_timeout=0, volumes=["data:/v"])
    assert isinstance(swapper, Container)
    given = archive(*(entry(f"d/{number}", b"x") for number in range(200)), entry("d/canary", b"overwritten"))
    for _ in range(10):
        try:
            swapper.volume("data").import_archive(given)
        except (InvalidArgument, NotFound):
            continue
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
    assert (tmp_path / "canary").read_bytes() == CANARY


def test_cp06_first_use_never_overwrites_and_copies_nothing_of_the_host(engine: Engine, tmp_path: Path) -> None:
    """CVE-2020-1726: a volume that has files is left alone; a link of the image at the volume's place leads to the image only."""
    (tmp_path / "secret").write_bytes(CANARY)
    links = f"mkdir -p {tmp_path} && echo image > {tmp_path}/secret && ln -s {tmp_path} /out && ln -s {tmp_path} /d/inner"
    text = f"FROM {BASE}\nRUN mkdir /d && echo image > /d/x && {links}\n"
    engine.images.build(text=text, tag="cp06", network="none")
    try:
        mine = engine.volumes.create("mine")
        mine.write("x", b"mine")
        before = hashlib.sha256(b"".join(mine.export())).hexdigest()
        assert run(engine, "cat /d/x", "mine:/d", image="cp06") == "mine"
        assert hashlib.sha256(b"".join(mine.export())).hexdigest() == before
        assert run(engine, "cat /out/secret", "out:/out", image="cp06") == "image\n"
        run(engine, "true", "dd:/d", image="cp06")
        for name in ("out", "dd"):
            assert CANARY not in members(b"".join(engine.volumes.get(name).export())).values()
        assert (engine.volumes.get("dd").path / "inner").is_symlink()
        assert (tmp_path / "secret").read_bytes() == CANARY
    finally:
        engine.images.remove("cp06", force=True)


def test_cp06_two_first_uses_at_once_fill_once(engine: Engine) -> None:
    text = f"FROM {BASE}\nRUN mkdir /d && for i in $(seq 300); do echo $i > /d/$i; done\n"
    engine.images.build(text=text, tag="many", network="none")
    try:
        results: list[str] = []
        threads = [threading.Thread(target=lambda: results.append(run(engine, "ls /d | wc -l", "same:/d", image="many"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == ["300\n"] * 3
    finally:
        engine.images.remove("many", force=True)

"""What is done to images, each as something to interrupt: what it needs, what it does, and how its outcome is told from its absence."""

from __future__ import annotations

import http.client
import io
import platform
import struct
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import ImageNotFound
from notebook_containers.oci.image import MANIFEST
from notebook_containers.oci.reference import Reference

KEPT = "kept"
MADE = "made"
SAYS = b"ok\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where an operation plays: files it reads lie in ``scratch``, ``registry`` is a host and port, ``number`` tells repetitions apart."""

    scratch: Path
    registry: str
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation: ``before`` brings about what it needs (again and again), ``run`` does it.

    ``name`` is what it makes or takes away, ``takes`` says which of the two. A repetition after it was interrupted is ``run`` again.
    """

    run: Callable[[Engine, Scene], object]
    name: Callable[[Scene], str] = lambda scene: MADE
    before: Callable[[Engine, Scene], object] = lambda engine, scene: None
    takes: bool = False
    there: Callable[[Engine, Scene, str], bool] = lambda engine, scene, name: _has(engine, name)

    def happened(self, engine: Engine, scene: Scene) -> bool:
        """Say whether its result is there: whole or not at all is for the check to say."""
        return self.there(engine, scene, self.name(scene)) != self.takes

    def repeat(self, engine: Engine, scene: Scene) -> None:
        """Do it again, whatever became of the first time."""
        try:
            self.run(engine, scene)
        except ImageNotFound:
            if not self.takes:
                raise


def _has(engine: Engine, name: str) -> bool:
    try:
        engine.images.find(name)
    except ImageNotFound:
        return False
    return True


def _pushed(engine: Engine, scene: Scene, name: str) -> bool:
    del engine
    reference = Reference.parse(name).tagged()
    connection = http.client.HTTPConnection(scene.registry, timeout=10)
    with closing(connection):
        connection.request("HEAD", f"/v2/{reference.repository}/manifests/{reference.tag}", headers={"Accept": MANIFEST})
        return connection.getresponse().status == 200


def archive(*contents: bytes) -> bytes:
    """A tar with the program ``/hello``, which says ``ok``, and a file of each of the contents, in directories, with links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "hello", program(), mode=0o755)
        for number, data in enumerate(contents):
            _add(tar, f"files/{number}/data", data, mode=0o640)
            link = tarfile.TarInfo(f"files/{number}/link")
            link.type, link.linkname = tarfile.SYMTYPE, "data"
            tar.addfile(link)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, *, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, 1_700_000_000
    tar.addfile(info, io.BytesIO(data))


def program() -> bytes:
    """The smallest static program for this machine that prints ``ok`` and ends."""
    if platform.machine() == "aarch64":
        words = (0xD2800808, 0xD2800020, 0x100000C1, 0xD2800062, 0xD4000001, 0xD2800BA8, 0xD2800000, 0xD4000001)
        code, machine = struct.pack("<8I", *words), 183
    else:
        code = bytes.fromhex("b801000000 bf01000000 488d3510000000 ba03000000 0f05 b83c000000 31ff 0f05".replace(" ", ""))
        machine = 62
    start, size = 0x400000 + 64 + 56, 64 + 56 + len(code) + len(SAYS)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000)
    return header + segment + code + SAYS


def prepare(engine: Engine, scene: Scene) -> None:
    """Make what all operations build on: the image ``kept``, an archive of an image, a build context, and an image in the registry."""
    _import(engine, KEPT, b"kept" * 500)
    _import(engine, "other", b"x" * 20_000, b"y" * 70_000)
    (scene.scratch / "loaded.tar").write_bytes(b"".join(engine.images.save(["other"])).replace(b"other:latest", b"loads:latest"))
    (scene.scratch / "plain.tar").write_bytes(archive(b"i" * 90_000, b"j"))
    context = scene.scratch / "context"
    (context / "deep").mkdir(parents=True)
    (context / "deep" / "file").write_bytes(b"c" * 50_000)
    remote = f"{scene.registry}/swept:1"
    engine.images.tag("other", remote)
    engine.images.push(remote)
    engine.images.remove(remote)
    engine.images.remove("other", force=True)
    engine.images.prune()


def _import(engine: Engine, name: str, *contents: bytes) -> None:
    engine.images.import_image(archive(*contents), name, changes=['CMD ["/hello"]'])


def _changed_container(engine: Engine, scene: Scene) -> None:
    del scene
    if any(container.name == "worked" for container in engine.containers.list(all=True)):
        return
    container = engine.containers.create(KEPT, name="worked", network="none")
    assert isinstance(container, Container)
    container.put_archive("/", archive(b"w" * 40_000))


def _commit(engine: Engine, scene: Scene) -> None:
    del scene
    engine.containers.get("worked").commit(MADE)


def _create(engine: Engine, scene: Scene) -> None:
    """Create a container; one that is there already must start first, and work."""
    if _is_container(engine, scene, "created"):
        box = engine.containers.get("created")
        box.start()
        assert (box.wait()["StatusCode"], box.logs()) == (0, SAYS)
        box.remove()
    engine.containers.create(KEPT, name="created", network="none")


def _is_container(engine: Engine, scene: Scene, name: str) -> bool:
    del scene
    return any(container.name == name for container in engine.containers.list(all=True))


def _dangling(engine: Engine, scene: Scene) -> None:
    if not _has(engine, _dangling_id(scene)):
        _import(engine, "dangling", b"d" * 60_000)
        (scene.scratch / "dangling").write_text(engine.images.find("dangling").id)
        engine._parts.store.images.untag(Reference.parse("dangling"))


def _dangling_id(scene: Scene) -> str:
    noted = scene.scratch / "dangling"
    return noted.read_text() if noted.exists() else "sha256:" + "0" * 64


def _build(engine: Engine, scene: Scene) -> None:
    text = f"FROM {KEPT}\nCOPY deep /deep\nENV A=b\nCOPY deep/file /one\n"
    engine.images.build(scene.scratch / "context", text=text, tag=MADE, network="none")


def _remote(scene: Scene) -> str:
    return f"{scene.registry}/swept:1"


def _own_repository(scene: Scene) -> str:
    return f"{scene.registry}/pushed{scene.number}:1"


OPERATIONS: Mapping[str, Operation] = {
    "load": Operation(
        run=lambda engine, scene: engine.images.load((scene.scratch / "loaded.tar").read_bytes()), name=lambda scene: "loads"
    ),
    "import": Operation(
        run=lambda engine, scene: engine.images.import_image((scene.scratch / "plain.tar").read_bytes(), MADE, changes=['CMD ["/hello"]'])
    ),
    "commit": Operation(run=_commit, before=_changed_container),
    "create": Operation(run=_create, name=lambda scene: "created", there=_is_container),
    "tag": Operation(run=lambda engine, scene: engine.images.tag(KEPT, MADE)),
    "rmi": Operation(
        run=lambda engine, scene: engine.images.remove(MADE), before=lambda engine, scene: _import(engine, MADE, b"r" * 50_000), takes=True
    ),
    "prune": Operation(run=lambda engine, scene: engine.images.prune(), before=_dangling, name=_dangling_id, takes=True),
    "build": Operation(run=_build),
    "pull": Operation(run=lambda engine, scene: engine.images.pull(_remote(scene)), name=_remote),
    "push": Operation(
        run=lambda engine, scene: engine.images.push(_own_repository(scene)),
        name=_own_repository,
        before=lambda engine, scene: engine.images.tag(KEPT, _own_repository(scene)),
        there=_pushed,
    ),
}

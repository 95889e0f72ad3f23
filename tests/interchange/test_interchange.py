"""Images between us and docker, podman, skopeo and umoci, as files and through a registry, both ways: equal digests, and they run.

Each way is a row of the printed table. ``config`` is the image id, ``layers`` the diff_ids; ``manifest`` is compared where the way keeps it
(docker's own archive has none, docker's classic store and skopeo's ``docker-archive`` write new ones).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.engine.image import Image
from tests.bench.peers.podman import CGROUP
from tests.engine.tars import contents
from tests.home import BASE
from tests.interchange.conftest import Stage

pytestmark = pytest.mark.root

NAME = "interchange/image:1"
SAYS = "travelled\n"
DOCKERFILE = f"""FROM {BASE}
RUN mkdir -p /d/gone /d/kept && echo a > /d/gone/a && echo b > /d/b && ln /d/b /d/hard && ln -s b /d/soft
RUN rm -r /d/gone && echo travelled > /d/kept/said && chmod 4711 /d/b && mkfifo /d/pipe
LABEL way=any
CMD ["cat", "/d/kept/said"]
"""
Table = list[tuple[str, str, str, str, str, str]]


@pytest.fixture(scope="module")
def table() -> Table:
    return []


@pytest.fixture(scope="module")
def image(stage: Stage) -> Image:
    made = stage.ours.images.build(text=DOCKERFILE, tag=NAME, network="none").image
    for form in ("docker-archive", "oci-archive"):
        (stage.place / f"ours-{form}").write_bytes(b"".join(stage.ours.images.save([NAME], format=form)))
    for form in ("oci-dir", "docker-dir"):
        stage.ours.images.save_directory([NAME], stage.place / f"ours-{form}", format=form)
    return made


def layers(image: Image) -> list[str]:
    return [str(diff_id) for diff_id in image.layers]


class Ways:
    """Takes images there and back and notes what came of it."""

    def __init__(self, stage: Stage, image: Image, table: Table) -> None:
        self.stage, self.image, self.table = stage, image, table

    def note(self, way: str, form: str, *, config: bool, manifest: bool | None, diff_ids: bool, runs: bool | None) -> None:
        words = [{True: "equal", False: "DIFFERS", None: "new"}[value] for value in (config, manifest, diff_ids)]
        self.table.append((way, form, *words, {True: "yes", False: "NO", None: "-"}[runs]))  # type: ignore[arg-type]
        assert config, f"{way} {form}: another image id"
        assert manifest is not False, f"{way} {form}: another manifest"
        assert diff_ids, f"{way} {form}: other layers"
        assert runs is not False, f"{way} {form}: does not run"

    def came_back(self, way: str, form: str, loaded: Image, *, manifest: bool | None) -> None:
        """Note an image that came to us from elsewhere; ``manifest`` says whether the way keeps it."""
        output = self.stage.ours.containers.run(loaded.id, network="none", remove=True)
        self.note(
            way,
            form,
            config=loaded.id == self.image.id,
            manifest=loaded.record.manifest_digest == self.image.record.manifest_digest if manifest else None,
            diff_ids=layers(loaded) == layers(self.image),
            runs=output == SAYS.encode(),
        )

    def saved(self, form: str) -> Path:
        """Return ours as a file or a directory."""
        return self.stage.place / f"ours-{form}"


@pytest.fixture
def ways(stage: Stage, image: Image, table: Table) -> Ways:
    return Ways(stage, image, table)


def inspected(output: str) -> tuple[str, list[str]]:
    (found,) = json.loads(output)
    identity = found["Id"]
    return identity if identity.startswith("sha256:") else f"sha256:{identity}", found["RootFS"]["Layers"]


def test_docker_files(ways: Ways) -> None:
    docker, place = ways.stage.docker, ways.stage.place
    docker.call("load", "--input", str(ways.saved("docker-archive")))
    identity, diff_ids = inspected(docker.call("image", "inspect", NAME))
    runs = docker.call("run", "--rm", "--network", "none", NAME) == SAYS
    ways.note(
        "ours → docker",
        "docker-archive",
        config=identity == ways.image.id,
        manifest=None,
        diff_ids=diff_ids == layers(ways.image),
        runs=runs,
    )
    docker.call("save", "--output", str(place / "docker.tar"), NAME)
    with open(place / "docker.tar", "rb") as file:
        (loaded,) = ways.stage.ours.images.load(file)
    ways.came_back("docker → ours", "docker save", loaded, manifest=None)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_files(ways: Ways, form: str) -> None:
    podman, place = ways.stage.podman, ways.stage.place
    podman.call("load", "--input", str(ways.saved(form)))
    identity, diff_ids = inspected(podman.call("image", "inspect", ways.image.id.removeprefix("sha256:")))
    runs = _podman_runs(podman, ways.image.id)
    ways.note(
        "ours → podman",
        form,
        config=identity == ways.image.id,
        manifest=None,
        diff_ids=diff_ids == layers(ways.image),
        runs=runs,
    )
    target = place / f"podman-{form}"
    podman.call("save", "--format", form, "--output", str(target), ways.image.id.removeprefix("sha256:"))
    with open(target, "rb") as file:
        (loaded,) = ways.stage.ours.images.load(file)
    ways.came_back("podman → ours", form, loaded, manifest=None)
    podman.call("rmi", "--force", ways.image.id.removeprefix("sha256:"))


def _podman_runs(podman: object, identity: str) -> bool:
    call: Callable[..., str] = podman.call  # type: ignore[attr-defined]
    words = ("--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--cgroup-parent", CGROUP)
    return call("run", *words, identity.removeprefix("sha256:")) == SAYS


@pytest.mark.parametrize("form", ["oci-dir", "docker-dir"])
def test_podman_directories(ways: Ways, form: str) -> None:
    podman, place = ways.stage.podman, ways.stage.place
    podman.call("load", "--input", str(ways.saved("oci-archive")))
    target = place / f"podman-{form}"
    podman.call("save", "--format", form, "--output", str(target), ways.image.id.removeprefix("sha256:"))
    (loaded,) = ways.stage.ours.images.load_directory(target)
    ways.came_back("podman → ours", form, loaded, manifest=None)
    podman.call("rmi", "--force", ways.image.id.removeprefix("sha256:"))


SKOPEO = {
    "docker-archive": ("docker-archive:{}:interchange/image:1", "docker-archive:{}:interchange/again:1", None),
    "oci-archive": ("oci-archive:{}", "oci-archive:{}", True),
    "oci-dir": ("oci:{}", "oci:{}:latest", True),
    "docker-dir": ("dir:{}", "dir:{}", None),
}


@pytest.mark.parametrize("form", SKOPEO)
def test_skopeo(ways: Ways, form: str) -> None:
    source, target, manifest = SKOPEO[form]
    skopeo, path = ways.stage.skopeo, ways.saved(form)
    found = json.loads(skopeo.call("inspect", source.format(path)))
    raw = json.loads(skopeo.call("inspect", "--raw", source.format(path)))
    config = raw["config"]["digest"] == ways.image.id
    same = found["Digest"] == ways.image.record.manifest_digest if manifest else None
    ways.note("ours → skopeo", form, config=config, manifest=same, diff_ids=len(found["Layers"]) == len(ways.image.layers), runs=None)
    back = ways.stage.place / f"skopeo-{form}"
    skopeo.call("copy", "--quiet", source.format(path), target.format(back))
    if back.is_dir():
        (loaded,) = ways.stage.ours.images.load_directory(back)
    else:
        with open(back, "rb") as file:
            (loaded,) = ways.stage.ours.images.load(file)
    ways.came_back("skopeo → ours", form, loaded, manifest=None)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_compressed(ways: Ways, compression: str) -> None:
    back = ways.stage.place / f"skopeo-{compression.replace(':', '-')}"
    words = ("--quiet", "--dest-compress", "--dest-compress-format", compression)
    ways.stage.skopeo.call("copy", *words, f"oci-archive:{ways.saved('oci-archive')}", f"oci:{back}:latest")
    (loaded,) = ways.stage.ours.images.load_directory(back)
    ways.came_back("skopeo → ours", f"oci-dir, {compression}", loaded, manifest=None)


def test_umoci(ways: Ways) -> None:
    umoci, place = ways.stage.umoci, ways.stage.place
    layout = place / "umoci"
    shutil.copytree(ways.saved("oci-dir"), layout)
    umoci.call("unpack", "--image", f"{layout}:1", str(place / "bundle"))
    listed = {p.relative_to(place / "bundle/rootfs").as_posix() for p in (place / "bundle/rootfs").rglob("*")}
    shown = {name.rstrip("/").removeprefix("./") for name in _exported(ways)}
    ways.note("ours → umoci", "oci-dir, unpacked", config=True, manifest=None, diff_ids=listed == shown, runs=None)
    (place / "bundle/rootfs/d/kept/said").write_text("changed by umoci\n")
    umoci.call("repack", "--image", f"{layout}:2", str(place / "bundle"))
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] = [m for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == "2"]
    (layout / "index.json").write_text(json.dumps(index))
    (loaded,) = ways.stage.ours.images.load_directory(layout, named=False)
    output = ways.stage.ours.containers.run(loaded.id, network="none", remove=True)
    below = layers(loaded)[: len(ways.image.layers)] == layers(ways.image)
    ways.note("umoci → ours", "oci-dir, repacked", config=True, manifest=None, diff_ids=below, runs=output == b"changed by umoci\n")
    ways.stage.ours.images.remove(loaded.id, force=True)


def _exported(ways: Ways) -> set[str]:
    container = ways.stage.ours.containers.create(NAME, network="none")
    try:
        import io
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as archive:
            return {name for name in archive.getnames() if name not in (".", "")} - {"dev", "proc", "sys"}
    finally:
        container.remove()


def test_the_registry_from_ours(ways: Ways) -> None:
    name = f"{ways.stage.registry}/ours/image:1"
    ways.stage.ours.images.tag(NAME, name)
    digest = ways.stage.ours.images.push(name)
    docker, podman, skopeo = ways.stage.docker, ways.stage.podman, ways.stage.skopeo
    docker.call("pull", name)
    identity, diff_ids = inspected(docker.call("image", "inspect", name))
    (known,) = json.loads(docker.call("image", "inspect", name))
    same = known["RepoDigests"] == [f"{name.rpartition(':')[0]}@{digest}"]
    runs = docker.call("run", "--rm", "--network", "none", name) == SAYS
    ways.note(
        "ours → docker", "registry", config=identity == ways.image.id, manifest=same, diff_ids=diff_ids == layers(ways.image), runs=runs
    )
    podman.call("pull", "--tls-verify=false", name)
    identity, diff_ids = inspected(podman.call("image", "inspect", name))
    (known,) = json.loads(podman.call("image", "inspect", name))
    ways.note(
        "ours → podman",
        "registry",
        config=identity == ways.image.id,
        manifest=known["Digest"] == digest,
        diff_ids=diff_ids == layers(ways.image),
        runs=_podman_runs(podman, ways.image.id),
    )
    found = json.loads(skopeo.call("inspect", "--tls-verify=false", f"docker://{name}"))
    raw = json.loads(skopeo.call("inspect", "--raw", "--tls-verify=false", f"docker://{name}"))
    count = len(found["Layers"]) == len(ways.image.layers)
    ways.note(
        "ours → skopeo",
        "registry",
        config=raw["config"]["digest"] == ways.image.id,
        manifest=found["Digest"] == digest,
        diff_ids=count,
        runs=None,
    )


@pytest.mark.parametrize("who", ["docker", "podman", "podman, zstd:chunked", "skopeo"])
def test_the_registry_to_ours(ways: Ways, who: str) -> None:
    name, stage = f"{ways.stage.registry}/{who.partition(',')[0]}/{len(who)}:1", ways.stage
    if who == "docker":
        stage.docker.call("load", "--input", str(ways.saved("docker-archive")))
        stage.docker.call("tag", NAME, name)
        stage.docker.call("push", name)
    elif who == "podman":
        stage.podman.call("load", "--input", str(ways.saved("oci-archive")))
        stage.podman.call("push", "--tls-verify=false", ways.image.id.removeprefix("sha256:"), name)
    elif who == "podman, zstd:chunked":
        stage.podman.call("load", "--input", str(ways.saved("oci-archive")))
        words = ("--tls-verify=false", "--compression-format", "zstd:chunked")
        stage.podman.call("push", *words, ways.image.id.removeprefix("sha256:"), name)
    else:
        stage.skopeo.call("copy", "--dest-tls-verify=false", f"oci-archive:{ways.saved('oci-archive')}", f"docker://{name}")
    there = json.loads(stage.skopeo.call("inspect", "--tls-verify=false", f"docker://{name}"))["Digest"]
    stage.ours.images.remove(NAME)
    loaded = stage.ours.images.pull(name)
    stage.ours.images.tag(name, NAME)
    assert loaded.record.manifest_digest == there or f"{name.rpartition(':')[0]}@{there}" in loaded.record.digests
    ways.came_back(f"{who} → ours", "registry", loaded, manifest=None)


def test_the_archive_of_docker_has_both_layouts(ways: Ways) -> None:
    assert {"manifest.json", "index.json", "oci-layout"} <= set(contents(ways.saved("docker-archive").read_bytes()))


def test_the_table(table: Table) -> None:
    """Last: print what every way gave."""
    assert len(table) >= 20
    head = ("way", "form", "config", "manifest", "layers", "runs")
    widths = [max(len(row[column]) for row in [head, *table]) for column in range(6)]
    print()
    for row in [head, *table]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

"""Images made to harm: their labels, environment, programs and overlay marks do nothing but what an image may (RT-25, 26, 31, 32, 34)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import Error
from notebook_containers.oci.image import ContainerConfig
from notebook_containers.oci.reference import Reference
from tests.home import BASE

pytestmark = pytest.mark.root

PYTHON = "localhost/python"
Change = Callable[[ContainerConfig], ContainerConfig]


def crafted(engine: Engine, tag: str, change: Change) -> str:
    """Store an image whose config no Dockerfile could have made."""
    engine.images.build(text=f"FROM {BASE}\nRUN mkdir /made\n", tag=tag, network="none")
    store = engine._parts.store
    record = store.images.resolve(tag)
    layers = [store.layers.get(digest) for digest in record.config.rootfs.diff_ids]
    config = replace(record.config, config=change(record.config.config))
    store.images.put(config, layers, tags=[Reference.parse(tag)])
    return tag


def started(engine: Engine, image: str, command: list[str], given: CreateKeywords | None = None) -> Container:
    options: CreateKeywords = {"network": "none", "stop_timeout": 0, **(given or {})}
    container = engine.containers.run(image, command, detach=True, **options)
    assert isinstance(container, Container)
    return container


def test_rt31_an_images_environment_is_never_looked_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-57231, CVE-2021-3602: names without a value in an image take nothing from the notebook."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("A", "canary")
    env = ("AWS_SECRET_ACCESS_KEY", "*", "=x", "A", "B=1=2", "LD_*", "PATH=/usr/bin:/bin")
    tag = crafted(engine, "envimage", lambda config: replace(config, env=env))
    first = engine.containers.run(tag, ["env"], environment={"MINE": "1"}, network="none", remove=True)
    second = engine.containers.run(tag, ["env"], network="none", remove=True)
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    assert b"canary" not in first + second
    assert b"B=1=2\n" in second
    assert b"MINE" not in second
    assert {line.partition(b"=")[0] for line in second.splitlines()} == {b"PATH", b"HOSTNAME", b"HOME", b"B"}
    engine.images.remove(tag)


LABELS = {
    "io.notebook_containers.restart": "always",
    "io.notebook_containers.privileged": "true",
    "notebook-containers.volume.anonymous": "x",
    "com.docker.compose.project": "other",
    "com.docker.compose.service": "web",
    "log_uri": "binary:///bin/touch?/pwned",
    "io.containerd.runc.v2.group": "x",
    "io.kubernetes.cri.sandbox-id": "x",
    "cdi.k8s.io/x": "vendor.com/device=all",
    "run.oci.hooks.stdout": "/pwned",
    "module.wasm.image/variant": "compat",
}


def test_rt32_labels_of_an_image_do_nothing(engine: Engine) -> None:
    """CVE-2026-53488: a container of an image with labels differs from one without in its labels only."""

    def shape(container: Container) -> object:
        host = container.attrs["HostConfig"]
        assert isinstance(host, dict)
        spec = (engine._parts.bundle_path(container.id) / "config.json").read_text()
        return host, spec.replace(container.id, "ID").replace(container.id[:12], "ID")

    plain = engine.containers.create(crafted(engine, "plain", lambda config: config), ["true"], network="none")
    tag = crafted(engine, "labelled", lambda config: replace(config, labels=LABELS))
    marked = engine.containers.create(tag, ["true"], network="none")
    assert shape(marked) == shape(plain)
    assert not [key for key, value in _annotations(engine, marked).items() if key in LABELS or value in LABELS.values()]
    marked.start()
    assert marked.wait()["StatusCode"] == 0
    assert marked.labels == LABELS
    for container in (plain, marked):
        container.remove()
    for name in ("plain", "labelled"):
        engine.images.remove(name)


def _annotations(engine: Engine, container: Container) -> Mapping[str, str]:
    import json

    found = json.loads((engine._parts.bundle_path(container.id) / "config.json").read_text()).get("annotations", {})
    return {str(key): str(value) for key, value in found.items()}


@pytest.mark.parametrize("word", ["SIGNOTHING", "0", "-9", "99999", "SIGKILL; touch /x", "\x00", "SIGTERM\n"])
def test_rt32_a_stop_signal_that_is_none_hurts_nobody(engine: Engine, word: str) -> None:
    """Either the image is refused in one line, or its container runs and stops in time."""
    tag = crafted(engine, "signal", lambda config: replace(config, stop_signal=word))
    said = ""
    try:
        box = started(engine, tag, ["sleep", "1000"])
        box.stop(timeout=1)
        assert box.status == "exited"
    except Error as err:
        said = err.one_line()
    assert not set(said) & {"\n", "\0"}
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    engine.images.remove(tag)


def test_rt32_ports_of_an_image_that_are_none_open_nothing(engine: Engine) -> None:
    ports: dict[str, object] = {name: {} for name in ("0/tcp", "-1/tcp", "99999/tcp", "x", "80/icmp", "8080:80", "127.0.0.1:22:22", "")}
    tag = crafted(engine, "ports", lambda config: replace(config, exposed_ports=ports))
    box = started(engine, tag, ["sleep", "1000"])
    assert list(box.ports) == []
    box.remove(force=True)
    said = ""
    try:
        published = started(engine, tag, ["sleep", "1000"], {"network": "bridge", "publish_all_ports": True})
        assert all(0 < port.container_port < 65536 for port in published.ports)
    except Error as err:
        said = err.one_line()
    assert "\n" not in said
    for container in engine.containers.list(all=True):
        container.remove(force=True)
    engine.images.remove(tag)


def test_rt34_looking_at_a_container_runs_nothing_of_it(engine: Engine) -> None:
    """CVE-2022-1227: each program that a tool could call is a trap."""
    traps = "ps nsenter tar xz gzip unpigz sh bash ls cat id df du top mount getent env true python3 zstd cp find touch"
    script = (
        "mkdir /keep; for n in sh touch sleep rm chmod mkdir; do cp -L /bin/$n /keep/$n; done;"
        f"for d in /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do for n in {traps}; do /keep/mkdir -p $d; /keep/rm -f $d/$n;"
        r" printf '#!/keep/sh\n/keep/touch /pwned\n' > $d/$n; /keep/chmod 755 $d/$n; done; done"
    )
    engine.images.build(text=f"FROM {BASE}\nRUN {script}\n", tag="traps", network="none")
    box = started(engine, "traps", ["/keep/sleep", "1000"])
    box.top()
    box.stats(stream=False)
    box.logs()
    box.reload()
    assert box.attrs
    box.diff()
    box.size_rw()
    b"".join(box.get_archive("/etc")[0])
    box.put_archive("/tmp", b"".join(box.get_archive("/etc/passwd")[0]))
    b"".join(box.export())
    box.pause()
    box.unpause()
    assert not [change for change in box.diff() if change.path == "/pwned"]
    box.exec_run(["ps"])  # an exec is an exec: the trap works
    assert [change for change in box.diff() if change.path == "/pwned"]
    box.remove(force=True)
    engine.images.remove("traps")


TRICKS = """
import os, stat
def tried(what, act):
    try:
        act()
        print("done", what)
    except OSError as err:
        pass
os.mkdir("/tricks")
open("/tricks/file", "w").write("x")
tried("whiteout", lambda: os.mknod("/tricks/group", stat.S_IFCHR | 0o644, os.makedev(0, 0)))
for name in ("opaque", "redirect", "metacopy", "origin", "whiteout"):
    tried("trusted." + name, lambda: os.setxattr("/tricks", "trusted.overlay." + name, b"y"))
    tried("user." + name, lambda: os.setxattr("/tricks", "user.overlay." + name, b"y"))
tried("redirect up", lambda: os.setxattr("/tricks", "user.overlay.redirect", b"/../../../../etc"))
"""


def test_rt26_overlay_marks_made_inside_are_no_marks_of_the_image(engine: Engine) -> None:
    """CVE-2023-0386's neighbourhood: trusted marks cannot be made, user marks are dropped, and nothing of another layer is hidden."""
    box = started(engine, PYTHON, ["sleep", "1000"])
    done = box.exec_run(["python3", "-c", TRICKS])
    assert done.exit_code == 0
    assert b"trusted." not in done.output
    assert b"whiteout\n" not in done.output.replace(b"user.whiteout\n", b"")
    box.commit("tricked")
    look = "import os; print(os.listxattr('/tricks'), sorted(os.listdir('/tricks')), os.path.exists('/etc/passwd'))"
    assert engine.containers.run("tricked", ["python3", "-c", look], network="none", remove=True) == b"[] ['file'] True\n"
    store = engine._parts.store
    tree = store.layers.get(store.images.resolve("tricked").config.rootfs.diff_ids[-1]).tree
    assert (tree / "tricks/file").exists()
    assert [name for path in tree.rglob("*") for name in os.listxattr(path, follow_symlinks=False) if "overlay" in name] == []
    box.remove(force=True)
    engine.images.remove("tricked")


def test_rt26_what_the_mounts_of_a_root_say(engine: Engine) -> None:
    box = engine.containers.create(BASE, ["true"], network="none")
    text = (engine._parts.bundle_path(box.id) / "rootfs.json").read_text()
    assert "metacopy=off" in text
    assert "redirect_dir=nofollow" in text  # stricter than off: marks that are there already are not followed either
    assert "userxattr" not in text


@pytest.mark.parametrize("word", ["0:0:1", "container:x", "nobody", "keep-id:uid=1", "keep-id:uid=x", "auto:size=1"])
def test_rt25_a_user_namespace_that_is_not_offered_is_refused(engine: Engine, word: str) -> None:
    """Never silently the machine's own ids instead of the map that was asked for."""
    with pytest.raises(Error, match="--userns"):
        engine.containers.run(BASE, ["true"], network="none", userns_mode=word, remove=True)


def test_rt36_no_core_is_given_to_the_hosts_helper(engine: Engine) -> None:
    """The machine's core_pattern may be a pipe to a program of root."""
    output = engine.containers.run(BASE, ["sh", "-c", "ulimit -c; ulimit -Hc"], network="none", remove=True)
    assert output == b"0\n0\n"
    assert not list(Path("/").glob("core*"))


def test_cp06_a_volume_takes_the_images_own_files_and_nothing_over_its_own(engine: Engine, tmp_path: Path) -> None:
    """CVE-2020-1726: what is in a volume stays, and links of the image at the volume's place bring nothing of the host."""
    (tmp_path / "secret").write_text("OUTSIDE")
    text = f"FROM {BASE}\nRUN mkdir /d && echo image > /d/x && ln -s {tmp_path} /d/link && ln -s {tmp_path} /evil\nVOLUME /d\n"
    engine.images.build(text=text, tag="links", network="none")

    def sh(script: str, volume: str, image: str = "links") -> str:
        output = engine.containers.run(image, ["sh", "-c", script], network="none", remove=True, volumes=[volume])
        assert isinstance(output, bytes)
        return output.decode()

    sh("echo mine > /d/x", "full:/d", BASE)
    assert sh("ls /d; cat /d/x", "full:/d") == "x\nmine\n"
    assert sh("ls /d; cat /d/x; readlink /d/link", "fresh:/d") == f"link\nx\nimage\n{tmp_path}\n"
    with suppress(Error):
        sh("true", "odd:/evil")
    held = [path.name for volume in engine.volumes.list() for path in volume.path.rglob("*")]
    assert "secret" not in held
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]
    engine.images.remove("links")

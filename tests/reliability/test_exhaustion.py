"""REL-20, REL-21, REL-29: no process, no descriptor, no unmounting to be had: clear errors, and rm works all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.store.check import check
from notebook_containers.store.collect import collect
from notebook_containers.store.store import Store
from tests.home import BASE, Home
from tests.needs import need
from tests.reliability.victims import Operation

pytestmark = pytest.mark.root

PIDS = Path("/sys/fs/cgroup/pids")


@pytest.fixture
def few_processes() -> Iterator[Path]:
    """A pids cgroup for the engine's process."""
    top = PIDS if PIDS.is_dir() else Path("/sys/fs/cgroup")
    place = top / f"nbc-test-{os.getpid()}"
    try:
        place.mkdir()
    except OSError as error:
        need(None, "pids controller", str(error))
    if not (place / "pids.max").exists():
        place.rmdir()
        need(None, "pids controller")
    yield place
    for _ in range(100):
        try:
            place.rmdir()
            return
        except OSError:
            time.sleep(0.05)


EXHAUSTED = """
import os, pathlib
from notebook_containers.errors import Error
place = pathlib.Path({place!r})
running = engine.containers.run(BASE, ["sleep", "1000"], name="running", network="none", detach=True, stop_timeout=0)
(place / "cgroup.procs").write_text(str(os.getpid()))
spawner = engine._parts.runtime._starter.pid()
(place / "cgroup.procs").write_text(str(spawner))
now = int((place / "pids.current").read_text())
(place / "pids.max").write_text(str(now))
for attempt in range(3):
    try:
        engine.containers.run(BASE, ["true"], network="none", remove=True)
        print("ran")
    except Error as err:
        print(type(err).__name__, err.message)
(place / "pids.max").write_text(str(now + 1))
running.remove(force=True)
print("removed", [c.name for c in engine.containers.list(all=True)])
(place / "pids.max").write_text("max")
print(engine.containers.run(BASE, ["echo", "on"], network="none", remove=True))
engine.close()
"""


def test_rel20_no_more_processes(place: Home, few_processes: Path) -> None:
    ended = Operation(EXHAUSTED.format(place=str(few_processes)), place.variables()).run()
    assert ended.code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[-2:] == ["removed []", "b'on\\n'"], ended.output
    assert len(lines) == 5
    assert "ran" not in lines[1:]  # one process was there already, outside the group
    assert any("no process" in line for line in lines[1:3]), ended.output
    assert place.remains() == {}


FEW = """
import gc, io, json, os, resource, tarfile
from notebook_containers.errors import Error
kept = engine.containers.run(BASE, ["sleep", "1000"], name="kept", network="none", detach=True, stop_timeout=0)

def tar():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    return data.getvalue()

def wait():
    try:
        kept.wait(timeout=0)
    except TimeoutError:
        pass

OPERATIONS = {
    "run": lambda: engine.containers.run(BASE, ["true"], network="none", remove=True),
    "run with a network": lambda: engine.containers.run(BASE, ["true"], remove=True),
    "exec": lambda: kept.exec_run("true", user="nobody"),
    "exec with a terminal": lambda: kept.exec_run("true", tty=True),
    "exec with input": lambda: kept.exec_session("cat", stdin=True).close(),
    "attach": lambda: kept.attach().close(),
    "logs": kept.logs,
    "top": kept.top,
    "stats": lambda: kept.stats(stream=False),
    "pause": lambda: (kept.pause(), kept.unpause()),
    "put_archive": lambda: kept.put_archive("/tmp", tar()),
    "get_archive": lambda: list(kept.get_archive("/etc/passwd")[0]),
    "diff": kept.diff,
    "commit": lambda: kept.commit("committed"),
    "list": lambda: [c.status for c in engine.containers.list(all=True)],
    "images": engine.images.list,
    "attrs": lambda: kept.attrs,
    "update": lambda: kept.update(mem_limit="64m"),
    "events": lambda: engine.events().close(),
    "build": lambda: engine.images.build(text="FROM localhost/base\\nRUN true", network="none"),
    "open": lambda: Engine().close(),
    "prune": engine.images.prune,
    "volumes": lambda: engine.volumes.remove(engine.volumes.create("some").name),
    "wait": wait,
}

def attempts(operation):
    held, errors = [], []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    while held:
        try:
            operation()
            break
        except Error as err:
            errors.append(err.one_line())
        os.close(held.pop())
    for fd in held:
        os.close(fd)
    return errors

def descriptors():
    engine._parts.store.disk.settle()
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

for operation in OPERATIONS.values():
    operation()  # so that everything is loaded
OPERATIONS["run with a network"]()  # opening and closing took the bridge away, and with it the watch over the firewall
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
for name, operation in OPERATIONS.items():
    before = descriptors()
    errors = attempts(operation)
    print(json.dumps([name, errors, descriptors() - before, kept._look().status]), flush=True)
for container in engine.containers.list(all=True):
    container.remove(force=True)
print(engine.containers.run(BASE, ["echo", "on"], network="none", remove=True))
engine.close()
"""


def test_rel21_few_descriptors(place: Home) -> None:
    """One more descriptor is to be had each time: every place where the next one is missing is come by, in every verb."""
    ended = Operation(FEW, place.variables()).run()
    assert ended.code == 0, ended.output
    *told, last = ended.output.splitlines()
    assert last == "b'on\\n'"
    assert len(told) == 24
    for name, errors, leaked, status in map(json.loads, told):
        assert len(errors) > 0, name
        assert [err for err in errors if "too many open files" not in err] == [], name
        assert any("this process may have 64; close what is open, or raise the limit" in err for err in errors), (name, errors)
        assert (leaked <= 0, status) == (True, "running"), (name, leaked)
    with Store.open(place.root) as store:
        assert [str(f) for f in check(store) if not f.garbage] == []
        collect(store)  # what could not be taken back without a descriptor is garbage
    assert place.remains() == {}


HOLDER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
assert libc.setns(fd, 0x20000) == 0
assert libc.unshare(0x20000) == 0  # a copy of every mount of the container
print("held", flush=True)
sys.stdin.read()
"""


def test_rel29_mounts_held_by_another_namespace(place: Home, engine: Engine, tmp_path: Path) -> None:
    """rm succeeds while somebody else still has the container's mounts; nothing is deleted through them."""
    (tmp_path / "canary").write_text("mine")
    container = engine.containers.run(
        BASE, ["sleep", "1000"], network="none", detach=True, stop_timeout=0, volumes={str(tmp_path): {"bind": "/mine", "mode": "rw"}}
    )
    assert not isinstance(container, bytes)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(container.state.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    container.remove(force=True)
    assert engine.containers.list(all=True) == []
    assert Path(f"/proc/{holder.pid}/root/").exists()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    engine.images.prune()
    assert (tmp_path / "canary").read_text() == "mine"
    assert place.remains() == {}


def test_rel29_a_mount_in_the_bundle_of_a_container_that_is_removed(place: Home, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("mine")
    container = engine.containers.create(BASE, ["true"], network="none")
    inside = place.root / "containers" / container.id / "rootfs"
    subprocess.run(["mount", "--bind", str(tmp_path), str(inside)], check=True)
    try:
        try:
            container.remove(force=True)
        finally:
            engine._parts.store.disk.settle()
            assert (tmp_path / "canary").read_text() == "mine"
    finally:
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place.root) in line]
        for point in mounted:
            subprocess.run(["umount", point], check=True)
    engine.images.prune()
    assert place.remains() == {}

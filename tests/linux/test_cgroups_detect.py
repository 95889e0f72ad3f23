"""Where groups can be made, from trees of files like those of real machines."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers.linux import cgroups
from notebook_containers.linux.cgroups.hierarchy import CONTROLLERS_V1, CONTROLLERS_V2
from tests.needs import need

NOBODY = 65534
V1 = {name: name for name in CONTROLLERS_V1}


class Machine:
    """A file tree with mountinfo, the process's groups, and the interface files that detection reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mounts: list[str] = ["22 1 8:1 / / rw,relatime - ext4 /dev/vda rw"]
        self.groups: list[str] = []
        (root / "proc/self").mkdir(parents=True)

    def mount(self, point: str, fstype: str, options: str, *, group: str = "/") -> Path:
        number = len(self.mounts) + 30
        self.mounts.append(f"{number} 22 0:{number} {group} {point} rw,nosuid shared:9 - {fstype} {fstype} rw,{options}")
        return self.group(point.replace("\\040", " "))

    def group(self, path: str, files: Mapping[str, str] | None = None, *, mode: int = 0o755) -> Path:
        directory = Path(f"{self.root}{path}")
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in {"cgroup.procs": "", **(files or {})}.items():
            (directory / name).write_text(text)
        if mode & 0o002:
            directory.chmod(0o777)
            for file in directory.glob("cgroup.*"):
                file.chmod(0o666)
        return directory

    def own(self, *lines: str) -> None:
        self.groups += lines

    def detect(self) -> cgroups.Hierarchy:
        (self.root / "proc/self/mountinfo").write_text("\n".join(self.mounts) + "\n")
        (self.root / "proc/self/cgroup").write_text("\n".join(self.groups) + "\n")
        return cgroups.detect(str(self.root))

    def places(self) -> dict[str, str]:
        """Return controller → place below the root."""
        return {name: place.directory.removeprefix(str(self.root)) for name, place in self.detect().places.items()}


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A tree that other users can read, unlike pytest's own temporary directories."""
    with tempfile.TemporaryDirectory(prefix="nbc-cgroups-") as path:
        Path(path).chmod(0o755)
        yield Machine(Path(path))


@contextmanager
def nobody() -> Iterator[None]:
    """Be an ordinary user for a while."""
    need(os.geteuid() == 0, "root")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def delegated(controllers: str = "cpuset cpu io memory pids", processes: str = "") -> dict[str, str]:
    files = {"cgroup.controllers": controllers, "cgroup.subtree_control": "", "cgroup.type": "domain"}
    return {**files, "cgroup.procs": processes}


def v2_tree(machine: Machine, own: str) -> None:
    machine.mount("/sys/fs/cgroup", "cgroup2", "nsdelegate")
    files = {"cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "cpu memory", "cgroup.procs": "1\n"}
    machine.group("/sys/fs/cgroup", files)
    machine.own(f"0::{own}")


def test_v1_root_makes_groups_at_the_top(machine: Machine) -> None:
    for name in CONTROLLERS_V1:
        machine.mount(f"/sys/fs/cgroup/{name}", "cgroup", name)
        machine.own(f"3:{name}:/some/group")
    found = machine.detect()
    assert found.version == "v1"
    assert found.usable() == dict.fromkeys(CONTROLLERS_V1, "")
    assert machine.places() == {name: f"/sys/fs/cgroup/{name}" for name in CONTROLLERS_V1}


def test_v1_controllers_mounted_together_share_a_place(machine: Machine) -> None:
    machine.mount("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct")
    machine.mount("/sys/fs/cgroup/systemd", "cgroup", "xattr,release_agent=/x,name=systemd")
    places = machine.places()
    assert places["cpu"] == places["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert places["systemd"] == "/sys/fs/cgroup/systemd"
    assert machine.detect().usable()["memory"] == "the memory controller is not mounted"
    assert "systemd" not in machine.detect().usable()


def test_hybrid_is_v1_with_an_empty_v2_tree(machine: Machine) -> None:
    machine.mount("/sys/fs/cgroup/unified", "cgroup2", "nsdelegate")
    machine.mount("/sys/fs/cgroup/memory", "cgroup", "memory")
    assert machine.detect().version == "hybrid"
    assert machine.places()["memory"] == "/sys/fs/cgroup/memory"


def test_v1_user_gets_what_is_delegated(machine: Machine) -> None:
    machine.mount("/sys/fs/cgroup/memory", "cgroup", "memory")
    machine.mount("/sys/fs/cgroup/pids", "cgroup", "pids")
    machine.group("/sys/fs/cgroup/memory/users/me", mode=0o777)
    machine.group("/sys/fs/cgroup/memory/users/me/deeper", mode=0o777)
    machine.own("4:memory:/users/me/deeper", "8:pids:/")
    with nobody():
        places, usable = cgroup_view(machine)
    assert places["memory"] == "/sys/fs/cgroup/memory/users/me"
    assert usable["memory"] == ""
    assert usable["pids"] == "no writable pids cgroup for this user"


def cgroup_view(machine: Machine) -> tuple[dict[str, str], Mapping[str, str]]:
    """Return places and reasons, with the files of the process written by root."""
    user = os.geteuid()
    os.seteuid(0)
    machine.detect()
    os.seteuid(user)
    found = cgroups.detect(str(machine.root))
    return {name: place.directory.removeprefix(str(machine.root)) for name, place in found.places.items()}, found.usable()


def test_v1_bind_mount_of_one_group(machine: Machine) -> None:
    """In a Docker container without a cgroup namespace, /proc/self/cgroup counts from the machine's root."""
    machine.mount("/sys/fs/cgroup/memory", "cgroup", "memory", group="/docker/abc")
    machine.group("/sys/fs/cgroup/memory/inner", mode=0o777)
    machine.own("4:memory:/docker/abc/inner")
    with nobody():
        places, _ = cgroup_view(machine)
    assert places["memory"] == "/sys/fs/cgroup/memory/inner"


def test_mount_points_with_blanks(machine: Machine) -> None:
    machine.mount("/sys/fs/my\\040groups", "cgroup", "memory")
    assert machine.places()["memory"] == "/sys/fs/my groups"


@pytest.mark.parametrize("junk", ["", "x", "1 2 3", "36 35 98:0 / /mnt rw - cgroup", "- - -", "1 2 3 4 /x rw - cgroup2"])
def test_lines_that_are_not_mounts(machine: Machine, junk: str) -> None:
    machine.mounts.append(junk)
    found = machine.detect()
    assert found.version == "none"
    assert set(found.usable().values()) == {"no cgroup filesystem is mounted"}


def test_v2_root_makes_groups_at_the_top(machine: Machine) -> None:
    v2_tree(machine, "/system.slice/jupyter.service")
    assert machine.detect().version == "v2"
    assert machine.detect().usable() == dict.fromkeys(CONTROLLERS_V2, "")
    assert set(machine.places().values()) == {"/sys/fs/cgroup"}


def test_v2_user_gets_the_top_of_the_delegated_tree(machine: Machine) -> None:
    """What systemd gives to a user's own manager: memory and pids, not the rest."""
    service = "/user.slice/user-1000.slice/user@1000.service"
    v2_tree(machine, f"{service}/app.slice/jupyter.scope")
    machine.group(f"/sys/fs/cgroup{service}", delegated("memory pids"), mode=0o777)
    machine.group(f"/sys/fs/cgroup{service}/app.slice", delegated("memory pids"), mode=0o777)
    machine.group(f"/sys/fs/cgroup{service}/app.slice/jupyter.scope", delegated("memory pids", "77\n"), mode=0o777)
    with nobody():
        places, usable = cgroup_view(machine)
    assert places["memory"] == places["pids"] == places["unified"] == f"/sys/fs/cgroup{service}"
    assert usable["cpu"] == "the cpu controller is not delegated to user@1000.service"


def test_v2_login_session_is_not_delegated(machine: Machine) -> None:
    v2_tree(machine, "/user.slice/user-1000.slice/session-3.scope")
    machine.group("/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope", delegated())
    with nobody():
        places, usable = cgroup_view(machine)
    assert usable == {name: f"no writable {name} cgroup for this user" for name in CONTROLLERS_V2}
    assert places["unified"] == ""


def test_v2_group_that_holds_processes(machine: Machine) -> None:
    """Inside a container with its own cgroup namespace the top holds this process: children can be killed and frozen, not limited."""
    machine.mount("/sys/fs/cgroup", "cgroup2", "nsdelegate", group="/../..")
    machine.group("/sys/fs/cgroup", delegated(processes="1\n20\n"))
    machine.own("0::/")
    found = machine.detect()
    assert found.usable()["memory"] == "the group cgroup holds processes itself, so its children cannot get the memory controller"
    assert machine.places()["unified"] == "/sys/fs/cgroup"
    warnings = cgroups.open_cgroup("p/x", hierarchy=found).apply({"memory": {"limit": 64 << 20}, "pids": {"limit": 100}})
    assert warnings[0] == f"memory limit 64m is not enforced: {found.usable()['memory']}"
    assert warnings[1] == f"pids limit 100 is not enforced: {found.usable()['pids']}"


def test_a_user_without_any_group_is_told_what_is_not_enforced(machine: Machine) -> None:
    machine.mount("/sys/fs/cgroup/memory", "cgroup", "memory")
    with nobody():
        cgroup_view(machine)
        group = cgroups.open_cgroup("notebook-containers/x", root=str(machine.root))
        group.create()
        group.enter()
        resources = {
            "memory": {"limit": 64 << 20, "swap": 64 << 20, "reservation": 1000},
            "cpu": {"quota": 50000, "period": 100000, "shares": 512, "cpus": "0-1"},
            "pids": {"limit": 10},
            "devices": [{"allow": False}],
            "blockIO": {"weight": 10},
            "rdma": {"x": {}},
        }
        assert group.apply(resources) == [
            "memory limit 64m is not enforced: no writable memory cgroup for this user",
            "memory reservation 1000 is not enforced: no writable memory cgroup for this user",
            "cpu shares 512 is not enforced: the cpu controller is not mounted",
            "cpu quota 50000/100000 µs is not enforced: the cpu controller is not mounted",
            "cpu set 0-1 is not enforced: the cpuset controller is not mounted",
            "pids limit 10 is not enforced: the pids controller is not mounted",
            "device list is not enforced: the devices controller is not mounted",
            "block io limit is not enforced: the blkio controller is not mounted",
            "the limit 'rdma' is not enforced: it is supported on cgroup v2 only",
        ]
        assert (group.locations(), group.pids(), group.stats(), group.oom_kills()) == ({}, [], {}, 0)
        group.thaw()
        group.kill()
        group.remove()
        with pytest.raises(OSError, match="freeze: the freezer controller is not mounted"):
            group.freeze()


def test_machines_without_cgroups_are_told_too(machine: Machine) -> None:
    machine.detect()
    group = cgroups.open_cgroup("notebook-containers/x", root=str(machine.root))
    group.create()
    group.add(1)
    assert group.apply({"pids": {"limit": 10}}) == ["pids limit 10 is not enforced: no cgroup filesystem is mounted"]
    assert (group.locations(), group.pids(), group.stats(), group.oom_kills(), group.clone_descriptor()) == ({}, [], {}, 0, None)
    group.kill()
    group.remove()


@pytest.mark.parametrize("path", ["", "/", "/x", "x/", "a//b", "../x", "a/../b", ".", "a/./b", "a\nb", "a\0b"])
def test_rt17_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(ValueError, match="not a cgroup path"):
        cgroups.open_cgroup(path)


def test_the_import_is_cheap() -> None:
    """Loaded once per container: none of the expensive modules."""
    modules = [f"notebook_containers.linux.{name}" for name in ("cgroups.v1", "cgroups.v2", "seccomp")]
    code = (
        "import sys, types; root = sys.argv[1]; package = sys.modules['notebook_containers'] = types.ModuleType('notebook_containers'); "
        f"package.__path__ = [root + '/notebook_containers']; import {', '.join(modules)}; print(*sys.modules)"
    )
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-I", "-S", "-E", "-c", code, root]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"typing", "dataclasses", "inspect", "subprocess", "pathlib", "hashlib", "json", "re", "enum", "collections.abc"}
    assert not heavy & set(loaded)
    assert "notebook_containers.linux.seccomp_numbers" not in loaded

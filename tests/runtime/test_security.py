"""What a container must not reach: one test for each case that is proven."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_containers.errors import RuntimeFailure
from notebook_containers.oci.runtime import Mount, Spec, User
from notebook_containers.runtime.bundle import MonitorOptions
from tests.runtime.boxes import CAPABILITIES, ENV, MASKED, Box, add_program, change_process, collect, environment, spec_for

pytestmark = pytest.mark.root

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


def with_mount(spec: Spec, mount: Mount) -> Spec:
    return replace(spec, mounts=(*spec.mounts, mount))


def own_mounts(directory: Path) -> list[str]:
    """Return the mounts of this machine that have to do with the test's directory."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


@pytest.fixture
def image(tmp_path: Path, lower: Path) -> Path:
    """A root filesystem that the test may spoil."""
    shutil.copytree(lower, tmp_path / "image", symlinks=True)
    return tmp_path / "image"


def test_rt01_the_interpreter_cannot_be_overwritten_through_proc_self_exe(box: Box, image: Path) -> None:
    before = hashlib.sha256(Path(sys.executable).read_bytes()).hexdigest()
    # the command is whatever starts containers; the container then tries to write through the link, as CVE-2019-5736 did
    (image / "run.sh").write_text("#!/proc/self/exe\nimport os\n")
    (image / "run.sh").chmod(0o755)
    identity = box.create(spec_for(["/run.sh"]), lower=image)
    with box.runtime.attach(identity) as session:
        try:
            box.runtime.start(identity)
        except RuntimeFailure:
            pass
        collect(session)
    # the same from outside: even root, through the descriptor of what ran, gets no writable file
    box.runtime.warm()
    assert box.runtime._starter._process is not None
    image_of_spawner = os.open(f"/proc/{box.runtime._starter._process.pid}/exe", os.O_PATH)
    box.runtime.close()
    with pytest.raises(OSError, match=r"Read-only|Text file busy|Permission|not permitted"):
        os.open(f"/proc/self/fd/{image_of_spawner}", os.O_WRONLY)
    os.close(image_of_spawner)
    assert hashlib.sha256(Path(sys.executable).read_bytes()).hexdigest() == before


def test_rt02_no_leaked_fds(box: Box, tmp_path: Path) -> None:
    leaks = [os.open("/", os.O_RDONLY), os.open(tmp_path, os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY), *os.pipe()]
    for fd in leaks:
        os.set_inheritable(fd, True)
    try:
        code, output = box.sh("ls /proc/self/fd")
        assert (code, output.split()) == (0, ["0", "1", "2", "3"])  # 3 is ls's own
        code, output = box.run(spec_for(["/bin/ls", "/proc/self/fd"], terminal=True))
        assert (code, output.split()) == (0, ["0", "1", "2", "3"])
    finally:
        for fd in leaks:
            os.close(fd)


def test_rt02_init_and_monitor_hold_only_what_they_need(box: Box) -> None:
    identity = box.create(spec_for(["/bin/true"]))
    state = box.runtime.state(identity)
    init = {os.readlink(entry) for entry in Path(f"/proc/{state.pid}/fd").iterdir()}
    assert {link.split(":")[0] for link in init} <= {"/dev/null", "pipe", "socket"}
    assert len(list(Path(f"/proc/{state.pid}/fd").iterdir())) == 4
    monitor = [os.readlink(entry) for entry in Path(f"/proc/{state.monitor_pid}/fd").iterdir()]
    allowed = ("/dev/null", "pipe:", "socket:", "anon_inode:[eventpoll]", str(box.path(identity) / "container.log"))
    assert [link for link in monitor if not link.startswith(allowed)] == []


@pytest.mark.parametrize("suffix", ["", "/../..", "/etc"])
def test_cve_2024_21626_workdir_proc_self_fd(box: Box, suffix: str) -> None:
    for number in (*range(3, 16), 255, 1023):
        spec = change_process(spec_for(["/bin/pwd"]), cwd=f"/proc/self/fd/{number}{suffix}")
        with pytest.raises(RuntimeFailure, match="working directory"):
            box.create(spec)


def test_rt02_a_link_to_a_descriptor_is_no_workdir(box: Box, image: Path) -> None:
    (image / "door").symlink_to("/proc/self/fd/7")
    with pytest.raises(RuntimeFailure, match="working directory"):
        box.create(change_process(spec_for(["/bin/pwd"]), cwd="/door"), lower=image)


def test_a_missing_workdir_is_made(box: Box) -> None:
    assert box.run(change_process(spec_for(["/bin/pwd"]), cwd="/new/deep")) == (0, "/new/deep\n")


def test_rt03_cve_2025_31133_masks_are_the_real_null_device(box: Box, image: Path) -> None:
    before = CORE_PATTERN.read_text()
    (image / "dev").mkdir()
    (image / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    spec = spec_for(
        ["/bin/sh", "-c", "stat -c '%F %t:%T' /proc/interrupts; echo owned > /proc/interrupts; cat /proc/sys/kernel/core_pattern"]
    )
    code, output = box.run(replace(spec, mounts=tuple(mount for mount in spec.mounts if mount.destination != "/dev")), lower=image)
    assert output.splitlines()[0] == "character special file 1:3"
    assert CORE_PATTERN.read_text() == before
    assert output.splitlines()[-1] == before.strip()
    assert code == 0


@pytest.mark.parametrize("place", ["dev", "dev/pts", "dev/shm", "proc", "sys", "dev/mqueue"])
@pytest.mark.parametrize("kind", ["link outside", "link inside", "file", "fifo", "device"])
def test_rt06_a_mount_place_that_is_no_directory_reaches_nothing_outside(
    box: Box, image: Path, tmp_path: Path, place: str, kind: str
) -> None:
    outside = tmp_path / "canary"
    outside.mkdir()
    (outside / "file").write_text("canary")
    target = image / place
    target.parent.mkdir(exist_ok=True)
    if kind == "link outside":
        target.symlink_to("../" * 20 + str(outside)[1:])
    elif kind == "link inside":
        (image / "elsewhere").mkdir()
        target.symlink_to("/elsewhere")
    elif kind == "file":
        target.write_text("a file")
    elif kind == "device":
        os.mknod(target, 0o20666, os.makedev(1, 3))
    else:
        os.mkfifo(target)
    before = {entry.name: entry.stat().st_ino for entry in outside.iterdir()}
    mounts = own_mounts(tmp_path)
    with suppress(RuntimeFailure):
        box.run(spec_for(["/bin/true"]), lower=image)
    assert {entry.name: entry.stat().st_ino for entry in outside.iterdir()} == before
    assert own_mounts(tmp_path) == mounts == []


@pytest.mark.parametrize(
    "destination", ["/", "//", "/proc", "//proc", "/proc/sys", "/proc/self/attr", "/x/../proc/sys", "/link/kernel", "/proc/1/../sys"]
)
def test_rt05_nothing_is_mounted_over_or_inside_proc(box: Box, image: Path, destination: str) -> None:
    (image / "link").symlink_to("/proc/sys")
    with pytest.raises(RuntimeFailure, match="mount"):
        box.create(with_mount(spec_for(["/bin/true"]), Mount(destination=destination, type="tmpfs", source="tmpfs")), lower=image)


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_rt05_proc_and_sys_are_not_mounted_through_links(box: Box, image: Path, place: str) -> None:
    (image / "elsewhere").mkdir()
    (image / place).symlink_to("/elsewhere")
    with pytest.raises(RuntimeFailure, match=f"cannot mount /{place}: .*symbolic links"):
        box.create(spec_for(["/bin/true"]), lower=image)


def test_rt05_some_files_of_proc_may_be_replaced(box: Box, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("one\n")
    mount = Mount(destination="/proc/cpuinfo", type="bind", source=str(tmp_path / "cpuinfo"), options=("bind", "ro"))
    assert box.run(with_mount(spec_for(["/bin/cat", "/proc/cpuinfo"]), mount)) == (0, "one\n")


def test_rt09_mount_places_are_made_inside_the_root_only(box: Box, image: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (image / "door").symlink_to(outside)
    mount = Mount(destination="/door/a/b", type="tmpfs", source="tmpfs")
    # the link's target does not exist inside the root: the place cannot be made, and is not made outside
    with pytest.raises(RuntimeFailure, match="/door/a/b"):
        box.create(with_mount(spec_for(["/bin/true"]), mount), lower=image)
    assert list(outside.iterdir()) == []
    (image / str(outside)[1:]).mkdir(parents=True)
    assert box.run(with_mount(spec_for(["/bin/sh", "-c", f"grep -c '{outside}/a/b tmpfs' /proc/mounts"]), mount), lower=image) == (0, "1\n")
    assert list(outside.iterdir()) == []


def test_rt11_groups_are_the_asked_ones_never_the_host_s(box: Box) -> None:
    assert box.sh("id -G", user=User(uid=1000, gid=1000))[1].split() == ["1000"]
    assert sorted(box.sh("id -G", user=User(uid=1000, gid=1000, additional_gids=(7, 50)))[1].split()) == ["1000", "50", "7"]


def test_rt12_capabilities_of_root_and_user(box: Box) -> None:
    script = "grep Cap /proc/self/status"
    wanted = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))
    assert len(CAPABILITIES) == 11
    root = environment(box.sh(script)[1].replace(":\t", "="))
    user = environment(box.sh(script, user=User(uid=1000, gid=1000))[1].replace(":\t", "="))
    assert {key: int(value, 16) for key, value in root.items()} == {
        "CapInh": 0,
        "CapPrm": wanted,
        "CapEff": wanted,
        "CapBnd": wanted,
        "CapAmb": 0,
    }
    assert {key: int(value, 16) for key, value in user.items()} == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": wanted, "CapAmb": 0}


def test_rt13_every_namespace_is_new_and_its_own(box: Box) -> None:
    names = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    script = f"for n in {' '.join(names)}; do readlink /proc/self/ns/$n; done"
    one, two = (box.sh(script)[1].split() for _ in range(2))
    host = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    assert len(one) == len(two) == 6
    assert not set(one) & set(host)
    # an inode number may be given again once its namespace is gone: the two are compared while both live
    identities = [box.create(spec_for(["/bin/sleep", "100"])) for _ in range(2)]
    links = [{os.readlink(f"/proc/{box.runtime.state(identity).pid}/ns/{name}") for name in names} for identity in identities]
    assert not links[0] & links[1]
    for identity in identities:  # its monitor has none of them: what watches a container is not in it
        monitor = box.runtime.state(identity).monitor_pid
        assert [os.readlink(f"/proc/{monitor}/ns/{name}") for name in names] == host


def test_rt13_host_name_and_loopback(box: Box) -> None:
    assert box.sh("hostname; ip -o addr show lo | grep -o 127.0.0.1; ip -o link | wc -l") == (0, "box\n127.0.0.1\n1\n")


def test_rt15_no_abstract_socket_and_a_private_control_socket(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sleep", "100"]))
    ctl = box.directory / "run/c" / identity[:12] / "ctl"
    assert ctl.parent.stat().st_mode & 0o777 == 0o700
    assert ctl.stat().st_mode & 0o077 == 0
    monitor = box.runtime.state(identity).monitor_pid
    inodes = {os.readlink(entry)[8:-1] for entry in Path(f"/proc/{monitor}/fd").iterdir() if os.readlink(entry).startswith("socket:")}
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    assert [line[7] for line in lines if line[6] in inodes and len(line) > 7 and line[7].startswith("@")] == []


def test_rt15_another_user_is_not_answered(lower: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name, closing(Box(Path(name), lower)) as box:
        identity = box.create(spec_for(["/bin/sleep", "100"]))
        directory = Path(name) / "run/c" / identity[:12]
        for path in (Path(name), *directory.parents[:2], directory, directory / "ctl"):
            path.chmod(0o777)  # even when the directories were open
        connect = f"s = socket.socket(socket.AF_UNIX); s.connect({str(directory / 'ctl')!r}); s.settimeout(5); print(s.recv(10))"
        code = f"import socket, os; os.setuid(65534); {connect}"
        done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, timeout=20, check=False)
        assert done.stdout == "b''\n", done.stderr


def test_rt20_masked_and_readonly_paths(box: Box) -> None:
    script = textwrap.dedent(
        """
        for p in %s; do
            [ -e $p ] || continue
            if [ -d $p ]; then [ -z "$(ls -A $p)" ] || echo "not empty: $p"
            else [ -z "$(head -c 1 $p 2>/dev/null)" ] || echo "readable: $p"; fi
            umount $p 2>/dev/null && echo "unmounted: $p"
        done
        for p in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches; do
            (echo x > $p) 2>/dev/null && echo "written: $p"
        done
        (echo x > /sys/kernel/uevent_helper) 2>/dev/null && echo "written: /sys"
        ls /proc/1/root/.. > /dev/null || echo "no root"
        umount /proc/sys 2>/dev/null && echo "unmounted /proc/sys"
        mount -o remount,rw /proc/sys 2>/dev/null && echo "remounted /proc/sys"
        true
        """
    ) % " ".join(MASKED)
    assert box.sh(script) == (0, "")
    assert box.sh("cat /proc/interrupts | wc -c") == (0, "0\n")


def test_rt21_a_setuid_program_gives_no_rights(box: Box, image: Path) -> None:
    add_program(image, "/usr/bin/cat", "suid/cat")  # busybox gives a set-user-id bit back by itself
    (image / "suid/cat").chmod(0o4755)
    (image / "etc/secret").write_text("secret")
    (image / "etc/secret").chmod(0o600)
    spec = spec_for(["/suid/cat", "/etc/secret"], user=User(uid=1000, gid=1000))
    code, output = box.run(spec, lower=image)
    assert (code, "secret" in output.replace("/etc/secret", "")) == (1, False)
    # lifted on request, the same program does: the test can tell the difference
    assert box.run(change_process(spec, no_new_privileges=False), lower=image) == (0, "secret")


def test_rt22_the_filter_is_loaded(box: Box) -> None:
    from notebook_containers.linux.seccomp import default_profile

    profile = default_profile(frozenset(CAPABILITIES))

    def filtered(spec: Spec, *, lifted: bool) -> Spec:
        assert spec.linux is not None
        return change_process(replace(spec, linux=replace(spec.linux, seccomp=profile)), no_new_privileges=not lifted)

    for lifted in (False, True):
        for user in (None, User(uid=1000, gid=1000)):
            spec = spec_for(["/bin/grep", "Seccomp:", "/proc/self/status"], user=user)
            code, output = box.run(filtered(spec, lifted=lifted))
            assert (code, output.split()) == (0, ["Seccomp:", "2"])
    assert box.sh("unshare -U true", change=lambda spec: filtered(spec, lifted=False))[0] != 0
    identity = box.create(filtered(spec_for(["/bin/sleep", "100"]), lifted=False))
    box.runtime.start(identity)
    from tests.runtime.test_exec import execute, output as output_of

    assert output_of(execute(box, identity, "grep", "Seccomp:", "/proc/self/status"))[1].split() == [b"Seccomp:", b"2"]


def test_rt24_the_terminal_is_a_new_one(box: Box) -> None:
    code, output = box.run(spec_for(["/bin/sh", "-c", "tty; ps -o pid,sid,tty | tail -n +2 | head -1; ls /dev/pts"], terminal=True))
    assert code == 0
    assert output.split()[0] == "/dev/pts/0"
    assert set(output.split()[-2:]) == {"0", "ptmx"}
    # the host's terminals are not reachable: a devpts instance of its own
    assert not {entry for entry in os.listdir("/dev/pts") if entry.isdigit() and entry != "0"} & set(output.split()[-2:])


def test_rt24_cve_2025_52565_the_console_is_our_pty(box: Box, image: Path) -> None:
    (image / "dev/pts").mkdir(parents=True)
    (image / "dev/console").symlink_to("/proc/sysrq-trigger")
    (image / "dev/pts/0").symlink_to("/proc/sysrq-trigger")
    code, output = box.run(
        spec_for(["/bin/sh", "-c", "stat -c '%t:%T' /dev/console; stat -c '%t:%T' /dev/pts/0"], terminal=True), lower=image
    )
    assert (code, output.split()) == (0, ["88:0", "88:0"])


def test_rt28_mounts_inside_do_not_reach_the_host(box: Box, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    spec = spec_for(["/bin/sh", "-c", "mount -t tmpfs inner /data && touch /data/x"])
    caps = (*CAPABILITIES, "CAP_SYS_ADMIN")
    assert spec.process is not None
    assert spec.process.capabilities is not None
    spec = change_process(spec, capabilities=replace(spec.process.capabilities, bounding=caps, effective=caps, permitted=caps))
    mount = Mount(destination="/data", type="bind", source=str(tmp_path / "shared"), options=("rbind", "rprivate"))
    assert box.run(with_mount(spec, mount)) == (0, "")
    assert list((tmp_path / "shared").iterdir()) == []


def test_rt29_nothing_of_the_old_root_is_left(box: Box) -> None:
    script = "ls -i -d / /..; cut -d' ' -f5 /proc/1/mountinfo; chroot / ls /.. | wc -l"
    code, output = box.sh(script)
    lines = output.splitlines()
    assert code == 0
    assert lines[0].split()[0] == lines[1].split()[0]
    points = lines[2:-1]
    assert points[0] == "/"
    assert not [point for point in points if not point.startswith(("/proc", "/dev", "/sys")) and point != "/"]
    assert Path("/proc/self/mountinfo").read_text().count(str(box.directory)) == 0


def test_rt30_nothing_of_the_engine_s_environment_enters(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    evil = {
        "LD_PRELOAD": "/tmp/evil.so",
        "LD_LIBRARY_PATH": "/tmp",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": "/tmp/x.py",
        "BASH_ENV": "/tmp/evil",
        "PATH": str(tmp_path),
        "HTTP_PROXY": "http://secret@proxy",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "JPY_API_TOKEN": "canary",
    }
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    del evil["LD_PRELOAD"]  # the test process itself is started by it; the spawner's environment is checked below
    for key, value in evil.items():
        monkeypatch.setenv(key, value)
    code, output = box.run(change_process(spec_for(["/bin/env"]), env=(*ENV, "OWN=1")))
    assert code == 0
    assert environment(output) == {**environment("\n".join(ENV)), "OWN": "1"}
    assert not (tmp_path / "ran").exists()
    process = box.runtime._starter._process
    assert process is not None
    assert Path(f"/proc/{process.pid}/environ").read_bytes() == b"PATH=/usr/sbin:/usr/bin:/sbin:/bin\0LC_ALL=C\0"


def test_rt31_environment_entries_without_a_value_are_not_looked_up(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    spec = change_process(spec_for(["/bin/env"]), env=("AWS_SECRET_ACCESS_KEY", "*", "=x", "A", "B=1=2", "PATH=/bin"))
    assert environment(box.run(spec)[1]) == {"B": "1=2", "PATH": "/bin"}


def test_rt35_files_of_a_container_are_for_its_owner(box: Box) -> None:
    previous = os.umask(0)
    try:
        identity = box.create(spec_for(["/bin/true"]))
    finally:
        os.umask(previous)
    for path in [box.directory / "run", box.directory / "run/c", box.directory / "run/c" / identity[:12]]:
        assert path.stat().st_mode & 0o077 == 0
    for name in ("config.json", "rootfs.json", "monitor.json", "container.log"):
        assert (box.path(identity) / name).stat().st_mode & 0o027 == 0, name


def test_devices_are_the_usual_ones(box: Box) -> None:
    kcore = ["/proc/kcore"] if Path("/proc/kcore").exists() else []
    names = ("core " if kcore else "") + "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert box.sh("cd /dev; echo *") == (0, names + "\n")
    code, output = box.sh(
        "cd /dev; stat -c '%n %a %t:%T' null zero full random urandom tty; for l in fd ptmx core; do readlink $l; done; true"
    )
    assert code == 0
    assert output.splitlines()[:6] == ["null 666 1:3", "zero 666 1:5", "full 666 1:7", "random 666 1:8", "urandom 666 1:9", "tty 666 5:0"]
    assert output.splitlines()[6:] == ["/proc/self/fd", "pts/ptmx", *kcore]


def test_a_readonly_root_is_read_only_and_its_mounts_are_not(box: Box) -> None:
    def change(spec: Spec) -> Spec:
        assert spec.root is not None
        return replace(spec, root=replace(spec.root, readonly=True))

    assert box.sh("touch /x 2>/dev/null && echo written; touch /dev/shm/y && echo shm", change=change) == (0, "shm\n")


def test_a_recursive_readonly_bind_is_readonly_in_its_parts(box: Box, tmp_path: Path) -> None:
    (tmp_path / "data/inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", tmp_path / "data/inner"], check=True)
    try:
        mount = Mount(destination="/data", type="bind", source=str(tmp_path / "data"), options=("rbind", "ro"))
        spec = spec_for(["/bin/sh", "-c", "touch /data/x /data/inner/x 2>/dev/null && echo written; true"])
        assert box.run(with_mount(spec, mount)) == (0, "")
        assert os.access(tmp_path / "data/inner", os.W_OK)
    finally:
        subprocess.run(["umount", tmp_path / "data/inner"], check=True)


def test_sysctls_of_its_own_namespaces_only(box: Box) -> None:
    def change(spec: Spec, **values: str) -> Spec:
        assert spec.linux is not None
        return replace(spec, linux=replace(spec.linux, sysctl={key.replace("__", "."): value for key, value in values.items()}))

    code, output = box.sh(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
        change=lambda spec: change(spec, net__ipv4__ip_unprivileged_port_start="0", kernel__shm_rmid_forced="1"),
    )
    assert (code, output) == (0, "0\n1\n")
    for key in ("kernel.core_pattern", "net/../kernel/core_pattern", "net.ipv4.x+y", "vm.overcommit_memory", "kernel.shm\n"):
        spec = spec_for(["/bin/true"])
        assert spec.linux is not None
        with pytest.raises(RuntimeFailure, match="the setting is not the container's own"):
            box.create(replace(spec, linux=replace(spec.linux, sysctl={key: "x"})))


def test_no_lock_of_the_engine_is_kept_by_a_container(box: Box, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    fcntl.flock(lock, fcntl.LOCK_EX)
    identity = box.create(spec_for(["/bin/sleep", "100"]), MonitorOptions())
    box.runtime.start(identity)
    os.close(lock)
    again = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)

"""What a bundle may ask for, and what becomes of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from notebook_containers.linux import cgroups
from tests.lowlevel.bundles import Change, Low, Spec, listing, section
from tests.needs import need

pytestmark = pytest.mark.root


def mount(destination: str, kind: str, source: str, *options: str) -> Change:
    return lambda spec: listing(spec, "mounts").append(
        {"destination": destination, "type": kind, "source": source, "options": list(options)}
    )


def without_namespace(kind: str, path: str = "") -> Change:
    def change(spec: Spec) -> None:
        namespaces = listing(spec, "linux", "namespaces")
        namespaces[:] = [entry for entry in namespaces if isinstance(entry, dict) and entry["type"] != kind]
        if path:
            namespaces.append({"type": kind, "path": path})

    return change


def change(*path: str, **values: object) -> Change:
    return lambda spec: section(spec, *path).update(values)


# -- the root --------------------------------------------------------------------------------------------------------------------------


def test_the_root_is_relative_absolute_or_a_link(low: Low) -> None:
    for name in ("relative", "link"):
        bundle = low.bundle(["ls", "/bin/busybox"])
        spec = json.loads((bundle / "config.json").read_text())
        if name == "relative":
            shutil.copytree(low.rootfs, bundle / "tree", symlinks=True)
        else:
            (bundle / "tree").symlink_to(low.rootfs)
        spec["root"]["path"] = "tree"
        (bundle / "config.json").write_text(json.dumps(spec))
        assert low.nbc("run", "--bundle", str(bundle), "one") == "/bin/busybox\n"
    assert low.run(["ls", "/bin/busybox"]) == (0, "/bin/busybox\n")


def test_the_bundle_is_the_current_directory_by_default(low: Low) -> None:
    bundle = low.bundle(["echo", "here"])
    done = subprocess.run(low.words("run", "one"), cwd=bundle, capture_output=True, text=True, env=low.environment, check=True)
    assert done.stdout == "here\n"


def test_the_root_is_read_only_when_asked(low: Low) -> None:
    assert "Read-only" in low.sh("touch /x")[1]
    assert low.sh("touch /tmp/x && rm /tmp/x && echo written", change("root", readonly=False)) == (0, "written\n")


def test_no_pivot_moves_the_root(low: Low) -> None:
    bundle = low.bundle(["sh", "-c", "ls -d /bin /usr 2>&1; cat /proc/1/mountinfo | wc -l; ls /sys | grep -c kernel"])
    output = low.nbc("run", "--no-pivot", "--bundle", str(bundle), "one")
    assert "/usr: No such file" in output
    assert output.splitlines()[-1] == "1"


def test_the_roots_propagation_is_as_asked(low: Low) -> None:
    for word, mark in (("shared", "shared:"), ("slave", ""), ("private", "")):
        output = low.sh("grep ' / / ' /proc/self/mountinfo; grep ' / ' /proc/self/mountinfo", change("linux", rootfsPropagation=word))[1]
        assert ("shared:" in output) == bool(mark), (word, output)


# -- namespaces ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "file"), [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")])
def test_namespaces_are_joined_by_path(low: Low, kind: str, file: str) -> None:
    low.create("first", low.bundle(["sleep", "100"]))
    low.nbc("start", "first")
    path = f"/proc/{low.state('first')['pid']}/ns/{file}"
    wanted = os.readlink(path)
    done = low.sh(f"readlink /proc/self/ns/{file}", without_namespace(kind, path))
    assert done == (0, wanted + "\n")


def test_a_joined_mount_namespace_is_taken_as_it_is(low: Low) -> None:
    low.create("first", low.bundle(["sleep", "100"], mount("/tmp", "tmpfs", "tmpfs")))
    low.nbc("start", "first")
    pid = low.state("first")["pid"]
    low.nbc("exec", "first", "touch", "/tmp/mark")
    code, output = low.run(["ls", "/tmp"], without_namespace("mount", f"/proc/{pid}/ns/mnt"), change("root", path="/"))
    assert (code, output) == (0, "mark\n")


def test_left_out_namespaces_are_the_callers(low: Low) -> None:
    for kind, file in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")):
        code, output = low.sh(f"readlink /proc/self/ns/{file}", without_namespace(kind), change(hostname=""))
        assert (code, output) == (0, os.readlink(f"/proc/self/ns/{file}") + "\n")


def test_without_a_mount_namespace_nothing_is_made(low: Low) -> None:
    code, output = low.sh("true", without_namespace("mount"))
    assert code == 1
    assert "mount namespace of its own" in output


def test_a_user_namespace_has_its_id_maps(low: Low) -> None:
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    tree = low.directory / "tree"
    shutil.copytree(low.rootfs, tree, symlinks=True)
    subprocess.run(["chown", "-R", "100000:100000", str(tree)], check=True)
    low.directory.chmod(0o711)
    for above in low.directory.parents:
        if above != Path("/tmp") and above.is_relative_to("/tmp"):
            above.chmod(0o711)

    def mapped(spec: Spec) -> None:
        listing(spec, "linux", "namespaces").append({"type": "user"})
        section(spec, "linux").update(uidMappings=maps, gidMappings=maps)
        section(spec, "root").update(path=str(tree), readonly=False)
        section(spec, "process")["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}

    code, output = low.sh("cat /proc/self/uid_map | tr -s ' '; id -u; id -G; touch /tmp/mine; ls -l /dev/null", mapped)
    assert code == 0, output
    lines = output.splitlines()
    assert lines[:3] == [" 0 100000 65536", "5", "6 7"]
    assert lines[3].startswith("crw-rw-rw-")
    assert (tree / "tmp/mine").stat().st_uid == 100005


# -- mounts ----------------------------------------------------------------------------------------------------------------------------


def test_mounts_take_every_word(low: Low) -> None:
    (low.directory / "files/inner").mkdir(parents=True)
    (low.directory / "files/file").write_text("text")
    files = str(low.directory / "files")
    code, output = low.sh(
        "cat /one/file; touch /one/x; cat /file; grep -E ' /(one|two|three|file) ' /proc/self/mountinfo",
        mount("/one", "bind", files, "rbind", "ro", "nosuid", "nodev", "noexec"),
        mount("/two", "none", files, "bind", "rrw", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rslave"),
        mount("/three", "tmpfs", "tmpfs", "size=1m", "mode=700", "nodiratime", "relatime", "sync"),
        mount("/file", "bind", "files-link", "bind", "rro"),
        lambda spec: None,
    )
    assert code == 1
    assert "files-link" in output  # a relative source is the bundle's, where there is none
    bundle = low.bundle(
        ["sh", "-c", "cat /one/file; touch /one/x; cat /file; grep -E ' /(one|two|three|file) ' /proc/self/mountinfo"],
        mount("/one", "bind", files, "rbind", "ro", "nosuid", "nodev", "noexec"),
        mount("/two", "none", files, "bind", "rrw", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rslave"),
        mount("/three", "tmpfs", "tmpfs", "size=1m", "mode=700", "nodiratime", "relatime", "sync"),
        mount("/file", "bind", "own", "bind", "rro"),
    )
    (bundle / "own").write_text("own\n")
    lines = low.nbc("run", "--bundle", str(bundle), "one", check=False).splitlines()
    assert lines[0] == "texttouch: /one/x: Read-only file system" or "Read-only" in lines[0]
    found = {line.split()[4]: line.split()[5] for line in lines if " - " in line}
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(found["/one"].split(","))
    assert {"rw", "nosuid", "nodev", "noexec", "noatime"} <= set(found["/two"].split(","))
    assert {"rw", "nodiratime", "relatime"} <= set(found["/three"].split(","))
    assert "ro" in found["/file"].split(",")
    assert any(line.endswith("own") for line in lines)


def test_a_tmpfs_may_start_with_what_lies_under_it(low: Low) -> None:
    script = "cat /etc/passwd | head -1; ls -ld /tmp | cut -c1-10; ls -l /bin/sh | grep -o 'busybox'; touch /bin/new && echo written"
    code, output = low.sh(
        script,
        mount("/etc", "tmpfs", "tmpfs", "nosuid", "tmpcopyup"),
        mount("/tmp", "tmpfs", "tmpfs", "tmpcopyup"),
        mount("/bin", "tmpfs", "tmpfs", "rw", "tmpcopyup", "mode=755"),
    )
    assert (code, output) == (0, "root:x:0:0:root:/root:/bin/sh\ndrwxrwxrwt\nbusybox\nwritten\n")


def test_a_cgroup_mount_without_a_cgroup_namespace_shows_its_own_group_only(low: Low) -> None:
    code, output = low.sh(
        "cat /sys/fs/cgroup/pids/cgroup.procs; ls -d /sys/fs/cgroup/pids/*/ 2>/dev/null; true", without_namespace("cgroup")
    )
    assert code == 0
    assert output.splitlines()[0] == "1"
    assert "/sys/fs/cgroup/pids/" not in output


def test_a_bundle_without_dev_gets_its_devices_in_the_images_dev(low: Low) -> None:
    tree = low.directory / "tree"
    shutil.copytree(low.rootfs, tree, symlinks=True)

    def bare(spec: Spec) -> None:
        mounts = listing(spec, "mounts")
        mounts[:] = [entry for entry in mounts if isinstance(entry, dict) and entry["destination"] == "/proc"]
        section(spec, "root").update(path=str(tree), readonly=False)

    for _ in range(2):
        assert low.sh("echo x >/dev/null && ls /dev/urandom", bare) == (0, "/dev/urandom\n")


# -- process ---------------------------------------------------------------------------------------------------------------------------


def test_limits_user_umask_and_oom_score(low: Low) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    user = {"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [5, 6]}
    code, output = low.sh(
        "ulimit -Sn; ulimit -Hn; id -u; id -G; umask; cat /proc/self/oom_score_adj; echo $HOME; pwd",
        change("process", rlimits=limits, user=user, oomScoreAdj=77, cwd="/tmp"),
    )
    assert (code, output) == (0, "100\n200\n1000\n1001 5 6\n0027\n77\n/\n/tmp\n")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, "RLIMIT_X"),
        ({"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}, "above its hard limit"),
        ({"rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2}, "given twice"),
        ({"cwd": "tmp"}, "must be an absolute path"),
        ({"cwd": ""}, "must be an absolute path"),
        ({"args": []}, "process.args must not be empty"),
    ],
)
def test_a_wrong_process_is_refused(low: Low, values: Spec, said: str) -> None:
    code, output = low.sh("true", change("process", **values))
    assert code == 1
    assert said in output


def test_unknown_capabilities_and_labels_are_left_out_with_a_warning(low: Low) -> None:
    caps = {"bounding": ["CAP_KILL", "CAP_OF_GOOD_HOPE"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
    code, output = low.sh(
        "grep CapEff /proc/self/status",
        change("process", capabilities=caps, apparmorProfile="some-profile", selinuxLabel="system_u:object_r:x"),
        change("linux", mountLabel="system_u:object_r:x"),
    )
    assert code == 0
    assert "capability CAP_OF_GOOD_HOPE is left out" in output
    assert "CapEff:\t0000000000000020\n" in output
    if not Path("/sys/fs/selinux/enforce").exists():
        assert "process.selinuxLabel is left out: SELinux is not active" in output
        assert "linux.mountLabel is left out" in output
    if not Path("/sys/module/apparmor").exists():
        assert "process.apparmorProfile is left out: AppArmor is not active" in output


def test_the_session_keyring_is_new_unless_asked(low: Low) -> None:
    need(os.access("/proc/keys", os.R_OK), "keyrings")
    bundle = low.bundle(["sh", "-c", "true"])
    assert low.done("run", "--no-new-keyring", "--bundle", str(bundle), "one").returncode == 0


def test_its_user_may_open_its_output_again(low: Low) -> None:
    user = {"uid": 1000, "gid": 1000}
    assert low.sh("echo again >/dev/stdout", change("process", user=user)) == (0, "again\n")
    bundle = low.bundle(["sleep", "100"], change("process", user=user))
    low.create("one", bundle)
    low.nbc("start", "one")
    assert low.nbc("exec", "one", "sh", "-c", "echo again >/dev/stderr") == "again\n"


# -- linux -----------------------------------------------------------------------------------------------------------------------------


def test_devices_are_made_and_allowed(low: Low) -> None:
    device = {"path": "/dev/sub/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 5, "gid": 6}
    zero = {"path": "/dev/denied", "type": "c", "major": 10, "minor": 200}
    code, output = low.sh(
        "ls -ln /dev/sub/mine | tr -s ' '; echo x >/dev/sub/mine && echo ok; cat /dev/denied",
        change("linux", devices=[device, zero, {"path": "/dev/pipe", "type": "p"}]),
    )
    assert "crw-rw-rw- 1 5 6 1, 3" in output
    assert "ok\n" in output
    assert "not permitted" in output  # the list of the bundle denies everything that is not the usual
    assert code == 1


def test_settings_of_its_own_namespaces_are_written_and_others_refused(low: Low) -> None:
    assert low.sh("cat /proc/sys/net/ipv4/ip_forward", change("linux", sysctl={"net.ipv4.ip_forward": "1"})) == (0, "1\n")
    code, output = low.sh("true", change("linux", sysctl={"kernel.panic": "1"}))
    assert code == 1
    assert "kernel.panic" in output


def test_seccomp_filters_decide(low: Low) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    for no_new_privileges in (True, False):
        changes = change("linux", seccomp=profile), change("process", noNewPrivileges=no_new_privileges), change("root", readonly=False)
        code, output = low.sh("mkdir /tmp/x; grep Seccomp: /proc/self/status", *changes)
        assert "Function not implemented" in output
        assert "Seccomp:\t2" in output
        assert code == 0
    code, output = low.sh("true", change("linux", seccomp={"defaultAction": "SCMP_ACT_NOTIFY"}))
    assert code == 1
    assert "seccomp" in output


def test_a_filter_that_allows_little_more_than_the_command_needs_does_not_stop_the_runtime(low: Low) -> None:
    names = ["execve", "brk", "arch_prctl", "access", "openat", "read", "fstat", "newfstatat", "mmap", "mprotect", "pread64", "close"]
    names += ["munmap", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "getuid", "exit_group", "write", "writev"]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}
    assert low.run(["echo", "alive"], change("linux", seccomp=profile), change("process", noNewPrivileges=True)) == (0, "alive\n")


@pytest.mark.parametrize(
    ("asked", "expected"), [("/nbc-test-parent/x", "/nbc-test-parent/x"), ("relative", "/notebook-containers/relative")]
)
def test_the_cgroup_is_where_it_was_asked_and_limits_hold(low: Low, asked: str, expected: str) -> None:
    limits = {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512}}
    changes = change("linux", cgroupsPath=asked), change("linux", "resources", **limits), without_namespace("cgroup")
    low.create("one", low.bundle(["sh", "-c", "cat /proc/self/cgroup; sleep 100"], *changes))
    low.nbc("start", "one")
    places = [group for group in cgroups.detect().places.values() if group.directory]
    pids = next(place for name, place in cgroups.detect().places.items() if name == "pids")
    assert places
    assert Path(f"{pids.directory}{expected}/pids.max").read_text() == "20\n"
    shares = Path(f"{cgroups.detect().places['cpu'].directory}{os.path.dirname(expected)}/cpu.shares")
    if shares.exists():
        assert shares.read_text() == ("1024\n" if asked.startswith("/") else "512\n")  # a caller's parent is left alone
    low.nbc("delete", "--force", "one")
    assert not Path(f"{pids.directory}{expected}").exists()
    if asked.startswith("/"):
        for place in cgroups.detect().places.values():
            parent = Path(f"{place.directory}/nbc-test-parent")
            if place.directory and parent.exists():
                parent.rmdir()


def test_systemds_form_of_a_cgroup_path_is_refused(low: Low) -> None:
    code, output = low.sh("true", change("linux", cgroupsPath="machine.slice:libpod:abc"))
    assert code == 1
    assert "systemd's form" in output


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ((), {"ociVersion": "2.0.0"}, "ociVersion '2.0.0' is not supported"),
        ((), {"ociVersion": ""}, "ociVersion '' is not supported"),
        ((), {"process": None}, "process must not be empty"),
        ((), {"vm": {"kernel": {"path": "/x"}}}, "vm is not supported"),
        (("root",), {"path": "/nonexistent"}, "rootfs /nonexistent is no directory"),
        (("root",), {"path": ""}, "root.path must not be empty"),
        (("linux",), {"intelRdt": {"closID": "x"}}, "linux.intelRdt is not supported"),
        (("linux",), {"namespaces": [{"type": "mount"}, {"type": "mount"}]}, "the mount namespace is given twice"),
        (("linux",), {"namespaces": [{"type": "mount"}, {"type": "moon"}]}, "a 'moon' namespace is not supported"),
        (("linux",), {"namespaces": [{"type": "mount"}, {"type": "pid", "path": "x"}]}, "must be absolute"),
        (("linux",), {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}, "no user namespace"),
        (("linux",), {"namespaces": "all"}, "namespaces is no list"),
    ],
)
def test_a_wrong_spec_is_refused_by_name_before_anything_is_made(low: Low, path: tuple[str, ...], values: Spec, said: str) -> None:
    code, output = low.sh("true", change(*path, **values))
    assert code == 1
    assert said in output
    assert os.listdir(low.root) == []


def test_what_umoci_unpacks_runs(low: Low) -> None:
    layout, bundle = low.directory / "layout", low.directory / "unpacked"
    image = f"{layout}:busy"
    subprocess.run(["umoci", "init", "--layout", str(layout)], check=True, capture_output=True)
    subprocess.run(["umoci", "new", "--image", image], check=True, capture_output=True)
    subprocess.run(["umoci", "insert", "--image", image, str(low.rootfs), "/"], check=True, capture_output=True)
    config = ["--config.cmd", "sh", "--config.cmd", "-c", "--config.cmd", "echo $GREETING from $(pwd); id -u; exit 6"]
    more = ["--config.env", "GREETING=hello", "--config.workingdir", "/tmp", "--config.user", "1000"]
    subprocess.run(["umoci", "config", "--image", image, *config, *more], check=True, capture_output=True)
    subprocess.run(["umoci", "unpack", "--image", image, str(bundle)], check=True, capture_output=True)
    spec = json.loads((bundle / "config.json").read_text())
    assert spec["process"]["terminal"] is True
    spec["process"]["terminal"] = False
    (bundle / "config.json").write_text(json.dumps(spec))
    done = low.done("run", "--bundle", str(bundle), "one")
    assert (done.returncode, done.stdout) == (6, "hello from /tmp\n1000\n")


def test_the_interpreter_cannot_be_overwritten_from_inside(low: Low) -> None:
    """CVE-2019-5736: the command is a link to the process that made the container; so is a script's interpreter."""
    before = {path: Path(path).stat().st_mtime_ns for path in (os.path.realpath(low.words()[0]),)}
    (low.rootfs / "tmp/self").write_text("#!/proc/self/exe\n")
    (low.rootfs / "tmp/self").chmod(0o755)
    (low.rootfs / "bin/python-link").unlink(missing_ok=True)
    (low.rootfs / "bin/python-link").symlink_to("/proc/self/exe")
    for command in (["/proc/self/exe", "-c", "pass"], ["/tmp/self"], ["/bin/python-link"]):
        assert low.run(command)[0] != 0  # no library, no loader for it in there
    low.create(
        "one", low.bundle(["sh", "-c", "for i in $(seq 400); do for p in /proc/[0-9]*/exe; do (: >>$p) 2>/dev/null; done; done; sleep 9"])
    )
    pid = low.state("one")["pid"]
    with pytest.raises(OSError, match=r"Read-only|busy"):
        os.open(f"/proc/{pid}/exe", os.O_WRONLY)
    low.nbc("start", "one")
    for _ in range(10):
        low.nbc("exec", "one", "true")
    assert before == {path: Path(path).stat().st_mtime_ns for path in before}


def test_a_socket_address_may_be_long(low: Low) -> None:
    low.root = low.directory / ("deep" * 40) / "state"
    assert len(str(low.root)) > 108
    output = low.create("one", low.bundle(["echo", "started"]))
    low.nbc("start", "one")
    low.wait_for("one", "stopped")
    assert output.read_text() == "started\n"
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match="too long"):
        sock.bind(str(low.root / "x"))


def test_a_killed_creator_leaves_what_delete_can_take_away(low: Low) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "sleep 3"]}
    bundle = low.bundle(["true"], lambda spec: section(spec, "hooks").update(prestart=[hook]))
    with subprocess.Popen(low.words("create", "--bundle", str(bundle), "one"), env=low.environment) as process:
        deadline = time.monotonic() + 20
        while not (low.root / "one/state.json").exists() or not low.state("one")["pid"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    low.wait_for("one", "stopped")  # its first process dies with it
    low.nbc("delete", "one")

"""What hostile code reaches when the user allowed more, or its image says more: still nothing of the host (RT-05 to RT-33)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.linux import syscalls
from tests.engine.races import look
from tests.engine.running import run, started
from tests.engine.tars import tar
from tests.home import BASE, Home
from tests.needs import need
from tests.runtime.boxes import MASKED

pytestmark = pytest.mark.root

PYTHON = "localhost/python"
STATUS = ["sh", "-c", "grep -E '^(Cap(Inh|Amb|Eff|Prm)|Groups)' /proc/self/status"]
NOTHING = "0" * 16


def table(text: str) -> dict[str, str]:
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory outside, which must be as it was afterwards."""
    outside = tmp_path / "canary"
    outside.mkdir()
    (outside / "file").write_text("canary:x:4242:4242::/:/bin/sh\n")
    before = look(outside)
    yield outside
    assert look(outside) == before


# files and places of an image ---------------------------------------------------------------------------------------------------------


ODD: dict[str, str | dict[str, object]] = {
    "zero": "/dev/zero",
    "loop": "passwd",
    "fifo": {"type": b"6"},
    "device": {"type": b"3", "devmajor": 1, "devminor": 5},
    "directory": {"type": b"5"},
}


@pytest.mark.parametrize("kind", ["host", *ODD])
def test_rt09_the_files_that_are_read_from_an_image(engine: Engine, canary: Path, kind: str) -> None:
    """passwd, group, hosts and resolv.conf lead elsewhere or have no end: nothing of the host is read or written, and no time is lost."""
    member = ODD.get(kind, str(canary / "file"))
    context = canary.parent / "context"
    context.mkdir()
    (context / "odd.tar").write_bytes(tar(*((name, member) for name in ("passwd", "group", "hosts", "resolv.conf"))))
    text = f"FROM {BASE}\nRUN cd /etc && rm -f passwd group; rm -f hosts resolv.conf; true\nADD odd.tar /etc/\n"
    image = f"odd{kind}"
    engine.images.build(context, text=text, tag=image, network="none")
    began = time.monotonic()
    with pytest.raises(Error, match=r"canary|cannot be read"):
        run(engine, ["id"], {"user": "canary"}, image)
    with pytest.raises(Error, match=r"canary|cannot be read"):
        engine.images.build(context, text=f"FROM {image}\nCOPY --chown=canary odd.tar /\n", network="none")
    with suppress(Error):
        said = run(engine, ["sh", "-c", "id -u; cat /etc/hosts"], {"user": "5", "extra_hosts": {"other": "10.9.8.7"}}, image)
        assert said.splitlines()[0] == "5"
        assert "4242" not in said
    assert time.monotonic() - began < 10
    engine.images.remove(image, force=True)


def test_rt09_a_passwd_of_ten_gigabytes(engine: Engine) -> None:
    """CVE-2026-47262: the reader is bounded, and who is looked up there is refused, as root would be."""
    box = started(engine, ["sleep", "1000"])
    assert box.exec_run(["truncate", "-s", "10G", "/etc/passwd", "/etc/group"]).exit_code == 0
    began = time.monotonic()
    for word in ("canary", "5", "0"):
        with pytest.raises(InvalidArgument, match="/etc/passwd of the image cannot be read: more than 1048576 bytes"):
            box.exec_run(["id"], user=word)
    assert box.exec_run(["id", "-u"]).output == b"0\n"
    assert time.monotonic() - began < 5


def test_rt09_a_working_directory_through_a_link(engine: Engine, canary: Path) -> None:
    """CVE-2026-55686: made inside the root or not at all, by a build, a run and an exec."""
    box = engine.containers.create(BASE, ["true"], network="none")
    box.put_archive("/", tar(("link", str(canary)), ("up", "../../../../../../.." + str(canary))))
    box.commit("linked")
    for place in ("/link/a/b", "/up/a/b", "/../.." + str(canary) + "/a"):
        with suppress(Error):
            found = run(engine, ["sh", "-c", "pwd -P; touch made"], {"working_dir": place}, "linked")
            assert found.startswith(str(canary))  # the same name inside
        with suppress(Error):
            engine.images.build(text=f"FROM linked\nWORKDIR {place}\nRUN touch made\n", tag="linked2", network="none")
    engine.images.remove("linked", force=True)
    for image in engine.images.list("linked2"):
        engine.images.remove(image.id, force=True)


@pytest.mark.parametrize("place", ["/proc", "/proc/self/attr", "/proc/sys", "/lead/kernel"])
def test_rt05_a_volume_of_an_image_over_proc_is_refused(engine: Engine, place: str) -> None:
    """CVE-2019-16884, CVE-2023-27561: what we write to /proc lands in /proc or nowhere."""
    engine.images.build(text=f"FROM {BASE}\nRUN ln -s /proc/sys /lead\nVOLUME {place}\n", tag="overproc", network="none")
    with pytest.raises(Error, match=r"/proc|mount"):
        run(engine, ["true"], {"sysctls": {"net.ipv4.ip_forward": "1"}}, "overproc")
    engine.images.remove("overproc", force=True)


# rights ---------------------------------------------------------------------------------------------------------------------------------


def test_rt12_privileged_inherits_nothing_and_its_users_have_nothing(engine: Engine) -> None:
    """CVE-2022-24769: everything is permitted to root, and nothing passes on to a user or through a program."""
    box = started(engine, ["sleep", "1000"], {"privileged": True})
    for found in (run(engine, STATUS, {"privileged": True}), box.exec_run(STATUS).output.decode()):
        rights = table(found)
        assert (rights["CapInh"], rights["CapAmb"]) == (NOTHING, NOTHING)
        assert int(rights["CapEff"], 16) >= 1 << 37
    for found in (run(engine, STATUS, {"privileged": True, "user": "1000"}), box.exec_run(STATUS, user="1000").output.decode()):
        assert {table(found)[f"Cap{kind}"] for kind in ("Inh", "Amb", "Eff", "Prm")} == {NOTHING}


def test_rt11_who_is_denied_by_its_group_stays_denied(engine: Engine) -> None:
    """CVE-2022-2989, CVE-2022-36109: the first group is a supplementary one, so no set-group-id program can shake it off."""
    box = started(engine, ["sh", "-c", "echo x > /f; chown 0:1000 /f; chmod 604 /f; sleep 1000"], {"user": "0"})
    for found in (run(engine, STATUS, {"user": "1000:1000"}), box.exec_run(STATUS, user="1000:1000").output.decode()):
        assert table(found)["Groups"] == "1000"
    assert box.exec_run(["cat", "/f"], user="1000:1000").exit_code != 0
    assert box.exec_run(["cat", "/f"], user="1000:7").output == b"x\n"


def test_rt22_every_thread_has_the_filter(engine: Engine) -> None:
    code = """
        import glob, threading
        ready = threading.Barrier(4)
        for _ in range(3):
            threading.Thread(target=lambda: (ready.wait(), ready.wait()), daemon=True).start()
        ready.wait()
        words = [line.split()[1] for path in glob.glob("/proc/self/task/*/status") for line in open(path) if line.startswith("Seccomp:")]
        print(words)
        ready.wait()
    """
    assert run(engine, ["python3", "-c", textwrap.dedent(code)], image=PYTHON) == "['2', '2', '2', '2']\n"


def test_rt20_masks_hold_in_a_user_namespace_too(engine: Engine) -> None:
    """Root of a user namespace, with and without the right to mount."""
    script = f"""
        for p in {" ".join(MASKED)}; do
            [ -e $p ] || continue
            umount $p 2>/dev/null && echo "unmounted: $p"
            if [ -d $p ]; then [ -z "$(ls -A $p)" ] || echo "not empty: $p"
            else [ -z "$(head -c 1 $p 2>/dev/null)" ] || echo "readable: $p"; fi
        done
        for p in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches /sys/kernel/uevent_helper; do
            (echo x > $p) 2>/dev/null && echo "written: $p"
        done
        for p in /proc/[0-9]*/root; do [ "$(stat -L -c %d:%i $p 2>/dev/null)" = "$(stat -c %d:%i /)" ] || echo "another root: $p"; done
        for p in /proc/sys /proc; do
            umount $p 2>/dev/null && echo "unmounted: $p"
            mount -o remount,rw $p 2>/dev/null && (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo "remounted: $p"
        done
        echo done
    """
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert run(engine, ["sh", "-c", script], {"userns_mode": "auto"}) == "done\n"
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_rt03_masked_directories_share_one_empty_read_only_tmpfs(engine: Engine) -> None:
    script = (
        "grep -E ' (/sys/firmware|/proc/(scsi|acpi|asound)) ' /proc/self/mountinfo; touch /sys/firmware/x 2>/dev/null && echo written; true"
    )
    lines = [line.split() for line in run(engine, ["sh", "-c", script]).splitlines()]
    assert lines
    assert {line[2] for line in lines} == {lines[0][2]}
    assert all("ro" in line[5].split(",") for line in lines)


KEYS = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def keyctl(*words):
    ctypes.set_errno(0)
    return libc.syscall(ctypes.c_long(250), *(ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in words))
print(keyctl(10, -3, b"user", b"nbc-canary", 0) >= 0, ctypes.get_errno())
"""


def test_rt23_the_callers_session_keyring_stays_outside(engine: Engine, home: Home, tree_environment: dict[str, str]) -> None:
    """Where keyctl is allowed (no filter) a run and an exec have a session keyring of their own, without the caller's secret."""
    need(os.uname().machine == "x86_64", "x86_64")
    code = f"""
        import sys
        keys = {KEYS!r}
        scope = {{}}
        exec(keys.split("print(")[0], scope)
        assert scope["keyctl"](1, 0) > 0
        assert scope["libc"].syscall(248, b"user", b"nbc-canary", b"secret", 6, -3) > 0
        exec(keys)
        from notebook_containers import Engine
        with Engine(root=sys.argv[1], run=sys.argv[2]) as engine:
            given = dict(network="none", security_opt=["seccomp=unconfined"])
            print(engine.containers.run("localhost/python", ["python3", "-c", keys], remove=True, **given).decode().strip())
            box = engine.containers.run("localhost/python", ["sleep", "100"], detach=True, stop_timeout=0, **given)
            print(box.exec_run(["python3", "-c", keys]).output.decode().strip())
            box.remove(force=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(home.root), str(home.run)]
    done = subprocess.run(command, env=tree_environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout.splitlines() == ["True 0", "False 126", "False 126"], done.stderr


def test_rt29_the_double_chroot_leads_nowhere(engine: Engine) -> None:
    """CAP_SYS_CHROOT is there, and an open directory above the new root: the top is the container's own root all the same."""
    code = """
        import os
        own = os.stat("/")
        top = os.open("/", os.O_RDONLY)
        os.mkdir("/jail")
        os.chroot("/jail")
        os.fchdir(top)
        for _ in range(200):
            os.chdir("..")
        os.chroot(".")
        found = os.stat("/")
        print((found.st_dev, found.st_ino) == (own.st_dev, own.st_ino), os.path.exists("/jail"), os.getcwd())
    """
    assert run(engine, ["python3", "-c", textwrap.dedent(code)], image=PYTHON) == "True True /\n"


# the caller's environment ----------------------------------------------------------------------------------------------------------------

HELPERS = """
newuidmap newgidmap pasta slirp4netns nft iptables ip mount umount ps modprobe nvidia-smi nvidia-container-cli tar xz gzip zstd unpigz git
sh bash env python python3 runc crun systemd-run getent ldconfig getfacl id cp rm mkdir nsenter unshare setpriv fusermount3 fuse-overlayfs
"""


def test_rt30_no_helper_is_taken_from_the_callers_path(
    home: Home, engine: Engine, tree_environment: dict[str, str], tmp_path: Path
) -> None:
    """Each program that might be called lies first in PATH as a trap, beside variables that change what a program does."""
    (tmp_path / "evil").mkdir()
    for name in HELPERS.split():
        (tmp_path / "evil" / name).write_text(f'#!/bin/sh\necho "$0" >> {tmp_path}/ran\nexit 1\n')
        (tmp_path / "evil" / name).chmod(0o755)
    (tmp_path / "startup").write_text(f"echo startup >> {tmp_path}/ran\n")
    code = """
        import sys
        from notebook_containers import Engine
        with Engine(root=sys.argv[1], run=sys.argv[2]) as engine:
            engine.images.build(text="FROM localhost/base\\nRUN env > /env\\n", tag="fromevil")
            box = engine.containers.run("fromevil", ["sleep", "100"], detach=True, stop_timeout=0, ports={"80/tcp": None})
            print(box.exec_run(["cat", "/env", "/proc/1/environ"]).output.decode().replace("\\0", "\\n"))
            box.put_archive("/tmp", b"".join(box.get_archive("/etc/passwd")[0]))
            box.top(), box.stats(stream=False), box.logs(), box.diff(), b"".join(box.export())
            box.pause(), box.unpause(), box.update(mem_limit="100m", memswap_limit="100m")
            box.restart(timeout=0)
            box.commit("fromevil2")
            box.remove(force=True)
            engine.images.remove("fromevil2")
            engine.images.remove("fromevil", force=True)
            engine.info()
    """
    evil = {
        "PATH": f"{tmp_path}/evil",
        "BASH_ENV": f"{tmp_path}/startup",
        "ENV": f"{tmp_path}/startup",
        "GIT_SSH_COMMAND": f"{tmp_path}/evil/sh",
        "HTTP_PROXY": "http://secret@127.0.0.1:1",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "JPY_API_TOKEN": "canary",
    }
    command = [sys.executable, "-c", textwrap.dedent(code), str(home.root), str(home.run)]
    done = subprocess.run(command, env={**tree_environment, **evil}, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert "PATH=" in done.stdout
    assert not [word for word in ("canary", "secret", "evil/", "BASH_ENV") if word in done.stdout.replace("fromevil", "")]


# numbers of processes ---------------------------------------------------------------------------------------------------------------------


def test_rt33_a_stranger_with_the_containers_number_is_left_alone(engine: Engine) -> None:
    """The first process and its monitor are killed, and the number is given to another program: no verb touches it."""
    box = started(engine, ["sleep", "1000"])
    pid = box.state.pid
    monitor = engine._parts.runtime.state(box.id).monitor_pid
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # not every machine's first process reaps what is left to it
    try:
        for number in (monitor, pid):
            os.kill(number, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(number, 0)
    finally:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)
    stranger = reborn(pid)
    need(stranger, "a process number of one's choice")
    assert stranger
    try:
        for act in (
            lambda: box.exec_run(["true"]),
            box.kill,
            box.top,
            lambda: box.stats(stream=False),
            box.pause,
            lambda: box.stop(timeout=0),
            lambda: box.put_archive("/tmp", tar(("a", b"1"))),
            lambda: box.remove(force=True),
        ):
            with suppress(Error):
                act()
            assert stranger.poll() is None, act
        assert "T" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    finally:
        stranger.kill()
        stranger.wait()


def reborn(pid: int) -> subprocess.Popen[bytes] | None:
    """Start a program with this process number, once it is free."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
            process = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
            if process.pid == pid:
                return process
            process.kill()
            process.wait()
        time.sleep(0.01)
    return None

"""What hostile code in a container reaches through the whole engine: nothing of the host (RT-01 to RT-36, where the user would be hit)."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import Error, InvalidArgument, StartFailed
from notebook_containers.runtime import document, limits, unseen
from tests.engine.races import flipping, look
from tests.engine.running import run, started
from tests.home import BASE, Home
from tests.needs import need

pytestmark = pytest.mark.root

PYTHON = "localhost/python"
TREE = Path(__file__).parents[2]
STATUS = ["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"]
BOUND = "00000000800405fb"
"""The eleven default capabilities."""


def rights(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(Cap\w+|NoNewPrivs|Seccomp):\s+(\w+)$", text, re.MULTILINE))


def confined(uid: int) -> dict[str, str]:
    own = BOUND if uid == 0 else "0" * 16
    caps = {"CapInh": "0" * 16, "CapPrm": own, "CapEff": own, "CapBnd": BOUND, "CapAmb": "0" * 16}
    return {**caps, "NoNewPrivs": "1", "Seccomp": "2"}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory outside, which must be as it was afterwards."""
    outside = tmp_path / "canary"
    (outside / "y").mkdir(parents=True)
    (outside / "file").write_bytes(b"OUTSIDE")
    before = look(outside)
    yield outside
    assert look(outside) == before


# programs of ours and descriptors ---------------------------------------------------------------------------------------------------


def digests() -> dict[str, str]:
    libraries = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if " r-xp " in line and " /" in line}
    own = [Path(sys.executable), *map(Path, sorted(libraries)), *(TREE / "notebook_containers").rglob("*.py")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in own}


def test_rt01_no_program_of_ours_is_written_during_exec(engine: Engine) -> None:
    """CVE-2019-5736: whatever shows up in /proc is opened for writing while execs, a copy and a listing go on."""
    before = digests()
    script = """
        import os
        while True:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    place = os.open(f"/proc/{pid}/exe", os.O_PATH)
                except OSError:
                    continue
                target = ""
                try:
                    target = os.readlink(f"/proc/{pid}/exe")
                    fd = os.open(f"/proc/self/fd/{place}", os.O_WRONLY)
                except OSError as err:
                    continue
                finally:
                    os.close(place)
                print("opened", target, os.stat(fd).st_dev, flush=True)
                os.close(fd)
    """
    box = started(engine, ["python3", "-c", textwrap.dedent(script)], image=PYTHON)
    for _ in range(10):
        box.exec_run(["/bin/true"])
    box.top()
    b"".join(box.get_archive("/etc/passwd")[0])
    # its own programs lie in its own writable layer; what is in memory, or has a name of the host's, is ours
    opened = [line for line in box.logs().decode().splitlines() if line.startswith("opened")]
    assert not [line for line in opened if "memfd" in line or str(TREE) in line or "(deleted)" in line]
    assert digests() == before


def test_rt01_a_command_that_is_our_own_program_cannot_write_it(engine: Engine) -> None:
    """The command is whatever starts containers, through a link; it keeps its descriptor, becomes another program and then writes."""
    before = digests()
    text = f"FROM {PYTHON}\nRUN printf '#!/proc/self/exe\\nimport os\\n' > /run.sh && chmod 755 /run.sh && ln -s /proc/self/exe /self\n"
    engine.images.build(text=text, tag="selfexe", network="none")
    code = """
        import os
        fd = os.open("/proc/self/exe", os.O_PATH)
        os.set_inheritable(fd, True)
        print(os.readlink("/proc/self/exe"), flush=True)
        script = f"for n in $(seq 50); do (echo x > /proc/self/fd/{fd}) 2>/dev/null && echo written; sleep 0.01; done; echo tried"
        os.execv("/bin/sh", ["sh", "-c", script])
    """
    prefix = run(engine, ["python3", "-c", "import sys; print(sys.base_prefix)"], image=PYTHON).strip()
    box = started(engine, ["/self", "-c", textwrap.dedent(code)], {"environment": {"PYTHONHOME": prefix}}, image="selfexe")
    box.wait(timeout=30)
    assert b"tried" in box.logs()
    assert box.logs().splitlines()[0] == b"/"  # a file without a name in any tree: our interpreter, mounted alone and read-only
    assert b"written" not in box.logs()
    with pytest.raises(Error):
        run(engine, ["/run.sh"], image="selfexe")
    box.remove()
    engine.images.remove("selfexe")
    assert digests() == before


def test_rt02_rt12_rt22_every_path_into_a_container_is_confined(engine: Engine) -> None:
    """Run, exec, exec as a user, a health check and a build's RUN have the same bounds."""
    handles = [os.open("/", os.O_RDONLY) for _ in range(40)]
    for handle in handles:
        os.set_inheritable(handle, True)
    try:
        _every_path(engine)
    finally:
        for handle in handles:
            os.close(handle)


def _every_path(engine: Engine) -> None:
    assert rights(run(engine, STATUS)) == confined(0)
    assert rights(run(engine, STATUS, {"user": "1000"})) == confined(1000)
    fds = "ls /proc/self/fd"  # 3 is ls's own
    check = {"test": f"{' '.join(STATUS[:2])} '{STATUS[2]}' {STATUS[3]} > /status; {fds} > /fds; mv /fds /done", "interval": 200_000_000}
    box = started(engine, ["sleep", "1000"], {"healthcheck": check})
    assert rights(box.exec_run(STATUS).output.decode()) == confined(0)
    assert rights(box.exec_run(STATUS, user="1000").output.decode()) == confined(1000)
    end = time.monotonic() + 10
    while box.exec_run(["test", "-e", "/done"]).exit_code and time.monotonic() < end:
        time.sleep(0.1)
    assert rights(box.exec_run(["cat", "/status"]).output.decode()) == confined(0)
    assert box.exec_run(["cat", "/done"]).output.split() == [b"0", b"1", b"2", b"3"]
    text = f"FROM {BASE}\nRUN grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status > /status; {fds} > /fds\n"
    engine.images.build(text=text, tag="confined", network="none")
    assert rights(run(engine, ["cat", "/status"], image="confined")) == confined(0)
    assert run(engine, ["cat", "/fds"], image="confined").split() == ["0", "1", "2", "3"]
    engine.images.remove("confined")


def test_rt02_exec_and_build_do_not_start_in_a_descriptor(engine: Engine) -> None:
    """CVE-2024-21626 by ``exec --workdir`` and by WORKDIR."""
    box = started(engine, ["sleep", "1000"])
    for number in (*range(3, 12), 255):
        for suffix in ("", "/../.."):
            with pytest.raises(Error):
                box.exec_run(["ls"], workdir=f"/proc/self/fd/{number}{suffix}")
    with pytest.raises(Error):
        engine.images.build(text=f"FROM {BASE}\nWORKDIR /proc/self/fd/7\nRUN ls\n", tag="never", network="none")


# mounts -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_rt07_rt08_a_mount_into_a_volume_that_is_exchanged_all_the_time(engine: Engine, canary: Path, tmp_path: Path, kind: str) -> None:
    """CVE-2021-30465, CVE-2024-45310: nothing is mounted outside, and no directory or file is made there."""
    volume = engine.volumes.create("raced")
    (tmp_path / "data").mkdir()
    given: CreateKeywords = {"volumes": ["raced:/vol"], "tmpfs": {"/vol/race/new": "size=64k"}}
    if kind == "bind":
        given = {"volumes": ["raced:/vol", f"{tmp_path}/data:/vol/race/new"]}
    outcomes = {"in": 0, "refused": 0}
    with flipping(volume.path, canary):
        end = time.monotonic() + 6
        while time.monotonic() < end:
            try:
                text = run(engine, ["cat", "/proc/self/mountinfo"], given)
            except Error:
                outcomes["refused"] += 1
                continue
            outcomes["in"] += 1
            places = [line.split()[4] for line in text.splitlines()]
            assert not [place for place in places if place.startswith(str(canary))]
            assert [place for place in places if place.endswith("/new") and place.startswith("/vol/")]
    here = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in here
    assert str(engine.root) not in here
    assert min(outcomes.values()) > 3, f"the race proves nothing: {outcomes}"


# users ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["4294967296", "4294967295", "-1", "2147483648", "0x0", " 0", "\uff11\uff10\uff10\uff10", "1e3", "0:-1"])
def test_rt10_a_user_that_is_none_is_never_root(engine: Engine, word: str) -> None:
    with pytest.raises(InvalidArgument):
        run(engine, ["id", "-u"], {"user": word})
    box = started(engine, ["sleep", "1000"])
    with pytest.raises(InvalidArgument):
        box.exec_run(["id", "-u"], user=word)


def test_rt11_the_callers_groups_stay_outside(home: Home, engine: Engine, tree_environment: dict[str, str]) -> None:
    """CVE-2022-2989: a notebook in the groups docker and wheel gives none of them to a container, nor to its execs."""
    code = """
        import os, sys
        from notebook_containers import Engine
        assert {27, 999} <= set(os.getgroups())
        with Engine(root=sys.argv[1], run=sys.argv[2]) as engine:
            for user in ("1000:1000", "1000", None):
                print(engine.containers.run("localhost/base", ["id", "-G"], user=user, network="none", remove=True).decode().strip())
            box = engine.containers.run("localhost/base", ["sleep", "100"], network="none", detach=True, stop_timeout=0)
            print(box.exec_run(["id", "-G"], user="1000:1000").output.decode().strip())
            print(box.exec_run(["id", "-G"]).output.decode().strip())
            box.remove(force=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(home.root), str(home.run)]
    done = subprocess.run(command, env=tree_environment, extra_groups=[27, 999], capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout.splitlines() == ["1000", "0", "0", "1000", "0"], done.stderr


# the kernel's interfaces ------------------------------------------------------------------------------------------------------------


_SPY = """
    import os
    own = str(os.getpid())
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if pid == own:
                continue
            try:
                memory = None
                try:
                    memory = open(f"/proc/{pid}/mem", "rb")
                except PermissionError:
                    pass
                with open(f"/proc/{pid}/cmdline", "rb") as file:  # afterwards: who is ours now was ours before
                    words = file.read()
                if b"notebook_containers" in words:
                    print("opened" if memory else "ours", pid, flush=True)
                elif b"marked" in words:
                    print("command" if memory else "closed", pid, flush=True)
            except OSError:
                pass
"""
_LONG = {"PATH": "x:" * 20_000 + "/usr/bin:/bin"}
"""Looking for the command in many places keeps the process between giving up its rights and executing, its weakest moment."""


def test_rt14_who_enters_is_not_traced_from_inside(engine: Engine) -> None:
    """CVE-2016-9962: root inside reads nothing of a process that is still on its way in, and sees that there is one."""
    box = started(engine, ["python3", "-c", textwrap.dedent(_SPY)], image=PYTHON)
    for _ in range(8):
        box.exec_run(["true"], environment=_LONG)
    assert box.logs().count(b"ours") > 20, "the race proves nothing"
    assert b"opened" not in box.logs()


def test_rt14_not_even_by_who_may_trace(engine: Engine) -> None:
    """The same with CAP_SYS_PTRACE, to which being dumpable does not matter: the command can be looked into, the one on its way cannot."""
    box = started(engine, ["python3", "-c", textwrap.dedent(_SPY)], {"cap_add": ["SYS_PTRACE"]}, image=PYTHON)
    for _ in range(8):
        assert box.exec_run(["sh", "-c", "sleep 0.1 # marked"], environment=_LONG).exit_code == 0
    assert box.logs().count(b"command") > 20, "the race proves nothing"
    assert not {b"opened", b"ours"} & set(box.logs().split())
    first, further = (box.exec_run(["cat", f"/proc/{pid}/cgroup"]).output for pid in ("1", "self"))
    assert first == further
    with pytest.raises(StartFailed, match="not found"):
        box.exec_run(["nothing-such"])
    box.pause()
    with pytest.raises(Error, match="paused"):
        box.exec_run(["true"])
    box.unpause()
    assert box.exec_run(["false"]).exit_code == 1


def test_rt14_who_held_a_container_and_was_killed_left_it_running(engine: Engine) -> None:
    box = started(engine, ["sh", "-c", "while :; do echo alive; sleep 0.05; done"])
    state = document.read(str(engine._parts.run / "c" / box.id[:12] / "state.json"))
    group = limits.restore(state)
    holder = os.fork()
    if holder == 0:
        with unseen.standing_still(limits.restore(state)):
            os.kill(os.getpid(), signal.SIGKILL if group.frozen() else signal.SIGTERM)
    assert os.waitpid(holder, 0)[1] == signal.SIGKILL
    deadline = time.monotonic() + 5
    while group.frozen() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not group.frozen()
    before = len(box.logs())
    time.sleep(0.3)
    assert len(box.logs()) > before


def test_rt15_no_abstract_socket_of_ours_on_the_hosts_network(engine: Engine) -> None:
    """CVE-2020-15257."""
    before = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if " @" in line}
    seen = run(engine, ["cat", "/proc/net/unix"], {"network": "host"})
    assert {line.split()[-1] for line in seen.splitlines() if " @" in line} <= before


def test_rt16_release_agent_is_out_of_reach(engine: Engine) -> None:
    """CVE-2022-0492, as its exploits do it."""
    script = """
        unshare -UrmC sh -c 'mount -t cgroup -o rdma c /mnt && echo mounted' 2>/dev/null
        mount -t cgroup -o memory c /mnt 2>/dev/null && echo mounted
        names="-name release_agent -o -name devices.allow -o -name cgroup.procs -o -name notify_on_release"
        for f in $(find /sys/fs/cgroup $names 2>/dev/null); do
            (echo 1 > $f) 2>/dev/null && echo written $f
            tried=$((tried + 1))
        done
        [ "$tried" -gt 0 ] && echo tried
    """
    assert run(engine, ["sh", "-c", script]) == "tried\n"
    assert run(engine, ["sh", "-c", script], {"cgroupns": "host"}) == "tried\n"
    # who may mount sees in its own cgroup namespace no hierarchy's top, the only group with an agent; nothing is written: it would be real
    mounting = (
        "for c in memory pids cpu; do mount -t cgroup -o $c c /mnt && echo mounted && find /mnt -name release_agent; umount /mnt; done"
    )
    seen = run(engine, ["sh", "-c", f"{{ {mounting}; }} 2>/dev/null; true"], {"cap_add": ["SYS_ADMIN"]})
    assert set(seen.splitlines()) <= {"mounted"}


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"cap_add": ["SYS_ADMIN"], "cgroupns": "host"}, True),
        ({"privileged": True, "cgroupns": "host"}, True),
        ({"cap_add": ["SYS_ADMIN"]}, False),
        ({"privileged": True, "cgroupns": "host", "cap_drop": ["SYS_ADMIN"]}, False),
        ({"cgroupns": "host"}, False),
    ],
)
def test_rt16_who_could_set_an_agent_is_told_so(engine: Engine, given: CreateKeywords, warned: bool) -> None:
    version_1 = any(line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines())
    words: CreateKeywords = {**given, "network": "none"}
    texts = engine.containers.create(BASE, ["true"], **words).warnings
    assert any("release_agent" in text for text in texts) == (warned and version_1)


@pytest.mark.parametrize("word", ["../../x", "/", "/x", "..", "a/../../b", "a\0b", "a\nb", "a//b", ".", "-x/.."])
def test_rt17_a_parent_group_elsewhere_is_refused(engine: Engine, word: str) -> None:
    """CVE-2023-25809's neighbourhood."""
    with pytest.raises(InvalidArgument):
        run(engine, ["true"], {"cgroup_parent": word})


def test_rt18_no_raw_device_is_opened(engine: Engine) -> None:
    """Nodes can be made when the capability is given, and are still not opened: at the start, in an exec and after an update."""
    script = """
        import os, stat
        for number, (kind, major, minor) in enumerate([("b", 259, 0), ("b", 8, 0), ("b", 254, 0), ("b", 7, 0), ("c", 1, 1), ("c", 1, 11),
                ("c", 10, 232), ("c", 10, 229), ("c", 10, 237), ("c", 10, 200), ("c", 4, 64), ("c", 1, 3)]):
            path = f"/node{os.getpid()}-{number}"
            try:
                os.mknod(path, (stat.S_IFBLK if kind == "b" else stat.S_IFCHR) | 0o666, os.makedev(major, minor))
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                print("opened", kind, major, minor)
            except PermissionError:
                pass
    """
    command = ["python3", "-c", textwrap.dedent(script)]
    assert run(engine, command, image=PYTHON) == ""  # without the capability no node at all
    box = started(engine, ["sleep", "1000"], {"cap_add": ["MKNOD"]}, image=PYTHON)
    assert box.exec_run(command).output == b"opened c 1 3\n"  # /dev/null is everybody's: the measure works
    box.update(mem_limit="128m", memswap_limit="128m")
    assert box.exec_run(command).output == b"opened c 1 3\n"


@pytest.mark.parametrize(
    "given",
    [
        {"sysctls": {"kernel.core_pattern": "|/x"}},
        {"sysctls": {"net.ipv4.ip_forward=1+kernel.core_pattern": "|/x"}},
        {"sysctls": {"net.ipv4.ip_forward": "1+kernel.core_pattern=|/x\nkernel.core_pattern=|/x"}},
        {"sysctls": {"net/../kernel/core_pattern": "|/x"}},
        {"sysctls": {"net.ipv4.../../kernel/core_pattern": "|/x"}},
        {"sysctls": {"kernel.shm_rmid_forced\n": "1"}},
        {"sysctls": {"kernel.shm_rmid_forced": "1"}, "ipc_mode": "host"},
        {"sysctls": {"net.core.somaxconn": "1"}, "network": "host"},
        {"sysctls": {"vm.overcommit_memory": "1"}},
        {"sysctls": ["net.core.somaxconn"]},
    ],
)
def test_rt19_a_setting_that_is_not_its_own_is_refused(engine: Engine, given: CreateKeywords) -> None:
    """CVE-2022-0811."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    with pytest.raises(InvalidArgument):
        run(engine, ["true"], given)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


CALLS = """
import ctypes, json, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
result = {}
def call(name, number, *args):
    ctypes.set_errno(0)
    result[name] = ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *args) == -1 else 0
call("add_key", 248, b"user", b"x", b"secret", ctypes.c_size_t(6), ctypes.c_int(-3))
call("request_key", 249, b"user", b"x", None, ctypes.c_int(0))
call("keyctl", 250, ctypes.c_int(0), ctypes.c_int(-3), ctypes.c_int(1))
for name, family in (("AF_ALG", 38), ("AF_VSOCK", 40), ("AF_AX25", 3), ("AF_DECnet", 12), ("AF_CAN", 29), ("AF_PPPOX", 24)):
    try:
        socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_STREAM).close()
        result[name] = 0
    except OSError as err:
        result[name] = err.errno
try:
    result["keys"] = len(open("/proc/keys").read())
except OSError:
    result["keys"] = 0
print(json.dumps(result))
"""


@pytest.fixture
def answers(engine: Engine) -> Callable[[], list[dict[str, int]]]:
    """Return what the calls answer in a run and in an exec."""

    def ask() -> list[dict[str, int]]:
        import json

        box = started(engine, ["sleep", "1000"], image=PYTHON)
        texts = [run(engine, ["python3", "-c", CALLS], image=PYTHON), box.exec_run(["python3", "-c", CALLS]).output.decode()]
        return [json.loads(text) for text in texts]

    return ask


def test_rt23_rt27_no_keyring_and_no_doubtful_socket(answers: Callable[[], list[dict[str, int]]]) -> None:
    """Keyrings are shared between containers; AF_ALG is how CVE-2026-31431 wrote shared pages."""
    need(os.uname().machine == "x86_64", "x86_64")
    for found in answers():
        assert found.pop("keys") == 0
        assert set(found.values()) <= {errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT}
        assert {found[name] for name in ("add_key", "request_key", "keyctl", "AF_ALG", "AF_VSOCK")} == {errno.EPERM}


# the whole machine ------------------------------------------------------------------------------------------------------------------


def test_rt35_another_user_sees_nothing_of_the_store(home: Home, engine: Engine) -> None:
    """CVE-2021-41091: as nobody, every file of the store and the run directory is tried."""
    previous = os.umask(0)  # whatever the kernel's is
    try:
        started(engine, ["sleep", "1000"], {"environment": {"TOKEN": "canary"}})
    finally:
        os.umask(previous)
    code = """
        import os, sys
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        for path in sys.stdin.read().split("\\0"):
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
                print(path)
            except OSError:
                pass
    """
    # a name may be known: each is tried itself, not only those that can be listed
    names = [str(path) for top in (home.root, home.run) for path in top.rglob("*") if "\n" not in path.name and not path.is_symlink()]
    assert len(names) > 300
    os.chmod(home.top, 0o755)  # as /var/lib and /run are
    try:
        command = ["/usr/bin/python3", "-c", textwrap.dedent(code)]
        done = subprocess.run(command, input="\0".join(names), capture_output=True, text=True, check=True, timeout=60)
    finally:
        os.chmod(home.top, 0o700)
    assert done.stdout == ""


def test_rt36_a_fork_bomb_is_its_containers_own_trouble(engine: Engine) -> None:
    friend = started(engine, ["sleep", "1000"])
    bomb = started(engine, ["sh", "-c", "b() { b | b & }; b; sleep 1000"], {"pids_limit": 100})
    time.sleep(1)
    assert subprocess.run(["true"], check=False).returncode == 0
    assert friend.exec_run(["echo", "well"]).output == b"well\n"
    began = time.monotonic()
    bomb.stop(timeout=0)
    assert time.monotonic() - began < 5
    assert bomb.status == "exited"

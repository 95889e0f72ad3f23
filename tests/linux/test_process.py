"""Processes by identity, namespaces by birth, capabilities by name."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from notebook_containers.linux import capabilities, namespaces, process, syscalls


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "100"])


def test_a_pid_without_a_process_of_its_own_is_nobody() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        with pytest.raises(ProcessLookupError):
            syscalls.pidfd_open(thread.native_id)
        assert process.wait_gone(thread.native_id, process.start_time(thread.native_id), 0)
    finally:
        done.set()
        thread.join()


def test_identity_is_pid_and_start_time() -> None:
    child = sleeper()
    started = process.start_time(child.pid)
    try:
        assert started > 0
        assert process.alive(child.pid, started)
        assert not process.alive(child.pid, started + 1)
        with pytest.raises(ProcessLookupError):
            process.open_pidfd(child.pid, started + 1)
        assert not process.wait_gone(child.pid, started, 0.05)
    finally:
        child.kill()
    assert process.wait_gone(child.pid, started, 5)
    assert not process.alive(child.pid, started)  # a zombie does not live
    child.wait()
    assert process.start_time(child.pid) == 0
    assert process.wait_gone(child.pid, started, None)


def test_a_name_with_brackets_and_blanks_does_not_confuse_the_start_time(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    child = subprocess.Popen([str(program), "100"])
    try:
        deadline = time.monotonic() + 5
        while b"a) R" not in Path(f"/proc/{child.pid}/comm").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.alive(child.pid, process.start_time(child.pid))
        assert process.start_time(child.pid) > 1000
    finally:
        child.kill()
        child.wait()


def test_exit_codes_as_a_shell_tells_them() -> None:
    assert process.exit_code(7 << 8) == 7
    assert process.exit_code(signal.SIGKILL) == 137
    assert process.exit_code(signal.SIGSEGV | 0x80) == 139


def test_descriptors_travel_with_their_message() -> None:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, two:
        reading, writing = os.pipe()
        process.send_fds(one, b"word", [writing])
        os.close(writing)
        data, fds = process.recv_fds(two, 100, 4)
        assert (data, len(fds), os.get_inheritable(fds[0])) == (b"word", 1, False)
        os.write(fds[0], b"through")
        os.close(fds[0])
        assert os.read(reading, 100) == b"through"
        os.close(reading)
        one.close()
        assert process.recv_fds(two, 100, 4) == (b"", [])


def test_only_the_named_descriptors_stay() -> None:
    code = (
        "import os; from notebook_containers.linux import process\n"
        "fds = [os.open('/dev/null', os.O_RDONLY) for _ in range(20)]\n"
        "process.keep_only([fds[3], fds[10]])\n"
        "left = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "assert left[:5] == [0, 1, 2, fds[3], fds[10]] or set(left) - {fds[3], fds[10]} <= {0, 1, 2, 3}, left\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_signals_are_as_a_program_expects_them() -> None:
    code = (
        "import os, signal; from notebook_containers.linux import process\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "process.reset_signals(); os.execv('/bin/grep', ['grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_a_pty_s_other_end_comes_from_its_master() -> None:
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    process.unlock_master(master)
    slave = process.open_peer(master)
    try:
        process.set_window(slave, 33, 99)
        assert os.get_terminal_size(slave) == (99, 33)
        os.write(slave, b"x")
        assert os.read(master, 10) == b"x"
    finally:
        os.close(slave)
        os.close(master)


def namespace_of(spawn: str) -> list[str]:
    """Run ``spawn`` (Python that sets ``pid``) in a fresh interpreter: spawning wants a single thread."""
    code = (
        "import os, sys; from notebook_containers.linux import namespaces, syscalls\n"
        "def child():\n"
        "    print(os.getpid(), os.readlink('/proc/self/ns/uts'), os.readlink('/proc/self/ns/ipc'), flush=True); os._exit(7)\n"
        f"{spawn}\n"
        "ended, status = os.waitpid(pid, 0); print(os.waitstatus_to_exitcode(status), ended == pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.root
def test_a_child_is_born_in_new_namespaces() -> None:
    result = namespace_of("pid = namespaces.spawn(child, new=syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS)")
    assert result[0] == "1"
    assert result[1] != os.readlink("/proc/self/ns/uts")
    assert result[2] == os.readlink("/proc/self/ns/ipc")
    assert result[3:] == ["7", "True"]


@pytest.mark.root
def test_a_child_is_born_in_joined_namespaces_and_is_the_caller_s_own() -> None:
    holder = subprocess.Popen(["unshare", "--uts", "sleep", "100"])
    try:
        deadline = time.monotonic() + 5
        while not namespaces.FILES or os.readlink(f"/proc/{holder.pid}/ns/uts") == os.readlink("/proc/self/ns/uts"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not namespaces.same_namespace(holder.pid, "uts")
        assert namespaces.same_namespace(holder.pid, "ipc")
        result = namespace_of(
            f"fd = namespaces.open_namespace({holder.pid}, 'uts'); "
            "pid = namespaces.spawn(child, new=syscalls.CLONE_NEWPID, join=[(fd, syscalls.CLONE_NEWUTS)])"
        )
        assert result[1] == os.readlink(f"/proc/{holder.pid}/ns/uts")
        assert (result[0], result[3:]) == ("1", ["7", "True"])
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.root
def test_rt14_who_is_born_in_joined_namespaces_cannot_be_traced() -> None:
    result = namespace_of(
        "def quiet(): print('dumpable', syscalls.prctl(3), flush=True); os._exit(0)\n"
        f"fd = namespaces.open_namespace({os.getpid()}, 'uts'); pid = namespaces.spawn(quiet, new=0, join=[(fd, syscalls.CLONE_NEWUTS)])"
    )
    assert result[:2] == ["dumpable", "0"]


@pytest.mark.root
def test_a_namespace_that_cannot_be_joined_is_an_error_of_the_caller() -> None:
    result = namespace_of(
        "try: namespaces.spawn(child, new=0, join=[(0, syscalls.CLONE_NEWUTS)])\n"
        "except OSError as err: print('refused', err.errno)\n"
        "pid = namespaces.spawn(child, new=0)"
    )
    assert result[:2] == ["refused", "22"]


@pytest.mark.root
def test_id_maps_are_written_by_the_parent() -> None:
    result = namespace_of(
        "r, w = os.pipe()\n"
        "def mapped():\n"
        "    os.read(r, 1); print(open('/proc/self/uid_map').read().split(), os.getuid(), flush=True); os._exit(0)\n"
        "pid = namespaces.spawn(mapped, new=syscalls.CLONE_NEWUSER)\n"
        "namespaces.write_id_maps(pid, [(0, 1000, 1), (1, 200000, 1000)], [(0, 1000, 1), (1, 200000, 1000)]); os.write(w, b'x')"
    )
    assert result[:7] == ["['0',", "'1000',", "'1',", "'1',", "'200000',", "'1000']", "65534"]


def test_capabilities_by_name() -> None:
    assert capabilities.mask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    assert capabilities.last() >= 37
    with pytest.raises(ValueError, match="CAP_NOTHING"):
        capabilities.mask(["CAP_NOTHING"])


@pytest.mark.root
def test_rights_are_given_up_for_good() -> None:
    code = (
        "import os; from notebook_containers.linux import capabilities as c\n"
        "c.limit_bounding(c.mask(['CAP_KILL', 'CAP_CHOWN'])); c.change_ids(1000, 1001, [7], may_set_groups=True)\n"
        "kill = c.mask(['CAP_KILL']); c.set_sets(effective=kill, permitted=kill, inheritable=kill, ambient=kill)\n"
        "os.execv('/bin/grep', ['grep', '-E', 'Cap|Uid|Gid|Groups', '/proc/self/status'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    found = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert found["Uid:"] == ["1000"] * 4
    assert found["Gid:"] == ["1001"] * 4
    assert found["Groups:"] == ["7"]
    assert {key: int(value[0], 16) for key, value in found.items() if key.startswith("Cap")} == {
        "CapInh:": 1 << 5,
        "CapPrm:": 1 << 5,
        "CapEff:": 1 << 5,
        "CapBnd:": 1 << 5 | 1,
        "CapAmb:": 1 << 5,
    }

"""The process that is forked ahead: it is there, it is replaced, and it goes when its spawner or its engine goes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_containers.errors import StartFailed
from notebook_containers.linux import mounts, process as processes, syscalls
from notebook_containers.oci.runtime import Mount, Pids, Process, Resources, Spec
from notebook_containers.runtime import ahead, exec as execution, monitor
from notebook_containers.runtime.bundle import Bundle, MonitorOptions, RootMounts
from notebook_containers.runtime.expected import Expected
from tests import groups
from tests.runtime.boxes import ENV, Box, collect, spec_for

pytestmark = pytest.mark.root


def spawner(box: Box) -> int:
    return box.runtime._starter.pid()


def spares(box: Box) -> list[int]:
    pid = spawner(box)
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if processes.name_of(child) == "nbc-spare"]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_one_waits_before_the_first_container_and_after_each(box: Box) -> None:
    box.runtime.warm()
    until(lambda: len(spares(box)) == 1)
    (first,) = spares(box)
    assert box.sh("echo hello") == (0, "hello\n")
    until(lambda: len(spares(box)) == 1)
    assert spares(box) != [first]


def test_the_spare_becomes_the_monitor(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    (spare,) = spares(box)
    identity = box.create(spec_for(["/bin/true"]))
    state = box.runtime.state(identity)
    assert state.monitor_pid == spare
    assert processes.name_of(spare) == "nbc-monitor"
    assert [os.readlink(f"/proc/{spare}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3


def test_a_monitor_outlives_a_killed_spawner_and_the_spare_does_not(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sh", "-c", "sleep 0.3; exit 4"]))
    box.runtime.start(identity)
    until(lambda: spares(box))
    (spare,) = spares(box)
    started = processes.start_time(spare)
    os.kill(spawner(box), signal.SIGKILL)
    assert processes.wait_gone(spare, started, 5)
    assert box.runtime.wait(identity, timeout_s=30) == 4


def test_a_killed_spare_is_replaced(box: Box) -> None:
    box.runtime.warm()
    for _ in range(3):
        until(lambda: spares(box))
        (spare,) = spares(box)
        os.kill(spare, signal.SIGKILL)
        until(lambda spare=spare: len(found := spares(box)) == 1 and found != [spare])  # type: ignore[misc]
    assert box.sh("echo again") == (0, "again\n")


def test_nothing_of_it_is_left_when_the_engine_closes(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    known = [(pid, processes.start_time(pid)) for pid in (spawner(box), *spares(box))]
    box.runtime.close()
    assert [pid for pid, started in known if processes.start_time(pid) == started] == []


def test_making_and_starting_in_one_request(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/sh", "-c", "echo out; exit 3"]))
    session = box.runtime.run(identity, bundle, attach=True)
    assert session is not None
    with session:
        assert collect(session) == (3, "out\n")
    assert box.runtime.wait(identity) == 3


def test_a_command_that_cannot_start_leaves_nothing(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/nothing"]))
    with pytest.raises(StartFailed) as caught:
        box.runtime.run(identity, bundle, attach=True)
    assert caught.value.exit_status == 127
    assert box.runtime.ids() == []
    assert not (box.directory / "run/c" / identity[:12]).exists()


def test_input_over_the_connection_that_asked_for_the_container(box: Box) -> None:
    identity, bundle = box.bundle(spec_for(["/bin/cat"]), MonitorOptions(stdin_open=True))
    with box.runtime.make(identity, bundle) as made:
        assert made.state.status == "created"
        session = made.start(attach=True, stdin=True)
        assert session is not None
        session.write(b"in and out\n")
        session.close_stdin()
        assert collect(session) == (0, "in and out\n")


def inits(box: Box) -> list[int]:
    found = [word for pid in spares(box) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [int(word) for word in found]


def announced(box: Box) -> int:
    until(lambda: spares(box))
    box.runtime.soon().end(made=True)
    until(lambda: inits(box))
    (init,) = inits(box)
    return init


def test_a_rehearsal_leaves_nothing_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    ahead.rehearse()
    monitor.rehearse()
    execution.rehearse()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_an_init_made_ahead_becomes_the_command(box: Box) -> None:
    box.runtime.warm()
    for _ in range(2):
        init = announced(box)
        identity = box.create(spec_for(["/bin/sh", "-c", "exit 3"]))
        assert box.runtime.state(identity).pid == init
        own = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup")}
        assert all(os.stat(f"/proc/{init}/ns/{kind}").st_ino != number for kind, number in own.items())
        box.runtime.start(identity)
        assert box.runtime.wait(identity, timeout_s=30) == 3


def test_who_works_ahead_leaves_the_callers_processor_and_the_container_has_every_one(box: Box) -> None:
    box.runtime.warm()
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(mine)})  # the thread that asks; the spawner is there already
    try:
        for _ in range(2):
            until(lambda: all(os.sched_getaffinity(pid) == (mine - {max(mine)} or mine) for pid in (announced(box), *spares(box))))
            identity = box.create(spec_for(["/bin/sleep", "100"]))
            state = box.runtime.state(identity)
            box.runtime.start(identity)
            assert [os.sched_getaffinity(pid) for pid in (state.pid, state.monitor_pid)] == [mine, mine]
            announced(box)
            session = box.runtime.exec(identity, Process(args=("/bin/grep", "Cpus_allowed_list", "/proc/self/status"), env=ENV, cwd="/"))
            assert session is not None
            with session:
                printed = b"".join(data for _stream, data in session).decode()
            assert printed.split()[1] == Path(f"/proc/{state.monitor_pid}/status").read_text().partition("Cpus_allowed_list:")[2].split()[0]
    finally:
        os.sched_setaffinity(0, mine)


def test_a_container_has_no_more_processors_than_who_asked_for_it(box: Box) -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        box.runtime.warm()
        for _ in range(2):
            announced(box)
            identity = box.create(spec_for(["/bin/sleep", "100"]))
            box.runtime.start(identity)
            state = box.runtime.state(identity)
            assert [os.sched_getaffinity(pid) for pid in (state.pid, state.monitor_pid)] == [{min(mine)}] * 2
    finally:
        os.sched_setaffinity(0, mine)


def test_one_made_ahead_for_nothing_is_gone_after_a_second(box: Box) -> None:
    box.runtime.warm()
    init = announced(box)
    started = processes.start_time(init)
    (spare,) = spares(box)
    assert processes.wait_gone(init, started, 30)
    assert spares(box) == [spare]  # and who made it still waits
    assert box.sh("echo hello") == (0, "hello\n")


def test_an_exec_and_a_killed_engine_leave_none(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sleep", "100"]))
    box.runtime.start(identity)
    init = announced(box)
    started = processes.start_time(init)
    session = box.runtime.exec(identity, Process(args=("/bin/echo", "inside"), env=ENV, cwd="/"))
    assert session is not None
    with session:
        assert b"".join(data for _stream, data in session) == b"inside\n"
    assert processes.wait_gone(init, started, 30)
    init = announced(box)
    started = processes.start_time(init)
    os.kill(spawner(box), signal.SIGKILL)
    assert processes.wait_gone(init, started, 30)
    box.runtime.delete(identity, force=True)


def test_a_killed_one_and_one_in_other_namespaces_are_not_needed(box: Box) -> None:
    box.runtime.warm()
    os.kill(announced(box), signal.SIGKILL)
    assert box.sh("echo killed") == (0, "killed\n")
    init = announced(box)
    started = processes.start_time(init)
    spec = spec_for(["/bin/true"])
    assert spec.linux is not None
    kinds = tuple(entry for entry in spec.linux.namespaces if entry.type != "network")
    identity = box.create(replace(spec, linux=replace(spec.linux, namespaces=kinds)))
    pid = box.runtime.state(identity).pid
    assert processes.wait_gone(init, started, 30)
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino


def test_a_mount_made_meanwhile_is_seen(box: Box, tmp_path: Path) -> None:
    place = tmp_path / "late"
    place.mkdir()
    box.runtime.warm()
    announced(box)
    tree = mounts.create("tmpfs", "tmpfs", ["mode=755"])
    target = os.open(place, os.O_PATH | os.O_DIRECTORY)
    mounts.attach(tree, target)
    os.close(target)
    try:
        (place / "file").write_text("late\n")
        bind = Mount(destination="/mnt", type="bind", source=str(place), options=("rbind", "ro"))
        spec = spec_for(["/bin/cat", "/mnt/file"])
        assert box.run(replace(spec, mounts=(*spec.mounts, bind))) == (0, "late\n")
    finally:
        os.close(tree)
        syscalls.umount2(str(place))


def test_what_goes_wrong_in_one_is_told_by_its_step(box: Box) -> None:
    box.runtime.warm()
    announced(box)
    spec = spec_for(["/bin/true"])
    bind = Mount(destination="/mnt", type="bind", source="/nowhere", options=("rbind",))
    with pytest.raises(StartFailed, match="cannot mount /mnt"):
        box.create(replace(spec, mounts=(*spec.mounts, bind)))
    assert box.runtime.ids() == []


PARENT = f"nbc-test-spawner-{os.getpid()}"


def tell(expected: Expected, bundle: Bundle, spec: Spec) -> None:
    root = RootMounts.from_json(json.loads((bundle.path / "rootfs.json").read_text())).mounts
    assert spec.linux is not None
    assert spec.linux.resources is not None
    expected.group(bundle.path, spec.linux.cgroups_path, spec.linux.resources)
    expected.root(root)
    expected.bundle(spec.to_json(), json.loads((bundle.path / "monitor.json").read_text()), root, b"")


def limited(spec: Spec, name: str) -> Spec:
    assert spec.linux is not None
    return replace(spec, linux=replace(spec.linux, cgroups_path=f"{PARENT}/{name}", resources=Resources(pids=Pids(limit=100))))


def test_what_is_told_of_a_container_is_made_before_it_is_asked_for(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    spec = limited(spec_for(["/bin/sh", "-c", "echo told >/file; cat /file"]), "told")
    with box.runtime.soon() as expected:
        identity, bundle = box.bundle(spec)
        tell(expected, bundle, spec)
        until(lambda: inits(box) and groups.named(lambda name: name == "told"))
        (init,) = inits(box)
        until(lambda: f"{PARENT}/told" in Path(f"/proc/{init}/cgroup").read_text())
        session = box.runtime.run(identity, bundle, attach=True)
        assert session is not None
        assert box.runtime.state(identity).pid == init
    with session:
        assert collect(session) == (0, "told\n")
    box.runtime.delete(identity)
    assert groups.named(lambda name: name == "told") == []


@pytest.mark.parametrize("end", ["never", "another", "engine", "exec"])
def test_what_was_told_for_nothing_leaves_nothing(box: Box, end: str) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    running = box.create(spec_for(["/bin/sleep", "100"]))
    box.runtime.start(running)
    expected = box.runtime.soon()
    spec = limited(spec_for(["/bin/true"]), "nothing")
    _identity, bundle = box.bundle(spec)
    tell(expected, bundle, spec)
    until(lambda: inits(box) and groups.named(lambda name: name == "nothing"))
    (init,) = inits(box)
    started = processes.start_time(init)
    if end == "another":
        assert box.sh("echo another") == (0, "another\n")
    elif end == "exec":
        session = box.runtime.exec(running, Process(args=("/bin/echo", "inside"), env=ENV, cwd="/"))
        assert session is not None
        with session:
            assert b"".join(data for _stream, data in session) == b"inside\n"
    elif end == "engine":
        box.runtime.close()
    expected.end(made=False)
    assert processes.wait_gone(init, started, 30)
    until(lambda: not groups.named(lambda name: name == "nothing"))
    assert box.sh("echo again") == (0, "again\n")
    box.runtime.delete(running, force=True)


def test_another_container_in_between_takes_nothing_away(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    spec = limited(spec_for(["/bin/echo", "mine"]), "between")
    with box.runtime.soon() as expected:
        identity, bundle = box.bundle(spec)
        tell(expected, bundle, spec)
        until(lambda: inits(box))
        (init,) = inits(box)
        until(lambda: f"{PARENT}/between" in Path(f"/proc/{init}/cgroup").read_text())  # then all of them are made
        made = {path: path.stat().st_ino for path in groups.named(lambda name: name == "between")}
        assert box.sh("echo another") == (0, "another\n")
        assert {path: path.stat().st_ino for path in groups.named(lambda name: name == "between")} == made
        session = box.runtime.run(identity, bundle, attach=True)
    assert session is not None
    with session:
        assert collect(session) == (0, "mine\n")
    box.runtime.delete(identity)
    assert groups.named(lambda name: name == "between") == []


def test_who_hears_of_the_bundle_alone_leaves_its_root_alone(box: Box) -> None:
    """A volatile root can be mounted only once: not by who did not hear of another one, and gives way to a stranger's container."""
    box.runtime.warm()
    for _ in range(4):
        until(lambda: spares(box))
        spec = limited(spec_for(["/bin/echo", "mine"]), "alone")
        assert spec.linux is not None
        assert spec.linux.resources is not None
        with box.runtime.soon() as expected:
            identity, bundle = box.bundle(spec)
            (root,) = RootMounts.from_json(json.loads((bundle.path / "rootfs.json").read_text())).mounts
            root = replace(root, options=(*root.options, "volatile"))
            bundle = Bundle.create(bundle.path, spec, (root,), MonitorOptions())
            expected.group(bundle.path, spec.linux.cgroups_path, spec.linux.resources)
            expected.bundle(spec.to_json(), json.loads((bundle.path / "monitor.json").read_text()), (root,), b"")
            assert box.sh("echo another") == (0, "another\n")
            session = box.runtime.run(identity, bundle, attach=True)
        assert session is not None
        with session:
            assert collect(session) == (0, "mine\n")
        box.runtime.delete(identity)


def test_only_one_container_at_a_time_is_told_of(box: Box) -> None:
    box.runtime.warm()
    until(lambda: spares(box))
    with box.runtime.soon(), box.runtime.soon() as second:
        spec = limited(spec_for(["/bin/true"]), "second")
        _identity, bundle = box.bundle(spec)
        tell(second, bundle, spec)
        assert box.sh("echo one") == (0, "one\n")  # by now the spare would have made the group
    assert groups.named(lambda name: name == "second") == []


def test_one_is_ready_after_a_container_and_gone_when_none_follows(box: Box) -> None:
    assert box.sh("echo one") == (0, "one\n")
    until(lambda: inits(box))
    (init,) = inits(box)
    started = processes.start_time(init)
    assert processes.wait_gone(init, started, 30)
    assert spares(box)

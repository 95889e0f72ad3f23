"""Containers from create to rm on the real kernel: states, exit codes, signals, names, and that nothing of them stays."""

from __future__ import annotations

import time

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, ContainerError, ContainerNotFound, ImageNotFound, InvalidArgument, StartFailed
from tests.home import BASE

pytestmark = pytest.mark.root


def detached(engine: Engine, script: str, **given: object) -> Container:
    container = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, **given)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def test_create_start_wait_remove(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["sh", "-c", "echo out; echo err >&2; exit 7"], network="none", name="one")
    assert (container.status, container.exit_code, container.name) == ("created", None, "one")
    assert container.status_text == "Created"
    container.start()
    assert container.wait() == {"StatusCode": 7, "Error": None}
    assert (container.status, container.exit_code) == ("exited", 7)
    assert container.status_text.startswith("Exited (7)")
    assert container.logs(stdout=True, stderr=False) == b"out\n"
    assert container.logs(stdout=False, stderr=True) == b"err\n"
    assert sorted(container.logs().split()) == [b"err", b"out"]
    container.remove()
    with pytest.raises(ContainerNotFound, match="no such container: one"):
        engine.containers.get("one")
    with pytest.raises(ContainerNotFound):
        container.reload()


def test_run_returns_the_output_and_raises_the_exit_status(engine: Engine) -> None:
    assert engine.containers.run(BASE, "echo hello", network="none", remove=True) == b"hello\n"
    with pytest.raises(ContainerError, match="exit status 3: bad") as caught:
        engine.containers.run(BASE, ["sh", "-c", "echo bad >&2; exit 3"], network="none", remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, "bad")
    assert engine.containers.list(all=True) == []


def test_run_gives_standard_error_when_asked(engine: Engine) -> None:
    script = ["sh", "-c", "echo out; echo err >&2"]
    assert engine.containers.run(BASE, script, network="none", remove=True, stdout=False, stderr=True) == b"err\n"


@pytest.mark.parametrize("code", [0, 1, 42, 125, 126, 127, 255])
def test_rel17_every_exit_code_is_told_as_it_is(engine: Engine, code: int) -> None:
    container = detached(engine, f"exit {code}")
    assert container.wait()["StatusCode"] == code
    assert not container.state.oom_killed


def test_rel17_a_signal_is_128_and_its_number(engine: Engine) -> None:
    container = detached(engine, "sh -c 'kill -SEGV $$'; exit $?")
    assert container.wait()["StatusCode"] == 139
    other = detached(engine, "sleep 1000")
    other.kill("SIGKILL")
    assert other.wait()["StatusCode"] == 137
    assert not other.state.oom_killed


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("no-such-program", 127),
        ("/etc", 126),
        ("/etc/passwd", 126),
        ("/no/such", 127),
    ],
)
def test_a_command_that_cannot_start_is_named_and_nothing_runs(engine: Engine, command: str, status: int) -> None:
    with pytest.raises(StartFailed, match=command) as caught:
        engine.containers.run(BASE, [command], network="none", remove=True)
    assert caught.value.exit_status == status
    assert "\n" not in caught.value.one_line()
    assert engine.containers.list(all=True) == []


def test_a_failed_start_tells_the_same_however_the_monitor_and_the_caller_race(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["/no/such"], network="none")
    for _ in range(30):
        with pytest.raises(StartFailed, match="/no/such"):
            container.start()
    container.remove()


def test_a_created_container_whose_command_cannot_start_can_be_tried_again_and_removed(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["no-such-program"], network="none")
    for _ in range(2):
        with pytest.raises(StartFailed):
            container.start()
        container.reload()
        assert container.status == "created"
    container.remove()


def test_stop_asks_first(engine: Engine) -> None:
    container = detached(engine, "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done")
    wait_for_log(container, b"up")
    started = time.monotonic()
    container.stop(timeout=10)
    assert time.monotonic() - started < 5
    assert (container.status, container.exit_code) == ("exited", 5)
    assert container.logs() == b"up\nasked\n"


def test_rel18_stop_kills_what_does_not_listen(engine: Engine) -> None:
    container = detached(engine, "trap '' TERM; echo up; while :; do sleep 0.05; done")
    wait_for_log(container, b"up")
    started = time.monotonic()
    container.stop(timeout=1)
    assert 0.9 < time.monotonic() - started < 4
    assert (container.status, container.exit_code) == ("exited", 137)


def test_rel18_stop_with_the_images_signal(engine: Engine) -> None:
    container = detached(engine, "trap 'exit 9' USR1; trap '' TERM; echo up; while :; do sleep 0.05; done", stop_signal="SIGUSR1")
    wait_for_log(container, b"up")
    container.stop(timeout=5)
    assert container.exit_code == 9


def test_rel18_a_paused_container_is_stopped(engine: Engine, sleeper: Container) -> None:
    sleeper.pause()
    assert sleeper.status == "paused"
    assert "(Paused)" in sleeper.status_text
    sleeper.stop(timeout=1)
    assert sleeper.exit_code == 137


def test_pause_stops_the_work_and_unpause_goes_on(engine: Engine) -> None:
    container = detached(engine, "while :; do echo tick; sleep 0.05; done", stop_timeout=0)
    wait_for_log(container, b"tick")
    container.pause()
    before = container.logs()
    time.sleep(0.3)
    assert container.logs() == before
    with pytest.raises(Conflict, match="paused"):
        container.exec_run("true")
    container.unpause()
    time.sleep(0.2)
    assert len(container.logs()) > len(before)


def test_pausing_twice_and_unpausing_what_runs_are_conflicts(engine: Engine, sleeper: Container) -> None:
    with pytest.raises(Conflict, match="not paused"):
        sleeper.unpause()
    sleeper.pause()
    with pytest.raises(Conflict, match="paused"):
        sleeper.pause()
    sleeper.unpause()


def test_start_stop_start_keeps_files_and_log(engine: Engine) -> None:
    container = detached(engine, "echo x >> /count; cat /count | wc -l")
    for expected in (1, 2):
        container.wait()
        assert container.logs().split()[-1] == str(expected).encode()
        container.start()
    container.wait()
    assert container.logs().split() == [b"1", b"2", b"3"]


def test_starting_what_runs_and_stopping_what_does_not_change_nothing(engine: Engine, sleeper: Container) -> None:
    pid = sleeper.state.pid
    sleeper.start()
    sleeper.reload()
    assert sleeper.state.pid == pid
    sleeper.stop(timeout=0)
    sleeper.stop(timeout=0)
    assert sleeper.exit_code == 137


def test_restart_is_a_new_process(engine: Engine, sleeper: Container) -> None:
    pid = sleeper.state.pid
    sleeper.restart(timeout=0)
    assert sleeper.status == "running"
    assert sleeper.state.pid != pid


def test_a_running_container_is_removed_only_by_force(engine: Engine, sleeper: Container) -> None:
    with pytest.raises(Conflict, match="is running") as caught:
        sleeper.remove()
    assert f"nbc rm -f {sleeper.name}" in caught.value.hint
    sleeper.remove(force=True)
    assert engine.containers.list(all=True) == []


def test_a_name_is_taken_once(engine: Engine) -> None:
    engine.containers.create(BASE, ["true"], network="none", name="same")
    with pytest.raises(Conflict, match="same") as caught:
        engine.containers.create(BASE, ["true"], network="none", name="same")
    assert caught.value.hint
    assert len(engine.containers.list(all=True)) == 1


def test_rename_and_the_old_name_is_free(engine: Engine) -> None:
    first = engine.containers.create(BASE, ["true"], network="none", name="first")
    second = engine.containers.create(BASE, ["true"], network="none", name="second")
    with pytest.raises(Conflict, match="second"):
        first.rename("second")
    with pytest.raises(InvalidArgument, match="'a b'"):
        first.rename("a b")
    first.rename("third")
    assert engine.containers.get("third").id == first.id
    second.rename("first")
    assert engine.containers.get("first").id == second.id


def test_a_container_is_found_by_name_id_and_prefix(engine: Engine) -> None:
    container = engine.containers.create(BASE, ["true"], network="none", name="findme")
    for word in ("findme", "/findme", container.id, container.short_id, container.id[:4]):
        assert engine.containers.get(word).id == container.id
    with pytest.raises(ContainerNotFound, match="no such container: findm") as caught:
        engine.containers.get("findm")
    assert "findme" in caught.value.hint


def test_the_list_has_the_newest_first_and_only_the_running_unless_all(engine: Engine, sleeper: Container) -> None:
    done = engine.containers.create(BASE, ["true"], network="none")
    assert [c.id for c in engine.containers.list()] == [sleeper.id]
    assert [c.id for c in engine.containers.list(all=True)] == [done.id, sleeper.id]
    assert [c.id for c in engine.containers.list(limit=1)] == [done.id]


def test_prune_removes_what_does_not_run_and_counts_the_bytes(engine: Engine, sleeper: Container) -> None:
    done = detached(engine, "dd if=/dev/zero of=/big bs=1024 count=100 2>/dev/null")
    done.wait()
    waiting = engine.containers.create(BASE, ["true"], network="none")
    result = engine.containers.prune()
    assert set(result["ContainersDeleted"]) == {done.id, waiting.id}  # type: ignore[call-overload]
    assert int(str(result["SpaceReclaimed"])) >= 102_400
    assert [c.id for c in engine.containers.list(all=True)] == [sleeper.id]


def test_rm_takes_a_detached_container_away_at_its_end(engine: Engine) -> None:
    container = detached(engine, "exit 0", remove=True)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and engine.containers.list(all=True):
        time.sleep(0.02)
    assert engine.containers.list(all=True) == []
    with pytest.raises(ContainerNotFound):
        engine.containers.get(container.id)


def test_an_image_that_is_not_there_is_named(engine: Engine) -> None:
    with pytest.raises(ImageNotFound, match="no-such-image") as caught:
        engine.containers.create("no-such-image", ["true"])
    assert caught.value.hint
    with pytest.raises(InvalidArgument, match="Bad Name"):
        engine.containers.create("Bad Name", ["true"])
    assert engine.containers.list(all=True) == []


def test_restart_policies(engine: Engine) -> None:
    container = detached(engine, "echo run; exit 3", restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
    container.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and container.logs() != b"run\n" * 3:
        time.sleep(0.05)
    container.wait()
    container.reload()
    assert container.logs() == b"run\n" * 3
    assert (container.status, container.exit_code, container.attrs["RestartCount"]) == ("exited", 3, 2)


def test_rel31_a_stopped_container_is_not_restarted(engine: Engine) -> None:
    container = detached(engine, "echo run; sleep 1000", restart_policy={"Name": "always"}, stop_timeout=0)
    wait_for_log(container, b"run")
    container.stop()
    time.sleep(0.5)
    container.reload()
    assert container.status == "exited"
    assert container.logs() == b"run\n"


def test_kill_sends_any_signal(engine: Engine) -> None:
    container = detached(engine, "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done", stop_timeout=0)
    wait_for_log(container, b"up")
    container.kill("USR1")
    wait_for_log(container, b"usr1")
    container.kill("10")
    assert container.status == "running"
    with pytest.raises(InvalidArgument, match="FOO"):
        container.kill("FOO")
    container.stop()
    with pytest.raises(Conflict, match="exited"):
        container.kill()


def test_waiting_has_a_limit(engine: Engine, sleeper: Container) -> None:
    with pytest.raises(TimeoutError):
        sleeper.wait(timeout=0.1)


def test_what_was_never_started_is_not_waited_for(engine: Engine) -> None:
    """Docker's default condition is "not running", which such a container is: it answers 0 at once."""
    created = engine.containers.create(BASE, ["true"], network="none")
    assert created.wait() == {"StatusCode": 0, "Error": None}
    failed = engine.containers.create(BASE, ["nothing-of-that-name"], network="none")
    with pytest.raises(StartFailed):
        failed.start()
    assert failed.wait() == {"StatusCode": 127, "Error": None}


def wait_for_log(container: Container, word: bytes) -> None:
    deadline = time.monotonic() + 5
    while word not in container.logs():
        assert time.monotonic() < deadline, f"{word!r} never came: {container.logs()!r}"
        time.sleep(0.02)

"""Events: Docker's types and shape, from this process, from others and from monitors; filters, times, and an end of the waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.events import EventStream, matcher
from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.documents import JSON
from tests.home import BASE, Home

pytestmark = pytest.mark.root


def actions(engine: Engine, since: float, **filters: str | list[str]) -> list[str]:
    with engine.events(since=since, until="0s", filters=filters) as events:
        return [f"{event['Type']} {event['Action']}" for event in events]


def detached(engine: Engine, *args: str, **given: object) -> Container:
    options = {"network": "none", "stop_timeout": 0, **given}
    container = engine.containers.run(BASE, list(args), detach=True, **options)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def test_a_whole_life(engine: Engine) -> None:
    began = time.time()
    container = detached(engine, "sleep", "1000", name="first", labels={"a": "b"})
    container.exec_run(["true"])
    container.pause()
    container.unpause()
    container.rename("second")
    container.restart(timeout=0)
    container.stop()
    container.remove()
    life = ["create", "start", "exec_create: true", "exec_start: true", "exec_die", "pause", "unpause", "rename"]
    life += ["kill", "kill", "die", "stop", "start", "restart", "kill", "kill", "die", "stop", "destroy"]
    with engine.events(since=began, until="0s", filters={"container": container.id}) as stream:
        events = list(stream)
    assert sorted(str(event["Action"]) for event in events) == sorted(life)  # an exec's end is told by another process
    first, last = events[0], events[-1]
    assert first["Actor"] == {"ID": container.id, "Attributes": {**container.labels, "image": BASE, "name": "first"}}
    assert container.labels["a"] == "b"
    assert (first["id"], first["from"], first["status"], first["Type"]) == (container.id, BASE, "create", "container")
    assert isinstance(last["Actor"], dict)
    assert isinstance(last["Actor"]["Attributes"], dict)
    assert last["Actor"]["Attributes"]["name"] == "second"
    dead = next(event for event in events if event["Action"] == "die")
    assert isinstance(dead["Actor"], dict)
    assert isinstance(dead["Actor"]["Attributes"], dict)
    assert dead["Actor"]["Attributes"]["exitCode"] == "137"


def test_what_is_done_with_it_is_told(engine: Engine, tmp_path: Path) -> None:
    began = time.time()
    container = detached(engine, "sleep", "1000", name="used", stdin_open=True, tty=True)
    (tmp_path / "file").write_text("x")
    container.copy_to(tmp_path / "file", "/tmp/")
    container.put_archive("/tmp", b"".join(container.get_archive("/etc/passwd")[0]))
    container.copy_from("/etc/passwd", tmp_path)
    assert b"".join(container.export())
    image = container.commit("used-image", "1", message="why")
    container.update(mem_limit="100m", memswap_limit="200m")
    container.top()
    container.resize(20, 70)
    assert container.exec_run(["sh", "-c", "stty size </dev/pts/0"]).output.split() == [b"20", b"70"]
    with container.attach() as session:
        session.resize(20, 70)
        session.detach()
    assert list(container.exec_run(["echo", "x"], stream=True).output) == [b"x\n"]
    code, streams = container.exec_run(["sh", "-c", "echo a; echo b >&2; exit 4"], demux=True)
    assert (code, streams) == (4, (b"a\n", b"b\n"))
    typed = container.exec_session(["cat"], tty=True, stdin=True)
    assert typed is not None
    with typed:
        typed.detach()
    assert "cat" in str(container.top())
    container.remove(force=True)
    engine.images.remove("used-image:1")
    engine.containers.prune()
    wanted = ["extract-to-dir", "archive-path", "extract-to-dir", "archive-path", "export", "commit", "update", "top"]
    wanted += ["resize", "attach", "resize", "detach", "exec_create: cat", "exec_start: cat", "exec_detach", "top"]
    with engine.events(since=began, until="0s", filters={"type": "container"}) as stream:
        events = list(stream)
    told = [str(event["Action"]) for event in events if event["Action"] != "exec_die"]
    told = [word for word in told if not word.startswith("exec_") or "cat" in word or word == "exec_detach"]
    # who detaches does not wait for the monitor to hear of it
    assert sorted(told) == sorted(["create", "start", *wanted, "kill", "die", "destroy", "prune"])
    attributes = {str(event["Action"]): event["Actor"] for event in events}

    def has(action: str) -> dict[str, JSON]:
        actor = attributes[action]
        assert isinstance(actor, dict)
        found = actor["Attributes"]
        assert isinstance(found, dict)
        return found

    assert (has("resize")["height"], has("resize")["width"]) == ("20", "70")
    assert (has("commit")["imageID"], has("commit")["imageRef"], has("commit")["comment"]) == (image.id, "used-image:1", "why")
    assert len(str(has("exec_detach")["execID"])) == 64
    assert attributes["prune"] == {"ID": "", "Attributes": {"reclaimed": "0"}}


@pytest.mark.netns
def test_images_networks_and_volumes(engine: Engine) -> None:
    began = time.time()
    engine.images.build(text=f"FROM {BASE}\nLABEL a=b\n", tag="one:1")
    engine.images.tag("one:1", "one:2")
    engine.images.remove("one:2")
    engine.images.remove("one:1")
    engine.volumes.create("vol")
    engine.volumes.remove("vol")
    engine.networks.create("apart")
    container = detached(engine, "true", network="apart")
    container.wait(timeout=5)
    container.remove()
    engine.networks.remove("apart")
    assert actions(engine, began, type="image") == ["image build", "image tag", "image untag", "image untag", "image delete"]
    assert actions(engine, began, type="volume") == ["volume create", "volume destroy"]
    assert actions(engine, began, network="apart") == ["network create", "network connect", "network disconnect", "network destroy"]


def test_a_volume_is_mounted_while_a_container_runs(engine: Engine) -> None:
    began = time.time()
    container = detached(engine, "true", volumes={"vol": {"bind": "/v", "mode": "ro"}})
    container.wait(timeout=30)
    container.start()
    container.wait(timeout=30)
    container.remove()
    engine.volumes.remove("vol")
    with engine.events(
        since=began, until="0s", filters={"type": ["volume", "container"], "event": ["mount", "start", "die", "unmount"]}
    ) as told:
        events = list(told)
    assert [event["Action"] for event in events] == ["mount", "start", "die", "unmount"] * 2
    attributes = {"container": container.id, "driver": "local"}
    assert events[3]["Actor"] == {"ID": "vol", "Attributes": attributes}
    mounted = {**attributes, "destination": "/v", "propagation": "", "read/write": "false"}
    assert events[0]["Actor"] == {"ID": "vol", "Attributes": mounted}


def test_others_and_monitors_are_heard_as_it_happens(engine: Engine, home: Home) -> None:
    found: list[str] = []
    with engine.events(filters={"event": ["create", "start", "die"]}) as stream:

        def listen() -> None:
            found.extend(str(event["Action"]) for event in stream)

        thread = threading.Thread(target=listen)
        thread.start()
        run = f"e.containers.run({BASE!r}, ['sleep', '0.5'], network='none', detach=True)"
        code = f"from notebook_containers import Engine\nwith Engine() as e: {run}"
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **home.variables()}, check=True)
        deadline = time.monotonic() + 5
        while len(found) < 3:  # the end comes when that process is gone, from the monitor
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        stream.close()
        thread.join(5)
        assert not thread.is_alive()
    assert found == ["create", "start", "die"]


def test_a_killed_monitor_is_told_of_within_two_seconds(engine: Engine) -> None:
    container = detached(engine, "sleep", "1000")
    state = container.state
    with engine.events(filters={"event": "die"}) as stream:
        os.kill(state.monitor_pid, signal.SIGKILL)
        began = time.monotonic()
        event = next(stream)
        assert time.monotonic() - began < 2
        assert event["id"] == container.id
    container.reload()
    assert (container.status, container.exit_code, container.verdict.cause) == ("exited", 137, "lost")


def test_a_stream_wakes_only_for_events(engine: Engine) -> None:
    stream = engine.events(since=time.time(), until=time.time() + 0.5)
    before = time.thread_time()
    assert list(stream) == []
    assert time.thread_time() - before < 0.05


def test_health_is_told(engine: Engine) -> None:
    began = time.time()
    container = detached(engine, "sleep", "1000", healthcheck={"test": ["CMD", "true"], "interval": 100_000_000})
    with engine.events(since=began, until=str(time.time() + 5), filters={"event": "health_status"}) as stream:
        assert next(stream)["Action"] == "health_status: healthy"
    container.reload()
    assert container.health == "healthy"
    assert container.status_text.endswith("(healthy)")
    state = container.attrs["State"]
    assert isinstance(state, dict)
    assert isinstance(state["Health"], dict)
    assert set(state["Health"]) == {"Status", "FailingStreak", "Log"}


def test_a_build_makes_no_events_of_its_steps(engine: Engine) -> None:
    began = time.time()
    engine.images.build(text=f"FROM {BASE}\nRUN echo {time.time()}\n", tag="steps", network="none")
    engine.images.remove("steps")
    assert {word.split()[0] for word in actions(engine, began)} == {"image"}


def test_unknown_filters_are_an_error_and_a_stream_may_be_dropped(engine: Engine) -> None:
    with pytest.raises(InvalidArgument, match="colour"):
        engine.events(filters={"colour": "red"})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        stream: EventStream = engine.events()
        stream.close()
        stream.__exit__(None, None, None)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_filters_as_dockers() -> None:
    event = {
        "Type": "container",
        "Action": "health_status: healthy",
        "Actor": {"ID": "abcdef", "Attributes": {"image": "repo:1", "name": "one", "tier": "web"}},
    }
    for key, value, fits in [
        ("container", "one", True),
        ("container", "abcd", True),
        ("container", "two", False),
        ("event", "health_status", True),
        ("event", "health_status: healthy", True),
        ("event", "start", False),
        ("image", "repo", True),
        ("image", "repo:1", True),
        ("image", "repo:2", False),
        ("label", "tier", True),
        ("label", "tier=web", True),
        ("label", "tier=db", False),
        ("type", "image", False),
    ]:
        assert matcher({key: value})(dict(event)) is fits, (key, value)  # type: ignore[arg-type]
    assert matcher({"event": ["start", "health_status"], "type": "container"})(dict(event))  # type: ignore[arg-type]

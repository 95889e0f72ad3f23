"""After a restart of the machine (REL-25), after a monitor's death (REL-16), and while no engine lives (REL-31).

The restart is a mount namespace in which the kernel's boot id is another, with the run directory emptied as a tmpfs would be.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.linux import process as processes
from notebook_containers.runtime.orphans import sweep
from tests.home import BASE, Home

pytestmark = pytest.mark.root

REBOOTED = """
import ctypes, json, os, shutil, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0 and libc.mount(b"", b"/", b"", 0x4000 | 0x80000, b"") == 0
top, boot, code = sys.argv[1:4]
with open(f"{top}/boot_id", "w") as file:
    file.write(boot + "\\n")
assert libc.mount(f"{top}/boot_id".encode(), b"/proc/sys/kernel/random/boot_id", b"", 0x1000, b"") == 0
from notebook_containers import Engine
with Engine() as engine:
    exec(code)
"""


def after_restart(home: Home, boot: str, code: str) -> object:
    """Run code with an ``engine`` on a machine with another boot id; it prints JSON."""
    words = [sys.executable, "-c", REBOOTED, str(home.top), boot, code]
    done = subprocess.run(words, env={**os.environ, **home.variables()}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def detached(engine: Engine, *args: str, restart: str = "no", **given: object) -> Container:
    policy = {"Name": restart, "MaximumRetryCount": 0}
    options = {"network": "none", "stop_timeout": 0, "restart_policy": None if restart == "no" else policy, **given}
    container = engine.containers.run(BASE, list(args), detach=True, **options)  # type: ignore[arg-type]
    assert isinstance(container, Container)
    return container


def lose(container: Container) -> None:
    """Kill a container and its monitor at once, as the end of a machine does."""
    state = container.state
    os.kill(state.monitor_pid, signal.SIGKILL)
    os.kill(state.pid, signal.SIGKILL)
    assert processes.wait_gone(state.monitor_pid, state.monitor_started, 5)
    assert processes.wait_gone(state.pid, state.pid_started, 5)


STATES = "print(json.dumps({c.name: [c.status, c.exit_code, c.state.restart_count] for c in engine.containers.every()}))"
RECOVER = """
from dataclasses import asdict
names = {c.id: c.name for c in engine.containers.every()}
done = engine.recover()
print(json.dumps({key: sorted(names.get(i, i) for i in ids) for key, ids in asdict(done).items()}))
"""


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with containers."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_a_restart_of_the_machine(own_home: Home, bystander: subprocess.Popen[bytes]) -> None:
    with own_home.open() as engine:
        kept = {name: detached(engine, "sleep", "1000", restart=name, name=name) for name in ("always", "unless-stopped", "on-failure")}
        plain = detached(engine, "sleep", "1000", name="plain")
        removed = detached(engine, "sleep", "1000", name="removed", auto_remove=True, volumes=["/data"])
        vanished = detached(engine, "sleep", "1000", name="vanished", auto_remove=True)
        stopped = {
            f"{name}-stopped": detached(engine, "sleep", "1000", restart=name, name=f"{name}-stopped")
            for name in ("always", "unless-stopped")
        }
        for container in stopped.values():
            container.stop()
        detached(engine, "sh", "-c", "exit 3", name="ended").wait(timeout=5)
        engine.containers.create(BASE, ["true"], name="created", network="none")
        for container in [*kept.values(), plain, removed, vanished]:
            lose(container)
        sweep(own_home.root / "containers" / vanished.id)  # no restart leaves a cgroup
        stale = own_home.run / "c" / plain.id[:12] / "state.json"
        state = json.loads(stale.read_text())
        started = processes.start_time(bystander.pid)
        for name in list((own_home.run / "c").iterdir()):  # what a run directory on a disk would keep: one, with pids that live again
            if name.name != plain.id[:12]:
                subprocess.run(["rm", "-r", str(name)], check=True)
        state.update(pid=bystander.pid, pidStarted=started, monitorPid=bystander.pid, monitorStarted=started)
        stale.write_text(json.dumps(state))

    found = after_restart(own_home, "boot-two", STATES)
    assert isinstance(found, dict)
    assert "vanished" not in found  # with its files: nothing else would ever take them away
    assert not [*own_home.root.glob(f"*/{vanished.id}")]
    assert all(found[name][:2] == ["exited", 137] for name in ("always", "plain", "removed", "on-failure"))
    assert (found["ended"][:2], found["created"][:2]) == (["exited", 3], ["created", None])

    done = after_restart(own_home, "boot-two", RECOVER)
    assert done == {
        "lost": sorted(["always", "unless-stopped", "on-failure", "plain", "removed"]),
        "removed": ["removed"],
        "started": ["always", "always-stopped", "unless-stopped"],
        "failed": [],
    }
    assert bystander.poll() is None
    again = after_restart(own_home, "boot-two", RECOVER)
    assert again == {"lost": [], "removed": [], "started": [], "failed": []}
    found = after_restart(own_home, "boot-two", STATES)
    assert isinstance(found, dict)
    assert {name for name, (status, *_rest) in found.items() if status == "running"} == {"always", "always-stopped", "unless-stopped"}
    cleared = after_restart(own_home, "boot-two", "[c.remove(force=True) for c in engine.containers.list(all=True)]; print(0)")
    assert cleared == 0


def test_a_lost_container_tells_why_and_starts_again(engine: Engine) -> None:
    container = detached(engine, "sleep", "1000", restart="always")
    began = time.time()
    lose(container)
    container.reload()
    assert (container.status, container.exit_code, container.verdict.cause) == ("exited", 137, "lost")
    done = engine.recover()
    assert (done.lost, done.started) == ((container.id,), (container.id,))
    container.reload()
    assert container.status == "running"
    with engine.events(since=began, until="0s", filters={"container": container.id}) as events:
        assert [event["Action"] for event in events] == ["die", "start"]
    assert engine.recover().started == ()


def test_what_a_caller_stopped_stays_so_within_a_boot(engine: Engine) -> None:
    container = detached(engine, "sleep", "1000", restart="always")
    container.stop()
    assert engine.recover().started == ()
    container.reload()
    assert container.status == "exited"


def test_an_orphan_is_taken_away(engine: Engine) -> None:
    """A monitor that is killed while its container's processes stand still leaves them behind."""
    container = detached(engine, "sleep", "1000")
    state = container.state
    container.pause()
    os.kill(state.monitor_pid, signal.SIGKILL)
    assert processes.wait_gone(state.monitor_pid, state.monitor_started, 5)
    assert engine.recover().lost == (container.id,)
    container.reload()
    assert container.status == "exited"
    assert not processes.alive(state.pid, state.pid_started)
    assert not any(Path(place).exists() for place in state.cgroup_locations.values())


def fetch(port: int) -> str:
    deadline = time.monotonic() + 8
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.netns
def test_address_and_ports_work_after_a_restart_with_no_engine_alive(engine: Engine, home: Home) -> None:
    script = "mkdir -p /www; echo life >> /www/index.html; exec busybox httpd -f -p 80 -h /www"
    code = (
        "from notebook_containers import Engine\n"
        "with Engine() as e:\n"
        f" c = e.containers.run({BASE!r}, ['sh', '-c', {script!r}], detach=True, name='web', ports={{'80/tcp': None}},\n"
        "  restart_policy={'Name': 'always'}, stop_timeout=0)\n"
        " print(c.ports[0].host_port, c.document.endpoint.address)\n"
    )
    words = subprocess.run([sys.executable, "-c", code], env={**os.environ, **home.variables()}, capture_output=True, text=True, check=True)
    port, address = words.stdout.split()
    assert fetch(int(port)) == "life\n"
    container = engine.containers.get("web")
    first = container.state
    os.kill(first.pid, signal.SIGKILL)  # an accident: nobody asked the engine for it
    deadline = time.monotonic() + 5
    while container.state.restart_count == 0 or container.status != "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
        container.reload()
    assert container.state.pid != first.pid
    assert container.state.monitor_pid == first.monitor_pid
    assert fetch(int(port)) == "life\nlife\n"
    with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
        assert answer.read() == b"life\nlife\n"


def test_backing_off_sleeps(engine: Engine) -> None:
    """A crash loop costs less than 2 % of a processor, and is counted."""
    container = detached(engine, "sh", "-c", "exit 1", restart="always")
    monitor = container.state.monitor_pid
    ticks = [int(word) for word in Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()[11:15]]
    time.sleep(2)
    after = [int(word) for word in Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()[11:15]]
    container.reload()
    assert 3 <= container.state.restart_count <= 5  # 0.1 + 0.2 + 0.4 + 0.8 seconds
    deadline = time.monotonic() + 30
    while container.status != "restarting":  # it may be alive for this moment
        assert time.monotonic() < deadline
        time.sleep(0.02)
        container.reload()
    assert "Restarting (1)" in container.status_text
    assert (sum(after) - sum(ticks)) / os.sysconf("SC_CLK_TCK") < 0.2  # five births and deaths among them
    container.stop()
    container.reload()
    assert (container.status, container.exit_code) == ("exited", 1)


def test_on_failure_counts_to_its_most_and_a_new_start_counts_anew(engine: Engine) -> None:
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    container = detached(engine, "sh", "-c", "exit 4", restart_policy=policy)
    assert container.wait(timeout=10)["StatusCode"] == 4
    container.reload()
    assert (container.state.restart_count, container.attrs["RestartCount"]) == (2, 2)
    container.start()
    assert container.state.restart_count <= 1
    container.stop()


def test_a_command_that_ends_at_once_is_no_trouble_to_a_restart_policy(engine: Engine) -> None:
    """Its namespaces are held for its next life before it begins: a moment later it may be gone."""
    for _ in range(20):
        container = detached(engine, "true", restart="on-failure")
        assert container.wait(timeout=30)["StatusCode"] == 0
        container.remove()

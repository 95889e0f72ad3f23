"""Containers that share each other's namespaces: who may, what is shared, and what happens when the other is not there."""

from __future__ import annotations

import os

import pytest

from notebook_containers import Engine
from notebook_containers.engine import neighbours
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument
from notebook_containers.runtime.state import ContainerState
from tests.home import BASE

pytestmark = pytest.mark.root

LINKS = "for n in net pid ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done"


def started(engine: Engine, name: str, given: CreateKeywords | None = None) -> Container:
    options: CreateKeywords = {"network": "none", "stop_timeout": 0, "name": name, **(given or {})}
    container = engine.containers.run(BASE, ["sleep", "1000"], detach=True, **options)
    assert isinstance(container, Container)
    return container


def output(engine: Engine, script: str, given: CreateKeywords) -> list[str]:
    done = engine.containers.run(BASE, ["sh", "-c", script], remove=True, stderr=True, **given)
    assert isinstance(done, bytes)
    return done.decode().splitlines()


def links(container: Container) -> list[str]:
    return [os.readlink(f"/proc/{container.state.pid}/ns/{name}") for name in ("net", "pid", "ipc", "uts", "mnt", "cgroup")]


def test_four_namespaces_are_shared_and_two_never(engine: Engine) -> None:
    web = started(engine, "web", {"ipc_mode": "shareable", "hostname": "front", "extra_hosts": {"db": "10.0.0.9"}})
    given: CreateKeywords = dict.fromkeys(("network", "pid_mode", "ipc_mode", "uts_mode"), "container:web")  # type: ignore[assignment]
    found = output(engine, LINKS, given)
    assert found[:4] == links(web)[:4]
    assert not set(found[4:]) & set(links(web)[4:])
    script = "tr '\\0' ' ' < /proc/1/cmdline; echo; hostname; cat /etc/hostname; grep db /etc/hosts; echo x > /dev/shm/both"
    lines = output(engine, script, given)
    assert lines == ["sleep 1000 ", "front", "front", "10.0.0.9\tdb"]
    assert web.exec_run(["cat", "/dev/shm/both"]).output == b"x\n"


def test_a_shared_network_is_one(engine: Engine) -> None:
    started(engine, "web", {"network": "bridge"})
    own = engine.containers.get("web").exec_run(["cat", "/sys/class/net/eth0/address"]).output.decode()
    assert output(engine, "cat /sys/class/net/eth0/address", {"network": "container:web"}) == own.splitlines()


def test_the_name_may_change_and_the_container_restart(engine: Engine) -> None:
    web = started(engine, "web")
    friend = engine.containers.create(BASE, ["sh", "-c", "readlink /proc/self/ns/net"], network="container:web")
    web.rename("other")
    web.restart(timeout=0)
    friend.start()
    friend.wait(timeout=20)
    assert friend.logs().decode().split() == [links(web)[0]]
    web.remove(force=True)
    with pytest.raises(Conflict, match="it was removed"):
        friend.start()


def test_who_is_not_there_or_does_not_share_is_named(engine: Engine) -> None:
    with pytest.raises(ContainerNotFound, match="nobody"):
        output(engine, "true", {"network": "container:nobody"})
    web = started(engine, "web")
    with pytest.raises(InvalidArgument, match="web does not share its IPC namespace"):
        output(engine, "true", {"network": "none", "ipc_mode": "container:web"})
    web.stop()
    with pytest.raises(Conflict, match=r"cannot join the pid namespace of container web: it is stopped") as caught:
        output(engine, "true", {"network": "none", "pid_mode": "container:web"})
    assert "nbc start web" in caught.value.hint
    assert [c.name for c in engine.containers.list(all=True)] == ["web"]


def test_rt33_a_reused_number_is_noticed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    web = started(engine, "web")
    real = neighbours._running

    def older(*arguments: object) -> ContainerState:
        from dataclasses import replace

        return replace(real(*arguments), pid_started=1)  # type: ignore[arg-type]

    monkeypatch.setattr(neighbours, "_running", older)
    with pytest.raises(Conflict, match="ended while its network namespace was joined"):
        output(engine, "true", {"network": "container:web"})
    assert [c.name for c in engine.containers.list(all=True)] == [web.name]


def test_rt06_a_link_in_the_others_tree_leads_nowhere(engine: Engine) -> None:
    """The donor replaces its /dev/shm by a link while it is asked for; nothing but its own mount may appear."""
    web = started(engine, "web", {"ipc_mode": "shareable", "privileged": True})
    assert web.exec_run(["sh", "-c", "umount /dev/shm && rmdir /dev/shm && ln -s /etc /dev/shm"]).exit_code == 0
    with pytest.raises(Exception, match="/dev/shm"):
        output(engine, "ls /dev/shm", {"network": "none", "ipc_mode": "container:web"})


def test_a_restarted_container_stays_with_the_other(engine: Engine) -> None:
    web = started(engine, "web", {"ipc_mode": "shareable"})
    policy = {"Name": "on-failure", "MaximumRetryCount": 1}
    script = "readlink /proc/self/ns/net /proc/self/ns/ipc; exit 3"
    friend = engine.containers.create(BASE, ["sh", "-c", script], network="container:web", ipc_mode="container:web", restart_policy=policy)
    friend.start()
    friend.wait(timeout=20)
    assert friend.logs().decode().split() == [links(web)[0], links(web)[2]] * 2
    friend.reload()
    assert friend.state.restart_count == 1


def test_signals_of_a_shared_pid_namespace_reach_its_own_end_only(engine: Engine) -> None:
    web = started(engine, "web")
    friend = started(engine, "friend", {"pid_mode": "container:web"})
    friend.stop(timeout=0)
    web.reload()
    assert web.status == "running"
    again = started(engine, "again", {"pid_mode": "container:web"})
    web.stop(timeout=0)
    assert again.wait(timeout=20)["StatusCode"] == 137

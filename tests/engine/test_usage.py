"""What a container uses and may use: stats, top, update; commit, and prune's filters."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine import stats
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, DockerfileError, InvalidArgument
from notebook_containers.oci.documents import JSON
from tests.home import BASE, Home

pytestmark = pytest.mark.root


@pytest.fixture
def busy(engine: Engine) -> Container:
    made = engine.containers.run(
        BASE, ["sh", "-c", "while :; do :; done"], network="bridge", detach=True, mem_limit="64m", pids_limit=50, stop_timeout=0
    )
    assert isinstance(made, Container)
    return made


def test_stats_of_one_moment(busy: Container) -> None:
    sample = busy.stats(stream=False)
    row = busy.usage(sample)
    assert set(sample) >= {"read", "preread", "cpu_stats", "precpu_stats", "memory_stats", "pids_stats", "blkio_stats", "networks", "name"}
    assert 5 < float(str(row["cpu_percent"])) < 120
    assert row["mem_limit"] == 64 << 20
    assert 0 < int(str(row["mem_usage"])) < 64 << 20
    assert row["pids"] == 1
    assert json.dumps(sample)


def test_cpu_per_cent_is_dockers_figure() -> None:
    def cpu(total: int, system: int) -> dict[str, JSON]:
        return {"cpu_usage": {"total_usage": total}, "system_cpu_usage": system, "online_cpus": 4}

    sample: dict[str, JSON] = {"cpu_stats": cpu(3_000, 50_000), "precpu_stats": cpu(1_000, 10_000)}
    assert stats.cpu_percent(sample) == pytest.approx(2_000 / 40_000 * 4 * 100)
    assert stats.cpu_percent({"cpu_stats": cpu(3_000, 50_000), "precpu_stats": {}}) == 0
    assert stats.memory_used({"usage": 100, "stats": {"inactive_file": 30}}) == 70


def test_stats_stream_until_the_end(busy: Container) -> None:
    stream = busy.stats()
    first, second = next(stream), next(stream)
    assert second["precpu_stats"] == first["cpu_stats"]
    busy.kill()
    busy.wait(timeout=10)
    assert list(stream) == []


def test_network_traffic_is_counted(engine: Engine, busy: Container) -> None:
    links = busy.stats(stream=False, one_shot=True)["networks"]
    assert isinstance(links, dict)
    assert list(links) == ["eth0"]


def test_stats_of_what_does_not_run_are_zero(engine: Engine) -> None:
    row = engine.containers.create(BASE, ["true"], network="none").usage()
    assert (row["cpu_percent"], row["mem_usage"], row["pids"]) == (0, 0, 0)


def test_top_has_docker_pys_shape(sleeper: Container) -> None:
    full = sleeper.top()
    assert full["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    rows = full["Processes"]
    assert isinstance(rows, list)
    assert isinstance(rows[0], list)
    assert len(rows) == 1
    assert (rows[0][0], rows[0][5], rows[0][7]) == ("root", "?", "sleep 1000")
    chosen = sleeper.top(ps_args="-eo pid,args")
    assert chosen["Titles"] == ["PID", "COMMAND"]
    assert sleeper.top(ps_args="aux")["Titles"] != full["Titles"]
    for words in ("-o nothing", "--sort pid"):
        with pytest.raises(InvalidArgument, match="ps"):
            sleeper.top(ps_args=words)
    sleeper.stop(timeout=0)
    with pytest.raises(Conflict, match="it is exited"):
        sleeper.top()


# -- update --------------------------------------------------------------------------------------------------------------------------------


def test_limits_change_at_once_and_stay(engine: Engine, busy: Container) -> None:
    answer = busy.update(mem_limit="128m", pids_limit=20, nano_cpus=500_000_000)
    assert answer == {"Warnings": []}
    assert busy.usage()["mem_limit"] == 128 << 20
    assert busy.stats(stream=False, one_shot=True)["pids_stats"]["limit"] == 20  # type: ignore[call-overload,index]
    time.sleep(0.3)
    assert float(str(busy.usage()["cpu_percent"])) < 65
    busy.update(nano_cpus=0)
    quota = busy.exec_run(["sh", "-c", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null"]).output
    assert quota.split()[0] in (b"-1", b"max")
    again = engine.containers.get(busy.name)
    assert again.attrs["HostConfig"]["Memory"] == 128 << 20  # type: ignore[call-overload,index]
    again.restart(timeout=0)
    assert again.usage()["mem_limit"] == 128 << 20


def test_a_fork_bomb_meets_the_new_limit(engine: Engine, busy: Container) -> None:
    busy.update(pids_limit=5)
    found = busy.exec_run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all"])
    assert b"all" not in found.output


def test_a_value_that_the_kernel_refuses_changes_nothing(engine: Engine) -> None:
    script = "head -c 40000000 /dev/zero | tail | sleep 1000"
    box = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, mem_limit="256m", stop_timeout=0)
    assert isinstance(box, Container)
    for _ in range(200):
        if int(str(box.usage(box.stats(stream=False, one_shot=True))["mem_usage"])) > 35 << 20:
            break
        time.sleep(0.05)
    before = box.attrs["HostConfig"]
    with pytest.raises(InvalidArgument, match="cannot change the limits"):
        box.update(mem_limit="4m", pids_limit=7)
    box.reload()
    assert box.attrs["HostConfig"] == before
    assert box.usage()["mem_limit"] == 256 << 20
    assert box.status == "running"


def test_the_rarer_limits_change_too(engine: Engine, busy: Container) -> None:
    answer = busy.update(cpuset_cpus="0", cpuset_mems="0", blkio_weight=300, cpu_rt_period=500_000)
    warnings = answer["Warnings"]
    assert isinstance(warnings, list)
    assert all("weight" in str(text) or "realtime" in str(text) or "real-time" in str(text) for text in warnings), warnings
    assert busy.exec_run(["sh", "-c", "cat /sys/fs/cgroup/cpuset/cpuset.mems /sys/fs/cgroup/cpuset.mems 2>/dev/null"]).output == b"0\n"
    busy.restart(timeout=0)
    config = engine.containers.get(busy.name).attrs["HostConfig"]
    assert isinstance(config, dict)
    assert [config[key] for key in ("CpusetCpus", "CpusetMems", "BlkioWeight", "CpuRealtimePeriod")] == ["0", "0", 300, 500_000]
    with pytest.raises(InvalidArgument, match="5"):
        busy.update(blkio_weight=5)


def test_contradictions_are_refused(busy: Container) -> None:
    with pytest.raises(InvalidArgument, match="contradicts"):
        busy.update(nano_cpus=1, cpu_quota=5)
    with pytest.raises(InvalidArgument, match="memory and swap together"):
        busy.update(memswap_limit="32m")
    with pytest.raises(InvalidArgument, match="reservation"):
        busy.update(mem_reservation="1g")
    with pytest.raises(InvalidArgument, match="--cpu-quota 5"):
        busy.update(cpu_quota=5)


def test_the_restart_policy_of_a_running_container_changes(engine: Engine) -> None:
    box = engine.containers.run(BASE, ["sh", "-c", "sleep 0.5; exit 3"], network="none", detach=True, stop_timeout=0)
    assert isinstance(box, Container)
    box.update(restart_policy={"Name": "on-failure", "MaximumRetryCount": 1})
    assert box.wait(timeout=20)["StatusCode"] == 3
    box.reload()
    assert box.state.restart_count == 1
    assert box.attrs["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 1}  # type: ignore[call-overload,index]


# -- commit --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(engine: Engine) -> Iterator[str]:
    yield "mine:1"
    for image in engine.images.list("mine"):
        engine.images.remove(image.id, force=True)


def test_commit_makes_an_image_of_the_changes(engine: Engine, sleeper: Container, mine: str) -> None:
    sleeper.exec_run(["sh", "-c", "echo new > /new; rm /etc/group"])
    image = sleeper.commit("mine", "1", message="said", author="Ada", changes=['CMD ["cat", "/new"]', "ENV A=b", "WORKDIR /tmp"])
    base = engine.images.get(BASE)
    assert image.layers[: len(base.layers)] == base.layers
    assert len(image.layers) == len(base.layers) + 1
    line = image.history()[0]
    assert (line.created_by, line.comment, line.layer) == ("sleep 1000", "said", image.layers[-1])
    assert image.attrs["Author"] == "Ada"
    assert engine.containers.run(mine, network="none", remove=True) == b"new\n"
    assert engine.containers.run(mine, ["sh", "-c", "pwd; echo $A; ls /etc/group || true"], network="none", remove=True) == b"/tmp\nb\n"
    assert sleeper.status == "running"
    sleeper.remove(force=True)


def test_commit_keeps_what_run_was_told(engine: Engine, mine: str) -> None:
    box = engine.containers.create(
        BASE, ["env"], network="none", environment=["A=b"], user="0", labels={"l": "v"}, volumes=["data:/data", "/anonymous"]
    )
    config = box.commit("mine", "1").attrs["Config"]
    assert isinstance(config, dict)
    assert "A=b" in config["Env"]  # type: ignore[operator]
    assert (config["Cmd"], config["Labels"]["l"], list(config["Volumes"])) == (["env"], "v", ["/anonymous"])  # type: ignore[index,call-overload,arg-type]
    box.remove(v=True)


def test_commit_of_nothing_changed_adds_no_layer(engine: Engine, sleeper: Container, mine: str) -> None:
    image = sleeper.commit("mine", "1")
    assert image.layers == engine.images.get(BASE).layers
    sleeper.remove(force=True)


def test_a_wrong_change_is_shown_with_its_word(sleeper: Container) -> None:
    with pytest.raises(DockerfileError, match="RUN is no change") as caught:
        sleeper.commit("never", changes=["CMD true", "RUN false"])
    assert "RUN false" in caught.value.excerpt()


def test_commit_is_of_one_moment(engine: Engine, mine: str) -> None:
    """Two files that are written one after the other never differ by more than one step, because the container stands still."""
    script = "i=0; while :; do i=$((i+1)); for f in a b; do echo $i > /$f.new; mv /$f.new /$f; done; done"
    box = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, stop_timeout=0)
    assert isinstance(box, Container)
    box.put_archive("/tmp", _many_files())
    box.commit("mine", "1")
    output = engine.containers.run(mine, ["sh", "-c", "cat /a /b"], network="none", remove=True)
    assert isinstance(output, bytes)
    one, two = (int(word or 0) for word in output.split())
    assert abs(one - two) <= 1
    first = box.exec_run(["cat", "/a"]).output
    time.sleep(0.2)
    assert box.exec_run(["cat", "/a"]).output != first
    box.remove(force=True)


def _many_files() -> bytes:
    from tests.engine.tars import tar

    return tar(*((f"m/{number}", b"x" * 1000) for number in range(2000)))


def test_a_killed_holder_lets_the_container_go_on(engine: Engine, home: Home, tree_environment: dict[str, str]) -> None:
    script = "while :; do echo tick; sleep 0.02; done"
    box = engine.containers.run(BASE, ["sh", "-c", script], network="none", detach=True, stop_timeout=0)
    assert isinstance(box, Container)
    code = f"""
import sys
from notebook_containers import Engine
engine = Engine()
with engine._parts.runtime.held({box.id!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    environment = {**tree_environment, **home.variables()}
    holder = subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    box.reload()
    assert box.status == "running"
    still = len(box.logs())
    time.sleep(0.3)
    assert len(box.logs()) == still
    holder.kill()
    holder.communicate()
    time.sleep(0.3)
    assert len(box.logs()) > still


def test_a_held_container_can_be_killed(engine: Engine, sleeper: Container) -> None:
    with sleeper._parts.runtime.held(sleeper.id):
        sleeper.kill()
        assert sleeper.wait(timeout=10)["StatusCode"] == 137


def test_pause_and_hold_do_not_undo_each_other(engine: Engine, sleeper: Container) -> None:
    with sleeper._parts.runtime.held(sleeper.id):
        sleeper.pause()
    sleeper.reload()
    assert sleeper.status == "paused"
    sleeper.commit(pause=True)
    sleeper.reload()
    assert sleeper.status == "paused"
    with sleeper._parts.runtime.held(sleeper.id):
        sleeper.unpause()
    assert sleeper.exec_run(["echo", "alive"]).output == b"alive\n"


# -- prune and df --------------------------------------------------------------------------------------------------------------------------


def test_prune_takes_what_the_filters_say(engine: Engine) -> None:
    boxes = {name: engine.containers.create(BASE, ["true"], network="none", name=f"p-{name}", labels={"l": name}) for name in "abc"}
    assert engine.containers.prune({"until": "1h"})["ContainersDeleted"] == []
    assert engine.containers.prune({"label": ["l=a"]})["ContainersDeleted"] == [boxes["a"].id]
    assert engine.containers.prune({"label!": ["l=c"], "until": "0s"})["ContainersDeleted"] == [boxes["b"].id]
    with pytest.raises(InvalidArgument, match="is not understood by prune"):
        engine.containers.prune({"name": "p-c"})
    assert [c.name for c in engine.containers.list(all=True)] == ["p-c"]


def test_df_counts_what_is_there(engine: Engine, sleeper: Container) -> None:
    before = {str(row["type"]): row for row in engine.disk_usage()}
    engine.volumes.create("data")
    Path(engine.volumes.get("data").path, "big").write_bytes(bytes(1 << 20))
    sleeper.exec_run(["sh", "-c", "head -c 3000000 /dev/urandom > /big"])
    after = {str(row["type"]): row for row in engine.disk_usage()}
    assert list(after)[:4] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    assert int(str(after["Local Volumes"]["reclaimable"])) - int(str(before["Local Volumes"]["reclaimable"])) >= 1 << 20
    assert int(str(after["Containers"]["size"])) - int(str(before["Containers"]["size"])) >= 3_000_000
    assert after["Containers"]["active"] == 1
    assert {f"container {sleeper.name}", "volume data"} <= {str(row["type"]) for row in engine.disk_usage(verbose=True)}

"""The command line's verbs on a project, in processes of their own: output, exit statuses, interrupts, and a project without its file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from notebook_containers import Engine
from tests.compose.line import Line
from tests.compose.projects import service, text, wait_for

pytestmark = [pytest.mark.root, pytest.mark.netns]


@contextmanager
def attached(line: Line, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Bring a project up and stay with it, until every service has said hello."""
    process = line.start("up", *words)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_verbs_that_look(line: Line) -> None:
    web = service("web", "echo hello from web; exec sleep 1000", "depends_on: [db]", "ports: ['80']")
    (line.place / "compose.yaml").write_text(text(web, service("db", "echo hello from db; exec sleep 1000")))
    done = line.run("up", "-d")
    assert done.returncode == 0
    assert re.search(r"^Container shop-web-1 Started$", done.stderr, re.MULTILINE)
    assert done.stdout == ""
    wait_for(lambda: "hello from web" in line.ok("logs") and "hello from db" in line.ok("logs"))
    assert line.ok("ps").splitlines()[0].split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
    assert line.ok("ps", "--services").split() == ["db", "web"]
    assert [json.loads(row)["Service"] for row in line.ok("ps", "--format", "json").splitlines()] == ["db", "web"]
    assert re.search(r"^web-1 +\| hello from web$", line.ok("logs", "web"), re.MULTILINE)
    assert line.ok("logs", "--no-log-prefix", "db") == "hello from db\n"
    assert "sleep 1000" in line.ok("top", "web")
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", line.ok("port", "web", "80"))
    assert line.ok("exec", "web", "echo", "inside") == "inside\n"
    assert line.run("exec", "web", "sh", "-c", "exit 7").returncode == 7
    assert line.ok("run", "--rm", "web", "echo", "once") == "once\n"
    assert line.run("run", "--rm", "-e", "CODE=9", "web", "sh", "-c", "exit $CODE").returncode == 9
    (line.place / "file").write_text("copied\n")
    line.ok("cp", "file", "web:/file")
    assert line.ok("exec", "web", "cat", "/file") == "copied\n"
    assert line.ok("ls").split() == ["NAME", "STATUS", "CONFIG", "FILES", "shop", "running(2)", str(line.place / "compose.yaml")]
    assert "localhost/base" in line.ok("images")
    assert "shop-web-1" in line.ok("stats", "--no-stream")
    assert '"Action": "start"' in line.ok("events", "--json", "--since", "1970-01-01T00:00:00Z", "--until", "0s")
    assert "needs: db (started)" in line.ok("graph")
    assert line.run("stop", "nobody").returncode == 1
    assert line.ok("ps", "--filter", "status=exited", "-q") == ""
    assert "'x=y' is not understood" in line.run("ps", "--filter", "x=y").stderr
    assert "'runing' is no status" in line.run("ps", "--filter", "status=runing").stderr
    line.ok("down")
    assert line.ok("ps", "-a").split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]


def test_a_project_is_known_without_its_file(line: Line, engine: Engine) -> None:
    file = line.place / "compose.yaml"
    file.write_text(
        text(service("web", "exec sleep 1000", "depends_on: [db]", "volumes: ['data:/data']"), service("db"), below="volumes:\n  data:\n")
    )
    line.ok("up", "-d")
    file.unlink()
    assert line.ok("ps", "--services").split() == ["db", "web"]
    assert "shop-web-1" in line.ok("-p", "shop", "ps")
    line.ok("restart", "web")
    refused = line.run("up")
    assert refused.returncode == 1
    assert "no compose file" in refused.stderr
    stopped = line.run("down", "-v")
    names = [words.split()[1] for words in stopped.stderr.splitlines() if words.endswith("Removed")]
    assert names == ["shop-web-1", "shop-db-1", "shop_default", "shop_data"]
    assert engine.containers.list(all=True) == []


def test_up_ends_with_the_status_of_the_service_that_is_asked_for(line: Line, engine: Engine) -> None:
    tests = service("tests", "echo tested; exit 3", "depends_on: [db]")
    (line.place / "compose.yaml").write_text(text(tests, service("db")))
    done = line.run("up", "--exit-code-from", "tests")
    assert done.returncode == 3
    assert re.search(r"^tests-1 +\| tested$", done.stdout, re.MULTILINE)
    assert "tests-1 exited with code 3" in done.stdout
    assert {container.status for container in engine.containers.list(all=True)} == {"exited"}
    assert line.run("up", "--abort-on-container-failure").returncode == 3
    assert line.run("up", "-d", "--exit-code-from", "tests").returncode == 1
    line.ok("down")


def test_one_interrupt_stops_and_the_output_goes_on(line: Line, engine: Engine) -> None:
    script = "trap 'echo going down; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    (line.place / "compose.yaml").write_text(
        text(service("web", script, "stop_grace_period: 30s")).replace("    stop_grace_period: 0s\n", "")
    )
    with attached(line) as process:
        assert process.stdout is not None
        assert "up" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, _errors = process.communicate(timeout=60)
        assert "going down" in out
        assert process.returncode == 130
    assert [container.exit_code for container in engine.containers.list(all=True)] == [0]
    line.ok("down")


def test_two_interrupts_kill(line: Line, engine: Engine) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    (line.place / "compose.yaml").write_text(
        text(service("web", script, "stop_grace_period: 5m")).replace("    stop_grace_period: 0s\n", "")
    )
    with attached(line) as process:
        assert process.stdout is not None
        assert "up" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "Stopping" not in (said := process.stderr.readline()):
            assert said
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert [container.exit_code for container in engine.containers.list(all=True)] == [137]
    line.ok("down")


def test_rel32_an_up_that_was_killed_between_two_services_is_finished_by_the_next(line: Line, engine: Engine) -> None:
    file = text(
        service("web", "exec sleep 1000", "depends_on: [db]", "volumes: ['data:/data']"), service("db"), below="volumes:\n  data:\n"
    )
    (line.place / "compose.yaml").write_text(file)
    with engine.events(filters={"type": "container", "event": "start"}) as events:
        process = line.start("up", "-d")
        next(events)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    line.ok("up", "-d")
    assert sorted(container.name for container in engine.containers.list()) == ["shop-db-1", "shop-web-1"]
    assert [network.name for network in engine.networks.list() if network.name.startswith("shop")] == ["shop_default"]
    assert [volume.name for volume in engine.volumes.list()] == ["shop_data"]
    line.ok("down", "-v")
    engine.prune()  # what the killed process was writing is garbage
    assert engine.containers.list(all=True) == []
    assert list(engine.volumes.list()) == []


def test_rel32_two_ups_at_once_and_a_down_between_converge(line: Line, engine: Engine) -> None:
    (line.place / "compose.yaml").write_text(text(service("web", "exec sleep 1000", "depends_on: [db]"), service("db")))
    both = [line.start("up", "-d"), line.start("up", "-d")]
    for process in both:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, out + errors
    assert sorted(container.name for container in engine.containers.list(all=True)) == ["shop-db-1", "shop-web-1"]
    assert len([network for network in engine.networks.list() if network.name == "shop_default"]) == 1
    up, down = line.start("up", "-d", "--force-recreate"), line.start("down")
    for process in (up, down):
        process.communicate(timeout=60)
    line.ok("up", "-d")
    assert sorted(container.name for container in engine.containers.list(all=True)) == ["shop-db-1", "shop-web-1"]
    line.ok("down")
    assert engine.containers.list(all=True) == []


def test_run_removes_the_containers_of_services_that_are_gone_when_asked(line: Line, engine: Engine) -> None:
    file = line.place / "compose.yaml"
    file.write_text(text(service("web"), service("old")))
    line.ok("up", "-d", "old")
    file.write_text(text(service("web")))
    line.ok("run", "--rm", "web", "true")
    assert [container.name for container in engine.containers.list(all=True)] == ["shop-old-1"]
    line.ok("run", "--rm", "--remove-orphans", "web", "true")
    assert engine.containers.list(all=True) == []
    line.ok("down")

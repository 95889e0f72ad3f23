"""The main job as an ordinary user, who asked nobody for anything: build, run, look, stop, remove (the issue's first journey)."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.people import Person, person

pytestmark = pytest.mark.user

HELLO = """FROM localhost/base
ENV GREETING=hello
RUN echo "$GREETING from a layer" > /greeting
CMD ["cat", "/greeting"]
"""
SERVE = "mkdir -p /www; echo served > /www/index.html; exec busybox httpd -f -p 80 -h /www"


@pytest.fixture(scope="module", params=["one id", "lent ids"])
def somebody(request: pytest.FixtureRequest) -> Iterator[Person]:
    """A user with a store that has the image; once without and once with lent ids."""
    with person(lent=request.param == "lent ids") as made:
        context = made.home / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(HELLO)
        made.nbc("build", "-q", "-t", "hello", context)
        yield made


@pytest.fixture
def user(somebody: Person, no_leaks: None) -> Iterator[Person]:
    """The user, with no container before and after."""
    yield somebody
    names = somebody.nbc("ps", "-aq").split()
    if names:
        somebody.nbc("rm", "-f", *names)


def test_hello(user: Person) -> None:
    assert user.nbc("run", "--rm", "hello") == "hello from a layer\n"
    assert user.nbc("ps", "-aq") == ""


def test_the_life_of_a_container(user: Person) -> None:
    identity = user.nbc("run", "-d", "--name", "web", "hello", "sh", "-c", "echo up; sleep 1000").strip()
    assert user.nbc("ps", "--format", "{{.Names}} {{.State}}") == "web running\n"
    assert user.nbc("ps", "-q").strip() == identity[:12]
    assert user.nbc("logs", "web") == "up\n"
    assert user.nbc("exec", "web", "cat", "/greeting") == "hello from a layer\n"
    assert user.nbc("exec", "web", "id", "-u") == "0\n"
    user.nbc("exec", "web", "touch", "/made")
    assert "A /made" in user.nbc("diff", "web")
    assert user.nbc("stop", "-t", "0", "web") == "web\n"
    assert user.nbc("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    assert user.nbc("start", "web") == "web\n"
    assert user.nbc("exec", "web", "ls", "/made") == "/made\n"
    assert user.nbc("rm", "-f", "web") == "web\n"
    assert user.nbc("ps", "-aq") == ""


def test_a_published_port_is_reached(user: Person) -> None:
    user.nbc("run", "-d", "--name", "web", "-p", "0:80", "hello", "sh", "-c", SERVE)
    where = user.nbc("port", "web", "80").strip()
    assert where.startswith("127.0.0.1:")
    deadline = time.monotonic() + 10
    while True:
        try:
            answer = urllib.request.urlopen(f"http://{where}/", timeout=2).read()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert answer == b"served\n"


def test_statuses_are_the_containers_and_dockers(user: Person) -> None:
    def status(*words: str) -> int:
        return user.run("/usr/bin/python3", "-m", "notebook_containers", "run", "--rm", "--network", "none", *words).returncode

    assert status("hello", "sh", "-c", "exit 7") == 7
    assert status("hello", "no-such-program") == 127
    assert status("hello", "/etc/passwd") == 126
    assert status("no-such-image") == 125


def test_what_is_weaker_here_is_named(user: Person) -> None:
    info = json.loads(user.nbc("info", "--format", "json"))
    assert info["Rootless"] is True
    assert info["Warnings"]
    weak = [name for name, reason in info["Limits"].items() if reason != "enforced"]
    for name in weak:
        assert any(name in warning for warning in info["Warnings"])
    assert any("id" in warning for warning in info["Warnings"]) or "ids" in json.dumps(info["Security"])
    assert any("network" in warning.lower() for warning in info["Warnings"])


def test_a_limit_that_cannot_be_kept_is_said_when_it_is_asked_for(user: Person) -> None:
    info = json.loads(user.nbc("info", "--format", "json"))
    done = user.run("/usr/bin/python3", "-m", "notebook_containers", "run", "--rm", "--network", "none", "-m", "64m", "hello", "true")
    assert done.returncode == 0
    if info["Limits"]["memory"] != "enforced":
        assert "memory" in done.stderr
    else:
        assert done.stderr == ""


def test_files_of_a_bind_mount_stay_the_users(user: Person) -> None:
    place = user.home / "mine"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    user.nbc("run", "--rm", "--network", "none", "-v", f"{place}:/d", "hello", "sh", "-c", "echo x > /d/made")
    made = place / "made"
    assert (made.read_text(), made.stat().st_uid) == ("x\n", user.uid)


def test_volumes_and_removal_leave_nothing(user: Person) -> None:
    user.nbc("run", "--rm", "--network", "none", "-v", "data:/d", "hello", "sh", "-c", "echo kept > /d/x")
    assert user.nbc("run", "--rm", "--network", "none", "-v", "data:/d", "hello", "cat", "/d/x") == "kept\n"
    user.nbc("volume", "rm", "data")
    assert not list((user.home / "root/containers").iterdir())
    assert not list((user.home / "root/volumes").iterdir())


def test_p4_the_container_outlives_its_starter_and_reports_truthfully(user: Person) -> None:
    user.nbc("run", "-d", "--name", "late", "--network", "none", "hello", "sh", "-c", "sleep 0.3; echo end; exit 9")
    assert user.nbc("wait", "late") == "9\n"
    assert user.nbc("logs", "late") == "end\n"


def test_verbs_answer_as_they_do_for_root(user: Person) -> None:
    began = str(time.time())
    user.nbc("run", "-d", "--name", "web", "--log-opt", "tag={{.Name}}", "-l", "a=b", "hello", "sh", "-c", "echo up; sleep 1000")
    assert user.nbc("logs", "--details", "web") == "tag=web up\n"
    assert user.nbc("ps", "--filter", "name=^we.$", "--filter", "label=a", "--format", '{{.Names}} {{.Label "a"}}') == "web b\n"
    assert user.nbc("exec", "-e", "A=1", "-w", "/tmp", "web", "sh", "-c", "echo $A; pwd") == "1\n/tmp\n"
    assert "sleep 1000" in user.nbc("top", "web")
    user.nbc("cp", "/etc/hostname", "web:/tmp/name")
    user.nbc("rename", "web", "site")
    user.nbc("update", "--restart", "on-failure:2", "site")
    assert user.nbc("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}} {{len .Mounts}}", "site") == "on-failure 0\n"
    assert user.nbc("stop", "-s", "KILL", "site") == "site\n"
    assert user.nbc("wait", "site") == "137\n"
    told = user.nbc("events", "--since", began, "--until", "0s", "--format", "{{.Action}}").splitlines()
    wanted = {"create", "start", "exec_create: sh -c echo $A; pwd", "top", "extract-to-dir", "rename", "update", "kill", "die", "stop"}
    assert wanted <= {line.replace("'", "") for line in told}
    said = user.refused("run", "--name", "broken", "hello", "no-such-program")
    assert said.startswith("nbc: command no-such-program: not found in the container's PATH; ")

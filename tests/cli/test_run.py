"""``nbc run`` and what acts on its containers: Docker's grammar, streams and exit statuses."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = pytest.mark.root


def test_streams_stay_apart_and_the_status_is_the_containers(nbc: Nbc) -> None:
    done = nbc("run", "--rm", "--network", "none", BASE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.status, done.out, done.err) == (7, "out\n", "err\n")


@pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_start_has_dockers_status(nbc: Nbc, command: str, status: int) -> None:
    done = nbc("run", "--rm", "--network", "none", BASE, command)
    assert done.status == status
    assert command in done.line
    assert nbc.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no-such-image"], "no-such-image"),
        (["Bad:Name:x"], "Bad:Name:x"),
        (["--no-such-flag", BASE], "--no-such-flag"),
        ([], "IMAGE"),
        (["-m", "64x", BASE], "64x"),
        (["-v", "a:b", BASE], "a:b"),
        (["-p", "x", BASE], "'x'"),
        (["--cpus", "99999", BASE], "99999"),
        (["--cpus", "many", BASE], "many"),
        (["-u", "nobody-here", BASE, "true"], "nobody-here"),
        (["--network", "nowhere", BASE, "true"], "nowhere"),
        (["-w", "relative", BASE, "true"], "relative"),
        (["-e", "=x", BASE, "true"], "=x"),
        (["--env-file", "missing", BASE, "true"], "missing"),
        (["--restart", "sometimes", BASE, "true"], "sometimes"),
        (["--restart", "always", "--rm", BASE, "true"], "--restart"),
        (["--name", "a b", BASE, "true"], "a b"),
        (["--add-host", "x", BASE, "true"], "--add-host"),
        (["--security-opt", "x=y", BASE, "true"], "x=y"),
        (["--cap-add", "FLY", BASE, "true"], "FLY"),
    ],
)
def test_an_error_of_the_engine_is_125_one_line_and_leaves_nothing(nbc: Nbc, words: list[str], says: str) -> None:
    done = nbc("run", *words)
    assert done.status == 125
    assert says in done.err
    assert done.err.startswith("nbc: ")
    assert len(done.err.splitlines()) == (1 if "--help" not in done.err else 2)
    assert "Traceback" not in done.err
    assert done.out == ""
    assert nbc.ok("ps", "-aq") == ""


def test_the_flags_of_the_issue(nbc: Nbc) -> None:
    (nbc.cwd / "h").mkdir()
    (nbc.cwd / "h/file").write_text("from the host\n")
    identity = nbc.ok(
        "run", "-d", "--name", "web", "-e", "K=V", "-v", f"{nbc.cwd}/h:/c:ro", "-w", "/x", "-u", "1000:1000", "-m", "64m", "--cpus", "0.5",
        "--pids-limit", "100", "--network", "none", BASE, "sh", "-c", "id; pwd; cat /c/file; touch /c/new; echo $K; sleep 1000",
    )  # fmt: skip
    assert len(identity) == 64
    for _ in range(100):
        if "V\n" in nbc.ok("logs", "web") + "\n":
            break
        time.sleep(0.05)
    done = nbc("logs", "web")
    assert done.out == "uid=1000 gid=1000 groups=1000\n/x\nfrom the host\nV\n"
    assert "Read-only" in done.err
    config = json.loads(nbc.ok("inspect", "web"))[0]["HostConfig"]
    assert (config["Memory"], config["NanoCpus"], config["PidsLimit"]) == (64 << 20, 500_000_000, 100)
    assert nbc.ok("rm", "-f", "web") == "web"


def test_combined_short_flags_and_what_follows_the_image_is_the_command(nbc: Nbc) -> None:
    assert nbc.ok("run", "-i", "--rm", "--net=none", BASE, "cat", stdin="typed\n") == "typed"
    assert nbc.ok("run", "--rm", "--network", "none", "-eA=1", "-e", "B=2", BASE, "sh", "-c", "echo $A$B -e C") == "12 -e C"
    assert nbc.ok("run", "--rm", "--network", "none", BASE, "echo", "--rm", "-d", "--name") == "--rm -d --name"


def test_the_environment_of_the_caller_by_name_and_from_a_file(nbc: Nbc) -> None:
    (nbc.cwd / "vars").write_text("# comment\nA=from file\n\nB\n")
    found = nbc.ok(
        "run", "--rm", "--network", "none", "-e", "C", "-e", "UNSET", "--env-file", "vars", BASE, "env", env={"B": "b", "C": "c", "D": "d"}
    )
    lines = found.splitlines()
    assert {"A=from file", "B=b", "C=c"} <= set(lines)
    assert not any(line.startswith(("D=", "UNSET", "PYTHONPATH", "NBC_")) for line in lines)


def test_entrypoint_labels_hosts_and_tmpfs(nbc: Nbc) -> None:
    assert nbc.ok("run", "--rm", "--network", "none", "--entrypoint", "echo", BASE, "x") == "x"
    text = nbc.ok(
        "run", "--rm", "--network", "none", "-h", "box", "--add-host", "other:10.0.0.9", "--add-host", "other:fd00::9",
        "--dns", "10.1.1.1", "--tmpfs", "/t:size=1m",
        BASE, "sh", "-c", "hostname; cat /etc/hosts /etc/resolv.conf; grep ' /t ' /proc/mounts",
    )  # fmt: skip
    assert text.startswith("box\n")
    assert "10.0.0.9\tother\nfd00::9\tother\n" in f"{text}\n"
    assert "nameserver 10.1.1.1" in text
    assert "size=1024k" in text


def test_cidfile_and_create(nbc: Nbc) -> None:
    identity = nbc.ok("create", "--cidfile", "cid", "--network", "none", BASE, "echo", "later")
    assert (nbc.cwd / "cid").read_text() == identity
    assert nbc.ok("start", "-a", identity) == "later"
    done = nbc("run", "--cidfile", "cid", "--network", "none", BASE, "true")
    assert done.status == 125
    assert "cid" in done.line
    assert nbc("create", "--cidfile", "no/dir", "--network", "none", BASE, "true").line.endswith("No such file or directory")
    assert len(nbc.ok("ps", "-aq").splitlines()) == 1


def test_ps_formats(nbc: Nbc) -> None:
    nbc.ok("run", "--name", "done", "--network", "none", BASE, "true")
    identity = nbc.ok("run", "-d", "--name", "web", "--network", "none", "--label", "a=b", BASE, "sleep", "1000")
    header, row = nbc.ok("ps").splitlines()
    assert header.split("   ")[0] == "CONTAINER ID"
    assert list(header.replace("CONTAINER ID", "CONTAINER_ID").split()) == [
        "CONTAINER_ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip
    assert row.startswith(identity[:12])
    assert row.endswith("web")
    assert '"sleep 1000"' in row
    assert len(nbc.ok("ps", "-a").splitlines()) == 3
    assert nbc.ok("ps", "-q") == identity[:12]
    assert nbc.ok("ps", "-q", "--no-trunc") == identity
    assert nbc.ok("ps", "--format", "{{.ID}} {{.Names}} {{.State}}") == f"{identity[:12]} web running"
    assert nbc.ok("ps", "-a", "--format", "{{.Names}}").split() == ["web", "done"]
    assert nbc.ok("ps", "--format", "table {{.Names}}\\t{{.Image}}").splitlines()[0].split() == ["NAMES", "IMAGE"]
    rows = [json.loads(line) for line in nbc.ok("ps", "-a", "--format", "json").splitlines()]
    assert [r["Names"] for r in rows] == ["web", "done"]
    assert rows[1]["Status"].startswith("Exited (0)")
    assert nbc.ok("ps", "-a", "-f", "status=exited", "--format", "{{.Names}}") == "done"
    assert nbc.ok("ps", "-f", "label=a=b", "-q") == identity[:12]
    assert nbc.ok("ps", "-lq") == identity[:12]
    assert nbc.ok("ps", "-n", "2", "--format", "{{.Names}}").split() == ["web", "done"]
    done = nbc("ps", "--format", "{{.Nonsense}}")
    assert done.status == 1
    assert "{{.Nonsense}}" in done.line
    assert nbc("ps", "-f", "nonsense").status == 1


def test_logs(nbc: Nbc) -> None:
    nbc.ok("run", "--name", "talker", "--network", "none", BASE, "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done")
    assert nbc.ok("logs", "--tail", "2", "talker") == "line 4\nline 5"
    assert nbc.ok("logs", "-n", "0", "talker") == ""
    assert nbc.ok("logs", "-f", "talker").count("line") == 5
    stamped = nbc.ok("logs", "-t", "--tail", "1", "talker")
    assert stamped[:4].isdigit()
    assert stamped.endswith("Z line 5")
    assert nbc.ok("logs", "--since", "1h", "talker").count("line") == 5
    assert nbc.ok("logs", "--until", "1h", "talker") == ""
    for words, says in ((["--tail", "x", "talker"], "'x'"), (["nobody"], "nobody"), (["--since", "tomorrow", "talker"], "tomorrow")):
        done = nbc("logs", *words)
        assert done.status == 1
        assert says in done.line


def test_logs_follow_until_the_end(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "talker", "--network", "none", BASE, "sh", "-c", "echo one; sleep 0.7; echo two")
    assert nbc.ok("logs", "-f", "talker") == "one\ntwo"


def test_exec(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "web", "--network", "none", BASE, "sleep", "1000")
    assert nbc.ok("exec", "web", "ls", "/etc/hostname") == "/etc/hostname"
    assert nbc.ok("exec", "-i", "web", "cat", stdin="typed") == "typed"
    assert nbc.ok("exec", "-u", "5", "-w", "/etc", "-e", "A=1", "web", "sh", "-c", "id -u; pwd; echo $A") == "5\n/etc\n1"
    done = nbc("exec", "web", "sh", "-c", "echo x >&2; exit 9")
    assert (done.status, done.err) == (9, "x\n")
    assert nbc("exec", "web", "no-such-program").status == 127
    assert nbc("exec", "web", "/etc/passwd").status == 126
    assert nbc("exec", "nobody", "true").status == 1
    assert nbc("exec", "web").status == 125
    nbc.ok("exec", "-d", "web", "touch", "/made")
    nbc.ok("stop", "-t", "0", "web")
    done = nbc("exec", "web", "true")
    assert done.status == 1
    assert "exited" in done.line


def test_the_life_of_one_by_verbs(nbc: Nbc) -> None:
    nbc.ok("create", "--name", "one", "--network", "none", BASE, "sleep", "1000")
    assert nbc.ok("start", "one") == "one"
    assert nbc.ok("pause", "one") == "one"
    assert nbc.ok("ps", "--format", "{{.State}}") == "paused"
    assert nbc.ok("unpause", "one") == "one"
    assert nbc.ok("restart", "-t", "0", "one") == "one"
    assert nbc.ok("rename", "one", "two") == ""
    assert "sleep 1000" in nbc.ok("top", "two")
    assert nbc.ok("kill", "-s", "TERM", "two") == "two"
    assert nbc.ok("kill", "two") == "two"
    assert nbc.ok("wait", "two") == "137"
    assert nbc.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "two") == "exited 137"
    assert nbc.ok("diff", "two") == ""
    assert nbc.ok("rm", "two") == "two"


def test_several_names_do_what_can_be_done(nbc: Nbc) -> None:
    nbc.ok("create", "--name", "one", "--network", "none", BASE, "true")
    nbc.ok("create", "--name", "two", "--network", "none", BASE, "true")
    done = nbc("rm", "one", "nobody", "two")
    assert (done.status, done.out) == (1, "one\ntwo\n")
    assert "nobody" in done.line
    assert nbc("rm", "-f", "nobody").status in (0, 1)


def test_a_running_one_is_not_removed_and_the_next_step_is_said(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "web", "--network", "none", BASE, "sleep", "1000")
    done = nbc("rm", "web")
    assert done.status == 1
    assert "nbc rm -f web" in done.line


def test_a_name_that_is_taken(nbc: Nbc) -> None:
    nbc.ok("create", "--name", "web", "--network", "none", BASE, "true")
    done = nbc("run", "--name", "web", "--network", "none", BASE, "true")
    assert done.status == 125
    assert "web" in done.line
    assert len(nbc.ok("ps", "-aq").splitlines()) == 1


@pytest.mark.netns
def test_published_ports(nbc: Nbc) -> None:
    script = "mkdir -p /www; echo served > /www/index.html; exec busybox httpd -f -p 80 -h /www"
    nbc.ok("run", "-d", "--name", "web", "-p", "0:80", BASE, "sh", "-c", script)
    where = nbc.ok("port", "web", "80")
    assert where.startswith("127.0.0.1:")
    assert nbc.ok("port", "web") == f"80/tcp -> {where}"
    assert f"{where}->80/tcp" in nbc.ok("ps")
    for _ in range(100):
        try:
            answer = urllib.request.urlopen(f"http://{where}/", timeout=2).read()
            break
        except OSError:
            time.sleep(0.05)
    assert answer == b"served\n"
    done = nbc("port", "web", "81")
    assert done.status == 1
    assert "81/tcp" in done.line


def test_an_interrupt_reaches_the_container(nbc: Nbc) -> None:
    process = nbc.start(
        "run", "--rm", "--network", "none", BASE, "sh", "-c", "trap 'echo stopped; exit 4' INT; echo up; while :; do sleep 0.05; done"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=10)
    assert (process.returncode, out) == (4, "stopped\n")
    assert nbc.ok("ps", "-aq") == ""


def test_detaching_ones_go_on_after_the_command(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "web", "--network", "none", BASE, "sleep", "1000")
    time.sleep(0.3)
    assert nbc.ok("ps", "--format", "{{.Names}}") == "web"


def test_attach_shows_what_comes(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "talker", "--network", "none", BASE, "sh", "-c", "sleep 1; echo late; exit 3")
    done = nbc("attach", "talker")
    assert (done.status, done.out) == (3, "late\n")


def read_until(fd: int, word: bytes, timeout_s: float = 10) -> bytes:
    found = b""
    deadline = time.monotonic() + timeout_s
    while word not in found and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                found += os.read(fd, 65536)
            except OSError:
                break
    assert word in found, found
    return found


@pytest.fixture
def terminal(nbc: Nbc) -> tuple[int, subprocess.Popen[bytes]]:
    """``nbc run -it`` on a terminal of its own."""
    master, slave = pty.openpty()
    words = nbc.command("run", "-it", "--name", "shell", "--network", "none", BASE, "sh")
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, cwd=nbc.cwd, env=nbc.environment, start_new_session=True)
    os.close(slave)
    return master, process


def test_a_terminal_of_its_own(nbc: Nbc, terminal: tuple[int, subprocess.Popen[bytes]]) -> None:
    master, process = terminal
    try:
        read_until(master, b"#")
        os.write(master, b"tty; stty size; echo in$((1+1))side; exit 5\n")
        text = read_until(master, b"in2side")
        assert b"/dev/pts/0" in text or b"/dev/console" in text
        assert process.wait(timeout=10) == 5
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_the_detach_keys_leave_it_running(nbc: Nbc, terminal: tuple[int, subprocess.Popen[bytes]]) -> None:
    master, process = terminal
    try:
        read_until(master, b"#")
        os.write(master, b"\x10\x11")
        assert process.wait(timeout=10) == 0
        assert nbc.ok("ps", "--format", "{{.Names}} {{.State}}") == "shell running"
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize("verb", [["run"], ["run", "-d"], ["create"]])
def test_detach_keys_that_are_none_start_nothing(nbc: Nbc, verb: list[str]) -> None:
    done = nbc(*verb, "--detach-keys", "ctrl-,,", "localhost/base", "sleep", "1000")
    assert (done.status, done.line) == (125, "nbc: --detach-keys: 'ctrl-' is no key; write letters or ctrl- with a letter, as ctrl-a,d")
    assert nbc.ok("ps", "-aq") == ""


def test_a_broken_pipe_is_no_traceback(nbc: Nbc) -> None:
    words = " ".join(nbc.command("run", "--rm", "--network", "none", BASE, "sh", "-c", "'yes | head -100000'"))
    done = subprocess.run(["sh", "-c", f"{words} | head -1"], env=nbc.environment, capture_output=True, text=True, check=False, cwd=nbc.cwd)
    assert done.stdout == "y\n"
    assert "Traceback" not in done.stderr
    deadline = time.monotonic() + 5
    while nbc.ok("ps", "-aq") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert nbc.ok("ps", "-aq") == ""


def test_volumes_and_networks(nbc: Nbc, tmp_path: Path) -> None:
    assert nbc.ok("volume", "create", "data") == "data"
    nbc.ok("run", "--rm", "--network", "none", "-v", "data:/d", BASE, "sh", "-c", "echo kept > /d/x")
    assert nbc.ok("run", "--rm", "--network", "none", "-v", "data:/d:ro", BASE, "cat", "/d/x") == "kept"
    assert nbc.ok("volume", "ls", "-q") == "data"
    assert nbc.ok("volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME", "SIZE"]
    mountpoint = json.loads(nbc.ok("volume", "inspect", "data"))[0]["Mountpoint"]
    assert (Path(mountpoint) / "x").read_text() == "kept\n"
    assert nbc.ok("volume", "rm", "data") == "data"
    assert nbc("volume", "rm", "data").status == 1
    assert {"bridge", "host", "none"} <= set(nbc.ok("network", "ls", "--format", "{{.Name}}").split())


def test_relative_volumes_start_here(nbc: Nbc) -> None:
    (nbc.cwd / "d").mkdir()
    (nbc.cwd / "d/x").write_text("here\n")
    assert nbc.ok("run", "--rm", "--network", "none", "-v", "./d:/d", BASE, "cat", "/d/x") == "here"


def test_ports_of_a_running_container_are_changed(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "web", BASE, "sleep", "1000")
    assert nbc.ok("update", "-p", "80", "-p", "53/udp", "web") == "web"
    inside = {line.partition(" ")[0] for line in nbc.ok("port", "web").splitlines()}
    assert inside == {"80/tcp", "53/udp"}
    assert nbc.ok("update", "--unpublish", "80", "web") == "web"
    assert nbc("port", "web", "80").status != 0
    assert "no published port is meant by '80'" in nbc("update", "--unpublish", "80", "web").err
    assert "nothing to change" in nbc("update", "web").err

"""runc's verbs: what they do, print and return."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lowlevel.bundles import Console, Low, Spec, listing, read_all, section

pytestmark = pytest.mark.root


def test_a_container_lives_through_every_state(low: Low) -> None:
    bundle = low.bundle(["sh", "-c", "echo started; sleep 100"])
    output = low.create("one", bundle, "--pid-file", str(low.directory / "pid"))
    state = low.state("one")
    assert state["status"] == "created"
    assert str(state["pid"]) == (low.directory / "pid").read_text()
    assert state["bundle"] == str(bundle)
    assert output.read_text() == ""
    low.nbc("start", "one")
    assert low.state("one")["status"] == "running"
    low.nbc("pause", "one")
    assert low.state("one")["status"] == "paused"
    low.nbc("resume", "one")
    assert low.state("one")["status"] == "running"
    assert output.read_text() == "started\n"
    low.nbc("kill", "one", "KILL")
    assert low.wait_for("one", "stopped")["pid"] == 0
    low.nbc("delete", "one")
    assert "does not exist" in low.nbc("state", "one", check=False)


def test_run_returns_the_exit_status_and_forgets_the_container(low: Low) -> None:
    assert low.sh("echo out; echo err >&2; exit 7") == (7, "out\nerr\n")
    assert low.sh("kill -TERM $$; sleep 1")[0] in (0, 128 + signal.SIGTERM)  # as first process it is immune to its own signal
    assert json.loads(low.nbc("list", "--format", "json")) == []


def test_run_passes_its_input_on(low: Low) -> None:
    bundle = low.bundle(["cat"])
    assert low.nbc("run", "--bundle", str(bundle), "one", stdin="hello\n") == "hello\n"


def test_run_forwards_signals_and_keeps_when_asked(low: Low) -> None:
    bundle = low.bundle(["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"])
    process = subprocess.Popen(
        low.words("run", "--keep", "--bundle", str(bundle), "one"), stdout=subprocess.PIPE, text=True, env=low.environment
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(20) == 9
    assert low.state("one")["status"] == "stopped"


def test_a_detached_run_goes_on_alone(low: Low) -> None:
    bundle = low.bundle(["sleep", "100"])
    with open(os.devnull, "r+b") as null:
        done = subprocess.run(
            low.words("run", "-d", "--bundle", str(bundle), "one"), stdin=null, stdout=null, env=low.environment, check=True
        )
    assert done.returncode == 0
    assert low.state("one")["status"] == "running"
    low.nbc("delete", "--force", "one")


def test_the_first_process_is_its_callers_child_once_create_has_ended(low: Low) -> None:
    """conmon and containerd's shim wait for it themselves, as subreapers."""
    script = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)
pid_file, *words = sys.argv[1:]
subprocess.run(words, check=True)
pid = int(open(pid_file).read())
subprocess.run([*words[:words.index("create")], "start", "one"], check=True)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    pid_file = str(low.directory / "pid")
    words = low.words("create", "--bundle", str(low.bundle(["sh", "-c", "exit 42"])), "--pid-file", pid_file, "one")
    done = subprocess.run(["python3", "-c", script, pid_file, *words], capture_output=True, text=True, env=low.environment, check=True)
    assert done.stdout == "42\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("state", "none"), "container does not exist: none"),
        (("start", "none"), "container does not exist: none"),
        (("kill", "none"), "container does not exist: none"),
        (("delete", "none"), "container does not exist: none"),
        (("exec", "none", "true"), "container does not exist: none"),
        (("create", "--bundle", "/nonexistent", "x"), "JSON specification file /nonexistent/config.json not found"),
        (("create", "../x"), "invalid container id"),
        (("create",), "container_id"),
        (("dance",), "'dance' is no command"),
        (("--systemd-cgroup", "list"), "--systemd-cgroup is not supported"),
        (("--rootless", "maybe", "list"), "--rootless 'maybe'"),
        (("kill", "none", "SIGWHAT"), "SIGWHAT"),
    ],
)
def test_mistakes_are_errors_with_status_one_or_255_for_exec(low: Low, words: tuple[str, ...], said: str) -> None:
    done = low.done(*words)
    assert done.returncode == (255 if words[0] == "exec" else 1)
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not low.root.is_dir() or not os.listdir(low.root)


def test_force_deletes_what_is_not_there_and_what_runs(low: Low) -> None:
    low.nbc("delete", "--force", "none")
    low.create("one", low.bundle(["sleep", "100"]))
    low.nbc("start", "one")
    assert "not stopped" in low.nbc("delete", "one", check=False)
    low.nbc("delete", "--force", "one")


def test_what_was_only_created_is_deleted_without_force(low: Low) -> None:
    low.create("one", low.bundle(["true"]))
    pid = low.state("one")["pid"]
    low.nbc("delete", "one")
    assert not Path(f"/proc/{pid}/ns").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()


def test_states_forbid_what_they_must(low: Low) -> None:
    bundle = low.bundle(["sleep", "100"])
    low.create("one", bundle)
    assert "already exists" in low.nbc("create", "--bundle", str(bundle), "one", check=False)
    assert "cannot be resumed" in low.nbc("resume", "one", check=False)
    low.nbc("start", "one")
    assert "cannot start a container that is running" in low.nbc("start", "one", check=False)
    low.nbc("pause", "one")
    assert "cannot exec in a paused container" in low.nbc("exec", "one", "true", check=False)
    low.nbc("kill", "one", "9")  # also reaches a paused one
    low.wait_for("one", "stopped")
    assert "container not running" in low.nbc("kill", "one", check=False)


def test_kill_all_reaches_every_process(low: Low) -> None:
    def shared(spec: Spec) -> None:
        namespaces = listing(spec, "linux", "namespaces")
        namespaces[:] = [entry for entry in namespaces if entry != {"type": "pid"}]

    low.create("one", low.bundle(["sh", "-c", "sleep 100 & sleep 100"], shared))
    low.nbc("start", "one")
    deadline = time.monotonic() + 10
    while len(pids := json.loads(low.nbc("ps", "-f", "json", "one"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(pids) >= 2
    low.nbc("kill", "--all", "one", "KILL")
    low.wait_for("one", "stopped")
    deadline = time.monotonic() + 10
    while json.loads(low.nbc("ps", "-f", "json", "one")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert json.loads(low.nbc("ps", "-f", "json", "one")) == []


def test_changes_of_the_bundle_after_create_do_not_matter(low: Low) -> None:
    bundle = low.bundle(["sh", "-c", "echo first"])
    output = low.create("one", bundle)
    (bundle / "config.json").write_text("{}")
    low.nbc("start", "one")
    low.wait_for("one", "stopped")
    assert output.read_text() == "first\n"


def test_exec_runs_beside_with_its_own_status(low: Low) -> None:
    low.create("one", low.bundle(["sleep", "100"], lambda spec: section(spec, "process").update(cwd="/tmp")))
    low.nbc("start", "one")
    assert low.done("exec", "one", "sh", "-c", "exit 3").returncode == 3
    assert low.nbc("exec", "one", "cat", "/proc/1/comm") == "sleep\n"
    words = ("exec", "--cwd", "/bin", "-e", "A=b", "-u", "1000:7", "-g", "8", "one", "sh", "-c")
    assert low.nbc(*words, "pwd; echo $A $HOME; id -u; id -G") == "/bin\nb /\n1000\n7 8\n"
    assert low.nbc("exec", "one", "pwd") == "/tmp\n"
    missing = low.done("exec", "one", "nonexistent")
    assert missing.returncode == 255
    assert "executable file not found in $PATH" in missing.stdout


def test_exec_takes_a_process_file(low: Low) -> None:
    low.create("one", low.bundle(["sleep", "100"]))
    low.nbc("start", "one")
    path = low.directory / "process.json"
    path.write_text(
        json.dumps({"args": ["sh", "-c", "echo $X; sleep 100"], "env": ["X=y", "PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}})
    )
    pid_file = low.directory / "pid"
    with open(low.directory / "out", "wb") as file:
        words = low.words("exec", "--detach", "--pid-file", str(pid_file), "--process", str(path), "one")
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=low.environment, check=True)
    assert int(pid_file.read_text()) in json.loads(low.nbc("ps", "-f", "json", "one"))


def test_the_terminal_goes_to_the_console_socket(low: Low) -> None:
    console = Console(low.directory / "console")
    bundle = low.bundle(["sh", "-c", "tty; stty size; ls -l /dev/console"], _sized, terminal=True)
    low.create("one", bundle, "--console-socket", str(console.path))
    master = console.master()
    low.nbc("start", "one")
    lines = read_all(master).split("\r\n")
    assert lines[:2] == ["/dev/pts/0", "33 77"]
    assert "136,   0" in lines[2]


def _sized(spec: Spec) -> None:
    section(spec, "process")["consoleSize"] = {"height": 33, "width": 77}


def test_exec_sends_its_terminal_too(low: Low) -> None:
    low.create("one", low.bundle(["sleep", "100"]))
    low.nbc("start", "one")
    console = Console(low.directory / "console")
    with subprocess.Popen(
        low.words("exec", "-t", "-d", "--console-socket", str(console.path), "one", "tty"), env=low.environment
    ) as process:
        assert "/dev/pts/0" in read_all(console.master())
    assert process.returncode == 0


def test_a_terminal_without_a_socket_is_relayed(low: Low) -> None:
    bundle = low.bundle(["sh", "-c", "tty; read x; echo got $x; exit 5"], terminal=True)
    done = low.done("run", "--bundle", str(bundle), "one", stdin="word\n")
    assert done.returncode == 5
    assert "/dev/pts/0" in done.stdout
    assert "got word" in done.stdout


def test_terminals_and_console_sockets_must_fit(low: Low) -> None:
    with_terminal, without = low.bundle(["true"], terminal=True), low.bundle(["true"])
    assert "without a console socket" in low.nbc("create", "--bundle", str(with_terminal), "x", check=False)
    assert "asks for no terminal" in low.nbc("create", "--console-socket", "/x", "--bundle", str(without), "x", check=False)
    assert "cannot send the terminal" in low.nbc("create", "--console-socket", "/x/y", "--bundle", str(with_terminal), "x", check=False)


_AS_THREE = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


def test_descriptors_are_passed_on_only_when_asked(low: Low) -> None:
    bundle = low.bundle(["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '; cat <&3; echo $LISTEN_FDS $LISTEN_PID"])
    (low.directory / "file").write_text("content ")
    for words, environment, expected in (
        (["--preserve-fds", "1"], {}, "0 1 2 3 4 content "),
        ([], {"LISTEN_FDS": "1"}, "0 1 2 3 4 content 1 1"),
    ):
        with open(low.directory / "file", "rb") as file:
            command = low.words("run", *words, "--bundle", str(bundle), "one")
            script = ["python3", "-c", _AS_THREE, str(file.fileno()), *command]
            done = subprocess.run(
                script, pass_fds=[file.fileno()], capture_output=True, text=True, env={**low.environment, **environment}, check=False
            )
        assert done.stdout.strip() == expected.strip(), done.stderr
    assert low.sh("ls /proc/self/fd | tr '\\n' ' '")[1] == "0 1 2 3 "  # the directory itself is the fourth


def test_errors_go_to_the_log_in_its_format(low: Low) -> None:
    log = low.directory / "log"
    done = low.done("--log", str(log), "--log-format", "json", "state", "none")
    assert "container does not exist" in done.stdout
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist: none")
    log.unlink()
    low.nbc("--log", str(log), "state", "none", check=False)
    assert 'level=error msg="container does not exist: none"' in log.read_text()


def test_a_command_that_does_not_exist_fails_at_create_and_leaves_nothing(low: Low) -> None:
    for args, said in ((["nonexistent"], "executable file not found in $PATH"), (["/etc/passwd"], "permission denied"), ([], "args")):
        done = low.done("create", "--bundle", str(low.bundle(args)), "one")
        assert done.returncode == 1
        assert said in done.stdout
    assert os.listdir(low.root) == []


def test_a_command_that_cannot_be_executed_fails_at_start(low: Low) -> None:
    (low.rootfs / "tmp/broken").write_text("no program\n")
    (low.rootfs / "tmp/broken").chmod(0o755)
    low.create("one", low.bundle(["/tmp/broken"]))
    done = low.done("start", "one")
    assert done.returncode == 1
    assert "it is no program" in done.stdout
    assert low.wait_for("one", "stopped")


def test_update_changes_limits(low: Low) -> None:
    low.create("one", low.bundle(["sleep", "100"]))
    low.nbc("update", "--resources", "-", "one", stdin=json.dumps({"pids": {"limit": 33}}))
    assert low.nbc("exec", "one", "cat", "/sys/fs/cgroup/pids/pids.max") in ("33\n", "")
    low.nbc("start", "one")
    assert low.nbc("exec", "one", "cat", "/sys/fs/cgroup/pids/pids.max") == "33\n"


def test_list_and_ps_show_what_is_there(low: Low) -> None:
    low.create("one", low.bundle(["sleep", "100"]))
    low.nbc("start", "one")
    assert low.nbc("list", "-q") == "one\n"
    header, line = low.nbc("list").splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED"]
    assert line.split()[2] == "running"
    assert "sleep 100" in low.nbc("ps", "one")


def test_features_and_spec_are_the_specifications(low: Low) -> None:
    found = json.loads(low.nbc("features"))
    assert found["ociVersionMin"] == "1.0.0"
    assert len(found["hooks"]) == 6
    assert {"rro", "rbind", "tmpcopyup", "nosuid"} <= set(found["mountOptions"])
    assert "spec: 1.2.0" in low.nbc("--version")
    bundle = low.directory / "own"
    bundle.mkdir()
    low.nbc("spec", "--bundle", str(bundle))
    assert "exists" in low.nbc("spec", "--bundle", str(bundle), check=False)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"].update(terminal=False, args=["id"])
    spec["root"]["path"] = str(low.rootfs)
    (bundle / "config.json").write_text(json.dumps(spec))
    assert low.nbc("run", "--bundle", str(bundle), "one") == "uid=0(root) gid=0\n"
    runc = subprocess.run(
        ["runc", "--root", str(low.directory / "runc"), "run", "--bundle", str(bundle), "r"], capture_output=True, text=True, check=True
    )
    assert runc.stdout == "uid=0(root) gid=0\n"

"""What a container's process finds: its environment, user, directory, files, mounts, and what exec adds to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, InvalidArgument, StartFailed
from tests.home import BASE, Home

pytestmark = pytest.mark.root

Shell = Callable[[str], str]


def run(engine: Engine, command: list[str], **given: object) -> str:
    output = engine.containers.run(BASE, command, remove=True, **{"network": "none", **given})  # type: ignore[arg-type]
    assert isinstance(output, bytes)
    return output.decode()


def test_rt30_nothing_of_the_callers_environment_is_inside(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD_X", "PYTHONPATH_X", "BASH_ENV", "HTTP_PROXY", "AWS_SECRET_ACCESS_KEY", "JPY_API_TOKEN"):
        monkeypatch.setenv(name, "leak")
    found = run(engine, ["env"], environment={"A": "1"}, hostname="box")
    names = {line.partition("=")[0] for line in found.splitlines()}
    assert names == {"PATH", "HOSTNAME", "HOME", "LANG", "A"}  # LANG is the base image's own
    assert "HOSTNAME=box" in found


def test_rt30_nor_in_an_exec(sleeper: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leak")
    found = sleeper.exec_run("env", environment={"B": "2"}).output.decode()
    assert {line.partition("=")[0] for line in found.splitlines()} == {"PATH", "HOSTNAME", "HOME", "LANG", "B"}


def test_rt31_the_images_environment_and_the_callers_over_it(engine: Engine) -> None:
    engine.images.build(text=f"FROM {BASE}\nENV A=image B=image\n", tag="envtest")
    found = engine.containers.run("envtest", ["sh", "-c", "echo $A $B"], environment=["B=mine"], network="none", remove=True)
    assert found == b"image mine\n"
    engine.images.remove("envtest")


def test_the_names_files_say_who_it_is(engine: Engine) -> None:
    text = run(
        engine, ["sh", "-c", "hostname; cat /etc/hostname /etc/hosts"], hostname="box", extra_hosts={"other": ["10.9.8.7", "fd00::7"]}
    )
    assert text.startswith("box\nbox\n")
    assert re.search(r"^127\.0\.0\.1\s+localhost", text, re.MULTILINE)
    assert re.findall(r"^(\S+)\s+other$", text, re.MULTILINE) == ["10.9.8.7", "fd00::7"]
    assert re.search(r"^127\.\S+\s+box$", text, re.MULTILINE)


def test_on_a_bridge_hosts_has_the_address(engine: Engine) -> None:
    text = run(engine, ["sh", "-c", "cat /etc/hosts; ip -4 addr show eth0"], hostname="box", network="bridge")
    address = re.search(r"inet ([0-9.]+)/", text)
    assert address
    assert re.search(rf"^{re.escape(address[1])}\s+box$", text, re.MULTILINE)


def test_the_resolver_is_the_callers_or_the_machines_without_loopback(engine: Engine) -> None:
    assert "nameserver 10.1.1.1\n" in run(engine, ["cat", "/etc/resolv.conf"], dns=["10.1.1.1"])
    assert not re.search(r"nameserver (127|::1)", run(engine, ["cat", "/etc/resolv.conf"]))


def test_no_network_has_only_loopback(sh: Shell) -> None:
    assert sh("ls /sys/class/net").split() == ["lo"]
    assert "UP" in sh("ip link show lo")


def test_the_hosts_network_is_the_hosts(engine: Engine) -> None:
    inside = run(engine, ["sh", "-c", "cat /proc/net/dev | tail -n +3 | cut -d: -f1; readlink /proc/self/ns/net"], network="host")
    assert Path("/proc/self/ns/net").readlink().name in inside


def test_users_and_groups_are_the_images(engine: Engine) -> None:
    assert run(engine, ["id"], user="1000:1001").startswith("uid=1000 gid=1001")
    assert run(engine, ["sh", "-c", "id -u; id -G; id -g"], user="31337").split() == ["31337", "0", "0"]
    with pytest.raises(InvalidArgument, match="'nobody-here' is not known in the image"):
        run(engine, ["id"], user="nobody-here")
    assert engine.containers.list(all=True) == []


def test_rt12_an_ordinary_user_has_no_capability_and_root_the_default_ones(engine: Engine) -> None:
    script = ["sh", "-c", "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"]
    values = dict(re.findall(r"^(\w+):\s+(\w+)$", run(engine, script), re.MULTILINE))
    assert values["CapEff"] == values["CapPrm"] == values["CapBnd"] == "00000000800405fb"
    assert values["CapInh"] == values["CapAmb"] == "0000000000000000"
    assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")
    user = dict(re.findall(r"^(\w+):\s+(\w+)$", run(engine, script, user="1000"), re.MULTILINE))
    assert user["CapEff"] == user["CapPrm"] == user["CapInh"] == user["CapAmb"] == "0000000000000000"


def test_rt12_exec_has_the_same_rights_as_run(sleeper: Container) -> None:
    text = sleeper.exec_run(["grep", "-E", "^(CapEff|CapInh|CapBnd|NoNewPrivs|Seccomp:)", "/proc/self/status"]).output.decode()
    values = dict(re.findall(r"^(\w+):\s+(\w+)$", text, re.MULTILINE))
    assert values["CapEff"] == values["CapBnd"] == "00000000800405fb"
    assert (values["CapInh"], values["NoNewPrivs"], values["Seccomp"]) == ("0" * 16, "1", "2")


def test_rt13_namespaces_are_new_and_execs_are_the_containers(sleeper: Container) -> None:
    def of(process: str) -> list[str]:
        script = f"for n in mnt pid net ipc uts cgroup; do readlink /proc/{process}/ns/$n; done"
        return sleeper.exec_run(["sh", "-c", script]).output.decode().split()

    inside, first = of("self"), of("1")
    host = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup")]
    assert inside == first
    assert not set(inside) & set(host)


def test_only_its_own_processes_are_seen(sleeper: Container) -> None:
    seen = sleeper.exec_run(["sh", "-c", "ls /proc | grep -E '^[0-9]+$'"]).output.split()
    assert b"1" in seen
    assert len(seen) <= 4


def test_rt20_masked_and_read_only_paths(sh: Shell) -> None:
    assert sh("cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c").strip() == "0"
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/irq/x"):
        if Path(path).exists():
            assert "Read-only" in sh(f"echo x > {path}; true")
    assert sh("ls /sys/firmware | wc -l").strip() == "0"


def test_the_device_directory_is_small(sh: Shell) -> None:
    expected = [
        "console",
        "core",
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    ]
    assert set(sh("ls /dev").split()) <= {*expected}
    assert sh("echo gone > /dev/null; head -c 4 /dev/zero | wc -c").strip() == "4"


def test_the_root_is_read_only_when_asked_and_volumes_are_not(engine: Engine) -> None:
    script = ["sh", "-c", "touch /x; touch /t/x && echo tmp; touch /d/x && echo volume; true"]
    container = engine.containers.create(BASE, script, network="none", read_only=True, tmpfs={"/t": "size=1m"}, volumes=["/d"])
    container.start()
    container.wait()
    assert container.logs(stderr=False) == b"tmp\nvolume\n"
    assert b"Read-only" in container.logs(stdout=False)


def test_a_tmpfs_has_its_size_and_is_gone_at_the_end(engine: Engine) -> None:
    script = ["sh", "-c", "ls /t | wc -l; head -c 2000000 /dev/zero > /t/big; stat -c %s /t/big; grep ' /t ' /proc/self/mountinfo"]
    container = engine.containers.create(BASE, script, network="none", tmpfs={"/t": "size=1m"})
    for _ in range(2):
        container.start()
        container.wait()
    text = container.logs(stderr=False).decode()
    assert re.findall(r"^\d+$", text, re.MULTILINE) == ["0", str(1 << 20)] * 2
    assert "nosuid,nodev,noexec" in text


def test_shared_memory_is_half_the_memory(engine: Engine) -> None:
    assert "size=32768k" in run(engine, ["grep", " /dev/shm ", "/proc/self/mounts"], mem_limit="64m")


def test_the_working_directory_is_made(engine: Engine) -> None:
    assert run(engine, ["pwd"], working_dir="/made/here") == "/made/here\n"


@pytest.mark.parametrize("path", ["/proc/self/fd/7", "/proc/self/fd/7/../..", "/proc/1/cwd"])
def test_rt02_a_working_directory_does_not_lead_out(engine: Engine, path: str) -> None:
    """CVE-2024-21626."""
    try:
        text = run(engine, ["sh", "-c", "pwd; ls -a ."], working_dir=path)
    except StartFailed:
        return
    assert "unreachable" not in text
    assert Path(text.split()[0]).is_relative_to("/proc")


def test_rt02_no_descriptor_of_ours_is_inside(engine: Engine, sleeper: Container, tmp_path: Path) -> None:
    handles = [open(tmp_path / str(i), "w") for i in range(20)]
    try:
        for handle in handles:
            __import__("os").set_inheritable(handle.fileno(), True)
        assert run(engine, ["sh", "-c", "ls /proc/$$/fd"]).split() == ["0", "1", "2"]
        assert sleeper.exec_run(["sh", "-c", "ls /proc/$$/fd"]).output.split() == [b"0", b"1", b"2"]
    finally:
        for handle in handles:
            handle.close()


def test_entrypoint_and_command(engine: Engine) -> None:
    engine.images.build(text=f'FROM {BASE}\nENTRYPOINT ["echo", "entry"]\nCMD ["cmd"]\n', tag="entrytest")

    def output(command: list[str] | None, **given: object) -> bytes | Container:
        return engine.containers.run("entrytest", command, network="none", remove=True, **given)  # type: ignore[arg-type]

    assert output(None) == b"entry cmd\n"
    assert output(["mine"]) == b"entry mine\n"
    assert output(["mine"], entrypoint="echo other") == b"other mine\n"
    assert output(["echo", "bare"], entrypoint=[""]) == b"bare\n"
    with pytest.raises(InvalidArgument, match="no command"):
        output(None, entrypoint=[""])
    engine.images.remove("entrytest")


def test_exec_codes_streams_user_and_directory(sleeper: Container) -> None:
    assert tuple(sleeper.exec_run(["sh", "-c", "echo a; echo b >&2; exit 3"])) == (3, b"a\nb\n")
    apart = sleeper.exec_run(["sh", "-c", "echo a; echo b >&2"], demux=True)
    assert (apart.output, apart.stderr) == (b"a\n", b"b\n")
    assert sleeper.exec_run("pwd", workdir="/etc").output == b"/etc\n"
    assert sleeper.exec_run("id -u", user="1000").output == b"1000\n"
    assert b"tty" in sleeper.exec_run("sh -c 'test -t 0 && echo tty'", tty=True).output
    for command, status in (("no-such-program", 127), ("/etc/passwd", 126)):
        with pytest.raises(StartFailed, match=command) as caught:
            sleeper.exec_run(command)
        assert caught.value.exit_status == status
    with pytest.raises(InvalidArgument, match="no command"):
        sleeper.exec_run([])


def test_exec_in_the_background_goes_on(sleeper: Container) -> None:
    assert sleeper.exec_run(["sh", "-c", "echo done > /done"], detach=True).exit_code is None
    for _ in range(100):
        if sleeper.exec_run("cat /done").output == b"done\n":
            break
    assert sleeper.exec_run("cat /done").output == b"done\n"


def test_exec_needs_a_running_container(engine: Engine, sleeper: Container) -> None:
    sleeper.stop(timeout=0)
    with pytest.raises(Conflict, match="it is exited") as caught:
        sleeper.exec_run("true")
    assert f"nbc start {sleeper.name}" in caught.value.hint


def test_top_shows_its_processes(sleeper: Container) -> None:
    (row,) = sleeper.processes()
    assert (row.args, row.uid) == ("sleep 1000", 0)
    assert sleeper.top(ps_args="-o user,args") == {"Titles": ["USER", "COMMAND"], "Processes": [["root", "sleep 1000"]]}


def test_diff_tells_what_changed(engine: Engine) -> None:
    script = ["sh", "-c", "echo x > /new; mkdir /dir; echo y > /dir/file; rm /etc/group; echo z >> /etc/passwd"]
    container = engine.containers.create(BASE, script, network="none")
    assert container.diff() == []
    container.start()
    assert container.wait()["StatusCode"] == 0
    changes = {(change.kind, change.path) for change in container.diff()}
    assert changes == {("A", "/new"), ("A", "/dir"), ("A", "/dir/file"), ("C", "/etc"), ("D", "/etc/group"), ("C", "/etc/passwd")}
    assert container.size_rw() >= 4


def test_rt09_the_images_passwd_is_read_inside_the_image_only(engine: Engine) -> None:
    engine.images.build(text=f"FROM {BASE}\nRUN rm /etc/passwd && ln -s /etc/shadow-of-host /etc/passwd\n", tag="linktest")
    with pytest.raises(InvalidArgument, match="'sync' is not known"):
        engine.containers.run("linktest", ["id"], user="sync", network="none", remove=True)
    engine.images.build(text=f"FROM {BASE}\nRUN rm /etc/passwd && mkfifo /etc/passwd\n", tag="fifotest")
    assert engine.containers.run("fifotest", ["id", "-u"], user="5", network="none", remove=True) == b"5\n"
    for name in ("linktest", "fifotest"):
        engine.images.remove(name)


def test_the_documents_of_inspect(engine: Engine, home: Home, sleeper: Container) -> None:
    attrs = sleeper.attrs
    assert (attrs["Id"], attrs["Name"], attrs["Path"], attrs["Args"]) == (sleeper.id, f"/{sleeper.name}", "sleep", ["1000"])
    state = attrs["State"]
    assert isinstance(state, dict)
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("running", True, 0)
    assert Path(f"/proc/{state['Pid']}/cmdline").read_bytes() == b"sleep\x001000\x00"
    assert str(attrs["LogPath"]).startswith(str(home.root))

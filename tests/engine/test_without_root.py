"""The same journey as an ordinary user with lent ids and with one id only: run, USER, keep-id, build, commit, remove, what info says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home import BASE
from tests.people import Person, person

pytestmark = pytest.mark.user

DOCKERFILE = f"""FROM {BASE}
RUN mkdir -p /srv/secret && echo top > /srv/secret/f && chown -R 100:101 /srv/secret && chmod 700 /srv/secret
COPY --chown=44:45 Dockerfile /srv/secret/
RUN mkfifo /srv/pipe && mknod /srv/null c 1 3 || true
"""


@pytest.fixture(scope="module")
def wide() -> Iterator[Person]:
    with person(lent=True) as made:
        yield made


@pytest.fixture(scope="module")
def single() -> Iterator[Person]:
    with person(lent=False) as made:
        yield made


@pytest.fixture(params=["wide", "single"])
def either(request: pytest.FixtureRequest) -> Person:
    made: Person = request.getfixturevalue(request.param)
    return made


def sh(user: Person, script: str, *options: str | Path) -> list[str]:
    return user.nbc("run", "--rm", "--network", "none", *options, BASE, "sh", "-c", script).splitlines()


def context(user: Person) -> Path:
    path = user.home / "context"
    path.mkdir(exist_ok=True)
    (path / "Dockerfile").write_text(DOCKERFILE)
    return path


def test_the_map(wide: Person, single: Person) -> None:
    assert sh(single, "cat /proc/self/uid_map")[0].split() == ["0", str(single.uid), "1"]
    first, second = (line.split() for line in sh(wide, "cat /proc/self/uid_map"))
    assert first == ["0", str(wide.uid), "1"]
    assert (second[0], second[2]) == ("1", "65536")


def test_other_users_groups_and_terminals_with_lent_ids(wide: Person) -> None:
    assert sh(wide, "id -u; id -G; echo x > /dev/stdout; touch /tmp/f; stat -c %u /tmp/f", "-u", "33:44") == ["33", "44", "x", "33"]
    assert sh(wide, "chown 65535:65535 /tmp; stat -c %u:%g /tmp") == ["65535:65535"]
    assert sh(wide, "stat -c %u:%g $(tty)", "-t", "-u", "33")[0].strip() == "33:5"
    assert "ids end at 65536" in wide.refused("run", "--rm", "-u", "70000", BASE, "true")


def test_another_user_needs_lent_ids(single: Person) -> None:
    said = single.refused("run", "--rm", "-u", "33", BASE, "true")
    assert "needs more than one user id" in said
    assert "nbc doctor" in said


def test_keep_id_writes_the_callers_files(either: Person) -> None:
    shared = either.home / f"shared-{either.name}"
    shared.mkdir(exist_ok=True)
    os.chown(shared, either.uid, either.gid)
    lines = sh(either, "id -u; id -g; id -un; touch /s/mine; grep CapEff /proc/self/status", "--userns", "keep-id", "-v", f"{shared}:/s")
    assert lines[:3] == [str(either.uid), str(either.gid), either.name]
    assert int(lines[3].split()[1], 16) == 0
    status = (shared / "mine").stat()
    assert (status.st_uid, status.st_gid) == (either.uid, either.gid)
    (shared / "mine").unlink()


def test_root_inside_writes_the_callers_files_too(either: Person) -> None:
    shared = either.home / "rooted"
    shared.mkdir(exist_ok=True)
    os.chown(shared, either.uid, either.gid)
    sh(either, "touch /s/mine", "-v", f"{shared}:/s")
    assert (shared / "mine").stat().st_uid == either.uid
    (shared / "mine").unlink()


def test_keep_id_as_who_one_likes_to_be(wide: Person) -> None:
    shared = wide.home / "chosen"
    shared.mkdir()
    os.chown(shared, wide.uid, wide.gid)
    lines = sh(wide, "id -u; id -g; touch /s/mine; stat -c %u:%g /s/mine", "--userns", "keep-id:uid=200,gid=210", "-v", f"{shared}:/s")
    assert lines == ["200", "210", "200:210"]
    assert (shared / "mine").stat().st_uid == wide.uid


def test_keep_id_with_another_user(wide: Person) -> None:
    assert sh(wide, "id -u", "--userns", "keep-id", "-u", "0") == ["0"]
    assert sh(wide, "id -u", "--userns", "keep-id", "-u", "33") == ["33"]


def test_the_machines_user_namespace_is_refused(either: Person) -> None:
    assert "not possible for an ordinary user" in either.refused("run", "--rm", "--userns", "host", BASE, "true")
    assert "'nobody' is not known" in either.refused("run", "--rm", "--userns", "nobody", BASE, "true")
    assert sh(either, "id -u", "--userns", "auto") == ["0"]  # it has ids of its own anyway


def test_exec_as_another_user_and_what_it_changed(wide: Person) -> None:
    wide.nbc("run", "-d", "--name", "w1", "--network", "none", BASE, "sh", "-c", "mkdir -m 700 /a; chown 33:33 /a; sleep 1000")
    try:
        assert wide.nbc("exec", "-u", "33:33", "w1", "sh", "-c", "until [ -O /a ]; do :; done; id -u; echo hi > /a/f").split() == ["33"]
        assert wide.nbc("diff", "w1").split("\n")[:2] == ["A /a", "A /a/f"]
    finally:
        wide.nbc("rm", "-f", "w1")
    assert [path for name in ("snapshots", "trash", "tmp") for _, _, files in os.walk(wide.home / "root" / name) for path in files] == []


def test_a_build_with_lent_ids_keeps_owners(wide: Person) -> None:
    said = wide.nbc("build", "-t", "built", "--network", "none", context(wide), "--progress", "plain")
    assert "answered as done" not in said
    script = "stat -c '%u:%g %a %n' /srv/secret /srv/secret/f /srv/secret/Dockerfile; ls /srv"
    lines = wide.nbc("run", "--rm", "--network", "none", "built", "sh", "-c", script).splitlines()
    assert lines == ["100:101 700 /srv/secret", "100:101 644 /srv/secret/f", "44:45 644 /srv/secret/Dockerfile", "pipe", "secret"]
    wide.nbc("rmi", "-f", "built")


def test_a_build_with_one_id_goes_through_and_says_so_once(single: Person) -> None:
    done = single.run("/usr/bin/python3", "-m", "notebook_containers", "build", "-t", "built", "--network", "none", context(single))
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("are answered as done") == 1
    lines = single.nbc("run", "--rm", "--network", "none", "built", "sh", "-c", "stat -c '%u:%g %a' /srv/secret; ls /srv").splitlines()
    assert lines == ["0:0 700", "pipe", "secret"]
    single.nbc("rmi", "-f", "built")


def test_the_answers_are_given_with_one_id_only_and_can_be_switched_off(wide: Person, single: Person) -> None:
    assert sh(single, "touch /f; chown 5 /f && stat -c %u /f; mknod /d c 1 3 && ls /d 2>&1 || true")[0] == "0"
    off = single.run(
        "/usr/bin/python3", "-m", "notebook_containers", "run", "--rm", "--network", "none",
        "--security-opt", "seccomp=unconfined", BASE, "chown", "5", "/etc",
    )  # fmt: skip
    assert off.returncode != 0
    assert "Invalid argument" in off.stdout + off.stderr
    assert sh(wide, "mknod /d c 1 3 2>/dev/null || echo refused") == ["refused"]


def test_info_says_which_ids_there_are(wide: Person, single: Person) -> None:
    one = json.loads(single.nbc("info", "--format", "json"))
    many = json.loads(wide.nbc("info", "--format", "json"))
    assert "nobody else exists" in one["Security"]["user namespace"]
    assert "answered as done" in one["Security"]["seccomp"]
    assert any("because no ids are lent to this user" in line for line in one["Warnings"])
    assert "1 to 65536 are ids lent to you" in many["Security"]["user namespace"]
    assert many["Security"]["seccomp"] == "default profile"
    assert not any("one user id" in line for line in many["Warnings"])


def test_doctor_tells_how_it_knows_and_what_to_do(wide: Person, single: Person) -> None:
    one, many = (
        {row["Feature"]: row for row in map(json.loads, user.nbc("doctor", "--format", "json").splitlines())} for user in (single, wide)
    )
    assert one["user namespace"]["Available"] == "yes"
    assert one["overlay"]["How"] == "mount of an overlay of two layers, written to: works"
    assert one["user ids"]["Available"] == "partly"
    assert one["user ids"]["Todo"].startswith("usermod --add-subuids ")
    assert one["user ids"]["Todo"].endswith(single.name)
    assert many["user ids"]["Available"] == "yes"
    assert "wrote user ids" in many["user ids"]["How"]
    for row in one.values():
        assert row["Available"] == "yes" or (row["How"] and row["Lost"] and row["Todo"]), row
    assert not list(single.home.glob("**/nbc-doctor-*"))


LIMITS = {
    # flag → (controller in info, what the warning of the run says)
    "--memory=64m": ("memory", "memory limit 64m"),
    "--memory-reservation=32m": ("memory", "memory reservation 32m"),
    "--memory-swap=100m": ("memory", "swap limit 100m"),
    "--memory-swappiness=1": ("memory", "memory swappiness 1"),
    "--oom-kill-disable": ("memory", "switching the out-of-memory killer off"),
    "--cpus=0.5": ("cpu", "cpu quota 50000/100000 µs"),
    "--cpu-shares=100": ("cpu", "cpu shares 100"),
    "--cpuset-cpus=0": ("cpuset", "cpu set 0"),
    "--cpuset-mems=0": ("cpuset", "memory node set 0"),
    "--pids-limit=50": ("pids", "pids limit 50"),
    "--blkio-weight=100": ("blkio", "block io limit"),
}


def test_each_limit_that_is_not_enforced_is_said_by_info_and_by_the_run(either: Person) -> None:
    found = json.loads(either.nbc("info", "--format", "json"))
    done = either.run("/usr/bin/python3", "-m", "notebook_containers", "run", "--rm", "--network", "none", *LIMITS, BASE, "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    warnings = done.stderr.splitlines()
    weak = [flag for flag, (controller, _) in LIMITS.items() if found["Limits"][controller] != "enforced"]
    for flag in weak:
        controller, words = LIMITS[flag]
        reason = found["Limits"][controller]
        assert f"WARNING: {words} is not enforced: {reason}" in warnings, flag
        assert f"{controller} limits are not enforced: {reason}" in found["Warnings"]
    assert len([line for line in warnings if " is not enforced: " in line]) >= len(weak)


def test_what_an_ordinary_user_cannot_have_at_all_is_refused_with_the_next_step(either: Person) -> None:
    for flags, said in (
        (["--device-cgroup-rule", "c 1:3 rwm"], "give nodes with --device"),
        (["--oom-score-adj", "-5"], "choose 0 to 1000"),
        (["--ulimit", "nofile=100000000:100000000"], "use nofile="),
    ):
        assert said in either.refused("run", "--rm", "--network", "none", *flags, BASE, "true")


CONFINED = "grep -E '^(CapInh|CapAmb|CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t '; ls /proc/self/fd | tr '\\n' ' '"
AS_IT_SHOULD_BE = {"CapInh:" + "0" * 16, "CapAmb:" + "0" * 16, "CapBnd:00000000800405fb", "NoNewPrivs:1", "Seccomp:2", "0 1 2 3"}


def test_rt02_rt12_rt22_every_path_is_confined_without_root_too(either: Person) -> None:
    """A run, an exec, a health check and a build's RUN."""
    assert {line.strip() for line in sh(either, CONFINED)} == AS_IT_SHOULD_BE
    check = ("--health-cmd", f"({CONFINED}) >/tmp/s; mv /tmp/s /tmp/status", "--health-interval", "200ms")
    either.nbc("run", "-d", "--name", "confined", "--network", "none", *check, BASE, "sleep", "1000")
    try:
        assert {line.strip() for line in either.nbc("exec", "confined", "sh", "-c", CONFINED).splitlines()} == AS_IT_SHOULD_BE
        waiting = "until [ -e /tmp/status ]; do sleep 0.1; done; cat /tmp/status"
        assert {line.strip() for line in either.nbc("exec", "confined", "sh", "-c", waiting).splitlines()} == AS_IT_SHOULD_BE
    finally:
        either.nbc("rm", "-f", "confined")
    place = either.home / "confined"
    place.mkdir()
    (place / "Dockerfile").write_text(f"FROM {BASE}\nRUN {CONFINED}\n")
    words = ("build", "--progress", "plain", "--network", "none", "--no-cache", place)
    done = either.run("/usr/bin/python3", "-m", "notebook_containers", *words)
    assert [word for word in AS_IT_SHOULD_BE if word not in done.stdout + done.stderr] == []


def test_rt17_the_machines_cgroups_are_not_writable_without_root(either: Person) -> None:
    """CVE-2023-25809: neither files nor new groups, with the machine's cgroup namespace and with an own one."""
    making = "mkdir $(find /sys/fs/cgroup -maxdepth 2 -type d | sed 's,$,/mine,') 2>/dev/null"
    script = f"find /sys/fs/cgroup -writable -type f; {making}; find /sys/fs/cgroup -name mine"
    for mode in ("host", "private"):
        wide = f"for f in $({script}); do [ -d $f ] && echo made $f; (: >> $f) 2>/dev/null && echo opened $f; done; echo tried"
        assert sh(either, wide, "--cgroupns", mode) == ["tried"]


def test_a_failed_step_is_open_to_its_user(either: Person) -> None:
    place = context(either)
    (place / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN mkdir /made && echo half > /made/half\nRUN rm /made/half; echo two > /two; exit 3\n"
    )
    done = either.run("/usr/bin/python3", "-m", "notebook_containers", "build", "--network", "none", place)
    assert "nbc shell --failed" in done.stderr
    script = (
        "from notebook_containers import Engine\nwith Engine() as engine:\n"
        " step = engine.images.failed()\n print([c.kind + c.path for c in step.changes()], [c.path for c in step.before.changes()])\n"
        " print(step.run(['cat', '/two'], network='none'), step.before.run(['cat', '/made/half'], network='none'))\n"
    )
    done = either.run("/usr/bin/python3", "-c", script)
    assert done.stdout.splitlines() == ["['C/made', 'D/made/half', 'A/two'] []", "b'two\\n' b'half\\n'"], done.stderr

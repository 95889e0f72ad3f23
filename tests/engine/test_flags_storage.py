"""``--mount``, ``--volumes-from`` and what goes with them, on the real kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.errors import InvalidArgument, StartFailed
from tests.engine.test_flags import inside, started
from tests.home import BASE

pytestmark = pytest.mark.root


def test_mounts(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A\n")
    lines = inside(engine, "cat /m/a; (echo > /m/b) 2>/dev/null || echo ro", {"mounts": [f"type=bind,src={tmp_path},dst=/m,readonly"]})
    assert lines == ["A", "ro"]
    assert inside(engine, "stat -f -c %T /t; stat -c %a /t", {"mounts": ["type=tmpfs,target=/t,tmpfs-mode=0700"]}) == ["tmpfs", "700"]
    with pytest.raises(InvalidArgument, match="does not exist"):
        inside(engine, "true", {"mounts": [f"type=bind,src={tmp_path}/none,dst=/m"]})
    assert not (tmp_path / "none").exists()
    inside(engine, "true", {"mounts": ["type=volume,source=labelled,target=/v,volume-label=a=b"]})
    assert engine.volumes.get("labelled").labels == {"a": "b"}


def test_a_place_in_a_volume_is_reached_through_no_link(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("outside")
    inside(engine, f"mkdir -p /v/a/b; echo x > /v/a/b/c; ln -s {tmp_path} /v/out; ln -s a /v/in", {"volumes": ["data:/v"]})
    assert inside(engine, "ls /w", {"mounts": ["source=data,target=/w,volume-subpath=a/b"]}) == ["c"]
    for place in ("out", "in/b", "nothing"):
        with pytest.raises(StartFailed, match="/w") as refused:
            inside(engine, "ls /w", {"mounts": [f"source=data,target=/w,volume-subpath={place}"]})
    assert "make it first" in refused.value.hint


def test_a_new_volume_is_not_filled_when_told_so(engine: Engine) -> None:
    assert inside(engine, "ls /etc/passwd 2>/dev/null; true", {"volumes": ["fresh:/etc/skel:nocopy"]}) == ["/etc/passwd"]
    assert inside(engine, "ls /etc | wc -l", {"mounts": ["source=empty,target=/etc,volume-nocopy"]}) == ["3"]


def test_mounts_of_another_container(engine: Engine, tmp_path: Path) -> None:
    donor = started(engine, ["sleep", "100"], {"volumes": ["data:/data", f"{tmp_path}:/src:ro", "/anon"], "name": "donor"})
    script = "(echo x > /data/f) 2>/dev/null && echo rw; (echo x > /src/f) 2>/dev/null || echo ro; echo kept > /anon/g"
    assert inside(engine, script, {"volumes_from": ["donor"]}) == ["rw", "ro"]
    assert donor.exec_run(["cat", "/anon/g"]).output == b"kept\n"
    assert inside(engine, "(echo x > /data/h) 2>/dev/null || echo ro", {"volumes_from": ["donor:ro"]}) == ["ro"]
    assert inside(engine, "stat -f -c %T /data", {"volumes_from": ["donor"], "tmpfs": {"/data": ""}}) == ["tmpfs"]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A mount of the host that shares what is mounted below it."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
    subprocess.run(["mount", "--make-rshared", str(tmp_path)], check=True)
    (tmp_path / "inner").mkdir()
    yield tmp_path
    subprocess.run(["umount", "-R", str(tmp_path)], check=True)


def test_rt28_mounts_reach_the_other_side_only_when_asked(engine: Engine, shared: Path) -> None:
    mount = ["sh", "-c", "mount -t tmpfs tmpfs /m/inner && touch /m/inner/seen"]
    for word, seen in (("", False), (":rslave", False), (":rshared", True)):
        engine.containers.run(BASE, mount, remove=True, volumes=[f"{shared}:/m{word}"], privileged=True, network="none")
        assert (shared / "inner/seen").exists() is seen, word
        if seen:
            subprocess.run(["umount", str(shared / "inner")], check=True)
    container = started(engine, ["sleep", "100"], {"volumes": [f"{shared}:/m:rslave", f"{shared}:/n"]})
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(shared / "inner")], check=True)
    (shared / "inner/later").touch()
    assert container.exec_run(["sh", "-c", "ls /m/inner /n/inner"]).output == b"/m/inner:\nlater\n\n/n/inner:\n"


def test_a_mount_that_shares_nothing_is_refused(engine: Engine, shared: Path) -> None:
    subprocess.run(["mount", "--make-rprivate", str(shared)], check=True)
    with pytest.raises(InvalidArgument, match="shares nothing"):
        inside(engine, "true", {"volumes": [f"{shared}:/m:rshared"]})


def test_mounts_below_stay_away_when_told_so(engine: Engine, shared: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(shared / "inner")], check=True)
    (shared / "inner/x").touch()
    assert inside(engine, "ls /m/inner", {"volumes": [f"{shared}:/m"]}) == ["x"]
    assert inside(engine, "ls /m/inner", {"mounts": [f"type=bind,source={shared},target=/m,bind-recursive=disabled"]}) == []

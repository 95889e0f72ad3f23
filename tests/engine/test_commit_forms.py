"""What a commit keeps of everything that a container can make, and that the same changes are the same image: twice, elsewhere, for others.

The digest at the end is written here: it holds on every machine that runs this.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator

import pytest

from notebook_containers import Engine
from notebook_containers.errors import InvalidArgument
from notebook_containers.store.tar_reader import Entry, TarReader
from tests.home import BASE, Home, new_home
from tests.people import person

EPOCH = 1_000_000_000
CHANGES = r"""
set -e
mkdir -p /m/sub/deep /m/gone
echo one > /m/file; ln /m/file /m/hard; ln /m/file /m/sub/hard; ln -s ../file /m/sub/soft; ln -s nowhere /m/dangling
mkfifo -m 622 /m/pipe
chmod 4751 /m/file; chmod 1777 /m/sub; chmod 000 /m/sub/deep
printf x > "$(printf '/m/new\nline')"; printf x > "$(printf '/m/\377\376')"; printf x > "/m/$(printf '%255s' '' | tr ' ' n)"
long=/m/$(printf '%200s' '' | tr ' ' d); mkdir "$long"; printf x > "$long/$(printf '%200s' '' | tr ' ' f)"
dd if=/dev/zero of=/m/sparse bs=1 count=1 seek=10485759 2>/dev/null
touch -d '2001-01-01 00:00:00' /m/old
rm -r /m/gone
rm /etc/hostname-of-the-image 2>/dev/null || true
"""
BELOW = f"FROM {BASE}\nRUN mkdir -p /b/dir /b/whole && echo a > /b/file && echo b > /b/dir/x && echo c > /b/whole/y\n"
DELETIONS = "rm /b/file; rm -r /b/dir; rm -r /b/whole; mkdir /b/whole; echo new > /b/whole/z"
CODE = """
import json, os
os.environ["SOURCE_DATE_EPOCH"] = "1000000000"
from notebook_containers import Engine
from tests.engine.test_commit_forms import committed
with Engine() as engine:
    print(json.dumps(committed(engine)))
"""
LAYER = "sha256:662068c28b24da8788680482f7dcdcfb552a287a918ee66fb10d782f01062ba8"


def committed(engine: Engine, name: str = "one") -> str:
    """Make all changes in a container, commit it and return the new layer's diff_id."""
    engine.images.build(text=BELOW, tag="below", network="none")
    container = engine.containers.create("below", ["sh", "-c", CHANGES + DELETIONS], network="none", name=name)
    container.start()
    assert container.wait()["StatusCode"] == 0, container.logs()
    image = container.commit("forms", name)
    container.remove()
    return str(image.layers[-1])


@pytest.fixture
def own(own_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    with own_home.open() as engine:
        yield engine


def entries(engine: Engine, diff_id: str) -> dict[str, Entry]:
    store = engine._parts.store
    layer = next(layer for layer in store.layers.list() if layer.diff_id == diff_id)
    with store.layers.open_tar(layer.diff_id) as stream:
        return {entry.name.rstrip("/"): entry for entry in TarReader(stream)}


@pytest.mark.root
def test_everything_is_kept_and_the_same_changes_are_the_same_layer(own: Engine) -> None:
    first = committed(own)
    found = entries(own, first)
    assert {name for name in found if ".wh." in name} == {"b/.wh.file", "b/.wh.dir", "b/whole/.wh..wh..opq"}
    links = sorted(name for name in found if found[name].kind == "h")
    assert len(links) == 2
    assert {found[name].link for name in links} == {"m/file"}
    assert (found["m/file"].mode, found["m/sub"].mode, found["m/sub/deep"].mode) == (0o4751, 0o1777, 0)
    assert (found["m/pipe"].kind, found["m/pipe"].mode) == ("p", 0o622)
    assert found["m/sub/soft"].link == "../file"
    assert {"m/new\nline", "m/\udcff\udcfe", "m/" + "n" * 255, f"m/{'d' * 200}/{'f' * 200}"} <= set(found)
    assert found["m/sparse"].size == 10 << 20
    assert found["m/old"].mtime_ns == 978_307_200 * 10**9
    assert {entry.mtime_ns for name, entry in found.items() if name != "m/old"} == {EPOCH * 10**9}
    assert "m/gone" not in found
    assert not any("overlay" in key for entry in found.values() for key in entry.xattrs)
    assert committed(own, "two") == first
    with new_home() as elsewhere, elsewhere.open() as other:
        assert committed(other) == first
    assert first == LAYER
    image = own.images.get("forms:one")
    assert image.id == own.images.get("forms:two").id
    assert str(image.attrs["Created"]).startswith("2001-09-09T01:46:40")


@pytest.mark.user
@pytest.mark.parametrize("lent", [True, False])
def test_an_ordinary_users_commit_is_the_same_layer(lent: bool) -> None:
    with person(lent=lent) as who:
        assert who.python(CODE) == LAYER


@pytest.mark.root
def test_a_committed_tree_has_holes_where_the_file_had(own: Engine) -> None:
    diff_id = committed(own)
    (layer,) = [layer for layer in own._parts.store.layers.list() if layer.diff_id == diff_id]
    status = (layer.tree / "m/sparse").stat()
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (10 << 20, True)


@pytest.mark.root
def test_owners_times_capabilities_and_devices(own: Engine) -> None:
    container = own.containers.create(BASE, ["true"], network="none")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("f")
        info.uid, info.gid, info.mtime = 3_000_000_000, 2_500_000, 999_999_999.123456789
        info.pax_headers = {"SCHILY.xattr.user.k": "v"}
        archive.addfile(info)
        null = tarfile.TarInfo("null")
        null.type, null.devmajor, null.devminor, null.mode = tarfile.CHRTYPE, 1, 3, 0o666
        archive.addfile(null)
    container.put_archive("/", buffer.getvalue())
    upper = own._parts.store.root / "snapshots" / container.id / "upper"
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(upper / "f", "security.capability", capability)
    os.setxattr(upper / "f", "trusted.overlay.origin", b"x")
    found = entries(own, str(container.commit("owned").layers[-1]))
    entry = found["f"]
    assert (entry.uid, entry.gid) == (3_000_000_000, 2_500_000)
    assert entry.mtime_ns // 1000 == 999_999_999_123_456
    assert entry.mtime_ns == (upper / "f").stat().st_mtime_ns
    assert entry.xattrs == {"security.capability": capability, "user.k": b"v"}
    assert (found["null"].kind, found["null"].device) == ("c", (1, 3))
    assert stat.S_ISCHR((upper / "null").lstat().st_mode)
    container.remove()


@pytest.mark.root
def test_an_epoch_that_is_none(own: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    container = own.containers.create(BASE, ["true"], network="none")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InvalidArgument, match="no count of seconds"):
        container.commit("never")
    container.remove()


@pytest.mark.user
def test_a_container_that_cannot_stand_still_is_committed_all_the_same_and_that_is_said() -> None:
    with person(lent=True) as who:
        who.nbc("run", "-d", "--name", "box", "--network", "none", BASE, "sleep", "1000")
        still = who.python("""
import json
from notebook_containers import Engine
with Engine() as engine:
    print(json.dumps(engine.containers.get("box").can_stand_still))
""")
        done = who.run("/usr/bin/python3", "-m", "notebook_containers", "commit", "box", "made")
        assert (done.returncode, "it is not paused meanwhile" in done.stderr) == (0, not still)
        done = who.run("/usr/bin/python3", "-m", "notebook_containers", "commit", "--pause=false", "box", "made")
        assert (done.returncode, "paused" in done.stderr) == (0, False)
        who.nbc("rm", "-f", "box")

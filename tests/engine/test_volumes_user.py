"""Volumes and mounts of ordinary users, with lent ids and with their own alone: owners, copies, backups, images, memory."""

from __future__ import annotations

import os

import pytest

from tests.people import person

pytestmark = [pytest.mark.root, pytest.mark.user]

CODE = """
import json, os
from pathlib import Path
from notebook_containers import Engine

TEXT = "FROM localhost/base\\nRUN mkdir /d && echo image > /d/x && chown 5:6 /d/x && chmod 600 /d/x && ln -s d /l\\n"
out = {}
with Engine() as engine:
    def run(script, user="0", **options):
        given = ["sh", "-c", script]
        return engine.containers.run("two", given, network="none", remove=True, stderr=True, user=user, **options).decode()

    engine.images.build(text=TEXT, tag="two", network="none")
    look = "cat /m/x; (echo y > /m/y) 2>/dev/null && cat /m/y || echo refused"
    for word in ("image-subpath=/l", "subpath=d,rw"):
        out[word] = run(look, mounts=[f"type=image,source=two,target=/m,{word}"])
    home = Path(os.environ["HOME"])
    here = home / "host"
    here.mkdir()
    (here / "a").write_text("A\\n")
    out["overlay"] = run("cat /h/a; echo B > /h/a; cat /h/a", volumes=[f"{here}:/h:O"]) + (here / "a").read_text()
    out["lent"] = engine._parts.host.maps.highest
    if out["lent"]:
        out["owned"] = run("stat -c %u:%g /h /h/a; echo mine >> /h/a", user="1234:55", volumes=[f"{here}:/h:U"])
        out["volume owned"] = run("echo x > /v/f; stat -c %u:%g /v /v/f", user="1234:55", volumes=["owned:/v:U"])
        try:
            run("true", volumes=[f"{home}/theirs:/h:U"])
        except Exception as err:
            out["theirs"] = [type(err).__name__, str(err)]
    out["given back"] = run("stat -c %u:%g /h /h/a", volumes={here: "/h:U"})
    out["kept"] = run("stat -c %u:%g /h /h/a", user=None, volumes=[f"{here}:/h:U"], userns_mode="keep-id")
    out["outside"] = [os.stat(here).st_uid, os.stat(here / "a").st_uid]
    memory = engine.volumes.create("mem", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0750"})
    out["notes"] = memory.notes()
    out["mem"] = run("stat -f -c %T /v; stat -c '%u %a' /v; echo kept > /v/f", volumes=["mem:/v"]) + run("cat /v/f", volumes=["mem:/v"])
    out["mem read"] = memory.read("f").decode()
    place = memory.path
    memory.remove()
    out["mem gone"] = place.exists()
    data = engine.volumes.create("data")
    run("mkdir -m 700 /v/closed; echo secret > /v/closed/x; ln -s /etc/passwd /v/evil; chown -R 5:6 /v/closed", volumes=["data:/v"])
    out["read"] = [data.read("closed/x").decode(), data.names("closed"), data.size() > 0]
    try:
        data.read("evil")
    except Exception as err:
        out["evil"] = type(err).__name__
    data.write("by/notebook", b"bytes")
    copy = engine.volumes.create("copy")
    copy.import_archive(data.export())
    script = "cd /v; find . | sort; stat -c '%u:%g %a' closed closed/x by/notebook"
    out["same"] = run(script, volumes=["copy:/v"]) == run(script, volumes=["data:/v"])
    out["filled"] = run("stat -c '%u:%g %a' /d/x", volumes=["pre:/d"])
    try:
        engine.volumes.create("disk", driver_opts={"type": "ext4", "device": "/dev/loop0"})
    except Exception as err:
        out["disk"] = str(err)
    engine.volumes.prune({"all": True})
    found = [str(finding) for finding in engine.check().findings if finding.kind != "cgroup-leaked"]
    out["left"] = [volume.name for volume in engine.volumes.list()] + found
print(json.dumps(out))
"""


@pytest.mark.parametrize("lent", [True, False], ids=["lent", "single"])
def test_volumes_and_mounts_of_an_ordinary_user(lent: bool) -> None:
    with person(lent=lent) as someone:
        (theirs := someone.home / "theirs").mkdir()
        (theirs / "file").write_text("root's")
        os.chown(theirs, someone.uid, someone.gid)
        found = someone.python(CODE)
    assert isinstance(found, dict)
    owner = "5:6" if lent else "0:0"
    own = f"{someone.uid}:{someone.gid}"
    assert found.pop("lent") == (65536 if lent else 0)
    if lent:
        words = f"volume option U cannot change the owner of {theirs}/file: operation not permitted"
        assert found.pop("theirs") == ["InvalidArgument", words]
        assert found.pop("owned") == "1234:55\n" * 2
        assert found.pop("volume owned") == "1234:55\n" * 2
    (note,) = found.pop("notes")
    assert "size=1m is not enforced" in note
    assert "needs root" in found.pop("disk")
    assert found == {
        "image-subpath=/l": "image\nrefused\n",
        "subpath=d,rw": "image\ny\n",
        "overlay": "A\nB\nA\n",
        "given back": "0:0\n" * 2,
        "kept": f"{own}\n" * 2,
        "outside": [someone.uid] * 2,
        "mem": "tmpfs\n0 750\nkept\n",
        "mem read": "kept\n",
        "mem gone": False,
        "read": ["secret\n", ["x"], True],
        "evil": "NotFound",
        "same": True,
        "filled": f"{owner} 600\n",
        "left": [],
    }

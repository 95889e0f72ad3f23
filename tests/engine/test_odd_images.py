"""Whole images with something wrong in them: loaded, looked at and started, or refused by an error of ours (REL-34, HST-07, NET-06)."""

from __future__ import annotations

import copy
import json
import os
import random
import textwrap
import time
from contextlib import suppress

import pytest

from notebook_containers import Engine
from notebook_containers.errors import Error, InvalidDocument
from notebook_containers.oci.image import LAYER_TAR, MANIFEST, Digest
from tests.engine.races import look
from tests.engine.tars import tar
from tests.home import Home

pytestmark = pytest.mark.root

LAYER = tar(("file", b"hello"))
CONFIG = "application/vnd.oci.image.config.v1+json"
ODD: tuple[object, ...] = (
    None, True, 0, -1, 2**63, 1e308, "", "x" * 70_000, "\0", "../../etc", "a\nb", "\ud800",
    [], {}, [None], [[]], {"": None}, {"a": {"b": []}},
    "sha256:" + "0" * 64, "9999-99-99T99:99:99Z", [["x"] * 3] * 2000,
)  # fmt: skip


def config() -> dict[str, object]:
    """An image's config with every member."""
    return {
        "created": "2024-01-01T00:00:00Z",
        "author": "somebody",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(LAYER)]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "comment": "", "empty_layer": False}],
        "config": {
            "User": "0",
            "ExposedPorts": {"80/tcp": {}},
            "Env": ["PATH=/bin", "A=b"],
            "Entrypoint": ["/file"],
            "Cmd": ["x"],
            "Volumes": {"/data": {}},
            "WorkingDir": "/",
            "Labels": {"a": "b"},
            "StopSignal": "SIGTERM",
            "Shell": ["/bin/sh", "-c"],
            "OnBuild": ["RUN x"],
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1_000_000_000, "Timeout": 1_000_000_000, "Retries": 3},
        },
    }


class Parts:
    """The documents of an image; :meth:`files` puts them together with sound digests, whatever is in them."""

    def __init__(self) -> None:
        self.config: object = config()
        self.manifest: object = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": "CONFIG", "size": "SIZE"},
            "layers": [{"mediaType": LAYER_TAR, "digest": Digest.of(LAYER), "size": len(LAYER)}],
            "annotations": {"a": "b"},
        }
        self.index: object = {
            "schemaVersion": 2,
            "manifests": [
                {"mediaType": MANIFEST, "digest": "MANIFEST", "size": "SIZE", "annotations": {"org.opencontainers.image.ref.name": "odd:1"}}
            ],
        }

    def files(self) -> dict[str, bytes]:
        """Return an OCI image layout."""
        found = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

        def blob(data: bytes) -> tuple[str, int]:
            found[f"blobs/sha256/{Digest.of(data).hex}"] = data
            return Digest.of(data), len(data)

        def filled(document: object, word: str, data: bytes) -> bytes:
            digest, size = blob(data)
            return json.dumps(document).replace(f'"{word}"', f'"{digest}"').replace('"SIZE"', str(size)).encode()

        blob(LAYER)
        manifest = filled(self.manifest, "CONFIG", json.dumps(self.config).encode())
        found["index.json"] = filled(self.index, "MANIFEST", manifest)
        return found


def spoil(document: object, chance: random.Random) -> object:
    """Return a copy in which one value, name or member is odd."""
    made = copy.deepcopy(document)
    at = made
    while True:
        if not isinstance(at, dict | list) or not at:
            return chance.choice(ODD)
        key: object = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
        inner = at[key]  # type: ignore[call-overload]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.8:
            at = inner
            continue
        if isinstance(at, dict) and chance.random() < 0.2:
            del at[key]
        else:
            at[key] = chance.choice(ODD)  # type: ignore[call-overload]
        return made


def test_rel34_an_image_with_odd_documents_is_refused_or_loads(own: Engine) -> None:
    """Nothing but our errors, each in one line and at once; what does load can be looked at, created, and started or refused."""
    (sound,) = own.images.load(tar(*Parts().files().items()))
    assert sound.tags == ("odd:1",)
    chance = random.Random(34)
    outcomes = {"loaded": 0, "refused": 0}
    said: list[str] = []
    for number in range(150):
        parts = Parts()
        name = chance.choice(["config", "config", "manifest", "index"])
        setattr(parts, name, spoil(getattr(parts, name), chance))
        began = time.process_time()
        try:
            loaded = own.images.load(tar(*parts.files().items()))
            outcomes["loaded"] += 1
            for image in loaded:
                assert image.attrs
                image.history()
                if number % 5 == 0:
                    own.containers.create(image.id, network="none").start()
        except Error as err:
            outcomes["refused"] += 1
            said.append(err.one_line())
        assert time.process_time() - began < 1, number
        for container in own.containers.list(all=True):
            container.remove(force=True, v=True)
    assert min(outcomes.values()) > 20, outcomes
    assert [line for line in said if "\n" in line] == []
    for image in own.images.list():
        own.images.remove(image.id, force=True)


@pytest.mark.parametrize("part", ["index.json", "oci-layout", "blobs", "blobs/sha256"])
def test_hst07_parts_of_a_layout_that_are_links_lead_nowhere(own: Engine, own_home: Home, part: str) -> None:
    """CVE-2026-48749's kind: what is read and written lies in the layout, wherever its parts point."""
    place, outside = own_home.top / "layout", own_home.top / "outside"
    for top in (place, outside):
        for name, data in Parts().files().items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
    os.rename(place / part, place / (part + ".moved"))
    (place / part).symlink_to(outside / part)
    before = look(outside)
    with suppress(InvalidDocument):
        own.images.load_directory(place)
        assert part == "oci-layout"  # of which nothing is read
    assert look(outside) == before
    for image in own.images.list():
        own.images.remove(image.id, force=True)


RAW = """
    import errno, fcntl, socket, struct
    def tried(name, call):
        try:
            call()
            print(name, "done")
        except OSError as err:
            print(name, errno.errorcode[err.errno])
    tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
    tried("icmp", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    with socket.socket() as any:
        tried("mac", lambda: fcntl.ioctl(any, 0x8924, struct.pack("16sH14s", b"eth0", 1, b"\\x02" + bytes(13))))
        tried("promiscuous", lambda: fcntl.ioctl(any, 0x8914, struct.pack("16sH14s", b"eth0", 0x1143, bytes(14))))
        tried("address", lambda: fcntl.ioctl(any, 0x8916, struct.pack("16sHH4s8s", b"eth0", 2, 0, bytes([10, 9, 8, 7]), bytes(8))))
    tried("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
    print("v6", open("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").read().strip())
"""


def test_net06_by_default_nothing_can_be_forged_or_overheard(engine: Engine) -> None:
    """CVE-2020-10749, CVE-2020-13401: no raw socket, no other address, no router advertisements; ping works all the same."""
    output = engine.containers.run("localhost/python", ["python3", "-c", textwrap.dedent(RAW)], network="bridge", remove=True)
    assert isinstance(output, bytes)
    refused = dict.fromkeys(("packet", "raw", "icmp", "mac", "promiscuous", "address"), "EPERM")
    assert dict(line.split() for line in output.decode().splitlines()) == {**refused, "ping": "done", "v6": "1"}

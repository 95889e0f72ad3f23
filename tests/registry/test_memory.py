"""REL-22: a pull's memory does not grow with the layer, and documents that would fill it are refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers.oci.image import CONFIG, LAYER_GZIP, MANIFEST, Digest
from tests.registry.scripted import Answer, Request, Scripted

TREE = Path(__file__).parents[2]
_PIECE = 1 << 20
_PIECES = 500

PULL = """
import re, sys
from pathlib import Path
from notebook_containers.store.store import Store
from notebook_containers.registry.pull import pull
from notebook_containers.oci.reference import Reference
from notebook_containers.errors import Error
with Store.open(Path(sys.argv[1])) as store:
    try:
        pull(store, Reference.parse(sys.argv[2]))
    except Error as err:
        print(err.one_line(), file=sys.stderr)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak_mb(tmp_path: Path, name: str, *, group: Path | None = None) -> tuple[float, str]:
    """Pull in a process of its own, in a memory group if one is given; return its largest memory and what it said."""
    environment = {"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    words = [sys.executable, "-c", PULL, str(tmp_path / "s"), name]
    if group is not None:
        words = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(group / "cgroup.procs"), *words]
    done = subprocess.run(
        [sys.executable, "-c", PULL, str(tmp_path / "s"), name], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1000, done.stderr.strip()


@pytest.fixture
def group_of_64_mib() -> Iterator[Path]:
    """A group whose processes have 64 MiB of memory together, files of theirs that are cached included (either version)."""
    first = Path("/sys/fs/cgroup/memory")
    path = (first if first.is_dir() else first.parent) / f"nbc-test-{os.getpid()}"
    path.mkdir()
    (path / ("memory.limit_in_bytes" if first.is_dir() else "memory.max")).write_text(str(64 * _PIECE))
    yield path
    end = time.monotonic() + 5
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def layer_of_500_mib() -> tuple[bytes, Digest]:
    """Return a gzip layer of 500 MiB of zeros (half a megabyte on the wire) and its diff_id."""
    entry = tarfile.TarInfo("large")
    entry.size = _PIECE * _PIECES
    packer, digest, out = zlib.compressobj(1, zlib.DEFLATED, 31), hashlib.sha256(), []
    for piece in (entry.tobuf(), *[bytes(_PIECE)] * _PIECES, bytes(10240)):
        digest.update(piece)
        out.append(packer.compress(piece))
    return b"".join([*out, packer.flush()]), Digest(f"sha256:{digest.hexdigest()}")


def serve(server: Scripted, layer: bytes, diff_id: Digest, config: bytes = b"", *, padding: int = 0) -> None:
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "x": "x" * padding}
    config = config or json.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": CONFIG, "digest": Digest.of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER_GZIP, "digest": Digest.of(layer), "size": len(layer)}],
    }
    server.say("/v2/a/manifests/1", Answer(body=json.dumps(manifest).encode(), headers={"Content-Type": MANIFEST}))
    server.say(f"/v2/a/blobs/{Digest.of(config)}", Answer(body=config))
    server.say(f"/v2/a/blobs/{Digest.of(layer)}", Answer(body=layer))


def test_rel22_a_layer_of_500_mib_in_less_than_100(tmp_path: Path, scripted: Callable[[], Scripted]) -> None:
    server = scripted()
    serve(server, *layer_of_500_mib())
    peak, said = peak_mb(tmp_path, f"{server.host}/a:1")
    assert said == ""
    assert peak < 100, f"{peak:.0f} MB"


@pytest.mark.root
def test_rel22_with_64_mib_for_all_of_it(tmp_path: Path, scripted: Callable[[], Scripted], group_of_64_mib: Path) -> None:
    server = scripted()
    serve(server, *layer_of_500_mib())
    peak, said = peak_mb(tmp_path, f"{server.host}/a:1", group=group_of_64_mib)
    assert said == ""
    assert peak < 64 * _PIECE / 1e6


def test_rel22_an_incompressible_layer_on_the_wire(tmp_path: Path, scripted: Callable[[], Scripted]) -> None:
    server, data = scripted(), os.urandom(32 * _PIECE) * 4
    entry = tarfile.TarInfo("large")
    entry.size = len(data)
    tar = entry.tobuf() + data + bytes(10240)
    serve(server, tar, Digest.of(tar))
    peak, said = peak_mb(tmp_path, f"{server.host}/a:1")
    assert said == ""
    assert peak < 100, f"{peak:.0f} MB"


def test_rel22_a_config_or_manifest_of_30_mib_is_refused(tmp_path: Path, scripted: Callable[[], Scripted]) -> None:
    server, layer = scripted(), zlib.compress(b"")
    serve(server, layer, Digest.of(b""), padding=30 * _PIECE)
    peak, said = peak_mb(tmp_path, f"{server.host}/a:1")
    assert "more than the 4194304 allowed" in said
    assert peak < 100, f"{peak:.0f} MB"

    def endless(_request: Request) -> Answer:
        return Answer(body=b" " * (30 * _PIECE), headers={"Content-Type": MANIFEST})

    server.say("/v2/a/manifests/1", endless)
    peak, said = peak_mb(tmp_path, f"{server.host}/a:1")
    assert "more than the 4194304 bytes allowed" in said
    assert peak < 100, f"{peak:.0f} MB"


def test_rel22_a_document_of_many_small_things_is_refused(tmp_path: Path, scripted: Callable[[], Scripted]) -> None:
    server = scripted()
    history = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"history":[' + b"{}," * 1_300_000 + b"{}]}"
    serve(server, b"x", Digest.of(b"x"), history)
    peak, said = peak_mb(tmp_path, f"{server.host}/a:1")
    assert "objects and lists allowed" in said
    assert peak < 100, f"{peak:.0f} MB"

"""Every reader of words that others wrote (REL-34), as a function of bytes: it returns, or raises an error of ours, quickly.

ValueError is allowed where a reader's contract says so: those have callers that read what another process of ours wrote.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from notebook_containers.compose.loading import Request, load
from notebook_containers.errors import Error
from notebook_containers.linux.cgroups.hierarchy import detect
from notebook_containers.oci.image import Descriptor, Digest
from notebook_containers.oci.platforms import parse_platform
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.auth import parse_challenge
from notebook_containers.registry.patience import retry_after
from notebook_containers.registry.pull import check_parts, parse_index
from notebook_containers.runtime import wire
from notebook_containers.runtime.logs import read_log
from notebook_containers.runtime.state import read_state
from notebook_containers.store.compression import uncompressed
from notebook_containers.store.images import parse_config, parse_manifest
from notebook_containers.store.tar_reader import TarReader
from tests.build import oracles

MOST_BYTES = 32 << 20
"""What of an archive's bytes is read at most: a bomb is no finding here (TAR-10)."""


def archive(data: bytes) -> None:
    """A layer's archive, in any compression."""
    with uncompressed(io.BytesIO(data)) as stream:
        reader, taken = TarReader(stream), 0

        def take(piece: memoryview) -> None:
            nonlocal taken
            taken += len(piece)

        for entry in reader:
            if taken + entry.size > MOST_BYTES:
                return
            if entry.kind == "f":
                reader.copy_data(take)


def dockerfile(data: bytes) -> None:
    """A Dockerfile, up to its plan."""
    oracles.dockerfile(_text(data))


def compose(data: bytes) -> None:
    """A compose file, up to the typed project."""
    load(Request(cwd=Path("/nonexistent"), text=_text(data), environment={"A": "a"}))


def reference(data: bytes) -> None:
    """A name of an image, a digest, a platform."""
    for parse in (lambda text: str(Reference.parse(text).tagged()), Digest, parse_platform):
        _ours(parse, _text(data))


def config(data: bytes) -> None:
    """An image's config."""
    parse_config(data)


def manifest(data: bytes) -> None:
    """A manifest, an index, a descriptor."""
    _ours(lambda found: check_parts(parse_manifest(found)), data)
    _ours(lambda found: parse_index(found, "x"), data)
    _ours(lambda found: Descriptor.from_json(wire.parse(found)), data)  # type: ignore[arg-type]


def challenge(data: bytes) -> None:
    """A registry's WWW-Authenticate and Retry-After."""
    _ours(parse_challenge, data.decode("latin-1"))
    retry_after(data.decode("latin-1"))


def log(data: bytes) -> None:
    """A container's log, from its beginning and from its end."""
    with tempfile.TemporaryDirectory(prefix="nbc-fuzz-") as folder:
        (Path(folder) / "log").write_bytes(data)
        whole = list(read_log(Path(folder) / "log"))
        tail = list(read_log(Path(folder) / "log", tail=2))
        assert tail == whole[len(whole) - len(tail) :]


def message(data: bytes) -> None:
    """What comes from a monitor's socket."""
    reader = wire.Reader()
    reader.feed(data)
    for _kind, payload in reader.frames():
        wire.parse(payload)


def state(data: bytes) -> None:
    """A container's state file."""
    with tempfile.TemporaryDirectory(prefix="nbc-fuzz-") as folder:
        (Path(folder) / "state.json").write_bytes(data)
        read_state(Path(folder))


def mounts(data: bytes) -> None:
    """The kernel's table of mounts, and its list of a process's groups."""
    table, _, groups = data.partition(b"\0")
    groups = groups.replace(b"\0", b"")  # no name that the kernel has can hold one
    with tempfile.TemporaryDirectory(prefix="nbc-fuzz-") as folder:
        place = Path(folder) / "proc/self"
        place.mkdir(parents=True)
        (place / "mountinfo").write_bytes(table)
        (place / "cgroup").write_bytes(groups)
        detect(folder)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (archive, dockerfile, compose, reference, config, manifest, challenge, log, message, state, mounts)
}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _ours(read: Callable[[str], object] | Callable[[bytes], object], data: str | bytes) -> None:
    try:
        read(data)  # type: ignore[arg-type]
    except (Error, ValueError):
        pass

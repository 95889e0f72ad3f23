"""Files of this machine as layers that are kept: made once for a key, found by every later build."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from notebook_containers.build import keys
from notebook_containers.build.context import Context, Source
from notebook_containers.build.digests import TreeDigest
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import Digest
from notebook_containers.store.operations import CopyTree, HostDirectory, Operation
from notebook_containers.store.store import Store

INSIDE = "source"
"""Where in its layer a file or tree is."""


def key_of(*pieces: str) -> str:
    """Return the row's key for what the pieces name; ``nbc builder du`` tells such rows from steps by its start."""
    return "mount:" + keys.digest_of(piece.encode("utf-8", "surrogateescape") for piece in pieces)


def kept(store: Store, key: str) -> tuple[Digest, Mapping[str, JSON]] | None:
    """Return the layer of a key and its document; None when there is none (any more)."""
    row = store.records.cache_get(key)
    if row is None or row.diff_id is None or not store.layers.has(row.diff_id):
        return None
    return row.diff_id, json.loads(row.document)


def keep(store: Store, key: str, operations: Sequence[Operation], document: Mapping[str, JSON], *, epoch: int | None = None) -> Digest:
    """Make a layer of what the operations do to nothing, and remember it."""
    snapshot = f"mount-{os.urandom(8).hex()}"
    store.snapshots.prepare(snapshot, (), volatile=True)
    try:
        store.snapshots.edit(snapshot, operations)
        layer = store.snapshots.commit(snapshot, epoch=epoch)
    except BaseException:
        store.snapshots.remove(snapshot)
        raise
    assert layer is not None  # it holds at least the directory
    store.records.cache_put(key, layer.diff_id, json.dumps(dict(document)))
    return layer.diff_id


def context_layer(store: Store, context: Context, source: Source, tree: TreeDigest, *, at: str = INSIDE) -> Digest:
    """Return the layer with a part of a context at ``/source`` (or elsewhere), copied once for all builds that take the same."""
    key = key_of("1", tree.digest, "d" if source.is_directory else "f", *([at] if at != INSIDE else []))
    found = kept(store, key)
    if found is not None:
        return found[0]
    copy = CopyTree(
        source=HostDirectory(path=Path(context.path)), path=source.path, destination=f"/{at}", uid=0, gid=0, mode=None,
        skip=tree.skipped, ready=context.ready(source, tree),
    )  # fmt: skip
    return keep(store, key, [copy], {"created": "1970-01-01T00:00:00Z", "seconds": 0}, epoch=0)

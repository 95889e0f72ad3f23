"""Putting an embedded base image into the store the first time somebody names it."""

from __future__ import annotations

import os
import threading

from notebook_containers.engine.bases.image import LayerSource, make
from notebook_containers.lean import replace
from notebook_containers.oci.image import History, RootFS
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.layers import Layer
from notebook_containers.store.store import Store


def install(store: Store, reference: Reference) -> ImageRecord:
    """Make the base image of this name from the machine's files, store and tag it; the same machine gives the same image."""

    base = make(reference.name)
    with store.lease():
        layers = [_apply(store, source) for source in base.layers]
        history = tuple(History(created=base.config.created, created_by=source.created_by) for source in base.layers)
        empty = History(created=base.config.created, created_by=f"CMD {_json(base.config.config.cmd)}", empty_layer=True)
        rootfs = RootFS(diff_ids=tuple(layer.diff_id for layer in layers))
        config = replace(base.config, rootfs=rootfs, history=(*history, empty))
        return store.images.put(config, layers, tags=[reference])


def _json(words: tuple[str, ...] | None) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words or ()) + "]"


def _apply(store: Store, source: LayerSource) -> Layer:
    """Stream the tar from a writing thread into the store through a pipe."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with open(writing, "wb") as out:
                source.write(out)
        except BaseException as err:
            failures.append(err)

    thread = threading.Thread(target=write, name="nbc-base")
    thread.start()
    try:
        with open(reading, "rb") as stream:
            layer = store.layers.apply(stream)
    except BaseException:
        thread.join()
        if failures and not isinstance(failures[0], BrokenPipeError):
            raise failures[0] from None
        raise
    thread.join()
    if failures:
        store.layers.remove(layer.diff_id)
        raise failures[0]
    return layer

"""A store in a temporary directory, images made of real tars, and operations run (and killed) in processes of their own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers.oci.image import ContainerConfig, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    with Store.open(root) as opened:
        yield opened


def tar_bytes(**files: bytes) -> bytes:
    """A tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


MakeImage = Callable[..., ImageRecord]


def put_image(store: Store, tag: str, *contents: bytes, label: str = "") -> ImageRecord:
    """Record an image with one layer for each of ``contents``."""
    layers = [store.layers.apply(io.BytesIO(tar_bytes(file=data))) for data in contents]
    config = ImageConfig(
        created="2026-01-02T03:04:05Z", architecture="amd64", os="linux", config=ContainerConfig(labels={"label": label} if label else {})
    )
    return store.images.put(config, layers, tags=[Reference.parse(tag)] if tag else [])


@pytest.fixture
def image(store: Store) -> MakeImage:
    def make(tag: str, *contents: bytes, label: str = "") -> ImageRecord:
        return put_image(store, tag, *contents, label=label)

    return make


RunPython = Callable[..., subprocess.CompletedProcess[str]]
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def run_python() -> RunPython:
    """Run code in a fresh interpreter that can import the package: ``run_python(code, *arguments, failpoints="")``."""

    def run(code: str, *args: object, failpoints: str = "") -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(PROJECT), "NBC_FAILPOINTS": failpoints}
        argv = [sys.executable, "-c", code, *map(str, args)]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run

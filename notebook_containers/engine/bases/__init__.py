"""The embedded base images ``localhost/base`` and ``localhost/python``, made from this machine's own files."""

from __future__ import annotations

from notebook_containers.engine.bases.image import BASES, BaseImage, LayerSource, contents, make
from notebook_containers.engine.bases.install import install

__all__ = ["BASES", "BaseImage", "LayerSource", "contents", "install", "make"]

"""The embedded base images ``localhost/base`` and ``localhost/python``, made from this machine's own files."""

from __future__ import annotations

from notebook_containers.engine.bases.image import BASES, BaseImage, LayerSource, contents, make

__all__ = ["BASES", "BaseImage", "LayerSource", "contents", "make"]

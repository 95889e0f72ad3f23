"""The platform that images are built for: this machine's, in Dockerfile's words."""

from __future__ import annotations

from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.image import Platform
from notebook_containers.oci.platforms import host_platform, normal, parse_platform, platform_text

__all__ = ["host_platform", "platform_arguments", "platform_text", "same_platform"]


def platform_arguments(value: Platform) -> dict[str, str]:
    """Return the predefined ``BUILD…`` and ``TARGET…`` arguments (Dockerfile reference, "Automatic platform ARGs")."""
    parts = {"PLATFORM": platform_text(value), "OS": value.os, "ARCH": value.architecture, "VARIANT": value.variant}
    return {f"{side}{name}": text for side in ("BUILD", "TARGET") for name, text in parts.items()}


def same_platform(text: str, value: Platform) -> bool:
    """Say whether ``os[/architecture[/variant]]``, or an architecture alone, means this platform; a text that is none means no platform."""
    try:
        return platform_text(parse_platform(text)) == platform_text(normal(value))
    except InvalidArgument:
        return False

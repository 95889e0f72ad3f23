"""The platforms that images are built on and for, in Dockerfile's words."""

from __future__ import annotations

from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.image import Platform
from notebook_containers.oci.platforms import host_platform, normal, parse_platform, platform_text

LINUX_ONLY = "name a Linux platform, such as linux/arm64"

__all__ = ["host_platform", "parse_platform", "platform_arguments", "platform_text", "same_platform"]


def platform_arguments(build: Platform, target: Platform) -> dict[str, str]:
    """Return the predefined ``BUILD…`` and ``TARGET…`` arguments (Dockerfile reference, "Automatic platform ARGs")."""
    return {f"{side}{name}": text for side, value in (("BUILD", build), ("TARGET", target)) for name, text in _parts(value).items()}


def _parts(value: Platform) -> dict[str, str]:
    return {"PLATFORM": platform_text(value), "OS": value.os, "ARCH": value.architecture, "VARIANT": value.variant}


def target_platform(text: str) -> Platform | None:
    """Return the platform that ``--platform`` asks for; None for an empty text: this machine's.

    InvalidArgument for what is no platform, for several, and for systems other than Linux.
    """
    if not text:
        return None
    if "," in text:
        raise InvalidArgument(f"--platform {text}: a build is for one platform", hint="build once for each of them, with a name of its own")
    found = parse_platform(text)
    if found.os != "linux":
        raise InvalidArgument(f"images for {platform_text(found)} cannot be built here", hint=LINUX_ONLY)
    return found


def same_platform(text: str, value: Platform) -> bool:
    """Say whether ``os[/architecture[/variant]]``, or an architecture alone, means this platform; a text that is none means no platform."""
    try:
        return platform_text(parse_platform(text)) == platform_text(normal(value))
    except InvalidArgument:
        return False


def foreign(text: str) -> str:
    """Return the platform's text, or nothing when it is this machine's or nobody asked for one."""
    return "" if not text or same_platform(text, host_platform()) else text

"""The platform that images are built for: this machine's, in Go's words."""

from __future__ import annotations

import platform

from notebook_containers.oci.image import Platform

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "i386": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}


def host_platform() -> Platform:
    """Return this machine's platform; an unknown machine keeps the kernel's name for it."""
    machine = platform.machine()
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(architecture=architecture, os="linux", variant=variant)


def platform_text(value: Platform) -> str:
    """Return ``os/architecture[/variant]``."""
    return "/".join(part for part in (value.os, value.architecture, value.variant) if part)


def platform_arguments(value: Platform) -> dict[str, str]:
    """Return the predefined ``BUILD…`` and ``TARGET…`` arguments (Dockerfile reference, "Automatic platform ARGs")."""
    parts = {"PLATFORM": platform_text(value), "OS": value.os, "ARCH": value.architecture, "VARIANT": value.variant}
    return {f"{side}{name}": text for side in ("BUILD", "TARGET") for name, text in parts.items()}


def same_platform(text: str, value: Platform) -> bool:
    """Say whether ``os[/architecture[/variant]]``, or an architecture alone, means this platform (an absent part means ours)."""
    parts = text.lower().split("/")
    if len(parts) == 1 and parts[0] != "linux":
        parts = ["linux", parts[0]]
    aliases = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
    architecture = aliases.get(parts[1], parts[1]) if len(parts) > 1 else value.architecture
    variant = parts[2] if len(parts) > 2 else value.variant
    variant = "" if (architecture, variant) == ("arm64", "v8") else variant
    return (parts[0], architecture, variant) == (value.os, value.architecture, value.variant)

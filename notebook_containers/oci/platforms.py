"""Platforms in words, and which image of an index fits one (image-spec image-index.md; containerd's defaults for variants)."""

from __future__ import annotations

import platform as machine
from collections.abc import Sequence

from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.image import Descriptor, Platform

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "i386": ("386", ""),
}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})
_ARCHITECTURES = frozenset(
    {
        *(
            "386",
            "amd64",
            "arm",
            "armbe",
            "arm64",
            "arm64be",
            "loong64",
            "mips",
            "mipsle",
            "mips64",
            "mips64le",
            "mips64p32",
            "mips64p32le",
        ),
        *("ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm"),
    }
)
"""Go's names (GOARCH), which the image specification takes."""
_DEFAULT_VARIANTS = {("arm64", "v8"), ("amd64", "v1")}
_LONGEST = 64


def host_platform() -> Platform:
    """Return this machine's platform; an unknown machine keeps the kernel's name for it."""
    name = machine.machine()
    architecture, variant = _MACHINES.get(name, (name, ""))
    return Platform(architecture=architecture, os="linux", variant=variant)


def platform_text(value: Platform) -> str:
    """Return ``os/architecture[/variant]``."""
    return "/".join(part for part in (value.os, value.architecture, value.variant) if part)


def parse_platform(text: str) -> Platform:
    """Return the platform of ``os[/architecture[/variant]]`` or an architecture alone; absent parts are this machine's; InvalidArgument."""
    parts = text.lower().split("/")
    if (
        not 1 <= len(parts) <= 3
        or not all(p.replace("_", "").replace("-", "").replace(".", "").isalnum() for p in parts)
        or len(text) > _LONGEST
        or (len(parts) == 1 and parts[0] not in {*_SYSTEMS, *_ALIASES, *_ARCHITECTURES, host_platform().architecture})
    ):
        raise InvalidArgument(f"{text[:_LONGEST]!r} is no platform", hint="write os/architecture[/variant], as linux/arm64 or linux/arm/v7")
    host = host_platform()
    if len(parts) == 1:
        parts = [parts[0], host.architecture, host.variant] if parts[0] in _SYSTEMS else ["linux", parts[0]]
    architecture = _ALIASES.get(parts[1], parts[1])
    return normal(Platform(os=parts[0], architecture=architecture, variant=parts[2] if len(parts) > 2 else ""))


def normal(value: Platform) -> Platform:
    """Return the platform without a variant that is the architecture's default."""
    if (value.architecture, value.variant) not in _DEFAULT_VARIANTS:
        return value
    return Platform(os=value.os, architecture=value.architecture, os_version=value.os_version, os_features=value.os_features)


def best(entries: Sequence[Descriptor], wanted: Platform) -> Descriptor | None:
    """Return the entry that fits best, as :func:`best_of`; None when none fits."""
    place = best_of([entry.platform for entry in entries], wanted)
    return None if place is None else entries[place]


def best_of(offered: Sequence[Platform | None], wanted: Platform) -> int | None:
    """Return the place of what fits best, the earlier of equals; an arm machine runs older variants of arm too; None when none fits."""
    ranked = [(rank, place) for place, each in enumerate(offered) if (rank := _rank(each, normal(wanted))) is not None]
    return min(ranked)[1] if ranked else None


def _rank(offered: Platform | None, wanted: Platform) -> int | None:
    if offered is None or (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return None
    have = normal(offered).variant
    if have == wanted.variant:
        return 0
    if wanted.architecture == "arm" and have < (wanted.variant or "v8"):
        return 1 + ord("9") - ord(have[-1:] or "0")
    # what needs more than the architecture's base is only for those who ask for it
    return 100 if not wanted.variant and wanted.architecture not in ("amd64", "arm") else None

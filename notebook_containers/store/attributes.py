"""Which extended attributes travel between trees and archives, and overlay's own ones, which never do."""

from __future__ import annotations

import errno
import os

CAPABILITY = "security.capability"
_ACL = ("system.posix_acl_access", "system.posix_acl_default")
_OVERLAY = ("trusted.overlay.", "user.overlay.")


def opaque_name(*, rootless: bool) -> str:
    """Return the attribute by which overlayfs knows a directory that hides what lies below (``userxattr`` mounts have their own)."""
    return "user.overlay.opaque" if rootless else "trusted.overlay.opaque"


def travels(name: str) -> bool:
    """Say whether an attribute may be taken from an archive or another tree, and given to one.

    File capabilities, users' own attributes and ACLs do. Overlay's never: an image must not reach into the mount made of it
    (CVE-2023-0386 and its kin). Labels of the host's security modules mean nothing elsewhere.
    """
    return name == CAPABILITY or name in _ACL or (name.startswith("user.") and not name.startswith(_OVERLAY))


def is_overlay(name: str) -> bool:
    """Say whether the attribute is overlayfs' own, in either of its name spaces."""
    return name.startswith(_OVERLAY)


def read(path: str | int, names: list[str]) -> dict[str, bytes]:
    """Return the travelling ones among ``names`` with their values, file capabilities in the form without a root id."""
    found = {name: os.getxattr(path, name, **_nofollow(path)) for name in names if travels(name)}
    if CAPABILITY in found:
        found[CAPABILITY] = plain_capability(found[CAPABILITY])
    return found


def names(path: str | int) -> list[str]:
    """List a file's attributes, without following a link; a file system without them has none."""
    try:
        return os.listxattr(path, **_nofollow(path))
    except OSError as err:
        if err.errno in (errno.ENOTSUP, errno.EACCES, errno.EPERM):
            return []
        raise


def plain_capability(value: bytes) -> bytes:
    """Turn version 3 (bound to a user name space's root id) into version 2, which every machine understands; others stay."""
    if len(value) == 24 and value[3] == 3:
        return value[:3] + b"\x02" + value[4:20]
    return value


def _nofollow(path: str | int) -> dict[str, bool]:
    return {} if isinstance(path, int) else {"follow_symlinks": False}

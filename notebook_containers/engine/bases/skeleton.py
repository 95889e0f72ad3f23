"""The directories and the small /etc of ``localhost/base``, all made here: nothing of the host's /etc is copied."""

from __future__ import annotations

import os
from collections.abc import Mapping

from notebook_containers.engine.bases.tree import Tree, image_path, readable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DIRECTORIES = """dev etc home media mnt opt proc run srv sys usr usr/bin usr/lib usr/lib64 usr/local usr/local/bin usr/local/lib
usr/local/sbin usr/local/share usr/sbin usr/share var var/cache var/lib var/log var/spool"""

_NSSWITCH = """passwd:    files
group:     files
shadow:    files
hosts:     files dns
networks:  files
protocols: files
services:  files
"""
_PROFILE = f"""export PATH={PATH}
if [ "$(id -u)" = 0 ]; then PS1='# '; else PS1='$ '; fi
umask 022
"""
_TERMINALS = ("ansi", "dumb", "linux", "screen", "screen-256color", "tmux-256color", "vt100", "vt220", "xterm", "xterm-256color")
_TERMINFO = ("/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo")
_LOCALE = "/usr/lib/locale/C.utf8"


def host_release() -> dict[str, str]:
    """Return the host's os-release(5) as a mapping; empty where there is none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                pairs = [line.strip().partition("=") for line in file if "=" in line and not line.startswith("#")]
        except OSError:
            continue
        return {key: value.strip("\"'") for key, _, value in pairs}
    return {}


def release_name(release: Mapping[str, str]) -> str:
    """Return what the host calls itself, for people."""
    return release.get("PRETTY_NAME") or release.get("NAME") or "an unnamed Linux"


def add_skeleton(tree: Tree, release: Mapping[str, str]) -> None:
    """Put the directories, the merged-/usr links and the minimal /etc into the tree."""
    for path in _DIRECTORIES.split():
        tree.directory(path)
    tree.directory("root", 0o700)
    for path in ("tmp", "var/tmp"):
        tree.directory(path, 0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        tree.link(name, f"usr/{name}")
    tree.link("var/run", "../run")
    tree.link("var/lock", "../run/lock")
    for path, text in _etc(release).items():
        tree.data(path, text.encode())
    tree.link("etc/os-release", "usr/lib/os-release")
    tree.link("etc/mtab", "../proc/self/mounts")


def _etc(release: Mapping[str, str]) -> dict[str, str]:
    like = " ".join(filter(None, (release.get("ID", ""), release.get("ID_LIKE", ""))))
    return {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
        "etc/nsswitch.conf": _NSSWITCH,
        "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        "etc/profile": _PROFILE,
        "etc/shells": "/bin/sh\n/bin/bash\n",
        "usr/lib/os-release": (
            f'PRETTY_NAME="localhost/base: programs of {release_name(release)}"\nNAME="localhost/base"\nID=notebook-containers-base\n'
            f'ID_LIKE="{like}"\nVERSION_ID="{release.get("VERSION_ID", "")}"\n'
        ),
    }


def add_shared_data(tree: Tree) -> None:
    """Add the descriptions of common terminals and the C.UTF-8 locale, where the host has them: both are the distribution's public data."""
    for terminal in _TERMINALS:
        for directory in _TERMINFO:
            real = os.path.realpath(f"{directory}/{terminal[0]}/{terminal}")
            if real.startswith(_TERMINFO) and readable(real):
                tree.copy(real, image_path(f"{directory}/{terminal[0]}/{terminal}"))
                break
    for directory, _, files in os.walk(_LOCALE):
        for name in sorted(files):
            if readable(f"{directory}/{name}") and not os.path.islink(f"{directory}/{name}"):
                tree.copy(f"{directory}/{name}")

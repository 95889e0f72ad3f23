"""The programs of ``localhost/base``: which, where they are found, and how one gets into a tree with its libraries."""

from __future__ import annotations

import os
import re

from notebook_containers.engine.bases.libraries import Libraries, Library
from notebook_containers.engine.bases.tree import Tree, image_path, readable

DIRECTORIES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
"""Where programs are looked for: the distribution's own directories, never the caller's PATH or /usr/local."""

SOURCES = ("/usr/bin/", "/usr/sbin/", "/usr/lib", "/usr/libexec/", "/bin/", "/sbin/", "/lib")
"""What a program's real path must start with once links (such as /etc/alternatives) are followed."""

_COREUTILS = """[ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown chroot cksum comm cp csplit cut date dd df dir
dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln logname ls md5sum
mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pinky pr printenv printf ptx pwd readlink realpath
rm rmdir runcon seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac
tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink users vdir wc who whoami yes"""
_OTHERS = """sh bash dash grep egrep fgrep sed awk mawk gawk find xargs tar gzip gunzip zcat bzip2 bunzip2 bzcat xz unxz xzcat zstd diff
cmp diff3 sdiff patch ps top free pgrep pkill pidof pmap pwdx uptime vmstat w watch sysctl kill hostname mount umount
mountpoint findmnt ip ss ping getopt flock setsid setpriv unshare nsenter lscpu lsblk dmesg more less clear tput reset tset
which getent useradd userdel groupadd groupdel nologin logger renice taskset ionice"""

PROGRAMS = tuple(dict.fromkeys(f"{_OTHERS} {_COREUTILS}".split()))

_NO_APPLETS = frozenset({"dpkg", "dpkg-deb", "rpm", "rpm2cpio", "busybox"})
"""Applets that would claim a package database that the image does not have."""


def add_programs(tree: Tree, libraries: Libraries) -> None:
    """Put every program that this machine has into the tree; busybox, where installed, fills what is missing."""
    scripts: list[tuple[str, str]] = []
    for name in PROGRAMS:
        asked, real = find_program(name)
        if not real:
            continue
        if libraries.elf(real) is None:
            scripts.append((asked, real))
        elif add_elf(tree, libraries, real):
            _link(tree, asked, real)
    for asked, real in scripts:
        if _interpreter_is_there(tree, real):
            tree.copy(real, mode=0o755)
            _link(tree, asked, real)
    _add_busybox(tree, libraries)


def find_program(name: str) -> tuple[str, str]:
    """Return the path under which a program is found and the file it leads to, or two empty texts."""
    for directory in DIRECTORIES:
        asked = f"{directory}/{name}"
        real = os.path.realpath(asked)
        if real.startswith(SOURCES) and readable(real):
            return asked, real
    return "", ""


def add_elf(tree: Tree, libraries: Libraries, host: str, path: str = "") -> bool:
    """Add a program or module (0755: set-id bits are dropped) with all libraries it needs; False, adding nothing, when one is missing."""
    needed = libraries.closure(host)
    if needed is None:
        return False
    tree.copy(host, path, mode=0o755)
    home = next((os.path.dirname(lib.asked_path) for lib in needed if lib.asked_path.endswith("/libc.so.6")), "usr/lib")
    for library in needed:
        _add_library(tree, library, home)
    return True


def _add_library(tree: Tree, library: Library, home: str) -> None:
    """Keep a library where the loader finds it by itself; one from elsewhere goes to /usr/lib, with a link in libc's directory.

    The image has no ld.so.cache, and a private directory (a home, /opt) does not exist in it. ``$ORIGIN/../lib`` of a program in /usr/bin
    leads to /usr/lib, so a private library wins there over the system's of the same name.
    """
    name = os.path.basename(library.asked_path)
    if library.private:
        path = f"usr/lib/{name}"
        tree.copy(library.real, path, mode=0o755)
        tree.link(f"{home}/{name}", path)
        return
    tree.copy(library.real, library.real_path, mode=0o755)
    if library.asked_path != library.real_path:
        tree.link(library.asked_path, library.real_path)


def _link(tree: Tree, asked: str, real: str) -> None:
    path, target = image_path(asked), image_path(real)
    if path != target:
        tree.link(path, target)


def _interpreter_is_there(tree: Tree, script: str) -> bool:
    with open(script, "rb") as file:
        line = file.readline(200)
    words = line[2:].split() if line.startswith(b"#!") else []
    return bool(words) and image_path(os.path.realpath(words[0].decode("latin-1"))) in tree


def _add_busybox(tree: Tree, libraries: Libraries) -> None:
    _, real = find_program("busybox")
    if not real or not add_elf(tree, libraries, real, "usr/bin/busybox"):
        return
    for applet in applets(real):
        if not any(f"usr/{directory}/{applet}" in tree for directory in ("bin", "sbin")):
            tree.link(f"usr/bin/{applet}", "usr/bin/busybox")


def applets(busybox: str) -> tuple[str, ...]:
    """Return the names a busybox answers to, read from the table in its bytes (sorted, NUL-separated), not by running it."""
    with open(busybox, "rb") as file:
        data = file.read()
    start = max(data.find(b"\0[\0[[\0"), data.find(b"\0[\0acpid\0"), data.find(b"\0[\0arch\0"))
    if start < 0:
        return ()
    table = data[start + 1 : data.index(b"\0\0", start + 1)].split(b"\0")
    names = [name.decode("latin-1") for name in table if re.fullmatch(rb"[A-Za-z0-9_.+-]{1,40}|\[\[?", name)]
    return tuple(name for name in names if name not in _NO_APPLETS)

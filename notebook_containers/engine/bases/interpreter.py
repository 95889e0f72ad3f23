"""The running Python as a layer: the base interpreter behind any venv and its standard library, nothing of its site."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator

from notebook_containers.engine.bases.libraries import Libraries
from notebook_containers.engine.bases.programs import add_elf
from notebook_containers.engine.bases.tree import Tree, readable
from notebook_containers.errors import Unsupported

_LEFT_OUT = frozenset({"idlelib", "lib2to3", "tkinter", "_tkinter", "turtle", "turtledemo"})
_NO_DIRECTORIES = frozenset({"__pycache__", "test", "tests", "idle_test"})
_SUFFIXES = (".py", ".so", ".txt", ".whl", ".pickle")
_CERTIFICATES = "/usr/share/ca-certificates/mozilla"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"


def version() -> str:
    """Return the interpreter's name with its version, such as ``Python 3.11.2``."""
    return "Python " + ".".join(map(str, sys.version_info[:3]))


def add_interpreter(tree: Tree, libraries: Libraries) -> None:
    """Put the interpreter at /usr/bin/python3 and its standard library under /usr; raises Unsupported when it cannot be copied whole.

    getpath finds the prefix from where the program lies: /usr/bin/python3.X with /usr/lib/python3.X/os.py gives /usr, whatever prefix it
    was built for.
    """
    program, library = _program(), sysconfig.get_path("stdlib")
    name = os.path.basename(library)
    if not readable(program) or not add_elf(tree, libraries, program, f"usr/bin/{name}"):
        raise Unsupported(f"the interpreter {program or sys.executable} cannot be copied with its libraries", hint="use localhost/base")
    for alias in ("python3", "python"):
        tree.link(f"usr/bin/{alias}", f"usr/bin/{name}")
    _add_library(tree, libraries, library, f"usr/{sys.platlibdir}/{name}")
    _add_wheels(tree)
    _add_certificates(tree)


def _program() -> str:
    """Return the real interpreter: the one a venv was made from, not the venv's link or copy."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base: str = getattr(sys, "_base_executable", "") or ""
    for path in (base, os.path.join(sys.base_exec_prefix, "bin", name), sys.executable, "/proc/self/exe"):
        real = os.path.realpath(path) if path else ""
        if real and readable(real):
            return real
    return ""


def _add_library(tree: Tree, libraries: Libraries, library: str, destination: str) -> None:
    for path in _modules(library):
        host, target = os.path.join(library, path), f"{destination}/{path}"
        if path.endswith(".so"):
            add_elf(tree, libraries, host, target)
        elif os.path.basename(path).startswith("_sysconfigdata"):
            tree.data(target, _without_prefix(host), source=host)
        else:
            tree.copy(host, target)


def _modules(library: str) -> Iterator[str]:
    """Give the paths, below ``library``, of every file of the standard library, and of no other: its own list of module names decides."""
    wanted = sys.stdlib_module_names - _LEFT_OUT
    for directory, names, files in os.walk(library):
        below = os.path.relpath(directory, library)
        top = below.split(os.sep)[0]
        names[:] = sorted(n for n in names if n not in _NO_DIRECTORIES and (below != "." or n in wanted or n == "lib-dynload"))
        for name in sorted(files):
            module = name.partition(".")[0]
            by_name = module in wanted or module.startswith("_sysconfigdata") or name == "LICENSE.txt"
            if name.endswith(_SUFFIXES) and (by_name or top not in (".", "lib-dynload")) and _own(directory, name):
                yield os.path.normpath(os.path.join(below, name))


def _own(directory: str, name: str) -> bool:
    path = os.path.join(directory, name)
    return readable(path) and (not os.path.islink(path) or os.path.realpath(path).startswith("/usr/lib/python3"))


def _without_prefix(host: str) -> bytes:
    """Return the build's configuration with the prefix the interpreter has in the image, so that no home directory is told."""
    with open(host, "rb") as file:
        data = file.read()
    prefix = sys.base_prefix.encode()
    return data if prefix in (b"/usr", b"/") else data.replace(prefix, b"/usr")


def _add_wheels(tree: Tree) -> None:
    """Add the pip that a distribution's ensurepip looks for outside the standard library (PEP 453, ``--with-wheel-pkg-dir``)."""
    directory = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if isinstance(directory, str) and os.path.isdir(directory):
        for name in sorted(os.listdir(directory)):
            if name.startswith(("pip-", "setuptools-")) and readable(os.path.join(directory, name)):
                tree.copy(os.path.join(directory, name))


def _add_certificates(tree: Tree) -> None:
    """Add the distribution's public certificates, without those its owner turned off, and without any he added himself."""
    try:
        with open("/etc/ca-certificates.conf", encoding="utf-8", errors="replace") as file:
            off = {os.path.basename(line.strip()[1:]) for line in file if line.startswith("!")}
        names = sorted(name for name in os.listdir(_CERTIFICATES) if name.endswith(".crt") and name not in off)
        bundle = b"".join(_certificate(f"{_CERTIFICATES}/{name}") for name in names)
    except OSError:
        return
    if bundle:
        tree.data(_BUNDLE, bundle, source=_CERTIFICATES)
        tree.link("usr/lib/ssl/cert.pem", _BUNDLE)


def _certificate(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read().rstrip(b"\n") + b"\n"

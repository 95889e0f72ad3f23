"""What the virtual machine is made of: a Debian kernel with its modules, this machine's programs and Python, the packages, this tree."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import lzma
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from notebook_containers.engine.bases.image import make
from notebook_containers.engine.bases.libraries import Libraries
from notebook_containers.engine.bases.programs import add_elf
from notebook_containers.engine.bases.tree import Entry, Tree

TREE = Path(__file__).parents[2]
KERNEL_VARIABLE = "NBC_VM_KERNEL"
BUILT_IN = ("ext4", "nvme")  # so that the kernel mounts its root by itself, without an initial RAM disk
MODULES = (
    *("overlay", "bfq", "veth", "bridge", "nf_tables", "nft_chain_nat", "nft_nat", "nft_masq", "nft_ct", "nft_reject_inet"),
    *("nft_fib_inet", "nft_limit", "nf_conntrack", "nfnetlink", "sch_netem"),
)
PACKAGES = ("pytest", "click", "pyroute2", "pyelftools", "pyyaml", "urllib3", "backports.zstd", "isal", "pytest-timeout", "jeepney")
PROGRAMS = ("/bin/busybox", "/usr/bin/busybox", "/usr/lib/systemd/systemd", "/usr/bin/dbus-daemon")
MANAGERS_FILES = ("/usr/lib/systemd/user", "/usr/share/dbus-1")
"""The units of a user's systemd and its message bus, as Debian's systemd, dbus and dbus-user-session bring them."""
SCRIPTS = ("/usr/bin/ldd",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel image and the directory of its modules."""

    image: Path
    modules: Path

    def missing(self) -> str:
        """Return what this kernel lacks for the tests, or an empty text."""
        lines = (self.modules / "modules.builtin").read_text().splitlines()
        built_in = {_module_name(line) for line in lines}
        lacking = [name for name in BUILT_IN if name not in built_in]
        return f"{self.image.name} has {' and '.join(lacking)} not built in" if lacking else ""


def find_kernel() -> Kernel | None:
    """Return the newest kernel below $NBC_VM_KERNEL (where a package was unpacked), or else installed here; None where there is none."""
    top = Path(os.environ.get(KERNEL_VARIABLE, "/"))
    images = sorted(top.glob("boot/vmlinuz-*-cloud-amd64")) or sorted(top.glob("boot/vmlinuz-*-amd64"))
    for image in reversed(images):
        for modules in (top / "lib/modules", top / "usr/lib/modules"):
            if (found := modules / image.name.removeprefix("vmlinuz-")).is_dir() and os.access(image, os.R_OK):
                return Kernel(image=image, modules=found)
    return None


def fill(place: Path, kernel: Kernel) -> None:
    """Put the machine's whole root file system into the empty directory ``place``."""
    base = make("localhost/python")
    below = [entry for layer in base.layers for entry in layer.entries]
    for entry in (*below, *_more(below)):
        _write(place, entry)
    for directory in MANAGERS_FILES:
        shutil.copytree(directory, f"{place}{directory}", symlinks=True, dirs_exist_ok=True)
    _copy_modules(place / "vm/modules", kernel)
    for name in _with_requirements(PACKAGES):
        for source, path in _package_files(name):
            if source.suffix != ".so":
                _copy(source, place / "vm/site" / path)
    _copy_tree(place / "vm/tree")
    for name in ("vm", "vm/tree", "vm/site"):
        (place / name).chmod(0o755)


def _more(below: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return what the tests call besides: busybox, ldd, and the compiled modules of packages with their libraries."""
    tree, libraries = Tree(below=below), Libraries()
    for program in filter(os.path.isfile, PROGRAMS):
        add_elf(tree, libraries, program)
    for script in SCRIPTS:
        tree.copy(script, mode=0o755)
    for name in _with_requirements(PACKAGES):
        for source, path in _package_files(name):
            if source.suffix == ".so":
                add_elf(tree, libraries, str(source), f"vm/site/{path}")
    return tree.entries()


def _write(place: Path, entry: Entry) -> None:
    """Make one entry; a Python file comes with its compiled form, which would cost the slow machine minutes."""
    path = place / entry.path
    if entry.kind == "directory":
        path.mkdir(exist_ok=True)
    elif entry.kind == "link":
        path.symlink_to(entry.target)
        return
    elif os.path.isfile(entry.source) and not entry.data:
        _copy(Path(entry.source), path)
    else:
        path.write_bytes(entry.data)
    path.chmod(entry.mode)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    if source.suffix == ".py":
        compiled = Path(importlib.util.cache_from_source(str(source)))
        if compiled.is_file():
            wanted = target.parent / "__pycache__" / compiled.name
            wanted.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, wanted)


def _with_requirements(names: Iterable[str]) -> list[str]:
    """Return the installed ones of these packages, with what they require (no extras)."""
    found: list[str] = []
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            required = importlib.metadata.distribution(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
        for text in required:
            word = re.match(r"[\w.-]+", text)
            if word and "extra ==" not in text and word[0] not in (*found, *waiting):
                waiting.append(word[0])
    return found


def _package_files(name: str) -> Iterator[tuple[Path, str]]:
    """Yield an installed package's files (no programs) and their paths below site-packages."""
    for file in importlib.metadata.files(name) or ():
        source = Path(str(file.locate()))
        if ".." not in file.parts and source.suffix != ".pyc" and source.is_file():
            yield source, str(file)


def _copy_tree(place: Path) -> None:
    """Copy what git knows of the package and the tests, as it lies here."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "notebook_containers", "tests", "pyproject.toml"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    names = done.stdout.split("\n") if done.returncode == 0 else (str(path.relative_to(TREE)) for path in _sources())
    for name in names:
        if name and (TREE / name).is_file() and "/static/" not in name:
            _copy(TREE / name, place / name)


def _sources() -> Iterator[Path]:
    """Yield the same files where this is no clone (an unpacked archive)."""
    yield TREE / "pyproject.toml"
    for top in ("notebook_containers", "tests"):
        yield from (path for path in (TREE / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _copy_modules(place: Path, kernel: Kernel) -> None:
    """Copy the modules under numbers that say in which order they load."""
    place.mkdir(parents=True)
    files = {_module_name(str(path)): path for path in kernel.modules.rglob("*.ko*")}
    order: list[str] = []
    for name in MODULES:
        _visit(name, files, order)
    for number, name in enumerate(order):
        (place / f"{number:03}-{name}.ko").write_bytes(_module_bytes(files[name]))


def _visit(name: str, files: dict[str, Path], order: list[str]) -> None:
    """Add a module after all that it needs; what is built in, or unknown to this kernel, has no file."""
    if name in order or name not in files:
        return
    for needed in _needs(files[name]):
        _visit(needed, files, order)
    order.append(name)


def _needs(path: Path) -> list[str]:
    """Return what a module says it depends on."""
    section = ELFFile(io.BytesIO(_module_bytes(path))).get_section_by_name(".modinfo")
    words = section.data().split(b"\0")
    text = next((word.removeprefix(b"depends=").decode() for word in words if word.startswith(b"depends=")), "")
    return [name.replace("-", "_") for name in text.split(",") if name]


def _module_bytes(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def _module_name(path: str) -> str:
    return os.path.basename(path).partition(".")[0].replace("-", "_")

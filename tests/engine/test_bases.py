"""The embedded base images: what is in them, that nothing else is, that they run in a chroot, and that the bytes are always the same."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator

import elftools
import pytest

import notebook_containers
from notebook_containers.engine import bases
from notebook_containers.engine.bases.libraries import Libraries
from notebook_containers.engine.bases.programs import applets, find_program
from notebook_containers.engine.bases.tree import Tree, image_path
from notebook_containers.errors import ImageNotFound, StoreError
from tests.needs import need

PROGRAM_SOURCES = ("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/lib64/", "/usr/libexec/", "/lib/", "/lib64/", "/bin/", "/sbin/")
SHARED_DATA = ("/usr/lib/locale/C.utf8/", "/usr/share/terminfo/", "/lib/terminfo/", "/usr/lib/terminfo/")


def tar_of(layer: bases.LayerSource) -> bytes:
    out = io.BytesIO()
    layer.write(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def base() -> bases.BaseImage:
    return bases.make("localhost/base")


@pytest.fixture(scope="module")
def python() -> bases.BaseImage:
    return bases.make("localhost/python")


@pytest.fixture(scope="module")
def root(python: bases.BaseImage) -> Iterator[pathlib.Path]:
    """The unpacked localhost/python, to chroot into."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="nbc-test-base-"))
    for layer in python.layers:
        with tarfile.open(fileobj=io.BytesIO(tar_of(layer))) as archive:
            archive.extractall(directory, filter="tar")  # the filter drops the sticky bit, which no test here looks at
    yield directory
    shutil.rmtree(directory)


def inside(root: pathlib.Path, *command: str) -> str:
    done = subprocess.run(
        ["/usr/sbin/chroot", str(root), *command],
        env={"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_config_says_what_it_is(base: bases.BaseImage, python: bases.BaseImage) -> None:
    assert base.config.config.env[0] == "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert base.config.config.cmd in {("bash",), ("sh",)}
    assert python.config.config.cmd == ("python3",)
    assert base.config.architecture in {"amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64"}
    assert "copied from this machine" in base.config.config.labels["org.opencontainers.image.description"]
    assert base.config.created.endswith("Z")
    assert base.config.rootfs.diff_ids == ()
    assert base.config.history == ()


def test_an_unknown_name_is_named_with_the_ones_there_are() -> None:
    with pytest.raises(ImageNotFound, match="'localhost/perl'") as caught:
        bases.make("localhost/perl")
    assert "localhost/base" in caught.value.hint


def test_python_is_base_with_one_more_layer(base: bases.BaseImage, python: bases.BaseImage) -> None:
    assert len(base.layers) == 1
    assert len(python.layers) == 2
    assert tar_of(base.layers[0]) == tar_of(python.layers[0])
    lower = {entry.path for entry in python.layers[0].entries if entry.kind != "directory"}
    assert not lower & {entry.path for entry in python.layers[1].entries}


def test_the_layout_is_merged_usr_with_a_minimal_etc(base: bases.BaseImage) -> None:
    members = {member.name: member for member in tarfile.open(fileobj=io.BytesIO(tar_of(base.layers[0])))}
    for name in ("bin", "sbin", "lib", "lib64"):
        assert members[name].linkname == f"usr/{name}"
    assert (members["tmp"].mode, members["root"].mode) == (0o1777, 0o700)
    assert {"proc", "sys", "dev", "run", "home", "var/tmp"} <= members.keys()
    etc = {name for name in members if name.startswith("etc/") and not members[name].isdir()}
    assert etc == {f"etc/{n}" for n in ("passwd", "group", "nsswitch.conf", "hosts", "profile", "shells", "os-release", "mtab")}


def test_every_member_is_root_owned_dated_zero_and_without_set_id_bits(python: bases.BaseImage) -> None:
    for layer in python.layers:
        for member in tarfile.open(fileobj=io.BytesIO(tar_of(layer))):
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
            assert not member.mode & 0o6000
            assert member.isfile() or member.isdir() or member.issym()
            assert not member.name.startswith("/")
            assert ".." not in member.name.split("/")


def test_members_are_sorted_with_parents_first(python: bases.BaseImage) -> None:
    for layer in python.layers:
        seen: set[str] = set()
        for entry in layer.entries:
            parent = os.path.dirname(entry.path)
            assert not parent or parent in seen, entry.path
            seen.add(entry.path)


def test_only_programs_libraries_and_public_data_are_copied_into_base() -> None:
    """The allow-list: everything in the image is made here, or comes from the distribution's own program and library directories."""
    conf = tuple(f"{directory.rstrip('/')}/" for directory in Libraries()._configured)
    for path, source in bases.contents("localhost/base"):
        if source == "made":
            continue
        assert source.startswith((*PROGRAM_SOURCES, *SHARED_DATA, *conf)), (path, source)
        assert path.startswith("/usr/"), (path, source)
        if path.startswith("/usr/lib/") and not source.startswith(SHARED_DATA) and "/bin/" not in source:
            assert ".so" in path or "/libexec/" in path, (path, source)


def test_only_the_interpreter_its_library_and_public_certificates_are_added_by_python(python: bases.BaseImage) -> None:
    stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
    wheels = str(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/nonexistent")
    for entry in python.layers[1].entries:
        if entry.source == "made":
            assert entry.kind != "file"
            continue
        is_library = ".so" in os.path.basename(entry.source)
        is_interpreter = os.path.basename(entry.path).startswith("python3") and entry.path.startswith("usr/bin/")
        known = os.path.realpath(entry.source).startswith((stdlib, wheels, "/usr/share/ca-certificates/mozilla"))
        assert is_library or is_interpreter or known, entry
        parts = entry.path.split("/")
        assert not {"site-packages", "dist-packages", "__pycache__", "test", "tests"} & set(parts), entry
        assert parts[-1] not in {"sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED"}, entry


def test_no_file_of_the_users_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH full of traps, odd environment variables: the same image."""
    before = hashlib.sha256(tar_of(bases.make("localhost/base").layers[0])).hexdigest()
    with tempfile.TemporaryDirectory() as trap:
        for name in ("ls", "sh", "awk"):
            pathlib.Path(trap, name).write_text("#!/bin/sh\necho trapped\n")
            os.chmod(pathlib.Path(trap, name), 0o755)
        monkeypatch.setenv("PATH", trap)
        monkeypatch.setenv("LD_LIBRARY_PATH", trap)
        monkeypatch.setenv("LANG", "de_DE.UTF-8")
        assert hashlib.sha256(tar_of(bases.make("localhost/base").layers[0])).hexdigest() == before


def need_python(interpreter: str) -> None:
    done = subprocess.run([interpreter, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"], check=False)
    need(done.returncode == 0, f"{interpreter} of 3.11 or newer")


@pytest.mark.root
def test_root_and_an_ordinary_user_get_the_same_digest() -> None:
    """Another user, working directory and umask, in a fresh process."""
    script = (
        "import hashlib,io,sys,os\nos.umask(int(sys.argv[1], 8))\nfrom notebook_containers.engine import bases\n"
        "for name in bases.BASES:\n  image = bases.make(name)\n  print(image.config.to_bytes().decode())\n"
        "  for layer in image.layers:\n    out = io.BytesIO(); layer.write(out); print(hashlib.sha256(out.getvalue()).hexdigest())\n"
    )
    interpreter = "/usr/bin/python3"
    need_python(interpreter)
    with tempfile.TemporaryDirectory() as packages:
        os.chmod(packages, 0o755)
        for package in (elftools, notebook_containers):
            source = pathlib.Path(str(package.__file__)).parent
            shutil.copytree(source, pathlib.Path(packages, source.name), ignore=shutil.ignore_patterns("__pycache__"))
        answers = []
        for user, umask, directory in ((0, "077", "/"), (65534, "002", "/tmp")):
            done = subprocess.run(
                [interpreter, "-S", "-B", "-c", script, umask],
                env={"PYTHONPATH": packages},
                cwd=directory,
                user=user,
                group=user,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            answers.append(done.stdout)
    assert answers[0] == answers[1]
    assert answers[0].count("\n") == 5


@pytest.mark.root
@pytest.mark.parametrize("kind", ["distribution", "venv of copies"])
def test_another_interpreter_runs_in_a_chroot(kind: str, tmp_path: pathlib.Path) -> None:
    """The distribution's own Python (patched paths, wheels elsewhere), and a venv whose program is a copy of it."""
    interpreter = "/usr/bin/python3"
    need_python(interpreter)
    if kind != "distribution":
        subprocess.run([interpreter, "-m", "venv", "--copies", "--without-pip", str(tmp_path / "venv")], check=True)
        interpreter = str(tmp_path / "venv/bin/python3")
    script = (
        "import sys\nsys.path += sys.argv[2:]\nfrom notebook_containers.engine import bases\n"
        "for number, layer in enumerate(bases.make('localhost/python').layers):\n"
        "  with open(f'{sys.argv[1]}/{number}.tar', 'wb') as out: layer.write(out)\n"
    )
    packages = [str(pathlib.Path(str(package.__file__)).parents[1]) for package in (notebook_containers, elftools)]
    subprocess.run([interpreter, "-c", script, str(tmp_path), *packages], check=True)
    for number in range(2):
        with tarfile.open(tmp_path / f"{number}.tar") as archive:
            archive.extractall(tmp_path / "root", filter="tar")
    shown = inside(tmp_path / "root", "python3", "-c", "import ssl, sqlite3, json, ctypes, sys; print(sys.prefix, sys.base_prefix)")
    assert shown == "/usr /usr\n"


@pytest.mark.root
def test_the_programs_run_in_a_chroot(root: pathlib.Path) -> None:
    shown = inside(
        root, "/bin/sh", "-c", "echo a b | awk '{print $2}' | sed s/b/c/ | tr c d; id -un; printf 'x\\n' | gzip | gzip -dc | grep -c x"
    )
    assert shown == "d\nroot\n1\n"
    for words in (("tar", "--help"), ("find", "/etc", "-name", "passwd"), ("xargs", "--help"), ("diff", "/etc/passwd", "/etc/passwd")):
        inside(root, *words)
    assert inside(root, "getent", "hosts", "localhost").split()[1] == "localhost"
    assert "ip" in inside(root, "which", "ip")


@pytest.mark.root
def test_every_program_finds_its_libraries_in_the_chroot(root: pathlib.Path) -> None:
    """Asks the image's own loader, which knows nothing of the host."""
    loader = next(root.glob("usr/lib*/ld-linux-*.so.*"))
    reader = Libraries()
    for program in sorted((root / "usr/bin").iterdir()):
        elf = reader.elf(str(program)) if not program.is_symlink() else None
        if elf is None or not elf.interpreter:
            continue
        shown = inside(root, f"/{loader.relative_to(root)}", "--list", f"/usr/bin/{program.name}")
        assert "not found" not in shown, (program.name, shown)


@pytest.mark.root
def test_python_runs_in_a_chroot_with_its_prefix(root: pathlib.Path) -> None:
    code = (
        "import ssl, sqlite3, json, ctypes, lzma, bz2, zlib, asyncio, sysconfig, venv, sys, os\n"
        "print(sys.prefix, sys.exec_prefix, os.__file__, ssl.create_default_context().cert_store_stats()['x509_ca'] > 50)\n"
        "print(sqlite3.connect(':memory:').execute('select 1').fetchone(), sys.base_prefix in str(sysconfig.get_config_vars()))"
    )
    name = os.path.basename(sysconfig.get_path("stdlib"))
    first, second = inside(root, "python3", "-I", "-c", code).splitlines()
    assert first.split()[:3] == ["/usr", "/usr", f"/usr/{sys.platlibdir}/{name}/os.py"]
    assert second.startswith("(1,)")
    if os.path.isdir("/usr/share/ca-certificates/mozilla"):
        assert first.split()[3] == "True"
    assert inside(root, "python", "-V").split()[1] == sys.version.split()[0]


@pytest.mark.root
def test_pip_can_be_had_in_a_chroot(root: pathlib.Path) -> None:
    need(list(root.glob("usr/lib*/python3*/ensurepip/__init__.py")), "ensurepip")
    os.mknod(root / "dev/null", 0o20666, os.makedev(1, 3))
    inside(root, "python3", "-m", "ensurepip", "--root", "/tmp/pip")
    assert list((root / "tmp/pip").rglob("pip/__main__.py"))


def test_a_base_is_made_in_under_two_seconds() -> None:
    begin = time.perf_counter()
    tar_of(bases.make("localhost/base").layers[0])
    assert time.perf_counter() - begin < 2


def test_busybox_applets_are_read_from_its_bytes() -> None:
    _, busybox = find_program("busybox")
    need(busybox, "busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    found = applets(busybox)
    assert set(found) == set(listed) - {"dpkg", "dpkg-deb", "rpm", "rpm2cpio", "busybox"}


def test_a_missing_library_leaves_the_program_out(tmp_path: pathlib.Path) -> None:
    """A copy of a program that asks for a library of another name than any there is."""
    _, program = find_program("ls")
    data = pathlib.Path(program).read_bytes().replace(b"libc.so.6", b"libq.so.6")
    broken = tmp_path / "ls"
    broken.write_bytes(data)
    assert Libraries().closure(str(broken)) is None


def test_a_private_library_wins_and_is_linked_beside_libc(tmp_path: pathlib.Path) -> None:
    from notebook_containers.engine.bases.libraries import Library
    from notebook_containers.engine.bases.programs import _add_library

    private = tmp_path / "libx.so.1"
    private.write_bytes(b"x")
    tree = Tree()
    _add_library(tree, Library.at(str(private), private=True), "usr/lib/x86_64-linux-gnu")
    links = {entry.path: entry.target for entry in tree.entries() if entry.kind == "link"}
    assert "usr/lib/libx.so.1" in tree
    assert links == {"usr/lib/x86_64-linux-gnu/libx.so.1": "../libx.so.1"}


def test_a_file_that_vanishes_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    from notebook_containers.engine.bases.tree import write_tar

    gone = tmp_path / "gone"
    gone.write_bytes(b"1")
    tree = Tree()
    tree.copy(str(gone), "usr/bin/gone")
    gone.unlink()
    with pytest.raises(StoreError, match=str(gone)):
        write_tar(tree.entries(), io.BytesIO())


def test_paths_are_merged_into_usr() -> None:
    assert image_path("/bin/ls") == "usr/bin/ls"
    assert image_path("/usr/sbin/../bin/ls") == "usr/bin/ls"

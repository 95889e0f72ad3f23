"""The dangerous calls stand in few places: one test for each of the six primitives, with the list of places and why they may.

A place that is on a list and no longer makes the call fails too: the lists say what is, no more.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "notebook_containers"
Finds = Callable[[ast.AST], bool]

MOUNTS = {
    "linux/syscalls.py": "the wrapper itself",
}
SPAWNS = {
    "runtime/starter.py": "starts the spawner: own session, two variables, close_range by pass_fds",
    "runtime/interpreter.py": "becomes the low-level runtime: the same interpreter, two variables, an image nobody can write to",
    "runtime/hooks.py": "the programs that a bundle names as its hooks (OCI runtime-spec), with the bundle's variables only",
    "runtime/borrowed.py": "the other OCI runtime that the user names (--runtime), by absolute path, with one variable",
    "engine/archive.py": "starts the archiver: the same way",
    "engine/doctor.py": "tries things in a process of its own: the same way",
    "network/spawn.py": "starts the forwarder and the attendant: the same way, no variable at all",
    "store/mapped.py": "starts the store's worker inside the user's ids: the same way",
    "build/git.py": "git, by absolute path from fixed directories, with our configuration only, a fixed environment, and a time limit",
    "registry/keeper.py": "asks a credential helper: a checked name, an absolute path, few variables, a time and a size limit",
    "linux/namespaces.py": "newuidmap and newgidmap, by absolute path from a fixed list of directories",
    "network/attendant.py": "slirp4netns or pasta, by absolute path, in the container's user namespace",
    "runtime/launch.py": "the container's own command: what all is for",
    "runtime/reaper.py": "the container's own first process, a program of this package",
    "cli/lessons.py": "becomes JupyterLab in the user's terminal, with the user's own environment: nothing of a container takes part",
}
PROC_WRITES = {
    "runtime/clocks.py": "the clocks of its own new time namespace, before the container's files are there",
    "runtime/container.py": "oom_score_adj of the process we have just made, before it runs anything, in our own /proc",
    "network/forwarder.py": "its own name, before it joins anything",
    "network/redirector.py": "its own name",
    "network/answering.py": "its own name",
    "network/guard.py": "its own name",
    "linux/process.py": "its own name",
    "linux/namespaces.py": "the id maps of the process we have just made, in our own /proc",
    "network/bridge.py": "the host's forwarding switch, and IPv6 off in a namespace that still runs our own code only",
    "runtime/rootfs.py": "the container's sysctls, through openat2 on a procfs instance made by us",
}
PLAIN_JSON = {
    "oci/documents.py": "untrusted_json itself",
    "build/interpret.py": "the JSON form of an instruction: a list of texts is taken, all else is a shell form (Docker's rule)",
    "build/build.py": "a row of our own database",
    "build/solver.py": "a row of our own database",
    "build/keys.py": "a row of our own database",
    "build/ordering.py": "a row of our own database",
    "build/kept.py": "a row of our own database",
    "engine/builder.py": "a row of our own database",
    "store/cache_mounts.py": "a record that we wrote, in a directory closed to others",
    "store/known_digests.py": "a memory that we wrote, bounded; a damaged one counts as none",
    "build/layering.py": "a row of our own database",
    "store/layers.py": "a row of our own database",
    "store/volumes.py": "a row of our own database",
    "store/images.py": "a row of our own database",
    "store/worker.py": "what our own parent process sends",
    "network/attendant.py": "what our own parent process sends",
    "network/forwarder.py": "what our own parent process sends, and who has the right to enter the container's run directory",
    "network/redirector.py": "what our own parent process sends",
    "network/answering.py": "what our own parent process sends",
    "network/guard.py": "what our own parent process sends",
    "network/resolver.py": "what our own engine sends, through a socket in a directory that is its user's alone",
    "network/holder.py": "what our own parent process sends, and who has the right to enter the user's run directory",
    "network/shared.py": "what our own holder answers",
    "network/probe.py": "what our own parent and child process say",
    "engine/archiver.py": "what our own parent process sends",
    "engine/doctor.py": "what our own child process answers",
    "notebook/links.py": "what the notebook's own server wrote for its user",
    "runtime/wire.py": "what a process of the same user sends, whose uid the kernel told (SO_PEERCRED)",
    "runtime/container.py": "what our own child process answers",
    "runtime/document.py": "the bundle, which we wrote, closed to others; or one that the user of 'nbc runtime' names on their own machine",
    "runtime/ociinit.py": "what our own parent process sends",
    "runtime/ocimain.py": "what our own command line hands over as it becomes this process",
    "runtime/borrowed.py": "the log of the other runtime that the user names",
    "commands/runtime.py": "limits the user gives on their own machine",
    "runtime/bundle.py": "the bundle, which we wrote; closed to others",
    "runtime/journal.py": "the journal, which we wrote; closed to others",
    "store/idmap.py": "a file of the store, which we wrote; closed to others",
    "store/snapshots.py": "a file of the store, which we wrote; closed to others",
    "store/mapped.py": "what our own child process answers",
    "engine/describing.py": "a seccomp profile the user names on their own machine",
}
PLAIN_PATHS: dict[str, str] = {}
REALPATHS = {
    "commands/given.py": "the user's own word for a directory of the host",
    "engine/mount_words.py": "the user's own word for a directory of the host",
    "engine/copying.py": "the user's own word for a file of the host to copy in (--follow-link)",
    "engine/bases/interpreter.py": "the host's own Python, when a base image is made of it",
    "engine/bases/libraries.py": "the host's own libraries, when a base image is made of them",
    "engine/bases/programs.py": "the host's own programs, when a base image is made of them",
    "engine/bases/skeleton.py": "the host's own files, when a base image is made of them",
    "engine/bases/tree.py": "the host's own files, when a base image is made of them",
    "network/spawn.py": "where this package is",
    "runtime/interpreter.py": "where the interpreter is",
    "runtime/oci.py": "the user's own word for a bundle of the host",
    "runtime/ocispec.py": "the bundle's word for its root, a directory of the host that its user names",
    "engine/runtimes.py": "the user's own word for a program of the host",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), path


def places(finds: Finds) -> dict[str, list[int]]:
    """Return the lines of each module where the call is made."""
    found: dict[str, list[int]] = {}
    for name, path in modules():
        lines = [getattr(node, "lineno", 0) for node in ast.walk(tree(path)) if finds(node)]
        if lines:
            found[name] = lines
    return found


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for names and members, with an empty part for whatever else stands in front."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def called(node: ast.AST) -> str:
    return dotted(node.func) if isinstance(node, ast.Call) else ""


def check(found: Mapping[str, list[int]], allowed: Mapping[str, str]) -> None:
    new = {name: lines for name, lines in found.items() if name not in allowed}
    assert not new, f"a call that only {', '.join(allowed) or 'nobody'} may make: {new}"
    assert not set(allowed) - set(found), f"on the list, and no longer true: {set(allowed) - set(found)}"


# safe_mount ------------------------------------------------------------------------------------------------------------------------


def test_the_c_librarys_mount_is_called_in_one_place() -> None:
    check(places(lambda node: called(node).rpartition(".")[0].endswith("libc") and called(node).endswith((".mount", ".umount2"))), MOUNTS)


def test_mount_with_a_path_is_only_for_the_root_and_for_descriptors() -> None:
    """mount(2) by path: to change the propagation of ``/``, and an overlay of directories that are given by descriptor."""

    def by_path(node: ast.AST) -> bool:
        return called(node) == "syscalls.mount" and isinstance(node, ast.Call) and not (
            isinstance(node.args[1], ast.Constant) and node.args[1].value == "/"
        )  # fmt: skip

    check(places(by_path), {"linux/oldoverlay.py": "lower directories as /proc/self/fd/N, in a mount namespace nobody else has"})


# safe_procfs_write -----------------------------------------------------------------------------------------------------------------


def text_of(node: ast.AST) -> str:
    """Return the constant parts of a text or an f-string."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "*" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def opens_to_write(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    words = [text_of(arg) for arg in [*node.args[1:], *(k.value for k in node.keywords if k.arg == "mode")]]
    flags = {dotted(part) for arg in node.args for part in ast.walk(arg)}
    if called(node) == "open":
        return any(set(word) & set("wa+x") and len(word) <= 3 for word in words)
    if called(node) in ("os.open", "syscalls.openat2"):
        return bool(flags & {"os.O_WRONLY", "os.O_RDWR"})
    return called(node).endswith((".write_text", ".write_bytes"))


def proc_write(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    constants = [text_of(part) for arg in [*node.args, node.func] for part in ast.walk(arg)]
    if called(node) in ("_write", "files.write", "write") and any(text.startswith("/proc/") for text in constants):
        return True
    return opens_to_write(node) and (any(text.startswith(("/proc/", "sys/")) for text in constants))


def test_proc_is_written_where_it_is_known_which_proc_it_is() -> None:
    check(places(proc_write), PROC_WRITES)


# spawn -----------------------------------------------------------------------------------------------------------------------------

EXECS = {f"os.{name}" for name in ("system", "popen", "posix_spawn", "posix_spawnp")}
EXECS |= {f"os.exec{tail}" for tail in ("v", "ve", "vp", "vpe", "l", "le", "lp", "lpe")}
EXECS |= {f"os.spawn{tail}" for tail in ("v", "ve", "vp", "vpe", "l", "le", "lp", "lpe")}
SUBPROCESS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput")}


def test_programs_are_started_in_the_listed_places() -> None:
    check(places(lambda node: called(node) in EXECS | SUBPROCESS or called(node).startswith(("asyncio.create_subprocess", "pty."))), SPAWNS)


def test_no_shell_ever() -> None:
    def shell(node: ast.AST) -> bool:
        if called(node) in (
            "os.system",
            "os.popen",
            "subprocess.getoutput",
            "subprocess.getstatusoutput",
            "asyncio.create_subprocess_shell",
        ):
            return True
        return isinstance(node, ast.Call) and called(node) in SUBPROCESS and "shell" in {word.arg for word in node.keywords}

    check(places(shell), {})


def test_what_is_started_gets_an_environment_of_its_own() -> None:
    """``env=`` stands in every call of subprocess: silence would mean the notebook's, with its tokens."""

    def inherits(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and called(node) in SUBPROCESS and "env" not in {word.arg for word in node.keywords}

    check(places(inherits), {})


@pytest.mark.parametrize("word", ["pickle", "marshal", "shelve", "multiprocessing"])
def test_nothing_is_read_that_could_be_code(word: str) -> None:
    def imports(node: ast.AST) -> bool:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        return word in [name.partition(".")[0] for name in [*names, *([node.module or ""] if isinstance(node, ast.ImportFrom) else [])]]

    check(places(imports), {})


def test_no_eval_and_no_unsafe_yaml() -> None:
    check(places(lambda node: called(node) in ("eval", "exec", "compile", "yaml.load", "yaml.unsafe_load", "yaml.full_load")), {})


# untrusted_json --------------------------------------------------------------------------------------------------------------------


def test_json_of_images_and_registries_is_read_with_bounds() -> None:
    check(places(lambda node: called(node) in ("json.load", "json.loads")), PLAIN_JSON)


# html and term ---------------------------------------------------------------------------------------------------------------------


def test_no_html_is_put_together_by_hand() -> None:
    """Text between tags goes through :mod:`notebook_containers.notebook.html`, which escapes it; a tag in an f-string would not."""

    def tags(node: ast.AST) -> bool:
        if not isinstance(node, ast.JoinedStr):
            return False
        fixed = "".join(text_of(part) for part in node.values)
        return any(
            f"<{word}" in fixed or f"</{word}" in fixed for word in ("a ", "div", "span", "td", "tr", "pre", "p>", "b>", "img", "svg")
        )

    check(places(tags), {})


def test_what_a_notebook_shows_is_made_of_escaped_parts() -> None:
    """No ``_repr_…`` method has an f-string or a ``%`` or ``format`` in its HTML."""

    def raw(node: ast.AST) -> bool:
        if not isinstance(node, ast.FunctionDef) or node.name not in ("_repr_html_", "_repr_mimebundle_", "_repr_markdown_"):
            return False
        return any(
            isinstance(part, ast.JoinedStr)
            or called(part).endswith(".format")
            or (isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod))
            for part in ast.walk(node)
        )

    check(places(raw), {})
    assert places(lambda node: isinstance(node, ast.FunctionDef) and node.name == "_repr_mimebundle_")


# SafeRoot --------------------------------------------------------------------------------------------------------------------------

UNSAFE = {"open", "os.open", "os.path.join", "Path", "os.stat", "os.lstat", "os.listdir", "os.scandir", "os.walk", "os.unlink", "os.mkdir"}
UNSAFE |= {
    "os.rename",
    "os.chmod",
    "os.chown",
    "os.symlink",
    "os.readlink",
    "shutil.copy",
    "shutil.copytree",
    "shutil.rmtree",
    "shutil.move",
}
TREES = {"rootfs", "merged", "upper", "ctx", "lower", "lowers"}


def test_trees_of_others_are_entered_through_safe_roots_only() -> None:
    """No path is put together with a name for a tree that a container, an image or a build context fills."""

    def names(node: ast.AST) -> set[str]:
        return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} | {
            part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)
        }

    def below(node: ast.AST) -> bool:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return bool(names(node.left) & TREES)
        if called(node) in UNSAFE and isinstance(node, ast.Call) and node.args:
            by_descriptor = any(word.arg == "dir_fd" for word in node.keywords)
            return not by_descriptor and bool(names(node.args[0]) & TREES)
        return False

    check(places(below), PLAIN_PATHS)


def test_the_real_path_of_a_container_is_never_asked_for() -> None:
    """``realpath`` and then ``open`` read outside in one of five tries of a race: what is looked up once is opened once."""

    def asks(node: ast.AST) -> bool:
        bare = isinstance(node, ast.Call) and not node.args and not node.keywords
        return called(node) == "os.path.realpath" or (called(node).endswith(".resolve") and bare) or (bare and _ends_in_resolve(node))

    check(places(asks), REALPATHS)


def _ends_in_resolve(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "resolve"

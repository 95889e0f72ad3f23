"""An ordinary user's file operations: a process of its own, root in a new user name space, that mounts and copies and ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from notebook_containers import errors
from notebook_containers.linux import syscalls
from notebook_containers.oci.image import Digest
from notebook_containers.store.edit import ViewOf, perform
from notebook_containers.store.operations import LayersView, Operation, from_json, to_json
from notebook_containers.store.overlay import Stack

_PROGRAM = "import sys; sys.path[:0] = {paths!r}; from notebook_containers.store.worker import main; main()"
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def run_in_worker(target: Stack, operations: Sequence[Operation], view: ViewOf) -> None:
    """Have the operations done by a worker; raises what it raised, Unsupported when user name spaces are not allowed here."""
    views = {o.source.layers for o in operations if hasattr(o, "source") and isinstance(o.source, LayersView)}
    request = {
        "target": _stack_json(target),
        "views": [[list(layers), _stack_json(view(layers))] for layers in views],
        "operations": [to_json(operation) for operation in operations],
    }
    program = _PROGRAM.format(paths=[str(Path(errors.__file__).parents[1]), *[path for path in sys.path if path]])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-E", "-c", program],
        input=json.dumps(request).encode(),
        capture_output=True,
        env=_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        tail = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise errors.StoreError(f"the worker for file operations ended with status {done.returncode}: {tail[:300]}") from None
    raise _error(answer)


def _error(answer: dict[str, str]) -> errors.Error:
    cls = getattr(errors, answer["class"], errors.StoreError)
    error = cls(answer["message"], hint=answer["hint"])
    return error if isinstance(error, errors.Error) else errors.StoreError(answer["message"])


def _stack_json(stack: Stack) -> dict[str, object]:
    return {
        "lowers": [str(path) for path in stack.lowers],
        "upper": str(stack.upper) if stack.upper else None,
        "work": str(stack.work) if stack.work else None,
    }


def _stack(data: dict[str, object]) -> Stack:
    lowers, upper, work = data["lowers"], data["upper"], data["work"]
    return Stack(
        lowers=tuple(Path(str(path)) for path in lowers) if isinstance(lowers, list) else (),
        upper=Path(str(upper)) if upper else None,
        work=Path(str(work)) if work else None,
    )


def main() -> None:
    """The worker: a request on standard input, an error (or nothing) as JSON on standard output, status 0 or 1."""
    request = json.load(sys.stdin)
    views = {tuple(layers): _stack(stack) for layers, stack in request["views"]}

    def view(layers: tuple[Digest, ...]) -> Stack:
        return views[tuple(layers)]

    try:
        become_root()
        operations = [from_json(operation) for operation in request["operations"]]
        perform(_stack(request["target"]), operations, view, single_id=True, userxattr=True)
    except errors.Error as err:
        json.dump({"class": type(err).__name__, "message": err.message, "hint": err.hint}, sys.stdout)
        sys.stdout.flush()
        os._exit(1)


def become_root() -> None:
    """Enter a new user and mount name space in which the caller's own id is root's, and no other id exists (user_namespaces(7))."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError as err:
        raise errors.Unsupported(
            f"this user cannot make user name spaces: {os.strerror(err.errno or 0).lower()}",
            hint="ask the administrator to allow them (user.max_user_namespaces, AppArmor), or run as root",
        ) from err

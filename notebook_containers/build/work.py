"""One step as work: the material of its cache key, and the change it makes to a prepared snapshot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from notebook_containers.build import keys, plan
from notebook_containers.build.context import Context
from notebook_containers.build.contexts import Contexts
from notebook_containers.build.copying import Copying
from notebook_containers.build.execution import Executor, RunRequest
from notebook_containers.build.failures import Tail, run_failed, start_failed
from notebook_containers.build.fetching import Fetching
from notebook_containers.build.lent import Lent
from notebook_containers.build.mounting import Mounting, Ready, mount_points
from notebook_containers.build.progress import StepOutput
from notebook_containers.build.scheduling import Relay
from notebook_containers.build.taking import Taken
from notebook_containers.build.view import View
from notebook_containers.errors import DockerfileError, InvalidArgument, NotFound, StartFailed
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.operations import MakeDirectory, Operation
from notebook_containers.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for a whole build: ``place`` names context and file (for reasons), ``epoch`` is SOURCE_DATE_EPOCH.

    ``no_cache_stages`` are labels of stages to do again; ``hosts`` are further names that RUN sees. ``content_keys``:
    the caller wants them of all steps, for other stores.
    """

    place: str
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    hosts: Mapping[str, str] = field(default_factory=dict)
    content_keys: bool = False
    epoch: int | None = None
    network: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a build works with, the same for all its stages; ``over`` holds files that are in the context too, above its own."""

    store: Store
    context: Context
    over: Context | None
    contexts: Contexts
    fetching: Fetching
    executor: Executor
    settings: Settings
    lent: Lent
    progress: Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A step to do over the layers ``below``: ``change`` does it to the snapshot of a key; ``taken`` is what it takes from the context.

    ``mount_points`` are places that the step's mounts make in the snapshot: no part of the change. ``idle`` says whether it is certain,
    without a snapshot, that nothing would change. ``content`` gives another key, by what is copied and not by where it is from (it may
    read much; empty: there is none).
    """

    material: keys.Material
    below: keys.Below
    change: Callable[[str], None]
    taken: Taken | None = None
    mount_points: frozenset[str] = frozenset()
    idle: Callable[[], bool] = lambda: False
    content: Callable[[], str] = lambda: ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.material.key())

    def with_files(self) -> keys.Material:
        """Return the material with the single files, for reasons."""
        return self.material if self.taken is None else replace(self.material, files=dict(self.taken.files()))


def copy_work(tools: Tools, step: plan.Step, copy: plan.Copy, below: keys.Below, source: Taken | keys.Below) -> Work:
    """Return the work of COPY or ADD, from the context or from other layers."""
    copying = Copying(step, copy, layers=tools.store.layers, below=below, source=source)

    def change(key: str) -> None:
        _edit(tools, step, key, copying.operations())

    taken = source if isinstance(source, Taken) else None
    under = keys.Below() if copy.link else below

    def content() -> str:
        material = copying.content_material()
        return _dated(material, step, tools.settings).key() if material is not None else ""

    material = _dated(copying.material(), step, tools.settings)
    return Work(material=material, below=under, change=change, taken=taken, content=cache(content))


def directory_work(tools: Tools, step: plan.Step, operation: plan.MakeDirectory, below: keys.Below) -> Work:
    """Return the work of WORKDIR."""
    material = keys.Material(parent=below.chain, what={"kind": "directory", "path": operation.path})

    def change(key: str) -> None:
        with View(tools.store.layers, below.layers) as view:
            path = view.follow(operation.path)
        _edit(tools, step, key, [MakeDirectory(path=path)])

    def exists() -> bool:
        with View(tools.store.layers, below.layers) as view:
            place = view.resolve(operation.path)
        return place is not None and place.is_directory

    return Work(material=_dated(material, step, tools.settings), below=below, change=change, idle=exists)


def run_work(
    tools: Tools, step: plan.Step, operation: plan.Execute, below: keys.Below, mounting: Mounting, *, index: int, platform: str = ""
) -> Work:  # fmt: skip
    """Return the work of RUN; its output is told as that of step ``index``. ``platform`` is its stage's, where it is not this machine's."""

    def change(key: str) -> None:
        with mounting.ready() as ready:
            _run(tools, step, _request(tools, operation, key, ready), index)

    what = {**_run_what(operation, tools.settings), **({"mounts": mounting.material()} if operation.mounts else {})}
    what |= {"platform": platform} if platform else {}
    trees = mounting.taken.trees() if mounting.taken is not None else {}
    material = keys.Material(parent=below.chain, what=what, variables=_by_name(operation.env), trees=trees)
    material = _dated(material, step, tools.settings)
    return Work(material=material, below=below, change=change, taken=mounting.taken, mount_points=mount_points(operation.mounts))


def _edit(tools: Tools, step: plan.Step, key: str, operations: Sequence[Operation]) -> None:
    """Change files; what cannot be (a directory over a file, a damaged archive) is an error at the instruction's line."""
    try:
        tools.store.snapshots.edit(key, operations)
    except (InvalidArgument, NotFound) as err:
        raise err if isinstance(err, DockerfileError) else step.node.error(err.message, hint=err.hint) from err


def _dated(material: keys.Material, step: plan.Step, settings: Settings) -> keys.Material:
    what = material.what if settings.epoch is None else {**material.what, "epoch": settings.epoch}
    return replace(material, what=what, arguments=step.arguments)


def _run_what(operation: plan.Execute, settings: Settings) -> dict[str, JSON]:
    return {
        "kind": "run",
        "args": [*operation.args],
        "cwd": operation.cwd,
        "user": operation.user,
        "network": operation.network or settings.network,
        **({"hosts": dict(settings.hosts)} if settings.hosts else {}),
        "script": keys.digest_of([operation.script.data]) if operation.script is not None else "",
    }


def _by_name(env: Sequence[str]) -> Mapping[str, str]:
    return dict(entry.partition("=")[::2] for entry in env)


def _request(tools: Tools, operation: plan.Execute, key: str, ready: Ready) -> RunRequest:
    return RunRequest(
        snapshot=key, mounts=tools.store.snapshots.mounts(key, volatile=True), binds=tuple(ready.binds), secrets=tuple(ready.secrets),
        args=operation.args, env=(*operation.hidden_env, *operation.env), secret_env=tuple(ready.env), cwd=operation.cwd,
        user=operation.user,
        network=operation.network or tools.settings.network,
    )  # fmt: skip


def _run(tools: Tools, step: plan.Step, request: RunRequest, index: int) -> None:
    tail = Tail()

    def output(stream: str, data: bytes) -> None:
        tail.add(data)
        tools.progress(StepOutput(index=index, stream=stream, data=data))

    operation = step.operation
    assert isinstance(operation, plan.Execute)
    with _script(operation) as binds:
        try:
            status = tools.executor.run(replace(request, binds=(*request.binds, *binds)), output)
        except (StartFailed, InvalidArgument) as err:
            raise start_failed(step, err) from err
    tools.progress.check()
    if status:
        raise run_failed(step, status, tail)


@contextmanager
def _script(operation: plan.Execute) -> Iterator[tuple[Mount, ...]]:
    """Put the script of a ``#!`` here-document into a file that is bound read-only below /dev, so that no layer keeps it."""
    if operation.script is None:
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix="nbc-build-") as directory:
        path = Path(directory) / "script"
        path.write_bytes(operation.script.data)
        path.chmod(0o755)
        yield (Mount(destination=operation.args[0], type="bind", source=str(path), options=("bind", "ro")),)

"""The solver: each step is found in the cache or done on a snapshot and committed; what is done stays, what fails leaves nothing.

Steps that change no file only add to the history. Each other step is exactly one layer, or none when nothing came out changed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from notebook_containers.build import keys, plan, reasons
from notebook_containers.build.execution import MOUNT_POINTS
from notebook_containers.build.gathering import Gathered
from notebook_containers.build.kept import KeptFailure, KeptStep, keep_failure
from notebook_containers.build.layering import context_layer
from notebook_containers.build.mounting import Mounting
from notebook_containers.build.ordering import Hint, Order
from notebook_containers.build.platforms import foreign
from notebook_containers.build.progress import Hinted, StepDecided, StepDone, StepFailed, StepStarted, Warned
from notebook_containers.build.reasons import Cause
from notebook_containers.build.rows import Rows
from notebook_containers.build.stages import Origin
from notebook_containers.build.taking import Piece, Taken, Taking
from notebook_containers.build.work import Tools, Work, copy_work, directory_work, run_work
from notebook_containers.errors import BuildError, Error
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.image import ContainerConfig, Digest, History, ImageConfig
from notebook_containers.store.layers import Layer
from notebook_containers.store.records import CacheRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What became of a step: ``status`` is ``cached``, ``built`` or ``metadata``; ``reason`` says why in words, ``causes`` as data.

    ``began`` is a reading of the monotonic clock.
    """

    index: int
    line: int
    instruction: str
    status: str
    reason: str
    seconds: float
    bytes_added: int
    layer: Digest | None
    causes: tuple[Cause, ...] = ()
    began: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedStep:
    """A step as the cache knows it: its key, its layer (None: it changed nothing), when it was done, its text."""

    key: str
    layer: Digest | None
    created: str
    text: str


@dataclass(slots=True, kw_only=True)
class Solved:
    """A stage so far: its layers, history, and the line where its files last came from; ``fresh`` once a step was not cached.

    An empty ``created`` in the history stands for the image's own time.
    """

    below: keys.Below
    history: list[History]
    changed_line: int
    fresh: bool = False


class Solver:
    """Solves the stages of one plan, several threads at once. ``images`` are the configs of the images that are started or copied from.

    ``total`` is how many steps there are, as progress tells it.
    """

    def __init__(self, tools: Tools, images: Mapping[str, ImageConfig]) -> None:
        self._tools, self._images = tools, images
        self.total = 0
        self._taken: dict[tuple[int, int], Taken] = {}
        self._trees: dict[str, Piece] = {}
        self.stages: dict[int, Solved] = {}
        self.results: list[StepResult] = []
        self.cached: list[CachedStep] = []
        self.hints: list[Hint] = []
        self.kept: list[KeptStep] = []

    def take_sources(self, stages: Sequence[plan.StagePlan]) -> None:
        """Find and digest all that comes from the context, before anything runs; raises DockerfileError for all that is not there."""
        errors = Gathered()
        taking = Taking(self._tools.context, self._tools.over, self._tools.fetching, self._tools.contexts.named)
        for stage in stages:
            if stage.base.context:
                with errors.each():
                    self._trees[stage.base.context] = taking.base(stage)
            for position, step in enumerate(stage.steps):
                with errors.each():
                    taken = taking.step(step)
                    if taken is not None:
                        self._taken[stage.index, position] = taken
        errors.tell()

    def solve(self, stage: plan.StagePlan, numbers: Sequence[int]) -> Solved:
        """Do a stage whose needed stages are solved; ``numbers`` are its steps' numbers in progress events."""
        solved = self._begin(stage)
        with Rows(self._tools.store) as rows:
            order = Order(self._tools.store.records, rows)
            for position, (step, index) in enumerate(zip(stage.steps, numbers, strict=True)):
                self._tools.progress.check()
                with self._told(index, step):
                    self._step(stage, position, solved, rows, order=order, index=index)
        self._advise(order.hint())
        self.stages[stage.index] = solved
        return solved

    def _advise(self, hint: Hint | None) -> None:
        if hint is not None:
            self.hints.append(hint)
            self._tools.progress(Hinted(line=hint.line, message=hint.message))

    def now(self) -> str:
        """Return the time that new things get, as RFC 3339: SOURCE_DATE_EPOCH where it is set."""
        epoch = self._tools.settings.epoch
        when = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
        return when.isoformat().replace("+00:00", "Z")

    def _begin(self, stage: plan.StagePlan) -> Solved:
        line = stage.node.line
        if stage.base.stage is not None:
            below = self.stages[stage.base.stage]
            return replace(below, history=list(below.history))
        tree = self._trees.get(stage.base.context)
        if tree is not None:
            layer = context_layer(self._tools.store, tree.context, tree.source, tree.tree, at="")
            return Solved(below=keys.Below.of([layer]), history=[], changed_line=line)
        image = self._images.get(stage.base.wanted)
        if image is None:
            return Solved(below=keys.Below(), history=[], changed_line=line)
        return Solved(below=keys.Below.of(image.rootfs.diff_ids), history=list(image.history), changed_line=line)

    def beginning(self, stage: plan.StagePlan) -> keys.Below:
        """Return the files that a stage starts with; the stages it needs are solved."""
        return self._begin(stage).below

    @contextmanager
    def _told(self, index: int, step: plan.Step) -> Iterator[None]:
        began = time.monotonic()
        self._tools.progress(StepStarted(index=index, total=self.total, line=step.line, text=step.text))
        try:
            yield
        except Error as err:
            self._tools.progress(StepFailed(index=index, message=err.message, seconds=time.monotonic() - began))
            raise

    def _step(self, stage: plan.StagePlan, position: int, solved: Solved, rows: Rows, *, order: Order, index: int) -> None:
        began = time.monotonic()
        step = stage.steps[position]
        if step.operation is None:
            solved.history.append(History(created_by=step.created_by, empty_layer=True))
            self._keep(stage, step, index, solved, own=False)
            result = self._result(step, index, began, status="metadata", reason=reasons.METADATA, layer=None)
            self._finish(result, cached=not solved.fresh)
            return
        work = self._work(stage, position, solved, index)
        layer, created, found = self._cached(stage, work, rows)
        causes: tuple[Cause, ...] = ()
        if not found and not self._afresh(stage) and rows.take(work.key, self._tools.progress.check):
            layer, created, found = self._cached(stage, work, rows)  # somebody else has done it meanwhile
        if not found:
            causes = self._why(stage, step, work, solved)
            again = all(cause.kind != "never" for cause in causes)
            self._tools.progress(StepDecided(index=index, reason=reasons.words(causes), again=again))
            layer, created = self._do(stage, step, work, rows)
            order.rebuilt(step, self._place(stage, step), causes, time.monotonic() - began)
            solved.changed_line, solved.fresh = step.line, True
        solved.history.append(History(created=created, created_by=step.created_by, empty_layer=layer is None))
        diff_id = layer.diff_id if layer is not None else None
        self.cached.append(CachedStep(key=work.key, layer=diff_id, created=created, text=step.text))
        if self._tools.settings.content_keys and (other := work.content()):
            self.cached.append(CachedStep(key=other, layer=diff_id, created=created, text=step.text))
        if layer is not None:
            solved.below = solved.below.with_layer(layer.diff_id)
        self._keep(stage, step, index, solved, own=layer is not None)
        reason = reasons.CACHED if found else reasons.words(causes)
        result = self._result(step, index, began, status="cached" if found else "built", reason=reason, layer=layer)
        self._finish(replace(result, causes=causes), cached=found)

    def _keep(self, stage: plan.StagePlan, step: plan.Step, index: int, solved: Solved, *, own: bool) -> None:
        layers = solved.below.layers
        self.kept.append(
            KeptStep(index=index, line=step.line, text=step.text, stage=stage.index, layers=layers, own=own, config=step.config)
        )

    def _result(self, step: plan.Step, index: int, began: float, *, status: str, reason: str, layer: Layer | None) -> StepResult:
        return StepResult(
            index=index, line=step.line, instruction=step.text, status=status, reason=reason, seconds=time.monotonic() - began,
            bytes_added=layer.size if layer is not None else 0, layer=layer.diff_id if layer is not None else None, began=began,
        )  # fmt: skip

    def _finish(self, r: StepResult, *, cached: bool) -> None:
        self.results.append(r)
        done = StepDone(index=r.index, cached=cached, reason=r.reason, seconds=r.seconds, bytes_added=r.bytes_added, layer=r.layer)
        self._tools.progress(done)

    # the cache

    def _cached(self, stage: plan.StagePlan, work: Work, rows: Rows) -> tuple[Layer | None, str, bool]:
        """Return the layer of a step done before, when that was, and whether there is such a step."""
        if self._afresh(stage):
            return None, "", False
        row = self._row(work.key)
        if row is None and (other := work.content()) and (row := self._row(other)) is not None:
            rows.also(work.key, row)
        if row is None:
            return None, "", False
        layer = self._tools.store.layers.get(row.diff_id) if row.diff_id is not None else None
        return layer, str(json.loads(row.document)["created"]), True

    def _row(self, key: str) -> CacheRow | None:
        store = self._tools.store
        row = store.records.cache_get(key)
        return None if row is None or (row.diff_id is not None and not store.layers.has(row.diff_id)) else row

    def _afresh(self, stage: plan.StagePlan) -> bool:
        settings = self._tools.settings
        return settings.no_cache or stage.label in settings.no_cache_stages

    def _why(self, stage: plan.StagePlan, step: plan.Step, work: Work, solved: Solved) -> tuple[Cause, ...]:
        if self._afresh(stage):
            return reasons.NO_CACHE
        row = self._tools.store.records.cache_get(self._place(stage, step))
        last = keys.Material.from_text(row.document) if row is not None else None
        return reasons.causes(work.with_files(), last, parent_line=solved.changed_line)

    def _place(self, stage: plan.StagePlan, step: plan.Step) -> str:
        return keys.place_key(self._tools.settings.place, stage.label, step.text)

    # work

    def _work(self, stage: plan.StagePlan, position: int, solved: Solved, index: int) -> Work:
        step, below = stage.steps[position], solved.below
        match step.operation:
            case plan.Copy() as copy:
                taken = self._taken.get((stage.index, position))
                return copy_work(self._tools, step, copy, below, self._origin(copy.origin) if taken is None else taken)
            case plan.MakeDirectory() as directory:
                return directory_work(self._tools, step, directory, below)
            case plan.Execute() as execute:
                tools = self._tools
                mounting = Mounting(
                    step, execute.mounts, self._taken.get((stage.index, position)), store=tools.store,
                    lent=tools.lent, below=self._origin,
                )  # fmt: skip
                return run_work(tools, step, execute, below, mounting, index=index, platform=foreign(stage.platform))
        raise TypeError(type(step.operation).__name__)

    def _origin(self, origin: Origin | None) -> keys.Below:
        if origin is not None and origin.stage is not None:
            return self.stages[origin.stage].below
        return keys.Below.of(self._images[origin.wanted].rootfs.diff_ids) if origin is not None else keys.Below()

    def _do(self, stage: plan.StagePlan, step: plan.Step, work: Work, rows: Rows) -> tuple[Layer | None, str]:
        began = time.monotonic()
        layer = None if work.idle() else self._change(step, work)
        created = self.now()
        if work.taken is not None and not work.taken.unchanged():
            message = "the build context was changed while it was copied: this step is not cached"
            self._tools.progress(Warned(line=step.line, message=message))
        else:
            made = {"created": created, "text": step.text[:200]}
            rows.add(work, self._place(stage, step), layer, made, seconds=time.monotonic() - began)
        return layer, created

    def _change(self, step: plan.Step, work: Work) -> Layer | None:
        snapshots = self._tools.store.snapshots
        key = f"build-{os.urandom(8).hex()}"
        try:
            snapshots.prepare(key, work.below.layers, volatile=True)
            work.change(key)
            return self._commit(key, work)
        except BuildError as err:
            with suppress(Error):  # a full disk must not hide why the step failed
                err.kept = self._keep_failure(step, work, self._commit(key, work), err)
            snapshots.remove(key)
            raise
        except BaseException:
            snapshots.remove(key)
            raise

    def _commit(self, key: str, work: Work) -> Layer | None:
        ignore = (*MOUNT_POINTS, *work.mount_points)
        return self._tools.store.snapshots.commit(key, ignore=ignore, epoch=self._tools.settings.epoch)

    def _keep_failure(self, step: plan.Step, work: Work, layer: Layer | None, err: BuildError) -> str:
        operation = step.operation
        assert isinstance(operation, plan.Execute)
        shell = step.config.shell[:1] or ("/bin/sh",)
        # what a command prints that saw a secret goes to no disk: the error in memory has it
        told = "" if any(isinstance(mount, plan.Secret) for mount in operation.mounts) else err.output
        config = ContainerConfig(env=operation.env, user=operation.user, working_dir=operation.cwd, cmd=shell)
        kept = KeptFailure(
            line=step.line, text=step.text, before=work.below.layers, layer=layer.diff_id if layer is not None else None, config=config,
            exit_status=err.exit_status, verdict=err.hint, output=told,
        )  # fmt: skip
        return keep_failure(self._tools.store.records, self._tools.settings.place, kept)

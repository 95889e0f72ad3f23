"""Dockerfile text to image: the one public function of this package."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from notebook_containers.build import kept, keys, scheduling
from notebook_containers.build.checks import check
from notebook_containers.build.context import Context
from notebook_containers.build.contexts import Contexts, Named, origins
from notebook_containers.build.execution import Bases, Executor
from notebook_containers.build.fetching import Fetching
from notebook_containers.build.findings import Finding, chosen
from notebook_containers.build.interpret import read
from notebook_containers.build.lent import Lent
from notebook_containers.build.ordering import Hint
from notebook_containers.build.plan import Plan, StagePlan
from notebook_containers.build.planning import make_plan
from notebook_containers.build.platforms import host_platform, platform_arguments, target_platform
from notebook_containers.build.progress import Event, ImageDone, PlannedStep, PlanReady, StepDone, StepFailed, StepStarted, Warned
from notebook_containers.build.solver import CachedStep, Solved, Solver, StepResult
from notebook_containers.build.stages import Stage, Stages, cut
from notebook_containers.build.wording import one_line
from notebook_containers.build.work import Settings, Tools
from notebook_containers.errors import Error, ImageNotFound, InvalidArgument
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.image import Digest, ImageConfig, RootFS
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
EPOCH = "SOURCE_DATE_EPOCH"
CHECK = "BUILDKIT_DOCKERFILE_CHECK"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The image, what became of each step, and advice on the order of instructions."""

    image: ImageRecord
    steps: tuple[StepResult, ...]
    warnings: tuple[Finding, ...]
    hints: tuple[Hint, ...] = ()
    plan: tuple[PlannedStep, ...] = ()
    cached: tuple[CachedStep, ...] = ()


def silent(event: Event) -> None:
    """Take an event and do nothing."""
    del event


def build(
    store: Store,
    text: str,
    *,
    context: Path,
    named: Mapping[str, Named] | None = None,
    values: Path | None = None,
    trusted: bool = True,
    executor: Executor,
    bases: Bases,
    tags: Sequence[Reference] = (),
    build_args: Mapping[str, str] | None = None,
    target: str = "",
    platform: str = "",
    no_cache: bool = False,
    no_cache_filter: Sequence[str] = (),
    hosts: Mapping[str, str] | None = None,
    pull: bool = False,
    labels: Mapping[str, str] | None = None,
    content_keys: bool = False,
    more_labels: Callable[[Sequence[CachedStep], Sequence[Digest]], Mapping[str, str]] | None = None,
    network: str = "default",
    lent: Lent | None = None,
    name: str = "Dockerfile",
    progress: Callable[[Event], None] = silent,
) -> BuildResult:
    """Build the image that a Dockerfile's text describes, and tag it.

    ``context`` is the directory that COPY and ADD see; ``named`` are further ones, for FROM and ``--from``;
    ``platform`` is the one that the image is for (empty: this machine's);
    ``values`` is a directory whose files are in the context too, above its own. ``lent`` are the secrets and
    SSH agents that RUN may mount. Not ``trusted``: the Dockerfile came from elsewhere, and may name public hosts only. ``more_labels`` is
    asked for further labels when the steps (as the cache knows them) and the layers are there. ``name`` is the
    file's name, for messages and for ``<name>.dockerignore``.
    Raises DockerfileError at the word that is wrong (all of the text, and all that is taken from the context, is checked before the
    first step runs), BuildError for a RUN that fails, and what ``bases`` and the store raise. After an error, or KeyboardInterrupt,
    no tag has moved and no snapshot is left; the steps that were done stay cached, and what a failed RUN had changed is kept as a layer
    (see ``kept.py``) until the next build of the same file. Building the same again gives the same image id.
    """
    given = _checked_arguments(build_args or {})
    wanted = target_platform(platform)
    dockerfile, instructions = read(text, name=name)
    stages = cut(instructions, build_args=given, platform=host_platform(), target=wanted, named=origins(named or {}))
    goal = stages.target(target)
    with store.lease(), ExitStack() as ended:
        opened = ended.enter_context(Context.open(context, dockerfile=name, memory=store.known_digests))
        labels_again = frozenset(stages.target(each).label for each in no_cache_filter)
        settings = Settings(
            no_cache_stages=labels_again,
            hosts=dict(hosts or {}),
            content_keys=content_keys,
            place=f"{opened.path}\0{name}",
            no_cache=no_cache,
            epoch=source_date_epoch(given),
            network=network,
        )
        relay = scheduling.Relay(progress)
        lent = lent or Lent()

        def fetch(*, ours: bool) -> Fetching:
            return Fetching(store, trusted=ours, variables=given, no_cache=no_cache, check=relay.check, lent=lent, tell=relay)

        over = ended.enter_context(Context.open(values)) if values is not None else None
        contexts = ended.enter_context(closing(Contexts(store, named or {}, fetch(ours=True))))
        tools = Tools(
            store=store,
            context=opened,
            over=over,
            contexts=contexts,
            fetching=fetch(ours=trusted),
            executor=executor,
            settings=settings,
            lent=lent,
            progress=relay,
        )
        job = _Job(tools, stages, goal)
        kept.release_failure(store.records, settings.place)
        made = job.make_plan(bases, given, pull=pull)
        found = [*check(dockerfile, instructions, platform_arguments(host_platform(), wanted or host_platform())), *made.findings]
        warnings = chosen(dockerfile, found, given.get(CHECK))
        for finding in warnings:
            progress(Warned(line=finding.line, message=finding.message, rule=finding.rule))
        job.solver.take_sources(made.stages)
        solved = job.solve(made)
        added = more_labels(job.solver.cached, solved.below.layers) if more_labels is not None else {}
        own = target_platform(made.stages[-1].platform) or host_platform()
        config = ImageConfig(
            author=made.stages[-1].final_author, architecture=own.architecture, variant=own.variant, os=own.os,
            config=replace(made.stages[-1].final, labels={**_own(made.stages[-1].final.labels), **(labels or {}), **added}),
            rootfs=RootFS(diff_ids=tuple(solved.below.layers)), history=tuple(solved.history),
        )  # fmt: skip
        image = _write(store, _dated(store, config, job.solver), solved.below.layers, tags)
        kept.keep_steps(store.records, image.id, job.kept(made))
    progress(ImageDone(image_id=image.id, tags=tuple(tag.tagged().familiar() for tag in tags)))
    return BuildResult(
        image=image,
        steps=job.results(),
        warnings=warnings,
        hints=tuple(job.solver.hints),
        cached=tuple(job.solver.cached),
        plan=job.planned,
    )


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without the one that says what a base image's cache holds: it is not of this image's layers."""
    return {name: value for name, value in labels.items() if name != keys.CACHE_LABEL}


def _checked_arguments(build_args: Mapping[str, str]) -> dict[str, str]:
    for name in build_args:
        if not _ARGUMENT.match(name):
            raise InvalidArgument(f"{name!r} is no name for a build argument", hint="letters, digits and _; --build-arg NAME=value")
    return dict(build_args)


def source_date_epoch(given: Mapping[str, str] | None = None) -> int | None:
    """Return SOURCE_DATE_EPOCH, from what is given or else from the environment; InvalidArgument when it is no count of seconds."""
    text = (given or {}).get(EPOCH, os.environ.get(EPOCH, ""))
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidArgument(f"{EPOCH}={text[:20]} is no count of seconds since 1970")
    return int(text)


class _Job:
    """One build from stages to a solved target: numbers the steps, finds the bases, plans and solves."""

    def __init__(self, tools: Tools, stages: Stages, goal: Stage) -> None:
        self._tools, self._stages, self._goal = tools, stages, goal
        self._first: dict[int, int] = {}
        self.planned: tuple[PlannedStep, ...] = ()
        self._images: dict[str, ImageConfig] = {}
        self._from_results: list[StepResult] = []
        self.solver = Solver(tools, self._images)
        self._number(stages.needed(goal))

    def _number(self, stages: Sequence[Stage]) -> None:
        """Give the steps of more stages their numbers, after those that have one, and tell of the plan."""
        self.planned = (*self.planned, *self._numbered(stages))
        self.solver.total = len(self.planned)
        self._tools.progress(PlanReady(steps=self.planned))

    def _numbered(self, stages: Sequence[Stage]) -> Iterator[PlannedStep]:
        index = len(self.planned)
        for stage in stages:
            self._first[stage.index] = index + 1
            for instruction in (stage.start, *stage.instructions):
                index += 1
                takes = self._stages.taken(stage, instruction)
                yield PlannedStep(index=index, stage=stage.label, line=instruction.line, text=one_line(instruction.text), takes=takes)

    def make_plan(self, bases: Bases, given: Mapping[str, str], *, pull: bool) -> Plan:
        """Find the base images, then replace every variable."""
        todo = list(self._stages.needed(self._goal))
        while todo:
            stage = todo.pop(0)
            self._start(stage, bases, pull=pull)
            todo += self._triggered(stage, bases, pull=pull)
        return make_plan(self._stages, self._goal, self._images, given)

    def _triggered(self, stage: Stage, bases: Bases, *, pull: bool) -> tuple[Stage, ...]:
        """See what the ONBUILD triggers of a stage's image take; returns the stages that are needed for that alone."""
        image = self._images.get(stage.base.wanted)
        if image is None or not image.config.on_build:
            return ()
        self._stages = self._stages.with_triggers(stage, image.config.on_build)
        self._goal = self._stages.all[self._goal.index]
        self._find(self._stages.all[stage.index], bases, pull=pull)
        more = tuple(each for each in self._stages.needed(self._goal) if each.index not in self._first)
        if more:
            self._number(more)
        return more

    def _find(self, stage: Stage, bases: Bases, *, pull: bool) -> None:
        for origin in stage.sources:
            if origin.image and origin.wanted not in self._images:
                try:
                    self._images[origin.wanted] = bases.image(origin.image, pull=pull, platform=origin.platform).config
                except ImageNotFound as err:
                    if origin == stage.base:
                        raise
                    raise self._stages.placed(stage, origin, err) from err

    def _start(self, stage: Stage, bases: Bases, *, pull: bool) -> None:
        """Do a stage's FROM, and find the images of its ``COPY --from``."""
        with _told(self._tools.progress, self._first[stage.index], len(self.planned), stage) as results:
            self._find(stage, bases, pull=pull)
        self._from_results += results

    def solve(self, made: Plan) -> Solved:
        """Do all stages, independent ones at once; the last one is the target."""

        def solve(stage: StagePlan) -> None:
            self.solver.solve(stage, self._numbers(stage))

        scheduling.run(made.stages, solve, self._tools.progress, self._tools.executor.cancel)
        return self.solver.stages[made.stages[-1].index]

    def results(self) -> tuple[StepResult, ...]:
        """Return what became of each step, in the order of their numbers."""
        return tuple(sorted([*self._from_results, *self.solver.results], key=lambda r: r.index))

    def kept(self, made: Plan) -> list[kept.KeptStep]:
        """Return each step as it can be opened, in the order of their numbers."""
        starts = [
            kept.KeptStep(
                index=self._first[stage.index], line=stage.node.line, text=one_line(self._stages.all[stage.index].start.text),
                stage=stage.index, layers=self.solver.beginning(stage).layers, own=False, config=stage.config,
            )
            for stage in made.stages
        ]  # fmt: skip
        return sorted([*starts, *self.solver.kept], key=lambda step: step.index)

    def _numbers(self, stage: StagePlan) -> list[int]:
        """The number of each step; those of ONBUILD triggers, which stand at FROM's line, are FROM's."""
        first = self._first[stage.index]
        own = len(self._stages.all[stage.index].instructions)
        triggers = len(stage.steps) - own
        return [first] * triggers + list(range(first + 1, first + 1 + own))


@contextmanager
def _told(progress: Callable[[Event], None], index: int, total: int, stage: Stage) -> Iterator[list[StepResult]]:
    """Tell of a FROM; the list gets its result when the block ends well."""
    began = time.monotonic()
    line, text = stage.start.line, one_line(stage.start.text)
    results: list[StepResult] = []
    progress(StepStarted(index=index, total=total, line=line, text=text))
    try:
        yield results
    except Error as err:
        progress(StepFailed(index=index, message=err.message, seconds=time.monotonic() - began))
        raise
    seconds = time.monotonic() - began
    reason = (
        "base image"
        if stage.base.image
        else "build context"
        if stage.base.context
        else "earlier stage"
        if stage.base.stage is not None
        else "empty"
    )
    results.append(
        StepResult(
            index=index,
            line=line,
            instruction=text,
            status="metadata",
            reason=reason,
            seconds=seconds,
            bytes_added=0,
            layer=None,
            began=began,
        )
    )
    progress(StepDone(index=index, cached=True, reason=reason, seconds=seconds, bytes_added=0, layer=None))


def _dated(store: Store, config: ImageConfig, solver: Solver) -> ImageConfig:
    """Fill in the times that are the image's own: when an image like this was first made, so that a build again is the same image.

    The time is settled in one transaction: of two builds of the same that end at once, both get the first one's.
    """
    key = keys.image_key(config.to_bytes())
    row = store.records.cache_get(key)
    if row is None:
        with store.records.transaction():
            row = store.records.cache_get(key)
            if row is None:
                store.records.cache_put(key, None, json.dumps({"created": solver.now()}))
                row = store.records.cache_get(key)
    created = json.loads(row.document)["created"] if row is not None else solver.now()
    history = tuple(replace(h, created=h.created or created) for h in config.history)
    return replace(config, created=created, history=history)


def _write(store: Store, config: ImageConfig, layers: Sequence[Digest], tags: Sequence[Reference]) -> ImageRecord:
    """Record and tag the image; nothing is written when it is there with these tags."""
    try:
        image = store.images.get(Digest.of(config.to_bytes()))
    except ImageNotFound:
        image = store.images.put(config, [store.layers.get(diff_id) for diff_id in layers], tags=tags)
    else:
        missing = [tag for tag in tags if tag.tagged().familiar() not in image.tags]
        for tag in missing:
            store.images.tag(image.id, tag)
        image = store.images.get(image.id) if missing else image
    return image

"""Stages become a plan, once the configs of their base images are known (pure)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from notebook_containers.build import instructions as ins, triggers
from notebook_containers.build.expanding import DEFAULT_PATH, PROXY_ARGUMENTS, Scope, expand_step
from notebook_containers.build.findings import Finding
from notebook_containers.build.gathering import Gathered
from notebook_containers.build.plan import Plan, StagePlan, Step
from notebook_containers.build.stages import Stage, Stages
from notebook_containers.lean import replace
from notebook_containers.oci.image import ContainerConfig, ImageConfig

_BUILDER_ARGUMENTS = ("SOURCE_DATE_EPOCH",)


def make_plan(stages: Stages, target: Stage, bases: Mapping[str, ImageConfig], build_args: Mapping[str, str]) -> Plan:
    """Expand the stages that the target needs; ``bases`` has the config of each image that one starts from, by what was ``wanted``.

    Raises DockerfileError; the findings say too which build arguments nobody declares.
    """
    scopes: dict[int, Scope] = {}
    errors = Gathered()
    plans: list[StagePlan] = []
    for stage in stages.needed(target):
        scope = _start(stage, stages, bases, build_args, scopes)
        config, author = scope.config, scope.author
        steps = tuple(_steps(stage, scope, errors))
        scopes[stage.index] = scope
        plans.append(
            StagePlan(
                index=stage.index,
                label=stage.label,
                base=stage.base,
                node=stage.start.node,
                steps=steps,
                config=config,
                author=author,
                needs=stage.needs(),
                platform=stage.platform,
            )
        )
    errors.tell()
    findings = [finding for scope in scopes.values() for finding in scope.findings]
    return Plan(stages=tuple(plans), findings=(*findings, *_unused(stages, build_args)))


def _start(stage: Stage, stages: Stages, bases: Mapping[str, ImageConfig], given: Mapping[str, str], scopes: Mapping[int, Scope]) -> Scope:
    """The scope a stage begins with: its base image's config, or that of the stage it builds on with the ARGs declared there."""
    if stage.base.stage is not None:
        below = scopes[stage.base.stage]
        return Scope(config=below.config, author=below.author, arguments=dict(below.arguments), outer=stages.arguments, given=given)
    if stage.base.image:
        image = bases[stage.base.wanted]
        return Scope(config=_with_path(image.config), author=image.author, outer=stages.arguments, given=given)
    return Scope(config=_with_path(ContainerConfig(working_dir="/")), outer=stages.arguments, given=given)


def _with_path(config: ContainerConfig) -> ContainerConfig:
    """Say where commands are found where a base does not (an imported file system has no environment), as BuildKit does."""
    if any(entry.startswith("PATH=") for entry in config.env):
        return config
    return replace(config, env=(f"PATH={DEFAULT_PATH}", *config.env))


def _steps(stage: Stage, scope: Scope, errors: Gathered) -> Iterator[Step]:
    texts = scope.config.on_build
    if texts:
        scope.config = replace(scope.config, on_build=())
        yield from _trigger_steps(stage, scope, texts)
    for instruction in stage.instructions:
        with errors.each():
            yield expand_step(instruction, scope, stage.origins)


def _trigger_steps(stage: Stage, scope: Scope, texts: Sequence[str]) -> Iterator[Step]:
    """The base's ONBUILD instructions; they stand at the line of FROM."""
    for text in texts:
        with triggers.told(stage.start, text):
            for instruction in triggers.read(stage.start, text):
                origins = {(instruction.line, name): origin for name, origin in stage.triggered.items()}
                step = expand_step(instruction, scope, origins)
                yield replace(step, line=stage.start.line, text=f"ONBUILD {step.text}", foreign=bool(stage.base.image))


def _unused(stages: Stages, build_args: Mapping[str, str]) -> list[Finding]:
    declared = {p.key for s in stages.all for i in s.instructions if isinstance(i, ins.Arg) for p in i.pairs}
    known = declared | set(stages.arguments)
    warnings = []
    for name in build_args:
        if name in known or name in PROXY_ARGUMENTS or name in _BUILDER_ARGUMENTS or name.startswith("BUILDKIT_"):
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1)
        message = f"no ARG {name} takes the build argument" + (f"; did you mean {near[0]}?" if near else "")
        warnings.append(Finding(line=0, message=message))
    return warnings

"""What a Dockerfile would do, without building it: ``--check``, ``--call=targets`` and ``--call=outline``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from notebook_containers.build import instructions as ins, plan
from notebook_containers.build.checks import check
from notebook_containers.build.context import Context, OutsideContext, clean
from notebook_containers.build.findings import Finding, chosen
from notebook_containers.build.interpret import read
from notebook_containers.build.parser import Dockerfile
from notebook_containers.build.plan import Plan
from notebook_containers.build.planning import make_plan
from notebook_containers.build.platforms import host_platform, platform_arguments, target_platform
from notebook_containers.build.progress import PlannedStep
from notebook_containers.build.stages import Origin, Stage, Stages, cut
from notebook_containers.build.wording import one_line
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import ContainerConfig, ImageConfig, RootFS

_COMMENT = re.compile(r"#\s*(\S+)\s+(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A stage that can be built: its name or number, what it is FROM, the comment above it, whether it is the default."""

    name: str
    base: str
    description: str
    default: bool

    def row(self) -> dict[str, object]:
        """Return it as a row of a table."""
        return {"target": self.name, "base": self.base, "description": self.description, "default": self.default}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something that a build of a target takes: ``kind`` arg, secret, ssh or cache; its value or whether it is required; its comment."""

    kind: str
    name: str
    value: str
    description: str

    def row(self) -> dict[str, object]:
        """Return it as a row of a table."""
        return {"kind": self.kind, "name": self.name, "value": self.value, "description": self.description}


class Look:
    """A Dockerfile that was read and not built. ``config`` gives the config of a base image, None where it is not at hand."""

    def __init__(
        self,
        text: str,
        *,
        context: Path,
        config: Callable[[str], ImageConfig | None],
        build_args: Mapping[str, str],
        name: str,
        target: str,
        platform: str = "",
        named: Mapping[str, Origin] | None = None,
    ) -> None:
        """Read and plan it; raises DockerfileError for what is wrong in it, InvalidArgument for a target that it has not."""
        self._context, self._name, self._given = context, name, build_args
        own, wanted = host_platform(), target_platform(platform)
        self._predefined = platform_arguments(own, wanted or own)
        self._dockerfile, self._instructions = read(text, name=name)
        self._stages = cut(self._instructions, build_args=build_args, platform=own, target=wanted, named=named)
        self._goal = self._stages.target(target)
        found: dict[str, ImageConfig | None] = {}
        self._find(config, found)
        self.missing = tuple(sorted(image for image, one in found.items() if one is None))
        self._plan = make_plan(self._stages, self._goal, {image: one or _empty() for image, one in found.items()}, build_args)

    def _find(self, config: Callable[[str], ImageConfig | None], found: dict[str, ImageConfig | None]) -> None:
        """Get the images, and those that the triggers of images take; one that is here for another platform says as much."""
        while new := {o.wanted: o.image for s in self._stages.needed(self._goal) for o in s.sources if o.image and o.wanted not in found}:
            found |= {wanted: config(new[wanted]) for wanted in sorted(new)}
            for stage in self._stages.all:
                image = found.get(stage.base.wanted)
                if image is not None and image.config.on_build:
                    self._stages = self._stages.with_triggers(stage, image.config.on_build)
            self._goal = self._stages.all[self._goal.index]

    def findings(self, given: str | None = None) -> tuple[Finding, ...]:
        """Return what the checks find; where a base image is not at hand, its variables are taken as set."""
        found = [*check(self._dockerfile, self._instructions, self._predefined), *self._plan.findings, *self._ignored()]
        if self.missing:
            found = [f for f in found if f.rule not in ("UndefinedVar", "WorkdirRelativePath")]
            found.append(
                Finding(line=0, message=f"variables were not checked: no image {', '.join(self.missing)} here; get it with 'nbc pull'")
            )
        quiet = Dockerfile(
            name=self._name, nodes=self._dockerfile.nodes, lines=self._dockerfile.lines,
            directives={k: v.replace("error=true", "") for k, v in self._dockerfile.directives.items()},
        )  # fmt: skip
        return chosen(quiet, found, given)

    def targets(self) -> tuple[Target, ...]:
        """Return the stages."""
        last = self._stages.all[-1]
        return tuple(
            Target(name=s.label, base=s.start.image.text, description=_comment(self._dockerfile, s.start, s.name), default=s is last)
            for s in self._stages.all
        )

    def steps(self) -> tuple[PlannedStep, ...]:
        """Return the steps that a build of the target takes, as it numbers them."""
        pairs = [(stage, each) for stage in self._stages.needed(self._goal) for each in (stage.start, *stage.instructions)]
        return tuple(
            PlannedStep(index=i, stage=s.label, line=each.line, text=one_line(each.text), takes=self._stages.taken(s, each))
            for i, (s, each) in enumerate(pairs, 1)
        )

    def outline(self) -> tuple[Parameter, ...]:
        """Return what a build of the target takes."""
        return tuple(dict.fromkeys([*_arguments(self._dockerfile, self._instructions, self._stages, self._goal), *_lent(self._plan)]))

    def _ignored(self) -> Iterator[Finding]:
        """What COPY and ADD name and .dockerignore leaves out."""
        with Context.open(self._context, dockerfile=self._name) as context:
            for stage in self._plan.stages:
                for step in stage.steps:
                    copy = step.operation
                    if isinstance(copy, plan.Copy) and copy.origin is None:
                        yield from (
                            Finding(line=step.line, rule="CopyIgnoredFile", message=text) for text in _left_out(context, copy.sources)
                        )


def _left_out(context: Context, words: Sequence[str]) -> Iterator[str]:
    for word in words:
        try:
            rule = context.rules.rule_for("/".join(clean(word)))
        except OutsideContext:
            continue
        if rule is not None:
            yield f"{word} is left out of the build context by line {rule.line} of {context.rules.name}"


def _empty() -> ImageConfig:
    platform = host_platform()
    return ImageConfig(architecture=platform.architecture, os=platform.os, config=ContainerConfig(), rootfs=RootFS(diff_ids=()))


def _comment(dockerfile: Dockerfile, instruction: ins.Instruction, name: str) -> str:
    match = _COMMENT.match(dockerfile.lines[instruction.line - 2].strip()) if instruction.line > 1 else None
    return match[2] if match and match[1] == name else ""


def _arguments(dockerfile: Dockerfile, instructions: Sequence[ins.Instruction], stages: Stages, goal: Stage) -> Iterator[Parameter]:
    needed = {id(i) for s in stages.needed(goal) for i in s.instructions}
    outside = True
    for instruction in instructions:
        outside &= not isinstance(instruction, ins.From)
        if isinstance(instruction, ins.Arg) and (outside or id(instruction) in needed):
            for pair in instruction.pairs:
                text = _comment(dockerfile, instruction, pair.key)
                yield Parameter(kind="arg", name=pair.key, value=pair.value or "", description=text)


def _lent(made: Plan) -> Iterator[Parameter]:
    for stage in made.stages:
        for step in stage.steps:
            for mount in step.operation.mounts if isinstance(step.operation, plan.Execute) else ():
                match mount:
                    case plan.Secret() | plan.Agent():
                        kind = "secret" if isinstance(mount, plan.Secret) else "ssh"
                        yield Parameter(kind=kind, name=mount.id, value="required" if mount.required else "", description="")
                    case plan.CacheDirectory():
                        yield Parameter(kind="cache", name=mount.id, value=mount.target, description="")

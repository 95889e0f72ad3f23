"""Instructions to stages: what each is based on and takes from, and which ones the target needs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from notebook_containers.build import instructions as ins, triggers
from notebook_containers.build.gathering import Gathered
from notebook_containers.build.parser import Flag, Node
from notebook_containers.build.platforms import platform_arguments, platform_text, target_platform
from notebook_containers.build.words import WordError, expand
from notebook_containers.errors import Error, InvalidArgument, InvalidReference
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.image import Platform
from notebook_containers.oci.reference import Reference

SCRATCH = "scratch"
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{2,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where files come from: a stage of this Dockerfile (its number), an image, or a named context that is a tree of files.

    None of them is ``scratch`` or the build context. ``platform`` is the one that the image must be for; empty: nobody asked for one.
    """

    stage: int | None = None
    image: str = ""
    context: str = ""
    platform: str = ""

    @property
    def wanted(self) -> str:
        """The image with its platform, as one text that no other has; empty for others than images."""
        return f"{self.image} {self.platform}".rstrip()


class Names:
    """The named contexts; one whose name is an image's is found by every form of that image's name."""

    def __init__(self, named: Mapping[str, Origin]) -> None:
        self._named = {_plain(name): origin for name, origin in named.items()}

    def origin(self, name: str) -> Origin | None:
        """Return what a name stands for; None when it is no named context's."""
        return self._named.get(_plain(name)) if self._named else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage: its number, name (may be empty), base, instructions without FROM; ``origins`` of each ``from`` by line and name.

    ``triggered`` is the same for the base's ONBUILD triggers, by name alone: they stand at no line of this Dockerfile. ``platform`` is
    what its FROM or the caller asked for; empty: nobody did, it is this machine's.
    """

    index: int
    name: str
    base: Origin
    start: ins.From
    instructions: tuple[ins.Instruction, ...]
    origins: Mapping[tuple[int, str], Origin]
    triggered: Mapping[str, Origin] = field(default_factory=dict)
    platform: str = ""

    @property
    def label(self) -> str:
        """The name, or the number where there is none."""
        return self.name or str(self.index)

    @property
    def sources(self) -> tuple[Origin, ...]:
        """All that it is based on and takes files from."""
        return (self.base, *self.origins.values(), *self.triggered.values())

    def needs(self) -> frozenset[int]:
        """The numbers of the stages that this one needs."""
        return frozenset(o.stage for o in self.sources if o.stage is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """All stages in order, the values of the ARGs before the first FROM, and the named contexts."""

    all: tuple[Stage, ...]
    arguments: Mapping[str, str]
    names: Names

    def with_triggers(self, stage: Stage, texts: Sequence[str]) -> Stages:
        """Return the stages with what ONBUILD triggers of a stage's base take: names mean what they mean in this Dockerfile.

        Raises DockerfileError at the stage's FROM.
        """
        triggered: dict[str, Origin] = {}
        for text in texts:
            with triggers.told(stage.start, text):
                found = triggers.read(stage.start, text)
                triggered |= _origins(found, self.all[: stage.index], self.names, stage.platform)
        changed = replace(stage, triggered=triggered)
        return replace(self, all=tuple(changed if each.index == stage.index else each for each in self.all))

    def taken(self, stage: Stage, instruction: ins.Instruction) -> tuple[str, ...]:
        """Return the labels of the stages that an instruction of a stage starts with or takes files from."""
        here = [o for (line, _name), o in stage.origins.items() if line == instruction.line]
        origins = [stage.base, *stage.triggered.values()] if instruction is stage.start else here
        return tuple(self.all[o.stage].label for o in origins if o.stage is not None)

    def placed(self, stage: Stage, origin: Origin, err: Error) -> Error:
        """Return an error about an image that a stage takes from as one at the instruction that names it; a stage may be meant."""
        for instruction in stage.instructions:
            for flag, name in _from_flags(instruction):
                if stage.origins.get((instruction.line, name)) == origin:
                    near = difflib.get_close_matches(name.lower(), [s.name for s in self.all[: stage.index] if s.name], n=1)
                    hint = f"did you mean the stage {near[0]}?" if near else err.hint
                    return instruction.node.error(err.message, offset=flag.offset, length=flag.length, hint=hint)
        return err

    def target(self, name: str) -> Stage:
        """Return the stage of this name or number, the last one for an empty name; raises InvalidArgument."""
        if not name:
            return self.all[-1]
        found = _find(self.all, name)
        if found is None:
            names = [s.label for s in self.all]
            near = difflib.get_close_matches(name.lower(), names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the stages are {', '.join(names)}"
            raise InvalidArgument(f"no stage {name!r} in the Dockerfile", hint=hint)
        return self.all[found]

    def needed(self, target: Stage) -> tuple[Stage, ...]:
        """Return the stages to build for the target, in an order in which each comes after those it needs."""
        wanted, todo = {target.index}, [target.index]
        while todo:
            new = self.all[todo.pop()].needs() - wanted
            wanted |= new
            todo.extend(new)
        return tuple(self.all[i] for i in sorted(wanted))


def cut(
    instructions: Iterable[ins.Instruction], *, build_args: Mapping[str, str], platform: Platform, target: Platform | None = None,
    named: Mapping[str, Origin] | None = None,
) -> Stages:  # fmt: skip
    """Cut instructions into stages; raises DockerfileError for one outside any stage and for origins that mean nothing.

    ``platform`` is this machine's, ``target`` the one that was asked for. ``named`` are the caller's contexts: such a name means that,
    whatever else has it.
    """

    known = platform_arguments(platform, target or platform)
    around = _Around(known=known, platform=platform_text(target) if target is not None else "", names=Names(named or {}))
    stages: list[Stage] = []
    errors = Gathered()
    body: list[ins.Instruction] = []
    start: ins.From | None = None
    for instruction in instructions:
        if isinstance(instruction, ins.From):
            if start is not None:
                with errors.each():
                    stages.append(_stage(start, body, stages, around))
            start, body = instruction, []
        elif start is not None:
            body.append(instruction)
        elif isinstance(instruction, ins.Arg):
            with errors.each():
                _global_arguments(instruction, known, build_args)
        else:
            node = instruction.node
            with errors.each():
                raise node.error(f"{node.keyword} stands before the first FROM", hint="only ARG may stand there")
    if start is None:
        errors.tell()
        raise InvalidArgument("the Dockerfile has no FROM", hint="start it with FROM IMAGE, or FROM scratch")
    with errors.each():
        stages.append(_stage(start, body, stages, around))
    errors.tell()
    return _with_own_triggers(Stages(all=tuple(stages), arguments=known, names=around.names))


def _with_own_triggers(stages: Stages) -> Stages:
    """Look at the triggers that this Dockerfile's own stages set for those based on them; those of images come when they are found."""
    for stage in stages.all:
        if stage.base.stage is not None:
            below = stages.all[stage.base.stage].instructions
            texts = [each.expression for each in below if isinstance(each, ins.OnBuild)]
            stages = stages.with_triggers(stage, texts) if texts else stages
    return stages


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What holds for all stages: the ARGs before the first FROM (they grow), the platform asked for, the named contexts."""

    known: Mapping[str, str]
    platform: str
    names: Names


def _plain(name: str) -> str:
    try:
        return Reference.parse(name).tagged().familiar()
    except InvalidReference:
        return name.lower()


def _global_arguments(instruction: ins.Arg, known: dict[str, str], build_args: Mapping[str, str]) -> None:
    for pair in instruction.pairs:
        if pair.key in build_args:
            known[pair.key] = build_args[pair.key]
        elif pair.value is not None:
            known[pair.key] = _expand(instruction.node, pair.value, pair.offset, known)


def _expand(node: Node, text: str, offset: int, variables: Mapping[str, str]) -> str:
    try:
        return expand(text, variables, escape=node.escape).text
    except WordError as err:
        raise node.error(err.message, offset=offset + err.offset, length=err.length, hint=err.hint) from err


def _stage(start: ins.From, body: list[ins.Instruction], before: list[Stage], around: _Around) -> Stage:
    platform = _platform(start, around)
    image = _expand(start.node, start.image.text, start.image.offset, around.known)
    word = start.image
    if not image:
        raise start.node.error(
            f"the image {word.text!r} is empty once its variables are replaced", offset=word.offset, length=len(word.text),
            hint="give the ARG before FROM a default, or set it with --build-arg",
        )  # fmt: skip
    base = _for(platform, around.names.origin(image) or _base(start, image, before))
    if base.stage is not None:  # what is built on is for a platform already
        platform = before[base.stage].platform
    origins = {(i.line, name): origin for i in body for name, origin in _origins([i], before, around.names, platform).items()}
    return Stage(
        index=len(before), name=start.name, base=base, start=start, instructions=tuple(body), origins=origins, platform=platform
    )  # fmt: skip


def _origins(instructions: Iterable[ins.Instruction], before: Sequence[Stage], names: Names, platform: str) -> dict[str, Origin]:
    """What the words of ``from`` in instructions mean, by word; images are for the stage's platform."""
    words = ((instruction.node, flag, name) for instruction in instructions for flag, name in _from_flags(instruction))
    return {name: _for(platform, names.origin(name) or _origin(node, flag, name, before)) for node, flag, name in words}


def _for(platform: str, origin: Origin) -> Origin:
    return replace(origin, platform=platform) if origin.image and platform else origin


def _from_flags(instruction: ins.Instruction) -> Iterator[tuple[Flag, str]]:
    """Each flag of an instruction that names a stage or an image to take from, and the name."""
    if isinstance(instruction, ins.Copy) and instruction.from_:
        yield next(f for f in instruction.node.flags if f.name == "from"), instruction.from_
    elif isinstance(instruction, ins.Run):
        yield from ((mount.flag, mount.from_) for mount in instruction.mounts if mount.from_)


def _platform(start: ins.From, around: _Around) -> str:
    """Return what a FROM asks for, or else the caller: the platform as a text, or nothing."""
    words = start.platform and _expand(start.node, start.platform, start.node.text.index(start.platform), around.known)
    if not words:
        return around.platform
    flag = start.node.flags[0]
    try:
        found = target_platform(words)
    except InvalidArgument as err:
        raise start.node.error(err.message, offset=flag.offset, length=flag.length, hint=err.hint) from err
    return platform_text(found) if found is not None else ""


def _base(start: ins.From, image: str, before: list[Stage]) -> Origin:
    found = next((s.index for s in reversed(before) if s.name and s.name == image.lower()), None)
    if found is not None:
        return Origin(stage=found)
    if image == SCRATCH:
        return Origin()
    return Origin(image=_checked(start.node, image, start.image.offset, len(start.image.text)))


def _origin(node: Node, flag: Flag, name: str, before: Sequence[Stage]) -> Origin:
    if "$" in name:
        raise node.error(
            "variables are not replaced in --from", offset=flag.offset, length=flag.length, hint="name a stage: FROM $IMAGE AS name"
        )
    found = _find(before, name)
    if found is not None:
        return Origin(stage=found)
    if name.isdigit():
        raise node.error(
            f"no stage {name} comes before this one", offset=flag.offset, length=flag.length, hint="stages count from 0; a name is better"
        )
    if name == SCRATCH:
        raise node.error("there is nothing to take in scratch", offset=flag.offset, length=flag.length, hint="name a stage or an image")
    return Origin(image=_checked(node, name, flag.offset, flag.length))


def _checked(node: Node, image: str, offset: int, length: int) -> str:
    """Check what names no stage as an image name, or as an id."""
    try:
        Reference.parse(image)
    except InvalidReference as err:
        if _IMAGE_ID.match(image):
            return image
        raise node.error(err.message, offset=offset, length=length, hint=err.hint) from err
    return image


def _find(stages: Sequence[Stage], name: str) -> int | None:
    """The stage of a name (the last one, where several have it) or number."""
    return next((s.index for s in reversed(stages) if name.lower() == s.name or name == str(s.index)), None)

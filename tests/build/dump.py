"""Dockerfiles as golden text: ``tree`` is what was read, ``plan`` what it means over a small base image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from notebook_containers.build import instructions as ins
from notebook_containers.build.interpret import interpret, read
from notebook_containers.build.parser import Heredoc, parse
from notebook_containers.build.planning import make_plan
from notebook_containers.build.stages import Origin, cut
from notebook_containers.build.words import Word
from notebook_containers.oci.image import ContainerConfig, ImageConfig, Platform

BASE = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("PATH=/bin",), cmd=("/bin/sh",)))
PLATFORM = Platform(architecture="amd64", os="linux")


def tree(text: str) -> str:
    return "\n".join(_tree(text)) + "\n"


def _tree(text: str) -> Iterator[str]:
    dockerfile = parse(text)
    for name, value in dockerfile.directives.items():
        yield f"directive {name}={value}"
    for line, remark in dockerfile.remarks:
        yield f"remark line {line}: {remark}"
    for instruction in interpret(dockerfile):
        node = instruction.node
        yield f"{node.line}-{node.end_line} {node.keyword} {node.text[len(node.keyword) :].strip()!r}"
        for flag in node.flags:
            yield f"    --{flag.name} {flag.value!r} at {node.place(flag.offset)}"
        for field in fields(instruction):
            if field.name != "node":
                yield from _value(instruction, field.name, getattr(instruction, field.name))


def _value(instruction: ins.Instruction, name: str, value: object) -> Iterator[str]:
    if isinstance(value, tuple):
        for item in value:
            yield from _value(instruction, name, item)
    elif isinstance(value, Word):
        yield f"    {name} {value.text!r} at {instruction.node.place(value.offset)}"
    elif isinstance(value, Heredoc):
        yield f"    {name} {value.name} {'expanded' if value.expand else 'as is'} line {value.line}: {value.content!r}"
    elif isinstance(value, ins.Pair):
        yield f"    {name} {value.key!r} = {value.value!r} at {instruction.node.place(value.offset)}"
    elif isinstance(value, ins.Command):
        yield f"    {name} {'shell' if value.in_shell else 'exec'} {list(value.args)}"
    elif value not in ("", None, False):
        yield f"    {name} {value!r}"


def plan(text: str) -> str:
    return "\n".join(_plan(text)) + "\n"


def _plan(text: str) -> Iterator[str]:
    stages = cut(read(text)[1], build_args={}, platform=PLATFORM)
    goal = stages.target("")
    images = {o.wanted: BASE for s in stages.needed(goal) for o in (s.base, *s.origins.values()) if o.image}
    made = make_plan(stages, goal, images, {})
    for finding in made.findings:
        yield f"finding {finding.text()}"
    for stage in made.stages:
        yield f"stage {stage.label} on {_origin(stage.base)}" + (f" needs {sorted(stage.needs)}" if stage.needs else "")
        before = stage.config
        for step in stage.steps:
            yield f"  {step.line} {step.created_by}"
            if step.operation is not None:
                yield f"      {step.operation}"
            for field in fields(before):
                if getattr(step.config, field.name) != getattr(before, field.name):
                    yield f"      {field.name} = {getattr(step.config, field.name)!r}"
            before = step.config


def _origin(origin: Origin) -> str:
    return origin.image or ("scratch" if origin.stage is None else f"stage {origin.stage}")

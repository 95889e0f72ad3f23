"""The ONBUILD triggers of a base image or stage: what they are, and what is wrong in one told at the FROM that fires it (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from notebook_containers.build import instructions as ins
from notebook_containers.build.interpret import read as read_text
from notebook_containers.errors import DockerfileError


def read(start: ins.From, text: str) -> tuple[ins.Instruction, ...]:
    """Return the instructions of one trigger; raises DockerfileError for one that may not stand in ONBUILD."""
    found = read_text(text, name=f"ONBUILD of {start.image.text}")[1]
    for instruction in found:
        if isinstance(instruction, ins.From | ins.OnBuild | ins.Maintainer):
            node = instruction.node
            raise node.error(f"{node.keyword} may not stand in ONBUILD", hint="the base image's author must take it out")
    return found


@contextmanager
def told(start: ins.From, text: str) -> Iterator[None]:
    """Tell an error of the block, which is in a trigger's text, at the FROM that fires it."""
    try:
        yield
    except DockerfileError as err:
        raise start.node.error(
            f"the base image's trigger {text.splitlines()[0][:60]!r} is wrong: {err.message}",
            offset=start.image.offset, length=len(start.image.text), hint=err.hint,
        ) from err  # fmt: skip

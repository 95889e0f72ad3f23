"""What a build tells while it works: plain frozen events, in the order in which things happen.

``PlanReady`` comes first, then for each step ``StepStarted``, ``StepDecided`` where it is to be done, any ``StepOutput``, and ``StepDone``
or ``StepFailed``; ``FetchProgress``, ``Warned`` and ``Hinted`` may stand anywhere; ``ImageDone`` is last, and missing after a failure.
Steps are numbered from 1 through all stages that the target needs, FROM included. The triggers of an ONBUILD image have the number of
their FROM. Where they take from a stage that nothing else needs, another ``PlanReady`` has its steps too, after the others.
"""

from __future__ import annotations

from typing import TypeAlias

from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step that will come: its number, its stage's name (or number), its line and its text on one line.

    ``takes`` are the stages whose files it starts with or copies.
    """

    index: int
    stage: str
    line: int
    text: str
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReady:
    """The steps to do, in order."""

    steps: tuple[PlannedStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step begins."""

    index: int
    total: int
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecided:
    """A step is not in the cache and is done now; ``reason`` says why in words, ``again`` whether it was done at this place before."""

    index: int
    reason: str
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """Bytes that a RUN printed; ``stream`` is stdout or stderr."""

    index: int
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """A step ended well; ``layer`` is None when it made none; ``reason`` says in words why it was (or was not) done again."""

    index: int
    cached: bool
    reason: str
    seconds: float
    bytes_added: int
    layer: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """A step failed; the error follows as an exception."""

    index: int
    message: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A remark that stops nothing, at a line of the Dockerfile (0: none in particular); ``rule`` names the check, if it is from one."""

    line: int
    message: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hinted:
    """Advice on how the next builds would be quicker, at a line of the Dockerfile."""

    line: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """How far something is that is fetched for the build: bytes of a file, or objects of a git repository; ``total`` 0 is not known."""

    name: str
    current: int
    total: int
    unit: str = "bytes"
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDone:
    """The image is written and tagged; ``tags`` are familiar names."""

    image_id: Digest
    tags: tuple[str, ...]


Event: TypeAlias = (
    "PlanReady | StepStarted | StepDecided | StepOutput | StepDone | StepFailed | FetchProgress | Warned | Hinted | ImageDone"
)

"""The checks that need only the text: each a function from what was read to its findings. The others are made while planning. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from notebook_containers.build import instructions as ins
from notebook_containers.build.findings import Finding
from notebook_containers.build.parser import Dockerfile, Node
from notebook_containers.build.words import WordError, expand
from notebook_containers.errors import InvalidReference
from notebook_containers.oci.reference import Reference

_RESERVED = ("scratch", "context")
_ONCE = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_DEFINITION = re.compile(r"#\s*(\S+)")


def check(dockerfile: Dockerfile, instructions: Sequence[ins.Instruction], predefined: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what the text alone shows; ``predefined`` are the variables that every FROM knows (platforms)."""
    for line, message in dockerfile.remarks:
        yield Finding(line=line, message=message, rule="NoEmptyContinuation" if "empty line" in message else "")
    yield from _casing(dockerfile)
    yield from _stage_names(instructions)
    yield from _repeats(instructions)
    yield from _commands(instructions)
    yield from _pairs(instructions)
    yield from _bases(instructions, predefined)
    yield from _descriptions(dockerfile, instructions)


def _written(node: Node) -> str:
    return node.text.split(None, 1)[0]


def _casing(dockerfile: Dockerfile) -> Iterator[Finding]:
    words = [(node, _written(node)) for node in dockerfile.nodes]
    upper = sum(word.isupper() for _node, word in words)
    lower = sum(word.islower() for _node, word in words)
    usual = str.upper if upper >= lower else str.lower
    for node, word in words:
        if word != usual(word):
            yield Finding(line=node.line, rule="ConsistentInstructionCasing", message=f"{word} is written unlike the others: {usual(word)}")


def _stage_names(instructions: Sequence[ins.Instruction]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for start in instructions:
        if not isinstance(start, ins.From):
            continue
        words = start.node.words()
        if len(words) == 3:
            name, keyword = words[2].text, _written(start.node)
            if name != name.lower():
                yield Finding(line=start.line, rule="StageNameCasing", message=f"the stage name {name} should be written {name.lower()}")
            if words[1].text.isupper() != keyword.isupper():
                yield Finding(line=start.line, rule="FromAsCasing", message=f"{words[1].text} and {keyword} are written in different cases")
        if start.name in _RESERVED:
            yield Finding(
                line=start.line, rule="ReservedStageName", message=f"{start.name} has a meaning already: name the stage otherwise"
            )
        if start.name and start.name in seen:
            message = f"the stage name {start.name} stands at line {seen[start.name]} already: the later stage hides that one"
            yield Finding(line=start.line, rule="DuplicateStageName", message=message)
        seen.setdefault(start.name, start.line)


def _repeats(instructions: Sequence[ins.Instruction]) -> Iterator[Finding]:
    last: dict[str, int] = {}
    for instruction in instructions:
        keyword = instruction.node.keyword
        if keyword == "FROM":
            last.clear()
        elif keyword in _ONCE:
            if keyword in last:
                message = f"{keyword} stands twice in this stage: only the last one counts"
                yield Finding(line=last[keyword], rule="MultipleInstructionsDisallowed", message=message)
            last[keyword] = instruction.line


def _commands(instructions: Sequence[ins.Instruction]) -> Iterator[Finding]:
    """Shell forms of CMD and ENTRYPOINT, unless a SHELL of the stage says that a shell is wanted."""
    own_shell = False
    for instruction in instructions:
        if isinstance(instruction, ins.From):
            own_shell = False
        own_shell |= isinstance(instruction, ins.Shell)
        shell_form = isinstance(instruction, ins.Cmd | ins.Entrypoint) and instruction.command.in_shell and instruction.command.args
        if shell_form and not own_shell:
            keyword = instruction.node.keyword
            message = f'a shell stands between signals and the program: write {keyword} ["program", "argument"]'
            yield Finding(line=instruction.line, rule="JSONArgsRecommended", message=message)


def _pairs(instructions: Sequence[ins.Instruction]) -> Iterator[Finding]:
    for instruction in instructions:
        if isinstance(instruction, ins.Env | ins.Label):
            first = instruction.node.words()[0].text
            if "=" not in first:
                message = f"{instruction.node.keyword} {first} VALUE is the old form: write {first}=VALUE"
                yield Finding(line=instruction.line, rule="LegacyKeyValueFormat", message=message)


def _bases(instructions: Sequence[ins.Instruction], predefined: Mapping[str, str]) -> Iterator[Finding]:
    declared: dict[str, str] = dict(predefined)
    outside = True
    for instruction in instructions:
        if isinstance(instruction, ins.From):
            outside = False
            yield from _base(instruction, declared)
        elif isinstance(instruction, ins.Arg) and outside:
            for pair in instruction.pairs:
                declared[pair.key] = _value(instruction.node, pair.value or "", declared)


def _base(start: ins.From, declared: Mapping[str, str]) -> Iterator[Finding]:
    if start.platform:
        if start.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
            yield Finding(line=start.line, rule="RedundantTargetPlatform", message=f"--platform={start.platform} is what FROM does anyway")
        elif "$" not in start.platform:
            message = f"--platform={start.platform} is fixed: the image can be built for no other platform"
            yield Finding(line=start.line, rule="FromPlatformFlagConstDisallowed", message=message)
    try:
        expansion = expand(start.image.text, declared, escape=start.node.escape)
    except WordError:
        return  # cutting into stages tells of it
    for name in expansion.unset:
        message = f"FROM uses ${name}, which no ARG before it declares"
        yield Finding(line=start.line, rule="UndefinedArgInFrom", message=message)
    if "$" in start.image.text and not expansion.unset and not _is_image(expansion.text):
        message = f"without --build-arg {start.image.text} is {expansion.text!r}, which is no image: give its ARG a default"
        yield Finding(line=start.line, rule="InvalidDefaultArgInFrom", message=message)


def _is_image(text: str) -> bool:
    try:
        Reference.parse(text)
    except InvalidReference:
        return False
    return True


def _value(node: Node, text: str, variables: Mapping[str, str]) -> str:
    try:
        return expand(text, variables, escape=node.escape).text
    except WordError:
        return ""


def _descriptions(dockerfile: Dockerfile, instructions: Sequence[ins.Instruction]) -> Iterator[Finding]:
    """Comments right above an ARG or a named stage: ``# name: what it is`` documents it, another text is taken for that."""
    for instruction in instructions:
        name = instruction.name if isinstance(instruction, ins.From) else ""
        name = instruction.pairs[0].key if isinstance(instruction, ins.Arg) else name
        above = dockerfile.lines[instruction.line - 2] if instruction.line > 1 else ""
        comment = _DEFINITION.match(above.strip())
        if name and comment and "=" not in above and comment[1] != name:
            message = f"the comment above should begin with '# {name} ', or an empty line should follow it"
            yield Finding(line=instruction.line, rule="InvalidDefinitionDescription", message=message)

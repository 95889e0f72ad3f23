"""What must hold for any input of the parser, the words and the matcher (BLD-11, BLD-01): hypothesis and atheris ask the same."""

from __future__ import annotations

from notebook_containers.build.ignore import read_rules
from notebook_containers.build.interpret import read
from notebook_containers.build.patterns import PatternError
from notebook_containers.build.planning import make_plan
from notebook_containers.build.stages import cut
from notebook_containers.build.words import WordError, expand
from notebook_containers.errors import Error, SourceError

from . import dump


def dockerfile(text: str) -> None:
    """A text is planned, or refused at one of its lines."""
    err = _plan(text)
    if err is not None and err.line:
        assert 1 <= err.line <= text.count("\n") + 1
        assert err.excerpt()
    assert err is None or err.message == err.message.strip()


def _plan(text: str) -> SourceError | None:
    try:
        stages = cut(read(text)[1], build_args={}, platform=dump.PLATFORM)
        goal = stages.target("")
        images = {o.wanted: dump.BASE for s in stages.needed(goal) for o in s.sources if o.image}
        make_plan(stages, goal, images, {})
    except SourceError as err:
        return err
    except Error:
        return None
    return None


def word(text: str) -> None:
    """A word is expanded, or refused at one of its places; split or not it has the same letters."""
    refused = None
    try:
        result = expand(text, {"a": "1", "b": "x y"})
    except WordError as err:
        refused = err
    if refused is not None:
        assert 0 <= refused.offset <= len(text)
    else:
        assert "".join("".join(result.words).split()) == "".join(result.text.split())


def ignored(text: str, path: str) -> None:
    """A .dockerignore is refused, or says of a path at once what it says on the way down to it."""
    try:
        rules = read_rules(text.encode("utf-8", "surrogatepass"))
    except (Error, PatternError):
        return
    whole = rules.rule_for(path) is not None
    state = rules.start
    for number, part in enumerate(path.split("/")):
        state = rules.enter(rules.enter(state, "/") if number else state, part)
    assert rules.excluded(state) is whole

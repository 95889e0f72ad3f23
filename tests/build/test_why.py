"""Why a step was done again, as data and in words, and what an order of instructions costs."""

from __future__ import annotations

import io
from hashlib import sha256

import pytest

from notebook_containers.build.build import BuildResult
from notebook_containers.build.progress import Hinted, StepDecided
from notebook_containers.build.reasons import Cause
from notebook_containers.commands.progress import PlainBuildView

from .conftest import Builder

pytestmark = pytest.mark.root


def reasons(result: BuildResult) -> list[str]:
    return [step.reason for step in result.steps[1:]]


def short(data: bytes) -> str:
    return sha256(data).hexdigest()[:6]


def logged(builder: Builder) -> list[str]:
    log = io.StringIO()
    with PlainBuildView(log) as view:
        for event in builder.events:
            view(event)
    return log.getvalue().splitlines()


def test_a_changed_file_is_told_with_both_digests(builder: Builder) -> None:
    (builder.context / "app.py").write_text("1")
    builder("FROM base\nCOPY app.py /\n")
    (builder.context / "app.py").write_text("2")
    step = builder("FROM base\nCOPY app.py /\n").steps[1]
    (cause,) = step.causes
    assert (cause.kind, cause.name) == ("file", "app.py")
    assert cause.before.split()[1] == sha256(b"1").hexdigest()[:12]
    assert cause.after.split()[1] == sha256(b"2").hexdigest()[:12]
    assert step.reason == f"file app.py changed ({short(b'1')}… → {short(b'2')}…)"


def test_modes_new_files_and_files_that_are_gone(builder: Builder) -> None:
    for name in "abcde":
        (builder.context / name).write_text(name)
        (builder.context / name).chmod(0o644)
    text = "FROM base\nCOPY . /all/\n"
    builder(text)
    (builder.context / "a").chmod(0o755)
    assert reasons(builder(text)) == ["file a changed (mode 644 → 755)"]
    (builder.context / "f").write_text("f")
    (builder.context / "e").unlink()
    assert reasons(builder(text)) == ["file e is gone and file f is new"]
    for name in "abcd":
        (builder.context / name).write_text("other")
    (reason,) = reasons(builder(text))
    listed = [f"{name} ({short(name.encode())}… → {short(b'other')}…)" for name in "abc"]
    assert reason == f"file {', '.join(listed)} and 1 more changed"


def test_arguments_variables_settings_and_no_cache(builder: Builder) -> None:
    text = "FROM base\nARG WORD=a\nENV COLOUR=red\nRUN echo $WORD > /tmp/word\n"
    builder(text)
    assert reasons(builder(text, build_args={"WORD": "b"}))[2:] == ["ARG WORD changed"]
    assert reasons(builder(text.replace("red", "blue")))[2:] == ["ARG WORD changed and variable COLOUR changed"]
    assert reasons(builder(text.replace("red", "blue"), no_cache=True))[2:] == ["--no-cache"]
    as_other = text.replace("red", "blue").replace("RUN", "USER 1000\nWORKDIR /tmp\nRUN")
    assert reasons(builder(as_other))[-1] == "WORKDIR, USER changed"
    assert reasons(builder(as_other))[-1] == "cached"


def test_an_argument_in_a_copy(builder: Builder) -> None:
    for name in "ab":
        (builder.context / name).write_text(name)
    text = "FROM base\nARG FILE=a\nARG OTHER=1\nCOPY ${FILE} /file\n"
    builder(text)
    assert reasons(builder(text, build_args={"FILE": "b"}))[-1].startswith("ARG FILE changed")
    assert reasons(builder(text, build_args={"FILE": "b", "OTHER": "2"}))[-1] == "cached"


def test_the_reason_is_known_before_the_step_runs_and_stands_in_the_log(builder: Builder) -> None:
    (builder.context / "app.py").write_text("1")
    text = "FROM base\nCOPY app.py /\nRUN echo ran\n"
    builder(text)
    assert "#3 never built with these inputs" in logged(builder)
    (builder.context / "app.py").write_text("2")
    builder(text)
    lines = logged(builder)
    builder(text)
    assert not [e for e in builder.events if isinstance(e, StepDecided)]
    assert f"#2 rebuilt: file app.py changed ({short(b'1')}… → {short(b'2')}…)" in lines
    assert lines.index("#3 rebuilt: the parent changed at line 2") < next(i for i, s in enumerate(lines) if "ran" in s and "RUN" not in s)


def test_an_order_that_costs_time_is_told_with_the_time(builder: Builder) -> None:
    text = "FROM base\nWORKDIR /app\nCOPY . .\nRUN sleep 0.6; echo 1 > /tools\n"
    for version in "123":
        (builder.context / "app.py").write_text(version)
        result = builder(text)
    (hint,) = result.hints
    assert hint.line == 3
    assert hint.builds == 2  # the first build would have taken its time in any order
    assert hint.saved >= 1.2
    assert hint.message.startswith("COPY . before RUN sleep (line 4): moving it below would have saved ")
    assert hint.message.endswith("s in the last 2 builds, unless that RUN needs those files")
    assert [e.line for e in builder.events if isinstance(e, Hinted)] == [3]
    assert builder(text).hints == ()


def test_no_hint_where_the_run_names_the_file_or_something_else_changed_too(builder: Builder) -> None:
    text = "FROM base\nARG X=0\nCOPY . /app/\nRUN cat /app/app.py > /dev/null; sleep 0.6\nRUN sleep 0.5; echo $X > /x\n"
    for version in "1234":
        (builder.context / "app.py").write_text(version)
        assert builder(text, build_args={"X": version}).hints == ()


def test_the_memory_is_bounded(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notebook_containers.build.ordering._MOST_REMEMBERED", 2)
    monkeypatch.setattr("notebook_containers.build.ordering._LEAST_S", 0.0)
    text = "FROM base\nCOPY . /app/\nRUN echo 1 > /tools\n"
    for version in "12345":
        (builder.context / "app.py").write_text(version)
        result = builder(text)
    assert [hint.builds for hint in result.hints] == [2]


def test_causes_are_data(builder: Builder) -> None:
    result = builder("FROM base\nRUN echo 1 > /one\n")
    assert result.steps[1].causes == (Cause(kind="never"),)
    builder("FROM base\nRUN echo 0 > /zero\nRUN echo 1 > /one\n")
    assert builder("FROM base\nRUN echo 2 > /zero\nRUN echo 1 > /one\n").steps[2].causes == (Cause(kind="parent", line=2),)

"""The 21 build checks: each with a Dockerfile that it remarks on and one that it leaves alone; skipping them, making them errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.build.calls import Look
from notebook_containers.build.findings import RULES, Finding, Wanted, chosen
from notebook_containers.build.interpret import read
from notebook_containers.build.progress import Warned
from notebook_containers.errors import DockerfileError, InvalidArgument
from notebook_containers.oci.image import ImageConfig

from . import dump
from .conftest import Builder

CASES = [
    ("StageNameCasing", "FROM base AS Web\n", 1, "FROM base AS web\n"),
    ("FromAsCasing", "FROM base as web\n", 1, "from base as web\n"),
    ("NoEmptyContinuation", "FROM base\nRUN a \\\n\n  b\n", 3, "FROM base\nRUN a \\\n  # why\n  b\n"),
    ("ConsistentInstructionCasing", "FROM base\nRUN a\nrun b\n", 3, "from base\nrun a\n"),
    ("DuplicateStageName", "FROM base AS a\nFROM base AS a\n", 2, "FROM base AS a\nFROM base AS b\n"),
    ("ReservedStageName", "FROM base AS context\n", 1, "FROM base AS contexts\n"),
    ("JSONArgsRecommended", "FROM base\nENTRYPOINT run me\n", 2, 'FROM base\nSHELL ["/bin/bash", "-c"]\nCMD run me\n'),
    ("MaintainerDeprecated", "FROM base\nMAINTAINER me\n", 2, "FROM base\nLABEL org.opencontainers.image.authors=me\n"),
    ("UndefinedArgInFrom", "FROM base${TAG}\n", 1, "ARG TAG=x\nFROM base$TAG\n"),
    ("WorkdirRelativePath", "FROM base\nWORKDIR app\n", 2, "FROM base\nWORKDIR /srv\nWORKDIR app\n"),
    ("UndefinedVar", "FROM base\nARG HOSTS\nCOPY a$HOST /x\n", 3, "FROM base\nENV PATH=$PATH:/x\nCOPY a$PATH /x\n"),
    ("MultipleInstructionsDisallowed", 'FROM base\nCMD ["a"]\nCMD ["b"]\n', 2, 'FROM base AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n'),
    ("LegacyKeyValueFormat", "FROM base\nENV a b c\n", 2, "FROM base\nENV a=b c=d\n"),
    ("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM base\n", 1, "FROM --platform=$BUILDPLATFORM base\n"),
    ("SecretsUsedInArgOrEnv", "FROM base\nARG DB_PASSWORD\n", 2, "FROM base\nENV PUBLIC_KEY=x KEYBOARD=us\n"),
    ("InvalidDefaultArgInFrom", "ARG TAG\nFROM base:${TAG}\n", 2, "ARG TAG=1\nFROM base:${TAG}\n"),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux/amd64 base\n", 1, "FROM --platform=$BUILDPLATFORM base\n"),
    ("CopyIgnoredFile", "FROM base\nCOPY a.log sub /x/\n", 2, "FROM base\nCOPY a.txt sub /x/\n"),
    ("InvalidDefinitionDescription", "# say more\nFROM base AS web\n", 2, "# web what it is\nFROM base AS web\n"),
    ("ExposeProtoCasing", "FROM base\nEXPOSE 80/TCP\n", 2, "FROM base\nEXPOSE 80/tcp\n"),
    ("ExposeInvalidFormat", "FROM base\nEXPOSE 127.0.0.1:8080:80 [::1]:81:82\n", 2, "FROM base\nEXPOSE 80 8000-8010/udp\n"),
]


def look(text: str, context: Path, target: str = "", **given: str) -> Look:
    return Look(text, context=context, config=lambda name: dump.BASE, build_args=given, name="Dockerfile", target=target)


def rules(text: str, context: Path) -> list[tuple[str, int]]:
    given = {"TAG": "1"} if "ARG TAG\n" in text else {}
    return [(f.rule, f.line) for f in look(text, context, **given).findings("experimental=all")]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / ".dockerignore").write_text("*.log\n")
    return tmp_path


@pytest.mark.parametrize(("rule", "wrong", "line", "right"), CASES, ids=[c[0] for c in CASES])
def test_each_check(context: Path, rule: str, wrong: str, line: int, right: str) -> None:
    assert (rule, line) in rules(wrong, context)
    assert rule not in [found for found, _line in rules(right, context)]


def test_there_are_all_of_them() -> None:
    assert {case[0] for case in CASES} == set(RULES)
    assert len(RULES) == 21


def test_a_near_name_is_told(context: Path) -> None:
    (finding,) = look("FROM base\nARG HOSTS=1\nCOPY a$HOST /x\n", context).findings()
    assert "did you mean $HOSTS?" in finding.message


@pytest.mark.parametrize(
    ("directive", "told"),
    [
        ("skip=MaintainerDeprecated", ["WorkdirRelativePath"]),
        ("skip=MaintainerDeprecated,WorkdirRelativePath", []),
        ("skip=all", []),
        ("error=false", ["MaintainerDeprecated", "WorkdirRelativePath"]),
        ("skip=MaintainerDepreciated", ["", "MaintainerDeprecated", "WorkdirRelativePath"]),
    ],
)
def test_the_directive(context: Path, directive: str, told: list[str]) -> None:
    text = f"# check={directive}\nFROM base\nMAINTAINER me\nWORKDIR x\n"
    assert [f.rule for f in look(text, context).findings()] == told


def test_an_unknown_check_is_named() -> None:
    assert Wanted.of("skip=Nope,UndefinedVar;experimental=all").unknown == ("Nope",)


def test_findings_can_be_errors_at_their_lines() -> None:
    dockerfile, _ = read("# check=error=true\nFROM base\nMAINTAINER me\n")
    findings = [Finding(line=3, message="old", rule="MaintainerDeprecated"), Finding(line=2, message="said by no check")]
    with pytest.raises(DockerfileError) as caught:
        chosen(dockerfile, findings, None)
    assert (caught.value.line, caught.value.source, caught.value.others) == (3, "MAINTAINER me", ())
    assert [f.line for f in chosen(dockerfile, findings, "error=false")] == [2, 3]


def test_without_the_base_image_no_variable_is_doubted(context: Path) -> None:
    given = Look("FROM base\nCOPY a$X /x\nMAINTAINER me\n", context=context, config=_none, build_args={}, name="Dockerfile", target="")
    assert [f.rule for f in given.findings()] == ["", "MaintainerDeprecated"]
    assert given.missing == ("base",)


def _none(name: str) -> ImageConfig | None:
    del name
    return None


def test_targets_and_outline(context: Path) -> None:
    text = (
        "ARG TAG=1\n# made the program\nFROM base AS made\n# PORT where it listens\nARG PORT=80\n"
        "RUN --mount=type=secret,id=token,required --mount=type=ssh --mount=type=cache,target=/c true\nFROM base AS other\nARG NOT=1\n"
    )
    found = look(text, context)
    assert [(t.name, t.base, t.description, t.default) for t in found.targets()] == [
        ("made", "base", "the program", False), ("other", "base", "", True),
    ]  # fmt: skip
    outline = look(text, context, target="made").outline()
    assert [(p.kind, p.name, p.value, p.description) for p in outline] == [
        ("arg", "TAG", "1", ""), ("arg", "PORT", "80", "where it listens"), ("secret", "token", "required", ""), ("ssh", "default", "", ""),
        ("cache", "/c", "/c", ""),
    ]  # fmt: skip
    with pytest.raises(InvalidArgument, match="no stage 'mad'"):
        look(text, context, target="mad")


@pytest.mark.root
def test_a_build_tells_them_and_goes_on(builder: Builder) -> None:
    result = builder("FROM base AS Web\nMAINTAINER me\n")
    told = [(e.rule, e.line) for e in builder.events if isinstance(e, Warned)]
    assert told == [("StageNameCasing", 1), ("MaintainerDeprecated", 2)]
    assert [(f.rule, f.line) for f in result.warnings] == told


@pytest.mark.root
def test_a_build_stops_where_the_file_says_so_before_anything_runs(builder: Builder) -> None:
    text = "# check=error=true\nFROM base\nRUN true\nMAINTAINER me\n"
    with pytest.raises(DockerfileError, match="MaintainerDeprecated"):
        builder(text)
    assert builder.executor.requests == []
    builder(text, build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"})


@pytest.mark.root
def test_a_port_of_the_host_is_left_out_of_the_image(builder: Builder) -> None:
    config = builder("FROM base\nEXPOSE 127.0.0.1:8080:80/UDP 81\n").image.config.config
    assert set(config.exposed_ports) == {"80/udp", "81/tcp"}

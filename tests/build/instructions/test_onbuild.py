"""ONBUILD: instructions that run in the builds of others, with what those builds have."""

from __future__ import annotations

from .conftest import Builds


def test_triggers_run_in_the_next_build_only(builds: Builds) -> None:
    parent = builds("FROM base\nONBUILD ENV T=1\nONBUILD COPY app /app\nONBUILD RUN echo $T > /triggered\n", tag="parent")
    assert parent.config["OnBuild"] == ["ENV T=1", "COPY app /app", "RUN echo $T > /triggered"]
    child = builds("FROM parent\nRUN echo own > /own\n", {"app": "the child's"}, tag="child")
    assert (child.text("triggered"), child.text("app"), child.text("own")) == ("1\n", "the child's", "own\n")
    assert "OnBuild" not in child.config
    assert [line.split()[0] for line in child.history[-4:]] == ["ENV", "COPY", "RUN", "RUN"]
    assert builds("FROM child\n").layers == child.layers, "a grandchild triggers nothing"


def test_a_trigger_takes_from_a_stage_of_the_build_that_fires_it(builds: Builds) -> None:
    text = "FROM base\nONBUILD COPY --from=made /out/app /app\nONBUILD RUN --mount=from=config,target=/c cat /c/name > /name\n"
    builds(text, tag="parent")
    rest = "FROM base AS made\nRUN mkdir /out && echo made > /out/app\nFROM scratch AS config\nCOPY name /name\n"
    child = builds(f"{rest}FROM base AS unneeded\nRUN exit 1\nFROM parent\n", {"name": "given"})
    assert (child.text("app"), child.text("name")) == ("made\n", "given")


def test_a_trigger_takes_from_an_image_that_nothing_else_names(builds: Builds) -> None:
    builds("FROM scratch\nCOPY data /data\n", {"data": "of the image"}, tag="store:1")
    builds("FROM base\nONBUILD COPY --from=store:1 /data /taken\n", tag="parent")
    assert builds("FROM parent\n").text("taken") == "of the image"


def test_a_stage_of_the_same_dockerfile_triggers_too(builds: Builds) -> None:
    text = (
        "FROM base AS made\nRUN echo made > /app\nFROM base AS parent\nONBUILD COPY --from=made /app /taken\nFROM parent\nRUN cat /taken\n"
    )
    assert builds(text).said == "made\n"


def test_what_is_wrong_in_a_trigger_is_told_at_from(builds: Builds) -> None:
    builds("FROM base\nONBUILD COPY --from=4 /app /app\n", tag="parent")
    refused = builds.refused("# a remark\nFROM parent\n")
    assert (refused.line, "no stage 4 comes before this one" in refused.message) == (2, True)
    for trigger in ("FROM base", "ONBUILD RUN true", "MAINTAINER me"):
        assert builds.refused(f"FROM base\nONBUILD {trigger}\n").line == 2

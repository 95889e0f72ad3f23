"""Whole builds against a real store with real commands: results, cache, reasons, failures."""

from __future__ import annotations

from hashlib import sha256

import pytest

from notebook_containers.build.progress import Event, ImageDone, PlanReady, StepDone, StepFailed, StepOutput, StepStarted, Warned
from notebook_containers.errors import BuildError, DockerfileError, ImageNotFound
from notebook_containers.oci.image import ContainerConfig, ImageConfig
from notebook_containers.oci.reference import Reference

from .conftest import Builder

pytestmark = pytest.mark.root

HELLO = """FROM base
ENV GREETING=hello
RUN echo "$GREETING from a layer" > /greeting
CMD ["cat", "/greeting"]
"""


def statuses(builder: Builder) -> list[tuple[int, bool, str]]:
    return [(e.index, e.cached, e.reason) for e in builder.events if isinstance(e, StepDone)]


def test_the_first_example(builder: Builder) -> None:
    result = builder(HELLO, tag="hello")
    config = result.image.config
    assert builder.read(result, "/greeting") == "hello from a layer\n"
    assert config.config.cmd == ("cat", "/greeting")
    assert config.config.env == ("PATH=/usr/bin:/bin", "LANG=C", "GREETING=hello")
    assert [(h.created_by, h.empty_layer) for h in config.history] == [
        ("base", False),
        ("ENV GREETING=hello", True),
        ('RUN /bin/sh -c echo "$GREETING from a layer" > /greeting', False),
        ('CMD ["cat" "/greeting"]', True),
    ]
    assert len(config.rootfs.diff_ids) == 2
    assert result.image.tags == ("hello:latest",)
    assert set(builder.tree(result)) == {"greeting"}
    assert builder.store.snapshots.list() == []
    first, last = builder.events[0], builder.events[-1]
    assert isinstance(first, PlanReady)
    assert [(s.index, s.line) for s in first.steps] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert isinstance(last, ImageDone)


def test_built_again_it_is_the_same_image_and_nothing_runs(builder: Builder) -> None:
    first = builder(HELLO, tag="one")
    second = builder(HELLO, tag="two")
    assert second.image.id == first.image.id
    assert second.image.tags == ("one:latest", "two:latest")
    assert len(builder.executor.requests) == 1
    assert statuses(builder) == [(1, True, "base image"), (2, True, "changes no file"), (3, True, "cached"), (4, True, "changes no file")]


def test_no_cache(builder: Builder) -> None:
    builder(HELLO)
    builder(HELLO, no_cache=True)
    assert len(builder.executor.requests) == 2
    assert statuses(builder)[2] == (3, False, "--no-cache")


def test_output_is_told_as_it_comes(builder: Builder) -> None:
    builder("FROM base\nRUN echo out; echo err >&2\n")
    output = {(e.stream, e.data) for e in builder.events if isinstance(e, StepOutput)}
    assert output == {("stdout", b"out\n"), ("stderr", b"err\n")}


def test_a_failing_run_leaves_nothing_but_the_steps_before_it(builder: Builder) -> None:
    text = "FROM base\nRUN echo 1 > /one\n\nRUN echo working; echo oh no >&2; exit 2\n"
    with pytest.raises(BuildError) as info:
        builder(text, tag="broken")
    err = info.value
    assert err.message == "RUN echo working; echo oh no >&2; exit 2 (line 4) ended with exit code 2"
    assert (err.line, err.exit_status) == (4, 2)
    assert set(err.output.splitlines()) == {"working", "oh no"}
    assert not builder.tag_exists("broken")
    assert builder.store.snapshots.list() == []
    assert isinstance(builder.events[-1], StepFailed)
    builder(text.replace("exit 2", "exit 0"))
    assert statuses(builder)[1] == (2, True, "cached")


def test_interrupt_leaves_nothing(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(builder.executor, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        builder(HELLO, tag="stopped")
    assert builder.store.snapshots.list() == []
    assert not builder.tag_exists("stopped")


def test_a_command_that_cannot_be_started(builder: Builder) -> None:
    with pytest.raises(BuildError) as info:
        builder('FROM base\nRUN ["/none"]\n')
    assert "could not be started" in info.value.message
    assert info.value.exit_status == 127


def test_missing_base(builder: Builder) -> None:
    with pytest.raises(ImageNotFound):
        builder("FROM bse\nRUN true\n")


def test_a_missing_image_is_told_where_it_is_named(builder: Builder) -> None:
    for line, near in (("COPY --from=biuld /x /", True), ("RUN --mount=from=other,target=/x true", False)):
        with pytest.raises(DockerfileError) as caught:
            builder(f"FROM base AS build\nRUN true\nFROM base\n{line}\n")
        err = caught.value
        assert (err.line, err.source) == (4, line)
        assert err.source[err.column - 1 :].startswith(line.split()[1])
        assert ("did you mean the stage build?" in err.one_line()) == near


def test_reasons(builder: Builder) -> None:
    (builder.context / "app.py").write_text("1")
    text = "FROM base\nARG VERSION=1\nCOPY app.py /app/\nRUN echo $VERSION > /version\nRUN echo last > /last\n"
    builder(text)
    assert [r for _, _, r in statuses(builder)[2:]] == ["never built with these inputs"] * 3
    (builder.context / "app.py").write_text("2")
    builder(text)
    assert [r for _, _, r in statuses(builder)[2:]] == [
        f"file app.py changed ({sha256(b'1').hexdigest()[:6]}… → {sha256(b'2').hexdigest()[:6]}…)",
        "the parent changed at line 3",
        "the parent changed at line 4",
    ]
    builder(text, build_args={"VERSION": "2"})
    assert [r for _, _, r in statuses(builder)[2:]] == [
        "cached",
        "ARG VERSION changed",
        "the parent changed at line 4 and ARG VERSION changed",
    ]
    builder(text, build_args={"VERSION": "1"})
    assert [c for _, c, _ in statuses(builder)] == [True] * 5


def test_an_unchanged_run_makes_no_layer(builder: Builder) -> None:
    result = builder("FROM base\nRUN true\n")
    assert len(result.image.config.rootfs.diff_ids) == 1
    assert result.image.config.history[-1].empty_layer
    again = builder("FROM base\nRUN true\n")
    assert again.image.id == result.image.id
    assert len(builder.executor.requests) == 1


def test_stages(builder: Builder) -> None:
    text = (
        "FROM base AS tools\nRUN mkdir /out; echo tool > /out/tool; ln -s tool /out/link\n"
        "FROM base AS unneeded\nRUN exit 1\n"
        "FROM scratch\nCOPY --from=tools /out/ /bin/\nCOPY --from=0 /out/link /plain\n"
    )
    result = builder(text)
    assert builder.read(result, "/bin/tool") == "tool\n"
    assert builder.read(result, "/bin/link") == "tool\n"
    assert {n for n, m in builder.tree(result).items() if m.isfile()} == {"plain"}
    assert result.image.config.config.env == ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    target = builder(text, target="tools", tag="tools")
    assert builder.read(target, "/out/tool") == "tool\n"
    with pytest.raises(BuildError):
        builder(text, target="unneeded")


def test_a_stage_on_a_stage(builder: Builder) -> None:
    result = builder("FROM base AS a\nARG X=1\nENV Y=2\nWORKDIR /w\nFROM a\nRUN echo $X $Y > here\n")
    assert builder.read(result, "/w/here") == "1 2\n"
    assert [h.created_by for h in result.image.config.history] == [
        "base",
        "ARG X=1",
        "ENV Y=2",
        "WORKDIR /w",
        "RUN |1 X=1 /bin/sh -c echo $X $Y > here",
    ]


def test_workdir_is_a_layer_only_when_it_is_new(builder: Builder) -> None:
    result = builder("FROM base\nWORKDIR /new/deep\nWORKDIR ../other\nWORKDIR /tmp\n")
    config = result.image.config
    assert config.config.working_dir == "/tmp"
    assert [h.empty_layer for h in config.history] == [False, False, False, True]
    assert [h.created_by for h in config.history[1:]] == ["WORKDIR /new/deep", "WORKDIR /new/other", "WORKDIR /tmp"]


def test_missing_sources_fail_before_anything_runs(builder: Builder) -> None:
    (builder.context / "app.py.txt").write_text("")
    with pytest.raises(DockerfileError) as info:
        builder("FROM base\nRUN echo 1 > /x\nCOPY app.py /\n")
    err = info.value
    assert err.message == f"no such file app.py in the build context {builder.context}"
    assert err.hint == "did you mean app.py.txt?"
    assert (err.line, err.column, err.length) == (3, 6, 6)
    assert builder.executor.requests == []


def test_source_date_epoch_gives_the_same_digest_in_two_stores(builder: Builder) -> None:
    first = builder(HELLO, build_args={"SOURCE_DATE_EPOCH": "1000000000"}, no_cache=True)
    second = builder(HELLO, build_args={"SOURCE_DATE_EPOCH": "1000000000"}, no_cache=True)
    assert first.image.id == second.image.id
    assert first.image.config.created == "2001-09-09T01:46:40Z"


def test_bld10_a_file_changed_while_it_is_copied_is_not_cached(builder: Builder) -> None:
    (builder.context / "f").write_text("old")
    text = "FROM base\nCOPY f /f\n"

    class Changing(list[Event]):
        def append(self, event: Event) -> None:
            if isinstance(event, StepStarted) and event.index == 2:
                (builder.context / "f").write_text("new!")
            super().append(event)

    builder.run(text, Changing())
    assert any(isinstance(e, Warned) and "while it was copied" in e.message for e in builder.events)
    (builder.context / "f").write_text("old")
    assert builder.read(builder(text), "/f") == "old"


def test_bld10_another_base_is_another_key(builder: Builder) -> None:
    first = builder("FROM base\nRUN echo 1 > /one\n", tag="other")
    second = builder("FROM other\nRUN echo 1 > /one\n")
    assert len(builder.executor.requests) == 2
    assert first.image.id != second.image.id


def test_two_tags_share_layers(builder: Builder) -> None:
    one = builder("FROM base\nRUN echo 1 > /one\nENV A=1\n", tag="one")
    two = builder("FROM base\nRUN echo 1 > /one\nENV A=2\n", tag="two")
    assert one.image.id != two.image.id
    assert one.image.config.rootfs == two.image.config.rootfs


def test_a_moved_tag(builder: Builder) -> None:
    first = builder("FROM base\nENV A=1\n", tag="t")
    second = builder("FROM base\nENV A=2\n", tag="t")
    assert builder.store.images.get(first.image.id).tags == ()
    assert builder.store.images.resolve("t").id == second.image.id


def test_a_layer_that_is_gone_is_made_again(builder: Builder) -> None:
    result = builder(HELLO)
    layer = result.image.config.rootfs.diff_ids[-1]
    builder.store.images.remove(result.image.id)
    builder.store.layers.remove(layer)
    again = builder(HELLO)
    assert statuses(builder)[2] == (3, False, "its layer is no longer in the store")
    assert builder.read(again, "/greeting") == "hello from a layer\n"


def test_a_base_that_says_no_path_gets_one(builder: Builder) -> None:
    bare = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("LANG=C",)))
    layers = [builder.store.layers.get(diff_id) for diff_id in builder.store.images.resolve("base").diff_ids]
    builder.store.images.put(bare, layers, tags=[Reference.parse("bare")])
    result = builder("FROM bare\nRUN echo $PATH > /path\n")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert result.image.config.config.env == (f"PATH={path}", "LANG=C")
    assert builder.read(result, "/path") == f"{path}\n"

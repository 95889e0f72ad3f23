"""Each instruction in a real build: what it does to files and to the config, and what it refuses."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from notebook_containers.build.progress import Warned
from notebook_containers.errors import BuildError, DockerfileError, InvalidArgument
from notebook_containers.oci.image import ContainerConfig, ImageConfig
from notebook_containers.oci.reference import Reference

from .conftest import Builder

pytestmark = pytest.mark.root


def fill(context: Path) -> None:
    (context / "src/deep").mkdir(parents=True)
    (context / "app.py").write_text("app")
    (context / "src/a.txt").write_text("a")
    (context / "src/deep/b.txt").write_text("b")
    (context / "src/link").symlink_to("a.txt")


# COPY


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY app.py /new", {"new"}),
        ("COPY app.py /new/", {"new", "new/app.py"}),
        ("COPY app.py /tmp", {"tmp", "tmp/app.py"}),
        ("COPY app.py .", {"app.py"}),
        ("COPY app.py ./sub/../x.py", {"x.py"}),
        ("COPY src /data", {"data", "data/a.txt", "data/deep", "data/deep/b.txt", "data/link"}),
        ("COPY src/ app.py /data/", {"data", "data/a.txt", "data/deep", "data/deep/b.txt", "data/link", "data/app.py"}),
        ("COPY src/*.txt /data/", {"data", "data/a.txt"}),
        ('COPY ["app.py", "/with space/"]', {"with space", "with space/app.py"}),
        ("COPY app.py /bin/x", {"usr", "usr/bin", "usr/bin/x"}),
    ],
)
def test_copy_destinations(builder: Builder, line: str, expected: set[str]) -> None:
    fill(builder.context)
    result = builder(f"FROM base\n{line}\n")
    found = builder.tree(result)
    assert set(found) - {"usr", "tmp", "usr/bin"} == expected - {"usr", "tmp", "usr/bin"}
    assert {(m.uid, m.gid) for m in found.values()} == {(0, 0)}


def test_copy_owner_and_mode(builder: Builder) -> None:
    fill(builder.context)
    os.chown(builder.context / "app.py", 1234, 1234)
    result = builder("FROM base\nCOPY --chown=www:staff --chmod=640 app.py /a/\n")
    entry = builder.tree(result)["a/app.py"]
    assert (entry.uid, entry.gid, entry.mode) == (33, 50, 0o640)
    by_name = builder.tree(builder("FROM base\nCOPY --chown=www app.py /a\n"))["a"]
    assert (by_name.uid, by_name.gid) == (33, 34)
    by_number = builder.tree(builder("FROM base\nCOPY --chown=7 app.py /a\n"))["a"]
    assert (by_number.uid, by_number.gid) == (7, 7)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("COPY ../x /", "outside the build context"),
        ("COPY app.py src/a.txt /file", "need a directory"),
        ("COPY s* a* /file", "need a directory"),
        ("COPY --chown=nobody app.py /", "no user 'nobody'"),
        ("COPY --chown=www:x app.py /", "no group 'x'"),
        ("COPY --chmod=u+q app.py /", "no mode"),
        ("COPY --from=0 x /", "no stage 0"),
        ("COPY --from=base /none /", "no such file /none"),
        ("COPY --from=$X x /", "variables are not replaced"),
        ("COPY $NONE /", "empty"),
        ("COPY app[.py /", "no ] closes"),
    ],
)
def test_copy_refusals(builder: Builder, line: str, words: str) -> None:
    fill(builder.context)
    with pytest.raises(DockerfileError, match=words.replace("[", "\\[")) as info:
        builder(f"FROM base\n{line}\n")
    assert info.value.line == 2
    assert builder.store.snapshots.list() == []


def test_copy_leaves_out_what_is_ignored(builder: Builder) -> None:
    fill(builder.context)
    (builder.context / ".dockerignore").write_text("**/*.txt\n!src/deep\n.dockerignore\n")
    result = builder("FROM base\nCOPY . /data/\n")
    assert {n for n, m in builder.tree(result).items() if m.isfile()} == {"data/app.py", "data/src/deep/b.txt"}
    with pytest.raises(DockerfileError) as info:
        builder("FROM base\nCOPY src/a.txt /\n")
    assert info.value.message == "src/a.txt is left out of the build context by .dockerignore"
    assert info.value.hint == "line 1 says '**/*.txt'"


def test_copy_follows_links_in_the_image_inside_it_only(builder: Builder) -> None:
    fill(builder.context)
    canary = builder.context.parent / "canary"
    canary.mkdir()
    result = builder(f"FROM base\nRUN ln -s {canary} /link; ln -s /etc /inside\nCOPY app.py /link/\nCOPY app.py /inside/\n")
    assert list(canary.iterdir()) == []
    assert builder.read(result, "/etc/app.py") == "app"
    assert builder.read(result, f"{canary}/app.py") == "app"


def test_bld02_copy_from_a_stage_stays_in_the_stage(builder: Builder) -> None:
    secret = builder.context.parent / "secret"
    secret.write_text("host")
    run = f"RUN ln -s {secret} /s; mkdir -p {secret.parent}; echo stage > {secret}"
    text = f"FROM base AS a\n{run}\nFROM scratch\nCOPY --from=a /s /copied\n"
    assert builder.read(builder(text), "/copied") == "stage\n"


def test_copy_from_keeps_owners(builder: Builder) -> None:
    text = "FROM base AS a\nRUN echo 1 > /f; chown 33:34 /f\nFROM base\nCOPY --from=a /f /g\nCOPY --from=a --chown=5:6 /f /h\n"
    result = builder(text)
    assert (builder.tree(result)["h"].uid, builder.tree(result)["h"].gid) == (5, 6)
    assert "33 34" in _run(builder, "stat -c '%u %g' /g", text)


def _run(builder: Builder, command: str, text: str) -> str:
    result = builder(f"{text}RUN {command} > /told\n")
    return builder.read(result, "/told") or ""


def test_copy_heredocs(builder: Builder) -> None:
    text = (
        "FROM base\nARG A=1\nCOPY <<one <<'two' /d/\nvalue $A\none\nvalue $A\ntwo\n"
        "COPY --chmod=700 <<EOF /bin/tool\n#!/bin/sh\necho tool\nEOF\nRUN tool > /said\n"
    )
    result = builder(text)
    assert builder.read(result, "/d/one") == "value 1\n"
    assert builder.read(result, "/d/two") == "value $A\n"
    assert builder.read(result, "/said") == "tool\n"


def test_copied_links_that_were_named_are_followed(builder: Builder) -> None:
    fill(builder.context)
    result = builder("FROM base\nCOPY src/link /d/\n")
    assert builder.tree(result)["d/link"].isfile()


# ADD


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_archives_whatever_their_name(builder: Builder, mode: str) -> None:
    with tarfile.open(builder.context / "data.bin", mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("inner/file")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"ok"))
    result = builder("FROM base\nADD data.bin /d/\n")
    assert builder.read(result, "/d/inner/file") == "ok"
    copied = builder("FROM base\nCOPY data.bin /d/\n")
    assert set(builder.tree(copied)) == {"d", "d/data.bin"}


def test_add_copies_what_is_no_archive(builder: Builder) -> None:
    (builder.context / "x.gz").write_bytes(b"\x1f\x8bnot really")
    (builder.context / "plain").write_text("plain")
    result = builder("FROM base\nADD x.gz plain /d/\n")
    assert set(builder.tree(result)) == {"d", "d/x.gz", "d/plain"}


def test_bld05_add_of_an_archive_that_climbs_out_is_refused(builder: Builder) -> None:
    with tarfile.open(builder.context / "evil.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../evil"))
    with pytest.raises(DockerfileError, match="outside"):
        builder("FROM base\nADD evil.tar /d/\n")
    assert builder.store.snapshots.list() == []


# RUN


def test_run_forms(builder: Builder) -> None:
    result = builder('FROM base\nRUN ["sh", "-c", "echo $0 exec > /a", "x y"]\nRUN echo one \\\n  # remark\n  two > /b\n')
    assert builder.read(result, "/a") == "x y exec\n"
    assert builder.read(result, "/b") == "one two\n"


def test_run_with_another_shell(builder: Builder) -> None:
    with pytest.raises(BuildError):
        builder('FROM base\nSHELL ["/bin/sh", "-ec"]\nRUN false; echo on\n')
    result = builder('FROM base\nSHELL ["/bin/sh", "-ec"]\nRUN echo x\nCMD echo hi\n')
    assert result.image.config.config.cmd == ("/bin/sh", "-ec", "echo hi")
    assert result.image.config.config.shell == ("/bin/sh", "-ec")


def test_run_heredocs(builder: Builder) -> None:
    text = (
        "FROM base\nENV A=env\nRUN <<EOF\necho $A one > /one\necho two >> /one\nEOF\n"
        "RUN cat <<X > /two && cat <<'Y' >> /two\nx $A\nX\ny $A\nY\n"
        "RUN <<EOF\n#!/bin/cat\nscript $A\nEOF\n"
    )
    result = builder(text)
    assert builder.read(result, "/one") == "env one\ntwo\n"
    assert builder.read(result, "/two") == "x env\ny $A\n"
    assert "/dev/pipes/EOF" in result.image.config.history[-1].created_by
    assert builder.executor.requests[-1].args == ("/dev/pipes/EOF",)
    assert result.image.config.history[-1].empty_layer


def test_run_sees_user_workdir_and_environment(builder: Builder) -> None:
    text = "FROM base\nARG BUILD=b\nENV E=e\nWORKDIR /tmp/w\nRUN chmod 777 .\nUSER 33\nRUN id -u > who; echo $BUILD $E $PWD >> who\n"
    assert builder.read(builder(text), "/tmp/w/who") == "33\nb e /tmp/w\n"


def test_bld09_proxies_are_neither_in_history_nor_in_the_key(builder: Builder) -> None:
    text = "FROM base\nRUN echo $HTTP_PROXY > /proxy\n"
    first = builder(text, build_args={"HTTP_PROXY": "http://user:secret@one"})
    assert builder.read(first, "/proxy") == "http://user:secret@one\n"
    assert "secret" not in str(first.image.config.history)
    again = builder(text, build_args={"HTTP_PROXY": "http://two"})
    assert again.image.id == first.image.id


# config


def test_config_instructions(builder: Builder) -> None:
    text = (
        "FROM base\nENV A=1 B=$LANG\nENV A=2 C=$A\nENV OLD  two words\nLABEL a=b \"c d\"='e f'\nEXPOSE 80 443/udp 8000-8001\n"
        'VOLUME /v ["x"]\nUSER www:staff\nSTOPSIGNAL sigint\nENTRYPOINT ["/bin/sh"]\nMAINTAINER A Person\n'
        "HEALTHCHECK --interval=1m30s --retries=2 CMD true\nONBUILD RUN echo triggered\n"
    )
    image = builder(text.replace('VOLUME /v ["x"]', "VOLUME /v /w")).image.config
    config = image.config
    assert config.env == ("PATH=/usr/bin:/bin", "LANG=C", "A=2", "B=C", "C=1", "OLD=two words")
    assert config.labels == {"a": "b", "c d": "e f"}
    assert set(config.exposed_ports) == {"80/tcp", "443/udp", "8000/tcp", "8001/tcp"}
    assert set(config.volumes) == {"/v", "/w"}
    assert (config.user, config.stop_signal, config.entrypoint, config.cmd) == ("www:staff", "sigint", ("/bin/sh",), None)
    assert image.author == "A Person"
    assert config.healthcheck is not None
    assert (config.healthcheck.test, config.healthcheck.interval, config.healthcheck.retries) == (("CMD-SHELL", "true"), 90 * 10**9, 2)
    assert config.on_build == ("RUN echo triggered",)
    assert len(image.rootfs.diff_ids) == 1


def test_entrypoint_forgets_the_bases_cmd_only(builder: Builder) -> None:
    assert builder('FROM base\nENTRYPOINT ["a"]\n').image.config.config.cmd is None
    assert builder('FROM base\nCMD ["c"]\nENTRYPOINT ["a"]\n').image.config.config.cmd == ("c",)


def test_on_build_triggers_run_in_the_next_build(builder: Builder) -> None:
    builder("FROM base\nONBUILD ENV T=1\nONBUILD RUN echo $T > /triggered\n", tag="parent")
    result = builder("FROM parent\nRUN echo own > /own\n")
    assert builder.read(result, "/triggered") == "1\n"
    assert result.image.config.config.on_build == ()
    assert [r.instruction for r in result.steps] == [
        "FROM parent",
        "ONBUILD ENV T=1",
        "ONBUILD RUN echo $T > /triggered",
        "RUN echo own > /own",
    ]


def test_arguments(builder: Builder) -> None:
    text = "ARG IMAGE=none\nARG V=outer\nFROM $IMAGE\nARG V\nARG TARGETARCH\nARG D=${V}-d\nRUN echo $V $D $TARGETARCH $IMAGE. > /args\n"
    result = builder(text, build_args={"IMAGE": "base", "UNUSED": "1"})
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert builder.read(result, "/args") == f"outer outer-d {arch} .\n"
    assert [e.message for e in builder.events if isinstance(e, Warned)] == ["no ARG UNUSED takes the build argument"]
    changed = builder(text, build_args={"IMAGE": "base", "V": "given"})
    assert builder.read(changed, "/args") == f"given given-d {arch} .\n"


def test_warnings_about_secrets_and_unset_variables(builder: Builder) -> None:
    builder("FROM base\nARG API_TOKEN\nENV PUBLIC_KEY=1\nENV X=$NOPE\n")
    assert [(e.line, e.message.split(":")[0]) for e in builder.events if isinstance(e, Warned)] == [
        (2, "ARG API_TOKEN looks like a secret"),
        (4, "the variable $NOPE is not set"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("RUN true\n", 1, "before the first FROM"),
        ("ARG X\nFROM $X\n", 2, "empty"),
        ("FROM BASE\n", 1, "lower case"),
        ("FROM --platform=linux/s390x base\n", 1, "cannot be built"),
        ("FROM base\nEXPOSE 99999\n", 2, "no port"),
        ("FROM base\nEXPOSE 80:web\n", 2, "no port"),
        ("FROM base\nSTOPSIGNAL SIGNONE\n", 2, "no signal"),
        ("FROM base\nENV A=${B:?needed}\n", 2, "B: needed"),
        ("FROM base\nENV A='x\n", 2, "not closed"),
        ("FROM base\nUSER $NOBODY\n", 2, "empty"),
    ],
)
def test_refusals(builder: Builder, text: str, line: int, words: str) -> None:
    with pytest.raises(DockerfileError, match=words) as info:
        builder(text)
    assert info.value.line == line


def test_a_base_that_says_no_path_gets_one(builder: Builder) -> None:
    bare = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("LANG=C",)))
    layers = [builder.store.layers.get(diff_id) for diff_id in builder.store.images.resolve("base").diff_ids]
    builder.store.images.put(bare, layers, tags=[Reference.parse("bare")])
    result = builder("FROM bare\nRUN echo $PATH > /path\n")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert result.image.config.config.env == (f"PATH={path}", "LANG=C")
    assert builder.read(result, "/path") == f"{path}\n"


def test_unknown_target(builder: Builder) -> None:
    with pytest.raises(InvalidArgument) as info:
        builder("FROM base AS builder\n", target="bilder")
    assert info.value.hint == "did you mean builder?"


def test_scratch(builder: Builder) -> None:
    fill(builder.context)
    result = builder("FROM scratch\nCOPY src /\n")
    assert builder.read(result, "/a.txt") == "a"
    assert result.image.config.config.working_dir == "/"
    empty = builder("FROM scratch\nLABEL a=b\n")
    assert empty.image.config.rootfs.diff_ids == ()
    assert builder("FROM scratch\nLABEL a=b\n").image.id == empty.image.id

"""``nbc build``: what it writes besides the image (``-o``), what RUN gets (limits, hosts), which stages run again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.build.progress import Event, StepOutput
from notebook_containers.engine import outputs
from notebook_containers.errors import InvalidArgument
from notebook_containers.store.compression import compression_of
from tests.home import BASE, new_home
from tests.people import person

TEXT = f"""FROM {BASE} AS made
RUN mkdir -p /out/deep && echo hi > /out/file && ln -s file /out/link && chmod 4755 /out/file && chown 5:6 /out/deep && mkfifo /out/pipe
FROM scratch
COPY --from=made /out /
"""


def build_and_deliver(engine: Engine, top: Path, word: str, *, stdout: io.BytesIO | None = None) -> None:
    image = engine.images.build(top, text=TEXT, tag="t", network="none").image
    engine.images.deliver(image, ["t"], outputs.parse(word), directory=top, stdout=stdout or io.BytesIO())


@pytest.mark.root
def test_a_directory(own: Engine, tmp_path: Path) -> None:
    build_and_deliver(own, tmp_path, "out")
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["deep", "file", "link", "pipe"]
    assert (out / "file").read_text() == "hi\n"
    assert (out / "file").stat().st_mode & 0o7777 == 0o4755
    assert os.readlink(out / "link") == "file"
    assert ((out / "deep").stat().st_uid, (out / "deep").stat().st_gid) == (5, 6)


@pytest.mark.root
def test_a_tar_in_a_file_and_on_standard_output(own: Engine, tmp_path: Path) -> None:
    build_and_deliver(own, tmp_path, "type=tar,dest=all.tar")
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert {m.name for m in tar.getmembers()} == {"deep", "file", "link", "pipe"}
    stdout = io.BytesIO()
    build_and_deliver(own, tmp_path, "-", stdout=stdout)
    assert stdout.getvalue() == (tmp_path / "all.tar").read_bytes()


@pytest.mark.root
@pytest.mark.parametrize("word", ["type=oci,dest=a.tar", "type=docker,dest=a.tar"])
def test_an_archive_that_load_reads(own: Engine, tmp_path: Path, word: str) -> None:
    build_and_deliver(own, tmp_path, word)
    built = own.images.get("t").id
    own.images.remove("t")
    assert [image.id for image in own.images.load((tmp_path / "a.tar").read_bytes())] == [built]


@pytest.mark.root
@pytest.mark.parametrize(("word", "kind"), [("compression=gzip", "gzip"), ("compression=zstd,compression-level=19", "zstd")])
def test_an_archive_of_compressed_layers(own: Engine, tmp_path: Path, word: str, kind: str) -> None:
    build_and_deliver(own, tmp_path, f"type=oci,dest=a.tar,{word}")
    built, data = own.images.get("t").id, (tmp_path / "a.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}
    (entry,) = json.loads(files["index.json"])["manifests"]
    layers = json.loads(files["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])["layers"]
    assert {layer["mediaType"].rpartition("+")[2] for layer in layers} == {kind}
    assert all(compression_of(files["blobs/sha256/" + layer["digest"].removeprefix("sha256:")][:4]) == kind for layer in layers)
    own.images.remove("t")
    assert [image.id for image in own.images.load(data)] == [built]


@pytest.mark.root
def test_a_level_makes_it_smaller_or_larger(own: Engine, tmp_path: Path) -> None:
    for level in (0, 9):
        build_and_deliver(own, tmp_path, f"type=docker,dest={level}.tar,compression-level={level}")
    assert (tmp_path / "0.tar").stat().st_size > (tmp_path / "9.tar").stat().st_size


@pytest.mark.root
def test_an_oci_directory_and_a_further_name(own: Engine, tmp_path: Path) -> None:
    build_and_deliver(own, tmp_path, "type=oci,dest=layout,tar=false")
    assert json.loads((tmp_path / "layout" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    build_and_deliver(own, tmp_path, "type=image,name=other:2")
    assert own.images.get("other:2").id == own.images.get("t").id


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("type=tarr,dest=x", "did you mean tar"),
        ("dest=x", "use local"),
        ("type=tar", "needs dest"),
        ("type=local,dest=", "needs dest"),
        ("type=tar,dest=x,push=true", "has no 'push'"),
        ("type=registry,name=x,compression=bz", "use gzip"),
        ("type=oci,dest=x,compression-level=10", "gzip has 0 to 9"),
        ("type=image,compression=zstd,compression-level=0", "zstd has 1 to 22"),
        ("type=registry,compression=uncompressed,compression-level=1", "nothing is compressed"),
        ("type=oci,dest=x,rewrite-timestamps=true", "has no 'rewrite-timestamps'"),
        ("", "needs dest"),
    ],
)
def test_wrong_outputs(word: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        outputs.parse(word)
    assert says in caught.value.one_line()


@pytest.mark.root
def test_what_run_gets(own: Engine, tmp_path: Path) -> None:
    said: list[bytes] = []

    def take(event: Event) -> None:
        if isinstance(event, StepOutput):
            said.append(event.data)

    memory_limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    text = f"FROM {BASE}\nRUN ulimit -n; stat -f -c '%b %s' /dev/shm; grep -c 10.9.8.7.*db /etc/hosts; {memory_limit}\n"
    own.images.build(
        tmp_path, text=text, tag="t", network="none", extra_hosts={"db": ["10.9.8.7", "10.9.8.7"]}, ulimits=["nofile=77:77"], shmsize="1m",
        mem_limit="64m", progress=take,
    )  # fmt: skip
    limit, blocks, size, hosts, memory = b"".join(said).split()
    assert (limit, int(blocks) * int(size), hosts, memory) == (b"77", 1 << 20, b"2", b"67108864")


@pytest.mark.root
def test_some_stages_run_again(own: Engine, tmp_path: Path) -> None:
    text = f"FROM {BASE} AS a\nRUN echo a > /a\nFROM {BASE} AS b\nRUN echo b > /b\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    own.images.build(tmp_path, text=text, tag="t", network="none")
    again = own.images.build(tmp_path, text=text, tag="t", network="none", nocache_filter=["b"])
    assert [s.status for s in again.steps if s.instruction.startswith("RUN")] == ["cached", "built"]
    with pytest.raises(InvalidArgument, match="no stage 'c'"):
        own.images.build(tmp_path, text=text, tag="t", network="none", nocache_filter=["c"])


@pytest.mark.user
def test_outputs_as_an_ordinary_user() -> None:
    with person(lent=False) as who:
        top = who.home / "context"
        top.mkdir()
        (top / "Dockerfile").write_text(TEXT)
        os.chown(top, who.uid, who.gid)
        done = who.run(
            "/usr/bin/python3", "-m", "notebook_containers", "build", "-q", "--network", "none", "-t", "t", "-o", f"{top}/out",
            "--metadata-file", top / "meta.json", top,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (top / "out" / "file").read_text() == "hi\n"
        assert (top / "out" / "deep").stat().st_uid == who.uid
        assert json.loads((top / "meta.json").read_text())["containerimage.config.digest"] == done.stdout.strip()
        tar = subprocess.run(
            ["/usr/bin/python3", "-m", "notebook_containers", "build", "-q", "--network", "none", "-o", "-", str(top)],
            user=who.uid, group=who.gid, extra_groups=[], env=who.environment, capture_output=True, check=True, cwd="/",
        ).stdout  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            assert "file" in opened.getnames()


@pytest.mark.root
@pytest.mark.parametrize("kind", ["oci", "docker", "tar"])
def test_the_same_input_gives_the_same_bytes_in_two_stores(tmp_path: Path, kind: str) -> None:
    made = []
    for number in (1, 2):
        context = tmp_path / str(number)
        (context / "deep").mkdir(parents=True)
        (context / "deep/file").write_text("content")
        os.utime(context / "deep/file", (number * 10**9, number * 10**9))
        text = f"FROM {BASE}\nCOPY deep /deep\nRUN date > /dev/null; echo made > /deep/made; mkdir /new\nWORKDIR /other\nLABEL a=b\n"
        with new_home() as home, home.open() as engine:
            image = engine.images.build(context, text=text, tag="t", network="none", buildargs={"SOURCE_DATE_EPOCH": "1000000000"}).image
            output = outputs.parse(f"type={kind},dest=out.tar,rewrite-timestamp=true")
            engine.images.deliver(image, ["t"], output, directory=context, stdout=io.BytesIO(), epoch=10**9)
        made.append((context / "out.tar").read_bytes())
    assert made[0] == made[1]
    if kind == "tar":
        with tarfile.open(tmp_path / "1/out.tar") as tar:
            assert {member.mtime for member in tar if member.mtime > 10**9} == set()


def test_times_cannot_be_rewritten_to_nothing() -> None:
    with pytest.raises(InvalidArgument, match="needs a time"):
        outputs.check(outputs.parse("type=oci,dest=x,rewrite-timestamp=true"), None)

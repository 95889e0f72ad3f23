"""``RUN --mount``, ``--network``, ``--security`` and ``--device`` in real builds, as root and as ordinary users (BLD-07, BLD-08)."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.image import BuildResult
from notebook_containers.errors import BuildError, DockerfileError
from tests.home import BASE, Home
from tests.people import person

CANARY = "canary-3f1c9a77e2"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with files, one of which .dockerignore leaves out, and links out of it."""
    top = tmp_path / "context"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_text("data\n")
    (top / "sub" / "inner").write_text("inner\n")
    (top / "left-out.log").write_text("never\n")
    (top / ".dockerignore").write_text("*.log\n")
    (top / "out").symlink_to("/etc")
    return top


class Output:
    """Builds and remembers what RUN printed."""

    def __init__(self, engine: Engine, context: Path) -> None:
        self.engine, self.context = engine, context
        self.text = ""

    def __call__(
        self, text: str, *, secrets: dict[str, bytes] | None = None, ssh: dict[str, str] | None = None, tag: str = "t"
    ) -> BuildResult:
        from notebook_containers.build.progress import Event, StepOutput

        pieces: list[bytes] = []

        def take(event: Event) -> None:
            if isinstance(event, StepOutput):
                pieces.append(event.data)

        try:
            return self.engine.images.build(self.context, text=text, tag=tag, network="none", secrets=secrets, ssh=ssh, progress=take)
        finally:
            self.text = b"".join(pieces).decode()


@pytest.fixture
def build(own: Engine, context: Path) -> Output:
    return Output(own, context)


def paths(engine: Engine, *, layers_of: str = "t") -> set[str]:
    """All paths in the layers that the image adds to the base."""
    image, base = engine.images.get(layers_of), engine.images.get(BASE)
    trees = [engine.root / "layers" / str(layer).partition(":")[2] / "diff" for layer in image.layers[len(base.layers) :]]
    found = ((tree, top, name) for tree in trees for top, dirs, names in os.walk(tree) for name in (*dirs, *names))
    return {os.path.relpath(os.path.join(top, name), tree) for tree, top, name in found}


@pytest.mark.root
def test_the_context_is_seen_without_what_dockerignore_leaves_out(build: Output) -> None:
    build(f"FROM {BASE}\nRUN --mount=target=/ctx cd /ctx && ls -A . sub && cat file sub/inner && ! touch file new\n")
    assert build.text.split()[:5] == [".:", ".dockerignore", "file", "out", "sub"]
    assert "left-out" not in build.text
    assert "Read-only" in build.text
    assert paths(build.engine) == set()


@pytest.mark.root
def test_what_is_written_to_a_bind_is_thrown_away(build: Output, context: Path) -> None:
    build(f"FROM {BASE}\nRUN --mount=target=/ctx,rw echo new > /ctx/file && rm /ctx/sub/inner && cat /ctx/file\n")
    assert build.text == "new\n"
    assert (context / "file").read_text() == "data\n"
    assert (context / "sub" / "inner").exists()
    assert paths(build.engine) == set()
    build(f"FROM {BASE}\nRUN --mount=target=/ctx cat /ctx/file /ctx/sub/inner\n")
    assert build.text == "data\ninner\n"


@pytest.mark.root
def test_one_file_of_the_context_and_its_change(build: Output, context: Path) -> None:
    text = f"FROM {BASE}\nRUN --mount=source=file,target=/one cat /one > /copy\n"
    first = build(text)
    again = build(text)
    (context / "sub" / "inner").write_text("not mounted")
    other = build(text)
    (context / "file").write_text("changed\n")
    last = build(text)
    steps = [result.steps[-1] for result in (first, again, other, last)]
    assert [s.status for s in steps] == ["built", "cached", "cached", "built"]
    assert "file file changed" in steps[-1].reason
    assert "copy" in paths(build.engine)


@pytest.mark.root
def test_another_stage_and_an_image_are_seen(build: Output) -> None:
    build(
        f"FROM {BASE} AS made\nRUN mkdir /out && echo artifact > /out/a && ln -s /out /link\nFROM {BASE}\n"
        "RUN --mount=from=made,source=/out,target=/from cat /from/a\n"
        "RUN --mount=from=made,source=/link/a,target=/file cat /file\n"
        f"RUN --mount=from={BASE},target=/base,rw ls /base/etc/passwd && touch /base/x\n"
    )
    assert build.text.split() == ["artifact", "artifact", "/base/etc/passwd"]
    assert paths(build.engine) == set()


@pytest.mark.root
@pytest.mark.parametrize("source", ["../..", "/../../etc", "out/passwd", "left-out.log", "nothing"])
def test_bld07_no_source_leads_out_of_the_context(build: Output, source: str) -> None:
    with pytest.raises((DockerfileError, BuildError)) as caught:
        build(f"FROM {BASE}\nRUN --mount=source={source},target=/x cat /x; ls /x; exit 1\n")
    assert "root:" not in build.text
    assert "passwd" not in build.text
    if isinstance(caught.value, DockerfileError):
        assert caught.value.line == 2


@pytest.mark.root
def test_bld07_a_target_is_never_the_root_and_a_link_leads_nowhere_outside(build: Output, tmp_path: Path) -> None:
    with pytest.raises(DockerfileError, match="nothing can be mounted on /"):
        build(f"FROM {BASE}\nRUN --mount=target=/ true\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(BuildError, match="cannot mount /link/in"):  # the link leads nowhere in the image
        build(f"FROM {BASE}\nRUN ln -s {outside} /link\nRUN --mount=target=/link/in ls /link/in/file; true\n")
    build(f"FROM {BASE}\nRUN mkdir -p {outside} && ln -s {outside} /link\nRUN --mount=target=/link/in cat /link/in/file\n")
    assert build.text == "data\n"
    assert list(outside.iterdir()) == []


@pytest.mark.root
def test_a_cache_outlives_builds_and_its_id_leads_nowhere(build: Output, own_home: Home) -> None:
    mount = "--mount=type=cache,id=../../../escape,target=/cache,mode=0750,uid=7"
    step = f"RUN {mount} echo {{}} >> /cache/log; cat /cache/log; stat -c '%a %u' /cache"
    build(f"FROM {BASE}\n{step.format(1)}\n")
    assert build.text == "1\n750 7\n"
    build(f"FROM {BASE}\n{step.format(2)}\n")
    assert build.text == "1\n2\n750 7\n"
    assert paths(build.engine) == set()
    (cache,) = build.engine.builder.caches()
    assert (cache.id, cache.in_use) == ("../../../escape", False)
    assert cache.size > 0
    names = [p.name for p in (own_home.root / "cachemounts").iterdir()]
    assert sorted(names) == sorted([cache.name, "locks"])


@pytest.mark.root
def test_a_new_cache_can_begin_with_files_of_a_stage(build: Output) -> None:
    build(
        f"FROM {BASE} AS seed\nRUN mkdir /seed && echo grown > /seed/a\nFROM {BASE}\n"
        "RUN --mount=type=cache,target=/c,from=seed,source=/seed cat /c/a && rm /c/a\nRUN --mount=type=cache,target=/c,from=seed ls -A /c\n"
    )
    assert build.text == "grown\n"


@pytest.mark.root
@pytest.mark.parametrize(("sharing", "seen"), [("shared", {"1", "2"}), ("locked", {"1", "2"}), ("private", {"1"})])
def test_sharing(own: Engine, context: Path, sharing: str, seen: set[str]) -> None:
    """Two builds at once; the first waits for the second's file as long as it can come."""
    wait = {"shared": "for i in $(seq 100); do [ -e /c/2 ] && break; sleep 0.1; done", "locked": "sleep 0.5", "private": "sleep 1"}[sharing]
    mount = f"--mount=type=cache,id={sharing},target=/c,sharing={sharing}"
    first, second = Output(own, context), Output(own, context)
    thread = threading.Thread(target=first, args=(f"FROM {BASE}\nRUN {mount} touch /c/1; {wait}; ls /c\n",), kwargs={"tag": "a"})
    thread.start()
    while not own.builder.caches():
        threading.Event().wait(0.02)
    other = wait.replace("/c/2", "/c/1") if sharing == "shared" else "true"
    second(f"FROM {BASE}\nRUN {mount} touch /c/2; {other}; ls /c\n", tag="b")
    thread.join()
    assert set(first.text.split()) == (seen if sharing != "locked" else {"1"})
    assert set(second.text.split()) == ({"2"} if sharing == "private" else {"1", "2"})


@pytest.mark.root
def test_a_tmpfs(build: Output) -> None:
    build(f"FROM {BASE}\nRUN --mount=type=tmpfs,target=/scratch,size=1m ! head -c 2000000 /dev/zero > /scratch/x; stat -f -c %T /scratch\n")
    assert build.text.split()[-1] == "tmpfs"
    assert paths(build.engine) == set()


def holders(top: Path) -> list[str]:
    """The files under a directory that hold the canary."""
    found = []
    for where, _dirs, names in os.walk(top):
        for name in names:
            path = Path(where) / name
            if path.is_file() and not path.is_symlink() and CANARY.encode() in path.read_bytes():
                found.append(str(path))
    return found


@pytest.mark.root
def test_bld08_no_secret_is_left_anywhere(build: Output, own_home: Home) -> None:
    secret = {"token": CANARY.encode()}
    text = (
        f"FROM {BASE}\nRUN --mount=type=secret,id=token stat -c '%a %u %s' /run/secrets/token && grep -c canary /run/secrets/token\n"
        "RUN --mount=type=secret,id=token,target=/etc/t,uid=5,gid=6,mode=0444 stat -c '%a %u %g' /etc/t\n"
        "RUN --mount=type=secret,id=token,env=TOKEN [ ${#TOKEN} = 17 ] && echo set; ls /run\n"
        "RUN --mount=type=secret,id=absent ls /run; echo none\n"
    )
    build(text, secrets=secret)
    assert build.text == "400 0 17\n1\n444 5 6\nset\nnone\n"
    assert paths(build.engine) == set()
    assert holders(own_home.root) == []
    assert holders(own_home.run) == []
    assert list(Path("/dev/shm").glob("nbc-secret-*")) == []
    history = " ".join(row.created_by for row in build.engine.images.get("t").record.config.history)
    assert CANARY not in history
    again = build(text, secrets={"token": b"another value"})
    assert {s.status for s in again.steps} <= {"cached", "metadata"}


@pytest.mark.root
def test_bld08_while_it_runs_a_secret_is_in_memory_only(own: Engine, own_home: Home, context: Path) -> None:
    output = Output(own, context)
    step = "RUN --mount=type=secret,id=token,env=T cat /run/secrets/token > /dev/null 2>&1; sleep 2\n"
    thread = threading.Thread(target=output, args=(f"FROM {BASE}\n{step}",), kwargs={"secrets": {"token": CANARY.encode()}})
    thread.start()
    bundles: list[Path] = []
    while not bundles and thread.is_alive():
        threading.Event().wait(0.02)
        bundles = [*own_home.run.glob("nbc-secret-*"), *Path("/dev/shm").glob("nbc-secret-*")]
    threading.Event().wait(0.3)
    in_memory = [found for bundle in bundles for found in holders(bundle)]
    on_disk = holders(own_home.root)
    thread.join()
    assert in_memory != []
    assert on_disk == []


@pytest.mark.root
def test_required_and_wrong_secrets_are_told_at_their_line(build: Output) -> None:
    with pytest.raises(DockerfileError, match="secret token is required") as caught:
        build(f"FROM {BASE}\nRUN --mount=type=secret,id=token,required true\n")
    assert (caught.value.line, caught.value.hint) == (2, "--secret id=token,src=FILE")
    with pytest.raises(DockerfileError, match="SSH agent default is required"):
        build(f"FROM {BASE}\nRUN --mount=type=ssh,required true\n")


@pytest.mark.root
def test_an_ssh_agent_is_reached_through_its_socket(build: Output, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        build(
            f"FROM {BASE}\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK && [ -S $SSH_AUTH_SOCK ] && echo socket\n"
            "RUN echo ${SSH_AUTH_SOCK:-none}\n",
            ssh={"default": str(path)},
        )
    assert build.text.split() == ["/run/buildkit/ssh_agent.0", "socket", "none"]
    assert paths(build.engine) == set()


@pytest.mark.root
def test_network_security_and_device(build: Output) -> None:
    build(f"FROM {BASE}\nRUN --network=none ls /sys/class/net\nRUN --security=sandbox echo ok\nRUN --device=vendor/gpu=all echo without\n")
    assert build.text.split() == ["lo", "ok", "without"]
    build(f"FROM {BASE}\nRUN --network=host readlink /proc/self/ns/net\n")
    assert build.text.strip() == os.readlink("/proc/self/ns/net")


@pytest.mark.user
@pytest.mark.parametrize("lent", [False, True], ids=["one-id", "lent-ids"])
def test_mounts_as_an_ordinary_user(lent: bool) -> None:
    with person(lent=lent) as who:
        top = who.home / "context"
        top.mkdir()
        (top / "file").write_text("data\n")
        (top / "secret").write_text(CANARY)
        (top / ".dockerignore").write_text("secret\n")
        (top / "Dockerfile").write_text(
            f"FROM {BASE} AS made\nRUN mkdir /out && echo artifact > /out/a\nFROM {BASE}\n"
            "RUN --mount=target=/ctx cat /ctx/file && ! touch /ctx/x 2>/dev/null\nRUN --mount=target=/ctx,rw touch /ctx/x && ls /ctx\n"
            "RUN --mount=from=made,source=/out,target=/from,rw cat /from/a\nRUN --mount=type=cache,target=/c echo c >> /c/l && cat /c/l\n"
            "RUN --mount=type=secret,id=s wc -c /run/secrets/s\nRUN --mount=type=tmpfs,target=/t stat -f -c %T /t\n"
        )
        for path in (top, *top.iterdir()):
            os.chown(path, who.uid, who.gid)
        done = who.run(
            "/usr/bin/python3", "-m", "notebook_containers", "build", "--progress", "plain", "--network", "none", "-t", "t",
            "--secret", f"id=s,src={top}/secret", top,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        for expected in ("data", "artifact", f"{len(CANARY)} /run/secrets/s", "tmpfs"):
            assert expected in said
        assert holders(who.home / "root") == []


def test_words_of_secrets(tmp_path: Path) -> None:
    from notebook_containers.engine.lending import read_agents, read_secrets
    from notebook_containers.errors import InvalidArgument

    (tmp_path / "f").write_bytes(b"from file")
    environment = {"VAR": "from variable", "same": "from its name"}
    words = ["id=a,src=f", "id=b,env=VAR", "id=same", "src=f", "type=env,id=c,src=VAR"]
    assert read_secrets(words, tmp_path, environment) == {
        "a": b"from file", "b": b"from variable", "same": b"from its name", "f": b"from file", "c": b"from variable",
    }  # fmt: skip
    for wrong in ("", "id=", "id=x,src=none", "id=x,env=NONE", "id=x,sauce=f", f"id=x,src={tmp_path}"):
        with pytest.raises(InvalidArgument) as caught:
            read_secrets([wrong], tmp_path, {})
        assert caught.value.hint
    for wrong in ("default", "a=none", "a=f"):
        with pytest.raises(InvalidArgument) as caught:
            read_agents([wrong], tmp_path, {})
        assert caught.value.hint


@pytest.mark.root
def test_bld08_a_failed_step_that_printed_a_secret_keeps_no_copy(build: Output, own_home: Home) -> None:
    text = f"FROM {BASE}\nRUN --mount=type=secret,id=token cat /run/secrets/token; echo half > /half; exit 3\n"
    with pytest.raises(BuildError) as caught:
        build(text, secrets={"token": CANARY.encode()})
    assert CANARY in caught.value.output
    assert [c.path for c in caught.value.changes()] == ["/half"]
    assert caught.value.run(["sh", "-c", "cat /half; ls /run"]) == b"half\n"
    assert holders(own_home.root) == []
    assert holders(own_home.run) == []

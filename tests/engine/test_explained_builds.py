"""A build explains itself: its steps as a table, the step that failed and any other opened as a container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.engine.opened import FailedStep
from notebook_containers.errors import BuildError, ContainerError, NotFound
from notebook_containers.store.collect import collect
from tests.home import BASE, Home

pytestmark = pytest.mark.root


def test_the_steps_are_a_table(own: Engine, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1")
    text = f"FROM {BASE}\nENV A=b\nCOPY app.py /\nRUN echo 1 > /one\n"
    result = own.images.build(tmp_path, text=text)
    (tmp_path / "app.py").write_text("2")
    result = own.images.build(tmp_path, text=text)
    frame = result.steps.frame()
    assert list(frame.columns) == ["line", "instruction", "status", "reason", "seconds", "bytes_added", "layer"]
    assert list(frame.index) == [1, 2, 3, 4]
    assert list(frame.status) == ["metadata", "metadata", "built", "built"]
    assert frame.reason[3].startswith("file app.py changed (")
    assert frame.layer[4] == result.image.layers[-1]
    assert frame.bytes_added.sum() == sum(step.bytes_added for step in result.steps)
    shown = result.steps._repr_html_()
    assert shown is not None
    assert "file app.py changed" in shown
    assert isinstance(result.steps, tuple)


FAILING = f"""FROM {BASE}
ARG WORD=spoken
ENV COLOUR=red
RUN echo first > /first
WORKDIR /work
USER 1000:1000
RUN echo begun; echo half > /tmp/half; echo oh no >&2; exit 3
"""


def fail(engine: Engine, context: Path, text: str = FAILING) -> BuildError:
    with pytest.raises(BuildError) as info:
        engine.images.build(context, text=text)
    return info.value


def test_the_failed_step_is_open(own: Engine, own_home: Home, tmp_path: Path) -> None:
    err = fail(own, tmp_path)
    assert (err.line, err.exit_status) == (7, 3)
    assert set(err.output.splitlines()) == {"begun", "oh no"}
    assert "nbc shell --failed" in err.hint
    assert [(c.path, c.kind) for c in err.changes()] == [("/tmp", "C"), ("/tmp/half", "A")]
    seen = err.run(["sh", "-c", "cat /first /tmp/half; echo $WORD $COLOUR; pwd; id -u"])
    assert seen == b"first\nhalf\nspoken red\n/work\n1000\n"
    assert isinstance(err.step, FailedStep)
    assert err.step.before.run(["ls", "/tmp"]) == b""
    with pytest.raises(ContainerError) as info:
        err.run(["sh", "-c", "exit 4"])
    assert info.value.exit_status == 4
    assert own.containers.list(all=True) == []
    assert [image for image in own.images.list() if not image.tags] == []
    assert own.check().clean
    assert own_home.remains() == {}


def test_a_shell_alone_stays_open(own: Engine, tmp_path: Path) -> None:
    shell = fail(own, tmp_path).run(["sh"])
    assert isinstance(shell, Container)
    assert shell.status == "running"
    assert shell.exec_run("cat /tmp/half").output == b"half\n"
    assert shell.exec_run("id -u").output == b"1000\n"
    shell.remove(force=True)
    assert own.images.failed().line == 7


def test_it_is_kept_until_the_next_build_of_the_same_file(own: Engine, tmp_path: Path) -> None:
    err = fail(own, tmp_path)
    own.images.build(tmp_path / "..", text=f"FROM {BASE}\n")
    assert own.images.failed().line == 7
    layer = own.images.failed().layers[-1]
    collect(own._parts.store)
    assert own._parts.store.layers.has(layer)
    result = own.images.build(tmp_path, text=FAILING.replace("exit 3", "exit 0"))
    assert [s.status for s in result.steps][3:] == ["cached", "cached", "metadata", "built"]
    with pytest.raises(NotFound, match="no step of a build failed"):
        own.images.failed()
    collect(own._parts.store)
    assert not own._parts.store.layers.has(layer)
    with pytest.raises(NotFound, match="no longer here"):
        err.run(["true"])


def test_prune_lets_go_of_it(own: Engine, tmp_path: Path) -> None:
    fail(own, tmp_path)
    assert any(entry.description.startswith("failed: RUN echo begun") for entry in own.builder.entries())
    own.builder.prune(all=True)
    with pytest.raises(NotFound, match="no step of a build failed"):
        own.images.failed()


def test_a_command_that_is_not_there_leaves_the_step_open_too(own: Engine, tmp_path: Path) -> None:
    err = fail(own, tmp_path, f"FROM {BASE}\nRUN echo 1 > /one\nRUN nosuchcommand\n")
    assert "127 says that a command was not found" in err.hint
    assert err.changes() == []
    assert err.run(["cat", "/one"]) == b"1\n"
    err = fail(own, tmp_path, f'FROM {BASE}\nRUN ["/none"]\n')
    assert err.run(["echo", "here"]) == b"here\n"


def test_any_step_can_be_opened(own: Engine, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print(1)")
    text = (
        f"FROM {BASE} AS tools\nRUN echo tool > /tool\nFROM {BASE}\nENV A=1\nCOPY app.py /app/\nRUN rm /app/app.py; echo 2 > /two\n"
        'ENTRYPOINT ["sh"]\n'
    )
    image = own.images.build(tmp_path, text=text.replace("COPY app", "COPY --from=tools /tool /\nCOPY app"), tag="steps").image
    assert [(c.path, c.kind) for c in image.step(6).diff()] == [("/app", "A"), ("/app/app.py", "A")]
    assert [(c.path, c.kind) for c in image.step(7).diff()] == [("/app", "C"), ("/app/app.py", "D"), ("/two", "A")]
    assert image.step(6).run(["cat", "/app/app.py"]) == b"print(1)"
    assert image.step(2).run(["cat", "/tool"]) == b"tool\n"  # a stage of which the image has no layer
    assert image.step(1).diff() == []
    assert "A=1" not in image.step(3).config.env
    assert "A=1" in image.step(4).config.env
    assert image.step(7).config.entrypoint is None
    assert image.step(8).config.entrypoint == ("sh",)
    assert (image.step(7).line, image.step(7).instruction) == (7, "RUN rm /app/app.py; echo 2 > /two")
    with pytest.raises(NotFound, match="image steps:latest has no step 9") as info:
        image.step(9)
    assert "it has 1 (FROM localhost/base AS tools), 2 (RUN echo tool > /tool), 3 (FROM" in info.value.hint
    assert [found for found in own.images.list() if not found.tags] == []
    own.images.remove("steps")


def test_an_image_from_elsewhere_has_the_steps_of_its_history(own: Engine) -> None:
    base = own.images.get(BASE)
    assert base.step(1).run(["echo", "one"]) == b"one\n"
    with pytest.raises(NotFound, match="has no step 0"):
        base.step(0)


def test_a_killed_build_leaves_only_garbage(own_home: Home, tmp_path: Path) -> None:
    text = f"FROM {BASE}\nRUN echo half > /half; echo now; sleep 60\n"
    with own_home.open() as engine:
        engine.images.get(BASE)
    code = (
        "import sys\nfrom notebook_containers import Engine\nwith Engine() as e:\n"
        " e.images.build('.', text=sys.argv[1], progress=lambda ev: print(ev, flush=True))"
    )
    environment = {**os.environ, **own_home.variables(), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code, text], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as build:
        assert build.stdout is not None
        assert any("data=b'now" in line for line in build.stdout)
        build.kill()
    with own_home.open() as engine:
        with pytest.raises(NotFound):
            engine.images.failed()
        engine.prune()
    assert own_home.remains() == {}


def test_the_plan_is_a_picture(own: Engine, tmp_path: Path) -> None:
    text = f"FROM {BASE} AS one\nRUN sleep 0.3; echo 1 > /one\nFROM {BASE} AS two\nRUN sleep 0.3; echo 2 > /two\n"
    text += "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    diagram = own.images.build(tmp_path, text=text).plan_diagram()
    assert "2 stages ran at once for 0." in diagram.to_text()
    assert diagram.to_svg().count("<path") == 2
    again = own.images.build(tmp_path, text=text).plan_diagram()
    assert again.to_text().splitlines()[0] == "3 stages, 7 steps, 7 cached"
    assert own.images.look(tmp_path, text=text).steps() == own.images.build(tmp_path, text=text).plan

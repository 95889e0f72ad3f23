"""Detaching: whoever watched goes, the container and its input stay."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from notebook_containers.runtime.bundle import MonitorOptions
from tests.runtime.boxes import Box, spec_for

pytestmark = pytest.mark.root


@pytest.mark.parametrize("terminal", [False, True])
def test_detach_leaves_the_container_and_its_input_open(box: Box, terminal: bool) -> None:
    spec = spec_for(["/bin/cat"])
    assert spec.process
    identity = box.create(replace(spec, process=replace(spec.process, terminal=terminal)), MonitorOptions(stdin_open=True))
    session = box.runtime.attach(identity, stdin=True)
    box.runtime.start(identity)
    threading.Timer(0.2, session.detach).start()
    assert list(session) == []
    assert session.exit_code is None
    session.close()
    with box.runtime.attach(identity, stdin=True) as again:
        again.write(b"still here\n")
        stream, data = next(iter(again))
        assert (stream, data.splitlines()[0]) == ("stdout", b"still here")


def test_an_exec_can_be_left_too(box: Box) -> None:
    identity = box.create(spec_for(["/bin/sleep", "60"]))
    box.runtime.start(identity)
    cat = spec_for(["/bin/cat"]).process
    assert cat
    session = box.runtime.exec(identity, cat, stdin=True)
    assert session
    threading.Timer(0.2, session.detach).start()
    assert list(session) == []
    assert session.exit_code is None
    session.close()

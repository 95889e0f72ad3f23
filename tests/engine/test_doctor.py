"""The doctor: each trial reports the kernel's answer and leaves nothing; every feature has its loss and its remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from notebook_containers.engine import doctor, probes
from notebook_containers.engine.probes import Probe, attempt


def refuse(_scratch: str) -> None:
    raise OSError(errno.EPERM, "a call: Operation not permitted")


def test_a_refusal_is_told_with_its_errno(tmp_path: Path) -> None:
    assert attempt(Probe(call="a call", work=refuse, inside=False), str(tmp_path)) == (
        False,
        "a call: EPERM (operation not permitted)",
    )


def test_a_trial_that_dies_is_told(tmp_path: Path) -> None:
    assert attempt(Probe(call="a call", work=lambda _s: os.kill(os.getpid(), 9), inside=False), str(tmp_path)) == (
        False,
        "a call: the process died",
    )


def test_a_trial_that_works(tmp_path: Path) -> None:
    assert attempt(Probe(call="a call", work=lambda _s: None, inside=False), str(tmp_path)) == (True, "a call: works")


def test_every_probe_has_a_loss_and_a_remedy() -> None:
    assert set(probes.PROBES) == set(doctor._LOSSES)
    for name, loss in doctor._LOSSES.items():
        assert loss.lost, name
        assert loss.todo or name in ("user namespace", "keyrings"), name


@pytest.mark.root
def test_root_has_what_containers_need_here(tmp_path: Path) -> None:
    checks = doctor.examine(tmp_path / "root")
    assert [check.feature for check in checks if check.needed and check.available != "yes"] == []
    assert "user namespace" not in {check.feature for check in checks}
    assert doctor.summary(checks).startswith("containers run here")
    assert os.listdir(tmp_path) == []


def test_what_is_missing_and_needed_comes_first_and_is_summed_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = {name: (name not in ("overlay", "time namespace"), f"{name}: told") for name in probes.PROBES}
    monkeypatch.setattr(doctor, "_probed", lambda _root: answers)
    checks = doctor.examine(tmp_path)
    assert checks[0].feature == "overlay"
    assert "modprobe overlay" in checks[0].todo
    assert doctor.summary(checks) == "containers cannot run here: overlay"


def test_an_interpreter_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_PROGRAM", "{paths!r}; raise SystemExit('no words')")
    assert set(doctor._probed(tmp_path).values()) == {(False, "could not be tried: no words")}

from __future__ import annotations

import errno
import time

import pytest

from notebook_containers.errors import InvalidArgument
from notebook_containers.store.failpoints import fp
from tests.store.steps import durable_steps, steps_without_failpoint

WITHOUT = {
    "disk.fsync_directory": "the primitive: its callers have one",
    "disk._fsync_if_readable": "the store's own directory: there is nothing yet that could be half",
    "disk._make": "the same",
    "disk._to_trash": "its caller has one",
    "flushing._run": "it only begins early what publishing syncs",
    "idmap._write": "the first opening by an ordinary user: one small file, synced and linked",
    "trees._move": "from one unfinished thing to another: publishing it comes after",
    "volumes._write_options": "the same",
}


def test_every_durable_step_has_a_failpoint() -> None:
    assert steps_without_failpoint() == set(WITHOUT)
    assert len(durable_steps()) > 20


def test_nothing_happens_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NBC_FAILPOINTS", raising=False)
    fp("a.b")


def test_an_error_counts_down_then_the_next_term_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBC_FAILPOINTS", "count.b=1*off->2*error(ENOSPC)->1*delay(30); other.c=error(EIO)")
    fp("count.b")
    for _ in range(2):
        with pytest.raises(OSError, match=r"failpoint count\.b") as caught:
            fp("count.b")
        assert caught.value.errno == errno.ENOSPC
    started = time.monotonic()
    fp("count.b")
    assert time.monotonic() - started >= 0.03
    fp("count.b")
    fp("count.unknown")


def test_a_star_matches_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBC_FAILPOINTS", "star.*=error(EIO)")
    fp("stellar")
    with pytest.raises(OSError, match=r"star\.x"):
        fp("star.x")


@pytest.mark.parametrize("text", ["nonsense", "a=explode", "a=error(ENOSUCH)", "a=2*", "a=-1*off"])
def test_bad_text_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NBC_FAILPOINTS", text)
    with pytest.raises(InvalidArgument, match="NBC_FAILPOINTS"):
        fp("a")

from __future__ import annotations

import errno
import time

import pytest

from notebook_containers.errors import InvalidArgument
from notebook_containers.store.failpoints import fp


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

"""What a test needs of the machine: it skips where that is missing, and in CI (``CI=true``) it fails, unless the one list here allows it.

A pytest plugin (tests/conftest.py names it). However a test or a file skips, by ``need``, by a marker or by pytest's own means, CI turns
it into a failure: a test that silently stops running proves nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest
from _pytest.outcomes import Skipped

MISSING_IN_CI: Mapping[str, str] = {}
"""The one list: what CI may lack, each with the reason. Tests that need it skip there."""

SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Missing(Skipped):
    """A test skips because the machine lacks ``what``."""

    def __init__(self, what: str, words: str) -> None:
        super().__init__(words)
        self.what = what


def need(found: object, what: str, hint: str = "") -> None:
    """Skip the running test, naming ``what``, unless it is ``found``; in CI the skip is a failure (see the module)."""
    if not found:
        raise Missing(what, f"needs {what}" + (f": {hint}" if hint else ""))


def _is_root() -> str:
    return "" if os.geteuid() == 0 else "root is needed"


def _can_make_users() -> str:
    if os.geteuid() != 0:
        return "root is needed to make an ordinary user"
    return "" if shutil.which("useradd") and Path("/usr/bin/python3").exists() else "useradd and /usr/bin/python3 are needed"


def _has_browser() -> str:
    return "" if shutil.which("chromium") and shutil.which("node") else "chromium and node are needed"


def _can_boot() -> str:
    from tests.vm import machine

    return _is_root() or machine.missing()


MARKERS: Mapping[str, Callable[[], str]] = {
    "root": _is_root,
    "netns": _is_root,
    "user": _can_make_users,
    "browser": _has_browser,
    "vm": _can_boot,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for what the test's markers name: the capabilities above, and ``needs(PROGRAM, ...)``."""
    for name, missing in MARKERS.items():
        if item.get_closest_marker(name) is not None and (reason := missing()):
            need(None, name, reason)
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            need(shutil.which(program, path=SEARCH), program)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure where skipping is not allowed."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if not (isinstance(error, Missing) and error.what in MISSING_IN_CI):
        _refuse(report, item.nodeid, str(error))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure: no list allows that."""
    report = yield
    _refuse(report, collector.nodeid, str(report.longrepr))
    return report


def _refuse(report: pytest.TestReport | pytest.CollectReport, name: str, reason: str) -> None:
    if not report.skipped or os.environ.get("CI") != "true":
        return
    report.outcome = "failed"
    report.longrepr = (
        f"{name} may not be skipped in CI ({reason}): give CI what it needs (.ci/run), or put that on {__name__}.MISSING_IN_CI"
    )
    if hasattr(report, "wasxfail"):
        del report.wasxfail  # pytest counts no failure that was expected

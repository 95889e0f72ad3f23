"""A pytest plugin for the inside of the virtual machine: each result is one line of JSON on the second serial port."""

from __future__ import annotations

import json
import os

import pytest

PORT = "/dev/ttyS1"
SUITE_VARIABLE = "NBC_VM_SUITE"
_LONGEST = 6000


def say(**values: object) -> None:
    """Write one line."""
    with open(PORT, "a", encoding="utf-8") as port:
        port.write(json.dumps(values) + "\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Report each test once: its call, or what went wrong before or after it."""
    if report.when != "call" and report.outcome == "passed":
        return
    words = report.longreprtext
    if report.skipped and isinstance(report.longrepr, tuple):
        words = str(report.longrepr[2])
    suite = os.environ.get(SUITE_VARIABLE, "")
    say(suite=suite, name=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 3), words=words[-_LONGEST:])


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Report a file that cannot be read: none of its tests would be missed otherwise."""
    if report.failed:
        say(
            suite=os.environ.get(SUITE_VARIABLE, ""),
            name=report.nodeid,
            outcome="failed",
            seconds=0.0,
            words=report.longreprtext[-_LONGEST:],
        )

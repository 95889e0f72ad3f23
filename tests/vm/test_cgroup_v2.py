"""cgroup v2 alone, in a virtual machine that is booted here: this tree's own tests run inside, and each suite is a test here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm import machine
from tests.vm.guest import SUITES

pytestmark = [pytest.mark.vm, pytest.mark.timeout(machine.LONGEST_S + 200)]

FEWEST = {"groups": 45, "runtime": 12, "engine": 13, "network": 5, "user": 5, "manager": 3}
MAY_SKIP = "needs cgroup v1"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[machine.Report]:
    place = tmp_path_factory.mktemp("vm")
    found = machine.boot(place)
    yield found
    shown = ", ".join(f"{name} {value:.0f} s" for name, value in found.seconds.items())
    print(f"\nvirtual machine: kernel {found.facts['kernel']}, {shown}; {len(found.results)} results inside")


def test_the_kernel_has_cgroup_v2_and_nothing_else(report: machine.Report) -> None:
    kinds = report.facts["mounts"].split()
    assert "cgroup2" in kinds
    assert "cgroup" not in kinds
    assert set(report.facts["controllers"].split()) >= {"cpuset", "cpu", "io", "memory", "pids", "hugetlb"}


@pytest.mark.parametrize("suite", SUITES)
def test_every_test_inside_passes(report: machine.Report, suite: str) -> None:
    results = report.of(suite)
    failed = [f"{result.name} ({result.seconds} s)\n{result.words}" for result in results if result.outcome == "failed"]
    assert not failed, "\n\n".join(failed)
    skipped = [result.name for result in results if result.outcome == "skipped" and MAY_SKIP not in result.words]
    assert not skipped, f"skipped inside: {skipped}"
    passed = [result for result in results if result.outcome == "passed"]
    assert len(passed) >= FEWEST[suite], f"{len(passed)} passed; {report.facts.get(f'suite {suite}')}"


def test_no_group_is_left(report: machine.Report) -> None:
    assert report.facts["groups left"] == ""


def test_the_kernel_complains_about_nothing(report: machine.Report) -> None:
    bad = [line for line in report.console.splitlines() if "BUG:" in line or "Oops" in line or "Call Trace" in line]
    assert not bad

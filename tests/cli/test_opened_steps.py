"""The steps of a build from the command line: the one that failed, and any other by its number."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = pytest.mark.root

FAILING = f"FROM {BASE}\nENV A=b\nWORKDIR /work\nRUN echo half > half; exit 3\n"


def test_the_failed_step_is_opened_by_a_verb_and_by_an_option(nbc: Nbc) -> None:
    done = nbc("build", "-", stdin=FAILING)
    assert done.status == 1
    assert "ended with exit code 3; open it where it stopped: nbc shell --failed, in a notebook %container_shell --failed" in done.err
    assert nbc.ok("shell", "--failed", "cat", "half") == "half"
    assert nbc.ok("shell", "--failed", stdin="pwd; echo $A; ls\n").split() == ["/work", "b", "half"]
    assert nbc("shell", "--failed", "sh", "-c", "exit 7").status == 7
    (nbc.cwd / "Dockerfile").write_text(FAILING)
    done = nbc("build", "--debug-shell", ".", stdin="echo inside $PWD\n")
    assert done.status == 1
    assert "inside /work\n" in done.out
    assert nbc.ok("ps", "-aq") == ""
    assert nbc.ok("images", "-q", "--filter", "dangling=true") == ""
    nbc.ok("build", "-", stdin=FAILING.replace("3", "0"))
    nbc.ok("build", ".", "-t", "mended", "-f", "-", stdin=FAILING.replace("3", "0"))
    assert "echo half" not in nbc("shell", "--failed", "true").err  # another test's may still be open


def test_shell_in_a_container(nbc: Nbc) -> None:
    nbc.ok("run", "-d", "--name", "live", BASE, "sleep", "60")
    assert nbc.ok("shell", "live", stdin="echo hi\n") == "hi"
    assert nbc.ok("shell", "live", "echo", "one") == "one"
    assert "name a container" in nbc("shell").err


def test_a_step_is_run_by_its_number(nbc: Nbc) -> None:
    nbc.ok("build", "-t", "stepped", "-", stdin=f'FROM {BASE}\nRUN echo 1 > /one\nENV A=b\nRUN rm /one\nENTRYPOINT ["ls"]\n')
    assert nbc.ok("run", "--rm", "--step", "2", "stepped", "sh", "-c", "cat /one; echo $A") == "1\n"
    assert nbc.ok("run", "--rm", "--step", "3", "stepped", "sh", "-c", "echo $A") == "b"
    assert nbc.ok("images", "-q", "--filter", "dangling=true") == ""
    name = nbc.ok("run", "-d", "--step", "2", "stepped", "sleep", "60")
    assert nbc.ok("exec", name, "cat", "/one") == "1"
    nbc.ok("rm", "-f", name)
    nbc.ok("image", "prune", "-f")
    assert nbc.ok("images", "-q", "--filter", "dangling=true") == ""
    line = nbc("run", "--step", "9", "stepped").line
    assert line.startswith("nbc: image stepped:latest has no step 9; it has 1 (FROM localhost/base), 2 (RUN echo 1 > /one)")
    nbc.ok("rmi", "stepped")


def test_the_plan_as_text(nbc: Nbc) -> None:
    text = f"FROM {BASE} AS one\nRUN echo pictured > /one\nFROM scratch\nCOPY --from=one /one /\n"
    plan = nbc.ok("build", "--call=plan", "-", stdin=text)
    assert plan.splitlines() == [
        *("2 stages, 4 steps", "stage one", "  · #1   FROM localhost/base AS one", "  · #2   RUN echo pictured > /one"),
        *("stage 1", "  · #3   FROM scratch", "  · #4   COPY --from=one /one /  <- one"),
    ]
    done = nbc("build", "--graph", "-", stdin=text)
    assert "\n  ✓ #2   RUN echo pictured > /one  " in done.err
    assert done.out.startswith("sha256:")

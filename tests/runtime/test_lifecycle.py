"""The verbs, as root, on the real kernel."""

from __future__ import annotations

import pytest

from tests.runtime.conftest import Box, spec_for

pytestmark = pytest.mark.root


def test_a_command_runs_and_its_exit_code_and_output_come_back(box: Box) -> None:
    assert box.sh("echo hello; echo wrong >&2; exit 7") == (7, "hello\nwrong\n")

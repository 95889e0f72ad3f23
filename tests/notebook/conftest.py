"""One kernel for the directory over the session's store; containers are removed after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home import BASE, Home, clear
from tests.notebook.kernels import Kernel


@pytest.fixture(scope="session")
def kernel_environment(home: Home) -> dict[str, str]:
    """A front end's environment: no history file, no user's configuration, this tree."""
    tree = Path(__file__).parents[2]
    return {
        **home.variables(), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(tree), "LC_ALL": "C.UTF-8", "HOME": str(home.top),
        "IPYTHONDIR": str(home.top / "ipython"), "JUPYTER_RUNTIME_DIR": str(home.top / "jupyter"),
    }  # fmt: skip


@pytest.fixture(scope="session")
def shared_kernel(kernel_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(kernel_environment, tmp_path_factory.mktemp("notebook")) as made:
        made.ok("%config IPCompleter.use_jedi = False")
        made.ok("%load_ext notebook_containers")
        made.ok(f"%container_run --rm {BASE} true")
        yield made


@pytest.fixture
def kernel(shared_kernel: Kernel, home: Home, no_leaks: None) -> Iterator[Kernel]:
    """The kernel, with the extension loaded; no container and no volume before and after."""
    yield shared_kernel
    with home.open() as engine:
        clear(engine)
    assert home.remains() == {}

"""apt-get and pip in a RUN, as root and as ordinary users, in a real Debian (``NBC_TEST_DEBIAN``, the archive that .ci/debian makes)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import need
from tests.people import Person, person

pytestmark = [pytest.mark.user, pytest.mark.timeout(600)]

IMPORT = """
import json, os, sys
from pathlib import Path
from notebook_containers.oci.image import ContainerConfig, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.store import Store
with Store.open(Path(os.environ["NBC_ROOT"])) as store, open(sys.argv[1], "rb") as file:
    layer = store.layers.apply(file)
    config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig())
    store.images.put(config, [layer], tags=[Reference.parse("debian:test")])
    print(json.dumps(store.ids.single))
"""
DOCKERFILE = """FROM debian:test
COPY ca.crt /usr/local/share/ca.crt
ENV PIP_CERT=/usr/local/share/ca.crt
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip openssh-client iputils-ping libcap2-bin
RUN pip install --break-system-packages --no-cache-dir six && python3 -c "import six"
RUN useradd -m someone && stat -c %a /usr/lib/openssh/ssh-keysign && getcap /usr/bin/ping
"""


@contextmanager
def root() -> Iterator[Person]:
    home = Path(tempfile.mkdtemp(prefix="nbcp-", dir="/tmp"))
    yield Person(name="root", uid=0, gid=0, home=home)
    shutil.rmtree(home)


@pytest.fixture(params=["root", "lent ids", "one id"])
def user(request: pytest.FixtureRequest) -> Iterator[Person]:
    with root() if request.param == "root" else person(lent=request.param == "lent ids") as made:
        yield made


def test_packages_install(user: Person) -> None:
    debian = os.environ.get("NBC_TEST_DEBIAN", "")
    need(debian, "archive of a Debian (NBC_TEST_DEBIAN)")
    archive, context = user.home / "debian.tar", user.home / "context"
    shutil.copy(debian, archive)
    archive.chmod(0o644)
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    shutil.copy(Path("/etc/ssl/certs/ca-certificates.crt"), context / "ca.crt")
    single = user.python(IMPORT, archive)
    done = user.run(
        "/usr/bin/python3", "-m", "notebook_containers", "build", "--network", "host", "-t", "installed", context, timeout_s=500
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "cap_net_raw=ep" in said
    assert ("are answered as done" in said) is single
    owner = user.nbc("run", "--rm", "--network", "none", "installed", "stat", "-c", "%u", "/home/someone").strip()
    assert owner == ("0" if single else "1000")
    count = "ls /etc/apt/apt.conf.d | grep -c zz-notebook || true"
    settings = user.nbc("run", "--rm", "--network", "none", "installed", "sh", "-c", count).strip()
    assert settings == ("1" if single else "0"), "mounted where it is needed"

"""apt-get and pip in a RUN, as an ordinary user, from a real Debian: ``NBC_TEST_DEBIAN`` names the archive of a debootstrap.

It needs the network, so it is run where that variable is set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.people import Person, person

DEBIAN = os.environ.get("NBC_TEST_DEBIAN", "")
pytestmark = [
    pytest.mark.user,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DEBIAN, reason="NBC_TEST_DEBIAN names no archive of a Debian"),
]

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


@pytest.fixture(params=[True, False], ids=["lent ids", "one id"])
def user(request: pytest.FixtureRequest) -> Iterator[Person]:
    with person(lent=request.param) as made:
        yield made


def test_packages_install(user: Person) -> None:
    archive, context = user.home / "debian.tar", user.home / "context"
    shutil.copy(DEBIAN, archive)
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

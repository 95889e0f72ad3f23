"""An ordinary user's pull and push: the same registry, a store and a home of their own."""

from __future__ import annotations

import pytest

from tests.people import person

CODE = """
import io, json, os, sys, tarfile
from pathlib import Path
from notebook_containers.oci.image import ContainerConfig, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.login import login
from notebook_containers.registry.pull import pull
from notebook_containers.registry.push import push
from notebook_containers.store.check import check
from notebook_containers.store.store import Store
name = Reference.parse(sys.argv[1])
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar:
    for owner in (0, 1000):
        info = tarfile.TarInfo(f"of{owner}")
        info.uid = info.gid = owner
        info.size = 1000
        tar.addfile(info, io.BytesIO(bytes(1000)))
buffer.seek(0)
with Store.open(Path.home() / "one") as one, Store.open(Path.home() / "two") as two:
    layer = one.layers.apply(buffer)
    made = one.images.put(ImageConfig(architecture="amd64", os="linux", config=ContainerConfig()), [layer], tags=[name])
    digest = push(one, name)
    got = pull(two, name)
    login(name.registry, "me", "pw")
    mode = oct((Path.home() / ".docker" / "config.json").stat().st_mode & 0o777)
    print(json.dumps([got.id == made.id, got.manifest_digest == digest, [str(d) for d in check(two)], mode, os.geteuid() != 0]))
"""


@pytest.mark.user
@pytest.mark.parametrize("lent", [True, False])
def test_pull_push_and_login_as_an_ordinary_user(registry: str, lent: bool) -> None:
    with person(lent=lent) as somebody:
        assert somebody.python(CODE, f"{registry}/a:1") == [True, True, [], "0o600", True]

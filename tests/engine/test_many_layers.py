"""An image of more layers than a page of mount options holds: it runs, is built on and committed, as root and as an ordinary user."""

from __future__ import annotations

import pytest

from notebook_containers import Engine
from notebook_containers.oci.image import LAYER_TAR, MANIFEST, Digest
from tests.engine.tars import tar
from tests.home import BASE
from tests.people import person

LAYERS = 130

CODE = """
import json, sys
from notebook_containers import Engine
from tests.engine.test_many_layers import grown, used
with Engine() as engine:
    print(json.dumps(used(engine, grown(engine))))
"""


def grown(engine: Engine) -> str:
    """Make an image of the base and 130 layers, each with a file of its own and one that all change; return its name."""
    below = engine.images.get(BASE)
    store = engine._parts.store
    layers = [store.layers.get(diff_id) for diff_id in below.layers]
    import io

    for number in range(LAYERS):
        data = tar((f"many/f{number}", b"%d\n" % number), ("many/last", b"%d\n" % number))
        layers.append(store.layers.apply(io.BytesIO(data)))
    from notebook_containers.oci.reference import Reference

    config = below.record.config
    from notebook_containers.lean import replace

    store.images.put(replace(config, history=()), layers, tags=[Reference.parse("many:1").tagged()])
    return "many:1"


def used(engine: Engine, name: str) -> list[str]:
    """Run it, build on it and commit a container of it; return what each printed."""
    script = "ls /many | wc -l; cat /many/last /many/f7"
    found = [_run(engine, name, script)]
    engine.images.build(text=f"FROM {name}\nRUN rm /many/f7 && echo built > /many/last\n", tag="many:2", network="none")
    found.append(_run(engine, "many:2", "ls /many | wc -l; cat /many/last"))
    container = engine.containers.create("many:2", ["sh", "-c", "echo committed > /many/last"], network="none")
    container.start()
    container.wait()
    container.commit("many", "3")
    container.remove()
    found.append(_run(engine, "many:3", "cat /many/last"))
    return [*found, str(len(engine.images.get("many:3").layers) - len(engine.images.get(BASE).layers))]


def _run(engine: Engine, name: str, script: str) -> str:
    output = engine.containers.run(name, ["sh", "-c", script], network="none", remove=True)
    assert isinstance(output, bytes)
    return output.decode()


EXPECTED = ["131\n129\n7\n", "130\nbuilt\n", "committed\n", str(LAYERS + 2)]


@pytest.mark.root
def test_many_layers_as_root(own: Engine) -> None:
    assert used(own, grown(own)) == EXPECTED


@pytest.mark.user
@pytest.mark.parametrize("lent", [True, False])
def test_many_layers_as_an_ordinary_user(lent: bool) -> None:
    with person(lent=lent) as who:
        assert who.python(CODE) == EXPECTED


def test_more_than_overlayfs_takes_are_refused() -> None:
    """Overlayfs takes 500."""
    import json

    from notebook_containers.errors import InvalidDocument
    from notebook_containers.store.images import parse_manifest

    layer = {"mediaType": LAYER_TAR, "digest": Digest.of(b""), "size": 1}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest.of(b""), "size": 1}
    data = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] * 501}).encode()
    with pytest.raises(InvalidDocument, match="501 layers, more than the 500"):
        parse_manifest(data)

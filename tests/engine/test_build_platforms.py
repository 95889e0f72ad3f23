"""``build --platform``: bases and the image are for it, commands of this machine's stages run, others say why they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.engine.engine import Engine
from notebook_containers.errors import BuildError, Error, InvalidArgument

pytestmark = pytest.mark.root

OTHER = "linux/s390x"


def platform_of(engine: Engine, name: str) -> str:
    config = engine.images.get(name).record.config
    return "/".join(part for part in (config.os, config.architecture, config.variant) if part)


def test_the_image_is_for_the_platform(engine: Engine, tmp_path: Path) -> None:
    text = """\
FROM --platform=$BUILDPLATFORM localhost/base AS maker
ARG TARGETPLATFORM BUILDPLATFORM TARGETARCH
RUN test "$TARGETPLATFORM" != "$BUILDPLATFORM" && echo "$TARGETARCH" > /made
FROM maker AS same
FROM scratch
COPY --from=same /made /made
"""
    engine.images.build(tmp_path, text=text, tag="other", platform=OTHER, network="none")
    assert platform_of(engine, "other") == OTHER
    layers = engine.images.get("other").record.config.rootfs.diff_ids
    assert engine.images._parts.store.snapshots.read_file(layers, "made") == b"s390x\n"
    # a stage that is built on another has its platform
    engine.images.build(tmp_path, text=text, tag="same", target="same", platform=OTHER, network="none")
    assert platform_of(engine, "same") == platform_of(engine, "localhost/base")


def test_a_base_is_taken_for_the_platform(engine: Engine, tmp_path: Path) -> None:
    engine.images.build(tmp_path, text="FROM scratch\nLABEL who=other\n", tag="localhost/foreign", platform=OTHER)
    built = engine.images.build(tmp_path, text="FROM localhost/foreign\nENV a=b\n", tag="above", platform=OTHER)
    assert built.image.labels["who"] == "other"
    with pytest.raises(Error, match="is not here for linux/ppc64le") as caught:
        engine.images.build(tmp_path, text="FROM localhost/foreign\n", platform="linux/ppc64le")
    assert OTHER in caught.value.hint
    with pytest.raises(Error, match="is not here for linux/s390x"):
        engine.images.build(tmp_path, text="FROM scratch\nCOPY --from=localhost/base /bin /\n", platform=OTHER)


def test_a_program_of_another_machine_says_so(engine: Engine, tmp_path: Path) -> None:
    header = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16" + bytes(200)  # 64 bits, big-endian, s390
    (tmp_path / "sh").write_bytes(header)
    (tmp_path / "sh").chmod(0o755)
    text = 'FROM scratch\nCOPY sh /bin/sh\nRUN ["/bin/sh"]\n'
    with pytest.raises(BuildError, match="made for another machine") as caught:
        engine.images.build(tmp_path, text=text, platform=OTHER, network="none")
    assert "(line 3)" in caught.value.message


@pytest.mark.parametrize(
    ("platform", "words"),
    [("linux/amd64,linux/arm64", "one platform"), ("plan9/arm", "plan9/arm cannot be built"), ("a/b/c/d", "is no platform")],
)
def test_refusals(engine: Engine, tmp_path: Path, platform: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        engine.images.build(tmp_path, text="FROM scratch\nLABEL a=b\n", platform=platform)
    assert caught.value.hint

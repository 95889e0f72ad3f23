"""Digests and chain ids against values known from elsewhere."""

from __future__ import annotations

import hashlib

import pytest

from notebook_containers.errors import InvalidDocument
from notebook_containers.oci.image import Digest, chain_id

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
LAYERS = [f"sha256:{character * 64}" for character in "abc"]


def test_a_digest_is_checked_and_has_parts() -> None:
    digest = Digest(EMPTY)
    assert digest == Digest.of(b"") == EMPTY
    assert (digest.algorithm, digest.short) == ("sha256", "e3b0c44298fc")
    assert digest.hex == EMPTY[7:]
    assert Digest("sha512:" + "0" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "SHA256:" + "a" * 64,
        "sha512:" + "a" * 64,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 64 + "\n",
        " sha256:" + "a" * 64,
        "sha256:../" + "a" * 61,
        "a" * 64,
        "sha256:" + "\uff11" * 64,
    ],
)
def test_anything_else_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidDocument, match="is not a digest"):
        Digest(text)


def test_the_chain_id_of_one_layer_is_its_diff_id() -> None:
    assert chain_id([Digest(LAYERS[0])]) == LAYERS[0]


def test_the_chain_id_follows_the_specification() -> None:
    """Image-spec, config.md: ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln))."""
    two = "sha256:" + hashlib.sha256(f"{LAYERS[0]} {LAYERS[1]}".encode()).hexdigest()
    assert chain_id(map(Digest, LAYERS[:2])) == two == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert (
        chain_id(map(Digest, LAYERS))
        == "sha256:" + hashlib.sha256(f"{two} {LAYERS[2]}".encode()).hexdigest()
        == "sha256:c1377126441fb2f5ec2c21ae2a60255331d639e830f0ee1b40a36e52d4c40588"
    )


def test_order_matters_and_nothing_has_no_chain_id() -> None:
    assert chain_id(map(Digest, LAYERS)) != chain_id(map(Digest, LAYERS[::-1]))
    with pytest.raises(InvalidDocument, match="without layers"):
        chain_id([])

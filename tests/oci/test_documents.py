"""JSON from outside, and the documents: what is refused, what survives a round trip, what a wrong type says."""

from __future__ import annotations

import json

import pytest

from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import MAX_DEPTH, MAX_DOCUMENT_BYTES, Document, always, named, untrusted_json
from notebook_containers.oci.image import ContainerConfig, Digest, History, ImageConfig, Index, Manifest, RootFS
from notebook_containers.oci.runtime import Linux, Namespace, Process, Root, Spec

CONFIG = {
    "created": "2026-01-02T03:04:05Z",
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "User": "1000:1000",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["PATH=/bin", "A=1"],
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": [],
        "Volumes": {"/data": {}},
        "WorkingDir": "/w",
        "Labels": {"a": "ä"},
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["NONE"], "Interval": 5},
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
    "history": [{"created_by": "RUN x"}, {"created_by": "ENV y", "empty_layer": True}],
}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "c", "digest": "sha256:" + "2" * 64, "size": 7},
    "layers": [{"mediaType": "l", "digest": "sha256:" + "3" * 64, "size": 9, "annotations": {"k": "v"}}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Document):
    """Every kind of member."""

    name: str
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    words: tuple[str, ...] = field(default=(), metadata=named("Words"))
    maybe: tuple[str, ...] | None = None
    kept: str = field(default="", metadata=always("Kept"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":{"b":1,"b":1}}', "twice"),
        (b'{"a":[{"b":1,"b":1}]}', "twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":Infinity}', "Infinity"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":18446744073709551616}', "64 bits"),
        (b'{"a":-9223372036854775809}', "64 bits"),
        (b'{"a":' + b"9" * 5000 + b"}", "64 bits"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b'{"a":{"b":"\\ud800"}}', "half a character"),
        (b'{"a":{"\\uDfff":1}}', "half a character"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        (b'{"a":1} x', "not valid JSON"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "too deeply"),
        (b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}", "too deeply"),
        (b'{"a":[' + b"{}," * 100_000 + b"1]}", "objects and lists allowed"),
    ],
)
def test_doubtful_json_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(InvalidDocument, match="the thing") as caught:
        untrusted_json(data, what="the thing")
    assert says in caught.value.message


def test_a_document_over_the_limit_is_not_parsed() -> None:
    with pytest.raises(InvalidDocument, match=f"more than the {MAX_DOCUMENT_BYTES}"):
        untrusted_json(b" " * (MAX_DOCUMENT_BYTES + 1), what="x")
    with pytest.raises(InvalidDocument, match="more than the 3"):
        untrusted_json(b"{ } ", what="x", max_bytes=3)


def test_the_bounds_are_inclusive() -> None:
    assert untrusted_json(b'{"a":"\\ud83d\\ude00"}', what="x") == {"a": "\U0001f600"}
    assert untrusted_json(b'{"a":18446744073709551615,"b":-9223372036854775808}', what="x") == {"a": 2**64 - 1, "b": -(2**63)}
    nested = b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1)
    assert untrusted_json(nested, what="x")


def test_members_keep_their_names_defaults_are_left_out_and_unknown_ones_are_dropped() -> None:
    value = Sample.from_json({"name": "n", "Words": ["a", "b"], "Unknown": 1, "maybe": None})
    assert value == Sample(name="n", words=("a", "b"))
    assert value.to_json() == {"name": "n", "Words": ["a", "b"], "Kept": ""}
    assert Sample(name="n", maybe=()).to_json()["maybe"] == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "Sample has no name"),
        ({"name": None}, "Sample has no name"),
        ({"name": 1}, "Sample.name is int, not str"),
        ({"name": "n", "count": "1"}, "Sample.count is str, not int"),
        ({"name": "n", "count": True}, "Sample.count is bool, not int"),
        ({"name": "n", "count": 1.5}, "Sample.count is float, not int"),
        ({"name": "n", "on": 1}, "Sample.on is int, not bool"),
        ({"name": "n", "Words": "a"}, "Sample.Words is not a list"),
        ({"name": "n", "Words": [1]}, "Sample.Words is int, not str"),
        ({"name": "n", "maybe": {}}, "Sample.maybe is not a list"),
    ],
)
def test_a_wrong_type_names_the_member(data: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        Sample.from_json(data)  # type: ignore[arg-type]
    assert caught.value.message == says


def test_an_integer_is_a_float_where_one_is_wanted() -> None:
    assert Sample.from_json({"name": "n", "ratio": 2}).ratio == 2.0


def test_an_image_config_comes_back_as_it_was() -> None:
    config = ImageConfig.from_json(untrusted_json(json.dumps(CONFIG).encode(), what="config"))
    assert config.config.cmd == ()
    assert config.config.entrypoint == ("/bin/sh", "-c")
    assert config.config.healthcheck is not None
    assert config.config.healthcheck.interval == 5
    assert config.history == (History(created_by="RUN x"), History(created_by="ENV y", empty_layer=True))
    assert ImageConfig.from_json(untrusted_json(config.to_bytes(), what="config")) == config
    assert config.to_json() == CONFIG


def test_a_manifest_and_an_index_come_back_as_they_were() -> None:
    manifest = Manifest.from_json(MANIFEST)  # type: ignore[arg-type]
    assert manifest.to_json() == MANIFEST
    assert Index.from_json({"schemaVersion": 2}).to_json() == {"schemaVersion": 2, "manifests": []}


def test_a_bad_digest_in_a_manifest_is_an_error_and_not_a_path() -> None:
    bad = {**MANIFEST, "config": {"mediaType": "c", "digest": "sha256:../../etc/passwd", "size": 1}}
    with pytest.raises(InvalidDocument, match="not a digest"):
        Manifest.from_json(bad)  # type: ignore[arg-type]


def test_a_spec_comes_back_and_has_the_specifications_names() -> None:
    spec = Spec(
        oci_version="1.2.0",
        process=Process(args=("a",), cwd="/", no_new_privileges=True),
        root=Root(path="rootfs", readonly=True),
        linux=Linux(namespaces=(Namespace(type="pid"),), cgroups_path="x/y", masked_paths=("/proc/kcore",)),
    )
    data = spec.to_json()
    assert data == {
        "ociVersion": "1.2.0",
        "process": {"args": ["a"], "cwd": "/", "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": True},
        "linux": {"namespaces": [{"type": "pid"}], "cgroupsPath": "x/y", "maskedPaths": ["/proc/kcore"]},
    }
    assert Spec.from_json(untrusted_json(spec.to_bytes(), what="spec")) == spec


def test_the_same_value_gives_the_same_bytes() -> None:
    one = ImageConfig(architecture="a", os="linux", rootfs=RootFS(diff_ids=(Digest.of(b""),)), config=ContainerConfig(labels={"x": "ü"}))
    two = ImageConfig.from_json(untrusted_json(one.to_bytes(), what="x"))
    assert one.to_bytes() == two.to_bytes()
    assert "ü".encode() in one.to_bytes()

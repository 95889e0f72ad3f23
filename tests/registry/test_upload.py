"""Pushing to a registry that breaks, forgets and lies (REG-10): in chunks that go on, in one piece, mounted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from notebook_containers.errors import RegistryError
from notebook_containers.oci.image import MANIFEST, Digest
from notebook_containers.registry import upload as upload_module
from notebook_containers.registry.client import Client
from notebook_containers.registry.credentials import Credentials
from notebook_containers.registry.settings import Settings, Timeouts
from notebook_containers.registry.upload import Upload, mount, push_manifest
from tests.registry.scripted import Answer, Request, Scripted

Serve = Callable[..., Scripted]
QUICK = Settings(timeouts=Timeouts(pause_s=0.01, attempts=4, read_s=5, connect_s=2))
SECRET = Credentials(username="me", password="hunter2")
DATA = os.urandom(10_000)


@dataclass
class Taking:
    """A registry's upload as it should be, with faults that are used up one by one: a number keeps so many bytes of a chunk and resets."""

    server: Scripted
    faults: list[int | str] = field(default_factory=list)
    held: bytearray = field(default_factory=bytearray)
    blobs: dict[str, bytes] = field(default_factory=dict)
    begun: int = 0

    def __post_init__(self) -> None:
        self.server.say("/v2/a/blobs/uploads/", self.begin)
        self.server.say("/upload", self.go_on)
        self.server.say(f"/v2/a/blobs/{Digest.of(DATA)}", self.look)

    def begin(self, _request: Request) -> Answer:
        self.begun += 1
        self.held.clear()
        return Answer(status=202, headers={"Location": f"/upload?n={self.begun}"})

    def look(self, request: Request) -> Answer:
        return Answer(status=200 if request.path.rpartition("/")[2] in self.blobs else 404)

    def go_on(self, request: Request) -> Answer:
        place = {"Location": f"/upload?n={self.begun}&at={len(self.held)}", "Range": f"0-{max(len(self.held) - 1, 0)}"}
        if request.method == "GET":
            return Answer(status=404) if "forgotten" in self.faults else Answer(status=204, headers=place)
        if request.method == "PUT":
            self.held += request.body
            digest = parse_qs(urlsplit(request.path).query)["digest"][0]
            self.blobs[digest] = bytes(self.held)
            return Answer(status=201, headers={"Docker-Content-Digest": str(Digest.of(bytes(self.held)))})
        return self.take(request, self.faults.pop(0) if self.faults else "")

    def take(self, request: Request, fault: int | str) -> Answer:
        start = int(request.headers.get("Content-Range", str(len(self.held))).partition("-")[0])
        if fault == "lost":
            return Answer(status=404)
        if fault == 416 or start != len(self.held):
            return Answer(status=416)
        if isinstance(fault, int) and fault:
            self.held += request.body[:fault]
            return Answer(dropped=True)
        self.held += request.body
        if fault == "unheard":
            return Answer(status=503)
        return Answer(status=202, headers={"Location": f"/upload?n={self.begun}&at={len(self.held)}", "Range": f"0-{len(self.held) - 1}"})


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "CHUNK_BYTES", 4000)


def pieces() -> Iterator[bytes]:
    for start in range(0, len(DATA), 1500):
        yield DATA[start : start + 1500]


def send(server: Scripted, *, sent: list[int] | None = None) -> tuple[Digest, int]:
    with Client(server.host, settings=QUICK) as client:
        return Upload(client, "a", "it", sent=(sent if sent is not None else []).append).send(pieces)


def test_a_small_blob_goes_in_one_piece(scripted: Serve) -> None:
    taking = Taking(scripted())
    assert send(taking.server) == (Digest.of(DATA), len(DATA))
    assert [r.method for r in taking.server.asked("/upload")] == ["PUT"]
    assert taking.blobs == {Digest.of(DATA): DATA}


@pytest.mark.usefixtures("small_chunks")
def test_a_large_blob_is_streamed(scripted: Serve) -> None:
    taking, sent = Taking(scripted()), list[int]()
    assert send(taking.server, sent=sent) == (Digest.of(DATA), len(DATA))
    assert [(r.method, r.headers.get("Content-Range"), len(r.body)) for r in taking.server.asked("/upload")] == [
        ("PATCH", None, len(DATA)),
        ("PUT", None, 0),
    ]
    assert sum(sent) == len(DATA)


@pytest.mark.usefixtures("small_chunks")
def test_a_registry_that_takes_no_stream_gets_chunks(scripted: Serve) -> None:
    taking, sent = Taking(scripted(), faults=[416]), list[int]()
    assert send(taking.server, sent=sent) == (Digest.of(DATA), len(DATA))
    ranges = [r.headers.get("Content-Range") for r in taking.server.asked("/upload", "PATCH")]
    assert ranges == [None, "0-3999", "4000-7999", "8000-9999"]
    assert sum(sent) == len(DATA)


FAULTS: list[list[int | str]] = [[1], [3999], [5000, 2000, 1000, 5], [416, 416], ["unheard"], [4001, 0, "unheard", 100], [9999], [10_000]]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_reg10_an_upload_goes_on_where_it_broke(scripted: Serve, faults: list[int | str]) -> None:
    taking, sent = Taking(scripted(), faults=list(faults)), list[int]()
    assert send(taking.server, sent=sent) == (Digest.of(DATA), len(DATA))
    assert taking.blobs[Digest.of(DATA)] == DATA
    # where nobody can tell what arrived (0-0 is nothing or one byte), it begins anew
    assert taking.begun == (2 if faults in ([1], [416, 416]) else 1)
    assert sum(sent) == len(DATA)


@pytest.mark.usefixtures("small_chunks")
def test_reg10_a_lost_upload_begins_anew_and_not_for_ever(scripted: Serve) -> None:
    taking, sent = Taking(scripted(), faults=[3999, "lost"]), list[int]()
    assert send(taking.server, sent=sent) == (Digest.of(DATA), len(DATA))
    assert taking.begun == 2
    assert sum(sent) == len(DATA)
    never = Taking(scripted(), faults=["lost"] * 100)
    with pytest.raises(RegistryError, match="has lost the upload"):
        send(never.server)
    assert never.begun == 4


def test_reg10_a_chunk_size_that_the_registry_wants(scripted: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "CHUNK_BYTES", 1000)
    taking = Taking(scripted(), faults=[416])
    wanted = Answer(status=202, headers={"Location": "/upload?n=1", "OCI-Chunk-Min-Length": "6000"})
    taking.server.say("/v2/a/blobs/uploads/", wanted)
    assert send(taking.server) == (Digest.of(DATA), len(DATA))
    assert [len(r.body) for r in taking.server.asked("/upload") if r.method != "GET"] == [10_000, 6000, 4000, 0]


def test_reg10_another_digest_than_was_sent(scripted: Serve) -> None:
    server = scripted()
    server.say("/v2/a/blobs/uploads/", Answer(status=202, headers={"Location": "/upload"}))
    server.say("/upload", Answer(status=201, headers={"Docker-Content-Digest": str(Digest.of(b"other"))}))
    with pytest.raises(RegistryError, match="stored it to a as 'sha256:"):
        send(server)


def test_reg10_taken_and_not_there(scripted: Serve) -> None:
    server = scripted()
    server.say("/v2/a/blobs/uploads/", Answer(status=202, headers={"Location": "/upload"}))
    server.say("/upload", Answer(status=201))
    with pytest.raises(RegistryError, match="took it to a and does not have it"):
        send(server)


@pytest.mark.parametrize("location", [None, "", "file:///x", "http://evil.example/x"])
def test_reg10_an_upload_that_leads_nowhere(scripted: Serve, location: str | None) -> None:
    server = scripted()
    server.say("/v2/a/blobs/uploads/", Answer(status=202, headers={} if location is None else {"Location": location}))
    with pytest.raises(RegistryError, match="not allowed"):
        send(server)


def test_reg10_a_mount_to_another_digest(scripted: Serve) -> None:
    server, digest = scripted(), Digest.of(DATA)
    other = {"Docker-Content-Digest": str(Digest.of(b"other"))}
    server.say("/v2/a/blobs/uploads/", Answer(status=201, headers=other))
    with Client(server.host, settings=QUICK) as client:
        with pytest.raises(RegistryError, match="mounted 'sha256:"):
            mount(client, "a", digest, "b")
        server.say("/v2/a/blobs/uploads/", Answer(status=201))
        assert not mount(client, "a", digest, "b"), "it says yes and does not have it"
        server.say(f"/v2/a/blobs/{digest}", Answer())
        assert mount(client, "a", digest, "b")
    asked = server.asked("/v2/a/blobs/uploads/")[-1]
    assert parse_qs(urlsplit(asked.path).query) == {"mount": [digest], "from": ["b"]}


def test_reg10_a_mount_that_becomes_an_upload_is_cancelled(scripted: Serve) -> None:
    server = scripted()
    server.say("/v2/a/blobs/uploads/", Answer(status=202, headers={"Location": "/upload?n=1"}))
    server.say("/upload", Answer(status=204))
    with Client(server.host, settings=QUICK) as client:
        assert not mount(client, "a", Digest.of(DATA), "b")
    assert [r.method for r in server.asked("/upload")] == ["DELETE"]


def test_reg10_a_chunk_for_another_host_carries_no_login(scripted: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "CHUNK_BYTES", 4000)
    server, elsewhere = scripted(), scripted()
    begin = Answer(status=202, headers={"Location": f"http://{elsewhere.host}/upload"})
    server.say("/v2/a/blobs/uploads/", Answer(status=401, headers={"WWW-Authenticate": "Basic"}), begin)
    server.say(f"/v2/a/blobs/{Digest.of(DATA)}", Answer())
    elsewhere.say("/upload", Answer(status=202, headers={"Location": "/upload"}), Answer(status=201))
    with Client(server.host, settings=QUICK, find=lambda _registry: SECRET) as client:
        assert Upload(client, "a", "it").send(pieces) == (Digest.of(DATA), len(DATA))
    assert "Authorization" in server.asked("/v2/a/blobs/uploads/")[1].headers
    assert [r.method for r in elsewhere.requests] == ["PATCH", "PUT"]
    assert not [r for r in elsewhere.requests if "Authorization" in r.headers]


def test_reg10_a_manifest_that_became_another_one(scripted: Serve) -> None:
    server, data = scripted(), b'{"schemaVersion":2}'
    path = "/v2/a/manifests/1"
    other = {"Docker-Content-Digest": str(Digest.of(b"other"))}
    with Client(server.host, settings=QUICK) as client:
        server.say(path, Answer(status=201, headers=other))
        with pytest.raises(RegistryError, match="stored the manifest of a as"):
            push_manifest(client, "a", "1", data, MANIFEST)
        server.say(path, Answer(status=201), Answer(headers=other))
        with pytest.raises(RegistryError, match="stored the manifest of a as"):
            push_manifest(client, "a", "1", data, MANIFEST)
        server.say(path, Answer(status=201), Answer(headers={"Docker-Content-Digest": str(Digest.of(data))}))
        assert push_manifest(client, "a", "1", data, MANIFEST) == Digest.of(data)

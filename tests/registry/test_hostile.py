"""REG-01 … REG-14: what a hostile registry does, and that nothing comes of it. Two loopback addresses are two hosts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.errors import Error, InvalidDocument, RegistryError
from notebook_containers.oci.image import CONFIG, INDEX, LAYER_TAR, MANIFEST, Descriptor, Digest, Platform
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client
from notebook_containers.registry.credentials import Credentials
from notebook_containers.registry.listing import referrers, tags
from notebook_containers.registry.pull import pull
from notebook_containers.registry.settings import Host, Settings, Timeouts
from notebook_containers.registry.transport import Transport
from notebook_containers.registry.wire import Wire, public_only
from notebook_containers.store.store import Store
from tests.registry.images import LAYER, Image, pull_it, refused
from tests.registry.scripted import Answer, Request, Scripted

Serve = Callable[..., Scripted]
SECRET = Credentials(username="me", password="hunter2")
QUICK = Settings(timeouts=Timeouts(pause_s=0.01, attempts=3, read_s=5, connect_s=2))
BIG = os.urandom(300_000)


class BigImage(Image):
    """Its layer has 300 kB, so that it can come in parts."""

    def __init__(self) -> None:
        super().__init__()
        self.tar = _tar(BIG)
        self.layer = Digest.of(self.tar)
        self.set_config({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [self.layer]}})
        self.document["layers"] = [{"mediaType": LAYER_TAR, "digest": self.layer, "size": len(self.tar)}]

    def set_config(self, config: object) -> None:
        self.config = config if isinstance(config, bytes) else json.dumps(config).encode()
        self.document["config"] = {"mediaType": CONFIG, "digest": Digest.of(self.config), "size": len(self.config)}

    def serve(self, server: Scripted) -> None:
        super().serve(server)
        server.say(self.layer_path, Answer(body=self.tar))


def _tar(data: bytes) -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("big")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def big(scripted: Serve) -> tuple[Scripted, BigImage]:
    server, image = scripted(), BigImage()
    image.serve(server)
    return server, image


# REG-01 ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [1, -1])
def test_reg01_a_descriptor_that_is_one_byte_off(store: Store, big: tuple[Scripted, BigImage], more: int) -> None:
    server, image = big
    image.document["layers"] = [{"mediaType": LAYER_TAR, "digest": image.layer, "size": len(image.tar) + more}]
    image.serve(server)
    error = refused(store, server)
    assert image.layer.short in str(error)


def test_reg01_nothing_is_read_behind_the_announced_size(scripted: Serve) -> None:
    server, endless = scripted(), 200_000_000
    blob = Descriptor(media_type=LAYER_TAR, digest=Digest.of(b"x"), size=1000)
    server.say(f"/v2/a/blobs/{blob.digest}", Answer(body=b"\0" * 2_000_000, headers={"Content-Length": str(endless)}))
    got: list[bytes] = []
    with Client(server.host, settings=QUICK) as client, pytest.raises(RegistryError, match="more than the 1000 bytes allowed"):
        got.extend(client.blob("a", blob))
    assert sum(map(len, got)) <= 1000
    assert len(server.requests) == 2, "a lie is not asked for again"


def test_reg01_a_trickle_ends(store: Store, big: tuple[Scripted, BigImage]) -> None:
    server, image = big
    (store.root / "registries.toml").write_text(
        "timeouts = {deadline_s = 0.3, slowest_bytes_per_s = 1000000, attempts = 3, pause_s = 0.01}"
    )
    server.say(image.layer_path, Answer(body=image.tar, bytes_per_s=20))
    started = time.monotonic()
    refused(store, server, match="too slowly")
    assert time.monotonic() - started < 10


# REG-02 ----------------------------------------------------------------------------------------------------------------------------


def test_reg02_a_broken_download_goes_on_where_it_broke(store: Store, big: tuple[Scripted, BigImage]) -> None:
    server, image = big
    server.say(image.layer_path, Answer(body=image.tar, reset_after=100_000), Answer(body=image.tar, ranges=True))
    pull_it(store, server)
    first, second = server.asked(image.layer_path)
    assert "Range" not in first.headers
    start = int(second.headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= 100_000


def test_reg02_a_range_that_is_ignored(store: Store, big: tuple[Scripted, BigImage]) -> None:
    server, image = big
    server.say(image.layer_path, Answer(body=image.tar, reset_after=100_000), Answer(body=image.tar))
    pull_it(store, server)
    assert len(server.asked(image.layer_path)) == 2


@pytest.mark.parametrize("words", ["bytes 0-9/300000", "bytes 5-1/2", "lines 1-2/3", "bytes 100000-299999/5", ""])
def test_reg02_a_range_that_is_another_one(store: Store, big: tuple[Scripted, BigImage], words: str) -> None:
    server, image = big
    lie = Answer(status=206, body=image.tar, headers={"Content-Range": words})
    server.say(image.layer_path, Answer(body=image.tar, reset_after=100_000), lie, Answer(body=image.tar))
    pull_it(store, server)
    assert "Range" not in server.asked(image.layer_path)[-1].headers


def test_reg02_bytes_that_change_between_the_parts(store: Store, big: tuple[Scripted, BigImage]) -> None:
    server, image = big
    other = b"\1" * len(image.tar)
    parts = (Answer(body=image.tar, reset_after=100_000), Answer(body=other, ranges=True))
    server.say(image.layer_path, *parts, Answer(body=image.tar))
    pull_it(store, server)
    assert "Range" not in server.asked(image.layer_path)[-1].headers
    store.images.remove(store.images.list()[0].id)


def test_reg02_bytes_that_change_each_time_are_refused(store: Store, big: tuple[Scripted, BigImage]) -> None:
    server, image = big
    other = b"\1" * len(image.tar)
    server.say(image.layer_path, Answer(body=image.tar, reset_after=100_000), Answer(body=other, ranges=True))
    refused(store, server, match="wrong bytes")
    assert not store.content.has(image.layer)


# REG-03 ----------------------------------------------------------------------------------------------------------------------------


def test_reg03_another_port_is_another_host(scripted: Serve) -> None:
    server = scripted()
    other = scripted()
    with Client(server.host, settings=QUICK, find=lambda _registry: SECRET) as client:
        server.say("/v2/a/tags/list", Answer(status=401, headers={"WWW-Authenticate": "Basic"}), *[moved(other, "/list")] * 2)
        other.say("/list", Answer(body=b'{"tags":["x"]}', headers={"Set-Cookie": "a=b"}))
        assert tags(client, "a") == tags(client, "a") == ["x"]
    assert "Authorization" in server.asked("/v2/a/tags/list")[1].headers
    for request in other.requests:
        assert not {"Authorization", "Cookie"} & set(request.headers)


def moved(other: Scripted, path: str) -> Answer:
    return Answer(status=302, headers={"Location": f"http://{other.host}{path}"})


@pytest.mark.parametrize("target", ["unix:///run/docker.sock", "//", "http://[", "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "\x00"])
def test_reg03_addresses_that_are_none(store: Store, scripted: Serve, target: str) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say(image.layer_path, Answer(status=302, headers={"Location": target}))
    refused(store, server)


def test_reg03_what_is_connected_to_is_checked_and_not_only_looked_up() -> None:
    """A name that is public when asked and private when used (DNS rebinding) is refused by the socket's own address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(PermissionError, match="private"):
            Wire(connect_s=1, forbids=public_only).connect("127.0.0.1", port)
        Wire(connect_s=1).connect("127.0.0.1", port).close()


def test_reg03_private_addresses_where_the_user_allows_them() -> None:
    here = "https://93.184.216.34/v2/"
    allowed = Transport("93.184.216.34", Settings(hosts={"93.184.216.34": Host(private_redirects=True)}))
    assert allowed.next_url(here, "https://10.0.0.1/x") == "https://10.0.0.1/x"
    with pytest.raises(RegistryError, match="not allowed"):
        allowed.next_url(here, "http://10.0.0.1/x")


# REG-05 ----------------------------------------------------------------------------------------------------------------------------


def test_reg05_no_password_without_tls_but_on_this_machine(scripted: Serve) -> None:
    """A host that is named as plain http, and is not this machine, gets no password (the name leads to the loopback all the same)."""
    server = scripted()
    server.say("/v2/a/tags/list", Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), Answer(body=b'{"tags":[]}'))
    name = f"{socket.gethostname()}:{server.host.partition(':')[2]}"
    transport = Transport(name, Settings(hosts={name: Host(plain_http=True)}))
    assert transport.base == f"http://{name}"
    assert not transport.may_have_password
    assert Transport(server.host).may_have_password


def test_reg05_a_header_of_100_kib(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say("/v2/a/manifests/1", Answer(status=401, headers={"WWW-Authenticate": "Bearer " + "a" * 100 * 1024}))
    refused(store, server)


def test_reg05_a_line_end_in_a_scope_stays_in_its_parameter(scripted: Serve) -> None:
    server = scripted()
    words = f'Bearer realm="http://{server.host}/token",scope="a%0d%0aX: y b&account=root"'
    server.say("/v2/a/tags/list", Answer(status=401, headers={"WWW-Authenticate": words}), Answer(body=b'{"tags":["x"]}'))
    server.say("/token", Answer(body=b'{"token":"t"}'))
    with Client(server.host, settings=QUICK) as client:
        assert tags(client, "a") == ["x"]
    (asked,) = server.asked("/token")
    assert asked.path == "/token?scope=a%250d%250aX%3A&scope=y&scope=b%26account%3Droot"
    assert "X" not in asked.headers


def test_reg05_a_token_server_elsewhere_that_the_user_names(scripted: Serve) -> None:
    server, elsewhere = scripted(), scripted()
    challenge = Answer(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{elsewhere.host}/token"'})
    server.say("/v2/a/tags/list", challenge, Answer(body=b'{"tags":["x"]}'))
    elsewhere.say("/token", Answer(body=b'{"token":"t"}'))
    named = Settings(hosts={server.host: Host(token_hosts=(elsewhere.host.partition(":")[0],))})
    with Client(server.host, settings=named, find=lambda _registry: SECRET) as client:
        assert tags(client, "a") == ["x"]
    assert elsewhere.asked("/token")[0].headers["Authorization"].startswith("Basic ")


def test_reg05_of_several_challenges_the_token_is_taken(scripted: Serve) -> None:
    server = scripted()
    words = f'Basic realm="old", Bearer realm="http://{server.host}/token",service="s"'
    server.say("/v2/a/tags/list", Answer(status=401, headers={"WWW-Authenticate": words}), Answer(body=b'{"tags":["x"]}'))
    server.say("/token", Answer(body=b'{"token":"t"}'))
    with Client(server.host, settings=QUICK) as client:
        assert tags(client, "a") == ["x"]
    assert server.requests[-1].headers["Authorization"] == "Bearer t"


# REG-06 ----------------------------------------------------------------------------------------------------------------------------


def index_of(*entries: object) -> Answer:
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    return Answer(body=json.dumps(document).encode(), headers={"Content-Type": INDEX})


def entry_of(manifest: Answer, architecture: str = "amd64") -> dict[str, object]:
    where = {"architecture": architecture, "os": "linux"}
    return {"mediaType": MANIFEST, "digest": Digest.of(manifest.body), "size": len(manifest.body), "platform": where}


def test_reg06_a_key_that_stands_twice(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    data = json.dumps(image.document)
    twice = data[:-1] + ', "layers": []}'
    server.say("/v2/a/manifests/1", Answer(body=twice.encode(), headers={"Content-Type": MANIFEST}))
    refused(store, server, InvalidDocument, match="stands twice")


def test_reg06_a_platform_that_lies(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    (manifest,) = server.answers["/v2/a/manifests/1"]
    assert isinstance(manifest, Answer)
    server.say(f"/v2/a/manifests/{Digest.of(manifest.body)}", manifest)
    server.say("/v2/a/manifests/1", index_of(entry_of(manifest, "arm64")))
    with pytest.raises(InvalidDocument, match="says linux/arm64, and the image itself linux/amd64"):
        pull(store, Reference.parse(f"{server.host}/a:1"), Platform(architecture="arm64"))
    assert store.images.list() == []
    server.say("/v2/a/manifests/1", index_of({**entry_of(manifest), "size": 7}))
    refused(store, server, InvalidDocument, match="says 7 bytes")


def test_reg06_an_index_that_leads_to_itself_or_deeper(store: Store, scripted: Serve) -> None:
    server = scripted()
    inner = index_of()
    for _ in range(50):
        server.say(f"/v2/a/manifests/{Digest.of(inner.body)}", inner)
        inner = index_of({**entry_of(inner), "mediaType": INDEX})
    server.say("/v2/a/manifests/1", inner)
    refused(store, server, InvalidDocument, match="leads to another index")
    assert len(server.requests) <= 3


def test_reg06_embedded_data_is_not_believed(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    lie = {"mediaType": LAYER_TAR, "digest": image.layer, "size": len(LAYER), "data": base64.b64encode(b"evil").decode()}
    image.document["layers"] = [lie]
    image.serve(server)
    pull_it(store, server)
    with store.layers.open_tar(image.layer) as tar:
        assert tar.read() == LAYER


def test_reg06_subjects_and_referrers_are_listed_and_never_followed(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.document["subject"] = {"mediaType": MANIFEST, "digest": Digest.of(b"another"), "size": 7}
    image.serve(server)
    pull_it(store, server)
    assert not [r for r in server.requests if Digest.of(b"another") in r.path]
    digest = Digest.of(b"it")
    itself = {"mediaType": MANIFEST, "digest": digest, "size": 2, "artifactType": "application/x-signature"}
    server.say(f"/v2/a/referrers/{digest}", index_of(itself, {**itself, "artifactType": "other"}))
    with Client(server.host, settings=QUICK) as client:
        assert len(referrers(client, "a", digest)) == 2
        assert [r.artifact_type for r in referrers(client, "a", digest, artifact_type="other")] == ["other"]
        before = len(server.requests)
        assert referrers(client, "a", Digest.of(b"none")) == []
        server.say(f"/v2/a/manifests/sha256-{Digest.of(b'old').hex}", index_of(itself))
        assert len(server.requests) == before + 2
    assert server.asked(f"/v2/a/referrers/{digest}")[-1].path.endswith("?artifactType=other")


# REG-07 ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        b"[" * 100_000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"history":[' + b"{}," * 1_000_000 + b"{}]}",
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
        b'{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":["sha256:' + b"0" * 64 + b'"]},"created":' + b"9" * 5000 + b"}",
    ],
    ids=["deep-list", "deep-object", "history", "fewer-layers", "huge-number"],
)
def test_reg07_configs_that_are_too_much(store: Store, scripted: Serve, config: bytes) -> None:
    server, image = scripted(), BigImage()
    image.set_config(config)
    image.serve(server)
    refused(store, server, InvalidDocument)


def test_reg07_ten_thousand_layers(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.document["layers"] = [{"mediaType": LAYER_TAR, "digest": image.layer, "size": 1024}] * 10_000
    image.serve(server)
    refused(store, server, InvalidDocument, match="10000 layers, more than the 500")
    assert not server.asked(image.layer_path)


def test_reg07_a_config_of_100_mib_is_not_asked_for(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.document["config"] = {"mediaType": CONFIG, "digest": Digest.of(b"c"), "size": 100 * 1024 * 1024}
    image.serve(server)
    refused(store, server, InvalidDocument, match="104857600 bytes, more than")
    assert not server.asked(f"/v2/a/blobs/{Digest.of(b'c')}")


# REG-08 ----------------------------------------------------------------------------------------------------------------------------


def test_reg08_sha512_is_a_digest_for_layers_configs_and_manifests(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    layer = Digest.of(image.tar, "sha512")
    image.set_config({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [image.layer]}})
    image.document["layers"] = [{"mediaType": LAYER_TAR, "digest": layer, "size": len(image.tar)}]
    config = Digest.of(image.config, "sha512")
    image.document["config"] = {"mediaType": CONFIG, "digest": config, "size": len(image.config)}
    data = json.dumps(image.document).encode()
    manifest = Digest.of(data, "sha512")
    for path, body in ((f"manifests/{manifest}", data), (f"blobs/{layer}", image.tar), (f"blobs/{config}", image.config)):
        server.say(f"/v2/a/{path}", Answer(body=body, headers={"Content-Type": MANIFEST} if body == data else {}))
    record = pull(store, Reference.parse(f"{server.host}/a@{manifest}"))
    assert (record.id, record.diff_ids) == (config, (image.layer,))
    assert store.images.resolve(f"{server.host}/a@{manifest}").id == record.id
    server.say(f"/v2/a/manifests/{manifest}", Answer(body=data + b" ", headers={"Content-Type": MANIFEST}))
    with pytest.raises(RegistryError, match="when asked for sha512:"):
        pull(store, Reference.parse(f"{server.host}/a@{manifest}"))


@pytest.mark.parametrize(
    "digest", ["md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:" + "0" * 63, "sha256:../../x", "sha512:" + "0" * 64, "", "x"]
)
def test_reg08_what_is_no_digest_reaches_no_path(store: Store, scripted: Serve, digest: str) -> None:
    server, image = scripted(), Image()
    image.document["layers"] = [{"mediaType": LAYER_TAR, "digest": digest, "size": 1024}]
    image.serve(server)
    refused(store, server, Error)
    assert [r.path for r in server.requests if "blobs" in r.path] == []


# REG-09 ----------------------------------------------------------------------------------------------------------------------------


def test_reg09_a_digest_wins_over_the_tag_beside_it(store: Store, scripted: Serve) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    (manifest,) = server.answers["/v2/a/manifests/1"]
    assert isinstance(manifest, Answer)
    digest = Digest.of(manifest.body)
    server.say(f"/v2/a/manifests/{digest}", manifest)
    server.say("/v2/a/manifests/1", Answer(body=b"{}", headers={"Content-Type": MANIFEST}))
    record = pull(store, Reference.parse(f"{server.host}/a:1@{digest}"))
    assert record.tags == ()
    assert not server.asked("/v2/a/manifests/1")
    with pytest.raises(Error):
        store.images.resolve(f"{server.host}/b@{digest}")


# REG-14 ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 401, 403])
def test_reg14_a_digest_that_is_guessed_gives_nothing(store: Store, scripted: Serve, status: int) -> None:
    """The layer is here from another registry; a manifest that only names it is refused unless its own registry lets us have it."""
    first, second, image = scripted(), scripted(), Image()
    image.serve(first)
    pull_it(store, first)
    image.serve(second)
    second.say(image.layer_path, Answer(status=status, headers={"WWW-Authenticate": "Basic"} if status == 401 else {}))
    with pytest.raises(RegistryError):
        pull_it(store, second)
    assert [tag for each in store.images.list() for tag in each.tags] == [f"{first.host}/a:1"]
    second.say(image.layer_path, Answer(body=LAYER))
    pull_it(store, second)
    assert [r.method for r in second.asked(image.layer_path)] == ["HEAD", "HEAD"]
    before = len(second.asked(image.layer_path))
    pull_it(store, second)
    assert len(second.asked(image.layer_path)) == before, "what this repository has given before is not asked for again"


# REG-11, REG-12: what is kept -------------------------------------------------------------------------------------------------------


def test_reg11_a_name_never_leads_out_of_certs_d(tmp_path: Path) -> None:
    from notebook_containers.registry.certificates import context_for

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ca.crt").write_text("not a certificate")
    (tmp_path / "certs.d").mkdir()
    settings = Settings(folder=tmp_path)
    for name in ("../outside", "..", "a/../../outside", "/", "x/y"):
        context_for("reg.example", name, settings)
    (tmp_path / "certs.d" / "reg.example").symlink_to(outside)
    with pytest.raises(RegistryError, match=r"ca\.crt cannot be used"):
        context_for("reg.example", "reg.example", settings)


def test_reg12_the_secret_is_nowhere_but_in_its_place(store: Store, scripted: Serve, tmp_path: Path) -> None:
    """A pull with a password fails and succeeds; then the whole store, every error and every repr are searched for it."""
    secret = "hunter2-" + hashlib.sha256(b"x").hexdigest()[:8]
    folder = tmp_path / "home" / ".docker"
    folder.mkdir(parents=True)
    server, image = scripted(), Image()
    auth = base64.b64encode(f"me:{secret}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
    image.serve(server)
    manifest = server.answers["/v2/a/manifests/1"][0]

    def guarded(request: Request) -> Answer:
        if request.headers.get("Authorization") != f"Basic {auth}":
            return Answer(status=401, headers={"WWW-Authenticate": "Basic"})
        return manifest if isinstance(manifest, Answer) else manifest(request)

    server.say("/v2/a/manifests/1", guarded)
    server.say(image.layer_path, Answer(body=b"wrong"), Answer(body=LAYER))
    words = []
    try:
        pull_it(store, server)
    except Error:
        import traceback

        words.append(traceback.format_exc())
    server.say(image.layer_path, Answer(body=LAYER))
    pull_it(store, server)
    words.append(repr(Client(server.host).__dict__) + repr(store.images.list()))
    kept = b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    for form in (secret, auth):
        assert form.encode() not in kept
        assert all(form not in text for text in words)

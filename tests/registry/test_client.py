"""REG-01, 03, 05, 06, 07, 10 against a scripted registry."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from notebook_containers.errors import Error, InvalidDocument, RegistryError
from notebook_containers.oci.image import CONFIG, LAYER_TAR, MANIFEST, Descriptor, Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client
from notebook_containers.registry.credentials import Credentials
from notebook_containers.registry.listing import tags
from notebook_containers.registry.pull import pull
from notebook_containers.registry.transport import Transport
from notebook_containers.registry.upload import Upload
from notebook_containers.store.store import Store
from tests.registry.images import LAYER, Image, pull_it, refused
from tests.registry.scripted import Answer, Scripted

SECRET = Credentials(username="me", password="hunter2")


def sound(reply: object) -> Answer:
    assert isinstance(reply, Answer)
    return reply


def test_the_sound_image_is_pulled(store: Store, scripted: Callable[[], Scripted]) -> None:
    server = scripted()
    Image().serve(server)
    pull_it(store, server)
    assert store.images.resolve(f"{server.host}/a:1").diff_ids == (Digest.of(LAYER),)


def test_plain_http_reads_no_authorities(store: Store, scripted: Callable[[], Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are some hundred files' worth of certificates: 20 ms before each transfer with a registry on this machine."""

    def read() -> ssl.SSLContext:
        raise AssertionError("the system's authorities were read")

    monkeypatch.setattr(ssl, "create_default_context", read)
    server = scripted()
    Image().serve(server)
    pull_it(store, server)


@pytest.mark.parametrize(
    "answer",
    [
        {"body": b"\1" * 1024},
        {"body": b"\0" * 1025},
        {"body": b"\0" * 1023},
        {"body": b"\0" * 1024, "cut": 100},
        {"body": b""},
        {"status": 404},
        {"status": 403},
        {"status": 301, "headers": {}},
    ],
    ids=["flipped", "longer", "shorter", "cut", "empty", "missing", "forbidden", "redirect-nowhere"],
)
def test_reg01_a_lying_blob(store: Store, scripted: Callable[[], Scripted], answer: dict[str, object]) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say(image.layer_path, Answer(**answer))  # type: ignore[arg-type]
    refused(store, server)
    assert not store.content.has(image.layer)


def test_reg01_a_broken_connection_is_tried_again(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say(image.layer_path, Answer(body=LAYER, cut=1000), Answer(status=503), Answer(body=LAYER))
    pull_it(store, server)
    assert len(server.asked(image.layer_path)) == 3


def test_reg01_a_stalled_connection_ends(store: Store, scripted: Callable[[], Scripted]) -> None:
    (store.root / "registries.toml").write_text("timeouts = {read_s = 0.2, attempts = 2, pause_s = 0.01}")
    server, image = scripted(), Image()
    image.serve(server)
    server.say(image.layer_path, Answer(body=LAYER, delay_s=1.0))
    started = time.monotonic()
    refused(store, server)
    assert time.monotonic() - started < 20


def test_reg01_a_lying_manifest_digest(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, image = scripted(), Image()
    image.headers = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    image.serve(server)
    refused(store, server, match="announces")
    path = "/v2/a/manifests/sha256:" + "0" * 64
    server.say(path, *server.answers["/v2/a/manifests/1"])
    sound(server.answers[path][0]).headers = {"Content-Type": MANIFEST}
    with pytest.raises(RegistryError, match="when asked for"):
        pull(store, Reference.parse(f"{server.host}/a@sha256:{'0' * 64}"))


def test_reg07_a_huge_manifest_is_not_read(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say("/v2/a/manifests/1", Answer(body=b" " * (5 * 1024 * 1024), headers={"Content-Type": MANIFEST}))
    refused(store, server, match="more than the 4194304 bytes")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"manifests": []}, MANIFEST),
        ({"schemaVersion": 1}, MANIFEST),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, MANIFEST),
        ({"mediaType": None}, "text/html"),
        ({"layers": []}, MANIFEST),
        ({"layers": [{"mediaType": "application/x-evil", "digest": Digest.of(LAYER), "size": 1024}]}, MANIFEST),
        ({"layers": [{"mediaType": LAYER_TAR, "digest": "sha256:../../etc", "size": 1024}]}, MANIFEST),
        ({"layers": [{"mediaType": LAYER_TAR, "digest": "md5:" + "0" * 32, "size": 1024}]}, MANIFEST),
        ({"layers": [{"mediaType": LAYER_TAR, "digest": Digest.of(LAYER), "size": -1}]}, MANIFEST),
        ({"config": {"mediaType": CONFIG, "digest": Digest.of(b""), "size": 100 * 1024 * 1024}}, MANIFEST),
    ],
)
def test_reg06_a_doubtful_manifest(store: Store, scripted: Callable[[], Scripted], change: dict[str, object], kind: str) -> None:
    server, image = scripted(), Image()
    image.document.update(change)
    image.document = {key: value for key, value in image.document.items() if value is not None}
    image.kind = kind
    image.serve(server)
    refused(store, server, Error)


@pytest.mark.parametrize("entry", ["index", "both", "many"])
def test_reg06_a_doubtful_index(store: Store, scripted: Callable[[], Scripted], entry: str) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    kind = "application/vnd.oci.image.index.v1+json"
    inner = {"schemaVersion": 2, "mediaType": kind, "manifests": []}
    target = json.dumps(inner).encode()
    item = {"mediaType": kind, "digest": Digest.of(target), "size": len(target), "platform": {"architecture": "amd64", "os": "linux"}}
    outer: dict[str, object] = {**inner, "manifests": [item] * (1001 if entry == "many" else 1)}
    if entry == "both":
        outer["layers"] = []
    server.say(f"/v2/a/manifests/{Digest.of(target)}", Answer(body=target, headers={"Content-Type": kind}))
    server.say("/v2/a/manifests/1", Answer(body=json.dumps(outer).encode(), headers={"Content-Type": kind}))
    refused(store, server, InvalidDocument, match="index")


def test_reg04_foreign_urls_are_ignored(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, elsewhere, image = scripted(), scripted(), Image()
    image.document["layers"] = [{"mediaType": LAYER_TAR, "digest": image.layer, "size": 1024, "urls": [f"http://{elsewhere.host}/layer"]}]
    image.serve(server)
    pull_it(store, server)
    assert elsewhere.requests == []


def test_reg03_a_redirect_to_another_host_carries_no_login(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, elsewhere, image = scripted(), scripted(), Image()
    image.serve(server)
    blob = {"mediaType": LAYER_TAR, "digest": image.layer, "size": 1024}
    elsewhere.say("/storage", Answer(body=LAYER))
    moved = Answer(status=307, headers={"Location": f"http://{elsewhere.host}/storage?signature=1"})
    server.say(image.layer_path, Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), moved)
    with Client(server.host, find=lambda _registry: SECRET) as client:
        assert b"".join(client.blob("a", Descriptor.from_json(blob))) == LAYER  # type: ignore[arg-type]
    assert server.asked(image.layer_path)[1].headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in elsewhere.asked("/storage")[0].headers


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/x", "http://evil.example/x", "http://me:pw@127.0.0.1/x", "https:///x"]
)
def test_reg03_a_redirect_out_of_http_or_to_plain_http(store: Store, scripted: Callable[[], Scripted], location: str) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say(image.layer_path, Answer(status=302, headers={"Location": location}))
    refused(store, server, match="not allowed")


def test_reg03_a_circle_of_redirects_ends(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say(image.layer_path, Answer(status=302, headers={"Location": image.layer_path}))
    refused(store, server, match="redirects more than 10 times")
    assert len(server.asked(image.layer_path)) == 11


def test_reg03_https_never_becomes_http_and_public_never_private() -> None:
    public = Transport("93.184.216.34")
    here = "https://93.184.216.34/v2/"
    assert public.next_url(here, "/v2/x") == "https://93.184.216.34/v2/x"
    assert public.next_url(here, "https://1.1.1.1/x") == "https://1.1.1.1/x"
    for location in ("http://93.184.216.34/x", "https://127.0.0.1/x", "https://169.254.169.254/x", "https://[::1]/x", "https://10.0.0.1/x"):
        with pytest.raises(RegistryError, match="not allowed"):
            public.next_url(here, location)


def token_challenge(realm: str, more: str = "") -> Answer:
    return Answer(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="repository:a:pull"{more}'})


def test_a_bearer_token_is_fetched_once_and_used(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    manifest = server.answers["/v2/a/manifests/1"]
    server.say("/v2/a/manifests/1", token_challenge(f"http://{server.host}/token"), *manifest)
    server.say("/token", Answer(body=b'{"token":"abc.def"}'))
    pull_it(store, server)
    (asked,) = server.asked("/token")
    assert "scope=repository%3Aa%3Apull" in asked.path
    assert "Authorization" not in asked.headers
    used = [request.headers.get("Authorization") for request in server.requests if request.path.startswith("/v2/a/")]
    assert used == [None, *["Bearer abc.def"] * 3]


def test_the_password_goes_to_the_token_server_of_the_registry_only(scripted: Callable[[], Scripted]) -> None:
    server, elsewhere = scripted(), scripted()
    for realm_host, allowed in ((server.host, True), (elsewhere.host, False)):
        server.say("/v2/a/tags/list", token_challenge(f"http://{realm_host}/token"), Answer(body=b'{"tags":["x"]}'))
        for each in (server, elsewhere):
            each.say("/token", Answer(body=b'{"access_token":"t"}'))
        with Client(server.host, find=lambda _registry: SECRET) as client:
            if allowed:
                assert tags(client, "a") == ["x"]
                assert server.asked("/token")[0].headers["Authorization"].startswith("Basic ")
            else:
                with pytest.raises(RegistryError, match="password sent to another site"):
                    tags(client, "a")
    assert elsewhere.requests == []


@pytest.mark.parametrize("realm", ["http://evil.example/token", "file:///x", "", "https://u:p@host/x", "http://169.254.169.254/latest"])
def test_reg05_a_strange_realm_is_refused(store: Store, scripted: Callable[[], Scripted], realm: str) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say("/v2/a/manifests/1", token_challenge(realm))
    refused(store, server, match="not allowed")


@pytest.mark.parametrize(
    "token", [b"", b"{}", b'{"token":""}', b'{"token":"a\\r\\nX: y"}', b'{"token":5}', b"[]", b'{"token":"' + b"x" * 2_000_000]
)
def test_reg05_a_bad_token_is_refused(store: Store, scripted: Callable[[], Scripted], token: bytes) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say("/v2/a/manifests/1", token_challenge(f"http://{server.host}/token"))
    server.say("/token", Answer(body=token))
    refused(store, server, Error)


def test_a_redirected_token_request_is_not_followed(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, elsewhere, image = scripted(), scripted(), Image()
    image.serve(server)
    server.say("/v2/a/manifests/1", token_challenge(f"http://{server.host}/token"))
    server.say("/token", Answer(status=302, headers={"Location": f"http://{elsewhere.host}/token"}))
    refused(store, server, match="the token server of registry .* answers 302")
    assert elsewhere.requests == []


def test_the_registrys_own_words_are_shown_in_one_harmless_line(store: Store, scripted: Callable[[], Scripted]) -> None:
    server = scripted()
    words = {"errors": [{"code": "DENIED", "message": "no \x1b[31mred\x1b[0m\nfor you" + "x" * 500}]}
    server.say("/v2/a/manifests/1", Answer(status=403, body=json.dumps(words).encode()))
    error = refused(store, server, match="refuses the manifest of a: no")
    assert "\x1b" not in str(error)
    assert len(str(error)) < 400


def test_reg10_an_upload_sent_elsewhere_carries_no_login(scripted: Callable[[], Scripted]) -> None:
    server, elsewhere = scripted(), scripted()
    digest = Digest.of(b"data")
    server.say("/v2/a/blobs/uploads/", Answer(status=202, headers={"Location": f"http://{elsewhere.host}/upload?state=1"}))
    server.say(f"/v2/a/blobs/{digest}", Answer(status=401, headers={"WWW-Authenticate": "Basic"}), Answer(status=200))
    elsewhere.say("/upload", Answer(status=201))
    with Client(server.host, find=lambda _registry: SECRET) as client:
        assert client.has_blob("a", digest)
        assert Upload(client, "a", "it").send(lambda: iter([b"data"]), expected=digest) == (digest, 4)
    (upload,) = elsewhere.asked("/upload")
    assert upload.path == f"/upload?state=1&digest={digest.replace(':', '%3A')}"
    assert "Authorization" not in upload.headers


def test_tags_are_paged(scripted: Callable[[], Scripted]) -> None:
    server = scripted()
    server.say(
        "/v2/a/tags/list",
        Answer(body=b'{"tags":["1","2"]}', headers={"Link": '</v2/a/tags/list?n=2&last=2>; rel="next"'}),
        Answer(body=b'{"tags":["3"]}'),
    )
    with Client(server.host) as client:
        assert tags(client, "a") == ["1", "2", "3"]
    assert server.requests[-1].path == "/v2/a/tags/list?n=2&last=2"


def test_importing_the_client_does_not_import_urllib3() -> None:
    code = "import notebook_containers.registry.pull, notebook_containers.registry.push, sys; sys.exit('urllib3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_failing_layer_stops_the_others(store: Store, scripted: Callable[[], Scripted]) -> None:
    server, image = scripted(), Image()
    big = b"\0" * 3_000_000
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"] = [image.layer, Digest.of(big)]
    image.config = json.dumps(config).encode()
    image.document["config"] = {"mediaType": CONFIG, "digest": Digest.of(image.config), "size": len(image.config)}
    image.document["layers"] = [
        {"mediaType": LAYER_TAR, "digest": digest, "size": size} for digest, size in ((image.layer, 1024), (Digest.of(big), len(big)))
    ]
    image.serve(server)
    server.say(image.layer_path, Answer(status=404))
    server.say(f"/v2/a/blobs/{Digest.of(big)}", Answer(body=big, delay_s=0.3))
    refused(store, server, match="does not have blob")
    assert not store.content.has(Digest.of(big))

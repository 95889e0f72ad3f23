"""Against Debian's docker-registry: TLS with an authority of our own, tokens, mirrors, mounts, listings, platforms, podman and skopeo."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from notebook_containers.errors import Conflict, ImageNotFound, InvalidArgument, RegistryError
from notebook_containers.oci.image import LAYER_ZSTD, Platform
from notebook_containers.oci.reference import Reference
from notebook_containers.registry import push as push_module, upload as upload_module
from notebook_containers.registry.client import Client
from notebook_containers.registry.listing import search, tags
from notebook_containers.registry.lists import ManifestLists
from notebook_containers.registry.login import login, logout
from notebook_containers.registry.progress import BlobProgress, TransferDone, TransferEvent, TransferNote
from notebook_containers.registry.pull import pull, pull_all
from notebook_containers.registry.push import push
from notebook_containers.registry.settings import Host, Settings
from notebook_containers.store.check import check
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store
from notebook_containers.store.usage import places
from tests.registry.certificates import Authority, TokenSigner
from tests.registry.conftest import QUICK
from tests.registry.scripted import Answer, Request, Scripted

MakeImage = Callable[..., ImageRecord]
Serve = Callable[..., str]
PASSWORD = "s3cret-of-the-test"


def say(store: Store, text: str) -> None:
    (store.root / "registries.toml").write_text(f"{QUICK}\n{text}\n")


def phases(seen: list[TransferEvent]) -> set[str]:
    return {event.phase for event in seen if isinstance(event, BlobProgress)}


# TLS (REG-11) ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def test_reg11_an_authority_of_our_own(store: Store, image: MakeImage, serve_registry: Serve, authority: Authority) -> None:
    host = serve_registry(tls=authority.issue("good", "IP:127.0.0.1"))
    made = image(f"{host}/a:1", b"x")
    reference = Reference.parse(f"{host}/a:1")
    with pytest.raises(RegistryError, match="its certificate is not trusted") as caught:
        push(store, reference)
    assert "certs.d" in caught.value.hint
    folder = store.root / "certs.d" / host
    folder.mkdir(parents=True)
    shutil.copy(authority.certificate, folder / "ca.crt")
    push(store, reference)
    shutil.rmtree(folder)
    say(store, f'[registry."{host}"]\nca = "{authority.certificate}"')
    assert pull(store, reference).id == made.id


@pytest.mark.parametrize("fault", ["wrong-host", "expired", "self-signed"])
def test_reg11_certificates_that_are_wrong(store: Store, serve_registry: Serve, authority: Authority, tmp_path: Path, fault: str) -> None:
    names = "DNS:other.example" if fault == "wrong-host" else "IP:127.0.0.1"
    issuer = Authority(tmp_path / "stranger") if fault == "self-signed" else authority
    host = serve_registry(tls=issuer.issue("bad", names, expired=fault == "expired"))
    say(store, f'[registry."{host}"]\nca = "{authority.certificate}"')
    with pytest.raises(RegistryError, match="its certificate is not trusted") as caught:
        pull(store, Reference.parse(f"{host}/a:1"))
    words = {"wrong-host": "ip address mismatch", "expired": "expired", "self-signed": "unable to get local issuer"}
    assert words[fault] in str(caught.value)


def test_reg11_insecure_is_for_named_hosts_only_and_told(store: Store, image: MakeImage, serve_registry: Serve, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    named, other = (serve_registry(tls=stranger.issue(name, "DNS:x")) for name in ("named", "other"))
    say(store, f'[registry."{named}"]\ninsecure = true')
    for host in (named, other):
        image(f"{host}/a:1", b"x")
    push(store, Reference.parse(f"{named}/a:1"))
    seen: list[TransferEvent] = []
    pull(store, Reference.parse(f"{named}/a:1"), None, seen.append)
    assert f"the certificate of {named} is not checked" in " ".join(e.message for e in seen if isinstance(e, TransferNote))
    with pytest.raises(RegistryError, match="not trusted"):
        push(store, Reference.parse(f"{other}/a:1"))


def test_reg11_https_never_becomes_http(store: Store, registry: str) -> None:
    """A host that is no loopback, and is not named, is spoken to by TLS or not at all."""
    say(store, f'[registry."{registry}"]\ninsecure = true')  # a loopback host with a word about its certificate is one of those
    with pytest.raises(RegistryError, match="TLS fails"):
        pull(store, Reference.parse(f"{registry}/a:1"))


# tokens ----------------------------------------------------------------------------------------------------------------------------


class Tokens:
    """A token server: user ``me`` may do everything, nobody may read what is public."""

    def __init__(self, server: Scripted, signer: TokenSigner) -> None:
        self.server, self._signer = server, signer
        server.say("/token", self.answer)

    def answer(self, request: Request) -> Answer:
        query = parse_qs(urlsplit(request.path).query)
        login = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        given = request.headers.get("Authorization", "")
        if given not in ("", f"Basic {login}"):
            return Answer(status=401)
        access: list[dict[str, object]] = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.rsplit(":", 2)
            allowed = actions.split(",") if given else ["pull"] if name.startswith("public/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        token = self._signer.token(account="me", service=query["service"][0], access=access)
        return Answer(body=json.dumps({"token": token}).encode())


@pytest.fixture
def token_registry(serve_registry: Serve, scripted: Callable[[], Scripted], tmp_path: Path) -> tuple[str, Tokens]:
    signer = TokenSigner(tmp_path / "signer")
    tokens = Tokens(scripted(), signer)
    realm = f"http://{tokens.server.host}/token"
    words = f"auth: {{token: {{realm: {realm}, service: test, issuer: test, rootcertbundle: {signer.certificate}}}}}"
    return serve_registry(auth=words), tokens


def test_token_login_push_mount_and_pull(
    store: Store, other: Store, image: MakeImage, token_registry: tuple[str, Tokens], tmp_path: Path
) -> None:
    host, tokens = token_registry
    made = image(f"{host}/team/app:1", os.urandom(100_000), b"y")
    reference = Reference.parse(f"{host}/team/app:1")
    with pytest.raises(RegistryError, match=r"refuses|login"):
        push(store, reference)
    with pytest.raises(RegistryError, match="refuses the login"):
        login(host, "me", "wrong")
    assert not (tmp_path / "home" / ".docker" / "config.json").exists()
    warnings = login(host, "me", PASSWORD).warnings
    assert ["unencrypted" in warning for warning in warnings] == [True]
    push(store, reference)
    store.images.tag(made.id, Reference.parse(f"{host}/public/copy:1"))
    seen: list[TransferEvent] = []
    push(store, Reference.parse(f"{host}/public/copy:1"), seen.append)
    assert phases(seen) == {"waiting", "mounted"}
    scopes = [scope for r in tokens.server.asked("/token") for scope in parse_qs(urlsplit(r.path).query).get("scope", [])]
    assert {"repository:public/copy:pull,push", "repository:team/app:pull"} <= set(scopes)
    assert logout(host)
    assert pull(other, Reference.parse(f"{host}/public/copy:1")).id == made.id
    with pytest.raises(RegistryError, match=r"refuses|login"):
        pull(other, reference)


# what a person does ----------------------------------------------------------------------------------------------------------------


def test_all_tags_of_a_repository(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    for tag in ("1", "2", "3"):
        image(f"{registry}/a:{tag}", tag.encode(), architecture="s390x" if tag == "3" else "amd64")
        push(store, Reference.parse(f"{registry}/a:{tag}"))
    seen: list[TransferEvent] = []
    records = pull_all(other, Reference.parse(f"{registry}/a"), Platform(architecture="amd64"), seen.append)
    assert sorted(tag for record in records for tag in record.tags) == [f"{registry}/a:1", f"{registry}/a:2"]
    assert [e.message for e in seen if isinstance(e, TransferNote)] == [
        f"{registry}/a:3 is left out: image {registry}/a:3 does not exist for linux/amd64"
    ]
    with pytest.raises(RegistryError, match="no repository b"):
        pull_all(other, Reference.parse(f"{registry}/b"))


def test_what_a_mirror_has_comes_from_it(store: Store, other: Store, image: MakeImage, serve_registry: Serve, tmp_path: Path) -> None:
    upstream, mirror = serve_registry(), serve_registry()
    made = image(f"{mirror}/a:1", b"x" * 1000)
    for host in (mirror, upstream):
        store.images.tag(made.id, Reference.parse(f"{host}/a:1"))
        push(store, Reference.parse(f"{host}/a:1"))
    shutil.rmtree(tmp_path / "registry0" / "data")  # the registry itself has nothing left
    say(other, f'[registry."{upstream}"]\nmirrors = ["127.0.0.1:1", "{mirror}"]')
    seen: list[TransferEvent] = []
    got = pull(other, Reference.parse(f"{upstream}/a:1"), None, seen.append)
    assert (got.id, got.tags) == (made.id, (f"{upstream}/a:1",))
    notes = [e.message for e in seen if isinstance(e, TransferNote)]
    assert notes == ["the mirror 127.0.0.1:1 cannot be used: cannot reach registry 127.0.0.1:1: connection refused"]


def test_a_mirror_that_lies_about_a_blob_is_passed_over(
    store: Store, other: Store, image: MakeImage, serve_registry: Serve, tmp_path: Path
) -> None:
    upstream, mirror = serve_registry(), serve_registry()
    made = image(f"{mirror}/a:1", b"x" * 1000)
    for host in (mirror, upstream):
        store.images.tag(made.id, Reference.parse(f"{host}/a:1"))
        push(store, Reference.parse(f"{host}/a:1"))
    for blob in (tmp_path / "registry1" / "data").rglob("data"):
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(b"\1" * blob.stat().st_size)
    say(other, f'[registry."{upstream}"]\nmirrors = ["{mirror}"]')
    seen: list[TransferEvent] = []
    assert pull(other, Reference.parse(f"{upstream}/a:1"), None, seen.append).id == made.id
    assert any("wrong bytes" in e.message for e in seen if isinstance(e, TransferNote))
    assert check(other) == []


def test_a_second_push_compresses_nothing_and_gives_the_same_digest(
    store: Store, image: MakeImage, serve_registry: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = serve_registry(), serve_registry()
    made = image(f"{first}/a:1", os.urandom(200_000), b"y")
    digest = push(store, Reference.parse(f"{first}/a:1"))
    store.images.tag(made.id, Reference.parse(f"{second}/b:1"))
    assert push(store, Reference.parse(f"{second}/b:1")) == digest

    def compress(_pieces: object, _kind: str) -> None:
        pytest.fail("a layer was compressed that the registry has")

    monkeypatch.setattr(push_module, "packed", compress)
    for name in (f"{first}/a:1", f"{second}/b:1"):
        seen: list[TransferEvent] = []
        assert push(store, Reference.parse(name), seen.append) == digest
        assert phases(seen) == {"waiting", "exists"}
        assert [e.changed for e in seen if isinstance(e, TransferDone)] == [False]


def test_a_large_layer_goes_in_chunks_and_arrives_whole(
    store: Store, other: Store, image: MakeImage, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "CHUNK_BYTES", 64 * 1024)
    made = image(f"{registry}/a:1", os.urandom(500_000))
    push(store, Reference.parse(f"{registry}/a:1"))
    assert pull(other, Reference.parse(f"{registry}/a:1")).id == made.id
    assert check(other) == []


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_other_compressions(store: Store, other: Store, image: MakeImage, registry: str, compression: str) -> None:
    made = image(f"{registry}/a:1", os.urandom(1000) * 100)
    digest = push(store, Reference.parse(f"{registry}/a:1"), compression=compression)
    got = pull(other, Reference.parse(f"{registry}/a:1"))
    assert got.id == made.id
    assert (got.manifest.layers[0].media_type == LAYER_ZSTD) == (compression == "zstd")
    assert push(store, Reference.parse(f"{registry}/a:1"), compression=compression) == digest
    with pytest.raises(InvalidArgument, match="unknown"):
        push(store, Reference.parse(f"{registry}/a:1"), compression="lzma")


def test_a_level_of_compression(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    made = image(f"{registry}/a:1", bytes(range(256)) * 4000)
    sizes = []
    for level in (9, 0, None):
        push(store, Reference.parse(f"{registry}/a:1"), level=level)
        got = pull(other, Reference.parse(f"{registry}/a:1"))
        assert got.id == made.id
        sizes.append(got.manifest.layers[0].size)
        other.images.remove(got.id)
    assert sizes[0] < sizes[1]
    with pytest.raises(InvalidArgument, match="compression level 10"):
        push(store, Reference.parse(f"{registry}/a:1"), level=10)
    assert sizes[2] < sizes[1]  # what was sent at a level is not taken for the usual form


def test_repositories_are_searched_where_the_registry_tells_them(store: Store, image: MakeImage, registry: str) -> None:
    for name in ("team/web", "team/db", "webapp"):
        image(f"{registry}/{name}:1", b"x")
        push(store, Reference.parse(f"{registry}/{name}:1"))
    with Client(registry) as client:
        assert [found.name for found in search(client, "web")] == [f"{registry}/team/web", f"{registry}/webapp"]
        assert len(search(client, "e", limit=1)) == 1
        with pytest.raises(InvalidArgument):
            search(client, "")
    settings = Settings.read(store.root)
    say(store, f'[registry."{registry}"]\nsearch = false')
    assert settings.host(registry).search
    with Client(registry, settings=Settings.read(store.root)) as client, pytest.raises(RegistryError, match="not to be searched"):
        search(client, "web")


def test_a_registry_that_cannot_be_searched_says_so(scripted: Callable[[], Scripted]) -> None:
    with Client(scripted().host) as client, pytest.raises(RegistryError, match="cannot be searched") as caught:
        search(client, "web")
    assert caught.value.hint


def test_docker_hubs_answer_is_read(scripted: Callable[[], Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    from notebook_containers.registry import listing

    server = scripted()
    result = {"name": "nginx", "description": "a\nserver\x1b[31m", "star_count": 3, "is_official": True}
    server.say("/v1/search", Answer(body=json.dumps({"results": [result, {"name": "x/nginx", "star_count": "many"}, 5]}).encode()))
    monkeypatch.setattr(listing, "_HUB_SEARCH", f"http://{server.host}/v1/search")
    with Client("docker.io", settings=Settings(hosts={"docker.io": Host(private_redirects=True)})) as client:
        first, second = search(client, "nginx", limit=10)
    assert (first.name, first.stars, first.official, second.stars) == ("nginx", 3, True, 0)
    assert "\n" not in first.description
    assert server.requests[0].path == "/v1/search?q=nginx&n=10"


def test_manifest_lists(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    made = {each: image(f"{registry}/{each}:1", each.encode(), architecture=each) for each in ("amd64", "arm64")}
    for each in made:
        push(store, Reference.parse(f"{registry}/{each}:1"))
    lists = ManifestLists(store)
    name, members = Reference.parse(f"{registry}/all:1"), [Reference.parse(f"{registry}/{each}:1") for each in made]
    lists.create(name, members[:1])
    with pytest.raises(Conflict, match="there is a manifest list"):
        lists.create(name, members)
    lists.create(name, members[1:], amend=True)
    lists.annotate(name, members[1], Platform(architecture="", os="", variant="v9"))
    with pytest.raises(ImageNotFound, match="is not in manifest list"):
        lists.annotate(name, Reference.parse("other"), Platform(architecture="x"))
    shown = json.dumps(lists.inspect(name))
    assert '"variant": "v9"' in shown
    store.close()  # its database's files are final then
    du = subprocess.run(["du", "-s", "--block-size=1", store.root], capture_output=True, text=True, check=True).stdout
    assert sum(place.bytes for place in places(store)) == int(du.split()[0]), "what is kept for lists is accounted for"
    digest = lists.push(name)
    with pytest.raises(RegistryError, match="does not exist for linux/s390x") as caught:
        pull(other, name, Platform(architecture="s390x"))
    assert caught.value.hint == "it exists for linux/amd64, linux/arm64/v9"
    assert pull(other, name, Platform(architecture="amd64")).id == made["amd64"].id
    assert pull(other, Reference.parse(f"{registry}/all@{digest}"), Platform(architecture="arm64", variant="v9")).id == made["arm64"].id
    lists.remove(name)
    assert len(lists.inspect(name)["manifests"]) == 2  # type: ignore[arg-type]
    with pytest.raises(ImageNotFound, match="no manifest list"):
        lists.get(name)
    with pytest.raises(InvalidArgument, match="is a manifest list itself"):
        lists.create(Reference.parse(f"{registry}/more:1"), [name])


# others' tools ---------------------------------------------------------------------------------------------------------------------


def _podman(place: Path, *words: str) -> str:
    configuration = place / "containers.conf"
    configuration.write_text(f'[engine]\nevents_logger = "none"\ntmp_dir = "{place}/tmp"\ncgroup_manager = "cgroupfs"\n')
    command = ["podman", "--root", str(place / "pods"), "--runroot", str(place / "run"), "--storage-driver", "vfs", *words]
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "CONTAINERS_CONF": str(configuration)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.root
@pytest.mark.needs("podman")
def test_podman_runs_what_we_push_and_we_pull_what_podman_pushes(store: Store, other: Store, image: MakeImage, registry: str) -> None:
    made = image(f"{registry}/a:1", b"one", b"two")
    digest = push(store, Reference.parse(f"{registry}/a:1"))
    with tempfile.TemporaryDirectory(prefix="nbcp-") as place:  # its paths may have 50 characters
        podman = partial(_podman, Path(place))
        policy = Path(place) / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        podman("pull", "--tls-verify=false", "--signature-policy", str(policy), f"{registry}/a:1")
        shown = json.loads(podman("image", "inspect", f"{registry}/a:1"))[0]
        assert shown["Id"] == made.id.hex
        assert f"{registry}/a@{digest}" in shown["RepoDigests"]
        podman("tag", f"{registry}/a:1", f"{registry}/b:1")
        podman("push", "--tls-verify=false", "--signature-policy", str(policy), f"{registry}/b:1")
    got = pull(other, Reference.parse(f"{registry}/b:1"))
    assert got.diff_ids == made.diff_ids
    assert check(other) == []
    with Client(registry) as client:
        assert tags(client, "b") == ["1"]


# bad input -------------------------------------------------------------------------------------------------------------------------


def test_bad_a_settings_file(store: Store) -> None:
    for text in ("[", "[other]", '[registry."a/b"]', '[registry."reg.example"]\ncolour = "red"', "timeouts = {read_s = 0}",
                 'registry = 5', '[registry."reg.example"]\nmirrors = "x"', '[registry."reg.example"]\nmirrors = ["a/b"]'):  # fmt: skip
        (store.root / "registries.toml").write_text(text)
        with pytest.raises(InvalidArgument, match=r"registries\.toml") as caught:
            pull(store, Reference.parse("reg.example/a"))
        assert "\n" not in caught.value.one_line()

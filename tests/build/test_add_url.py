"""``ADD <url>`` in real builds, from a web server on loopback; BLD-04: what is never fetched, however it is named."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
from collections.abc import Iterator

import pytest

from notebook_containers.build.progress import FetchProgress, StepDone
from notebook_containers.errors import BuildError, DockerfileError
from notebook_containers.registry import wire
from notebook_containers.registry.download import Download, forbidden
from notebook_containers.registry.settings import Timeouts

from .conftest import Builder
from .web import Page, Web, served

pytestmark = pytest.mark.root
MODIFIED = "Tue, 01 Feb 2022 03:04:05 GMT"
MOMENT = 1643684645


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as found:
        yield found


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        info = tarfile.TarInfo("inside.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    return raw.getvalue()


def test_a_file_with_its_time_and_mode(builder: Builder, web: Web) -> None:
    web.pages["/d/file.txt?x=1"] = Page(b"content", headers={"Last-Modified": MODIFIED})
    entry = builder.tree(builder(f"FROM base\nADD {web.address}/d/file.txt?x=1 /to/\n"))["to/file.txt"]
    assert (entry.mode, entry.mtime, entry.uid, entry.size) == (0o600, MOMENT, 0, 7)
    entry = builder.tree(builder(f"FROM base\nADD --chmod=755 --chown=7:8 {web.address}/d/file.txt?x=1 /to/name\n"))["to/name"]
    assert (entry.mode, entry.uid, entry.gid) == (0o755, 7, 8)


def test_it_is_asked_for_again_only_if_it_changed(builder: Builder, web: Web) -> None:
    web.pages["/f"] = Page(b"one", headers={"ETag": '"1"'})
    text = f"FROM base\nADD {web.address}/f /f\n"
    assert builder(text).steps[1].status == "built"
    assert builder(text).steps[1].status == "cached"
    assert web.asked[1][1]["If-None-Match"] == '"1"'
    web.pages["/f"] = Page(b"two", headers={"ETag": '"2"'})
    third = builder(text)
    assert third.steps[1].status == "built"
    assert "file f changed" in third.steps[1].reason
    assert builder.read(third, "/f") == "two"
    web.pages["/f"] = Page(b"two", headers={"ETag": '"3"'})
    assert builder(text).steps[1].status == "cached", "the content counts, not what the server calls it"


def test_a_checksum_and_content_that_is_known_needs_no_server(builder: Builder, web: Web) -> None:
    web.pages["/f"] = Page(b"one")
    text = f"FROM base\nADD --checksum={sha256(b'one')} {web.address}/f /f\n"
    assert builder.read(builder(text), "/f") == "one"
    builder(text)
    assert len(web.asked) == 1
    with pytest.raises(DockerfileError) as info:
        builder(f"FROM base\nADD --checksum={sha256(b'two')} {web.address}/f /f\n")
    assert sha256(b"one") in info.value.message
    assert info.value.excerpt().splitlines()[1].count("^") == len(f"{web.address}/f")
    assert builder.store.snapshots.list() == []


def test_an_archive_is_unpacked_only_when_asked(builder: Builder, web: Web) -> None:
    web.pages["/a.tar.gz"] = Page(archive())
    assert set(builder.tree(builder(f"FROM base\nADD {web.address}/a.tar.gz /d/\n"))) == {"d", "d/a.tar.gz"}
    assert set(builder.tree(builder(f"FROM base\nADD --unpack {web.address}/a.tar.gz /d/\n"))) == {"d", "d/inside.txt"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="a/b\\\\c.txt"', "c.txt"),
        ("attachment; filename*=UTF-8''%C3%A4.txt", "ä.txt"),
        ('attachment; filename=".."', None),
        ("attachment", None),
    ],
)
def test_a_name_from_the_server_is_only_a_name(builder: Builder, web: Web, header: str, name: str | None) -> None:
    web.pages["/"] = Page(b"x", headers={"Content-Disposition": header})
    if name is not None:
        assert set(builder.tree(builder(f"FROM base\nADD {web.address}/ /d/\n"))) == {"d", f"d/{name}"}
        return
    with pytest.raises(DockerfileError, match="has no file name in it"):
        builder(f"FROM base\nADD {web.address}/ /d/\n")
    assert "d" in builder.tree(builder(f"FROM base\nADD {web.address}/ /d\n"))


def test_through_the_proxy_of_a_predefined_argument(builder: Builder, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _resolver({"files.example": ["93.184.215.14"], "127.0.0.1": ["127.0.0.1"]}))
    web.pages["http://files.example/f"] = Page(b"by proxy")
    result = builder("FROM base\nADD http://files.example/f /f\n", build_args={"HTTP_PROXY": web.address})
    assert builder.read(result, "/f") == "by proxy"


def _resolver(names: dict[str, list[str]], asked: list[str] | None = None) -> object:
    def resolve(host: str, port: object, *_: object, **__: object) -> list[object]:
        if asked is not None:
            asked.append(host)
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in names[host]]

    return resolve


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/", "link-local or metadata"),
        ("http://[fd00:ec2::254]/", "link-local or metadata"),
        ("http://[::ffff:169.254.169.254]/", "link-local or metadata"),
        ("http://[64:ff9b::a9fe:a9fe]/", "link-local or metadata"),
        ("http://168.63.129.16/machine", "link-local or metadata"),
        ("http://named.example/x", "link-local or metadata"),
        ("http://user:password@127.0.0.1/x", "may not hold a password"),
        ("ftp://127.0.0.1/x", "cannot be fetched"),
        ("file:///etc/passwd", "cannot be fetched"),
        ("http://127.0.0.1:1/x", "connection refused"),
    ],
)
def test_what_is_never_fetched(builder: Builder, monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    real = socket.getaddrinfo
    fake = _resolver({"named.example": ["93.184.215.14", "169.254.169.254"]})
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: (fake if host == "named.example" else real)(host, *a, **k))  # type: ignore[operator]
    with pytest.raises(DockerfileError) as info:
        builder(f"FROM base\nADD {url} /x\n")
    assert words in info.value.message
    assert ("never asks there" in info.value.hint) == ("metadata" in words)
    assert info.value.excerpt().splitlines()[1].count("^") == len(url)


@pytest.mark.parametrize(
    ("location", "private", "words"),
    [
        ("file:///etc/passwd", True, "redirects to 'file:///etc/passwd'"),
        ("http://169.254.169.254/", True, "link-local or metadata"),
        ("http://u:p@127.0.0.1/", True, "redirects to"),
        ("http://[", True, "redirects to"),
        ("", True, "redirects to ''"),
        ("/loop", True, "more than 10 times"),
        ("/loop", False, "127.0.0.1 is a private address"),
    ],
)
def test_where_a_redirect_may_not_lead(web: Web, location: str, private: bool, words: str) -> None:
    web.pages["/loop"] = Page(status=302, headers={"Location": location})
    with pytest.raises(BuildError) as info:
        Download(private=private, variables={}).fetch(f"{web.address}/loop", io.BytesIO())
    assert words in info.value.message


def test_a_redirect_from_a_public_host_to_a_private_one(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    fake = _resolver({"public.example": ["93.184.215.14"]})
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: (fake if host == "public.example" else real)(host, *a, **k))  # type: ignore[operator]
    begin = wire._begin
    monkeypatch.setattr(
        wire, "_begin", lambda family, address: begin(family, ("127.0.0.1", web.port) if address[0].startswith("93.") else address)
    )
    web.pages["/x"] = Page(status=302, headers={"Location": f"{web.address}/y"})
    web.pages["/y"] = Page(b"secret of the machine")
    with pytest.raises(BuildError, match=r"127\.0\.0\.1 is a private address"):
        Download(private=True, variables={}).fetch("http://public.example/x", io.BytesIO())
    assert [path for path, _ in web.asked] == ["/x"]


def test_a_name_is_looked_up_once_and_that_address_is_connected_to(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer would be this machine."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    tried: list[object] = []

    def resolve(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    def begin(family: int, address: tuple[object, ...]) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(wire, "_begin", begin)
    with pytest.raises(BuildError):
        Download(private=False, variables={}).fetch(f"http://rebind.example:{web.port}/x", io.BytesIO())
    assert tried == ["93.184.215.14"]
    assert web.asked == []


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(b"x" * 20, length=10 * 1024**3), "larger than"),
        (Page(b"x" * 2000), "larger than 1000 bytes"),
        (Page(b"x", status=404), "its server answers 404"),
        (Page(b"x", status=401), "its server answers 401"),
    ],
)
def test_what_a_server_may_not_answer(web: Web, page: Page, words: str) -> None:
    web.pages["/x"] = page
    with pytest.raises(BuildError) as info:
        Download(private=True, variables={}, max_bytes=1000).fetch(f"{web.address}/x", io.BytesIO())
    assert words in info.value.message


def test_a_body_that_breaks_off_is_asked_for_again_and_then_an_error(web: Web) -> None:
    web.pages["/x"] = Page(b"half", length=8)
    with pytest.raises(BuildError, match="cannot fetch"):
        Download(private=True, variables={}, timeouts=Timeouts(attempts=3, pause_s=0.01)).fetch(f"{web.address}/x", io.BytesIO())
    assert len(web.asked) == 3


def test_an_interrupt_ends_a_download(web: Web) -> None:
    web.pages["/x"] = Page(b"x" * (1 << 20))
    calls = iter([None, None, KeyboardInterrupt()])

    def check() -> None:
        if error := next(calls):
            raise error

    with pytest.raises(KeyboardInterrupt):
        Download(private=True, variables={}, check=check).fetch(f"{web.address}/x", io.BytesIO())


def test_addresses() -> None:
    assert forbidden("10.0.0.1", private=False)
    assert not forbidden("10.0.0.1", private=True)
    assert not forbidden("93.184.215.14", private=False)
    assert forbidden("fe80::1%eth0", private=True)
    assert forbidden("224.0.0.1", private=True)
    assert forbidden("::1", private=False)
    assert forbidden("0.0.0.0", private=False)


def test_a_trigger_of_a_base_image_reaches_no_private_host(builder: Builder, web: Web) -> None:
    web.pages["/f"] = Page(b"of this machine")
    builder(f"FROM base\nONBUILD ADD {web.address}/f /f\n", tag="triggering")
    with pytest.raises(DockerfileError, match="is a private address"):
        builder("FROM triggering\n")
    assert web.asked == []


def test_nothing_runs_before_all_is_fetched(builder: Builder, web: Web) -> None:
    with pytest.raises(DockerfileError) as info:
        builder(f"FROM base\nRUN touch /x\nADD {web.address}/none /a\nCOPY none /b\n")
    assert (len(info.value.others), builder.executor.requests) == (1, [])


def test_it_tells_how_far_it_is(builder: Builder, web: Web) -> None:
    web.pages["/data"] = Page(body=b"x" * 3_000_000)
    builder(f"FROM base\nADD {web.address}/data /data\n")
    told = [event for event in builder.events if isinstance(event, FetchProgress)]
    assert {(event.name, event.total) for event in told} == {(f"{web.address}/data", 3_000_000)}
    assert [event.ended for event in told] == [False] * (len(told) - 1) + [True]
    assert told[0].current < told[-1].current == 3_000_000
    place = builder.events.index(told[-1])
    assert not any(isinstance(event, StepDone) and event.index > 1 for event in builder.events[:place])

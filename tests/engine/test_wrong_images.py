"""Images named, loaded and imported wrongly: one line that tells the next step, and nothing left; and an import from the web."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from notebook_containers import Engine
from notebook_containers.errors import Error, InvalidArgument, InvalidDocument, InvalidReference, NotFound
from tests.engine.tars import tar
from tests.home import Home

pytestmark = pytest.mark.root

LAYER = tar(("file", b"hello"))
DIGEST = "sha256:" + "0" * 64
LAYOUT = ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
DAMAGED: Mapping[str, bytes] = {
    "no image": tar(("etc/passwd", b"x")),
    "no list": tar(("manifest.json", b"{{{")),
    "a list without its files": tar(("manifest.json", b'[{"Config":"nope.json","RepoTags":["a:1"],"Layers":["x.tar"]}]')),
    "an index without its files": tar(
        LAYOUT,
        (
            "index.json",
            b'{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":3}]}'
            % DIGEST.encode(),
        ),
    ),
    "an empty index": tar(LAYOUT, ("index.json", b'{"schemaVersion":2,"manifests":[]}')),
    "noise": bytes(range(256)) * 20,
    "a part": tar(("manifest.json", b"[]" * 2000))[:900],
    "nothing": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_archive_that_is_none_tells_the_next_step(own: Engine, name: str) -> None:
    with pytest.raises(Error) as caught:
        own.images.load(io.BytesIO(DAMAGED[name]))
    assert caught.value.hint, caught.value.message
    assert own.images.list() == []
    assert own.images.prune()["SpaceReclaimed"] == 0


@pytest.mark.parametrize("data", [bytes(range(256)) * 20, LAYER[:700], b"\x1f\x8b\x08" + bytes(50)])
def test_an_import_of_what_is_no_file_system_tells_the_next_step(own: Engine, data: bytes) -> None:
    with pytest.raises(InvalidDocument) as caught:
        own.images.import_image(data, "x", "1")
    assert caught.value.hint, caught.value.message
    assert own.images.list() == []


def test_no_name_with_a_digest_is_given(own: Engine) -> None:
    image = own.images.import_image(LAYER, "made", "1")
    wrong: list[Callable[[], object]] = [
        lambda: own.images.tag("made:1", f"x:1@{DIGEST}"),
        lambda: image.tag(f"x@{DIGEST}"),
        lambda: own.images.import_image(LAYER, f"x@{DIGEST}"),
        lambda: own.images.build(fileobj=io.BytesIO(b"FROM scratch\nLABEL a=b\n"), tag=f"x:1@{DIGEST}"),
        lambda: own.manifests.create(f"reg.example/x:1@{DIGEST}", ["reg.example/y"]),
    ]
    for each in wrong:
        with pytest.raises(InvalidReference, match="a digest follows from the bytes") as caught:
            each()
        assert caught.value.hint.startswith("leave it out: ")
    assert [found.tags for found in own.images.list()] == [("made:1",)]


@pytest.mark.parametrize("word", ["zzz", "nonsense", "amd", "linux64"])
def test_an_architecture_that_nobody_knows_is_told(own: Engine, word: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'{word}' is no platform"):
        own.images.import_image(LAYER, "x", "1", platform=word)
    assert own.images.list() == []


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a server that has one archive."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/rootfs.tar" else 404)
            self.send_header("Content-Length", str(len(LAYER)))
            self.end_headers()
            self.wfile.write(LAYER)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def nbc(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **home.variables()}
    command = [sys.executable, "-m", "notebook_containers", *words]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False)


def test_import_from_the_web(own: Engine, own_home: Home, web: str) -> None:
    done = nbc(own_home, "import", f"{web}/rootfs.tar", "fetched:1", "--change", 'CMD ["x"]')
    assert done.returncode == 0, done.stderr
    image = own.images.get("fetched:1")
    assert done.stdout.strip() == image.id
    assert image.history()[0].comment == f"Imported from {web}/rootfs.tar"
    for words, says in (
        ([f"{web}/none.tar", "x:1"], "404"),
        ([f"{web}/rootfs.tar", "UPPER"], "lower case"),
        (["http://127.0.0.1:1/x.tar", "x:1"], "refused"),
        (["http://169.254.169.254/x.tar", "x:1"], "link-local"),
        (["https://", "x:1"], "https://"),
    ):
        done = nbc(own_home, "import", *words)
        assert done.returncode == 1
        assert done.stdout == ""
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert len(own.images.list()) == 1
    assert own.images.prune()["SpaceReclaimed"] == 0
    with pytest.raises(NotFound):
        own.images.import_image_from_url(f"{web}/none.tar")


def test_nobody_is_asked_for_a_password_without_a_terminal(own_home: Home) -> None:
    done = nbc(own_home, "login", "-u", "a", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nbc: nobody can be asked for the password here; use -u NAME --password-stdin\n"

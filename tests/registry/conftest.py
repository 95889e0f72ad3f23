"""A store, a real registry (Debian's docker-registry) on a loopback port, and a scripted one that lies on demand."""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from notebook_containers.oci.image import ContainerConfig, ImageConfig
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store
from tests.needs import need
from tests.registry.scripted import Answer, Scripted, handler_for

QUICK = "timeouts = {pause_s = 0.01, attempts = 4, read_s = 10, connect_s = 3}\n"
"""The pauses of a test: as many attempts as it needs to see them, and no waiting."""
PROGRAM = Path("/usr/bin/docker-registry")


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own passwords and proxies stay out of the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        (opened.root / "registries.toml").write_text(QUICK)
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """A second, empty store: another machine."""
    with Store.open(tmp_path / "other") as opened:
        (opened.root / "registries.toml").write_text(QUICK)
        yield opened


MakeImage = Callable[..., ImageRecord]


@pytest.fixture
def image(store: Store) -> MakeImage:
    """Record an image in ``store`` with one layer (one file) for each content."""

    def make(tag: str, *contents: bytes, architecture: str = "amd64") -> ImageRecord:
        layers = []
        for number, data in enumerate(contents):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                info = tarfile.TarInfo(f"file{number}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            buffer.seek(0)
            layers.append(store.layers.apply(buffer))
        config = ImageConfig(architecture=architecture, os="linux", config=ContainerConfig(cmd=("true",)))
        return store.images.put(config, layers, tags=[Reference.parse(tag)])

    return make


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: test{tls}}}
{auth}
"""


@pytest.fixture
def serve_registry(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a real registry and return its ``host:port``.

    ``htpasswd`` is a file's text that makes it ask for Basic logins, ``auth`` another way of asking, ``tls`` certificate and key.
    """
    need(PROGRAM.exists(), "docker-registry")
    running: list[subprocess.Popen[bytes]] = []

    def start(*, htpasswd: str = "", auth: str = "", tls: tuple[Path, Path] | None = None) -> str:
        port, folder = free_port(), tmp_path / f"registry{len(running)}"
        folder.mkdir()
        if htpasswd:
            (folder / "htpasswd").write_text(htpasswd)
            auth = f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}"
        secure = f", tls: {{certificate: {tls[0]}, key: {tls[1]}}}" if tls else ""
        (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port, auth=auth, tls=secure))
        with open(folder / "log", "wb") as log:
            running.append(subprocess.Popen([PROGRAM, "serve", folder / "config.yml"], stdout=log, stderr=log))
        wait_for(port)
        return f"127.0.0.1:{port}"

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def registry(serve_registry: Callable[..., str]) -> str:
    return serve_registry()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("the registry does not come up")


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Start scripted registries, each on an address of its own."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []
    scripts: list[Scripted] = []

    def start(tls: ssl.SSLContext | None = None) -> Scripted:
        script = Scripted(host="")
        scripts.append(script)
        server = ThreadingHTTPServer((f"127.0.0.{len(servers) + 1}", 0), handler_for(script))
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        script.host = f"{server.server_address[0]!s}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        script.say("/v2/", Answer())
        return script

    yield start
    for script in scripts:
        script.over.set()
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()

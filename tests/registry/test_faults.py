"""REL-27: a network that breaks, is slow, refuses, has no names and black holes; and an interrupt that ends everything at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notebook_containers.errors import RegistryError
from notebook_containers.oci.image import LAYER_TAR, Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.addresses import bypasses_proxy
from notebook_containers.registry.client import Client
from notebook_containers.registry.listing import tags
from notebook_containers.registry.patience import Patience, Stopped, retry_after
from notebook_containers.registry.progress import BlobProgress, TransferEvent, TransferNote
from notebook_containers.registry.pull import pull
from notebook_containers.registry.settings import Host, Settings, Timeouts
from notebook_containers.registry.wire import Wire
from notebook_containers.store.store import Store
from tests.registry.images import Image, pull_it, refused
from tests.registry.scripted import Answer, Request, Scripted
from tests.registry.test_hostile import BigImage

Serve = Callable[..., Scripted]
QUICK = Settings(timeouts=Timeouts(pause_s=0.01, attempts=4, read_s=5, connect_s=2))
TREE = Path(__file__).parents[2]


def test_rel27_a_reset_at_each_64_kib(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, reset_after=65536, ranges=True))
    pull_it(store, server)
    assert len(server.asked(image.layer_path)) >= len(image.tar) // 65536


def test_rel27_a_reset_at_once_each_time_ends(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, reset_after=0))
    refused(store, server)
    assert len(server.asked(image.layer_path)) == 4


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_rel27_a_server_that_is_busy_is_asked_again(store: Store, scripted: Serve, status: int) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    for path in ("/v2/a/manifests/1", image.layer_path):
        server.answers[path] = [Answer(status=status), Answer(status=status, headers={"Retry-After": "0"}), *server.answers[path]]
    pull_it(store, server)
    assert len(server.asked(image.layer_path)) == 3


@pytest.mark.parametrize(("status", "words"), [(429, "answers 429"), (503, "answers 503"), (500, "answers 500")])
def test_rel27_and_not_for_ever(store: Store, scripted: Serve, status: int, words: str) -> None:
    server, image = scripted(), Image()
    image.serve(server)
    server.say("/v2/a/manifests/1", Answer(status=status))
    refused(store, server, match=words)
    assert len(server.asked("/v2/a/manifests/1")) == 4


def test_rel27_retry_after_is_obeyed(scripted: Serve) -> None:
    server = scripted()
    server.say("/v2/a/tags/list", Answer(status=429, headers={"Retry-After": "1"}), Answer(body=b'{"tags":["x"]}'))
    started = time.monotonic()
    with Client(server.host, settings=QUICK) as client:
        assert tags(client, "a") == ["x"]
    assert 0.9 < time.monotonic() - started < 5
    server.say("/v2/a/tags/list", Answer(status=429, headers={"Retry-After": "36000"}))
    started = time.monotonic()
    with Client(server.host, settings=QUICK) as client, pytest.raises(RegistryError, match="answers 429") as caught:
        tags(client, "a")
    assert time.monotonic() - started < 2, "a wait beyond the deadline is not begun"
    assert caught.value.hint


def test_rel27_pauses_grow_have_jitter_and_an_end() -> None:
    class Waits(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[float] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.seen.append(timeout or 0)
            return False

    runs = []
    for _ in range(20):
        waits = Waits()
        patience = Patience(Timeouts(pause_s=1, attempts=5, deadline_s=1000), waits)
        while patience.again():
            pass
        runs.append(waits.seen)
        assert [2**n / 2 <= pause <= 2**n for n, pause in enumerate(waits.seen)] == [True] * 4
    assert len({tuple(run) for run in runs}) == 20, "without jitter all clients come back at the same moment"
    now = [0.0]
    patience = Patience(Timeouts(pause_s=1, attempts=100, deadline_s=10), Waits(), clock=lambda: now[0])
    assert patience.again()
    now[0] = 9.9
    assert not patience.again()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        Patience(Timeouts(), stop).again()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        (" 10 ", 10.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_in_both_forms(text: str, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_rel27_a_name_that_is_unknown_is_not_asked_again(store: Store) -> None:
    started = time.monotonic()
    with pytest.raises(RegistryError, match="its name is unknown"):
        pull(store, Reference.parse("registry.invalid/a"))
    assert time.monotonic() - started < 10


class BlackHole:
    """An address whose connections are never answered: a listener with a full queue."""

    def __init__(self, family: int, address: str) -> None:
        self._listener = socket.socket(family)
        self._listener.bind((address, 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._queued = [socket.socket(family) for _ in range(3)]
        for each in self._queued:
            each.setblocking(False)
            each.connect_ex((address, self.port))

    def close(self) -> None:
        for each in (*self._queued, self._listener):
            each.close()


def test_rel27_a_black_hole_beside_a_good_address_costs_a_moment(scripted: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = scripted()
    hole = BlackHole(socket.AF_INET6, "::1")
    port = int(server.host.partition(":")[2])
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", hole.port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    try:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: both)
        started = time.monotonic()
        Wire(connect_s=5).connect("registry.example", port).close()
        assert time.monotonic() - started < 1.5
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: both[:1])
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            Wire(connect_s=0.5).connect("registry.example", port)
        assert time.monotonic() - started < 2
    finally:
        hole.close()


def test_rel27_through_a_proxy(scripted: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that only a proxy reaches; the proxy's own password goes to the proxy alone."""
    proxy = scripted()
    seen: list[Request] = []

    def relay(request: Request) -> Answer:
        seen.append(request)
        return Answer(body=b'{"tags":["x"]}')

    proxy.say("http://reg.example:5000/v2/a/tags/list", relay)
    monkeypatch.setenv("HTTP_PROXY", f"http://me:pass%20word@{proxy.host}")
    settings = Settings(timeouts=QUICK.timeouts, hosts={"reg.example:5000": Host(plain_http=True)})
    with Client("reg.example:5000", settings=settings) as client:
        assert tags(client, "a") == ["x"]
    (request,) = seen
    assert request.headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"
    monkeypatch.setenv("NO_PROXY", "other.example,reg.example")
    with Client("reg.example:5000", settings=settings) as client, pytest.raises(RegistryError, match="its name is unknown"):
        tags(client, "a")
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("host", "exceptions", "excepted"),
    [
        ("reg.lan", "lan", True),
        ("reg.lan:5000", ".lan", True),
        ("reg.lan:5000", "*.lan", True),
        ("reg.lan:5000", "reg.lan:5000", True),
        ("reg.lan:5000", "reg.lan:5001", False),
        ("lan", ".lan", True),
        ("reg.island", "land", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("anything", " a , * ", True),
        ("reg.lan", "", False),
        ("[fd00::1]", "fd00::/8", True),
    ],
)
def test_what_no_proxy_excepts(host: str, exceptions: str, excepted: bool) -> None:
    assert bypasses_proxy(host, exceptions) is excepted


def test_rel27_the_rate_is_told(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, bytes_per_s=600_000))
    seen: list[TransferEvent] = []
    pull(store, Reference.parse(f"{server.host}/a:1"), None, seen.append)
    steps = [e for e in seen if isinstance(e, BlobProgress) and e.digest == image.layer]
    loading = [e for e in steps if e.phase == "downloading"]
    assert len(loading) >= 3
    assert [e.done for e in loading] == sorted(e.done for e in loading)
    assert {e.total for e in steps} == {len(image.tar)}
    assert any(50_000 < e.rate < 6_000_000 for e in loading)


INTERRUPTED = """
import sys, os, signal, threading, time
from pathlib import Path
from notebook_containers.store.store import Store
from notebook_containers.registry.pull import pull
from notebook_containers.oci.reference import Reference
with Store.open(Path(sys.argv[1])) as store:
    def at(event):
        if getattr(event, "phase", "") == "downloading":
            Path(sys.argv[4]).touch()
    if sys.argv[3] == "connect":
        Path(sys.argv[4]).touch()
    try:
        pull(store, Reference.parse(sys.argv[2]), None, at)
    except KeyboardInterrupt:
        print(len(os.listdir(store.disk.staging)), len(store.images.list()))
        sys.exit(42)
"""


@pytest.mark.parametrize("place", ["read", "headers", "connect", "pause"])
def test_rel27_an_interrupt_ends_at_once(tmp_path: Path, scripted: Serve, place: str) -> None:
    """Ctrl-C while bytes trickle in, while no answer comes, while no connection is made, in the pause before the next attempt."""
    server, image = scripted(), BigImage()
    image.serve(server)
    hole = BlackHole(socket.AF_INET, "127.0.0.1")
    slow = {
        "read": Answer(body=image.tar, reset_after=100_000, hang_s=30),
        "headers": Answer(delay_s=30),
        "connect": Answer(),
        "pause": Answer(status=503, headers={"Retry-After": "60"}),
    }
    if place == "read":
        server.say(image.layer_path, slow[place])
    else:
        server.say("/v2/a/manifests/1", slow[place])
    host = f"127.0.0.1:{hole.port}" if place == "connect" else server.host
    mark = tmp_path / "mark"
    with Store.open(tmp_path / "store"):
        pass
    words = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "store"), f"{host}/a:1", place, str(mark)]
    process = subprocess.Popen(words, env={"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: mark.exists() or (len(server.asked("/v2/a/manifests/1")) > 0 and place in ("headers", "pause")))
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 42
        assert time.monotonic() - started < 2.5
        assert out.split() == [b"0", b"0"]
    finally:
        process.kill()
        process.wait()
        hole.close()


def test_rel27_an_interrupt_ends_the_wait_for_another_process(tmp_path: Path, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    words = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "store"), f"{server.host}/a:1", "no", str(tmp_path / "mark")]
    environment = {"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    with Store.open(tmp_path / "store") as store, store.lease(), store.disk.turn(f"sha256-{image.layer.hex}"):
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
        try:
            wait_until(lambda: len(server.asked("/v2/a/manifests/1")) > 0)
            time.sleep(0.3)
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
    assert time.monotonic() - started < 1.5
    assert (process.returncode, out.split()) == (42, [b"1", b"0"])
    assert not server.asked(image.layer_path)


def test_who_waits_for_anothers_layer_says_whose(tmp_path: Path, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    notes: list[str] = []
    with Store.open(tmp_path / "store") as store, ThreadPoolExecutor() as pool, store.lease():

        def hear(event: TransferEvent) -> None:
            if isinstance(event, TransferNote):
                notes.append(event.message)

        with store.disk.turn(f"sha256-{image.layer.hex}"):
            job = pool.submit(pull, store, Reference.parse(f"{server.host}/a:1"), None, hear)
            wait_until(lambda: bool(notes))
        job.result(timeout=60)
    (note,) = notes
    assert note.endswith(f" is being fetched by process {os.getpid()} (this one) too: waiting for that")


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_rel09_two_processes_fetch_a_layer_once(tmp_path: Path, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, bytes_per_s=600_000))
    code = INTERRUPTED.replace("print(", "print('x', ")
    with Store.open(tmp_path / "store"):
        pass
    words = [sys.executable, "-c", code, str(tmp_path / "store"), f"{server.host}/a:1", "no", str(tmp_path / "mark")]
    environment = {"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    processes = [subprocess.Popen(words, env=environment) for _ in range(4)]
    assert [p.wait(timeout=60) for p in processes] == [0] * 4
    assert len(server.asked(image.layer_path, "GET")) == 1
    with Store.open(tmp_path / "store") as store:
        assert store.images.resolve(f"{server.host}/a:1").diff_ids == (image.layer,)
        assert os.listdir(store.disk.staging) == []


def test_rel09_when_the_one_at_work_is_killed_the_next_goes_on(tmp_path: Path, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, reset_after=100_000, hang_s=30), Answer(body=image.tar))
    with Store.open(tmp_path / "store"):
        pass
    mark = tmp_path / "mark"
    words = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "store"), f"{server.host}/a:1", "no", str(mark)]
    environment = {"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    first = subprocess.Popen(words, env=environment)
    wait_until(mark.exists)
    second = subprocess.Popen(words, env=environment)
    wait_until(lambda: len(server.asked("/v2/a/manifests/1")) == 2)
    time.sleep(0.3)
    started = time.monotonic()
    first.kill()
    first.wait()
    assert second.wait(timeout=30) == 0
    assert time.monotonic() - started < 3
    with Store.open(tmp_path / "store") as store:
        assert [layer.digest for layer in store.images.list()[0].manifest.layers] == [Digest.of(image.tar)]
        assert store.images.list()[0].manifest.layers[0].media_type == LAYER_TAR

"""REL-27 on a line that the kernel itself spoils (netem): loss, delay, disorder, and nothing at all. Collected in the virtual machine only.

The machine's loopback gets the queue, with packets of an ordinary line's size; nobody else uses it meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pyroute2 import IPRoute

from notebook_containers.errors import RegistryError
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.pull import pull
from notebook_containers.registry.settings import Settings, Timeouts
from notebook_containers.store.check import check
from notebook_containers.store.store import Store
from tests.registry.images import pull_it
from tests.registry.scripted import Answer, Scripted
from tests.registry.test_hostile import BigImage

pytestmark = pytest.mark.root

Serve = Callable[..., Scripted]
LOOPBACK = 1
LINE = {"mtu": 1500, "gso_max_segs": 1, "gso_max_size": 1500}
BOUNDED = Settings(timeouts=Timeouts(pause_s=0.1, attempts=3, read_s=2, connect_s=2))


class Line:
    """The loopback's queue; :meth:`spoil` replaces what it does to packets (delays in microseconds, the rest in per cent)."""

    def __init__(self, netlink: IPRoute) -> None:
        self._netlink = netlink

    def spoil(self, **how: int) -> None:
        self._netlink.tc("replace", "netem", LOOPBACK, limit=10_000, **how)

    def dropped(self) -> int:
        """Return how many packets the queue dropped since it was made."""
        queue = next(queue for queue in self._netlink.get_qdiscs(LOOPBACK) if queue.get_attr("TCA_KIND") == "netem")
        return int(queue.get_attr("TCA_STATS")["drop"])


@contextmanager
def spoiled(**how: int) -> Iterator[Line]:
    with IPRoute() as netlink:
        before = netlink.get_links(LOOPBACK)[0]
        netlink.link("set", index=LOOPBACK, **LINE)
        line = Line(netlink)
        line.spoil(**how)
        try:
            yield line
        finally:
            netlink.tc("del", "netem", LOOPBACK)
            names = {"mtu": "IFLA_MTU", "gso_max_segs": "IFLA_GSO_MAX_SEGS", "gso_max_size": "IFLA_GSO_MAX_SIZE"}
            netlink.link("set", index=LOOPBACK, **{name: before.get_attr(attribute) for name, attribute in names.items()})


def test_loss_and_delay_are_lived_with(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    with spoiled(loss=8, delay=20_000, jitter=10_000) as line:
        pull_it(store, server)
        assert line.dropped() > 0


def test_disorder_and_doubles_are_lived_with(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    with spoiled(delay=10_000, prob_reorder=30, duplicate=20):
        pull_it(store, server)


def test_a_line_that_swallows_everything_ends_in_an_error(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    started = time.monotonic()
    with spoiled(loss=100), pytest.raises(RegistryError) as caught:
        pull(store, Reference.parse(f"{server.host}/a:1"), settings=BOUNDED)
    assert time.monotonic() - started < 60
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert server.requests == []
    assert store.images.list() == []


def test_a_line_that_goes_in_the_middle_ends_in_an_error_and_leaves_nothing(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, bytes_per_s=100_000, ranges=True))
    with spoiled(delay=1000) as line:
        _when_asked(server, image, lambda: line.spoil(loss=100))
        with pytest.raises(RegistryError) as caught:
            pull(store, Reference.parse(f"{server.host}/a:1"), settings=BOUNDED)
    assert caught.value.hint
    assert store.images.list() == []
    assert store.layers.list() == []
    assert [str(finding) for finding in check(store) if not finding.garbage] == []


def test_a_line_that_comes_back_is_used_where_it_broke(store: Store, scripted: Serve) -> None:
    server, image = scripted(), BigImage()
    image.serve(server)
    server.say(image.layer_path, Answer(body=image.tar, bytes_per_s=100_000, ranges=True), Answer(body=image.tar, ranges=True))
    with spoiled(delay=1000) as line:

        def interrupt() -> None:
            line.spoil(loss=100)
            time.sleep(3)  # longer than a read waits
            line.spoil(delay=1000)

        _when_asked(server, image, interrupt)
        pull(
            store, Reference.parse(f"{server.host}/a:1"), settings=Settings(timeouts=Timeouts(pause_s=1, attempts=8, read_s=2, connect_s=2))
        )
    asked = server.asked(image.layer_path)
    assert len(asked) > 1
    assert asked[-1].headers.get("Range", "").startswith("bytes=")
    assert [str(finding) for finding in check(store) if not finding.garbage] == []


def _when_asked(server: Scripted, image: BigImage, do: Callable[[], None]) -> None:
    """Do something in a thread once the layer was asked for and some of it is on its way."""

    def wait() -> None:
        while not server.asked(image.layer_path) and not server.over.wait(0.02):
            pass
        server.over.wait(0.5)
        do()

    threading.Thread(target=wait, daemon=True).start()

"""The firewall stays whole while others change the rules, and nothing passes while it cannot be."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notebook_containers.linux.netlink import NETLINK_NETFILTER, NetlinkSocket
from notebook_containers.network import bridge, firewall, guard, links, nftables as nft
from tests.network.stage import Place, ends, link, network, program

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def whole() -> bool:
    """Return whether the table has what the last bridges need, asked without making it."""
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        rules = [chain.rules for chain in nft.base_chains(netfilter) if chain.table == firewall.TABLE]
    return len(rules) == 3 and all(rules)


def guards() -> list[int]:
    """Return the guards in this thread's network namespace."""
    own, found = os.stat("/proc/thread-self/ns/net").st_ino, []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "nbc-guard\n" and os.stat(f"/proc/{pid}/ns/net").st_ino == own:
                found.append(pid)
        except OSError:
            continue
    return found


def waits(pid: int) -> bool:
    """Return whether a guard has made everything whole and waits for changes."""
    return "poll" in Path(f"/proc/{pid}/wchan").read_text()  # poll_schedule_timeout of select(2)


@pytest.fixture
def guarded(machine: None, tmp_path: Path) -> Iterator[int]:
    """A network with a guard, which ends with it."""
    bridge.ensure(network())
    guard.start(tmp_path, [network().link])
    (pid,) = guards()
    yield pid
    bridge.remove(network())
    assert ends(pid, 30)


def test_net08_flushed_rules_are_back_without_anybody_asking(guarded: int, place: Make) -> None:
    first, second = place(), place()
    bridge.ensure(network(2))
    bridge.attach(network(1), pid=first.pid, container_id="one", address="10.133.1.2")
    bridge.attach(network(2), pid=second.pid, container_id="two", address="10.133.2.2")
    before = program("nft", "list", "ruleset")
    for damage in ("flush ruleset", f"delete table inet {firewall.TABLE}", f"flush chain inet {firewall.TABLE} forward"):
        program("nft", *damage.split())
        until(whole)
        assert program("nft", "list", "ruleset") == before
    with second.listening() as port:
        assert first.blocked("10.133.2.2", port)
    bridge.remove(network(2))


def test_net08_the_bridges_are_down_while_there_is_no_firewall(guarded: int) -> None:
    def up() -> bool:
        with NetlinkSocket() as kernel:
            return link(kernel, network().link).up

    with NetlinkSocket(NETLINK_NETFILTER) as stranger:  # its table cannot be changed, and is called as ours
        while not nft.commit(
            stranger,
            [nft.add_table(firewall.TABLE, ""), nft.delete_table(firewall.TABLE), nft.add_table(firewall.TABLE, "", owned=True)],
            expected=nft.generation(stranger),
        ):
            pass
        until(lambda: not up())
    until(up)
    assert whole()


def test_one_guard_is_enough(guarded: int, tmp_path: Path) -> None:
    guard.start(tmp_path, [network().link])
    assert guards() == [guarded]


def test_a_guard_does_not_stay_for_another_store_s_bridges(machine: None, tmp_path: Path) -> None:
    bridge.ensure(network(1))
    bridge.ensure(network(2))
    guard.start(tmp_path, [network(1).link])
    (pid,) = guards()
    bridge.remove(network(1))
    assert ends(pid, 30)
    assert whole()
    bridge.remove(network(2))


def test_a_guard_does_not_outlive_its_store(machine: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    bridge.ensure(network())
    guard.start(run, [network().link])
    (pid,) = guards()
    until(lambda: waits(pid))
    shutil.rmtree(run)  # who was killed removed no bridge, and nobody changes a rule
    assert ends(pid, 30)
    bridge.remove(network())


def test_a_guard_does_not_outlive_a_bridge_that_others_remove(machine: None, tmp_path: Path) -> None:
    bridge.ensure(network())
    guard.start(tmp_path, [network().link])
    (pid,) = guards()
    until(lambda: waits(pid))
    with NetlinkSocket() as kernel:
        kernel.execute([links.delete_link(link(kernel, network().link).index, network().link)])
    assert ends(pid, 30)
    bridge.remove(network())


def test_a_watching_thread_ends_when_it_is_told_to(machine: None) -> None:
    bridge.ensure(network())
    stop, namespace = os.eventfd(0), os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def watch() -> None:
        from notebook_containers.linux import syscalls

        syscalls.setns(namespace, syscalls.CLONE_NEWNET)
        guard.watch(stop)

    thread = threading.Thread(target=watch)
    thread.start()
    program("nft", "flush", "ruleset")
    until(whole)
    os.eventfd_write(stop, 1)
    thread.join(30)
    assert not thread.is_alive()
    for descriptor in (stop, namespace):
        os.close(descriptor)
    bridge.remove(network())

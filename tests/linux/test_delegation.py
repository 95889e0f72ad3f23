"""A delegated scope: the messages over a real message bus, to a manager that a test plays."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from jeepney import DBusAddress, HeaderFields, MessageType, message_bus, new_error, new_method_return, new_signal
from jeepney.io.blocking import open_dbus_connection

from notebook_containers.linux import delegation
from tests.needs import need

JOB = "/org/freedesktop/systemd1/job/7"
MANAGER = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    need(shutil.which("dbus-daemon"), "dbus-daemon")
    address = f"unix:path={tmp_path}/bus"
    words = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}", "--print-address=1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        assert daemon.stdout is not None
        yield daemon.stdout.readline().decode().strip()
        daemon.terminate()


class Manager:
    """Answers as the user's systemd would: Subscribe, StartTransientUnit, then the signal that the job is over."""

    def __init__(self, address: str, result: str = "done", refusal: str = "") -> None:
        self.calls: list[tuple[str, str, object]] = []
        self._connection = open_dbus_connection(address)
        self._connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.systemd1"))
        self._result, self._refusal = result, refusal
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            message = self._connection.receive(timeout=10)
            if message.header.message_type != MessageType.method_call:
                continue
            member = message.header.fields[HeaderFields.member]
            self.calls.append((member, message.header.fields.get(HeaderFields.signature, ""), message.body))
            if member == "StartTransientUnit":
                if self._refusal:
                    self._connection.send(new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "s", (self._refusal,)))
                    return
                other = new_signal(MANAGER, "JobRemoved", "uoss", (6, JOB[:-1] + "6", "other.scope", "failed"))
                done = new_signal(MANAGER, "JobRemoved", "uoss", (7, JOB, message.body[0], self._result))
                for answer in (other, new_method_return(message, "o", (JOB,)), done):
                    self._connection.send(answer)
                return
            self._connection.send(new_method_return(message))

    def finish(self) -> None:
        self._thread.join(20)
        self._connection.close()


def test_the_scope_is_asked_for_and_waited_for(bus: str) -> None:
    manager = Manager(bus)
    name = delegation.start_scope(4242, address=bus)
    manager.finish()
    assert [member for member, _, _ in manager.calls] == ["Subscribe", "StartTransientUnit"]
    _, signature, body = manager.calls[1]
    assert signature == "ssa(sv)a(sa(sv))"
    assert isinstance(body, tuple)
    assert body[:2] == (name, "fail")
    properties = dict(body[2])
    assert properties["Delegate"] == ("b", True)
    assert properties["PIDs"] == ("au", [4242])
    assert name.endswith(".scope")


@pytest.mark.parametrize(
    ("result", "refusal", "words"), [("failed", "", "could not make"), ("done", "not for you", "refuses: not for you")]
)
def test_a_refusal_is_an_error_with_its_words(bus: str, result: str, refusal: str, words: str) -> None:
    manager = Manager(bus, result, refusal)
    with pytest.raises(OSError, match=words):
        delegation.start_scope(4242, address=bus)
    manager.finish()


def test_without_a_manager(bus: str) -> None:
    with pytest.raises(OSError, match="refuses"):
        delegation.start_scope(4242, address=bus)


def test_without_a_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert delegation.bus_address() == ""
    with pytest.raises(OSError, match="there is no user bus"):
        delegation.start_scope(4242)
    with pytest.raises(OSError, match="bus"):
        delegation.start_scope(4242, address=f"unix:path={tmp_path}/nobody-listens-on-this-bus")


def test_no_group_is_delegated_here() -> None:
    need(not delegation.look().available, "machine that delegates no group")
    assert delegation.delegated_above(delegation.own_group()) == ""
    with pytest.raises(OSError, match=r"delegated|manager|bus"):
        delegation.adopt(os.getpid())

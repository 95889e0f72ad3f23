"""What an ordinary user does in the tests, run by the system's Python: standard library and the package only, no pytest."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from notebook_containers.oci.runtime import Process
from notebook_containers.runtime.bundle import MonitorOptions
from notebook_containers.runtime.sessions import Session
from tests.runtime.boxes import ENV, Box, spec_for


class Bench:
    """One scenario a method; each returns what it saw as JSON-able values."""

    def __init__(self, directory: Path, lower: Path) -> None:
        self.box = Box(directory / f"run{time.time_ns()}", lower)

    def close(self) -> None:
        self.box.close()

    def _sh(self, script: str) -> tuple[int, str]:
        return self.box.run(spec_for(["/bin/sh", "-c", script], rootless=True))

    def basics(self) -> dict[str, object]:
        identity = self.box.create(spec_for(["/bin/sh", "-c", "echo hi > /new; exit 7"], rootless=True))
        self.box.runtime.start(identity)
        code = self.box.runtime.wait(identity, timeout_s=20)
        new = self.box.path(identity) / "upper/new"
        return {
            "code": code,
            "id": self._sh("id")[1].strip(),
            "map": self._sh("cat /proc/self/uid_map")[1].split(),
            "setgroups": self._sh("cat /proc/self/setgroups")[1].strip(),
            "dev": self._sh("cd /dev; echo *; echo x > null; head -c 1 zero > /dev/null")[1].strip(),
            "written": new.read_text() == "hi\n",
            "owner": new.stat().st_uid,
        }

    def posture(self) -> dict[str, object]:
        names = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")
        links = self._sh(f"for n in {' '.join(names)}; do readlink /proc/self/ns/$n; done")[1].split()
        host = [os.readlink(f"/proc/self/ns/{name}") for name in names]
        return {
            "same_namespaces": sorted(set(links) & set(host)),
            "core_pattern": self._sh("(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo written || echo refused")[1].strip(),
            "masked": self._sh("cat /proc/interrupts | wc -c")[1].strip(),
            "caps": self._sh("grep Cap /proc/self/status | cut -f2")[1].split(),
            "interpreter": self._interpreter(),
            "mknod": self._sh("mknod /x c 1 3 2>/dev/null && echo made || echo refused")[1].strip(),
        }

    def _interpreter(self) -> str:
        process = self.box.runtime._starter._process
        assert process is not None
        image = os.open(f"/proc/{process.pid}/exe", os.O_PATH)
        self.box.runtime.close()
        try:
            os.write(os.open(f"/proc/self/fd/{image}", os.O_WRONLY), b"x")
        except OSError as err:
            return str(err.strerror)
        return "written"

    def sessions(self) -> dict[str, object]:
        identity = self.box.create(spec_for(["/bin/sleep", "100"], rootless=True))
        self.box.runtime.start(identity)
        session = self.box.runtime.exec(identity, Process(args=("sh", "-c", "echo inside; exit 4"), env=ENV, cwd="/"))
        assert session is not None
        with session:
            data = b"".join(part for _stream, part in session)
        terminal = self.box.create(spec_for(["/bin/sh", "-c", "tty"], rootless=True, terminal=True))
        with self.box.runtime.attach(terminal) as attached:
            self.box.runtime.start(terminal)
            seen = _all(attached)
        self.box.runtime.kill(identity, signal.SIGKILL)
        killed = self.box.runtime.wait(identity, timeout_s=10)
        lost = self.box.create(spec_for(["/bin/sleep", "100"], rootless=True))
        self.box.runtime.start(lost)
        os.kill(self.box.runtime.state(lost).monitor_pid, signal.SIGKILL)
        return {
            "exec": [session.exit_code, data.decode()],
            "terminal": b"/dev/pts/0" in seen,
            "killed": killed,
            "lost": self.box.runtime.wait(lost, timeout_s=10),
        }

    def restart(self) -> dict[str, object]:
        script = "readlink /proc/self/ns/net; exit 3"
        spec = spec_for(["/bin/sh", "-c", script], rootless=True)
        identity = self.box.create(replace(spec), MonitorOptions(restart="on-failure", restart_max=1))
        with self.box.runtime.attach(identity) as session:
            self.box.runtime.start(identity)
            links = _all(session).split()
        state = self.box.runtime.state(identity)
        return {"code": session.exit_code, "count": state.restart_count, "same_network": len(links) == 2 and len(set(links)) == 1}


def _all(session: Session) -> bytes:
    return b"".join(data for _stream, data in session)

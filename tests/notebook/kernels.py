"""A real IPython kernel in a process of its own, driven as a front end does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager


@dataclass(slots=True, kw_only=True)
class Cell:
    """What one cell gave: its status, streams, displays, result and error, as a front end gets them."""

    status: str = ""
    stdout: str = ""
    stderr: str = ""
    result: Mapping[str, str] = field(default_factory=dict)
    displays: list[Mapping[str, str]] = field(default_factory=list)
    error: str = ""
    ename: str = ""
    traceback: list[str] = field(default_factory=list)
    asked: list[tuple[str, bool]] = field(default_factory=list)
    """The questions to the person, and whether the answer is a secret."""

    @property
    def text(self) -> str:
        """The result as text."""
        return str(self.result.get("text/plain", ""))


class Kernel:
    """One kernel; use it in ``with``. Cells run one after the other unless queued."""

    def __init__(self, environment: Mapping[str, str], cwd: Path) -> None:
        self._environment, self._cwd = dict(environment), cwd
        self._loop = asyncio.new_event_loop()
        self._manager = AsyncKernelManager(kernel_name="python3")
        self._client: AsyncKernelClient | None = None

    def __enter__(self) -> Kernel:
        self._loop.run_until_complete(self._start())
        return self

    def __exit__(self, *unused: object) -> None:
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _start(self) -> None:
        launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._manager.kernel_spec.argv = [*launcher, "--HistoryManager.enabled=False"]
        await self._manager.start_kernel(env=self._environment, cwd=str(self._cwd))
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=60)

    async def _stop(self) -> None:
        self._require().stop_channels()
        await self._manager.shutdown_kernel(now=True)

    def _require(self) -> AsyncKernelClient:
        assert self._client is not None
        return self._client

    @property
    def pid(self) -> int:
        """The kernel's process."""
        provisioner = self._manager.provisioner
        assert provisioner is not None
        return int(provisioner.pid)

    def run(self, code: str, *, timeout: float = 60, answers: Sequence[str] = ()) -> Cell:
        """Run a cell to its end; ``answers`` are what a person types when asked."""

        async def go() -> Cell:
            asking = asyncio.ensure_future(self._answer(list(answers)))
            (cell,) = await self._collect([self._require().execute(code, allow_stdin=bool(answers))], timeout)
            cell.asked = await asking
            return cell

        return self._loop.run_until_complete(go())

    async def _answer(self, answers: list[str]) -> list[tuple[str, bool]]:
        asked = []
        for answer in answers:
            message = await self._require().get_stdin_msg(timeout=30)
            asked.append((str(message["content"]["prompt"]), bool(message["content"]["password"])))
            self._require().input(answer)
        return asked

    def ok(self, code: str, *, timeout: float = 60) -> Cell:
        """Run a cell that must succeed."""
        cell = self.run(code, timeout=timeout)
        assert cell.status == "ok", (code, cell)
        return cell

    def queue(self, *codes: str) -> list[Cell]:
        """Send several cells at once, as Run All does."""
        return self._loop.run_until_complete(self._collect([self._require().execute(code) for code in codes], 60))

    def interrupted(self, code: str, *, when: str, timeout: float = 30) -> tuple[Cell, float]:
        """Run a cell and interrupt the kernel once its output holds ``when``; returns it and the seconds from there to its end."""

        async def go() -> tuple[Cell, float]:
            seen = asyncio.Event()
            task = asyncio.ensure_future(self._collect([self._require().execute(code)], timeout, seen=seen, word=when))
            await asyncio.wait_for(seen.wait(), timeout)
            begun = time.monotonic()
            await self._manager.interrupt_kernel()
            (cell,) = await task
            return cell, time.monotonic() - begun

        return self._loop.run_until_complete(go())

    def complete(self, code: str) -> list[str]:
        """Return the completions at the end of a text."""

        async def go() -> list[str]:
            reply = await self._require().complete(code, len(code), reply=True, timeout=30)
            matches: list[str] = reply["content"]["matches"]
            return matches

        return self._loop.run_until_complete(go())

    def kill(self) -> None:
        """Kill the kernel as the out-of-memory killer would."""
        os.kill(self.pid, signal.SIGKILL)

    async def _collect(self, ids: list[str], timeout: float, *, seen: asyncio.Event | None = None, word: str = "") -> list[Cell]:
        cells = {identity: Cell() for identity in ids}
        idle: set[str] = set()
        deadline = time.monotonic() + timeout
        while set(ids) - idle:
            message = await self._require().get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.1))
            parent = str(message["parent_header"].get("msg_id"))
            if parent in cells:
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    idle.add(parent)
                _take(cells[parent], str(message["msg_type"]), message["content"])
                if seen and word in cells[parent].stdout + "".join(str(d) for d in cells[parent].displays):
                    seen.set()
        waiting = set(ids)
        while waiting:
            reply = await self._require().get_shell_msg(timeout=10)
            parent = str(reply["parent_header"].get("msg_id"))
            if parent in waiting:  # a late answer to the client's own question after the kernel's start is nobody's
                cells[parent].status = str(reply["content"]["status"])
                waiting.discard(parent)
        return [cells[identity] for identity in ids]


def _take(cell: Cell, kind: str, content: Mapping[str, Any]) -> None:
    if kind == "stream" and content["name"] == "stdout":
        cell.stdout += content["text"]
    elif kind == "stream":
        cell.stderr += content["text"]
    elif kind == "execute_result":
        cell.result = content["data"]
    elif kind in ("display_data", "update_display_data"):
        cell.displays.append(content["data"])
    elif kind == "error":
        cell.ename, cell.error, cell.traceback = content["ename"], content["evalue"], content["traceback"]

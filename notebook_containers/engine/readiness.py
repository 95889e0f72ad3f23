"""Networks made ready while something else is waited for, and the watch that this process then keeps over the firewall."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_containers import network as net
from notebook_containers.engine.bridges import Bridges
from notebook_containers.engine.network_words import DEFAULT
from notebook_containers.engine.turns import OnceForAll
from notebook_containers.network.config import NetworkConfig


class Readiness:
    """Which networks of an engine are ready; ``run`` is the store's run directory."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._ready: dict[str, OnceForAll] = {}
        self._watch: threading.Thread | None = None
        self._watching = threading.Lock()
        self._stop = os.eventfd(0)

    @contextmanager
    def making(self, configs: Sequence[NetworkConfig], bridges: Bridges, *, watched: bool, lasting: bool) -> Iterator[None]:
        """Make the networks' bridges and firewall ready while the block runs, which waits for a monitor most of the time.

        Ready when the block has ended; its own error goes before one of the network's. From then on this process keeps watch over the
        firewall where it is to be ``watched``, and for a ``lasting`` container, which outlives it, a process of its own.
        """
        if not configs:
            yield
            return
        failures: list[BaseException] = []

        def ensure() -> None:
            try:
                for config in configs:
                    self._ready.setdefault(config.id, OnceForAll()).run(lambda config=config: _ensure(config, bridges))  # type: ignore[misc]
                if watched and any(config.driver == DEFAULT for config in configs):
                    self._keep_watch()
                    if lasting:
                        net.guard.start(self._run, [config.link for config in configs])
            except BaseException as err:  # raised below, in the thread of the caller
                failures.append(err)

        thread = threading.Thread(target=ensure, name="nbc-bridge")
        try:
            thread.start()
        except RuntimeError:  # no process is to be had: then now
            ensure()
        try:
            yield
        finally:
            if thread.ident is not None:
                thread.join()
        if failures:
            raise failures[0]

    def _keep_watch(self) -> None:
        """Let a thread of this process keep the firewall whole while there is a bridge; one for the engine."""
        with self._watching:
            if self._watch is None or not self._watch.is_alive():
                self._watch = threading.Thread(target=_watched, args=(self._stop,), name="nbc-firewall", daemon=True)
                self._watch.start()

    def close(self) -> None:
        """End the watch of this process; twice is harmless."""
        with self._watching:
            if self._stop < 0:
                return
            os.eventfd_write(self._stop, 1)
            if self._watch is not None:
                self._watch.join()
            os.close(self._stop)
            self._stop = -1


def _ensure(config: NetworkConfig, bridges: Bridges) -> None:
    if config.driver == DEFAULT:
        bridges.ensure(config)
    else:
        net.direct.ensure(config)


def _watched(stop: int) -> None:
    """Keep watch; what goes wrong with that is found again, and said, when the next container is started."""
    with suppress(OSError):
        net.guard.watch(stop)

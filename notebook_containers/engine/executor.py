"""RUN, executed by the real runtime: the builder hands a prepared snapshot over and gets the exit status back.

The container of a RUN has the same isolation as ``run`` gives; all its processes are gone and its mounts undone when ``run`` returns.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from notebook_containers.build.execution import RunRequest
from notebook_containers.engine import describing, generated, installers, launch, memory, specgen, users, words
from notebook_containers.engine.documents import Endpoint
from notebook_containers.engine.network_words import DEFAULT, Attachment, is_own
from notebook_containers.engine.networks import Networks
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.errors import Error, Unsupported
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.network import names
from notebook_containers.oci.image import ContainerConfig
from notebook_containers.oci.runtime import Mount
from notebook_containers.runtime.bundle import Bundle, MonitorOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeExecutor:
    """Runs RUN instructions; their network ``default`` is the bridge. ``note`` gets what is to be said of all of them.

    ``options`` are limits and hosts that all of them get.
    """

    parts: Parts
    networks: Networks
    note: Callable[[str], None]
    options: ContainerOptions = ContainerOptions()
    live: set[str] = field(default_factory=set)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self, request: RunRequest, output: Callable[[str, bytes], None]) -> int:
        """Run one command on a snapshot; every byte goes to ``output(stream, data)``; returns the exit status."""
        container_id = new_id()
        with ExitStack() as undo:
            hidden = bool(request.secrets or request.secret_env)
            directory = memory.fresh_directory(self.parts.run) if hidden else self.parts.store.disk.staged_path()
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            directory.mkdir(mode=0o700)
            undo.enter_context(self.networks.held())
            undo.callback(self.networks.release, container_id)
            endpoint = self._lease(request, container_id)
            bundle = self._bundle(container_id, directory, request, endpoint.resolver if endpoint else "")
            with self.networks.making_ready([endpoint] if endpoint else []):
                made = undo.enter_context(self.parts.runtime.make(container_id, bundle))
                self.live.add(container_id)
                undo.callback(self.live.discard, container_id)
                undo.callback(launch.forget, self.parts, container_id)
            if self.cancelled.is_set():
                return 128 + signal.SIGKILL
            if endpoint:
                self.networks.attach(endpoint, pid=made.state.pid, container_id=container_id)
            session = made.start(attach=True)
            assert session is not None
            for stream, data in session:
                output(stream, data)
            return session.exit_code if session.exit_code is not None else 137

    def cancel(self) -> None:
        """Kill what runs now; what is about to run never starts."""
        self.cancelled.set()
        for container_id in tuple(self.live):
            with suppress(Error):
                self.parts.runtime.kill(container_id, signal.SIGKILL, all=True)

    def _lease(self, request: RunRequest, container_id: str) -> Endpoint | None:
        network = self._network(request)
        if self.parts.host.rootless and is_own(network) and network != DEFAULT:
            raise Unsupported(f"a build of an ordinary user cannot be in network {network}", hint="leave --network out, or use host")
        return self.networks.lease(Attachment(network=network), container_id) if is_own(network) else None

    @staticmethod
    def _network(request: RunRequest) -> str:
        return "bridge" if request.network in ("", "default") else request.network

    def _bundle(self, container_id: str, path: Path, request: RunRequest, resolver: str) -> Bundle:
        options = replace(
            self.options,
            command=request.args,
            environment=(*request.env, *request.secret_env),
            working_dir=request.cwd,
            user=request.user,
            network=self._network(request),
            stop_timeout_s=0,
        )
        snapshots = self.parts.store.snapshots
        layers = snapshots.layers(request.snapshot)
        identity = users.identity(request.user, lambda path: snapshots.read_file(layers, path), self.parts.host.maps)
        capabilities = frozenset(specgen.capability_set(options, self.parts.host))
        pretending = installers.pretends(self.parts.host)
        if pretending:
            self.note(installers.SAID)
        apt = installers.apt_file(snapshots, layers, path) if pretending else ()
        resolved = specgen.Resolved(
            id=container_id,
            uid=identity.uid,
            gid=identity.gid,
            groups=identity.groups,
            home=identity.home,
            mounts=(*self._files(path, request, resolver), *apt, *request.binds, *self._secrets(path, request)),
            network=options.network,
            hostname=request.hostname,
            seccomp=installers.profile(describing.seccomp_profile("default", capabilities), pretending=pretending),
        )
        spec = specgen.generate(options, ContainerConfig(), resolved, self.parts.host)
        return Bundle.create(path, spec, request.mounts, MonitorOptions(log_path="", volatile=True, tied=True))

    def _secrets(self, directory: Path, request: RunRequest) -> list[Mount]:
        """Write secrets as files that only the owner inside may read; an owner that does not exist inside becomes everybody inside."""
        mounts = []
        for number, secret in enumerate(request.secrets):
            path = directory / f"secret-{number}"
            path.write_bytes(secret.data)
            if self.parts.host.single and secret.uid:
                path.chmod(secret.mode | 0o444)
            else:
                self.parts.store.trees.give(path, (secret.mode, secret.uid, secret.gid))
            options = ("bind", "ro", "nosuid", "nodev", "noexec")
            mounts.append(Mount(destination=secret.path, type="bind", source=str(path), options=options))
        return mounts

    def _files(self, directory: Path, request: RunRequest, resolver: str) -> tuple[Mount, ...]:
        texts = {
            "hosts": names.hosts_file(request.hostname, (), words.each_host(self.options.extra_hosts, gateway="")),
            "resolv.conf": names.resolv_conf(generated.host_resolver(), servers=(resolver,) if resolver else ()),
        }
        for name, text in texts.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o644)
        options = ("rbind", "rprivate", "ro", "nosuid", "nodev", "noexec")
        return tuple(Mount(destination=f"/etc/{name}", type="bind", source=str(directory / name), options=options) for name in texts)

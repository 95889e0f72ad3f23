"""``engine.check()``: what the store's check finds, and what only the engine can know: containers, their processes, and what leaked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.engine import launch
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.leaks import MENDED, leaks, mend_leak
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.recover import is_lost, settle
from notebook_containers.errors import ContainerNotFound, Error, ImageNotFound, InvalidDocument
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import Digest
from notebook_containers.runtime.orphans import sweep
from notebook_containers.store.check import Finding, check
from notebook_containers.store.records import ContainerRow
from notebook_containers.store.repair import Repair, repair

if TYPE_CHECKING:
    from notebook_containers.engine.containers import Containers

_OURS = ("containers", "layers", "snapshots", "tmp", "trash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found (after repairs, if there were any), and what became of what was to be repaired."""

    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged; garbage, which the next collection frees, is no damage."""
        return all(finding.garbage for finding in self.findings)

    def rows(self) -> list[dict[str, object]]:
        """Return rows of ``state`` (damage, garbage, repaired), ``kind``, ``subject`` and ``detail``."""
        left = {(r.finding.kind, r.finding.subject): r.done for r in self.repairs if not r.repaired}
        rows = [_row("repaired", r.finding, r.done) for r in self.repairs if r.repaired]
        return rows + [
            _row("garbage" if finding.garbage else "damage", finding, left.get((finding.kind, finding.subject), ""))
            for finding in self.findings
        ]


def _row(state: str, finding: Finding, more: str) -> dict[str, object]:
    detail = f"{finding.detail}: {more}" if more else finding.detail
    return {"state": state, "kind": finding.kind, "subject": finding.subject, "detail": detail}


def inspect(parts: Parts, *, quick: bool) -> Checked:
    """Check the store and the containers; changes nothing."""
    found = check(parts.store, quick=quick)
    if not any(finding.kind == "database" for finding in found):
        found += _engine_findings(parts)
    return Checked(findings=tuple(sorted(found, key=lambda finding: finding.garbage)))


def mend(parts: Parts, containers: Containers, *, quick: bool, force: bool) -> Checked:
    """Repair what can be made or fetched again, then check again. With ``force`` what cannot is removed: containers and images.

    Volumes keep every byte. Safe to kill and to do again.
    """
    from notebook_containers.engine.origins import Origins

    source = Origins(parts.store)
    done = repair(parts.store, source, in_use=_mounted(parts), quick=quick)
    if force:
        done += _remove_containers(parts, containers, quick=quick)
        answers = {(r.finding.kind, r.finding.subject): r for r in done}
        answers.update({(r.finding.kind, r.finding.subject): r for r in repair(parts.store, source, quick=quick, force=True)})
        done = list(answers.values())
    done += [
        _mend_one(parts, containers, found, force=force) for found in _engine_findings(parts) if not found.garbage or found.kind in MENDED
    ]
    return Checked(findings=inspect(parts, quick=quick).findings, repairs=tuple(done))


def _engine_findings(parts: Parts) -> list[Finding]:
    rows = parts.store.records.containers()
    found = [finding for row in rows for finding in _container(parts, row)]
    return [*found, *_run_directories(parts, rows), *_mounts(parts), *leaks(parts)]


def _container(parts: Parts, row: ContainerRow) -> Iterator[Finding]:
    try:
        document = ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))
        parts.store.images.get(Digest(document.image_id))
    except ImageNotFound as err:
        yield Finding(kind="image-missing", subject=row.id, detail=f"of container {row.name}: {err}")
    except Error as err:
        yield Finding(kind="container-damaged", subject=row.id, detail=f"container {row.name}: {err}")
        return
    if not (parts.bundle_path(row.id) / "config.json").is_file():
        yield Finding(kind="bundle-missing", subject=row.id, detail=f"the files of container {row.name} are not there")
        return
    try:
        state = launch.state(parts, row.id)
    except ContainerNotFound:
        return  # removed meanwhile
    except Error as err:
        yield Finding(kind="container-damaged", subject=row.id, detail=f"container {row.name}: {err}")
        return
    if is_lost(state):
        detail = f"container {row.name} is recorded as running, and its monitor (pid {state.monitor_pid}) is not there any more"
        yield Finding(kind="container-lost", subject=row.id, detail=detail)
    elif state.status == "stopped" and (groups := _groups(row.id)):
        yield Finding(kind="cgroup-leaked", subject=row.id, detail=f"container {row.name} does not run and has {groups[0]}")


def _groups(container_id: str) -> list[Path]:
    top = Path("/sys/fs/cgroup")
    places = (*top.glob(f"*/notebook-containers/{container_id}"), top / "notebook-containers" / container_id)
    return [place for place in places if place.is_dir()]


def _run_directories(parts: Parts, rows: Sequence[ContainerRow]) -> Iterator[Finding]:
    known, directory = {row.id[:12] for row in rows}, parts.run / "c"
    for name in sorted(os.listdir(directory)) if directory.is_dir() else ():
        if name not in known:
            yield Finding(kind="run-unrecorded", subject=str(parts.run / "c" / name), detail="no container's record names it", garbage=True)


def _mounts(parts: Parts) -> Iterator[Finding]:
    """What is mounted here over parts of the store: containers' mounts are in name spaces of their own."""
    for point in _mount_points():
        if any(point.is_relative_to(parts.root / name) for name in _OURS):
            yield Finding(kind="mount-leaked", subject=str(point), detail="something is mounted within the store")


def _mount_points() -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [Path(line.split(" ")[4].encode("latin-1", "surrogateescape").decode("unicode_escape", "surrogateescape")) for line in lines]


def _mounted(parts: Parts) -> set[Digest]:
    """Return the layers that running containers have mounted."""
    found: set[Digest] = set()
    for row in parts.store.records.containers():
        try:
            if launch.state(parts, row.id).status != "stopped":
                found.update(parts.store.snapshots.layers(row.id))
        except Error:
            continue
    return found


def _remove_containers(parts: Parts, containers: Containers, *, quick: bool) -> list[Repair]:
    """Remove the containers that cannot run any more because of what is damaged."""
    broken: Mapping[str, Finding] = {finding.subject: finding for finding in inspect(parts, quick=quick).findings if not finding.garbage}
    done = []
    for row in parts.store.records.containers():
        reasons = [broken[subject] for subject in _needs(parts, row.id) if subject in broken]
        if not reasons:
            continue
        try:
            containers.get(row.id).remove(force=True)
        except InvalidDocument:  # nothing is known of it but its name
            launch.forget(parts, row.id)
            parts.store.records.remove_container(row.id)
        done.append(Repair(finding=reasons[0], done=f"removed the container {row.name}", repaired=True))
    return done


def _needs(parts: Parts, container_id: str) -> set[str]:
    """Return what a container cannot do without: itself, its layers, and their blobs."""
    try:
        layers = parts.store.snapshots.layers(container_id)
    except Error:
        return {container_id}
    blobs = {parts.store.layers.get(diff_id).blob.digest for diff_id in layers if parts.store.layers.has(diff_id)}
    return {container_id, *layers, *blobs}


def _mend_one(parts: Parts, containers: Containers, finding: Finding, *, force: bool) -> Repair:
    from notebook_containers.linux import syscalls

    try:
        if finding.kind == "container-lost":
            if not settle(parts, containers.get(finding.subject), kill=force):
                return Repair(finding=finding, done="it still runs: --force ends it", repaired=False)
            done = "its end is recorded, with exit code 137"
        elif finding.kind == "cgroup-leaked" and parts.bundle_path(finding.subject).is_dir():
            sweep(parts.bundle_path(finding.subject))
            done = "removed"
        elif finding.kind == "mount-leaked":
            syscalls.umount2(finding.subject, syscalls.MNT_DETACH)
            done = "unmounted; nothing below it was touched"
        else:
            done = mend_leak(parts, finding)
    except KeyError:
        return Repair(finding=finding, done="remove the container, or use --force", repaired=False)
    except Error as err:
        return Repair(finding=finding, done=err.one_line(), repaired=False)
    except OSError as err:
        return Repair(finding=finding, done=os.strerror(err.errno or 0).lower(), repaired=False)
    return Repair(finding=finding, done=done, repaired=True)

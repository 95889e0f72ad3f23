"""Carries out operations on a snapshot's merged view, without a mount that anybody else could see.

It works on a detached overlay mount. An ordinary user may mount overlays only in a user name space of its own, which a process with
threads cannot enter: there a worker (:mod:`.worker`) does the same.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from notebook_containers.errors import DiskFull, Error, InvalidArgument, NotFound, StoreError, Unsupported
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.image import Digest
from notebook_containers.store.compression import uncompressed
from notebook_containers.store.copy import Ownership, copy_tree, file_target, make_directories
from notebook_containers.store.operations import (
    CopyTree,
    ExtractTar,
    HostDirectory,
    LayersView,
    MakeDirectory,
    Operation,
    Source,
    WriteFile,
)
from notebook_containers.store.overlay import Stack, mounted
from notebook_containers.store.tar_reader import TarReader
from notebook_containers.store.unpack import Rules, unpack

__all__ = ["CopyTree", "ExtractTar", "HostDirectory", "LayersView", "MakeDirectory", "Operation", "Source", "WriteFile", "perform"]

ViewOf = Callable[[tuple[Digest, ...]], Stack]


def perform(target: Stack, operations: Sequence[Operation], view: ViewOf, *, single_id: bool, userxattr: bool) -> None:
    """Carry out the operations, in order, in this process, which must be allowed to mount; ``view`` gives the directories of a LayersView.

    ``single_id``: only root exists here. ``userxattr``: overlay's attributes are in the user name space, as they are in a user's stores.
    Raises NotFound (a source that is missing), InvalidArgument, InvalidDocument (an archive), DiskFull, StoreError, Unsupported.
    What was done before an error stays: the caller throws the snapshot away.
    """
    editor = _Editor(view, single_id=single_id, userxattr=userxattr)
    left: CopyTree | None = None
    with explained("the snapshot"), mounted(target, userxattr=userxattr) as fd, SafeRoot(os.dup(fd), follow=True) as root:
        for number, operation in enumerate(operations, start=1):
            with _named(operation):
                if number == len(operations) and target.lowers and isinstance(operation, CopyTree) and editor.prepare(root, operation):
                    left = operation
                else:
                    editor.one(root, operation)
    if left is not None and target.upper is not None:
        with _named(left), SafeRoot.at(target.upper) as upper:
            editor.one(upper, left)


def _named(operation: Operation) -> AbstractContextManager[None]:
    return explained(getattr(operation, "destination", "") or getattr(operation, "path", ""))


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the block's OSError into an error of ours that names ``what``."""
    try:
        yield
    except OSError as err:
        raise _explain(err, what) from err


def _explain(err: OSError, what: str) -> Error:
    where = err.filename if isinstance(err.filename, str) and err.filename and not err.filename.startswith("/proc/") else what
    reason = (err.strerror or str(err)).rpartition("overlay: ")[2]
    reason = reason[:1].lower() + reason[1:]
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {where}", hint="free space with 'nbc system prune', or set NBC_ROOT to a larger disk")
    if err.errno == errno.ENOENT:
        return NotFound(f"{where} is not there")
    if err.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG):
        return InvalidArgument(f"cannot write {where}: {reason}")
    if err.errno in (errno.EPERM, errno.ENODEV, errno.ENOSYS):
        return Unsupported(f"cannot work on {where}: {reason}", hint="overlay mounts need root, or user name spaces and Linux 5.11")
    return StoreError(f"cannot write {where}: {reason}")


def _has_entries(operation: CopyTree) -> bool:
    """Say whether the source is a directory with something in it."""
    assert isinstance(operation.source, HostDirectory)
    with SafeRoot.at(operation.source.path, follow=True) as source:
        try:
            fd = source.open(operation.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # told when it is copied
            return False
        try:
            with os.scandir(fd) as entries:
                return any(entry.name not in operation.skip for entry in entries)
        finally:
            os.close(fd)


class _Editor:
    def __init__(self, view: ViewOf, *, single_id: bool, userxattr: bool) -> None:
        self._view, self._single_id, self._userxattr = view, single_id, userxattr

    def one(self, root: SafeRoot, operation: Operation) -> None:
        if isinstance(operation, MakeDirectory):
            make_directories(root, operation.path, owner=self._owner(operation.uid, operation.gid), mode=operation.mode)
        elif isinstance(operation, WriteFile):
            self._write(root, operation)
        elif isinstance(operation, CopyTree):
            with self._source(operation.source) as source:
                paths = (source, operation.path), (root, operation.destination)
                copy_tree(*paths, self._ownership(operation), skip=operation.skip, ready=operation.ready)
        else:
            with self._source(operation.source) as source:
                self._extract(root, source, operation)

    def prepare(self, root: SafeRoot, operation: CopyTree) -> bool:
        """Make the directory that a copy from the host fills, and say whether it is empty: then the upper directory itself can be filled.

        A file made through overlayfs costs nearly twice as much as one made beside it (measured on ext4). Not while the overlay is mounted.
        """
        if not isinstance(operation.source, HostDirectory) or not _has_entries(operation):
            return False
        make_directories(root, operation.destination, owner=self._owner(operation.uid or 0, operation.gid or 0))
        with SafeRoot(os.dup(root.fd)) as strict:  # it must be where its name says in the upper directory too
            try:
                fd = strict.open(operation.destination, os.O_RDONLY | os.O_DIRECTORY)
            except (NotADirectoryError, FileNotFoundError):
                return False
            except OSError as err:
                if err.errno != errno.ELOOP:
                    raise
                return False
            try:
                if os.listdir(fd):
                    return False
                os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode))  # the kernel copies it up
            finally:
                os.close(fd)
        return True

    def _owner(self, uid: int, gid: int) -> tuple[int, int]:
        return (0, 0) if self._single_id else (uid, gid)

    def _ownership(self, operation: CopyTree) -> Ownership:
        from_host = isinstance(operation.source, HostDirectory)
        uid, gid = operation.uid, operation.gid
        return Ownership(
            uid=0 if uid is None and from_host else uid,
            gid=0 if gid is None and from_host else gid,
            mode=operation.mode,
            single_id=self._single_id,
            devices=not (from_host or self._single_id or self._userxattr),  # user name spaces cannot make them
        )

    def _write(self, root: SafeRoot, operation: WriteFile) -> None:
        path = file_target(root, operation.path, operation.name) if operation.name else operation.path
        make_directories(root, path.rpartition("/")[0], owner=self._owner(operation.uid, operation.gid))
        root.write(path, operation.data, operation.mode)
        owner = self._owner(operation.uid, operation.gid)
        if owner != (0, 0):
            with root.parent(path) as (fd, name):
                os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)

    def _extract(self, root: SafeRoot, source: SafeRoot, operation: ExtractTar) -> None:
        owner = None if operation.uid is None and operation.gid is None else (operation.uid or 0, operation.gid or 0)
        make_directories(root, operation.destination, owner=self._owner(*(owner or (0, 0))))
        fd = source.open(operation.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        rules = Rules(layer=False, single_id=self._single_id, owner=owner)
        with uncompressed(os.fdopen(fd, "rb", 1 << 16)) as stream:
            unpack(TarReader(stream), root, rules, below=operation.destination)

    @contextmanager
    def _source(self, source: Source) -> Iterator[SafeRoot]:
        if isinstance(source, HostDirectory):
            with SafeRoot.at(source.path, follow=True) as root:
                yield root
            return
        with mounted(self._view(source.layers), userxattr=self._userxattr) as fd, SafeRoot(os.dup(fd), follow=True) as root:
            yield root

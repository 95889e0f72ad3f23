"""The store's directory: where things are made, published, leased and thrown away; the write protocol lives here and nowhere else.

Publishing: make the thing under ``tmp/<boot id>/`` (same filesystem), fsync it, rename it into place without replacing, fsync the
parent. Discarding: rename into ``trash/<boot id>/``, fsync the parent, then unlink. So a name in the store is always whole, and what a
dead process leaves lies in ``tmp`` or ``trash`` where the next collection frees it.

A *lease* is a shared flock on ``lease.lock``, held while an operation makes or uses things that nothing references yet (pull, build,
load, commit, create). Collection needs the exclusive lock. The kernel drops a dead owner's lock, so no lease can be stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from notebook_containers.errors import Error, StoreError
from notebook_containers.lean import dataclass, field
from notebook_containers.linux import exhausted, syscalls
from notebook_containers.linux.delete import remove_tree
from notebook_containers.store import locks
from notebook_containers.store.failpoints import fp
from notebook_containers.store.fullness import FULL, disk_full
from notebook_containers.store.unlinking import Unlinking

_DIRECTORIES = (
    *("blobs", "blobs/sha256", "blobs/sha512", "layers", "snapshots", "containers", "volumes"),
    *("cachemounts", "cachemounts/locks", "digests"),
)
_PASSING = ("tmp", "trash")
_VOLATILE = "volatile-"
OWNED = re.compile(r"[a-z]+-(\d+)-(\d+)-")
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_ROOT_HINT = "set NBC_ROOT to a directory that you can write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A store's directory, made by :meth:`open`; safe for many threads and processes.

    ``deleter`` deletes trees whose files this process may not touch (:mod:`.idmap`), where there can be such.
    """

    root: Path
    boot_id: str
    deleter: Callable[[Path], None] | None = None
    _unlinking: Unlinking = field(default_factory=Unlinking, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, root: Path) -> Disk:
        """Make what is missing below ``root`` (0711 for root, 0700 else, whatever the umask; inner directories 0700).

        Raises StoreError naming an unusable root, DiskFull when no inode is left.
        """
        disk = cls(root=root, boot_id=_boot_id())
        try:
            disk._make()
            disk._retire_other_boots()
        except OSError as err:
            err.filename = None  # people set the root: that is the path to name
            raise store_error(err, root) from err
        return disk

    @property
    def staging(self) -> Path:
        """Where unfinished things of this boot live; everything in it belongs to somebody who holds a lease."""
        return self.root / "tmp" / self.boot_id

    @property
    def trash(self) -> Path:
        """Where discarded things of this boot wait for unlink; always deletable."""
        return self.root / "trash" / self.boot_id

    @property
    def volatile_rows(self) -> Path:
        """Where rows are that no restart of the machine survives (:mod:`.database`)."""
        return self.root / f"{_VOLATILE}{self.boot_id}.db"

    def staged_path(self) -> Path:
        """Return a fresh name in :attr:`staging`; nothing is made. Hold a lease as long as something lies there."""
        return self.staging / f"item-{os.getpid()}-{start_time(os.getpid())}-{os.urandom(8).hex()}"

    def publish(self, staged: Path, final: Path, *, durable: bool = True) -> bool:
        """Rename an fsynced thing into place and fsync the directory; False (and nothing moved) when the name is taken.

        Not ``durable``: a power cut may take the thing away again, and nothing waits for the disk.
        """
        fp("disk.publish.before_rename")
        try:
            syscalls.renameat2(syscalls.AT_FDCWD, str(staged), syscalls.AT_FDCWD, str(final), syscalls.RENAME_NOREPLACE)
        except FileExistsError:
            return False
        fp("disk.publish.after_rename")
        if durable:
            fsync_directory(final.parent)
        fp("disk.publish.after_fsync")
        return True

    def force(self, directory: Path) -> None:
        """Force the files of a new directory to the disk, and its name: for what a durable record is about to promise."""
        with translated(directory):
            for path in sorted(directory.iterdir()):
                if path.is_file():
                    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    try:
                        os.fsync(fd)
                    finally:
                        os.close(fd)
            fp("disk.force.after_files")
            fsync_directory(directory)
            fsync_directory(directory.parent)

    def discard(self, path: Path) -> bool:
        """Take a file or tree out of the store: rename to trash, fsync, unlink; False when there was none.

        The thing is gone from its name before anything is unlinked; a tree with something mounted inside is left in the trash
        (nothing is ever deleted through a mount).
        """
        target = self.trash / os.urandom(12).hex()
        with translated(path):
            try:
                os.rename(path, target)
            except FileNotFoundError:
                return False
            fp("disk.discard.after_rename")
            fsync_directory(path.parent)
            fp("disk.discard.after_fsync")
        self._unlink(target)
        return True

    def retire(self, *paths: Path) -> bool:
        """Take out trees that no record names any more, without waiting for the disk: renamed to trash now, unlinked in the background.

        A power cut can bring them back, as garbage under their old names; a process that dies leaves them in the trash, for the next
        sweep. The process waits for the unlinking when it ends, :meth:`settle` before that. False when there was none.
        """
        targets = [target for path in paths if (target := self._to_trash(path))]
        fp("disk.retire.after_rename")
        if targets and not self._unlinking.add(targets, partial(_unlink, deleter=self.deleter)):
            for target in targets:  # no thread is to be had: then now
                self._unlink(target)
        return bool(targets)

    def _to_trash(self, path: Path) -> Path | None:
        target = self.trash / os.urandom(12).hex()
        with translated(path):
            try:
                os.rename(path, target)
            except FileNotFoundError:
                return None
        return target

    def settle(self) -> None:
        """Wait until everything retired by this process is unlinked."""
        self._unlinking.settle()

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Hold off collection while the block runs; cheap (no disk write), waits at most for a running collection.

        Leases nest. Take a lease before a database transaction, never inside one: a collection holds leases off and then writes rows.
        """
        with self._lock_file() as fd:
            with translated(self.root / "lease.lock"):
                fcntl.flock(fd, fcntl.LOCK_SH)
            yield

    @contextmanager
    def turn(self, name: str, stop: threading.Event | None = None, waiting: locks.Waiting | None = None) -> Iterator[None]:
        """Let one process and thread at a time do the thing called ``name``, which is safe as a file name; hold a lease around it.

        ``waiting`` is told once who is at it (pids); ``stop`` ends the wait with StoreError. A dead owner's turn is over at once.
        """
        path = self.staging / f"turn-{name}"
        with translated(path):
            fd = locks.take_turn(path, stop, waiting)
        try:
            yield
        finally:
            # gone while it is locked: who waits for it sees that the name no longer leads to what it has open, and opens anew
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)

    @contextmanager
    def exclusive(self, *, wait_s: float = 0.5) -> Iterator[bool]:
        """Yield True while nobody holds a lease and nobody can take one, or False when leases are still held after ``wait_s``."""
        deadline = time.monotonic() + wait_s
        with self._lock_file() as fd:
            while not (got := locks.try_lock(fd)) and time.monotonic() < deadline:
                time.sleep(0.01)
            yield got

    def lease_holders(self) -> tuple[int, ...]:
        """Return the pids that hold a lease, as far as this process's pid namespace shows them (proc_locks(5))."""
        return locks.holders((self.root / "lease.lock").stat().st_ino)

    def has_leftovers(self) -> bool:
        """Tell whether the trash holds anything (cheap: two directory reads)."""
        return os.listdir(self.root / "trash") != [self.boot_id] or bool(os.listdir(self.trash))

    def sweep(self, stop: threading.Event | None = None) -> None:
        """Unlink what lies in the trash; what resists (a mount, a lost permission) stays for the next time. Several may sweep at once."""
        for boot in sorted((self.root / "trash").iterdir()):
            with suppress(FileNotFoundError):
                for path in sorted(boot.iterdir()):
                    if stop is not None and stop.is_set():
                        return
                    self._unlink(path)
            if boot.name != self.boot_id:
                with suppress(OSError):
                    boot.rmdir()

    def sweep_staging(self) -> None:
        """Discard what is unfinished; only for the holder of :meth:`exclusive`, because makers hold a lease.

        Spared all the same: lock files (unlinking one while another process opens it would split the lock), and what is named
        ``<word>-<pid>-<start time>-<random>`` after a living process.
        """
        for path in sorted(self.staging.iterdir()):
            match = OWNED.match(path.name)
            alive = match is not None and start_time(int(match[1])) == int(match[2])
            if not alive and path.suffix != ".lock":
                self.discard(path)

    def _unlink(self, path: Path) -> None:
        _unlink(path, self.deleter)

    def _make(self) -> None:
        made = _make_root(self.root)
        if not os.access(self.root, os.W_OK | os.X_OK, effective_ids=True):
            read_only = os.statvfs(self.root).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS if read_only else errno.EACCES, "")
        for name in (*_DIRECTORIES, *_PASSING, f"tmp/{self.boot_id}", f"trash/{self.boot_id}"):
            made |= make_directory(self.root / name)
        if made:
            fsync_directory(self.root)
            fsync_directory(self.root / "blobs")

    def set_aside(self, database: str) -> None:
        """Put a damaged database aside (``<name>.damaged``) and retire all that its rows told of, except volumes; can be done again."""
        with translated(self.root):
            for name in ("containers", "snapshots", "layers", "blobs"):
                self._to_trash(self.root / name)
                fp("disk.aside.after_rename")
            for name in os.listdir(self.root):
                if name.startswith((_VOLATILE, f"{database}-")):
                    os.unlink(self.root / name)
            with suppress(FileNotFoundError):
                os.rename(self.root / database, self.root / f"{database}.damaged")
            fsync_directory(self.root)

    def forget_other_boots(self) -> bool:
        """Remove the volatile rows of earlier boots; tells whether there were any, and so perhaps trees that no row names any more."""
        names = [name for name in os.listdir(self.root) if name.startswith(_VOLATILE) and self.boot_id not in name]
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.root / name)
        return bool(names)

    def _retire_other_boots(self) -> None:
        for name in os.listdir(self.root / "tmp"):
            if name != self.boot_id:
                fp("disk.boot.before_rename")
                with suppress(FileNotFoundError):
                    os.rename(self.root / "tmp" / name, self.trash / os.urandom(12).hex())

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        path = self.root / "lease.lock"
        with translated(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_mode & 0o600 != 0o600:  # just made, under a umask that takes from the owner too
                os.fchmod(fd, 0o600)
            yield fd
        finally:
            os.close(fd)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into DiskFull or StoreError naming the path (the error's own, else ``path``)."""
    try:
        yield
    except OSError as err:
        raise store_error(err, path) from err


@contextmanager
def exhaustion_translated(path: Path) -> Iterator[None]:
    """Turn an OSError for want of descriptors into StoreError that names the limit; others go through."""
    try:
        yield
    except OSError as err:
        if exhausted.words(err) is None:
            raise
        raise store_error(err, path) from err


def store_error(err: OSError, path: Path, *, missing: int = 0) -> Error:
    """Return the error of this package that says what ``err`` means for the store; ``missing`` bytes were still to be written."""
    # a name relative to a descriptor, or a descriptor's own, tells nobody anything
    named = isinstance(err.filename, str) and err.filename.startswith("/") and not err.filename.startswith("/proc/")
    where = str(err.filename) if named else str(path)
    reason = (os.strerror(err.errno) if err.errno else str(err)).lower()
    if exhaustion := exhausted.words(err):
        return StoreError(f"cannot use {where}: {exhaustion[0]}", hint=exhaustion[1])
    if err.errno in FULL:
        return disk_full(err.errno, where, missing=missing)
    if err.errno in _REFUSED:
        return StoreError(f"cannot write {where}: {reason}", hint=_ROOT_HINT)
    if err.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError(f"{where} is not a directory", hint=_ROOT_HINT)
    return StoreError(f"cannot use {where}: {reason}")


def fsync_directory(path: Path) -> None:
    """Make the directory's entries durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """Return the process's start time in clock ticks since boot (proc_pid_stat(5), field 22), which with the pid names it; 0: no such."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def make_directory(path: Path, mode: int = 0o700) -> bool:
    """Make a directory with exactly this mode, whatever the umask; False when something of the name is there."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return False
    os.chmod(path, mode)
    return True


def _make_root(root: Path) -> bool:
    mode = 0o711 if os.geteuid() == 0 else 0o700
    if make_root := not root.is_dir():
        for parent in reversed(root.parents):
            if not parent.is_dir():
                make_directory(parent, 0o755 if os.geteuid() == 0 else 0o700)
                _fsync_if_readable(parent.parent)
        make_directory(root, mode)
        _fsync_if_readable(root.parent)
    return make_root


def _fsync_if_readable(path: Path) -> None:
    with suppress(PermissionError):
        fsync_directory(path)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "unknown-boot"


def _unlink(path: Path, deleter: Callable[[Path], None] | None) -> None:
    # what resists (a mount inside, another sweeper at work) stays in the trash for the next sweep
    with suppress(OSError, Error):
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(parent, path.name)
        except PermissionError:
            if deleter is None:
                raise
            deleter(path)
        finally:
            os.close(parent)

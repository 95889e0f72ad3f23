"""Named volumes: a directory each, which only :meth:`Volumes.remove` ever deletes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from notebook_containers.errors import Corrupt, InvalidArgument, VolumeNotFound
from notebook_containers.lean import dataclass, field
from notebook_containers.store.database import Value
from notebook_containers.store.disk import Disk, fsync_directory, make_directory, translated
from notebook_containers.store.failpoints import fp
from notebook_containers.store.records import Records

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}\Z")
_OPTIONS = "opts.json"  # beside the files and not in the row: it outlives a lost database with them


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A named volume; ``path`` is its own directory for files, ``created`` in seconds since 1970 UTC.

    ``options`` are what it was made with, for whoever gives them a meaning; here they are only kept.
    """

    name: str
    path: Path
    created: float
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


class Volumes:
    """The volumes of a store; thread-safe, and safe for several processes at once.

    Directory and row change inside one database transaction, so makers and removers of one name never meet. A removal marks its row
    first: after a crash it is finished by the next call that names the volume.
    """

    def __init__(self, disk: Disk, records: Records) -> None:
        self._disk, self._records = disk, records

    def create(self, name: str = "", labels: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None) -> Volume:
        """Make a volume, or return the one of this name (as Docker does); an empty name gives 64 random hex digits.

        A directory with files that no row names (of a database that was lost) is taken as it is: nothing in it is touched.
        Raises InvalidArgument for a bad name. Durable when it returns.
        """
        name = name or os.urandom(32).hex()
        if not _NAME.match(name):
            raise InvalidArgument(
                f"{name[:80]!r} is no volume name", hint="use letters, digits, _ . and -, beginning with a letter or digit"
            )
        # the lease first: a collection that holds off leases may be waiting for the database
        with self._disk.lease(), self._records.transaction() as connection:
            self._finish_removal(connection, name)
            if connection.execute("SELECT 1 FROM volumes WHERE name = ?", (name,)).fetchone() is None:
                self._make_directory(name, options or {})
                fp("volumes.create.after_directory")
                row = (name, "ready", time.time(), json.dumps(dict(labels or {})))
                connection.execute("INSERT INTO volumes (name, state, created, labels) VALUES (?, ?, ?, ?)", row)
        return self.get(name)

    def get(self, name: str) -> Volume:
        """Return the volume; raises VolumeNotFound."""
        rows = self._records.query("SELECT name, created, labels FROM volumes WHERE name = ? AND state = 'ready'", (name,))
        if not rows:
            raise self._not_found(name)
        return self._volume(rows[0])

    def list(self) -> list[Volume]:
        """Return all volumes by name."""
        rows = self._records.query("SELECT name, created, labels FROM volumes WHERE state = 'ready' ORDER BY name")
        return [self._volume(row) for row in rows]

    def remove(self, name: str, *, check: Callable[[], object] | None = None, release: Callable[[Volume], object] | None = None) -> None:
        """Delete the volume and all it holds; raises VolumeNotFound.

        ``check`` may raise because somebody uses it: it is called while nobody else can write records. ``release`` is called once it is
        decided, for what else there is of the volume.
        """
        with self._records.transaction() as connection:
            if not connection.execute("UPDATE volumes SET state = 'deleting' WHERE name = ?", (name,)).rowcount:
                raise self._not_found(name)
            rows = connection.execute("SELECT name, created, labels FROM volumes WHERE name = ?", (name,)).fetchall()
            if check is not None:
                check()
        fp("volumes.remove.after_mark")
        if release is not None:
            release(self._volume(rows[0]))
        with self._records.transaction() as connection:
            self._finish_removal(connection, name)

    def restore(self, name: str) -> None:
        """Make the directory of a recorded volume again, empty, when it is not there any more."""
        with self._disk.lease(), self._records.transaction():
            if not (self._directory(name) / "_data").is_dir():
                self._make_directory(name, {})

    def adopt(self, name: str) -> None:
        """Record a volume whose directory is there, with all that it holds, when no row names it; InvalidArgument for no volume's name."""
        if not _NAME.match(name):
            raise InvalidArgument(f"{name[:80]!r} is no volume name", hint="move it away from the store's volumes by hand")
        with self._disk.lease(), self._records.transaction() as connection:
            row = (name, "ready", time.time(), "{}")
            connection.execute("INSERT OR IGNORE INTO volumes (name, state, created, labels) VALUES (?, ?, ?, ?)", row)

    def collect(self) -> None:
        """Finish removals that were killed, and free what creations left that were: directories without a row, which are empty.

        One that is not empty is somebody's bytes and stays. For the holder of the store's exclusive lock.
        """
        for (name,) in self._records.query("SELECT name FROM volumes WHERE state = 'deleting'"):
            with self._records.transaction() as connection:
                self._finish_removal(connection, str(name))
        with translated(self._disk.root):
            known = {str(name) for (name,) in self._records.query("SELECT name FROM volumes")}
            for name in sorted(set(os.listdir(self._disk.root / "volumes")) - known):
                with suppress(OSError):
                    os.rmdir(self._directory(name) / "_data")
                    (self._directory(name) / _OPTIONS).unlink(missing_ok=True)
                    os.rmdir(self._directory(name))

    def _finish_removal(self, connection: sqlite3.Connection, name: str) -> None:
        if connection.execute("SELECT 1 FROM volumes WHERE name = ? AND state = 'deleting'", (name,)).fetchone():
            self._disk.discard(self._directory(name))
            fp("volumes.remove.after_discard")
            connection.execute("DELETE FROM volumes WHERE name = ?", (name,))

    def _make_directory(self, name: str, options: Mapping[str, str]) -> None:
        staged, final = self._disk.staged_path(), self._directory(name)
        with translated(staged):
            make_directory(staged)
            make_directory(staged / "_data", 0o755)
            _write_options(staged / _OPTIONS, options)
            fsync_directory(staged)
            fp("volumes.create.before_publish")
            if self._disk.publish(staged, final):
                return
            if _holds_files(final / "_data"):
                self._disk.discard(staged)
            else:  # a creation that died before its row: nobody can have used it
                self._disk.discard(final)
                self._disk.publish(staged, final)

    def _directory(self, name: str) -> Path:
        return self._disk.root / "volumes" / name

    def _volume(self, row: tuple[Value, ...]) -> Volume:
        name, created, labels = row
        path = self._directory(str(name)) / "_data"
        options = _read_options(path.parent / _OPTIONS)
        return Volume(name=str(name), path=path, created=float(created or 0), labels=json.loads(str(labels)), options=options)

    def _not_found(self, name: str) -> VolumeNotFound:
        import difflib

        near = difflib.get_close_matches(name, [volume.name for volume in self.list()], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "'nbc volume ls' lists the volumes, 'nbc volume create' makes one"
        return VolumeNotFound(f"no volume {name!r}", hint=hint)


def _write_options(path: Path, options: Mapping[str, str]) -> None:
    if options:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(dict(options), file)
            file.flush()
            os.fsync(fd)


def _read_options(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise Corrupt(f"the options of volume {path.parent.name} cannot be read: {err}", hint="remove it, or put them back") from err
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _holds_files(directory: Path) -> bool:
    """Tell whether there is anything in a directory; one that is closed to us or is no directory is somebody's too."""
    try:
        return bool(os.listdir(directory))
    except FileNotFoundError:
        return False
    except OSError:
        return True

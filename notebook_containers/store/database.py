"""The SQLite file: connections, transactions and the schema; what the rows mean is said by the modules that own the nouns.

Rollback journal with ``synchronous=FULL``: a commit that returned survives a power cut (WAL before SQLite 3.51.3 can corrupt with two
writers). Writers take ``BEGIN IMMEDIATE``, so they queue at the start and never fail half-way.

Who finds the file locked asks SQLite again and again, and sleeps longer each time. So the threads of one process wait for each other at
locks of ours: writers for their turn, readers for a commit that is being written. Among processes one writer at a time asks SQLite, and
the others wait for that one's turn, each as likely as any other to be the next.

Beside it is a second file, attached as ``volatile``, for what no restart of the machine survives: containers that are removed at their
end, and addresses of what has no other row. It is never synced (a commit to the disk is five of these), and its name holds the boot's id,
so that a file which a power cut may have torn is never opened again. A transaction locks both files; one that writes rows of the volatile
file alone waits for no disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers.errors import Corrupt, Error, StoreError, Unsupported
from notebook_containers.linux import exhausted
from notebook_containers.store.disk import store_error, translated
from notebook_containers.store.failpoints import fp
from notebook_containers.store.fullness import disk_full
from notebook_containers.store.locks import try_lock
from notebook_containers.store.migrations import SCHEMA_VERSION, STEPS, migrate

Value: TypeAlias = "str | int | float | bytes | None"

BUSY_TIMEOUT_S = 10.0
_JITTER_S = 0.01 / 255
_VOLATILE_VERSION = 1  # made anew with every boot, so never migrated

_RESERVED_PAGES = 64
_FILL = """WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO reserve (page) SELECT randomblob(3000) FROM n"""
_SCHEMA = (
    """CREATE TABLE images (
        id TEXT PRIMARY KEY, manifest TEXT NOT NULL, created REAL NOT NULL, size INTEGER NOT NULL,
        layers TEXT NOT NULL, labels TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE names (
        name TEXT PRIMARY KEY, familiar TEXT NOT NULL,
        image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE) WITHOUT ROWID""",
    "CREATE INDEX names_image ON names(image)",
    "CREATE TABLE layers (diff_id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE containers (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, image TEXT NOT NULL, document TEXT NOT NULL
        ) WITHOUT ROWID""",
    """CREATE TABLE networks (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, document TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE addresses (
        network TEXT NOT NULL REFERENCES networks(id), address TEXT NOT NULL, container TEXT NOT NULL,
        PRIMARY KEY (network, address), UNIQUE (network, container)) WITHOUT ROWID""",
    """CREATE TABLE volumes (
        name TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('ready', 'deleting')), created REAL NOT NULL, labels TEXT NOT NULL
        ) WITHOUT ROWID""",
    """CREATE TABLE cache (
        key TEXT PRIMARY KEY, diff_id TEXT, created REAL NOT NULL, document TEXT NOT NULL) WITHOUT ROWID""",
    *(statement for step in sorted(STEPS) for statement in STEPS[step]),
    "CREATE TABLE reserve (page BLOB)",
)
_VOLATILE_SCHEMA = (
    """CREATE TABLE volatile.containers (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, image TEXT NOT NULL, document TEXT NOT NULL
        ) WITHOUT ROWID""",
    """CREATE TABLE volatile.addresses (
        network TEXT NOT NULL, address TEXT NOT NULL, container TEXT NOT NULL,
        PRIMARY KEY (network, address), UNIQUE (network, container)) WITHOUT ROWID""",
)
_ORPHANS = (
    "DELETE FROM names WHERE image NOT IN (SELECT id FROM images)",
    "DELETE FROM variants WHERE image NOT IN (SELECT id FROM images)",
    """INSERT INTO names (name, familiar, image)
        SELECT name, familiar, min(image) FROM variants WHERE name NOT IN (SELECT name FROM names) GROUP BY name, familiar""",
    "DELETE FROM addresses WHERE network NOT IN (SELECT id FROM networks)",
)


class Database:
    """One file and its volatile one, one connection per thread; used from many processes at once. A fork gets connections of its own."""

    def __init__(self, path: Path, volatile: Path) -> None:
        self.path, self._volatile = path, volatile
        self._directory = -1
        self._local = threading.local()
        self._lock, self._writing, self._committing = threading.Lock(), threading.Lock(), threading.Lock()
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._pid = os.getpid()
        with translated(path):
            _make_private_file(path)
            _make_private_file(volatile)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one BEGIN IMMEDIATE transaction, durable when the block has ended and undone when it raises.

        SQLite's errors become StoreError, DiskFull or Corrupt; IntegrityError passes, for the caller to say what is taken.
        A transaction inside a transaction of the same thread joins it.
        """
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        with self._writing, self._translated():
            try:
                try:
                    self._begin(connection)
                    yield connection
                    fp("records.before_commit")
                    with self._committing:
                        connection.execute("COMMIT")
                    fp("records.after_commit")
                except BaseException:
                    _roll_back(connection)
                    raise
            finally:  # again: an interrupt may have come in the middle of that
                _roll_back(connection)
                self._give_turn()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin to write, alone among those who wait to: who asks SQLite in vain soon asks every tenth of a second only, and starves.

        The turn is a lock on the store's directory; when no descriptor is to be had for that, SQLite's way is left.
        """
        with suppress(OSError):
            if self._directory < 0:
                self._directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._directory < 0:
            connection.execute("BEGIN IMMEDIATE")
            return
        end = time.monotonic() + BUSY_TIMEOUT_S
        try:
            while not try_lock(self._directory) and time.monotonic() < end:
                time.sleep(0.001 + os.urandom(1)[0] * _JITTER_S)
            connection.execute("BEGIN IMMEDIATE")
        finally:
            self._give_turn()

    def _give_turn(self) -> None:
        if self._directory >= 0:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def query(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """Return all rows of one SELECT: one consistent view, no lock held afterwards."""
        connection = self._connection()
        with self._committing, self._translated():
            return connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close every thread's connection; the next use would open a new one."""
        with self._lock:
            if self._pid == os.getpid():
                for connection in self._connections.values():
                    connection.close()
                self._connections.clear()
                self._let_go()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self._leave_to_parent()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._left_over() or self._connect()
            with self._lock:
                self._connections[threading.current_thread()] = connection
        return connection

    def _left_over(self) -> sqlite3.Connection | None:
        """Take the connection over of a thread that has ended, and close what others left."""
        with self._lock:
            left = [self._connections.pop(thread) for thread in [t for t in self._connections if not t.is_alive()]]
        for connection in left[1:]:
            connection.close()
        return left[0] if left else None

    def _connect(self) -> sqlite3.Connection:
        with self._committing, self._translated():
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            # the journal is zeroed, not deleted: a commit needs no directory fsync, and none needs new blocks
            connection.execute("PRAGMA journal_mode=PERSIST")
            connection.execute("ATTACH DATABASE ? AS volatile", (str(self._volatile),))
            connection.execute("PRAGMA volatile.synchronous=OFF")
            connection.execute("PRAGMA volatile.journal_mode=PERSIST")
            return connection

    def _leave_to_parent(self) -> None:
        # closing or finalising the parent's connections here would drop its locks or roll its transaction back: leak them on purpose
        self._inherited = (self._local, self._connections)
        self._local, self._connections = threading.local(), {}
        self._lock, self._writing, self._committing = threading.Lock(), threading.Lock(), threading.Lock()
        self._pid = os.getpid()
        self._let_go()  # the lock is the parent's too, and stays with it

    def __del__(self) -> None:
        """Leave no descriptor behind when nobody closed it, as SQLite's connections do."""
        self._let_go()

    def _let_go(self) -> None:
        directory, self._directory = self._directory, -1
        if directory >= 0:
            os.close(directory)

    def _prepare(self) -> None:
        version = self._version()
        if version == 0:
            self._create()
        elif version > SCHEMA_VERSION:
            self.close()
            raise Unsupported(
                f"{self.path} has a newer schema ({version}, this version knows {SCHEMA_VERSION})",
                hint="upgrade notebook-containers, or set NBC_ROOT to another directory",
            )
        elif version < SCHEMA_VERSION:
            self._migrate()
        if self._version("volatile") == 0:
            self._create_volatile()

    def _create(self) -> None:
        with self.transaction() as connection:
            if self._version() != 0:
                return
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute(_FILL, (_RESERVED_PAGES,))
        # changing every page once grows the journal, which then stays allocated: rows can be removed when the disk is full
        with self.transaction() as connection:
            connection.execute("UPDATE reserve SET page = randomblob(3000)")
        with self.transaction() as connection:
            connection.execute("DROP TABLE reserve")

    def _migrate(self) -> None:
        with self.transaction() as connection:
            version = self._version()
            if version < SCHEMA_VERSION:  # another process may have been first
                migrate(connection, self.path, version)

    def _create_volatile(self) -> None:
        with self.transaction() as connection:
            if self._version("volatile") == 0:
                for statement in _VOLATILE_SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA volatile.user_version={_VOLATILE_VERSION}")

    def _version(self, schema: str = "main") -> int:
        return int(str(self.query(f"PRAGMA {schema}.user_version")[0][0]))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as err:
            raise _store_error(err, self.path) from err
        except OSError as err:
            with translated(self.path):
                raise err


def check_database(path: Path) -> list[str]:
    """Return what SQLite's integrity and foreign key checks find, in words; an empty list is a sound file."""
    try:
        # not read-only: the journal of a writer that was killed is rolled back by the next one who opens the file
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            found += [f"a row of {row[0]} refers to no row of {row[2]}" for row in connection.execute("PRAGMA foreign_key_check")]
            return found
    except sqlite3.DatabaseError as err:
        return [str(err)]


def mend(path: Path) -> None:
    """Make every index again and drop the rows that refer to none; raises Corrupt when SQLite still finds damage afterwards."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("REINDEX")
            for statement in _ORPHANS:
                connection.execute(statement)
            fp("repair.before_commit")
            connection.execute("COMMIT")
    except sqlite3.DatabaseError as err:
        raise _store_error(err, path) from err
    if left := check_database(path):
        raise Corrupt(f"{path} is damaged: {left[0]}", hint="put back one of its copies (nbc.db.*), or start again: nbc system reset")


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite has already rolled back by itself after some errors (a full disk)
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _make_private_file(path: Path) -> None:
    if not path.exists():
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)


def _store_error(err: sqlite3.DatabaseError, path: Path) -> Error:
    name = getattr(err, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return disk_full(errno.ENOSPC, str(path))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(f"{path} is busy: other processes held it for {BUSY_TIMEOUT_S:.0f} s", hint="try again")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(f"{path} is damaged: {err}", hint="restore it, or set NBC_ROOT to a new directory")
    if name.startswith("SQLITE_CANTOPEN") and (reason := exhausted.descriptors()):
        return store_error(reason, path)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreError(f"cannot write {path}: {err}", hint="set NBC_ROOT to a directory that you can write")
    return StoreError(f"cannot use {path}: {err}")

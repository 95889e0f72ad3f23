"""From one version of the store's schema to the next: statements, each set in the transaction that also raises the version.

An older version of this package refuses a newer schema (:mod:`.database`); one that has the file open while it is migrated goes on, so a
migration may add and fill, but takes nothing away that the version before reads.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from notebook_containers.store.disk import fsync_directory
from notebook_containers.store.failpoints import fp

SCHEMA_VERSION = 3

STEPS: Mapping[int, Sequence[str]] = {
    # who uses an image, and which build steps made a layer, are asked by every rmi, prune and repair
    1: ("CREATE INDEX containers_image ON containers(image)", "CREATE INDEX cache_diff_id ON cache(diff_id)"),
    # one name for the images of several platforms (:mod:`.variants`)
    2: (
        """CREATE TABLE variants (
            name TEXT NOT NULL, platform TEXT NOT NULL, image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
            familiar TEXT NOT NULL, top TEXT NOT NULL, PRIMARY KEY (name, platform)) WITHOUT ROWID""",
        "CREATE INDEX variants_image ON variants(image)",
    ),
}
"""The version that a store has → what makes the next one of it."""


def migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring the database from ``version`` to :data:`SCHEMA_VERSION`, in the caller's transaction; a copy of it as it was is kept.

    The copy is ``<name>.<version>`` beside it, whole and on the disk before anything changes.
    """
    back_up(path, path.with_name(f"{path.name}.{version}"))
    for step in range(version, SCHEMA_VERSION):
        for statement in STEPS[step]:
            connection.execute(statement)
        fp("migrations.step.after_statements")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def back_up(path: Path, copy: Path) -> None:
    """Copy the database as it was last committed; the copy appears whole, by one rename, in place of an earlier one."""
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    part.chmod(0o600)
    fp("migrations.backup.before_fsync")
    fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(part, copy)
    fp("migrations.backup.after_rename")
    fsync_directory(copy.parent)

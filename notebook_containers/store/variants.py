"""One name, several platforms: which images a name means beside the one that it means when no platform is asked for.

A row of ``names`` is the image that is used here: the one that fits this machine best, else the last that came. A row of ``variants`` is
one platform's image under that name, all of one index (``top``, a blob of the store; empty when that is lost). A name that is given to one
image alone, or that comes with another index, loses its variants.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.image import Digest, Platform
from notebook_containers.oci.platforms import best_of, host_platform, parse_platform, platform_text
from notebook_containers.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One platform's image of a name: the platform as text, the image's id, and the index that both are of (empty: not known)."""

    platform: str
    image: Digest
    top: str


def key_of(reference: Reference) -> str:
    """Return what the rows of a name are found by: the name with its tag, or with its digest alone."""
    named = reference.tagged()
    return str(replace(named, tag="") if named.digest else named)


def write_names(connection: sqlite3.Connection, image: Digest, references: Iterable[Reference]) -> None:
    """Give the image the names, alone."""
    for reference in references:
        connection.execute("DELETE FROM variants WHERE name = ?", (key_of(reference),))
        _point(connection, reference, image)


def add_variant(connection: sqlite3.Connection, image: Digest, references: Iterable[Reference], *, platform: Platform, top: str) -> None:
    """Give the image the names as one of the platforms of the index ``top``; who has them with another index loses them."""
    for reference in references:
        key = key_of(reference)
        connection.execute("DELETE FROM variants WHERE name = ? AND top <> ?", (key, top))
        row = (key, platform_text(platform), image, _familiar(reference), top)
        connection.execute("INSERT OR REPLACE INTO variants (name, platform, image, familiar, top) VALUES (?, ?, ?, ?, ?)", row)
        _point(connection, reference, _preferred(variants(connection, key), image))


def copy_variants(connection: sqlite3.Connection, source: Reference, target: Reference) -> None:
    """Give the name ``target`` the platforms that ``source`` has, after it got the image."""
    sql = """INSERT OR REPLACE INTO variants (name, platform, image, familiar, top)
        SELECT ?, platform, image, ?, top FROM variants WHERE name = ?"""
    connection.execute(sql, (key_of(target), _familiar(target), key_of(source)))


def variants(connection: sqlite3.Connection, key: str) -> Sequence[Variant]:
    """Return the platforms of a name, sorted; none when it means one image alone."""
    rows = connection.execute("SELECT platform, image, top FROM variants WHERE name = ? ORDER BY platform", (key,)).fetchall()
    return [Variant(platform=str(platform), image=Digest(image), top=str(top)) for platform, image, top in rows]


def settle_names(connection: sqlite3.Connection) -> None:
    """Let names whose image was removed mean the best of the platforms that are left."""
    sql = "SELECT DISTINCT name, familiar FROM variants WHERE name NOT IN (SELECT name FROM names)"
    for key, familiar in connection.execute(sql).fetchall():
        left = variants(connection, key)
        row = (key, familiar, _preferred(left, left[0].image))
        connection.execute("INSERT OR REPLACE INTO names (name, familiar, image) VALUES (?, ?, ?)", row)


def _preferred(found: Sequence[Variant], otherwise: Digest) -> Digest:
    place = best_of([parse_platform(each.platform) for each in found], host_platform())
    return otherwise if place is None else found[place].image


def _point(connection: sqlite3.Connection, reference: Reference, image: Digest) -> None:
    row = (key_of(reference), _familiar(reference), image)
    connection.execute("INSERT OR REPLACE INTO names (name, familiar, image) VALUES (?, ?, ?)", row)


def _familiar(reference: Reference) -> str:
    named = reference.tagged()
    return (replace(named, tag="") if named.digest else named).familiar()

"""``rmi``: Docker's rules for taking names and images away."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from notebook_containers.build import kept
from notebook_containers.engine import launch
from notebook_containers.engine.filters import dangling, prune_test
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Conflict, ImageNotFound, NotFound
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord


def remove(parts: Parts, name: str, *, force: bool, no_prune: bool) -> list[dict[str, str]]:
    """Take a name away, and the image with it when that was the last; return Docker's ``Untagged``/``Deleted`` lines.

    An image that a container uses stays: by name only with ``force``, which takes the name; by id never while one runs, and with
    ``force`` otherwise (the containers keep their layers). An id whose image has names in several repositories wants ``force``.
    """
    record = parts.store.images.resolve(name)
    if not record.id.hex.startswith(name.removeprefix("sha256:")):
        return _all_platforms(parts, record, name, force=force, no_prune=no_prune)
    repositories = {Reference.parse(tag).name for tag in record.tags}
    if len(repositories) > 1 and not force:
        raise Conflict(
            f"image {record.id.short} has names in several repositories: {', '.join(record.tags)}", hint="remove them by name, or use force"
        )
    users = _users(parts, record)
    running = [user for user in users if _runs(parts, user[0])]
    if running:
        raise Conflict(f"image {name} is used by container {running[0][1]}, which runs", hint=f"stop it first: nbc stop {running[0][1]}")
    _refuse_used(name, users, force=force)
    return delete(parts, record, no_prune=no_prune)


def _all_platforms(parts: Parts, record: ImageRecord, name: str, *, force: bool, no_prune: bool) -> list[dict[str, str]]:
    """Take the name away from the images of all platforms that it is here for."""
    reference = Reference.parse(name).tagged()
    others = [parts.store.images.get(each.image) for each in parts.store.images.variants(name) if each.image != record.id]
    for other in others:
        _refuse_used(name, _users(parts, other), force=force)
    lines = _by_name(parts, record, reference, force=force, no_prune=no_prune)
    for other in others:
        lines += _by_name(parts, other, reference, force=force, no_prune=no_prune)
    return [line for place, line in enumerate(lines) if line not in lines[:place]]


def _by_name(parts: Parts, record: ImageRecord, reference: Reference, *, force: bool, no_prune: bool) -> list[dict[str, str]]:
    names = [*record.tags, *record.digests]
    given = reference.familiar()
    same = [n for n in names if Reference.parse(n).name == reference.name]
    # the digests under which a repository is known go with its last tag
    going = same if len([n for n in same if n in record.tags]) <= 1 else [given]
    users = _users(parts, record)
    if set(names) <= set(going):
        _refuse_used(given, users, force=force)
        if not users:
            return delete(parts, record, no_prune=no_prune)
    for each in going:
        with suppress(ImageNotFound):  # another platform's image has lost the name for all
            parts.store.images.untag(Reference.parse(each))
        parts.emit_image("untag", record.id, record.id)
    return [{"Untagged": each} for each in going]


def delete(parts: Parts, record: ImageRecord, *, no_prune: bool = False) -> list[dict[str, str]]:
    """Delete an image with all its names; ``no_prune`` leaves its layers to the next collection."""
    parts.store.images.remove(record.id)
    kept.forget_steps(parts.store.records, record.id)
    names = [*record.tags, *record.digests]
    for action in (*("untag" for _name in record.tags), "delete"):
        parts.emit_image(action, record.id, record.id)
    if not no_prune:
        from notebook_containers.store.collect import collect

        collect(parts.store)
    return [*({"Untagged": each} for each in names), {"Deleted": str(record.id)}]


def prune(parts: Parts, filters: Mapping[str, object] | None, *, all: bool) -> dict[str, object]:
    """Remove images without a name (``all``: every one no container uses), the build cache they leave and unused layers."""
    from notebook_containers.store.collect import collect

    every, rest = dangling(filters)
    fits = prune_test(rest)
    used = {row.image for row in parts.store.records.containers()}
    deleted = []
    for record in parts.store.images.list():
        if record.id not in used and (all or every or not record.tags) and fits(record.created, record.labels):
            delete(parts, record, no_prune=True)
            deleted.append(str(record.id))
    if not rest:
        _forget_cache(parts, all=all)
    reclaimed = collect(parts.store)
    parts.runtime.collect()
    parts.emit("image", "prune", "", {"reclaimed": reclaimed.bytes})
    return {"ImagesDeleted": deleted, "SpaceReclaimed": reclaimed.bytes, "Warnings": reclaimed.warnings()}


def _forget_cache(parts: Parts, *, all: bool) -> None:
    """Drop the build cache's hold on layers that no image has any more, or with ``all`` the whole cache."""
    records, snapshots = parts.store.records, parts.store.snapshots
    used = {diff_id for record in parts.store.images.list() for diff_id in record.config.rootfs.diff_ids}
    used |= snapshots.pinned()
    records.cache_remove(row.key for row in records.cache_list() if all or (row.diff_id and row.diff_id not in used))


def _users(parts: Parts, record: ImageRecord) -> list[tuple[str, str]]:
    return [(row.id, row.name) for row in parts.store.records.containers() if row.image == record.id]


def _runs(parts: Parts, container_id: str) -> bool:
    try:
        return launch.state(parts, container_id).status in ("running", "paused", "restarting")
    except NotFound:
        return False


def _refuse_used(name: str, users: list[tuple[str, str]], *, force: bool) -> None:
    if users and not force:
        raise Conflict(f"image {name} is used by container {users[0][1]}", hint=f"remove it first: nbc rm {users[0][1]}")

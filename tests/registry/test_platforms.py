"""One name for the images of several platforms: pulled one by one, listed, chosen, pushed and saved as a whole, removed together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from notebook_containers.errors import ImageNotFound
from notebook_containers.oci.image import Digest, Platform
from notebook_containers.oci.platforms import host_platform, platform_text
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client
from notebook_containers.registry.lists import ManifestLists
from notebook_containers.registry.progress import TransferEvent, TransferNote
from notebook_containers.registry.pull import pull
from notebook_containers.registry.push import push
from notebook_containers.store.check import check
from notebook_containers.store.collect import collect
from notebook_containers.store.images import ImageRecord, PlatformNotHere
from notebook_containers.store.repair import repair
from notebook_containers.store.store import Store

HOST = host_platform()
FOREIGN = Platform(architecture="s390x")
THIRD = Platform(architecture="riscv64")
HERE = platform_text(HOST)

Listed = Callable[[str, str], ImageRecord]


@pytest.fixture
def index(store: Store, image: Callable[..., ImageRecord], registry: str) -> tuple[Reference, Digest]:
    """``app:1`` in the registry for this machine and two others, made in another store; its name and digest."""
    members = []
    for architecture in (HOST.architecture, FOREIGN.architecture, THIRD.architecture):
        name = Reference.parse(f"{registry}/app:{architecture}")
        image(str(name), architecture.encode(), b"shared", architecture=architecture)
        push(store, name)
        members.append(name)
    name = Reference.parse(f"{registry}/app:1")
    lists = ManifestLists(store)
    lists.create(name, members)
    return name, lists.push(name)


def test_a_second_platform_joins_the_first_under_its_name(other: Store, index: tuple[Reference, Digest]) -> None:
    name, top = index
    foreign = pull(other, name, FOREIGN)
    assert other.images.resolve(str(name)).id == foreign.id, "what there is is used while nothing fits better"
    own = pull(other, name)
    tag, digest = name.familiar(), f"{name.familiar_name()}@{top}"
    assert {(each.id, each.platform, each.tags, each.digests) for each in other.images.list()} == {
        (own.id, HERE, (tag,), (digest,)),
        (foreign.id, "linux/s390x", (tag,), (digest,)),
    }
    for text in (tag, digest):
        assert other.images.resolve(text).id == own.id, "this machine's is used, whichever came last"
        assert other.images.for_platform(text, FOREIGN).id == foreign.id
        assert other.images.for_platform(text, HOST).id == own.id
    assert other.images.resolve(f"{name.familiar_name()}@{foreign.manifest_digest}").id == foreign.id
    with pytest.raises(PlatformNotHere, match="is not here for linux/riscv64") as caught:
        other.images.for_platform(tag, THIRD)
    assert caught.value.hint == (
        f"it is here for {HERE}, linux/s390x; get the other with 'nbc pull --platform linux/riscv64 {tag}'"
        if HERE < "linux/s390x"
        else f"it is here for linux/s390x, {HERE}; get the other with 'nbc pull --platform linux/riscv64 {tag}'"
    )
    collect(other)
    assert check(other) == []
    assert other.content.has(top), "the index is kept as long as a name has come with it"


def test_a_name_with_all_platforms_is_pushed_as_it_came(other: Store, index: tuple[Reference, Digest], registry: str) -> None:
    name, top = index
    for platform in (FOREIGN, THIRD, HOST):
        pull(other, name, platform)
    copy = Reference.parse(f"{registry}/copy:2")
    other.images.tag(other.images.resolve(str(name)).id, copy, like=name)
    assert push(other, copy) == top, "byte for byte"
    with Client(registry) as client:
        assert client.manifest("copy", "2").digest == top
    assert {each.platform for each in other.images.list() if f"{copy.familiar_name()}@{top}" in each.digests} == {
        HERE, "linux/s390x", "linux/riscv64"
    }  # fmt: skip
    alone = Reference.parse(f"{registry}/alone:1")
    other.images.tag(other.images.resolve(str(name)).id, alone, like=name)
    assert push(other, alone, platform=FOREIGN) == other.images.for_platform(str(name), FOREIGN).manifest_digest


def test_what_is_not_here_is_left_out_of_the_index_and_told(
    other: Store, store: Store, index: tuple[Reference, Digest], registry: str
) -> None:
    name, top = index
    images = {pull(other, name, platform).id for platform in (HOST, FOREIGN)}
    copy = Reference.parse(f"{registry}/part:1")
    other.images.tag(other.images.resolve(str(name)).id, copy, like=name)
    seen: list[TransferEvent] = []
    digest = push(other, copy, seen.append)
    assert digest != top
    assert [each.message for each in seen if isinstance(each, TransferNote)] == [
        "another index is pushed than was pulled: 1 of its entries are not here as they were"
    ]
    assert {pull(store, copy, platform).id for platform in (HOST, FOREIGN)} == images


def test_a_name_that_moves_on_leaves_the_others_behind(other: Store, store: Store, index: tuple[Reference, Digest]) -> None:
    name, _ = index
    foreign = pull(other, name, FOREIGN)
    pull(other, name)
    lists = ManifestLists(store)
    lists.remove(name)
    lists.create(name, [Reference.parse(f"{name.name}:{HOST.architecture}"), Reference.parse(f"{name.name}:{THIRD.architecture}")])
    lists.push(name)
    own = pull(other, name)
    assert [each.image for each in other.images.variants(str(name))] == [own.id]
    assert name.familiar() not in other.images.get(foreign.id).tags
    with pytest.raises(PlatformNotHere):
        other.images.for_platform(str(name), FOREIGN)


def test_who_is_removed_leaves_the_name_to_the_rest(other: Store, index: tuple[Reference, Digest]) -> None:
    name, top = index
    foreign, own = pull(other, name, FOREIGN), pull(other, name)
    other.images.remove(own.id)
    assert other.images.resolve(str(name)).id == foreign.id
    other.images.untag(name)
    with pytest.raises(ImageNotFound):
        other.images.resolve(str(name))
    assert other.images.get(foreign.id).tags == ()
    other.images.remove(foreign.id)
    collect(other)
    assert list(other.content.list()) == [], "the index goes with the last image"
    assert not other.content.has(top)


def test_a_lost_index_is_found_and_done_without(other: Store, store: Store, index: tuple[Reference, Digest], registry: str) -> None:
    name, top = index
    for platform in (FOREIGN, THIRD, HOST):
        pull(other, name, platform)
    other.content.path(top).unlink()
    (finding,) = check(other)
    assert (finding.kind, finding.subject, finding.garbage) == ("index-missing", top, False)

    class Nothing:
        def blob(self, *_: object) -> None:
            raise AssertionError

        manifest = blob

    assert [(each.repaired, each.finding.kind) for each in repair(other, Nothing())] == [(True, "index-missing")]
    assert check(other) == []
    copy = Reference.parse(f"{registry}/again:1")
    other.images.tag(other.images.resolve(str(name)).id, copy, like=name)
    push(other, copy)
    assert pull(store, copy, THIRD).id == other.images.for_platform(str(name), THIRD).id


def test_rows_of_images_that_are_gone_are_mended(other: Store, index: tuple[Reference, Digest]) -> None:
    name, _ = index
    pull(other, name, FOREIGN)
    own = pull(other, name)
    path: Path = other.records.path
    other.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM images WHERE id = ?", (own.id,))
    with Store.open(path.parent) as again:
        assert {each.kind for each in check(again)} == {"database"}

        class Nothing:
            def blob(self, *_: object) -> None:
                raise AssertionError

            manifest = blob

        repair(again, Nothing())
        assert check(again) == []
        assert [each.platform for each in again.images.variants(str(name))] == ["linux/s390x"]
        assert again.images.resolve(str(name)).platform == "linux/s390x"

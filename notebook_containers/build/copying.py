"""COPY and ADD: from a plan's words to the material of their key, and to the store's file operations."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from notebook_containers.build import keys, plan
from notebook_containers.build.context import OutsideContext, Source, keeping
from notebook_containers.build.excluding import exclude_rules, left_out
from notebook_containers.build.fetching import Fetched
from notebook_containers.build.patterns import PatternError
from notebook_containers.build.taking import Taken, check_several, error_at
from notebook_containers.build.view import View
from notebook_containers.lean import replace
from notebook_containers.oci.documents import JSON
from notebook_containers.store import modes
from notebook_containers.store.layers import LayerStore
from notebook_containers.store.operations import CopyTree, ExtractTar, HostDirectory, LayersView, MakeDirectory, Operation, WriteFile

Owner = tuple[int | None, int | None]


class Copying:
    """One COPY or ADD at its place: ``below`` are the layers under it; it takes from the context or from other layers (``source``)."""

    def __init__(self, step: plan.Step, copy: plan.Copy, *, layers: LayerStore, below: keys.Below, source: Taken | keys.Below) -> None:
        self._step, self._copy, self._layers, self._below = step, copy, layers, below
        self._taken = source if isinstance(source, Taken) else None
        self._origin = keys.Below() if isinstance(source, Taken) else source

    def material(self) -> keys.Material:
        """Return what the step's key is made of (without the single files)."""
        copy = self._copy
        what: dict[str, JSON] = {
            "kind": "add" if copy.unpack else "copy",
            "destination": copy.destination,
            "owner": copy.owner,
            "mode": copy.mode,
            "inline": [[f.name, keys.digest_of([f.data])] for f in copy.inline],
        }
        parent = "" if copy.link else self._below.chain
        if copy.link:
            what |= {"link": True, "numbers": [*self._owner_below()]}
        if self._taken is None:
            what |= {"from": self._origin.chain, "sources": [*copy.sources], "parents": copy.parents, "excludes": [*copy.excludes]}
            return keys.Material(parent=parent, what=what)
        what["archives"] = [
            *sorted(p.source.path for p in self._taken.sources if p.archive),
            *(f.path for f in self._taken.fetched if self._unpacks(f)),
        ]
        if copy.parents:
            what["parents"] = [piece.source.kept for piece in self._taken.sources]
        return keys.Material(parent=parent, what=what, trees=self._taken.trees())

    def content_material(self) -> keys.Material | None:
        """Return the material by what is copied, in place of the layers it comes from; None for the context, and for what is unreadable.

        Two stages that were made at different times differ in their layers, and yet may have the same files to copy.
        """
        if self._taken is not None:
            return None
        material = self.material()
        try:
            with View(self._layers, self._origin.layers) as view:
                found = {s.path: keeping(s, word) for word in self._copy.sources for s in self._select(view, word)}
                digests: list[JSON] = [
                    view.digest(source, skip) for source in found.values() if (skip := self._skip(view, source)) is not None
                ]
        except OSError:
            return None
        return replace(material, what={**material.what, "from": ["content", *digests]})

    def operations(self) -> list[Operation]:
        """Return the file operations; raises DockerfileError for sources and owners that are not there."""
        with View(self._layers, self._below.layers) as view:
            owner = self._owner(view)
            destination = self._copy.destination if self._copy.link else view.follow(self._copy.destination)
        result: list[Operation] = []
        if self._copy.destination.endswith("/") and destination != "/":
            destination += "/"
            result.append(MakeDirectory(path=destination, uid=owner[0] or 0, gid=owner[1] or 0))
        if self._taken is None:
            result.extend(self._from_layers(destination, owner))
        else:
            result.extend(self._from_contexts(self._taken, destination, owner))
        result.extend(self._inline(destination, owner))
        return result

    def _from_contexts(self, taken: Taken, destination: str, owner: Owner) -> Iterator[Operation]:
        for piece in taken.sources:
            root, source = HostDirectory(path=Path(piece.context.path)), piece.source
            place = self._place(source, destination)
            if piece.archive:
                yield ExtractTar(source=root, path=source.path, destination=place, uid=owner[0], gid=owner[1])
            else:
                yield CopyTree(
                    source=root, path=source.path, destination=place, uid=owner[0] or 0, gid=owner[1] or 0,
                    mode=self._copy.mode, skip=piece.tree.skipped, ready=piece.context.ready(source, piece.tree),
                )  # fmt: skip

        for fetched in taken.fetched:
            yield self._from_fetched(fetched, destination, owner)

    def _from_fetched(self, fetched: Fetched, destination: str, owner: Owner) -> Operation:
        layers = (fetched.layer,)
        if self._unpacks(fetched):
            return ExtractTar(source=LayersView(layers=layers), path=fetched.path, destination=destination, uid=owner[0], gid=owner[1])
        return CopyTree(
            source=LayersView(layers=layers), path=fetched.path, destination=destination, uid=owner[0], gid=owner[1],
            mode=self._copy.mode, skip=self._left_out(fetched),
        )  # fmt: skip

    def _left_out(self, fetched: Fetched) -> frozenset[str]:
        if not (fetched.is_directory and self._copy.excludes):
            return frozenset()
        with View(self._layers, (fetched.layer,)) as view:
            return left_out(view.paths(fetched.path), exclude_rules(self._copy.excludes))

    def _unpacks(self, fetched: Fetched) -> bool:
        return self._copy.unpack_fetched and fetched.archive

    def _from_layers(self, destination: str, owner: Owner) -> Iterator[Operation]:
        with View(self._layers, self._origin.layers) as view:
            selected = {s.path: keeping(s, word) for word in self._copy.sources for s in self._select(view, word)}
            skips = {path: self._skip(view, source) for path, source in selected.items()}
        check_several(self._step, self._copy, len(selected) + len(self._copy.inline))
        for path, source in selected.items():
            skip = skips[path]
            if skip is not None:
                yield CopyTree(
                    source=LayersView(layers=self._origin.layers), path=path, destination=self._place(source, destination), uid=owner[0],
                    gid=owner[1], mode=self._copy.mode, skip=skip,
                )  # fmt: skip

    def _place(self, source: Source, destination: str) -> str:
        """Where a source goes: with ``--parents`` below the directories it came from."""
        if not self._copy.parents:
            return destination
        kept = source.kept if source.is_directory else posixpath.dirname(source.kept)
        return posixpath.join(destination, kept, "")

    def _skip(self, view: View, source: Source) -> frozenset[str] | None:
        """What is left out below a source; None when the source itself is."""
        if not self._copy.excludes:
            return frozenset()
        rules = exclude_rules(self._copy.excludes)
        if not source.is_directory:
            return None if rules.rule_for(source.name) is not None else frozenset()
        return left_out(view.paths(source.path), rules)

    def _select(self, view: View, word: str) -> tuple[Source, ...]:
        try:
            sources = view.select(word)
        except (OutsideContext, PatternError) as err:
            raise error_at(self._step, f"{word} is no path in what --from names", word=word) from err
        if not sources:
            raise error_at(self._step, f"no such file {word} in what --from names", word=word)
        return sources

    def _inline(self, destination: str, owner: Owner) -> Iterator[Operation]:
        for file in self._copy.inline:
            inside = destination.endswith("/")
            yield WriteFile(
                path=posixpath.join(destination, file.name) if inside else destination, name="" if inside else file.name, data=file.data,
                mode=self._inline_mode(), uid=owner[0] or 0, gid=owner[1] or 0,
            )  # fmt: skip

    def _inline_mode(self) -> int:
        mode = self._copy.mode
        if isinstance(mode, str):
            return modes.change(mode, stat.S_IFREG | 0o644)
        return 0o644 if mode is None else mode

    def _owner_below(self) -> Owner:
        with View(self._layers, self._below.layers) as view:
            return self._owner(view)

    def _owner(self, view: View) -> Owner:
        """``--chown`` as numbers: a name alone gives its own group, a number alone the same number, as BuildKit does."""
        if not self._copy.owner:
            return None, None
        user, _, group = self._copy.owner.partition(":")
        uid, gid = self._number(view, user or "0", group=False)
        if group:
            gid = self._number(view, group, group=True)[0]
        return uid, gid

    def _number(self, view: View, text: str, *, group: bool) -> tuple[int, int]:
        flag = f"--chown={self._copy.owner}"
        if text.isascii() and text.isdigit():
            if len(text) > 10 or int(text) >= 2**32 - 1:
                raise self._step.node.error(f"{flag}: {text[:20]} is no id")
            return int(text), int(text)
        noun, file = ("group", "/etc/group") if group else ("user", "/etc/passwd")
        try:
            found = view.account(text, group=group)
        except OSError as err:  # longer than any such file, or links in a circle: an image may have it so
            raise error_at(self._step, f"{flag}: the image's {file} cannot be read: {err.strerror}", hint="use a number") from err
        if found is None:
            raise error_at(self._step, f"{flag}: no {noun} {text!r} in the image's {file}", hint="make it with RUN, or use a number")
        return found

"""Image names become what they stand for now: ``name:tag@digest``, as their registries say."""

from __future__ import annotations

from collections.abc import Callable

from notebook_containers.compose import order
from notebook_containers.compose.nodes import Fields, Node, joined, member, with_fields
from notebook_containers.errors import Error
from notebook_containers.oci.reference import Reference


def pinned(tree: Node, digest_of: Callable[[str], str]) -> Node:
    """Return the project with the digest of every service's image, all asked for at once; one that has a digest keeps it.

    Raises ComposeError at an image whose registry has no answer.
    """
    services, found = tree.fields["services"], dict[str, Node]()
    images = {name: image for name, one in services.fields.items() if (image := member(one, "image")) is not None and image.text()}

    def ask(name: str, _cancelled: object) -> None:
        image = images[name]
        try:
            reference = Reference.parse(image.text()).tagged()
            word = str(reference) if reference.digest else f"{reference}@{digest_of(str(reference))}"
        except Error as err:
            raise image.error(f"{joined('services', name)}.image", err.message, hint=err.hint) from err
        found[name] = image.with_value(word)

    order.run({name: set[str]() for name in images}, ask)
    changed = {name: with_fields(one, {"image": found[name]} if name in found else {}) for name, one in services.fields.items()}
    return with_fields(tree, {"services": services.with_value(changed)})


def images_alone(tree: Node) -> Node:
    """Return a file that says of every service its image and nothing else, to be laid over the others."""
    services = tree.fields["services"]
    found: Fields = {name: one.with_value({"image": one.fields["image"]}) for name, one in services.fields.items() if "image" in one.fields}
    return tree.with_value({"services": services.with_value(found)})

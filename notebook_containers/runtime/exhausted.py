"""The one place where a lack of descriptors becomes an error of ours, whatever was being opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from notebook_containers.errors import RuntimeFailure
from notebook_containers.linux import exhausted


@contextmanager
def limit_named() -> Iterator[None]:
    """Turn an OSError for want of a resource into RuntimeFailure that names the limit and its value; also a decorator."""
    try:
        yield
    except OSError as err:
        found = exhausted.words(err)
        if found is None:
            raise
        raise RuntimeFailure(found[0], hint=found[1]) from err

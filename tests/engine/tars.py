"""Archives for tests, made and read by Python's own tarfile: another opinion than the project's."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable


def tar(*members: tuple[str, bytes | str | dict[str, object]], mode: str = "w") -> bytes:
    """Make an archive: bytes are a file's content, text is a link's target, a mapping sets the member's attributes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, value in members:
            archive.addfile(*_member(name, value))
    return buffer.getvalue()


def _member(name: str, value: bytes | str | dict[str, object]) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    if isinstance(value, str):
        info.type, info.linkname = tarfile.SYMTYPE, value
    elif isinstance(value, dict):
        for key, found in value.items():
            setattr(info, key, found)
    else:
        info.size = len(value)
        return info, io.BytesIO(value)
    return info, io.BytesIO()


def members(data: bytes | Iterable[bytes]) -> dict[str, tarfile.TarInfo]:
    """Return an archive's members by name."""
    with tarfile.open(fileobj=io.BytesIO(_joined(data))) as archive:
        return {info.name: info for info in archive.getmembers()}


def contents(data: bytes | Iterable[bytes]) -> dict[str, bytes]:
    """Return the bytes of an archive's files by name."""
    with tarfile.open(fileobj=io.BytesIO(_joined(data))) as archive:
        found = {info.name: archive.extractfile(info) for info in archive.getmembers() if info.isfile()}
        return {name: file.read() for name, file in found.items() if file is not None}


def _joined(data: bytes | Iterable[bytes]) -> bytes:
    return data if isinstance(data, bytes) else b"".join(data)

"""Whether a file is a tar archive: ADD unpacks those, and a build context may be one."""

from __future__ import annotations

from typing import BinaryIO

from notebook_containers.errors import Error
from notebook_containers.store.compression import uncompressed

BLOCK = 512


def is_archive(file: BinaryIO) -> bool:
    """Say whether a file is a tar archive, perhaps compressed, by its first block (its name says nothing); the file is closed."""
    try:
        with uncompressed(file) as stream:
            return is_tar_header(stream.read(BLOCK))
    except (Error, OSError):  # looks compressed and is not: then it is a file like any other
        return False
    finally:
        file.close()


def is_tar_header(block: bytes) -> bool:
    """Say whether 512 bytes are a tar header: its checksum fits (POSIX pax, "ustar Interchange Format")."""
    if len(block) < BLOCK or not any(block):
        return False
    text = block[148:156].strip(b" \0")
    if not text or any(c not in b"01234567" for c in text):
        return False
    return int(text, 8) == sum(block[:148]) + 8 * 32 + sum(block[156:BLOCK])

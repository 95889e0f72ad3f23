"""Headers by hand, so that archives can be made which no library would write."""

from __future__ import annotations


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    data: bytes = b"",
    size: bytes | None = None,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    major: bytes = b"0000000\0",
    minor: bytes = b"0000000\0",
    checksum: bytes | None = None,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
) -> bytes:
    """One header and its data, each field exactly as given."""
    size = b"%011o\0" % len(data) if size is None else size
    head = name[:100].ljust(100, b"\0") + mode + uid + gid + size + mtime
    tail = kind + link[:100].ljust(100, b"\0") + magic + bytes(64) + major + minor + prefix.ljust(155, b"\0") + bytes(12)
    total = sum(head) + sum(tail) + 8 * 32
    return head + (b"%06o\0 " % total if checksum is None else checksum) + tail + block(data)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    body = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        length = rest + len(str(length))
        body += b"%d %s=%s\n" % (length, key, value)
    return header(b"PaxHeaders/x", kind, data=body)


def long_name(text: bytes, kind: bytes = b"L") -> bytes:
    """A GNU long name (L) or long link (K)."""
    return header(b"././@LongLink", kind, data=text + b"\0")


def base256(number: int, width: int) -> bytes:
    """GNU's binary numbers."""
    return ((1 << (8 * width - 1)) | (number & ((1 << (8 * width - 1)) - 1))).to_bytes(width, "big")


END = bytes(1024)

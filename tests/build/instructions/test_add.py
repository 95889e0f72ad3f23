"""ADD: archives are unpacked, whatever their name; the rest is copied; what climbs out is refused."""

from __future__ import annotations

import io
import tarfile

import pytest

from .conftest import Builds


def archive(mode: str, *names: str) -> str:
    """Return an archive's bytes as the text that a context's file is given in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid, info.mode = 2, 5, 6, 0o640
            tar.addfile(info, io.BytesIO(b"ok"))
    return buffer.getvalue().decode("latin-1")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_are_unpacked_whatever_their_name(builds: Builds, mode: str) -> None:
    files = {"data.bin": archive(mode, "inner/file")}
    added = builds("FROM base\nADD data.bin /d/\n", files).files["d/inner/file"]
    assert (added["text"], added["uid"], added["gid"], added["mode"]) == ("ok", 5, 6, 0o640)
    copied = builds("FROM base\nCOPY data.bin /d/\n", files)
    assert set(copied.files) == {"d", "d/data.bin"}


def test_what_is_no_archive_is_copied(builds: Builds) -> None:
    built = builds("FROM base\nADD --chown=5:6 --chmod=600 x.gz plain /d/\n", {"x.gz": "\x1f\x8bnot really", "plain": "plain"})
    assert set(built.files) == {"d", "d/x.gz", "d/plain"}
    plain = built.files["d/plain"]
    assert (plain["uid"], plain["gid"], plain["mode"], plain["text"]) == (5, 6, 0o600, "plain")


def test_a_here_document_is_a_file(builds: Builds) -> None:
    assert builds("FROM base\nARG A=1\nADD <<one /d/\nvalue $A\none\n").text("d/one") == "value 1\n"


def test_bld05_an_archive_that_climbs_out_is_refused(builds: Builds) -> None:
    refused = builds.refused("FROM base\nADD evil.tar /d/\n", {"evil.tar": archive("w", "../../evil")})
    assert "outside" in refused.message
    assert refused.line == 2

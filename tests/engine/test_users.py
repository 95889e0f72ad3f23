"""USER and --user words against hostile and ordinary passwd files (RT-10, RT-11)."""

from __future__ import annotations

import pytest

from notebook_containers.engine.users import Identity, resolve
from notebook_containers.errors import InvalidArgument

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/bin/false
app:x:1000:1001:App:/home/app:/bin/sh
app:x:0:0:twice:/root:/bin/sh
0:x:4242:4242::/zero:/bin/sh
77:x:78:79::/digits:/bin/sh
broken:x:abc:1::/x:/bin/sh
short:x:5
wide:x:\xef\xbc\x91\xef\xbc\x90:1::/x:/bin/sh
negative:x:-1:0::/x:/bin/sh
huge:x:4294967296:0::/x:/bin/sh
nohome:x:6:6:::/bin/sh
machine$:x:7:7::/m:/bin/sh
"""
GROUP = b"""root:x:0:
app:x:1001:
docker:x:27:app,other
wheel:x:999:other,app
app2:x:1001:app
broken:x:zz:app
bare:x:5
88:x:89:
"""


def files(path: str) -> bytes | None:
    return {"/etc/passwd": PASSWD, "/etc/group": GROUP}.get(path)


def nothing(path: str) -> bytes | None:
    return None


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("root", Identity(uid=0, gid=0, groups=(0,), home="/root")),
        ("app", Identity(uid=1000, gid=1001, groups=(1001, 27, 999), home="/home/app")),
        ("1000", Identity(uid=1000, gid=1001, groups=(1001, 27, 999), home="/home/app")),
        ("app:docker", Identity(uid=1000, gid=27, groups=(27,), home="/home/app")),
        ("app:0", Identity(uid=1000, gid=0, groups=(0,), home="/home/app")),
        ("1000:0", Identity(uid=1000, gid=0, groups=(0,), home="/home/app")),
        ("31337", Identity(uid=31337, gid=0, groups=(0,), home="/")),
        ("31337:31338", Identity(uid=31337, gid=31338, groups=(31338,), home="/")),
        (":27", Identity(uid=0, gid=27, groups=(27,), home="/root")),
        ("nohome", Identity(uid=6, gid=6, groups=(6,), home="/")),
        ("machine$", Identity(uid=7, gid=7, groups=(7,), home="/m")),
        ("2147483647", Identity(uid=2**31 - 1, gid=0, groups=(0,), home="/")),
    ],
)
def test_rt10_a_user_is_found(text: str, identity: Identity) -> None:
    assert resolve(text, files) == identity


@pytest.mark.parametrize(
    "text",
    [
        "4294967296",
        "4294967295",
        "2147483648",
        "-1",
        "0x0",
        " 0",
        "0 ",
        "0\n",
        "\uff11\uff10\uff10\uff10",
        "1e3",
        "+1",
        "1.0",
        "99999999999999999999",
        "nobody-here",
        "broken",
        "short",
        "wide",
        "negative",
        "app:nogroup",
        "app:-1",
        "app:4294967296",
        "app:broken",
        "app:",
        ":",
        "app:a:b",
        "a/b",
        "..",
        "a\0b",
        "root\nroot",
    ],
)
def test_rt10_anything_else_is_an_error_and_never_root(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve(text, files)
    assert "\n" not in caught.value.one_line()


def test_rt10_an_id_out_of_range_in_passwd_is_no_id() -> None:
    with pytest.raises(InvalidArgument, match="4294967296 is out of range"):
        resolve("huge", files)
    with pytest.raises(InvalidArgument, match="4294967296 is out of range"):
        resolve("wide", lambda path: b"wide:x:5:4294967296::/:/bin/sh\n")


def test_rt10_the_first_of_two_entries_of_a_name_counts() -> None:
    assert resolve("app", files).uid == 1000


@pytest.mark.parametrize(("word", "uid"), [("0", 0), ("77", 77)])
def test_rt10_a_number_is_a_number_even_when_a_user_is_called_so(word: str, uid: int) -> None:
    """CVE-2026-46680's shape: an image's passwd must not give a number another meaning."""
    assert resolve(word, files).uid == uid


def test_rt10_a_group_number_is_a_number_even_when_a_group_is_called_so() -> None:
    assert resolve("app:88", files).gid == 88


def test_rt11_groups_are_the_images_never_the_callers() -> None:
    assert resolve("app", files).groups == (1001, 27, 999)
    assert resolve("31337", files).groups == (0,)
    assert resolve("root", files).groups == (0,)


def test_an_image_without_files_has_root_and_numbers() -> None:
    assert resolve("", nothing) == Identity(uid=0, gid=0, groups=(0,), home="/root")
    assert resolve("1000", nothing) == Identity(uid=1000, gid=0, groups=(0,), home="/")
    with pytest.raises(InvalidArgument, match="'app' is not known in the image"):
        resolve("app", nothing)
    with pytest.raises(InvalidArgument, match="'root' is not known in the image"):
        resolve("root", nothing)


def test_files_that_are_no_text_are_read_as_far_as_they_make_sense() -> None:
    rubbish = b"\xff\xfe\0:::::\nroot:x:0:0::/root:/bin/sh\n"
    assert resolve("root", lambda _path: rubbish).uid == 0

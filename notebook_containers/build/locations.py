"""Words that name something elsewhere: a file on the web or a git repository (BuildKit's "Git URLs"). Pure."""

from __future__ import annotations

import posixpath
import re
from typing import TypeAlias

from notebook_containers.lean import dataclass

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:(?!//)")
_GIT_SCHEMES = ("git", "ssh")
_WEB_SCHEMES = ("http", "https")
_REF = re.compile(r"(?!-)[A-Za-z0-9_./@+=-]{1,255}\Z")
_COMMIT = re.compile(r"[0-9a-f]{7,64}\Z")
_QUERY = ("ref", "tag", "branch", "subdir", "checksum", "commit")


class WrongLocation(ValueError):
    """An address that cannot be used: ``message`` and ``hint``."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFile:
    """A file on the web; ``name`` is what its address calls it (may be empty)."""

    text: str
    url: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A git repository: ``ref`` a branch, tag or commit (empty: its default branch), ``subdir`` a directory in it, ``commit`` a prefix
    of the commit that it must be.
    """

    text: str
    url: str
    ref: str = ""
    subdir: str = ""
    commit: str = ""


Location: TypeAlias = "WebFile | Repository"


def remote(text: str) -> Location | None:
    """Return what a word names elsewhere, None for a path; raises WrongLocation for an address that cannot be used."""
    if _SCP.match(text):
        return _repository(text, *text.partition("#")[::2])
    if not _SCHEME.match(text):
        return None
    from urllib.parse import unquote, urlsplit, urlunsplit

    try:
        parts = urlsplit(text)
    except ValueError as err:
        raise WrongLocation(f"{text[:200]} is no address", "such as https://example.org/file") from err
    scheme = parts.scheme.lower()
    if scheme in _GIT_SCHEMES or (scheme in _WEB_SCHEMES and parts.path.rstrip("/").endswith(".git")):
        if scheme in _WEB_SCHEMES and "@" in parts.netloc:
            raise WrongLocation("an address may not hold a password: it would stay in the image's history", "use ssh:// and --ssh default")
        return _repository(text, urlunsplit((scheme, parts.netloc, parts.path, "", "")), parts.fragment, parts.query)
    if scheme not in _WEB_SCHEMES:
        hint = "use http://, https://, or a git repository's address"
        raise WrongLocation(f"addresses of the kind {parts.scheme[:20]}:// cannot be fetched", hint)
    return WebFile(text=text, url=text, name=file_name(unquote(posixpath.basename(parts.path))))


def file_name(text: str) -> str:
    """Return a name that is safe to give to a file, made of somebody else's words; empty when nothing is left."""
    name = "".join(c for c in text.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    while len(name.encode("utf-8", "replace")) > 200:
        name = name[:-1]
    return "" if name in (".", "..") else name.strip()


def disposition_name(header: str) -> str:
    """Return the safe name in a ``Content-Disposition`` value (RFC 6266), empty when it has none."""
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = "".join(c for c in header if c.isprintable())
    return file_name(message.get_filename("") or "")


def _repository(text: str, url: str, fragment: str, query: str = "") -> Repository:
    from urllib.parse import parse_qsl

    ref, _, subdir = fragment.partition(":")
    commit = ""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _QUERY:
            raise WrongLocation(f"?{name[:40]}= is not known in a git address", f"known are {', '.join(_QUERY)}")
        if name in ("ref", "tag", "branch"):
            ref = {"tag": "refs/tags/", "branch": "refs/heads/"}.get(name, "") + value
        elif name == "subdir":
            subdir = value
        else:
            commit = value
    return checked(Repository(text=text, url=url, ref=ref, subdir=subdir, commit=commit))


def checked(found: Repository) -> Repository:
    """Return the repository; raises WrongLocation for a ref, a directory or a commit that can be none."""
    if found.ref and (not _REF.match(found.ref) or ".." in found.ref):
        raise WrongLocation(f"{found.ref[:80]!r} is no git ref", "a branch, a tag or a commit")
    if ".." in found.subdir.split("/") or not found.subdir.isprintable():
        raise WrongLocation(f"{found.subdir[:80]!r} leads out of the repository", "name a directory in it")
    if found.commit and not _COMMIT.match(found.commit):
        raise WrongLocation(f"{found.commit[:80]!r} is no commit", "at least 7 of its hexadecimal digits")
    return found

"""Git repositories, with the ``git`` program: one commit, one level deep, and nothing of what a repository could make git do.

BLD-06 of the hardening cases: only the protocols of the list, no hooks, no file system monitor, no filters (and so no LFS), no
configuration but ours, no password prompts, words after ``--``, the host's address checked and pinned, no redirects; the submodules'
addresses are checked before git sees them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from notebook_containers.build.lent import Lent
from notebook_containers.build.locations import Repository
from notebook_containers.errors import BuildError
from notebook_containers.linux.paths import SafeRoot

_TIMEOUT_S = 1800.0
_TAIL = 400
_CHECK = "check the address; where it needs a login give --secret id=GIT_AUTH_TOKEN, or --ssh default for an ssh address"
_RECEIVED = re.compile(rb"Receiving objects:\s+\d+% \((\d+)/(\d+)\)")
_MOST_LEVELS = 4
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,64}\Z")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CONFIG = (
    *("protocol.allow=never", "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.attributesFile=/dev/null"),
    *("http.followRedirects=false", "credential.helper=", "submodule.recurse=false", "fetch.recurseSubmodules=false"),
    *(
        "transfer.fsckObjects=true",
        "fetch.fsck.zeroPaddedFilemode=ignore",
        "fetch.fsck.badTimezone=ignore",
        "init.defaultBranch=main",
        "advice.detachedHead=false",
        "gc.auto=0",
        "core.protectHFS=true",
    ),
)


class Git:
    """Git commands for one build. Untrusted words reach https and http only, and public hosts; ``lent`` has the SSH agent and logins.

    ``moved`` is told the address, the objects that have come and of how many.
    """

    def __init__(
        self, *, trusted: bool, variables: Mapping[str, str], check: Callable[[], None], lent: Lent | None = None,
        moved: Callable[[str, int, int], None] = lambda _url, _current, _total: None,
    ) -> None:  # fmt: skip
        self._trusted, self._check, self._lent, self._moved = trusted, check, lent or Lent(), moved
        self._protocols = ("https", "http", "ssh", "git") if trusted else ("https", "http")
        self._env = {
            "PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/") if trusted else "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false",
            "GIT_LFS_SKIP_SMUDGE": "1", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", **variables,
        }  # fmt: skip
        if agent := self._lent.agents.get("default"):
            self._env["SSH_AUTH_SOCK"] = agent

    def commit(self, repository: Repository) -> str:
        """Return the commit that the repository's ref means now, or the ref itself where it can only be a commit; raises BuildError.

        Nobody is asked about a whole commit.
        """
        ref = repository.ref
        if _COMMIT.match(ref):
            return ref
        lines = self._run(["ls-remote", "--", repository.url, *_names(ref)], repository.url).splitlines()
        found = {name: commit for commit, _, name in (line.partition("\t") for line in lines) if _COMMIT.match(commit)}
        for name in _names(ref):
            if commit := found.get(f"{name}^{{}}") or found.get(name):
                return commit
        if _ABBREVIATED.match(ref):
            return ref
        if not ref:
            raise BuildError(f"{repository.url} has no commit", hint="name a branch: #BRANCH")
        raise BuildError(f"{repository.url} has no branch or tag {ref}", hint=f"see what it has with 'git ls-remote {repository.url}'")

    def checkout(self, repository: Repository, commit: str, directory: Path, *, keep_git: bool) -> str:
        """Fill an empty directory with the tree of a commit and its submodules; return the whole commit. Raises BuildError."""
        url = repository.url
        self._run(["init", "-q"], url, at=directory)
        ref = repository.ref or "HEAD"
        if _COMMIT.match(commit) or not _ABBREVIATED.match(commit):
            try:
                self._run(["fetch", "--progress", "--depth=1", "--no-tags", "--", url, commit], url, at=directory)
            except BuildError:  # a server that gives names only
                if _ABBREVIATED.match(ref):
                    self._fetch_all(url, directory)
                else:
                    self._run(["fetch", "--progress", "--depth=1", "--no-tags", "--", url, ref], url, at=directory)
        else:
            self._fetch_all(url, directory)
        try:
            self._run(["checkout", "-q", "--detach", commit, "--"], url, at=directory)
        except BuildError as err:
            raise BuildError(f"{url} has no commit {commit}", hint="check it, or name a branch") from err
        self._submodules(url, directory, 0)
        whole = self._run(["rev-parse", "HEAD"], url, at=directory).strip()
        if keep_git:
            self._run(["remote", "add", "--", "origin", url], url, at=directory)
        else:
            shutil.rmtree(directory / ".git")
        return whole

    def _fetch_all(self, url: str, directory: Path) -> None:
        self._run(["fetch", "--progress", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*"], url, at=directory)

    def _submodules(self, url: str, directory: Path, level: int) -> None:
        with SafeRoot.at(directory) as root:
            try:
                text = root.read(".gitmodules", max_bytes=1 << 20)
            except FileNotFoundError:
                return
            except OSError as err:
                raise BuildError(f"the .gitmodules of {url} cannot be read: {os.strerror(err.errno or 0).lower()}") from err
        if level >= _MOST_LEVELS:
            raise BuildError(f"the submodules of {url} are nested more than {_MOST_LEVELS} levels")
        with tempfile.NamedTemporaryFile(prefix="nbc-gitmodules-") as file:
            file.write(text)
            file.flush()
            listed = self._run(
                ["config", "--no-includes", "-f", file.name, "--get-regexp", r"\.(url|path)$"], url, at=directory, fails=True
            )
        values = [line.partition(" ")[::2] for line in listed.splitlines()]
        self._run(["remote", "add", "--", "origin", url], url, at=directory, fails=True)
        for address in (value for key, value in values if key.endswith(".url") and not value.startswith(("./", "../"))):
            self._options(address)
        self._run(["submodule", "update", "-q", "--init", "--depth=1", "--"], url, at=directory)
        self._run(["remote", "remove", "origin"], url, at=directory, fails=True)
        for path in (value for key, value in values if key.endswith(".path")):
            with SafeRoot.at(directory) as root, suppress(FileNotFoundError):
                os.close(root.open(path, os.O_PATH | os.O_DIRECTORY))  # no link on the way
                self._submodules(url, directory / path, level + 1)
                root.remove(f"{path}/.git")

    def _options(self, url: str) -> list[str]:
        """The protocols git may use, and the pinned address of the host; raises BuildError for an address that may not be used."""
        from notebook_containers.registry.download import pinned

        match = _SCHEME.match(url)
        scheme = match[1].lower() if match else "ssh" if re.match(r"[\w.-]+@[\w.-]+:", url) else "file"
        if scheme not in self._protocols:
            raise BuildError(f"git may not fetch {url[:200]}: {scheme} addresses are not allowed", hint="use https://")
        host, port, address = pinned(url if match else f"ssh://{url.replace(':', '/', 1)}", private=self._trusted)
        allowed = [f"protocol.{name}.allow=always" for name in self._protocols]
        return [*allowed, *([f"http.curloptResolve={host}:{port}:{address}"] if address and scheme in ("http", "https") else [])]

    def _run(self, words: Sequence[str], url: str, *, at: Path | None = None, fails: bool = False) -> str:
        """Run git and return its output; raises BuildError with git's own last line unless it ``fails`` quietly."""
        program = shutil.which("git", path=_PATH)
        if program is None:
            raise BuildError(f"{url} needs the program git, which is not installed", hint="install git, or use a directory or an archive")
        config = [word for value in (*_CONFIG, *self._options(url)) for word in ("-c", value)]
        command = [program, *config, *(("-C", str(at)) if at is not None else ()), *words]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command, env={**self._env, **self._login(url)}, cwd="/", start_new_session=True, stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors,
            )  # fmt: skip
            status = self._wait(process, url, errors)
            output.seek(0)
            errors.seek(0)
            said = errors.read(1 << 20).decode("utf-8", "replace")
            if status and not fails:
                raise BuildError(f"git cannot fetch {url}: {_last(said)}", hint=_CHECK)
            return output.read(8 << 20).decode("utf-8", "replace")

    def _login(self, url: str) -> dict[str, str]:
        """The environment that has git log in at the host of an address, and nowhere else: others see a command's words."""
        header = self._lent.authorization(url, own=self._trusted)
        if not header:
            return {}
        parts = urlsplit(url)
        key = f"http.{parts.scheme}://{parts.netloc}/.extraHeader"
        return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": f"Authorization: {header}"}

    def _tell(self, url: str, said: BinaryIO) -> None:
        found = _RECEIVED.findall(_tail(said))
        if found:
            self._moved(url, int(found[-1][0]), int(found[-1][1]))

    def _wait(self, process: subprocess.Popen[bytes], url: str, said: BinaryIO) -> int:
        end = time.monotonic() + _TIMEOUT_S
        try:
            while time.monotonic() < end:
                self._check()
                with suppress(subprocess.TimeoutExpired):
                    status = process.wait(0.1)
                    self._tell(url, said)
                    return status
                self._tell(url, said)
            raise BuildError(f"git cannot fetch {url} within {_TIMEOUT_S:.0f} s", hint="try again later")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _tail(file: BinaryIO) -> bytes:
    """The end of a file that another process still writes to, through its own descriptor's place."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), _TAIL, max(size - _TAIL, 0))


def _names(ref: str) -> list[str]:
    """The full names that a ref may be short for, in git's order (gitrevisions(7))."""
    if not ref:
        return ["HEAD"]
    return [ref] if ref.startswith("refs/") or ref == "HEAD" else [f"refs/tags/{ref}", f"refs/heads/{ref}", f"refs/{ref}", ref]


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    chosen = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "it gave no reason")
    return "".join(c for c in chosen.partition(": ")[2] or chosen if c.isprintable())[:300].rstrip(".")

"""The flags of COPY and ADD (Dockerfile reference, "COPY" and "ADD"); values are kept as written."""

from __future__ import annotations

import difflib

from notebook_containers.build.parser import Flag, Node
from notebook_containers.errors import DockerfileError

_TEXTS = ("from", "chown", "chmod", "exclude", "checksum")
_SWITCHES = ("link", "parents", "keep-git-dir", "unpack")
_OF = {
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("chown", "chmod", "link", "parents", "exclude", "checksum", "keep-git-dir", "unpack"),
}
_YES = {None: True, "": True, "true": True, "1": True, "false": False, "0": False}


class CopyFlags:
    """The checked flags: ``texts`` by name, the patterns of ``excludes`` in order, ``switches`` that are given."""

    def __init__(self, node: Node) -> None:
        """Read them; raises DockerfileError at the flag that is wrong."""
        self.texts: dict[str, str] = {}
        self.switches: dict[str, bool] = {}
        excludes: list[str] = []
        for flag in node.flags:
            if flag.name not in _OF[node.keyword]:
                raise _unknown(node, flag)
            if flag.name in _SWITCHES:
                self.switches[flag.name] = _switch(node, flag)
                continue
            if not flag.value:
                raise _error(node, flag, f"--{flag.name} needs a value: --{flag.name}=…")
            if flag.name == "exclude":
                excludes.append(flag.value)
            elif flag.name in self.texts:
                raise _error(node, flag, f"--{flag.name} stands twice", "give it once")
            else:
                self.texts[flag.name] = flag.value
        self.excludes = tuple(excludes)

    def text(self, name: str) -> str:
        """Return a flag's value, empty when it is not given."""
        return self.texts.get(name, "")

    def switch(self, name: str) -> bool:
        """Say whether a switch is on."""
        return self.switches.get(name, False)


def _switch(node: Node, flag: Flag) -> bool:
    if flag.value not in _YES:
        raise _error(node, flag, f"--{flag.name}={flag.value} is neither true nor false", f"write --{flag.name}")
    return _YES[flag.value]


def _error(node: Node, flag: Flag, message: str, hint: str = "") -> DockerfileError:
    return node.error(message, offset=flag.offset, length=flag.length, hint=hint)


def _unknown(node: Node, flag: Flag) -> DockerfileError:
    known = _OF[node.keyword]
    near = difflib.get_close_matches(flag.name, known, n=1)
    hint = f"did you mean --{near[0]}?" if near else "its flags are " + " ".join(f"--{name}" for name in known)
    return _error(node, flag, f"{node.keyword} has no flag --{flag.name[:40]}", hint)

"""Checks of single values, so that a wrong one is told at its place in the file and not when the container is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from notebook_containers.engine import words
from notebook_containers.engine.mount_words import parse_volume
from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.reference import Reference

Check: TypeAlias = Callable[[JSON], object]

_DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+)ms)?\Z", re.ASCII)


def seconds(text: str) -> float:
    """Return the seconds of a duration as ``1m30s``, ``1h`` or ``500ms``; raises InvalidArgument."""
    match = _DURATION.match(text)
    if not text or match is None:
        raise InvalidArgument(f"{text!r} is no duration", hint="write it as 1m30s")
    hours, minutes, rest, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest + milliseconds / 1000


def restart(text: str) -> dict[str, object]:
    """Return docker-py's restart policy of ``on-failure:3``; raises InvalidArgument."""
    name, _, count = text.partition(":")
    if count and not count.isdecimal():
        raise InvalidArgument(f"restart policy {text!r} is not understood", hint="write on-failure:5")
    policy: dict[str, object] = {"Name": name, "MaximumRetryCount": int(count or 0)}
    words.restart(policy, auto_remove=False)
    return policy


def whole(text: str) -> int:
    """Return a whole number; raises InvalidArgument."""
    try:
        return int(text)
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no whole number") from err


def cpus(text: str) -> int:
    """Return billionths of a CPU; raises InvalidArgument."""
    try:
        count = float(text)
    except ValueError as err:
        raise InvalidArgument(f"{text!r} is no number of CPUs", hint="write 0.5") from err
    if not 0 < count < 10_000:
        raise InvalidArgument(f"{text!r} is no number of CPUs", hint="write 0.5")
    return int(count * 1e9)


def _flag(value: JSON) -> None:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{value!r} is neither true nor false")


def _on_text(check: Callable[[str], object]) -> Check:
    def checked(value: JSON) -> None:
        if isinstance(value, (dict, list, bool)):
            raise InvalidArgument("a single word is wanted here")
        check(str(value))

    return checked


CHECKS: Mapping[str, Check] = {
    "container_name": _on_text(words.check_name),
    "cpus": _on_text(cpus),
    "hostname": _on_text(words.host_name),
    "image": _on_text(Reference.parse),
    "mem_limit": _on_text(words.memory),
    "pids_limit": _on_text(whole),
    "privileged": _flag,
    "read_only": _flag,
    "restart": _on_text(restart),
    "shm_size": _on_text(lambda text: words.size(text, what="shm size")),
    "stdin_open": _flag,
    "stop_grace_period": _on_text(seconds),
    "stop_signal": _on_text(words.stop_signal),
    "tty": _flag,
    "user": _on_text(words.user_words),
    "working_dir": _on_text(words.working_dir),
}
ITEM_CHECKS: Mapping[str, Check] = {
    "cap_add": _on_text(lambda text: words.capabilities([text])),
    "cap_drop": _on_text(lambda text: words.capabilities([text])),
    "ports": _on_text(lambda text: words.ports([text])),
    "security_opt": _on_text(lambda text: words.security([text])),
    "volumes": _on_text(parse_volume),
}

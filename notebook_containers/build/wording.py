"""Instructions in words: the lines of the image's history, as Docker records them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from notebook_containers.build import instructions as ins, plan
from notebook_containers.oci.image import Healthcheck


def one_line(text: str) -> str:
    """Return text with every run of blanks outside quotes and inside as one space (for progress and reasons)."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Return text in double quotes, escaped as Go's ``%q`` does for what people write."""
    return json.dumps(text, ensure_ascii=False)


def quoted_list(items: Iterable[str]) -> str:
    """Return ``["cat" "/greeting"]``."""
    return "[" + " ".join(quoted(item) for item in items) + "]"


def go_list(items: Iterable[str]) -> str:
    """Return ``[/bin/bash -c]``."""
    return "[" + " ".join(items) + "]"


def run(args: tuple[str, ...], arguments: Mapping[str, str]) -> str:
    """Return ``RUN |1 A=b /bin/sh -c …``: the ARGs in scope stand before the command."""
    prefix = f"|{len(arguments)} " + "".join(f"{k}={v} " for k, v in arguments.items()) if arguments else ""
    return f"RUN {prefix}{' '.join(args)}"


def copy(instruction: ins.Copy, operation: plan.Copy, destination: str) -> str:
    """Return ``COPY [flags] sources destination`` with variables replaced."""
    mode = f"{operation.mode:o}" if isinstance(operation.mode, int) else operation.mode or ""
    flags = {"from": instruction.from_, "chown": operation.owner, "chmod": mode, "checksum": operation.checksum}
    shown = [f"--{name}={value}" for name, value in flags.items() if value]
    shown += [
        f"--{name}"
        for name, on in (("link", operation.link), ("parents", operation.parents), ("keep-git-dir", operation.keep_git_dir))
        if on
    ]
    shown += [f"--exclude={pattern}" for pattern in operation.excludes]
    sources = [*operation.sources, *(r.text for r in operation.remotes), *(f"<<{f.name}" for f in operation.inline)]
    return " ".join([instruction.node.keyword, *shown, *sources, destination])


def health_check(health: Healthcheck) -> str:
    """Return ``HEALTHCHECK …`` with its options."""
    if health.test == ("NONE",):
        return "HEALTHCHECK NONE"
    options = {
        "interval": health.interval,
        "timeout": health.timeout,
        "start-period": health.start_period,
        "start-interval": health.start_interval,
    }
    shown = [f"--{name}={value / 1e9:g}s" for name, value in options.items() if value]
    shown += [f"--retries={health.retries}"] if health.retries else []
    command = health.test[1] if health.test[0] == "CMD-SHELL" else quoted_list(health.test[1:])
    return " ".join(["HEALTHCHECK", *shown, "CMD", command])

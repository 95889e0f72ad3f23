"""What a process or the machine has only so much of: which limit an OSError means, in words."""

from __future__ import annotations

import errno
import os
import resource


def words(err: OSError) -> tuple[str, str] | None:
    """Return what has run out (with the limit's value where it is known) and what to do, or None when ``err`` means something else."""
    if err.errno == errno.EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many open files: this process may have {most}", "close what is open, or raise the limit: ulimit -n, RLIMIT_NOFILE"
    if err.errno == errno.ENFILE:
        return "too many open files on this machine", "an administrator can raise the limit: sysctl fs.file-max"
    return None


def descriptors() -> OSError | None:
    """Return the error of opening one more file now, None when one is to be had: for libraries that say less than why they failed."""
    try:
        os.close(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as err:
        return err
    return None

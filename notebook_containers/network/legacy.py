"""The old iptables: one question, asked of the kernel as the iptables program does."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from notebook_containers.linux import syscalls

_NAMES = "/proc/thread-self/net/ip_tables_names"
_IPT_SO_GET_INFO, _IPT_SO_GET_ENTRIES = 64, 65
_FORWARD, _HOOKS = 2, 5
_TABLE = b"filter".ljust(32, b"\0")
_INFO = struct.Struct(f"=32sI{_HOOKS}I{_HOOKS}III")
_ENTRIES_HEADER = struct.Struct("=32sI4x")
_ENTRY_TARGET_OFFSET, _TARGET_HEADER = 88, 32  # in struct ipt_entry, of struct xt_entry_target
_DROP = -1  # a standard target holds minus the verdict, minus one


def forward_policy_is_drop() -> bool:
    """Return whether the legacy table "filter" drops forwarded packets by policy; False without that table or the right to look.

    Only a table that is loaded is asked for: the question itself would load it. Source: linux/netfilter_ipv4/ip_tables.h.
    """
    with suppress(OSError, struct.error):
        with open(_NAMES, encoding="ascii") as file:
            if "filter" not in file.read().split():
                return False
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as kernel:
            return _forward_policy(kernel.fileno()) == _DROP
    return False


def _forward_policy(kernel: int) -> int:
    answer = syscalls.getsockopt(kernel, socket.IPPROTO_IP, _IPT_SO_GET_INFO, _TABLE.ljust(_INFO.size, b"\0"))
    info = _INFO.unpack(answer)
    underflows, size = info[2 + _HOOKS : 2 + 2 * _HOOKS], info[-1]
    question = _ENTRIES_HEADER.pack(_TABLE, size) + b"\0" * size
    entries = syscalls.getsockopt(kernel, socket.IPPROTO_IP, _IPT_SO_GET_ENTRIES, question)[_ENTRIES_HEADER.size :]
    # The policy is the last rule of the chain: the hook's "underflow".
    entry = underflows[_FORWARD]
    (target,) = struct.unpack_from("=H", entries, entry + _ENTRY_TARGET_OFFSET)
    verdict: int = struct.unpack_from("=i", entries, entry + target + _TARGET_HEADER)[0]
    return verdict

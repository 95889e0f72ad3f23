"""Weights and throttles of block devices as both versions take them, and whether weights mean anything on this machine."""

from __future__ import annotations

import errno
import os

from notebook_containers.linux.cgroups import files
from notebook_containers.linux.cgroups.resources import entries, integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BLOCK_DEVICES = "/sys/block"

THROTTLES = (
    # OCI list, version 1 file, version 2 word in io.max
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def number(device: Mapping[str, object]) -> str:
    """Return a device of an OCI list as ``major:minor``."""
    return f"{integer(device, 'major')}:{integer(device, 'minor')}"


def set_weights(path: str, values: Mapping[str, object], scale: Callable[[int], int]) -> list[str]:
    """Write the group's own weight and that for single devices to the interface file ``path``; ``scale`` makes its numbers.

    ``path`` takes both kinds of line (io.weight, io.bfq.weight); version 1 has a second file for devices, which stands beside it.
    Returns a warning for each device whose scheduler takes no weight.
    """
    warnings = []
    for_devices = f"{path}_device" if os.path.exists(f"{path}_device") else path
    if weight := integer(values, "weight"):
        files.write(path, str(scale(weight)))
    for device in entries(values, "weightDevice"):
        if weight := integer(device, "weight"):
            try:
                files.write(for_devices, f"{number(device)} {scale(weight)}")
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                warnings.append(f"block io weight {weight} of device {number(device)} is not enforced: its scheduler has no weights")
    return warnings


def asks_for_weights(values: Mapping[str, object]) -> bool:
    """Tell whether there is any weight among ``values``."""
    return bool(integer(values, "weight") or entries(values, "weightDevice"))


def weight_warnings(cost_file: str = "") -> list[str]:
    """Return what to say about weights that were set: nothing where a disk obeys them.

    Only the bfq scheduler does, and on version 2 a disk with the cost model on (``cost_file``: the hierarchy's io.cost.qos).
    """
    if any("[bfq]" in text for text in _schedulers()) or "enable=1" in files.read_or(cost_file).split():
        return []
    return ["the block io weight has no effect: no disk of this machine uses the bfq scheduler or the io.cost model"]


def _schedulers() -> Iterator[str]:
    """Yield each disk's list of schedulers, the one in use in brackets."""
    for name in os.listdir(_BLOCK_DEVICES) if os.path.isdir(_BLOCK_DEVICES) else ():
        yield files.read_or(f"{_BLOCK_DEVICES}/{name}/queue/scheduler")

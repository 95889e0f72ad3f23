"""Numbers, words, and what is written to which file of a version 2 group."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.linux.cgroups import block, convert, parent
from notebook_containers.linux.cgroups.v2 import CgroupV2

MIB = 1 << 20


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 1), (1, 1), (2, 1), (3, 2), (512, 59), (1024, 100), (2048, 174), (262143, 9999), (262144, 10000), (10**9, 10000)],
)
def test_weight_from_shares(shares: int, weight: int) -> None:
    assert abs(convert.weight_from_shares(shares) - weight) <= (1 if shares == 262143 else 0)


def test_weight_grows_with_shares() -> None:
    weights = [convert.weight_from_shares(shares) for shares in range(2, 5000)]
    assert weights == sorted(weights)


@pytest.mark.parametrize(
    ("size", "text"), [(64 * MIB, "64m"), (1 << 30, "1g"), (1536 * MIB, "1536m"), (1024, "1k"), (1000, "1000"), (-1, "-1")]
)
def test_words(size: int, text: str) -> None:
    assert convert.words(size) == text


def test_io_weight() -> None:
    assert [convert.io_weight(weight) for weight in (10, 500, 1000)] == [1, 4950, 10000]


class Tree:
    """A version 2 group as plain files."""

    def __init__(self, base: Path) -> None:
        self.base, self.directory = base, base / "p/x"
        self.directory.mkdir(parents=True)
        for directory in (base, base / "p"):
            (directory / "cgroup.subtree_control").write_text("memory cpu cpuset pids io")
        self.put(
            memory_max="max", memory_low="0", memory_swap_max="max", cpu_max="max 100000", cpu_weight="100", pids_max="max",
            cpuset_cpus="", cpuset_mems="", io_max="", io_bfq_weight="",
        )  # fmt: skip
        self.group = CgroupV2("p/x", str(base), ("memory", "cpu", "cpuset", "pids", "io"), {})

    def put(self, **files: str) -> None:
        for name, text in files.items():
            (self.directory / name.replace("_", ".")).write_text(text + "\n")

    def text(self, name: str) -> str:
        return (self.directory / name).read_text().strip()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("memory", "limit", "swap"),
    [
        ({"limit": 64 * MIB}, str(64 * MIB), "max"),
        ({"limit": 64 * MIB, "swap": 64 * MIB}, str(64 * MIB), "0"),
        ({"limit": 64 * MIB, "swap": 96 * MIB}, str(64 * MIB), str(32 * MIB)),
        ({"limit": 64 * MIB, "swap": -1}, str(64 * MIB), "max"),
        ({"limit": -1}, "max", "max"),
        ({"swap": 100}, "max", "100"),
    ],
)
def test_v2_memory(tree: Tree, memory: dict[str, object], limit: str, swap: str) -> None:
    assert tree.group.apply({"memory": memory}) == []
    assert (tree.text("memory.max"), tree.text("memory.swap.max")) == (limit, swap)


def test_v2_swap_alone_counts_from_the_limit_that_is_set(tree: Tree) -> None:
    tree.group.apply({"memory": {"limit": 64 * MIB}})
    tree.group.apply({"memory": {"swap": 100 * MIB}})
    assert (tree.text("memory.max"), tree.text("memory.swap.max")) == (str(64 * MIB), str(36 * MIB))


@pytest.mark.parametrize(
    ("cpu", "maximum"),
    [
        ({"quota": 50000}, "50000 100000"),
        ({"period": 5000}, "max 5000"),
        ({"quota": -1, "period": 7000}, "max 7000"),
        ({"shares": 9}, "max 100000"),
    ],
)
def test_v2_cpu(tree: Tree, cpu: dict[str, object], maximum: str) -> None:
    assert tree.group.apply({"cpu": cpu}) == []
    assert tree.text("cpu.max") == maximum


def test_v2_others(tree: Tree) -> None:
    device = {"major": 8, "minor": 0, "rate": 1000}
    warnings = tree.group.apply(
        {
            "memory": {"reservation": 5},
            "cpu": {"shares": 1024, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 100},
            "blockIO": {"weight": 500, "throttleWriteIOPSDevice": [device]},
        }
    )
    names = ("memory.low", "cpu.weight", "cpuset.cpus", "cpuset.mems", "pids.max", "io.bfq.weight", "io.max")
    assert [tree.text(name) for name in names] == ["5", "100", "0-1", "0", "100", "500", "8:0 wiops=1000"]
    assert warnings in ([], [NO_WEIGHTS])  # as this machine's disks are


NO_WEIGHTS = "the block io weight has no effect: no disk of this machine uses the bfq scheduler or the io.cost model"


def test_v2_weights_of_single_disks_in_each_schedulers_numbers(tree: Tree) -> None:
    tree.put(io_weight="default 100")
    tree.group.apply({"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 1000}]}})
    assert (tree.text("io.bfq.weight"), tree.text("io.weight")) == ("8:16 1000", "8:16 10000")


def test_weights_are_obeyed_where_the_cost_model_is_on(tmp_path: Path) -> None:
    (tmp_path / "io.cost.qos").write_text("254:0 enable=1 ctrl=auto rpct=0.00\n")
    assert block.weight_warnings(str(tmp_path / "io.cost.qos")) == []


def test_v2_a_throttle_of_nothing_takes_the_limit_away(tree: Tree) -> None:
    tree.group.apply({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}})
    assert tree.text("io.max") == "8:0 rbps=max"


def test_v2_files_as_they_stand(tree: Tree) -> None:
    tree.put(memory_high="max", rdma_max="")
    (tree.directory / "hugetlb.2MB.max").write_text("max")
    resources: dict[str, object] = {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}, {"pageSize": "1GB", "limit": 0}],
        "rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10}},
        "unified": {"memory.high": "1000"},
    }
    assert tree.group.apply(resources) == ["hugetlb.1GB.max is not enforced: its cgroup has no such file"]
    written = [tree.text(name) for name in ("hugetlb.2MB.max", "rdma.max", "memory.high")]
    assert written == [str(4 * MIB), "mlx5_0 hca_handle=3 hca_object=10", "1000"]


@pytest.mark.parametrize("name", ["cgroup.procs", "../memory.max", "a/memory.max", "memory", ".x", ""])
def test_v2_files_that_are_no_limits(tree: Tree, name: str) -> None:
    with pytest.raises(ValueError, match="no limit of a controller"):
        tree.group.apply({"unified": {name: "1"}})


def test_v2_what_it_has_not_is_said(tree: Tree) -> None:
    resources = {
        "memory": {"swappiness": 10, "disableOOMKiller": True, "kernelTCP": 5},
        "cpu": {"realtimeRuntime": 5, "idle": 1},
        "x": {"y": 1},
    }
    assert tree.group.apply(resources) == [
        "memory swappiness is not enforced: cgroup v2 has none for each group",
        "the out of memory killer stays on: cgroup v2 cannot turn it off",
        "the real-time cpu limit is not enforced: cgroup v2 has none",
        "the limit 'memory.kernelTCP' is not enforced: it is not supported",
        "the limit 'cpu.idle' is not enforced: it is not supported",
        "the limit 'x' is not enforced: it is not supported",
    ]


def test_v2_stats(tree: Tree) -> None:
    tree.put(
        memory_current="1000", memory_peak="2000", memory_stat="anon 1\ninactive_file 300", memory_events="low 0\noom 2\noom_kill 3",
        cpu_stat="usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 6\nthrottled_usec 4", pids_current="9",
        io_stat="8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1",
    )  # fmt: skip
    assert tree.group.stats() == {
        "memory_usage_bytes": 1000, "memory_peak_bytes": 2000, "memory_cache_bytes": 300, "cpu_usage_ns": 5000, "cpu_user_ns": 3000,
        "cpu_system_ns": 2000, "cpu_throttled_ns": 4000, "cpu_periods": 7, "cpu_throttled_periods": 6, "pids_current": 9,
        "io_read_bytes": 11, "io_write_bytes": 22,
    }  # fmt: skip
    assert tree.group.oom_kills() == 3


def test_v2_create_enables_controllers_once_in_each_group_above(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "p"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.subtree_control").write_text("memory")
    (tmp_path / "p/x").mkdir()
    CgroupV2("p/x", str(tmp_path), ("memory", "pids", "cpuset"), {}).create()
    for directory in (tmp_path, tmp_path / "p"):
        assert (directory / "cgroup.subtree_control").read_text() == "+pids"  # cpuset waits until somebody asks for it


def test_v2_controller_that_cannot_be_enabled_is_said(tmp_path: Path) -> None:
    (tmp_path / "p/x").mkdir(parents=True)
    group = CgroupV2("p/x", str(tmp_path), ("memory",), {})
    group.create()
    assert group.apply({"memory": {"limit": MIB}}) == [
        f"memory limit 1m is not enforced: the memory controller cannot be enabled: the group {tmp_path.name} no such file or directory"
    ]


def test_the_parent_of_a_limited_group_keeps_back_from_its_limit(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\n")
    (tmp_path / "limit").write_text(str(8 << 30))
    assert parent.total_memory(str(tmp_path), str(tmp_path / "limit")) == 8 << 30
    (tmp_path / "limit").write_text("9223372036854771712")
    assert parent.total_memory(str(tmp_path), str(tmp_path / "limit")) == 16 << 30
    assert parent.total_memory(str(tmp_path), str(tmp_path / "none")) == 16 << 30

"""A caller's keywords: every one of them is understood, and a wrong word is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.engine.device_words import DeviceValue, DeviceWord
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.engine.log_words import LogOptions, effective_health
from notebook_containers.engine.mount_words import VolumeMount, parse_volume
from notebook_containers.engine.network_words import Attachment
from notebook_containers.engine.options import (
    ContainerOptions,
    container_options,
)
from notebook_containers.engine.words import DEFAULT_PIDS_LIMIT, check_name, environment_list
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import Healthcheck
from notebook_containers.oci.runtime import DeviceRule, Rlimit

GOOD: list[tuple[str, object, str, object]] = [
    ("name", "web", "name", "web"),
    ("name", "/web", "name", "web"),
    ("name", None, "name", ""),
    ("entrypoint", "sh -c", "entrypoint", ("sh", "-c")),
    ("entrypoint", ["/a b"], "entrypoint", ("/a b",)),
    ("entrypoint", [""], "entrypoint", ("",)),
    ("environment", {"A": "1", "B": None}, "environment", ("A=1", "B=")),
    ("environment", ["A=1=2", "B="], "environment", ("A=1=2", "B=")),
    ("working_dir", "/w", "working_dir", "/w"),
    ("user", 1000, "user", "1000"),
    ("user", 0, "user", "0"),
    ("user", "a:b", "user", "a:b"),
    ("hostname", "a.b-c", "hostname", "a.b-c"),
    ("tty", True, "tty", True),
    ("stdin_open", True, "stdin_open", True),
    ("volumes", ["/h:/c:ro"], "volumes", (VolumeMount(kind="bind", source="/h", target="/c", read_only=True),)),
    ("volumes", ["data:/c"], "volumes", (VolumeMount(kind="volume", source="data", target="/c"),)),
    ("volumes", ["/c"], "volumes", (VolumeMount(kind="volume", source="", target="/c"),)),
    ("volumes", {"/h": {"bind": "/c", "mode": "ro"}}, "volumes", (VolumeMount(kind="bind", source="/h", target="/c", read_only=True),)),
    ("volumes", {"data": {"bind": "/c"}}, "volumes", (VolumeMount(kind="volume", source="data", target="/c"),)),
    ("volumes", {"data": "/c:ro"}, "volumes", (VolumeMount(kind="volume", source="data", target="/c", read_only=True),)),
    ("volumes", {Path("/h"): Path("/c")}, "volumes", (VolumeMount(kind="bind", source="/h", target="/c"),)),
    (
        "volumes",
        {Path("/h"): {"bind": "/c", "mode": "ro"}},
        "volumes",
        (VolumeMount(kind="bind", source="/h", target="/c", read_only=True),),
    ),
    ("volumes", ["/h:/c:U,z"], "volumes", (VolumeMount(kind="bind", source="/h", target="/c", own=True),)),
    ("volumes", ["/h:/c:O"], "volumes", (VolumeMount(kind="bind", source="/h", target="/c", overlay=True),)),
    (
        "mounts",
        ["type=image,source=x,target=/c,image-subpath=/a/b"],
        "volumes",
        (VolumeMount(kind="image", source="x", target="/c", read_only=True, subpath="a/b"),),
    ),
    ("mounts", ["type=image,src=x,dst=/c,rw=true"], "volumes", (VolumeMount(kind="image", source="x", target="/c"),)),
    (
        "mounts",
        ["source=dd,target=/c,volume-opt=type=tmpfs,volume-opt=device=tmpfs,U"],
        "volumes",
        (VolumeMount(kind="volume", source="dd", target="/c", own=True, options={"type": "tmpfs", "device": "tmpfs"}),),
    ),
    (
        "mounts",
        [{"Type": "image", "Source": "x", "Target": "/c", "ImageOptions": {"Subpath": "a"}}],
        "volumes",
        (VolumeMount(kind="image", source="x", target="/c", read_only=True, subpath="a"),),
    ),
    ("tmpfs", {"/t": "size=1m"}, "tmpfs", {"/t": "size=1m"}),
    ("read_only", True, "read_only", True),
    ("ports", {"80/tcp": 8080}, "ports", (PortMapping(host_port=8080, container_port=80),)),
    ("ports", {80: None}, "ports", (PortMapping(host_port=0, container_port=80),)),
    ("ports", {"80": ("0.0.0.0", 1)}, "ports", (PortMapping(host_ip="0.0.0.0", host_port=1, container_port=80),)),
    ("ports", {"53/udp": [1, 2]}, "ports", tuple(PortMapping(host_port=n, container_port=53, protocol="udp") for n in (1, 2))),
    ("ports", ["8000-8001:80-81"], "ports", tuple(PortMapping(host_port=8000 + n, container_port=80 + n) for n in (0, 1))),
    ("publish_all_ports", True, "publish_all", True),
    ("network", "none", "network", "none"),
    ("network_mode", "host", "network", "host"),
    ("extra_hosts", {"a": "10.0.0.1"}, "extra_hosts", {"a": "10.0.0.1"}),
    ("extra_hosts", {"a": ["10.0.0.1", "fd00::1"], "none": []}, "extra_hosts", {"a": "10.0.0.1,fd00::1"}),
    ("dns", ["1.1.1.1"], "dns", ("1.1.1.1",)),
    ("dns_search", ["example.org", "."], "dns_search", ("example.org", ".")),
    ("dns_opt", ["ndots:2", "rotate"], "dns_options", ("ndots:2", "rotate")),
    ("expose", [80, "53/udp", "8000-8001"], "expose", ("80/tcp", "53/udp", "8000/tcp", "8001/tcp")),
    ("mac_address", "02-00-00-00-00-0A", "attachments", (Attachment(network="bridge", mac="02:00:00:00:00:0a"),)),
    ("networking_config", {"bridge": None}, "attachments", ()),
    *(
        ("networking_config", {"web": given}, "attachments", (Attachment(network="web", aliases=("db",), address="10.1.2.3"),))
        for given in ({"aliases": ["db"], "ipv4_address": "10.1.2.3"}, {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.1.2.3"}})
    ),
    ("labels", {"a": "b"}, "labels", {"a": "b"}),
    ("labels", ["a=b=c", "d"], "labels", {"a": "b=c", "d": ""}),
    ("mem_limit", "64m", "memory_bytes", 64 << 20),
    ("mem_limit", 1 << 30, "memory_bytes", 1 << 30),
    ("mem_reservation", "1g", "memory_reservation_bytes", 1 << 30),
    ("memswap_limit", -1, "memory_swap_bytes", -1),
    ("nano_cpus", 500_000_000, "nano_cpus", 500_000_000),
    ("cpu_shares", 512, "cpu_shares", 512),
    ("cpu_period", 100_000, "cpu_period", 100_000),
    ("cpu_quota", 50_000, "cpu_quota", 50_000),
    ("cpu_quota", -1, "cpu_quota", -1),
    ("cpuset_cpus", "0-1", "cpuset_cpus", "0-1"),
    ("pids_limit", 10, "pids_limit", 10),
    ("pids_limit", -1, "pids_limit", -1),
    ("pids_limit", None, "pids_limit", DEFAULT_PIDS_LIMIT),
    ("shm_size", "1m", "shm_bytes", 1 << 20),
    ("cap_add", ["net_raw", "CAP_SYS_TIME", "all"], "cap_add", ("CAP_NET_RAW", "CAP_SYS_TIME", "ALL")),
    ("cap_drop", ["ALL"], "cap_drop", ("ALL",)),
    ("privileged", True, "seccomp", "unconfined"),
    ("privileged", True, "no_new_privileges", False),
    ("security_opt", ["no-new-privileges=false"], "no_new_privileges", False),
    ("security_opt", ["no-new-privileges"], "no_new_privileges", True),
    ("security_opt", ["seccomp=unconfined"], "seccomp", "unconfined"),
    ("security_opt", ["seccomp:unconfined"], "seccomp", "unconfined"),
    ("restart_policy", {"Name": "on-failure", "MaximumRetryCount": 3}, "restart_max", 3),
    ("restart_policy", {"Name": "always"}, "restart", "always"),
    ("stop_signal", "SIGINT", "stop_signal", "SIGINT"),
    ("stop_signal", "RTMIN+3", "stop_signal", "RTMIN+3"),
    ("stop_timeout", 0, "stop_timeout_s", 0),
    ("stop_timeout", None, "stop_timeout_s", 10),
    ("auto_remove", True, "auto_remove", True),
    ("init", True, "init", True),
    ("init", None, "init", False),
    ("group_add", ["audio", 44], "group_add", ("audio", "44")),
    ("annotations", ["a=b=c"], "annotations", {"a": "b=c"}),
    ("annotations", {"a": "b"}, "annotations", {"a": "b"}),
    ("healthcheck", {"test": "true"}, "healthcheck", Healthcheck(test=("CMD-SHELL", "true"))),
    (
        "healthcheck",
        {"test": ["CMD", "a", "b"], "interval": 5 * 10**9},
        "healthcheck",
        Healthcheck(test=("CMD", "a", "b"), interval=5 * 10**9),
    ),
    ("healthcheck", {"Test": ["NONE"]}, "healthcheck", Healthcheck(test=("NONE",))),
    (
        "healthcheck",
        {"start_period": "1m30s", "StartInterval": "500ms", "retries": 2},
        "healthcheck",
        Healthcheck(start_period=90 * 10**9, start_interval=5 * 10**8, retries=2),
    ),
    (
        "log_config",
        {"Type": "local", "Config": {"max-size": "1m", "max-file": "2"}},
        "log",
        LogOptions(driver="local", max_bytes=1 << 20, max_files=2),
    ),
    ("log_config", {"Type": "none"}, "log", LogOptions(driver="none")),
    ("log_config", None, "log", LogOptions()),
    ("pull", "always", "pull", "always"),
    ("runtime", "nbc", "runtime", ""),
    ("platform", "linux/x86_64", "platform", "linux/amd64"),
    ("platform", "linux/arm64/v8", "platform", "linux/arm64"),
    ("mem_swappiness", 0, "memory_swappiness", 0),
    ("mem_swappiness", -1, "memory_swappiness", None),
    ("oom_kill_disable", True, "oom_kill_disable", True),
    ("oom_score_adj", -500, "oom_score_adj", -500),
    ("cpu_rt_period", 1000000, "cpu_rt_period", 1000000),
    ("cpu_rt_runtime", 950000, "cpu_rt_runtime", 950000),
    ("cpuset_mems", "0,1", "cpuset_mems", "0,1"),
    ("ulimits", ["nofile=1024"], "ulimits", (Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=1024),)),
    ("ulimits", ["nofile=1:2", "nofile=3:4"], "ulimits", (Rlimit(type="RLIMIT_NOFILE", soft=3, hard=4),)),
    ("ulimits", [{"Name": "core", "Soft": 0, "Hard": -1}], "ulimits", (Rlimit(type="RLIMIT_CORE", soft=0, hard=2**64 - 1),)),
    ("blkio_weight", 300, "blkio_weight", 300),
    ("blkio_weight_device", [{"Path": "/dev/x", "Weight": 200}], "blkio_weight_devices", (DeviceValue(path="/dev/x", value=200),)),
    ("device_read_bps", ["/dev/x:1mb"], "device_read_bps", (DeviceValue(path="/dev/x", value=1 << 20),)),
    ("device_write_bps", [{"Path": "/dev/x", "Rate": 1000}], "device_write_bps", (DeviceValue(path="/dev/x", value=1000),)),
    ("device_read_iops", ["/dev/x:10"], "device_read_iops", (DeviceValue(path="/dev/x", value=10),)),
    ("device_write_iops", ["/dev/x:10"], "device_write_iops", (DeviceValue(path="/dev/x", value=10),)),
    ("cgroup_parent", "course/students", "cgroup_parent", "course/students"),
    ("storage_opt", {}, "name", ""),
    ("security_opt", ["systempaths=unconfined"], "masked_paths", False),
    ("security_opt", ["apparmor=unconfined", "label=disable"], "seccomp", "default"),
    ("sysctls", {"net.core.somaxconn": "10"}, "sysctls", {"net.core.somaxconn": "10"}),
    ("sysctls", ["kernel.sem=1 2 3 4"], "sysctls", {"kernel.sem": "1 2 3 4"}),
    ("sysctls", {"net.ipv4.conf.eth0/5.forwarding": 1}, "sysctls", {"net.ipv4.conf.eth0/5.forwarding": "1"}),
    ("devices", ["/dev/fuse"], "devices", (DeviceWord(source="/dev/fuse", target="/dev/fuse"),)),
    ("devices", ["/dev/a:/dev/b:r"], "devices", (DeviceWord(source="/dev/a", target="/dev/b", access="r"),)),
    ("devices", ["/dev/a:rw"], "devices", (DeviceWord(source="/dev/a", target="/dev/a", access="rw"),)),
    ("device_cgroup_rules", ["c 42:* rmw"], "device_rules", (DeviceRule(allow=True, type="c", major=42, minor=-1, access="rmw"),)),
    ("device_requests", "all", "gpus", "all"),
    ("device_requests", "2", "gpus", "0,1"),
    ("device_requests", '"device=1,3"', "gpus", "1,3"),
    ("device_requests", [{"Count": -1, "Capabilities": [["gpu"]]}], "gpus", "all"),
    ("pid_mode", "host", "pid_mode", "host"),
    ("pid_mode", "private", "pid_mode", ""),
    ("ipc_mode", "shareable", "ipc_mode", "shareable"),
    ("ipc_mode", "none", "ipc_mode", "none"),
    ("uts_mode", "container:web", "uts_mode", "container:web"),
    ("userns_mode", "keep-id", "userns", "keep-id"),
    ("cgroupns", "host", "cgroupns_mode", "host"),
    (
        "mounts",
        ["type=bind,src=/h,dst=/c,ro"],
        "volumes",
        (VolumeMount(kind="bind", source="/h", target="/c", read_only=True, must_exist=True),),
    ),
    (
        "mounts",
        ["source=data,target=/c,volume-nocopy,volume-subpath=a//b,volume-label=x=1,volume-label=y"],
        "volumes",
        (VolumeMount(kind="volume", source="data", target="/c", no_copy=True, subpath="a/b", labels={"x": "1", "y": ""}),),
    ),
    (
        "mounts",
        [{"Type": "bind", "Source": "/h", "Target": "/c", "ReadOnly": False, "BindOptions": {"Propagation": "rslave"}}],
        "volumes",
        (VolumeMount(kind="bind", source="/h", target="/c", must_exist=True, propagation="rslave"),),
    ),
    (
        "mounts",
        ["type=bind,source=/h,target=/c,bind-recursive=disabled"],
        "volumes",
        (VolumeMount(kind="bind", source="/h", target="/c", must_exist=True, recursion="disabled"),),
    ),
    ("mounts", ["type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700,readonly"], "tmpfs", {"/t": "ro,size=1048576,mode=0700"}),
    ("mounts", [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5, "Mode": 0o700}}], "tmpfs", {"/t": "size=5,mode=700"}),
    (
        "volumes",
        ["/h:/c:rslave,ro"],
        "volumes",
        (VolumeMount(kind="bind", source="/h", target="/c", read_only=True, propagation="rslave"),),
    ),
    ("volumes", ["data:/c:nocopy"], "volumes", (VolumeMount(kind="volume", source="data", target="/c", no_copy=True),)),
    ("volumes_from", ["web:ro"], "volumes_from", ("web:ro",)),
    ("volume_driver", "local", "name", ""),
    ("domainname", "example.org", "domainname", "example.org"),
]

BAD: list[tuple[str, object, str]] = [
    ("name", "a b", "'a b'"),
    ("name", "-a", "'-a'"),
    ("name", "a", "'a'"),
    ("name", "a\n", "name"),
    ("name", "../x", "'../x'"),
    ("entrypoint", "'open", "unclosed quote"),
    ("environment", ["A"], "'A'"),
    ("environment", ["=x"], "'=x'"),
    ("environment", {"": "x"}, "'=x'"),
    ("environment", ["A=\0"], "environment"),
    ("environment", {"A=B\0": "x"}, "environment"),
    ("working_dir", "w", "'w'"),
    ("working_dir", "/a\0b", "working directory"),
    ("user", "a\0", "user"),
    ("hostname", "a b", "'a b'"),
    ("hostname", "-a", "'-a'"),
    ("hostname", "a\n", "host name"),
    ("volumes", ["a:b"], "'a:b'"),
    ("volumes", ["/h:/c:rx"], "'rx'"),
    ("volumes", ["/h:/../c"], "'/h:/../c'"),
    ("volumes", [":/c"], "':/c'"),
    ("volumes", ["/h:/c:ro:x"], "'/h:/c:ro:x'"),
    ("volumes", ["a b:/c"], "'a b'"),
    ("volumes", ["/h:/"], "'/h:/'"),
    ("volumes", {"/h": {}}, "bind"),
    ("volumes", {"/h": 1}, "'/h'"),
    ("volumes", {"/h": "c"}, "'c'"),
    ("volumes", ["data:/c:O"], "'O'"),
    ("volumes", ["data:/c:ro,rw"], "both"),
    ("volumes", ["data:/c", "/h:/c/"], "two mounts"),
    ("mounts", ["type=image,target=/c"], "no image"),
    ("mounts", ["type=image,source=x,target=/c,subpath=../y"], "../y"),
    ("mounts", ["type=image,source=x,target=/c,volume-nocopy"], "volume-nocopy"),
    ("tmpfs", {"t": ""}, "'t'"),
    ("tmpfs", {"/t": "sise=1m"}, "'sise=1m'"),
    ("ports", ["x"], "'x'"),
    ("ports", ["70000:80"], "70000"),
    ("ports", {"80/tcp": "x"}, "'x'"),
    ("extra_hosts", {"a b": "10.0.0.1"}, "'a b'"),
    ("extra_hosts", {"a": "nonsense"}, "'nonsense'"),
    ("extra_hosts", {"a": ["10.0.0.1", "nonsense"]}, "'nonsense'"),
    ("extra_hosts", {"a": ""}, "''"),
    ("extra_hosts", {"a": "10.0.0.1\n6.6.6.6 evil"}, "10.0.0.1"),
    ("dns", ["no address"], "'no address'"),
    ("dns_search", ["a b"], "'a b'"),
    ("dns_opt", ["ndots:2\nnameserver 6.6.6.6"], "ndots"),
    ("expose", ["70000"], "70000"),
    ("mac_address", "01:00:5e:00:00:01", "01:00:5e:00:00:01"),
    ("networking_config", {"web": {"alias": "db"}}, "'alias'"),
    ("networking_config", {"web": {"ipv4_address": "::1"}}, "IPv6"),
    ("networking_config", {"web": {"aliases": ["host.docker.internal"]}}, "host.docker.internal"),
    ("networking_config", {"web": {"link_local_ips": ["10.0.0.1"]}}, "10.0.0.1"),
    ("networking_config", {"web": {"links": ["db:a b"]}}, "'a b'"),
    ("networking_config", {"web": {"links": {"db": "localhost"}}}, "'localhost'"),
    ("networking_config", {"web": {"Links": [":db"]}}, "'db'"),
    ("mem_limit", "64x", "'64x'"),
    ("mem_limit", 10, "10"),
    ("mem_limit", -5, "-5"),
    ("mem_reservation", "x", "memory reservation"),
    ("mem_reservation", -1, "memory reservation"),
    ("memswap_limit", "x", "swap limit"),
    ("memswap_limit", -2, "swap limit"),
    ("nano_cpus", -1, "nano_cpus"),
    ("cpu_shares", -1, "cpu_shares"),
    ("cpu_period", -1, "cpu_period"),
    ("cpu_quota", -2, "cpu_quota"),
    ("cpu_quota", 999, "--cpu-quota 999"),
    ("cpu_period", 999, "--cpu-period 999"),
    ("cpu_period", 1_000_001, "--cpu-period 1000001"),
    ("memswap_limit", "64m", "--memory-swap needs --memory"),
    ("cpuset_cpus", "0-", "'0-'"),
    ("cpuset_cpus", "a", "'a'"),
    ("pids_limit", -2, "pids_limit"),
    ("shm_size", "x", "shm size"),
    ("shm_size", -1, "shm size"),
    ("cap_add", ["FLY"], "'FLY'"),
    ("cap_drop", ["FLY"], "'FLY'"),
    ("security_opt", ["apparmor=x"], "'apparmor=x'"),
    ("security_opt", ["no-new-privileges=perhaps"], "'no-new-privileges=perhaps'"),
    ("restart_policy", {"Name": "sometimes"}, "'sometimes'"),
    ("restart_policy", {"Name": "on-failure", "MaximumRetryCount": "x"}, "'x'"),
    ("restart_policy", {"Name": "on-failure", "MaximumRetryCount": -1}, "-1"),
    ("stop_signal", "SIGNOTHING", "'SIGNOTHING'"),
    ("stop_signal", "0", "'0'"),
    ("stop_signal", "99", "'99'"),
    ("stop_timeout", -2, "stop_timeout"),
    ("group_add", ["a:b"], "--group-add 'a:b'"),
    ("annotations", ["=x"], "--annotation"),
    ("healthcheck", {"test": ["RUN", "x"]}, "health check"),
    ("healthcheck", {"test": ["CMD"]}, "health check"),
    ("healthcheck", {"interval": "30"}, "--health-interval '30'"),
    ("healthcheck", {"timeout": "3 s"}, "--health-timeout '3 s'"),
    ("healthcheck", {"retries": -1}, "--health-retries"),
    ("healthcheck", {"colour": 1}, "'colour'"),
    ("log_config", {"Config": {"max-size": "1"}}, "max-size=1"),
    ("log_config", {"Config": {"max-file": "0"}}, "max-file=0"),
    ("log_config", {"Type": "none", "Config": {"max-file": "1"}}, "max-file"),
    ("pull", "sometimes", "--pull 'sometimes'"),
    ("platform", "windows/amd64", "--platform 'windows/amd64'"),
    ("mem_swappiness", 101, "--memory-swappiness 101"),
    ("oom_score_adj", 1001, "--oom-score-adj 1001"),
    ("cpu_rt_runtime", -1, "cpu_rt_runtime"),
    ("cpuset_mems", "x", "memory nodes"),
    ("ulimits", ["nofile"], "--ulimit 'nofile'"),
    ("ulimits", ["files=1"], "--ulimit 'files'"),
    ("ulimits", ["nofile=2:1"], "soft limit"),
    ("ulimits", ["nofile=-2"], "'nofile=-2'"),
    ("blkio_weight", 9, "--blkio-weight 9"),
    ("blkio_weight_device", ["/dev/x:1001"], "--blkio-weight 1001"),
    ("device_read_bps", ["x:1"], "--device-read-bps 'x:1'"),
    ("device_read_bps", ["/dev/x:1q"], "--device-read-bps"),
    ("device_write_iops", ["/dev/x:1mb"], "--device-write-iops"),
    ("cgroup_parent", "../../x", "'../../x'"),
    ("cgroup_parent", "/", "'/'"),
    ("cgroup_parent", "/abs", "'/abs'"),
    ("cgroup_parent", "a\nb", "--cgroup-parent"),
    ("cgroup_parent", "a\0b", "--cgroup-parent"),
    ("cgroup_parent", "a//b", "'a//b'"),
    ("cgroup_parent", ".hidden", "'.hidden'"),
    ("sysctls", {"kernel.core_pattern": "|/x"}, "'kernel.core_pattern'"),
    ("sysctls", {"net.ipv4.ip_forward": "1\nx"}, "net.ipv4.ip_forward"),
    ("sysctls", ["net.ipv4.ip_forward=1+kernel.x=2\0"], "net.ipv4.ip_forward"),
    ("sysctls", {"kernel/../vm/overcommit_memory": "1"}, "'kernel/../vm/overcommit_memory'"),
    ("sysctls", {"net/../kernel/core_pattern": "1"}, "'net/../kernel/core_pattern'"),
    ("sysctls", {"kernel.shm": "1"}, "'kernel.shm'"),
    ("sysctls", {"kernel.hostname": "x"}, "'kernel.hostname'"),
    ("sysctls", {"vm.swappiness": "1"}, "'vm.swappiness'"),
    ("sysctls", ["net.core.somaxconn"], "--sysctl 'net.core.somaxconn'"),
    ("devices", ["fuse"], "--device 'fuse'"),
    ("devices", ["/dev/a:/dev/b:rwx"], "rwx"),
    ("devices", ["/dev/a:/dev/../b"], "'/dev/../b'"),
    ("devices", ["/dev/a:/dev"], "/dev itself"),
    ("devices", ["/dev/a:/b:/c:rw"], "--device"),
    ("device_cgroup_rules", ["c 42 rwm"], "--device-cgroup-rule"),
    ("device_cgroup_rules", ["x 1:1 r"], "--device-cgroup-rule"),
    ("pid_mode", "container:", "--pid 'container:'"),
    ("pid_mode", "theirs", "--pid 'theirs'"),
    ("ipc_mode", "public", "--ipc 'public'"),
    ("uts_mode", "none", "--uts 'none'"),
    ("cgroupns", "container:x", "--cgroupns 'container:x'"),
    ("userns_mode", "nobody", "--userns 'nobody'"),
    ("mounts", ["type=bind,source=h,target=/c"], "absolute"),
    ("mounts", ["type=bind,source=/h"], "no target"),
    ("mounts", ["type=bind,source=/h,target=/c,tmpfs-size=1"], "tmpfs-size"),
    ("mounts", ["type=bind,source=/h,source=/i,target=/c"], "twice"),
    ("mounts", ["source=a/b,target=/c"], "'a/b'"),
    ("mounts", ["type=volume,source=a1,target=/c,volume-subpath=../x"], "volume-subpath"),
    ("mounts", ["type=bind,source=/h,target=/c,readonly=perhaps"], "readonly=perhaps"),
    ("mounts", ["type=bind,source=/h,target=/c,bind-propagation=up"], "bind-propagation=up"),
    ("mounts", ["type=bind,source=/h,target=/c,bind-recursive=writable"], "bind-recursive=writable"),
    ("mounts", ["type=tmpfs,target=/t,tmpfs-mode=9"], "tmpfs-mode=9"),
    ("mounts", ["type=tmpfs,target=t"], "'t'"),
    ("volumes", ["data:/c:rslave"], "'rslave'"),
    ("volumes_from", ["web:rx"], "--volumes-from 'web:rx'"),
    ("domainname", "a b", "'a b'"),
]

UNSUPPORTED: list[tuple[str, object, str]] = [
    ("storage_opt", {"size": "1g"}, "--storage-opt"),
    ("volume_driver", "nfs", "--volume-driver nfs"),
    ("log_config", {"Type": "syslog"}, "--log-driver 'syslog'"),
    ("log_config", {"Config": {"splunk-url": "x"}}, "--log-opt splunk-url=x"),
    ("device_requests", [{"Driver": "amd"}], "'amd'"),
    ("device_requests", "capabilities=utility", "--gpus"),
    ("mounts", ["type=cluster,source=x,target=/c"], "type=cluster"),
    ("mounts", ["type=volume,target=/c,volume-driver=nfs"], "volume-driver=nfs"),
]

TOGETHER: list[tuple[CreateKeywords, str]] = [
    ({"uts_mode": "host", "hostname": "x"}, "--uts host"),
    ({"uts_mode": "host", "domainname": "x"}, "--uts host"),
    ({"network": "container:web", "ports": ["80:80"]}, "--publish"),
    ({"network": "container:web", "hostname": "x"}, "--hostname"),
    ({"network": "container:web", "extra_hosts": {"a": "10.0.0.1"}}, "--add-host"),
    ({"network": "container:web", "dns": ["1.1.1.1"]}, "--dns"),
    ({"network": "container:"}, "--network container:"),
    ({"ipc_mode": "host", "shm_size": "1m"}, "--shm-size"),
    ({"network": "host", "sysctls": {"net.core.somaxconn": "1"}}, "--sysctl net.core.somaxconn"),
    ({"network": "container:web", "sysctls": {"net.core.somaxconn": "1"}}, "--sysctl net.core.somaxconn"),
    ({"ipc_mode": "host", "sysctls": {"kernel.shmmax": "1"}}, "--sysctl kernel.shmmax"),
    ({"uts_mode": "host", "sysctls": {"kernel.domainname": "x"}}, "--sysctl kernel.domainname"),
]


def keywords(name: str, value: object) -> CreateKeywords:
    return {name: value}  # type: ignore[misc]


@pytest.mark.parametrize(("keyword", "value", "field", "expected"), GOOD)
def test_a_keyword_is_understood(keyword: str, value: object, field: str, expected: object) -> None:
    options = container_options(None, keywords(keyword, value))
    assert getattr(options, field) == expected
    assert ContainerOptions.from_json(untrusted_json(options.to_bytes(), what="options")) == options


def test_every_keyword_is_in_the_table() -> None:
    assert {row[0] for row in GOOD} == set(CreateKeywords.__annotations__)


@pytest.mark.parametrize(("keyword", "value", "says"), BAD)
def test_a_wrong_word_is_refused_by_name(keyword: str, value: object, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        container_options(None, keywords(keyword, value))
    assert says in caught.value.message
    assert "\n" not in caught.value.one_line()


@pytest.mark.parametrize(("keyword", "value", "says"), UNSUPPORTED)
def test_what_is_not_supported_says_so_by_its_flag(keyword: str, value: object, says: str) -> None:
    with pytest.raises(Unsupported) as caught:
        container_options(None, keywords(keyword, value))
    assert says in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(("given", "says"), TOGETHER)
def test_what_contradicts_is_refused_by_both_names(given: CreateKeywords, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        container_options(None, given)
    assert says in caught.value.message


def test_a_health_check_is_completed_from_the_image_and_dockers_defaults() -> None:
    image = Healthcheck(test=("CMD", "a"), interval=7, retries=9)
    assert effective_health(None, None) is None
    assert effective_health(Healthcheck(test=("NONE",)), image) is None
    assert effective_health(Healthcheck(interval=5), None) is None
    found = effective_health(Healthcheck(timeout=3), image)
    assert found == Healthcheck(test=("CMD", "a"), interval=7, timeout=3, start_interval=5 * 10**9, retries=9)


def test_an_unknown_keyword_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="unknown option 'colour'"):
        container_options(None, keywords("colour", "red"))


@pytest.mark.parametrize("policy", ["always", "on-failure", "unless-stopped"])
def test_a_container_removed_at_its_end_is_not_restarted(policy: str) -> None:
    with pytest.raises(InvalidArgument, match="restart policy") as caught:
        container_options(None, {"auto_remove": True, "restart_policy": {"Name": policy}})
    assert "--rm" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("", ()), ("a 'b c'", ("a", "b c")), (["a", "b c"], ("a", "b c")), ([], ())],
)
def test_a_command_is_split_as_a_shell_does(given: str | list[str] | None, expected: tuple[str, ...] | None) -> None:
    assert container_options(given, {}).command == expected


@pytest.mark.parametrize("given", ["a\0b", ["a\0b"]])
def test_a_command_holds_no_nul(given: str | list[str]) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        container_options(given, {})


def test_relative_and_home_volumes_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    assert parse_volume("./d:/c", cwd=tmp_path).source == str(tmp_path / "d")
    assert parse_volume("~/d:/c", cwd=tmp_path).source == "/home/x/d"
    assert parse_volume("../d:/c", cwd=tmp_path).source == str(tmp_path.parent / "d")


def test_names_of_128_characters_are_the_longest() -> None:
    assert check_name("a" * 128)
    with pytest.raises(InvalidArgument):
        check_name("a" * 129)


def test_no_environment_is_none() -> None:
    assert environment_list(None) == () == environment_list({})

"""A caller's keywords: every one of them is understood, and a wrong word is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.engine.mount_words import VolumeMount, parse_volume
from notebook_containers.engine.options import (
    ContainerOptions,
    CreateKeywords,
    container_options,
)
from notebook_containers.engine.words import DEFAULT_PIDS_LIMIT, check_name, environment_list
from notebook_containers.errors import InvalidArgument
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import untrusted_json

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
    ("dns", ["1.1.1.1"], "dns", ("1.1.1.1",)),
    ("labels", {"a": "b"}, "labels", {"a": "b"}),
    ("labels", ["a=b=c", "d"], "labels", {"a": "b=c", "d": ""}),
    ("mem_limit", "64m", "memory_bytes", 64 << 20),
    ("mem_limit", 1 << 30, "memory_bytes", 1 << 30),
    ("mem_reservation", "1g", "memory_reservation_bytes", 1 << 30),
    ("memswap_limit", -1, "memory_swap_bytes", -1),
    ("memswap_limit", "128m", "memory_swap_bytes", 128 << 20),
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
    ("userns_mode", "keep-id", "userns", "keep-id"),
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
    ("volumes", {"/h": "/c"}, "'/h'"),
    ("tmpfs", {"t": ""}, "'t'"),
    ("tmpfs", {"/t": "sise=1m"}, "'sise=1m'"),
    ("ports", ["x"], "'x'"),
    ("ports", ["70000:80"], "70000"),
    ("ports", {"80/tcp": "x"}, "'x'"),
    ("extra_hosts", {"a b": "10.0.0.1"}, "'a b'"),
    ("extra_hosts", {"a": "nonsense"}, "'nonsense'"),
    ("extra_hosts", {"a": "10.0.0.1\n6.6.6.6 evil"}, "10.0.0.1"),
    ("dns", ["no address"], "'no address'"),
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
    ("stop_timeout", -1, "stop_timeout"),
    ("userns_mode", "elsewhere", "'elsewhere'"),
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

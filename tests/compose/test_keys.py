"""One test per key of a service, and of the sections beside it: what the file says is what the typed project has."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.compose import keys
from notebook_containers.compose.loading import Request, load
from notebook_containers.compose.model import (
    Attachment,
    BlockIO,
    Build,
    CredentialSpec,
    Dependency,
    Deploy,
    DeviceMapping,
    DeviceRate,
    DeviceRequest,
    EnvironmentFile,
    Grant,
    Healthcheck,
    Hook,
    LanguageModel,
    Limits,
    Link,
    Logging,
    ModelUse,
    Network,
    Pool,
    Port,
    Project,
    Provider,
    RestartPolicy,
    Secret,
    Service,
    ServiceMount,
    Ulimit,
    Volume,
    Watch,
)

MI = 1 << 20
OTHERS = """
  db: {image: pg}
networks: {front: }
volumes: {data: }
secrets: {token: {environment: TOKEN}}
configs: {conf: {content: c}}
models: {llm: {model: ai/x}}
"""

KEYS: dict[str, list[tuple[str, str, object]]] = {
    "annotations": [("{a: b, n: 1}", "annotations", {"a": "b", "n": "1"}), ("[a=b, c]", "annotations", {"a": "b", "c": ""})],
    "attach": [("false", "attach", False), ("'yes'", "attach", True)],
    "build": [("./x", "build", Build(context="/p/x")), ("{context: https://e.org/x.git}", "build", Build(context="https://e.org/x.git"))],
    "blkio_config": [
        ("{weight: 10}", "blkio_config", BlockIO(weight=10)),
        (
            "{device_read_bps: [{path: /dev/a, rate: 1k}]}",
            "blkio_config",
            BlockIO(device_read_bps=(DeviceRate(path="/dev/a", rate=1024),)),
        ),
        (
            "{weight_device: [{path: /dev/a, weight: 20}]}",
            "blkio_config",
            BlockIO(weight_device=(DeviceRate(path="/dev/a", rate=20),)),
        ),
    ],
    "cap_add": [("[NET_ADMIN, NET_ADMIN]", "cap_add", ("NET_ADMIN",))],
    "cap_drop": [("[ALL]", "cap_drop", ("ALL",))],
    "cgroup": [("private", "cgroup", "private")],
    "cgroup_parent": [("m", "cgroup_parent", "m")],
    "command": [
        ("echo 'a b' $$c", "command", ("echo", "a b", "$c")),
        ("[echo, 1, a b]", "command", ("echo", "1", "a b")),
        ("[]", "command", ()),
        ("''", "command", ()),
        ("null", "command", None),
    ],
    "configs": [
        ("[conf]", "configs", (Grant(source="conf", target="/conf"),)),
        (
            "[{source: conf, target: /c, uid: '1', gid: '2', mode: 0440}]",
            "configs",
            (Grant(source="conf", target="/c", uid="1", gid="2", mode=0o440),),
        ),
    ],
    "container_name": [("one", "container_name", "one")],
    "cpu_count": [("2", "cpu_count", 2)],
    "cpu_percent": [("50.5", "cpu_percent", 50.5)],
    "cpu_period": [("50ms", "cpu_period", 50_000), ("100", "cpu_period", 100)],
    "cpu_quota": [("50000", "cpu_quota", 50_000)],
    "cpu_rt_period": [("'1400us'", "cpu_rt_period", 1400)],
    "cpu_rt_runtime": [("95000", "cpu_rt_runtime", 95_000)],
    "cpu_shares": [("'73'", "cpu_shares", 73)],
    "cpus": [("0.5", "cpus", 0.5), ("'2'", "cpus", 2.0)],
    "cpuset": [("'0,1'", "cpuset", "0,1"), ("0", "cpuset", "0")],
    "credential_spec": [("{file: x.json}", "credential_spec", CredentialSpec(file="/p/x.json"))],
    "depends_on": [
        ("[db]", "depends_on", {"db": Dependency()}),
        (
            "{db: {condition: service_healthy, restart: true, required: false}}",
            "depends_on",
            {"db": Dependency(condition="service_healthy", restart=True, required=False)},
        ),
    ],
    "deploy": [
        ("{replicas: 3}", "replicas", 3),
        ("{mode: global, labels: [a=b]}", "deploy", Deploy(mode="global", labels={"a": "b"})),
        ("{resources: {limits: {cpus: '0.5', memory: 1m, pids: 9}}}", "deploy", Deploy(limits=Limits(cpus=0.5, memory=MI, pids=9))),
        ("{resources: {limits: {memory: 1m}}}", "mem_limit", MI),
        ("{resources: {reservations: {memory: 1m}}}", "mem_reservation", MI),
        ("{resources: {limits: {pids: 7}}}", "pids_limit", 7),
        ("{resources: {limits: {cpus: 2}}}", "cpus", 2.0),
        (
            "{resources: {reservations: {devices: [{capabilities: [gpu], count: all}]}}}",
            "deploy",
            Deploy(reservations=Limits(devices=(DeviceRequest(capabilities=("gpu",), count=-1),))),
        ),
        (
            "{restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 1m}}",
            "deploy",
            Deploy(restart_policy=RestartPolicy(condition="on-failure", delay=5.0, max_attempts=3, window=60.0)),
        ),
        ("{restart_policy: {condition: on-failure, max_attempts: 3}}", "restart", "on-failure:3"),
        ("{restart_policy: {condition: none}}", "restart", "no"),
        ("{restart_policy: {}}", "restart", "always"),
        ("", "deploy", Deploy()),
    ],
    "develop": [
        (
            "{watch: [{path: ./s, action: sync, target: /s, ignore: a, include: [b], initial_sync: true}]}",
            "watch",
            (Watch(path="/p/s", action="sync", target="/s", ignore=("a",), include=("b",), initial_sync=True),),
        ),
        (
            "{watch: [{path: s, action: sync+exec, target: /s, exec: {command: x y}}]}",
            "watch",
            (Watch(path="/p/s", action="sync+exec", target="/s", exec=Hook(command=("x", "y"))),),
        ),
    ],
    "device_cgroup_rules": [("['c 1:3 mr']", "device_cgroup_rules", ("c 1:3 mr",))],
    "devices": [
        (
            "[/dev/a, '/dev/a:/dev/b:r', 'v.com/c=d', {source: /dev/x, target: /dev/y}]",
            "devices",
            (
                DeviceMapping(source="/dev/a", target="/dev/a"),
                DeviceMapping(source="/dev/a", target="/dev/b", permissions="r"),
                DeviceMapping(source="v.com/c=d"),
                DeviceMapping(source="/dev/x", target="/dev/y"),
            ),
        )
    ],
    "dns": [("8.8.8.8", "dns", ("8.8.8.8",)), ("[8.8.8.8, 9.9.9.9]", "dns", ("8.8.8.8", "9.9.9.9"))],
    "dns_opt": [("[use-vc]", "dns_opt", ("use-vc",))],
    "dns_search": [("a.org", "dns_search", ("a.org",))],
    "domainname": [("a.org", "domainname", "a.org")],
    "entrypoint": [("/x -a", "entrypoint", ("/x", "-a")), ("[]", "entrypoint", ())],
    "env_file": [
        ("a.env", "environment", {"A": "1"}),
        ("[a.env, {path: none.env, required: false}]", "environment", {"A": "1"}),
        ("[{path: a.env, format: raw}]", "environment", {"A": "'1'"}),
        ("a.env", "env_file", (EnvironmentFile(path="/p/a.env"),)),
    ],
    "environment": [
        (
            "{A: 1, B: true, C: , GIVEN: , E: '', F: 1.10}",
            "environment",
            {"A": "1", "B": "true", "C": None, "GIVEN": "v", "E": "", "F": "1.10"},
        ),
        ("[A=1, B=2=3, C, GIVEN]", "environment", {"A": "1", "B": "2=3", "C": None, "GIVEN": "v"}),
    ],
    "expose": [("[80, '81/udp']", "expose", ("80", "81/udp"))],
    "extends": [("db", "image", "x"), ("{service: db}", "networks", {"default": Attachment()})],
    "external_links": [("[a, 'b:c']", "external_links", (Link(target="a", alias="a"), Link(target="b", alias="c")))],
    "extra_hosts": [
        (
            "['a:10.0.0.1', 'a=::1', 'b:[::2]', g=host-gateway]",
            "extra_hosts",
            {"a": ("10.0.0.1", "::1"), "b": ("::2",), "g": ("host-gateway",)},
        ),
        ("{a: 10.0.0.1, b: [10.0.0.2]}", "extra_hosts", {"a": ("10.0.0.1",), "b": ("10.0.0.2",)}),
    ],
    "gpus": [
        ("all", "gpus", (DeviceRequest(count=-1),)),
        ("[{driver: x, count: 2, options: {a: b}}]", "gpus", (DeviceRequest(driver="x", count=2, options={"a": "b"}),)),
    ],
    "group_add": [("[mail, 12]", "group_add", ("mail", "12"))],
    "healthcheck": [
        ("{test: a b}", "healthcheck", Healthcheck(test=("CMD-SHELL", "a b"))),
        (
            "{test: [CMD, a], interval: 1m30s, timeout: 2s, start_period: 1h, start_interval: 500ms, retries: 3}",
            "healthcheck",
            Healthcheck(test=("CMD", "a"), interval=90.0, timeout=2.0, start_period=3600.0, start_interval=0.5, retries=3),
        ),
        ("{disable: true}", "healthcheck", Healthcheck(disable=True)),
        ("{test: [NONE]}", "healthcheck", Healthcheck(test=("NONE",), disable=True)),
    ],
    "hostname": [("web", "hostname", "web")],
    "image": [("'r.io/a/b:1@sha256:" + "0" * 64 + "'", "image", "r.io/a/b:1@sha256:" + "0" * 64)],
    "init": [("true", "init", True), ("false", "init", False)],
    "ipc": [("shareable", "ipc", "shareable")],
    "isolation": [("default", "isolation", "default")],
    "label_file": [("a.env", "labels", {"A": "1"})],
    "labels": [("{a: b, c: , d: true}", "labels", {"a": "b", "c": "", "d": "true"}), ("[a=b, c]", "labels", {"a": "b", "c": ""})],
    "links": [
        ("['db:x', db]", "links", (Link(target="db", alias="x"), Link(target="db", alias="db"))),
        ("[db]", "depends_on", {"db": Dependency(restart=True)}),
    ],
    "logging": [("{driver: none, options: {a: 1}}", "logging", Logging(driver="none", options={"a": "1"}))],
    "mac_address": [("02:42:ac:11:00:03", "mac_address", "02:42:ac:11:00:03")],
    "mem_limit": [("64m", "mem_limit", 64 * MI), ("1.5GB", "mem_limit", 1536 * MI), ("1048576", "mem_limit", MI)],
    "mem_reservation": [("1m", "mem_reservation", MI)],
    "mem_swappiness": [("60", "mem_swappiness", 60)],
    "memswap_limit": [("-1", "memswap_limit", -1), ("2m", "memswap_limit", 2 * MI)],
    "models": [
        ("[llm]", "models", {"llm": ModelUse()}),
        ("{llm: {endpoint_var: U, model_var: N}}", "models", {"llm": ModelUse(endpoint_var="U", model_var="N")}),
    ],
    "network_mode": [
        ("none", "network_mode", "none"),
        ("host", "networks", {}),
        ("'service:db'", "depends_on", {"db": Dependency(restart=True)}),
    ],
    "networks": [
        ("[front]", "networks", {"front": Attachment()}),
        (
            "{front: {aliases: [a], ipv4_address: 10.0.0.9, priority: 3, gw_priority: 2, interface_name: e, driver_opts: {a: 1}}}",
            "networks",
            {
                "front": Attachment(
                    aliases=("a",), ipv4_address="10.0.0.9", priority=3, gw_priority=2, interface_name="e", driver_opts={"a": "1"}
                )
            },
        ),
        (
            "{front: {ipv6_address: '::9', link_local_ips: [169.254.1.1], mac_address: 02:42:ac:11:00:03}}",
            "networks",
            {"front": Attachment(ipv6_address="::9", link_local_ips=("169.254.1.1",), mac_address="02:42:ac:11:00:03")},
        ),
    ],
    "oom_kill_disable": [("true", "oom_kill_disable", True)],
    "oom_score_adj": [("-500", "oom_score_adj", -500)],
    "pid": [("host", "pid", "host"), ("", "pid", "")],
    "pids_limit": [("-1", "pids_limit", -1), ("'10'", "pids_limit", 10)],
    "platform": [("linux/amd64", "platform", "linux/amd64")],
    "ports": [
        ("[22:22, 81]", "ports", (Port(target=22, published="22"), Port(target=81))),
        (
            "['[::1]:8000-8001:80-81/udp']",
            "ports",
            tuple(Port(target=80 + i, published=str(8000 + i), host_ip="::1", protocol="udp") for i in (0, 1)),
        ),
        (
            "[{target: 80, published: 8080, host_ip: 0.0.0.0, mode: host, name: n, app_protocol: http}]",
            "ports",
            (Port(target=80, published="8080", host_ip="0.0.0.0", mode="host", name="n", app_protocol="http"),),
        ),
    ],
    "post_start": [
        (
            "[{command: a b, user: root, privileged: true, working_dir: /w, environment: [A=1, B]}]",
            "post_start",
            (Hook(command=("a", "b"), user="root", privileged=True, working_dir="/w", environment={"A": "1", "B": None}),),
        )
    ],
    "pre_start": [("[]", "name", "web")],
    "pre_stop": [("[{command: [x]}]", "pre_stop", (Hook(command=("x",)),))],
    "privileged": [("true", "privileged", True)],
    "profiles": [("[a, b]", "profiles", ("a", "b"))],
    "provider": [("{type: t, options: {a: 1, b: [x, true]}}", "provider", Provider(type="t", options={"a": ("1",), "b": ("x", "true")}))],
    "pull_policy": [
        ("if_not_present", "pull_policy", "missing"),
        ("every_12h", "pull_refresh_after", 43_200.0),
        ("daily", "pull_policy", "refresh"),
    ],
    "pull_refresh_after": [("24h", "pull_refresh_after", 86_400.0)],
    "read_only": [("true", "read_only", True)],
    "restart": [("on-failure:3", "restart", "on-failure:3"), ("'no'", "restart", "no"), ("no", "restart", "no")],
    "runtime": [("crun", "runtime", "crun")],
    "scale": [("4", "replicas", 4), ("0", "replicas", 0)],
    "secrets": [
        ("[token]", "secrets", (Grant(source="token", target="/run/secrets/token"),)),
        ("[{source: token, target: t, mode: '0400'}]", "secrets", (Grant(source="token", target="/run/secrets/t", mode=0o400),)),
    ],
    "security_opt": [("['no-new-privileges:true']", "security_opt", ("no-new-privileges:true",))],
    "shm_size": [("64m", "shm_size", 64 * MI)],
    "stdin_open": [("true", "stdin_open", True)],
    "stop_grace_period": [("1m30s", "stop_grace_period", 90.0), ("0s", "stop_grace_period", 0.0)],
    "stop_signal": [("SIGINT", "stop_signal", "SIGINT")],
    "storage_opt": [("{size: 1G}", "storage_opt", {"size": "1G"})],
    "sysctls": [("{a.b: 1}", "sysctls", {"a.b": "1"}), ("[a.b=1]", "sysctls", {"a.b": "1"})],
    "tmpfs": [("/t", "tmpfs", ("/t",)), ("['/t:size=1m', /u]", "tmpfs", ("/t:size=1m", "/u"))],
    "tty": [("true", "tty", True)],
    "ulimits": [
        ("{nproc: 5, nofile: {soft: 1, hard: -1}}", "ulimits", {"nproc": Ulimit(soft=5, hard=5), "nofile": Ulimit(soft=1, hard=-1)})
    ],
    "use_api_socket": [("true", "use_api_socket", True)],
    "user": [("'1000:1000'", "user", "1000:1000"), ("1000", "user", "1000")],
    "userns_mode": [("host", "userns_mode", "host")],
    "uts": [("host", "uts", "host")],
    "volumes": [
        (
            "[/a, 'data:/d:ro,nocopy', './h:/h:z,rshared', '~/x:/y']",
            "volumes",
            (
                ServiceMount(type="volume", target="/a"),
                ServiceMount(type="volume", source="data", target="/d", read_only=True, nocopy=True),
                ServiceMount(type="bind", source="/p/h", target="/h", selinux="z", propagation="rshared"),
                ServiceMount(type="bind", source=str(Path("~/x").expanduser()), target="/y"),
            ),
        ),
        (
            "[{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}, {type: image, source: a, target: /i, image: {subpath: s}}]",
            "volumes",
            (
                ServiceMount(type="tmpfs", target="/t", size=MI, mode=0o700),
                ServiceMount(type="image", source="a", target="/i", subpath="s"),
            ),
        ),
        (
            "[{type: bind, source: ., target: /b, read_only: true, consistency: c, bind: {create_host_path: false, recursive: readonly}}]",
            "volumes",
            (
                ServiceMount(
                    type="bind", source="/p", target="/b", read_only=True, consistency="c", create_host_path=False, recursive="readonly"
                ),
            ),
        ),
        (
            "[{type: volume, source: data, target: /v, volume: {subpath: s, labels: [a=b]}}]",
            "volumes",
            (ServiceMount(type="volume", source="data", target="/v", subpath="s", labels={"a": "b"}),),
        ),
    ],
    "volume_driver": [("local", "name", "web")],
    "volumes_from": [("['db:ro']", "volumes_from", ("db:ro",)), ("[db]", "depends_on", {"db": Dependency()})],
    "working_dir": [("/w", "working_dir", "/w")],
}


def project(text: str, directory: Path = Path("/p")) -> Project:
    request = Request(cwd=directory, text=text, environment={"GIVEN": "v", "TOKEN": "t"}, profiles=["*"], everything=True)
    return load(request).project


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "a.env").write_text("A='1'\n")
    return tmp_path


@pytest.mark.parametrize(("key", "value", "field", "expected"), [(key, *case) for key, cases in KEYS.items() for case in cases])
def test_a_key_of_a_service(key: str, value: str, field: str, expected: object, here: Path) -> None:
    image = "" if key == "image" else "image: x, "
    value = value.replace("\n", " ")
    found = project(f"services:\n  web: {{{image}{key}: {value}}}{OTHERS}", here)
    wanted = repr(expected).replace("'/p", f"'{here}")
    assert repr(getattr(found.service("web"), field)) == wanted


def test_every_key_has_its_test() -> None:
    assert len(keys.SERVICE) == 92 + len({"pre_start", "volume_driver"})  # of the text that is to come, and of version 2
    assert set(KEYS) == set(keys.SERVICE)


def test_a_service_says_nothing_where_the_file_says_nothing() -> None:
    assert project("services: {web: {image: x}}").services == (Service(name="web", image="x", networks={"default": Attachment()}),)


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ("dockerfile: D", "dockerfile", "D"),
        ("dockerfile_inline: FROM x", "dockerfile_inline", "FROM x"),
        ("target: t", "target", "t"),
        ("args: [A=1, GIVEN, NOBODY]", "args", {"A": "1", "GIVEN": "v"}),
        (
            "additional_contexts: {a: ./x, b: docker-image://i, c: 'service:db'}",
            "additional_contexts",
            {"a": "/p/x", "b": "docker-image://i", "c": "service:db"},
        ),
        ("cache_from: [a]", "cache_from", ("a",)),
        ("cache_to: [a]", "cache_to", ("a",)),
        ("entitlements: [network.host]", "entitlements", ("network.host",)),
        ("extra_hosts: {a: 10.0.0.1}", "extra_hosts", {"a": ("10.0.0.1",)}),
        ("isolation: default", "isolation", "default"),
        ("labels: [a=b]", "labels", {"a": "b"}),
        ("network: none", "network", "none"),
        ("no_cache: true", "no_cache", True),
        ("no_cache_filter: a", "no_cache_filter", ("a",)),
        ("platforms: [linux/amd64]", "platforms", ("linux/amd64",)),
        ("privileged: true", "privileged", True),
        ("provenance: mode=max", "provenance", "mode=max"),
        ("pull: true", "pull", True),
        ("sbom: true", "sbom", "true"),
        ("secrets: [token]", "secrets", (Grant(source="token", target=""),)),
        ("shm_size: 1m", "shm_size", MI),
        ("ssh: default", "ssh", {"default": ""}),
        ("ssh: [a=/x]", "ssh", {"a": "/x"}),
        ("tags: [a, b]", "tags", ("a", "b")),
        ("ulimits: {nproc: 5}", "ulimits", {"nproc": Ulimit(soft=5, hard=5)}),
    ],
)
def test_a_key_of_build(value: str, field: str, expected: object) -> None:
    found = project(f"services:\n  web: {{build: {{context: ., {value}}}}}{OTHERS}").service("web")
    assert found.build is not None
    assert getattr(found.build, field) == expected


def test_every_key_of_build_is_read() -> None:
    assert set(keys.BUILD) == set(Build.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "section", "expected"),
    [
        ("networks: {n: }", "networks", {"n": Network(key="n", name="p_n"), "default": Network(key="default", name="p_default")}),
        (
            "networks:\n  default: {name: xx, driver: d, driver_opts: {a: 1}, internal: true, attachable: true, labels: [a]}",
            "networks",
            {
                "default": Network(
                    key="default",
                    name="xx",
                    driver="d",
                    driver_opts={"a": "1"},
                    internal=True,
                    attachable=True,
                    labels={"a": ""},
                )
            },
        ),
        (
            "networks: {default: {enable_ipv6: true, ipam: {driver: d, config: [{subnet: 10.0.0.0/8, aux_addresses: {a: 10.0.0.2}}]}}}",
            "networks",
            {
                "default": Network(
                    key="default",
                    name="p_default",
                    enable_ipv6=True,
                    ipam_driver="d",
                    pools=(Pool(subnet="10.0.0.0/8", aux_addresses={"a": "10.0.0.2"}),),
                )
            },
        ),
        ("networks: {default: {external: true}}", "networks", {"default": Network(key="default", name="default", external=True)}),
        ("networks: {default: {external: {name: o}}}", "networks", {"default": Network(key="default", name="o", external=True)}),
        (
            "volumes: {v: {driver: d, driver_opts: {a: 1}, labels: {a: b}}}",
            "volumes",
            {"v": Volume(key="v", name="p_v", driver="d", driver_opts={"a": "1"}, labels={"a": "b"})},
        ),
        (
            "volumes: {v: {driver_opts: {o: 'bind,ro', device: ./d, type: none}}}",
            "volumes",
            {"v": Volume(key="v", name="p_v", driver_opts={"o": "bind,ro", "device": "/p/d", "type": "none"})},
        ),
        ("volumes: {v: {external: true, name: ww}}", "volumes", {"v": Volume(key="v", name="ww", external=True)}),
        ("secrets: {s: {file: ./x}}", "secrets", {"s": Secret(key="s", name="p_s", file="/p/x")}),
        ("secrets: {s: {environment: GIVEN}}", "secrets", {"s": Secret(key="s", name="p_s", environment="GIVEN", content="v")}),
        ("secrets: {s: {environment: NOBODY}}", "secrets", {"s": Secret(key="s", name="p_s", environment="NOBODY")}),
        ("configs: {c: {content: $GIVEN}}", "configs", {"c": Secret(key="c", name="p_c", content="v")}),
        ("configs: {c: {external: true}}", "configs", {"c": Secret(key="c", name="c", external=True)}),
        (
            "models: {m: {model: ai/x, context_size: 5, runtime_flags: [a]}}",
            "models",
            {"m": LanguageModel(model="ai/x", context_size=5, runtime_flags=("a",))},
        ),
    ],
)
def test_a_section_of_the_file(text: str, section: str, expected: object) -> None:
    assert getattr(project(f"services: {{web: {{image: x}}}}\n{text}\n"), section) == expected


def test_every_section_of_the_file_is_known() -> None:
    assert set(keys.FILE) == {"version", "name", "include", "services", "networks", "volumes", "secrets", "configs", "models"}


def test_a_secrets_bytes_are_told_to_nobody() -> None:
    assert "hidden" not in repr(Secret(key="s", name="s", content="hidden"))
    assert "GIVEN" not in repr(project("services: {web: {image: x}}"))

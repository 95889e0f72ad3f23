"""Every key of a service that says how its containers are made: what the engine is asked for, without making one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from notebook_containers import Engine
from notebook_containers.compose import creating, digests, loading
from notebook_containers.compose.model import Project
from notebook_containers.compose.site import Site
from notebook_containers.engine.options import ContainerOptions, container_options
from notebook_containers.errors import InvalidArgument


def project(text: str) -> Project:
    return loading.load(loading.Request(cwd=Path("/srv/shop"), text=text, environment={"HERE": "here"})).project


def options(lines: str, *, number: int = 1, below: str = "") -> ContainerOptions:
    """Return what the engine is asked for by a service of these lines."""
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    made = project(f"services:\n  web:\n    image: base\n{body}  db: {{image: base}}\n{below}")
    site = Site(engine=cast("Engine", None), project=made)
    service = made.service("web")
    return container_options(service.command, creating.keywords(site, service, number, "hash", "image"))


CASES: tuple[tuple[str, Callable[[ContainerOptions], object], object], ...] = (
    ("annotations: {a: b}", lambda o: o.annotations, {"a": "b"}),
    ("blkio_config: {weight: 300}", lambda o: o.blkio_weight, 300),
    ("blkio_config: {device_read_bps: [{path: /dev/sda, rate: 1mb}]}",
     lambda o: [(v.path, v.value) for v in o.device_read_bps], [("/dev/sda", 1 << 20)]),
    *((f"volumes: [{{type: bind, source: /a, target: /b, read_only: true, bind: {{recursive: {word}}}}}]",
       lambda o: o.volumes[0].recursion, found)
      for word, found in (("enabled", ""), ("disabled", "disabled"), ("readonly", ""))),
    ("volumes: [{type: image, source: other, target: /b, image: {subpath: a/b}}]",
     lambda o: [(v.kind, v.source, v.subpath, v.read_only) for v in o.volumes], [("image", "other", "a/b", True)]),
    ("cap_add: [NET_ADMIN]", lambda o: o.cap_add, ("CAP_NET_ADMIN",)),
    ("cap_drop: [ALL]", lambda o: o.cap_drop, ("ALL",)),
    ("cgroup: host", lambda o: o.cgroupns_mode, "host"),
    ("cgroup_parent: mine", lambda o: o.cgroup_parent, "mine"),
    ("command: echo 'a b'", lambda o: o.command, ("echo", "a b")),
    ("container_name: only", lambda o: o.name, "only"),
    ("cpu_count: 2", lambda o: o.nano_cpus, 2 * 10**9),
    ("cpu_period: 50000\ncpu_quota: 25000", lambda o: (o.cpu_period, o.cpu_quota), (50000, 25000)),
    ("cpu_shares: 512", lambda o: o.cpu_shares, 512),
    ("cpus: 0.5", lambda o: o.nano_cpus, 5 * 10**8),
    ("cpuset: '0'", lambda o: o.cpuset_cpus, "0"),
    ("deploy: {resources: {limits: {cpus: '0.25', memory: 64M, pids: 7}}}",
     lambda o: (o.nano_cpus, o.memory_bytes, o.pids_limit), (25 * 10**7, 64 << 20, 7)),
    ("deploy: {resources: {reservations: {memory: 32M}}}", lambda o: o.memory_reservation_bytes, 32 << 20),
    ("deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}",
     lambda o: (o.restart, o.restart_max), ("on-failure", 3)),
    ("device_cgroup_rules: ['c 42:* rwm']", lambda o: len(o.device_rules), 1),
    ("devices: ['/dev/null:/dev/nothing:r']",
     lambda o: [(d.source, d.target, d.access) for d in o.devices], [("/dev/null", "/dev/nothing", "r")]),
    ("dns: 10.0.0.1", lambda o: o.dns, ("10.0.0.1",)),
    ("dns_opt: ['ndots:2']", lambda o: o.dns_options, ("ndots:2",)),
    ("dns_search: shop.example", lambda o: o.dns_search, ("shop.example",)),
    ("domainname: shop.example", lambda o: o.domainname, "shop.example"),
    ("entrypoint: [/bin/sh, -c]", lambda o: o.entrypoint, ("/bin/sh", "-c")),
    ("environment: {A: 1, HERE: null, GONE: null}", lambda o: o.environment, ("A=1", "HERE=here")),
    ("expose: ['9000']", lambda o: o.expose, ("9000/tcp",)),
    ("extra_hosts: ['other:10.0.0.9', 'one:10.0.0.8', 'other:fd00::9']", lambda o: o.extra_hosts,
     {"other": "10.0.0.9,fd00::9", "one": "10.0.0.8"}),
    ("group_add: [mail]", lambda o: o.group_add, ("mail",)),
    ("healthcheck: {test: 'true', interval: 2s, timeout: 1s, retries: 4, start_period: 3s}",
     lambda o: o.healthcheck and (o.healthcheck.test, o.healthcheck.interval, o.healthcheck.retries),
     (("CMD-SHELL", "true"), 2 * 10**9, 4)),
    ("healthcheck: {disable: true}", lambda o: o.healthcheck and o.healthcheck.test, ("NONE",)),
    ("hostname: web1", lambda o: o.hostname, "web1"),
    ("init: true", lambda o: o.init, True),
    ("ipc: shareable", lambda o: o.ipc_mode, "shareable"),
    ("labels: {a: b}", lambda o: o.labels["a"], "b"),
    ("links: ['db:database']", lambda o: o.network, "shop_default"),
    ("logging: {driver: json-file, options: {max-size: 1m}}", lambda o: o.log.max_bytes, 1 << 20),
    ("mem_limit: 64m\nmemswap_limit: 128m", lambda o: (o.memory_bytes, o.memory_swap_bytes), (64 << 20, 128 << 20)),
    ("mem_reservation: 32m", lambda o: o.memory_reservation_bytes, 32 << 20),
    ("mem_swappiness: 10", lambda o: o.memory_swappiness, 10),
    ("network_mode: none", lambda o: (o.network, o.attachments), ("none", ())),
    ("oom_kill_disable: true", lambda o: o.oom_kill_disable, True),
    ("oom_score_adj: 100", lambda o: o.oom_score_adj, 100),
    ("pid: host", lambda o: o.pid_mode, "host"),
    ("pids_limit: 5", lambda o: o.pids_limit, 5),
    ("platform: linux/amd64", lambda o: o.platform, "linux/amd64"),
    ("ports: ['127.0.0.1:8080:80']",
     lambda o: [(p.host_ip, p.host_port, p.container_port) for p in o.ports], [("127.0.0.1", 8080, 80)]),
    ("privileged: true", lambda o: o.privileged, True),
    ("read_only: true", lambda o: o.read_only, True),
    ("restart: 'on-failure:2'", lambda o: (o.restart, o.restart_max), ("on-failure", 2)),
    ("security_opt: ['no-new-privileges:false']", lambda o: o.no_new_privileges, False),
    ("shm_size: 16m", lambda o: o.shm_bytes, 16 << 20),
    ("stdin_open: true\ntty: true", lambda o: (o.stdin_open, o.tty), (True, True)),
    ("stop_grace_period: 1m30s", lambda o: o.stop_timeout_s, 90),
    ("stop_signal: SIGUSR1", lambda o: o.stop_signal, "SIGUSR1"),
    ("sysctls: {net.ipv4.ip_forward: '1'}", lambda o: o.sysctls, {"net.ipv4.ip_forward": "1"}),
    ("tmpfs: '/run:size=1m'", lambda o: o.tmpfs, {"/run": "size=1m"}),
    ("ulimits: {nofile: {soft: 10, hard: 20}}", lambda o: [(u.type, u.soft, u.hard) for u in o.ulimits], [("RLIMIT_NOFILE", 10, 20)]),
    ("user: '1000:1000'", lambda o: o.user, "1000:1000"),
    ("userns_mode: keep-id", lambda o: o.userns, "keep-id"),
    ("uts: host", lambda o: o.uts_mode, "host"),
    ("volumes: ['./site:/www:ro']",
     lambda o: [(m.kind, m.source, m.target, m.read_only, m.must_exist) for m in o.volumes],
     [("bind", "/srv/shop/site", "/www", True, False)]),
    ("volumes: [{type: bind, source: /site, target: /www, bind: {create_host_path: false}}]",
     lambda o: [m.must_exist for m in o.volumes], [True]),
    ("volumes: [{type: tmpfs, target: /run, tmpfs: {size: 1048576}}]",
     lambda o: o.tmpfs, {"/run": "size=1048576"}),
    ("volumes: ['/data']", lambda o: [(m.kind, m.source, m.target) for m in o.volumes], [("volume", "", "/data")]),
    ("volumes_from: ['container:other:ro']", lambda o: o.volumes_from, ("other:ro",)),
    ("working_dir: /srv", lambda o: o.working_dir, "/srv"),
)  # fmt: skip


@pytest.mark.parametrize(("lines", "look", "wanted"), CASES, ids=[case[0].partition("\n")[0] for case in CASES])
def test_key(lines: str, look: Callable[[ContainerOptions], object], wanted: object) -> None:
    assert look(options(lines)) == wanted


def test_a_bind_whose_mounts_below_are_to_stay_writable_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="bind-recursive=writable"):
        options("volumes: [{type: bind, source: /a, target: /b, read_only: true, bind: {recursive: writable}}]")


def test_labels_are_composes() -> None:
    labels = options("depends_on: {db: {condition: service_healthy}}", number=2).labels
    assert labels["com.docker.compose.project"] == "shop"
    assert labels["com.docker.compose.service"] == "web"
    assert labels["com.docker.compose.container-number"] == "2"
    assert labels["com.docker.compose.oneoff"] == "False"
    assert labels["com.docker.compose.depends_on"] == "db:service_healthy:false"
    assert labels["com.docker.compose.project.working_dir"] == "/srv/shop"


def test_networks_aliases_and_links() -> None:
    below = "networks:\n  front: {name: outside, external: true}\n  back:\n"
    lines = "networks:\n  front: {priority: 5, aliases: [www]}\n  back: {ipv4_address: 10.9.0.5}"
    found = {place.network: place for place in options(lines, below=below).attachments}
    assert set(found) == {"outside", "shop_back"}
    assert "www" in found["outside"].aliases
    assert "web" in found["shop_back"].aliases
    linking = project("services:\n  web: {image: base, links: ['db:database'], external_links: ['other-db-1:old']}\n  db: {image: base}\n")
    site = Site(engine=cast("Engine", None), project=linking)
    db, web = (creating.keywords(site, linking.service(name), 1, "", "").get("networking_config") or {} for name in ("db", "web"))
    assert (db["shop_default"] or {}).get("aliases") == ["db"]
    assert (web["shop_default"] or {}).get("links") == ["db:database", "other-db-1:old"]


def test_a_range_of_ports_is_shared_out() -> None:
    assert [p.host_port for p in options("ports: ['8000-8001:80']", number=2).ports] == [8001]
    with pytest.raises(InvalidArgument, match="no port left in 8000-8001"):
        options("ports: ['8000-8001:80']", number=3)


def test_the_hash_is_of_what_a_container_is_made_with() -> None:
    def hashed(lines: str) -> str:
        made = project(f"services:\n  web:\n    image: base\n    {lines}\n  db: {{image: base}}\n")
        return digests.service_hash(made, made.service("web"))

    plain = hashed("labels: {}")
    for same in ("scale: 3", "depends_on: [db]", "pull_policy: never", "build: .", "deploy: {replicas: 2}", "profiles: ['x']"):
        assert hashed(same) == plain, same
    different = {hashed(lines) for lines in ("environment: {A: b}", "command: x", "volumes: [/data]", "labels: {a: b}", "ports: ['80']")}
    assert len(different | {plain}) == 6
    assert hashed("environment: {A: b, C: d}") == hashed("environment: [C=d, A=b]")

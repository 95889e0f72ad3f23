"""What is wrong in a file is one error with file, line, column, the path and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_containers.compose.loading import Request, load
from notebook_containers.errors import ComposeError, Error, InvalidArgument


def wrong(text: str) -> ComposeError:
    with pytest.raises(ComposeError) as caught:
        load(Request(cwd=Path("/p"), text=text, environment={"EMPTY": "", "WORD": "word"}))
    error = caught.value
    assert error.message.startswith(f"compose cell:{error.line}:{error.column}: "), error.message
    assert "\n" not in error.one_line()
    assert error.source == text.splitlines()[error.line - 1]
    assert not error.message.endswith(".")
    return error


def of_service(value: str) -> ComposeError:
    """Return the error of one line of a service, which is line 4; what begins at a column there is told with that column."""
    return wrong(f"services:\n  web:\n    image: x\n    {value}\n")


@pytest.mark.parametrize(
    ("line", "column", "path", "hint"),
    [
        ("imagee: x", 5, "services.web.imagee", "did you mean 'image'?"),
        ("port: [80]", 5, "services.web.port", "did you mean 'ports'?"),
        ("comand: x", 5, "services.web.comand", "'command'"),
        ("enviroment: {}", 5, "services.web.enviroment", "'environment'"),
        ("zzz: x", 5, "services.web.zzz", "some are: "),
        ("build: {contxt: .}", 13, "services.web.build.contxt", "'context'"),
        ("healthcheck: {tests: x}", 19, "services.web.healthcheck.tests", "'test'"),
        ("deploy: {resources: {limit: {}}}", 26, "services.web.deploy.resources.limit", "'limits'"),
        ("ports: [{targt: 80}]", 14, "services.web.ports[0].targt", "'target'"),
        ("depends_on: {web: {conditon: x}}", 24, "services.web.depends_on.web.conditon", "'condition'"),
        ("networks: {default: {alias: []}}", 26, "services.web.networks.default.alias", "'aliases'"),
        ("develop: {watch: [{path: a, action: syncs}]}", 41, "services.web.develop.watch[0].action", "'sync'"),
        ("volumes: [{type: bnd, target: /x}]", 22, "services.web.volumes[0].type", "'bind'"),
        ("depends_on: {web: {condition: healthy}}", 35, "services.web.depends_on.web.condition", "'service_healthy'"),
        ("depends_on: [wbe]", 18, "services.web.depends_on.wbe", "'web'"),
        ("networks: [defalt]", 16, "services.web.networks.defalt", "'default'"),
        ("secrets: [nothing]", 15, "services.web.secrets[0]", "there are none"),
        ("volumes: [data:/x]", 15, "services.web.volumes[0]", "volumes:"),
        ("extends: wbe", 5, "services.web.extends", "'web'"),
        ("links: [wbe]", 13, "services.web.links", "'web'"),
        ("volumes_from: [wbe]", 20, "services.web.volumes_from", "'web'"),
        ("network_mode: 'service:nobody'", 19, "services.web.network_mode", "web"),
    ],
)
def test_an_unknown_name_is_told_with_a_near_one(line: str, column: int, path: str, hint: str) -> None:
    error = of_service(line)
    assert f": {path}: " in error.message
    assert hint in error.hint
    assert (error.line, error.column) == (4, column)


@pytest.mark.parametrize(
    ("line", "column", "path", "says"),
    [
        ("ports: 80", 12, "ports", "a list is wanted"),
        ("ports: {a: b}", 5, "ports", "a list is wanted"),
        ("ports: [{published: 80}]", 13, "ports[0]", "target"),
        ("ports: ['x:y']", 13, "ports[0]", "no port"),
        ("ports: ['80:80:80:80']", 13, "ports[0]", "no port mapping"),
        ("ports: ['70000:80']", 13, "ports[0]", "no port"),
        ("ports: ['8000-8002:80-81']", 13, "ports[0]", "3 host ports for 2"),
        ("ports: ['80/icmp']", 13, "ports[0]", "icmp"),
        ("ports: ['1.2.3:80:80']", 13, "ports[0]", "no address"),
        ("environment: 5", 18, "environment", "a mapping or a list"),
        ("environment: [=x]", 19, "environment[0]", "no name"),
        ("environment: {A: [x]}", 19, "environment.A", "a single value"),
        ("environment:", 5, "environment", "nothing"),
        ("container_name: [a]", 5, "container_name", "a list"),
        ("domainname: true", 17, "domainname", "truth"),
        ("volumes: x", 14, "volumes", "a list"),
        ("volumes: [[x]]", 15, "volumes[0]", "a text"),
        ("volumes: [a:b]", 15, "volumes[0]", "no absolute path"),
        ("volumes: ['a:/b:ro:x']", 15, "volumes[0]", "no volume"),
        ("volumes: ['./a:/b:wat']", 15, "volumes[0]", "'wat'"),
        ("volumes: ['a b:/c']", 15, "volumes[0]", "neither"),
        ("volumes: [{target: /x}]", 15, "volumes[0]", "type"),
        ("volumes: [{type: bind, target: /x}]", 15, "volumes[0]", "source"),
        ('command: "echo \'open"', 14, "command", "quote"),
        ("command: {a: b}", 5, "command", "a mapping"),
        ("build: 5", 12, "build", "a directory or a mapping"),
        ("pids_limit: many", 17, "pids_limit", "no whole number"),
        ("cpus: half", 11, "cpus", "no number"),
        ("cpus: -1", 11, "cpus", "no number of CPUs"),
        ("mem_limit: 64x", 16, "mem_limit", "64x"),
        ("tty: perhaps", 10, "tty", "true or false"),
        ("tty: 1", 10, "tty", "true or false"),
        ("restart: sometimes", 14, "restart", "sometimes"),
        ("restart: on-failure:x", 14, "restart", "on-failure:x"),
        ("stop_grace_period: soon", 24, "stop_grace_period", "no duration"),
        ("stop_grace_period: 10", 24, "stop_grace_period", "no duration"),
        ("cap_add: [FLY]", 15, "cap_add[0]", "FLY"),
        ("hostname: [a]", 5, "hostname", "a list"),
        ("healthcheck: {test: [curl]}", 19, "healthcheck.test", "NONE, CMD or CMD-SHELL"),
        ("healthcheck: {interval: 1}", 29, "healthcheck.interval", "no duration"),
        ("secrets: [{target: x}]", 15, "secrets[0]", "source"),
        ("extra_hosts: [a]", 19, "extra_hosts[0]", "no host"),
        ("extra_hosts: ['a:b']", 19, "extra_hosts[0]", "no IP address"),
        ("devices: ['a:b:c:d']", 15, "devices[0]", "no device"),
        ("gpus: some", 11, "gpus", "all or a list"),
        ("ulimits: {nofile: many}", 23, "ulimits.nofile", "no whole number"),
        ("pull_policy: perhaps", 18, "pull_policy", "perhaps"),
        ("scale: [1]", 5, "scale", "a list"),
        ("labels: {a: {}}", 14, "labels.a", "a single value"),
        ("networks: {default: 5}", 25, "networks.default", "a mapping"),
        ("post_start: [{user: a}]", 18, "post_start[0]", "command"),
        ("develop: {watch: [{path: a}]}", 23, "develop.watch[0]", "action"),
        ("env_file: [{required: true}]", 16, "env_file[0]", "path"),
        ("extends: {file: x}", 5, "extends", "service"),
        ("stop_signal: SIGNONE", 18, "stop_signal", "SIGNONE"),
        ("secrets: [{source: s, mode: 9}]", 33, "secrets[0].mode", "octal"),
        ("mem_limit: ${EMPTY}", 16, "mem_limit", "''"),
        ("scale: ${WORD}", 12, "scale", "'word'"),
        ("ports: [{target: 80, published: '9000-8000'}]", 37, "ports[0].published", "neither a port"),
        ("ports: [{target: 99999}]", 22, "ports[0].target", "no port"),
        ("ports: [{target: 80, host_ip: here}]", 35, "ports[0].host_ip", "no IP address"),
        ("networks: {default: {ipv4_address: '::1'}}", 40, "networks.default.ipv4_address", "version 6"),
        ("networks: {default: {ipv6_address: 10.0.0.1}}", 40, "networks.default.ipv6_address", "version 4"),
        ("networks: {default: {link_local_ips: [x]}}", 43, "networks.default.link_local_ips[0]", "no IP address"),
        ("mac_address: zz", 18, "mac_address", "no MAC address"),
        ("dns: [1.1.1.1, nope]", 20, "dns[1]", "no IP address"),
        ("cpuset: a-b", 13, "cpuset", "no list of CPUs"),
        ("oom_score_adj: 5000", 20, "oom_score_adj", "out of range"),
        ("mem_swappiness: 500", 21, "mem_swappiness", "out of range"),
        ("expose: [abc]", 14, "expose[0]", "neither a port"),
        ("expose: [80/icmp]", 14, "expose[0]", "no protocol"),
        ("platform: //", 15, "platform", "no platform"),
        ("device_cgroup_rules: [x]", 27, "device_cgroup_rules[0]", "not understood"),
        ("deploy: {replicas: -1}", 24, "deploy.replicas", "less than none"),
        ("tmpfs: rel", 12, "tmpfs", "no absolute path"),
        ("volumes: [{type: tmpfs, target: rel}]", 37, "volumes[0].target", "no absolute path"),
        ("secrets: [{source: s, target: ../x}]", 35, "secrets[0].target", "leads out"),
        ("network_mode: none\n    networks: [default]", 5, "network_mode", "exclude each other"),
        ("scale: 2\n    deploy: {replicas: 3}", 12, "scale", "3"),
        ("mem_limit: 1m\n    deploy: {resources: {limits: {memory: 2m}}}", 16, "mem_limit", "deploy.resources.limits.memory"),
        ("develop: {watch: [{path: a, action: sync}]}", 41, "develop.watch[0].action", "target"),
        ("develop: {watch: [{path: a, action: sync+exec, target: /a}]}", 41, "develop.watch[0].action", "exec"),
        ("container_name: one\n    scale: 2", 21, "container_name", "2 containers"),
        ("build: {dockerfile: D, dockerfile_inline: F}", 28, "build.dockerfile_inline", "exclude"),
    ],
)
def test_a_wrong_value_is_told_at_its_place(line: str, column: int, path: str, says: str) -> None:
    error = of_service(line)
    assert error.message.startswith(f"compose cell:4:{column}: services.web.{path}: "), error.message
    assert says in error.message + error.hint


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("service: {}\n", 1, "'services'"),
        ("services: {}\n", 1, "needs services"),
        ("web:\n  image: x\n  ports: ['80:80']\n", 1, "under services:"),
        ("volumes: {data: }\n", 1, "needs services"),
        ("services: []\n", 1, "a mapping"),
        ("services: {web: x}\n", 1, "services.web"),
        ("services: {web: {}}\n", 1, "neither image nor build"),
        ("services:\n  'a/b': {image: x}\n", 2, "no name"),
        ("services:\n  '../x': {image: x}\n", 2, "no name"),
        ("services:\n  '<script>': {image: x}\n", 2, "no name"),
        ("services:\n  'a;b': {image: x}\n", 2, "no name"),
        ("services:\n  żółw: {image: x}\n", 2, "no name"),
        ("services: {web: {image: x}}\nvolumes: [a]\n", 2, "volumes"),
        ("services: {web: {image: x}}\nvolumes:\n  a: {name: ../../etc}\n", 3, "volumes.a.name"),
        ("services: {web: {image: x}}\nnetworks:\n  a: {external: true, driver: x}\n", 3, "networks.a.driver"),
        ("services: {web: {image: x}}\nnetworks:\n  a: {ipam: {config: [{subnet: nope}]}}\n", 3, "no subnet"),
        ("services: {web: {image: x}}\nnetworks:\n  a: {ipam: {config: [{subnet: 10.5.0.1/16}]}}\n", 3, "10.5.0.0/16"),
        ("services: {web: {image: x}}\nnetworks:\n  a: {ipam: {config: [{gateway: 10.5.0.0/16}]}}\n", 3, "gateway"),
        ("services: {web: {image: x}}\nsecrets:\n  s: {}\n", 3, "secrets.s"),
        ("services: {web: {image: x}}\nsecrets:\n  s: {file: a, environment: b}\n", 3, "secrets.s"),
        ("services: {web: {image: x}}\nsecrets:\n  s: {content: a}\n", 3, "content"),
        ("services: {web: {image: x}}\nname: Not Good\n", 2, "notgood"),
        ("services: {web: {image: x}}\nname: -x\n", 2, "name"),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, links: [a]}\n", 2, "a -> b -> a"),
        ("services:\n  a: {image: x, depends_on: [a]}\n", 2, "a -> a"),
        ("services:\n  a: {image: x, network_mode: 'service:b'}\n  b: {image: x, volumes_from: [a]}\n", 2, "a -> b -> a"),
        ("services:\n  a: {extends: b}\n  b: {extends: {service: a}}\n", 2, "circle"),
        ("services:\n  a: {extends: a}\n", 2, "circle"),
        ("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, profiles: [dev]}\n", 2, "'dev'"),
        ("services:\n  a: {image: x, container_name: '-x'}\n", 2, "container_name"),
        ("services:\n  a: {image: x, container_name: '../x'}\n", 2, "container_name"),
        ("services:\n  a: {image: x, container_name: 'a;b'}\n", 2, "container_name"),
    ],
)
def test_a_wrong_file_is_told(text: str, line: int, says: str) -> None:
    error = wrong(text)
    assert error.line == line, error.message
    assert says in error.one_line()


def test_a_long_chain_of_dependencies_is_no_problem_and_its_circle_is_found() -> None:
    chain = "".join(f"  s{i}: {{image: x, depends_on: [s{i + 1}]}}\n" for i in range(1200))
    found = load(Request(cwd=Path("/p"), text=f"services:\n{chain}  s1200: {{image: x}}\n", environment={}))
    assert found.project.services[0].name == "s1200"
    assert "s0 -> s1 -> " in wrong(f"services:\n{chain}  s1200: {{image: x, depends_on: [s0]}}\n").message


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "-a", "a b", "ż", "<b>", "a;b", ""])
def test_a_projects_name_is_checked_where_it_is_given(name: str) -> None:
    request = Request(cwd=Path("/some/Own_Dir"), text="services: {web: {image: x}}\n", name=name, environment={})
    if not name:
        assert load(request).project.name == "own_dir"
        return
    with pytest.raises(InvalidArgument, match="no project's name"):
        load(request)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("services:\n  web:\n    imagee: x\n", "inner/compose.yaml:3:5: services.web.imagee: unknown key"),
        ("services: [\n", "inner/compose.yaml:2:1"),
        ("services: {web: {image: '${X:?no X}'}}\n", "inner/compose.yaml:1:25: services.web.image: the variable X is needed: no X"),
    ],
)
def test_an_error_in_another_file_is_told_there(file: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/compose.yaml").write_text(file)
    (tmp_path / "compose.yaml").write_text("include: [inner/compose.yaml]\nservices: {a: {image: x}}\n")
    with pytest.raises(ComposeError) as caught:
        load(Request(cwd=tmp_path, environment={}))
    assert says in caught.value.message
    (tmp_path / "compose.yaml").write_text("services: {a: {extends: {file: inner/compose.yaml, service: web}}}\n")
    with pytest.raises(ComposeError) as caught:
        load(Request(cwd=tmp_path, environment={}))
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("include: [none.yaml]\n", "compose.yaml:1:11: include[0]: "),
        ("include: [{path: compose.yaml}]\n", "the includes form a cycle: compose.yaml -> compose.yaml"),
        ("include: [{path: a.yaml, env_file: none.env}]\n", "none.env"),
        ("include: [{env_file: a.env}]\n", "an include needs path:"),
        ("services: {web: {extends: {file: none.yaml, service: x}}}\n", "services.web.extends"),
        ("services: {web: {extends: {file: a.yaml, service: bs}}}\n", "no service 'bs' in a.yaml"),
        ("services: {web: {image: x, env_file: none.env}}\n", "compose.yaml:1:38: services.web.env_file[0]: "),
        ("services: {web: {image: x, env_file: bad.env}}\n", "bad.env:2:1: there is no = behind this"),
        (
            "include: [a.yaml]\nservices: {b: {image: other}}\n",
            "compose.yaml:2:12: services.b: the included file defines it too, otherwise: a.yaml:1",
        ),
    ],
)
def test_files_that_name_others(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("services: {b: {image: x}}\n")
    (tmp_path / "bad.env").write_text("A=1\nthis is none\n")
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(ComposeError) as caught:
        load(Request(cwd=tmp_path, environment={}))
    assert says in caught.value.message


def test_a_circle_of_includes_and_of_files_that_extend_each_other(tmp_path: Path) -> None:
    for name, other in (("compose", "b"), ("b", "c"), ("c", "b")):
        (tmp_path / f"{name}.yaml").write_text(f"include: [{other}.yaml]\nservices: {{ {name}: {{image: x}} }}\n")
    with pytest.raises(ComposeError, match=r"compose\.yaml -> b\.yaml -> c\.yaml -> b\.yaml"):
        load(Request(cwd=tmp_path, environment={}))
    for name, other in (("compose", "b"), ("b", "compose")):
        (tmp_path / f"{name}.yaml").write_text(f"services: {{s: {{extends: {{file: {other}.yaml, service: s}}}}}}\n")
    with pytest.raises(ComposeError, match=r"compose\.yaml:s -> b\.yaml:s -> compose\.yaml:s"):
        load(Request(cwd=tmp_path, environment={}))


@pytest.mark.parametrize(
    "word",
    [
        "oci://registry.example/app:1",
        "https://example.org/compose.yaml",
        "git@example.org:x/y.git",
        "https://github.com/x/y.git#main",
        "github.com/x/y",
    ],
)
def test_what_is_elsewhere_is_refused_whoever_names_it(word: str, tmp_path: Path) -> None:
    for text in (
        f"include: ['{word}']\nservices: {{a: {{image: x}}}}\n",
        f"include: [{{path: ['{word}']}}]\nservices: {{a: {{image: x}}}}\n",
        f"services: {{a: {{extends: {{file: '{word}', service: b}}}}}}\n",
    ):
        (tmp_path / "compose.yaml").write_text(text)
        with pytest.raises(ComposeError, match="not on this machine"):
            load(Request(cwd=tmp_path, environment={}))
    with pytest.raises(InvalidArgument, match="not on this machine"):
        load(Request(cwd=tmp_path, files=[word], environment={}))


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "binary", "none here"])
def test_a_file_that_cannot_be_read_is_named(kind: str, tmp_path: Path) -> None:
    import os

    path = tmp_path / "x.yaml"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "binary":
        path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(Error) as caught:
        load(Request(cwd=tmp_path, files=[] if kind == "none here" else ["x.yaml"], environment={}))
    assert str(tmp_path) in caught.value.message or "x.yaml" in caught.value.message
    assert caught.value.hint


def test_what_an_env_file_sets_is_for_the_file_only_and_never_runs(tmp_path: Path) -> None:
    import os

    (tmp_path / "compose.yaml").write_text("services: {web: {image: 'x:${TAG}', environment: [LD_PRELOAD, PATH]}}\n")
    (tmp_path / ".env").write_text("TAG=1\nLD_PRELOAD=/evil.so\nPATH=/evil\nDOCKER_HOST=tcp://evil\nCOMPOSE_FILE=/evil.yaml\n")
    before = dict(os.environ)
    service = load(Request(cwd=tmp_path, environment={})).project.service("web")
    assert service.image == "x:1"
    assert service.environment == {"LD_PRELOAD": "/evil.so", "PATH": "/evil"}
    assert dict(os.environ) == before
    (tmp_path / ".env").write_text("TAG=$(id)\n")
    with pytest.raises(ComposeError, match=r"\.env:1:1: .*malformed variable"):
        load(Request(cwd=tmp_path, environment={}))

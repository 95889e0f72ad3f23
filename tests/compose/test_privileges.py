"""What a project asks for beyond an ordinary container: found, told when the file is somebody else's, refused by the policy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notebook_containers.compose import privileges
from notebook_containers.compose.loading import Request, load
from notebook_containers.compose.model import Project
from notebook_containers.compose.opening import open_project
from notebook_containers.engine.engine import Engine
from notebook_containers.errors import InvalidArgument


def project(body: str, *, policy: str = "", directory: Path = Path("/p"), **environment: str) -> Project:
    text = f"services:\n  web: {{image: x, {body}}}\nvolumes: {{data: }}\n"
    return load(Request(cwd=directory, text=text, policy=policy, environment=environment)).project


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("privileged: true", "services.web.privileged: every right that there is"),
        ("cap_add: [SYS_ADMIN]", "services.web.cap_add: the capability SYS_ADMIN"),
        ("security_opt: ['seccomp=unconfined']", "services.web.security_opt: seccomp=unconfined"),
        ("devices: [/dev/sda]", "services.web.devices: the device /dev/sda"),
        ("device_cgroup_rules: ['a *:* rwm']", "services.web.device_cgroup_rules: devices: a *:* rwm"),
        ("gpus: all", "services.web.gpus: graphics cards"),
        ("pid: host", "services.web.pid: this machine's own"),
        ("ipc: host", "services.web.ipc: this machine's own"),
        ("uts: host", "services.web.uts: this machine's own"),
        ("userns_mode: host", "services.web.userns_mode: this machine's own"),
        ("cgroup: host", "services.web.cgroup: this machine's own"),
        ("network_mode: host", "services.web.network_mode: this machine's own"),
        ("network_mode: 'container:other'", "services.web.network_mode: that of a container of somebody else"),
        ("use_api_socket: true", "services.web.use_api_socket: control of every container"),
        ("volumes: ['/:/host']", "services.web.volumes: /, to write in"),
        ("volumes: ['/etc:/etc:ro']", "services.web.volumes: /etc"),
        ("volumes: ['../other:/x:ro']", "services.web.volumes: /other"),
        ("volumes: ['/var/run/docker.sock:/s']", "services.web.volumes: control of every container, by /var/run/docker.sock"),
        ("sysctls: {net.core.somaxconn: 1}", "services.web.sysctls: net.core.somaxconn"),
        ("post_start: [{command: x, privileged: true}]", "services.web.post_start: a command with every right that there is"),
        ("build: {context: ., network: host}", "services.web.build: a build with more rights"),
    ],
)
def test_what_is_asked_for(body: str, says: str) -> None:
    found = project(body, policy="restricted")
    assert [str(one) for one in privileges.asked(found)] == [says]
    with pytest.raises(InvalidArgument, match="the policy restricted refuses services") as caught:
        privileges.check(found)
    assert says in caught.value.message
    privileges.check(project(body))


@pytest.mark.parametrize(
    "body",
    [
        "volumes: [./here:/x, .:/y, data:/z, /anonymous]",
        "security_opt: ['no-new-privileges:true']",
        "cap_drop: [ALL]",
        "pid: 'service:web2'",
    ],
)
def test_what_is_ordinary(body: str) -> None:
    text = f"services: {{web: {{image: x, {body}}}, web2: {{image: x}}}}\nvolumes: {{data: }}\n"
    found = load(Request(cwd=Path("/p"), text=text, policy="restricted", environment={})).project
    assert privileges.asked(found) == ()
    privileges.check(found)


def test_the_policy_is_taken_from_the_environment_and_never_from_a_file_beside(tmp_path: Path) -> None:
    assert project("tty: true", NBC_COMPOSE_POLICY="restricted").policy == "restricted"
    (tmp_path / ".env").write_text("NBC_COMPOSE_POLICY=none\n")
    assert project("tty: true", directory=tmp_path, NBC_COMPOSE_POLICY="restricted").policy == "restricted"
    assert project("tty: true", directory=tmp_path).policy == ""
    with pytest.raises(InvalidArgument, match="'lax' is no policy"):
        project("tty: true", policy="lax")


@pytest.mark.root
def test_somebody_elses_file_is_told_of_and_ones_own_is_not(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {web: {image: x, privileged: true}}\n")

    def told() -> list[str]:
        return privileges.told(load(Request(cwd=tmp_path, environment={})).project)

    assert told() == []
    os.chown(path, 12345, 12345)
    (line,) = told()
    assert line.startswith("compose.yaml is not yours, and asks for more")
    assert "services.web.privileged" in line
    path.write_text("services: {web: {image: x}}\n")
    assert told() == []


@pytest.mark.root
def test_nothing_is_made_that_the_policy_refuses(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: no-such-image, privileged: true, build: .}}\n")
    found = open_project(engine, directory=tmp_path, policy="restricted", variables={})
    for act in (found.up, found.build, lambda: found.run("web")):
        with pytest.raises(InvalidArgument, match="the policy restricted refuses"):
            act()
    found.down()

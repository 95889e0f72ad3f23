"""What a service's keys do to a running project: conditions, hooks, secrets and configs, health, namespaces, builds, watched files."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from notebook_containers import Engine
from notebook_containers.compose.progress import Told
from notebook_containers.errors import InvalidArgument, RuntimeFailure
from tests.compose.projects import LONG_S, Opener, service, text, wait_for
from tests.home import BASE

pytestmark = [pytest.mark.root, pytest.mark.netns]

CHECK = "healthcheck: {test: 'test -e /ready', interval: 100ms, retries: 100}"


def output(engine: Engine, name: str) -> bytes:
    return engine.containers.get(name).logs()


def test_conditions_are_waited_for_and_their_times_kept(engine: Engine, opener: Opener) -> None:
    db = service("db", "touch /starting; sleep 0.5; touch /ready; exec sleep 1000", CHECK)
    migrate = service("migrate", "echo migrated; sleep 0.3", "depends_on: {db: {condition: service_healthy}}", "network_mode: none")
    web = service(
        "web", "exec sleep 1000", "depends_on: {migrate: {condition: service_completed_successfully}, db: {condition: service_healthy}}"
    )
    project = opener(text(web, migrate, db))
    said: list[Told] = []
    project.up(told=said.append)
    at = {(event.service, event.phase): event.at for event in reversed(said)}  # when each came first
    assert at["db", "healthy"] <= at["migrate", "starting"] <= at["web", "starting"]
    ended = engine.containers.get("shop-migrate-1")
    assert (ended.status, ended.exit_code) == ("exited", 0)
    waits = {(span.service, span.on) for span in project.timeline() if span.doing == "waiting"}
    assert waits == {("migrate", "db"), ("web", "db"), ("web", "migrate")}
    assert any(span.doing == "checking" and span.service == "db" for span in project.timeline())
    project.down()


def test_a_dependency_that_fails_ends_up_and_says_why(engine: Engine, opener: Opener) -> None:
    failing = service("migrate", "echo no table >&2; exit 4", "network_mode: none")
    needed = "depends_on: {migrate: {condition: service_completed_successfully}}"
    with pytest.raises(RuntimeFailure, match=r"dependency of web failed: container shop-migrate-1 exited \(4\)"):
        opener(text(service("web", "exec sleep 1000", needed), failing)).up()
    assert engine.containers.list() == []
    ill = service("db", "exec sleep 1000", "healthcheck: {test: 'echo locked; false', interval: 50ms, retries: 2}", "network_mode: none")
    with pytest.raises(RuntimeFailure, match="unhealthy: locked"):
        opener(text(service("web", "exec sleep 1000", "depends_on: {db: {condition: service_healthy}}"), ill)).up(remove_orphans=True)
    without = opener(text(service("web", "exec sleep 1000", "depends_on: {db: {condition: service_healthy}}"), service("db")))
    with pytest.raises(RuntimeFailure, match="has no health check") as caught:
        without.up()
    assert "service_started" in caught.value.hint
    without.down()


def test_what_is_not_required_is_told_and_passed_over(engine: Engine, opener: Opener) -> None:
    needed = "depends_on: {db: {condition: service_completed_successfully, required: false}}"
    project = opener(text(service("web", "exec sleep 1000", needed), service("db", "exit 1", "network_mode: none")))
    said: list[Told] = []
    project.up(told=said.append)
    assert [event.text for event in said if event.phase == "warning"] == ["goes on without db: container shop-db-1 exited (1)"]
    assert [container.name for container in engine.containers.list()] == ["shop-web-1"]
    project.down()


def test_wait_is_for_health_and_ends_at_its_timeout(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("db", "sleep 0.3; touch /ready; exec sleep 1000", CHECK, "network_mode: none")))
    (container,) = project.up(wait=True)
    assert container.health == "healthy"
    never = opener(text(service("db", "exec sleep 1000", CHECK, "network_mode: none")))
    with pytest.raises(RuntimeFailure, match=r"is not ready: it is running \(starting\)"):
        never.up(wait=True, wait_timeout=0.5)
    never.down()


def test_who_restarts_with_a_dependency(engine: Engine, opener: Opener) -> None:
    needs = "depends_on: {db: {condition: service_started, restart: true}}"
    project = opener(text(service("web", "exec sleep 1000", needs), service("api", "exec sleep 1000", "depends_on: [db]"), service("db")))
    project.up()

    def starts() -> dict[str, float | None]:
        return {container.name: container.state.started_at for container in project.containers()}

    before = starts()
    project.restart(["db"])
    after = starts()
    assert {name for name in after if after[name] != before[name]} == {"shop-db-1", "shop-web-1"}
    changed = text(
        service("web", "exec sleep 1000", needs), service("api", "exec sleep 1000", "depends_on: [db]"), service("db", "exec sleep 1001")
    )
    opener(changed).up()
    again = starts()
    assert {name for name in again if again[name] != after[name]} == {"shop-db-1", "shop-web-1"}
    project.down()


def test_hooks_run_after_the_start_and_before_the_stop(engine: Engine, opener: Opener, tmp_path: Path) -> None:
    hooks = (
        "post_start: [{command: [sh, -c, 'echo started by $$WHO > /out/log'], environment: {WHO: me}}]",
        "pre_stop: [{command: [sh, -c, 'echo stopping >> /out/log']}]",
    )
    project = opener(text(service("web", "exec sleep 1000", "network_mode: none", f"volumes: ['{tmp_path}/out:/out']", *hooks)))
    project.up()
    assert (tmp_path / "out/log").read_text() == "started by me\n"
    project.stop()
    assert (tmp_path / "out/log").read_text() == "started by me\nstopping\n"
    failing = opener(
        text(service("web", "exec sleep 1000", "network_mode: none", "post_start: [{command: [sh, -c, 'echo oh no; exit 3']}]"))
    )
    with pytest.raises(RuntimeFailure, match=r"post_start of shop-web-1 failed: .* exit status 3: oh no"):
        failing.up()
    failing.down()


def test_secrets_and_configs_are_read_only_files(engine: Engine, opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop/token").write_text("from a file\n")
    monkeypatch.setenv("SHOP_TOKEN", "from the environment")
    below = (
        "secrets:\n  file: {file: ./token}\n  variable: {environment: SHOP_TOKEN}\nconfigs:\n  inline: {content: 'written ${HERE:-here}'}\n"
    )
    lines = (
        "network_mode: none",
        "secrets: [file, {source: variable, target: /run/var, uid: '5', gid: '6', mode: 0o440}]",
        "configs: [{source: inline, target: /etc/inline}]",
    )
    project = opener(text(service("web", "exec sleep 1000", *lines), below=below))
    (web,) = project.up()
    assert web.exec_run(["cat", "/run/secrets/file"]).output == b"from a file\n"
    assert web.exec_run(["cat", "/run/var"]).output == b"from the environment"
    assert web.exec_run(["stat", "-c", "%u:%g %a", "/run/var"]).output == b"5:6 440\n"
    assert web.exec_run(["cat", "/etc/inline"]).output == b"written here"
    for path in ("/run/secrets/file", "/run/var", "/etc/inline"):
        assert web.exec_run(["sh", "-c", f"echo x > {path}"]).exit_code != 0, path
    same = project.up()
    assert same[0].id == web.id
    monkeypatch.setenv("SHOP_TOKEN", "another")
    (changed,) = opener(text(service("web", "exec sleep 1000", *lines), below=below)).up()
    assert changed.id != web.id
    assert changed.exec_run(["cat", "/run/var"]).output == b"another"
    granted = engine.root / "compose" / "shop" / "granted"
    assert len(list(granted.iterdir())) == 2, "what no container has is gone"
    project.down()
    assert not granted.exists()
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(InvalidArgument, match="SHOP_TOKEN"):
        opener(text(service("web", "exec sleep 1000", *lines), below=below)).up()
    project.down()


def test_a_secret_is_not_written_through_a_link_of_a_volume(engine: Engine, opener: Opener, tmp_path: Path) -> None:
    """CP-07: a volume that holds a link where a secret is to be leads nowhere on the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    engine.volumes.create("shop_data")
    volume = engine.volumes.get("shop_data")
    (volume.path / "secrets").symlink_to(outside)
    lines = ("network_mode: none", "volumes: ['data:/run']", "secrets: [token]")
    project = opener(text(service("web", "exec sleep 1000", *lines), below="volumes:\n  data:\nsecrets:\n  token: {environment: PATH}\n"))
    try:
        project.up()
    except RuntimeFailure:
        pass  # refusing it is as good
    assert list(outside.iterdir()) == []
    project.down()


def test_namespaces_of_other_services(engine: Engine, opener: Opener) -> None:
    serve = service("db", "echo inside > /index.html; exec busybox httpd -f -p 80 -h /")
    side = service("side", "exec sleep 1000", "network_mode: 'service:db'", "pid: 'service:db'", "volumes_from: [db]")
    project = opener(text(side, serve))
    project.up()
    found = engine.containers.get("shop-side-1")
    wait_for(lambda: found.exec_run(["wget", "-qO-", "http://127.0.0.1/"]).output == b"inside\n")
    first = found.id
    project.up(["db"], force_recreate=True)
    project.up()
    assert engine.containers.get("shop-side-1").id != first, "it was tied to a container that is gone"
    project.down()


def test_external_networks_and_volumes_are_used_and_left(engine: Engine, opener: Opener) -> None:
    below = "networks:\n  out: {name: corp, external: true}\nvolumes:\n  data: {name: theirs, external: true}\n"
    project = opener(text(service("web", "exec sleep 1000", "networks: [out]", "volumes: ['data:/data']"), below=below))
    with pytest.raises(LookupError, match="external network corp is not there"):
        project.up()
    network = engine.networks.create("corp")
    with pytest.raises(LookupError, match="external volume theirs is not there"):
        project.up()
    engine.volumes.create("theirs")
    project.up()
    project.down(volumes=True)
    assert engine.volumes.get("theirs").name == "theirs"
    engine.networks.remove(network.name)


def test_builds_with_every_source(engine: Engine, opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "hidden")
    (tmp_path / "shop/more").mkdir()
    (tmp_path / "shop/more/file").write_text("more\n")
    file = f"""services:
  base:
    build:
      dockerfile_inline: |
        FROM {BASE} AS first
        RUN echo first > /who
        FROM first AS second
        RUN echo second > /who
      target: first
  app:
    network_mode: none
    build:
      dockerfile_inline: |
        FROM lower
        ARG WHO
        COPY --from=extra file /file
        RUN --mount=type=secret,id=token test "$$(cat /run/secrets/token)" = hidden && echo "$$WHO" > /arg
        CMD cat /who /arg /file
      args: {{WHO: me}}
      labels: {{a: b}}
      secrets: [token]
      additional_contexts: {{lower: "service:base", extra: ./more}}
      tags: ["app:other"]
secrets:
  token: {{environment: SHOP_TOKEN}}
"""
    project = opener(file)
    assert project.build() == ["shop-base", "shop-app"]
    assert engine.images.find("app:other").id == engine.images.find("shop-app").id
    assert engine.images.find("shop-app").labels["a"] == "b"
    (app,) = project.up(["app"])
    app.wait()
    assert app.logs() == b"first\nme\nmore\n"
    project.down(rmi="local")
    assert not engine.images.list("shop-app")
    engine.images.remove("app:other")


def test_restart_policies_hold(engine: Engine, opener: Opener) -> None:
    project = opener(text(service("web", "exec sleep 1000", "restart: always", "network_mode: none")))
    (web,) = project.up()
    os.kill(web.state.pid, signal.SIGKILL)

    def back() -> bool:
        web.reload()
        return web.state.restart_count == 1 and web.status == "running"

    wait_for(back)
    project.down()


def test_a_failed_service_leaves_what_is_independent_to_finish(engine: Engine, opener: Opener) -> None:
    began = time.monotonic()
    project = opener(
        text(
            service("broken", "exec sleep 1000", "entrypoint: [/no/such/program]", "network_mode: none"),
            service("web", "exec sleep 1000", "network_mode: none"),
        )
    )
    with pytest.raises(RuntimeFailure, match="/no/such/program"):
        project.up()
    assert time.monotonic() - began < LONG_S
    project.down()
    assert engine.containers.list(all=True) == []

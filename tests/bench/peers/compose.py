"""docker-compose as Debian packages it (1.29, in Python), on the docker daemon of the stage."""

from __future__ import annotations

from pathlib import Path

from tests.bench.peers.tool import Tool


def docker_compose(docker: Tool, place: Path) -> Tool:
    """Give a client of docker's daemon; what rules docker out rules it out too."""
    home = place / "docker"
    found = Tool(
        "docker-compose", environment={"DOCKER_HOST": f"unix://{home}/sock", "DOCKER_CONFIG": str(home), "COMPOSE_HTTP_TIMEOUT": "120"}
    )
    if docker.missing:
        found.rule_out(docker.missing)
    return found

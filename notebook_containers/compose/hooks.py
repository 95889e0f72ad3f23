"""Commands that run in a container right after its start (``post_start``) and before it is stopped (``pre_stop``)."""

from __future__ import annotations

from collections.abc import Sequence

from notebook_containers.compose.labels import Member
from notebook_containers.compose.model import Hook, Service
from notebook_containers.compose.progress import Told
from notebook_containers.compose.site import Site
from notebook_containers.errors import Error, RuntimeFailure


def after_start(service: Service, member: Member) -> None:
    """Run the service's ``post_start`` commands one after the other; raises RuntimeFailure for the first that fails."""
    for hook in service.post_start:
        code, output = run(hook, member)
        if code:
            raise RuntimeFailure(
                f"post_start of {member.name} failed: {' '.join(hook.command)!r} ended with exit status {code}"
                + (f": {output.splitlines()[-1][:200]}" if output else ""),
                hint="the container runs; try the command with nbc compose exec",
            )


def before_stop(site: Site, services: Sequence[Service], member: Member) -> None:
    """Run the ``pre_stop`` commands of the member's service, if it runs; what fails is told, and the container is stopped all the same."""
    hooks = next((service.pre_stop for service in services if service.name == member.service), ())
    if not hooks or member.one_off or member.container.status != "running":
        return
    for hook in hooks:
        try:
            code, _output = run(hook, member)
        except Error as err:
            text = f"pre_stop: {err.message}"
        else:
            text = f"pre_stop: {' '.join(hook.command)!r} ended with exit status {code}" if code else ""
        if text:
            site.tell(Told(kind="container", name=member.name, phase="warning", service=member.service, text=text))


def run(hook: Hook, member: Member) -> tuple[int, str]:
    """Run one command and return its exit status and what it said."""
    done = member.container.exec_run(
        list(hook.command),
        user=hook.user,
        environment={name: value for name, value in hook.environment.items() if value is not None},
        workdir=hook.working_dir or None,
        privileged=hook.privileged,
    )
    return done.exit_code or 0, done.output.decode("utf-8", "replace").strip()

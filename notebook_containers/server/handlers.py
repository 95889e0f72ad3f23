"""The handlers: each reads its request, asks the engine once, and answers in the Docker Engine API's shape.

Every verb is authenticated and authorized (resource ``containers``: GET needs read, the others write), protected against
cross-site requests by Jupyter's own check, and answers an error with ``{"message", "hint"}`` and the status of
:mod:`notebook_containers.server.status`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.server import shapes
from notebook_containers.server.status import status_of

if TYPE_CHECKING:
    from notebook_containers import Engine
    from notebook_containers.server.shared import SharedEngine

Verb = Callable[..., Awaitable[None] | None]

# What an id, a name or a reference may consist of; the engine checks the grammar, this keeps out separators and control characters.
CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", re.ASCII)
IMAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:@-]|/(?![./])){0,1023}", re.ASCII)
_PROXY = "jupyter_server_proxy"
FALSE = frozenset({"", "0", "no", "false", "none"})
MAX_GRACE_S = 3600
TAIL, MAX_TAIL = 1000, 100_000


def guarded(verb: Verb) -> Verb:
    """Refuse a request without a user (403), and one whose user may not do this to containers (403)."""
    checked: Verb = authorized(verb)
    return web.authenticated(checked)


class EngineHandler(APIHandler):  # type: ignore[misc]  # jupyter_server has no types
    """What all handlers share: the engine, query arguments, and errors as JSON."""

    auth_resource = "containers"

    def initialize(self, shared: SharedEngine) -> None:
        """Keep the engine of this server."""
        self.shared = shared

    @property
    def proxied(self) -> bool:
        """Whether this server shows what listens on this machine's ports (jupyter-server-proxy)."""
        known = self.serverapp.extension_manager.extensions.get(_PROXY)
        return known is not None and bool(known.enabled)

    async def answer(self, work: Callable[[Engine], object]) -> None:
        """Send what ``work`` returns: nothing for None (204), plain text for bytes, else JSON."""
        result = await self.shared.call(work)
        if result is None:
            self.set_status(HTTPStatus.NO_CONTENT)
            self.finish()
        elif isinstance(result, bytes):
            self.finish(result, set_content_type="text/plain; charset=utf-8")
        else:
            self.finish(json.dumps(result))

    def flag(self, name: str) -> bool:
        """Return a query argument as Docker reads a boolean; absent is false."""
        return self.get_query_argument(name, "").lower() not in FALSE

    def number(self, name: str, maximum: int) -> int | None:
        """Return a query argument as a whole number from 0 to ``maximum``; None when it is absent."""
        text = self.get_query_argument(name, None)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) > maximum:
            raise InvalidArgument(f"{name} is {shapes.quoted(text)}", hint=f"give a whole number from 0 to {maximum}")
        return int(text)

    def log_exception(self, typ: object, value: object, tb: object) -> None:
        """Log the engine's own errors as one line: they are answers, not accidents."""
        if isinstance(value, Error):
            self.log.info("notebook_containers: %s %s: %s", self.request.method, self.request.path, value.one_line())
        else:
            super().log_exception(typ, value, tb)

    def send_error(self, status_code: int = 500, **kwargs: object) -> None:
        """Answer with the status that belongs to the engine's error."""
        info = kwargs.get("exc_info")
        if isinstance(info, tuple) and isinstance(info[1], Error):
            status_code = status_of(info[1])
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Write ``{"message", "hint"}``; an unforeseen exception says only its status."""
        info = kwargs.get("exc_info")
        error = info[1] if isinstance(info, tuple) else None
        message, hint = HTTPStatus(status_code).phrase.lower(), ""
        if isinstance(error, Error):
            message, hint = error.message, error.hint
        elif isinstance(error, web.HTTPError):
            message = error.log_message or message
        else:
            hint = "the server's log has the details"
        self.finish(json.dumps({"message": message, "hint": hint}))


def container_name(text: str) -> str:
    """Return the text when it can be a container's name or id."""
    if not CONTAINER.fullmatch(text):
        raise InvalidArgument(f"{shapes.quoted(text)} is not a container's name or id")
    return text


def image_name(text: str) -> str:
    """Return the text when it can be an image's name, id or digest."""
    if not IMAGE.fullmatch(text):
        raise InvalidArgument(f"{shapes.quoted(text)} is not an image's name or id")
    return text


class ContainersHandler(EngineHandler):
    """``GET containers/json?all=1``."""

    @guarded
    async def get(self) -> None:
        """List containers, the newest first; without ``all`` only running ones."""
        everything = self.flag("all")
        proxied = self.proxied
        await self.answer(lambda engine: [shapes.container_row(each, proxied=proxied) for each in engine.containers.list(all=everything)])


class ContainerInspectHandler(EngineHandler):
    """``GET containers/<id>/json``."""

    @guarded
    async def get(self, name: str) -> None:
        """Show one container."""
        name = container_name(name)
        await self.answer(lambda engine: engine.containers.get(name).attrs)


class ContainerLogsHandler(EngineHandler):
    """``GET containers/<id>/logs?tail=N``."""

    @guarded
    async def get(self, name: str) -> None:
        """Send the last ``tail`` lines (1000 unless told) of the container's output as it was written."""
        name, tail = container_name(name), self.number("tail", MAX_TAIL)
        await self.answer(lambda engine: engine.containers.get(name).logs(tail=TAIL if tail is None else tail))


class ContainerStartHandler(EngineHandler):
    """``POST containers/<id>/start``."""

    @guarded
    async def post(self, name: str) -> None:
        """Start it."""
        name = container_name(name)
        await self.answer(lambda engine: engine.containers.get(name).start())


class ContainerStopHandler(EngineHandler):
    """``POST containers/<id>/stop?t=SECONDS``."""

    @guarded
    async def post(self, name: str) -> None:
        """Ask it to end, and kill it after ``t`` seconds (unless told, as it was made to)."""
        name, grace_s = container_name(name), self.number("t", MAX_GRACE_S)
        await self.answer(lambda engine: engine.containers.get(name).stop(timeout=grace_s))


class ContainerRestartHandler(EngineHandler):
    """``POST containers/<id>/restart``."""

    @guarded
    async def post(self, name: str) -> None:
        """Stop it and start it."""
        name = container_name(name)
        await self.answer(lambda engine: engine.containers.get(name).restart())


class ContainerHandler(EngineHandler):
    """``DELETE containers/<id>?force=1&v=1``."""

    @guarded
    async def delete(self, name: str) -> None:
        """Remove it, a running one only with ``force``; ``v`` takes its anonymous volumes along."""
        name, force, volumes = container_name(name), self.flag("force"), self.flag("v")
        await self.answer(lambda engine: engine.containers.get(name).remove(force=force, v=volumes))


class ImagesHandler(EngineHandler):
    """``GET images/json``."""

    @guarded
    async def get(self) -> None:
        """List images."""
        await self.answer(lambda engine: [shapes.image_row(each) for each in engine.images.list()])


class ImageHandler(EngineHandler):
    """``DELETE images/<name>?force=1``."""

    @guarded
    async def delete(self, name: str) -> None:
        """Take the name away, and the image with its last name."""
        name, force = image_name(name), self.flag("force")
        await self.answer(lambda engine: engine.images.remove(name, force=force))


class InfoHandler(EngineHandler):
    """``GET info``."""

    @guarded
    async def get(self) -> None:
        """Show what the engine can do here."""
        await self.answer(lambda engine: engine.info())


class VersionHandler(EngineHandler):
    """``GET version``."""

    @guarded
    async def get(self) -> None:
        """Show the versions."""
        await self.answer(lambda engine: engine.version())


ROUTES: tuple[tuple[str, type[EngineHandler]], ...] = (
    (r"containers/json", ContainersHandler),
    (r"containers/([^/]+)/json", ContainerInspectHandler),
    (r"containers/([^/]+)/logs", ContainerLogsHandler),
    (r"containers/([^/]+)/start", ContainerStartHandler),
    (r"containers/([^/]+)/stop", ContainerStopHandler),
    (r"containers/([^/]+)/restart", ContainerRestartHandler),
    (r"containers/([^/]+)", ContainerHandler),
    (r"images/json", ImagesHandler),
    (r"images/(.+)", ImageHandler),
    (r"info", InfoHandler),
    (r"version", VersionHandler),
)

"""The door of the language: compose files, variables and options in, the typed project and its explained tree out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.compose import finding, ignored, model, privileges, reading, references, resolving, services
from notebook_containers.compose.documents import Reading, Scope, Source, read_all
from notebook_containers.compose.interpolation import Named, fill_tree, named
from notebook_containers.compose.nodes import Node, leaves, member
from notebook_containers.compose.variables import Layer, Variables
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.compose.remote import Remotes

NAME_VARIABLE = "COMPOSE_PROJECT_NAME"
_POLICY = "NBC_COMPOSE_POLICY"
_FILES, _SEPARATOR, _PROFILES, _ENV_FILES, _NO_ENV = (
    "COMPOSE_FILE",
    "COMPOSE_PATH_SEPARATOR",
    "COMPOSE_PROFILES",
    "COMPOSE_ENV_FILES",
    "COMPOSE_DISABLE_ENV_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to load. Everything has Compose's defaults.

    ``text`` is a file's text in place of files (a cell); ``files`` are paths, relative to ``cwd``, "-" is ``stdin``. ``directory`` is
    where relative paths start (that of the first file). ``environment`` is the process's own when None. ``profiles`` "*" is every one.
    ``filled`` False leaves variables as they stand; ``absolute`` False leaves paths as they stand; ``consistent`` False lets parts say
    of others what is not so; ``remotes`` allows files from elsewhere; the ``policy`` "restricted" (or NBC_COMPOSE_POLICY) refuses what is
    no ordinary container; ``everything`` keeps networks, volumes, secrets and configs that no active service uses. ``normalised`` False
    shows nothing that the files do not say; ``env_files_read`` False leaves ``env_file`` and the names in ``environment`` as they stand.
    """

    cwd: Path
    text: str | None = None
    files: Sequence[str | Path] = ()
    stdin: str = ""
    directory: Path | None = None
    name: str = ""
    profiles: Sequence[str] = ()
    env_files: Sequence[str | Path] = ()
    environment: Mapping[str, str] | None = None
    filled: bool = True
    absolute: bool = True
    consistent: bool = True
    policy: str = ""
    remotes: Remotes | None = None
    everything: bool = False
    normalised: bool = True
    env_files_read: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A project as it is run (``project``) and as it is shown (``tree``, resolved, with each value's origin)."""

    project: model.Project
    tree: Node
    variables: Variables
    texts: tuple[Node, ...] = ()

    def named_variables(self) -> list[Named]:
        """Return the variables that the project's own files name, in the order of their names."""
        found: dict[str, Named] = {}
        for document in self.texts:
            for _path, node in leaves(document):
                for one in named(node.value) if isinstance(node.value, str) else ():
                    found[one.name] = one.also(found.get(one.name))
        return [found[name] for name in sorted(found)]


def load(request: Request) -> Loaded:
    """Return the project; raises ComposeError at the place of what is wrong, InvalidArgument for files that cannot be read.

    Nothing is run, nothing is fetched, and this process's environment is only read: a ``.env`` beside a file from elsewhere sets variables
    for that file and nothing else.
    """
    outside = _outside(request)
    files = _named_files(request, outside)
    directory = _directory(request, files)
    known = _with_env_files(request, outside, directory)
    project = Reading(directory=directory, filled=request.filled, absolute=request.absolute, remotes=request.remotes)
    sources = _sources(request, project, files)
    project.own_files += [source.path for source in sources if source.path]
    name = _project_name(request, project, sources, known)
    variables = known.after(Layer(source="the project's name", values={NAME_VARIABLE: name}))
    merged = read_all(project, sources, Scope(directory=directory, variables=variables))
    resolver = resolving.Resolver(project, variables, name, environments=request.env_files_read)
    tree = resolver.whole(merged)
    if request.filled and request.consistent:
        references.check(tree)
    made = _project(request, tree, project, variables, [*ignored.notes(_with_version(tree, merged)), *_unset(tree)])
    texts = tuple(document for source in sources for document in project.documents(source))
    return Loaded(project=made, tree=tree if request.normalised else resolver.as_written(merged), variables=variables, texts=texts)


def _outside(request: Request) -> Variables:
    """Return the variables of the process: a file beside the project sets none of what decides for us."""
    return Variables([Layer(source="environment", values=os.environ if request.environment is None else request.environment)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A file of the project: None for a text that is no file; ``within`` is set for one from elsewhere."""

    path: Path | None
    within: Path | None = None


def _named_files(request: Request, outside: Variables) -> tuple[_Named, ...]:
    """Return the files: named ones, those of COMPOSE_FILE, or those that lie here."""
    if request.text is not None:
        return (_Named(path=None),)
    given: Sequence[str | Path] = request.files
    if not given and (listed := outside.get(_FILES)):
        given = [word for word in listed.split(outside.get(_SEPARATOR) or os.pathsep) if word]
    if not given:
        return tuple(_Named(path=path) for path in finding.found((request.directory or request.cwd).absolute()))
    return tuple(one for word in given for one in _of_word(request, word))


def _of_word(request: Request, word: str | Path) -> Iterator[_Named]:
    if str(word) == "-":
        yield _Named(path=None)
    elif not finding.is_remote(str(word)):
        yield _Named(path=_absolute(request.cwd, word))
    elif request.remotes is None:
        finding.refuse_remote(str(word))
    else:
        found = request.remotes.fetch(str(word))
        yield from (_Named(path=path, within=found.within) for path in found.files)


def _absolute(cwd: Path, word: str | Path) -> Path:
    return Path(os.path.normpath(cwd.absolute() / os.path.expanduser(word)))


def _directory(request: Request, files: Sequence[_Named]) -> Path:
    first = files[0].path.parent if files[0].path else request.cwd
    return _absolute(request.cwd, request.directory or first)


def _with_env_files(request: Request, outside: Variables, directory: Path) -> Variables:
    """Return the variables with those of --env-file (the last one wins) or of .env behind them."""
    given: Sequence[str | Path] = request.env_files or [word for word in (outside.get(_ENV_FILES) or "").split(",") if word]
    if not given:
        disabled = (outside.get(_NO_ENV) or "").lower() in ("1", "true", "yes", "on")
        layer = None if disabled else finding.dot_env(directory, outside)
        return outside.before(layer) if layer else outside
    layers: list[Layer] = []
    for word in given:
        path = _absolute(request.cwd, word)
        layers.insert(0, finding.env_layer(path, name=finding.shown(path, directory), variables=outside.before(*layers)))
    return outside.before(*layers)


def _sources(request: Request, project: Reading, files: Sequence[_Named]) -> list[Source]:
    if request.text is not None:
        return [Source(name="compose cell", text=request.text)]
    stdin = Source(name="<stdin>", text=request.stdin)
    return [project.source(file.path, file.within) if file.path else stdin for file in files]


def _project_name(request: Request, project: Reading, sources: Sequence[Source], variables: Variables) -> str:
    """Return the name: given, of COMPOSE_PROJECT_NAME, of the last file that has one, or the directory's."""
    given = request.name or variables.get(NAME_VARIABLE)
    if given:
        return _checked(given)
    for source in reversed(sources):
        for document in reversed(project.documents(source)):
            node = member(document, "name")
            if node is None or not node.text():
                continue
            filled = fill_tree(node, variables, "name") if request.filled else node
            try:
                return filled.text() if "$" in filled.text() else _checked(filled.text())
            except InvalidArgument as err:
                raise filled.error("name", err.message, hint=err.hint) from err
    return normal_name(project.directory.name)


def _checked(name: str) -> str:
    if normal_name(name) != name:
        raise InvalidArgument(f"{name[:80]!r} is no project's name", hint=f"lower-case letters, digits, - and _; as {normal_name(name)!r}")
    return name


def normal_name(text: str) -> str:
    """Return a project's name out of any text: lower-case letters, digits, dashes and underscores, a letter or digit first."""
    kept = "".join(ch for ch in text.lower() if ch.isascii() and (ch.isalnum() or ch in "_-"))
    return kept.lstrip("_-") or "default"


def _with_version(tree: Node, merged: Node) -> Node:
    version = member(merged, "version")
    return tree.with_value({**tree.fields, "version": version}) if version else tree


def _unset(tree: Node) -> list[str]:
    """Return one note for each variable that nobody sets and that has no default."""
    found: dict[str, str] = {}
    for _path, node in leaves(tree):
        for use in node.place.uses:
            if use.value is None and node.value is not None:
                place = node.place
                found.setdefault(use.name, f"{place.text.name}:{place.line}: the variable {use.name} is not set: an empty text stands in")
    return list(found.values())


def _project(request: Request, tree: Node, project: Reading, variables: Variables, notes: Sequence[str]) -> model.Project:
    everyone = [services.service(name, node) for name, node in tree.fields["services"].fields.items()] if request.filled else []
    active = {*request.profiles, *(word.strip() for word in (variables.get(_PROFILES) or "").split(",") if word.strip())}
    ordered = model.in_order(everyone)
    on = tuple(one for one in ordered if model.is_active(one, active))
    off = tuple(one for one in ordered if not model.is_active(one, active))
    if request.consistent:
        _check_active(tree, on, off)
    wanted = used(on)
    kept = {section: _kept(tree, section, None if request.everything else names) for section, names in wanted.items()}
    return model.Project(
        name=tree.fields["name"].text(),
        services=on,
        disabled=off,
        directory=str(project.directory),
        files=tuple(str(path) for path in project.own_files),
        profiles=tuple(sorted(active)),
        networks={key: reading.network(key, node) for key, node in kept["networks"].items()},
        volumes={key: reading.volume(key, node) for key, node in kept["volumes"].items()},
        secrets={key: reading.secret(key, node, variables.get) for key, node in kept["secrets"].items()},
        configs={key: reading.secret(key, node, variables.get) for key, node in kept["configs"].items()},
        models={key: reading.language_model(node) for key, node in (member(tree, "models") or tree.with_value({})).fields.items()},
        environment=variables.values(),
        notes=tuple(notes),
        policy=privileges.checked(request.policy or _outside(request).get(_POLICY) or ""),
    )


def used(services: Iterable[model.Service]) -> dict[str, set[str]]:
    """Return the keys of the networks, volumes, secrets and configs that services use."""
    found: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set(), "configs": set()}
    for service in services:
        found["networks"].update(service.networks)
        found["volumes"].update(mount.source for mount in service.volumes if mount.type == "volume")
        found["secrets"].update(grant.source for grant in (*service.secrets, *(service.build.secrets if service.build else ())))
        found["configs"].update(grant.source for grant in service.configs)
    return found


def _kept(tree: Node, section: str, wanted: set[str] | None) -> dict[str, Node]:
    """Return the entries of a section that are wanted, every one for None."""
    return {key: node for key, node in tree.fields[section].fields.items() if wanted is None or key in wanted}


def _check_active(tree: Node, on: Iterable[model.Service], off: Iterable[model.Service]) -> None:
    """Raise ComposeError when an active service needs one whose profile is not active."""
    asleep = {service.name: service for service in off}
    for service in on:
        for name, dependency in service.depends_on.items():
            if name in asleep and dependency.required:
                node = member(tree, "services", service.name, "depends_on", name)
                profile = asleep[name].profiles[0]
                path = f"services.{service.name}.depends_on.{name}"
                message = f"{name!r} takes part only with the profile {profile!r}, which is not active"
                raise (node or tree).error(path, message, hint=f"--profile {profile}, or required: false")

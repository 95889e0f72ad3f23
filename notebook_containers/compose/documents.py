"""One compose file's text to one canonical tree: variables filled in, checked, ``include`` and ``extends`` worked in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.compose import finding, keys, merging, yamltext
from notebook_containers.compose.finding import Artifact
from notebook_containers.compose.interpolation import fill_tree
from notebook_containers.compose.nodes import Fields, Node, joined, member, near, plain, with_fields
from notebook_containers.compose.shapes import Setting
from notebook_containers.compose.variables import Variables
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.lean import dataclass, field, replace

if TYPE_CHECKING:
    from notebook_containers.compose.remote import Remotes

_MOST_FILES = 200
_SHARED = ("services", "networks", "volumes", "secrets", "configs", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A text to read: ``path`` is None for one that is no file (a cell, standard input); ``within`` is set for one from elsewhere."""

    name: str
    text: str
    path: Path | None = None
    within: Path | None = None

    @property
    def directory(self) -> Path | None:
        """Where the file lies."""
        return self.path.parent if self.path else None


@dataclass(slots=True, kw_only=True)
class Reading:
    """One project being read: its directory for names told, its own files and all that take part, and whether variables are filled in."""

    directory: Path
    filled: bool = True
    absolute: bool = True
    remotes: Remotes | None = None
    own_files: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    _parsed: dict[Path, list[Node]] = field(default_factory=dict)

    def source(self, path: Path, within: Path | None = None) -> Source:
        """Read one more file; raises InvalidArgument when it cannot be read or there are too many."""
        if path not in self.files:
            self.files.append(path)
        if len(self.files) > _MOST_FILES:
            raise InvalidArgument(f"the project is made of more than {_MOST_FILES} files", hint="does something include itself?")
        return Source(name=finding.shown(path, self.directory), text=finding.read_text(path), path=path, within=within)

    def setting(self, directory: Path, within: Path | None) -> Setting:
        """Return what reading a file depends on."""
        return Setting(directory=directory if self.absolute or within else None, filled=self.filled, within=within)

    def located(self, word: str, directory: Path, within: Path | None) -> Artifact:
        """Return the file that a word names on this machine, or what it names elsewhere where that is allowed; raises InvalidArgument."""
        if finding.is_remote(word):
            if self.remotes is None:
                finding.refuse_remote(word)
            else:
                return self.remotes.fetch(word)
        path = Path(Setting(directory=directory, within=within).absolute(word))
        return Artifact(directory=within or path.parent, files=(path,), local=within is None)

    def documents(self, source: Source) -> list[Node]:
        """Parse a text; a file that was parsed is not parsed again."""
        known = self._parsed.get(source.path) if source.path else None
        found = known if known is not None else yamltext.parse(source.text, name=source.name, path=str(source.path or ""))
        if source.path:
            self._parsed[source.path] = found
        return found

    def filled_in(self, node: Node, variables: Variables, path: str = "") -> Node:
        """Fill variables in, unless they are to stay."""
        return fill_tree(node, variables, path) if self.filled else node


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Where a service that extends another stands: its file's directory, and what its paths must not leave."""

    directory: Path
    within: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a file is read: its directory, its variables, and the files that include it, outermost first."""

    directory: Path
    variables: Variables
    above: tuple[Path, ...] = ()


def read_all(reading: Reading, sources: Sequence[Source], scope: Scope) -> Node:
    """Return the tree of several files, each laid over those before it; ``!reset`` marks are settled."""
    found: Node | None = None
    for source in sources:
        for document in reading.documents(source):
            tree = _document(reading, source, document, scope, found)
            found = tree if found is None else merging.merged(found, tree)
    if found is None:
        raise InvalidArgument("a project needs a compose file")
    return merging.once(merging.settled(found))


def _document(reading: Reading, source: Source, document: Node, scope: Scope, before: Node | None) -> Node:
    filled = reading.filled_in(document, scope.variables)
    own = keys.DOCUMENT(reading.setting(scope.directory, source.within), filled, "")
    extended = _Extending(reading, source, own, scope, before).all()
    includes = member(own, "include")
    rest = extended.with_value({key: node for key, node in extended.fields.items() if key != "include"})
    including = _Including(reading, source, scope)
    for index, include in enumerate(includes.items if includes else []):
        rest = including.laid_under(rest, include, f"include[{index}]")
    return rest


class _Including:
    """Brings what other files define into a document."""

    def __init__(self, reading: Reading, source: Source, scope: Scope) -> None:
        self._reading, self._source, self._scope = reading, source, scope

    def laid_under(self, tree: Node, include: Node, path: str) -> Node:
        """Return the tree with what the included files define; a definition of ours must be the same one."""
        brought = self._tree(include, path)
        changed: Fields = {}
        for section in _SHARED:
            theirs, ours = member(brought, section), member(tree, section)
            if theirs is None:
                continue
            for name, node in theirs.fields.items():
                known = member(tree, section, name)
                if known is not None and plain(known) != plain(node):
                    where = f"{node.place.text.name}:{(node.key or node.place).line}"
                    message = f"the included file defines it too, otherwise: {where}"
                    raise known.key_error(joined(section, name), message, hint="rename one of them")
            changed[section] = (ours or theirs).with_value({**theirs.fields, **(ours.fields if ours else {})})
        return with_fields(tree, changed)

    def _tree(self, include: Node, path: str) -> Node:
        given = member(include, "path")
        if given is None or not given.items:
            raise include.place.error(path, "an include needs path:")
        found = [self._located(node, f"{path}.path") for node in given.items]
        self._check_cycle(include, [file for one in found for file in one.files], path)
        own = member(include, "project_directory")
        directory = Path(own.text()) if own else found[0].files[0].parent
        try:
            variables = self._variables(include, directory)
            sources = [self._reading.source(file, one.within) for one in found for file in one.files]
        except InvalidArgument as err:
            raise _at(include, path, err) from err
        return read_all(self._reading, sources, Scope(directory=directory, variables=variables, above=self._above))

    def _located(self, node: Node, path: str) -> Artifact:
        return _located(self._reading, node, self._scope.directory, path, self._source.within)

    @property
    def _above(self) -> tuple[Path, ...]:
        return (*self._scope.above, *([self._source.path] if self._source.path else ()))

    def _check_cycle(self, include: Node, paths: Sequence[Path], path: str) -> None:
        for one in paths:
            if one in self._above:
                chain = " -> ".join(finding.shown(p, self._reading.directory) for p in (*self._above, one))
                raise include.error(path, f"the includes form a cycle: {chain}")

    def _variables(self, include: Node, directory: Path) -> Variables:
        """Return the variables that included files are filled with: ours win over those of their own files."""
        given, found = member(include, "env_file"), self._scope.variables
        if given is None and directory == self._reading.directory:
            return found  # its .env is among ours, or --env-file stands in its place
        files = [Path(node.text()) for node in reversed(given.items)] if given else [directory / ".env"]
        for file in files if given or files[0].is_file() else ():
            name = finding.shown(file, self._reading.directory)
            found = found.before(finding.env_layer(file, name=name, variables=found))
        return found


def _located(reading: Reading, node: Node, directory: Path, path: str, within: Path | None) -> Artifact:
    """Return the file or files that a word of another file names; raises ComposeError there."""
    try:
        return reading.located(node.text(), directory, within)
    except Error as err:
        raise node.error(path, err.message, hint=err.hint) from err


def _at(node: Node, path: str, err: Error) -> Error:
    """Return an error of reading another file as one at the place that names the file; one with a place of its own stays."""
    return err if getattr(err, "line", 0) else node.error(path, err.message, hint=err.hint)


class _Extending:
    """Works ``extends`` into a document's services."""

    def __init__(self, reading: Reading, source: Source, document: Node, scope: Scope, before: Node | None) -> None:
        self._reading, self._source, self._document, self._scope, self._before = reading, source, document, scope, before

    def all(self) -> Node:
        """Return the document with every service whole."""
        services = member(self._document, "services")
        if services is None or services.mark == "reset":
            return self._document
        place = self._source.path or Path(self._source.name)
        here = Around(directory=self._scope.directory, within=self._source.within)
        found = {name: self._whole(node, (place, name), here, ()) for name, node in services.fields.items()}
        return with_fields(self._document, {"services": services.with_value(found)})

    def _whole(self, service: Node, me: tuple[Path, str], around: Around, chain: tuple[tuple[Path, str], ...]) -> Node:
        extends = member(service, "extends")
        if extends is None or extends.mark == "reset":
            return service
        path = f"services.{me[1]}.extends"
        if me in chain or len(chain) > _MOST_FILES:
            told = " -> ".join(f"{finding.shown(file, self._reading.directory)}:{name}" for file, name in (*chain, me))
            raise extends.error(path, f"services extend each other in a circle: {told}")
        name, file = extends.fields["service"].text(), extends.fields.get("file")
        own = service.with_value({key: node for key, node in service.fields.items() if key != "extends"})
        if file is None:
            base, place = self._beside(extends, (me[0], name), around, path), me[0]
        else:
            found = _located(self._reading, file, around.directory, f"{path}.file", around.within)
            place = found.files[0]
            around = Around(directory=place.parent, within=found.within)
            base = self._elsewhere(extends, (place, name), around, path)
        return merging.merged(self._whole(base, (place, name), around, (*chain, me)), replace(own, mark=""))

    def _beside(self, extends: Node, wanted: tuple[Path, str], around: Around, path: str) -> Node:
        """Return a service of the same file, else one of the files before it."""
        place, name = wanted
        if place not in (self._source.path, Path(self._source.name)):
            return self._elsewhere(extends, wanted, around, path)
        known = member(self._document, "services", name) or (member(self._before, "services", name) if self._before else None)
        if known is None:
            services = member(self._document, "services")
            raise extends.error(path, f"there is no service {name!r} to extend", hint=near(name, services.fields if services else ()))
        return known

    def _elsewhere(self, extends: Node, wanted: tuple[Path, str], around: Around, path: str) -> Node:
        """Return one service of another file; the rest of that file is not looked into."""
        file, name = wanted
        try:
            documents = self._reading.documents(self._reading.source(file))
        except InvalidArgument as err:
            raise _at(extends, path, err) from err
        for document in reversed(documents):
            raw = member(document, "services", name)
            if raw is not None:
                where = f"services.{name}"
                filled = self._reading.filled_in(raw, self._scope.variables, where)
                return keys.ONE_SERVICE(self._reading.setting(file.parent, around.within), filled, where)
        services = member(documents[-1], "services") if documents else None
        hint = near(name, services.fields if services else ())
        shown = finding.shown(file, self._reading.directory)
        raise extends.error(path, f"there is no service {name!r} in {shown}", hint=hint)

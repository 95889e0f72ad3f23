"""A stage's instructions become steps: variables replaced, the image's config carried along (pure).

Within one instruction every variable has the value it had before it (Dockerfile reference, "Environment replacement").
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Mapping

from notebook_containers.build import instructions as ins, plan as steps, wording
from notebook_containers.build.excluding import exclude_rules
from notebook_containers.build.findings import Finding
from notebook_containers.build.locations import Location, Repository, WrongLocation, remote
from notebook_containers.build.parser import Heredoc, Node
from notebook_containers.build.run_mounts import expand_mount
from notebook_containers.build.signals import is_signal
from notebook_containers.build.stages import Origin
from notebook_containers.build.words import Expansion, Word, WordError, expand, expand_heredoc
from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.image import ContainerConfig
from notebook_containers.store import modes

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
SCRIPT_DIRECTORY = "/dev/pipes"

_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXY_ARGUMENTS = frozenset((*_PROXY, *(name.lower() for name in _PROXY)))
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z", re.IGNORECASE)
_MAPPED = re.compile(r"(?:[\d.]+:|\[[0-9a-fA-F:]+\]:)?[\d-]*:([\d-]+(?:/\w+)?)\Z")
_SECRET = re.compile(r"(?:^|_)(?:APIKEY|AUTH|CREDENTIALS?|KEY|PASSWORD|PASSWD|PWORD|SECRET|TOKEN)(?:_|\Z)", re.IGNORECASE)
_NAMED = re.compile(r"\$\{?([A-Za-z_]\w*)", re.ASCII)
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}\Z")
_CHECKSUM = re.compile(r"sha256:[0-9a-fA-F]{64}\Z")


@dataclass(slots=True, kw_only=True)
class Scope:
    """What a stage knows while its instructions are read; it is changed from one to the next.

    ``arguments`` are the ARGs declared so far, ``outer`` those before the first FROM, ``given`` the caller's.
    """

    config: ContainerConfig
    author: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    outer: Mapping[str, str]
    given: Mapping[str, str]
    cmd_given: bool = False
    findings: list[Finding] = field(default_factory=list)
    workdir_given: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The ENV values by name."""
        return dict(entry.partition("=")[::2] for entry in self.config.env)

    @property
    def variables(self) -> dict[str, str]:
        """All variables; ENV wins over ARG."""
        return {**self.arguments, **self.environment}


def expand_step(instruction: ins.Instruction, scope: Scope, origins: Mapping[tuple[int, str], Origin]) -> steps.Step:
    """Turn one instruction into a step and carry its effect into ``scope``; raises DockerfileError at the word that is wrong."""
    arguments = _arguments(instruction, scope)
    operation, created_by = _Expander(instruction.node, scope, origins).do(instruction)
    return steps.Step(
        node=instruction.node, line=instruction.line, text=wording.one_line(instruction.text), operation=operation,
        created_by=created_by, config=scope.config, author=scope.author, arguments=arguments,
    )  # fmt: skip


def _arguments(instruction: ins.Instruction, scope: Scope) -> Mapping[str, str]:
    """Return the ARGs that an instruction depends on: those in the environment of RUN, or else those it names."""
    if not scope.arguments:
        return {}
    hidden = PROXY_ARGUMENTS.union(scope.environment)
    seen = {name: value for name, value in scope.arguments.items() if name not in hidden}
    if isinstance(instruction, ins.Run):
        return seen
    named = set(_NAMED.findall(instruction.text))
    return {name: value for name, value in seen.items() if name in named}


_Done = tuple["steps.Operation | None", str]


class _Expander:
    """Expands one instruction; ``variables`` are frozen at its start."""

    def __init__(self, node: Node, scope: Scope, origins: Mapping[tuple[int, str], Origin]) -> None:
        self.node, self.scope, self.origins = node, scope, origins
        self.variables = scope.variables

    def do(self, instruction: ins.Instruction) -> _Done:
        match instruction:
            case ins.Run():
                return self._run(instruction)
            case ins.Copy():
                return self._copy(instruction)
            case ins.Workdir():
                return self._workdir(instruction)
            case ins.Env():
                return None, self._env(instruction)
            case ins.Arg():
                return None, self._arg(instruction)
            case ins.Label():
                return None, self._label(instruction)
            case ins.Cmd() | ins.Entrypoint():
                return None, self._start_command(instruction)
            case ins.Expose():
                return None, self._expose(instruction)
            case ins.Volume():
                return None, self._volume(instruction)
            case _:
                return None, self._rest(instruction)

    def _rest(self, instruction: ins.Instruction) -> str:
        scope = self.scope
        match instruction:
            case ins.User():
                scope.config = replace(scope.config, user=self._word(instruction.user, "USER"))
                return f"USER {scope.config.user}"
            case ins.StopSignal():
                return self._stop_signal(instruction)
            case ins.Shell():
                scope.config = replace(scope.config, shell=instruction.args)
                return f"SHELL {wording.go_list(instruction.args)}"
            case ins.Maintainer():
                scope.author = instruction.name
                self._warn("MaintainerDeprecated", "MAINTAINER is deprecated: use LABEL org.opencontainers.image.authors=…")
                return f"MAINTAINER {instruction.name}"
            case ins.HealthCheck():
                scope.config = replace(scope.config, healthcheck=instruction.health)
                return wording.health_check(instruction.health)
            case ins.OnBuild():
                scope.config = replace(scope.config, on_build=(*scope.config.on_build, instruction.expression))
                return f"ONBUILD {instruction.expression}"
        raise TypeError(type(instruction).__name__)

    # words

    def _warn(self, rule: str, text: str) -> None:
        self.scope.findings.append(Finding(line=self.node.line, message=text, rule=rule))

    def _expand(self, text: str, offset: int) -> Expansion:
        try:
            result = expand(text, self.variables, escape=self.node.escape)
        except WordError as err:
            raise self.node.error(err.message, offset=offset + err.offset, length=err.length, hint=err.hint) from err
        for name in result.unset:
            if name != "PATH":
                self._warn("UndefinedVar", self._unset(name))
        return result

    def _unset(self, name: str) -> str:
        near = difflib.get_close_matches(name, [*self.variables, *self.scope.outer], n=1)
        return f"the variable ${name} is not set" + (f"; did you mean ${near[0]}?" if near else "")

    def _word(self, word: Word, what: str) -> str:
        text = self._expand(word.text, word.offset).text
        if not text:
            raise self.node.error(f"{what} is empty once its variables are replaced", offset=word.offset, length=len(word.text))
        return text

    def _flag(self, name: str, text: str) -> str:
        if not text:
            return ""
        flag = next(f for f in self.node.flags if f.name == name)
        return self._expand(text, flag.offset + len(name) + 3).text

    # instructions that change files

    def _run(self, instruction: ins.Run) -> _Done:
        args, script = self._command_line(instruction)
        environment = self.scope.environment
        arguments = {k: v for k, v in self.scope.arguments.items() if k not in environment}
        env = {**arguments, **environment}
        hidden = {k: v for k, v in self.scope.given.items() if k in PROXY_ARGUMENTS and k not in env}
        operation = steps.Execute(
            args=args, env=tuple(f"{k}={v}" for k, v in env.items()), hidden_env=tuple(f"{k}={v}" for k, v in hidden.items()),
            cwd=self.scope.config.working_dir or "/", user=self.scope.config.user, script=script,
            mounts=tuple(self._mounts(instruction)), network=instruction.network,
        )  # fmt: skip
        return operation, wording.run(args, arguments)

    def _mounts(self, instruction: ins.Run) -> Iterator[steps.RunMount]:
        agents = 0
        for mount in instruction.mounts:
            values = {key: self._expand(value, mount.flag.offset).text for key, value in mount.values.items()}
            if "target" in values:
                values["target"] = self._absolute(values["target"]).rstrip("/") or "/"
            agents += mount.kind == "ssh"
            try:
                yield expand_mount(mount, values, self.origins.get((instruction.line, mount.from_)), agents - 1)
            except ValueError as err:
                raise self.node.error(str(err), offset=mount.flag.offset, length=mount.flag.length) from err

    def _command_line(self, instruction: ins.Run) -> tuple[tuple[str, ...], steps.InlineFile | None]:
        """The arguments of a RUN (Dockerfile reference, "Here-documents"): a lone document is the script itself."""
        documents = instruction.heredocs
        if not instruction.command.in_shell:
            return instruction.command.args, None
        text = instruction.command.args[0]
        if len(documents) == 1 and len(self.node.words()) == 1:
            content = documents[0].content.replace("\r\n", "\n")
            if content.startswith("#!"):
                script = steps.InlineFile(name=documents[0].name, data=content.encode("utf-8", "surrogateescape"))
                return (f"{SCRIPT_DIRECTORY}/{script.name}",), script
            return (*self._shell(), content), None
        text += "".join(f"\n{d.content}{d.name}" for d in documents).replace("\r\n", "\n")
        return (*self._shell(), text), None

    def _shell(self) -> tuple[str, ...]:
        return self.scope.config.shell or DEFAULT_SHELL

    def _copy(self, instruction: ins.Copy) -> _Done:
        sources = tuple(self._word(word, "a source") for word in instruction.sources)
        remotes = self._remotes(instruction, sources) if instruction.add else {}
        destination = self._word(instruction.destination, "the destination")
        several = len(sources) + len(instruction.inline) > 1
        if instruction.parents and not destination.endswith("/"):
            destination += "/"
        if several and not destination.endswith(("/", "/.")) and destination != ".":
            word = instruction.destination
            raise self.node.error(
                "several sources need a directory as destination", offset=word.offset, length=len(word.text), hint=f"write {destination}/"
            )
        operation = steps.Copy(
            sources=tuple(s for s in sources if s not in remotes), remotes=tuple(remotes.values()),
            inline=tuple(self._inline(d) for d in instruction.inline),
            origin=self.origins.get((instruction.line, instruction.from_)), destination=self._absolute(destination),
            unpack=instruction.unpack, owner=self._flag("chown", instruction.chown),
            mode=self._mode(self._flag("chmod", instruction.chmod)), link=instruction.link, parents=instruction.parents,
            excludes=tuple(self._excludes(instruction)),
            checksum=self._checksum(instruction, sources, remotes), unpack_fetched=instruction.unpack_fetched,
            keep_git_dir=instruction.keep_git_dir,
        )  # fmt: skip
        return operation, wording.copy(instruction, operation, destination)

    def _remotes(self, instruction: ins.Copy, sources: tuple[str, ...]) -> dict[str, Location]:
        """The sources of an ADD that are elsewhere, by their words."""
        found: dict[str, Location] = {}
        for word, source in zip(instruction.sources, sources, strict=True):
            try:
                location = remote(source)
            except WrongLocation as err:
                raise self.node.error(err.message, offset=word.offset, length=len(word.text), hint=err.hint) from err
            if location is not None:
                found[source] = location
        return found

    def _checksum(self, instruction: ins.Copy, sources: tuple[str, ...], remotes: Mapping[str, Location]) -> str:
        text = self._flag("checksum", instruction.checksum)
        if not text:
            return ""
        flag = next(f for f in self.node.flags if f.name == "checksum")
        if len(remotes) != 1 or len(sources) != 1:
            hint = "give one address, in an ADD of its own"
            raise self.node.error("--checksum is for one file that is fetched", offset=flag.offset, length=flag.length, hint=hint)
        git = isinstance(next(iter(remotes.values())), Repository)
        if not (_COMMIT if git else _CHECKSUM).match(text):
            hint = "at least 7 digits of a commit" if git else "sha256: and 64 hexadecimal digits, as sha256sum prints them"
            noun = "commit" if git else "digest"
            raise self.node.error(f"--checksum={text[:100]} is no {noun}", offset=flag.offset, length=flag.length, hint=hint)
        return text.lower()

    def _inline(self, document: Heredoc) -> steps.InlineFile:
        content = document.content
        if document.expand:
            try:
                content = expand_heredoc(content, self.variables, escape=self.node.escape).text
            except WordError as err:
                raise self.node.error(f"in the here-document {document.name}: {err.message}") from err
        return steps.InlineFile(name=document.name, data=content.encode("utf-8", "surrogateescape"))

    def _excludes(self, instruction: ins.Copy) -> Iterator[str]:
        flags = [flag for flag in self.node.flags if flag.name == "exclude"]
        for flag, pattern in zip(flags, instruction.excludes, strict=True):
            text = self._expand(pattern, flag.offset + len("--exclude=")).text
            try:
                exclude_rules([text])
            except InvalidDocument as err:
                raise self.node.error(f"{text!r} is no pattern", offset=flag.offset, length=flag.length, hint="such as *.log") from err
            yield text

    def _mode(self, text: str) -> int | str | None:
        if not text:
            return None
        if re.fullmatch(r"[0-7]{1,5}", text) is not None and int(text, 8) <= 0o7777:
            return int(text, 8)
        try:
            modes.parse(text)
        except ValueError:
            flag = next(f for f in self.node.flags if f.name == "chmod")
            hint = "such as --chmod=755 or --chmod=u=rwX,go=rX"
            raise self.node.error(f"--chmod={text} is no mode", offset=flag.offset, length=flag.length, hint=hint) from None
        return text

    def _absolute(self, path: str) -> str:
        """Join to WORKDIR and clean; keep what says that a directory is meant."""
        is_directory = path.endswith(("/", "/.", "/..")) or path in (".", "..")
        clean = posixpath.normpath(posixpath.join("/", self.scope.config.working_dir, path))
        clean = "/" + clean.lstrip("/")
        return clean + "/" if is_directory and clean != "/" else clean

    def _workdir(self, instruction: ins.Workdir) -> _Done:
        text = self._word(instruction.path, "WORKDIR")
        if not text.startswith("/") and not self.scope.workdir_given:
            self._warn("WorkdirRelativePath", f"WORKDIR {text} depends on the base image: begin with an absolute path")
        self.scope.workdir_given = True
        path = self._absolute(text).rstrip("/") or "/"
        self.scope.config = replace(self.scope.config, working_dir=path)
        return steps.MakeDirectory(path=path), f"WORKDIR {path}"

    # instructions that change the config

    def _env(self, instruction: ins.Env) -> str:
        values = self.scope.environment
        shown = []
        for pair in instruction.pairs:
            key, value = self._pair(pair)
            self._warn_of_secret("ENV", key)
            values[key] = value
            shown.append(f"{key}={value}")
        self.scope.config = replace(self.scope.config, env=tuple(f"{k}={v}" for k, v in values.items()))
        return "ENV " + " ".join(shown)

    def _pair(self, pair: ins.Pair) -> tuple[str, str]:
        key = self._expand(pair.key, pair.offset).text
        if not key:
            raise self.node.error("the name is empty once its variables are replaced", offset=pair.offset, length=len(pair.key))
        return key, self._expand(pair.value or "", pair.offset + len(pair.key) + 1).text

    def _warn_of_secret(self, keyword: str, name: str) -> None:
        if _SECRET.search(name) and "PUBLIC" not in name.upper():
            text = f"{keyword} {name} looks like a secret: its value stays in the image's history; use RUN --mount=type=secret,id=…"
            self._warn("SecretsUsedInArgOrEnv", text)

    def _arg(self, instruction: ins.Arg) -> str:
        shown = []
        for pair in instruction.pairs:
            key, value = pair.key, self._argument(pair)
            self._warn_of_secret("ARG", key)
            if value is not None:
                self.scope.arguments[key] = value
            shown.append(key if value is None else f"{key}={value}")
        return "ARG " + " ".join(shown)

    def _argument(self, pair: ins.Pair) -> str | None:
        given = self.scope.given.get(pair.key)
        if given is not None:
            return given
        if pair.value is not None:
            return self._expand(pair.value, pair.offset + len(pair.key) + 1).text
        return self.scope.outer.get(pair.key)

    def _label(self, instruction: ins.Label) -> str:
        pairs = [self._pair(pair) for pair in instruction.pairs]
        self.scope.config = replace(self.scope.config, labels={**self.scope.config.labels, **dict(pairs)})
        return "LABEL " + " ".join(f"{k}={v}" for k, v in pairs)

    def _start_command(self, instruction: ins.Cmd | ins.Entrypoint) -> str:
        command = instruction.command
        args = (*self._shell(), *command.args) if command.in_shell and command.args else command.args
        if isinstance(instruction, ins.Cmd):
            self.scope.config = replace(self.scope.config, cmd=args)
            self.scope.cmd_given = True
        else:
            self.scope.config = replace(
                self.scope.config, entrypoint=args or None, cmd=self.scope.config.cmd if self.scope.cmd_given else None
            )
        return f"{self.node.keyword} {wording.quoted_list(args)}"

    def _expose(self, instruction: ins.Expose) -> str:
        ports: list[str] = []
        for word in instruction.ports:
            for text in self._expand(word.text, word.offset).words:
                ports += self._ports(word, text)
        self.scope.config = replace(self.scope.config, exposed_ports={**self.scope.config.exposed_ports, **{port: {} for port in ports}})
        return f"EXPOSE {wording.go_list(ports)}"

    def _ports(self, word: Word, text: str) -> list[str]:
        match = _PORT.match(text)
        if match is None and (mapped := _MAPPED.match(text)) is not None:
            self._warn("ExposeInvalidFormat", f"{text} is a matter of run -p: EXPOSE takes {mapped[1]}")
            match = _PORT.match(mapped[1])
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if match is None or not 0 < first <= last <= 65535:
            raise self.node.error(f"{text!r} is no port", offset=word.offset, length=len(word.text), hint="such as 80, 80/udp or 8000-8010")
        if match[3] and match[3] != match[3].lower():
            self._warn("ExposeProtoCasing", f"the protocol of {text} should be written {match[3].lower()}")
        return [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]

    def _volume(self, instruction: ins.Volume) -> str:
        paths = [self._word(word, "a path") for word in instruction.paths]
        self.scope.config = replace(self.scope.config, volumes={**self.scope.config.volumes, **{path: {} for path in paths}})
        return f"VOLUME {wording.go_list(paths)}"

    def _stop_signal(self, instruction: ins.StopSignal) -> str:
        text = self._word(instruction.signal, "STOPSIGNAL")
        if not is_signal(text):
            word = instruction.signal
            raise self.node.error(f"{text!r} is no signal", offset=word.offset, length=len(word.text), hint="such as SIGTERM or 15")
        self.scope.config = replace(self.scope.config, stop_signal=text)
        return f"STOPSIGNAL {text}"

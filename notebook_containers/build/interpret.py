"""Node to instruction: the argument rules of each instruction; every refusal is a DockerfileError at the word that is wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable

from notebook_containers.build import instructions as ins
from notebook_containers.build.copy_flags import CopyFlags
from notebook_containers.build.gathering import Gathered
from notebook_containers.build.parser import Dockerfile, Flag, Heredoc, Node, parse
from notebook_containers.build.run_flags import read_flags
from notebook_containers.build.words import Word
from notebook_containers.errors import DockerfileError
from notebook_containers.oci.image import Healthcheck

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*\Z")
_HEREDOC = re.compile(r"\d*<<-?([^<]+)\Z")
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_FORMS = {
    "ADD": "ADD [--chown=…] [--chmod=…] SOURCE … DESTINATION",
    "ARG": "ARG NAME[=DEFAULT] …",
    "CMD": 'CMD ["program", "argument"] or CMD words for the shell',
    "COPY": "COPY [--from=STAGE] [--chown=…] [--chmod=…] SOURCE … DESTINATION",
    "ENTRYPOINT": 'ENTRYPOINT ["program", "argument"]',
    "ENV": "ENV KEY=VALUE …",
    "EXPOSE": "EXPOSE PORT[/tcp|udp] …",
    "FROM": "FROM IMAGE [AS NAME]",
    "HEALTHCHECK": "HEALTHCHECK [--interval=30s] [--timeout=30s] [--retries=3] CMD command, or HEALTHCHECK NONE",
    "LABEL": "LABEL KEY=VALUE …",
    "MAINTAINER": "LABEL org.opencontainers.image.authors=NAME",
    "ONBUILD": "ONBUILD INSTRUCTION …",
    "RUN": 'RUN command, or RUN ["program", "argument"]',
    "SHELL": 'SHELL ["/bin/bash", "-c"]',
    "STOPSIGNAL": "STOPSIGNAL SIGTERM",
    "USER": "USER NAME[:GROUP]",
    "VOLUME": 'VOLUME PATH … or VOLUME ["/path"]',
    "WORKDIR": "WORKDIR PATH",
}


def read(text: str, *, name: str = "Dockerfile") -> tuple[Dockerfile, tuple[ins.Instruction, ...]]:
    """Parse a text and read its nodes; raises DockerfileError that tells of all that is wrong in both."""
    errors = Gathered()
    dockerfile = parse(text, name=name, errors=errors)
    instructions = interpret(dockerfile, errors=errors)
    errors.tell()
    return dockerfile, instructions


def interpret(dockerfile: Dockerfile, *, errors: Gathered | None = None) -> tuple[ins.Instruction, ...]:
    """Read all nodes; raises DockerfileError for those that break their instruction's rules, or keeps them in ``errors``."""
    gathered = Gathered() if errors is None else errors
    instructions: list[ins.Instruction] = []
    for node in dockerfile.nodes:
        with gathered.each():
            instructions.append(instruction(node))
    if errors is None:
        gathered.tell()
    return tuple(instructions)


def instruction(node: Node) -> ins.Instruction:
    """Read one node; an error without a hint of its own tells the instruction's form."""
    try:
        return _READERS[node.keyword](node)
    except DockerfileError as err:
        err.hint = err.hint or f"the form is {_FORMS[node.keyword]}"
        raise


def _flags(node: Node, *allowed: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for flag in node.flags:
        if flag.name not in allowed:
            raise _unknown_flag(node, flag, allowed)
        if not flag.value:
            raise node.error(f"--{flag.name} needs a value: --{flag.name}=…", offset=flag.offset, length=flag.length)
        if flag.name in values:
            raise node.error(f"--{flag.name} stands twice", offset=flag.offset, length=flag.length)
        values[flag.name] = flag.value
    return values


def _unknown_flag(node: Node, flag: Flag, allowed: tuple[str, ...]) -> Exception:
    close = difflib.get_close_matches(flag.name, allowed, n=1)
    hint = f"did you mean --{close[0]}?" if close else "its flags are " + " ".join(f"--{a}" for a in allowed) if allowed else ""
    return node.error(f"{node.keyword} has no flag --{flag.name[:40]}", offset=flag.offset, length=flag.length, hint=hint)


def _words(node: Node, *, at_least: int = 1, at_most: int = 0, usage: str = "") -> tuple[Word, ...]:
    words = node.words()
    if len(words) < at_least:
        raise node.error(f"{node.keyword} needs {_count(at_least)}", hint=usage)
    if at_most and len(words) > at_most:
        extra = words[at_most]
        raise node.error(f"{node.keyword} takes {_count(at_most)}", offset=extra.offset, length=len(extra.text), hint=usage)
    return words


def _count(number: int) -> str:
    return "one argument" if number == 1 else f"{number} arguments"


def _rest(node: Node, what: str) -> Word:
    """The whole argument text as one word (``WORKDIR``, ``USER`` and their like do not cut it at blanks)."""
    text = node.arguments.strip()
    if not text:
        raise node.error(f"{node.keyword} needs {what}")
    return Word(text=text, offset=node.text.index(text, node.start))


def _json(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON list, or None when the text is no such list (Docker then takes it as the shell form)."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _command(text: str) -> ins.Command:
    args = _json(text)
    if args is not None:
        return ins.Command(args=args, in_shell=False)
    return ins.Command(args=(text.strip(),) if text.strip() else (), in_shell=True)


def _from(node: Node) -> ins.From:
    flags = _flags(node, "platform")
    words = _words(node, at_most=3, usage="FROM IMAGE [AS NAME]")
    name = ""
    if len(words) == 2 or (len(words) == 3 and words[1].text.upper() != "AS"):
        raise node.error(
            f"unexpected {words[1].text!r} after the image", offset=words[1].offset, length=len(words[1].text), hint="FROM IMAGE [AS NAME]"
        )
    if len(words) == 3:
        name = words[2].text.lower()
        if not _STAGE_NAME.match(name):
            raise node.error(
                f"{words[2].text!r} is no stage name",
                offset=words[2].offset,
                length=len(words[2].text),
                hint="it starts with a letter; letters, digits, _ . - follow",
            )
    return ins.From(node=node, image=words[0], name=name, platform=flags.get("platform", ""))


def _run(node: Node) -> ins.Run:
    mounts, network = read_flags(node)
    command = _command(node.arguments)
    if not command.args:
        raise node.error("RUN needs a command")
    return ins.Run(node=node, command=command, heredocs=node.heredocs, mounts=mounts, network=network)


def _copy(node: Node) -> ins.Copy:
    add = node.keyword == "ADD"
    flags = CopyFlags(node)
    listed = _json(node.arguments)
    words = tuple(Word(text=_quote(t, node.escape), offset=node.start) for t in listed) if listed is not None else node.words()
    if len(words) < 2:
        raise node.error(f"{node.keyword} needs a source and a destination", hint=f"{node.keyword} SOURCE … DESTINATION")
    sources: list[Word] = []
    inline: list[Heredoc] = []
    by_name: dict[str, Heredoc] = {h.name: h for h in node.heredocs}
    for word in words[:-1]:
        match = _HEREDOC.match(word.text) if listed is None else None
        document = by_name.get(match[1].strip("\"'")) if match else None
        if document is None:
            sources.append(word)
        else:
            inline.append(document)
    if listed is None and _HEREDOC.match(words[-1].text):
        raise node.error("a here-document cannot be a destination", offset=words[-1].offset, length=len(words[-1].text))
    return ins.Copy(
        node=node, sources=tuple(sources), inline=tuple(inline), destination=words[-1], add=add,
        from_=flags.text("from"), chown=flags.text("chown"), chmod=flags.text("chmod"), link=flags.switch("link"),
        parents=flags.switch("parents"), excludes=flags.excludes, unpack=flags.switches.get("unpack", add),
        unpack_fetched=flags.switch("unpack"), checksum=flags.text("checksum"), keep_git_dir=flags.switch("keep-git-dir"),
    )  # fmt: skip


def _quote(text: str, escape: str) -> str:
    """A JSON string as a word: variables stay alive, blanks, quotes and escapes are taken as they are."""
    return "".join(escape + c if c in ("'", '"', escape) or c.isspace() else c for c in text)


def _pairs(node: Node) -> tuple[ins.Pair, ...]:
    _flags(node)
    words = _words(node, usage=f"{node.keyword} KEY=VALUE …")
    if "=" not in words[0].text:
        return (_old_pair(node, words),)
    return tuple(_pair(node, word) for word in words)


def _old_pair(node: Node, words: tuple[Word, ...]) -> ins.Pair:
    if len(words) < 2:
        raise node.error(
            f"{node.keyword} {words[0].text[:40]} has no value", offset=words[0].offset, length=len(words[0].text),
            hint=f"{node.keyword} KEY=VALUE",
        )  # fmt: skip
    return ins.Pair(key=words[0].text, value=node.text[words[1].offset :].rstrip(), offset=words[0].offset)


def _pair(node: Node, word: Word) -> ins.Pair:
    key, equals, value = word.text.partition("=")
    if not equals:
        raise node.error(
            f"{word.text[:40]!r} has no = in it", offset=word.offset, length=len(word.text), hint='quote a value with blanks: KEY="a b"'
        )
    if not key:
        raise node.error(f"{node.keyword} names may not be empty", offset=word.offset, length=len(word.text))
    return ins.Pair(key=key, value=value, offset=word.offset)


def _arg(node: Node) -> ins.Arg:
    _flags(node)
    pairs: list[ins.Pair] = []
    for word in _words(node, usage="ARG NAME[=DEFAULT] …"):
        key, equals, value = word.text.partition("=")
        if not key:
            raise node.error("ARG names may not be empty", offset=word.offset, length=len(word.text))
        pairs.append(ins.Pair(key=key, value=value if equals else None, offset=word.offset))
    return ins.Arg(node=node, pairs=tuple(pairs))


def _env(node: Node) -> ins.Env:
    return ins.Env(node=node, pairs=_pairs(node))


def _label(node: Node) -> ins.Label:
    return ins.Label(node=node, pairs=_pairs(node))


def _workdir(node: Node) -> ins.Workdir:
    _flags(node)
    return ins.Workdir(node=node, path=_rest(node, "a path"))


def _user(node: Node) -> ins.User:
    _flags(node)
    return ins.User(node=node, user=_rest(node, "a user"))


def _cmd(node: Node) -> ins.Cmd:
    _flags(node)
    return ins.Cmd(node=node, command=_command(node.arguments))


def _entrypoint(node: Node) -> ins.Entrypoint:
    _flags(node)
    return ins.Entrypoint(node=node, command=_command(node.arguments))


def _expose(node: Node) -> ins.Expose:
    _flags(node)
    return ins.Expose(node=node, ports=_words(node, usage="EXPOSE PORT[/tcp|udp] …"))


def _volume(node: Node) -> ins.Volume:
    _flags(node)
    listed = _json(node.arguments)
    if listed is None:
        return ins.Volume(node=node, paths=_words(node))
    if not listed or not all(p.strip() for p in listed):
        raise node.error("VOLUME needs paths, and none may be empty")
    return ins.Volume(node=node, paths=tuple(Word(text=_quote(p, node.escape), offset=node.start) for p in listed))


def _stop_signal(node: Node) -> ins.StopSignal:
    _flags(node)
    return ins.StopSignal(node=node, signal=_words(node, at_most=1)[0])


def _shell(node: Node) -> ins.Shell:
    _flags(node)
    args = _json(node.arguments)
    if not args:
        raise node.error("SHELL needs a JSON list", offset=node.start, length=len(node.arguments), hint='SHELL ["/bin/bash", "-c"]')
    return ins.Shell(node=node, args=args)


def _maintainer(node: Node) -> ins.Maintainer:
    _flags(node)
    return ins.Maintainer(node=node, name=_rest(node, "a name").text)


def _on_build(node: Node) -> ins.OnBuild:
    _flags(node)
    trigger = _rest(node, "an instruction")
    keyword = trigger.text.split(None, 1)[0].upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise node.error(f"{keyword} may not be an ONBUILD trigger", offset=trigger.offset, length=len(keyword))
    if keyword not in _READERS:
        raise node.error(f"unknown instruction {keyword[:40]} after ONBUILD", offset=trigger.offset, length=len(keyword))
    documents = "".join(f"\n{h.content}{h.name}" for h in node.heredocs)
    return ins.OnBuild(node=node, expression=trigger.text + documents)


def _health_check(node: Node) -> ins.HealthCheck:
    words = _words(node, usage="HEALTHCHECK NONE, or HEALTHCHECK [options] CMD …")
    kind = words[0].text.upper()
    if kind == "NONE":
        _flags(node)
        _words(node, at_most=1)
        return ins.HealthCheck(node=node, health=Healthcheck(test=("NONE",)))
    flags = _flags(node, "interval", "timeout", "start-period", "start-interval", "retries")
    if kind != "CMD":
        raise node.error(f"{words[0].text!r} is neither CMD nor NONE", offset=words[0].offset, length=len(words[0].text))
    command = _command(node.text[words[0].end :])
    if not command.args:
        raise node.error("HEALTHCHECK CMD needs a command", offset=words[0].offset, length=3)
    durations = {name: _duration(node, name, flags) for name in ("interval", "timeout", "start-period", "start-interval")}
    health = Healthcheck(
        test=("CMD-SHELL" if command.in_shell else "CMD", *command.args), interval=durations["interval"], timeout=durations["timeout"],
        start_period=durations["start-period"], start_interval=durations["start-interval"], retries=_retries(node, flags),
    )  # fmt: skip
    return ins.HealthCheck(node=node, health=health)


def _flag_error(node: Node, name: str, message: str) -> Exception:
    flag = next(f for f in node.flags if f.name == name)
    return node.error(message, offset=flag.offset, length=flag.length)


def _duration(node: Node, name: str, flags: dict[str, str]) -> int:
    """Go's duration text in nanoseconds, 0 when not given; Docker's least is one millisecond."""
    text = flags.get(name, "")
    if not text or text == "0":
        return 0
    if _DURATION.sub("", text):
        raise _flag_error(node, name, f"--{name}={text} is no duration such as 30s or 1m30s")
    total = 0.0
    for part in _DURATION.findall(text):
        unit = part.lstrip("0123456789.")
        total += float(part[: -len(unit)]) * _UNITS[unit]
    if total < _UNITS["ms"]:
        raise _flag_error(node, name, f"--{name} may not be shorter than 1ms")
    return int(total)


def _retries(node: Node, flags: dict[str, str]) -> int:
    text = flags.get("retries", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _flag_error(node, "retries", f"--retries={text[:20]} is no count")
    return int(text)


_READERS: dict[str, Callable[[Node], ins.Instruction]] = {
    "ADD": _copy, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "FROM": _from,
    "HEALTHCHECK": _health_check, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _on_build, "RUN": _run, "SHELL": _shell,
    "STOPSIGNAL": _stop_signal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip

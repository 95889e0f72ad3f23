"""What a build remarks about a Dockerfile without stopping: findings of its checks, and which of them the file itself wants told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from notebook_containers.build.parser import Dockerfile
from notebook_containers.errors import DockerfileError
from notebook_containers.lean import dataclass, field

RULES = {
    "StageNameCasing": "stage names are written in lower case",
    "FromAsCasing": "FROM and AS are written in the same case",
    "NoEmptyContinuation": "no empty line stands inside a continued instruction",
    "ConsistentInstructionCasing": "all instructions are written in one case",
    "DuplicateStageName": "each stage has a name of its own",
    "ReservedStageName": "no stage is called scratch or context",
    "JSONArgsRecommended": "CMD and ENTRYPOINT are JSON lists, so that signals reach the program",
    "MaintainerDeprecated": "a label names the author",
    "UndefinedArgInFrom": "FROM uses only what an ARG before it declares",
    "WorkdirRelativePath": "the first WORKDIR of a stage is absolute",
    "UndefinedVar": "every variable is set before it is used",
    "MultipleInstructionsDisallowed": "CMD, ENTRYPOINT and HEALTHCHECK stand once in a stage",
    "LegacyKeyValueFormat": "ENV and LABEL are written KEY=VALUE",
    "RedundantTargetPlatform": "FROM needs no --platform=$TARGETPLATFORM: that is the default",
    "SecretsUsedInArgOrEnv": "no ARG and no ENV holds a secret",
    "InvalidDefaultArgInFrom": "the defaults of ARGs give FROM a valid image",
    "FromPlatformFlagConstDisallowed": "FROM --platform is a variable",
    "CopyIgnoredFile": ".dockerignore leaves out nothing that COPY names",
    "InvalidDefinitionDescription": "a comment above a stage or an ARG begins with its name",
    "ExposeProtoCasing": "the protocol of EXPOSE is written in lower case",
    "ExposeInvalidFormat": "EXPOSE names ports of the container only",
}
"""The checks of BuildKit's ``docs/rules`` by name, each as the rule it asks for."""

_EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A remark at a line (0: none in particular); ``rule`` is the check it comes from, empty for what no check is for."""

    line: int
    message: str
    rule: str = ""

    def text(self) -> str:
        """Return ``Rule: message (line 3)``."""
        return (f"{self.rule}: " if self.rule else "") + self.message + (f" (line {self.line})" if self.line else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What ``# check=skip=A,B;experimental=C;error=true`` asks for; the caller's word (``--build-arg BUILDKIT_DOCKERFILE_CHECK``) wins."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False
    unknown: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, text: str) -> Wanted:
        """Read a directive's value; names that no check has are kept in ``unknown``."""
        values = dict(part.strip().partition("=")[::2] for part in text.split(";") if part.strip())
        skip, experimental = (frozenset(w.strip() for w in values.get(key, "").split(",") if w.strip()) for key in ("skip", "experimental"))
        unknown = sorted(name for name in skip | experimental if name not in RULES and name != "all")
        return cls(skip=skip, experimental=experimental, error=values.get("error", "").lower() == "true", unknown=tuple(unknown))

    def tells(self, finding: Finding) -> bool:
        """Say whether a finding is to be told."""
        if not finding.rule:
            return True
        if finding.rule in _EXPERIMENTAL and not {"all", finding.rule} & self.experimental:
            return False
        return not {"all", finding.rule} & self.skip


def chosen(dockerfile: Dockerfile, findings: Iterable[Finding], given: str | None) -> tuple[Finding, ...]:
    """Return what is to be told, in order of lines; raises DockerfileError when the file makes its findings errors.

    ``given`` is the caller's own directive, None without one.
    """
    wanted = Wanted.of(dockerfile.directives.get("check", "") if given is None else given)
    told = [finding for finding in dict.fromkeys(findings) if wanted.tells(finding)]
    told += [Finding(line=0, message=_unknown(name)) for name in wanted.unknown]
    told.sort(key=lambda f: f.line)
    if wanted.error and any(finding.rule for finding in told):
        raise _error(dockerfile, [finding for finding in told if finding.rule])
    return tuple(told)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, RULES, n=1)
    return f"there is no check {name}" + (f"; did you mean {near[0]}?" if near else "")


def _error(dockerfile: Dockerfile, findings: Sequence[Finding]) -> DockerfileError:
    hint = "mend it, or take error=true out of the line '# check=…'"
    errors = [
        DockerfileError(
            f"{f.rule}: {f.message}", hint=hint, file=dockerfile.name, line=f.line,
            column=1, length=len(dockerfile.lines[f.line - 1]) if f.line else 1, source=dockerfile.lines[f.line - 1] if f.line else "",
        )
        for f in findings
    ]  # fmt: skip
    return errors[0].along_with(errors[1:])

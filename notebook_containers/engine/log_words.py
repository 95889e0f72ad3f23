"""Words about logs and health checks: where output goes, how much of it is kept, and how a container's health is found out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import Document
from notebook_containers.oci.image import Healthcheck

DRIVERS = ("json-file", "local", "none")
_DETAILS = ("tag", "labels", "labels-regex", "env", "env-regex")
_TAG_FIELDS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")
_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+\Z", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", re.IGNORECASE)
_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_MILLISECOND = 10**6
DEFAULTS = Healthcheck(interval=30 * 10**9, timeout=30 * 10**9, start_interval=5 * 10**9, retries=3)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class LogOptions(Document):
    """The log driver (json-file, local: both are ours, or none) and how much is kept: ``max_files`` files of ``max_bytes`` at most."""

    driver: str = "json-file"
    max_bytes: int = 10_000_000
    max_files: int = 3
    details: Mapping[str, str] = field(default_factory=dict)
    """What ``logs --details`` shows before each line: ``tag``, ``labels``, ``env``, and the patterns ``labels-regex``, ``env-regex``."""


def log(given: Mapping[str, object] | None) -> LogOptions:
    """Return docker-py's ``log_config`` (``{"Type", "Config": {"max-size", "max-file"}}``); Unsupported for other drivers and options."""
    if not given:
        return LogOptions()
    driver = str(given.get("Type") or given.get("type") or "json-file")
    if driver not in DRIVERS:
        raise Unsupported(f"--log-driver {driver!r} is not supported", hint="use " + ", ".join(DRIVERS))
    config = given.get("Config") or given.get("config") or {}
    if not isinstance(config, Mapping):
        raise InvalidArgument("the log options are no mapping", hint='write {"max-size": "10m"}')
    if driver == "none" and config:
        raise InvalidArgument(f"--log-opt {next(iter(config))} cannot be used with --log-driver none")
    options = LogOptions(driver=driver)
    for name, value in config.items():
        options = _log_option(options, str(name), str(value))
    return options


def _log_option(options: LogOptions, name: str, value: str) -> LogOptions:
    if name == "max-size":
        count = parse_bytes(value, what="--log-opt max-size")
        if count < 4096:
            raise InvalidArgument(f"--log-opt max-size={value} is too small", hint="4k is the least; did you forget the unit, as in 10m?")
        return replace(options, max_bytes=count)
    if name == "max-file":
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1000:
            raise InvalidArgument(f"--log-opt max-file={value} is no number of files", hint="write 1 to 1000")
        return replace(options, max_files=int(value))
    if name in _DETAILS:
        return replace(options, details={**options.details, name: _detail(name, value)})
    if (name, value) in (("mode", "blocking"), ("compress", "false")):
        return options  # what is done anyway
    raise Unsupported(f"--log-opt {name}={value} is not supported", hint="use max-size, max-file, " + ", ".join(_DETAILS))


def _detail(name: str, value: str) -> str:
    if name.endswith("-regex"):
        try:
            re.compile(value)
        except re.error as err:
            raise InvalidArgument(f"--log-opt {name}={value} is no regular expression: {err}") from err
    for field_name in _FIELD.findall(value) if name == "tag" else ():
        if field_name not in _TAG_FIELDS:
            raise InvalidArgument(
                f"--log-opt tag={value}: there is no .{field_name}", hint="use " + ", ".join(f".{f}" for f in _TAG_FIELDS)
            )
    return value


def details(options: LogOptions, known: Mapping[str, str], labels: Mapping[str, str], env: Sequence[str]) -> str:
    """Return ``key=value,…`` of what log options ask for; ``known`` are the values that a tag may name, such as ``Name``."""
    from urllib.parse import quote_plus

    found: dict[str, str] = {}
    variables = dict(entry.partition("=")[::2] for entry in env)
    for name, values in (("labels", labels), ("env", variables)):
        for key in filter(None, options.details.get(name, "").split(",")):
            if key in values:
                found[key] = values[key]
        if pattern := options.details.get(f"{name}-regex"):
            found.update((key, value) for key, value in values.items() if re.search(pattern, key))
    if tag := options.details.get("tag"):
        found["tag"] = _FIELD.sub(lambda match: known[match[1]], tag)
    return ",".join(f"{quote_plus(key)}={quote_plus(found[key])}" for key in sorted(found))


def duration(flag: str, value: str | int | None) -> int:
    """Return nanoseconds of Docker's ``1m30s`` (a number is nanoseconds, as in docker-py); 0 for none; at least a millisecond otherwise."""
    if value is None or value == "":
        return 0
    text = str(value)
    if text.lstrip("-").isascii() and text.lstrip("-").isdigit():
        count = int(text)
    elif _DURATION.match(text):
        from fractions import Fraction

        count = int(sum(Fraction(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text)))
    else:
        raise InvalidArgument(f"{flag} {text!r} is no duration", hint="write 30s, 1m30s or 500ms")
    if count < 0 or 0 < count < _MILLISECOND:
        raise InvalidArgument(f"{flag} {text!r} is too short", hint="a millisecond is the least; write the unit, as in 30s")
    return count


def health(given: Mapping[str, object] | None) -> Healthcheck | None:
    """Return docker-py's ``healthcheck``: ``test`` (a text is for the shell; a list says NONE, CMD or CMD-SHELL first), times, retries."""
    if not given:
        return None
    values = {str(key).lower().replace("_", ""): value for key, value in given.items()}
    unknown = set(values) - {"test", "interval", "timeout", "startperiod", "startinterval", "retries"}
    if unknown:
        raise InvalidArgument(f"healthcheck has no {sorted(unknown)[0]!r}", hint="it has test, interval, timeout, start_period, retries")
    retries = values.get("retries") or 0
    if not isinstance(retries, int) or retries < 0:
        raise InvalidArgument(f"--health-retries {retries} is no number of times")
    return Healthcheck(
        test=_test(values.get("test")),
        interval=_time("--health-interval", values.get("interval")),
        timeout=_time("--health-timeout", values.get("timeout")),
        start_period=_time("--health-start-period", values.get("startperiod")),
        start_interval=_time("--health-start-interval", values.get("startinterval")),
        retries=retries,
    )


def _time(flag: str, value: object) -> int:
    return duration(flag, value if isinstance(value, (str, int)) else None)


def _test(value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return ("CMD-SHELL", value)
    words = tuple(str(word) for word in value) if isinstance(value, Sequence) else ()
    if not words or words[0] not in ("NONE", "CMD", "CMD-SHELL") or (len(words) < 2) == (words[0] != "NONE"):
        raise InvalidArgument(
            f"health check {value!r} is not understood", hint='write "curl -f localhost", ["CMD", "curl", "localhost"] or ["NONE"]'
        )
    return words


def effective_health(own: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """Return the check that a container has: what was asked for, the rest from the image, the rest Docker's defaults; None for none."""
    base, asked = image or Healthcheck(), own or Healthcheck()
    test = asked.test or base.test
    if not test or test[0] == "NONE":
        return None
    return Healthcheck(
        test=test,
        interval=asked.interval or base.interval or DEFAULTS.interval,
        timeout=asked.timeout or base.timeout or DEFAULTS.timeout,
        start_period=asked.start_period or base.start_period,
        start_interval=asked.start_interval or base.start_interval or DEFAULTS.start_interval,
        retries=asked.retries or base.retries or DEFAULTS.retries,
    )

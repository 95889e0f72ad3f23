"""From a resolved tree to the typed project. The tree is checked already: what is read here has the type it should have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from notebook_containers.compose import model
from notebook_containers.compose.model.resources import Limits
from notebook_containers.compose.nodes import Node
from notebook_containers.compose.sections import Section


def network(key: str, node: Node) -> model.Network:
    """Read one network."""
    at = Section(node)
    return model.Network(
        key=key,
        name=at.text("name"),
        driver=at.text("driver"),
        driver_opts=at.pairs("driver_opts"),
        ipam_driver=at.section("ipam").text("driver"),
        pools=at.section("ipam").each("config", _pool),
        external=at.flag("external"),
        internal=at.flag("internal"),
        attachable=at.flag("attachable"),
        enable_ipv4=at.maybe_flag("enable_ipv4"),
        enable_ipv6=at.maybe_flag("enable_ipv6"),
        labels=at.pairs("labels"),
    )


def _pool(at: Section) -> model.Pool:
    return model.Pool(
        subnet=at.text("subnet"), ip_range=at.text("ip_range"), gateway=at.text("gateway"), aux_addresses=at.pairs("aux_addresses")
    )


def volume(key: str, node: Node) -> model.Volume:
    """Read one volume."""
    at = Section(node)
    return model.Volume(
        key=key,
        name=at.text("name"),
        driver=at.text("driver"),
        driver_opts=at.pairs("driver_opts"),
        external=at.flag("external"),
        labels=at.pairs("labels"),
    )


def secret(key: str, node: Node, find: Callable[[str], str | None]) -> model.Secret:
    """Read one secret or config; ``find`` gives the value of a variable that holds it."""
    at = Section(node)
    variable = at.text("environment")
    return model.Secret(
        key=key,
        name=at.text("name"),
        file=at.text("file"),
        environment=variable,
        content=find(variable) if variable else at.text("content") if at.has("content") else None,
        external=at.flag("external"),
        labels=at.pairs("labels"),
        driver=at.text("driver"),
        driver_opts=at.pairs("driver_opts"),
        template_driver=at.text("template_driver"),
    )


def language_model(node: Node) -> model.LanguageModel:
    """Read one language model."""
    at = Section(node)
    flags = at.texts("runtime_flags")
    return model.LanguageModel(model=at.text("model"), name=at.text("name"), context_size=at.integer("context_size"), runtime_flags=flags)


def ulimit(node: Node) -> model.Ulimit:
    """Read a limit in either form."""
    if isinstance(node.value, dict):
        at = Section(node)
        return model.Ulimit(soft=at.integer("soft") or 0, hard=at.integer("hard") or 0)
    return model.Ulimit(soft=int(node.text()), hard=int(node.text()))


def grant(at: Section) -> model.Grant:
    """Read the use of a secret or config."""
    source = at.text("source")
    return model.Grant(source=source, target=at.text("target"), uid=at.text("uid"), gid=at.text("gid"), mode=at.mode("mode"))


def config_grant(at: Section) -> model.Grant:
    """Read the use of a config, which lies in the root unless said otherwise."""
    found = at.text("target") or f"/{at.text('source')}"
    uid, gid = at.text("uid"), at.text("gid")
    return model.Grant(source=at.text("source"), target=_below("", found), uid=uid, gid=gid, mode=at.mode("mode"))


def secret_grant(at: Section) -> model.Grant:
    """Read the use of a secret, which lies in /run/secrets unless said otherwise."""
    target = _below("/run/secrets", at.text("target") or at.text("source"))
    return model.Grant(source=at.text("source"), target=target, uid=at.text("uid"), gid=at.text("gid"), mode=at.mode("mode"))


def _below(directory: str, target: str) -> str:
    return target if target.startswith("/") else f"{directory}/{target}"


def hook(at: Section) -> model.Hook:
    """Read a command that runs at a turn of the container's life."""
    return model.Hook(
        command=at.command("command") or (),
        user=at.text("user"),
        privileged=at.flag("privileged"),
        working_dir=at.text("working_dir"),
        environment=at.variables("environment"),
    )


def device_request(at: Section) -> model.DeviceRequest:
    """Read devices asked for by what they can do."""
    return model.DeviceRequest(
        capabilities=at.texts("capabilities"),
        driver=at.text("driver"),
        count=at.integer("count"),
        device_ids=at.texts("device_ids"),
        options=at.pairs("options"),
    )


def build(at: Section) -> model.Build:
    """Read how an image is built; what an argument without a value would be is left out."""
    return model.Build(
        context=at.text("context"),
        dockerfile=at.text("dockerfile"),
        dockerfile_inline=at.text("dockerfile_inline"),
        target=at.text("target"),
        args={name: value for name, value in at.variables("args").items() if value is not None},
        additional_contexts=at.pairs("additional_contexts"),
        cache_from=at.texts("cache_from"),
        cache_to=at.texts("cache_to"),
        entitlements=at.texts("entitlements"),
        extra_hosts=at.hosts("extra_hosts"),
        isolation=at.text("isolation"),
        labels=at.pairs("labels"),
        network=at.text("network"),
        no_cache=at.flag("no_cache"),
        no_cache_filter=at.texts("no_cache_filter"),
        platforms=at.texts("platforms"),
        privileged=at.flag("privileged"),
        provenance=at.text("provenance"),
        pull=at.flag("pull"),
        sbom=at.text("sbom"),
        secrets=at.each("secrets", grant),
        shm_size=at.integer("shm_size"),
        ssh=at.pairs("ssh"),
        tags=at.texts("tags"),
        ulimits={name: ulimit(node) for name, node in at.members("ulimits").items()},
    )


def deploy(at: Section) -> model.Deploy:
    """Read ``deploy``."""
    policy = at.section("restart_policy")
    return model.Deploy(
        mode=at.text("mode") or "replicated",
        replicas=at.integer("replicas"),
        labels=at.pairs("labels"),
        limits=_limits(at.section("resources", "limits")),
        reservations=_limits(at.section("resources", "reservations")),
        restart_policy=model.RestartPolicy(
            condition=policy.text("condition"),
            delay=policy.seconds("delay"),
            max_attempts=policy.integer("max_attempts"),
            window=policy.seconds("window"),
        )
        if at.has("restart_policy")
        else None,
    )


def _limits(at: Section) -> Limits:
    devices = at.each("devices", device_request)
    return Limits(cpus=at.number("cpus"), memory=at.integer("memory"), pids=at.integer("pids"), devices=devices)


def links(words: Sequence[str]) -> tuple[model.Link, ...]:
    """Read ``target`` or ``target:alias`` words."""
    return tuple(model.Link(target=word.partition(":")[0], alias=word.partition(":")[2] or word) for word in words)

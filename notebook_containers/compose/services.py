"""From a service's resolved tree to the typed service."""

from __future__ import annotations

from notebook_containers.compose import model, reading, units
from notebook_containers.compose.nodes import Node
from notebook_containers.compose.sections import Section, T

_RESTARTS = {"none": "no", "any": "always", "": "always"}


def service(name: str, node: Node) -> model.Service:
    """Read one service; limits that only ``deploy`` gives count as the service's own."""
    at = Section(node)
    deploy = reading.deploy(at.section("deploy")) if at.has("deploy") else None
    limits, reserved = (deploy.limits, deploy.reservations) if deploy else (model.Limits(), model.Limits())
    policy, refresh = _pull(at)
    return model.Service(
        name=name,
        profiles=at.texts("profiles"),
        image=at.text("image"),
        build=reading.build(at.section("build")) if at.has("build") else None,
        platform=at.text("platform"),
        pull_policy=policy,
        pull_refresh_after=refresh,
        provider=_provider(at.section("provider")) if at.has("provider") else None,
        command=at.command("command"),
        entrypoint=at.command("entrypoint"),
        environment=at.variables("environment"),
        env_file=at.each("env_file", _env_file),
        working_dir=at.text("working_dir"),
        user=at.text("user"),
        group_add=at.texts("group_add"),
        tty=at.flag("tty"),
        stdin_open=at.flag("stdin_open"),
        init=at.maybe_flag("init"),
        attach=at.flag("attach", otherwise=True),
        post_start=at.each("post_start", reading.hook),
        pre_stop=at.each("pre_stop", reading.hook),
        container_name=at.text("container_name"),
        hostname=at.text("hostname"),
        domainname=at.text("domainname"),
        labels=at.pairs("labels"),
        label_file=at.texts("label_file"),
        annotations=at.pairs("annotations"),
        depends_on=at.every("depends_on", _dependency),
        replicas=_replicas(at, deploy),
        deploy=deploy,
        restart=at.text("restart") or _restart(deploy),
        stop_signal=at.text("stop_signal"),
        stop_grace_period=at.seconds("stop_grace_period"),
        healthcheck=_healthcheck(at.section("healthcheck")) if at.has("healthcheck") else None,
        logging=model.Logging(driver=at.section("logging").text("driver"), options=at.section("logging").pairs("options"))
        if at.has("logging")
        else None,
        watch=at.section("develop").each("watch", _watch),
        networks=at.every("networks", _attachment),
        network_mode=at.text("network_mode"),
        ports=at.each("ports", _port),
        expose=at.texts("expose"),
        links=reading.links(at.texts("links")),
        external_links=reading.links(at.texts("external_links")),
        extra_hosts=at.hosts("extra_hosts"),
        dns=at.texts("dns"),
        dns_opt=at.texts("dns_opt"),
        dns_search=at.texts("dns_search"),
        mac_address=at.text("mac_address"),
        volumes=at.each("volumes", _mount),
        volumes_from=at.texts("volumes_from"),
        tmpfs=at.texts("tmpfs"),
        read_only=at.flag("read_only"),
        secrets=at.each("secrets", reading.secret_grant),
        configs=at.each("configs", reading.config_grant),
        storage_opt=at.pairs("storage_opt"),
        use_api_socket=at.flag("use_api_socket"),
        cpus=_first(at.number("cpus"), limits.cpus),
        cpu_count=at.integer("cpu_count"),
        cpu_percent=at.number("cpu_percent"),
        cpu_period=at.integer("cpu_period"),
        cpu_quota=at.integer("cpu_quota"),
        cpu_rt_period=at.integer("cpu_rt_period"),
        cpu_rt_runtime=at.integer("cpu_rt_runtime"),
        cpu_shares=at.integer("cpu_shares"),
        cpuset=at.text("cpuset"),
        mem_limit=_first(at.integer("mem_limit"), limits.memory),
        mem_reservation=_first(at.integer("mem_reservation"), reserved.memory),
        mem_swappiness=at.integer("mem_swappiness"),
        memswap_limit=at.integer("memswap_limit"),
        shm_size=at.integer("shm_size"),
        pids_limit=_first(at.integer("pids_limit"), limits.pids),
        oom_kill_disable=at.flag("oom_kill_disable"),
        oom_score_adj=at.integer("oom_score_adj"),
        blkio_config=_block_io(at.section("blkio_config")) if at.has("blkio_config") else None,
        ulimits={key: reading.ulimit(one) for key, one in at.members("ulimits").items()},
        devices=at.each("devices", _device),
        device_cgroup_rules=at.texts("device_cgroup_rules"),
        gpus=at.each("gpus", reading.device_request),
        cgroup_parent=at.text("cgroup_parent"),
        cap_add=at.texts("cap_add"),
        cap_drop=at.texts("cap_drop"),
        security_opt=at.texts("security_opt"),
        privileged=at.flag("privileged"),
        sysctls=at.pairs("sysctls"),
        cgroup=at.text("cgroup"),
        ipc=at.text("ipc"),
        pid=at.text("pid"),
        uts=at.text("uts"),
        userns_mode=at.text("userns_mode"),
        runtime=at.text("runtime"),
        isolation=at.text("isolation"),
        credential_spec=_credentials(at.section("credential_spec")) if at.has("credential_spec") else None,
        models=at.every("models", lambda use: model.ModelUse(endpoint_var=use.text("endpoint_var"), model_var=use.text("model_var"))),
    )


def _first(one: T | None, other: T | None) -> T | None:
    return other if one is None else one


def _replicas(at: Section, deploy: model.Deploy | None) -> int:
    scale = at.integer("scale")
    found = scale if scale is not None else deploy.replicas if deploy else None
    return 1 if found is None else found


def _restart(deploy: model.Deploy | None) -> str:
    """Return Docker's policy for ``deploy.restart_policy``, "" when there is none."""
    policy = deploy.restart_policy if deploy else None
    if policy is None:
        return ""
    known = _RESTARTS.get(policy.condition)
    return known or (f"on-failure:{policy.max_attempts}" if policy.max_attempts else "on-failure")


def _pull(at: Section) -> tuple[str, float | None]:
    """Return the policy and, for refresh, an image's greatest age in seconds."""
    word = at.text("pull_policy")
    ages = {"daily": 86_400.0, "weekly": 7 * 86_400.0}
    if word in ages:
        return "refresh", ages[word]
    if word.startswith("every_"):
        return "refresh", units.seconds(word.removeprefix("every_"))
    return word, at.seconds("pull_refresh_after")


def _env_file(at: Section) -> model.EnvironmentFile:
    return model.EnvironmentFile(path=at.text("path"), required=at.flag("required", otherwise=True), format=at.text("format"))


def _provider(at: Section) -> model.Provider:
    options = {}
    for name, node in at.members("options").items():
        options[name] = tuple(one.text() for one in node.items) if isinstance(node.value, list) else (node.text(),)
    return model.Provider(type=at.text("type"), options=options)


def _dependency(at: Section) -> model.Dependency:
    condition = at.text("condition") or model.STARTED
    return model.Dependency(condition=condition, restart=at.flag("restart"), required=at.flag("required", otherwise=True))


def _healthcheck(at: Section) -> model.Healthcheck:
    test = at.texts("test")
    return model.Healthcheck(
        test=test,
        disable=at.flag("disable") or test[:1] == ("NONE",),
        interval=at.seconds("interval"),
        timeout=at.seconds("timeout"),
        start_period=at.seconds("start_period"),
        start_interval=at.seconds("start_interval"),
        retries=at.integer("retries"),
    )


def _watch(at: Section) -> model.Watch:
    return model.Watch(
        path=at.text("path"),
        action=at.text("action"),
        target=at.text("target"),
        ignore=at.texts("ignore"),
        include=at.texts("include"),
        initial_sync=at.flag("initial_sync"),
        exec=reading.hook(at.section("exec")) if at.has("exec") else None,
    )


def _attachment(at: Section) -> model.Attachment:
    return model.Attachment(
        aliases=at.texts("aliases"),
        ipv4_address=at.text("ipv4_address"),
        ipv6_address=at.text("ipv6_address"),
        link_local_ips=at.texts("link_local_ips"),
        mac_address=at.text("mac_address"),
        interface_name=at.text("interface_name"),
        driver_opts=at.pairs("driver_opts"),
        priority=at.integer("priority") or 0,
        gw_priority=at.integer("gw_priority") or 0,
    )


def _port(at: Section) -> model.Port:
    return model.Port(
        target=at.integer("target") or 0,
        published=at.text("published"),
        host_ip=at.text("host_ip"),
        protocol=at.text("protocol") or "tcp",
        mode=at.text("mode") or "ingress",
        name=at.text("name"),
        app_protocol=at.text("app_protocol"),
    )


def _mount(at: Section) -> model.ServiceMount:
    bind, volume, tmpfs, image = at.section("bind"), at.section("volume"), at.section("tmpfs"), at.section("image")
    return model.ServiceMount(
        type=at.text("type"),
        target=at.text("target"),
        source=at.text("source"),
        read_only=at.flag("read_only"),
        consistency=at.text("consistency"),
        propagation=bind.text("propagation"),
        create_host_path=bind.flag("create_host_path", otherwise=True),
        recursive=bind.text("recursive"),
        selinux=bind.text("selinux"),
        nocopy=volume.flag("nocopy"),
        subpath=volume.text("subpath") or image.text("subpath"),
        labels=volume.pairs("labels"),
        size=tmpfs.integer("size"),
        mode=tmpfs.mode("mode"),
    )


def _device(at: Section) -> model.DeviceMapping:
    target = at.text("target")
    return model.DeviceMapping(source=at.text("source"), target=target, permissions=at.text("permissions") or "rwm")


def _block_io(at: Section) -> model.BlockIO:
    return model.BlockIO(
        weight=at.integer("weight") or 0,
        weight_device=at.each("weight_device", lambda one: model.DeviceRate(path=one.text("path"), rate=one.integer("weight") or 0)),
        device_read_bps=at.each("device_read_bps", _rate),
        device_read_iops=at.each("device_read_iops", _rate),
        device_write_bps=at.each("device_write_bps", _rate),
        device_write_iops=at.each("device_write_iops", _rate),
    )


def _rate(at: Section) -> model.DeviceRate:
    return model.DeviceRate(path=at.text("path"), rate=at.integer("rate") or 0)


def _credentials(at: Section) -> model.CredentialSpec:
    return model.CredentialSpec(config=at.text("config"), file=at.text("file"), registry=at.text("registry"))

"""The flags of ``run`` and ``create``: Docker's names, grouped by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click


def _many(names: Sequence[str], metavar: str, text: str) -> click.Option:
    return click.Option([*names], multiple=True, metavar=metavar, help=text)


def _text(names: Sequence[str], metavar: str, text: str) -> click.Option:
    return click.Option([*names], metavar=metavar, help=text)


def _number(names: Sequence[str], text: str) -> click.Option:
    return click.Option([*names], type=int, help=text)


def _flag(names: Sequence[str], text: str) -> click.Option:
    return click.Option([*names], is_flag=True, help=text)


PROCESS: tuple[click.Option, ...] = (
    _text(["--name"], "NAME", "Name of the container."),
    _flag(["-i", "--interactive"], "Keep the standard input open."),
    _flag(["-t", "--tty"], "Give it a terminal."),
    _many(["-a", "--attach"], "STREAM", "Show this stream only: stdin, stdout or stderr."),
    click.Option(["--sig-proxy"], type=bool, default=True, show_default=True, help="Pass signals on to the container."),
    _text(["--detach-keys"], "KEYS", "Keys that leave the container running, as ctrl-p,ctrl-q."),
    _flag(["--init"], "Let a small program be the first process: it reaps what is orphaned and passes signals on."),
    _text(["--entrypoint"], "PROGRAM", "Replace the image's entrypoint."),
    _flag(["--rm"], "Remove it when it ends."),
    click.Option(["--cidfile"], type=click.Path(), help="Write the container id to this file."),
    _many(["-e", "--env"], "NAME[=VALUE]", "Set an environment variable."),
    click.Option(["--env-file"], multiple=True, type=click.Path(), help="Read environment variables from a file."),
    _text(["-u", "--user"], "USER[:GROUP]", "Run as this user."),
    _many(["--group-add"], "GROUP", "Give the user one more group of the image, by name or number."),
    _text(["-w", "--workdir"], "PATH", "Working directory inside the container."),
    _many(["-l", "--label"], "NAME[=VALUE]", "Set a label."),
    click.Option(["--label-file"], multiple=True, type=click.Path(), help="Read labels from a file."),
    _many(["--annotation"], "NAME=VALUE", "Write an annotation into the container's description."),
    click.Option(["--restart"], default="no", show_default=True, metavar="POLICY", help="no, always, on-failure[:N] or unless-stopped."),
    _text(["--stop-signal"], "SIGNAL", "Signal that asks it to end."),
    _number(["--stop-timeout"], "Seconds to wait before it is killed; -1: for ever."),
    click.Option(["--pull"], default="missing", show_default=True, metavar="WHEN", help="Fetch the image: always, missing or never."),
    _text(["--runtime"], "NAME", "runc, crun or the path of another OCI runtime that makes the container instead."),
    _text(["--platform"], "OS/ARCH", "Platform of the image, as linux/amd64."),
    _flag(["-q", "--quiet"], "Say nothing while the image is fetched."),
)

RESOURCES: tuple[click.Option, ...] = (
    _text(["-m", "--memory"], "SIZE", "Memory limit, as 64m."),
    _text(["--memory-reservation"], "SIZE", "Soft memory limit."),
    _text(["--memory-swap"], "SIZE", "Memory and swap together; -1 is without limit."),
    _number(["--memory-swappiness"], "How readily its memory is swapped out, 0 to 100."),
    _flag(["--oom-kill-disable"], "Let it wait for memory instead of being killed (cgroup v1)."),
    _number(["--oom-score-adj"], "Who is killed first when the machine has no memory: -1000 to 1000."),
    click.Option(["--cpus"], type=float, help="Number of CPUs, as 0.5."),
    _number(["-c", "--cpu-shares"], "Relative CPU weight."),
    _number(["--cpu-period"], "CPU period in microseconds."),
    _number(["--cpu-quota"], "CPU quota in microseconds."),
    _number(["--cpu-rt-period"], "Period of real-time processes in microseconds (cgroup v1)."),
    _number(["--cpu-rt-runtime"], "Time of real-time processes in a period, in microseconds (cgroup v1)."),
    _text(["--cpuset-cpus"], "LIST", "CPUs to run on, as 0-1."),
    _text(["--cpuset-mems"], "LIST", "Memory nodes to use, as 0-1."),
    _number(["--pids-limit"], "Most processes (4096 by default, -1 is without limit)."),
    _text(["--shm-size"], "SIZE", "Size of /dev/shm."),
    _many(["--ulimit"], "NAME=SOFT[:HARD]", "Limit of each process, as nofile=1024:2048."),
    _number(["--blkio-weight"], "Weight of its disk use, 10 to 1000."),
    _many(["--blkio-weight-device"], "PATH:WEIGHT", "Weight on one disk."),
    _many(["--device-read-bps"], "PATH:RATE", "Most bytes read from a disk in a second, as /dev/sda:1mb."),
    _many(["--device-write-bps"], "PATH:RATE", "Most bytes written to a disk in a second."),
    _many(["--device-read-iops"], "PATH:NUMBER", "Most reads from a disk in a second."),
    _many(["--device-write-iops"], "PATH:NUMBER", "Most writes to a disk in a second."),
    _text(["--cgroup-parent"], "NAME", "Group to make its group in, below ours."),
    click.Option(["--storage-opt"], multiple=True, hidden=True, help="Not supported."),
)

ISOLATION: tuple[click.Option, ...] = (
    _many(["--cap-add"], "NAME", "Add a capability."),
    _many(["--cap-drop"], "NAME", "Drop a capability."),
    _flag(["--privileged"], "Give all of the caller's capabilities and devices; no seccomp, no masked paths."),
    _many(["--security-opt"], "WORD", "no-new-privileges=false, seccomp=unconfined, seccomp=FILE, systempaths=unconfined."),
    _flag(["--read-only"], "Mount the root filesystem read-only."),
    _many(["--sysctl"], "NAME=VALUE", "Kernel setting of the container's own namespaces."),
    _many(["--device"], "PATH[:INSIDE][:rwm]", "Give a device of this machine."),
    _many(["--device-cgroup-rule"], "RULE", "Allow devices, as 'c 42:* rwm'."),
    _text(["--gpus"], "WHICH", "Give NVIDIA devices: all, a count, or device=0,1."),
    _text(["--userns"], "WORD", "auto: ids of its own; keep-id: have your own user id inside; host."),
    _text(["--pid"], "MODE", "Whose processes it sees: private, host or container:NAME."),
    _text(["--ipc"], "MODE", "Whose shared memory it has: private, shareable, none, host or container:NAME."),
    _text(["--uts"], "MODE", "Whose host name it has: private, host or container:NAME."),
    _text(["--cgroupns"], "MODE", "Whose cgroups it sees: private or host."),
)

STORAGE: tuple[click.Option, ...] = (
    _many(
        ["-v", "--volume"],
        "SOURCE:TARGET[:ro]",
        "Mount a host directory or a named volume; U gives it to the user inside, O keeps changes apart.",
    ),
    _many(["--mount"], "type=…,source=…,target=…", "Mount a host path (bind), a volume, an image or memory (tmpfs)."),
    _many(["--tmpfs"], "TARGET[:OPTIONS]", "Mount an empty directory in memory."),
    _many(["--volumes-from"], "NAME[:ro]", "Mount what another container has mounted."),
    click.Option(["--volume-driver"], hidden=True, help="Not supported."),
)

NETWORK: tuple[click.Option, ...] = (
    _text(["-h", "--hostname"], "NAME", "Host name inside the container."),
    _text(["--domainname"], "NAME", "NIS domain name inside the container."),
    _many(["-p", "--publish"], "[IP:]HOST:CONTAINER[/PROTO]", "Publish a port (on 127.0.0.1 unless an address is given)."),
    _flag(["-P", "--publish-all"], "Publish every exposed port on a free one."),
    _many(
        ["--network", "--net"],
        "NETWORK",
        "bridge (the default), none, host, container:NAME or a network, also several: NAME, NAME:alias=db,ip=10.1.2.3, name=NAME,alias=db.",
    ),
    _many(["--network-alias", "--net-alias"], "NAME", "One more name that the others of its network find it by."),
    _text(["--ip"], "ADDRESS", "IPv4 address in its network."),
    _text(["--ip6"], "ADDRESS", "IPv6 address in its network."),
    _many(["--link-local-ip"], "ADDRESS", "One more address of its interface, link-local."),
    _text(["--mac-address"], "ADDRESS", "MAC address of its interface, as 02:42:ac:11:00:02."),
    _many(["--expose"], "PORT[/PROTO]", "Say that it listens on a port, or on a range; -P publishes it."),
    _many(
        ["--add-host"],
        "NAME:ADDRESS",
        "Add a line to /etc/hosts; the address host-gateway is this machine, whose services it may then use.",
    ),
    _many(["--dns"], "ADDRESS", "Name server to use."),
    _many(["--dns-search"], "DOMAIN", "Domain to search names in; one dot: none."),
    _many(["--dns-option", "--dns-opt"], "OPTION", "Option of the resolver, as ndots:2."),
)

HEALTH_AND_LOG: tuple[click.Option, ...] = (
    _text(["--health-cmd"], "COMMAND", "Command that finds out whether it works, run by a shell inside."),
    _text(["--health-interval"], "TIME", "Time between two checks, as 30s."),
    _text(["--health-timeout"], "TIME", "Time after which a check has failed."),
    _text(["--health-start-period"], "TIME", "Time it may take to start: failures do not count until then."),
    _text(["--health-start-interval"], "TIME", "Time between two checks while it starts."),
    _number(["--health-retries"], "Failures in a row that make it unhealthy."),
    _flag(["--no-healthcheck"], "Do not check its health, whatever the image says."),
    _text(["--log-driver"], "NAME", "Where its output is kept: json-file, local (both are ours) or none."),
    _many(["--log-opt"], "NAME=VALUE", "How much is kept, and what is told of it: max-size=10m, max-file=3, tag=…, labels=…, env=…."),
)

REFUSED: Mapping[str, str] = {
    "--cpu-count": "it is for Windows; use --cpus",
    "--cpu-percent": "it is for Windows; use --cpus",
    "--io-maxbandwidth": "it is for Windows; use --device-read-bps and --device-write-bps",
    "--io-maxiops": "it is for Windows; use --device-read-iops and --device-write-iops",
    "--link": "links are Docker's old way: put both containers into one network, whose names they find",
    "--use-api-socket": "there is no daemon whose socket could be given",
}
"""Flags of Docker's that are known and not possible, each with the next step."""

ODD: tuple[click.Option, ...] = (
    click.Option(["--isolation"], hidden=True, help="default is all there is on Linux."),
    click.Option(["--disable-content-trust"], type=bool, is_flag=False, flag_value=True, hidden=True, help="As it is anyway."),
    click.Option(["--kernel-memory"], hidden=True, help="No kernel limits it apart any more."),
    *(click.Option([name], hidden=True, is_flag=name == "--use-api-socket", help="Not supported.") for name in REFUSED),
)

OPTIONS = (*PROCESS, *RESOURCES, *ISOLATION, *STORAGE, *NETWORK, *HEALTH_AND_LOG, *ODD)

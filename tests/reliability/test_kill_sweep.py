"""REL-01, P2, P3, P4: whoever is killed, at whatever moment: the store is whole, the list is true, it can be done again, nothing stays.

``NBC_SWEEP=1000`` kills that often for each operation (200 without it, fewer for the long ones); a failure prints the seed that repeats it.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from notebook_containers.errors import Conflict, ContainerNotFound, Error, ImageNotFound
from notebook_containers.linux import process as processes
from notebook_containers.store.check import check
from tests import groups
from tests.home import BASE, Home, new_home
from tests.reliability.pool import Order, Outcome, Pool
from tests.reliability.victims import dice

pytestmark = [pytest.mark.root, pytest.mark.timeout(3600)]

NAME = "victim"
LONG = ["sh", "-c", "while :; do echo tick; sleep 0.05; done"]
BUILD = """FROM localhost/base
RUN echo {n} > /one
WORKDIR /two
RUN sleep 0.02; echo {n} > /two/three"""
LANES = 2
TRUE_S, ALL_S = 2, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``code`` is the operation, ``before`` what it needs, ``after`` the states it may leave, ``retry`` does it again and proves it.

    ``{network}`` and ``{n}`` in the code are this time's network and number. ``victims`` says who may be killed, ``often`` how often.
    """

    code: str
    retry: Callable[[Engine, int], None]
    after: frozenset[str]
    before: Callable[[Engine, str], None] = lambda engine, network: None
    victims: tuple[str, ...] = ("engine",)
    often: int = 200


def created(engine: Engine, network: str = "none") -> None:
    engine.containers.create(BASE, LONG, name=NAME, network=network, stop_timeout=0, volumes=["/data"])


def running(engine: Engine, network: str = "none") -> None:
    engine.containers.run(BASE, LONG, name=NAME, network=network, stop_timeout=0, volumes=["/data"], detach=True)


def create_again(engine: Engine, number: int) -> None:
    for container in engine.containers.list(all=True):
        container.remove(force=True, v=True)
    created(engine)


def start_again(engine: Engine, number: int) -> None:
    """Start it and run something in it; once more when it was just dying, since its monitor was killed."""
    container = engine.containers.get(NAME)
    deadline = time.monotonic() + TRUE_S
    while True:
        container.start()
        with suppress(Conflict):
            result = container.exec_run("echo in")
            if result.exit_code != 137:
                break
        assert time.monotonic() < deadline
    assert result.output == b"in\n"


def stop_again(engine: Engine, number: int) -> None:
    container = engine.containers.get(NAME)
    container.stop(timeout=0)
    assert container.status == "exited"
    assert container.exit_code == 137


def remove_again(engine: Engine, number: int) -> None:
    try:
        engine.containers.get(NAME).remove(force=True, v=True)
    except ContainerNotFound:
        pass
    assert engine.containers.list(all=True) == []


def build_again(engine: Engine, number: int) -> None:
    engine.images.build(text=BUILD.format(n=number), tag="swept", network="none")
    assert engine.containers.run("swept", ["cat", "/one", "/two/three"], network="none", remove=True) == f"{number}\n{number}\n".encode()


def tag_again(engine: Engine, number: int) -> None:
    engine.images.get(BASE).tag("swept")
    assert engine.images.get("swept").id == engine.images.get(BASE).id


def prune_again(engine: Engine, number: int) -> None:
    engine.containers.prune()
    assert engine.containers.list(all=True) == []


GIVEN = f"name={NAME!r}, network={{network!r}}, stop_timeout=0, volumes=['/data']"
CASES: Mapping[str, Case] = {
    "create": Case(code=f"engine.containers.create(BASE, {LONG!r}, {GIVEN})", retry=create_again, after=frozenset({"", "created"})),
    "start": Case(
        code=f"engine.containers.get({NAME!r}).start()",
        retry=start_again,
        before=created,
        victims=("engine", "spawner", "monitor"),
        after=frozenset({"created", "running", "exited"}),
    ),
    "exec": Case(
        code=f"engine.containers.get({NAME!r}).exec_run('echo in')",
        retry=start_again,
        before=running,
        victims=("engine", "spawner", "monitor of before"),
        after=frozenset({"running", "exited"}),
    ),
    "stop": Case(
        code=f"engine.containers.get({NAME!r}).stop(timeout=0)",
        retry=stop_again,
        before=running,
        victims=("engine", "monitor of before"),
        after=frozenset({"running", "exited"}),
    ),
    "rm": Case(
        code=f"engine.containers.get({NAME!r}).remove(force=True, v=True)",
        retry=remove_again,
        before=running,
        victims=("engine", "monitor of before"),
        after=frozenset({"", "running", "exited"}),
    ),
    "run": Case(
        code=f"engine.containers.run(BASE, ['echo', 'x'], remove=True, name={NAME!r}, network={{network!r}})",
        retry=create_again,
        victims=("engine", "spawner", "monitor"),
        after=frozenset({"", "created", "running", "exited"}),
        often=20,
    ),
    "build": Case(
        code=f"engine.images.build(text={BUILD!r}, tag='swept', network={{build!r}})",
        retry=build_again,
        victims=("engine", "spawner", "monitor"),
        after=frozenset({""}),
        often=20,
    ),
    "tag": Case(code="engine.images.get(BASE).tag('swept')", retry=tag_again, after=frozenset({""}), often=20),
    "prune": Case(
        code="engine.containers.prune(); engine.images.prune()",
        retry=prune_again,
        before=created,
        after=frozenset({"", "created"}),
        often=20,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rel01_a_kill_at_any_moment(no_leaks: None, name: str) -> None:
    times = int(os.environ.get("NBC_SWEEP", CASES[name].often))
    chances = [dice(f"{name}-{lane}") for lane in range(LANES)]
    began = time.monotonic()
    with ExitStack() as stack:
        places = [stack.enter_context(_place()) for _ in chances]
        lanes = stack.enter_context(ThreadPoolExecutor(LANES))
        started = [lanes.submit(sweep, name, place, times // LANES, chance) for place, chance in zip(places, chances, strict=True)]
        hits = [found for lane in started for found in lane.result()]
    print(f"{name}: {len(hits)} times, {sum(hits)} of them in the middle, {(time.monotonic() - began) / len(hits):.3f} s each")
    assert len(hits) < 100 or sum(hits) > len(hits) // 4  # else the moments were chosen badly


@contextmanager
def _place() -> Iterator[Home]:
    """A store whose bridge is there, so that no two of them look for a free subnet at once."""
    with new_home() as made:
        engine = made.open()
        engine.containers.run(BASE, ["true"], remove=True)
        engine.close(tidy=False)
        yield made


def sweep(name: str, place: Home, times: int, chance: random.Random) -> list[bool]:
    """Kill so many times in one store; of each time, whether somebody was killed who was at work."""
    case, hits = CASES[name], []
    with place.open() as engine, Pool(place.variables()) as pool:
        whole = [_undisturbed(engine, place, pool, case, number) for number in range(3)]
        for number in range(3, 3 + times):
            network = chance.choice(["none", "bridge"])
            after_s = chance.uniform(0, median(whole[-5:]) * 1.1)
            order = Order(code=_code(case, number, network), after_s=after_s, victim=chance.choice(case.victims))
            case.before(engine, network)
            try:
                outcome = once(engine, place, pool, case, order, number)
            except BaseException as err:
                err.add_note(f"{name} {number}: {order}")
                raise
            hits.append(outcome.killed != 0 and (outcome.code == -9 or order.victim != "engine"))
            whole += [float(outcome.output)] if outcome.code == 0 and not hits[-1] else []  # the machine may be busier or freer than it was
    return hits


def once(engine: Engine, place: Home, pool: Pool, case: Case, order: Order, number: int) -> Outcome:
    """One kill, seen by ``engine``, which is another process than the one that is killed."""
    states = [container.state for container in engine.containers.list(all=True)]
    if order.victim == "monitor of before":
        order = Order(code=order.code, after_s=order.after_s, pid=states[0].monitor_pid)
    outcome = pool.run(order)
    _expected(outcome, order)
    began = time.monotonic()
    assert damage(engine) == []
    truthful(engine)
    left: set[str] = {container.status for container in engine.containers.list(all=True)} or {""}
    assert left <= case.after, (left, outcome)
    case.retry(engine, number)
    assert damage(engine) == []
    states += [container.state for container in engine.containers.list(all=True)]
    tidy(engine)
    assert time.monotonic() - began < ALL_S
    left_nothing(engine, place)
    for state in states:
        gone(state.id, {state.pid: state.pid_started, state.monitor_pid: state.monitor_started})
    return outcome


def _expected(outcome: Outcome, order: Order) -> None:
    """An engine that was not killed itself ends well or with an error of ours, in bounded time."""
    if outcome.code not in (0, -9):
        assert "notebook_containers.errors." in outcome.output.splitlines()[-1], outcome.output
        assert order.victim != "engine" or order.pid, outcome.output
    assert outcome.seconds < ALL_S + 2, outcome


def _code(case: Case, number: int, network: str) -> str:
    words = {"{n}": str(number), "{network!r}": repr(network), "{build!r}": repr("default" if network == "bridge" else network)}
    text = case.code
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _undisturbed(engine: Engine, place: Home, pool: Pool, case: Case, number: int) -> float:
    case.before(engine, "bridge")
    outcome = pool.run(Order(code=_code(case, number, "bridge")))
    assert outcome.code == 0, outcome.output
    tidy(engine)
    left_nothing(engine, place)
    return float(outcome.output)


def damage(engine: Engine) -> list[str]:
    return [str(finding) for finding in check(engine._parts.store, quick=True) if not finding.garbage]


def truthful(engine: Engine) -> None:
    """What the list says runs, answers; what it says is over, has no process."""
    deadline = time.monotonic() + TRUE_S
    while wrong := [c.name for c in engine.containers.list(all=True) if not _true(c)]:
        assert time.monotonic() < deadline, wrong
        time.sleep(0.01)


def _true(container: Container) -> bool:
    status, pid = container.status, container.state.pid
    if status == "running":
        try:
            return container.exec_run("true").exit_code == 0
        except Error:
            return False
    return status in ("created", "exited") and (not pid or status == "created")


def tidy(engine: Engine) -> None:
    """Remove everything that a sweep makes, by the means that a user has."""
    for container in engine.containers.list(all=True):
        container.remove(force=True, v=True)
    try:
        engine.images.remove("swept")
    except ImageNotFound:
        pass
    for volume in engine.volumes.list():
        engine.volumes.remove(volume.name)
    engine.networks.tidy()
    for place in (engine.run_dir / "c").iterdir():  # only what is old can have been left: as if it were
        if not (place / "state.json").exists():
            os.utime(place, (0, 0))
    engine.images.prune()
    engine._parts.store.disk.settle()


def left_nothing(engine: Engine, place: Home) -> None:
    """No garbage in the store, no directory, no mount, no lock, no port of the bridge; a moment after the removal."""
    deadline = time.monotonic() + TRUE_S
    while left := _left(engine, place):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
        tidy(engine)  # a killed engine's build step may just have ended


def _left(engine: Engine, place: Home) -> list[str]:
    found = [str(finding) for finding in check(engine._parts.store, quick=True)]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place.top) in line]
    for row in engine._parts.store.records.networks():
        found += [f"port {port}" for port in _ports(json.loads(row.document)["link"])]
        found += [f"address {lease}" for lease in engine._parts.store.records.addresses(row.id)]
    return found + [f"{where}: {names}" for where, names in place.remains().items()]


def _ports(bridge: str) -> list[str]:
    try:
        return os.listdir(f"/sys/class/net/{bridge}/brif")
    except FileNotFoundError:  # the bridge is gone, and with it all of its ports
        return []


def gone(identity: str, pids: Mapping[int, int]) -> None:
    """Nothing of a container: none of its processes, no cgroup."""
    deadline = time.monotonic() + TRUE_S
    while any(processes.alive(pid, started) for pid, started in pids.items()):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)
    assert groups.named(lambda name: name.startswith(identity)) == []

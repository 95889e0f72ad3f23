"""REL-09: 2, 8 and 32 processes pull or build the same thing at one moment; one is killed, one has a network that breaks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.store.check import check
from notebook_containers.store.collect import collect
from notebook_containers.store.store import Store
from tests.home import BASE, new_home
from tests.registry.scripted import Answer, Scripted
from tests.registry.test_hostile import BigImage
from tests.reliability.crowd import together
from tests.reliability.victims import dice

Serve = Callable[..., Scripted]


@pytest.mark.parametrize("count", [2, 8, 32])
def test_rel09_many_processes_pull_one_image(tmp_path: Path, scripted: Serve, count: int) -> None:
    good, bad, image, chance = scripted(), scripted(), BigImage(), dice(f"pull-{count}")
    for server in (good, bad):
        image.serve(server)
    good.say(image.layer_path, Answer(body=image.tar, bytes_per_s=600_000))
    bad.say(image.layer_path, Answer(body=image.tar, reset_after=1000))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "registries.toml").write_text("timeouts = {pause_s = 0.01, attempts = 3}\n")
    names = [f"{good.host}/a:1"] * count
    victim = -1
    if count > 2:
        names[chance.randrange(count)] = f"{bad.host}/a:1"
        victim = chance.randrange(count)
    environment = {"HOME": str(tmp_path)}
    ends = together([("pull", str(tmp_path / "store"), name) for name in names], environment, victim=victim, after_s=chance.uniform(0, 1))
    for number, (name, end) in enumerate(zip(names, ends, strict=True)):
        broken = name.startswith(bad.host) and "broke after" in end.said
        assert end.code == 0 or broken or (number == victim and end.code == -9), end
    fetched = len(good.asked(image.layer_path, "GET"))
    assert 1 <= fetched <= (2 if victim >= 0 and ends[victim].code else 1)
    with Store.open(tmp_path / "store") as store:
        assert store.images.resolve(f"{good.host}/a:1").diff_ids == (image.layer,)
        assert [layer.diff_id for layer in store.layers.list()] == [image.layer]
        collect(store)
        assert os.listdir(store.disk.staging) == []
        assert check(store) == []


@pytest.mark.root
@pytest.mark.parametrize("count", [2, 8, 32])
def test_rel09_many_processes_build_one_image(tmp_path: Path, count: int) -> None:
    chance = dice(f"build-{count}")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN --mount=type=cache,target=/c echo x >> /c/log; sleep 0.5; cat /c/log > /log\nRUN echo more > /more\n"
    )
    with new_home() as home:
        with home.open() as engine:
            engine.images.obtain(BASE)
        victim = chance.randrange(count) if count > 2 else -1
        words = [("build", str(home.root), str(home.run), str(tmp_path))] * count
        ends = together(words, {"HOME": str(tmp_path)}, victim=victim, after_s=chance.uniform(0, 2))
        assert [end for number, end in enumerate(ends) if end.code and (number, end.code) != (victim, -9)] == []
        assert len({end.said for end in ends if end.code == 0}) == 1
        with home.open() as engine:
            said = engine.containers.run(next(end.said for end in ends if end.code == 0), ["cat", "/log"], network="none", remove=True)
            assert said == b"x\n" or (victim >= 0 and ends[victim].code and said == b"x\nx\n")
            engine.images.prune(all=True)

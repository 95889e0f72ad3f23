"""What an ordinary user does with files; prints a JSON object. Run by test_files_user.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from notebook_containers import Engine
from notebook_containers.engine.container import Container
from tests.engine.tars import contents, members, tar
from tests.home import BASE


def main(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    (top / "local").write_text("from outside")
    with Engine(root=top / "root", run=top / "run") as engine:
        box = engine.containers.create(BASE, ["sleep", "1000"], network="none", volumes=["data:/data"], stop_timeout=0)
        try:
            _journey(engine, box, top, found)
        finally:
            box.remove(force=True)
    return found


def _journey(engine: Engine, box: Container, top: Path, found: dict[str, object]) -> None:
    found["created"] = _copies(box, top, "created")
    box.start()
    found["running"] = _copies(box, top, "running")
    found["usage"] = {k: v for k, v in box.usage().items() if k in ("pids", "mem_usage")}
    found["top"] = box.top()["Titles"]
    image = box.commit("mine", "1", changes=["CMD cat /tmp/running"])
    found["committed"] = str(engine.containers.run("mine:1", network="none", remove=True))
    found["update"] = box.update(pids_limit=100)
    box.stop(timeout=0)
    found["exited"] = _copies(box, top, "exited")
    archive = b"".join(engine.images.save(["mine:1"]))
    engine.images.remove(image.id, force=True)
    found["loaded"] = engine.images.load(archive)[0].id == image.id


def _copies(box: Container, top: Path, state: str) -> dict[str, object]:
    owned = {"type": b"5", "uid": 0, "gid": 0, "mode": 0o700}
    box.put_archive("/tmp", tar((state, state.encode()), (f"closed-{state}", owned), (f"closed-{state}/f", b"deep")))
    box.put_archive("/data", tar((state, b"volume")))
    box.copy_to(top / "local", "/tmp/local")
    box.copy_from("/tmp", top / f"out-{state}")
    exported = {name.removeprefix("./") for name in members(box.export())}
    return {
        "tmp": sorted(contents(box.get_archive("/tmp")[0])),
        "data": sorted(contents(box.get_archive("/data")[0])),
        "out": sorted(p.name for p in (top / f"out-{state}").iterdir()),
        "mine": (top / f"out-{state}" / "local").stat().st_uid == os.geteuid(),
        "exported": f"tmp/{state}" in exported and f"data/{state}" not in exported,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

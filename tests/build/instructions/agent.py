"""Run by root's or an ordinary user's Python: builds what it is asked for, one JSON document a line. Argument: an empty directory."""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import TypedDict, cast

from notebook_containers.build.progress import Event, StepOutput, Warned
from notebook_containers.engine.engine import Engine
from notebook_containers.engine.image import BuildResult
from notebook_containers.errors import BuildError, DockerfileError, Error


class Asked(TypedDict):
    text: str
    files: dict[str, str]
    arguments: dict[str, str]
    target: str
    tag: str
    command: list[str] | None


class Entry(TypedDict):
    kind: str
    mode: int
    uid: int
    gid: int
    link: str
    text: str


class Answer(TypedDict, total=False):
    error: str
    hint: str
    line: int
    id: str
    config: dict[str, object]
    history: list[str]
    layers: list[dict[str, Entry]]
    statuses: list[str]
    reasons: list[str]
    warnings: list[list[object]]
    said: str
    printed: str


def main(top: Path) -> None:
    with Engine(root=top / "root", run=top / "run") as engine:
        for line in sys.stdin:
            print(json.dumps(answer(engine, top / "context", cast("Asked", json.loads(line)))), flush=True)


def answer(engine: Engine, context: Path, asked: Asked) -> Answer:
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    for name, text in asked["files"].items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    events: list[Event] = []
    try:
        built = engine.images.build(
            context, text=asked["text"], tag=asked["tag"], buildargs=asked["arguments"], target=asked["target"], network="none",
            progress=events.append,
        )  # fmt: skip
        return about(engine, built, events, asked["command"])
    except Error as err:
        line = err.line if isinstance(err, DockerfileError | BuildError) else 0
        return {"error": err.message, "hint": err.hint or "", "line": line or 0, "said": said(events)}


def about(engine: Engine, built: BuildResult, events: list[Event], command: list[str] | None) -> Answer:
    record = built.image.record
    document = json.loads(record.config.to_bytes())
    printed = ""
    if command is not None:
        printed = bytes(engine.containers.run(built.image.id, command, remove=True, network="none")).decode()  # type: ignore[arg-type]
    return {
        "id": built.image.id,
        "config": {"author": document.get("author", ""), **document["config"]},
        "history": [entry.created_by for entry in record.config.history[base_steps(engine, built) :]],
        "layers": [entries(engine, number, built) for number in range(len(record.diff_ids))],
        "statuses": [step.status for step in built.steps],
        "reasons": [step.reason for step in built.steps],
        "warnings": [[event.line, event.rule, event.message] for event in events if isinstance(event, Warned)],
        "said": said(events),
        "printed": printed,
    }


def base_steps(engine: Engine, built: BuildResult) -> int:
    """How much of an image's history is that of the test's base image."""
    base = engine.images.get("localhost/base").record
    shared = built.image.record.diff_ids[: len(base.diff_ids)] == base.diff_ids
    return len(base.config.history) if shared else 0


def said(events: list[Event]) -> str:
    return b"".join(event.data for event in events if isinstance(event, StepOutput)).decode()


def entries(engine: Engine, number: int, built: BuildResult) -> dict[str, Entry]:
    """Return the entries of a layer; of one with many (the base image) none."""
    layers = engine._parts.store.layers
    found: dict[str, Entry] = {}
    with layers.open_tar(built.image.record.diff_ids[number]) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if len(found) > 50:
                return {}
            file = tar.extractfile(member) if member.isfile() else None
            kind = "directory" if member.isdir() else "link" if member.issym() else "file" if member.isfile() else "other"
            found[member.name.rstrip("/")] = {
                "kind": kind, "mode": member.mode, "uid": member.uid, "gid": member.gid, "link": member.linkname,
                "text": file.read(1000).decode("latin-1") if file else "",
            }  # fmt: skip
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))

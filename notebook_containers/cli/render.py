"""Results on the command line: Docker's tables and lines, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from notebook_containers.commands.results import (
    Built,
    Documents,
    Ended,
    Given,
    Graphed,
    Layers,
    Names,
    Networked,
    Planned,
    Removed,
    Result,
    Row,
    Started,
    Table,
    Text,
    Tree,
)
from notebook_containers.errors import Error


def show(result: Result) -> int:
    """Print a result and return the exit status."""
    match result:
        case Table(kind=kind, rows=rows, status=status):
            _print(_table(kind, rows, also=result.also, whole=result.whole) if rows or not result.empty else result.empty)
            return status
        case Text(text=text, status=status):
            _print(text)
            return status
        case Given(text=text):
            _print(text)
        case Removed(lines=lines, total=total, failures=failures):
            _print("\n".join([*lines, *([total] if total else [])]))
            return _tell(failures)
        case Names(names=names, failures=failures):
            _print("\n".join(names))
            return _tell(failures)
        case Documents(documents=documents, kind=kind, failures=failures):
            _print(_documents(documents, kind))
            return _tell(failures)
        case Started(container=container):
            print(container.id)
        case Ended(exit_code=code, verdict=verdict):
            if verdict:
                from notebook_containers.commands.text import plain

                print(f"nbc: {plain(verdict)}", file=sys.stderr)
            return code
        case Graphed(graph=graph):
            _print(graph.as_text())
        case Networked(topology=topology):
            _print(topology.as_text())
        case Planned(plan=plan):
            _print(plan.as_text())
        case Built(image=image, plan=plan):
            if plan is not None:
                print(plan.as_text(), file=sys.stderr)
            print(image.id)
        case Layers(stacks=stacks):
            from notebook_containers.commands.layers import as_text

            _print(as_text(stacks))
        case Tree(branches=branches):
            _print("\n".join(branch.text() for branch in branches))
    return 0


def _tell(failures: Sequence[Exception]) -> int:
    for err in failures:
        print(f"nbc: {err.one_line() if isinstance(err, Error) else err}", file=sys.stderr)
    return 1 if failures else 0


def _table(kind: str, rows: Sequence[Row], *, also: Sequence[str] = (), whole: bool = False) -> str:
    if kind == "diff":
        return "\n".join(f"{row['kind']} {row['path']}" for row in rows)
    if kind == "port":
        return "\n".join(f"{row['container']} -> {row['host']}" for row in rows)
    from notebook_containers.commands import formatting

    return formatting.table(kind, rows, also=also, whole=whole)


def _documents(documents: object, kind: str) -> str:
    if kind in ("info", "version") and isinstance(documents, (list, tuple)):
        return "\n".join(_outline(documents[0]))
    return json.dumps(list(documents) if isinstance(documents, (list, tuple)) else documents, indent=4, ensure_ascii=False)


def _outline(document: dict[str, object], indent: str = "") -> list[str]:
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_outline(value, indent + " ")]
        elif isinstance(value, list):
            lines += [f"{indent}{key}:" + (" none" if not value else ""), *(f"{indent} - {item}" for item in value)]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines


def _print(text: str) -> None:
    if text:
        print(text)

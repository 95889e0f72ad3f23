"""Results in a notebook: DataFrames, diagrams, objects; output that was streamed already is not shown twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from notebook_containers.commands import results
from notebook_containers.commands.layers import ImageStack
from notebook_containers.commands.plans import BuildPlan
from notebook_containers.errors import ContainerError
from notebook_containers.notebook import diagrams, tables
from notebook_containers.notebook.face import NotebookFace
from notebook_containers.notebook.imagetree import ImageTree
from notebook_containers.notebook.plans import PlanDiagram

if TYPE_CHECKING:
    from notebook_containers.engine.image import Image


def show(result: results.Result, face: NotebookFace, *, raise_error: bool) -> object:
    """Return what the cell displays for a result; raises ContainerError for a non-zero exit status, and the first failure of several."""
    match result:
        case results.Table(kind=kind, rows=rows, empty=empty):
            if empty and not rows:
                face.write("stdout", f"{empty}\n".encode())
            return tables.TABLES[kind].frame(rows)
        case results.Text(text=text):
            face.write("stdout", f"{text}\n".encode() if text else b"")
        case results.Names(names=names, failures=failures):
            face.write("stdout", "".join(f"{name}\n" for name in names).encode())
            if failures:
                raise failures[0]
        case results.Removed(rows=rows, total=total, failures=failures):
            face.write("stdout", f"{total}\n".encode() if total else b"")
            if failures:
                raise failures[0]
            return tables.TABLES["removed"].frame(rows)
        case results.Documents(documents=documents, failures=failures):
            if failures:
                raise failures[0]
            return documents[0] if len(documents) == 1 else list(documents)
        case results.Given(value=given):
            return given
        case results.Started(container=container):
            return container
        case results.Ended(exit_code=code, what=what, container_id=container_id, verdict=verdict):
            if code and raise_error:
                text = f"{what} ended with exit status {code}"
                raise ContainerError(text, hint=verdict, exit_status=code, container_id=container_id)
            if verdict:
                face.note(verdict)
        case results.Built(plan=BuildPlan() as plan, quiet=False) | results.Planned(plan=plan):
            return PlanDiagram(plan)
        case results.Built(image=image, quiet=quiet):
            return None if quiet else diagram([_stack(image)])
        case results.Graphed(graph=graph):
            from notebook_containers.notebook.graphs import ProjectDiagram

            return ProjectDiagram(graph)
        case results.Networked(topology=topology):
            from notebook_containers.notebook.topology import TopologyDiagram

            return TopologyDiagram(topology)
        case results.Layers(stacks=stacks):
            return diagram(stacks)
        case results.Tree(branches=branches):
            return ImageTree(branches)
    return None


def value(result: results.Result, shown: object) -> object:
    """Return what ``--out NAME`` keeps: the container, the image, or what was shown."""
    if isinstance(result, results.Built):
        return result.image
    return shown


def _stack(image: Image) -> ImageStack:
    from notebook_containers.commands.images import stack

    return stack(image)


def diagram(stacks: Sequence[ImageStack]) -> diagrams.LayerDiagram:
    """Return the drawing of stacks of layers."""
    return diagrams.LayerDiagram(stacks)

"""A pull, push, load, save or import in the notebook: one display with a bar for each layer, which stays as a static summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from notebook_containers.commands import figures
from notebook_containers.commands.transfer_views import PlainTransferView, TerminalTransferView, stream_view, terminal_lines
from notebook_containers.commands.transfers import Part, TransferState, Verb
from notebook_containers.notebook.html import Markup, element, join
from notebook_containers.notebook.live import LiveView, Snapshot
from notebook_containers.registry.progress import TransferEvent

_SIGNS = {"waiting": "·", "done": "✓", "exists": "✓", "mounted": "✓", "stopped": "■", "uploading": "▲"}
_LEFT = {"style": "text-align: left"}
_RIGHT = {"style": "text-align: right"}
_KEPT = "\N{NO-BREAK SPACE}"
_MOST_ROWS = 200


def transfer_view(shell: object, verb: Verb, subject: str) -> TransferView | TerminalTransferView | PlainTransferView:
    """Return the view that suits a shell: one updating display under a kernel, a terminal's bars in a terminal's IPython."""
    return TransferView(TransferState(verb, subject)) if hasattr(shell, "kernel") else stream_view(verb, subject, sys.stdout)


class TransferView(LiveView[TransferState]):
    """Follows a transfer in one display of the current cell; use it as a context manager around it, and as its ``progress``.

    On leaving, the last update stays: a sentence for each image, with its layers below; after an error what had come until then.
    """

    def __init__(self, state: TransferState) -> None:
        super().__init__(state, name="transfer-view")

    def __call__(self, event: TransferEvent) -> None:
        """Take an event, from any thread; never draws, so it costs the transfer nothing."""
        with self.lock:
            self.state.take(event)
        self.changed()

    def draw(self) -> Snapshot:
        """Return how it looks now."""
        return Snapshot(html=_html(self.state), text=_text(self.state))


def _html(state: TransferState) -> Markup:
    sentences = state.sentences()
    heading = [element("div", None, element("strong", None, sentence)) for sentence in sentences]
    parts = state.parts()
    if not parts:
        return join(*heading)
    shown = parts[:_MOST_ROWS]
    table = element("table", None, element("tbody", None, *(_row(part, bars=not state.over) for part in shown)))
    more = [element("div", None, f"… and {len(parts) - len(shown)} more")] if len(parts) > len(shown) else []
    if state.over and not state.error:
        return join(*heading, element("details", None, element("summary", None, figures.count(len(parts), "layer")), table, *more))
    return join(*heading, table, *more)


def _row(part: Part, *, bars: bool) -> Markup:
    return element("tr", None, *_cells(part, bars=bars))


def _cells(part: Part, *, bars: bool) -> Iterator[Markup]:
    yield element("td", _LEFT, element("code", None, part.name))
    yield element("td", _LEFT, f"{_SIGNS.get(part.phase, '▼')} {part.phase}".replace(" ", _KEPT))
    if bars:
        yield element("td", _LEFT, *([_bar(part)] if part.phase != "waiting" else ()))
    yield element("td", _RIGHT, part.amount().replace(" ", _KEPT))
    took = figures.seconds(part.seconds) if part.phase == "done" else ""
    yield element("td", _RIGHT, (part.speed() or took).replace(" ", _KEPT))


def _bar(part: Part) -> Markup:
    if part.share is None:
        return element("progress", None, part.phase)
    return element("progress", {"value": round(part.share * 1000), "max": 1000}, f"{part.share:.0%}")


def _text(state: TransferState) -> str:
    sentences = state.sentences()
    return "\n".join([*sentences, *(f"  {line}" for line in terminal_lines(state.parts()[:_MOST_ROWS], bars=not state.over))])

"""A project in the notebook: one display with a row for each service while something is done with it, which stays as a static table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from notebook_containers.commands.compose_board import HEADINGS, Board, BoardRow
from notebook_containers.commands.compose_views import PlainProjectView, TerminalProjectView, stream_view
from notebook_containers.commands.text import one_line
from notebook_containers.notebook.html import Markup, element, join
from notebook_containers.notebook.live import LiveView, Snapshot

if TYPE_CHECKING:
    from notebook_containers.compose.progress import Told

_LEFT = {"style": "text-align: left"}
_KEPT = "\N{NO-BREAK SPACE}"
_SIGNS = {"running": "●", "exited (0)": "✓", "error": "✗", "removed": "∅", "waiting": "…", "-": "·"}


def project_view(shell: object, board: Board) -> ProjectView | TerminalProjectView | PlainProjectView:
    """Return the view that suits a shell: one updating display under a kernel, a terminal's table in a terminal's IPython."""
    return ProjectView(board) if hasattr(shell, "kernel") else stream_view(board, sys.stdout)


class ProjectView(LiveView[Board]):
    """Follows a verb in one display of the current cell; use it as a context manager around the verb, and as its ``told``."""

    def __init__(self, board: Board) -> None:
        super().__init__(board, name="project-view")

    def __call__(self, event: Told) -> None:
        """Take an event, from any thread; never draws, so it costs the verb nothing."""
        with self.lock:
            self.state.take(event)
        self.changed()

    def draw(self) -> Snapshot:
        """Return how it looks now."""
        rows = self.state.rows()
        heads = element("tr", None, *(element("th", _LEFT, name.capitalize()) for name in HEADINGS))
        table = element("table", None, element("thead", None, heads), element("tbody", None, *(_row(row) for row in rows)))
        parts = [element("div", None, element("strong", None, one_line(self.state.sentence(), limit=600)))]
        parts += [table] if rows else []
        parts += [element("div", None, element("em", None, f"warning: {one_line(text, limit=600)}")) for text in self.state.warnings[:50]]
        warnings = [f"warning: {one_line(text, limit=600)}" for text in self.state.warnings[:50]]
        *lines, sentence = self.state.lines()
        return Snapshot(html=join(*parts), text="\n".join([one_line(sentence, limit=600), *(lines if rows else []), *warnings]))


def _row(row: BoardRow) -> Markup:
    sign = next((sign for word, sign in _SIGNS.items() if row.state.endswith(word)), "▸")
    cells = [
        element("code", None, row.service),
        f"{sign} {one_line(row.state)}",
        row.health,
        one_line(row.waiting_for),
        one_line(row.ports),
    ]
    return element("tr", None, *(element("td", _LEFT, c if isinstance(c, Markup) else c.replace(" ", _KEPT)) for c in cells))

"""Run by an ordinary user's Python: builds through the engine, prints JSON. Argument: an empty directory of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from notebook_containers.engine.engine import Engine
from notebook_containers.errors import BuildError

TEXT = """FROM localhost/base AS made
WORKDIR /srv/app
COPY --chown=5:6 app.py ./
RUN id -u > who && rm -f app.py
COPY <<EOF note
hello
EOF
FROM scratch
COPY --from=made /srv/app /out/
"""


def main(top: Path) -> None:
    context = top / "context"
    context.mkdir()
    (context / "app.py").write_text("app")
    with Engine(root=top / "root", run=top / "run") as engine:
        engine.images.build(context, text=TEXT, tag="one", network="none")
        again = engine.images.build(context, text=TEXT, tag="two", network="none")
        try:
            engine.images.build(context, text="FROM localhost/base\nRUN exit 3\n", tag="three", network="none")
            failed = ""
        except BuildError as err:
            failed = err.message
        statuses = [step.status for step in again.steps]
        names = sorted(p.name for p in (top / "root" / "snapshots").iterdir())
        store = engine.images.get("one").id, engine.images.get("two").id
        out = next((top / "root" / "layers").glob("*/diff/out"))
        files = {p.name: p.read_text() for p in out.iterdir()}
        print(json.dumps({"ids": store, "statuses": statuses, "snapshots": names, "files": files, "failed": failed}))


main(Path(sys.argv[1]))

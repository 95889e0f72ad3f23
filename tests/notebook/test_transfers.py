"""Images on their way in a notebook: one display, few updates, a static end also under nbconvert; values, wrong input, passwords."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbclient
import nbconvert
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from notebook_containers.commands.transfer_views import PlainTransferView
from notebook_containers.commands.transfers import TransferState
from notebook_containers.notebook.transfers import TransferView, transfer_view
from notebook_containers.oci.image import Digest
from notebook_containers.registry.progress import BlobProgress, TransferDone, TransferStarted
from tests.home import BASE
from tests.notebook.kernels import Kernel
from tests.notebook.test_progress import ATTACK, Tags, html, published  # noqa: F401 - a fixture
from tests.registry.conftest import scripted, serve_registry  # noqa: F401 - fixtures
from tests.registry.images import serve_layers
from tests.registry.scripted import Answer, Scripted

LAYER = Digest.of(b"layer")


@pytest.fixture
def slow(kernel: Kernel, scripted: Callable[..., Scripted]) -> Iterator[str]:  # noqa: F811
    """An image of two layers that takes a second; it is gone afterwards."""
    name = serve_layers(scripted(), os.urandom(200_000), os.urandom(600_000), bytes_per_s=500_000)
    yield name
    kernel.run(f"%container_rmi {name}")
    kernel.ok("%container_image prune")


def begin(view: TransferView, name: str = "reg/a:1") -> None:
    view(TransferStarted(name=name, direction="pull", platform="linux/amd64"))
    view(BlobProgress(digest=LAYER, phase="downloading", done=10, total=40, rate=5))


def test_a_pull_is_one_display_that_ends_as_a_summary(published: list[dict[str, object]]) -> None:  # noqa: F811
    with TransferView(TransferState("pull", "reg/a:1")) as view:
        begin(view)
        time.sleep(0.4)
        assert '<progress value="250" max="1000">25%</progress>' in html(published[-1])
        assert "5 B/s" in html(published[-1]).replace("\xa0", " ")
        view(BlobProgress(digest=LAYER, phase="done", done=40, total=40))
        view(TransferDone(name="reg/a:1", manifest=LAYER, changed=True))
    assert [bool(output["update"]) for output in published] == [False] + [True] * (len(published) - 1)
    assert len({str(output["transient"]) for output in published}) == 1
    assert "Pulled reg/a:1 in " in html(published[-1])
    assert "<progress" not in html(published[-1])


def test_a_flood_of_events_costs_few_updates(published: list[dict[str, object]]) -> None:  # noqa: F811
    begun = time.monotonic()
    with TransferView(TransferState("pull", "reg/a:1")) as view:
        begin(view)
        for done in range(20_000):
            view(BlobProgress(digest=LAYER, phase="downloading", done=done, total=20_000))
        assert len(published) <= (time.monotonic() - begun) * 8 + 3


def test_an_interrupt_leaves_and_the_display_says_so(published: list[dict[str, object]]) -> None:  # noqa: F811
    def pull() -> None:
        with TransferView(TransferState("pull", "reg/a:1")) as view:
            begin(view)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull()
    assert "interrupted" in html(published[-1])
    assert "■\xa0stopped" in html(published[-1])


def test_jup03_hostile_names_stay_text(published: list[dict[str, object]]) -> None:  # noqa: F811
    with TransferView(TransferState("pull", ATTACK)) as view:
        begin(view, ATTACK)
        time.sleep(0.3)
    for output in published:
        parser = Tags()
        parser.feed(html(output))
        assert parser.seen <= {"div", "strong", "progress", "table", "tbody", "tr", "td", "code", "details", "summary"}
        assert "\x1b" not in str(output["data"])
        assert "\u202e" not in html(output)


def test_a_terminal_gets_lines() -> None:
    assert isinstance(transfer_view(InteractiveShell.instance(), "pull", "a"), PlainTransferView)


@pytest.mark.root
def test_a_cell_pulls_in_one_display_and_gives_the_image(kernel: Kernel, slow: str) -> None:
    cell = kernel.ok(f"pulled = %container_pull {slow}")
    texts = [shown["text/plain"] for shown in cell.displays]
    assert texts[0] == f"Pulling {slow}"
    assert any("downloading" in text and "kB/s" in text for text in texts)
    assert texts[-1].startswith(f"Pulled {slow} in ")
    assert (cell.stdout, cell.stderr) == ("", "")
    assert kernel.ok("type(pulled).__name__, len(pulled.layers)").text == "('Image', 2)"
    assert kernel.ok(f"%container_pull {slow}").displays[-1]["text/plain"].startswith(f"{slow} is up to date: 2 layers")
    quiet = kernel.ok(f"%container_pull -q {slow}")
    assert (quiet.displays, quiet.stdout) == ([], f"{slow}\n")


@pytest.mark.root
def test_an_interrupt_ends_a_pull_and_nothing_of_it_is_an_image(kernel: Kernel, scripted: Callable[..., Scripted]) -> None:  # noqa: F811
    name = serve_layers(scripted(), os.urandom(900_000), bytes_per_s=30_000)
    cell, seconds = kernel.interrupted(f"%container_pull {name}", when="downloading")
    assert cell.ename == "KeyboardInterrupt"
    assert seconds < 5
    assert "interrupted" in cell.displays[-1]["text/plain"]
    assert "stopped" in cell.displays[-1]["text/plain"]
    assert kernel.run(f"%container_history {name}").ename == "ImageNotFound"


@pytest.mark.root
def test_a_run_shows_the_pull_that_it_needs_in_the_cell(kernel: Kernel, slow: str) -> None:
    cell = kernel.ok(f"made = %container_create --name pulled {slow} /file0")
    assert cell.displays[-1]["text/plain"].startswith(f"Pulled {slow} in ")
    assert kernel.ok(f"made = %container_create --name again {slow} /file0").displays == []
    kernel.ok("%container_rm pulled again")


@pytest.mark.root
def test_save_load_import_and_commit_give_objects(kernel: Kernel, tmp_path: Path) -> None:
    kernel.ok(f"%container_tag {BASE} nb-save:1")
    cell = kernel.ok(f"%container_save -o {tmp_path}/a.tar nb-save:1")
    assert cell.displays[-1]["text/plain"].startswith("Saved nb-save:1 in ")
    kernel.ok("%container_rmi nb-save:1")
    cell = kernel.ok(f"loaded = %container_load -i {tmp_path}/a.tar")
    assert "nb-save:1" in cell.displays[-1]["text/plain"]
    assert kernel.ok("'nb-save:1' in loaded.tags").text == "True"
    kernel.ok(f"%container_run --name exported --network none {BASE} true")
    kernel.ok(f"%container_export -o {tmp_path}/b.tar exported")
    cell = kernel.ok(f"imported = %container_import {tmp_path}/b.tar nb-import:1")
    assert cell.displays[-1]["text/plain"].startswith("Imported nb-import:1 in ")
    assert kernel.ok("imported.tags, len(imported.layers)").text == "(('nb-import:1',), 1)"
    kernel.ok("committed = %container_commit exported nb-commit:1")
    assert kernel.ok("committed.tags").text == "('nb-commit:1',)"
    kernel.ok("gone = %container_rmi nb-save:1 nb-import:1 nb-commit:1")
    assert kernel.ok("sorted(gone.index[gone.kind == 'tag'])").text == "['nb-commit:1', 'nb-import:1', 'nb-save:1']"
    for line in ("image prune -f", "container prune -f", "system prune -f", "builder prune -f"):
        cell = kernel.ok(f"gone = %container {line}\nlist(gone.columns), gone.index.name")
        assert (cell.text, cell.stdout[:22]) == ("(['kind', 'action'], 'name')", "Total reclaimed space:"), line


@pytest.mark.root
def test_the_tree_of_images_is_a_picture_of_the_list(kernel: Kernel) -> None:
    kernel.ok(f"%%dockerfile -t nb-child:1\nFROM {BASE}\nRUN echo x > /x\n")
    cell = kernel.ok("tree = %container_images --tree\ntree")
    assert re.search("[├└]─ nb-child:1", cell.text)  # other tests' images may stand below it
    assert re.search("[├└]─\xa0nb-child:1", cell.result["text/html"])
    assert "<table>" in cell.result["text/html"]
    assert kernel.ok("'nb-child:1' in [branch.names for branch in tree.branches if branch.lines]").text == "True"
    kernel.ok("%container_rmi nb-child:1")


@pytest.mark.root
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pull", "Missing argument"),
        ("pull Bad:Name:x", "Bad:Name:x"),
        ("pull --platform a/b/c/d 127.0.0.1:1/a", "a/b/c/d"),
        ("push no-such-image:1", "no-such-image"),
        ("tag no-such-image x", "no-such-image"),
        ("rmi no-such-image", "no-such-image"),
        ("history no-such-image", "no-such-image"),
        ("save -o /nowhere/a.tar no-such-image", "/nowhere/a.tar"),
        ("save no-such-image", "tar stream"),
        ("load", "no standard input"),
        ("load -i /nowhere/a.tar", "/nowhere/a.tar"),
        ("import /nowhere/a.tar", "/nowhere/a.tar"),
        ("export -o /nowhere/a.tar nobody", "nobody"),
        ("commit nobody x", "nobody"),
        ("images -f colour=red", "colour"),
        ("images --tree -q", "--tree"),
        ("image prune --filter colour=red", "colour"),
        ("manifest inspect Bad:Name:x", "Bad:Name:x"),
        ("manifest push no-such-list", "no-such-list"),
        ("search --filter colour=red 127.0.0.1:1/a", "colour"),
        ("logout 'no registry'", "no registry"),
        ("system reset", "--force"),
        ("system check --force", "--repair"),
    ],
)
def test_wrong_input_is_one_line(kernel: Kernel, line: str, says: str) -> None:
    cell = kernel.run(f"%container {line}")
    shown = "\n".join(cell.traceback) + cell.stderr
    assert says in shown
    assert "Traceback" not in shown
    assert "File " not in shown


PASSWORD = "s3cret-of-the-test"


@pytest.mark.root
def test_a_password_is_asked_for_and_kept_nowhere(kernel: Kernel, scripted: Callable[..., Scripted]) -> None:  # noqa: F811
    server = scripted()
    server.say("/v2/", Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), Answer())
    cell = kernel.run(f"%container_login {server.host}", answers=["me", PASSWORD])
    assert cell.status == "ok", cell
    assert cell.text == f"<Login me at {server.host}>"
    assert cell.asked == [("Username: ", False), ("Password: ", True)]
    assert PASSWORD not in repr(cell)
    kernel.ok("names = [value for name, value in globals().items() if name.startswith(('_', 'In', 'Out'))]")
    kept = kernel.ok("repr(names) + repr(list(get_ipython().history_manager.input_hist_raw))")
    assert PASSWORD not in kept.text
    assert "Removed the login" in kernel.ok(f"%container_logout {server.host}").stdout


@pytest.mark.root
def test_a_password_in_the_cell_is_refused_and_one_of_a_variable_is_taken(kernel: Kernel, scripted: Callable[..., Scripted]) -> None:  # noqa: F811
    server = scripted()
    server.say("/v2/", Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), Answer())
    cell = kernel.run(f"%container_login -u me -p {PASSWORD} {server.host}")
    assert cell.ename == "InvalidArgument"
    assert "kept in the notebook" in cell.error
    assert PASSWORD not in "".join(cell.traceback)
    assert server.requests == []
    kernel.ok("import os; token = os.environ.get('NO_SUCH', 'of-a-' + 'variable')")
    assert kernel.ok(f"%container_login -u me -p {{token}} {server.host}").text == f"<Login me at {server.host}>"
    kernel.ok(f"%container_logout {server.host}")


@pytest.mark.root
def test_an_executed_notebook_keeps_the_end_in_every_form(
    kernel_environment: dict[str, str],
    kernel: Kernel,
    scripted: Callable[..., Scripted],  # noqa: F811
    tmp_path: Path,
) -> None:
    name = serve_layers(scripted(), os.urandom(100_000), os.urandom(300_000), bytes_per_s=500_000)
    sources = ("%load_ext notebook_containers", f"%container_pull {name}", f"%container_rmi {name}")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute(env=kernel_environment, cwd=str(tmp_path))
    display, result = notebook.cells[1].outputs
    assert display["data"]["text/plain"].startswith(f"Pulled {name} in ")
    assert result["data"]["text/plain"].startswith("<Image ")
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    text, _ = nbconvert.MarkdownExporter().from_notebook_node(notebook)
    for written in (page, text):
        assert f"Pulled {name} in " in written
        assert "<progress" not in written
        assert "Pulling" not in written


@pytest.mark.root
def test_what_a_cell_gives_is_a_frame_or_an_object(kernel: Kernel) -> None:
    kernel.ok("import pandas")
    for line in ("images", "images --digests -a", f"history {BASE}", "system df", "system df -v", "system check --quick"):
        kernel.ok(f"found = %container {line}")
        assert kernel.ok("isinstance(found, pandas.DataFrame)").text == "True", line
    assert kernel.ok("list(found.columns), len(found)").text == "(['kind', 'subject', 'detail'], 0)"
    kernel.ok(f"found = %container_inspect {BASE}")
    assert kernel.ok("found['RepoTags']").text == f"['{BASE}:latest']"


@pytest.mark.root
def test_a_registry_in_cells(kernel: Kernel, serve_registry: Callable[..., str]) -> None:  # noqa: F811
    """Push, search, manifest lists and pulls against Debian's registry: displays, frames, digests, documents."""
    registry = serve_registry()
    name = f"{registry}/nb/base"
    kernel.ok(f"%container_tag {BASE} {name}:1\n%container_tag {BASE} {name}:2")
    cell = kernel.ok(f"digest = %container_push {name}:1")
    assert cell.displays[-1]["text/plain"].startswith(f"Pushed {name}:1 in ")
    assert kernel.ok("digest[:7]").text == "'sha256:'"
    cell = kernel.ok(f"sent = %container_push -a {name}")
    assert cell.displays[-1]["text/plain"].count("up to date") == 2
    assert kernel.ok("sorted(sent), set(sent.values()) == {digest}").text == f"(['{name}:1', '{name}:2'], True)"
    assert kernel.ok(f"found = %container_search {registry}/base\nfound.index.tolist()").text == f"['{name}']"
    assert kernel.ok(f"made = %container_manifest create {name}:all {name}:1\nmade.name.tag").text == "'all'"
    assert f"{name}:all" in kernel.complete(f"%container_manifest push {registry[:6]}")
    assert kernel.ok(f"made = %container_manifest inspect {name}:all\nmade['manifests'][0]['digest'] == digest").text == "True"
    assert kernel.ok(f"pushed = %container_manifest push --purge {name}:all\npushed[:7]").text == "'sha256:'"
    kernel.ok(f"%container_rmi {name}:1 {name}:2")
    assert kernel.ok(f"pulled = %container_pull -a {name}\nlen(pulled)").text == "3"
    assert kernel.run(f"%container_pull {name}:none").ename == "RegistryError"
    kernel.ok(f"%container_rmi {name}:1 {name}:2 {name}:all")

"""The magics in a real kernel: what a person does in the issue's notebook, and what bad input shows."""

from __future__ import annotations

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root

HELLO = f"""%%dockerfile -t nb-hello
FROM {BASE}
ENV GREETING=hello
RUN echo "$GREETING from a layer" > /greeting
CMD ["cat", "/greeting"]
"""


@pytest.fixture
def hello(kernel: Kernel) -> Kernel:
    """The kernel, with the issue's image built."""
    kernel.ok(HELLO)
    return kernel


def test_loading_is_silent_and_the_same_when_done_twice(kernel: Kernel) -> None:
    cell = kernel.ok("%reload_ext notebook_containers")
    assert (cell.stdout, cell.stderr, cell.result) == ("", "", {})
    again = kernel.ok("%load_ext notebook_containers")
    assert again.stdout.startswith("The notebook_containers extension is already loaded.")  # IPython's own words
    assert kernel.ok("len([m for m in get_ipython().Completer.custom_matchers if 'container' in str(m)])").text == "1"


def test_unloading_takes_the_magics_away_and_loading_brings_them_back(kernel: Kernel) -> None:
    cell = kernel.ok("%unload_ext notebook_containers")
    assert (cell.stdout, cell.stderr) == ("", "")
    assert kernel.run("%container_ps").status == "error" or "not found" in kernel.run("%container_ps").stderr
    kernel.ok("%load_ext notebook_containers")
    kernel.ok("%container_ps")


def test_loading_imports_no_pandas(kernel_environment: dict[str, str]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S; shell = S.instance()\n"
        "shell.extension_manager.load_extension('notebook_containers')\n"
        "print([m for m in ('pandas', 'pyroute2', 'ipywidgets', 'backports.zstd', 'isal') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=kernel_environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_dockerfile_cell_builds_and_shows_the_layers(hello: Kernel) -> None:
    cell = hello.ok(HELLO)
    assert "svg" in cell.result.get("text/html", "") or "svg" in "".join(cell.result)
    assert "nb-hello" in cell.text
    assert any("Built nb-hello" in str(d.get("text/plain")) for d in cell.displays)
    assert cell.stderr == ""


def test_a_build_shows_its_progress_while_it_runs(kernel: Kernel) -> None:
    cell = kernel.ok(f"%%dockerfile -t nb-slow --no-cache\nFROM {BASE}\nRUN echo working; sleep 1; echo done\n")
    assert any("working" in str(d.get("text/html")) for d in cell.displays)
    kernel.ok("%container_rmi nb-slow")


def test_run_streams_the_output(hello: Kernel) -> None:
    cell = hello.ok("%container_run --rm nb-hello")
    assert (cell.stdout, cell.result) == ("hello from a layer\n", {})
    cell = hello.ok(f"%container_run --rm --network none {BASE} sh -c 'echo out; echo err >&2'")
    assert (cell.stdout, cell.stderr) == ("out\n", "err\n")


def test_output_comes_while_the_container_runs(kernel: Kernel) -> None:
    code = f"import time; begun = time.monotonic()\n%container_run --rm --network none {BASE} sh -c 'echo early; sleep 1; echo late'"
    cell = kernel.ok(code)
    assert cell.stdout == "early\nlate\n"


def test_the_issues_magics_in_order(hello: Kernel) -> None:
    hello.ok(f"web = %container_run -d --name web --network none {BASE} sleep 1000")
    assert hello.ok("web.name, web.status").text == "('web', 'running')"
    assert "web" in hello.ok("%container_ps -a").text
    assert "nb-hello" in hello.ok("%container_images").text
    assert hello.ok("%container_logs web").stdout == ""
    assert "etc" in hello.ok("%container_exec web ls /").stdout.split()
    assert hello.ok("%container_stop -t 0 web").stdout == "web\n"
    assert hello.ok("%container_start web").stdout == "web\n"
    assert hello.ok("x = %container_inspect web\nx['State']['Status']").text == "'running'"
    hello.ok("%container_exec web touch /made")
    assert "/made" in hello.ok("%container_diff web").text
    assert "echo" in hello.ok("%container_history nb-hello").text
    layers = hello.ok(f"%container_layers nb-hello {BASE}")
    assert "sharing saves" in layers.text
    assert hello.ok("%container_rm -f web").stdout == "web\n"
    assert "untagged" in hello.ok("gone = %container_rmi nb-hello\ngone.loc['nb-hello:latest', 'action']").text


def test_ps_is_a_frame_with_the_issues_columns(kernel: Kernel) -> None:
    kernel.ok(f"%container_run -d --name web -p 0:80 {BASE} sleep 1000")
    kernel.ok(f"%container_run --name done --network none {BASE} sh -c 'head -c 5000 /dev/zero > /x'")
    kernel.ok("ps = %container_ps -a")
    assert kernel.ok("import pandas; isinstance(ps, pandas.DataFrame), ps.index.name").text == "(True, 'container_id')"
    columns = ["image", "command", "created", "status", "state", "exit_code", "ports", "names", "networks", "mounts", "size_rw"]
    columns += ["health", "verdict"]
    assert kernel.ok(f"[c for c in ps.columns if c in {columns}] == {columns}").text == "True"
    assert kernel.ok("str(ps.created.dt.tz), str(ps.size_rw.dtype), str(ps.exit_code.dtype)").text == "('UTC', 'int64', 'Int64')"
    assert kernel.ok("ps.set_index('names').ports['web'][0]['container_port']").text == "80"
    assert kernel.ok("int(ps.set_index('names').size_rw['done']) >= 5000").text == "True"
    assert kernel.ok("ps.set_index('names').state.to_dict()").text == "{'done': 'exited', 'web': 'running'}"
    codes = kernel.ok("codes = ps.set_index('names').exit_code; bool(pandas.isna(codes['web'])), int(codes['done'])")
    assert codes.text == "(True, 0)"


def test_images_is_a_frame_with_the_issues_columns(hello: Kernel) -> None:
    hello.ok("images = %container_images")
    assert hello.ok("images.index.name").text == "'image_id'"
    columns = ["repository", "tag", "created", "size", "unique_size", "shared_size", "layers", "labels"]
    assert hello.ok("list(images.columns)").text.replace("\n", "").replace(" ", "") == repr(columns).replace(" ", "")
    assert hello.ok("str(images.created.dt.tz), str(images['size'].dtype), str(images.layers.dtype)").text == "('UTC', 'int64', 'int64')"
    assert (
        hello.ok("row = images.set_index('repository').loc['nb-hello']; int(row['unique_size'] + row['shared_size'] - row['size'])").text
        == "0"
    )
    assert hello.ok("int(row['shared_size']) > 0, row['labels']['org.opencontainers.image.title']").text == "(True, 'localhost/base')"


def test_empty_listings_have_the_same_columns(kernel: Kernel) -> None:
    kernel.ok("empty = %container_ps")
    assert kernel.ok("len(empty), 'image' in empty.columns, str(empty.created.dtype)").text == "(0, True, 'datetime64[us, UTC]')"


def test_quiet_and_format_print_text(kernel: Kernel) -> None:
    kernel.ok(f"web = %container_run -d --name web --network none {BASE} sleep 1000")
    assert kernel.ok("%container_ps -q").stdout == kernel.ok("print(web.short_id)").stdout
    assert kernel.ok("%container_ps --format '{{.Names}} {{.State}}'").stdout == "web running\n"
    assert kernel.ok("%container_inspect -f '{{.State.Status}}' web").stdout == "running\n"


def test_variables_are_filled_in_and_templates_are_not(kernel: Kernel) -> None:
    kernel.ok("name, word, ID = 'filled', 'a b', 'wrong'")
    kernel.ok(f"box = %container_run -d --name {{name}} --network none {BASE} sleep 1000")
    assert kernel.ok("%container_ps --format '{{.Names}}'").stdout == "filled\n"
    assert kernel.ok("%container_exec {box.name} echo {word}").stdout == "a b\n"
    assert kernel.ok("%container_exec filled echo '{unknown}' '{{ID}}'").stdout == "{unknown} {{ID}}\n"


def test_out_keeps_the_result(kernel: Kernel) -> None:
    kernel.ok(f"%container_run -d --out kept --name web --network none {BASE} sleep 1000")
    assert kernel.ok("kept.name").text == "'web'"
    kernel.ok(f"%%dockerfile -t nb-out --out image\nFROM {BASE}\nLABEL a=b\n")
    assert kernel.ok("image.labels['a']").text == "'b'"
    kernel.ok("%container_rmi nb-out")
    cell = kernel.run("%container_ps --out 'no name'")
    assert cell.status == "error"
    assert "--out" in cell.stderr


def test_any_command_line_after_container(kernel: Kernel) -> None:
    assert kernel.ok(f"%container run --rm --network none {BASE} echo hi").stdout == "hi\n"
    assert "Usage" in kernel.ok("%container --help").stdout
    assert "--publish" in kernel.ok("%container_run --help").stdout


def test_a_script_cell(kernel: Kernel) -> None:
    cell = kernel.ok(f'%%container_run {BASE} --rm --network none\nfor i in 1 2; do\n  echo "line $i {{x}}"\ndone\n')
    assert cell.stdout == "line 1 {x}\nline 2 {x}\n"
    cell = kernel.ok(f"%%container_run {BASE} --rm --network none --interpreter bash\necho \"${{BASH_VERSION%%.*}}\" | grep -c '[0-9]'\n")
    assert cell.stdout == "1\n"
    cell = kernel.run(f"%%container_run {BASE} --rm --network none --interpreter perl\nx\n")
    assert "perl" in cell.error


@pytest.mark.parametrize(
    ("code", "ename", "says"),
    [
        ("%container_run no-such-image", "ImageNotFound", "no-such-image"),
        ("%container_run Bad:Name:x", "InvalidReference", "Bad:Name:x"),
        ("%container_logs nobody", "ContainerNotFound", "nobody"),
        ("%container_run --no-such-flag x", "UsageError", "--no-such-flag"),
        ("%container_nosuch", "UsageError", "container_nosuch"),
        ("%container rum", "UsageError", "rum"),
        (f"%container_run --rm --network none {BASE} sh -c 'exit 3'", "ContainerError", "3"),
        (f"%container_run --rm --network none {BASE} no-such-program", "StartFailed", "no-such-program"),
        (f"%%dockerfile\nFROM {BASE}\nRUNN x\n", "DockerfileError", "RUNN"),
        (f"%%dockerfile\nFROM {BASE}\nCOPY missing /x\n", "DockerfileError", "missing"),
        (f"%%dockerfile\nFROM {BASE}\nRUN exit 9\n", "BuildError", "9"),
        (f"%container_run -it {BASE} sh", "InvalidArgument", "terminal"),
        ("%container_run 'open", "UsageError", "quote"),
        (f"%container_run -v relative:/x:bad {BASE}", "InvalidArgument", "bad"),
    ],
)
def test_bad_input_is_one_line_without_a_traceback_and_stops_the_cells_behind(kernel: Kernel, code: str, ename: str, says: str) -> None:
    # a cell in front of both, so that the second one is waiting when the first one fails, also on a busy machine
    _front, first, second = kernel.queue("import time; time.sleep(0.5)", code, "print('reached')")
    shown = "\n".join(first.traceback) + first.stderr
    assert says in shown
    assert "Traceback" not in shown
    assert 'File "' not in shown
    assert "File /" not in shown
    if ename != "UsageError":
        assert first.ename == ename
    if first.status == "error":
        assert second.status == "aborted"
        assert second.stdout == ""
    else:
        assert code == "%container_nosuch"
    assert kernel.ok("%container_ps -aq").stdout == ""


def test_an_error_can_be_caught_and_has_its_status(kernel: Kernel) -> None:
    cell = kernel.ok(
        "from notebook_containers.errors import ContainerError\n"
        "try:\n"
        f"    get_ipython().run_line_magic('container_run', '--rm --network none {BASE} sh -c \"exit 3\"')\n"
        "except ContainerError as err:\n"
        "    print(err.exit_status)\n"
    )
    assert cell.stdout == "3\n"
    assert kernel.ok(f"%container_run --no-raise-error --rm --network none {BASE} sh -c 'exit 3'").status == "ok"


def test_a_process_that_reads_finds_the_end_of_its_input(kernel: Kernel) -> None:
    assert kernel.ok(f"%container_run -i --rm --network none {BASE} sh -c 'cat; echo over'", timeout=20).stdout == "over\n"
    kernel.ok(f"%container_run -d --name web --network none {BASE} sleep 1000")
    assert kernel.ok("%container_exec -i web sh -c 'cat; echo over'", timeout=20).stdout == "over\n"
    assert "terminal" in kernel.run("%container_exec -it web sh").error


def test_a_name_that_is_taken_leaves_the_first(kernel: Kernel) -> None:
    kernel.ok(f"%container_run -d --name web --network none {BASE} sleep 1000")
    cell = kernel.run(f"%container_run -d --name web --network none {BASE} sleep 1000")
    assert cell.ename == "Conflict"
    assert "hint:" in "\n".join(cell.traceback)
    assert kernel.ok("%container_ps -aq").stdout.count("\n") == 1


def test_an_interrupt_stops_the_container_and_is_raised(kernel: Kernel) -> None:
    cell, seconds = kernel.interrupted(f"%container_run --rm --network none {BASE} sh -c 'echo up; exec sleep 1000'", when="up")
    assert cell.ename == "KeyboardInterrupt"
    assert seconds < 6
    assert kernel.ok("%container_ps -aq").stdout == ""


def test_an_interrupt_kills_what_does_not_listen(kernel: Kernel) -> None:
    code = f"%container_run --rm --network none {BASE} sh -c 'trap \"\" INT TERM; echo up; while :; do sleep 0.1; done'"
    cell, seconds = kernel.interrupted(code, when="up")
    assert cell.ename == "KeyboardInterrupt"
    assert seconds < 8
    assert kernel.ok("%container_ps -aq").stdout == ""


def test_interrupting_logs_leaves_the_container_alone(kernel: Kernel) -> None:
    kernel.ok(f"%container_run -d --name web --network none {BASE} sh -c 'echo up; sleep 1000'")
    cell, seconds = kernel.interrupted("%container_logs -f web", when="up")
    assert cell.ename == "KeyboardInterrupt"
    assert seconds < 3
    assert kernel.ok("%container_ps --format '{{.Names}}'").stdout == "web\n"


def test_a_build_can_be_interrupted(kernel: Kernel) -> None:
    cell, seconds = kernel.interrupted(f"%%dockerfile -t nb-never\nFROM {BASE}\nRUN echo begun; sleep 1000\n", when="begun")
    assert seconds < 5
    assert cell.ename == "KeyboardInterrupt"
    assert kernel.run("%container_history nb-never").ename == "ImageNotFound"


def test_much_output_is_cut_with_a_pointer_to_the_log(kernel: Kernel) -> None:
    cell = kernel.ok(f"%container_run --rm --network none {BASE} sh -c 'yes 0123456789 | head -n 200000'")
    assert len(cell.stdout) < 1_100_000
    assert "cut here at 1 MB" in cell.stdout


def test_rt_terminal_controls_of_a_listing_are_gone(kernel: Kernel) -> None:
    kernel.ok(f"%container_run --name evil --network none {BASE} printf '\\033]0;title\\007'")
    cell = kernel.ok("%container_ps -a")
    assert "\x1b" not in cell.text
    assert "<script" not in cell.result.get("text/html", "")


def test_registries_in_cells(kernel: Kernel) -> None:
    """A registry that is down is one line; a search is a DataFrame."""
    for line in ("%container_pull 127.0.0.1:1/a", "%container_search 127.0.0.1:1/a", "%container_manifest inspect 127.0.0.1:1/a"):
        cell = kernel.run(line)
        assert cell.ename == "RegistryError"
        assert cell.traceback[0] == "RegistryError: cannot reach registry 127.0.0.1:1: connection refused"
    assert kernel.run("%container_login -u me --password-stdin 127.0.0.1:1").ename in ("RegistryError", "InvalidArgument")
    code = "from notebook_containers.notebook.tables import TABLES; TABLES['search'].frame([]).columns.tolist()"
    assert kernel.ok(code).text == "['description', 'stars', 'official']"


def test_a_published_ports_address_is_a_link(kernel: Kernel) -> None:
    kernel.ok(f"%container_run -d --name web -p 80 {BASE} sleep 1000")
    shown = kernel.ok("from notebook_containers import Engine\nengine = Engine()\nengine.containers.get('web').url(80)")
    assert shown.text.startswith("'http://127.0.0.1:")
    assert shown.result["text/html"].startswith('<a href="http://127.0.0.1:')
    assert "<a href" in kernel.ok("%container_ps").result["text/html"]
    kernel.ok("hops = %container_network trace web 127.0.0.1:81")
    assert kernel.ok("list(hops.hop), list(hops.passes)").text == "(['name', 'route', 'listener'], [True, True, False])"
    kernel.ok("%container_update -p 81 web")
    assert kernel.ok("len(engine.containers.get('web').ports)").text == "2"
    kernel.ok("engine.close()")

"""Tab in a magic: verbs, options, containers, images and instructions."""

from __future__ import annotations

import pytest

from tests.home import BASE
from tests.notebook.kernels import Kernel

pytestmark = pytest.mark.root


def test_verbs_options_and_names(kernel: Kernel) -> None:
    kernel.ok(f"%container_run -d --name webbed --network none {BASE} sleep 1000")
    assert "logs" in kernel.complete("%container lo")
    assert "--publish" in kernel.complete("%container_run --pub")
    assert "--name" in kernel.complete("x = %container_run --na")
    assert "webbed" in kernel.complete("%container_stop we")
    assert "webbed" in kernel.complete("%container exec we")
    assert "localhost/base" in kernel.complete("%container_run loc")
    assert "--tag" in kernel.complete("%%dockerfile --t")
    assert "--cpuset-mems" in kernel.complete("%container_update --cpuset")
    assert "--no-pause" in kernel.complete("%container_commit --no")
    assert "--isolation" not in kernel.complete("%container_run --iso")  # accepted for Docker's sake, and no help to anybody
    assert "--platform" in kernel.complete("%container_pull --pl")
    assert "localhost/base" in kernel.complete("%container_push loc")
    assert "--password-stdin" in kernel.complete("%container_login --pass")
    assert "annotate" in kernel.complete("%container_manifest an")


def test_words_of_images_and_registries(kernel: Kernel) -> None:
    assert kernel.complete("%container_save --format oci-") == ["oci-archive", "oci-dir"]
    assert {"gzip", "zstd", "none"} <= set(kernel.complete("%container_push --compression-format "))
    for line in ("tag loc", "rmi loc", "history loc", "save loc", "image history loc", "manifest inspect loc"):
        assert BASE in kernel.complete(f"%container {line}"), line
    for line in ("image pr", "system pr"):
        assert "prune" in kernel.complete(f"%container {line}"), line
    assert {"--digests", "--tree", "--filter"} <= set(kernel.complete("%container_images --"))
    assert {"--quick", "--repair"} <= set(kernel.complete("%container_system check --"))
    kernel.ok("import json, os, pathlib; config = pathlib.Path(os.environ['HOME'], '.docker/config.json')")
    kernel.ok("config.parent.mkdir(exist_ok=True); config.write_text(json.dumps({'auths': {'reg.test:5000': {}}}))")
    assert "reg.test:5000" in kernel.complete("%container_logout reg")
    kernel.ok("config.write_text('no json')")
    assert kernel.complete("%container_logout reg") == []
    kernel.ok("config.unlink()")


def test_instructions_of_a_dockerfile_cell(kernel: Kernel) -> None:
    assert any(word.startswith("ENTRYPOINT") for word in kernel.complete("%%dockerfile -t x\nFROM scratch\nENT"))
    assert "localhost/base" in kernel.complete("%%dockerfile -t x\nFROM loc")


def test_the_notebooks_own_variables_after_context_var(kernel: Kernel) -> None:
    kernel.ok("measured = 1")
    assert kernel.complete("%%dockerfile --context-var meas") == ["measured"]
    assert "--context-var" in kernel.complete("%container_build --cont")
    assert "get_ipython" not in kernel.complete("%container_build --context-var ")


def test_nothing_of_ours_elsewhere(kernel: Kernel) -> None:
    kernel.ok("websites = 1")
    assert kernel.complete("websi") == ["websites"]
    assert "localhost/base" not in kernel.complete("loc")


def test_bad_lines_complete_nothing_and_do_not_fail(kernel: Kernel) -> None:
    for text in ("%container zzz --x", "%container_run 'open ", "%container_nosuch x"):
        kernel.complete(text)
    assert kernel.ok("1").text == "1"

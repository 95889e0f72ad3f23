"""``nbc build`` and the verbs on images."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = pytest.mark.root


def test_build_from_a_directory_a_file_and_standard_input(nbc: Nbc) -> None:
    (nbc.cwd / "ctx").mkdir()
    (nbc.cwd / "ctx/file").write_text("copied\n")
    (nbc.cwd / "ctx/Dockerfile").write_text(f'FROM {BASE}\nCOPY file /file\nCMD ["cat", "/file"]\n')
    (nbc.cwd / "Other").write_text(f"FROM {BASE}\nARG A=0\nCOPY file /other\nRUN echo $A >> /other\n")
    done = nbc("build", "-t", "cli-one", "ctx")
    assert done.status == 0, done
    assert done.out.strip().startswith("sha256:")
    assert "COPY file /file" in done.err
    assert nbc.ok("run", "--rm", "--network", "none", "cli-one") == "copied"
    identity = nbc.ok("build", "-q", "-t", "cli-two", "-f", "Other", "--build-arg", "A=5", "--label", "l=1", "--iidfile", "iid", "ctx")
    assert identity == (nbc.cwd / "iid").read_text()
    assert nbc.ok("run", "--rm", "--network", "none", "cli-two", "cat", "/other") == "copied\n5"
    assert nbc.ok("build", "-q", "-", stdin=f"FROM {BASE}\nLABEL x=y\n").startswith("sha256:")
    assert nbc.ok("inspect", "--type", "image", "-f", "{{.Config.Labels.l}}", "cli-two") == "1"
    nbc.ok("rmi", "cli-one", "cli-two")
    nbc.ok("image", "prune")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"FROM {BASE}\nRUNN x\n", "RUNN"),
        (f"FROM {BASE}\nCOPY missing /x\n", "missing"),
        ("FROM no-such-image\n", "no-such-image"),
        (f"FROM {BASE}\nRUN exit 3\n", "3"),
        ("RUN x\n", "FROM"),
    ],
)
def test_a_bad_file_is_told_at_its_line(nbc: Nbc, text: str, says: str) -> None:
    (nbc.cwd / "Dockerfile").write_text(text)
    done = nbc("build", "-t", "never", ".")
    assert done.status == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("nbc: ")
    assert says in last
    assert "Traceback" not in done.err
    assert nbc("inspect", "never").status == 1


def test_the_caret_is_under_the_word(nbc: Nbc) -> None:
    (nbc.cwd / "Dockerfile").write_text(f"FROM {BASE}\nRUNN x\n")
    lines = nbc("build", ".").err.splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("RUNN x"))
    assert lines[at + 1].index("^") == lines[at].index("RUNN")


def test_a_missing_context_is_named(nbc: Nbc) -> None:
    done = nbc("build", "-t", "x")
    assert done.status == 125
    assert "nbc build -t hello ." in done.err
    assert "nowhere" in nbc("build", "nowhere").line
    assert "-f" in nbc("build", ".").line


def test_images_history_tag_rmi(nbc: Nbc) -> None:
    (nbc.cwd / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo x > /x\nENV A=1\n")
    nbc.ok("build", "-q", "-t", "cli-three", ".")
    header, *rows = nbc.ok("images").splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert any(row.split()[:2] == ["cli-three", "latest"] for row in rows)
    identity = nbc.ok("images", "-q", "cli-three")
    assert len(identity) == 12
    assert nbc.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "cli-three") == "cli-three:latest"
    document = json.loads(nbc.ok("images", "--format", "json", "cli-three"))
    assert document["ID"] == identity
    history = nbc.ok("history", "cli-three").splitlines()
    assert history[0].split()[:2] == ["LAYER", "CREATED"]
    assert "ENV A=1" in history[1]
    assert "echo x > /x" in history[2]
    nbc.ok("tag", "cli-three", "cli-four:v2")
    assert nbc.ok("images", "-q", "cli-four") == identity
    assert nbc.ok("rmi", "cli-four:v2") == "Untagged: cli-four:v2"
    lines = nbc.ok("rmi", "cli-three").splitlines()
    assert lines[0] == "Untagged: cli-three:latest"
    assert lines[1].startswith("Deleted: sha256:")
    done = nbc("rmi", "cli-three")
    assert done.status == 1
    assert "cli-three" in done.line


def test_layers_says_what_is_shared(nbc: Nbc) -> None:
    (nbc.cwd / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo x > /x\n")
    nbc.ok("build", "-q", "-t", "cli-five", ".")
    text = nbc.ok("layers", BASE, "cli-five")
    assert "cli-five" in text
    assert "shar" in text.lower()
    nbc.ok("rmi", "cli-five")


def test_system_verbs(nbc: Nbc) -> None:
    text = nbc.ok("system", "info")
    assert "Limits:" in text
    assert "Warnings:" in text
    assert nbc.ok("info", "--format", "{{.Rootless}}") == "false"
    assert json.loads(nbc.ok("version", "--format", "json"))["Os"] == "linux"
    assert "Total reclaimed space" in nbc.ok("system", "prune", "-f")

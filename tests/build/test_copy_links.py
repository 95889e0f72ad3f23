"""COPY and links: those of the context, of the image and of other stages, none of which leads out of its root."""

from __future__ import annotations

import pytest

from notebook_containers.errors import DockerfileError

from .conftest import Builder

pytestmark = pytest.mark.root


def test_copy_follows_links_in_the_image_inside_it_only(builder: Builder) -> None:
    (builder.context / "app.py").write_text("app")
    canary = builder.context.parent / "canary"
    canary.mkdir()
    result = builder(f"FROM base\nRUN ln -s {canary} /link; ln -s /etc /inside\nCOPY app.py /link/\nCOPY app.py /inside/\n")
    assert list(canary.iterdir()) == []
    assert builder.read(result, "/etc/app.py") == "app"
    assert builder.read(result, f"{canary}/app.py") == "app"


def test_bld02_copy_from_a_stage_stays_in_the_stage(builder: Builder) -> None:
    secret = builder.context.parent / "secret"
    secret.write_text("host")
    run = f"RUN ln -s {secret} /s; mkdir -p {secret.parent}; echo stage > {secret}"
    text = f"FROM base AS a\n{run}\nFROM scratch\nCOPY --from=a /s /copied\n"
    assert builder.read(builder(text), "/copied") == "stage\n"


def test_copied_links_that_were_named_are_followed(builder: Builder) -> None:
    (builder.context / "src").mkdir()
    (builder.context / "src/a.txt").write_text("a")
    (builder.context / "src/link").symlink_to("a.txt")
    result = builder("FROM base\nCOPY src/link /d/\n")
    assert builder.tree(result)["d/link"].isfile()


def test_bld03_names_of_owners_are_looked_up_in_the_image_alone(builder: Builder) -> None:
    accounts = builder.context.parent / "accounts"
    accounts.write_text("evil:x:4242:4242::/:/bin/sh\n")
    (builder.context / "app.py").write_text("app")
    for link in (str(accounts), f"../../../..{accounts}", "/proc/1/root/etc/passwd"):
        with pytest.raises(DockerfileError, match="no user 'evil'") as info:
            builder(f"FROM base\nRUN ln -sf {link} /etc/passwd\nCOPY --chown=evil app.py /\n")
        assert info.value.line == 3

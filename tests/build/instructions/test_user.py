"""USER: who runs RUN and the container, by number or by the image's own names."""

from __future__ import annotations

from .conftest import Builds

NAMES = "RUN echo web:x:33:34::/:/bin/sh >> /etc/passwd; echo staff:x:50: >> /etc/group\n"


def test_names_numbers_and_groups(builds: Builds) -> None:
    built = builds(f"FROM base\n{NAMES}USER web\nRUN id -u; id -g\nUSER web:staff\nRUN id -g\nARG U=7:8\nUSER $U\nRUN id -u; id -g\n")
    assert built.said.split() == ["33", "34", "50", "7", "8"]
    assert built.config["User"] == "7:8"


def test_the_container_is_the_user(builds: Builds) -> None:
    assert builds(f"FROM base\n{NAMES}USER web\n", run=["id", "-u"]).answer["printed"] == "33\n"


def test_files_of_copy_stay_roots(builds: Builds) -> None:
    assert builds("FROM base\nUSER 33\nCOPY a /a\n", {"a": ""}).files["a"]["uid"] == 0


def test_a_name_that_the_image_has_not(builds: Builds) -> None:
    refused = builds.refused("FROM base\nUSER nosuch\nRUN true\n")
    assert (refused.line, "nosuch" in refused.message) == (3, True)
    assert "empty" in builds.refused("FROM base\nUSER $NOBODY\n").message

"""RUN: its forms and here-documents, what it sees, how it fails, and that nothing of it goes on afterwards."""

from __future__ import annotations

from .conftest import Builds


def test_forms(builds: Builds) -> None:
    built = builds('FROM base\nRUN ["sh", "-c", "echo $0 exec", "x y"]\nRUN echo one \\\n  # remark\n  two\n')
    assert built.said == "x y exec\none two\n"


def test_here_documents(builds: Builds) -> None:
    text = (
        "FROM base\nENV A=env\nRUN <<EOF\necho $A one > /one\necho two >> /one\nEOF\n"
        "RUN cat <<X > /two && cat <<'Y' >> /two\nx $A\nX\ny $A\nY\n"
        "RUN <<EOF\n#!/bin/cat\nscript $A\nEOF\n"
    )
    built = builds(text)
    assert (built.text("one"), built.text("two")) == ("env one\ntwo\n", "x env\ny $A\n")
    assert built.said == "#!/bin/cat\nscript $A\n"


def test_it_sees_user_directory_environment_and_arguments(builds: Builds) -> None:
    text = "FROM base\nARG BUILD=b\nENV E=e\nWORKDIR /tmp/w\nRUN chmod 777 .\nUSER 33\nRUN id -u > who; echo $BUILD $E $PWD >> who\n"
    built = builds(text)
    assert built.text("tmp/w/who") == "33\nb e /tmp/w\n"
    assert built.files["tmp/w/who"]["uid"] == 33


def test_what_it_deletes_is_gone(builds: Builds) -> None:
    built = builds("FROM base\nRUN echo a > /a\nRUN rm /a && echo b > /b\n", run=["sh", "-c", "test ! -e /a && cat /b"])
    assert built.answer["printed"] == "b\n"


def test_a_failure_tells_line_status_and_output(builds: Builds) -> None:
    refused = builds.refused("FROM base\nRUN true\nRUN echo why >&2; exit 3\n")
    assert (refused.message, refused.line) == ("RUN echo why >&2; exit 3 (line 3) ended with exit code 3", 3)
    missing = builds.refused("FROM base\nRUN nosuchprogram\n")
    assert "127" in missing.message + missing.hint


def test_bld12_nothing_of_a_step_goes_on(builds: Builds) -> None:
    forever = "(setsid sh -c 'while :; do sleep 0.1; date > /alive; done' >/dev/null 2>&1 &)"
    text = f"FROM base\nRUN {forever}; true\nRUN ls /proc | grep -c '^[0-9]'\n"
    assert int(builds(text).said) <= 4, "the second step sees its own processes only"


def test_bld12_the_defaults_of_run_hold(builds: Builds) -> None:
    text = "FROM base\nRUN grep ^Seccomp: /proc/self/status; head -c1 /proc/kcore 2>/dev/null | wc -c; grep -c : /proc/net/dev\n"
    assert builds(text).said.split() == ["Seccomp:", "2", "0", "1"], "a filter, masked files, no link but loopback"

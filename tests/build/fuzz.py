"""``python -m tests.build.fuzz dockerfile|word|ignored [-max_total_time=60 …]``: the oracles, asked by a fuzzer that coverage guides.

It needs atheris (``pip install atheris``), which no test of CI does: there hypothesis asks the same questions (``test_fuzz.py``). A
corpus is begun with the golden Dockerfiles. It ends with libFuzzer's status, and an input that breaks an oracle is left as ``crash-…``.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

HERE = Path(__file__).parent


class Atheris(Protocol):
    """The part of atheris that is used; it has no types."""

    def instrument_imports(self) -> _Block: ...
    def Setup(self, argv: Sequence[str], target: Callable[[bytes], None]) -> object: ...  # noqa: N802
    def Fuzz(self) -> None: ...  # noqa: N802


class _Block(Protocol):
    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> object: ...


def main(arguments: Sequence[str]) -> int:
    """Fuzz until an option ends it, or an input breaks something."""
    try:
        atheris = cast("Atheris", importlib.import_module("atheris"))
    except ImportError:
        print("atheris is not installed: pip install atheris")
        return 2
    with atheris.instrument_imports():
        oracles = importlib.import_module("tests.build.oracles")
    targets: Mapping[str, Callable[[str], None]] = {
        "dockerfile": oracles.dockerfile,
        "word": oracles.word,
        "ignored": lambda text: oracles.ignored(text.partition("\0")[0], text.partition("\0")[2] or "a/b"),
    }
    if not arguments or arguments[0] not in targets:
        print(f"usage: python -m tests.build.fuzz {'|'.join(targets)} [-max_total_time=SECONDS …]")
        return 2
    target = targets[arguments[0]]
    with tempfile.TemporaryDirectory(prefix="nbc-fuzz-") as corpus:
        for number, path in enumerate(sorted(HERE.glob("*/*/Dockerfile"))):
            (Path(corpus) / str(number)).write_bytes(path.read_bytes())
        words = ["fuzz", corpus, "-timeout=10", *arguments[1:]]
        atheris.Setup(words, lambda data: target(data.decode("utf-8", "replace")))
        atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

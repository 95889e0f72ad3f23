"""What happens to a service's containers: a pure function, every rule as a case."""

from __future__ import annotations

import pytest

from notebook_containers.compose.reconcile import Policy, Seen, steps


def seen(text: str) -> list[Seen]:
    """Read ``1:new:running`` words; the id is the word."""
    found = []
    for word in text.split():
        number, config_hash, status = word.split(":")
        found.append(Seen(id=word, number=int(number), config_hash=config_hash, status=status))
    return found


@pytest.mark.parametrize(
    ("there", "count", "policy", "wanted"),
    [
        ("", 1, "changed", "create 1"),
        ("", 0, "changed", ""),
        ("", 3, "changed", "create 1, create 2, create 3"),
        ("1:new:running", 1, "changed", "keep 1"),
        ("1:new:restarting", 1, "changed", "keep 1"),
        ("1:new:exited", 1, "changed", "start 1"),
        ("1:new:created", 1, "changed", "start 1"),
        ("1:new:paused", 1, "changed", "unpause 1"),
        ("1:old:running", 1, "changed", "recreate 1"),
        ("1:old:running", 1, "never", "keep 1"),
        ("1:old:exited", 1, "never", "start 1"),
        ("1:new:running", 1, "always", "recreate 1"),
        ("1:new:running 2:new:running 3:new:running", 1, "changed", "remove 3, remove 2, keep 1"),
        ("1:old:running 2:new:running", 1, "changed", "remove 1, keep 2"),
        ("1:new:exited 2:new:running", 1, "changed", "remove 1, keep 2"),
        ("1:new:running", 0, "changed", "remove 1"),
        ("2:new:running", 2, "changed", "create 1, keep 2"),
        ("1:old:running 3:new:running", 3, "changed", "recreate 1, create 2, keep 3"),
        ("1:new:created 1:old:running", 1, "changed", "remove 1, start 1"),
        ("1:new:created 1:old:exited", 2, "changed", "remove 1, start 1, create 2"),
        ("0:new:running", 1, "changed", "remove 0, create 1"),
    ],
)
def test_steps(there: str, count: int, policy: Policy, wanted: str) -> None:
    found = steps(seen(there), config_hash="new", count=count, policy=policy)
    assert ", ".join(f"{step.what} {step.number}" for step in found) == wanted


def test_of_two_with_one_number_the_older_configuration_goes() -> None:
    found = steps(seen("1:old:running 1:new:created"), config_hash="new", count=1)
    assert [(step.what, step.id) for step in found] == [("remove", "1:old:running"), ("start", "1:new:created")]

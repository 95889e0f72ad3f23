"""What verbs tell: lines for people, and the times that follow."""

from __future__ import annotations

import pytest

from notebook_containers.compose.progress import Kind, Told, by_service, spans


def told(at: float, service: str, phase: str, *, kind: Kind = "container", on: str = "") -> Told:
    return Told(kind=kind, name=f"shop-{service}-1", phase=phase, service=service, on=on, condition="service_healthy" if on else "", at=at)


def test_spans_are_what_began_until_the_next_event_of_the_same_thing() -> None:
    events = [
        told(10.0, "db", "creating"),
        told(10.5, "db", "created"),
        told(10.5, "db", "starting"),
        told(10.6, "web", "waiting", on="db"),
        told(10.7, "web", "waiting", on="cache"),
        told(11.0, "db", "started"),
        told(11.0, "db", "checking"),
        told(12.0, "web", "waited", on="cache"),
        told(13.0, "db", "healthy"),
        told(13.0, "web", "waited", on="db"),
        told(13.0, "web", "creating"),
        told(13.5, "web", "created"),
    ]
    found = [(s.service, s.doing, s.on, round(s.began, 3), round(s.ended, 3)) for s in spans(events)]
    assert found == [
        ("db", "creating", "", 0.0, 0.5),
        ("db", "starting", "", 0.5, 1.0),
        ("web", "waiting", "db", 0.6, 3.0),
        ("web", "waiting", "cache", 0.7, 2.0),
        ("db", "checking", "", 1.0, 3.0),
        ("web", "creating", "", 3.0, 3.5),
    ]
    assert list(by_service(spans(events))) == ["db", "web"]
    assert spans([]) == ()


def test_what_never_ended_goes_to_the_last_event() -> None:
    (span,) = spans([told(1.0, "db", "starting"), Told(kind="network", name="shop_default", phase="created", at=4.0)])
    assert (span.began, span.ended) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (told(0, "db", "started"), "Container shop-db-1  Started"),
        (told(0, "web", "waiting", on="db"), "Container shop-web-1  Waiting for db (service_healthy)"),
        (Told(kind="network", name="shop_default", phase="created"), "Network shop_default  Created"),
        (Told(kind="service", name="web", phase="error", text="no image"), "Service web  Error: no image"),
    ],
)
def test_lines(event: Told, line: str) -> None:
    assert event.line() == line

"""The DataFrames: exact columns and types, real values, display for people, hostile text harmless."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import pandas as pd
import pytest

from notebook_containers.notebook import tables
from notebook_containers.notebook.frames import Frame

PORT = {"host_ip": "127.0.0.1", "host_port": 8080, "container_port": 80, "protocol": "tcp"}


def row(**more: object) -> dict[str, object]:
    return {
        "container_id": "0123456789ab",
        "image": "hello:latest",
        "command": "cat /greeting",
        "created": 1_764_000_000.25,
        "status": "Up 3 minutes",
        "state": "running",
        "exit_code": None,
        "ports": [PORT],
        "names": "web",
        "networks": ["bridge"],
        "mounts": [],
        "size_rw": 41_230_000,
        **more,
    }


def test_ps_has_the_columns_people_script_against() -> None:
    frame = tables.ps_frame([row()])
    assert frame.index.name == "container_id"
    assert list(frame.columns) == [
        "image",
        "command",
        "created",
        "status",
        "state",
        "exit_code",
        "ports",
        "names",
        "networks",
        "mounts",
        "size_rw",
        "health",
        "verdict",
        "labels",
        "size_root_fs",
        "restart_count",
    ]
    assert frame.loc["0123456789ab", "created"] == pd.Timestamp("2025-11-24T16:00:00.25Z")
    assert frame.loc["0123456789ab", "size_rw"] == 41_230_000
    assert frame["ports"].iloc[0] == [PORT]


def test_images_has_the_columns_people_script_against() -> None:
    frame = tables.images_frame([{"image_id": "abc", "size": 5, "labels": {"a": "b"}, "layers": 3}])
    assert frame.index.name == "image_id"
    assert list(frame.columns) == ["repository", "tag", "created", "size", "unique_size", "shared_size", "layers", "labels"]
    assert frame["labels"].iloc[0] == {"a": "b"}
    assert frame["repository"].iloc[0] == ""


@pytest.mark.parametrize("rows", [[], [row()], [row(), row(container_id="b", exit_code=137, created=None)]])
def test_types_are_the_same_with_any_number_of_rows(rows: list[dict[str, object]]) -> None:
    frame = tables.ps_frame(rows)
    assert isinstance(frame["created"].dtype, pd.DatetimeTZDtype)
    assert str(frame["created"].dt.tz) == "UTC"
    assert frame["size_rw"].dtype == "int64"
    assert str(frame["exit_code"].dtype) == "Int64"
    assert frame["ports"].dtype == "object"
    assert len(frame) == len(rows)
    assert list(frame.query("state == 'running' and size_rw > 0").index) == [r["container_id"] for r in rows]


@pytest.mark.parametrize("value", [0, 0.0, "1970-01-01T00:00:00Z", "1970-01-01T01:00:00.000000000+01:00", datetime(1970, 1, 1, tzinfo=UTC)])
def test_times_come_in_any_form_and_leave_as_utc(value: object) -> None:
    assert tables.images_frame([{"image_id": "a", "created": value}])["created"].iloc[0] == pd.Timestamp(0, tz="UTC")


def test_an_unknown_key_is_not_lost_silently() -> None:
    with pytest.raises(ValueError, match="ps has no column 'nmae'"):
        tables.ps_frame([{"container_id": "a", "nmae": "x"}])


def test_every_table_can_be_empty_and_shown() -> None:
    for make in (
        tables.ps_frame,
        tables.images_frame,
        tables.history_frame,
        tables.diff_frame,
        tables.networks_frame,
        tables.volumes_frame,
        tables.events_frame,
    ):
        frame = make([])
        assert frame.index.name is not None
        assert "<table" in str(frame._repr_html_())  # type: ignore[operator]
        assert "Empty" in repr(frame)


def test_the_display_is_for_people_and_the_values_are_not_touched() -> None:
    frame = tables.ps_frame([row(), row(container_id="b", created=None, exit_code=137)])
    for shown in (str(frame._repr_html_()).replace("\u2011", "-").replace("\xa0", " "), repr(frame)):  # type: ignore[operator]
        assert "41.2 MB" in shown
        assert "2025-11-24 16:00:00 UTC" in shown
        assert "127.0.0.1:8080→80/tcp" in shown
        assert "NA" not in shown
        assert "NaT" not in shown
    assert frame["size_rw"].sum() == 2 * 41_230_000
    assert frame["exit_code"].iloc[0] is pd.NA


def test_what_is_chained_is_such_a_frame_again() -> None:
    frame = tables.ps_frame([row(), row(container_id="b", size_rw=1)])
    for chained in (frame.query("size_rw > 5"), frame.sort_values("size_rw"), frame[["names", "size_rw"]], frame.head(1), frame.copy()):
        assert isinstance(chained, Frame)
        assert "41.2 MB" in repr(chained)
    assert type(frame["size_rw"]) is pd.Series
    assert pd.concat([frame, frame])["size_rw"].dtype == "int64"


def test_other_port_forms() -> None:
    ports = [{"container_port": 53, "protocol": "udp"}, {"host_ip": "::", "host_port": 1, "container_port": 2}]
    assert "53/udp, [::]:1→2/tcp" in repr(tables.ps_frame([row(ports=ports)])[["ports"]])


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


@pytest.mark.parametrize("attack", ["<img src=x onerror=alert(1)>", "</td><script>1</script>", "a\x1b]52;c;eA==\x07\u202eb"])
def test_jup03_hostile_cells_stay_text(attack: str) -> None:
    frame = tables.ps_frame([row(names=attack, image=attack, ports=[attack], networks={attack: attack})])
    parser = Tags()
    parser.feed(str(frame._repr_html_()))  # type: ignore[operator]
    assert parser.seen <= {"div", "style", "table", "thead", "tbody", "tr", "th", "td"}
    assert "\x1b" not in repr(frame)
    assert "\u202e" not in repr(frame)


def test_jup04_hostile_index_values_stay_text() -> None:
    frame = tables.diff_frame([{"path": "/a\x1b[2J<b>\nc", "kind": "A"}])
    assert "/a<b> c" in repr(frame)
    assert "/a&lt;b&gt; c" in str(frame._repr_html_())  # type: ignore[operator]
    assert "2025-11-24 16:00:00 UTC" in repr(tables.events_frame([{"time": 1_764_000_000.25, "type": "container"}]))


def test_a_thousand_rows_are_cut_and_counted() -> None:
    frame = tables.ps_frame(row(container_id=f"{i:012x}") for i in range(1000))
    assert "1000 rows" in str(frame._repr_html_())  # type: ignore[operator]
    assert repr(frame).count("\n") < 80


def test_importing_the_tables_imports_no_pandas() -> None:
    code = "import sys, notebook_containers.notebook.tables; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_published_ports_are_links_and_nothing_else_is() -> None:
    ports = [
        {"host_ip": "127.0.0.1", "host_port": 49153, "container_port": 80, "protocol": "tcp"},
        {"host_ip": "127.0.0.1", "host_port": 53, "container_port": 53, "protocol": "udp"},
        {"host_ip": '"><script>', "host_port": 1, "container_port": 1, "protocol": "tcp"},
    ]
    written = str(tables.ps_frame([row(ports=ports, names="<a href=x>")])._repr_html_())  # type: ignore[operator]
    assert '<a href="http://127.0.0.1:49153/" target="_blank" rel="noopener noreferrer">127.0.0.1:49153→80/tcp</a>' in written
    assert written.count("<a ") == 2
    assert "<script" not in written
    assert "127.0.0.1:53→53/udp" in written

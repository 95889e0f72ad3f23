"""The journal of events: many writers, rotation, readers that miss nothing and see nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from notebook_containers.linux.inotify import Watch
from notebook_containers.runtime.journal import Journal, JournalReader

WRITER = """
import sys
from notebook_containers.runtime.journal import Journal
journal = Journal(sys.argv[1], max_bytes=int(sys.argv[2]))
for number in range(int(sys.argv[4])):
    journal.append("container", "start", sys.argv[3] + "-" + str(number), {"name": "n" * (number % 50)})
"""


def ids(events: list[dict[str, object]]) -> list[str]:
    return [str(event["id"]) for event in events]


def test_an_event_has_the_shape_of_the_engine_api(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    reader = JournalReader(journal, from_start=True)
    journal.append("container", "die", "abc", {"image": "base", "name": "one", "exitCode": 3})
    journal.append("network", "connect", "net", {"container": "abc"})
    first, second = reader.read()
    assert first["Actor"] == {"ID": "abc", "Attributes": {"image": "base", "name": "one", "exitCode": "3"}}
    assert (first["status"], first["id"], first["from"], first["scope"]) == ("die", "abc", "base", "local")
    assert isinstance(first["timeNano"], int)
    assert first["time"] == first["timeNano"] // 10**9
    assert "status" not in second
    reader.close()


def test_a_reader_from_now_on_sees_only_what_comes(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.append("container", "create", "old", {})
    reader = JournalReader(journal, from_start=False)
    assert list(reader.read()) == []
    journal.append("container", "create", "new", {})
    assert ids(list(reader.read())) == ["new"]
    reader.close()


def test_two_files_are_kept_and_a_reader_goes_on_over_rotations(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), max_bytes=2000)
    reader = JournalReader(journal, from_start=True)
    seen: list[str] = []
    for number in range(100):
        journal.append("container", "start", str(number), {})
        seen += ids(list(reader.read()))
    assert seen == [str(number) for number in range(100)]
    assert sorted(os.listdir(tmp_path / "events")) in (["journal", "journal.1"], ["journal.1"])
    assert sum(path.stat().st_size for path in (tmp_path / "events").iterdir()) < 5000
    late = JournalReader(journal, from_start=True)
    assert ids(list(late.read())) == seen[-len(ids(list(JournalReader(journal, from_start=True).read()))) :]
    late.close()
    reader.close()


def test_many_processes_write_whole_lines_and_followers_get_each_once(tmp_path: Path) -> None:
    # large enough that followers, who hold one file, are never two rotations behind
    each, most = 300, 100_000
    journal = Journal(str(tmp_path), max_bytes=most)
    readers = [JournalReader(journal, from_start=True) for _ in range(3)]
    found: list[list[str]] = [[] for _ in readers]
    done = threading.Event()

    def follow(place: int) -> None:
        watch = Watch()
        watch.add(readers[place].directory)
        while True:
            over = done.is_set()
            found[place] += ids(list(readers[place].read()))
            if over:
                break
            watch.wait(0.5)
        watch.close()
        readers[place].close()

    threads = [threading.Thread(target=follow, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(most), f"w{number}", str(each)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    done.set()
    for thread in threads:
        thread.join(10)
    wanted = sorted(f"w{writer}-{number}" for writer in range(3) for number in range(each))
    for one in found:
        assert sorted(one) == wanted
        for writer in range(3):
            own = [identity for identity in one if identity.startswith(f"w{writer}-")]
            assert own == [f"w{writer}-{number}" for number in range(each)]


def test_a_torn_line_is_passed_over_and_a_lost_directory_is_no_error(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.append("container", "start", "one", {})
    with open(tmp_path / "events" / "journal", "ab") as file:
        file.write(b'{"Type": "contai\n[1]\nnull\n')
    journal.append("container", "start", "two", {})
    reader = JournalReader(journal, from_start=True)
    assert ids(list(reader.read())) == ["one", "two"]
    reader.close()
    Journal(str(tmp_path / "events" / "journal")).append("container", "start", "x", {})  # a file is in the way


@pytest.mark.parametrize("name", ["journal", "journal.1"])
def test_nobody_else_may_read_it(tmp_path: Path, name: str) -> None:
    journal = Journal(str(tmp_path), max_bytes=100)
    for _ in range(3):
        journal.append("image", "tag", "sha256:x", {"name": "y" * 200})
    path = tmp_path / "events" / name
    if path.exists():
        assert path.stat().st_mode & 0o777 == 0o600
        assert json.loads(path.read_bytes().splitlines()[0])["Type"] == "image"
    assert (tmp_path / "events").stat().st_mode & 0o777 == 0o700

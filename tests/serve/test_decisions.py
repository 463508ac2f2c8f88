import json
import multiprocessing
import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from xrt.applications.audit.suggestions.trust import read_decisions
from xrt.errors import CapacityError, DataError
from xrt.serve.decisions import DecisionFile


def row(i: int, accepted: bool = True, **more: object) -> dict[str, object]:
    return {"id": f"add:{i}:L", "accepted": accepted, **more}


def test_decisions_are_what_an_audit_reads(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    file = DecisionFile(path)
    file.append([row(1), row(2, False, text="a\u2028b\n\ud800", name="日本")])
    file.append([row(1, False)])
    assert read_decisions(path) == {"add:1:L": False, "add:2:L": False} == dict(file.decided())
    assert DecisionFile(path).decided() == file.decided()


def test_a_new_file_is_empty_and_an_audit_may_read_it(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    assert DecisionFile(path).decided() == {}
    assert read_decisions(path) == {}


def test_what_others_append_is_seen(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    one, other = DecisionFile(path), DecisionFile(path)
    one.append([row(1)])
    assert other.decided() == {"add:1:L": True}
    other.append([row(2)])
    assert one.decided() == {"add:1:L": True, "add:2:L": True}


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    file = DecisionFile(path)
    file.append([row(1), row(2)])
    (tmp_path / "new").write_text(json.dumps(row(3)) + "\n")
    os.replace(tmp_path / "new", path)
    assert file.decided() == {"add:3:L": True}
    path.write_text("")
    assert file.decided() == {}


def test_a_row_that_is_no_decision_keeps_all_of_them_out(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    file = DecisionFile(path)
    for bad, word in (
        ({"id": "a"}, "'accepted' is not there"),
        ({"id": 5, "accepted": True}, "'id' is 5"),
        ({"id": "a", "accepted": "false"}, "'accepted' is \"false\""),
    ):
        with pytest.raises(DataError, match=r"decisions\[1\]: ") as error:
            file.append([row(1), bad])
        assert word in str(error.value)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"id": "a", "accepted": true}\nnot json\n', "line 2: broken JSON"),
        (b'\n\n{"id": "a", "accepted": 1}\n', "line 3: 'accepted' is 1"),
        (b'{"id": "a", "accepted": true}\n{"id": "b", "acc', "line 2: is cut off"),
        (b'{"id": "a", "accepted": true}\n"a"\n', "line 2: a JSON str, not an object"),
        (b'\xff{"id"}\n', "line 1: byte 1 is not UTF-8"),
    ],
)
def test_a_broken_line_is_told_by_its_number(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"decisions\.jsonl: ") as error:
        DecisionFile(path)
    assert words in str(error.value)
    assert path.read_bytes() == content


def test_a_line_that_somebody_breaks_later_stops_writing(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    file = DecisionFile(path)
    file.append([row(1)])
    with open(path, "a") as by_hand:
        by_hand.write('{"id": "half')
    with pytest.raises(DataError, match="line 2: is cut off"):
        file.append([row(2)])
    assert path.read_text().endswith('{"id": "half')


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere.*No such file"):
        DecisionFile(tmp_path / "nowhere" / "decisions.jsonl")
    with pytest.raises(DataError, match="Is a directory"):
        DecisionFile(tmp_path)


def _fill(path: Path, limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = DecisionFile(path)
    file.append([row(1)])
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with pytest.raises(CapacityError, match=r"disk full, 100 decision\(s\) were not kept"):
        file.append([row(i, text="x" * 50) for i in range(100)])
    assert path.read_bytes() == before
    assert file.decided() == {"add:1:L": True}
    os._exit(7)


def test_a_full_disk_keeps_none_of_them(tmp_path: Path):
    """The disk takes the first half of the lines: what it took is taken back."""
    path = tmp_path / "decisions.jsonl"
    process = multiprocessing.get_context("spawn").Process(target=_fill, args=(path, 3000))
    process.start()
    process.join(60)
    assert process.exitcode == 7
    assert read_decisions(path) == {"add:1:L": True}


def _append_many(path: Path, name: int) -> None:
    file = DecisionFile(path)
    for i in range(40):
        file.append([row(1000 * name + 10 * i + j, text="y" * 5000) for j in range(3)])


def test_processes_and_threads_append_whole_lines(tmp_path: Path):
    path = tmp_path / "decisions.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(path, n)) for n in range(2)]
    threads = [threading.Thread(target=_append_many, args=(path, n)) for n in range(2, 4)]
    for each in (*processes, *threads):
        each.start()
    reader = DecisionFile(path)
    while any(each.is_alive() for each in (*processes, *threads)):
        reader.decided()  # sees whole lines only
    for each in (*processes, *threads):
        each.join(60)
    assert len(read_decisions(path)) == 4 * 40 * 3 == len(reader.decided())

"""Files that `xrt audit` and `xrt audit apply` read: decisions, ids, suggestions."""

import gzip
import json
import lzma
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from xrt.applications.audit.correction.applying import accepted
from xrt.applications.audit.suggestions.suggestion import (
    ADD,
    SuggestedChange,
    read_suggestions,
    write_suggestions,
)
from xrt.applications.audit.suggestions.trust import read_decisions
from xrt.errors import DataError


def suggestion(row: int, **changes: Any) -> SuggestedChange:
    values: dict[str, Any] = {
        "id": f"add:{row}:A", "kind": ADD, "corpus": "0" * 16, "row": row, "uid": None,
        "text": "x", "label": "A", "name": "a", "score": 0.9, "probability": 0.5,
        "linear_probability": 0.5, "threshold": 0.4, "rank": 1, "agreement": 0.5,
        "similarity": 0.5, "name_in_text": 0.0, "label_rows": 5,
    }  # fmt: skip
    return SuggestedChange(**(values | changes))


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def decision(row: int, answer: object, **more: object) -> str:
    record = {"id": f"add:{row}:A", "accepted": answer, **more}
    return json.dumps(record, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("answer", ["false", "true", "no", "", 0, 1, None, [], {}, 0.0])
def test_an_answer_that_is_not_true_or_false_is_refused_by_both_readers(
    tmp_path: Path, answer: object
) -> None:
    path = write(tmp_path / "d.jsonl", decision(0, True) + decision(1, answer))
    for reader in (read_decisions, lambda p: accepted([suggestion(0), suggestion(1)], str(p))):
        with pytest.raises(DataError, match=r"d.jsonl: line 2: 'accepted' is .*without quotes"):
            reader(path)


LINES = decision(0, True, note="two\u2028lines\u2029of\x85text") + decision(1, False, note="é\x0c")


@pytest.mark.parametrize(
    "data",
    [
        LINES.encode(),
        b"\xef\xbb\xbf" + LINES.encode(),
        gzip.compress(LINES.encode(), mtime=0),
        lzma.compress(LINES.encode()),
        LINES.replace("\n", "\r\n").encode(),
        ("\n \n" + LINES + "\n").encode(),
        LINES.replace("two", "\\ud800 two").encode(),
    ],
    ids=["separators", "mark", "gzip", "xz", "windows", "blank lines", "half a pair"],
)
def test_decisions_are_read_however_they_are_written(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "d.jsonl", data)
    assert read_decisions(path) == {"add:0:A": True, "add:1:A": False}
    assert [s.row for s in accepted([suggestion(0), suggestion(1)], str(path))] == [0]


@pytest.mark.parametrize(
    "data",
    [
        "add:0:A\nadd:2:A\n",
        "\ufeffadd:0:A\r\n\r\n add:2:A \r\n",
        gzip.compress(b"add:0:A\nadd:2:A", mtime=0),
        lzma.compress(b"\n\nadd:0:A\nadd:2:A\n"),
    ],
)
def test_ids_are_read_however_they_are_written(tmp_path: Path, data: bytes | str) -> None:
    path = write(tmp_path / "ids.txt", data)
    assert [s.row for s in accepted([suggestion(n) for n in range(3)], str(path))] == [0, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("add:0:A\nPr\xe4fix\n".encode("latin-1"), r"line 2: byte 3 is not UTF-8; convert"),
        ("add:0:A\n".encode("utf-16"), r"line 1: UTF-16 text; convert it"),
        (b'{"id": "add:0:A", "accepted": true}\n{"id": "\xe4"}\n', r"line 2: byte 9 is not UTF-8"),
        ('{"id": "add:0:A", "accepted": true', r"line 1: broken JSON"),
        ('{"id": "add:0:A", "accepted": true}\nadd:1:A\n', r"line 2: broken JSON"),
        ('{"id": "add:0:A", "accepted": true}\n[1]\n', r"line 2: a JSON list"),
        ('{"id": ' + "[" * 100_000 + "\n", r"line 1: JSON nested too deep"),
        ('{"id": 7, "accepted": true}\n', r"line 1: 'id' is 7; write"),
        ('{"accepted": true}\n', r"line 1: 'id' is not there; write"),
        (gzip.compress(b"add:0:A\n" * 99, mtime=0)[:-9], r"damaged or cut off"),
        (b"BZh91AY", r"packed with bzip2"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, data: bytes | str, message: str
) -> None:
    path = write(tmp_path / "d.jsonl", data)
    with pytest.raises(DataError, match=message) as caught:
        accepted([suggestion(0)], str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_empty_file_accepts_nothing_and_an_audit_without_suggestions_reads_back(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "none", b"")
    assert accepted([suggestion(0)], str(path)) == []
    assert read_decisions(path) == {}
    write_suggestions(path, [])
    assert read_suggestions(path) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"score": "0.9"}, "score"),
        ({"score": float("nan")}, "score"),
        ({"score": 1.5}, "score"),
        ({"trust": "high"}, "trust"),
        ({"row": -1}, "row"),
        ({"row": True}, "row"),
        ({"row": 1.0}, "row"),
        ({"label": 7}, "label"),
        ({"kind": "change"}, "kind"),
        ({"rank": 10**400}, "rank"),
        ({"neighbours": "none"}, "neighbours"),
        ({"text": ["a"]}, "text"),
        ({"id": None}, "id"),
    ],
)
def test_a_suggestion_with_a_wrong_field_is_refused(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    records = [asdict(suggestion(0)), asdict(suggestion(1)) | changes]
    path = write(tmp_path / "s.jsonl", "".join(json.dumps(r) + "\n" for r in records))
    with pytest.raises(DataError, match=rf"s.jsonl: line 2: not a suggestion.*\('{field}' is"):
        read_suggestions(path)


def test_suggestions_are_read_packed_and_refused_twice(tmp_path: Path) -> None:
    write_suggestions(tmp_path / "s.jsonl", [suggestion(0), suggestion(1, text="a\u2028b")])
    data = (tmp_path / "s.jsonl").read_bytes()
    packed = write(tmp_path / "s.jsonl.gz", gzip.compress(b"\xef\xbb\xbf" + data, mtime=0))
    assert read_suggestions(packed) == read_suggestions(tmp_path / "s.jsonl")
    write(tmp_path / "s.jsonl", data + data)
    with pytest.raises(DataError, match="line 3: suggestion 'add:0:A' stands there twice"):
        read_suggestions(tmp_path / "s.jsonl")

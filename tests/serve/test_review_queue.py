import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from xrt.applications.audit.suggestions.suggestion import read_suggestions
from xrt.errors import DataError
from xrt.serve.decisions import DecisionFile
from xrt.serve.review_queue import MAX_ROWS, ReviewQueue


def suggestion(i: int, **changes: Any) -> dict[str, Any]:
    kind = "remove" if i % 5 == 4 else "add"
    return {
        "id": f"{kind}:{i}:L{i % 7}", "kind": kind, "corpus": "c0ffee", "row": i, "uid": f"u{i}",
        "text": f"text {i} of the corpus", "label": f"L{i % 7}", "name": f"label {i % 7}",
        "score": 0.5, "probability": 0.5, "linear_probability": 0.5, "threshold": 0.4, "rank": 3,
        "agreement": 0.2, "similarity": 0.3, "name_in_text": 0.0, "label_rows": 12,
        "neighbours": [{"row": 1, "similarity": 0.5, "has_label": True}],
        "matched_terms": ["text"], "trust": None, **changes,
    }  # fmt: skip


def write_queue(path: Path, num_rows: int = 30) -> Path:
    path.write_text("".join(json.dumps(suggestion(i)) + "\n" for i in range(num_rows)))
    return path


@pytest.fixture
def queue(tmp_path: Path) -> ReviewQueue:
    return ReviewQueue(
        write_queue(tmp_path / "suggestions.jsonl"), DecisionFile(tmp_path / "decisions.jsonl")
    )


def positions(page: Any) -> list[int]:
    return [row["position"] for row in page.rows]


def test_pages_together_are_the_file(queue: ReviewQueue):
    assert len(read_suggestions(queue.path)) == 30  # what the test wrote is what an audit writes
    after, seen = 0, []
    while after is not None:
        page = queue.page(after, 7)
        seen += page.rows
        after = page.next
    assert positions(page)[-1] == 29
    assert [row["id"] for row in seen] == [s.id for s in read_suggestions(queue.path)]
    assert (page.total, page.decided) == (30, 0)
    assert seen[0]["accepted"] is None


def test_going_back_gives_the_rows_before(queue: ReviewQueue):
    assert positions(queue.page(before=10, limit=3)) == [7, 8, 9]
    assert positions(queue.page(before=2, limit=3)) == [0, 1]
    assert positions(queue.page(before=0)) == []


def test_what_is_decided_is_shown_or_passed_over(queue: ReviewQueue):
    assert queue.decisions is not None
    queue.decisions.append(
        [{"id": "add:0:L0", "accepted": True}, {"id": "add:2:L2", "accepted": False}]
    )
    queue.decisions.append([{"id": "add:99:other", "accepted": True}])
    page = queue.page(limit=4)
    assert [row["accepted"] for row in page.rows] == [True, None, False, None]
    assert (page.total, page.decided) == (30, 2) == queue.counts()
    assert positions(queue.page(limit=3, undecided=True)) == [1, 3, 4]
    assert positions(queue.page(limit=3, undecided=True, before=4)) == [1, 3]
    assert positions(queue.page(kind="remove", limit=2)) == [4, 9]
    assert queue.page(kind="remove", limit=6).next is None


def test_beyond_the_end_there_is_nothing(queue: ReviewQueue):
    page = queue.page(after=10**15)
    assert (page.rows, page.next, page.total) == ([], None, 30)
    assert positions(queue.page(before=10**15, limit=1)) == [29]


def test_limits_are_told(queue: ReviewQueue):
    for limit in (0, MAX_ROWS + 1):
        with pytest.raises(DataError, match=f"limit = {limit}: give a number from 1"):
            queue.page(limit=limit)
    with pytest.raises(DataError, match="kind = 'drop': choose one of add, remove"):
        queue.page(kind="drop")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 3: broken JSON"),
        ('{"id": "x"}', r"line 3: not a suggestion of an audit \('kind'"),
        (json.dumps(suggestion(1)), "line 3: suggestion 'add:1:L1' stands there twice"),
        (json.dumps(suggestion(9, score=float("nan"))), "line 3: NaN is no number"),
    ],
)
def test_a_line_that_is_no_suggestion_is_told_by_its_number(tmp_path: Path, line: str, words: str):
    path = write_queue(tmp_path / "suggestions.jsonl", 2)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=words):
        ReviewQueue(path, None)


def test_a_missing_file_is_named_and_an_empty_one_is_an_empty_queue(tmp_path: Path):
    with pytest.raises(DataError, match=r"suggestions\.jsonl: no such file"):
        ReviewQueue(tmp_path / "suggestions.jsonl", None)
    (tmp_path / "suggestions.jsonl").write_text("")
    page = ReviewQueue(tmp_path / "suggestions.jsonl", None).page()
    assert (page.rows, page.total, page.next) == ([], 0, None)


def test_a_new_audit_is_seen(queue: ReviewQueue, tmp_path: Path):
    new = write_queue(tmp_path / "new.jsonl", 3)
    os.replace(new, queue.path)
    assert queue.page().total == 3
    queue.path.unlink()
    with pytest.raises(DataError, match="put it back"):
        queue.page()


def test_fifty_thousand_suggestions_do_not_hang(tmp_path: Path):
    path = write_queue(tmp_path / "suggestions.jsonl", 50_000)
    decisions = DecisionFile(tmp_path / "decisions.jsonl")
    decisions.append([{"id": suggestion(i)["id"], "accepted": True} for i in range(49_900)])
    queue = ReviewQueue(path, decisions)
    start = time.process_time()
    for _ in range(10):
        page = queue.page(undecided=True, limit=50)
    assert time.process_time() - start < 2  # some 20 ms each
    assert positions(page) == list(range(49_900, 49_950))
    assert (page.decided, page.next) == (49_900, 49_950)

"""Type-ahead, decisions and the queue over HTTP, and what an audit makes of the decisions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import client_of
from tests.serve.test_review_queue import suggestion, write_queue
from xrt.applications.audit.correction.applying import accepted
from xrt.applications.audit.suggestions.suggestion import read_suggestions
from xrt.applications.audit.suggestions.trust import read_decisions
from xrt.errors import CapacityError
from xrt.serve.decisions import DecisionFile

LABELS, DECISIONS, QUEUE = (f"/v1/models/small/{name}" for name in ("labels", "decisions", "queue"))


@pytest.fixture
def reviewing(model_folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    queue = write_queue(tmp_path / "suggestions.jsonl", 12)
    decisions = tmp_path / "decisions.jsonl"
    with client_of(model_folder, decisions=decisions, queue=queue) as client:
        yield client


def decide(client: TestClient, *decisions: dict[str, Any]) -> Any:
    return client.post(DECISIONS, json={"decisions": list(decisions)})


def test_labels_are_found_by_what_is_typed(client: TestClient):
    labels = client.get(LABELS, params={"limit": 3}).json()
    assert (len(labels["labels"]), labels["more"]) == (3, True)
    label = labels["labels"][0]
    found = client.get(LABELS, params={"q": label["label"][:5].upper()}).json()["labels"]
    assert label in found
    nothing = client.get(LABELS, params={"q": "<script>"})
    assert nothing.json() == {"labels": [], "more": False}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"{LABELS}?limit=0", 422, "limit: at least 1 is needed"),
        (f"{LABELS}?q={'a' * 201}", 422, "q: at most 200 characters"),
        ("/v1/models/other/labels", 404, "no model named 'other'"),
        ("/v1/models/other/queue", 404, "no model named 'other'"),
        (f"{QUEUE}?after=-1", 422, "after: at least 0 is needed"),
        (f"{QUEUE}?after={10**30}", 422, "after"),
        (f"{QUEUE}?kind=drop", 422, "kind"),
        (f"{QUEUE}?limit=501", 422, "limit: at most 500 is allowed"),
    ],
)
def test_bad_questions_are_told_in_one_line(
    reviewing: TestClient, path: str, status: int, words: str
):
    answer = reviewing.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert words in answer.json()["detail"]


def test_without_files_there_is_no_queue_and_nothing_is_kept(client: TestClient):
    assert client.get("/v1/review").json() == {"decisions": False, "queue": None}
    assert client.get(QUEUE).status_code == 404
    answer = decide(client, {"id": "a", "accepted": True})
    assert answer.status_code == 404
    assert "--decisions FILE" in answer.json()["detail"]


def test_decisions_on_the_queue_are_what_an_audit_follows(reviewing: TestClient, tmp_path: Path):
    rows = reviewing.get(QUEUE, params={"limit": 3}).json()["rows"]
    first, second = rows[0], rows[1]
    answer = decide(
        reviewing,
        {"id": first["id"], "accepted": True, "kind": "add", "corpus": "c0ffee", "row": 0},
        {"id": second["id"], "accepted": False},
        {"text": "red shirt", "label": "L1", "name": "lamp", "score": 0.25, "accepted": True},
        {
            "id": "add:3:L6", "accepted": True, "kind": "add", "corpus": "c0ffee", "row": 3,
            "uid": "u3", "label": "L6", "name": "label 6",
        },
    )  # fmt: skip
    assert answer.json() == {"kept": 4}
    path = tmp_path / "decisions.jsonl"
    assert read_decisions(path) == {first["id"]: True, second["id"]: False, "add:3:L6": True}
    followed = accepted(read_suggestions(tmp_path / "suggestions.jsonl"), str(path))
    assert [(s.row, s.label) for s in followed] == [(0, "L0"), (3, "L6")]
    typed = json.loads(path.read_text().splitlines()[2])
    assert typed.pop("time").startswith("20")
    assert typed.pop("id").startswith("text:")
    assert typed == {
        "accepted": True, "text": "red shirt", "label": "L1", "name": "lamp", "score": 0.25,
        "kind": "text", "model": "small",
    }  # fmt: skip
    page = reviewing.get(QUEUE).json()
    assert [row["accepted"] for row in page["rows"][:3]] == [True, False, None]
    assert (page["total"], page["decided"], page["next"]) == (12, 2, None)
    state = {"decisions": True, "queue": {"total": 12, "decided": 2}}
    assert reviewing.get("/v1/review").json() == state


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ({"accepted": True}, "give id, or text and label"),
        ({"id": "a"}, "decisions[0].accepted: is missing"),
        ({"id": "a", "accepted": "true"}, "decisions[0].accepted: true or false is needed"),
        ({"id": "", "accepted": True}, "decisions[0].id"),
        ({"id": "a" * 5000, "accepted": True}, "decisions[0].id: at most 4096 allowed, 5000 given"),
        ({"id": "a", "accepted": True, "row": -1}, "decisions[0].row: at least 0"),
        ({"id": "a", "accepted": True, "extra": 1}, "decisions[0].extra: no such key"),
    ],
)
def test_a_bad_decision_keeps_all_of_them_out(
    reviewing: TestClient, tmp_path: Path, decision: dict[str, Any], words: str
):
    answer = decide(reviewing, decision, {"id": "b", "accepted": True})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert (tmp_path / "decisions.jsonl").read_bytes() == b""


def test_texts_with_halves_of_signs_and_line_ends_stay_one_line(
    reviewing: TestClient, tmp_path: Path
):
    body = '{"decisions": [{"text": "a\\ud800\\n\\u2028b", "label": "L1", "accepted": true}]}'
    answer = reviewing.post(DECISIONS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    (line,) = (tmp_path / "decisions.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == "a\ufffd\n\u2028b"


def test_a_full_disk_is_told(reviewing: TestClient, monkeypatch: pytest.MonkeyPatch):
    def full(self: DecisionFile, rows: object) -> None:
        raise CapacityError("decisions.jsonl: disk full, 1 decision(s) were not kept")

    monkeypatch.setattr(DecisionFile, "append", full)
    answer = decide(reviewing, {"id": "a", "accepted": True})
    assert answer.status_code == 507
    assert "disk full" in answer.json()["detail"]


def test_files_that_somebody_breaks_are_no_fault_of_the_request(
    reviewing: TestClient, tmp_path: Path
):
    with open(tmp_path / "decisions.jsonl", "a") as by_hand:
        by_hand.write("{half\n")
    for answer in (reviewing.get(QUEUE), decide(reviewing, {"id": "a", "accepted": True})):
        assert answer.status_code == 503
        assert "decisions.jsonl: line 1: broken JSON" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "30"


def test_a_label_that_is_markup_comes_as_json(reviewing: TestClient, tmp_path: Path):
    evil = suggestion(0, label="<script>alert(1)</script>", name="<img src=x onerror=alert(1)>")
    (tmp_path / "suggestions.jsonl").write_text(json.dumps(evil) + "\n")
    answer = reviewing.get(QUEUE)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["rows"][0]["name"] == evil["name"]

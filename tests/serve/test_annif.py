"""Annif's shape, field by field as its OpenAPI document has them (version v1)."""

from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from xrt import Predictor

SUGGEST = "/v1/projects/small/suggest"
BATCH = "/v1/projects/small/suggest-batch"


def test_projects(client: TestClient):
    (project,) = client.get("/v1/projects").json()["projects"]
    assert project == client.get("/v1/projects/small").json()
    assert {"project_id", "name", "language", "backend"} <= set(project)
    assert project["backend"] == {"backend_id": "xrt"}
    assert project["is_trained"] is True
    assert datetime.fromisoformat(project["modification_time"]).tzinfo is not None
    assert client.get("/v1/projects/nix").status_code == 404


def test_suggests_as_the_predictor_does(client: TestClient, model_folder: Path):
    predictor = Predictor.load(model_folder, num_threads=1)
    answer = client.post(SUGGEST, data={"text": "kati lore", "metadata_title": "x"})
    expected = [
        {"uri": s.label, "label": s.name or s.label, "notation": None, "score": s.score}
        for s in predictor.predict("kati lore", 10)
    ]
    assert answer.json() == {"results": expected}
    assert answer.headers["X-Model-Version"] == client.get("/v1/models/small").json()["version"]


@pytest.mark.parametrize(("limit", "threshold", "most"), [(2, 0, 2), (10, 0.5, 2), (0, 0, 0)])
def test_limit_and_threshold(client: TestClient, limit: int, threshold: float, most: int):
    form = {"text": "kati lore", "limit": str(limit), "threshold": str(threshold)}
    of_form = client.post(SUGGEST, data=form).json()["results"]
    assert len(of_form) <= most
    assert all(each["score"] >= threshold for each in of_form)
    body = {"documents": [{"text": "kati lore"}]}
    query = {"limit": limit, "threshold": threshold}
    of_batch = client.post(BATCH, params=query, json=body).json()
    assert of_batch == [{"document_id": None, "results": of_form}]


def test_a_batch_keeps_order_and_ids(client: TestClient):
    texts = ["kati", "lore", "miso"]
    documents = [{"text": t, "document_id": f"d{t}", "metadata": {"a": 1}} for t in texts]
    answer = client.post(BATCH, json={"documents": documents}).json()
    assert [each["document_id"] for each in answer] == ["dkati", "dlore", "dmiso"]
    assert [each["results"][0]["uri"] for each in answer] == ["KATI", "LORE", "MISO"]
    assert client.post(BATCH, json={"documents": []}).json() == []


def test_a_batch_has_at_most_32_texts(client: TestClient):
    documents = [{"text": "a"}] * 33
    answer = client.post(BATCH, json={"documents": documents})
    assert (answer.status_code, answer.json()["detail"]) == (
        422, "documents: at most 32 allowed, 33 given",
    )  # fmt: skip
    assert client.post(BATCH, json={"documents": documents[:32]}).status_code == 200


@pytest.mark.parametrize(
    "form", [{}, {"limit": "-1"}, {"threshold": "nan"}, {"threshold": "2"}, {"limit": "1001"}]
)
def test_bad_forms_are_422(client: TestClient, form: dict[str, str]):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    text = {"text": "a"} if form else {}
    answer = client.post(SUGGEST, data={**text, **form}, headers=headers)
    assert answer.status_code == answer.json()["status"] == 422


def test_an_empty_text_is_a_text(client: TestClient):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(SUGGEST, content=b"text=", headers=headers).status_code == 200


def test_json_is_no_form(client: TestClient):
    assert client.post(SUGGEST, json={"text": "a"}).status_code == 415
    assert client.post(BATCH, data={"text": "a"}).status_code == 415

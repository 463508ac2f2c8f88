"""What the routes of models answer: the same as `Predictor`, and one line for each fault."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import PREDICT, client_of
from xrt import Predictor

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def predictor(model_folder: Path) -> Predictor:
    return Predictor.load(model_folder, num_threads=1)


def as_dicts(rows: Any) -> list[list[dict[str, Any]]]:
    return [[{"label": s.label, "name": s.name, "score": s.score} for s in row] for row in rows]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 2},
        {"k": 3, "min_score": 0.3},
        {"min_score": "micro-F1"},
        {"allowed": ["KATI", "KARE"], "k": 1000},
        {"forbidden": ["KATI"]},
        {"tail": 0.5},
    ],
)
def test_predicts_as_the_predictor_does(
    client: TestClient, predictor: Predictor, options: dict[str, Any]
):
    texts = ["kati lore", "", "nothing known", "lotix miso\x00"]
    answer = client.post(PREDICT, json={"texts": texts, **options})
    assert answer.status_code == 200, answer.text
    content = answer.json()
    expected = as_dicts(predictor.predict(texts, **options))
    assert [row["suggestions"] for row in content["results"]] == expected
    assert predictor.artifact is not None
    assert content["model"] == "small"
    assert content["version"] == answer.headers["X-Model-Version"] == predictor.artifact.digest
    assert "queue;dur=" in answer.headers["Server-Timing"]


def test_a_threshold_is_compared_as_the_predictor_compares_it(
    client: TestClient, predictor: Predictor
):
    best = predictor.predict("kati lore", 1)[0].score
    for min_score in (best, round(best, 7), best + 1e-9, best + 1e-6, 7, -1e300, 1e300):
        body = {"texts": ["kati lore"], "k": 1, "min_score": min_score}
        rows = client.post(PREDICT, json=body).json()["results"]
        expected = predictor.predict("kati lore", 1, min(max(min_score, -9), 9))
        assert len(rows[0]["suggestions"]) == len(expected), min_score


def test_explanations_come_beside_suggestions(client: TestClient, predictor: Predictor):
    body = {"texts": ["kati lore", "miso"], "k": 1, "explain": True}
    results = client.post(PREDICT, json=body).json()["results"]
    expected = [predictor.explain(text, 1).to_dict() for text in body["texts"]]  # type: ignore[attr-defined]
    assert [row["explanation"] for row in results] == json.loads(json.dumps(expected))
    body["texts"] = ["a"] * 9
    answer = client.post(PREDICT, json=body)
    assert (answer.status_code, "9 texts" in answer.json()["detail"]) == (422, True)


def test_scores_and_explains(client: TestClient, predictor: Predictor):
    body = {"texts": ["kati", "lore"], "labels": ["KATI", "LORE"]}
    answer = client.post("/v1/models/small/score", json=body).json()
    assert answer["scores"] == predictor.score(body["texts"], body["labels"]).tolist()
    body = {"text": "kati", "labels": ["LORE"]}
    answer = client.post("/v1/models/small/explain", json=body).json()
    expected = predictor.explain("kati", labels=["LORE"]).to_dict()
    assert answer["explanation"] == json.loads(json.dumps(expected))


def test_tells_what_is_served(client: TestClient, predictor: Predictor):
    (model,) = client.get("/v1/models").json()["models"]
    assert model == client.get("/v1/models/small").json()
    assert (model["name"], model["kind"], model["labels"]) == ("small", "labels", 24)
    assert model["calibrated"] == (predictor.model.calibration is not None)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"texts": []}, "texts: at least 1 needed, 0 given"),
        ({"texts": ["a"] * 257}, "texts: at most 256 allowed, 257 given"),
        ({"texts": "a"}, "texts: a list is needed"),
        ({"texts": [1]}, "texts[0]: a string is needed"),
        ({}, "texts: is missing"),
        ([], "the body: an object is needed"),
        ({"texts": ["a"], "k": 0}, "k: at least 1 is needed"),
        ({"texts": ["a"], "k": 1001}, "k: at most 1000 is allowed"),
        ({"texts": ["a"], "k": "5"}, "k: a whole number is needed"),
        ({"texts": ["a"], "k": True}, "k: a whole number is needed"),
        ({"texts": ["a"], "kk": 1}, "kk: no such key"),
        ({"texts": ["a"], "min_score": float("nan")}, "min_score: a finite number is needed"),
        ({"texts": ["a"], "tail": float("inf")}, "tail: a finite number is needed"),
        ({"texts": ["a"], "allowed": ["NIX"]}, "allowed: label 'NIX' is none of the model's 24"),
        ({"texts": ["a"], "allowed": []}, "no label is allowed"),
        ({"texts": ["a"], "forbidden": ["x\ud800"]}, "forbidden: label 'x\\ud800' is none"),
        ({"texts": ["a"], "forbidden": ["x" * 10**6]}, "forbidden: label 'xxx"),
        ({"texts": ["a"], "x\ud800": 1}, "not UTF-8"),
        ({"texts": ["a"], "é\n" * 10**5: 1}, "no such key"),
    ],
)
def test_bad_values_are_told_in_one_line(client: TestClient, body: Any, detail: str):
    answer = client.post(PREDICT, content=json.dumps(body), headers=JSON)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (422, 422)
    assert detail in problem["detail"]
    assert len(problem["detail"]) < 600
    assert "\n" not in problem["detail"]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{", "no JSON"),
        (b'{"texts": ["\xff"]}', "UTF-8"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"texts": ["a"], "k": ' + b"9" * 5000 + b"}", "cannot be read"),
    ],
)
def test_what_is_no_json_is_400(client: TestClient, content: bytes, detail: str):
    answer = client.post(PREDICT, content=content, headers=JSON)
    assert (answer.status_code, detail in answer.json()["detail"]) == (400, True), answer.text


def test_half_surrogates_and_control_signs_are_texts(client: TestClient, predictor: Predictor):
    body = {"texts": ["kati \ud800", "\udfff", "\x00", "é" * 1000], "k": 2}
    answer = client.post(PREDICT, content=json.dumps(body), headers=JSON)
    assert answer.status_code == 200
    rows = [row["suggestions"] for row in answer.json()["results"]]
    assert rows == as_dicts(predictor.predict(body["texts"], 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "a/b;c"])
def test_another_content_type_is_415(client: TestClient, kind: str):
    answer = client.post(PREDICT, content=b"{}", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["status"]) == (415, 415)


def test_charsets_may_be_named(client: TestClient):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post(PREDICT, content=b'{"texts":["a"]}', headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/models/nix", 404),
        ("POST", "/v1/models/nix/predict", 404),
        ("POST", "/v1/models/%ed%a0%80/predict", 404),
        ("GET", PREDICT, 405),
        ("DELETE", "/v1/models", 405),
    ],
)
def test_unknown_addresses_are_problems(client: TestClient, method: str, path: str, status: int):
    body = {"json": {"texts": ["a"]}} if method == "POST" else {}
    answer = client.request(method, path, **body)  # type: ignore[arg-type]
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert status != 405 or answer.headers["allow"]


def test_a_model_of_labels_fills_nothing(client: TestClient):
    answer = client.post("/v1/models/small/fill", json={"items": [{"title": "a"}]})
    assert (answer.status_code, "/predict" in answer.json()["detail"]) == (422, True)


def test_two_models_are_told_apart(model_folder: Path):
    with client_of(model_folder, "other") as other:
        assert other.post("/v1/models/other/predict", json={"texts": ["a"]}).status_code == 200
        assert "there are: other" in other.get("/v1/models/small").json()["detail"]

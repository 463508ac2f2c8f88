"""Models of attributes behind HTTP: rows of a catalogue in, a value of each attribute out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serve.serving import client_of
from tests.small_models import save_attribute_model
from xrt.applications.attributes.predictor import AttributePredictor

FILL = "/v1/models/catalogue/fill"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_attribute_model(tmp_path_factory.mktemp("attributes") / "model")


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Iterator[TestClient]:
    with client_of(folder, "catalogue") as client:
        yield client


def test_fills_as_the_predictor_does(catalogue: TestClient, folder: Path):
    items = [{"title": "tavola stoneware bowl 24 cm"}, {"title": "", "price": 3}, {"title": "x"}]
    answer = catalogue.post(FILL, json={"items": items})
    assert answer.status_code == 200, answer.text
    predictor = AttributePredictor.load(folder, num_threads=1)
    expected: list[dict[str, Any]] = [
        {name: {"value": s.name or None, "score": s.score} for name, s in values.items()}
        for values in predictor.predict_items(items)
    ]
    assert answer.json()["results"] == expected
    assert any(expected)
    (model,) = catalogue.get("/v1/models").json()["models"]
    assert model["kind"] == "attributes"
    assert "title" in model["fields"]
    assert model["attributes"] == list(predictor.space.attributes)


def test_other_routes_are_for_models_of_labels(catalogue: TestClient):
    answer = catalogue.post("/v1/models/catalogue/predict", json={"texts": ["a"]})
    assert (answer.status_code, "/fill" in answer.json()["detail"]) == (422, True)
    assert catalogue.get("/v1/projects").json() == {"projects": []}
    assert catalogue.get("/v1/projects/catalogue").status_code == 422


@pytest.mark.parametrize(
    ("items", "detail"),
    [
        ([{"colour": "red"}], "no item has a column that the model reads; it reads title"),
        ([], "items: at least 1 needed"),
        ([{"title": ["a"]}], "items[0].title"),
        ([{"title": float("nan")}], "items[0].title"),
    ],
)
def test_bad_items_are_told_in_one_line(catalogue: TestClient, items: Any, detail: str):
    content = json.dumps({"items": items})
    answer = catalogue.post(FILL, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]

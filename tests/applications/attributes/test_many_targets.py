"""A catalogue with many attributes: the decoder gets labels of every one, in training as in use."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from xrt.applications.attributes.catalogue_training import AttributeHooks
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.applications.attributes.decoding.candidates import PER_ATTRIBUTE, count_candidates
from xrt.applications.attributes.predictor import AttributePredictor
from xrt.cli import main
from xrt.sources.base import CANDIDATES

TARGETS = [f"a{i:02}" for i in range(9)]


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with open(tmp_path / "items.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["title", *TARGETS])
        for _ in range(350):
            values = [f"{name}v{rng.integers(10)}" for name in TARGETS]
            rows.writerow([" ".join(values), *values])
    return tmp_path / "items.csv"


def test_a_few_attributes_need_no_more_labels_than_other_corpora():
    assert count_candidates(0) == count_candidates(CANDIDATES // PER_ATTRIBUTE) == CANDIDATES
    assert count_candidates(20) == 20 * PER_ATTRIBUTE


def test_rows_with_many_attributes_have_scores_of_each(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    held = []
    learn = AttributeHooks.learn

    def spy(self, corpus, held_out):
        held.append((self.space, held_out.scores_NL))
        learn(self, corpus, held_out)

    monkeypatch.setattr(AttributeHooks, "learn", spy)
    settings = [
        "experiment=attributes", "features=words", f"data.path={catalogue}", "num_threads=2",
        "schema.text_columns=[title]", f"schema.targets=[{','.join(TARGETS)}]",
        "schema.hierarchy=[]", "schema.numeric_columns=[]", "schema.categorical_columns=[]",
        f"paths.run={tmp_path / 'run'}",
    ]  # fmt: skip
    GlobalHydra.instance().clear()
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        assert main(["train", *settings]) == 0
    finally:
        for handler in set(logging.root.handlers) - set(handlers):
            handler.close()
        logging.root.handlers, logging.root.level = handlers, level
    (space, scores), wanted = held[0], PER_ATTRIBUTE * len(TARGETS)
    predictor = AttributePredictor.load(tmp_path / "run" / "model")
    used = predictor.scores(read_catalogue(catalogue).subset(np.arange(20)))
    for rows in (scores, used):
        assert np.diff(rows.indptr).min() >= wanted - 2  # each row has so many, or all there are
        for row in range(20):
            columns = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
            assert set(space.attribute_of_L[columns].tolist()) == set(range(len(TARGETS)))
    figures = json.loads((tmp_path / "run" / "report.json").read_text())["attributes"]
    assert figures["item_accuracy"] > 0.5

"""A whole run on a file with confidences and weights of rows: every source of scores sees them."""

import json

import numpy as np
import pytest

from tests.small_corpora import fit_in_folder
from xrt.demo.catalogue import demo_catalogue
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.pipeline.corpora import load_corpora
from xrt.pipeline.params import DatasetParams, PipelineParams
from xrt.sources.neighbours import NeighbourParams, NeighbourSource


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for row in demo_catalogue(160).rows:
        labels = {label: round(float(rng.uniform(0.2, 1)), 3) for label in row["labels"]}
        rows.append({"text": row["title"], "labels": labels, "trust": float(rng.uniform(0.5, 2))})
    path = tmp_path / "trn.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DatasetParams(trn=str(path), weight_column="trust")


def test_settings_say_whether_weights_are_heard(dataset, tmp_path):
    heard, _ = load_corpora(dataset, tmp_path, 0)
    assert heard.Y.data.max() <= 1
    assert heard.Y.data.min() < 0.3
    assert heard.row_weights.shape == (160,)
    plain = DatasetParams(trn=dataset.trn, confidences=False)
    deaf, _ = load_corpora(plain, tmp_path, 0)
    assert (deaf.Y.data == 1).all()
    assert deaf.row_weights is None
    np.testing.assert_array_equal(deaf.Y.indices, heard.Y.indices)


def test_the_deep_model_is_trained_on_weights(dataset, tmp_path):
    corpus, _ = load_corpora(dataset, tmp_path, 0)
    params = PipelineParams(
        dataset=dataset,
        encoder=EncoderParams(name="tiny-random", max_length=16),
        matcher=MatcherParams(num_epochs=1, token_budget=1024),
        neighbours=NeighbourParams(num_neighbours=5),
        validation_rows=20,
        always_deep=True,
    )
    fitted = fit_in_folder(params, corpus, tmp_path / "run")
    model, verdict = fitted.model, fitted.verdict
    assert verdict is not None
    scores = model.predict(corpus.texts[:10], 5)
    assert scores.data.min() >= 0
    assert scores.data.max() <= 1
    for source in model.sources.values():
        if isinstance(source, NeighbourSource):  # fusion may have given it no weight
            assert not source.confident
            np.testing.assert_array_equal(source.weights_N[:160], corpus.row_weights)
    again = fit_in_folder(params, corpus, tmp_path / "run").model
    np.testing.assert_array_equal(again.predict(corpus.texts[:10], 5).toarray(), scores.toarray())

"""Figures with standard errors: the figures are those of the metrics, the errors those of rows."""

import numpy as np
import pytest

from xrt.metrics.propensity import inverse_propensities, psp_at
from xrt.metrics.ranking import judge, precision_at, recall_at
from xrt.metrics.standard_errors import SHOWN, figures_with_errors
from xrt.sparse import as_csr

LABELS = 30


def ranking(rng: np.random.Generator, num_rows: int):
    Y = (rng.random((num_rows, LABELS)) < 0.1).astype(np.float32)
    Y[:, 0] = 1
    scores = rng.random((num_rows, LABELS)).astype(np.float32) + 0.5 * Y
    return as_csr(Y), as_csr(scores)


def test_the_figures_are_those_of_the_metrics(rng: np.random.Generator) -> None:
    Y, scores = ranking(rng, 60)
    judged = judge(Y, scores, 10)
    weights = inverse_propensities(np.arange(LABELS), 100)
    figures = figures_with_errors(judged, weights)
    assert tuple(figures) == SHOWN
    assert figures["P@1"].value == precision_at(judged)[0]
    assert figures["R@10"].value == recall_at(judged)[9]
    assert figures["PSP@5"].value == psp_at(judged, weights)[4]


@pytest.mark.parametrize("name", SHOWN)
def test_errors_are_those_of_samples_of_rows(rng: np.random.Generator, name: str) -> None:
    """The spread of the figure over bootstrap samples of the rows is the standard error."""
    Y, scores = ranking(rng, 300)
    weights = inverse_propensities(np.arange(LABELS), 100)
    told = figures_with_errors(judge(Y, scores, 10), weights)[name]
    values = []
    for _ in range(300):
        rows = rng.integers(0, 300, 300)
        judged = judge(as_csr(Y[rows]), as_csr(scores[rows]), 10)
        values.append(figures_with_errors(judged, weights)[name].value)
    assert told.error == pytest.approx(np.std(values), rel=0.2)


def test_a_single_row_has_no_error() -> None:
    judged = judge(as_csr([[1, 0]]), as_csr(np.float32([[0.9, 0.1]])), 10)
    figures = figures_with_errors(judged, np.ones(2))
    assert [(f.value, f.error) for f in figures.values()] == [(1.0, None)] * 3

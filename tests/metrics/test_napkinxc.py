"""Our metrics against napkinXC's, on file in tests/golden/metrics_napkinxc.json.

What differs by definition: napkinXC's macro-F1@k is a mean over all label ids up to the highest one
in use, ours over the labels that occur in the truth or a prediction; the test converts one to the
other.
"""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from tests import ROOT
from xrt.metrics.propensity import inverse_propensities
from xrt.metrics.report import RankingReport, evaluate_ranking

GOLDEN = json.loads((ROOT / "tests" / "golden" / "metrics_napkinxc.json").read_text())
KS = tuple(range(1, len(GOLDEN["napkinxc"]["P"]) + 1))


def matrix(rows: list[list[int]], value_of_rank) -> sp.csr_array:
    dense = np.zeros((len(rows), GOLDEN["num_labels"]), np.float32)
    for row, labels in enumerate(rows):
        dense[row, labels] = value_of_rank(np.arange(len(labels)))
    return sp.csr_array(dense)


@pytest.fixture(scope="module")
def report() -> RankingReport:
    return evaluate_ranking(
        matrix(GOLDEN["truth"], np.ones_like),
        matrix(GOLDEN["ranked"], lambda rank: 1 - 0.01 * rank),
        ks=KS,
        train_label_counts=GOLDEN["train_counts"],
        num_train=GOLDEN["num_train"],
    )


@pytest.mark.parametrize(
    "metric", ["P", "R", "nDCG", "PSP", "PSnDCG", "coverage", "micro-F1", "samples-F1"]
)
def test_same_figure(report, metric):
    ours = [report.value(f"{metric}@{k}") for k in KS]
    np.testing.assert_allclose(ours, GOLDEN["napkinxc"][metric], rtol=1e-12)


def test_same_inverse_propensities():
    ours = inverse_propensities(GOLDEN["train_counts"], GOLDEN["num_train"])
    np.testing.assert_allclose(ours, GOLDEN["napkinxc"]["inverse_propensity"], rtol=1e-12)


@pytest.mark.parametrize("k", KS)
def test_same_macro_f1_up_to_the_labels_counted(report, k):
    in_use = set().union(*GOLDEN["truth"], *(ranked[:k] for ranked in GOLDEN["ranked"]))
    ours = report.value(f"macro-F1@{k}") * len(in_use) / (max(in_use) + 1)
    assert ours == pytest.approx(GOLDEN["napkinxc"]["macro-F1"][k - 1], rel=1e-12)

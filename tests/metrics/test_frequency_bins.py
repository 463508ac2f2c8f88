import numpy as np
import pytest

from xrt.errors import DataError
from xrt.metrics.frequency_bins import frequency_bins
from xrt.metrics.ranking import judge

COUNTS = [0, 1, 2, 4, 5, 9, 10, 49, 50, 199, 200, 5000]


def test_edges_of_the_bins():
    judged = judge(np.ones((1, 12)), np.ones((1, 12)), 12)
    bins = frequency_bins(judged, COUNTS, 12)
    assert [bin.name for bin in bins] == ["0", "1", "2-4", "5-9", "10-49", "50-199", "200+"]
    assert [bin.num_labels for bin in bins] == [1, 1, 2, 2, 2, 2, 2]
    assert all(bin.recall == bin.precision == bin.coverage == 1 for bin in bins)


def test_figures_worked_by_hand():
    # labels 0, 1 are rare (once), 2 is common; label 0 true in both rows, found in one
    Y = [[1, 1, 1], [1, 0, 0]]
    scores = [[0.9, 0.0, 0.8], [0.0, 0.7, 0.9]]
    rare, common = (
        bin for bin in frequency_bins(judge(Y, scores, 3), [1, 1, 300], 2) if bin.num_labels
    )
    assert (rare.num_labels, rare.num_pairs, rare.num_predicted) == (2, 3, 2)
    assert (rare.precision, rare.recall, rare.coverage) == pytest.approx((1 / 2, 1 / 3, 1 / 2))
    assert (common.precision, common.recall, common.coverage) == pytest.approx((1 / 2, 1, 1))


def test_only_the_first_k_ranks_count():
    bins = frequency_bins(judge([[0, 1]], [[0.9, 0.1]], 2), [1, 1], 1)
    assert bins[1].recall == bins[1].coverage == 0


def test_bins_add_up_to_the_whole(rng):
    Y, scores = rng.random((40, 30)) < 0.1, rng.random((40, 30))
    counts = rng.integers(0, 300, 30)
    bins = frequency_bins(judge(Y, scores, 5), counts, 5)
    assert sum(bin.num_pairs for bin in bins) == Y.sum()
    assert sum(bin.num_predicted for bin in bins) == 40 * 5


def test_wrong_sizes():
    judged = judge([[0, 1]], [[0.9, 0.1]], 2)
    with pytest.raises(DataError, match="1 training counts for 2 labels"):
        frequency_bins(judged, [1], 1)
    with pytest.raises(DataError, match="k = 3"):
        frequency_bins(judged, [1, 1], 3)

import json

import numpy as np
import pytest
import scipy.sparse as sp

from xrt.errors import ConfigError, DataError
from xrt.metrics.propensity import PropensityParams
from xrt.metrics.report import compare_table, evaluate_ranking

Y = sp.csr_array(np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32))
SCORES = sp.csr_array(np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.0], [0.3, 0.2, 0.1]], np.float32))


@pytest.fixture
def report():
    return evaluate_ranking(
        Y, SCORES, ks=(3, 1), train_label_counts=[10, 2, 0], num_train=50, threshold=0.5
    )


def test_counts_what_the_means_hide(report):
    assert report.ks == (1, 3)
    assert (report.num_instances, report.num_labels, report.num_true_pairs) == (3, 4, 3)
    assert report.num_without_truth == 1
    assert report.num_short == 1  # row 1 has two predictions
    # label 2 has no training row, label 3 no column in the scores
    assert (report.num_unseen_labels, report.num_unseen_pairs) == (2, 2)


def test_values(report):
    assert report.value("P@1") == pytest.approx(1 / 3)
    assert report.value("R@3") == pytest.approx(1 / 3)
    assert report.value("micro-F1@1") == pytest.approx(2 / 6)
    assert report.thresholded.micro == pytest.approx(2 * 1 / (3 + 2))
    with pytest.raises(ConfigError, match=r"P@1"):
        report.value("P@2")


def test_propensity_pads_counts_of_labels_appended_after_training(report):
    padded = evaluate_ranking(
        Y, SCORES, ks=(1, 3), train_label_counts=[10, 2, 0, 0], num_train=50, threshold=0.5
    )
    assert padded == report


def test_without_training_counts_there_is_no_propensity_and_no_bin():
    report = evaluate_ranking(Y, SCORES)
    assert "PSP" not in report.metrics
    assert report.propensity is None
    assert report.bins == []
    assert "A=" not in report.to_text()
    assert report.num_unseen_labels == 1


def test_to_dict_is_json(report):
    flat = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert flat["metrics"]["P@1"] == report.value("P@1")
    assert flat["propensity"] == {"a": 0.55, "b": 1.5}
    assert flat["bins"][0]["name"] == "0"


def test_text_is_aligned_and_names_a_and_b(report):
    text = report.to_text()
    assert "A=0.55 B=1.5" in text
    table = text.split("\n\n")[0].splitlines()
    assert table[0].split() == ["@1", "@3"]
    assert table[1].split() == ["P", "33.33", "22.22"]
    assert len({len(line) for line in table}) == 1
    assert "1 instances without a true label" in text
    assert "2 labels in 2 true pairs were never seen" in text


def test_compare_table_puts_systems_side_by_side(report):
    other = evaluate_ranking(Y, SCORES, ks=(1, 5))
    lines = compare_table({"linear": report, "deep": other}).splitlines()
    assert lines[0].split() == ["linear", "deep"]
    cells = {line.split("  ")[0].strip(): line.split()[1:] for line in lines[1:]}
    assert cells["P@1"] == ["33.33", "33.33"]
    assert cells["P@5"] == ["-", "13.33"]
    assert cells["PSP@1"][1] == "-"
    assert "0.55, 1.5" in lines[-1]


def test_reports_on_different_data_are_not_compared(report):
    other = evaluate_ranking(Y[:2], SCORES[:2])
    with pytest.raises(DataError, match=r"a: 3 instances.*b: 2 instances"):
        compare_table({"a": report, "b": other})
    with pytest.raises(DataError, match="no report"):
        compare_table({})


@pytest.mark.parametrize("ks", [(), (0,), (1.5,)])
def test_cutoffs_are_checked(ks):
    with pytest.raises(ConfigError, match="ks = "):
        evaluate_ranking(Y, SCORES, ks=ks)


def test_counts_and_size_belong_together():
    with pytest.raises(ConfigError, match="belong together"):
        evaluate_ranking(Y, SCORES, train_label_counts=[1, 1, 1])
    with pytest.raises(DataError, match="5 training counts for 4 labels"):
        evaluate_ranking(Y, SCORES, train_label_counts=[1] * 5, num_train=9)


def test_another_propensity_changes_psp(report):
    wikipedia = PropensityParams(a=0.5, b=0.4)
    other = evaluate_ranking(
        Y, SCORES, train_label_counts=[10, 2, 0], num_train=50, propensity=wikipedia
    )
    assert other.value("PSP@1") != report.value("PSP@1")
    assert "A=0.5 B=0.4" in other.to_text()

"""What a report shows of single rows: figures with standard errors, labels that are missed, and
examples of what the model gets right and wrong.

Shapes: N instances, L labels, K ranks that are looked at.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from xrt.data.corpus import Corpus
from xrt.metrics.calibration import reliability
from xrt.metrics.missed_labels import most_missed
from xrt.metrics.propensity import PropensityParams, inverse_propensities
from xrt.metrics.ranking import JudgedRanking, judge
from xrt.metrics.standard_errors import figures_with_errors

DEPTH = 10
ECE_K = 5
NUM_EXAMPLES = 20
SHOWN_LABELS = 8
"""True labels, and suggestions, of an example at most; those of more labels say how many more."""
SAME_MISTAKE = 2
"""Examples at most in which the same label stands first in the place of the same true one."""
TEXT_LENGTH = 600
"""Characters of a text that an example keeps."""
NAME_LENGTH = 120
"""Characters of a label that an example keeps."""


@dataclass(frozen=True, eq=False)
class LookedAtRows:
    """The models on the same rows.

    Attributes:
        name: which rows, for people: `test rows`, `held-out training rows`.
        corpus: the rows; the label table may end with labels unseen in training.
        scores: scores of each model, csr_array (N, L), by its name.
    """

    name: str
    corpus: Corpus
    scores: Mapping[str, sp.csr_array]


def look_at_rows(
    rows: LookedAtRows,
    shipped: str,
    train_counts_L: np.ndarray,
    num_train: int,
    propensity: PropensityParams,
    are_probabilities: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a report tells of some rows.

    Args:
        rows: the rows, with the scores of each model.
        shipped: name of the model whose mistakes are shown.
        train_counts_L: training rows of each label, (L,); missing ones are 0.
        num_train: training rows.
        propensity: the constants of PSP.
        are_probabilities: whether scores are calibrated.

    Returns:
        For report.json, without texts: `rows`, their number, `figures` by model, `missed`,
        `never_seen` and, of probabilities, `reliability`. And the examples, with texts.
    """
    corpus = rows.corpus
    counts_L = np.zeros(corpus.num_labels, np.int64)
    counts_L[: len(train_counts_L)] = train_counts_L
    weights_L = inverse_propensities(np.minimum(counts_L, num_train), num_train, propensity)
    judged = {name: judge(corpus.Y, scores, DEPTH) for name, scores in rows.scores.items()}
    figures = {
        name: {key: asdict(figure) for key, figure in figures_with_errors(each, weights_L).items()}
        for name, each in judged.items()
    }
    best = judged[shipped]
    missed = [
        {
            **_label(corpus, label.column), "rows": label.num_rows, "missed": label.num_missed,
            "late": label.num_late, "in_training": int(counts_L[label.column]),
            "instead": [{**_label(corpus, other), "rows": n} for other, n in label.instead],
        }
        for label in most_missed(best, counts_L > 0)
    ]  # fmt: skip
    true_L = np.bincount(best.truth_NL.indices, minlength=corpus.num_labels)
    never = (counts_L == 0) & (true_L > 0)
    told = {
        "rows": rows.name, "num_rows": corpus.num_instances, "figures": figures, "missed": missed,
        "never_seen": {"labels": int(never.sum()), "pairs": int(true_L[never].sum())},
    }  # fmt: skip
    if are_probabilities:
        told["reliability"] = asdict(reliability(corpus.Y, rows.scores[shipped], ECE_K))
    return told, examples_of(corpus, rows.scores[shipped], best, rows.name)


def examples_of(
    corpus: Corpus, scores_NL: sp.csr_array, judged: JudgedRanking, name: str
) -> dict[str, Any]:
    """Rows that a model gets right, and rows that it does not.

    A row with t true labels is right where these are the first t suggestions. Of the right rows
    some are taken evenly, from the surest to the least sure; of the others those whose wrong
    suggestions, among the first t, are the surest.

    Args:
        corpus: the rows.
        scores_NL: their scores, csr_array (N, L).
        judged: the same scores beside the truth.
        name: which rows, for people.

    Returns:
        Counts, and the examples under `right` and `wrong`, with texts.
    """
    num_true_N = judged.num_true_N
    scores_NK = _scores_of(judged, scores_NL)
    first_NK = np.arange(judged.depth) < num_true_N[:, None]
    hits_N = (judged.hits_NK & first_NK).sum(axis=1)
    is_right_N = (num_true_N > 0) & (hits_N == np.minimum(num_true_N, judged.depth))
    by_score = np.argsort(-scores_NK[:, 0], kind="stable")
    right = by_score[is_right_N[by_score]]
    places = np.unique(np.linspace(0, len(right) - 1, NUM_EXAMPLES).round().astype(np.int64))
    wrong_NK = np.where(first_NK & ~judged.hits_NK, scores_NK, -1.0)
    surest = np.argsort(-wrong_NK.max(axis=1), kind="stable")
    wrong = surest[((num_true_N > 0) & ~is_right_N)[surest]]
    return {
        "rows": name,
        "num_rows": judged.num_instances,
        "num_right": len(right),
        "num_first_right": int(judged.hits_NK[:, 0].sum()),
        "num_wrong": len(wrong),
        "num_without_labels": int((num_true_N == 0).sum()),
        "right": [
            _example(corpus, scores_NK, judged, int(row))
            for row in (right[places] if len(right) > NUM_EXAMPLES else right)
        ],
        "wrong": [
            _example(corpus, scores_NK, judged, row)
            for row in _varied(wrong, judged, wrong_NK.argmax(axis=1))
        ],
    }


def _scores_of(judged: JudgedRanking, scores_NL: sp.csr_array) -> np.ndarray:
    """The score of each place of the ranking, 0 where there is none: float64 (N, K)."""
    num_rows, num_labels = scores_NL.shape
    rows_P = np.repeat(np.arange(num_rows, dtype=np.int64), np.diff(scores_NL.indptr))
    keys_P = rows_P * num_labels + scores_NL.indices
    rows, ranks = np.nonzero(judged.labels_NK >= 0)
    places = np.searchsorted(keys_P, rows * num_labels + judged.labels_NK[rows, ranks])
    scores_NK = np.zeros(judged.labels_NK.shape)
    scores_NK[rows, ranks] = scores_NL.data[places]
    return scores_NK


def _varied(rows: np.ndarray, judged: JudgedRanking, worst_N: np.ndarray) -> list[int]:
    """The first rows, without more than a few of the same mistake where there are others: the same
    label is wrong in both, and the same true one is missed.
    """
    taken: dict[tuple[int, int], int] = {}
    chosen: list[int] = []
    later: list[int] = []
    truth_NL = judged.truth_NL
    for row in rows:
        true = truth_NL.indices[truth_NL.indptr[row] : truth_NL.indptr[row + 1]]
        missed = np.setdiff1d(true, judged.labels_NK[row, : len(true)])
        mistake = int(judged.labels_NK[row, worst_N[row]]), int(missed[0])
        taken[mistake] = taken.get(mistake, 0) + 1
        (chosen if taken[mistake] <= SAME_MISTAKE else later).append(int(row))
        if len(chosen) == NUM_EXAMPLES:
            break
    return [*chosen, *later][:NUM_EXAMPLES]


def _example(
    corpus: Corpus, scores_NK: np.ndarray, judged: JudgedRanking, row: int
) -> dict[str, Any]:
    truth_NL = judged.truth_NL
    true = truth_NL.indices[truth_NL.indptr[row] : truth_NL.indptr[row + 1]]
    suggested = judged.labels_NK[row]
    suggested = suggested[suggested >= 0]
    rank_of = {int(column): rank for rank, column in enumerate(suggested.tolist(), 1)}
    by_rank = sorted(true.tolist(), key=lambda column: rank_of.get(column, len(rank_of) + 1))
    shown = min(SHOWN_LABELS, max(3, len(true)))
    text = "" if corpus.texts is None else corpus.texts[row]
    return {
        "row": row,
        "id": "" if corpus.ids is None else str(corpus.ids[row])[:NAME_LENGTH],
        "text": text[:TEXT_LENGTH],
        "is_cut": len(text) > TEXT_LENGTH,
        "num_true": len(true),
        "true": [
            {**_label(corpus, column), "rank": rank_of.get(column)}
            for column in by_rank[:SHOWN_LABELS]
        ],
        "suggested": [
            {
                **_label(corpus, int(column)), "score": round(float(scores_NK[row, rank]), 4),
                "true": bool(judged.hits_NK[row, rank]),
            }
            for rank, column in enumerate(suggested[:shown])
        ],
    }  # fmt: skip


def _label(corpus: Corpus, column: int) -> dict[str, str]:
    """A label's id, and its name where it has one."""
    id, name = corpus.labels.ids[column], corpus.labels.names[column]
    return {"label": id[:NAME_LENGTH], **({"name": name[:NAME_LENGTH]} if name else {})}

"""Which labels are suspected: missing ones and wrong ones, the surest first; and as suggestions.

N rows, L labels, P pairs, S suspects.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from xrt.applications.audit.audit_params import AuditParams
from xrt.applications.audit.evidence.evidence_stages import AuditedRows
from xrt.applications.audit.evidence.name_matches import matched_terms, name_matches
from xrt.applications.audit.evidence.nearest_rows import agreement_of_pairs
from xrt.applications.audit.scoring.decoys import looks_like_decoy
from xrt.applications.audit.scoring.out_of_fold import FoldScores
from xrt.applications.audit.scoring.probabilities import (
    Evidence,
    calibrated,
    fitted_pairs,
    shrunk_thresholds,
    with_all_evidence,
)
from xrt.applications.audit.suggestions.pairs import LabelPairs, join_pairs
from xrt.applications.audit.suggestions.suggestion import ADD, REMOVE, SuggestedChange
from xrt.data.corpus import Corpus
from xrt.progress import Progress, SilentProgress
from xrt.sources.votes import Neighbours
from xrt.sparse import best_places

MISSING, WRONG = "missing", "wrong"


@dataclass(frozen=True, eq=False)
class AssessedPairs:
    """Pairs with their evidence and what follows from it, all (P,) but `thresholds_L`.

    `probability_P` is from all evidence, `decoy_P` says how much a given label looks like one put
    there at random (0 of labels not given).
    """

    pairs: LabelPairs
    evidence: Evidence
    probability_P: np.ndarray
    decoy_P: np.ndarray
    thresholds_L: np.ndarray

    def enough_rows(self, min_label_rows: int) -> np.ndarray:
        """The pairs whose label the model that scored them had seen in enough rows.

        Args:
            min_label_rows: Least number of rows.

        Returns:
            bool (P,).
        """
        seen_P: np.ndarray = self.evidence.counts_P >= min_label_rows
        return seen_P


@dataclass(frozen=True, eq=False)
class Suspects:
    """Pairs suspected of one kind, as positions among the judged, best score first."""

    kind: str
    places_S: np.ndarray
    scores_S: np.ndarray
    num_suspected: int
    """How many there were before the cut at `max_suggestions`."""


def assess_pairs(
    scores: FoldScores,
    X_NF: sp.csr_array,
    Y_NL: sp.csr_array,
    names_LF: sp.csr_array,
    neighbours: Neighbours,
    fold_N: np.ndarray,
    params: AuditParams,
    progress: Progress | None = None,
) -> AssessedPairs:
    """Evidence and probabilities of all given labels, and of others that are likely enough.

    Args:
        scores: Out-of-fold scores, (N, L) each.
        X_NF: The corpus's rows, (N, F).
        Y_NL: Given labels, ones (N, L).
        names_LF: Rows of the labels' names, (L, F).
        neighbours: The nearest other rows of each row.
        fold_N: Fold of each row, int64 (N,).
        params: Settings of the audit.
        progress: Shows the step; None shows nothing.

    Returns:
        The pairs with evidence and probabilities, and the threshold of each label.
    """
    progress = progress or SilentProgress()
    progress.start("evidence", 4)
    pairs = join_pairs(scores.best_NL, scores.given_NL, params.candidates)
    decoys = join_pairs(scores.best_NL, scores.decoys_NL, params.candidates)
    decoys = decoys.take(decoys.given_P)
    counts_KL = _counts_of_folds(Y_NL, fold_N, params.folds)
    elsewhere_KL = counts_KL.sum(axis=0) - counts_KL
    counts_P, counts_D = (
        elsewhere_KL[fold_N[some.rows_P], some.labels_P] for some in (pairs, decoys)
    )
    fitted_P = fitted_pairs(pairs, params.candidates, params.seed)
    linear_P, linear_D = _calibrated_alike(pairs, decoys, counts_P, counts_D, fitted_P, fold_N)
    progress.advance()

    def evidence_of(some: LabelPairs, probability_P: np.ndarray, counts_P: np.ndarray) -> Evidence:
        votes_P, _ = agreement_of_pairs(
            neighbours, Y_NL, some.ptr_N, some.labels_P, params.num_threads
        )
        nearest_P = neighbours.similarities_MW[some.rows_P, 0]
        name_P = name_matches(X_NF, names_LF, some.rows_P, some.labels_P)
        return Evidence(probability_P, votes_P, nearest_P, name_P, counts_P)

    selected = fitted_P | pairs.given_P | (linear_P >= params.min_probability)
    pairs, fitted_P = pairs.take(selected), fitted_P[selected]
    evidence = evidence_of(pairs, linear_P[selected], counts_P[selected])
    progress.advance()
    likely_P = pairs.given_P | (evidence.probability_P >= params.min_probability)
    all_P = with_all_evidence(
        pairs, evidence, fold_N[pairs.rows_P], fitted_P, likely_P, params.seed
    )
    progress.advance()
    given_pairs = _take(pairs, evidence, pairs.given_P)
    decoy_pairs = decoys, evidence_of(decoys, linear_D, counts_D)
    decoy_P = np.zeros(len(pairs), np.float32)
    decoy_P[pairs.given_P] = looks_like_decoy(given_pairs, decoy_pairs, fold_N, params.seed)
    progress.advance()
    progress.finish()
    known_P = pairs.given_P & (evidence.counts_P >= params.min_label_rows)
    thresholds_L = shrunk_thresholds(pairs.labels_P[known_P], all_P[known_P], Y_NL.shape[1])
    pairs, evidence = _take(pairs, evidence, likely_P)
    return AssessedPairs(pairs, evidence, all_P[likely_P], decoy_P[likely_P], thresholds_L)


def _calibrated_alike(
    pairs: LabelPairs,
    decoys: LabelPairs,
    counts_P: np.ndarray,
    counts_D: np.ndarray,
    fitted_P: np.ndarray,
    fold_N: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Linear probabilities of pairs and of decoys by the same curves, which decoys do not shape."""
    nothing_D = np.zeros(len(decoys), bool)
    probability = calibrated(
        np.concatenate([pairs.scores_P, decoys.scores_P]),
        np.concatenate([pairs.given_P, nothing_D]),
        np.concatenate([counts_P, counts_D]),
        np.concatenate([fold_N[pairs.rows_P], fold_N[decoys.rows_P]]),
        np.concatenate([fitted_P, nothing_D]),
    )
    return probability[: len(pairs)], probability[len(pairs) :]


def suspected_missing(assessed: AssessedPairs, params: AuditParams) -> Suspects:
    """Labels that are not given and reach the threshold of the label, the likeliest first.

    A label that the judging model has seen in fewer than `min_label_rows` rows is not suspected.

    Args:
        assessed: The judged pairs.
        params: Of these, `min_label_rows`, `min_probability` and `max_suggestions` are used.

    Returns:
        The suspects, at most `max_suggestions`.
    """
    likely_P = assessed.probability_P >= assessed.thresholds_L[assessed.pairs.labels_P]
    likely_P &= assessed.enough_rows(params.min_label_rows)
    likely_P &= assessed.probability_P >= params.min_probability
    places = np.flatnonzero(likely_P & ~assessed.pairs.given_P)
    return _best(MISSING, places, assessed.probability_P[places], params.max_suggestions)


def suspected_wrong(assessed: AssessedPairs, params: AuditParams) -> Suspects:
    """Given labels that are among the share `wrong_quantile` of those that look most wrong, less
    likely than their threshold, and not among the row's best-scored ones.

    The score is the mean of two ranks among all judged labels, as shares: by how little likely the
    label is, which leans to rare labels, and by how much it looks like a decoy. A label that the
    judging model has seen in fewer than `min_label_rows` rows is not judged: its low score says
    nothing about the row.

    Args:
        assessed: The judged pairs.
        params: Of these, `min_label_rows`, `wrong_quantile`, `top_ranks` and `max_suggestions` are
            used.

    Returns:
        The suspects, at most `max_suggestions`, the highest score first.
    """
    pairs = assessed.pairs
    places = np.flatnonzero(pairs.given_P & assessed.enough_rows(params.min_label_rows))
    if not len(places):
        return _best(WRONG, places, np.zeros(0, np.float32), params.max_suggestions)
    unlikely, like_decoy = -assessed.probability_P[places], assessed.decoy_P[places]
    scores = (_rank_share(unlikely) + _rank_share(like_decoy)) / 2
    suspect = scores >= np.quantile(scores, 1 - params.wrong_quantile)
    suspect &= pairs.ranks_P[places] > params.top_ranks
    suspect &= assessed.probability_P[places] < assessed.thresholds_L[pairs.labels_P[places]]
    return _best(WRONG, places[suspect], scores[suspect], params.max_suggestions)


def _rank_share(values: np.ndarray) -> np.ndarray:
    """The share of values that are smaller, equals counted half: float64, of the same length."""
    ordered = np.sort(values)
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    shares: np.ndarray = (below + up_to) / (2 * len(values))
    return shares


def _best(kind: str, places: np.ndarray, scores: np.ndarray, limit: int) -> Suspects:
    order = best_places(scores, limit)
    return Suspects(kind, places[order], scores[order], len(places))


def _take(
    pairs: LabelPairs, evidence: Evidence, selected: np.ndarray
) -> tuple[LabelPairs, Evidence]:
    parts = (getattr(evidence, f"{name}_P")[selected] for name in _EVIDENCE_FIELDS)
    return pairs.take(selected), Evidence(*parts)


_EVIDENCE_FIELDS = ("probability", "agreement", "similarity", "name", "counts")


def _counts_of_folds(Y_NL: sp.csr_array, fold_N: np.ndarray, num_folds: int) -> np.ndarray:
    """Rows of each label in each fold: int32 (K, L)."""
    num_labels = Y_NL.shape[1]
    fold_E = np.repeat(fold_N, np.diff(Y_NL.indptr))
    keys = fold_E * num_labels + Y_NL.indices
    counts = np.bincount(keys, minlength=num_folds * num_labels)
    return counts.reshape(num_folds, num_labels).astype(np.int32)


SHOWN_NEIGHBOURS = 5
SHOWN_CHARACTERS = 300


def describe(
    suspects: Suspects,
    assessed: AssessedPairs,
    corpus: Corpus,
    rows: AuditedRows,
    neighbours: Neighbours,
    corpus_key: str,
) -> list[SuggestedChange]:
    """A suggestion for each suspect, in their order.

    Args:
        suspects: What is suspected.
        assessed: The judged pairs.
        corpus: The corpus.
        rows: Its rows.
        neighbours: The nearest other rows of each row.
        corpus_key: What `corpus_key` says of the corpus.

    Returns:
        The suggestions, with the evidence for each.
    """
    kind = ADD if suspects.kind == MISSING else REMOVE
    pairs, evidence = assessed.pairs, assessed.evidence
    suggestions = []
    for place, score in zip(suspects.places_S.tolist(), suspects.scores_S.tolist(), strict=True):
        row, label = int(pairs.rows_P[place]), int(pairs.labels_P[place])
        label_id = corpus.labels.ids[label]
        terms: list[str] = []
        if rows.features is not None:
            terms = matched_terms(rows.X_NF, rows.names_LF, rows.features, row, label)
        suggestions.append(
            SuggestedChange(
                id=f"{kind}:{row}:{label_id}",
                kind=kind,
                corpus=corpus_key,
                row=row,
                uid=None if corpus.ids is None else corpus.ids[row],
                text=None if corpus.texts is None else corpus.texts[row][:SHOWN_CHARACTERS],
                label=label_id,
                name=corpus.labels.names[label],
                score=_rounded(score),
                probability=_rounded(assessed.probability_P[place]),
                linear_probability=_rounded(evidence.probability_P[place]),
                threshold=_rounded(assessed.thresholds_L[label]),
                rank=int(pairs.ranks_P[place]),
                agreement=_rounded(evidence.agreement_P[place]),
                similarity=_rounded(evidence.similarity_P[place]),
                name_in_text=_rounded(evidence.name_P[place]),
                label_rows=int(evidence.counts_P[place]),
                neighbours=_neighbours(row, label, corpus.Y, neighbours),
                matched_terms=tuple(terms),
            )
        )
    return suggestions


def _neighbours(
    row: int, label: int, Y_NL: sp.csr_array, neighbours: Neighbours
) -> tuple[dict[str, object], ...]:
    """The nearest rows, and whether each has the label."""
    rows = []
    for other, similarity in zip(
        neighbours.rows_MW[row, :SHOWN_NEIGHBOURS].tolist(),
        neighbours.similarities_MW[row, :SHOWN_NEIGHBOURS].tolist(),
        strict=True,
    ):
        if other >= 0:
            own = Y_NL.indices[Y_NL.indptr[other] : Y_NL.indptr[other + 1]]
            has = bool(np.any(own == label))
            rows.append({"row": other, "similarity": _rounded(similarity), "has_label": has})
    return tuple(rows)


def _rounded(value: float) -> float:
    return round(float(value), 5)
